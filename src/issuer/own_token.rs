//! Reads tokens that this issuer signed: those presented for exchange, introspection or revocation. Verifies that
//! a token was issued here and has not expired. Whether it was revoked is in the database.

use std::sync::Arc;

use crate::domain::actor::ActorChain;
use crate::domain::claims::{TOKEN_MAX_BYTES, USER};
use crate::domain::scope::{Scopes, parse_scopes};
use crate::domain::settings::SKEW_SECONDS;
use crate::jose::compact::UnverifiedJws;
use crate::jose::jwt::{Audience, Claims};
use crate::ports::time::UnixTime;

use super::Issuer;
use super::cache::Policy;

/// A token issued here whose signature and times are valid.
#[derive(Clone, Debug)]
pub struct OwnToken {
    /// `jti`.
    pub token_id: String,
    /// `sub`.
    pub subject: String,
    /// `aud`.
    pub audience: String,
    /// `client_id`: the agent that it was issued to.
    pub client_id: String,
    /// `scope`.
    pub scopes: Scopes,
    /// `sub_profile`.
    pub subject_profile: String,
    /// `acting_agent`: the subject of the agent that it was issued to.
    pub acting_agent: String,
    /// `act`.
    pub actors: ActorChain,
    /// `iat`.
    pub issued_at: UnixTime,
    /// `exp`.
    pub expires_at: UnixTime,
    /// `cnf.jkt`: the thumbprint of the key that it is bound to (RFC 9449 §6).
    pub jkt: Option<String>,
    /// All claims, unchanged.
    pub claims: Claims,
}

/// Why a token is not accepted as issued here. Contains nothing of the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotOurs(pub String);

impl OwnToken {
    /// The subject and this issuer's actors in the token, each once: suspending one of them ends the token.
    #[must_use]
    pub(crate) fn principals(&self, issuer: &str) -> Vec<String> {
        let mut principals = vec![self.subject.clone()];
        let acting = std::iter::once(self.acting_agent.as_str());
        for subject in acting.chain(self.actors.subjects_of(issuer)) {
            if !principals.iter().any(|known| known == subject) {
                principals.push(subject.to_owned());
            }
        }
        principals
    }

    /// Whether this issuer still accepts the subject: tokens of a trusted issuer's user end with the trust in that
    /// issuer.
    #[must_use]
    pub(crate) fn is_vouched_for(&self, policy: &Policy) -> bool {
        self.subject_profile != USER || policy.vouches_for(&self.subject)
    }
}

impl Issuer {
    /// Whether the token's unverified `iss` is this issuer. Costs no cryptography and proves nothing.
    #[must_use]
    pub(crate) fn claims_to_be_ours(&self, unverified_token: &str) -> bool {
        UnverifiedJws::parse(unverified_token, TOKEN_MAX_BYTES)
            .ok()
            .and_then(|jws| jws.unverified_claims().ok())
            .is_some_and(|claims| {
                claims.get("iss").and_then(|iss| iss.as_str()) == Some(self.url.as_str())
            })
    }

    /// Verifies a token of this issuer: an access token or ID token that is signed by a published key and has not
    /// expired.
    ///
    /// # Errors
    /// [`NotOurs`] with the reason.
    pub fn verify_own(&self, token: &str, now: UnixTime) -> Result<OwnToken, NotOurs> {
        let policy: Arc<Policy> = self.policy();
        let no = |reason: &str| NotOurs(reason.to_owned());
        let unverified = UnverifiedJws::parse(token, TOKEN_MAX_BYTES)
            .map_err(|error| NotOurs(error.to_string()))?;
        let header = unverified.unverified_header();
        if !header.is_type("at+jwt") && !header.is_type("JWT") {
            return Err(no("its `typ` is neither `at+jwt` nor `JWT`"));
        }
        let key = unverified
            .unverified_kid()
            .and_then(|kid| policy.keyring.verifying(kid))
            .ok_or_else(|| no("its `kid` is not a key that this issuer publishes"))?;
        let verified = unverified
            .verify(key)
            .map_err(|error| NotOurs(error.to_string()))?;
        let claims = Claims::parse(&verified).map_err(|error| NotOurs(error.to_string()))?;
        if claims.issuer.as_deref() != Some(self.url.as_str()) {
            return Err(no("its `iss` is not this issuer"));
        }
        let expires_at = claims
            .check_times(now, SKEW_SECONDS)
            .map_err(|error| NotOurs(error.to_string()))?;
        // Only processes of this issuer set these times: the skew is for tokens that another replica just made,
        // not for expired ones.
        if now >= expires_at {
            return Err(no("it has expired"));
        }
        own(claims, expires_at).ok_or_else(|| no("it lacks a claim that this issuer's tokens have"))
    }
}

fn own(claims: Claims, expires_at: UnixTime) -> Option<OwnToken> {
    let text = |name: &str| Some(claims.other.get(name)?.as_str()?.to_owned());
    let audience = match claims.audience.clone()? {
        Audience::One(audience) => audience,
        Audience::Many(_) => return None,
    };
    let scopes = match claims.other.get("scope") {
        None => Scopes::new(),
        Some(value) => parse_scopes(value.as_str()?).ok()?,
    };
    let jkt = match claims.other.get("cnf") {
        None => None,
        Some(confirmation) => Some(confirmation.get("jkt")?.as_str()?.to_owned()),
    };
    Some(OwnToken {
        token_id: claims.jwt_id.clone()?,
        subject: claims.subject.clone()?,
        audience,
        client_id: text("client_id")?,
        scopes,
        subject_profile: text("sub_profile")?,
        acting_agent: text("acting_agent")?,
        actors: ActorChain::parse(claims.other.get("act")).ok()?,
        issued_at: claims.issued_at?,
        expires_at,
        jkt,
        claims,
    })
}
