//! How much is looked up for a judgement must not tell what is hosted: whoever measures the time is a stranger.

use std::sync::Mutex;

use super::world::{World, path};
use crate::module::ModulePath;
use crate::store::KnownModules;

/// Knows what it is told, and notes what it is asked.
struct Asked {
    knows: &'static str,
    asked: Mutex<Vec<String>>,
}

impl Asked {
    fn note(&self, text: String) {
        self.asked.lock().unwrap().push(text);
    }
}

impl KnownModules for Asked {
    fn contains(&self, path: &ModulePath) -> bool {
        self.note(format!("contains {path}"));
        path.as_str() == self.knows
    }

    fn any_at_or_below(&self, prefix: &str) -> bool {
        self.note(format!("at or below {prefix}"));
        self.knows == prefix || self.knows.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
    }

    fn any_at(&self, path: &str) -> bool {
        self.note(format!("at {path}"));
        self.knows == path
    }

    fn any_between(&self, from: &str, to: &str, is: &dyn Fn(&str) -> bool) -> bool {
        self.note(format!("between {from} and {to}"));
        (from..to).contains(&self.knows) && is(self.knows)
    }
}

async fn looked_up(world: &World, asked: &str, knows: &'static str) -> Vec<String> {
    let (policy, known) = (world.policy(), Asked { knows, asked: Mutex::default() });
    policy.judge(&path(asked), policy.view().await.unwrap().facts(&known));
    known.asked.into_inner().unwrap()
}

#[tokio::test]
async fn the_same_is_looked_up_whether_or_not_something_is_hosted() {
    for asked in ["gopkg.in/acme.v2", "gopkg.in/acme/lib.v2/sub.v1", "github.com/acme/lib/v2", "pagure.io/acme", "example.com/acme/lib"] {
        for knows in ["example.org/other", "gopkg.in/acme.v1", "gopkg.in/acme/lib.v3-unstable", "github.com/acme/lib"] {
            let nothing = looked_up(&World::new("m.toml"), asked, knows).await;
            for hosted in [asked, "gopkg.in/acme.v7", "gopkg.in/acme/lib.v1", "github.com/acme/lib", "pagure.io/acme/x", "example.com/acme"]
            {
                let world = World::new("m.toml");
                world.store.host(hosted, "platform");
                assert_eq!(looked_up(&world, asked, knows).await, nothing, "{asked}, {hosted} hosted, {knows} known");
                world.store.bury(hosted, "platform");
                assert_eq!(looked_up(&world, asked, knows).await, nothing, "{asked}, {hosted} deleted, {knows} known");
            }
            assert!(nothing.len() < 20, "{asked}: {nothing:?}");
        }
    }
}

#[tokio::test]
async fn however_long_a_path_is_little_is_looked_up_for_it() {
    let long = format!("github.com/acme/lib{}", "/x".repeat(2000));
    for hosted in ["github.com/acme/lib", "example.org/other"] {
        let world = World::new("m.toml");
        world.store.host(hosted, "platform");
        let looked_up = looked_up(&world, &long, "example.org/other").await;
        assert!(looked_up.len() < 20, "{hosted} hosted: {} look-ups", looked_up.len());
    }
}
