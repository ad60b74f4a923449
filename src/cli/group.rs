//! `firman group`: agents that share roles.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::agent::removed;
use super::client::{Page, Query};
use super::error::CliError;
use super::print::{Table, date, items, names, text, texts};
use super::{Session, edited_list, nothing_to_change, parse_name};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a group
    Add(AddArgs),
    /// List groups
    List(Page),
    /// Show a group
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
pub(super) struct AddArgs {
    /// The name: labels of a-z, 0-9 and '-' joined by '.'
    #[arg(value_parser = parse_name)]
    name: String,
    /// What its members have in common
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A role of its members; may be repeated
    #[arg(long = "role", value_name = "ROLE", value_parser = parse_name)]
    roles: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct EditArgs {
    /// The group's name
    #[arg(value_parser = parse_name)]
    name: String,
    /// What its members have in common
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Give its members a role; may be repeated
    #[arg(long, value_name = "ROLE", value_parser = parse_name)]
    add_role: Vec<String>,
    /// Take a role from its members; may be repeated
    #[arg(long, value_name = "ROLE", value_parser = parse_name)]
    remove_role: Vec<String>,
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
                body.insert("roles".to_owned(), json!(args.roles));
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
        Command::List(page) => {
            let answer = session
                .admin()?
                .list(&["groups"], Query::default(), &page)
                .await?;
            let mut table = Table::new(&["NAME", "ROLES", "DESCRIPTION", "CREATED"]);
            for group in items(&answer, "items") {
                table.row([
                    text(group, "name"),
                    names(group, "roles"),
                    text(group, "description"),
                    date(group, "created_at"),
                ]);
            }
            session.list(
                &answer,
                &table,
                "No groups. Next: firman group add NAME --role ROLE",
            )
        }
        Command::Show { name } => {
            let group = session
                .admin()?
                .get(&["groups", &name], &Query::default())
                .await?;
            print(&group, session)
        }
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
                &args.add_role,
                &args.remove_role,
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
