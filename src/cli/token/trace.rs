//! `firman token trace`: who requested a token, for whom, from which parent, and what was derived from it.

use crate::api::trace::{Trace, TracedToken};
use crate::cli::client::{Answer, Query};
use crate::cli::error::CliError;
use crate::cli::print::{Table, time};
use crate::cli::session::Session;

pub(super) async fn run(token_id: &str, session: &mut Session<'_>) -> Result<(), CliError> {
    let path = ["tokens", token_id, "trace"];
    let answer: Answer<Trace> = session.admin()?.get(&path, &Query::default()).await?;
    let Some(trace) = session.object(&answer)? else {
        return Ok(());
    };
    session.printer.table(&tree(&trace), "")?;
    if !trace.complete {
        session
            .printer
            .warn("The tree is larger; this is only a part of it.");
    }
    Ok(())
}

/// One row per token, indented below its parent; the requested one has a `*`.
fn tree(trace: &Trace) -> Table {
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
    for (at, token) in trace.tokens.iter().enumerate() {
        let is_requested = token.token_id == trace.token_id;
        let mark = if is_requested { " *" } else { "" };
        let state = match (&token.state, &token.trusted_issuer) {
            (Some(state), _) => state.clone(),
            (None, Some(_)) => "outside".to_owned(),
            (None, None) => String::new(),
        };
        let text = |member: &Option<String>| member.clone().unwrap_or_default();
        table.row([
            format!("{}{}{mark}", branch(&trace.tokens, at), token.token_id),
            state,
            text(&token.agent),
            text(&token.subject),
            text(&token.audience),
            text(&token.scope),
            text(&token.delegation_id),
            time(token.issued_at),
            time(token.expires_at),
        ]);
    }
    table
}

/// The lines before a token: those to its parent, and those past it to later ones.
fn branch(tokens: &[TracedToken], at: usize) -> String {
    let depth = |token: &TracedToken| token.depth;
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
    use serde::Deserialize as _;
    use serde_json::{Value, json};

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
        let trace = Trace::deserialize(&trace).unwrap();
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
