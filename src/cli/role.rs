//! `firman role`: scopes at resources, under one name.

use clap::{Args, Subcommand};

use super::client::{Answer, Page, Query};
use super::error::CliError;
use super::noun::{self, Asked, Cell, NameArgs, Noun, RemoveArgs};
use super::parse::{nothing_to_change, parse_name};
use super::print::time;
use super::session::{Sample, Session};
use super::words::{not_there, parse_words};
use crate::api::agent::Agent;
use crate::api::group::Group;
use crate::api::role::{Grant, GrantedScopes, NewGrant, NewRole, Role, RoleEdit};

const ROLE: Noun<Role> = Noun {
    name: "role",
    path: "roles",
    columns: &[
        ("NAME", |role, _| role.name.clone()),
        ("GRANTS", |role, _| grants(role)),
        ("DESCRIPTION", |role, _| role.description.clone()),
        ("CREATED", |role, _| time(role.created_at)),
    ],
    facts: &[
        ("name", |role, _| role.name.clone()),
        ("description", |role, _| role.description.clone()),
        ("created", |role, _| time(role.created_at)),
        ("id", |role, _| role.id.clone()),
    ],
};

const GRANTS: [Cell<Grant>; 3] = [
    ("RESOURCE", |grant, _| grant.resource.clone()),
    ("IDENTIFIER", |grant, _| grant.identifier.clone()),
    ("SCOPES", |grant, _| scopes(&grant.scopes)),
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a role, which grants scopes at resources to those who hold it
    #[command(
        after_help = "Examples:\n  firman role add reader --grant reports=read\n  firman role add claude-user --grant claude"
    )]
    Add(AddArgs),
    /// List roles and what they grant
    #[command(after_help = "Examples:\n  firman role list\n  firman role list --resource reports")]
    List(ListArgs),
    /// Show a role, what it grants and who holds it
    #[command(after_help = "Examples:\n  firman role show reader")]
    Show(NameArgs),
    /// Change what a role grants
    #[command(
        after_help = "Examples:\n  firman role edit reader --grant reports=read,export\n  firman role edit reader --revoke-grant reports"
    )]
    Edit(EditArgs),
    /// Remove a role; with --force also one that agents or groups hold, which lose it
    #[command(
        after_help = "Examples:\n  firman role remove reader\n  firman role remove reader --force --yes"
    )]
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only roles that grant this resource: its name or identifier
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The name: labels of a-z, 0-9 and `-`, joined by `.`
    #[arg(value_parser = parse_name)]
    name: String,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A resource (name or identifier) and scopes there (`a,b` or `"a b"`), all scopes when none is named; may be repeated
    #[arg(long = "grant", value_name = "RESOURCE[=SCOPES]", value_parser = parse_grant)]
    grants: Vec<Granting>,
}

#[derive(Debug, Args)]
pub(super) struct EditArgs {
    #[command(flatten)]
    role: NameArgs,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, Default, PartialEq, Args)]
struct Changes {
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Add a grant, or replace the one for the same resource; may be repeated
    #[arg(long = "grant", value_name = "RESOURCE[=SCOPES]", value_parser = parse_grant)]
    grants: Vec<Granting>,
    /// Remove the grant for this resource; may be repeated
    #[arg(long, value_name = "RESOURCE")]
    revoke_grant: Vec<String>,
}

/// A grant as it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Granting {
    /// Name or identifier.
    resource: String,
    /// `None`: all scopes, now and later.
    scopes: Option<Vec<String>>,
}

impl Granting {
    fn to_new(&self) -> NewGrant {
        NewGrant {
            resource: self.resource.clone(),
            scopes: self.scopes.clone().map(GrantedScopes::Only),
        }
    }
}

/// `RESOURCE` or `RESOURCE=scopes`, separated by commas or blanks. A resource whose identifier contains `=`
/// must be named by its name.
fn parse_grant(text: &str) -> Result<Granting, String> {
    let (resource, scopes) = match text.split_once('=') {
        None => (text, None),
        Some((resource, scopes)) => {
            let scopes = parse_words(scopes)
                .map_err(|_| "empty scope after `=`; for all scopes omit the `=`".to_owned())?;
            (resource, Some(scopes.into_vec()))
        }
    };
    if resource.is_empty() {
        return Err("expected RESOURCE or RESOURCE=SCOPES".to_owned());
    }
    Ok(Granting {
        resource: resource.to_owned(),
        scopes,
    })
}

/// One grant for each resource: a repeated option adds scopes. All scopes and some are all.
fn merged(grants: &[Granting]) -> Vec<Granting> {
    let mut merged: Vec<Granting> = Vec::new();
    for grant in grants {
        match merged
            .iter_mut()
            .find(|known| known.resource == grant.resource)
        {
            None => merged.push(grant.clone()),
            Some(known) => match (&mut known.scopes, &grant.scopes) {
                (Some(scopes), Some(more)) => scopes.extend_from_slice(more),
                (scopes, None) => *scopes = None,
                (None, Some(_)) => {}
            },
        }
    }
    merged
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Add(args) => add(args, session).await,
        Command::List(args) => {
            let asked = Asked {
                filter: Query::default().with("resource", args.resource.as_ref()),
                page: &args.page,
                nothing: match args.resource {
                    Some(_) => "No role grants this resource.\nhint: firman role list",
                    None => "No roles. Next: firman role add NAME --grant RESOURCE=SCOPE",
                },
            };
            ROLE.list(asked, session).await
        }
        Command::Show(args) => show(&args.name, session).await,
        Command::Edit(args) => edit(&args.role.name, &args.changes, session).await,
        Command::Remove(args) => ROLE.remove(&args, session).await,
    }
}

async fn add(args: AddArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let grants: Vec<NewGrant> = merged(&args.grants).iter().map(Granting::to_new).collect();
    let new = NewRole {
        name: args.name,
        description: args.description,
        grants: (!grants.is_empty()).then_some(grants),
    };
    let role: Answer<Role> = session.admin()?.post(&["roles"], &new).await?;
    print(&role, session)?;
    let name = new.name;
    session
        .printer
        .next(&format!("firman agent edit AGENT --add-role {name}"));
    Ok(())
}

async fn show(name: &str, session: &mut Session<'_>) -> Result<(), CliError> {
    let admin = session.admin()?;
    let role = admin.get(&["roles", name], &Query::default()).await?;
    print(&role, session)?;
    if session.printer.is_json() {
        return Ok(());
    }
    let groups = Sample {
        path: &["groups"],
        filter: Query::default().with("role", Some(name)),
        columns: &[
            ("GROUP", &|group: &Group| group.name.clone()),
            ("DESCRIPTION", &|group| group.description.clone()),
        ],
        all: &format!("firman group list --role {name}"),
        nothing: "",
    };
    session.sample(&admin, groups).await?;
    let agents = Sample {
        path: &["agents"],
        filter: Query::default().with("role", Some(name)),
        columns: &[
            ("AGENT", &|agent: &Agent| agent.name.clone()),
            ("STATUS", &|agent| agent.status.clone()),
            ("OWNER", &|agent| agent.owner.clone()),
            ("THROUGH", &|agent| held_through(agent, name)),
        ],
        all: &format!("firman agent list --role {name}"),
        nothing: &format!("No agent holds it. Next: firman agent edit AGENT --add-role {name}"),
    };
    session.sample(&admin, agents).await?;
    Ok(())
}

async fn edit(name: &str, changes: &Changes, session: &mut Session<'_>) -> Result<(), CliError> {
    if *changes == Changes::default() {
        return Err(nothing_to_change("role edit"));
    }
    let edit = |role: &Role| {
        let edits_grants = !(changes.grants.is_empty() && changes.revoke_grant.is_empty());
        let granted = merged(&changes.grants);
        let grants =
            edits_grants.then(|| edited_grants(&role.grants, &granted, &changes.revoke_grant));
        Ok(RoleEdit {
            description: changes.description.clone(),
            grants: grants.transpose()?,
        })
    };
    let role = session.admin()?.edit(&["roles", name], edit).await?;
    print(&role, session)
}

/// The grants as a request has them, without those for `revoked` and with those of `granted`, which replace the
/// current ones for the same resource.
fn edited_grants(
    current: &[Grant],
    granted: &[Granting],
    revoked: &[String],
) -> Result<Vec<NewGrant>, CliError> {
    let mut kept: Vec<&Grant> = current.iter().collect();
    let is_for =
        |grant: &Grant, resource: &str| grant.resource == resource || grant.identifier == resource;
    for resource in revoked {
        let before = kept.len();
        kept.retain(|grant| !is_for(grant, resource));
        if kept.len() == before {
            let known: Vec<&str> = kept.iter().map(|grant| grant.resource.as_str()).collect();
            return Err(not_there("grant for", resource, &known));
        }
    }
    kept.retain(|grant| !granted.iter().any(|new| is_for(grant, &new.resource)));
    let kept = kept.into_iter().map(|grant| NewGrant {
        resource: grant.resource.clone(),
        scopes: match &grant.scopes {
            GrantedScopes::All(_) => None,
            GrantedScopes::Only(scopes) => Some(GrantedScopes::Only(scopes.clone())),
        },
    });
    Ok(kept.chain(granted.iter().map(Granting::to_new)).collect())
}

/// `reports=read,export claude=*`.
fn grants(role: &Role) -> String {
    let grants = role
        .grants
        .iter()
        .map(|grant| format!("{}={}", grant.resource, scopes(&grant.scopes)));
    grants.collect::<Vec<_>>().join(" ")
}

/// The scopes of a grant, `*` for all.
pub(super) fn scopes(scopes: &GrantedScopes) -> String {
    match scopes {
        GrantedScopes::All(_) => "*".to_owned(),
        GrantedScopes::Only(scopes) => scopes.join(","),
    }
}

/// How an agent holds a role: `directly`, `group ops`, or both.
fn held_through(agent: &Agent, role: &str) -> String {
    let ways = agent
        .effective_roles
        .iter()
        .filter(|way| way.role == role)
        .map(|way| match &way.group {
            Some(group) => format!("group {group}"),
            None => "directly".to_owned(),
        });
    ways.collect::<Vec<_>>().join(", ")
}

fn print(answer: &Answer<Role>, session: &mut Session<'_>) -> Result<(), CliError> {
    let Some(role) = ROLE.print(answer, session)? else {
        return Ok(());
    };
    if role.grants.is_empty() {
        session.printer.hint(&format!(
            "It grants nothing. Next: firman role edit {} --grant RESOURCE=SCOPE",
            role.name
        ));
        return Ok(());
    }
    session.printer.write("\n")?;
    let table = noun::table(&GRANTS, &role.grants, session.now());
    session.printer.table(&table, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_without_a_resource_or_with_an_empty_scope_is_refused() {
        for text in ["", "=read", "api=", "api=read,", "api=,read"] {
            assert!(parse_grant(text).is_err(), "{text:?}");
        }
    }

    fn sent(grants: &[NewGrant]) -> String {
        serde_json::to_string(grants).unwrap()
    }

    #[test]
    fn a_grant_names_a_resource_and_perhaps_scopes() {
        let grant = parse_grant("https://api.example.com=mail:read,mail:send").unwrap();
        let all = parse_grant("claude").unwrap();
        assert_eq!(
            sent(&[grant.to_new(), all.to_new()]),
            r#"[{"resource":"https://api.example.com","scopes":["mail:read","mail:send"]},{"resource":"claude"}]"#
        );
    }

    #[test]
    fn scopes_of_a_grant_are_separated_as_in_any_list() {
        for texts in [
            &["api=a,b"][..],
            &["api=a b"],
            &["api=a, b"],
            &["api=a", "api=b"],
        ] {
            let grants: Vec<Granting> = texts
                .iter()
                .map(|text| parse_grant(text).unwrap())
                .collect();
            let merged: Vec<NewGrant> = merged(&grants).iter().map(Granting::to_new).collect();
            assert_eq!(
                sent(&merged),
                r#"[{"resource":"api","scopes":["a","b"]}]"#,
                "{texts:?}"
            );
        }
        let all = [parse_grant("api=a").unwrap(), parse_grant("api").unwrap()];
        assert_eq!(merged(&all), [parse_grant("api").unwrap()]);
    }

    #[test]
    fn a_grant_replaces_the_one_for_the_same_resource_by_name_or_identifier() {
        let current: Vec<Grant> = serde_json::from_value(serde_json::json!([
            {"resource": "mail", "identifier": "https://mail.example.com", "scopes": ["read"]},
            {"resource": "claude", "identifier": "https://api.anthropic.com", "scopes": "*"},
        ]))
        .unwrap();
        let new = [parse_grant("https://mail.example.com=send").unwrap()];
        assert_eq!(
            sent(&edited_grants(&current, &new, &[]).unwrap()),
            r#"[{"resource":"claude"},{"resource":"https://mail.example.com","scopes":["send"]}]"#
        );
        assert_eq!(
            sent(&edited_grants(&current, &[], &["claude".to_owned()]).unwrap()),
            r#"[{"resource":"mail","scopes":["read"]}]"#
        );
        let error = edited_grants(&current, &[], &["drive".to_owned()]).unwrap_err();
        insta::assert_snapshot!(error.text().unwrap(), @"error: no grant for `drive` to remove; current: mail, claude");
    }
}
