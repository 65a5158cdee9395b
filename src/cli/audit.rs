//! `modgate audit`: what was done, and by whom.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use super::connection::Connection;
use super::{UsageError, out};
use crate::admin::AuditAsk;
use crate::config;
use crate::observe::audit::Page;

/// Lines asked for at once.
const PAGE: usize = 1000;

/// What to print, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// Events from then on: 24h, 7d, 2026-01-31 or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", default_value = "24h")]
    since: String,
    /// The lines as they were written, one JSON object each
    #[arg(long)]
    json: bool,
}

/// Prints TIME, EVENT, BY, REQUEST and what else is known, oldest first.
pub async fn run(server: &Connection, options: &Options) -> anyhow::Result<ExitCode> {
    let since = since(&options.since, OffsetDateTime::now_utc())
        .ok_or_else(|| UsageError(format!("--since {}: no duration like 24h, no date like 2026-01-31, no RFC 3339 time", options.since)))?;
    let mut ask = AuditAsk { since: since.format(&Rfc3339)?, after: None, limit: PAGE };
    loop {
        let page: Page = server.call("audit", &ask).await?;
        let mut text =
            out::heading(options.json || ask.after.is_some() || page.lines.is_empty(), &["TIME", "EVENT", "BY", "REQUEST", "WHAT"]);
        text.extend(page.lines.iter().map(|line| if options.json { format!("{line}\n") } else { columns(line) }));
        if !out::print(&text)? || page.next.is_none() {
            return Ok(ExitCode::SUCCESS);
        }
        ask.after = page.next;
    }
}

/// The moment that `text` means: so long ago, the beginning of a day (UTC), or a time.
fn since(text: &str, now: OffsetDateTime) -> Option<OffsetDateTime> {
    if let Some(ago) = config::parse_duration(text) {
        return now.checked_sub(time::Duration::try_from(ago).ok()?);
    }
    let day = Date::parse(text, format_description!("[year]-[month]-[day]")).map(|day| day.midnight().assume_utc());
    day.or_else(|_| OffsetDateTime::parse(text, &Rfc3339)).ok()
}

/// A line for people: its own fields in front, then `name=value`, in the order of their names.
fn columns(line: &str) -> String {
    let Ok(mut fields) = serde_json::from_str::<Map<String, Value>>(line) else { return String::new() };
    let mut text = String::new();
    for name in ["time", "event", "by", "request_id"] {
        let _ = write!(text, "{}\t", fields.remove(name).as_ref().map_or_else(|| "-".to_owned(), shown));
    }
    let rest: Vec<String> =
        fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| format!("{name}={}", shown(value))).collect();
    text + &rest.join(" ") + "\n"
}

/// A value in one column, whatever it holds: lines are set apart by `; `.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    let text = text.lines().collect::<Vec<_>>().join("; ");
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_moment_is_told_in_three_ways() {
        let now = datetime!(2026-03-02 12:00 UTC);
        for (text, moment) in [
            ("24h", datetime!(2026-03-01 12:00 UTC)),
            ("7d", datetime!(2026-02-23 12:00 UTC)),
            ("2026-01-31", datetime!(2026-01-31 0:00 UTC)),
            ("2026-01-31T12:00:00+01:00", datetime!(2026-01-31 11:00 UTC)),
        ] {
            assert_eq!(since(text, now), Some(moment), "{text}");
        }
        for text in ["", "yesterday", "24", "0s", "2026-02-30", "2026-01-31 12:00", "-1h"] {
            assert_eq!(since(text, now), None, "{text}");
        }
    }

    #[test]
    fn a_line_for_people_keeps_to_its_columns() {
        let line = r#"{"time":"T","event":"token-made","name":"a\tb\u0007","text":"one\ntwo\n","scopes":["read","publish"],"expires":null,"by":"operator","node":"n"}"#;
        assert_eq!(columns(line), "T\ttoken-made\toperator\t-\tname=a?b? node=n scopes=read,publish text=one; two\n");
    }
}
