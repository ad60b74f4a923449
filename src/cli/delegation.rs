//! `firman delegation`: which agents may act for whom.

use std::collections::BTreeMap;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::{AdminClient, Page, Query};
use super::duration::{parse_duration, parse_end};
use super::error::CliError;
use super::parse::{parse_id, parse_name, parse_pair};
use super::print::{Table, date, date_and_distance, items, names, shell_word, text};
use super::session::{Listing, Session};
use super::words::{Words, all_of, parse_words};
use crate::domain::subject::is_user;
use crate::ports::time::UnixTime;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Permit an agent to act for others at a resource, until an end
    Add(AddArgs),
    /// List delegations; revoked and expired ones too
    List(ListArgs),
    /// Show a delegation
    Show {
        /// The delegation's id
        #[arg(value_parser = parse_id)]
        id: String,
    },
    /// Move the end of a delegation; for anything else make a new one
    Edit {
        /// The delegation's id
        #[arg(value_parser = parse_id)]
        id: String,
        #[command(flatten)]
        end: EndArgs,
    },
    /// Switch a delegation off: the tokens made under it end at once
    Suspend {
        /// The delegation's id
        #[arg(value_parser = parse_id)]
        id: String,
    },
    /// Switch a suspended delegation on again; tokens that ended stay so
    Resume {
        /// The delegation's id
        #[arg(value_parser = parse_id)]
        id: String,
    },
    /// End a delegation for good: the tokens made under it end at once
    Revoke {
        /// The delegation's id
        #[arg(value_parser = parse_id)]
        id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The agent that may act
    #[arg(long, value_name = "AGENT", value_parser = parse_name)]
    actor: String,
    /// For whom: agent:NAME, user:ISSUER:SUB, or with '*' at its end all subjects that begin so
    #[arg(long, value_name = "SUBJECT|PREFIX*")]
    subject: String,
    /// Only for subjects that come with a token of this trusted issuer
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    trusted_issuer: Option<String>,
    /// Only if the trusted issuer's token has this claim; may be repeated
    #[arg(long = "subject-claim", value_name = "NAME=VALUE", value_parser = parse_pair, requires = "trusted_issuer")]
    subject_claims: Vec<(String, String)>,
    /// Where: the resource's name or identifier
    #[arg(long, value_name = "RESOURCE")]
    resource: String,
    /// Scopes that the agent may get there (`a,b`, `"a b"`, or repeat the option); all of them when none is named
    #[arg(long = "scope", value_name = "SCOPES", value_parser = parse_words)]
    scopes: Vec<Words>,
    #[command(flatten)]
    end: EndArgs,
    /// Most actors in a token: 1, the agent acts directly; 2, also for a subject that one other agent acts for already; up to 4 [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=4))]
    depth: Option<u8>,
}

/// When it ends.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("end").required(true).args(["until", "lasts"]))]
pub(super) struct EndArgs {
    /// When it ends: 2026-11-21 or 2026-11-21T09:30:00Z, at most 400 days from now
    #[arg(long, value_name = "TIME", value_parser = parse_end)]
    until: Option<UnixTime>,
    /// After how long it ends (24h, 30d)
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    lasts: Option<u64>,
}

impl EndArgs {
    fn insert_into(&self, body: &mut Map<String, Value>) {
        if let Some(until) = self.until {
            body.insert("expires_at".to_owned(), json!(until.0));
        }
        if let Some(seconds) = self.lasts {
            body.insert("expires_in".to_owned(), json!(seconds));
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only those of this agent
    #[arg(long, value_name = "AGENT", value_parser = parse_name)]
    actor: Option<String>,
    /// Only those that take this subject, by itself or by its beginning; with '*' at its end any that begins so
    #[arg(long, value_name = "SUBJECT|PREFIX*")]
    subject: Option<String>,
    #[command(flatten)]
    page: Page,
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Add(args) => add(args, session).await,
        Command::List(args) => list(args, session).await,
        Command::Show { id } => {
            let path = ["delegations", &id];
            let delegation = session.admin()?.get(&path, &Query::default()).await?;
            print(&delegation, session)
        }
        Command::Edit { id, end } => {
            let change = |_: &Value| {
                let mut body = Map::new();
                end.insert_into(&mut body);
                Ok(body)
            };
            let delegation = session.admin()?.edit(&["delegations", &id], change).await?;
            print(&delegation, session)
        }
        Command::Suspend { id } => {
            let path = ["delegations", &id, "suspend"];
            let delegation = session.admin()?.post(&path, None).await?;
            print(&delegation, session)?;
            let ended = ended(&delegation);
            session.printer.hint(&format!(
                "Suspended: no further token is made under it. {ended}"
            ));
            session
                .printer
                .next(&format!("firman delegation resume {id}"));
            Ok(())
        }
        Command::Resume { id } => {
            let path = ["delegations", &id, "resume"];
            let delegation = session.admin()?.post(&path, None).await?;
            print(&delegation, session)
        }
        Command::Revoke { id, yes } => {
            let admin = session.admin()?;
            session.confirm(
                &format!("Revoke delegation {id}? The tokens made under it end at once."),
                yes,
            )?;
            let delegation = admin.post(&["delegations", &id, "revoke"], None).await?;
            print(&delegation, session)?;
            let ended = ended(&delegation);
            session.printer.hint(&format!("Revoked. {ended}"));
            Ok(())
        }
    }
}

/// What became of the tokens made under a delegation.
fn ended(delegation: &Value) -> &'static str {
    if delegation.get("tokens_ended_until").is_some() {
        "All tokens issued under it have ended, with everything made from them."
    } else {
        "It was over before; its tokens had ended."
    }
}

async fn add(args: AddArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let mut claims = BTreeMap::new();
    for (name, value) in &args.subject_claims {
        if claims.insert(name, value).is_some() {
            return Err(CliError::usage(format!(
                "the claim '{name}' is given twice"
            )));
        }
    }
    let mut body = Map::new();
    body.insert("actor".to_owned(), json!(args.actor));
    body.insert("subject".to_owned(), json!(args.subject));
    body.insert("resource".to_owned(), json!(args.resource));
    let optional = [
        (
            "trusted_issuer",
            args.trusted_issuer.as_ref().map(|name| json!(name)),
        ),
        (
            "subject_claims",
            (!claims.is_empty()).then(|| json!(claims)),
        ),
        (
            "scopes",
            (!args.scopes.is_empty()).then(|| json!(all_of(&args.scopes))),
        ),
        ("max_depth", args.depth.map(Value::from)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    }
    args.end.insert_into(&mut body);
    let admin = session.admin()?;
    let body = Value::Object(body);
    let delegation = admin.post(&["delegations"], Some(&body)).await?;
    print(&delegation, session)?;
    for warning in items(&delegation, "warnings") {
        let warning = warning.as_str().unwrap_or_default();
        session.printer.hint(&format!("Warning: {warning}"));
    }
    if !session.printer.is_json() {
        let exchange = exchange(&delegation, &admin).await;
        session.printer.next(&exchange);
    }
    Ok(())
}

/// The option that fits the credential that the agent has, with a file named after it.
async fn proof(actor: &str, admin: &AdminClient) -> String {
    let path = ["agents", actor, "credentials"];
    let held = admin
        .get(&path, &Query::default())
        .await
        .unwrap_or_default();
    let has = |kind: &str| {
        let mut live = items(&held, "items").iter();
        live.any(|one| one["status"] == "live" && one["kind"] == kind)
    };
    match (has("public_key"), has("client_secret"), has("federated")) {
        (false, true, _) => format!("--secret-file {actor}.secret"),
        (false, false, true) => format!("--assertion-file {actor}.jwt"),
        (true, _, _) | (false, false, false) => format!("--key {actor}.pem"),
    }
}

/// What the agent runs under a delegation (RFC 8693 §2.1).
async fn exchange(delegation: &Value, admin: &AdminClient) -> String {
    let url = admin.issuer_url().await;
    let actor = text(delegation, "actor");
    let proof = proof(&actor, admin).await;
    let mut command = vec![
        "firman token exchange --issuer".to_owned(),
        shell_word(url.trim_end_matches('/')),
        format!("--client-id {actor} {proof} --subject-token FILE"),
    ];
    // Where others may act already, the subject token is one of ours.
    let is_foreign =
        is_user(&text(delegation, "subject")) && delegation["max_depth"].as_u64() == Some(1);
    if is_foreign {
        command.push("--subject-token-type jwt".to_owned());
    }
    command.push(format!(
        "--resource {}",
        shell_word(&text(delegation, "identifier"))
    ));
    if delegation["scopes"].is_array() {
        let scope = names(delegation, "scopes").replace(", ", " ");
        command.push(format!("--scope {}", shell_word(&scope)));
    }
    command.join(" ")
}

async fn list(args: ListArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let filter = Query::default()
        .with("actor", args.actor)
        .with("subject", args.subject);
    let listing = Listing {
        path: &["delegations"],
        filter,
        page: &args.page,
        columns: &[
            "ID", "ACTOR", "SUBJECT", "RESOURCE", "SCOPES", "DEPTH", "STATUS", "UNTIL",
        ],
        nothing: "No delegations. Next: firman delegation add --actor AGENT --subject SUBJECT --resource RESOURCE --for 30d",
    };
    let row = |delegation: &Value| {
        vec![
            text(delegation, "id"),
            text(delegation, "actor"),
            subject(delegation),
            text(delegation, "resource"),
            scopes(delegation),
            text(delegation, "max_depth"),
            text(delegation, "status"),
            date(delegation, "expires_at"),
        ]
    };
    session.list_pages(listing, row).await
}

/// The delegations in an explanation.
pub(super) fn explained(answer: &Value) -> Table {
    let mut table = Table::new(&[
        "SUBJECT",
        "RESOURCE",
        "SCOPES",
        "DEPTH",
        "UNTIL",
        "DELEGATION",
    ]);
    for delegation in items(answer, "delegations") {
        table.row([
            subject(delegation),
            text(delegation, "resource"),
            scopes(delegation),
            text(delegation, "max_depth"),
            date(delegation, "expires_at"),
            text(delegation, "id"),
        ]);
    }
    table
}

/// The subject and what else its token must have: `user:okta:* (department=sales)`.
fn subject(delegation: &Value) -> String {
    let claims = claims(delegation);
    let subject = text(delegation, "subject");
    if claims.is_empty() {
        subject
    } else {
        format!("{subject} ({claims})")
    }
}

fn claims(delegation: &Value) -> String {
    let claims = &delegation["subject_claims"];
    let names = claims.as_object().into_iter().flat_map(Map::keys);
    let pairs = names.map(|name| format!("{name}={}", text(claims, name)));
    pairs.collect::<Vec<_>>().join(", ")
}

fn scopes(delegation: &Value) -> String {
    match delegation["scopes"].as_str() {
        Some(all) => all.to_owned(),
        None => names(delegation, "scopes").replace(", ", ","),
    }
}

fn print(delegation: &Value, session: &mut Session<'_>) -> Result<(), CliError> {
    if session.printer.is_json() {
        return session.printer.json(delegation);
    }
    let now = session.now();
    let mut status = text(delegation, "status");
    let since = date(delegation, "status_since");
    if !since.is_empty() {
        status.push_str(&format!(" since {since}"));
    }
    session.printer.facts(&[
        ("actor", text(delegation, "actor")),
        ("subject", text(delegation, "subject")),
        ("trusted issuer", text(delegation, "trusted_issuer")),
        ("claims", claims(delegation)),
        ("resource", text(delegation, "resource")),
        ("identifier", text(delegation, "identifier")),
        ("scopes", scopes(delegation)),
        ("depth", text(delegation, "max_depth")),
        ("status", status),
        ("until", date_and_distance(delegation, "expires_at", now)),
        ("created", date(delegation, "created_at")),
        ("id", text(delegation, "id")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_told_with_the_claims_that_are_compared() {
        let delegation = json!({"subject": "user:okta:*", "subject_claims": {"department": "sales", "level": "2"}});
        assert_eq!(
            subject(&delegation),
            "user:okta:* (department=sales, level=2)"
        );
    }

    #[test]
    fn the_end_of_the_tokens_is_told_once() {
        assert_eq!(
            ended(&json!({ "tokens_ended_until": 9 })),
            "All tokens issued under it have ended, with everything made from them."
        );
        assert_eq!(
            ended(&json!({})),
            "It was over before; its tokens had ended."
        );
    }
}
