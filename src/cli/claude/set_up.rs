//! `firman claude connect --apply`: sends the values that `connect` prints.

use serde_json::json;

use super::super::client::AdminClient;
use super::super::error::CliError;
use super::super::session::Session;
use super::admin_api::{ClaudeAdmin, no_token};
use super::apply::{Applied, Order, apply};
use super::base_url::BaseUrl;
use super::connect_args::{ConnectArgs, Content};
use super::connection::Connection;
use super::plan::{MANAGEABLE_SCOPES, Wanted, WantedAccount};
use super::{show, team};
use crate::config::claude_admin_token;
use crate::domain::remedy::Remedy;
use crate::relying_party::claude::{
    IssuerObjectId, LinkedIds, OrganizationId, RuleId, ServiceAccountId, WorkspaceId,
};

pub(super) async fn run(
    args: &ConnectArgs,
    firman: &AdminClient,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let base_url = args.base_url.resolve(session.environment)?;
    let claude = claude(args, &base_url, session)?;
    let mut connection = Connection::gather(args, &base_url, firman).await?;
    let organization = organization(&connection)?;
    for warning in &connection.warnings {
        session.printer.hint(&show::warning(warning));
    }
    let setup = &connection.setup;
    let workspace = setup.workspace_id.as_ref().map(WorkspaceId::as_str);
    let order = Order {
        wanted: wanted(&connection, args),
        claude,
        base_url: base_url.as_str(),
        yes: args.yes,
        firman,
        organization: organization.as_str(),
        workspace,
        copy: connection.copy.as_ref(),
        links: match args.act_for {
            None => &connection.stored,
            Some(_) => &[],
        },
        keeps_others: setup.is_team(),
    };
    let applied = apply(&order, session).await?;
    connection.setup.ids = Some(ids(&applied, organization, setup.workspace_id.clone())?);
    report(&applied, &connection, &base_url, args, session)
}

/// A client for Claude's Admin API, after everything that can be checked before the first request.
fn claude(
    args: &ConnectArgs,
    base_url: &BaseUrl,
    session: &Session<'_>,
) -> Result<ClaudeAdmin, CliError> {
    let unmanageable = args.scope.as_deref();
    if let Some(scope) = unmanageable.filter(|scope| !MANAGEABLE_SCOPES.contains(scope)) {
        return Err(CliError::usage(format!(
            "Claude does not let an OAuth token make a rule with the scope `{scope}`"
        ))
        .with_remedy(&Remedy::action(
            "make it in the Console; `--format console` prints the fields",
        )));
    }
    let token = claude_admin_token(session.environment)
        .map_err(|error| CliError::usage(error.to_string()).with_hint(error.hint()))?;
    ClaudeAdmin::new(base_url, token.ok_or_else(no_token)?)
}

fn organization(connection: &Connection) -> Result<OrganizationId, CliError> {
    connection.organization.clone().ok_or_else(|| {
        CliError::usage("`--apply` requires `--organization`").with_remedy(&Remedy::action(
            "copy the admin token's organization from the Console: Settings, Organization",
        ))
    })
}

fn wanted(connection: &Connection, args: &ConnectArgs) -> Wanted {
    let setup = &connection.setup;
    let account = match &connection.account {
        Some(account) if ServiceAccountId::parse(account).is_ok() => {
            WantedAccount::Id(account.clone())
        }
        Some(name) => {
            let mut body = setup.service_account_json();
            body["name"] = json!(name);
            WantedAccount::Named {
                body,
                is_chosen: true,
            }
        }
        None => WantedAccount::Named {
            body: setup.service_account_json(),
            is_chosen: false,
        },
    };
    let workspace = setup.workspace_id.as_ref().filter(|id| !id.is_default());
    Wanted {
        account,
        issuer: setup.issuer_json(),
        rule: setup.rule_json(),
        workspace: workspace.map(ToString::to_string),
        assertion_lifetime: setup.identity_token_seconds,
        chosen: [
            args.scope.is_some().then_some("oauth_scope"),
            args.token_lifetime
                .is_some()
                .then_some("token_lifetime_seconds"),
        ]
        .into_iter()
        .flatten()
        .collect(),
    }
}

fn ids(
    applied: &Applied,
    organization_id: OrganizationId,
    workspace_id: Option<WorkspaceId>,
) -> Result<LinkedIds, CliError> {
    let strange = |invalid: crate::domain::Invalid| {
        CliError::failed(
            "claude",
            format!("Claude returned a malformed id: {invalid}"),
        )
    };
    Ok(LinkedIds {
        organization_id,
        rule_id: RuleId::parse(&applied.rule).map_err(strange)?,
        service_account_id: ServiceAccountId::parse(&applied.account).map_err(strange)?,
        issuer_id: Some(IssuerObjectId::parse(&applied.issuer).map_err(strange)?),
        workspace_id,
    })
}

fn report(
    applied: &Applied,
    connection: &Connection,
    base_url: &BaseUrl,
    args: &ConnectArgs,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    if session.printer.is_json() {
        let mut object = show::object(connection);
        object["applied"] = applied.steps();
        session.printer.json(&object)?;
    } else if args.format == Content::Text {
        session.printer.facts(&[
            ("rule", applied.rule.clone()),
            ("service account", applied.account.clone()),
            ("issuer", applied.issuer.clone()),
        ])?;
        if !connection.setup.is_team() {
            let text = format!("\n{}", show::environment(connection, "export "));
            session.printer.lines(&text)?;
        }
    } else {
        show::all(connection, args.format, session)?;
    }
    if args.act_for.is_some() {
        session.printer.hint(&format!(
            "Did not store the ids with `{}`, whose own rule is for tokens without `act`.",
            args.agent
        ));
        return Ok(());
    }
    // `verify` needs no rule options: it reads the rule back with the same admin token.
    let agent = connection.stored.first().map(|stored| &stored.agent);
    let Some(agent) = agent else {
        session.printer.next(&format!(
            "firman agent add {}NAME --role ROLE, then repeat this command to store the ids",
            args.agent.trim_end_matches('*')
        ));
        return Ok(());
    };
    if team::is_team(&args.agent) {
        session.printer.hint("The rule also accepts agents that you add later. Repeat this command to store the ids with them.");
    }
    session.printer.next(&format!(
        "firman claude verify --agent {agent}{}{}",
        args.resource_option(),
        base_url.option()
    ));
    Ok(())
}
