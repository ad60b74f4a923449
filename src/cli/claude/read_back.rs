//! Reads back what is registered at Claude for an agent, if there is a token for Claude's Admin API.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::admin_api::{ClaudeAdmin, Kind};
use super::base_url::BaseUrl;
use super::probe::cause;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::config::claude_admin_token;
use crate::domain::remedy::Remedy;
use crate::relying_party::claude::checks::{Check, Link, Registered};
use crate::relying_party::claude::{FederationIssuer, FederationRule, ServiceAccount};

/// The result.
pub(super) enum ReadBack {
    /// Not tried; this is what it needs.
    Untried(Remedy),
    /// Tried, and it failed.
    Failed(Check),
    /// What is registered.
    Registered(Box<Registered>),
}

impl ReadBack {
    /// What was read, if anything was.
    pub(super) fn registered(&self) -> Option<&Registered> {
        match self {
            Self::Registered(registered) => Some(registered),
            Self::Untried(_) | Self::Failed(_) => None,
        }
    }
}

/// Reads the rule that `link` names, with its issuer and its service account.
pub(super) async fn read_back(
    link: Option<&Link>,
    base_url: &BaseUrl,
    session: &Session<'_>,
) -> Result<ReadBack, CliError> {
    let token = claude_admin_token(session.environment)
        .map_err(|error| CliError::usage(error.to_string()).with_hint(error.hint()))?;
    let (link, token) = match (link, token) {
        (_, None) => {
            return Ok(ReadBack::Untried(Remedy::action(
                "set `ANTHROPIC_ADMIN_TOKEN` to a token from `ant auth login --scope org:admin`",
            )));
        }
        (None, Some(_)) => {
            return Ok(ReadBack::Untried(Remedy::command(
                "claude link AGENT --rule fdrl_… --organization UUID --service-account svac_…",
            )));
        }
        (Some(link), Some(token)) => (link, token),
    };
    if let Err(withheld) = base_url.check_admin_token() {
        return Ok(ReadBack::Failed(Check::warn(
            "registered",
            format!("{}; checked the expected rule instead", cause(&withheld)),
            Remedy::action(format!("repeat this with `{}`", base_url.option().trim())),
        )));
    }
    let read = async {
        let claude = ClaudeAdmin::new(base_url, token)?;
        registered(&claude, link).await
    };
    Ok(match read.await {
        Ok(registered) => ReadBack::Registered(Box::new(registered)),
        Err(error) if error.is_not_found() => ReadBack::Failed(Check::fail(
            "registered",
            cause(&error),
            Remedy::command("claude links"),
        )),
        Err(error) => ReadBack::Failed(Check::warn(
            "registered",
            format!("{}; checked the expected rule instead", cause(&error)),
            Remedy::action("repeat this when Claude's Admin API answers"),
        )),
    })
}

async fn registered(claude: &ClaudeAdmin, link: &Link) -> Result<Registered, CliError> {
    let mut rule = claude.show(Kind::Rule, &link.rule).await?;
    let workspaces = claude.workspaces_of(Kind::Rule, &link.rule).await?;
    rule.insert("workspaces".to_owned(), json!(workspaces));
    let rule: FederationRule = object(Kind::Rule, rule)?;
    let issuer = claude.show(Kind::Issuer, rule.issuer_id.as_str()).await?;
    let id = rule.service_account_id().as_str();
    let mut account = claude.show(Kind::ServiceAccount, id).await?;
    let workspaces = claude.workspaces_of(Kind::ServiceAccount, id).await?;
    let members = workspaces.iter().map(|id| json!({ "workspace_id": id }));
    account.insert("workspaces".to_owned(), members.collect());
    let account: ServiceAccount = object(Kind::ServiceAccount, account)?;
    let issuer: FederationIssuer = object(Kind::Issuer, issuer)?;
    Ok(Registered {
        rule,
        issuer,
        account,
    })
}

/// The object's known members, without those that are `null`.
fn object<T: DeserializeOwned>(kind: Kind, members: Map<String, Value>) -> Result<T, CliError> {
    serde_json::from_value(without_nulls(Value::Object(members))).map_err(|problem| {
        CliError::failed(
            "claude",
            format!("cannot parse the {} at Claude: {problem}", kind.as_str()),
        )
    })
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, without_nulls(value)))
                .collect(),
        ),
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)) => other,
    }
}
