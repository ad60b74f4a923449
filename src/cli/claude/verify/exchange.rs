//! The exchange itself, and a first call with the access token.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::super::probe::{self, Unreached};
use super::token::Candidate;
use super::{Ground, Round};
use crate::cli::error::CliError;
use crate::cli::http;
use crate::cli::print::text;
use crate::domain::remedy::Remedy;
use crate::jose::UnverifiedJws;
use crate::relying_party::claude::checks::{self, Check, Fetched, Link, Status};
use crate::relying_party::claude::{API_VERSION, ASSERTION_MAX_BYTES};

/// The beta header of the SDKs for an exchange.
const EXCHANGE_BETA: &str = "oauth-2025-04-20,oidc-federation-2026-04-01";
/// The beta header of the SDKs for every other call.
const OAUTH_BETA: &str = "oauth-2025-04-20";

/// Exchanges the token. The access token is used for one call and dropped.
pub(super) async fn exchange(
    ground: &Ground,
    candidate: Option<&Candidate>,
    round: &mut Round,
) -> Result<(), CliError> {
    const NAME: &str = "exchange";
    let Some(link) = &ground.link else {
        round.add(Check::fail(
            NAME,
            "the rule, organization or service account is not known",
            Remedy::command(
                "claude link AGENT --rule fdrl_… --organization UUID --service-account svac_…",
            ),
        ));
        return Ok(());
    };
    let Some(candidate) = candidate else {
        round.add(Check::fail(
            NAME,
            "the token to exchange is missing",
            Remedy::action("fix the checks that failed before this one"),
        ));
        return Ok(());
    };
    let request = match checks::request(link) {
        Ok(request) => request,
        Err(invalid) => {
            round.add(Check::fail(
                NAME,
                format!("{} {}", invalid.field, invalid.problem),
                Remedy::command("claude link --help"),
            ));
            return Ok(());
        }
    };
    let token = candidate.token.expose_secret();
    let url = endpoint(ground, &["v1", "oauth", "token"])?;
    let call = http::client(&url)?
        .post(url.clone())
        .header("anthropic-version", API_VERSION)
        .header("anthropic-beta", EXCHANGE_BETA)
        .json(&request.to_body(token));
    let base = ground.base_url.as_str().trim_end_matches('/');
    match probe::send(call).await {
        Ok(answer) => {
            round.add(checks::clock(base, answer.date, round.now));
            let jti = unverified_jti(token);
            let check = checks::exchange(base, jti.as_deref(), &answer);
            let is_granted = check.status == Status::Ok;
            round.add(check);
            if is_granted {
                first_call(ground, link, &answer, round).await?;
            }
        }
        Err(Unreached::Certificate(reason) | Unreached::Other(reason)) => round.add(Check::fail(
            NAME,
            format!("`{base}` does not answer: {reason}"),
            Remedy::action("check `--base-url` and the network"),
        )),
    }
    Ok(())
}

fn endpoint(ground: &Ground, path: &[&str]) -> Result<Url, CliError> {
    let mut url = ground.base_url.url().clone();
    url.path_segments_mut()
        .map_err(|()| CliError::usage("`--base-url` is not the URL of a server"))?
        .pop_if_empty()
        .extend(path);
    Ok(url)
}

/// Lists models with the access token, which costs nothing; the answer names organization and workspace.
async fn first_call(
    ground: &Ground,
    link: &Link,
    exchanged: &Fetched,
    round: &mut Round,
) -> Result<(), CliError> {
    let body: Value = serde_json::from_slice(&exchanged.body).unwrap_or_default();
    let token: SecretString = text(&body, "access_token").into();
    let mut url = endpoint(ground, &["v1", "models"])?;
    url.set_query(Some("limit=1"));
    let call = http::client(&url)?
        .get(url)
        .bearer_auth(token.expose_secret())
        .header("anthropic-version", API_VERSION)
        .header("anthropic-beta", OAUTH_BETA);
    let base = ground.base_url.as_str().trim_end_matches('/');
    // A rule for one workspace implies it, whether the request names it or not.
    let registered = ground.read_back.registered();
    let only = registered.and_then(|found| match found.rule.enabled_workspaces().as_slice() {
        [only] if !found.rule.applies_to_all_workspaces => Some(only.to_string()),
        _ => None,
    });
    let workspace = link.workspace.clone().or(only);
    round.add(match probe::send(call).await {
        Ok(answer) => checks::acts_in(base, &link.organization, workspace.as_deref(), &answer),
        Err(Unreached::Certificate(reason) | Unreached::Other(reason)) => Check::warn(
            "workspace",
            format!("`{base}` does not answer a call with the access token: {reason}"),
            Remedy::action("repeat the check"),
        ),
    });
    Ok(())
}

/// The token's id, for the audit.
fn unverified_jti(token: &str) -> Option<String> {
    let jws = UnverifiedJws::parse(token, ASSERTION_MAX_BYTES).ok()?;
    let claims = jws.unverified_claims().ok()?;
    claims["jti"].as_str().map(str::to_owned)
}
