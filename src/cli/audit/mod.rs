//! `firman audit`: read the record of everything that happened, verify its hash chain, export it.

mod detail;
mod follow;

use std::collections::BTreeSet;

use clap::{Args, Subcommand};

use crate::api::audit::{AuditEntry, AuditVerdict};
use crate::cli::client::{Answer, Extent, Page, Query};
use crate::cli::duration::{Instant, parse_instant};
use crate::cli::error::CliError;
use crate::cli::parse::parse_name;
use crate::cli::session::{Listing, Session};
use crate::domain::audit::AuditEvent;
use crate::domain::remedy::Remedy;
use crate::ports::time::UnixTime;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List entries, newest first, or print them as they come
    ///
    /// Only the newest 50, with `--output json` too, unless --limit or --all says otherwise: an audit has an
    /// entry for each token.
    #[command(
        after_help = "Examples:\n  firman audit list --agent mailer\n  firman audit list --follow"
    )]
    List(ListArgs),
    /// Check the hash chain from the first entry to the last: exit code 1 when it is broken
    #[command(after_help = "Examples:\n  firman audit verify")]
    Verify,
    /// Print every entry as JSON, one a line, newest first
    #[command(after_help = "Examples:\n  firman audit export --since 24h")]
    Export(FilterArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Print entries as they come, oldest first, until interrupted; with --output json one a line
    #[arg(long, conflicts_with_all = ["limit", "cursor", "all", "until"])]
    follow: bool,
    /// With --follow: begin after the entry of this number instead of at the newest
    #[arg(long, value_name = "SEQ", requires = "follow", conflicts_with = "since", value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<i64>,
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
    /// Only what this actor did: the name of an administrator or agent, administrator:NAME, agent:NAME, system or unknown
    #[arg(long)]
    actor: Option<String>,
    /// Only what was done to this object: its kind and name, such as role:reader or resource:mail
    #[arg(long, value_name = "KIND:NAME", value_parser = parse_target)]
    target: Option<String>,
    /// Only what was done to this group itself
    #[arg(long, value_name = "NAME", value_parser = parse_name, conflicts_with = "target")]
    group: Option<String>,
    /// Only what was done to this role itself
    #[arg(long, value_name = "NAME", value_parser = parse_name, conflicts_with_all = ["target", "group"])]
    role: Option<String>,
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

/// The kinds of objects that entries are about, in order. Tokens of users of a trusted issuer are about `user:…`.
fn target_kinds() -> BTreeSet<&'static str> {
    let named = AuditEvent::ALL
        .into_iter()
        .filter_map(AuditEvent::target_kind);
    named.chain(["user"]).collect()
}

fn parse_target(text: &str) -> Result<String, String> {
    if text.contains(':') {
        Ok(text.to_owned())
    } else {
        let kinds: Vec<&str> = target_kinds().into_iter().collect();
        Err(format!(
            "a kind is required, such as role:{text}; the kinds are {}",
            kinds.join(", ")
        ))
    }
}

impl FilterArgs {
    /// The parameters of every query of the audit.
    fn query(&self) -> Query {
        let of_kind =
            |kind: &str, name: &Option<String>| name.as_ref().map(|name| format!("{kind}:{name}"));
        let target = self.target.clone();
        let target = target.or_else(|| of_kind("group", &self.group));
        Query::default()
            .with("event", self.event)
            .with("agent", self.agent.as_ref())
            .with("token_id", self.jti.as_ref())
            .with("actor", self.actor.as_ref())
            .with("target", target.or_else(|| of_kind("role", &self.role)))
    }

    /// The same with the times of the entries.
    fn query_between(&self, now: UnixTime) -> Query {
        self.query()
            .with("since", self.since.map(|since| since.resolve(now).0))
            .with("until", self.until.map(|until| until.resolve(now).0))
    }
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::List(args) => {
            if args.follow {
                follow::run(&args, session).await
            } else {
                list(&args, session).await
            }
        }
        Command::Verify => {
            let answer = session
                .admin()?
                .get(&["audit", "verify"], &Query::default())
                .await?;
            verify(&answer, session)
        }
        Command::Export(filter) => {
            let query = filter.query_between(session.now());
            let admin = session.admin()?;
            let printer = &mut session.printer;
            admin
                .each_page(&["audit"], &query, &Extent::default(), |entries| {
                    entries
                        .iter()
                        .try_for_each(|entry| printer.json_line(entry))
                })
                .await?;
            Ok(())
        }
    }
}

/// Number of entries without an option: an audit has one for each token.
const ENTRIES: u64 = 50;
const COLUMNS: [&str; 7] = ["SEQ", "AT", "EVENT", "ACTOR", "TARGET", "TOKEN", "DETAIL"];

async fn list(args: &ListArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let filter = args.filter.query_between(session.now());
    let admin = session.admin()?;
    if !session.printer.is_json() {
        let listing = Listing {
            path: &["audit"],
            nothing: &format!("No entries{}.", told(&filter)),
            filter,
            page: &args.page,
            columns: &COLUMNS,
        };
        return session.list_table(&admin, listing, row).await;
    }
    let mut list = session.printer.json_list();
    let extent = args.page.extent(Some(ENTRIES));
    let next = admin
        .each_page(&["audit"], &filter, &extent, |entries| {
            entries.iter().try_for_each(|entry| list.item(entry))
        })
        .await?;
    list.end(next.as_deref())?;
    if next.is_some() && !args.page.says_how_many() {
        session.printer.warn(&format!(
            "Only the newest {ENTRIES} entries: add `--limit N` or `--all`, or use `firman audit export`."
        ));
    }
    Ok(())
}

/// The filter in words: ` with actor administrator:ops`.
fn told(filter: &Query) -> String {
    let told: Vec<String> = filter
        .pairs()
        .map(|(name, value)| match name {
            "since" | "until" => {
                let time = value
                    .parse()
                    .map_or_else(|_| value.to_owned(), |at| UnixTime(at).to_string());
                format!("{name} {time}")
            }
            _ => format!("{name} {value}"),
        })
        .collect();
    if told.is_empty() {
        String::new()
    } else {
        format!(" with {}", told.join(", "))
    }
}

fn row(entry: &AuditEntry) -> Vec<String> {
    vec![
        entry.seq.to_string(),
        entry.at.clone(),
        entry.event.clone(),
        entry.actor.clone(),
        entry.target.clone(),
        entry.token_id.clone().unwrap_or_default(),
        detail::brief(&entry.event, &entry.detail),
    ]
}

fn verify(answer: &Answer<AuditVerdict>, session: &mut Session<'_>) -> Result<(), CliError> {
    let verdict = answer.read()?;
    if session.printer.is_json() {
        session.printer.json(&answer.raw)?;
    } else {
        let chain = if verdict.ok { "whole" } else { "broken" };
        session.printer.facts(&[
            ("chain", chain.to_owned()),
            ("entries", verdict.entries.to_string()),
            ("head", verdict.head_hash),
        ])?;
    }
    if verdict.ok {
        return Ok(());
    }
    let place = verdict.first_bad.map_or_else(String::new, |bad| {
        format!(" at entry {}: {}", bad.seq, bad.problem)
    });
    Err(
        CliError::failed("audit_broken", format!("the audit chain is broken{place}")).with_remedy(
            &Remedy::action("keep a copy of the database, and compare it with the last backup"),
        ),
    )
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
