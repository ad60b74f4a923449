//! `firman group`: agents that share roles.

use clap::{Args, Subcommand};

use super::client::{Page, Query};
use super::error::CliError;
use super::noun::{Asked, NameArgs, Noun, RemoveArgs};
use super::parse::{nothing_to_change, parse_name};
use super::print::time;
use super::session::{Sample, Session};
use super::words::{Words, edited_list, given, parse_names};
use crate::api::agent::Agent;
use crate::api::group::{Group, GroupEdit, NewGroup};

const GROUP: Noun<Group> = Noun {
    name: "group",
    path: "groups",
    columns: &[
        ("NAME", |group, _| group.name.clone()),
        ("ROLES", |group, _| group.roles.join(", ")),
        ("DESCRIPTION", |group, _| group.description.clone()),
        ("CREATED", |group, _| time(group.created_at)),
    ],
    facts: &[
        ("name", |group, _| group.name.clone()),
        ("description", |group, _| group.description.clone()),
        ("roles", |group, _| group.roles.join(", ")),
        ("members", |group, _| {
            group
                .members
                .map_or_else(String::new, |count| count.to_string())
        }),
        ("created", |group, _| time(group.created_at)),
        ("id", |group, _| group.id.clone()),
    ],
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a group, so that its members share roles
    #[command(
        after_help = "Examples:\n  firman group add mailers --role sender\n  firman group add ops --role reader,writer --description \"on call\""
    )]
    Add(AddArgs),
    /// List groups and the roles of their members
    #[command(after_help = "Examples:\n  firman group list\n  firman group list --role reader")]
    List(ListArgs),
    /// Show a group and its members
    #[command(after_help = "Examples:\n  firman group show mailers")]
    Show(NameArgs),
    /// Change a group's description and the roles of its members
    #[command(
        after_help = "Examples:\n  firman group edit mailers --add-role reader\n  firman group edit mailers --remove-role sender"
    )]
    Edit(EditArgs),
    /// Remove a group; with --force also one with members, which lose its roles
    #[command(
        after_help = "Examples:\n  firman group remove mailers\n  firman group remove mailers --force --yes"
    )]
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only groups with this role
    #[arg(long, value_parser = parse_name)]
    role: Option<String>,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The name: labels of a-z, 0-9 and `-`, joined by `.`
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
    #[command(flatten)]
    group: NameArgs,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, Default, PartialEq, Args)]
struct Changes {
    /// What its members have in common
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Give its members roles (`a,b`, `"a b"`, or repeat the option)
    #[arg(long, value_name = "ROLES", value_parser = parse_names)]
    add_role: Vec<Words>,
    /// Withdraw roles from its members
    #[arg(long, value_name = "ROLES", value_parser = parse_names)]
    remove_role: Vec<Words>,
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Add(args) => add(args, session).await,
        Command::List(args) => {
            let asked = Asked {
                filter: Query::default().with("role", args.role.as_ref()),
                page: &args.page,
                nothing: match args.role {
                    Some(_) => "No group has this role.\nhint: firman group list",
                    None => "No groups. Next: firman group add NAME --role ROLE",
                },
            };
            GROUP.list(asked, session).await
        }
        Command::Show(args) => show(&args.name, session).await,
        Command::Edit(args) => edit(&args.group.name, &args.changes, session).await,
        Command::Remove(args) => GROUP.remove(&args, session).await,
    }
}

async fn add(args: AddArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let new = NewGroup {
        name: args.name,
        description: args.description,
        roles: given(&args.roles),
    };
    let group = session.admin()?.post(&["groups"], &new).await?;
    GROUP.print(&group, session)?;
    let name = new.name;
    session.printer.next(&match new.roles {
        Some(_) => format!("firman agent edit AGENT --add-group {name}"),
        None => format!("firman group edit {name} --add-role ROLE"),
    });
    Ok(())
}

async fn show(name: &str, session: &mut Session<'_>) -> Result<(), CliError> {
    if GROUP.show(name, session).await?.is_none() {
        return Ok(());
    }
    let members = Sample {
        path: &["agents"],
        filter: Query::default().with("group", Some(name)),
        columns: &[
            ("AGENT", &|agent: &Agent| agent.name.clone()),
            ("STATUS", &|agent| agent.status.clone()),
            ("OWNER", &|agent| agent.owner.clone()),
        ],
        all: &format!("firman agent list --group {name}"),
        nothing: &format!("It has no members. Next: firman agent edit AGENT --add-group {name}"),
    };
    session.sample(&session.admin()?, members).await?;
    Ok(())
}

async fn edit(name: &str, changes: &Changes, session: &mut Session<'_>) -> Result<(), CliError> {
    if *changes == Changes::default() {
        return Err(nothing_to_change("group edit"));
    }
    let edit = |group: &Group| {
        let roles = edited_list(
            "role",
            &group.roles,
            &changes.add_role,
            &changes.remove_role,
        )?;
        Ok(GroupEdit {
            description: changes.description.clone(),
            roles,
        })
    };
    let group = session.admin()?.edit(&["groups", name], edit).await?;
    GROUP.print(&group, session).map(|_| ())
}
