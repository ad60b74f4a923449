//! `firman audit`: read the record of everything that happened, check its hash chain, take it away.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Page, Query};
use super::duration::{Instant, parse_instant};
use super::error::CliError;
use super::print::{Table, items, names, text};
use super::{Session, parse_name};
use crate::domain::audit::AuditEvent;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List entries, newest first
    List(ListArgs),
    /// Check the hash chain from the first entry to the last: exit code 1 when it is broken
    Verify,
    /// Print every entry as JSON, one a line, newest first
    Export(FilterArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub(super) struct FilterArgs {
    /// Only this kind of event, such as token.issued
    #[arg(long, value_name = "EVENT", value_parser = parse_event)]
    event: Option<&'static str>,
    /// Only what concerns this agent
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    agent: Option<String>,
    /// Only the token with this jti
    #[arg(long, value_name = "JTI", allow_hyphen_values = true)]
    jti: Option<String>,
    /// Only what this actor did, such as administrator:bootstrap or agent:mailer
    #[arg(long)]
    actor: Option<String>,
    /// Not before this time: 2026-11-21, 2026-11-21T09:30:00Z, or 24h for that long ago
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    since: Option<Instant>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    until: Option<Instant>,
}

fn parse_event(text: &str) -> Result<&'static str, String> {
    let events = AuditEvent::ALL.map(AuditEvent::as_str);
    let known = events.into_iter().find(|event| *event == text);
    known.ok_or_else(|| format!("the events are {}", events.join(", ")))
}

impl FilterArgs {
    fn query(self, session: &Session<'_>) -> Query {
        let now = session.now();
        Query::default()
            .with("event", self.event)
            .with("agent", self.agent)
            .with("token_id", self.jti)
            .with("actor", self.actor)
            .with("since", self.since.map(|since| since.resolve(now).0))
            .with("until", self.until.map(|until| until.resolve(now).0))
    }
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::List(args) => {
            let query = args.filter.query(session);
            let answer = session.admin()?.list(&["audit"], query, &args.page).await?;
            let mut table =
                Table::new(&["SEQ", "AT", "EVENT", "ACTOR", "TARGET", "TOKEN", "DETAIL"]);
            for entry in items(&answer, "items") {
                table.row([
                    text(entry, "seq"),
                    text(entry, "at"),
                    text(entry, "event"),
                    text(entry, "actor"),
                    text(entry, "target"),
                    text(entry, "token_id"),
                    brief(&entry["detail"]),
                ]);
            }
            session.list(&answer, &table, "No entries.")
        }
        Command::Verify => {
            let answer = session
                .admin()?
                .get(&["audit", "verify"], &Query::default())
                .await?;
            verify(&answer, session)
        }
        Command::Export(filter) => {
            let query = filter.query(session);
            let admin = session.admin()?;
            let printer = &mut session.printer;
            admin
                .each_page(&["audit"], query, |entries| {
                    entries
                        .iter()
                        .try_for_each(|entry| printer.json_line(entry))
                })
                .await
        }
    }
}

/// Longest detail in a table, in characters; `--output json` and `audit export` have the whole.
const BRIEF_MAX_CHARS: usize = 80;

/// The plain members of a detail, such as `reason=role too low status=403`.
fn brief(detail: &Value) -> String {
    let members = detail.as_object().into_iter().flatten();
    let told = members.filter_map(|(name, value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Array(_) => names(detail, name),
            Value::Object(_) | Value::Null => String::new(),
        };
        (!text.is_empty()).then(|| format!("{name}={text}"))
    });
    let text = told.collect::<Vec<_>>().join(" ");
    if text.chars().count() <= BRIEF_MAX_CHARS {
        return text;
    }
    text.chars()
        .take(BRIEF_MAX_CHARS - 1)
        .chain(['…'])
        .collect()
}

fn verify(answer: &Value, session: &mut Session<'_>) -> Result<(), CliError> {
    if session.printer.is_json() {
        session.printer.json(answer)?;
    } else {
        session.printer.facts(&[
            (
                "chain",
                if answer["ok"] == true {
                    "whole"
                } else {
                    "broken"
                }
                .to_owned(),
            ),
            ("entries", text(answer, "entries")),
            ("head", text(answer, "head_hash")),
        ])?;
    }
    if answer["ok"] == true {
        return Ok(());
    }
    let bad = &answer["first_bad"];
    Err(CliError::failed(
        "audit_broken",
        format!(
            "the audit chain is broken at entry {}: {}. Keep a copy of the database as it is, and compare with the last backup",
            text(bad, "seq"),
            text(bad, "problem")
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_does_not_exist_is_refused_with_those_that_do() {
        let problem = parse_event("token.issue").unwrap_err();
        assert!(
            problem.starts_with("the events are issuer.created, "),
            "{problem}"
        );
        assert_eq!(parse_event("agent.suspended"), Ok("agent.suspended"));
    }
}
