//! `firman agent`: register agents, look at them and change them. [`switch`] suspends, resumes and removes them;
//! [`explain`] says what one may get and why.

mod edit;
mod explain;
mod switch;

use clap::{Args, Subcommand};

use super::client::{Answer, Page, Query};
use super::credential;
use super::duration::parse_duration;
use super::error::CliError;
use super::issuer::{ASSERTION_AUDIENCES, warn_of_audience};
use super::noun::{self, Asked, Cell, NameArgs, Noun, dpop};
use super::parse::{parse_name, parse_pair, seconds, unique};
use super::print::{pairs, state, time, time_and_age, time_and_distance};
use super::proof::{self, Proof, ProofArgs, SinkArgs};
use super::session::Session;
use super::words::{Words, given, parse_names};
use crate::api::agent::{Agent, CreatedAgent, NewAgent};

const AGENT: Noun<Agent> = Noun {
    name: "agent",
    path: "agents",
    columns: &[
        ("NAME", |agent, _| agent.name.clone()),
        ("STATUS", |agent, _| agent.status.clone()),
        ("OWNER", |agent, _| agent.owner.clone()),
        ("GROUPS", |agent, _| agent.groups.join(", ")),
        ("ROLES", |agent, _| roles(agent)),
        ("EXPIRES", |agent, _| time(agent.expires_at)),
        ("CREATED", |agent, _| time(agent.created_at)),
    ],
    facts: &[
        ("name", |agent, _| agent.name.clone()),
        ("subject", |agent, _| agent.subject.clone()),
        ("status", |agent, _| {
            state(&agent.status, agent.status_since)
        }),
        ("owner", |agent, _| agent.owner.clone()),
        ("description", |agent, _| agent.description.clone()),
        ("groups", |agent, _| agent.groups.join(", ")),
        ("roles", |agent, _| roles(agent)),
        ("attributes", |agent, _| pairs(&agent.attributes)),
        ("expires", |agent, now| {
            time_and_distance(agent.expires_at, now)
        }),
        ("dpop", |agent, _| dpop(agent.dpop_required)),
        ("assertion audience", |agent, _| {
            agent.assertion_audience.clone().unwrap_or_default()
        }),
        ("last token", |agent, now| {
            time_and_age(agent.last_token_at.flatten(), now)
        }),
        ("created", |agent, _| time(agent.created_at)),
        ("id", |agent, _| agent.id.clone()),
    ],
};

/// The facts of an agent that was just registered.
const CREATED: [Cell<CreatedAgent>; 9] = [
    ("name", |made, _| made.agent.name.clone()),
    ("subject", |made, _| made.agent.subject.clone()),
    ("owner", |made, _| made.agent.owner.clone()),
    ("groups", |made, _| made.agent.groups.join(", ")),
    ("roles", |made, _| roles(&made.agent)),
    ("expires", |made, _| time(made.agent.expires_at)),
    ("client_id", |made, _| made.client_id.clone()),
    ("client_secret", |made, _| {
        made.client_secret.clone().unwrap_or_default()
    }),
    ("kid", |made, _| {
        let kid = made.credential.as_ref().and_then(|made| made.kid.clone());
        kid.unwrap_or_default()
    }),
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register an agent, so that it can get tokens
    #[command(
        after_help = "Examples:\n  firman agent add mailer --owner team-mail --role sender --generate-key mailer.pem\n  firman agent add batch --owner team-data --group jobs --secret --secret-out batch.secret"
    )]
    Add(Box<AddArgs>),
    /// List agents, and the groups and roles they have
    #[command(
        after_help = "Examples:\n  firman agent list\n  firman agent list --role sender --status suspended"
    )]
    List(ListArgs),
    /// Show an agent and its credentials
    #[command(after_help = "Examples:\n  firman agent show mailer")]
    Show(NameArgs),
    /// Change an agent's owner, groups, roles, claims or expiry
    #[command(
        after_help = "Examples:\n  firman agent edit mailer --add-role reader\n  firman agent edit mailer --expires-in never"
    )]
    Edit(edit::EditArgs),
    /// Suspend agents, so that they get no new tokens
    #[command(after_help = "Examples:\n  firman agent suspend mailer")]
    Suspend(switch::NamesArgs),
    /// Resume suspended agents
    #[command(after_help = "Examples:\n  firman agent resume mailer")]
    Resume(switch::NamesArgs),
    /// Remove agents permanently; their names are never used again
    #[command(
        after_help = "Examples:\n  firman agent remove mailer\n  firman agent remove old-1 old-2 --yes"
    )]
    Remove(switch::RemoveArgs),
    /// Explain what an agent may get, through which role and group, and what its token would contain
    #[command(
        after_help = "Examples:\n  firman agent explain mailer\n  firman agent explain mailer --resource mail --scope send"
    )]
    Explain(explain::ExplainArgs),
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The name: labels of a-z, 0-9 and `-`, joined by `.`; it becomes the `client_id`
    #[arg(value_parser = parse_name)]
    name: String,
    /// The accountable person or team
    #[arg(long)]
    owner: String,
    /// What it does
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The `sub` of its tokens, to keep that of another issuer [default: agent:NAME]
    #[arg(long)]
    subject: Option<String>,
    /// Its groups (`a,b`, `"a b"`, or repeat the option)
    #[arg(long = "group", value_name = "GROUPS", value_parser = parse_names)]
    groups: Vec<Words>,
    /// Its roles (`a,b`, `"a b"`, or repeat the option)
    #[arg(long = "role", value_name = "ROLES", value_parser = parse_names)]
    roles: Vec<Words>,
    /// A claim of its tokens; may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = parse_pair)]
    attributes: Vec<(String, String)>,
    /// How long it can get tokens (90s, 15m, 24h, 7d) [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_in: Option<u64>,
    /// Issue only tokens that are bound to a key of its own (DPoP, RFC 9449)
    #[arg(long)]
    dpop_required: bool,
    /// What `aud` of its assertions must be [default: the issuer's policy]
    #[arg(long, value_name = "POLICY", value_parser = ASSERTION_AUDIENCES)]
    assertion_audience: Option<String>,
    #[command(flatten)]
    proof: ProofArgs,
    /// The `kid` that the client writes into its assertions [default: the key's RFC 7638 thumbprint]
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
    #[command(flatten)]
    sink: SinkArgs,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only agents with this status [default: all except removed ones]
    #[arg(long, value_parser = ["active", "suspended", "removed"])]
    status: Option<String>,
    /// Only members of this group
    #[arg(long, value_parser = parse_name)]
    group: Option<String>,
    /// Only agents that hold this role, directly or through a group
    #[arg(long, value_parser = parse_name)]
    role: Option<String>,
    /// Show only directly assigned roles; with --role, list only agents to which it is assigned directly
    #[arg(long)]
    direct: bool,
    /// Only agents with this text in their name
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    #[command(flatten)]
    page: Page,
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Add(args) => add(*args, session).await,
        Command::List(args) => list(args, session).await,
        Command::Show(args) => {
            let path = ["agents", &args.name];
            let agent = session.admin()?.get(&path, &Query::default()).await?;
            print(&agent, session)
        }
        Command::Edit(args) => edit::run(args, session).await,
        Command::Suspend(args) => switch::suspend(&args, session).await,
        Command::Resume(args) => switch::resume(&args, session).await,
        Command::Remove(args) => switch::remove(&args, session).await,
        Command::Explain(args) => explain::run(args, session).await,
    }
}

async fn add(args: AddArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let admin = session.admin()?;
    let attributes = unique("the attribute", &args.attributes)?;
    proof::check_sink(&args.proof, &args.sink)?;
    let mut proof = Proof::prepare(&args.proof, &args.sink, &args.name, &admin).await?;
    let new = NewAgent {
        credential: proof.to_new(args.kid)?,
        name: args.name,
        owner: args.owner,
        description: args.description,
        subject: args.subject,
        attributes,
        groups: given(&args.groups),
        roles: given(&args.roles),
        expires_in: seconds(args.expires_in),
        dpop_required: args.dpop_required.then_some(true),
        assertion_audience: args.assertion_audience,
    };
    let answer: Answer<CreatedAgent> = proof.register(&admin, &["agents"], &new).await?;
    let shown = noun::print_as(&CREATED, &answer, session)?;
    warn_of_audience(new.assertion_audience.as_deref(), session);
    if shown.is_some() {
        proof::hints(&new.name, &proof, &admin, session).await;
    }
    Ok(())
}

/// The list, with only directly assigned roles.
const DIRECT: Noun<Agent> = Noun {
    columns: &[
        AGENT.columns[0],
        AGENT.columns[1],
        AGENT.columns[2],
        AGENT.columns[3],
        ("ROLES", |agent, _| agent.roles.join(", ")),
        AGENT.columns[5],
        AGENT.columns[6],
    ],
    ..AGENT
};

async fn list(args: ListArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let filters = [&args.status, &args.group, &args.role, &args.search];
    let is_narrowed = filters.iter().any(|filter| filter.is_some());
    let only_direct = (args.direct && args.role.is_some()).then_some(true);
    let asked = Asked {
        filter: Query::default()
            .with("status", args.status)
            .with("group", args.group)
            .with("role", args.role)
            .with("direct", only_direct)
            .with("search", args.search),
        page: &args.page,
        nothing: if is_narrowed {
            "No agents match.\nhint: firman agent list"
        } else {
            "No agents. Next: firman agent add NAME --owner OWNER --generate-key NAME.pem"
        },
    };
    if args.direct {
        return DIRECT.list(asked, session).await;
    }
    AGENT.list(asked, session).await
}

/// The roles of an agent, each with the groups through which it holds the role: `reader (via group ops),
/// sender`.
fn roles(agent: &Agent) -> String {
    let ways = agent.effective_roles.as_slice();
    let shown = ways
        .chunk_by(|one, next| one.role == next.role)
        .map(|ways| {
            let role = &ways[0].role;
            let groups: Vec<&str> = ways.iter().filter_map(|way| way.group.as_deref()).collect();
            let is_direct = groups.len() < ways.len();
            let noun = if groups.len() == 1 { "group" } else { "groups" };
            match (groups.is_empty(), is_direct) {
                (true, _) => role.clone(),
                (false, true) => format!("{role} (also via {noun} {})", groups.join(", ")),
                (false, false) => format!("{role} (via {noun} {})", groups.join(", ")),
            }
        });
    shown.collect::<Vec<_>>().join(", ")
}

fn print(answer: &Answer<Agent>, session: &mut Session<'_>) -> Result<(), CliError> {
    let shown = AGENT.print(answer, session)?;
    let credentials = shown
        .and_then(|agent| agent.credentials)
        .unwrap_or_default();
    if credentials.is_empty() {
        return Ok(());
    }
    session.printer.write("\n")?;
    let table = noun::table(&credential::COLUMNS, &credentials, session.now());
    session.printer.table(&table, "")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn agent(effective_roles: &Value) -> Agent {
        serde_json::from_value(json!({
            "id": "1", "name": "mailer", "subject": "agent:mailer", "owner": "ops", "description": "", "attributes": {},
            "status": "active", "dpop_required": false, "groups": [], "roles": [], "effective_roles": effective_roles,
            "created_at": 1, "updated_at": 1, "version": 1,
        }))
        .unwrap()
    }

    #[test]
    fn each_role_is_printed_once_with_its_groups() {
        let way = |role: &str, group: Option<&str>| json!({ "role": role, "group": group });
        let ways = json!([
            way("admin", None),
            way("admin", Some("ops")),
            way("reader", Some("dev")),
            way("reader", Some("ops")),
            way("sender", None),
            way("writer", Some("ops")),
        ]);
        assert_eq!(
            roles(&agent(&ways)),
            "admin (also via group ops), reader (via groups dev, ops), sender, writer (via group ops)"
        );
        assert_eq!(roles(&agent(&json!([]))), "");
    }
}
