//! An event as a line of the log: each of its fields is one of the line's.

use serde_json::{Map, Value};

use super::{Actor, Event};

/// Tells the log of an event, however quiet that is otherwise.
pub(super) fn log(actor: &Actor, event: &Event) {
    let fields = fields(event);
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let list = |name: &str| fields.get(name).and_then(Value::as_array).map(|values| joined(values));
    let number = |name: &str| fields.get(name).and_then(Value::as_u64);
    let truth = |name: &str| fields.get(name).and_then(Value::as_bool);
    let head = |name: &str| fields.get(name).map(tree_head);
    let peer = actor.peer.map(|peer| peer.to_string());
    tracing::info!(
        target: "audit",
        event = event.name(),
        by = &*actor.by,
        request_id = actor.request_id.as_deref(),
        peer,
        owner = text("owner"),
        path = text("path"),
        version = text("version"),
        h1 = text("h1"),
        last = truth("last"),
        id = text("id"),
        name = text("name"),
        scopes = list("scopes"),
        owners = list("owners"),
        expires = text("expires"),
        host = text("host"),
        from = text("from"),
        to = text("to"),
        kind = text("kind"),
        text = text("text"),
        taken = truth("taken"),
        hosted = number("hosted"),
        cached = number("cached"),
        findings = number("findings"),
        removed = number("removed"),
        bytes = number("bytes"),
        versions = number("versions"),
        file = text("file"),
        expected = text("expected"),
        found = text("found"),
        database = text("database"),
        side = text("side"),
        head = head("head"),
        kept = head("kept"),
        shown = head("shown"),
        zip = text("zip"),
        go_mod = text("go_mod"),
        key = text("key"),
    );
}

/// What the trail would be told, by name.
fn fields(event: &Event) -> Map<String, Value> {
    match serde_json::to_value(event) {
        Ok(Value::Object(fields)) => fields,
        // Strings and numbers: this cannot be.
        Ok(_) | Err(_) => Map::new(),
    }
}

/// `SIZE ROOT`
fn tree_head(head: &Value) -> String {
    format!("{} {}", head["size"], head["root"].as_str().unwrap_or_default())
}

fn joined(values: &[Value]) -> String {
    values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

    use super::super::event::TreeHead;
    use super::*;
    use crate::module::{H1, ModulePath, OwnerName, Version};

    /// One of each that the trail tells of, with every field that it may have; but refusals, which have a line of their own in the log.
    fn one_of_each() -> Vec<Event> {
        let owner = || "team".parse::<OwnerName>().unwrap();
        let path = || "corp.example.com/lib".parse::<ModulePath>().unwrap();
        let version = || "v1.0.0".parse::<Version>().unwrap();
        let h1 = "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".parse::<H1>().unwrap();
        let text = || "a text".to_owned();
        let head = || TreeHead { size: 7, root: text() };
        vec![
            Event::Publish { owner: owner(), path: path(), version: version(), h1 },
            Event::Shadowing { owner: owner(), path: path() },
            Event::Delete { owner: owner(), path: path(), version: version(), last: true },
            Event::Seal { owner: owner(), path: path(), version: version() },
            Event::TokenMade { id: text(), name: text(), scopes: vec![text()], owners: vec![text(), text()], expires: Some(text()) },
            Event::TokenRevoked { id: text() },
            Event::ClaimMade { host: text(), owner: owner(), path: path() },
            Event::ClaimReleased { name: text() },
            Event::ClaimPublic { host: text() },
            Event::UnknownHost { host: text(), path: path() },
            Event::ClaimMoved { path: path(), from: owner(), to: owner() },
            Event::Integrity { kind: text(), path: text(), text: text() },
            Event::Reload { taken: true, text: text() },
            Event::Verify { hosted: 1, cached: 2, findings: 3 },
            Event::Gc { removed: 1, bytes: 2 },
            Event::Purge { path: path(), version: Some(version()), removed: 1 },
            Event::Backup { versions: 1 },
            Event::Restore { versions: 1, key: Some(text()) },
            Event::Trimmed { file: text(), bytes: 1 },
            Event::SumdbFork { database: text(), kept: head(), shown: head() },
            Event::SumdbTrusted { database: text(), side: "kept", head: head() },
            Event::SumdbFirstUse { path: path(), version: version(), zip: h1, go_mod: h1 },
            Event::Mismatch { path: path(), version: version(), file: ".zip", expected: h1, found: h1, database: text(), from: text() },
        ]
    }

    /// The fields of the lines that were logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<BTreeMap<String, String>>>>);

    struct Fields(BTreeMap<String, String>);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0.insert(field.name().to_owned(), format!("{value:?}"));
        }
    }

    impl<S: tracing::Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let mut fields = Fields(BTreeMap::new());
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }
    }

    /// What the documents say that an event's line has, by the event's name.
    fn documented() -> BTreeMap<String, BTreeSet<String>> {
        let documents = include_str!("../../../docs/operating.md");
        let (_, table) = documents.split_once("\n| event | when | fields").unwrap();
        let rows = table.lines().skip(2).take_while(|row| row.starts_with("| `"));
        let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
        let row = |row: &str| {
            let cells: Vec<&str> = row.trim_end_matches(" |").split("| ").collect();
            (words(cells[1]).pop_first().unwrap(), words(cells[cells.len() - 1]))
        };
        rows.map(row).filter(|(name, _)| name != "refusal").collect()
    }

    #[test]
    fn the_line_of_an_event_has_the_fields_that_the_documents_name_and_their_values() {
        let (lines, events) = (Lines::default(), one_of_each());
        let actor = Actor { by: "user:alice".into(), request_id: Some("0123".into()), peer: Some([192, 0, 2, 7].into()) };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines.clone()), || {
            events.iter().for_each(|event| log(&actor, event));
        });
        let lines = lines.0.lock().unwrap();
        assert_eq!(lines.len(), events.len());
        let mut documented = documented();
        for (event, line) in events.iter().zip(lines.iter()) {
            let mut expected = documented.remove(event.name()).unwrap_or_else(|| panic!("{} is not documented", event.name()));
            expected.extend(["event", "by", "request_id", "peer"].map(str::to_owned));
            assert_eq!(line.keys().cloned().collect::<BTreeSet<_>>(), expected, "{}", event.name());
            assert_eq!(line["event"], format!("{:?}", event.name()));
        }
        assert!(documented.is_empty(), "not logged here: {documented:?}");
        let made = lines.iter().find(|line| line["event"] == "\"token-made\"").unwrap();
        assert_eq!((made["owners"].as_str(), made["by"].as_str()), ("\"a text,a text\"", "\"user:alice\""));
    }
}
