//! `Retry-After` (RFC 9110): for how long an upstream wants to be left alone.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// What a 429 or 503 says of it; nothing where it says none, or a time that is past.
pub(super) fn of(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    parse(headers.get(RETRY_AFTER)?.to_str().ok()?.trim(), SystemTime::now())
}

/// Seconds, or a date. However far off: who heeds it has a bound.
fn parse(text: &str, now: SystemTime) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are a long time all the same.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    super::http_date::parse(text)?.duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_nothing_else() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 60);
        for (text, expected) in [
            ("0", Some(Duration::ZERO)),
            ("120", Some(Duration::from_secs(120))),
            ("99999999999999999999999", Some(Duration::from_secs(u64::MAX))),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(Duration::from_secs(60))),
            ("Sun, 06 Nov 1994 08:48:36 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parse(text, now), expected, "{text}");
        }
    }

    #[test]
    fn only_429_and_503_are_heeded() {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, "7".parse().unwrap())]);
        for status in [200, 404, 429, 500, 502, 503] {
            let wish = of(StatusCode::from_u16(status).unwrap(), &headers);
            assert_eq!(wish.is_some(), matches!(status, 429 | 503), "{status}");
        }
    }
}
