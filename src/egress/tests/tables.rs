//! `cases/*.txt`: a world and what the policy says of paths in it. A new case is a new line, a new matter a new file.
//!
//! Lines, in any order but that the world comes before what is asked of it; `#` begins a comment:
//!
//! - `pattern P`, `exception P`, `owner NAME VISIBILITY P…`, `claim-hosts off`, `unknown-hosts allow|audit|hold`
//! - `hosted PATH [OWNER]`, `tombstone PATH [OWNER]`, `claim HOST`, `released HOST`, `made-public HOST`, `known PATH`
//! - `private PATH RULE [BY]`, `public PATH RULE [BY]`: BY is the pattern, the hosted path or the claimed host that decided,
//!   or, of a path that may leave, what was opened
//! - `claims PATH HOST|nothing`: what the first publish claims
//! - `alone PATH RULE|nothing`: what keeps the path private beside what is hosted, that claim included
//! - `shadow PATH known|below|host|nothing`
//! - `bare PATH…`: all that only being hosted keeps private; `bared HOST PATH…`: what the release of HOST would add
//! - `openings PATH…`

use std::path::Path;

use super::world::{World, path};
use crate::config::Visibility;
use crate::egress::{Rule, Shadow, Verdict, Where};
use crate::module::ModulePath;

#[tokio::test]
async fn every_case_is_judged_as_its_table_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/egress/tests/cases");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut wrong = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        wrong.extend(judge_file(&name, &std::fs::read_to_string(file).unwrap()).await);
    }
    assert!(files.len() >= 10, "the cases are gone");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn judge_file(name: &str, text: &str) -> Vec<String> {
    let mut world = World::new(name);
    let mut wrong = Vec::new();
    let mut asked = 0;
    for (i, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        let Some((verb, args)) = words.split_first() else { continue };
        if build(&mut world, verb, args, i + 1) {
            assert_eq!(asked, 0, "{name}:{}: the world comes first", i + 1);
            continue;
        }
        asked += 1;
        let answer = ask(&world, verb, args).await;
        let expected = args.get(usize::from(!matches!(*verb, "bare" | "openings"))..).unwrap_or_default().join(" ");
        if answer != expected {
            wrong.push(format!("{name}:{}: {line}\n    is: {answer}", i + 1));
        }
    }
    assert!(asked > 0, "{name} asks nothing");
    wrong
}

fn build(world: &mut World, verb: &str, args: &[&str], line: usize) -> bool {
    let owner = args.get(1).copied().unwrap_or("platform");
    match (verb, args) {
        ("pattern", [text]) => world.pattern(text, line),
        ("exception", [text]) => world.exception(text, line),
        ("owner", [name, visibility, modules @ ..]) => {
            let visibility = match *visibility {
                "public" => Visibility::Public,
                "internal" => Visibility::Internal,
                "private" => Visibility::Private,
                other => panic!("line {line}: {other}"),
            };
            world.owner(name, visibility, modules, line);
        }
        ("claim-hosts", ["off"]) => world.settings.claim_hosts = false,
        ("unknown-hosts", [word]) => world.unknown_hosts(word),
        ("made-public", [host]) => world.store.make_host_public(host),
        ("hosted", [path, ..]) => world.store.host(path, owner),
        ("tombstone", [path, ..]) => world.store.bury(path, owner),
        ("claim", [host]) => world.store.claim(host, &format!("{host}/first")),
        ("released", [host]) => world.store.change(|index| {
            index.released.insert((*host).to_owned());
        }),
        ("known", [path]) => world.store.know(path),
        _ => return false,
    }
    true
}

async fn ask(world: &World, verb: &str, args: &[&str]) -> String {
    let policy = world.policy();
    let first = args.first().copied().unwrap_or_default();
    match verb {
        "private" | "public" => {
            let verdict = world.decide(first).await;
            let by = if args.len() > 2 { by(&verdict) } else { String::new() };
            let class = if verdict.is_public() { "public" } else { "private" };
            let class = if class == verb { String::new() } else { format!("{class} ") };
            format!("{class}{} {by}", verdict.rule).trim_end().to_owned()
        }
        "claims" => policy.claim_for(&path(first)).await.unwrap().unwrap_or_else(nothing),
        "alone" => {
            let claim = policy.claim_for(&path(first)).await.unwrap();
            let verdict = policy.privacy_without_hosting(&path(first), claim.as_deref()).await.unwrap();
            verdict.map_or_else(nothing, |verdict| verdict.rule.to_string())
        }
        "shadow" => match policy.shadows(&path(first)).await.unwrap() {
            None => nothing(),
            Some(Shadow::AtOrAboveKnown) => "known".to_owned(),
            Some(Shadow::BelowKnown(_)) => "below".to_owned(),
            Some(Shadow::PublicHost(_)) => "host".to_owned(),
        },
        "bare" => names(policy.private_only_while_hosted().await.unwrap().iter().map(|(path, _)| path)),
        "bared" => names(policy.bared_by_release(first).await.unwrap().iter().map(|(path, _)| path)),
        "openings" => names(policy.openings().await.unwrap().iter().map(|opening| &opening.path)),
        other => panic!("no such verb: {other}"),
    }
}

fn nothing() -> String {
    "nothing".to_owned()
}

fn names<'a>(paths: impl Iterator<Item = &'a ModulePath>) -> String {
    let paths: Vec<_> = paths.map(ModulePath::as_str).collect();
    if paths.is_empty() { nothing() } else { paths.join(" ") }
}

fn by(verdict: &Verdict) -> String {
    let name = |where_: &Where| match where_ {
        Where::Setting { pattern, .. } => pattern.clone(),
        Where::Hosted(place) => place.path.to_string(),
        Where::Claim { host, .. } => host.clone(),
        Where::Key(source) => source.to_string(),
        Where::MadePublic { .. } => "made-public".to_owned(),
        Where::Shipped => "shipped".to_owned(),
        Where::KnownHost => "known-host".to_owned(),
        Where::UnknownHostAllowed => "allowed".to_owned(),
        Where::BuiltIn => "built-in".to_owned(),
    };
    match &verdict.opened {
        Some(opened) if verdict.rule == Rule::Exception => format!("{} opens {}", name(&verdict.where_), name(&opened.by)),
        Some(opened) => format!("opens {}", name(&opened.by)),
        None => name(&verdict.where_),
    }
}
