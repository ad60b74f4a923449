//! `firman token trace`: who requested a token, for whom, from which parent, and what was derived from it.

use serde_json::Value;

use crate::cli::client::Query;
use crate::cli::error::CliError;
use crate::cli::print::{Table, date, items, text};
use crate::cli::session::Session;

pub(super) async fn run(token_id: &str, session: &mut Session<'_>) -> Result<(), CliError> {
    let trace = session
        .admin()?
        .get(&["tokens", token_id, "trace"], &Query::default())
        .await?;
    if session.printer.is_json() {
        return session.printer.json(&trace);
    }
    session.printer.table(&tree(&trace), "")?;
    if trace["complete"].as_bool() == Some(false) {
        session
            .printer
            .warn("The tree is larger; this is only a part of it.");
    }
    Ok(())
}

/// One row per token, indented below its parent; the requested one has a `*`.
fn tree(trace: &Value) -> Table {
    let mut table = Table::new(&[
        "TOKEN",
        "STATE",
        "ASKED BY",
        "FOR",
        "AUDIENCE",
        "SCOPE",
        "DELEGATION",
        "ISSUED",
        "EXPIRES",
    ]);
    let tokens = items(trace, "tokens");
    for (at, token) in tokens.iter().enumerate() {
        let mark = if token["token_id"] == trace["token_id"] {
            " *"
        } else {
            ""
        };
        let state = match token["trusted_issuer"].as_str() {
            Some(_) if token["state"].is_null() => "outside".to_owned(),
            Some(_) | None => text(token, "state"),
        };
        table.row([
            format!("{}{}{mark}", branch(tokens, at), text(token, "token_id")),
            state,
            text(token, "agent"),
            text(token, "subject"),
            text(token, "audience"),
            text(token, "scope"),
            text(token, "delegation_id"),
            date(token, "issued_at"),
            date(token, "expires_at"),
        ]);
    }
    table
}

/// The lines before a token: those to its parent, and those past it to later ones.
fn branch(tokens: &[Value], at: usize) -> String {
    let depth = |token: &Value| token["depth"].as_u64().unwrap_or_default();
    let own = depth(&tokens[at]);
    let mut lines = String::new();
    for level in 1..=own {
        let mut later = tokens[at + 1..].iter().map(depth);
        let goes_on = later.find(|depth| *depth <= level) == Some(level);
        lines.push_str(match (level == own, goes_on) {
            (true, true) => "├─ ",
            (true, false) => "└─ ",
            (false, true) => "│  ",
            (false, false) => "   ",
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tree_shows_who_came_from_whom() {
        let token = |id: &str, depth: u64, agent: Value| json!({"token_id": id, "depth": depth, "agent": agent, "state": "active", "subject": "user:okta:alice"});
        let root =
            json!({"token_id": "okta:2f", "depth": 0, "trusted_issuer": "okta", "state": null});
        let trace = json!({"token_id": "two", "complete": true, "tokens": [
            root,
            token("one", 1, json!("assistant")),
            token("two", 2, json!("mailer")),
            token("three", 3, json!("printer")),
            token("side", 2, json!("mailer")),
            token("other", 1, json!("assistant")),
        ]});
        insta::assert_snapshot!(tree(&trace), @"
        TOKEN           STATE    ASKED BY   FOR              AUDIENCE  SCOPE  DELEGATION  ISSUED  EXPIRES
        okta:2f         outside  -          -                -         -      -           -       -
        ├─ one          active   assistant  user:okta:alice  -         -      -           -       -
        │  ├─ two *     active   mailer     user:okta:alice  -         -      -           -       -
        │  │  └─ three  active   printer    user:okta:alice  -         -      -           -       -
        │  └─ side      active   mailer     user:okta:alice  -         -      -           -       -
        └─ other        active   assistant  user:okta:alice  -         -      -           -       -
        ");
    }
}
