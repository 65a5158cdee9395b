//! The lines to paste: what a new user needs to know, in the form in which it is used.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::server::Addresses;
use crate::config::Config;

/// What clients call this gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// `http://host:port`, if plain HTTP is served.
    pub http: Option<String>,
    /// `https://host[:port]`, if HTTPS is served.
    pub https: Option<String>,
}

impl Reached {
    /// From `server.public_url` where that is set, else from the listeners.
    pub fn new(config: &Config, listening: &Addresses) -> Self {
        let mut reached = Self {
            http: listening.plain.first().map(|address| format!("http://{address}")),
            https: listening.tls.first().map(|address| format!("https://{address}")),
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

    /// What developers should use: https if there is.
    pub fn preferred(&self) -> &str {
        self.https.as_deref().or(self.http.as_deref()).unwrap_or_default()
    }

    /// host:port of the https address, as `~/.netrc` wants it: the port only where it is not 443.
    pub fn netrc_machine(&self) -> Option<&str> {
        self.https.as_deref().and_then(|url| url.strip_prefix("https://"))
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

/// What GET `/` says. `private_names` is `None` for those who may not know them.
pub fn home(reached: &Reached, private_names: Option<&BTreeSet<String>>) -> String {
    let mut text = String::from("modgate: a registry for private Go modules and a cache for public ones.\n\n");
    match private_names {
        Some(names) => text.push_str(&client_lines(reached, names)),
        None => {
            // Writing to a String cannot fail; here and below.
            let _ = writeln!(text, "go env -w GOPROXY={}", shell(reached.preferred()));
            text.push_str("# GONOSUMDB: your private hosts; sign in here to see them\n");
        }
    }
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

/// What `serve` prints with a settings file.
pub fn serving(reached: &Reached, private_names: &BTreeSet<String>) -> String {
    format!("modgate is running. On developers' machines:\n\n{}\n", client_lines(reached, private_names))
}

fn client_lines(reached: &Reached, private_names: &BTreeSet<String>) -> String {
    let mut text = format!("go env -w GOPROXY={}\n", shell(reached.preferred()));
    if !private_names.is_empty() {
        let _ = writeln!(text, "go env -w GONOSUMDB={}", shell(&joined(private_names)));
    }
    text
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

fn joined(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

/// What `serve` prints on a first run: two blocks, each whole by itself. Paths are absolute.
pub fn first_run(
    reached: &Reached,
    token_file: &Path,
    trust: Option<&Trust>,
    private_names: &BTreeSet<String>,
    samples: &Samples,
) -> String {
    let nosumdb = shell(&joined(private_names));
    let token = shell_path(token_file);
    let http = reached.http.as_deref().unwrap_or(reached.preferred());
    let mut text = format!(
        r#"
modgate is running. Paste into another terminal:

  # The shortest way: publish a module, and install it like any other.
  export GOPROXY={proxy} GONOSUMDB={nosumdb}
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
  export GOPROXY={proxy} GONOSUMDB={nosumdb} SSL_CERT_FILE={bundle}
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
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

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
