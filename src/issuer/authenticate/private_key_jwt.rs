//! Authenticates a client by an assertion that it signed with its own key (RFC 7523 §2.2, OpenID Connect Core §9).
//!
//! The rules of RFC 7523 §3 and where each is checked, in the order of the checks:
//!
//! | Item | Rule | Check |
//! |---|---|---|
//! | 1, 2 | `iss` and `sub` are the client | `named_client`, before the signature: they choose the keys |
//! | 9 | a signature of the client | `verify_signature` |
//! | 10 | a valid JWT of the right kind | `is_assertion_type`, `Claims::parse` |
//! | 3 | `aud` is this issuer | `check_audience` |
//! | 4, 5, 6 | `exp` is required, not past and not far ahead; `nbf` and `iat` are not ahead | `Claims::check_times`, `check_not_far_ahead` |
//! | 6 | `iat` is not from before a restore | `check_not_from_before_restore` |
//! | 7 | `jti` is required and new | `single_use::jti`; the ledger refuses a replay |
//! | 8 | other claims are ignored | |
//!
//! The response names a fault only after item 9: before that, the recipient is not proven.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::assertion_keys::verify_signature;
use super::trusted_issuer::ExternalProof;
use super::{
    AuthenticatedClient, AuthenticationError, ClientAuthMethod, Moment, active, refused,
    why_inactive,
};
use crate::domain::agent::Agent;
use crate::domain::assertion_audience::Expected;
use crate::domain::remedy::Remedy;
use crate::domain::settings::{SKEW_SECONDS, token_endpoint};
use crate::issuer::Issuer;
use crate::issuer::external_token::TrustedFor;
use crate::issuer::refusals::fact;
use crate::issuer::single_use::{
    self, ASSERTION_MAX_AHEAD_SECONDS, ASSERTION_MAX_BYTES, JTI_MAX_BYTES, SpentAssertion,
};
use crate::jose::compact::{UnverifiedJws, VerifiedJws};
use crate::jose::jwt::Claims;
use crate::ports::time::UnixTime;

/// A rule of RFC 7523 §3 that a signed assertion breaks.
struct Broken {
    /// The fault, as a sentence for the client.
    problem: String,
    /// What an administrator can do about it.
    remedy: Option<Remedy>,
    /// Whether a newer row of the database could change the result.
    rests_on_state: bool,
}

impl From<String> for Broken {
    fn from(problem: String) -> Self {
        Self {
            problem,
            remedy: None,
            rests_on_state: false,
        }
    }
}

impl Issuer {
    pub(super) async fn authenticate_assertion(
        &self,
        claimed: Option<&str>,
        unverified_assertion: &str,
        moment: Moment,
    ) -> Result<AuthenticatedClient, AuthenticationError> {
        let now = moment.now;
        let unverified = UnverifiedJws::parse(unverified_assertion, ASSERTION_MAX_BYTES)
            .map_err(|error| refused(error.to_string(), claimed, false))?;
        let unverified_claims = unverified
            .unverified_claims()
            .map_err(|error| refused(error.to_string(), claimed, false))?;
        let Some(client_id) = named_client(&unverified_claims) else {
            // An `iss` that is not a URL cannot name a trusted issuer.
            if !names_a_url(&unverified_claims) {
                return Err(refused(why_no_client(&unverified_claims), claimed, false));
            }
            let presented = ExternalProof {
                claimed,
                unverified_token: unverified_assertion,
                used: TrustedFor::ClientAuth,
                method: ClientAuthMethod::PrivateKeyJwt,
            };
            return self.authenticate_external(presented, moment).await;
        };
        if claimed.is_some_and(|claimed| claimed != client_id) {
            let reason = format!(
                "`client_id` and the assertion name different clients; `iss` is {}",
                fact(client_id)
            );
            return Err(refused(reason, claimed, false));
        }
        let Some(aggregate) = self.known_agent(client_id).await? else {
            return Err(refused("no such client", Some(client_id), false));
        };
        let (credential, verified) = verify_signature(&unverified, &aggregate.credentials, now)
            .map_err(|reason| {
                let reason = why_inactive(&aggregate.agent, now).unwrap_or(reason);
                refused(reason, Some(client_id), true)
            })?;
        let spends = self
            .check_signed(
                &verified,
                unverified.unverified_typ(),
                &aggregate.agent,
                now,
            )
            .map_err(|broken| AuthenticationError::Assertion {
                problem: broken.problem,
                remedy: broken.remedy,
                client: Arc::clone(&aggregate),
                rests_on_state: broken.rests_on_state,
            })?;
        let credential = credential.id.clone();
        active(
            AuthenticatedClient {
                aggregate: Arc::clone(&aggregate),
                method: ClientAuthMethod::PrivateKeyJwt,
                credential,
                spends: Some(spends),
                external: None,
                basis: moment.basis,
            },
            now,
        )
    }

    /// The items of RFC 7523 §3 that come after the signature.
    fn check_signed(
        &self,
        verified: &VerifiedJws,
        typ: Option<&str>,
        agent: &Agent,
        now: UnixTime,
    ) -> Result<SpentAssertion, Broken> {
        // Item 10: another kind of JWT is not an assertion (RFC 8725 §3.11, §3.12).
        if !is_assertion_type(typ) {
            return Err(Broken::from(
                "`typ` of the assertion must be absent, `JWT` or `client-authentication+jwt`"
                    .to_owned(),
            ));
        }
        // Item 10: each registered claim is of its type (RFC 7519 §4.1).
        let claims = Claims::parse(verified).map_err(|error| error.to_string())?;
        // Item 3.
        self.check_audience(agent, &claims)?;
        // Items 4, 5 and 6.
        let expires_at = claims
            .check_times(now, SKEW_SECONDS)
            .map_err(|error| error.to_string())?;
        // Item 4, last sentence: the mark is kept until `exp`.
        check_not_far_ahead(expires_at, now)?;
        // Item 6, last sentence.
        self.check_not_from_before_restore(&claims, now)?;
        // Item 7.
        let jti = single_use::jti(&claims).ok_or_else(|| {
            format!("`jti` is required, with 1 to {JTI_MAX_BYTES} bytes, and new in each assertion")
        })?;
        let principal = ["private_key_jwt", agent.id.as_str()];
        Ok(SpentAssertion::of(principal, jti, expires_at))
    }

    /// Item 3, by the agent's policy, or the issuer's if it has none.
    fn check_audience(&self, agent: &Agent, claims: &Claims) -> Result<(), Broken> {
        let policy = agent
            .assertion_audience
            .unwrap_or_else(|| self.policy().settings.assertion_audience);
        let expected = Expected {
            issuer: &self.url,
            token_endpoint: &token_endpoint(&self.url),
            agent: agent.name.as_str(),
        };
        policy
            .check(claims.audience.as_ref(), expected)
            .map_err(|wrong| Broken {
                problem: wrong.problem,
                remedy: wrong.remedy,
                rests_on_state: true,
            })
    }

    /// Item 6: an assertion that may have been used before a restore is refused.
    fn check_not_from_before_restore(&self, claims: &Claims, now: UnixTime) -> Result<(), String> {
        let restored_at = self.policy().assertions_not_before;
        let longest_life = ASSERTION_MAX_AHEAD_SECONDS;
        if !single_use::may_predate_restore(claims, restored_at, longest_life, now) {
            return Ok(());
        }
        Err(format!(
            "`iat` is required and must be later than {restored_at}, when this issuer was restored from a backup; make a new assertion"
        ))
    }
}

/// The `client_id` that an assertion names as `iss` and as `sub` (items 1 and 2).
fn named_client(unverified_claims: &Map<String, Value>) -> Option<&str> {
    let text = |name: &str| unverified_claims.get(name).and_then(Value::as_str);
    text("iss").filter(|issuer| text("sub") == Some(issuer))
}

fn names_a_url(unverified_claims: &Map<String, Value>) -> bool {
    let issuer = unverified_claims.get("iss").and_then(Value::as_str);
    issuer.is_some_and(|issuer| issuer.contains("://"))
}

fn check_not_far_ahead(expires_at: UnixTime, now: UnixTime) -> Result<(), String> {
    if expires_at > now.plus(ASSERTION_MAX_AHEAD_SECONDS + SKEW_SECONDS) {
        return Err(format!(
            "`exp` must be at most {ASSERTION_MAX_AHEAD_SECONDS} seconds ahead"
        ));
    }
    Ok(())
}

/// Why the claims of an assertion do not name a client (RFC 7523 §3 items 1 and 2), for the operator.
fn why_no_client(unverified_claims: &Map<String, Value>) -> String {
    let mut names = Vec::new();
    for name in ["iss", "sub"] {
        match unverified_claims.get(name) {
            None => return format!("`{name}` of the assertion is missing"),
            Some(Value::String(text)) => names.push(fact(text)),
            Some(
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_),
            ) => return format!("`{name}` of the assertion is not a string"),
        }
    }
    format!(
        "`iss` and `sub` of the assertion are not the same string: {}",
        names.join(" and ")
    )
}

/// An absent `typ` is accepted; another kind of JWT is rejected (RFC 8725 §3.11, 3.12).
fn is_assertion_type(typ: Option<&str>) -> bool {
    typ.is_none_or(|typ| {
        let typ = typ.strip_prefix("application/").unwrap_or(typ);
        typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("client-authentication+jwt")
    })
}
