//! The rule at Claude: whether it is ours, and what to change about it.

use serde_json::{Map, Value, json};

use super::issuer::rename;
use super::{Step, Wanted, is_among, refused, step, target, text};
use crate::cli::error::CliError;
use crate::domain::remedy::Remedy;

/// Refuses a rule that a change cannot correct.
pub(super) fn check_rule(
    wanted: &Value,
    there: &Value,
    issuer: &Step,
    account: &Step,
) -> Result<(), CliError> {
    check_rule_is_ours(wanted, there, issuer)?;
    if Some(target(there)) != account.id() {
        return Err(refused(format!(
            "the rule `{}` at Claude grants the service account `{}`, not {} (`{}`)",
            text(there, "name"),
            target(there),
            id_or(account, "a new one"),
            account.name()
        ))
        .with_remedy(&Remedy::action(
            "archive that rule in the Console, or name its account with `--service-account`",
        )));
    }
    check_workspace(wanted, there)
}

/// Narrows a rule to what is wanted. Further restrictions stay.
pub(super) fn rule_step(wanted: &Wanted, there: &Value, notes: &mut Vec<String>) -> Step {
    let name = text(there, "name");
    let mut body = Map::new();
    let mut changes = Vec::new();
    let (rule, rule_there) = (&wanted.rule["match"], without_nulls(&there["match"]));
    let narrowed = narrowed(rule, &rule_there);
    if narrowed != rule_there {
        changes.push(format!("`match` {rule_there} becomes {narrowed}"));
        // An update replaces the whole object.
        body.insert("match".to_owned(), narrowed);
    } else if rule_there != *rule {
        notes.push(format!(
            "the rule `{name}` requires more than firman needs; left unchanged: {rule_there}"
        ));
    }
    for member in ["oauth_scope", "token_lifetime_seconds"] {
        let (new, old) = (&wanted.rule[member], &there[member]);
        if new == old {
            continue;
        }
        if wanted.chosen.contains(&member) {
            body.insert(member.to_owned(), new.clone());
            changes.push(format!("`{member}` {old} becomes {new}"));
        } else {
            notes.push(format!(
                "the rule `{name}` has `{member}` {old}, not {new}; left unchanged because the command does not name it"
            ));
        }
    }
    step(there, body, changes)
}

/// The object without members that are not set.
fn without_nulls(object: &Value) -> Value {
    let members = object.as_object().into_iter().flatten();
    let set = members.filter(|(_, value)| !value.is_null());
    let set: Map<String, Value> = set
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Value::Object(set)
}

/// The existing match with everything that is wanted.
fn narrowed(wanted: &Value, there: &Value) -> Value {
    let mut narrowed = there.clone();
    narrowed["audience"] = wanted["audience"].clone();
    let claims = wanted["claims"].as_object().into_iter().flatten();
    for (name, value) in claims {
        narrowed["claims"][name.as_str()] = value.clone();
    }
    // A different existing condition was refused before.
    if !wanted["condition"].is_null() {
        narrowed["condition"] = wanted["condition"].clone();
    }
    narrowed
}

/// A rule for one workspace does not apply in another. The default workspace has an id besides the word
/// `default`, so a rule for it cannot be recognized here.
fn check_workspace(wanted: &Value, there: &Value) -> Result<(), CliError> {
    let workspace = &wanted["workspace_id"];
    let covers = there["applies_to_all_workspaces"] == json!(true)
        || there["workspace_id"].is_null()
        || there["workspace_id"] == *workspace
        || is_among(workspace, &there["workspaces"]);
    if covers || workspace.is_null() || *workspace == json!("default") {
        return Ok(());
    }
    Err(refused(format!(
        "the rule `{}` at Claude is for the workspace `{}`, not for `{}`",
        text(there, "name"),
        text(there, "workspace_id"),
        text(wanted, "workspace_id")
    ))
    .with_remedy(&Remedy::action(
        "enable the workspace on the rule in the Console, or name the rule's own with `--workspace`",
    )))
}

/// Refuses to change a rule with the same name but another issuer or subject.
fn check_rule_is_ours(wanted: &Value, there: &Value, issuer: &Step) -> Result<(), CliError> {
    let (name, id) = (text(there, "name"), text(there, "id"));
    let differs = |what: &str, has: &str, should: &str| {
        refused(format!(
            "the {what} of the rule `{name}` at Claude (`{id}`) is `{has}`, not {should}"
        ))
        .with_remedy(&rename(name))
    };
    let issuer_there = text(there, "issuer_id");
    if Some(issuer_there) != issuer.id() {
        let ours = id_or(issuer, "the new issuer");
        return Err(differs("issuer", issuer_there, &ours));
    }
    let subject = |of: &Value| text(&of["match"], "subject_prefix").to_owned();
    if subject(there) != subject(wanted) {
        return Err(differs(
            "subject",
            &subject(there),
            &quoted(&subject(wanted)),
        ));
    }
    let condition = |of: &Value| of["match"]["condition"].clone();
    let differ = [there, wanted].map(condition);
    if let [Value::String(shown), Value::String(should)] = &differ
        && shown != should
    {
        return Err(differs("condition", shown, &quoted(should)));
    }
    let agent = |of: &Value| of["match"]["claims"]["acting_agent"].clone();
    // A rule that pins no acting agent yet is narrowed; one that pins another is not ours.
    if !agent(there).is_null() && agent(there) != agent(wanted) {
        let shown = |value: Value| {
            let text = value.as_str().map(str::to_owned);
            text.unwrap_or_else(|| value.to_string())
        };
        let ours = quoted(&shown(agent(wanted)));
        return Err(differs("`acting_agent`", &shown(agent(there)), &ours));
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    format!("`{text}`")
}

/// The id of an existing object in backticks, or these words for a new one.
fn id_or(step: &Step, new: &str) -> String {
    step.id().map_or_else(|| new.to_owned(), quoted)
}
