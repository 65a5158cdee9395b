//! Pseudo-versions: versions that name a commit. The specification is golang.org/x/mod/module/pseudo.go.
//!
//! ```text
//! vX.0.0-yyyymmddhhmmss-abcdef123456                            no version before it
//! vX.Y.(Z+1)-0.yyyymmddhhmmss-abcdef123456[+incompatible]       after vX.Y.Z
//! vX.Y.Z-pre.0.yyyymmddhhmmss-abcdef123456[+incompatible]       after vX.Y.Z-pre
//! ```

use time::{Date, Month, PrimitiveDateTime, Time};

use super::{Version, VersionError};
use crate::module::semver::Parsed;

/// A pseudo-version, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pseudo<'a> {
    version: &'a str,
    base: &'a str,
    stamp: &'a str,
    rev: &'a str,
    build: &'a str,
}

/// How many digits a time stamp has: yyyymmddhhmmss.
const STAMP_LEN: usize = 14;

impl<'a> Pseudo<'a> {
    /// Takes a version apart, canonical or not (`v0.0.0-…+meta` is a pseudo-version too); `None` if it is none.
    pub fn of(version: &'a str) -> Option<Self> {
        let parsed = Parsed::parse(version)?;
        let build = parsed.build;
        let text = &version[..version.len() - build.len()];
        let (rest, rev) = text.rsplit_once('-')?;
        let (rest, stamp) = rest.split_at_checked(rest.len().checked_sub(STAMP_LEN)?)?;
        let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        if rev.is_empty() || !rev.bytes().all(|b| b.is_ascii_alphanumeric()) || !digits(stamp) {
            return None;
        }
        let numbers = 1 + parsed.major.len() + 1 + parsed.minor.len() + 1 + parsed.patch.len();
        let base = match rest.get(numbers..)? {
            "-" if parsed.minor == "0" && parsed.patch == "0" => &rest[..numbers],
            mid if mid == "-0." || mid.starts_with('-') && mid.ends_with(".0.") => &rest[..rest.len() - 1],
            _ => return None,
        };
        Some(Self { version, base, stamp, rev, build })
    }

    /// The commit's identifier, usually the first 12 hexadecimal digits (`module.PseudoVersionRev`).
    pub fn rev(&self) -> &'a str {
        self.rev
    }

    /// The commit's time in UTC (`module.PseudoVersionTime`); an error if the digits are no time.
    pub fn time(&self) -> Result<time::OffsetDateTime, VersionError> {
        self.stamp_time().ok_or_else(|| self.fail(format!("malformed time {:?}", self.stamp)))
    }

    fn stamp_time(&self) -> Option<time::OffsetDateTime> {
        let number = |from: usize, to: usize| self.stamp.get(from..to)?.parse::<u16>().ok();
        let small = |from: usize| u8::try_from(number(from, from + 2)?).ok();
        let date = Date::from_calendar_date(number(0, 4)?.into(), Month::try_from(small(4)?).ok()?, small(6)?).ok()?;
        let time = Time::from_hms(small(8)?, small(10)?, small(12)?).ok()?;
        Some(PrimitiveDateTime::new(date, time).assume_utc())
    }

    /// The version that came before the commit, if there is one (`module.PseudoVersionBase`).
    ///
    /// An error if it cannot have been: `vX.Y.0-0.…` (the patch before 0), `vX.0.0-…+incompatible`.
    pub fn base(&self) -> Result<Option<Version>, VersionError> {
        let parsed = Parsed::parse(self.base).ok_or_else(|| self.fail("syntax error".to_owned()))?;
        match parsed.pre() {
            "" if self.build.is_empty() => Ok(None),
            "" => Err(self.fail(format!("lacks base version, but has build metadata {:?}", self.build))),
            "0" => {
                let numbers = self.base.strip_suffix("-0").unwrap_or(self.base);
                let Some(patch) = decrement(parsed.patch) else {
                    return Err(self.fail(format!("version before {numbers} would have negative patch number")));
                };
                let before = &numbers[..numbers.len() - parsed.patch.len()];
                self.parse_base(&[before, &patch, self.build].concat())
            }
            _ => self.parse_base(&[self.base.strip_suffix(".0").unwrap_or(self.base), self.build].concat()),
        }
    }

    fn parse_base(&self, base: &str) -> Result<Option<Version>, VersionError> {
        base.parse().map(Some)
    }

    fn fail(&self, reason: String) -> VersionError {
        VersionError { version: self.version.to_owned(), reason }
    }
}

/// One less, of decimal digits without leading zeros; `None` for 0.
fn decrement(decimal: &str) -> Option<String> {
    let mut digits = decimal.as_bytes().to_vec();
    let last = digits.iter().rposition(|&d| d != b'0')?;
    digits[last] -= 1;
    digits[last + 1..].fill(b'9');
    if digits.len() > 1 && digits[0] == b'0' {
        digits.remove(0);
    }
    String::from_utf8(digits).ok()
}
