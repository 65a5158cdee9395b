//! The lines to paste: what a new user needs to know, in the form in which it is used.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Addresses, ListenerKind};
use crate::config::Config;
use crate::egress::{SignIn, no_sumdb};
use crate::tlog::VerifierKey;

/// What clients call this gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// `http://host:port` and the prefix, if plain HTTP is served.
    pub http: Option<String>,
    /// `https://host[:port]` and the prefix, if HTTPS is served.
    pub https: Option<String>,
    /// The path of `server.public_url`, below which everything lies: `/go`, or nothing.
    prefix: String,
}

/// What also answers outside of the prefix: a balancer asks a listener itself.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

impl Reached {
    /// From `server.public_url` where that is set, else from the listeners.
    pub fn new(config: &Config, listening: &Addresses) -> Self {
        let prefix = config.server.public_url.as_ref().map_or("", |url| url.path().trim_end_matches('/')).to_owned();
        let mut reached = Self {
            http: listening.plain.first().map(|address| format!("http://{address}{prefix}")),
            https: listening.tls.first().map(|address| format!("https://{address}{prefix}")),
            prefix,
        };
        if let Some(public) = &config.server.public_url {
            let text = public.as_str().trim_end_matches('/').to_owned();
            if public.scheme() == "https" {
                reached.https = Some(text);
            } else {
                reached.http = Some(text);
            }
        }
        reached
    }

    /// What a raw path asks of this gateway: the path without the prefix, with which every path of a public listener begins, but for the
    /// probes. None outside of it. The admin listeners know no prefix.
    ///
    /// Nothing is decoded for this: a prefix that is written in another way is another path.
    pub fn below<'a>(&self, listener: ListenerKind, raw_path: &'a str) -> Option<&'a str> {
        if self.prefix.is_empty() || !matches!(listener, ListenerKind::Public { .. }) || PROBES.contains(&raw_path) {
            return Some(raw_path);
        }
        match raw_path.strip_prefix(self.prefix.as_str())? {
            "" => Some("/"),
            rest => rest.starts_with('/').then_some(rest),
        }
    }

    /// What developers should use: https if there is.
    pub fn preferred(&self) -> &str {
        self.https.as_deref().or(self.http.as_deref()).unwrap_or_default()
    }

    /// Where credentials are taken; none where nothing is known of an https address.
    pub fn sign_in(&self) -> Option<SignIn> {
        Some(SignIn { goproxy: self.https.clone()?, machine: self.netrc_machine()?.to_owned() })
    }

    /// host:port of the https address, as `~/.netrc` wants it: the port only where it is not 443, and no path.
    pub fn netrc_machine(&self) -> Option<&str> {
        let rest = self.https.as_deref()?.strip_prefix("https://")?;
        rest.split('/').next()
    }
}

/// A sample module of a first run.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its module path.
    pub module: &'static str,
    /// Where its zip lies.
    pub zip: PathBuf,
}

/// The two samples: one host, two owners.
#[derive(Clone, Debug)]
pub struct Samples {
    /// For the owner `default`.
    pub public: Sample,
    /// For the owner `private`.
    pub private: Sample,
}

/// What clients of a gateway with a CA of its own trust it by.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The system's roots and the CA.
    pub bundle: PathBuf,
    /// The CA alone.
    pub ca: PathBuf,
}

/// What clients are told about checksums.
#[derive(Clone, Debug)]
pub enum Checksums {
    /// The verifier key of our own database, which knows everything: their `GOSUMDB`.
    Own(Box<VerifierKey>),
    /// There is none: what the public one must not be asked for, their `GONOSUMDB`.
    Private(BTreeSet<String>),
    /// The same, for those who may not know it.
    Hidden,
}

impl Checksums {
    /// `NAME=value`, as a shell takes it; nothing where nothing need be set.
    fn variable(&self) -> Option<String> {
        match self {
            Self::Own(key) => Some(format!("GOSUMDB={}", shell(&key.to_string()))),
            Self::Private(names) if !names.is_empty() => Some(format!("GONOSUMDB={}", shell(&joined(names)))),
            Self::Private(_) | Self::Hidden => None,
        }
    }

    /// The command that sets it for good.
    fn command(&self) -> Option<String> {
        match self {
            Self::Own(_) => self.variable().map(|variable| format!("go env -w {variable}")),
            Self::Private(names) => (!names.is_empty()).then(|| no_sumdb(&shell(&joined(names)))),
            Self::Hidden => Some(format!("# {} (your private hosts: sign in here to see them)", no_sumdb("PATTERNS"))),
        }
    }
}

/// What GET `/` says.
pub fn home(reached: &Reached, checksums: &Checksums) -> String {
    let mut text = String::from("modgate: a registry for private Go modules and a cache for public ones.\n\n");
    text.push_str(&client_lines(reached, checksums));
    if let Some(machine) = reached.netrc_machine() {
        let _ = writeln!(text, "\n# private modules, in ~/.netrc:\nmachine {machine} login NAME password TOKEN");
    }
    let _ = writeln!(
        text,
        "\n# publish: a zip of everything under MODULE@VERSION/\n\
         git archive --format=zip --prefix=MODULE@VERSION/ -o m.zip VERSION\n\
         curl -sS --fail-with-body --user NAME:TOKEN --upload-file m.zip {}",
        shell(&upload(reached.preferred(), "OWNER"))
    );
    text
}

/// What `serve` prints with a settings file. `trust`: of a CA of its own.
pub fn serving(reached: &Reached, trust: Option<&Trust>, checksums: &Checksums) -> String {
    let mut text = format!("modgate is running. On developers' machines:\n\n{}", client_lines(reached, checksums));
    if let (Some(_), Some(Trust { bundle, ca })) = (&reached.https, trust) {
        let _ = writeln!(
            text,
            "export SSL_CERT_FILE={}   # a copy of it: this gateway has a CA of its own. Elsewhere than on Linux add {} to the system's \
             certificates",
            shell_path(bundle),
            ca.display()
        );
    }
    text.push('\n');
    text
}

fn client_lines(reached: &Reached, checksums: &Checksums) -> String {
    let mut text = format!("go env -w GOPROXY={}\n", shell(reached.preferred()));
    if let Some(command) = checksums.command() {
        // Writing to a String cannot fail; here and below.
        let _ = writeln!(text, "{command}");
    }
    text
}

fn joined(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

fn upload(base: &str, owner: &str) -> String {
    format!("{base}/api/packages/{owner}/go/upload")
}

/// A word as bash, zsh and sh take it: as it is where nothing in it means anything to them, else in single quotes.
fn shell(word: &str) -> String {
    if !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:,@%+".contains(&b)) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn shell_path(path: &Path) -> String {
    shell(&path.to_string_lossy())
}

/// What `serve` prints on a first run: two blocks, each whole by itself. Paths are absolute.
pub fn first_run(reached: &Reached, token_file: &Path, trust: Option<&Trust>, checksums: &Checksums, samples: &Samples) -> String {
    let (lasting, checksums) = (checksums.command(), checksums.variable().unwrap_or_default());
    let token = shell_path(token_file);
    let http = reached.http.as_deref().unwrap_or(reached.preferred());
    let mut text = format!(
        r#"
modgate is running. Paste into another terminal:

  # The shortest way: publish a module, and install it like any other.
  export GOPROXY={proxy} {checksums}
  curl -sS --fail-with-body --user "admin:$(cat {token})" --upload-file {zip} {upload}
  mkdir -p /tmp/try-modgate && cd /tmp/try-modgate && go mod init example.com/try
  go get {module}@latest
"#,
        proxy = shell(http),
        zip = shell_path(&samples.public.zip),
        upload = shell(&upload(http, "default")),
        module = samples.public.module,
    );
    if let (Some(https), Some(machine), Some(trust)) = (&reached.https, reached.netrc_machine(), trust) {
        let _ = write!(
            text,
            r#"
  # The private way: https and credentials; strangers get a 404.
  export GOPROXY={proxy} {checksums} SSL_CERT_FILE={bundle}
  (umask 077; echo "machine {machine} login admin password $(cat {token})" >> ~/.netrc)
  curl -sS --fail-with-body --user "admin:$(cat {token})" --upload-file {zip} --cacert {bundle} {upload}
  mkdir -p /tmp/try-modgate-private && cd /tmp/try-modgate-private && go mod init example.com/try
  go get {module}@latest

(SSL_CERT_FILE works on Linux; elsewhere add {ca} to the system's certificates.)
"#,
            proxy = shell(https),
            bundle = shell_path(&trust.bundle),
            ca = trust.ca.display(),
            zip = shell_path(&samples.private.zip),
            upload = shell(&upload(https, "private")),
            module = samples.private.module,
        );
    }
    if let Some(command) = lasting {
        let _ = writeln!(text, "\n(The exports end with that shell. What lasts: {command})");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::SignerKey;

    fn reached(prefix: &str) -> Reached {
        Reached {
            http: Some(format!("http://127.0.0.1:8080{prefix}")),
            https: Some(format!("https://go.example.com:8443{prefix}")),
            prefix: prefix.to_owned(),
        }
    }

    #[test]
    fn what_is_to_be_set_is_told_in_the_same_words_everywhere() {
        let sample = Sample { module: "corp.example.com/x", zip: "/x.zip".into() };
        let samples = Samples { public: sample.clone(), private: sample };
        let reached = reached("");
        let private = Checksums::Private(BTreeSet::from(["corp.example.com".to_owned()]));
        let own = Checksums::Own(Box::new(SignerKey::generate("go.example.com").unwrap().verifier()));
        for (checksums, name) in [(private, "GONOSUMDB"), (own, "GOSUMDB")] {
            let command = checksums.command().unwrap();
            assert!(command.starts_with(&format!("go env -w {name}=")), "{command}");
            for text in [
                home(&reached, &checksums),
                serving(&reached, None, &checksums),
                first_run(&reached, Path::new("/token"), None, &checksums, &samples),
            ] {
                assert!(text.contains(&command), "{text}");
                assert_eq!(text.matches("SUMDB=").count(), if text.contains("export") { 2 } else { 1 }, "{text}");
            }
        }
        assert!(home(&reached, &Checksums::Hidden).contains(&no_sumdb("PATTERNS")));
        let trust = Trust { bundle: "/data/tls/ca-bundle.pem".into(), ca: "/data/tls/ca.pem".into() };
        let line = "\nexport SSL_CERT_FILE=/data/tls/ca-bundle.pem ";
        assert!(serving(&reached, Some(&trust), &Checksums::Hidden).contains(line));
        // Over http there is nothing to trust.
        let plain = Reached { https: None, ..reached };
        assert!(!serving(&plain, Some(&trust), &Checksums::Hidden).contains("SSL_CERT_FILE"));
    }

    #[test]
    fn a_path_lies_below_the_prefix_as_it_is_written_or_not_at_all() {
        let public = ListenerKind::Public { tls: true };
        let deep = reached("/dev/go");
        for (path, rest) in [
            ("/dev/go", Some("/")),
            ("/dev/go/", Some("/")),
            ("/dev/go/a.example/@latest", Some("/a.example/@latest")),
            // What is wrong below the prefix, the protocol refuses.
            ("/dev/go//a", Some("//a")),
            ("/dev/go/../healthz", Some("/../healthz")),
            ("/dev/go/%2e%2e/x", Some("/%2e%2e/x")),
            ("/healthz", Some("/healthz")),
            ("/readyz", Some("/readyz")),
            ("/healthz/", None),
            ("/%68ealthz", None),
            ("/", None),
            ("", None),
            ("/dev", None),
            ("/dev/gopher", None),
            ("/dev/go%2fa.example/@latest", None),
            ("/dev/%67o/a.example/@latest", None),
            ("/dev%2Fgo/a.example/@latest", None),
            ("/DEV/go/a", None),
            ("//dev/go/a", None),
            ("/dev//go/a", None),
            ("/./dev/go/a", None),
            ("/x/../dev/go/a", None),
            ("/dev/go\\a", None),
            ("/admin/tokens", None),
        ] {
            assert_eq!(deep.below(public, path), rest, "{path}");
        }
        assert_eq!(deep.below(ListenerKind::AdminSocket, "/admin/tokens"), Some("/admin/tokens"));
        assert_eq!(deep.below(ListenerKind::AdminTcp, "/dev/go/healthz"), Some("/dev/go/healthz"));
        assert_eq!(reached("").below(public, "/anything"), Some("/anything"));
    }

    #[test]
    fn the_lines_to_paste_carry_the_prefix_and_netrc_none() {
        let text = home(&reached("/dev/go"), &Checksums::Private(BTreeSet::new()));
        for line in [
            "go env -w GOPROXY=https://go.example.com:8443/dev/go\n",
            "machine go.example.com:8443 login NAME",
            "--upload-file m.zip https://go.example.com:8443/dev/go/api/packages/OWNER/go/upload\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn words_are_quoted_only_where_a_shell_would_change_them() {
        for plain in ["https://go.example.com:8443", "corp.example.com,github.com/acme", "/var/lib/modgate/admin-token"] {
            assert_eq!(shell(plain), plain);
        }
        assert_eq!(shell("github.com/acme/*"), "'github.com/acme/*'");
        assert_eq!(shell("http://[::1]:8080"), "'http://[::1]:8080'");
        assert_eq!(shell("/home/o'neil/my data"), r"'/home/o'\''neil/my data'");
        assert_eq!(shell("~/x"), "'~/x'");
        assert_eq!(shell(""), "''");
    }
}
