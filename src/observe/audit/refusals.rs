//! Refusals come in floods: a build that lacks its credentials asks for the same again and again, and so does whoever guesses. Of
//! those that are alike, one a minute is written at once, and how many more there were when the minute is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Actor, Refused};
use crate::module::{ModulePath, Version};

/// How long those that are alike are one.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// So many different ones a window; what comes then is told by its rule alone. 60 lines a minute fill the trail in a month at least.
pub(super) const DIFFERENT_MAX: usize = 60;
/// Stands for the principals and paths of those.
const SEVERAL: &str = "*";

#[derive(PartialEq, Eq, Hash)]
struct Key {
    by: Arc<str>,
    rule: &'static str,
    reason: Option<&'static str>,
    path: String,
    module: Option<ModulePath>,
    version: Option<Version>,
}

impl Key {
    fn of(actor: &Actor, refused: &Refused) -> Self {
        let Refused { rule, reason, path, module, version, .. } = refused;
        Self { by: actor.by.clone(), rule, reason: *reason, path: path.clone(), module: module.clone(), version: version.clone() }
    }
}

struct Alike {
    until: Instant,
    actor: Actor,
    refused: Refused,
    /// After the first, which is written.
    more: u64,
}

/// What was refused lately.
#[derive(Default)]
pub(super) struct Refusals {
    lately: HashMap<Key, Alike>,
}

impl Refusals {
    /// Counts a refusal. What is to be written now: itself, or nothing.
    pub(super) fn admit(&mut self, actor: &Actor, refused: &Refused, now: Instant) -> Option<(Actor, Refused)> {
        let (mut actor, mut refused) = (actor.clone(), refused.clone());
        if self.lately.len() >= DIFFERENT_MAX && !self.lately.contains_key(&Key::of(&actor, &refused)) {
            actor = Actor::local(SEVERAL);
            refused = Refused { path: SEVERAL.to_owned(), module: None, version: None, reason: None, ..refused };
        }
        let mut first = false;
        let alike = self.lately.entry(Key::of(&actor, &refused)).or_insert_with(|| {
            first = true;
            // The rest of them came in other requests.
            let actor = Actor { request_id: None, ..actor.clone() };
            Alike { until: now + WINDOW, actor, refused: refused.clone(), more: 0 }
        });
        if first {
            return Some((actor, refused));
        }
        alike.more += 1;
        None
    }

    /// Those whose window was over at `now`: what is to be written of them.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(Actor, Refused)> {
        let due = self.lately.extract_if(|_, alike| alike.until <= now).map(|(_, alike)| alike);
        due.filter(|alike| alike.more > 0).map(|alike| (alike.actor, Refused { times: alike.more, ..alike.refused })).collect()
    }

    /// All of them, whatever the time.
    pub(super) fn all(&mut self) -> Vec<(Actor, Refused)> {
        let latest = self.lately.values().map(|alike| alike.until).max();
        latest.map_or_else(Vec::new, |latest| self.due(latest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str) -> Refused {
        let (path, module) = (path.to_owned(), None);
        Refused { rule: "rights", reason: None, kind: "publish", path, module, version: None, status: 403, times: 1 }
    }

    #[test]
    fn of_those_that_are_alike_one_is_written_and_then_how_many_more() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let actor = |by| Actor { by: Arc::from(by), request_id: Some("id".into()), peer: None };
        assert_eq!(refusals.admit(&actor("a"), &refused("/x"), start), Some((actor("a"), refused("/x"))));
        for _ in 0..3 {
            assert_eq!(refusals.admit(&actor("a"), &refused("/x"), start), None);
        }
        assert!(refusals.admit(&actor("b"), &refused("/x"), start).is_some(), "another principal");
        assert!(refusals.admit(&actor("a"), &refused("/y"), start).is_some(), "another path");
        let module = Some("corp.example.com/lib".parse().unwrap());
        assert!(refusals.admit(&actor("a"), &Refused { module, ..refused("/x") }, start).is_some(), "another module");
        let reason = Some("exists-other");
        assert!(refusals.admit(&actor("a"), &Refused { reason, ..refused("/x") }, start).is_some(), "another reason");
        assert_eq!(refusals.due(start + WINDOW - Duration::from_millis(1)), []);
        let more = (Actor { request_id: None, ..actor("a") }, Refused { times: 3, ..refused("/x") });
        assert_eq!(refusals.due(start + WINDOW), [more]);
        assert!(refusals.admit(&actor("a"), &refused("/x"), start + WINDOW).is_some(), "another minute");
    }

    #[test]
    fn a_flood_of_different_ones_is_bounded_and_counted() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let actor = Actor::local("a");
        let written = (0..1000).filter_map(|n| refusals.admit(&actor, &refused(&format!("/{n}")), now)).count();
        assert_eq!(written, DIFFERENT_MAX + 1);
        let rest = refusals.all();
        assert_eq!(rest, [(Actor::local(SEVERAL), Refused { times: 1000 - DIFFERENT_MAX as u64 - 1, ..refused(SEVERAL) })]);
        assert!(refusals.admit(&actor, &refused("/0"), now).is_some_and(|(actor, _)| &*actor.by == "a"));
    }
}
