//! Where the gateway is reached: a Unix socket, and a path of a host that others share.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::support::curl::{self, Reply};
use crate::support::gateway::Gateway;
use crate::support::go::Go;
use crate::support::http;
use crate::support::scenarios::{self, GATEWAY_SETTINGS, Needs, Secure, World};
use crate::support::upstream::Upstream;
use crate::support::zips;

const OFF: &str = "[upstream]\ngoproxy = \"off\"\nsumdb = \"off\"\n[owners.default]\nvisibility = \"public\"\n";

fn over(socket: &Path, url: &str) -> Reply {
    curl::curl(&["--unix-socket", socket.to_str().expect("UTF-8")], url, None)
}

#[test]
fn a_unix_socket_is_served_replaced_when_it_is_stale_and_removed_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("modgate.sock");
    // What a killed server left.
    drop(UnixListener::bind(&socket).expect("bind"));
    let listen = format!("[server]\nlisten = [\"unix:{}\"]\n", socket.display());
    let mut gateway = Gateway::builder().config(OFF).config(&listen).start();
    let meta = fs::symlink_metadata(&socket).expect("a socket");
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o666);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing beside it is left");
    over(&socket, "http://h/healthz").is(200);
    // Public, as a port is: no operations here.
    over(&socket, "http://h/admin/tokens").is(405);
    let reply = curl::curl(&["--unix-socket", socket.to_str().expect("UTF-8"), "-X", "POST"], "http://h/admin/tokens", None);
    assert_eq!(reply.status, 404, "{reply:?}");
    let log = gateway.log_with(&[r#""kind":"health""#]);
    assert!(log.lines().any(|line| line.contains(r#""kind":"health""#) && line.contains(r#""peer":"unix""#)), "{log}");

    // A second one on it is refused, and does no harm.
    let mut second = Gateway::builder().config(OFF).config(&listen).prepare();
    let (_, told) = second.start_refused();
    assert!(told.contains("answers on") && told.contains("modgate.sock"), "{told}");
    over(&socket, "http://h/healthz").is(200);

    assert_eq!(gateway.terminate().code(), Some(0));
    assert!(!socket.exists());
    // Killed, it leaves the socket; the next start replaces it.
    gateway.start();
    gateway.kill();
    assert!(fs::symlink_metadata(&socket).is_ok());
    gateway.start();
    over(&socket, "http://h/healthz").is(200);
    // Not a socket, not ours.
    gateway.terminate();
    fs::write(&socket, "precious").expect("write");
    let (_, told) = gateway.start_refused();
    assert!(told.contains("something else is in its place"), "{told}");
    assert_eq!(fs::read_to_string(&socket).expect("read"), "precious");
}

/// Where everything lies, of a gateway whose public URL says so.
const BELOW: &str = "/dev/go";

fn below(gateway: Gateway) -> Gateway {
    let url = gateway.https_url();
    gateway.configure(&gateway.settings().replace(&format!("public_url = \"{url}\""), &format!("public_url = \"{url}{BELOW}\"")));
    let mut gateway = gateway;
    gateway.start();
    gateway
}

#[test]
fn with_a_path_in_the_public_url_all_lies_below_it_and_nothing_beside_it() {
    let gateway = below(Gateway::builder().config(OFF).prepare());
    let base = format!("{}{BELOW}", gateway.url());
    let dir = tempfile::tempdir().expect("a folder");
    let module = zips::Module::parse("corp.example.com/m@v1.0.0\n-- go.mod --\nmodule corp.example.com/m\n");
    curl::publish(&base, "default", Some(&gateway.admin()), &module.write_zip(dir.path()), None).is(201);
    let status = |method: &str, target: &str| gateway.ask(method, target, &[]).status;
    for below in ["", "/", "/corp.example.com/m/@v/list", "/api/packages/default/go/corp.example.com/m/@latest", "/sumdb/x/supported"] {
        assert_eq!(status("GET", &format!("{BELOW}{below}")), 200, "{below}");
        assert_eq!(status("GET", if below.is_empty() { "/" } else { below }), 404, "{below}");
    }
    for probe in ["/healthz", "/readyz"] {
        assert_eq!((status("GET", probe), status("GET", &format!("{BELOW}{probe}"))), (200, 200));
    }
    // Another writing of the prefix is another path; what climbs out of it is refused.
    for (target, wanted) in [
        ("/dev/%67o/corp.example.com/m/@v/list", 404),
        ("/dev%2fgo/corp.example.com/m/@v/list", 404),
        ("/dev/go%2fcorp.example.com/m/@v/list", 404),
        ("/DEV/GO/corp.example.com/m/@v/list", 404),
        ("//dev/go/corp.example.com/m/@v/list", 404),
        ("/x/../dev/go/corp.example.com/m/@v/list", 404),
        ("/dev/gocorp.example.com/m/@v/list", 404),
        ("/dev/go//corp.example.com/m/@v/list", 400),
        ("/dev/go/../go/corp.example.com/m/@v/list", 400),
        ("/dev/go/%2e%2e/go/corp.example.com/m/@v/list", 400),
        ("/dev/go/dev/go/corp.example.com/m/@v/list", 400),
    ] {
        assert_eq!(status("GET", target), wanted, "{target}");
    }
    let put = |base: &str| curl::publish(base, "default", Some(&gateway.admin()), &module.write_zip(dir.path()), None);
    put(&gateway.url()).is(404);
    put(&base).is(409);

    let home = gateway.ask("GET", BELOW, &[]).body_text();
    let https = gateway.https_url();
    for line in [
        format!("go env -w GOPROXY={https}{BELOW}\n"),
        format!("machine {} login NAME", https.trim_start_matches("https://")),
        format!("--upload-file m.zip {https}{BELOW}/api/packages/OWNER/go/upload\n"),
    ] {
        assert!(home.contains(&line), "{line}: {home}");
    }
    let log = gateway.log();
    assert!(log.contains(&format!("go env -w GOPROXY={https}{BELOW}\n")), "{log}");
    // Operations have listeners of their own, where nothing lies below anything.
    assert_eq!(http::get(gateway.admin_address(), "/readyz").expect("an answer").status, 200);
    gateway.cli(&["claim", "list"]).ok();
    gateway.cli(&["healthcheck"]).ok();
}

#[test]
fn the_go_command_works_below_a_path_at_the_root_base_and_at_an_owners() {
    let upstream = Upstream::start();
    let gateway = below(Gateway::builder().upstream(&upstream).config(GATEWAY_SETTINGS).prepare());
    let dir = tempfile::tempdir().expect("a folder");
    let base = format!("{}{BELOW}", gateway.url());
    for module in zips::load("hosted") {
        let owner = module.owner.as_deref().expect("an owner");
        curl::publish(&base, owner, Some(&gateway.admin()), &module.write_zip(dir.path()), None).is(201);
    }
    let world = World::through(&gateway, &upstream);
    let secure = world.secure.map(|secure| Secure { base: secure.base + BELOW, ..secure });
    let world = World { goproxy: base.clone(), base, secure, ..world };
    // Those of hosted modules use every address there is: http, https, netrc, the upload, an owner's base.
    let hosted: Vec<_> = scenarios::all().into_iter().filter(|scenario| scenario.needs == Needs::Hosted).collect();
    assert!(!hosted.is_empty());
    scenarios::run(&world, &hosted);

    let secure = world.secure.expect("https");
    let mut go = Go::new(&format!("{}/api/packages/platform/go", secure.base), &world.gosumdb);
    go.set("SSL_CERT_FILE", secure.ca_bundle.display().to_string());
    go.netrc(secure.machine(), &secure.login.user, &secure.login.password);
    let hosted = zips::load("hosted").into_iter().find(|module| module.owner.as_deref() == Some("platform")).expect("a module");
    go.write("work/go.mod", "module example.com/user\n\ngo 1.20\n");
    go.run(&["mod", "download", &hosted.name()]).ok();
    go.run(&["mod", "download", "example.net/alpha@v1.0.0"]).ok();
}
