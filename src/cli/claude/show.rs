//! How `claude connect` prints a setup: an overview, one JSON object, or one part in the form that its place
//! requires.

use serde_json::{Map, Value, json};

use super::super::error::CliError;
use super::super::print::shell_word;
use super::super::session::Session;
use super::connect_args::Content;
use super::connection::Connection;
use crate::relying_party::claude::{JwksSource, ServiceAccountId, Snippet, Warning, WorkspaceId};

/// Prints it.
pub(super) fn all(
    connection: &Connection,
    content: Content,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    if session.printer.is_json() {
        return session.printer.json(&object(connection));
    }
    tell_warnings(connection, session);
    let setup = &connection.setup;
    let text = match content {
        Content::Text => return overview(connection, session),
        Content::Console => {
            session.printer.hint(
                "In Claude's Console: Settings, Workload identity, Connect workload, Custom OIDC.",
            );
            fields(&console_fields(connection))
        }
        Content::Api => requests(connection),
        Content::TerraformVars => return session.printer.lines(&setup.terraform_vars()),
        Content::Env => environment(connection, ""),
        Content::Profile => {
            session.printer.hint(&format!(
                "Save it as ~/.config/anthropic/configs/{}.json, writable only by its owner, and set ANTHROPIC_PROFILE={}.",
                setup.agent, setup.agent
            ));
            profile(connection)
        }
        Content::Systemd => snippet(setup.systemd(), session),
        Content::Kubernetes => snippet(setup.kubernetes(), session),
        Content::Github => snippet(setup.github(), session),
    };
    match content {
        Content::Env
        | Content::Profile
        | Content::Systemd
        | Content::Kubernetes
        | Content::Github => tell_unknown_ids(connection, session),
        Content::Text | Content::Console | Content::Api | Content::TerraformVars => {}
    }
    session.printer.lines(&fill(connection, &text))
}

fn tell_unknown_ids(connection: &Connection, session: &mut Session<'_>) {
    if connection.setup.ids.is_none() {
        session.printer.warn(&format!(
            "warning: the ids at Claude are not known yet\nhint: firman claude connect --agent {} --organization UUID --apply",
            connection.setup.agent
        ));
    }
}

fn tell_warnings(connection: &Connection, session: &mut Session<'_>) {
    for warning in &connection.warnings {
        session.printer.warn(&self::warning(warning));
    }
}

/// A warning, with its hint on a line of its own.
pub(super) fn warning(warning: &Warning) -> String {
    let mut lines = format!("warning: {}", warning.text);
    if let Some(hint) = &warning.hint {
        lines.push_str(&format!("\nhint: {hint}"));
    }
    lines
}

fn snippet(snippet: Snippet, session: &mut Session<'_>) -> String {
    session
        .printer
        .hint(&format!("{}: {}.", snippet.title, snippet.note));
    snippet.text
}

/// What will be at Claude in short, and what to print or do next.
fn overview(connection: &Connection, session: &mut Session<'_>) -> Result<(), CliError> {
    let setup = &connection.setup;
    let keys = match &setup.jwks {
        JwksSource::Inline { keys } => format!("{} registered inline", keys.len()),
        JwksSource::Discovery {
            discovery_base: Some(base),
            ..
        } => format!("by discovery at {base}"),
        JwksSource::Discovery { .. } => "by discovery".to_owned(),
        JwksSource::ExplicitUrl { url, .. } => format!("at {url}"),
    };
    let account = connection.account.clone().unwrap_or_else(|| setup.name());
    let rule = setup.ids.as_ref().map_or_else(
        || setup.name(),
        |ids| format!("{} ({})", setup.name(), ids.rule_id),
    );
    let workspace = setup.workspace_id.as_ref();
    let names: Vec<&str> = connection
        .stored
        .iter()
        .map(|stored| stored.agent.as_str())
        .collect();
    session.printer.facts(&[
        ("agent", setup.agent.clone()),
        (
            "members",
            if setup.is_team() {
                names.join(", ")
            } else {
                String::new()
            },
        ),
        ("issuer", setup.issuer_url.clone()),
        ("keys", keys),
        ("rule", rule),
        ("subject", setup.token_subject().to_owned()),
        (
            "acting agent",
            if setup.is_team() {
                "the subject itself".to_owned()
            } else {
                setup.subject.clone()
            },
        ),
        ("audience", setup.audience.clone()),
        ("service account", account),
        ("scope", setup.oauth_scope.clone()),
        (
            "workspace",
            workspace.map_or("default", WorkspaceId::as_str).to_owned(),
        ),
        (
            "token lifetime",
            format!("{} s", setup.token_lifetime_seconds),
        ),
    ])?;
    let mut next = "Next: repeat the command with one of\n  --organization UUID --apply  make the setup at Claude\n  --format console             print the fields of Claude's Console\n  --format api                 print the requests of its Admin API".to_owned();
    if !setup.is_team() {
        next.push_str("\n  --format terraform-vars      print the values as a .tfvars file\nFor the place where the agent runs: --format env, profile, systemd, kubernetes or github");
    }
    session.printer.hint(&next);
    Ok(())
}

/// Everything as one object.
pub(super) fn object(connection: &Connection) -> Value {
    let setup = &connection.setup;
    let console: Vec<Value> = console_fields(connection)
        .into_iter()
        .map(|(label, value)| json!({ "field": label, "value": value }))
        .collect();
    let variables = setup.environment().into_iter();
    let environment: Map<String, Value> = variables
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let snippets = setup.snippets().into_iter();
    let snippets: Vec<Value> = snippets
        .map(
            |snippet| json!({ "title": snippet.title, "note": snippet.note, "text": snippet.text }),
        )
        .collect();
    let warnings = connection.warnings.iter();
    let warnings: Vec<Value> = warnings
        .map(|warning| match &warning.hint {
            Some(hint) => json!({ "code": warning.code, "text": warning.text, "hint": hint }),
            None => json!({ "code": warning.code, "text": warning.text }),
        })
        .collect();
    let object = json!({
        "agent": setup.agent,
        "members": setup.is_team().then(|| connection.stored.iter().map(|stored| &stored.agent).collect::<Vec<_>>()),
        "subject": setup.subject,
        "act_for": setup.act_for,
        "console": console,
        "service_account": account_json(connection),
        "issuer": setup.issuer_json(),
        "rule": setup.rule_json(),
        "rule_by_condition": setup.rule_json_by_condition(),
        "environment": if setup.is_team() { Value::Null } else { json!(environment) },
        "profile": if setup.is_team() { Value::Null } else { setup.profile_json() },
        "snippets": snippets,
        "key_consumer": connection.copy.as_ref().map(|copy| &copy.consumer),
        "warnings": warnings,
    });
    filled_in(connection, object)
}

/// The account's body with the chosen name; null for an existing account.
fn account_json(connection: &Connection) -> Value {
    let mut body = connection.setup.service_account_json();
    match &connection.account {
        Some(account) if ServiceAccountId::parse(account).is_ok() => return Value::Null,
        Some(name) => body["name"] = json!(name),
        None => {}
    }
    body
}

/// The Console's fields with the chosen account.
fn console_fields(connection: &Connection) -> Vec<(&'static str, String)> {
    let mut fields = connection.setup.console_fields();
    if let Some(account) = &connection.account {
        for (label, value) in &mut fields {
            if *label == "Service account" {
                value.clone_from(account);
            }
        }
    }
    fields
}

/// The content of a profile file of Claude's SDKs.
fn profile(connection: &Connection) -> String {
    format!("{:#}\n", connection.setup.profile_json())
}

/// The variables of the agent's environment, one a line.
pub(super) fn environment(connection: &Connection, before: &str) -> String {
    let variables = connection.setup.environment().into_iter();
    let lines: String = variables
        .map(|(name, value)| format!("{before}{name}={}\n", shell_word(&fill(connection, &value))))
        .collect();
    lines
}

/// The requests that `--apply` sends, and the same rule by its condition.
fn requests(connection: &Connection) -> String {
    let setup = &connection.setup;
    let request =
        |family: &str, body: &Value| format!("POST /v1/organizations/{family}\n{body:#}\n");
    let mut text = String::new();
    let account = account_json(connection);
    if !account.is_null() {
        text.push_str(&request("service_accounts", &account));
    }
    text.push_str(&request("federation_issuers", &setup.issuer_json()));
    text.push_str(&request("federation_rules", &setup.rule_json()));
    text.push_str(if setup.act_for.is_some() {
        "# Or the same rule by a CEL condition on act, for tokens that carry it\n"
    } else {
        "# Or the same rule by a CEL condition, which also refuses tokens with act\n"
    });
    text.push_str(&request(
        "federation_rules",
        &setup.rule_json_by_condition(),
    ));
    text
}

fn fields(fields: &[(&'static str, String)]) -> String {
    let width = fields.iter().map(|(label, _)| label.len()).max();
    let width = width.unwrap_or_default();
    let line = |(label, value): &(&'static str, String)| {
        // A value of several lines begins on its own line, for copying.
        if value.contains('\n') {
            format!("{label}\n{value}\n")
        } else {
            format!("{label:width$}  {value}\n")
        }
    };
    fields.iter().map(line).collect()
}

/// `text` with the named ids where no stored ones are known.
fn fill(connection: &Connection, text: &str) -> String {
    if connection.setup.ids.is_some() {
        return text.to_owned();
    }
    let mut text = text.to_owned();
    if let Some(organization) = &connection.organization {
        text = text.replace("<organization UUID>", organization.as_str());
    }
    match &connection.account {
        Some(account) if ServiceAccountId::parse(account).is_ok() => {
            text.replace("svac_…", account)
        }
        Some(_) | None => text,
    }
}

/// [`fill`] in every text of `value`.
fn filled_in(connection: &Connection, value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(fill(connection, &text)),
        Value::Array(items) => items
            .into_iter()
            .map(|item| filled_in(connection, item))
            .collect(),
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(name, value)| (name, filled_in(connection, value)))
                .collect(),
        ),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
    }
}
