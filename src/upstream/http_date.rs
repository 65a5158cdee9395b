//! Dates as HTTP writes them (RFC 9110, section 5.6.7), and how far our clock is from an upstream's.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use reqwest::header::{AGE, DATE, HeaderMap};
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// The one form of dates that is still written.
const FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
/// A smaller difference is none: answers take time, and dates are of whole seconds.
const SKEW_MIN: Duration = Duration::from_secs(60);

/// A time, if the text is one.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    Some(PrimitiveDateTime::parse(text, FORMAT).ok()?.assume_utc().into())
}

/// The difference of the clocks as the last answer told it.
#[derive(Debug, Default)]
pub(super) struct Skew(Mutex<Option<Told>>);

#[derive(Clone, Debug)]
struct Told {
    host: String,
    theirs: SystemTime,
    ours: SystemTime,
}

impl Skew {
    /// Notes the date of an answer that came now. One that a cache gave has an age, and tells nothing.
    pub(super) fn note(&self, host: impl FnOnce() -> String, headers: &HeaderMap) {
        let date = || parse(headers.get(DATE)?.to_str().ok()?);
        if let (None, Some(theirs)) = (headers.get(AGE), date()) {
            let told = Told { host: host(), theirs, ours: SystemTime::now() };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        }
    }

    /// What to tell the operator, where the clocks differ.
    pub(super) fn finding(&self) -> Option<String> {
        let Told { host, theirs, ours } = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let (by, how) = match ours.duration_since(theirs) {
            Ok(ahead) => (ahead, "ahead of"),
            Err(behind) => (behind.duration(), "behind"),
        };
        (by >= SKEW_MIN).then(|| format!("the clock is {} s {how} that of {host}: one of the two is off", by.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(date: &str, age: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::from_iter([(DATE, date.parse().unwrap())]);
        headers.extend(age.map(|age| (AGE, age.parse().unwrap())));
        headers
    }

    #[test]
    fn a_clock_that_is_off_is_told_by_whoever_answered_last() {
        let skew = Skew::default();
        assert_eq!(skew.finding(), None);
        skew.note(|| "proxy.example.org".to_owned(), &headers("Sun, 06 Nov 1994 08:49:37 GMT", None));
        let told = skew.finding().unwrap();
        assert!(told.contains("s ahead of that of proxy.example.org"), "{told}");
        let now: time::OffsetDateTime = SystemTime::now().into();
        let date = |moved: i64| (now + time::Duration::seconds(moved)).format(FORMAT).unwrap();
        skew.note(|| "cache.example.org".to_owned(), &headers(&date(0), Some("9")));
        assert!(skew.finding().is_some(), "an answer with an age says nothing");
        skew.note(|| "proxy.example.org".to_owned(), &headers(&date(30), None));
        assert_eq!(skew.finding(), None);
        skew.note(|| "proxy.example.org".to_owned(), &headers(&date(90), None));
        assert!(skew.finding().unwrap().contains("s behind that of"));
    }
}
