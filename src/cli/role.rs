//! `firman role`: which scopes at which resources.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::agent::held_through;
use super::client::{Page, Query};
use super::error::CliError;
use super::noun::removed;
use super::parse::{nothing_to_change, parse_name};
use super::print::{Table, date, items, names, text};
use super::session::{Listing, Sample, Session};
use super::words::parse_words;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a role
    Add(AddArgs),
    /// List roles
    List(ListArgs),
    /// Show a role with the agents that hold it
    Show {
        /// The role's name
        #[arg(value_parser = parse_name)]
        name: String,
    },
    /// Change a role
    Edit(EditArgs),
    /// Remove a role
    Remove {
        /// The role's name
        #[arg(value_parser = parse_name)]
        name: String,
        /// Even if agents or groups have it, which lose it
        #[arg(long)]
        force: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only those that grant this resource: its name or identifier
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The name: labels of a-z, 0-9 and '-' joined by '.'
    #[arg(value_parser = parse_name)]
    name: String,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A resource (name or identifier) and scopes there (`a,b` or `"a b"`), all of them when none is named; may be repeated
    #[arg(long = "grant", value_name = "RESOURCE[=SCOPES]", value_parser = parse_grant)]
    grants: Vec<Grant>,
}

#[derive(Debug, Args)]
pub(super) struct EditArgs {
    /// The role's name
    #[arg(value_parser = parse_name)]
    name: String,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Add a grant, or replace the one for the same resource; may be repeated
    #[arg(long = "grant", value_name = "RESOURCE[=SCOPES]", value_parser = parse_grant)]
    grants: Vec<Grant>,
    /// Take away the grant for this resource; may be repeated
    #[arg(long, value_name = "RESOURCE")]
    revoke_grant: Vec<String>,
}

/// Scopes at a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grant {
    /// Name or identifier.
    resource: String,
    /// `None`: all scopes the resource has, also those it gets later.
    scopes: Option<Vec<String>>,
}

impl Grant {
    fn to_json(&self) -> Value {
        match &self.scopes {
            Some(scopes) => json!({ "resource": self.resource, "scopes": scopes }),
            None => json!({ "resource": self.resource }),
        }
    }
}

/// `RESOURCE` or `RESOURCE=scopes`, separated by commas or blanks. An identifier that itself holds a `=` has
/// to be written as the resource's name.
fn parse_grant(text: &str) -> Result<Grant, String> {
    let (resource, scopes) = match text.split_once('=') {
        None => (text, None),
        Some((resource, scopes)) => {
            let scopes = parse_words(scopes).map_err(|_| {
                "there is an empty scope after '='; leave '=' out to grant all scopes".to_owned()
            })?;
            (resource, Some(scopes.into_vec()))
        }
    };
    if resource.is_empty() {
        return Err("expected RESOURCE or RESOURCE=SCOPES".to_owned());
    }
    Ok(Grant {
        resource: resource.to_owned(),
        scopes,
    })
}

/// The grants with those for the same resource as one: a repeated option adds scopes. All scopes and some
/// are all.
fn merged(grants: &[Grant]) -> Vec<Grant> {
    let mut merged: Vec<Grant> = Vec::new();
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
        Command::Add(args) => {
            let mut body = Map::new();
            body.insert("name".to_owned(), json!(args.name));
            if let Some(description) = args.description {
                body.insert("description".to_owned(), json!(description));
            }
            if !args.grants.is_empty() {
                let grants = merged(&args.grants);
                let grants: Vec<Value> = grants.iter().map(Grant::to_json).collect();
                body.insert("grants".to_owned(), json!(grants));
            }
            let role = session
                .admin()?
                .post(&["roles"], Some(&Value::Object(body)))
                .await?;
            print(&role, session)?;
            session
                .printer
                .next(&format!("firman agent edit AGENT --add-role {}", args.name));
            Ok(())
        }
        Command::List(args) => {
            let listing = Listing {
                path: &["roles"],
                filter: Query::default().with("resource", args.resource.as_ref()),
                page: &args.page,
                columns: &["NAME", "GRANTS", "DESCRIPTION", "CREATED"],
                nothing: match args.resource {
                    Some(_) => "No role grants this resource. All roles: firman role list",
                    None => "No roles. Next: firman role add NAME --grant RESOURCE=SCOPE",
                },
            };
            let row = |role: &Value| {
                let grants = items(role, "grants")
                    .iter()
                    .map(|grant| format!("{}={}", text(grant, "resource"), scopes(grant)));
                vec![
                    text(role, "name"),
                    grants.collect::<Vec<_>>().join(" "),
                    text(role, "description"),
                    date(role, "created_at"),
                ]
            };
            session.list_pages(listing, row).await
        }
        Command::Show { name } => show(&name, session).await,
        Command::Edit(args) => edit(args, session).await,
        Command::Remove { name, force, yes } => {
            let admin = session.admin()?;
            session.confirm(&format!("Remove role {name}?"), yes)?;
            let query = Query::default().with("force", force.then_some(true));
            admin.delete(&["roles", &name], &query).await?;
            removed(&name, session)
        }
    }
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
        columns: &["GROUP", "DESCRIPTION"],
        all: &format!("firman group list --role {name}"),
        nothing: "",
    };
    let row = |group: &Value| {
        ["name", "description"]
            .map(|member| text(group, member))
            .to_vec()
    };
    session.sample(&admin, groups, row).await?;
    let agents = Sample {
        path: &["agents"],
        filter: Query::default().with("role", Some(name)),
        columns: &["AGENT", "STATUS", "OWNER", "THROUGH"],
        all: &format!("firman agent list --role {name}"),
        nothing: &format!("No agent holds it. Next: firman agent edit AGENT --add-role {name}"),
    };
    let row = |agent: &Value| {
        let mut row = ["name", "status", "owner"]
            .map(|member| text(agent, member))
            .to_vec();
        row.push(held_through(agent, name));
        row
    };
    session.sample(&admin, agents, row).await?;
    Ok(())
}

async fn edit(args: EditArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let granted = merged(&args.grants);
    let edits_grants = !(args.grants.is_empty() && args.revoke_grant.is_empty());
    if args.description.is_none() && !edits_grants {
        return Err(nothing_to_change());
    }
    let change = |current: &Value| {
        let mut body = Map::new();
        if let Some(description) = &args.description {
            body.insert("description".to_owned(), json!(description));
        }
        if edits_grants {
            let grants = edited_grants(current, &granted, &args.revoke_grant)?;
            body.insert("grants".to_owned(), json!(grants));
        }
        Ok(body)
    };
    let role = session
        .admin()?
        .edit(&["roles", &args.name], change)
        .await?;
    print(&role, session)
}

/// The role's grants as a request has them, without those for `revoked` and with those of `granted`,
/// which replace what there is for the same resource.
fn edited_grants(
    role: &Value,
    granted: &[Grant],
    revoked: &[String],
) -> Result<Vec<Value>, CliError> {
    let mut current: Vec<&Value> = items(role, "grants").iter().collect();
    let is_for = |grant: &Value, resource: &str| {
        grant["resource"] == resource || grant["identifier"] == resource
    };
    for resource in revoked {
        let before = current.len();
        current.retain(|grant| !is_for(grant, resource));
        if current.len() == before {
            let have: Vec<String> = current
                .iter()
                .map(|grant| text(grant, "resource"))
                .collect();
            let have = if have.is_empty() {
                "none".to_owned()
            } else {
                have.join(", ")
            };
            return Err(CliError::failed(
                "invalid",
                format!("there is no grant for '{resource}' to revoke; there: {have}"),
            ));
        }
    }
    current.retain(|grant| !granted.iter().any(|new| is_for(grant, &new.resource)));
    let kept = current.into_iter().map(|grant| match &grant["scopes"] {
        scopes @ Value::Array(_) => json!({ "resource": grant["resource"], "scopes": scopes }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            json!({ "resource": grant["resource"] })
        }
    });
    Ok(kept.chain(granted.iter().map(Grant::to_json)).collect())
}

/// The scopes of a grant, `*` for all.
pub(super) fn scopes(grant: &Value) -> String {
    match grant["scopes"].as_str() {
        Some(all) => all.to_owned(),
        None => names(grant, "scopes").replace(", ", ","),
    }
}

fn print(role: &Value, session: &mut Session<'_>) -> Result<(), CliError> {
    if session.printer.is_json() {
        return session.printer.json(role);
    }
    session.printer.facts(&[
        ("name", text(role, "name")),
        ("description", text(role, "description")),
        ("created", date(role, "created_at")),
        ("id", text(role, "id")),
    ])?;
    let mut table = Table::new(&["RESOURCE", "IDENTIFIER", "SCOPES"]);
    for grant in items(role, "grants") {
        table.row([
            text(grant, "resource"),
            text(grant, "identifier"),
            scopes(grant),
        ]);
    }
    if items(role, "grants").is_empty() {
        let name = text(role, "name");
        session.printer.hint(&format!(
            "It grants nothing yet. Next: firman role edit {name} --grant RESOURCE=SCOPE"
        ));
        return Ok(());
    }
    session.printer.write("\n")?;
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

    #[test]
    fn a_grant_names_a_resource_and_perhaps_scopes() {
        let grant = parse_grant("https://api.example.com=mail:read,mail:send").unwrap();
        assert_eq!(
            grant.to_json(),
            json!({"resource": "https://api.example.com", "scopes": ["mail:read", "mail:send"]})
        );
        assert_eq!(
            parse_grant("claude").unwrap().to_json(),
            json!({"resource": "claude"})
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
            let grants: Vec<Grant> = texts
                .iter()
                .map(|text| parse_grant(text).unwrap())
                .collect();
            let merged = merged(&grants);
            assert_eq!(
                merged.iter().map(Grant::to_json).collect::<Vec<_>>(),
                [json!({"resource": "api", "scopes": ["a", "b"]})],
                "{texts:?}"
            );
        }
        let all = [parse_grant("api=a").unwrap(), parse_grant("api").unwrap()];
        assert_eq!(merged(&all), [parse_grant("api").unwrap()]);
    }

    #[test]
    fn a_grant_replaces_the_one_for_the_same_resource_by_name_or_identifier() {
        let role = json!({"grants": [
            {"resource": "mail", "identifier": "https://mail.example.com", "scopes": ["read"]},
            {"resource": "claude", "identifier": "https://api.anthropic.com", "scopes": "*"},
        ]});
        let new = [parse_grant("https://mail.example.com=send").unwrap()];
        assert_eq!(
            edited_grants(&role, &new, &[]).unwrap(),
            [
                json!({"resource": "claude"}),
                json!({"resource": "https://mail.example.com", "scopes": ["send"]}),
            ]
        );
        assert_eq!(
            edited_grants(&role, &[], &["claude".to_owned()]).unwrap(),
            [json!({"resource": "mail", "scopes": ["read"]}),]
        );
        let error = edited_grants(&role, &[], &["drive".to_owned()]).unwrap_err();
        insta::assert_snapshot!(error.text().unwrap(), @"error: there is no grant for 'drive' to revoke; there: mail, claude");
    }
}
