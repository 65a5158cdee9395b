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
    /// The row of an event in the documents names its fields; a refusal has a line of its own in the log.
    #[test]
    fn every_field_that_the_documents_name_is_one_of_the_lines() {
        let documents = include_str!("../../../docs/operating.md");
        let source = include_str!("log.rs");
        let (_, table) = documents.split_once("\n| event | when | fields").unwrap();
        let rows = table.lines().skip(2).take_while(|row| row.starts_with("| `")).filter(|row| !row.starts_with("| `refusal`"));
        let mut seen = 0;
        for row in rows {
            let fields = row.trim_end_matches(" |").rsplit("| ").next().unwrap();
            for field in fields.split(", ") {
                let field = field.trim_matches('`');
                assert!(source.contains(&format!("\n        {field} = ")), "{field} of {row}");
                seen += 1;
            }
        }
        assert!(seen > 30, "{seen}");
    }
}
