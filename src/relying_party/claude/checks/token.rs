//! A sample token against the rule, and the exchange itself.

use serde_json::Value;

use super::super::{
    Accepted, DEFAULT_TOKEN_LIFETIME_SECONDS, Denied, Evaluation, ExchangeRequest,
    FederationIssuer, FederationRule, IssuerObjectId, JwksSource, OrganizationId, RuleId,
    RuleMatch, RuleTarget, ServiceAccountId, WorkspaceId, evaluate,
};
use super::{Check, Fetched};
use crate::domain::Invalid;
use crate::domain::remedy::Remedy;
use crate::jose::ForeignKeySet;
use crate::ports::time::UnixTime;

/// The ids at Claude that are stored with the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// `fdrl_…`.
    pub rule: String,
    /// The organization's UUID.
    pub organization: String,
    /// `svac_…`.
    pub service_account: String,
    /// `wrkspc_…`, when one is set.
    pub workspace: Option<String>,
    /// The rule's token lifetime in seconds, when it is stored.
    pub token_lifetime: Option<i64>,
}

/// The rule as it is registered at Claude, or as `connect` makes it.
#[derive(Clone, Debug)]
pub struct Expected {
    /// What it requires.
    pub rule: RuleMatch,
    /// Whether it was named or read back, rather than assumed.
    pub is_given: bool,
    /// The issuer's registered `max_jwt_lifetime_seconds`.
    pub max_lifetime: i64,
    /// The registered `issuer_url`.
    pub issuer: String,
    /// Whether the keys are registered inline.
    pub is_inline: bool,
}

impl Expected {
    /// Where the rule comes from.
    #[must_use]
    pub fn origin(&self) -> &'static str {
        if self.is_given {
            "the given rule"
        } else {
            "the rule that `firman claude connect` makes"
        }
    }
}

/// The exchange request with the ids that are stored with the agent.
///
/// # Errors
/// When an id is malformed.
pub fn request(link: &Link) -> Result<ExchangeRequest, Invalid> {
    Ok(ExchangeRequest {
        federation_rule_id: RuleId::parse(&link.rule)?,
        organization_id: OrganizationId::parse(&link.organization)?,
        service_account_id: ServiceAccountId::parse(&link.service_account)?,
        workspace_id: link
            .workspace
            .as_deref()
            .map(WorkspaceId::parse)
            .transpose()?,
    })
}

/// Judges a token by what Claude is expected to require: everything but the ids and single use, which only
/// Claude knows.
///
/// # Errors
/// With the denial.
pub fn judge(
    token: &str,
    expected: &Expected,
    keys: &ForeignKeySet,
    now: UnixTime,
) -> Result<Accepted, Denied> {
    // Placeholders for the ids at Claude: here they only have to agree with each other.
    let invariant = "a well-formed id";
    let (rule_id, account) = (
        RuleId::parse("fdrl_0").expect(invariant),
        ServiceAccountId::parse("svac_0").expect(invariant),
    );
    let issuer = FederationIssuer {
        id: IssuerObjectId::parse("fdis_0").expect(invariant),
        name: "issuer".to_owned(),
        issuer_url: expected.issuer.clone(),
        jwks: JwksSource::discovery(),
        check_jti: true,
        max_jwt_lifetime_seconds: expected.max_lifetime,
        poll_status: None,
        jwks_polling_disabled_at: None,
        archived_at: None,
        created_at: None,
        updated_at: None,
    };
    let rule = FederationRule {
        id: rule_id.clone(),
        name: "rule".to_owned(),
        description: None,
        issuer_id: issuer.id.clone(),
        match_: expected.rule.clone(),
        target: RuleTarget::ServiceAccount {
            service_account_id: account.clone(),
        },
        oauth_scope: "workspace:developer".to_owned(),
        token_lifetime_seconds: DEFAULT_TOKEN_LIFETIME_SECONDS,
        workspace_id: None,
        applies_to_all_workspaces: false,
        workspaces: Vec::new(),
        archived_at: None,
        created_at: None,
        updated_at: None,
    };
    let request = ExchangeRequest {
        federation_rule_id: rule_id,
        organization_id: OrganizationId::parse("00000000-0000-4000-8000-000000000000")
            .expect(invariant),
        service_account_id: account,
        workspace_id: None,
    };
    evaluate(&Evaluation {
        token,
        issuer: &issuer,
        rule: &rule,
        service_account: None,
        keys,
        now,
        request: &request,
    })
}

/// The verdict on a sample token; `by` names the rule.
#[must_use]
pub fn sample(what: &str, by: &str, judged: &Result<Accepted, Denied>) -> Check {
    const NAME: &str = "token";
    match judged {
        Err(denied) => Check::fail(
            NAME,
            format!(
                "{what} does not satisfy {by} ({}): {}",
                denied.denial, denied.detail
            ),
            denied.denial.remedy(),
        ),
        Ok(accepted) => {
            let text = |name: &str| {
                accepted
                    .claims
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or("none")
            };
            let seen = format!(
                "{what} satisfies {by}: `sub` {}, Claude's token lives at most {} s",
                text("sub"),
                accepted.access_lifetime
            );
            if accepted.claims.contains_key("jti") {
                Check::ok(NAME, seen)
            } else {
                Check::warn(
                    NAME,
                    format!("{seen}; it has no `jti`, so Claude accepts it repeatedly"),
                    Remedy::action("use the audience of a resource with the profile `claude`"),
                )
            }
        }
    }
}

/// The real exchange.
#[must_use]
pub fn exchange(base: &str, jti: Option<&str>, answer: &Fetched) -> Check {
    const NAME: &str = "exchange";
    let by = if answer.is_simulation {
        format!("the simulator at `{base}`")
    } else {
        format!("`{base}`")
    };
    let id = answer
        .request_id
        .as_deref()
        .map_or(String::new(), |id| format!(", request id {id}"));
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status == 200 {
        let lifetime = body["expires_in"].as_i64();
        let has_token = body["access_token"]
            .as_str()
            .is_some_and(|token| !token.is_empty());
        let scope = body["scope"].as_str().unwrap_or("none");
        return match lifetime {
            Some(lifetime) if has_token => Check::ok(
                NAME,
                format!("{by} issued an access token for {lifetime} s, scope {scope}{id}"),
            ),
            Some(_) | None => Check::fail(
                NAME,
                format!("{by} answered 200 without a token{id}"),
                Remedy::action("check that `--base-url` is the API itself"),
            ),
        };
    }
    let message = body["error"]["message"].as_str().unwrap_or("no message");
    let seen = format!("{by} answered {}: {message}{id}", answer.status);
    // Outwards every denial is the same 401. Its reason is in the Console under Workload identity,
    // authentication history; without an entry there the rule id is unknown.
    let hint = match (answer.status, jti) {
        (401, Some(jti)) => Remedy::command(format!("claude diagnose --jti {jti}")),
        (401, None) => Remedy::action(
            "read the reason in the Console: Workload identity, authentication history",
        ),
        (400, _) => Remedy::command("claude links"),
        _ => Remedy::action("try again later, or check `--base-url`; the token is not the problem"),
    };
    Check::fail(NAME, seen, hint)
}

/// A first call with the access token: in which organization and workspace it acts, by the headers that the
/// API sends on every answer but a 401. `workspace` is the one that is expected; which id the default
/// workspace has is not known here.
#[must_use]
pub fn acts_in(base: &str, organization: &str, workspace: Option<&str>, answer: &Fetched) -> Check {
    const NAME: &str = "workspace";
    let id = answer
        .request_id
        .as_deref()
        .map_or(String::new(), |id| format!(", request id {id}"));
    if answer.status == 401 {
        return Check::fail(
            NAME,
            format!("`{base}` rejects the access token that it issued: 401{id}"),
            Remedy::action(
                "repeat the check; if it fails again, check the service account in the Console",
            ),
        );
    }
    let (Some(organization_there), Some(workspace_there)) =
        (&answer.organization, &answer.workspace)
    else {
        return Check::warn(
            NAME,
            format!(
                "`{base}` answered {} without `anthropic-organization-id` and `anthropic-workspace-id`{id}",
                answer.status
            ),
            Remedy::action("check whether a proxy removes response headers"),
        );
    };
    let expected = workspace.filter(|workspace| *workspace != "default");
    let differs = |what: &str, there: &str, expected: &str| {
        Check::fail(
            NAME,
            format!("the access token acts in {what} {there}, not in {expected}"),
            Remedy::command("claude link --help"),
        )
    };
    if organization_there != organization {
        return differs("organization", organization_there, organization);
    }
    match expected {
        Some(expected) if workspace_there != expected => {
            differs("workspace", workspace_there, expected)
        }
        Some(_) | None => Check::ok(
            NAME,
            format!(
                "the access token acts in workspace {workspace_there} of organization {organization_there}"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Status;
    use super::*;

    fn answered(status: u16, body: &Value) -> Check {
        let answer = Fetched {
            status,
            request_id: Some("req_01".to_owned()),
            body: body.to_string().into_bytes(),
            ..Fetched::default()
        };
        exchange("https://api.anthropic.com", Some("jti-1"), &answer)
    }

    #[test]
    fn an_exchange_is_shown_without_its_token() {
        let denied = json!({"type": "error", "error": {"type": "authentication_error", "message": "Authentication failed"}});
        let check = answered(401, &denied);
        assert_eq!(check.status, Status::Fail);
        assert_eq!(
            check.seen,
            "`https://api.anthropic.com` answered 401: Authentication failed, request id req_01"
        );
        assert_eq!(
            check.hint,
            Some(Remedy::command("claude diagnose --jti jti-1"))
        );
        assert_eq!(answered(200, &json!({})).status, Status::Fail);
        let granted = json!({"access_token": "sk-ant-oat01-x", "expires_in": 600, "scope": "workspace:developer"});
        let check = answered(200, &granted);
        assert_eq!(
            (check.status, check.seen.as_str()),
            (
                Status::Ok,
                "`https://api.anthropic.com` issued an access token for 600 s, scope workspace:developer, request id req_01"
            )
        );
    }

    #[test]
    fn the_first_call_says_in_whose_name_the_token_acts() {
        let answer = |status, organization: Option<&str>, workspace: Option<&str>| Fetched {
            status,
            organization: organization.map(str::to_owned),
            workspace: workspace.map(str::to_owned),
            ..Fetched::default()
        };
        for (expected, answer, status, seen) in [
            (
                None,
                answer(401, None, None),
                Status::Fail,
                "rejects the access token",
            ),
            (
                None,
                answer(200, None, None),
                Status::Warn,
                "answered 200 without",
            ),
            (
                None,
                answer(200, Some("org-2"), Some("wrkspc_1")),
                Status::Fail,
                "organization org-2, not in org-1",
            ),
            (
                Some("wrkspc_2"),
                answer(200, Some("org-1"), Some("wrkspc_1")),
                Status::Fail,
                "workspace wrkspc_1, not in wrkspc_2",
            ),
            (
                Some("wrkspc_2"),
                answer(403, Some("org-1"), Some("wrkspc_2")),
                Status::Ok,
                "workspace wrkspc_2 of",
            ),
            (
                Some("default"),
                answer(200, Some("org-1"), Some("wrkspc_1")),
                Status::Ok,
                "workspace wrkspc_1 of",
            ),
            (
                None,
                answer(200, Some("org-1"), Some("wrkspc_1")),
                Status::Ok,
                "workspace wrkspc_1 of",
            ),
        ] {
            let check = acts_in("https://api.anthropic.com", "org-1", expected, &answer);
            assert_eq!(check.status, status, "{check:?}");
            assert!(check.seen.contains(seen), "{check:?}");
        }
    }

    #[test]
    fn an_id_of_another_kind_is_refused_before_it_is_sent() {
        let link = Link {
            rule: "svac_01".to_owned(),
            ..Link::default()
        };
        assert_eq!(request(&link).unwrap_err().field, "rule_id");
    }
}
