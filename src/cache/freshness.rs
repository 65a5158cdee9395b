//! For how long an answer is good without asking upstream again, by the settings.

use std::time::{Duration, SystemTime};

use super::place::Asset;
use super::shelf::{Answer, Kept};

/// The settings' terms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// `cache.fresh`
    pub(super) fresh: Duration,
    /// `cache.stale`
    pub(super) stale: Duration,
    /// `cache.not_found`
    pub(super) not_found: Duration,
}

/// What may be done with an answer that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It answers.
    Fresh,
    /// It answers, and upstream is asked meanwhile.
    Stale,
    /// Upstream is asked first; if that fails, it answers.
    Old,
}

impl Terms {
    /// An age counts from when upstream said so. An answer from the future, by a clock that went back, is old.
    pub(super) fn age(&self, asset: &Asset, answer: &Answer, now: SystemTime) -> Age {
        let Some(at) = answer.at else { return Age::Fresh };
        // Unverified, and all the same the same for ever.
        if asset.is_immutable() && matches!(answer.kept, Kept::Found { .. }) {
            return Age::Fresh;
        }
        let Ok(age) = now.duration_since(at) else { return Age::Old };
        match &answer.kept {
            _ if asset.is_never_fresh() => Age::Old,
            Kept::Found { .. } if age < self.fresh => Age::Fresh,
            Kept::Found { .. } if age < self.stale => Age::Stale,
            Kept::Absent(_) if age < self.not_found => Age::Fresh,
            // That something is still absent is for upstream to say: whoever asks for it again has probably just made it.
            Kept::Found { .. } | Kept::Absent(_) => Age::Old,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shelf::Content;
    use super::*;
    use crate::protocol::{ModuleAsk, SumdbWhat};
    use crate::upstream::Absent;

    const MS: Duration = Duration::from_millis(1);
    const TERMS: Terms = Terms { fresh: Duration::from_secs(60), stale: Duration::from_secs(3600), not_found: Duration::from_secs(30) };

    fn at(secs: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000 + secs)
    }

    fn age(terms: &Terms, asset: &Asset, kept: &Kept, age: Duration) -> Age {
        let answer = Answer { key: String::new(), kept: kept.clone(), at: Some(at(0)), h1: None, voucher: None };
        terms.age(asset, &answer, at(0) + age)
    }

    fn list() -> Asset {
        Asset::Module("example.com/m".parse().unwrap(), ModuleAsk::List)
    }

    fn found() -> Kept {
        Kept::Found { content: Content::Bytes("v1.0.0\n".into()), etag: None }
    }

    #[test]
    fn an_answer_is_fresh_then_stale_then_old_and_an_absence_fresh_then_old() {
        let of = |kept: &Kept, time| age(&TERMS, &list(), kept, time);
        assert_eq!([of(&found(), Duration::ZERO), of(&found(), TERMS.fresh - MS)], [Age::Fresh; 2]);
        assert_eq!([of(&found(), TERMS.fresh), of(&found(), TERMS.stale - MS)], [Age::Stale; 2]);
        assert_eq!([of(&found(), TERMS.stale), of(&found(), TERMS.stale * 1000)], [Age::Old; 2]);
        let absent = Kept::Absent(Absent { status: 404, text: String::new() });
        assert_eq!([of(&absent, Duration::ZERO), of(&absent, TERMS.not_found - MS)], [Age::Fresh; 2]);
        assert_eq!(of(&absent, TERMS.not_found), Age::Old);
    }

    #[test]
    fn what_never_changes_is_fresh_and_what_comes_from_the_future_is_old() {
        let answer = |at| Answer { key: String::new(), kept: found(), at, h1: None, voucher: None };
        assert_eq!(TERMS.age(&list(), &answer(None), at(1 << 40)), Age::Fresh);
        assert_eq!(TERMS.age(&list(), &answer(Some(at(1))), at(0)), Age::Old);
    }

    #[test]
    fn terms_of_nothing_ask_first() {
        let none = Terms { fresh: Duration::ZERO, stale: Duration::ZERO, not_found: Duration::ZERO };
        assert_eq!(age(&none, &list(), &found(), Duration::ZERO), Age::Old);
        let head = Asset::Sumdb("sum.example.org".to_owned(), SumdbWhat::Latest);
        assert_eq!(age(&TERMS, &head, &found(), Duration::ZERO), Age::Old);
    }
}
