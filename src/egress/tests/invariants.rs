//! The promise that no private path leaves, over generated worlds; and the policy against a slow and plain reading of its rules.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::world::{World, path};
use crate::config::UnknownHosts;
use crate::egress::{Class, Denied, Reader, Rule, SignIn, Verdict, miss_text};
use crate::module::{ModulePath, Pattern};
use crate::store::{HostedIndex, Records};

const HOSTS: &[&str] = &["corp.example.com", "code.example.com", "github.com", "gopkg.in", "k8s.io", "a.test", "10.0.0.1", "127.1"];
/// Of those, what the settings list as public or shared.
const LISTED: &[&str] = &["github.com", "gopkg.in", "k8s.io"];
const ELEMENTS: &[&str] = &["a", "A", "b", "lib", "lib.git", "Lib", "v2", "yaml.v2", "yaml.v3", "yaml", "yaml.git.v2", "yaml.v2.git.v3"];
const GLOBS: &[&str] = &["*", "a", "A*", "[ab]", "l?b", "lib", "lib.git", "yaml.v?", "yaml.git.v2", "v2"];

#[derive(Clone, Debug)]
struct Plan {
    hosted: Vec<String>,
    tombstones: Vec<String>,
    claims: Vec<String>,
    known: Vec<String>,
    exceptions: Vec<String>,
    patterns: Vec<String>,
    modules: Vec<String>,
    unknown_hosts: UnknownHosts,
    made_public: Vec<String>,
}

fn any_path() -> impl Strategy<Value = String> {
    let elements = vec(select(ELEMENTS), 0..4);
    (select(HOSTS), elements).prop_map(|(host, elements)| valid([&[host], &elements[..]].concat().join("/")))
}

/// The path, at gopkg.in with a version behind it if it has none.
fn valid(path: String) -> String {
    if path.parse::<ModulePath>().is_ok() { path } else { path + "/lib.v3" }
}

fn any_pattern() -> impl Strategy<Value = String> {
    let hosts = select(
        &["corp.example.com", "code.example.com", "github.com", "gopkg.in", "*.example.com", "k8s.io", "a.test", "10.0.0.1", "*"][..],
    );
    (hosts, vec(select(GLOBS), 0..4)).prop_map(|(host, elements)| [&[host], &elements[..]].concat().join("/"))
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let paths = |most| vec(any_path(), 0..most);
    let patterns = |most| vec(any_pattern(), 0..most);
    let hosts = |most| vec(select(HOSTS).prop_map(str::to_owned), 0..most);
    let unknown_hosts = (select(&[UnknownHosts::Allow, UnknownHosts::Audit, UnknownHosts::Hold][..]), hosts(2));
    (paths(4), paths(3), hosts(2), paths(5), patterns(3), patterns(3), patterns(2), unknown_hosts).prop_map(
        |(hosted, mut tombstones, claims, known, exceptions, patterns, modules, (unknown_hosts, made_public))| {
            tombstones.retain(|path| !hosted.contains(path));
            Plan { hosted, tombstones, claims, known, exceptions, patterns, modules, unknown_hosts, made_public }
        },
    )
}

impl Plan {
    fn world(&self) -> World {
        let mut world = World::new("modgate.toml");
        self.patterns.iter().for_each(|text| world.pattern(text, 1));
        self.exceptions.iter().for_each(|text| world.exception(text, 2));
        let modules: Vec<&str> = self.modules.iter().map(String::as_str).collect();
        world.owner("platform", crate::config::Visibility::Private, &modules, 3);
        self.hosted.iter().for_each(|text| world.store.host(text, "platform"));
        self.tombstones.iter().for_each(|text| world.store.bury(text, "platform"));
        self.claims.iter().for_each(|host| world.store.claim(host, &format!("{host}/x.v1")));
        self.known.iter().for_each(|text| world.store.know(text));
        world.settings.unknown_hosts.value = self.unknown_hosts;
        self.made_public.iter().for_each(|host| world.store.make_host_public(host));
        world
    }
}

impl Plan {
    /// Whether the host, in lower case, is not listed, no operator made it public, and no module of it was fetched.
    fn nobody_knows(&self, host: &str) -> bool {
        let listed = LISTED.contains(&host);
        let fetched = self.known.iter().any(|known| known.split('/').next().unwrap().eq_ignore_ascii_case(host));
        !listed && !fetched && !self.made_public.iter().any(|made| made == host)
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn any_matches(patterns: &[String], path: &str) -> bool {
    patterns.iter().any(|text| text.parse::<Pattern>().unwrap().matches(path))
}

/// Twins of a path that a host may take for the same.
fn twins(path: &str) -> Vec<String> {
    let (host, rest) = path.split_once('/').unwrap_or((path, ""));
    let of = |rest: String| if rest.is_empty() { host.to_owned() } else { format!("{host}/{rest}") };
    let all = [path.to_owned(), of(rest.to_ascii_uppercase()), of(rest.to_ascii_lowercase())];
    all.into_iter().filter(|twin| twin.parse::<ModulePath>().is_ok()).collect()
}

/// The rules, one by one in their order, with nothing but loops: the oracle.
struct Reference<'a> {
    plan: &'a Plan,
    world: &'a World,
    index: std::sync::Arc<HostedIndex>,
}

impl Reference<'_> {
    fn plain(path: &str) -> Vec<String> {
        let lower = path.to_ascii_lowercase();
        let gopkg = lower.split('/').next() == Some("gopkg.in");
        let strip = |(i, e): (usize, &str)| if i == 0 { e.to_owned() } else { Self::plain_element(gopkg, e) };
        lower.split('/').enumerate().map(strip).collect()
    }

    /// Without `.git`; at gopkg.in, of all that is piled up behind the name, with the last `.vN` alone.
    fn plain_element(gopkg: bool, element: &str) -> String {
        let versions: Vec<&str> = element.split('.').filter(|part| *part != "git").collect();
        match versions[..] {
            [name, .., last] if gopkg => format!("{name}.{last}"),
            _ => element.trim_end_matches(".git").to_owned(),
        }
    }

    fn root(path: &str) -> Vec<String> {
        let mut elements = Self::plain(path);
        let versioned = elements.iter().position(|e| e.contains(".v")).filter(|i| *i == 1 || *i == 2);
        if let Some(i) = versioned.filter(|_| elements[0] == "gopkg.in") {
            elements.truncate(i + 1);
            elements[i] = elements[i].split(".v").next().unwrap().to_owned();
        }
        elements.truncate(3);
        elements
    }

    /// A path at gopkg.in without any `.vN`.
    fn unversioned(path: &str) -> Vec<String> {
        let gopkg = path.starts_with("gopkg.in");
        Self::plain(path).into_iter().map(|e| if gopkg { e.split(".v").next().unwrap().to_owned() } else { e }).collect()
    }

    fn is_known(&self, path: &str) -> bool {
        self.plan.known.iter().any(|known| known == path)
    }

    fn rule(&self, path: &str) -> Rule {
        let lower = path.to_ascii_lowercase();
        let plain = Self::plain(path);
        let host = plain[0].clone();
        let shared = self.world.settings.hosts.shared.contains(&host);
        let leaves: Vec<String> =
            self.index.hosted.keys().chain(self.index.tombstones.keys()).map(|leaf| leaf.as_str().to_owned()).collect();
        if leaves.iter().any(|leaf| leaf.eq_ignore_ascii_case(path)) {
            return Rule::Hosted;
        }
        if !leaves.iter().any(|leaf| Self::plain(leaf) == plain) && any_matches(&self.plan.exceptions, &lower) {
            return Rule::Exception;
        }
        let covered = |path: &str| any_matches(&self.plan.patterns, path) || any_matches(&self.plan.modules, path);
        let deep = plain.len() >= if shared { 2 } else { 1 };
        let above = leaves.iter().any(|leaf| Self::plain(leaf).len() > plain.len() && Self::plain(leaf).starts_with(&plain));
        let spelled = self.plan.patterns.iter().chain(&self.plan.modules).any(|pattern| {
            let all = pattern.split('/').count();
            let literal: Vec<&str> = pattern.split('/').take_while(|e| !e.contains(['*', '?', '['])).collect();
            let literal = Self::plain(&literal.join("/"));
            let proper = all == literal.len();
            literal.starts_with(&plain) && !(proper && literal.len() == plain.len())
        });
        if deep && (above || spelled) && !self.is_known(path) {
            return Rule::Ancestor;
        }
        if leaves.iter().any(|leaf| plain.starts_with(&Self::plain(leaf))) && !self.is_known(path) {
            return Rule::Below;
        }
        let in_closed_repository = leaves.iter().filter(|leaf| Self::plain(leaf)[0] == host).map(|leaf| Self::root(leaf)).any(|root| {
            let at_or_below = |of: &str| Self::unversioned(of).starts_with(&root);
            at_or_below(path) && !self.plan.known.iter().any(|known| at_or_below_known(known, &root))
        });
        if shared && in_closed_repository && !self.is_known(path) {
            return Rule::Below;
        }
        if covered(&lower) || covered(&plain.join("/")) || self.covered_as_git_twin(&plain) {
            return Rule::Pattern;
        }
        if self.plan.claims.contains(&host) {
            return Rule::Claim;
        }
        if ["a.test", "10.0.0.1", "127.1"].contains(&host.as_str()) {
            return Rule::NeverPublic;
        }
        if host == "github.com" && plain.len() < 3 {
            return Rule::SharedRoot;
        }
        if self.plan.unknown_hosts != UnknownHosts::Allow && self.plan.nobody_knows(&host) { Rule::UnknownHost } else { Rule::Public }
    }

    /// What becomes of a path by this rule.
    fn class(&self, rule: Rule) -> Class {
        match rule {
            Rule::Exception | Rule::Public => Class::Public,
            Rule::UnknownHost if self.plan.unknown_hosts == UnknownHosts::Audit => Class::Public,
            _ => Class::Private,
        }
    }

    fn covered_as_git_twin(&self, plain: &[String]) -> bool {
        let stripped = |pattern: &String| {
            let gopkg = pattern.starts_with("gopkg.in");
            pattern.to_ascii_lowercase().split('/').map(|e| Self::plain_element(gopkg, e)).collect::<Vec<_>>()
        };
        let patterns: Vec<String> = self.plan.patterns.iter().chain(&self.plan.modules).map(|p| stripped(p).join("/")).collect();
        any_matches(&patterns, &plain.join("/"))
    }
}

/// Whether a known module lies at or below a repository's root; one `.git` or one `.vN` does not count in the root's last element.
fn at_or_below_known(known: &str, root: &[String]) -> bool {
    let mut elements: Vec<String> = known.to_ascii_lowercase().split('/').map(str::to_owned).collect();
    let last = root.len() - 1;
    if elements.len() > last && last > 0 {
        let last = &mut elements[last];
        match last.rsplit_once('.') {
            Some((name, "git")) => *last = name.to_owned(),
            Some((name, more)) if root[0] == "gopkg.in" && more.starts_with('v') => *last = name.to_owned(),
            _ => {}
        }
    }
    elements.starts_with(root)
}

async fn decide(world: &World, text: &str) -> Verdict {
    world.decide(text).await
}

/// A path that has something to do with the plan more often than not.
fn asked_in(plan: &Plan) -> impl Strategy<Value = String> + use<> {
    let mut near: Vec<String> = plan.hosted.iter().chain(&plan.tombstones).chain(&plan.known).cloned().collect();
    near.push("code.example.com/a".to_owned());
    let near = (select(near), select(&["", "/v2", "/lib/x", ".git", "/.."][..])).prop_map(|(path, more)| {
        valid(match (more, path.rsplit_once('/')) {
            ("/..", Some((above, _))) => above.to_owned(),
            ("/.." | ".git", None) => path,
            _ => path + more,
        })
    });
    prop_oneof![any_path(), near]
}

fn plan_and_path() -> impl Strategy<Value = (Plan, String)> {
    any_plan().prop_flat_map(|plan| {
        let asked = asked_in(&plan);
        (Just(plan), asked)
    })
}

/// Some cases a run; `PROPTEST_CASES` for more.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(500), failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_policy_and_the_plain_reading_of_its_rules_agree((plan, asked) in plan_and_path()) {
        let world = plan.world();
        let (index, verdict) = run(async { (world.store.hosted_index().await.unwrap(), decide(&world, &asked).await) });
        let reference = Reference { plan: &plan, world: &world, index: std::sync::Arc::clone(&index) };
        prop_assert_eq!(verdict.rule, reference.rule(&asked), "{}: {:?}", asked, verdict);
        prop_assert_eq!(verdict.class, reference.class(verdict.rule), "{}", asked);
    }

    #[test]
    fn where_unknown_hosts_are_held_nothing_leaves_at_one_but_by_an_exception((mut plan, asked) in plan_and_path()) {
        plan.unknown_hosts = UnknownHosts::Hold;
        plan.exceptions.retain(|exception| !any_matches(std::slice::from_ref(exception), &asked));
        let permit = run(plan.world().gate().permit(&path(&asked), "anonymous"));
        let host = asked.split('/').next().unwrap();
        prop_assert!(permit.is_err() || !plan.nobody_knows(host), "{asked}: {permit:?}");
    }

    #[test]
    fn to_watch_unknown_hosts_lets_out_what_to_allow_them_does_and_to_hold_them_less((plan, asked) in plan_and_path()) {
        let class = |unknown_hosts| run(decide(&Plan { unknown_hosts, ..plan.clone() }.world(), &asked)).class;
        let allowed = class(UnknownHosts::Allow);
        prop_assert_eq!(class(UnknownHosts::Audit), allowed);
        prop_assert!(class(UnknownHosts::Hold) == allowed || allowed == Class::Public);
    }

    #[test]
    fn a_hosted_path_a_tombstone_or_a_case_twin_is_never_public(plan in any_plan()) {
        let world = plan.world();
        for leaf in plan.hosted.iter().chain(&plan.tombstones) {
            for twin in twins(leaf) {
                let verdict = run(decide(&world, &twin));
                prop_assert_eq!(verdict.rule, Rule::Hosted, "{}", twin);
                let permit = run(world.gate().permit(&path(&twin), "anonymous"));
                prop_assert!(matches!(permit, Err(Denied::Private(_))));
            }
        }
        prop_assert!(world.store.ledger.lock().unwrap().is_empty());
    }

    #[test]
    fn what_a_private_pattern_matches_and_no_exception_is_private((mut plan, asked) in plan_and_path(), cut in 0_usize..4, globs in 0_u8..8) {
        let elements = asked.split('/').enumerate().map(|(i, e)| if i > 0 && globs >> i & 1 == 1 { "*" } else { e });
        plan.patterns.push(elements.take(cut + 1).collect::<Vec<_>>().join("/").to_ascii_uppercase());
        plan.exceptions.retain(|exception| !any_matches(std::slice::from_ref(exception), &asked));
        prop_assert!(any_matches(&plan.patterns, &asked));
        prop_assert_eq!(run(decide(&plan.world(), &asked)).class, Class::Private);
    }

    #[test]
    fn everything_at_a_claimed_host_is_private_but_for_exceptions((plan, asked) in plan_and_path()) {
        let host = asked.split('/').next().unwrap().to_owned();
        let mut plan = Plan { claims: vec![host], ..plan };
        plan.exceptions.retain(|exception| !any_matches(std::slice::from_ref(exception), &asked));
        prop_assert_eq!(run(decide(&plan.world(), &asked)).class, Class::Private);
    }

    #[test]
    fn what_may_leave_is_in_the_ledger_before_it_may((plan, asked) in plan_and_path()) {
        let world = plan.world();
        let permit = run(world.gate().permit(&path(&asked), "user:alice"));
        let ledger = world.store.ledger.lock().unwrap();
        match permit {
            Ok(public) => {
                prop_assert_eq!(public.path().as_str(), &asked);
                prop_assert!(ledger.iter().any(|line| line.path.as_str() == asked && line.principal == "user:alice"));
            }
            Err(Denied::Private(verdict)) => {
                prop_assert_eq!(verdict.class, Class::Private);
                prop_assert!(ledger.is_empty());
            }
            Err(Denied::Store(e)) => prop_assert!(false, "{}", e),
        }
    }

    #[test]
    fn more_that_is_private_never_opens_anything((plan, asked) in plan_and_path(), more in any_plan()) {
        let before = run(decide(&plan.world(), &asked));
        let Plan { hosted, tombstones, claims, patterns, modules, .. } = more;
        let mut fuller = plan.clone();
        fuller.hosted.extend(hosted);
        fuller.tombstones.extend(tombstones);
        fuller.tombstones.retain(|path| !fuller.hosted.contains(path));
        fuller.claims.extend(claims);
        fuller.patterns.extend(patterns);
        fuller.modules.extend(modules);
        let after = run(decide(&fuller.world(), &asked));
        prop_assert!(!(before.class == Class::Private && after.class == Class::Public), "{before:?} {after:?}");
    }

    #[test]
    fn one_policy_follows_the_store((plan, asked) in plan_and_path(), later in vec(any_path(), 1..5)) {
        let world = plan.world();
        let kept = world.policy();
        for leaf in later {
            world.store.host(&leaf, "platform");
            let (of_kept, of_new) = run(async { (kept.decide(&path(&asked)).await.unwrap(), world.decide(&asked).await) });
            prop_assert_eq!(of_kept, of_new);
            world.store.bury(&leaf, "platform");
            let (of_kept, of_new) = run(async { (kept.decide(&path(&asked)).await.unwrap(), world.decide(&asked).await) });
            prop_assert_eq!(of_kept, of_new);
        }
    }
}

#[test]
fn refusals_of_a_path_are_one_line_whatever_the_rule() {
    let sign_in = SignIn { goproxy: "https://go.example.com:8443/go".to_owned(), machine: "go.example.com:8443".to_owned() };
    let anonymous = |sign_in, https| Reader::Anonymous { sign_in, https };
    for (reader, end) in [
        (anonymous(Some(&sign_in), true), "; publish it, or sign in: machine go.example.com:8443 in ~/.netrc"),
        (
            anonymous(Some(&sign_in), false),
            "; publish it, or sign in over https alone: GOPROXY=https://go.example.com:8443/go, machine go.example.com:8443 in ~/.netrc",
        ),
        (anonymous(None, true), "; publish it, or sign in over https"),
        (Reader::SignedIn("user:alice"), ", signed in as user:alice; publish it, or ask for the right to read it"),
    ] {
        let text = miss_text(&path("a.test/x"), reader, false);
        assert_eq!(text, format!("a.test/x is private here and not available to you{end}"));
    }
    let long: ModulePath = path(&format!("a.test/{}", "x".repeat(5000)));
    let host = "h".repeat(100);
    let far = SignIn { goproxy: format!("https://{host}:8443"), machine: format!("{host}:8443") };
    for reader in [anonymous(Some(&far), true), anonymous(Some(&far), false), Reader::SignedIn("token:build")] {
        let text = miss_text(&long, reader, true);
        assert!(text.len() < 600 && !text.contains('\n'), "{} {text}", text.len());
    }
}
