//! What the tests stand on: fixtures, the real programs, and who watches them.

pub(crate) mod curl;
pub(crate) mod dials;
pub(crate) mod gateway;
pub(crate) mod go;
pub(crate) mod h2;
pub(crate) mod hostile;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod raw_h2;
pub(crate) mod recorder;
pub(crate) mod scenarios;
pub(crate) mod secrets;
pub(crate) mod server;
pub(crate) mod stand_in;
pub(crate) mod sumdb;
pub(crate) mod systemd;
pub(crate) mod txtar;
pub(crate) mod upstream;
pub(crate) mod zips;

/// Every file below a folder.
pub(crate) fn files_below(folder: &std::path::Path) -> Vec<String> {
    let mut all = vec![];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            all.extend(files_below(&entry.path()));
        } else {
            all.push(entry.path().display().to_string());
        }
    }
    all
}
