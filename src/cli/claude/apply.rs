//! `claude connect --apply`: carries out the plan through Claude's Admin API, one object after the other, and
//! stores the ids with the agent. After a failure the same command continues: existing objects are found by name.

use serde_json::{Value, json};

use super::super::client::{AdminClient, Query};
use super::super::error::CliError;
use super::super::print::harmless;
use super::super::session::Session;
use super::admin_api::{ClaudeAdmin, Kind};
use super::plan::{Plan, Present, Step, Wanted, plan};
use crate::api::key_consumer::{KeyAcknowledgement, KeyConsumer, NewKeyConsumer};
use crate::api::list::List;
use crate::domain::remedy::Remedy;

/// The role of a service account in a workspace that it joins.
const WORKSPACE_ROLE: &str = "workspace_developer";

/// Everything to apply.
pub(super) struct Order<'o> {
    pub(super) wanted: Wanted,
    pub(super) claude: ClaudeAdmin,
    pub(super) base_url: &'o str,
    /// Without confirmation.
    pub(super) yes: bool,
    pub(super) firman: &'o AdminClient,
    pub(super) organization: &'o str,
    /// The workspace to name in each exchange.
    pub(super) workspace: Option<&'o str>,
    /// The copy of the keys that Claude will hold, if it does not fetch them.
    pub(super) copy: Option<&'o KeyCopy>,
    /// The agents to store the ids with; none for a pair.
    pub(super) links: &'o [Stored],
    /// Whether an agent that has another rule keeps it.
    pub(super) keeps_others: bool,
}

/// An agent and the link that is stored with it; `null` when none is.
pub(super) struct Stored {
    pub(super) agent: String,
    pub(super) link: Value,
}

/// A copy of the issuer's keys that does not follow a rotation.
pub(super) struct KeyCopy {
    /// The key consumer's name.
    pub(super) consumer: String,
    pub(super) kids: Vec<String>,
}

impl KeyCopy {
    /// Registers the copy, so that no new key signs before the copy has it. Only an owner may do so, so an
    /// existing registration is left as it is.
    pub(super) async fn record(&self, firman: &AdminClient) -> Result<(), CliError> {
        let known: List<KeyConsumer> = firman.get(&["key-consumers"], &Query::default()).await?;
        if known
            .items
            .iter()
            .any(|consumer| consumer.name == self.consumer)
        {
            return Ok(());
        }
        let new = NewKeyConsumer {
            name: self.consumer.clone(),
            description: Some(
                "Inline keys of the issuer at Claude; they do not follow a rotation".to_owned(),
            ),
        };
        let _: KeyConsumer = firman.post(&["key-consumers"], &new).await?;
        Ok(())
    }

    /// Acknowledges that the copy has these keys.
    async fn acknowledge(&self, firman: &AdminClient) -> Result<(), CliError> {
        let held = KeyAcknowledgement {
            kids: Some(self.kids.clone()),
        };
        let path = ["key-consumers", self.consumer.as_str(), "ack"];
        let _: KeyConsumer = firman.post(&path, &held).await?;
        Ok(())
    }
}

/// The result.
pub(super) struct Applied {
    pub(super) plan: Plan,
    pub(super) account: String,
    pub(super) issuer: String,
    pub(super) rule: String,
}

impl Applied {
    /// The steps as data.
    pub(super) fn steps(&self) -> Value {
        let ids = [&self.account, &self.issuer, &self.rule];
        let steps = self.plan.steps().into_iter().zip(ids);
        steps
            .map(|((kind, step), id)| {
                json!({ "action": step.verb(), "object": kind.as_str(), "name": step.name(), "id": id })
            })
            .collect()
    }
}

/// Plans, confirms and carries out.
pub(super) async fn apply(
    order: &Order<'_>,
    session: &mut Session<'_>,
) -> Result<Applied, CliError> {
    let claude = &order.claude;
    let present = Present {
        accounts: claude.list(Kind::ServiceAccount).await?,
        issuers: claude.list(Kind::Issuer).await?,
        rules: claude.list(Kind::Rule).await?,
    };
    let plan = plan(&order.wanted, &present)?;
    let joins = is_to_join(order, &plan).await?;
    agree(order, &plan, joins, session)?;
    let mut done = Vec::new();
    let outcome = carry_out(order, &plan, joins, &mut done).await;
    if !session.printer.is_json() {
        for line in &done {
            session.printer.hint(&harmless(line));
        }
    }
    let [account, issuer, rule] = outcome.map_err(|error| half_way(error, &done))?;
    Ok(Applied {
        plan,
        account,
        issuer,
        rule,
    })
}

/// The same error with what was done before it.
fn half_way(error: CliError, done: &[String]) -> CliError {
    if done.is_empty() {
        return error;
    }
    error
        .and(&format!("Done before: {}", harmless(&done.join(", "))))
        .with_remedy(&Remedy::action(
            "repeat the command; it continues from there",
        ))
}

/// Whether the account has to be made a member of the workspace.
async fn is_to_join(order: &Order<'_>, plan: &Plan) -> Result<bool, CliError> {
    match (&order.wanted.workspace, plan.account.id()) {
        (None, _) => Ok(false),
        (Some(_), None) => Ok(true),
        (Some(workspace), Some(account)) => {
            let workspaces = order
                .claude
                .workspaces_of(Kind::ServiceAccount, account)
                .await?;
            Ok(!workspaces.contains(workspace))
        }
    }
}

/// Shows the plan and asks for confirmation, unless nothing changes.
fn agree(
    order: &Order<'_>,
    plan: &Plan,
    joins: bool,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let mut text = format!(
        "At {}, organization {}:",
        order.base_url, order.organization
    );
    for line in plan.lines() {
        text.push_str(&format!("\n  {line}"));
    }
    if let (true, Some(workspace)) = (joins, &order.wanted.workspace) {
        text.push_str(&format!(
            "\n  join    workspace {workspace} as {WORKSPACE_ROLE}"
        ));
    }
    for note in &plan.notes {
        text.push_str(&format!("\n  note: {}", harmless(note)));
    }
    let changes = plan.changes() + usize::from(joins);
    if changes == 0 {
        text.push_str("\nNothing to change.");
        session.printer.hint(&text);
        return Ok(());
    }
    if order.yes {
        session.printer.hint(&text);
    } else {
        session.printer.warn(&text);
    }
    let question = match changes {
        1 => "Make this change?".to_owned(),
        _ => format!("Make these {changes} changes?"),
    };
    session.confirm(&question, order.yes)
}

/// Account, issuer and rule in this order, since the rule names the other two; returns their ids.
async fn carry_out(
    order: &Order<'_>,
    plan: &Plan,
    joins: bool,
    done: &mut Vec<String>,
) -> Result<[String; 3], CliError> {
    let claude = &order.claude;
    let account = take(claude, Kind::ServiceAccount, &plan.account, done).await?;
    if let (true, Some(workspace)) = (joins, &order.wanted.workspace) {
        let body = json!({ "workspace_id": workspace, "workspace_role": WORKSPACE_ROLE });
        claude.join(&account, &body).await?;
        done.push(format!("{account} joined {workspace}"));
    }
    // Before Claude has the copy, so that no copy goes unrecorded.
    if let Some(copy) = order.copy {
        copy.record(order.firman).await?;
    }
    let issuer = take(claude, Kind::Issuer, &plan.issuer, done).await?;
    if let Some(copy) = order.copy {
        copy.acknowledge(order.firman).await?;
    }
    let rule = match &plan.rule {
        Step::Create { body } => {
            let mut body = body.clone();
            body["issuer_id"] = json!(issuer);
            body["target"] = json!({ "type": "service_account", "service_account_id": account });
            take(claude, Kind::Rule, &Step::Create { body }, done).await?
        }
        Step::Keep { .. } | Step::Change { .. } => {
            take(claude, Kind::Rule, &plan.rule, done).await?
        }
    };
    let ids = link(order, &plan.token_lifetime, [&account, &issuer, &rule]);
    store(order, &ids, done).await?;
    Ok([account, issuer, rule])
}

/// Stores the ids with each agent that they are for.
async fn store(order: &Order<'_>, ids: &Value, done: &mut Vec<String>) -> Result<(), CliError> {
    for Stored { agent, link } in order.links {
        let has_another = !link.is_null() && link["rule_id"] != ids["rule_id"];
        if order.keeps_others && has_another {
            let rule = link["rule_id"].as_str().unwrap_or_default();
            done.push(format!(
                "kept the link of `{agent}` with its own rule {rule}"
            ));
        } else if !holds(link, ids) {
            order
                .firman
                .put::<Value>(&["agents", agent, "claude-link"], ids)
                .await?;
            done.push(format!("stored the ids with the agent {agent}"));
        }
    }
    Ok(())
}

/// Carries out one step and returns the object's id.
async fn take(
    claude: &ClaudeAdmin,
    kind: Kind,
    step: &Step,
    done: &mut Vec<String>,
) -> Result<String, CliError> {
    let (what, name) = (kind.as_str(), step.name());
    match step {
        Step::Keep { id, .. } => Ok(id.clone()),
        Step::Create { body } => {
            let id = claude.create(kind, body).await?;
            done.push(format!("created the {what} `{name}` (`{id}`)"));
            Ok(id)
        }
        Step::Change { id, body, .. } => {
            claude.update(kind, id, body).await?;
            done.push(format!("changed the {what} `{name}` (`{id}`)"));
            Ok(id.clone())
        }
    }
}

/// What is stored with the agent.
fn link(order: &Order<'_>, token_lifetime: &Value, [account, issuer, rule]: [&str; 3]) -> Value {
    let mut link = json!({
        "rule_id": rule,
        "organization_id": order.organization,
        "service_account_id": account,
        "issuer_id": issuer,
        "token_lifetime": token_lifetime,
    });
    if let Some(workspace) = order.workspace {
        link["workspace_id"] = json!(workspace);
    }
    link
}

/// Whether `stored` equals `link`.
fn holds(stored: &Value, link: &Value) -> bool {
    let members = [
        "rule_id",
        "organization_id",
        "service_account_id",
        "issuer_id",
        "workspace_id",
        "token_lifetime",
    ];
    members.iter().all(|name| stored[*name] == link[*name])
}
