//! `firman delegation`: which agents may act for whom.

use clap::{ArgGroup, Args, Subcommand};

use super::client::{AdminClient, Answer, Page, Query};
use super::duration::{parse_duration, parse_end};
use super::error::CliError;
use super::noun::{Asked, Cell, Noun, print_facts};
use super::parse::{parse_id, parse_name, parse_pair, seconds, unique};
use super::print::{pairs, shell_word, state, time, time_and_distance};
use super::role::scopes;
use super::session::Session;
use super::words::{Words, given, parse_words};
use crate::api::credential::Credential;
use crate::api::delegation::{
    AddedDelegation, Delegation, DelegationEdit, EndedDelegation, NewDelegation,
};
use crate::api::list::List;
use crate::api::role::GrantedScopes;
use crate::domain::subject::is_user;
use crate::ports::time::UnixTime;

const DELEGATION: Noun<Delegation> = Noun {
    name: "delegation",
    path: "delegations",
    columns: &[
        ("ID", |delegation, _| delegation.id.clone()),
        ("ACTOR", |delegation, _| delegation.actor.clone()),
        ("SUBJECT", |delegation, _| subject(delegation)),
        ("RESOURCE", |delegation, _| delegation.resource.clone()),
        ("SCOPES", |delegation, _| scopes(&delegation.scopes)),
        ("DEPTH", |delegation, _| delegation.max_depth.to_string()),
        ("STATUS", |delegation, _| delegation.status.clone()),
        ("UNTIL", |delegation, _| time(delegation.expires_at)),
    ],
    facts: &[
        ("actor", |delegation, _| delegation.actor.clone()),
        ("subject", |delegation, _| delegation.subject.clone()),
        ("trusted issuer", |delegation, _| {
            delegation.trusted_issuer.clone().unwrap_or_default()
        }),
        ("claims", |delegation, _| pairs(&delegation.subject_claims)),
        ("resource", |delegation, _| delegation.resource.clone()),
        ("identifier", |delegation, _| delegation.identifier.clone()),
        ("scopes", |delegation, _| scopes(&delegation.scopes)),
        ("depth", |delegation, _| delegation.max_depth.to_string()),
        ("status", |delegation, _| {
            state(&delegation.status, delegation.status_since)
        }),
        ("until", |delegation, now| {
            time_and_distance(delegation.expires_at, now)
        }),
        ("created", |delegation, _| time(delegation.created_at)),
        ("id", |delegation, _| delegation.id.clone()),
    ],
};

/// The delegations in an explanation.
pub(super) const EXPLAINED: [Cell<Delegation>; 6] = [
    ("SUBJECT", |delegation, _| subject(delegation)),
    ("RESOURCE", |delegation, _| delegation.resource.clone()),
    ("SCOPES", |delegation, _| scopes(&delegation.scopes)),
    ("DEPTH", |delegation, _| delegation.max_depth.to_string()),
    ("UNTIL", |delegation, _| time(delegation.expires_at)),
    ("DELEGATION", |delegation, _| delegation.id.clone()),
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Allow an agent to act for others at a resource, until a given time
    #[command(
        after_help = "Examples:\n  firman delegation add --actor mailer --subject agent:planner --resource mail --for 30d\n  firman delegation add --actor desk --subject 'user:okta:*' --trusted-issuer okta --resource mail --scope send --until 2027-01-31"
    )]
    Add(AddArgs),
    /// List delegations, revoked and expired ones too
    #[command(
        after_help = "Examples:\n  firman delegation list --actor mailer\n  firman delegation list --subject 'user:okta:*'"
    )]
    List(ListArgs),
    /// Show a delegation
    #[command(
        after_help = "Examples:\n  firman delegation show 0195e3a2-7c41-7b12-9f80-3d2b1c0a9e8f"
    )]
    Show(IdArgs),
    /// Change when a delegation ends; to change anything else, add a new one
    #[command(
        after_help = "Examples:\n  firman delegation edit 0195e3a2-7c41-7b12-9f80-3d2b1c0a9e8f --for 30d"
    )]
    Edit {
        #[command(flatten)]
        delegation: IdArgs,
        #[command(flatten)]
        end: EndArgs,
    },
    /// Suspend a delegation; tokens issued under it end at once
    #[command(
        after_help = "Examples:\n  firman delegation suspend 0195e3a2-7c41-7b12-9f80-3d2b1c0a9e8f"
    )]
    Suspend(IdArgs),
    /// Resume a suspended delegation; tokens that ended stay ended
    #[command(
        after_help = "Examples:\n  firman delegation resume 0195e3a2-7c41-7b12-9f80-3d2b1c0a9e8f"
    )]
    Resume(IdArgs),
    /// Revoke a delegation permanently; tokens issued under it end at once
    #[command(
        after_help = "Examples:\n  firman delegation revoke 0195e3a2-7c41-7b12-9f80-3d2b1c0a9e8f"
    )]
    Revoke {
        #[command(flatten)]
        delegation: IdArgs,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct IdArgs {
    /// The delegation's id
    #[arg(value_parser = parse_id)]
    id: String,
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The agent that may act
    #[arg(long, value_name = "AGENT", value_parser = parse_name)]
    actor: String,
    /// For whom: agent:NAME or user:ISSUER:SUB; with `*` at the end, all subjects that begin with it
    #[arg(long, value_name = "SUBJECT|PREFIX*")]
    subject: String,
    /// Only for subjects with a token of this trusted issuer
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    trusted_issuer: Option<String>,
    /// Only if the trusted issuer's token has this claim; may be repeated
    #[arg(long = "subject-claim", value_name = "NAME=VALUE", value_parser = parse_pair, requires = "trusted_issuer")]
    subject_claims: Vec<(String, String)>,
    /// At this resource: its name or identifier
    #[arg(long, value_name = "RESOURCE")]
    resource: String,
    /// Scopes that the agent may get there (`a,b`, `"a b"`, or repeat the option) [default: all]
    #[arg(long = "scope", value_name = "SCOPES", value_parser = parse_words)]
    scopes: Vec<Words>,
    #[command(flatten)]
    end: EndArgs,
    /// Most actors in a token, up to 4: with 1 the agent acts directly, with 2 also for a subject for which one other agent already acts [default: 1]
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

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only delegations of this agent
    #[arg(long, value_name = "AGENT", value_parser = parse_name)]
    actor: Option<String>,
    /// Only delegations that match this subject; with `*` at the end, any subject that begins with it
    #[arg(long, value_name = "SUBJECT|PREFIX*")]
    subject: Option<String>,
    #[command(flatten)]
    page: Page,
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Add(args) => add(args, session).await,
        Command::List(args) => {
            let asked = Asked {
                filter: Query::default()
                    .with("actor", args.actor)
                    .with("subject", args.subject),
                page: &args.page,
                nothing: "No delegations. Next: firman delegation add --actor AGENT --subject SUBJECT --resource RESOURCE --for 30d",
            };
            DELEGATION.list(asked, session).await
        }
        Command::Show(args) => DELEGATION.show(&args.id, session).await.map(|_| ()),
        Command::Edit { delegation, end } => {
            let edit = |_: &Delegation| {
                Ok(DelegationEdit {
                    expires_at: end.until.map(|until| until.0),
                    expires_in: seconds(end.lasts),
                })
            };
            let path = ["delegations", &delegation.id];
            let delegation = session.admin()?.edit(&path, edit).await?;
            DELEGATION.print(&delegation, session).map(|_| ())
        }
        Command::Suspend(args) => {
            let ended = act(&args.id, "suspend", session).await?;
            session.printer.hint(&format!(
                "Suspended. No further tokens are issued under it. {ended}"
            ));
            let id = args.id;
            session
                .printer
                .next(&format!("firman delegation resume {id}"));
            Ok(())
        }
        Command::Resume(args) => act(&args.id, "resume", session).await.map(|_| ()),
        Command::Revoke { delegation, yes } => {
            let id = delegation.id;
            session.admin()?;
            session.confirm(
                &format!("Revoke delegation `{id}`? The tokens issued under it end at once."),
                yes,
            )?;
            let ended = act(&id, "revoke", session).await?;
            session.printer.hint(&format!("Revoked. {ended}"));
            Ok(())
        }
    }
}

/// Suspends, resumes or revokes; returns the effect on the tokens issued under it.
async fn act(id: &str, verb: &str, session: &mut Session<'_>) -> Result<&'static str, CliError> {
    let path = ["delegations", id, verb];
    let answer: Answer<EndedDelegation> = session.admin()?.act(&path).await?;
    let Some(answer) = session.object(&answer)? else {
        return Ok("");
    };
    print_facts(DELEGATION.facts, &answer.delegation, session)?;
    Ok(ended(answer.tokens_ended_until))
}

/// The effect on the tokens issued under a delegation.
fn ended(tokens_ended_until: Option<i64>) -> &'static str {
    match tokens_ended_until {
        Some(_) => "All tokens issued under it have ended, with everything made from them.",
        None => "It had already ended, and its tokens with it.",
    }
}

async fn add(args: AddArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let new = NewDelegation {
        actor: args.actor,
        subject: args.subject,
        trusted_issuer: args.trusted_issuer,
        subject_claims: unique("the claim", &args.subject_claims)?,
        resource: args.resource,
        scopes: given(&args.scopes).map(GrantedScopes::Only),
        max_depth: args.depth.map(i64::from),
        expires_at: args.end.until.map(|until| until.0),
        expires_in: seconds(args.end.lasts),
    };
    let admin = session.admin()?;
    let answer: Answer<AddedDelegation> = admin.post(&["delegations"], &new).await?;
    let Some(added) = session.object(&answer)? else {
        return Ok(());
    };
    print_facts(DELEGATION.facts, &added.delegation, session)?;
    for warning in &added.warnings {
        session.printer.warning(warning);
    }
    let exchange = exchange(&added.delegation, &admin).await;
    session.printer.next(&exchange);
    Ok(())
}

/// The option for the credential that the agent has, with a file named after it.
async fn proof(actor: &str, admin: &AdminClient) -> String {
    let path = ["agents", actor, "credentials"];
    let held: Result<List<Credential>, CliError> = admin.get(&path, &Query::default()).await;
    let held = held.map(|held| held.items).unwrap_or_default();
    let has = |kind: &str| {
        let mut live = held.iter();
        live.any(|one| one.status == "live" && one.kind == kind)
    };
    match (has("public_key"), has("client_secret"), has("federated")) {
        (false, true, _) => format!("--secret-file {actor}.secret"),
        (false, false, true) => format!("--assertion-file {actor}.jwt"),
        (true, _, _) | (false, false, false) => format!("--key {actor}.pem"),
    }
}

/// The commands of the agent under a delegation (RFC 8693 §2.1).
async fn exchange(delegation: &Delegation, admin: &AdminClient) -> String {
    let url = admin.issuer_url().await;
    let actor = &delegation.actor;
    let proof = proof(actor, admin).await;
    let mut command = vec![
        "firman token exchange --issuer".to_owned(),
        shell_word(url.trim_end_matches('/')),
        format!("--client-id {actor} {proof} --subject-token FILE"),
    ];
    // With a greater depth the subject token is one of this issuer.
    if is_user(&delegation.subject) && delegation.max_depth == 1 {
        command.push("--subject-token-type jwt".to_owned());
    }
    command.push(format!("--resource {}", shell_word(&delegation.identifier)));
    if let GrantedScopes::Only(scopes) = &delegation.scopes {
        command.push(format!("--scope {}", shell_word(&scopes.join(" "))));
    }
    command.join(" ")
}

/// The subject and the claims that its token must have: `user:okta:* (department=sales)`.
fn subject(delegation: &Delegation) -> String {
    let subject = &delegation.subject;
    if delegation.subject_claims.is_empty() {
        subject.clone()
    } else {
        format!("{subject} ({})", pairs(&delegation.subject_claims))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_printed_with_the_claims_that_are_compared() {
        let delegation = serde_json::from_value(serde_json::json!({
            "id": "1", "actor": "desk", "subject": "user:okta:*", "trusted_issuer": "okta",
            "subject_claims": {"department": "sales", "level": "2"}, "resource": "mail",
            "identifier": "https://mail.example.com", "scopes": "*", "max_depth": 1, "status": "active",
            "expires_at": 1, "created_at": 1, "updated_at": 1, "version": 1,
        }));
        assert_eq!(
            subject(&delegation.unwrap()),
            "user:okta:* (department=sales, level=2)"
        );
    }

    #[test]
    fn the_end_of_the_tokens_is_printed_once() {
        assert_eq!(
            ended(Some(9)),
            "All tokens issued under it have ended, with everything made from them."
        );
        assert_eq!(ended(None), "It had already ended, and its tokens with it.");
    }
}
