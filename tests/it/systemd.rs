//! The shipped units, as systemd's own tools judge them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use modgate::config::{self, Config};

use crate::support::process::{self, Ran};

/// The most that `systemd-analyze security` may find, of 10.
const EXPOSURE_MAX: f64 = 2.0;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd").join(name)
}

fn analyze(args: &[&str]) -> Ran {
    let mut command = Command::new("systemd-analyze");
    command.env_clear().env("PATH", std::env::var("PATH").expect("PATH")).args(["--no-pager"]).args(args);
    process::run(command, Duration::from_secs(60))
}

#[test]
fn the_service_is_confined() {
    let unit = shipped("modgate.service");
    let ran = analyze(&["security", "--offline=true", unit.to_str().expect("UTF-8")]);
    let level = ran.ok().lines().find_map(|line| line.split_once("Overall exposure level for modgate.service: ")).expect("a level").1;
    let level: f64 = level.split(' ').next().and_then(|number| number.parse().ok()).expect("a number");
    assert!(level < EXPOSURE_MAX, "{level}: {ran}");
}

#[test]
fn the_units_are_well_formed() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = fs::read_to_string(shipped("modgate.service")).expect("read the unit");
    // Installed there, where it need not be.
    let text = text.replace("/usr/local/bin/modgate ", &format!("{} ", env!("CARGO_BIN_EXE_modgate")));
    fs::write(folder.path().join("modgate.service"), text).expect("write the unit");
    fs::copy(shipped("modgate.socket"), folder.path().join("modgate.socket")).expect("copy the unit");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let ran = analyze(&["verify", "--man=no", &path("modgate.service"), &path("modgate.socket")]);
    ran.ok();
    // It succeeds in spite of keys that it does not know.
    assert_eq!(ran.stderr.lines().filter(|line| line.contains("modgate")).collect::<Vec<_>>(), Vec::<&str>::new(), "{ran}");
}

#[test]
fn the_service_has_time_to_drain() {
    let text = fs::read_to_string(shipped("modgate.service")).expect("read the unit");
    let stop = text.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).and_then(config::parse_duration).expect("a duration");
    let drain = Config::from_toml("").expect("the defaults").server.drain;
    assert!(stop >= drain + Duration::from_secs(5), "{stop:?}, {drain:?}");
}

#[test]
fn the_settings_that_the_socket_unit_shows_have_its_addresses() {
    let text = fs::read_to_string(shipped("modgate.socket")).expect("read the unit");
    let settings: String = text.lines().filter_map(|line| line.strip_prefix("#   ")).map(|line| format!("{line}\n")).collect();
    let more = "tls = \"local\"\npublic_url = \"https://go.example.com\"\n";
    let server = Config::from_toml(&(settings + more)).expect("settings").server;
    // A port alone is every address of both families.
    let streams = text.lines().filter_map(|line| line.strip_prefix("ListenStream="));
    let streams: Vec<String> = streams.map(|at| if at.contains(':') { at.to_owned() } else { format!("[::]:{at}") }).collect();
    let named: Vec<String> = server.listen.iter().chain(&server.tls_listen).map(ToString::to_string).collect();
    assert_eq!(named, streams);
}
