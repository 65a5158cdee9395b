//! Publishing as people do: with the real curl.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{process, secrets};

const DEADLINE: Duration = Duration::from_secs(120);

/// Who calls: curl's `--user`.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Reply {
    /// It has this status.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> &Self {
        assert!(self.status == status, "should be {status}: {self:?}");
        self
    }
}

/// Runs curl with these arguments on a URL. `ca`: the authority to trust, in place of the system's.
#[track_caller]
pub(crate) fn curl(args: &[&str], url: &str, ca: Option<&Path>) -> Reply {
    for pair in args.windows(2) {
        match pair[0] {
            "--user" => secrets::plant(pair[1].split_once(':').map_or(pair[1], |(_, password)| password)),
            "--header" => secrets::plant_header(pair[1]),
            _ => {}
        }
    }
    let mut command = Command::new("curl");
    command.env_clear().env("PATH", std::env::var("PATH").expect("PATH"));
    command.args(["--disable", "--silent", "--show-error", "--noproxy", "*", "--path-as-is", "--write-out", "\n%{http_code}"]).args(args);
    if let Some(ca) = ca {
        command.arg("--cacert").arg(ca);
    }
    command.arg(url);
    let ran = process::run(command, DEADLINE);
    let (body, status) = ran.ok().rsplit_once('\n').unwrap_or_else(|| panic!("no status: {ran}"));
    Reply { status: status.parse().unwrap_or_else(|e| panic!("no status: {e}: {ran}")), body: body.to_owned() }
}

/// Publishes a zip to an owner: `curl --user U:P --upload-file ZIP {base}/api/packages/{owner}/go/upload`.
#[track_caller]
pub(crate) fn publish(base: &str, owner: &str, login: Option<&Login>, zip: &Path, ca: Option<&Path>) -> Reply {
    let url = format!("{base}/api/packages/{owner}/go/upload");
    let zip = zip.to_str().expect("a path in UTF-8");
    match login {
        Some(login) => curl(&["--user", &format!("{}:{}", login.user, login.password), "--upload-file", zip], &url, ca),
        None => curl(&["--upload-file", zip], &url, ca),
    }
}

#[test]
fn a_zip_is_published_by_put_with_basic_credentials() {
    use super::http::{Request, Response};
    let handler = |request: &Request| {
        let seen = format!("{} {} {}", request.method, request.target, request.header("authorization").unwrap_or("-"));
        Some(Response::text(201, format!("{seen}\nsecond line\n")))
    };
    let server = super::server::Server::start(None, std::sync::Arc::new(handler));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let zip = dir.path().join("a.zip");
    std::fs::write(&zip, vec![0; 3 << 20]).expect("write a zip");
    let login = Login { user: "u".to_owned(), password: "p".to_owned() };
    let base = format!("http://{}", server.address());
    let reply = publish(&base, "team", Some(&login), &zip, None);
    assert_eq!(reply.is(201).body, "PUT /api/packages/team/go/upload Basic dTpw\nsecond line\n");
    assert_eq!(publish(&base, "team", None, &zip, None).is(201).body, "PUT /api/packages/team/go/upload -\nsecond line\n");
}
