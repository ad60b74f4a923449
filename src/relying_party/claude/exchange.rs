//! The exchange (RFC 7523 §2.1 with a JSON body): what is asked, and whether a token satisfies a rule. Pure:
//! the keys, the time and the objects are given; that a `jti` is used once only is for the caller to keep.

use serde_json::{Map, Value, json};

use super::denial::{Denial, Denied};
use super::objects::{FederationIssuer, FederationRule, ServiceAccount, malformed_id};
use super::{
    ASSERTION_MAX_BYTES, EXPECTED_AUDIENCE, MIN_TOKEN_LIFETIME_SECONDS, SKEW_SECONDS,
    evaluate_condition,
};
use crate::domain::Invalid;
use crate::domain::claude_link::{OrganizationId, RuleId, ServiceAccountId, WorkspaceId};
use crate::jose::digest::decode_base64url;
use crate::jose::json::parse_object;
use crate::jose::jwt::ClaimError;
use crate::jose::{Claims, ForeignAlgorithm, ForeignKeySet, JwsError, UnverifiedJws, VerifiedJws};
use crate::ports::time::UnixTime;

/// An assertion with an algorithm that Claude takes.
type Assertion<'t> = UnverifiedJws<'t, ForeignAlgorithm>;

/// The grant type of the exchange.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How much of a claim's value a detail repeats.
const SHOWN_MAX_CHARACTERS: usize = 120;

/// What an exchange asks for, besides the assertion.
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
    /// Reads the body of a request: the assertion and what is asked for.
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

/// A token, a rule, and everything that bears on whether they fit.
#[derive(Clone, Copy, Debug)]
pub struct Evaluation<'a> {
    /// The assertion.
    pub token: &'a str,
    /// The rule's issuer.
    pub issuer: &'a FederationIssuer,
    /// The rule that the request names.
    pub rule: &'a FederationRule,
    /// The rule's service account, for its workspaces; `None`: not known, so that membership is not judged.
    pub service_account: Option<&'a ServiceAccount>,
    /// The issuer's keys.
    pub keys: &'a ForeignKeySet,
    /// The present.
    pub now: UnixTime,
    /// What is asked for.
    pub request: &'a ExchangeRequest,
}

/// A token that satisfies a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// All claims of the token.
    pub claims: Map<String, Value>,
    /// Its `jti`, which the caller takes once only if the issuer's `check_jti` says so.
    pub jti: Option<String>,
    /// Its `exp`.
    pub expires_at: UnixTime,
    /// The workspace that the access token is for; `None`: the rule names none.
    pub workspace_id: Option<WorkspaceId>,
    /// The life of the access token in seconds.
    pub access_lifetime: i64,
}

/// The life of an access token, in seconds: at least 60, at most the rule's, at most twice what the
/// identity token had left.
#[must_use]
pub fn access_token_lifetime(rule_lifetime: i64, remaining: i64) -> i64 {
    rule_lifetime
        .min(remaining.saturating_mul(2))
        .max(MIN_TOKEN_LIFETIME_SECONDS)
}

/// Judges a token by a rule.
///
/// Not documented: the order of the checks. A token with several faults may be told another here than there.
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
    check_issuer_claim(&jws, issuer)?;
    let verified = verify(&jws, keys)?;
    let all = parse_object(verified.payload()).map_err(malformed)?;
    let claims = Claims::parse(&verified).map_err(malformed)?;
    let expires_at = check_times(&claims, issuer, now)?;
    check_match(&claims, &all, rule)?;
    let workspace_id = check_target(rule, evaluation.service_account, evaluation.request)?;
    Ok(Accepted {
        jti: claims.jwt_id,
        claims: all,
        expires_at,
        workspace_id,
        access_lifetime: access_token_lifetime(rule.token_lifetime_seconds, expires_at.since(now)),
    })
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

/// The detail for an `alg` that Claude does not take.
fn other_algorithm(token: &str) -> Denied {
    let header = token.split('.').next().unwrap_or_default();
    let header = decode_base64url(header).unwrap_or_default();
    let header = parse_object(&header).unwrap_or_default();
    Denial::Algorithm.because(match header.get("alg").and_then(Value::as_str) {
        Some(alg) => format!("alg is {}", shown(alg)),
        None => "there is no alg".to_owned(),
    })
}

/// Compares `iss` before the signature is checked: with another issuer's token the keys cannot fit either,
/// and this is the more helpful thing to say.
fn check_issuer_claim(jws: &Assertion<'_>, issuer: &FederationIssuer) -> Result<(), Denied> {
    let claims = jws.unverified_claims().map_err(malformed)?;
    match claims.get("iss") {
        Some(Value::String(iss)) if *iss == issuer.issuer_url => Ok(()),
        Some(Value::String(iss)) => Err(Denial::IssuerMismatch.because(format!(
            "iss is {}, registered is {}",
            shown(iss),
            shown(&issuer.issuer_url)
        ))),
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_),
        )
        | None => Err(Denial::IssuerMismatch.because("the token has no iss")),
    }
}

fn verify(
    jws: &Assertion<'_>,
    keys: &ForeignKeySet,
) -> Result<VerifiedJws<ForeignAlgorithm>, Denied> {
    let kid = jws
        .unverified_kid()
        .ok_or_else(|| Denial::KidMissing.because("the header has no kid"))?;
    let named: Vec<_> = keys
        .keys()
        .iter()
        .filter(|key| key.kid() == Some(kid))
        .collect();
    if named.is_empty() {
        let known: Vec<_> = keys.keys().iter().filter_map(|key| key.kid()).collect();
        return Err(Denial::UnknownKid.because(format!(
            "kid is {}, known are {}",
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
            [] => "none that Claude takes".to_owned(),
            some => some.join(", "),
        };
        return Err(Denial::Algorithm.because(format!(
            "alg is {}, the key of that kid is for {its}",
            jws.unverified_alg()
        )));
    }
    // Not documented: what Claude does with two keys under one `kid`. Each may be the one.
    named
        .iter()
        .find_map(|key| jws.verify_foreign(key).ok())
        .ok_or_else(|| {
            Denial::Signature.because(format!("the key {} did not sign this token", shown(kid)))
        })
}

fn check_times(
    claims: &Claims,
    issuer: &FederationIssuer,
    now: UnixTime,
) -> Result<UnixTime, Denied> {
    if claims.subject.as_deref().unwrap_or_default().is_empty() {
        return Err(Denial::SubMissing.because("the token has no sub"));
    }
    let Some(issued_at) = claims.issued_at else {
        return Err(Denial::IatMissing.because("the token has no iat"));
    };
    let expires_at = claims
        .check_times(now, SKEW_SECONDS)
        .map_err(|error| told_time(error, claims, now))?;
    let (lifetime, longest) = (expires_at.since(issued_at), issuer.max_jwt_lifetime_seconds);
    // Not documented: a token that expires before it was issued. No issuer means that.
    if lifetime <= 0 || lifetime > longest {
        return Err(Denial::Lifetime.because(format!(
            "exp - iat is {lifetime} s, the issuer's maximum is {longest} s"
        )));
    }
    Ok(expires_at)
}

fn told_time(error: ClaimError, claims: &Claims, now: UnixTime) -> Denied {
    let seen = |name: &str, time: Option<UnixTime>| match time {
        Some(time) => format!("{name} is {time}, now is {now}"),
        None => format!("there is no {name}"),
    };
    match error {
        ClaimError::NoExpiry => Denial::ExpMissing.because("the token has no exp"),
        ClaimError::Expired => Denial::Expired.because(seen("exp", claims.expires_at)),
        ClaimError::NotYetValid => Denial::NotYetValid.because(seen("nbf", claims.not_before)),
        ClaimError::IssuedInFuture => Denial::IssuedInFuture.because(seen("iat", claims.issued_at)),
        ClaimError::Payload(_)
        | ClaimError::NotAString(_)
        | ClaimError::Audience
        | ClaimError::NotANumber(_)
        | ClaimError::OutOfRange(_) => malformed(error),
    }
}

fn check_match(
    claims: &Claims,
    all: &Map<String, Value>,
    rule: &FederationRule,
) -> Result<(), Denied> {
    let expected = rule.match_.audience.as_deref().unwrap_or(EXPECTED_AUDIENCE);
    let audience = claims.audience.as_ref();
    if !audience.is_some_and(|audience| audience.contains(expected)) {
        let seen = audience.map(|audience| audience.iter().collect::<Vec<_>>().join(", "));
        return Err(Denial::Audience.because(format!(
            "aud is {}, expected is {}",
            seen.as_deref().map_or("missing".to_owned(), shown),
            shown(expected)
        )));
    }
    let subject = claims.subject.as_deref().unwrap_or_default();
    if !rule.match_.takes_subject(subject) {
        let pattern = rule.match_.subject_prefix.as_deref().unwrap_or_default();
        return Err(Denial::MatchSubjectPrefix.because(format!(
            "sub is {}, subject_prefix is {}",
            shown(subject),
            shown(pattern)
        )));
    }
    for (name, value) in &rule.match_.claims {
        if all.get(name).and_then(Value::as_str) != Some(value) {
            let seen = all.get(name).map_or("missing".to_owned(), |claim| {
                shown(claim.as_str().unwrap_or(&claim.to_string()))
            });
            return Err(Denial::MatchClaims.because(format!(
                "{} is {seen}, the rule wants the text {}",
                shown(name),
                shown(value)
            )));
        }
    }
    match &rule.match_.condition {
        None => Ok(()),
        Some(condition) => match evaluate_condition(condition, all) {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(Denial::MatchCondition.because(format!("{} is false", shown(condition))))
            }
            Err(error) => Err(Denial::MatchCondition.because(format!(
                "{} {}",
                shown(condition),
                shown(&error.problem)
            ))),
        },
    }
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
            "asked for is {}, the rule leads to {target}",
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
        // The reference demands an id here; a comment in the SDKs has the default workspace step in.
        (None, _) => {
            return Err(
                Denial::WorkspaceIdRequired.because(if rule.applies_to_all_workspaces {
                    "the rule applies to all workspaces and the request names none".to_owned()
                } else {
                    format!(
                        "the rule is enabled in {} workspaces and the request names none",
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
            "the service account {target} is no member of {workspace}"
        )));
    }
    Ok(chosen)
}

/// A value from outside, quoted, escaped and cut.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_MAX_CHARACTERS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}
