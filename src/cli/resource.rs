//! `firman resource`: what tokens are for.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::{Page, Query};
use super::duration::{DurationOr, parse_duration, parse_duration_or_default};
use super::error::CliError;
use super::noun::{dpop, removed};
use super::parse::{edited_list, nothing_to_change, parse_name};
use super::print::{date, items, names, text, texts};
use super::role::scopes;
use super::session::{Listing, Sample, Session};
use super::words::{Words, all_of, parse_words};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register a resource
    Add(AddArgs),
    /// List resources
    List(Page),
    /// Show a resource with the roles that grant it
    Show {
        /// The resource's name
        #[arg(value_parser = parse_name)]
        name: String,
    },
    /// Change a resource
    Edit(EditArgs),
    /// Remove a resource
    Remove {
        /// The resource's name
        #[arg(value_parser = parse_name)]
        name: String,
        /// Even if roles grant it, which lose the grant, or delegations name it, which are revoked
        #[arg(long)]
        force: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The name: labels of a-z, 0-9 and '-' joined by '.'
    #[arg(value_parser = parse_name)]
    name: String,
    /// The URI that becomes the token's audience; the profile claude has one of its own
    #[arg(long, value_name = "URI")]
    identifier: Option<String>,
    /// What it is
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Scopes it knows (`a,b`, `"a b"`, or repeat the option)
    #[arg(long = "scope", value_name = "SCOPES", value_parser = parse_words)]
    scopes: Vec<Words>,
    /// What kind of relying party it is
    #[arg(long, value_parser = ["generic", "claude"])]
    profile: Option<String>,
    /// How long its tokens live (90s, 15m, 1h)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    lifetime: Option<u64>,
    /// How its tokens are signed
    #[arg(long, value_parser = ["ES256", "RS256"])]
    algorithm: Option<String>,
    /// The `typ` header of its tokens [default: at+jwt with profile generic, JWT with claude]
    #[arg(long, value_parser = ["at+jwt", "JWT"], ignore_case = true)]
    typ: Option<String>,
    /// The agent that is the resource server: it may introspect tokens for it and exchange those it received
    #[arg(long, value_name = "AGENT", value_parser = parse_name)]
    server: Option<String>,
    #[command(flatten)]
    delegation: DelegationArgs,
    /// Take only tokens that are bound to a key of their holder (DPoP, RFC 9449)
    #[arg(long)]
    dpop_required: bool,
}

/// Whether agents may act for others there.
#[derive(Debug, Args)]
struct DelegationArgs {
    /// Take tokens that somebody acts in; so does a resource with the profile generic by itself
    #[arg(long, conflicts_with = "no_allow_delegation")]
    allow_delegation: bool,
    /// Take no tokens that somebody acts in; nor does one with the profile claude by itself
    #[arg(long)]
    no_allow_delegation: bool,
}

impl DelegationArgs {
    fn allowed(&self) -> Option<bool> {
        match (self.allow_delegation, self.no_allow_delegation) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct EditArgs {
    /// The resource's name
    #[arg(value_parser = parse_name)]
    name: String,
    /// What it is
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Add scopes (`a,b`, `"a b"`, or repeat the option)
    #[arg(long, value_name = "SCOPES", value_parser = parse_words)]
    add_scope: Vec<Words>,
    /// Remove scopes
    #[arg(long, value_name = "SCOPES", value_parser = parse_words)]
    remove_scope: Vec<Words>,
    /// How long its tokens live, or 'default'
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_or_default)]
    lifetime: Option<DurationOr>,
    /// How its tokens are signed
    #[arg(long, value_parser = ["ES256", "RS256", "default"])]
    algorithm: Option<String>,
    /// The `typ` header of its tokens
    #[arg(long, value_parser = ["at+jwt", "JWT", "default"], ignore_case = true)]
    typ: Option<String>,
    /// The agent that is the resource server, or 'none'
    #[arg(long, value_name = "AGENT|none", value_parser = parse_name)]
    server: Option<String>,
    #[command(flatten)]
    delegation: DelegationArgs,
    /// Take tokens that somebody acts in, or not, as the profile has it
    #[arg(long, conflicts_with_all = ["allow_delegation", "no_allow_delegation"])]
    default_delegation: bool,
    /// Take only tokens that are bound to a key of their holder (DPoP, RFC 9449)
    #[arg(long, conflicts_with = "no_dpop_required")]
    dpop_required: bool,
    /// Take tokens that are bound to no key as well
    #[arg(long)]
    no_dpop_required: bool,
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Add(args) => add(args, session).await,
        Command::List(page) => list(&page, session).await,
        Command::Show { name } => show(&name, session).await,
        Command::Edit(args) => edit(args, session).await,
        Command::Remove { name, force, yes } => {
            let admin = session.admin()?;
            session.confirm(&format!("Remove resource {name}?"), yes)?;
            let query = Query::default().with("force", force.then_some(true));
            admin.delete(&["resources", &name], &query).await?;
            removed(&name, session)
        }
    }
}

async fn list(page: &Page, session: &mut Session<'_>) -> Result<(), CliError> {
    let listing = Listing {
        path: &["resources"],
        filter: Query::default(),
        page,
        columns: &[
            "NAME",
            "IDENTIFIER",
            "PROFILE",
            "SCOPES",
            "LIFETIME",
            "ALGORITHM",
        ],
        nothing: "No resources. Next: firman resource add NAME --identifier URI --scope SCOPE",
    };
    let row = |resource: &Value| {
        vec![
            text(resource, "name"),
            text(resource, "identifier"),
            text(resource, "profile"),
            names(resource, "scopes"),
            lifetime(resource),
            text(resource, "token_algorithm"),
        ]
    };
    session.list_pages(listing, row).await
}

async fn show(name: &str, session: &mut Session<'_>) -> Result<(), CliError> {
    let admin = session.admin()?;
    let resource = admin.get(&["resources", name], &Query::default()).await?;
    print(&resource, session)?;
    if session.printer.is_json() {
        return Ok(());
    }
    let roles = Sample {
        path: &["roles"],
        filter: Query::default().with("resource", Some(name)),
        columns: &["ROLE", "SCOPES"],
        all: &format!("firman role list --resource {name}"),
        nothing: &format!("No role grants it. Next: firman role add ROLE --grant {name}"),
    };
    let row = |role: &Value| {
        let grants = items(role, "grants").iter();
        let mut grants = grants.filter(|grant| grant["resource"] == name);
        vec![
            text(role, "name"),
            grants.next().map_or_else(String::new, scopes),
        ]
    };
    // Who may do something there is who holds a role that grants it.
    match session.sample(&admin, roles, row).await?.as_slice() {
        [] => {}
        [role] => session
            .printer
            .next(&format!("firman agent list --role {role}")),
        _ => session.printer.next("firman agent list --role ROLE"),
    }
    Ok(())
}

async fn add(args: AddArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let mut body = Map::new();
    body.insert("name".to_owned(), json!(args.name));
    let optional = [
        ("identifier", args.identifier.map(Value::from)),
        ("description", args.description.map(Value::from)),
        ("profile", args.profile.map(Value::from)),
        (
            "scopes",
            (!args.scopes.is_empty()).then(|| json!(all_of(&args.scopes))),
        ),
        ("lifetime", args.lifetime.map(Value::from)),
        ("algorithm", args.algorithm.map(Value::from)),
        ("typ", args.typ.as_deref().map(|typ| json!(canonical(typ)))),
        ("server", args.server.map(Value::from)),
        (
            "allow_delegation",
            args.delegation.allowed().map(Value::from),
        ),
        ("dpop_required", args.dpop_required.then_some(true.into())),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    }
    let resource = session
        .admin()?
        .post(&["resources"], Some(&Value::Object(body)))
        .await?;
    print(&resource, session)?;
    session
        .printer
        .next(&format!("firman role add ROLE --grant {}", args.name));
    Ok(())
}

async fn edit(args: EditArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let edits_scopes = !(args.add_scope.is_empty() && args.remove_scope.is_empty());
    let edits_dpop = args.dpop_required || args.no_dpop_required;
    if args.description.is_none()
        && args.lifetime.is_none()
        && args.algorithm.is_none()
        && args.typ.is_none()
        && args.server.is_none()
        && args.delegation.allowed().is_none()
        && !args.default_delegation
        && !edits_dpop
        && !edits_scopes
    {
        return Err(nothing_to_change());
    }
    let change = |current: &Value| {
        let mut body = Map::new();
        if let Some(description) = &args.description {
            body.insert("description".to_owned(), json!(description));
        }
        if edits_scopes {
            let scopes = edited_list(
                "scope",
                texts(current, "scopes"),
                &all_of(&args.add_scope),
                &all_of(&args.remove_scope),
            )?;
            body.insert("scopes".to_owned(), json!(scopes));
        }
        if let Some(lifetime) = args.lifetime {
            body.insert("lifetime".to_owned(), lifetime.to_json());
        }
        if let Some(algorithm) = &args.algorithm {
            let algorithm = Some(algorithm).filter(|algorithm| *algorithm != "default");
            body.insert("algorithm".to_owned(), json!(algorithm));
        }
        if let Some(typ) = &args.typ {
            let typ = Some(canonical(typ)).filter(|typ| *typ != "default");
            body.insert("typ".to_owned(), json!(typ));
        }
        if let Some(server) = &args.server {
            let server = Some(server).filter(|server| *server != "none");
            body.insert("server".to_owned(), json!(server));
        }
        if args.default_delegation || args.delegation.allowed().is_some() {
            let allowed = args.delegation.allowed();
            body.insert("allow_delegation".to_owned(), json!(allowed));
        }
        if edits_dpop {
            body.insert("dpop_required".to_owned(), json!(args.dpop_required));
        }
        Ok(body)
    };
    let resource = session
        .admin()?
        .edit(&["resources", &args.name], change)
        .await?;
    print(&resource, session)
}

/// The media types of RFC 7515 §4.1.9 compare without regard to case; the header has one spelling.
fn canonical(typ: &str) -> &str {
    ["at+jwt", "JWT", "default"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(typ))
        .unwrap_or(typ)
}

fn lifetime(resource: &Value) -> String {
    let seconds = text(resource, "token_lifetime");
    if seconds.is_empty() {
        seconds
    } else {
        format!("{seconds} s")
    }
}

fn delegation(resource: &Value) -> &'static str {
    match resource["delegation_allowed"].as_bool() {
        Some(true) => "allowed",
        Some(false) => "not allowed",
        None => "",
    }
}

fn print(resource: &Value, session: &mut Session<'_>) -> Result<(), CliError> {
    if session.printer.is_json() {
        return session.printer.json(resource);
    }
    session.printer.facts(&[
        ("name", text(resource, "name")),
        ("identifier", text(resource, "identifier")),
        ("description", text(resource, "description")),
        ("profile", text(resource, "profile")),
        ("scopes", names(resource, "scopes")),
        ("lifetime", lifetime(resource)),
        ("algorithm", text(resource, "token_algorithm")),
        ("typ", text(resource, "token_typ")),
        ("server", text(resource, "server")),
        ("delegation", delegation(resource).to_owned()),
        ("dpop", dpop(resource).to_owned()),
        ("created", date(resource, "created_at")),
        ("id", text(resource, "id")),
    ])
}
