//! How `claude connect` prints a set-up: for a person in the order of the work, as one object, or as the
//! file that another tool reads.

use serde_json::{Map, Value, json};

use super::super::Session;
use super::super::error::CliError;
use super::super::print::shell_word;
use super::connect::{Connection, Content};
use crate::relying_party::claude::ServiceAccountId;

/// Prints it.
pub(super) fn all(
    connection: &Connection,
    content: Content,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    if session.printer.is_json() {
        return session.printer.json(&object(connection));
    }
    match content {
        Content::Text => session.printer.lines(&page(connection)),
        Content::TerraformVars => {
            tell_warnings(connection, session);
            session.printer.lines(&connection.setup.terraform_vars())
        }
        Content::Env => {
            tell_warnings(connection, session);
            tell_unknown_ids(connection, session);
            session.printer.lines(&environment(connection, ""))
        }
        Content::Profile => {
            tell_warnings(connection, session);
            tell_unknown_ids(connection, session);
            session.printer.lines(&profile(connection))
        }
    }
}

fn tell_unknown_ids(connection: &Connection, session: &mut Session<'_>) {
    if connection.setup.ids.is_none() {
        session.printer.warn(
            "warning: the ids at Claude are not known yet: --apply makes them, `firman claude link` stores those that you made in the Console",
        );
    }
}

fn tell_warnings(connection: &Connection, session: &mut Session<'_>) {
    for warning in &connection.warnings {
        session.printer.warn(&format!("warning: {}", warning.text));
    }
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
        .map(|warning| json!({ "code": warning.code, "text": warning.text }))
        .collect();
    let object = json!({
        "agent": setup.agent,
        "subject": setup.subject,
        "act_for": setup.act_for,
        "console": console,
        "service_account": account_json(connection),
        "issuer": setup.issuer_json(),
        "rule": setup.rule_json(),
        "rule_by_condition": setup.rule_json_by_condition(),
        "environment": environment,
        "profile": setup.profile_json(),
        "snippets": snippets,
        "key_consumer": connection.copy.as_ref().map(|copy| &copy.consumer),
        "warnings": warnings,
    });
    filled_in(connection, object)
}

/// The account's body: with the name that a person chose, or nothing when it is there already.
fn account_json(connection: &Connection) -> Value {
    let mut body = connection.setup.service_account_json();
    match &connection.account {
        Some(account) if ServiceAccountId::parse(account).is_ok() => return Value::Null,
        Some(name) => body["name"] = json!(name),
        None => {}
    }
    body
}

/// The Console's fields, with the account that a person chose.
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
    let text = format!("{:#}\n", connection.setup.profile_json());
    fill(connection, &text)
}

/// The variables of the agent's environment, one a line.
pub(super) fn environment(connection: &Connection, before: &str) -> String {
    let variables = connection.setup.environment().into_iter();
    let lines: String = variables
        .map(|(name, value)| format!("{before}{name}={}\n", shell_word(&fill(connection, &value))))
        .collect();
    lines
}

fn page(connection: &Connection) -> String {
    let setup = &connection.setup;
    let mut page = Page(String::new());
    page.section("In Claude's Console: Settings, Workload identity, Connect workload, Custom OIDC");
    page.fields(&console_fields(connection));
    page.section("Or by Claude's Admin API (--apply sends these)");
    let account = account_json(connection);
    if !account.is_null() {
        page.request("service_accounts", &account);
    }
    page.request("federation_issuers", &setup.issuer_json());
    page.request("federation_rules", &setup.rule_json());
    let by_condition = if setup.act_for.is_some() {
        "The same rule by a CEL condition on act, for tokens that carry it; use one of the two"
    } else {
        "The same rule by a CEL condition, which also refuses tokens with act; use one of the two"
    };
    page.note(by_condition);
    page.request("federation_rules", &setup.rule_json_by_condition());
    page.section("The agent's environment, without ANTHROPIC_API_KEY and ANTHROPIC_AUTH_TOKEN, which would win");
    page.text(&environment(connection, "export "));
    page.section(&format!(
        "Or a profile: ~/.config/anthropic/configs/{}.json, writable by its owner alone, and ANTHROPIC_PROFILE={}",
        setup.agent, setup.agent
    ));
    page.text(&profile(connection));
    for snippet in setup.snippets() {
        page.section(&format!("{}: {}", snippet.title, snippet.note));
        page.text(&snippet.text);
    }
    if !connection.warnings.is_empty() {
        page.section("Warnings");
        for warning in &connection.warnings {
            page.text(&format!("- {}: {}\n", warning.code, warning.text));
        }
    }
    fill(connection, &page.0)
}

/// Text in numbered sections.
struct Page(String);

impl Page {
    fn section(&mut self, title: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(&format!("# {title}\n\n"));
    }

    fn note(&mut self, text: &str) {
        self.0.push_str(&format!("# {text}\n"));
    }

    fn text(&mut self, text: &str) {
        self.0.push_str(text);
    }

    fn fields(&mut self, fields: &[(&'static str, String)]) {
        let width = fields.iter().map(|(label, _)| label.len()).max();
        let width = width.unwrap_or_default();
        for (label, value) in fields {
            // A text of several lines stands on its own, so that it can be taken as it is.
            let line = if value.contains('\n') {
                format!("{label}\n{value}\n")
            } else {
                format!("{label:width$}  {value}\n")
            };
            self.0.push_str(&line);
        }
    }

    fn request(&mut self, family: &str, body: &Value) {
        self.0
            .push_str(&format!("POST /v1/organizations/{family}\n{body:#}\n"));
    }
}

/// `text` with the ids that a person named where none is known otherwise.
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
