//! The go command's settings of whoever runs the check: a proxy that is asked after us is told what we keep private.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use url::Url;

use crate::config::{Config, Miss};

/// Where a GOPROXY list stands, and what it says.
struct Goproxy {
    source: String,
    list: String,
}

/// What comes after us in GOPROXY, in the environment or where `go env -w` wrote it.
pub(super) fn findings(config: &Config) -> Vec<String> {
    goproxy(|name| std::env::var(name).ok()).and_then(|goproxy| after_us(config, &goproxy)).into_iter().collect()
}

/// As the go command finds it: the environment, else the file that GOENV names, else the one of the user's settings.
fn goproxy(variable: impl Fn(&str) -> Option<String>) -> Option<Goproxy> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(list) = set("GOPROXY") {
        return Some(Goproxy { source: "GOPROXY".to_owned(), list });
    }
    let file = match set("GOENV") {
        Some(off) if off == "off" => return None,
        Some(file) => PathBuf::from(file),
        None => set("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| Some(PathBuf::from(set("HOME")?).join(".config")))?.join("go/env"),
    };
    let text = fs::read_to_string(&file).ok()?;
    let list = text.lines().find_map(|line| line.trim().strip_prefix("GOPROXY="))?.trim().to_owned();
    Some(Goproxy { source: format!("GOPROXY in {}", file.display()), list })
}

/// A 404 from us leads the go command on to whatever stands after us, and so does any failure where a `|` follows us.
fn after_us(config: &Config, Goproxy { source, list }: &Goproxy) -> Option<String> {
    let entries: Vec<(&str, bool)> =
        list.split_inclusive([',', '|']).map(|entry| (entry.trim_end_matches([',', '|']).trim(), entry.ends_with('|'))).collect();
    let us = entries.iter().position(|(entry, _)| is_us(config, entry))?;
    let (next, _) = entries.get(us + 1..)?.iter().find(|(entry, _)| !entry.is_empty())?;
    if *next == "off" {
        return None;
    }
    let (_, any_failure) = entries.get(us)?;
    if config.private.miss == Miss::Refuse && !any_failure {
        return None;
    }
    // A URL in the list may hold credentials.
    let named = Url::parse(next).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| (*next).to_owned());
    Some(format!(
        "{source}: {named} stands after this gateway: what is private and not found here is asked for there. Let the list end with this gateway{}",
        if *any_failure { ", without the |" } else { ", or set private.miss = \"refuse\"" }
    ))
}

/// Whether an entry of the list is this gateway.
fn is_us(config: &Config, entry: &str) -> bool {
    let Ok(url) = Url::parse(entry) else { return false };
    let place = |url: &Url| (url.host_str().map(str::to_ascii_lowercase), url.port_or_known_default());
    let server = &config.server;
    if server.public_url.as_ref().is_some_and(|ours| place(ours) == place(&url)) {
        return true;
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let local = |ip: IpAddr| host.parse() == Ok(ip) || (host == "localhost" && ip.is_loopback());
    server.listen.iter().chain(&server.tls_listen).any(|at| url.port_or_known_default() == Some(at.port()) && local(at.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(extra: &str) -> Config {
        let server = "[server]\nlisten = [\"127.0.0.1:8080\"]\ntls_listen = [\"0.0.0.0:8443\"]\ntls = \"local\"\npublic_url = \"https://go.example.com\"\n";
        Config::from_toml(&format!("{server}{extra}")).unwrap()
    }

    fn told(config: &Config, list: &str) -> Option<String> {
        after_us(config, &Goproxy { source: "GOPROXY".to_owned(), list: list.to_owned() })
    }

    #[test]
    fn whatever_is_asked_after_us_is_told() {
        let config = config("");
        for fine in [
            "https://go.example.com",
            "https://go.example.com,off",
            "https://proxy.example.org,https://go.example.com",
            "https://proxy.example.org,direct",
            "http://127.0.0.1:8080,",
            "off",
            "",
        ] {
            assert_eq!(told(&config, fine), None, "{fine}");
        }
        for (list, named) in [
            ("https://go.example.com,https://user:secret@proxy.example.org/x,direct", "proxy.example.org stands"),
            ("https://GO.example.com:443/api/packages/team/go,direct", "direct stands"),
            ("http://localhost:8080|https://proxy.example.org", "proxy.example.org stands"),
            ("http://127.0.0.1:8080,,https://proxy.example.org", "proxy.example.org stands"),
        ] {
            let told = told(&config, list).unwrap();
            assert!(told.contains(named) && !told.contains("secret"), "{list}: {told}");
        }
    }

    #[test]
    fn the_environment_goes_over_the_file_that_go_env_writes() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("go/env");
        fs::create_dir(scratch.path().join("go")).unwrap();
        fs::write(&file, "GOFLAGS=-mod=mod\nGOPROXY=https://a.example.org\n").unwrap();
        let found = |set: &[(&str, &str)]| {
            goproxy(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())).map(|goproxy| goproxy.list)
        };
        let home = scratch.path().to_str().unwrap();
        assert_eq!(found(&[("XDG_CONFIG_HOME", home)]).unwrap(), "https://a.example.org");
        assert_eq!(found(&[("GOENV", file.to_str().unwrap()), ("HOME", "/nowhere")]).unwrap(), "https://a.example.org");
        assert_eq!(found(&[("XDG_CONFIG_HOME", home), ("GOPROXY", "off")]).unwrap(), "off");
        assert_eq!(found(&[("XDG_CONFIG_HOME", home), ("GOENV", "off")]), None);
        assert_eq!(found(&[("HOME", "/nowhere")]), None);
    }
}
