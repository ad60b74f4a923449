//! `firman group`: agents that share roles.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::{Page, Query};
use super::error::CliError;
use super::noun::removed;
use super::parse::{edited_list, nothing_to_change, parse_name};
use super::print::{date, names, text, texts};
use super::session::{Listing, Sample, Session};
use super::words::{Words, all_of, parse_names};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a group
    Add(AddArgs),
    /// List groups
    List(ListArgs),
    /// Show a group with its members
    Show {
        /// The group's name
        #[arg(value_parser = parse_name)]
        name: String,
    },
    /// Change a group
    Edit(EditArgs),
    /// Remove a group
    Remove {
        /// The group's name
        #[arg(value_parser = parse_name)]
        name: String,
        /// Even if it has members, which leave it
        #[arg(long)]
        force: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only those that pass this role on to their members
    #[arg(long, value_parser = parse_name)]
    role: Option<String>,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The name: labels of a-z, 0-9 and '-' joined by '.'
    #[arg(value_parser = parse_name)]
    name: String,
    /// What its members have in common
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Roles of its members (`a,b`, `"a b"`, or repeat the option)
    #[arg(long = "role", value_name = "ROLES", value_parser = parse_names)]
    roles: Vec<Words>,
}

#[derive(Debug, Args)]
pub(super) struct EditArgs {
    /// The group's name
    #[arg(value_parser = parse_name)]
    name: String,
    /// What its members have in common
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Give its members roles (`a,b`, `"a b"`, or repeat the option)
    #[arg(long, value_name = "ROLES", value_parser = parse_names)]
    add_role: Vec<Words>,
    /// Take roles from its members
    #[arg(long, value_name = "ROLES", value_parser = parse_names)]
    remove_role: Vec<Words>,
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Add(args) => {
            let mut body = Map::new();
            body.insert("name".to_owned(), json!(args.name));
            if let Some(description) = args.description {
                body.insert("description".to_owned(), json!(description));
            }
            if !args.roles.is_empty() {
                body.insert("roles".to_owned(), json!(all_of(&args.roles)));
            }
            let group = session
                .admin()?
                .post(&["groups"], Some(&Value::Object(body)))
                .await?;
            print(&group, session)?;
            session.printer.next(&format!(
                "firman agent edit AGENT --add-group {}",
                args.name
            ));
            Ok(())
        }
        Command::List(args) => {
            let listing = Listing {
                path: &["groups"],
                filter: Query::default().with("role", args.role.as_ref()),
                page: &args.page,
                columns: &["NAME", "ROLES", "DESCRIPTION", "CREATED"],
                nothing: match args.role {
                    Some(_) => "No group passes this role on. All groups: firman group list",
                    None => "No groups. Next: firman group add NAME --role ROLE",
                },
            };
            let row = |group: &Value| {
                vec![
                    text(group, "name"),
                    names(group, "roles"),
                    text(group, "description"),
                    date(group, "created_at"),
                ]
            };
            session.list_pages(listing, row).await
        }
        Command::Show { name } => show(&name, session).await,
        Command::Edit(args) => edit(args, session).await,
        Command::Remove { name, force, yes } => {
            let admin = session.admin()?;
            session.confirm(&format!("Remove group {name}?"), yes)?;
            let query = Query::default().with("force", force.then_some(true));
            admin.delete(&["groups", &name], &query).await?;
            removed(&name, session)
        }
    }
}

async fn show(name: &str, session: &mut Session<'_>) -> Result<(), CliError> {
    let admin = session.admin()?;
    let group = admin.get(&["groups", name], &Query::default()).await?;
    print(&group, session)?;
    if session.printer.is_json() {
        return Ok(());
    }
    let members = Sample {
        path: &["agents"],
        filter: Query::default().with("group", Some(name)),
        columns: &["AGENT", "STATUS", "OWNER"],
        all: &format!("firman agent list --group {name}"),
        nothing: &format!("It has no members. Next: firman agent edit AGENT --add-group {name}"),
    };
    let row = |agent: &Value| {
        ["name", "status", "owner"]
            .map(|member| text(agent, member))
            .to_vec()
    };
    session.sample(&admin, members, row).await?;
    Ok(())
}

async fn edit(args: EditArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let edits_roles = !(args.add_role.is_empty() && args.remove_role.is_empty());
    if args.description.is_none() && !edits_roles {
        return Err(nothing_to_change());
    }
    let change = |current: &Value| {
        let mut body = Map::new();
        if let Some(description) = &args.description {
            body.insert("description".to_owned(), json!(description));
        }
        if edits_roles {
            let roles = edited_list(
                "role",
                texts(current, "roles"),
                &all_of(&args.add_role),
                &all_of(&args.remove_role),
            )?;
            body.insert("roles".to_owned(), json!(roles));
        }
        Ok(body)
    };
    let group = session
        .admin()?
        .edit(&["groups", &args.name], change)
        .await?;
    print(&group, session)
}

fn print(group: &Value, session: &mut Session<'_>) -> Result<(), CliError> {
    if session.printer.is_json() {
        return session.printer.json(group);
    }
    session.printer.facts(&[
        ("name", text(group, "name")),
        ("description", text(group, "description")),
        ("roles", names(group, "roles")),
        ("members", text(group, "members")),
        ("created", date(group, "created_at")),
        ("id", text(group, "id")),
    ])
}
