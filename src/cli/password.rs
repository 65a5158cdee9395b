//! `modgate password`: a password becomes the hash that a `[users.NAME]` of the settings takes.

use std::io::{self, IsTerminal as _, Read};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::out;
use crate::access::{PASSWORD_BYTES_MAX, hash_password};

/// Asks on a terminal, without echo and twice; else reads stdin. Prints the hash alone to stdout.
pub fn run() -> anyhow::Result<ExitCode> {
    let stdin = io::stdin();
    let password = if stdin.is_terminal() { ask()? } else { read(stdin.lock())? };
    let hash = hash_password(&password)?;
    if !fits_netrc(&password) {
        out::tell("warning: ~/.netrc cannot carry a password with white space, and the go command takes it from nowhere else");
    }
    out::print(&format!("{hash}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn ask() -> anyhow::Result<String> {
    let first = rpassword::prompt_password("Password: ").context("cannot ask for the password")?;
    if rpassword::prompt_password("Again: ").context("cannot ask for the password")? != first {
        bail!("the two passwords differ");
    }
    Ok(first)
}

/// Whether it is one word there.
fn fits_netrc(password: &str) -> bool {
    !password.contains(char::is_whitespace)
}

/// All of the input but one final newline.
fn read(input: impl Read) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    // Room for the newline, and for one byte more: whether it is too long is told by the hashing.
    input.take(PASSWORD_BYTES_MAX as u64 + 3).read_to_end(&mut bytes).context("cannot read the password")?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    String::from_utf8(bytes).ok().context("the password is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_final_newline_is_dropped_and_no_more() {
        let of = |bytes: &[u8]| read(bytes).unwrap();
        assert_eq!(of(b"secret\n"), "secret");
        assert_eq!(of(b"secret\r\n"), "secret");
        assert_eq!(of(b"secret\n\n"), "secret\n");
        assert_eq!(of(b" a b "), " a b ");
        assert_eq!(of(b""), "");
        assert!(read(&b"\xff\n"[..]).is_err());
    }

    #[test]
    fn a_password_with_white_space_does_not_fit_netrc() {
        assert!(fits_netrc("correct-horse"));
        for spaced in ["correct horse", "a\tb", "a\n", "a\u{a0}b"] {
            assert!(!fits_netrc(spaced), "{spaced:?}");
        }
    }

    #[test]
    fn a_password_at_the_limit_passes_and_one_above_does_not() {
        let hashed = |bytes: usize, end: &str| hash_password(&read(format!("{}{end}", "x".repeat(bytes)).as_bytes()).unwrap());
        assert!(hashed(PASSWORD_BYTES_MAX, "\r\n").is_ok());
        assert!(hashed(PASSWORD_BYTES_MAX + 1, "\n").is_err());
        assert!(hashed(PASSWORD_BYTES_MAX + 9, "").is_err());
    }
}
