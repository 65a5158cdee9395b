//! Backup, restore and upgrade as an operator does them: with the binary, and while it serves.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::store_heal::copy;
use crate::support::gateway::Gateway;
use crate::support::upstream::Upstream;
use crate::support::zips::Module;

const SETTINGS: &str = r#"
[private]
patterns = ["corp.example.com"]
[owners.default]
visibility = "public"
[owners.team]
visibility = "private"
"#;

fn lib(version: &str) -> Module {
    let path = "corp.example.com/lib";
    Module::parse(&format!("{path}@{version}\nowner: default\n-- go.mod --\nmodule {path}\n-- a.go --\npackage a // {version}\n"))
}

/// A gateway that was started over a data directory that holds what is at `from`.
fn over(upstream: &Upstream, from: &Path) -> Gateway {
    let mut gateway = Gateway::builder().upstream(upstream).config(SETTINGS).prepare();
    copy(from, &gateway.data_dir());
    gateway.start();
    gateway
}

#[test]
fn a_backup_that_is_taken_while_serving_is_restored_whole() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    for version in ["v1.0.0", "v1.1.0"] {
        gateway.publish(&lib(version)).is(201);
    }
    assert_eq!(gateway.ask("GET", "/example.net/alpha/@v/list", &[]).status, 200);
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("backup.tar");
    let name = file.to_str().unwrap();
    assert!(gateway.cli(&["backup", name]).ok().contains("2 hosted versions"));
    assert_eq!(gateway.cli(&["backup", name]).code, Some(2), "what is there is not written over");
    // The same through the admin listener, to standard output.
    let server = format!("http://{}", gateway.admin_address());
    let remote = gateway.cli_with(&[("MODGATE_TOKEN", &gateway.admin_token())], &["backup", "-", "--server", &server]);
    assert!(remote.ok().contains("modgate-backup-end.json"));
    assert_eq!(gateway.cli_with(&[("MODGATE_TOKEN", "mg_wrong")], &["backup", "-", "--server", &server]).code, Some(1));

    let restored = scratch.path().join("restored");
    let ran = gateway.cli_over(&restored, &[], &["restore", "--new-log", name]);
    assert!(ran.ok().contains("2 hosted versions"));
    assert_eq!(gateway.cli_over(&restored, &[], &["restore", name]).code, Some(1), "it is not empty any more");
    assert_eq!(gateway.cli(&["restore", name]).code, Some(1), "a server works there");
    let egress = gateway.cli(&["egress"]).ok().to_owned();
    assert!(egress.contains("example.net/alpha"), "{egress}");

    let second = over(&upstream, &restored);
    let tokens = |gateway: &Gateway| gateway.cli(&["token", "list"]).ok().to_owned();
    assert_eq!(tokens(&second), tokens(&gateway));
    assert_eq!(second.cli(&["egress"]).ok(), egress);
    for version in ["v1.0.0", "v1.1.0"] {
        let target = format!("/corp.example.com/lib/@v/{version}.zip");
        let (one, other) = (gateway.ask("GET", &target, &[]), second.ask("GET", &target, &[]));
        assert_eq!((one.status, &one.body), (200, &other.body));
    }
    assert!(second.cli(&["verify"]).ok().ends_with("ok: 2 hosted, 0 cached\n"));
}

#[test]
fn a_stopped_gateway_is_backed_up_too_and_tar_reads_the_archive() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    gateway.publish(&lib("v1.0.0")).is(201);
    gateway.terminate();
    let file = gateway.data_dir().with_extension("tar");
    gateway.cli(&["backup", file.to_str().unwrap()]).ok();
    let listed = Command::new("tar").arg("-tf").arg(&file).stderr(Stdio::inherit()).output().unwrap();
    assert!(listed.status.success());
    let names = String::from_utf8(listed.stdout).unwrap();
    for name in ["modgate-backup.json", "records/changes.journal", "records/corp.example.com/lib/@v/v1.0.0.json", "ledger/egress.log"] {
        assert!(names.lines().any(|line| line == name), "{name} in {names}");
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "it holds keys");
}

#[test]
fn verify_makes_the_index_anew_while_serving() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    gateway.publish(&lib("v1.0.0")).is(201);
    assert_eq!(gateway.cli(&["verify", "--rebuild"]).ok(), "ok: 1 hosted, 0 cached\n");
    assert_eq!(gateway.ask("GET", "/corp.example.com/lib/@v/v1.0.0.info", &[]).status, 200);
    gateway.publish(&lib("v1.1.0")).is(201);
}

/// Made by modgate 0.1.0, the last that wrote format 1.
#[test]
fn a_data_directory_of_format_1_is_upgraded_by_the_first_start() {
    let upstream = Upstream::start();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/data-dirs/1");
    let mut gateway = over(&upstream, &fixture);
    let format = || fs::read_to_string(gateway.data_dir().join("format")).unwrap();
    assert!(format().contains("\"format\":3"), "{}", format());
    let ci = [("Authorization", "Bearer mg_ztANMzzFitX90kpQgO0sn_z9kFzf0r26Rcy-wLXGyVU")];
    let list = gateway.ask("GET", "/corp.example.com/lib/@v/list", &ci);
    assert_eq!((list.status, list.body_text()), (200, "v1.0.0\nv1.1.0\n".to_owned()));
    assert_eq!(gateway.ask("GET", "/tools.example.org/cli/@v/v1.0.0.zip", &[]).status, 200);
    let claims = gateway.cli(&["claim", "list"]).ok().to_owned();
    assert!(claims.contains("claim\ttools.example.org\tdefault") && claims.contains("tombstone\tcorp.example.com/Gone\tteam"), "{claims}");
    assert!(gateway.cli(&["egress"]).ok().contains("example.net/alpha"));
    assert!(gateway.cli(&["verify"]).ok().contains("ok: 3 hosted"));
    gateway.restart();
    assert_eq!(gateway.ask("GET", "/corp.example.com/lib/@v/v1.1.0.zip", &ci).status, 200);
}

#[test]
fn what_the_disk_says_is_told_once() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    let nowhere = gateway.data_dir().with_extension("none").join("backup.tar");
    let ran = gateway.cli(&["backup", nowhere.to_str().unwrap()]);
    let folder = nowhere.parent().unwrap().display().to_string();
    assert_eq!((ran.code, ran.stderr.matches("there is no folder").count(), ran.stderr.lines().count()), (Some(1), 1, 1), "{ran}");
    assert!(ran.stderr.ends_with(&format!("there is no folder {folder}\n")), "{ran}");
}
