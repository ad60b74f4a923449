//! The exchange (RFC 7523 §2.1 with a JSON body): the request, and whether a token satisfies a rule. Pure: the
//! caller provides keys, time and objects, and keeps track of each `jti`.

use serde_json::{Map, Value, json};

use super::ASSERTION_MAX_BYTES;
use super::demands::{claim_faults, issuer_fault, match_faults, shown};
use super::denial::{Denial, Denied};
use super::objects::{FederationIssuer, FederationRule, ServiceAccount, malformed_id};
use super::rule::access_token_lifetime;
use crate::domain::Invalid;
use crate::domain::claude_link::{OrganizationId, RuleId, ServiceAccountId, WorkspaceId};
use crate::jose::digest::decode_base64url;
use crate::jose::json::parse_object;
use crate::jose::{Claims, ForeignAlgorithm, ForeignKeySet, JwsError, UnverifiedJws, VerifiedJws};
use crate::ports::time::UnixTime;

/// An assertion with an algorithm that Claude accepts.
type Assertion<'t> = UnverifiedJws<'t, ForeignAlgorithm>;

/// The grant type of the exchange.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// An exchange request, without its assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeRequest {
    /// `federation_rule_id`.
    pub federation_rule_id: RuleId,
    /// `organization_id`.
    pub organization_id: OrganizationId,
    /// `service_account_id`.
    pub service_account_id: ServiceAccountId,
    /// `workspace_id`.
    pub workspace_id: Option<WorkspaceId>,
}

impl ExchangeRequest {
    /// Parses the body of a request: the assertion and the rest.
    ///
    /// # Errors
    /// For what Claude answers with `invalid_request_error`: a missing member or a malformed id.
    pub fn parse(body: &Map<String, Value>) -> Result<(String, Self), Invalid> {
        if text(body, "grant_type")? != JWT_BEARER {
            return Err(Invalid::new("grant_type", format!("must be {JWT_BEARER}")));
        }
        let assertion = text(body, "assertion")?.to_owned();
        let federation_rule_id =
            RuleId::parse(text(body, "federation_rule_id")?).map_err(malformed_id)?;
        let organization_id =
            OrganizationId::parse(text(body, "organization_id")?).map_err(malformed_id)?;
        // The reference says required, comments in the SDKs say optional: the stricter of the two.
        let service_account_id =
            ServiceAccountId::parse(text(body, "service_account_id")?).map_err(malformed_id)?;
        let workspace_id = match body.get("workspace_id") {
            None | Some(Value::Null) => None,
            Some(_) => Some(WorkspaceId::parse(text(body, "workspace_id")?).map_err(malformed_id)?),
        };
        let request = Self {
            federation_rule_id,
            organization_id,
            service_account_id,
            workspace_id,
        };
        Ok((assertion, request))
    }

    /// The body of a request with `assertion`.
    #[must_use]
    pub fn to_body(&self, assertion: &str) -> Value {
        let mut body = json!({
            "grant_type": JWT_BEARER,
            "assertion": assertion,
            "federation_rule_id": self.federation_rule_id,
            "organization_id": self.organization_id,
            "service_account_id": self.service_account_id,
        });
        if let Some(workspace) = &self.workspace_id {
            body["workspace_id"] = json!(workspace);
        }
        body
    }
}

fn text<'b>(body: &'b Map<String, Value>, field: &'static str) -> Result<&'b str, Invalid> {
    match body.get(field) {
        None | Some(Value::Null) => Err(Invalid::new(field, "is required")),
        Some(Value::String(text)) => Ok(text),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(Invalid::new(field, "must be a string"))
        }
    }
}

/// A token, a rule, and everything that decides whether the token satisfies it.
#[derive(Clone, Copy, Debug)]
pub struct Evaluation<'a> {
    /// The assertion.
    pub token: &'a str,
    /// The rule's issuer.
    pub issuer: &'a FederationIssuer,
    /// The rule that the request names.
    pub rule: &'a FederationRule,
    /// The rule's service account, for its workspaces; `None`: unknown, so membership is not judged.
    pub service_account: Option<&'a ServiceAccount>,
    /// The issuer's keys.
    pub keys: &'a ForeignKeySet,
    /// The time of the exchange.
    pub now: UnixTime,
    /// The request.
    pub request: &'a ExchangeRequest,
}

/// A token that satisfies a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// All claims of the token.
    pub claims: Map<String, Value>,
    /// Its `jti`, which the caller accepts only once if the issuer's `check_jti` is on.
    pub jti: Option<String>,
    /// Its `exp`.
    pub expires_at: UnixTime,
    /// The workspace that the access token is for; `None`: the rule names none.
    pub workspace_id: Option<WorkspaceId>,
    /// The life of the access token in seconds.
    pub access_lifetime: i64,
}

/// Judges a token by a rule.
///
/// Not documented: the order of the checks. For a token with several faults Claude may name another one.
///
/// # Errors
/// When Claude would deny the exchange; the cause with what was seen.
pub fn evaluate(evaluation: &Evaluation<'_>) -> Result<Accepted, Denied> {
    let Evaluation {
        token,
        issuer,
        rule,
        keys,
        now,
        ..
    } = *evaluation;
    if rule.archived_at.is_some() {
        return Err(Denial::RuleArchived.because(format!("{} is archived", rule.id)));
    }
    let jws = read(token)?;
    // Before the signature: another issuer's keys cannot fit either, and this says more.
    let unverified = jws.unverified_claims().map_err(malformed)?;
    let iss = unverified.get("iss").and_then(Value::as_str);
    refuse(issuer_fault(iss, &issuer.issuer_url))?;
    let verified = verify(&jws, keys)?;
    let all = parse_object(verified.payload()).map_err(malformed)?;
    let claims = Claims::parse(&verified).map_err(malformed)?;
    refuse(claim_faults(&claims, now, issuer.max_jwt_lifetime_seconds))?;
    refuse(match_faults(&rule.match_, &claims, Some(&all)))?;
    // Without `exp` it was refused above.
    let expires_at = claims.expires_at.unwrap_or(now);
    let workspace_id = check_target(rule, evaluation.service_account, evaluation.request)?;
    Ok(Accepted {
        jti: claims.jwt_id,
        claims: all,
        expires_at,
        workspace_id,
        access_lifetime: access_token_lifetime(rule.token_lifetime_seconds, expires_at.since(now)),
    })
}

/// Refuses for the first fault, if there is one.
fn refuse(faults: impl IntoIterator<Item = Denied>) -> Result<(), Denied> {
    faults.into_iter().next().map_or(Ok(()), Err)
}

fn malformed(error: impl std::fmt::Display) -> Denied {
    Denial::Malformed.because(error.to_string())
}

fn read(token: &str) -> Result<Assertion<'_>, Denied> {
    Assertion::parse_foreign(token, ASSERTION_MAX_BYTES).map_err(|error| match error {
        JwsError::TooLarge(_) => {
            Denial::TooLarge.because(format!("the token has {} bytes", token.len()))
        }
        JwsError::Algorithm => other_algorithm(token),
        JwsError::Parts
        | JwsError::Encoding(..)
        | JwsError::Header(_)
        | JwsError::Member(_)
        | JwsError::KeyId
        | JwsError::Type
        | JwsError::Payload(_)
        | JwsError::OtherKey
        | JwsError::Signature => malformed(error),
    })
}

/// The detail for an `alg` that Claude does not accept.
fn other_algorithm(token: &str) -> Denied {
    let header = token.split('.').next().unwrap_or_default();
    let header = decode_base64url(header).unwrap_or_default();
    let header = parse_object(&header).unwrap_or_default();
    Denial::Algorithm.because(match header.get("alg").and_then(Value::as_str) {
        Some(alg) => format!("`alg` is {}", shown(alg)),
        None => "the header has no `alg`".to_owned(),
    })
}

fn verify(
    jws: &Assertion<'_>,
    keys: &ForeignKeySet,
) -> Result<VerifiedJws<ForeignAlgorithm>, Denied> {
    let kid = jws
        .unverified_kid()
        .ok_or_else(|| Denial::KidMissing.because("the header has no `kid`"))?;
    let named: Vec<_> = keys
        .keys()
        .iter()
        .filter(|key| key.kid() == Some(kid))
        .collect();
    if named.is_empty() {
        let known: Vec<_> = keys.keys().iter().filter_map(|key| key.kid()).collect();
        return Err(Denial::UnknownKid.because(format!(
            "`kid` is {}; known keys: {}",
            shown(kid),
            shown(&known.join(", "))
        )));
    }
    let algorithms: Vec<&str> = named
        .iter()
        .flat_map(|key| key.algorithms())
        .map(ForeignAlgorithm::as_str)
        .collect();
    if !algorithms.contains(&jws.unverified_alg().as_str()) {
        let its = match algorithms.as_slice() {
            [] => "none that Claude accepts".to_owned(),
            some => some.join(", "),
        };
        return Err(Denial::Algorithm.because(format!(
            "`alg` is {}; the key of that `kid` is for {its}",
            jws.unverified_alg()
        )));
    }
    // Not documented: what Claude does with two keys under one `kid`. Either may have signed.
    named
        .iter()
        .find_map(|key| jws.verify_foreign(key).ok())
        .ok_or_else(|| {
            Denial::Signature.because(format!("the key {} did not sign this token", shown(kid)))
        })
}

/// Judges service account and workspace; returns the workspace that the access token is for.
pub(super) fn check_target(
    rule: &FederationRule,
    service_account: Option<&ServiceAccount>,
    request: &ExchangeRequest,
) -> Result<Option<WorkspaceId>, Denied> {
    let target = rule.service_account_id();
    if request.service_account_id != *target {
        return Err(Denial::ServiceAccountMismatch.because(format!(
            "the request names {}; the rule's target is {target}",
            request.service_account_id
        )));
    }
    let enabled = rule.enabled_workspaces();
    let chosen = match (&request.workspace_id, enabled.as_slice()) {
        (Some(chosen), enabled) => {
            if !rule.applies_to_all_workspaces && !enabled.contains(&chosen) {
                return Err(Denial::WorkspaceNotAllowed
                    .because(format!("the rule is not enabled in {chosen}")));
            }
            Some(chosen.clone())
        }
        (None, [only]) if !rule.applies_to_all_workspaces => Some((*only).clone()),
        (None, []) if !rule.applies_to_all_workspaces => None,
        // The reference requires an id here; a comment in the SDKs falls back to the default workspace.
        (None, _) => {
            return Err(
                Denial::WorkspaceIdRequired.because(if rule.applies_to_all_workspaces {
                    "the rule applies to all workspaces, and the request names none".to_owned()
                } else {
                    format!(
                        "the rule is enabled in {} workspaces, and the request names none",
                        enabled.len()
                    )
                }),
            );
        }
    };
    if let (Some(account), Some(workspace)) = (service_account, &chosen)
        && !account.is_member_of(workspace)
    {
        return Err(Denial::WorkspaceNotAllowed.because(format!(
            "the service account {target} is not a member of {workspace}"
        )));
    }
    Ok(chosen)
}
