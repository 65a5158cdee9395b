//! What operators read.

use super::world::{World, path};
use crate::egress::{Explanation, Policy, Rule};
use crate::store::double::Double;

fn world() -> World {
    let mut world = World::new("/etc/modgate.toml");
    world.pattern("corp.example.com", 12);
    world.exception("code.example.com/oss*", 7);
    world.public_host("listed.example.com", 9);
    world.store.make_host_public("made.example.com");
    world.owner("data", crate::config::Visibility::Private, &["data.example.com/*"], 30);
    world.store.host("code.example.com/oss/inner", "data");
    world.store.bury("dead.example.com/x", "data");
    world.store.claim("shop.example.com", "shop.example.com/first");
    world.store.know("dead.example.com/x/known");
    world
}

#[tokio::test]
async fn explanations_name_the_rule_the_place_and_the_remedy() {
    let world = world();
    let mut all = String::new();
    for (module, visible) in [
        ("corp.example.com/secret", None),
        ("data.example.com/a", Some(false)),
        ("code.example.com/oss", None),
        ("code.example.com/oss/inner", Some(true)),
        ("code.example.com/OSS/inner", None),
        ("code.example.com", None),
        ("dead.example.com/x", None),
        ("dead.example.com/x/v2", None),
        ("dead.example.com/x/known", None),
        ("data.example.com", None),
        ("shop.example.com/typo", None),
        ("10.0.0.1/x", None),
        ("github.com/acme", None),
        ("golang.org/toolchain", None),
        ("listed.example.com/x", None),
        ("made.example.com/x", None),
        ("new.example.com/x", None),
    ] {
        all += &format!("{}\n", Explanation::new(&world.decide(module).await, visible));
    }
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn the_json_of_an_explanation_has_the_documented_keys_and_reads_back() {
    let explanation = Explanation::new(&world().decide("corp.example.com/secret").await, Some(false));
    let json = serde_json::to_string(&explanation).unwrap();
    let expected = r#"{"module":"corp.example.com/secret","class":"private","rule":"pattern","where":"/etc/modgate.toml:12","pattern":"corp.example.com","visible":false}"#;
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), explanation);
}

#[tokio::test]
async fn rules_have_one_name_everywhere() {
    use Rule::*;
    for rule in [Exception, Hosted, Ancestor, Below, Pattern, Claim, NeverPublic, SharedRoot, Public] {
        assert_eq!(serde_json::to_value(rule).unwrap(), rule.name());
    }
    assert!(world().policy().is_shared_root(&path("github.com/Acme")));
    assert!(!world().policy().is_shared_root(&path("gopkg.in/yaml.v3")));
}

#[tokio::test]
async fn with_the_shipped_lists_toolchains_leave_and_roots_do_not() {
    let config = crate::config::Config::from_toml("").unwrap();
    let policy = Policy::new(&config, std::sync::Arc::new(Double::default()));
    for public in ["golang.org/toolchain", "golang.org/x/tools", "k8s.io/client-go", "gopkg.in/yaml.v3", "github.com/a/b", "unlisted.org/x"]
    {
        assert_eq!(policy.decide(&path(public)).await.unwrap().rule, Rule::Public, "{public}");
    }
    for host in config.private.hosts.all() {
        let (root, org) = (path(host), format!("{host}/org"));
        let three_part = config.private.hosts.three_part(host);
        assert_eq!(policy.decide(&root).await.unwrap().rule == Rule::SharedRoot, three_part, "{host}");
        if let Ok(org) = org.parse() {
            assert_eq!(policy.is_shared_root(&org), three_part, "{host}");
        }
        assert_eq!(policy.claim_for(&path(&format!("{host}/org/repo.v1"))).await.unwrap(), None, "{host}");
    }
}
