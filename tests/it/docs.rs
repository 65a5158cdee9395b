//! The pages tell the truth: every command in README.md and docs/ is run as it stands there, every settings block is taken, every
//! alert is explained, every subcommand is told of, and every link leads somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::files_below;
use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::process::{self, Ran};
use crate::support::secrets;
use crate::support::upstream::Upstream;
use crate::support::zips::Module;

const DEADLINE: Duration = Duration::from_secs(120);

/// What is not run, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("make run", "it builds a release and serves until it is stopped; what it prints is pasted by the tests of the first run"),
    ("make test", "it is what runs this"),
    ("make container", "it builds a release"),
    ("modgate serve", "it serves until it is stopped; the gateway of this test is one"),
    ("install -m 0755 target/release/modgate /usr/local/bin/modgate", "it changes this machine"),
    ("cp deploy/systemd/modgate.service deploy/systemd/modgate.socket /etc/systemd/system/", "it changes this machine"),
    ("systemctl enable --now modgate.socket modgate.service", "it takes a running systemd; the tests of the units stand in for it"),
    ("systemctl reload modgate", "likewise"),
    ("systemctl restart modgate", "likewise"),
    (
        "docker build -f deploy/container/Containerfile -t modgate .",
        "it takes a container engine; deploy/container/try.sh does the same steps",
    ),
    ("docker run --read-only -v modgate:/data -p 8080:8080 -e MODGATE_SERVER__PUBLIC_URL=https://go.example.com modgate", "likewise"),
];

/// Beside what the README's own settings say: who else is named on the pages, and what was published before they begin.
const WORLD: &str = r#"
[owners.infra]
[owners.default]
visibility = "public"
"#;
/// Its host is claimed by publishing it.
const CLAIMED: &str = "tools.example.com/cli@v1.0.0\nowner: default\n-- go.mod --\nmodule tools.example.com/cli\n-- a.go --\npackage a\n";
/// A hash that is no placeholder, of nobody's password.
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$BS040xHdBATx5zOdvU0ILA$HvBPIAG4vLQ/rntQ+Or9ZrFAhtPpq9ZWhWoiaiLNu5Y";
/// The module that the README publishes, in a checkout.
const CHECKOUT: &str = "git init -q . && printf 'module corp.example.com/lib\\n' >go.mod && printf 'package lib\\n' >lib.go && git add . &&
    git -c user.name=alice -c user.email=alice@example.com commit -q -m lib && git tag v1.2.3";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// README.md, then docs/ in order: name and text.
fn pages() -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join("docs")).expect("docs").map(|entry| entry.expect("a page").path()).collect();
    files.sort();
    files.insert(0, root().join("README.md"));
    let name = |file: &Path| file.strip_prefix(root()).expect("below the root").display().to_string();
    files.iter().map(|file| (name(file), read(file))).collect()
}

/// The fenced blocks of a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(fence) = line.strip_prefix("```") {
            let block: String = lines.by_ref().take_while(|line| !line.starts_with("```")).map(|line| format!("{line}\n")).collect();
            if fence == language {
                blocks.push(block);
            }
        }
    }
    blocks
}

/// A command without the comment behind it.
fn bare(line: &str) -> &str {
    line.split_once(" #").map_or(line, |(command, _)| command).trim()
}

/// Every command line, with its page.
fn commands() -> Vec<(String, String)> {
    let of_page = |(name, page): (String, String)| {
        let lines: Vec<String> =
            blocks(&page, "sh").iter().flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        lines.into_iter().filter(|line| !bare(line).is_empty()).map(move |line| (name.clone(), line))
    };
    pages().into_iter().flat_map(of_page).collect()
}

/// A user's and operator's machine, beside a gateway with the README's settings.
struct World {
    gateway: Gateway,
    _upstream: Upstream,
    /// What stands on the pages, and what it is here; a later one may be part of an earlier one.
    places: Vec<(&'static str, String)>,
}

impl World {
    fn new() -> Self {
        let upstream = Upstream::start();
        let settings = blocks(&read(&root().join("README.md")), "toml").concat().replace("$argon2id$…", HASH);
        let mut gateway = Gateway::builder().upstream(&upstream).config(&settings).config(WORLD).prepare();
        // It holds password hashes.
        fs::set_permissions(gateway.config_file(), fs::Permissions::from_mode(0o600)).expect("chmod");
        gateway.start();
        gateway.publish(&Module::parse(CLAIMED)).is(201);
        let made = gateway.cli(&["token", "create", "--name", "old", "--scope", "read", "--json"]);
        let made: serde_json::Value = serde_json::from_str(made.ok()).expect("JSON");
        let home = gateway.config_file().parent().expect("a folder").to_owned();
        let below = |name: &str| home.join(name).display().to_string();
        for folder in ["etc", "backups", "work"] {
            fs::create_dir(home.join(folder)).expect("make a folder");
        }
        let places = vec![
            ("https://go.example.com", gateway.https_url()),
            ("http://127.0.0.1:8081", format!("http://{}", gateway.admin_address())),
            ("mg_…", gateway.admin_token()),
            ("/etc/modgate/", below("etc/")),
            ("/var/backups/", below("backups/")),
            ("/var/lib/modgate-", below("other-")),
            ("/var/lib/modgate", gateway.data_dir().display().to_string()),
            ("revoke ID", format!("revoke {}", made["id"].as_str().expect("an id"))),
        ];
        let world = Self { gateway, _upstream: upstream, places };
        world.run(CHECKOUT).ok();
        world
    }

    /// Runs a line in a shell, with `modgate` on the PATH and this machine's settings as the default ones.
    fn run(&self, line: &str) -> Ran {
        let gateway = &self.gateway;
        let programs = Path::new(env!("CARGO_BIN_EXE_modgate")).parent().expect("a folder").display().to_string();
        let mut command: Command = gateway.command_of("bash");
        command.env("PATH", format!("{programs}:{}", std::env::var("PATH").expect("PATH")));
        command.env("MODGATE_CONFIG", gateway.config_file()).env("MODGATE_DATA_DIR", gateway.data_dir());
        command.env("SSL_CERT_FILE", gateway.ca_bundle()).env("CURL_CA_BUNDLE", gateway.ca_bundle()).env("GOTOOLCHAIN", "local");
        command.current_dir(gateway.config_file().with_file_name("work")).args(["-euo", "pipefail", "-c", line]);
        let ran = process::run(command, DEADLINE);
        secrets::plant_tokens_in(&ran.stdout);
        ran
    }

    /// A line of a page, with what it names here.
    fn here(&self, line: &str) -> String {
        self.places.iter().fold(line.to_owned(), |line, (there, here)| line.replace(there, here))
    }
}

#[test]
fn every_command_of_the_pages_works_as_it_stands_there() {
    let world = World::new();
    let commands = commands();
    let mut left_out: BTreeSet<&str> = NOT_RUN.iter().map(|(command, _)| *command).collect();
    let mut run = 0;
    for (page, line) in &commands {
        if NOT_RUN.iter().any(|(command, _)| *command == bare(line)) {
            left_out.remove(bare(line));
            continue;
        }
        let ran = world.run(&world.here(line));
        assert!(ran.code == Some(0), "{page} says: {line}\n{ran}");
        run += 1;
    }
    assert!(run > 20, "only {run} commands were found");
    assert!(left_out.is_empty(), "no page has these any more: {left_out:?}");
    for (place, _) in &world.places {
        assert!(commands.iter().any(|(_, line)| line.contains(place)), "no command names {place} any more");
    }
}

#[test]
fn every_settings_block_of_the_pages_is_taken() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("modgate.toml");
    let mut seen = 0;
    for (page, text) in pages() {
        for block in blocks(&text, "toml") {
            fs::write(&file, block.replace("$argon2id$…", HASH)).expect("write the settings");
            let mut command = Command::new(env!("CARGO_BIN_EXE_modgate"));
            command.env_clear().arg("config").arg("--config").arg(&file).arg("--data-dir").arg(dir.path());
            let ran = process::run(command, DEADLINE);
            assert!(ran.code == Some(0), "{page}:\n{block}\n{ran}");
            seen += 1;
        }
    }
    assert!(seen > 2, "only {seen} blocks were found");
}

/// The subcommands of a command, as its help lists them.
fn subcommands(of: &[&str]) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modgate"));
    command.env_clear().args(of).arg("--help");
    let help = process::run(command, DEADLINE).ok().to_owned();
    let Some((_, listed)) = help.split_once("Commands:\n") else { return vec![] };
    let names = listed.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_subcommand_stands_on_a_page() {
    let pages: String = pages().into_iter().map(|(_, text)| text).collect();
    let all = subcommands(&[]);
    assert!(all.len() > 10, "{all:?}");
    for name in all {
        assert!(pages.contains(&format!("modgate {name}")), "no page tells of modgate {name}");
        for below in subcommands(&[&name]) {
            assert!(pages.contains(&format!("modgate {name} {below}")), "no page tells of modgate {name} {below}");
        }
    }
}

#[test]
fn every_alert_is_explained_and_asks_for_metrics_that_there_are() {
    let file = root().join("deploy/prometheus/modgate.yml");
    let mut command = Command::new("promtool");
    command.args(["check", "rules"]).arg(&file);
    process::run(command, DEADLINE).ok();

    let rules = read(&file);
    let after = |key: &str| rules.lines().filter_map(|line| line.trim().strip_prefix(key)).map(str::to_owned).collect::<Vec<_>>();
    let (names, asked) = (after("- alert: "), after("expr: "));
    assert_eq!(names.len(), asked.len());
    let page = read(&root().join("docs/operating.md"));
    let told: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("### Modgate")).map(|rest| format!("Modgate{rest}")).collect();
    assert_eq!(told, names);
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).start();
    // A request is counted before its line is written.
    gateway.log_with(&["\"path\":\"/readyz\""]);
    let metrics = http::get(gateway.admin_address(), "/metrics").expect("a page").body_text();
    for (name, expr) in names.iter().zip(&asked) {
        assert!(page.contains(&format!("### {name}\n\n`{expr}`")), "{name} is explained with another expression than {expr}");
        let words = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for metric in words.filter(|word| word.starts_with("modgate_") || word.starts_with("process_")) {
            let family = metric.strip_suffix("_bucket").unwrap_or(metric);
            assert!(metrics.contains(&format!("# TYPE {family} ")), "{name} asks for {family}, which there is not");
        }
    }
}

#[test]
fn every_line_of_the_log_that_the_page_names_is_written_somewhere() {
    let page = read(&root().join("docs/operating.md"));
    let (_, table) = page.split_once("Lines worth knowing:").expect("the table");
    let (table, _) = table.split_once("\n## ").expect("its end");
    let cells = table.lines().filter(|row| row.starts_with("| `")).filter_map(|row| row.split('|').nth(1));
    let named: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(named.len() > 10, "{named:?}");
    let sources = files_below(&root().join("src"));
    let source: String = sources.iter().map(|file| read(Path::new(file))).collect();
    for line in named {
        assert!(source.contains(line), "nothing logs {line:?}");
    }
}

#[test]
fn every_link_of_the_pages_leads_somewhere() {
    let mut all = pages();
    all.extend(["ARCHITECTURE.md", "CHANGELOG.md"].map(|name| (name.to_owned(), read(&root().join(name)))));
    for (name, text) in all {
        let folder = root().join(&name).parent().expect("a folder").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|link| !link.contains("://")) {
            assert!(folder.join(link).exists(), "{name} links to {link}");
        }
    }
}
