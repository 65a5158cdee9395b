//! Credentials for upstreams: read from their files once, shown to the URL that they are for and to what lies below it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use url::Url;

use super::client::SetupError;
use crate::config::{Secret, UpstreamAuth};

/// The longest secret, bytes.
const SECRET_BYTES_MAX: u64 = 16 << 10;

/// All of `upstream.auth`. Not `Debug`: nothing prints it.
pub(super) struct Credentials {
    /// Those for longer paths first.
    entries: Vec<(Url, HeaderValue)>,
}

impl Credentials {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`SetupError::Secret`].
    pub(super) fn read(auth: &[UpstreamAuth]) -> Result<Self, SetupError> {
        let entry = |auth: &UpstreamAuth| {
            let text = match &auth.secret {
                Secret::Password { user, file } => format!("Basic {}", STANDARD.encode(format!("{user}:{}", read(file)?))),
                Secret::Bearer { file } => format!("Bearer {}", read(file)?),
            };
            let wrong =
                |_| SetupError::Secret { path: auth.secret.file().to_owned(), why: "it holds a character that no header can".to_owned() };
            let mut value = HeaderValue::from_str(&text).map_err(wrong)?;
            // Kept out of logs and of HTTP/2's tables.
            value.set_sensitive(true);
            Ok((auth.url.clone(), value))
        };
        let mut entries = auth.iter().map(entry).collect::<Result<Vec<_>, SetupError>>()?;
        entries.sort_by_key(|(at, _)| std::cmp::Reverse(at.path().len()));
        Ok(Self { entries })
    }

    /// The `Authorization` of a request to exactly this URL.
    pub(super) fn of(&self, url: &Url) -> Option<&HeaderValue> {
        self.entries.iter().find(|(at, _)| covers(at, url)).map(|(_, value)| value)
    }
}

/// Whether `url` is `at` or lies below it, by path element.
pub(super) fn covers(at: &Url, url: &Url) -> bool {
    let base = at.path().trim_end_matches('/');
    let below = url.path().strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    at.origin() == url.origin() && below
}

/// A secret, without the line's end behind it.
fn read(path: &Path) -> Result<String, SetupError> {
    let wrong = |why: String| SetupError::Secret { path: path.to_owned(), why };
    let mut text = String::new();
    let file = File::open(path).map_err(|e| wrong(e.to_string()))?;
    // Its content is told nowhere, not even what is wrong with it.
    file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| wrong(format!("it cannot be read: {}", e.kind())))?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        return Err(wrong(format!("it is longer than {SECRET_BYTES_MAX} bytes")));
    }
    let secret = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    match secret {
        "" => Err(wrong("it is empty".to_owned())),
        _ if secret.chars().any(char::is_control) => Err(wrong("it has more than one line, or a control character".to_owned())),
        _ => Ok(secret.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(dir: &Path, name: &str, text: &[u8]) -> std::path::PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn the_longest_path_of_the_same_origin_decides() {
        let dir = tempfile::tempdir().unwrap();
        let auth = |url: &str, secret: Secret| UpstreamAuth { url: url.parse().unwrap(), secret };
        let password = |file| Secret::Password { user: "u".to_owned(), file: secret(dir.path(), file, format!("{file}\r\n").as_bytes()) };
        let bearer = |file| Secret::Bearer { file: secret(dir.path(), file, file.as_bytes()) };
        let all = [
            auth("https://a.example/go", password("go")),
            auth("https://a.example/go/deep", bearer("deep")),
            auth("https://b.example", bearer("b")),
        ];
        let credentials = Credentials::read(&all).unwrap_or_else(|e| panic!("{e}"));
        let of = |url: &str| credentials.of(&url.parse().unwrap()).map(|value| value.to_str().unwrap().to_owned());
        let go = Some(format!("Basic {}", STANDARD.encode("u:go")));
        for (url, expected) in [
            ("https://a.example/go", go.clone()),
            ("https://a.example/go/", go.clone()),
            ("https://a.example/go/x/@v/list", go.clone()),
            ("https://a.example:443/go/deeper", go),
            ("https://a.example/go/deep/x", Some("Bearer deep".to_owned())),
            ("https://b.example/anything", Some("Bearer b".to_owned())),
            ("https://a.example/gopher", None),
            ("https://a.example/", None),
            ("https://a.example/x/../gone", None),
            ("http://a.example/go/x", None),
            ("https://a.example:8443/go/x", None),
            ("https://a.example.evil.example/go/x", None),
            ("https://b.example.evil.example/x", None),
        ] {
            assert_eq!(of(url), expected, "{url}");
        }
        assert!(credentials.entries.iter().all(|(_, value)| value.is_sensitive()));
    }

    #[test]
    fn a_file_that_holds_no_secret_is_an_error_that_names_it_and_repeats_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let most = vec![b'x'; usize::try_from(SECRET_BYTES_MAX).unwrap()];
        assert_eq!(read(&secret(dir.path(), "most", &most)).unwrap().len(), most.len());
        let cases: [(&str, &[u8]); 6] = [
            ("empty", b""),
            ("blank", b"\n"),
            ("lines", b"hunter2\nhunter2\n"),
            ("nul", b"hunter2\0"),
            ("latin", b"hunter2\xff"),
            ("long", &[&most[..], b"x"].concat()),
        ];
        for (name, text) in cases {
            let told = read(&secret(dir.path(), name, text)).unwrap_err().to_string();
            assert!(told.contains(name) && !told.contains("hunter2"), "{told}");
        }
        assert!(read(&dir.path().join("absent")).unwrap_err().to_string().contains("absent"));
    }
}
