//! The detail of an audit entry on one line of a table: what changed, and the facts beside it.

use serde_json::{Map, Value};

use crate::ports::time::UnixTime;

/// Longest detail in a table, in characters; `--output json` and `audit export` print all of it. The reason of
/// a refusal is printed in full: the client does not see it, and the audit keeps at most 256 bytes of it.
const BRIEF_MAX_CHARS: usize = 80;

/// A detail such as `roles: +refunds, owner: ops → billing`, or `reason=role too low status=403`.
pub(super) fn brief(event: &str, detail: &Value) -> String {
    let members = || detail.as_object().into_iter().flatten();
    let changes = members().filter_map(|(name, value)| changed(name, value));
    let mut told = changes.collect::<Vec<_>>().join(", ");
    for (name, value) in members().filter(|(name, value)| changed(name, value).is_none()) {
        let value = plain(name, value);
        if !value.is_empty() {
            let space = if told.is_empty() { "" } else { " " };
            let sign = if detail[name].is_object() { ": " } else { "=" };
            told.push_str(&format!("{space}{name}{sign}{value}"));
        }
    }
    if event.ends_with(".refused") || told.chars().count() <= BRIEF_MAX_CHARS {
        return told;
    }
    told.chars()
        .take(BRIEF_MAX_CHARS - 1)
        .chain(['…'])
        .collect()
}

/// A member of an edit, `{"from": …, "to": …}`; nothing for any other.
fn changed(name: &str, value: &Value) -> Option<String> {
    let (from, to) = (value.get("from")?, value.get("to")?);
    let change = match (from, to) {
        (Value::Array(from), Value::Array(to)) => signed(
            to.iter().filter(|item| !from.contains(item)).map(text),
            from.iter().filter(|item| !to.contains(item)).map(text),
        ),
        (Value::Object(from), Value::Object(to)) => {
            signed(pairs_apart(to, from), pairs_apart(from, to))
        }
        (from, to) => {
            let shown = |value: &Value| match plain(name, value) {
                empty if empty.is_empty() => "none".to_owned(),
                text => text,
            };
            format!("{} → {}", shown(from), shown(to))
        }
    };
    Some(format!("{name}: {change}"))
}

/// `+a +b -c`.
fn signed(added: impl Iterator<Item = String>, gone: impl Iterator<Item = String>) -> String {
    let added = added.map(|item| format!("+{item}"));
    let all = added.chain(gone.map(|item| format!("-{item}")));
    all.collect::<Vec<_>>().join(" ")
}

/// The members of one object that the other does not have, or has with another value.
fn pairs_apart(
    one: &Map<String, Value>,
    other: &Map<String, Value>,
) -> impl Iterator<Item = String> {
    one.iter()
        .filter(|(name, value)| other.get(*name) != Some(value))
        .map(|(name, value)| format!("{name}={}", text(value)))
}

/// A value beside its name; empty for a value without information.
fn plain(name: &str, value: &Value) -> String {
    match value {
        Value::Number(number) if name.ends_with("_at") => number
            .as_i64()
            .map_or_else(|| number.to_string(), |at| UnixTime(at).to_string()),
        Value::Object(members) => {
            let told = members.iter().filter(|(_, value)| !text(value).is_empty());
            let pairs = told.map(|(name, value)| format!("{name}={}", text(value)));
            pairs.collect::<Vec<_>>().join(" ")
        }
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text(value),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_detail_says_what_changed() {
        for (detail, shown) in [
            (json!({}), ""),
            (
                json!({"roles": {"from": ["a", "x"], "to": ["a", "refunds2"]}}),
                "roles: +refunds2 -x",
            ),
            (
                json!({"owner": {"from": "a", "to": "b"}, "groups": {"from": [], "to": ["ops"]}}),
                "groups: +ops, owner: a → b",
            ),
            (
                json!({"expires_at": {"from": null, "to": 1_795_253_400}}),
                "expires_at: none → 2026-11-21T09:30:00Z",
            ),
            (
                json!({"grants": {"from": {"mail": ["read"], "disk": "*"}, "to": {"mail": ["read", "send"], "disk": "*"}}}),
                "grants: +mail=read,send -mail=read",
            ),
            (
                json!({"attributes": {"from": {"team": "a"}, "to": {}}}),
                "attributes: -team=a",
            ),
            (
                json!({"description": "", "grants": {"mail": ["read"]}}),
                "grants: mail=read",
            ),
            (
                json!({"scopes": ["read", "send"], "lifetime": null, "reason": "no", "status": 403}),
                "reason=no scopes=read, send status=403",
            ),
        ] {
            assert_eq!(brief("agent.changed", &detail), shown, "{detail}");
        }
    }

    #[test]
    fn a_long_detail_is_cut() {
        let long = json!({"owner": {"from": "a".repeat(60), "to": "b".repeat(60)}});
        let shown = brief("agent.changed", &long);
        assert_eq!(
            (shown.chars().count(), shown.chars().last()),
            (80, Some('…'))
        );
    }

    #[test]
    fn the_reason_of_a_refusal_is_shown_whole() {
        let reason = "r".repeat(200);
        let shown = brief("client.refused", &json!({ "reason": reason }));
        assert!(shown.ends_with(&reason), "{shown}");
    }
}
