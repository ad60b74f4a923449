//! `firman agent suspend`, `resume` and `remove`: each changes one agent after the other.

use clap::Args;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::print;
use crate::api::agent::{Agent, SuspendedAgent};
use crate::cli::client::{AdminClient, Answer, Query};
use crate::cli::error::CliError;
use crate::cli::noun::removed;
use crate::cli::parse::parse_name;
use crate::cli::print::time_and_distance;
use crate::cli::session::Session;
use crate::ports::time::UnixTime;

#[derive(Debug, Args)]
pub(in crate::cli) struct NamesArgs {
    /// The agents' names
    #[arg(value_name = "NAME", value_parser = parse_name, required = true)]
    names: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RemoveArgs {
    #[command(flatten)]
    agents: NamesArgs,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

pub(super) async fn suspend(args: &NamesArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let switched = switch(&args.names, Switch::Suspend, session).await?;
    suspended(&switched, session);
    switched.end()
}

pub(super) async fn resume(args: &NamesArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    switch(&args.names, Switch::Resume, session).await?.end()
}

pub(super) async fn remove(args: &RemoveArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    session.admin()?;
    let question = match args.agents.names.as_slice() {
        [name] => format!(
            "Remove agent `{name}`? Its credentials end at once and its name is never used again."
        ),
        several => format!(
            "Remove agents {}? Their credentials end at once and their names are never used again.",
            several.join(", ")
        ),
    };
    session.confirm(&question, args.yes)?;
    switch(&args.agents.names, Switch::Remove, session)
        .await?
        .end()
}

/// A change to one or several agents.
#[derive(Clone, Copy)]
enum Switch {
    Suspend,
    Resume,
    Remove,
}

/// An agent that changed.
struct Changed {
    name: String,
    answer: Answer<Agent>,
}

/// The agents that changed, and whether all did.
struct Switched {
    agents: Vec<Changed>,
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
    let mut switched = Switched {
        agents: Vec::new(),
        is_all: true,
    };
    for name in names {
        match change(name, what, &admin).await {
            Ok(changed) => {
                print_changed(&changed, what, switched.agents.is_empty(), session)?;
                switched.agents.push(changed);
            }
            Err(error) if names.len() == 1 => return Err(error),
            Err(error) => {
                session.printer.error(&error.about(name));
                switched.is_all = false;
            }
        }
    }
    if session.printer.is_json() {
        let agents: Vec<&Value> = switched
            .agents
            .iter()
            .map(|agent| &agent.answer.raw)
            .collect();
        match (names.len(), agents.as_slice()) {
            (1, [agent]) => session.printer.json(agent)?,
            _ => session.printer.json(&json!({ "items": agents }))?,
        }
    }
    Ok(switched)
}

async fn change(name: &str, what: Switch, admin: &AdminClient) -> Result<Changed, CliError> {
    let verb = match what {
        Switch::Suspend => "suspend",
        Switch::Resume => "resume",
        Switch::Remove => {
            admin.delete(&["agents", name], &Query::default()).await?;
            return Ok(Changed {
                name: name.to_owned(),
                answer: Answer::of(json!({ "removed": name })),
            });
        }
    };
    Ok(Changed {
        name: name.to_owned(),
        answer: admin.act(&["agents", name, verb]).await?,
    })
}

fn print_changed(
    changed: &Changed,
    what: Switch,
    is_first: bool,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    if session.printer.is_json() {
        return Ok(());
    }
    match what {
        Switch::Remove => removed(&changed.name, session),
        Switch::Suspend | Switch::Resume => {
            if !is_first {
                session.printer.write("\n")?;
            }
            print(&changed.answer, session)
        }
    }
}

/// Prints what suspended agents may still do, and how to resume them.
fn suspended(switched: &Switched, session: &mut Session<'_>) {
    let agents = &switched.agents;
    let names: Vec<&str> = agents.iter().map(|changed| changed.name.as_str()).collect();
    let their = match names.len() {
        0 => return,
        1 => "its",
        _ => "their",
    };
    session.printer.hint(&format!(
        "Suspended. New token requests are refused and introspection reports {their} tokens as inactive. Services that verify tokens offline accept them until they expire or until they fetch the revocation list."
    ));
    let now = session.now();
    for changed in agents {
        let agent = SuspendedAgent::deserialize(&changed.answer.raw);
        let Some(text) = agent.ok().and_then(|agent| at_claude(&agent, now)) else {
            continue;
        };
        if names.len() == 1 {
            session.printer.hint(&text);
        } else {
            session.printer.hint(&format!("{}: {text}", changed.name));
        }
    }
    let names = names.join(" ");
    session
        .printer
        .next(&format!("firman agent resume {names}"));
}

/// What a suspended agent may still do at Claude, and what ends it; nothing for an agent that never had access.
fn at_claude(agent: &SuspendedAgent, now: UnixTime) -> Option<String> {
    let rule = agent.claude_rule_id.as_deref();
    if agent.claude_access_until_at_most.is_none() {
        return rule.map(|_| "Its access to Claude has ended.".to_owned());
    }
    let until = time_and_distance(agent.claude_access_until_at_most, now);
    let rule = rule.map_or_else(|| "its rule".to_owned(), |rule| format!("the rule {rule}"));
    Some(format!(
        "Access to Claude can last until {until} at most. To end exchanges at once, archive {rule} at Claude; tokens that Claude issued before stay valid until then."
    ))
}
