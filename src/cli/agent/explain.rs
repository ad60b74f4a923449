//! `firman agent explain`: what an agent may get, through which role and group, and what its token would contain.

use clap::Args;

use crate::api::agent::Through;
use crate::api::explanation::{ExplainedResource, Explanation, Refusal};
use crate::cli::client::{Answer, Query};
use crate::cli::delegation;
use crate::cli::error::CliError;
use crate::cli::noun::{self, Cell, NameArgs};
use crate::cli::print::Table;
use crate::cli::session::Session;
use crate::cli::words::{Words, parse_words, scope_parameter};

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArgs {
    #[command(flatten)]
    agent: NameArgs,
    /// Only this resource: its identifier or name
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
    /// Explain a request for these scopes (`a,b`, `"a b"`, or repeat the option)
    #[arg(long, value_name = "SCOPES", value_parser = parse_words)]
    scope: Vec<Words>,
}

pub(super) async fn run(args: ExplainArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let query = Query::default()
        .with("resource", args.resource.as_ref())
        .with("scope", scope_parameter(&args.scope));
    let path = ["agents", &args.agent.name, "explain"];
    let answer: Answer<Explanation> = session.admin()?.get(&path, &query).await?;
    match session.object(&answer)? {
        Some(explanation) => print(&explanation, args.resource.is_none(), session),
        None => Ok(()),
    }
}

/// `is_open`: the request names no resource.
fn print(answer: &Explanation, is_open: bool, session: &mut Session<'_>) -> Result<(), CliError> {
    // With several resources each has its own answer; that a request must name one of them is not a refusal.
    let is_several = is_open && answer.active && answer.resources.len() > 1;
    let must_choose = is_several && answer.refusal.is_some();
    let refused = answer.refusal.as_ref().filter(|_| !must_choose);
    session.printer.facts(&[
        ("agent", answer.agent.clone()),
        ("active", yes(answer.active)),
        ("refused", refused.map_or_else(String::new, told)),
        (
            "hint",
            refused
                .and_then(|refusal| refusal.hint.clone())
                .unwrap_or_default(),
        ),
    ])?;
    let now = session.now();
    if must_choose {
        session.printer.write("\n")?;
        let answers = noun::table(&ANSWERS, &answer.resources, now);
        session.printer.table(&answers, "")?;
    }
    session.printer.write("\n")?;
    session.printer.table(
        &ways(&answer.resources),
        "The roles of this agent and its groups grant nothing.",
    )?;
    if !answer.delegations.is_empty() {
        session.printer.write("\nmay act for:\n")?;
        let table = noun::table(&delegation::EXPLAINED, &answer.delegations, now);
        session.printer.table(&table, "")?;
    }
    if let Some(claims) = &answer.claims {
        session
            .printer
            .write("\nclaims of its token, without times and jti:\n")?;
        session.printer.json(claims)?;
    }
    if must_choose {
        session
            .printer
            .hint("A token is for one resource, so a request names it.");
        session.printer.next(&format!(
            "firman agent explain {} --resource RESOURCE",
            answer.agent
        ));
    }
    Ok(())
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// An error of the token endpoint.
fn told(refusal: &Refusal) -> String {
    format!("{}: {}", refusal.error, refusal.error_description)
}

/// The result of a request that names one of the resources.
const ANSWERS: [Cell<ExplainedResource>; 3] = [
    ("RESOURCE", |resource, _| resource.resource.clone()),
    ("IDENTIFIER", |resource, _| resource.identifier.clone()),
    ("TOKEN", |resource, _| match &resource.refusal {
        Some(refusal) => format!("refused: {}", told(refusal)),
        None => "yes".to_owned(),
    }),
];

/// One row per scope; one for a resource without scopes, which is granted or not as a whole.
fn ways(resources: &[ExplainedResource]) -> Table {
    let mut table = Table::new(&["RESOURCE", "IDENTIFIER", "SCOPE", "GRANTED", "THROUGH"]);
    for resource in resources {
        let mut row = |scope: &str, granted: bool, ways: &[Through]| {
            table.row([
                resource.resource.clone(),
                resource.identifier.clone(),
                scope.to_owned(),
                yes(granted),
                through(ways),
            ]);
        };
        if resource.granted.is_empty() && resource.not_granted.is_empty() {
            row("", !resource.through.is_empty(), &resource.through);
        }
        for grant in &resource.granted {
            row(&grant.scope, true, &grant.through);
        }
        for scope in &resource.not_granted {
            row(scope, false, &[]);
        }
    }
    table
}

/// The ways in which a scope or resource is granted.
fn through(ways: &[Through]) -> String {
    let ways = ways.iter().map(|way| match &way.group {
        Some(group) => format!("role {} of group {group}", way.role),
        None => format!("role {}", way.role),
    });
    ways.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_way_to_a_scope_is_printed() {
        let way = |role: &str, group: Option<&str>| Through {
            role: role.to_owned(),
            group: group.map(str::to_owned),
        };
        assert_eq!(
            through(&[way("reader", None), way("writer", Some("ops"))]),
            "role reader, role writer of group ops"
        );
    }

    #[test]
    fn every_scope_is_a_row_and_a_resource_without_scopes_is_one() {
        let by = |role: &str| json!([{"role": role, "group": null}]);
        let resources: Vec<ExplainedResource> = serde_json::from_value(json!([
            {"resource": "mail", "identifier": "https://mail.example.com", "through": by("reader"),
             "granted": [{"scope": "read", "through": by("reader")}], "not_granted": ["send"]},
            {"resource": "claude", "identifier": "https://api.anthropic.com", "through": by("thinker"),
             "granted": [], "not_granted": []},
            {"resource": "disk", "identifier": "urn:disk", "through": [], "granted": [], "not_granted": []},
        ]))
        .unwrap();
        insta::assert_snapshot!(ways(&resources), @r"
        RESOURCE  IDENTIFIER                 SCOPE  GRANTED  THROUGH
        mail      https://mail.example.com   read   yes      role reader
        mail      https://mail.example.com   send   no       -
        claude    https://api.anthropic.com  -      yes      role thinker
        disk      urn:disk                   -      no       -
        ");
    }
}
