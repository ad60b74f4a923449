//! `firman resource`: what tokens are for.

use clap::{Args, Subcommand};

use super::client::{Page, Query};
use super::duration::{DurationOr, parse_duration, parse_duration_or_default};
use super::error::CliError;
use super::noun::{Asked, NameArgs, Noun, RemoveArgs, dpop};
use super::parse::{nothing_to_change, parse_name, seconds};
use super::print::time;
use super::role::scopes;
use super::session::{Sample, Session};
use super::words::{Words, edited_list, given, parse_words};
use crate::api::resource::{NewResource, Resource, ResourceEdit};
use crate::api::role::Role;

const RESOURCE: Noun<Resource> = Noun {
    name: "resource",
    path: "resources",
    columns: &[
        ("NAME", |resource, _| resource.name.clone()),
        ("IDENTIFIER", |resource, _| resource.identifier.clone()),
        ("PROFILE", |resource, _| resource.profile.clone()),
        ("SCOPES", |resource, _| resource.scopes.join(", ")),
        ("LIFETIME", |resource, _| lifetime(resource)),
        ("ALGORITHM", |resource, _| resource.token_algorithm.clone()),
    ],
    facts: &[
        ("name", |resource, _| resource.name.clone()),
        ("identifier", |resource, _| resource.identifier.clone()),
        ("description", |resource, _| resource.description.clone()),
        ("profile", |resource, _| resource.profile.clone()),
        ("scopes", |resource, _| resource.scopes.join(", ")),
        ("lifetime", |resource, _| lifetime(resource)),
        ("algorithm", |resource, _| resource.token_algorithm.clone()),
        ("typ", |resource, _| resource.token_typ.clone()),
        ("server", |resource, _| {
            resource.server.clone().unwrap_or_default()
        }),
        ("delegation", |resource, _| delegation(resource)),
        ("dpop", |resource, _| dpop(resource.dpop_required)),
        ("created", |resource, _| time(resource.created_at)),
        ("id", |resource, _| resource.id.clone()),
    ],
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register a resource, so that agents can get tokens for it
    #[command(
        after_help = "Examples:\n  firman resource add reports --identifier https://reports.example.com --scope read,export\n  firman resource add claude --profile claude"
    )]
    Add(AddArgs),
    /// List resources and how their tokens are made
    #[command(after_help = "Examples:\n  firman resource list")]
    List(Page),
    /// Show a resource and the roles that grant it
    #[command(after_help = "Examples:\n  firman resource show reports")]
    Show(NameArgs),
    /// Change a resource's scopes and how its tokens are made
    #[command(
        after_help = "Examples:\n  firman resource edit reports --add-scope export\n  firman resource edit reports --lifetime 5m --dpop-required"
    )]
    Edit(EditArgs),
    /// Remove a resource; with --force roles lose their grants of it and delegations for it are revoked
    #[command(
        after_help = "Examples:\n  firman resource remove reports\n  firman resource remove reports --force --yes"
    )]
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The name: labels of a-z, 0-9 and `-`, joined by `.`
    #[arg(value_parser = parse_name)]
    name: String,
    /// The URI that becomes the token's `aud`; profile `claude` has a default
    #[arg(long, value_name = "URI")]
    identifier: Option<String>,
    /// What it is
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Its scopes (`a,b`, `"a b"`, or repeat the option)
    #[arg(long = "scope", value_name = "SCOPES", value_parser = parse_words)]
    scopes: Vec<Words>,
    /// What kind of relying party it is
    #[arg(long, value_parser = ["generic", "claude"])]
    profile: Option<String>,
    /// How long its tokens are valid (90s, 15m, 1h)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    lifetime: Option<u64>,
    /// How its tokens are signed
    #[arg(long, value_parser = ["ES256", "RS256"])]
    algorithm: Option<String>,
    /// The `typ` header of its tokens [default: at+jwt with profile generic, JWT with claude]
    #[arg(long, value_parser = ["at+jwt", "JWT"], ignore_case = true)]
    typ: Option<String>,
    /// The agent that is the resource server: it may introspect tokens for the resource and exchange those that it receives
    #[arg(long, value_name = "AGENT", value_parser = parse_name)]
    server: Option<String>,
    #[command(flatten)]
    delegation: DelegationArgs,
    /// Require tokens that are bound to a key of their holder (DPoP, RFC 9449)
    #[arg(long)]
    dpop_required: bool,
}

/// Whether agents may act for others there.
#[derive(Debug, Default, PartialEq, Args)]
struct DelegationArgs {
    /// Accept delegated tokens (those with an `act` claim). Default for profile generic
    #[arg(long, conflicts_with = "no_allow_delegation")]
    allow_delegation: bool,
    /// Do not accept delegated tokens. Default for profile claude
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
    #[command(flatten)]
    resource: NameArgs,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, Default, PartialEq, Args)]
struct Changes {
    /// What it is
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Add scopes (`a,b`, `"a b"`, or repeat the option)
    #[arg(long, value_name = "SCOPES", value_parser = parse_words)]
    add_scope: Vec<Words>,
    /// Remove scopes
    #[arg(long, value_name = "SCOPES", value_parser = parse_words)]
    remove_scope: Vec<Words>,
    /// How long its tokens are valid, or `default`
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_or_default)]
    lifetime: Option<DurationOr>,
    /// How its tokens are signed
    #[arg(long, value_parser = ["ES256", "RS256", DEFAULT])]
    algorithm: Option<String>,
    /// The `typ` header of its tokens
    #[arg(long, value_parser = ["at+jwt", "JWT", DEFAULT], ignore_case = true)]
    typ: Option<String>,
    /// The agent that is the resource server, or `none`
    #[arg(long, value_name = "AGENT|none", value_parser = parse_name)]
    server: Option<String>,
    #[command(flatten)]
    delegation: DelegationArgs,
    /// Accept delegated tokens or not, by the default of the profile
    #[arg(long, conflicts_with_all = ["allow_delegation", "no_allow_delegation"])]
    default_delegation: bool,
    /// Require tokens that are bound to a key of their holder (DPoP, RFC 9449)
    #[arg(long, conflicts_with = "no_dpop_required")]
    dpop_required: bool,
    /// Accept bearer tokens, which are not bound to a key
    #[arg(long)]
    no_dpop_required: bool,
}

/// The value that clears a setting.
const DEFAULT: &str = "default";

impl Changes {
    fn of(&self, resource: &Resource) -> Result<ResourceEdit, CliError> {
        let or_default = |value: &Option<String>| {
            let value = value.clone()?;
            Some((!value.eq_ignore_ascii_case(DEFAULT)).then_some(value))
        };
        let allowed = self.delegation.allowed();
        Ok(ResourceEdit {
            description: self.description.clone(),
            scopes: edited_list(
                "scope",
                &resource.scopes,
                &self.add_scope,
                &self.remove_scope,
            )?,
            lifetime: self.lifetime.map(DurationOr::to_seconds),
            algorithm: or_default(&self.algorithm),
            typ: or_default(&self.typ).map(|typ| typ.map(canonical)),
            server: self
                .server
                .clone()
                .map(|server| Some(server).filter(|server| server != "none")),
            allow_delegation: (self.default_delegation || allowed.is_some()).then_some(allowed),
            dpop_required: (self.dpop_required || self.no_dpop_required)
                .then_some(self.dpop_required),
        })
    }
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Add(args) => add(args, session).await,
        Command::List(page) => {
            let asked = Asked {
                filter: Query::default(),
                page: &page,
                nothing: "No resources. Next: firman resource add NAME --identifier URI --scope SCOPE",
            };
            RESOURCE.list(asked, session).await
        }
        Command::Show(args) => show(&args.name, session).await,
        Command::Edit(args) => edit(&args.resource.name, &args.changes, session).await,
        Command::Remove(args) => RESOURCE.remove(&args, session).await,
    }
}

async fn add(args: AddArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let new = NewResource {
        name: args.name,
        identifier: args.identifier,
        description: args.description,
        profile: args.profile,
        scopes: given(&args.scopes),
        lifetime: seconds(args.lifetime),
        algorithm: args.algorithm,
        typ: args.typ.map(canonical),
        allow_delegation: args.delegation.allowed(),
        server: args.server,
        dpop_required: args.dpop_required.then_some(true),
    };
    let resource = session.admin()?.post(&["resources"], &new).await?;
    RESOURCE.print(&resource, session)?;
    session
        .printer
        .next(&format!("firman role add ROLE --grant {}", new.name));
    Ok(())
}

async fn show(name: &str, session: &mut Session<'_>) -> Result<(), CliError> {
    if RESOURCE.show(name, session).await?.is_none() {
        return Ok(());
    }
    let granted = |role: &Role| {
        let mut grants = role.grants.iter();
        let grant = grants.find(|grant| grant.resource == name);
        grant.map_or_else(String::new, |grant| scopes(&grant.scopes))
    };
    let roles = Sample {
        path: &["roles"],
        filter: Query::default().with("resource", Some(name)),
        columns: &[
            ("ROLE", &|role: &Role| role.name.clone()),
            ("SCOPES", &granted),
        ],
        all: &format!("firman role list --resource {name}"),
        nothing: &format!("No role grants it. Next: firman role add ROLE --grant {name}"),
    };
    // Access to a resource is held through a role that grants it.
    let roles = session.sample(&session.admin()?, roles).await?;
    match roles.as_slice() {
        [] => {}
        [role] => session
            .printer
            .next(&format!("firman agent list --role {role}")),
        _ => session.printer.next("firman agent list --role ROLE"),
    }
    Ok(())
}

async fn edit(name: &str, changes: &Changes, session: &mut Session<'_>) -> Result<(), CliError> {
    if *changes == Changes::default() {
        return Err(nothing_to_change("resource edit"));
    }
    let path = ["resources", name];
    let resource = session.admin()?.edit(&path, |old| changes.of(old)).await?;
    RESOURCE.print(&resource, session).map(|_| ())
}

/// The media types of RFC 7515 §4.1.9 compare without regard to case; the header has one spelling.
fn canonical(typ: String) -> String {
    let known = ["at+jwt", "JWT"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(&typ));
    known.map_or(typ, str::to_owned)
}

fn lifetime(resource: &Resource) -> String {
    format!("{} s", resource.token_lifetime)
}

fn delegation(resource: &Resource) -> String {
    if resource.delegation_allowed {
        "allowed".to_owned()
    } else {
        "not allowed".to_owned()
    }
}
