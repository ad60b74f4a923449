//! `firman agent`: register, look at, change, switch off and remove agents, and explain what one may
//! get.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::{Page, Query};
use super::credential;
use super::delegation;
use super::duration::{DurationOr, parse_duration, parse_duration_or_never};
use super::error::CliError;
use super::issuer::{ASSERTION_AUDIENCES, warn_of_audience};
use super::noun::{dpop, removed};
use super::parse::{edited_list, nothing_to_change, parse_name, parse_pair};
use super::print::{Table, date, date_and_age, date_and_distance, items, names, text, texts};
use super::proof::{self, Proof, ProofArgs, SinkArgs};
use super::session::{Listing, Session};
use super::words::{Words, all_of, parse_names, parse_words, scope_parameter};
use crate::ports::time::UnixTime;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register an agent
    Add(AddArgs),
    /// List agents
    List(ListArgs),
    /// Show an agent with its credentials
    Show {
        /// The agent's name
        #[arg(value_parser = parse_name)]
        name: String,
    },
    /// Change an agent
    Edit(EditArgs),
    /// Switch agents off: their next token request is refused
    Suspend {
        /// The agents' names
        #[arg(value_name = "NAME", value_parser = parse_name, required = true)]
        names: Vec<String>,
    },
    /// Switch suspended agents on again
    Resume {
        /// The agents' names
        #[arg(value_name = "NAME", value_parser = parse_name, required = true)]
        names: Vec<String>,
    },
    /// Remove agents for good; their names are never given out again
    Remove {
        /// The agents' names
        #[arg(value_name = "NAME", value_parser = parse_name, required = true)]
        names: Vec<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Tell what an agent may get, through which role and group, and what its token would say
    Explain {
        /// The agent's name
        #[arg(value_parser = parse_name)]
        name: String,
        /// Only for this resource: its identifier or name
        #[arg(long, value_name = "RESOURCE")]
        resource: Option<String>,
        /// As if these scopes were asked for (`a,b`, `"a b"`, or repeat the option)
        #[arg(long, value_name = "SCOPES", value_parser = parse_words)]
        scope: Vec<Words>,
    },
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The name: labels of a-z, 0-9 and '-' joined by '.'; it becomes the client_id
    #[arg(value_parser = parse_name)]
    name: String,
    /// The person or team that answers for it
    #[arg(long)]
    owner: String,
    /// What it does
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Take over this subject from another issuer instead of agent:NAME
    #[arg(long)]
    subject: Option<String>,
    /// Groups it belongs to (`a,b`, `"a b"`, or repeat the option)
    #[arg(long = "group", value_name = "GROUPS", value_parser = parse_names)]
    groups: Vec<Words>,
    /// Roles it has (`a,b`, `"a b"`, or repeat the option)
    #[arg(long = "role", value_name = "ROLES", value_parser = parse_names)]
    roles: Vec<Words>,
    /// A claim of its tokens; may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = parse_pair)]
    attributes: Vec<(String, String)>,
    /// How long the agent may get tokens (90s, 15m, 24h, 7d); for ever when left out
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_in: Option<u64>,
    /// Give it only tokens that are bound to a key of its own (DPoP, RFC 9449)
    #[arg(long)]
    dpop_required: bool,
    /// What `aud` of its assertions must be; the issuer's policy when left out
    #[arg(long, value_name = "POLICY", value_parser = ASSERTION_AUDIENCES)]
    assertion_audience: Option<String>,
    #[command(flatten)]
    proof: ProofArgs,
    /// The `kid` that the client writes into its assertions; the key's RFC 7638 thumbprint when left out
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
    #[command(flatten)]
    sink: SinkArgs,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only those with this status; all but removed ones when left out
    #[arg(long, value_parser = ["active", "suspended", "removed"])]
    status: Option<String>,
    /// Only members of this group
    #[arg(long, value_parser = parse_name)]
    group: Option<String>,
    /// Only those that hold this role, directly or through a group
    #[arg(long, value_parser = parse_name)]
    role: Option<String>,
    /// Show the roles that were given directly, and with --role only the agents that it was given to directly
    #[arg(long)]
    direct: bool,
    /// Only those with this text in their name
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub(super) struct EditArgs {
    /// The agent's name
    #[arg(value_parser = parse_name)]
    name: String,
    /// The person or team that answers for it
    #[arg(long)]
    owner: Option<String>,
    /// What it does
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Put it into groups (`a,b`, `"a b"`, or repeat the option)
    #[arg(long, value_name = "GROUPS", value_parser = parse_names)]
    add_group: Vec<Words>,
    /// Take it out of groups
    #[arg(long, value_name = "GROUPS", value_parser = parse_names)]
    remove_group: Vec<Words>,
    /// Give it roles
    #[arg(long, value_name = "ROLES", value_parser = parse_names)]
    add_role: Vec<Words>,
    /// Take roles from it
    #[arg(long, value_name = "ROLES", value_parser = parse_names)]
    remove_role: Vec<Words>,
    /// Set a claim of its tokens; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    set_attribute: Vec<(String, String)>,
    /// Leave claims out of its tokens
    #[arg(long, value_name = "NAMES", value_parser = parse_words)]
    unset_attribute: Vec<Words>,
    /// How long from now it may get tokens, or 'never' to let it not expire
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_or_never)]
    expires_in: Option<DurationOr>,
    /// Give it only tokens that are bound to a key of its own (DPoP, RFC 9449)
    #[arg(long, conflicts_with = "no_dpop_required")]
    dpop_required: bool,
    /// Give it tokens that are bound to no key as well
    #[arg(long)]
    no_dpop_required: bool,
    /// What `aud` of its assertions must be; `inherit`: what the issuer's policy says
    #[arg(long, value_name = "POLICY", value_parser = AGENT_AUDIENCES)]
    assertion_audience: Option<String>,
}

/// The value that gives an agent the issuer's policy again.
const INHERIT: &str = "inherit";
const AGENT_AUDIENCES: [&str; 4] = [
    ASSERTION_AUDIENCES[0],
    ASSERTION_AUDIENCES[1],
    ASSERTION_AUDIENCES[2],
    INHERIT,
];

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Add(args) => add(args, session).await,
        Command::List(args) => list(args, session).await,
        Command::Show { name } => {
            let agent = session
                .admin()?
                .get(&["agents", &name], &Query::default())
                .await?;
            print(&agent, session)
        }
        Command::Edit(args) => edit(args, session).await,
        Command::Suspend { names } => {
            let done = switch(&names, Switch::Suspend, session).await?;
            suspended(&done, session);
            done.end()
        }
        Command::Resume { names } => switch(&names, Switch::Resume, session).await?.end(),
        Command::Remove { names, yes } => {
            session.admin()?;
            let question = match names.as_slice() {
                [name] => format!(
                    "Remove agent {name}? Its credentials end at once and its name is never given out again."
                ),
                several => format!(
                    "Remove agents {}? Their credentials end at once and their names are never given out again.",
                    several.join(", ")
                ),
            };
            session.confirm(&question, yes)?;
            switch(&names, Switch::Remove, session).await?.end()
        }
        Command::Explain {
            name,
            resource,
            scope,
        } => {
            let query = Query::default()
                .with("resource", resource.as_ref())
                .with("scope", scope_parameter(&scope));
            let answer = session
                .admin()?
                .get(&["agents", &name, "explain"], &query)
                .await?;
            explain(&answer, resource.is_none(), session)
        }
    }
}

/// A change to one or several agents.
#[derive(Clone, Copy)]
enum Switch {
    Suspend,
    Resume,
    Remove,
}

/// The agents that changed, as the API returned them, and whether all did.
struct Switched {
    agents: Vec<(String, Value)>,
    is_all: bool,
}

impl Switched {
    /// The failures were printed as they came.
    fn end(self) -> Result<(), CliError> {
        if self.is_all {
            Ok(())
        } else {
            Err(CliError::Ended(1))
        }
    }
}

/// Changes one agent after the other. With several, a failure is printed and the rest goes on.
async fn switch(
    names: &[String],
    what: Switch,
    session: &mut Session<'_>,
) -> Result<Switched, CliError> {
    let admin = session.admin()?;
    let mut done = Switched {
        agents: Vec::new(),
        is_all: true,
    };
    for name in names {
        let answer = match what {
            Switch::Suspend => admin.post(&["agents", name, "suspend"], None).await,
            Switch::Resume => admin.post(&["agents", name, "resume"], None).await,
            Switch::Remove => {
                let answer = admin.delete(&["agents", name], &Query::default()).await;
                answer.map(|()| json!({ "removed": name }))
            }
        };
        let agent = match answer {
            Ok(agent) => agent,
            Err(error) if names.len() == 1 => return Err(error),
            Err(error) => {
                session.printer.error(&error.about(name));
                done.is_all = false;
                continue;
            }
        };
        match what {
            _ if session.printer.is_json() => {}
            Switch::Remove => removed(name, session)?,
            Switch::Suspend | Switch::Resume => {
                if !done.agents.is_empty() {
                    session.printer.write("\n")?;
                }
                print(&agent, session)?;
            }
        }
        done.agents.push((name.clone(), agent));
    }
    if session.printer.is_json() {
        let agents: Vec<&Value> = done.agents.iter().map(|(_, agent)| agent).collect();
        match (names.len(), agents.as_slice()) {
            (1, [agent]) => session.printer.json(agent)?,
            _ => session.printer.json(&json!({ "items": agents }))?,
        }
    }
    Ok(done)
}

/// Prints what suspended agents may still do, and how to resume them.
fn suspended(done: &Switched, session: &mut Session<'_>) {
    let names: Vec<&str> = done.agents.iter().map(|(name, _)| name.as_str()).collect();
    match names.len() {
        0 => return,
        1 => session.printer.hint("Suspended. New token requests are refused and introspection reports its tokens as inactive. Services that verify tokens offline accept them until they expire or until they fetch the revocation list."),
        _ => session.printer.hint("Suspended. New token requests are refused and introspection reports their tokens as inactive. Services that verify tokens offline accept them until they expire or until they fetch the revocation list."),
    }
    let now = session.now();
    for (name, agent) in &done.agents {
        let Some(text) = at_claude(agent, now) else {
            continue;
        };
        if names.len() == 1 {
            session.printer.hint(&text);
        } else {
            session.printer.hint(&format!("{name}: {text}"));
        }
    }
    let names = names.join(" ");
    session
        .printer
        .next(&format!("firman agent resume {names}"));
}

/// What a suspended agent may still do at Claude, and what ends it; nothing when it never was there.
fn at_claude(agent: &Value, now: UnixTime) -> Option<String> {
    let rule = text(agent, "claude_rule_id");
    let until = date_and_distance(agent, "claude_access_until_at_most", now);
    if until.is_empty() {
        return (!rule.is_empty())
            .then(|| "No token of it is good for anything at Claude any more.".to_owned());
    }
    let rule = if rule.is_empty() {
        "its rule".to_owned()
    } else {
        format!("the rule {rule}")
    };
    Some(format!(
        "Claude access may outlive this until {until} at most. Archive {rule} at Claude to end exchanges at once; what Claude gave before lasts until then."
    ))
}

async fn add(args: AddArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let admin = session.admin()?;
    let attributes = attributes(&args.attributes)?;
    let given = (all_of(&args.groups), all_of(&args.roles));
    proof::check_sink(&args.proof, &args.sink)?;
    let mut proof = Proof::prepare(&args.proof, &args.sink, &args.name, &admin).await?;
    let mut credential = proof.to_members();
    match &mut credential {
        Some(members) => proof.name(members, args.kid.as_deref())?,
        None => proof.name(&mut Map::new(), args.kid.as_deref())?,
    }
    let mut body = Map::new();
    body.insert("name".to_owned(), json!(args.name));
    body.insert("owner".to_owned(), json!(args.owner));
    let optional = [
        ("description", args.description.map(Value::from)),
        ("subject", args.subject.map(Value::from)),
        ("groups", (!given.0.is_empty()).then(|| json!(given.0))),
        ("roles", (!given.1.is_empty()).then(|| json!(given.1))),
        (
            "attributes",
            (!attributes.is_empty()).then(|| json!(attributes)),
        ),
        ("expires_in", args.expires_in.map(Value::from)),
        ("dpop_required", args.dpop_required.then_some(true.into())),
        (
            "assertion_audience",
            args.assertion_audience.clone().map(Value::from),
        ),
        ("credential", credential.map(Value::Object)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    }
    let answer = proof.register(&admin, &["agents"], body).await?;
    if session.printer.is_json() {
        session.printer.json(&answer)?;
        warn_of_audience(args.assertion_audience.as_deref(), session);
        return Ok(());
    }
    let agent = &answer["agent"];
    session.printer.facts(&[
        ("name", text(agent, "name")),
        ("subject", text(agent, "subject")),
        ("owner", text(agent, "owner")),
        ("groups", names(agent, "groups")),
        ("roles", roles(agent)),
        ("expires", date(agent, "expires_at")),
        ("client_id", text(&answer, "client_id")),
        ("client_secret", text(&answer, "client_secret")),
        ("kid", text(&answer["credential"], "kid")),
    ])?;
    warn_of_audience(args.assertion_audience.as_deref(), session);
    proof::hints(&args.name, &proof, &admin, session).await;
    Ok(())
}

/// Pairs as a map; the same name twice is a slip.
fn attributes(pairs: &[(String, String)]) -> Result<BTreeMap<&str, &str>, CliError> {
    let mut map = BTreeMap::new();
    for (name, value) in pairs {
        if map.insert(name.as_str(), value.as_str()).is_some() {
            return Err(CliError::usage(format!(
                "the attribute '{name}' is given twice"
            )));
        }
    }
    Ok(map)
}

async fn list(args: ListArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let ListArgs {
        status,
        group,
        role,
        direct,
        search,
        page,
    } = args;
    let is_narrowed = [&status, &group, &role, &search]
        .iter()
        .any(|filter| filter.is_some());
    let only_direct = (direct && role.is_some()).then_some(true);
    let listing = Listing {
        path: &["agents"],
        filter: Query::default()
            .with("status", status)
            .with("group", group)
            .with("role", role)
            .with("direct", only_direct)
            .with("search", search),
        page: &page,
        columns: &[
            "NAME", "STATUS", "OWNER", "GROUPS", "ROLES", "EXPIRES", "CREATED",
        ],
        nothing: if is_narrowed {
            "No such agents. All agents: firman agent list"
        } else {
            "No agents. Next: firman agent add NAME --owner OWNER --generate-key NAME.pem"
        },
    };
    let row = |agent: &Value| {
        vec![
            text(agent, "name"),
            text(agent, "status"),
            text(agent, "owner"),
            names(agent, "groups"),
            if direct {
                names(agent, "roles")
            } else {
                roles(agent)
            },
            date(agent, "expires_at"),
            date(agent, "created_at"),
        ]
    };
    session.list_pages(listing, row).await
}

/// The roles that an agent holds, each with the groups through which it does:
/// `reader (via group ops), sender`.
pub(super) fn roles(agent: &Value) -> String {
    // A server from before tells the direct ones alone.
    if !agent["effective_roles"].is_array() {
        return names(agent, "roles");
    }
    let ways = items(agent, "effective_roles");
    let shown = ways
        .chunk_by(|one, next| one["role"] == next["role"])
        .map(|ways| {
            let role = text(&ways[0], "role");
            let groups: Vec<&str> = ways
                .iter()
                .filter_map(|way| way["group"].as_str())
                .collect();
            let is_direct = groups.len() < ways.len();
            let noun = if groups.len() == 1 { "group" } else { "groups" };
            match (groups.is_empty(), is_direct) {
                (true, _) => role,
                (false, true) => format!("{role} (also via {noun} {})", groups.join(", ")),
                (false, false) => format!("{role} (via {noun} {})", groups.join(", ")),
            }
        });
    shown.collect::<Vec<_>>().join(", ")
}

/// How an agent holds a role: `directly`, `group ops`, or both.
pub(super) fn held_through(agent: &Value, role: &str) -> String {
    let ways = items(agent, "effective_roles")
        .iter()
        .filter(|way| way["role"] == role)
        .map(|way| match way["group"].as_str() {
            Some(group) => format!("group {group}"),
            None => "directly".to_owned(),
        });
    ways.collect::<Vec<_>>().join(", ")
}

async fn edit(args: EditArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let set = attributes(&args.set_attribute)?;
    let lists @ [
        add_group,
        remove_group,
        add_role,
        remove_role,
        unset_attribute,
    ] = &[
        &args.add_group,
        &args.remove_group,
        &args.add_role,
        &args.remove_role,
        &args.unset_attribute,
    ]
    .map(|words| all_of(words));
    let edits_dpop = args.dpop_required || args.no_dpop_required;
    let scalars = args.owner.is_some() || args.description.is_some() || args.expires_in.is_some();
    let scalars = scalars || edits_dpop || args.assertion_audience.is_some();
    if !scalars && set.is_empty() && lists.iter().all(|list| list.is_empty()) {
        return Err(nothing_to_change());
    }
    let change = |current: &Value| -> Result<Map<String, Value>, CliError> {
        let mut body = Map::new();
        if let Some(owner) = &args.owner {
            body.insert("owner".to_owned(), json!(owner));
        }
        if let Some(description) = &args.description {
            body.insert("description".to_owned(), json!(description));
        }
        if let Some(expires_in) = args.expires_in {
            body.insert("expires_in".to_owned(), expires_in.to_json());
        }
        if edits_dpop {
            body.insert("dpop_required".to_owned(), json!(args.dpop_required));
        }
        if let Some(policy) = &args.assertion_audience {
            let policy = (policy != INHERIT).then_some(policy);
            body.insert("assertion_audience".to_owned(), json!(policy));
        }
        if !(add_group.is_empty() && remove_group.is_empty()) {
            let groups = edited_list("group", texts(current, "groups"), add_group, remove_group)?;
            body.insert("groups".to_owned(), json!(groups));
        }
        if !(add_role.is_empty() && remove_role.is_empty()) {
            let roles = edited_list("role", texts(current, "roles"), add_role, remove_role)?;
            body.insert("roles".to_owned(), json!(roles));
        }
        if !(set.is_empty() && unset_attribute.is_empty()) {
            body.insert(
                "attributes".to_owned(),
                edited_attributes(current, &set, unset_attribute)?,
            );
        }
        Ok(body)
    };
    let agent = session
        .admin()?
        .edit(&["agents", &args.name], change)
        .await?;
    print(&agent, session)?;
    warn_of_audience(args.assertion_audience.as_deref(), session);
    Ok(())
}

fn edited_attributes(
    current: &Value,
    set: &BTreeMap<&str, &str>,
    unset: &[String],
) -> Result<Value, CliError> {
    let mut attributes = current["attributes"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    for name in unset {
        if attributes.remove(name).is_none() {
            let have: Vec<&str> = attributes.keys().map(String::as_str).collect();
            let have = if have.is_empty() {
                "none".to_owned()
            } else {
                have.join(", ")
            };
            return Err(CliError::failed(
                "invalid",
                format!("there is no attribute '{name}' to unset; there: {have}"),
            ));
        }
    }
    for (name, value) in set {
        attributes.insert((*name).to_owned(), json!(value));
    }
    Ok(Value::Object(attributes))
}

fn print(agent: &Value, session: &mut Session<'_>) -> Result<(), CliError> {
    if session.printer.is_json() {
        return session.printer.json(agent);
    }
    let now = session.now();
    let mut status = text(agent, "status");
    let since = date(agent, "status_since");
    if !since.is_empty() {
        status.push_str(&format!(" since {since}"));
    }
    let attributes = agent["attributes"]
        .as_object()
        .map_or(String::new(), |attributes| {
            let pairs = attributes
                .keys()
                .map(|name| format!("{name}={}", text(&agent["attributes"], name)));
            pairs.collect::<Vec<_>>().join(", ")
        });
    session.printer.facts(&[
        ("name", text(agent, "name")),
        ("subject", text(agent, "subject")),
        ("status", status),
        ("owner", text(agent, "owner")),
        ("description", text(agent, "description")),
        ("groups", names(agent, "groups")),
        ("roles", roles(agent)),
        ("attributes", attributes),
        ("expires", date_and_distance(agent, "expires_at", now)),
        ("dpop", dpop(agent).to_owned()),
        ("assertion audience", text(agent, "assertion_audience")),
        ("last token", date_and_age(agent, "last_token_at", now)),
        ("created", date(agent, "created_at")),
        ("id", text(agent, "id")),
    ])?;
    if items(agent, "credentials").is_empty() {
        return Ok(());
    }
    session.printer.write("\n")?;
    session
        .printer
        .table(&credential::table(agent, "credentials"), "")
}

/// `is_open`: no resource was named.
fn explain(answer: &Value, is_open: bool, session: &mut Session<'_>) -> Result<(), CliError> {
    if session.printer.is_json() {
        return session.printer.json(answer);
    }
    let table = ways(answer);
    // Each of several resources has its own answer; that a request must name one of them is none.
    let must_choose = is_open && answer["active"] == true && items(answer, "resources").len() > 1;
    let active = if answer["active"].as_bool() == Some(true) {
        "yes"
    } else {
        "no"
    };
    let refusal = &answer["refusal"];
    let must_choose = must_choose && refusal.is_object();
    let refused = if must_choose {
        String::new()
    } else {
        told(refusal)
    };
    session.printer.facts(&[
        ("agent", text(answer, "agent")),
        ("active", active.to_owned()),
        ("refused", refused),
    ])?;
    if must_choose {
        session.printer.write("\n")?;
        session.printer.table(&answers(answer), "")?;
    }
    session.printer.write("\n")?;
    session.printer.table(
        &table,
        "No role of this agent or its groups grants anything.",
    )?;
    if !items(answer, "delegations").is_empty() {
        session.printer.write("\nmay act for:\n")?;
        session.printer.table(&delegation::explained(answer), "")?;
    }
    if answer["claims"].is_object() {
        session
            .printer
            .write("\nclaims of its token, without times and jti:\n")?;
        session.printer.json(&answer["claims"])?;
    }
    if must_choose {
        let name = text(answer, "agent");
        session
            .printer
            .hint("A token is for one resource: a request names it.");
        session
            .printer
            .next(&format!("firman agent explain {name} --resource RESOURCE"));
    }
    Ok(())
}

/// An error of the token endpoint; nothing when there is none.
fn told(refusal: &Value) -> String {
    if refusal.is_object() {
        format!(
            "{}: {}",
            text(refusal, "error"),
            text(refusal, "error_description")
        )
    } else {
        String::new()
    }
}

/// What a request gets that names one of the resources.
fn answers(answer: &Value) -> Table {
    let mut table = Table::new(&["RESOURCE", "IDENTIFIER", "TOKEN"]);
    for resource in items(answer, "resources") {
        let refused = told(&resource["refusal"]);
        let token = if refused.is_empty() {
            "yes".to_owned()
        } else {
            format!("refused: {refused}")
        };
        table.row([
            text(resource, "resource"),
            text(resource, "identifier"),
            token,
        ]);
    }
    table
}

/// One row per scope; one for a resource without any, which is granted or not as such.
fn ways(answer: &Value) -> Table {
    let mut table = Table::new(&["RESOURCE", "IDENTIFIER", "SCOPE", "GRANTED", "THROUGH"]);
    for resource in items(answer, "resources") {
        let mut row = |scope: String, granted: bool, through: String| {
            table.row([
                text(resource, "resource"),
                text(resource, "identifier"),
                scope,
                if granted { "yes" } else { "no" }.to_owned(),
                through,
            ]);
        };
        let granted = items(resource, "granted");
        let refused = texts(resource, "not_granted");
        if granted.is_empty() && refused.is_empty() {
            row(
                String::new(),
                !items(resource, "through").is_empty(),
                through(resource),
            );
        }
        for grant in granted {
            row(text(grant, "scope"), true, through(grant));
        }
        for scope in refused {
            row(scope, false, String::new());
        }
    }
    table
}

/// The ways in which a scope or resource is granted.
fn through(grant: &Value) -> String {
    let ways = items(grant, "through").iter().map(|way| {
        let role = text(way, "role");
        match way["group"].as_str() {
            Some(group) => format!("role {role} of group {group}"),
            None => format!("role {role}"),
        }
    });
    ways.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_given_twice_is_a_usage_error() {
        let pair = |value: &str| ("team".to_owned(), value.to_owned());
        assert_eq!(
            attributes(&[pair("a"), pair("b")]).unwrap_err().exit_code(),
            2
        );
    }

    #[test]
    fn unsetting_an_attribute_that_is_not_set_tells_which_are() {
        let agent = json!({"attributes": {"team": "billing"}});
        let error = edited_attributes(&agent, &BTreeMap::new(), &["taem".to_owned()]).unwrap_err();
        insta::assert_snapshot!(error.text().unwrap(), @"error: there is no attribute 'taem' to unset; there: team");
    }

    #[test]
    fn attributes_are_replaced_one_by_one() {
        let agent = json!({"attributes": {"team": "billing", "environment": "test"}});
        let set = BTreeMap::from([("team", "mail")]);
        let edited = edited_attributes(&agent, &set, &["environment".to_owned()]).unwrap();
        assert_eq!(edited, json!({"team": "mail"}));
    }

    #[test]
    fn each_role_is_told_once_with_the_groups_that_pass_it_on() {
        let way = |role: &str, group: Option<&str>| json!({ "role": role, "group": group });
        let agent = json!({ "effective_roles": [
            way("admin", None), way("admin", Some("ops")),
            way("reader", Some("dev")), way("reader", Some("ops")),
            way("sender", None), way("writer", Some("ops")),
        ] });
        assert_eq!(
            roles(&agent),
            "admin (also via group ops), reader (via groups dev, ops), sender, writer (via group ops)"
        );
        assert_eq!(held_through(&agent, "admin"), "directly, group ops");
        assert_eq!(roles(&json!({ "effective_roles": [] })), "");
    }

    #[test]
    fn every_way_to_a_scope_is_told() {
        let grant = json!({"through": [{"role": "reader", "group": null}, {"role": "writer", "group": "ops"}]});
        assert_eq!(through(&grant), "role reader, role writer of group ops");
    }

    #[test]
    fn every_scope_is_a_row_and_a_resource_without_scopes_is_one() {
        let by = |role: &str| json!([{"role": role, "group": null}]);
        let answer = json!({"resources": [
            {"resource": "mail", "identifier": "https://mail.example.com", "through": by("reader"),
             "granted": [{"scope": "read", "through": by("reader")}], "not_granted": ["send"]},
            {"resource": "claude", "identifier": "https://api.anthropic.com", "through": by("thinker"),
             "granted": [], "not_granted": []},
            {"resource": "disk", "identifier": "urn:disk", "through": [], "granted": [], "not_granted": []},
        ]});
        insta::assert_snapshot!(ways(&answer), @r"
        RESOURCE  IDENTIFIER                 SCOPE  GRANTED  THROUGH
        mail      https://mail.example.com   read   yes      role reader
        mail      https://mail.example.com   send   no       -
        claude    https://api.anthropic.com  -      yes      role thinker
        disk      urn:disk                   -      no       -
        ");
    }
}
