//! Verifies tokens of trusted issuers: signature, audience, times, required claims and single use (RFC 7523 §3).
//! Keys come from the registered trusted issuer, never from an address that the token names (RFC 8725 §3.10).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::domain::id::TrustedIssuerId;
use crate::domain::settings::SKEW_SECONDS;
use crate::domain::trusted_issuer::{JtiPolicy, TrustedIssuer, has_claims};
use crate::jose::compact::{JwsError, UnverifiedJws, VerifiedJws};
use crate::jose::digest::{base64url, sha256};
use crate::jose::jwk_set::PublicJwkSet;
use crate::jose::jwt::{Audience, Claims};
use crate::ports::time::UnixTime;

use super::Issuer;
use super::refusals::fact;
use super::single_use::{self, ASSERTION_MAX_BYTES, JTI_MAX_BYTES, SpentAssertion};

/// The use of a trusted issuer's token; each must be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrustedFor {
    /// To authenticate an agent.
    ClientAuth,
    /// To authenticate an agent as a JWT-SVID, whose `sub` names its trust domain
    /// (draft-ietf-oauth-spiffe-client-auth §3.1).
    SpiffeClientAuth,
    /// As subject token.
    Subject,
    /// As actor token.
    Actor,
}

impl TrustedFor {
    /// Whether these unverified claims name `trusted`. A SPIFFE trust domain is named by `sub` alone, any other
    /// issuer by `iss`, byte for byte.
    fn is_named(self, trusted: &TrustedIssuer, unverified_claims: &Map<String, Value>) -> bool {
        let text = |name: &str| unverified_claims.get(name).and_then(Value::as_str);
        match self {
            Self::SpiffeClientAuth => {
                trusted.is_spiffe()
                    && text("sub")
                        .and_then(|subject| subject.strip_prefix(trusted.url.as_str()))
                        .is_some_and(|path| path.starts_with('/'))
            }
            Self::ClientAuth | Self::Subject | Self::Actor => {
                !trusted.is_spiffe() && text("iss") == Some(trusted.url.as_str())
            }
        }
    }

    /// The claim that names the issuer.
    fn naming_claim(self) -> &'static str {
        match self {
            Self::SpiffeClientAuth => "sub",
            Self::ClientAuth | Self::Subject | Self::Actor => "iss",
        }
    }

    /// The trusted issuer that these unverified claims name, if it is trusted for this use.
    fn issuer_of<'t>(
        self,
        unverified_claims: &Map<String, Value>,
        trusted_issuers: &'t BTreeMap<TrustedIssuerId, TrustedIssuer>,
    ) -> Result<&'t TrustedIssuer, ExternalTokenError> {
        let Some(trusted) = trusted_issuers
            .values()
            .find(|trusted| self.is_named(trusted, unverified_claims))
        else {
            let name = self.naming_claim();
            let exact = match unverified_claims.get(name) {
                Some(Value::String(text)) => format!(": `{name}` is {}", fact(text)),
                Some(_) => format!(": `{name}` is not a string"),
                None => format!(": `{name}` is missing"),
            };
            return Err(unproven("the token's issuer is not trusted", &exact));
        };
        if !self.is_allowed(trusted) {
            let exact = format!(": `{}`", trusted.name);
            return Err(unproven(
                "the token's issuer is not trusted for this",
                &exact,
            ));
        }
        Ok(trusted)
    }

    fn is_allowed(self, trusted: &TrustedIssuer) -> bool {
        match self {
            Self::ClientAuth | Self::SpiffeClientAuth => trusted.definition.client_auth,
            Self::Subject => trusted.definition.subject,
            Self::Actor => trusted.definition.actor,
        }
    }
}

/// A token of a trusted issuer that is valid. Its subject is not matched yet.
#[derive(Clone, Debug)]
pub(crate) struct ExternalToken {
    /// Its issuer.
    pub(crate) trusted: TrustedIssuer,
    /// The value of the claim that names the subject.
    pub(crate) subject: String,
    /// All claims.
    pub(crate) claims: Claims,
    /// `exp`.
    pub(crate) expires_at: UnixTime,
    /// Its name in the audit and in its line: the trusted issuer's name, `:`, and a digest of its `jti`, or of the
    /// signed part if a `jti` may repeat.
    pub(crate) reference: String,
    /// Its name under the other [`JtiPolicy`]: a revocation of that name counts too.
    pub(crate) other_reference: Option<String>,
    /// Its single-use mark; `None`: it may be reused.
    pub(crate) spends: Option<SpentAssertion>,
}

/// Why a token of a trusted issuer is rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExternalTokenError {
    /// No trusted issuer's key verified the signature.
    #[error("{told}")]
    Unproven {
        /// The sentence for a client that authenticated by other means.
        told: String,
        /// The same with the token's claims, for the log and the audit.
        exact: String,
    },
    /// Its signature verified, and it has another fault, which the response may name.
    #[error("{0}")]
    Fault(String),
    /// The trusted issuer's keys are not available.
    #[error("the keys of the trusted issuer `{name}` are temporarily unavailable")]
    KeysUnavailable {
        /// The trusted issuer's name.
        name: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ExternalToken {
    /// All claims by name, as conditions see them.
    #[must_use]
    pub(crate) fn all_claims(&self) -> Map<String, Value> {
        let claims = &self.claims;
        let mut all = claims.other.clone();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                all.insert(name.to_owned(), value);
            }
        };
        put("iss", claims.issuer.as_ref().map(|text| json!(text)));
        put("sub", claims.subject.as_ref().map(|text| json!(text)));
        put("jti", claims.jwt_id.as_ref().map(|text| json!(text)));
        put("exp", claims.expires_at.map(|at| json!(at.0)));
        put("nbf", claims.not_before.map(|at| json!(at.0)));
        put("iat", claims.issued_at.map(|at| json!(at.0)));
        put(
            "aud",
            claims.audience.as_ref().map(|audience| match audience {
                Audience::One(one) => json!(one),
                Audience::Many(many) => json!(many),
            }),
        );
        all
    }
}

impl Issuer {
    /// Verifies a token of a trusted issuer.
    ///
    /// # Errors
    /// [`ExternalTokenError`], which separates what the client may see.
    pub(crate) async fn verify_external(
        &self,
        token: &str,
        used: TrustedFor,
        now: UnixTime,
    ) -> Result<ExternalToken, ExternalTokenError> {
        use ExternalTokenError::Fault;
        let malformed = |error: JwsError| unproven(&error.to_string(), "");
        let unverified = UnverifiedJws::parse(token, ASSERTION_MAX_BYTES).map_err(malformed)?;
        let unverified_claims = unverified.unverified_claims().map_err(malformed)?;
        let policy = self.policy();
        let trusted = used.issuer_of(&unverified_claims, &policy.trusted_issuers)?;
        let keys = self
            .trusted_keys
            .keys(trusted, unverified.unverified_kid())
            .await
            .map_err(|source| ExternalTokenError::KeysUnavailable {
                name: trusted.name.as_str().to_owned(),
                source: Box::new(source),
            })?;
        let verified = match verify(&unverified, &keys) {
            Some(verified) => Some(verified),
            None => {
                let others = self.trusted_keys.other_keys(trusted, &keys).await;
                others.and_then(|others| verify(&unverified, &others))
            }
        };
        let verified = verified.ok_or_else(|| no_key(trusted, &unverified))?;
        let claims = Claims::parse(&verified).map_err(|error| Fault(error.to_string()))?;
        check_type(trusted, &unverified).map_err(Fault)?;
        let expires_at = check_bounds(trusted, &claims, now).map_err(Fault)?;
        let subject = subject(trusted, &claims).map_err(Fault)?;
        let spends = spends(trusted, &claims, expires_at).map_err(Fault)?;
        if spends.is_some() {
            let restored_at = policy.assertions_not_before;
            check_not_from_before_restore(trusted, &claims, restored_at, now).map_err(Fault)?;
        }
        let named = |digest: [u8; 32]| format!("{}:{}", trusted.name, base64url(&digest[..16]));
        // Not over the signature: anyone can derive a second ECDSA signature from the first without the key.
        let by_content = named(sha256(signed_part(token).as_bytes()));
        let by_jti = claims
            .jwt_id
            .as_ref()
            .map(|jti| named(sha256(jti.as_bytes())));
        // Several tokens may share a `jti` if it is reusable.
        let (reference, other_reference) = match (by_jti, trusted.definition.jti) {
            (Some(by_jti), JtiPolicy::SingleUse) => (by_jti, Some(by_content)),
            (by_jti, JtiPolicy::Reusable) => (by_content, by_jti),
            (None, JtiPolicy::SingleUse) => (by_content, None),
        };
        Ok(ExternalToken {
            reference,
            other_reference,
            trusted: trusted.clone(),
            subject,
            claims,
            expires_at,
            spends,
        })
    }
}

fn no_key(trusted: &TrustedIssuer, unverified: &UnverifiedJws<'_>) -> ExternalTokenError {
    let kid = match unverified.unverified_kid() {
        Some(kid) => format!("`kid` {}", fact(kid)),
        None => "no `kid`".to_owned(),
    };
    let algorithm = unverified.unverified_alg();
    let exact = format!(": `{}`, `alg` {algorithm}, {kid}", trusted.name);
    unproven("no key of the token's issuer verifies it", &exact)
}

fn unproven(told: &str, exact: &str) -> ExternalTokenError {
    ExternalTokenError::Unproven {
        told: told.to_owned(),
        exact: format!("{told}{exact}"),
    }
}

/// Keys of a trusted issuer tried for one token without a `kid`, or with a `kid` that several keys share. Each
/// costs a verification, and a token must not choose how many there are.
const FOREIGN_KEYS_TRIED_MAX: usize = 16;

/// Header and payload of a compact JWS: the signed part.
fn signed_part(token: &str) -> &str {
    token.rsplit_once('.').map_or(token, |(signed, _)| signed)
}

fn verify(unverified: &UnverifiedJws<'_>, keys: &Arc<PublicJwkSet>) -> Option<VerifiedJws> {
    keys.keys()
        .iter()
        .filter(|key| unverified.may_be_signed_by(key))
        .take(FOREIGN_KEYS_TRIED_MAX)
        .find_map(|key| unverified.verify(key).ok())
}

/// RFC 8725 §3.11: another kind of JWT of the same issuer is rejected.
fn check_type(trusted: &TrustedIssuer, unverified: &UnverifiedJws<'_>) -> Result<(), String> {
    let header = unverified.unverified_header();
    let types = &trusted.definition.types;
    let is_taken = match &header.typ {
        None => types.iter().any(String::is_empty),
        Some(_) => types
            .iter()
            .any(|taken| !taken.is_empty() && header.is_type(taken)),
    };
    if is_taken {
        return Ok(());
    }
    let names: Vec<&str> = types
        .iter()
        .map(|taken| if taken.is_empty() { "none" } else { taken })
        .collect();
    Err(format!(
        "`typ` must be {} for tokens of the trusted issuer `{}`",
        names.join(" or "),
        trusted.name
    ))
}

/// Checks audience, times, lifetime and required claims. Returns `exp`.
fn check_bounds(
    trusted: &TrustedIssuer,
    claims: &Claims,
    now: UnixTime,
) -> Result<UnixTime, String> {
    let definition = &trusted.definition;
    let expected = definition.audience.as_str();
    let is_for_us = match &claims.audience {
        Some(Audience::One(audience)) => audience == expected,
        // Kubernetes always writes an array. Any other audience in it could present the token here.
        Some(Audience::Many(audiences)) => audiences.iter().all(|audience| audience == expected),
        None => false,
    };
    if !is_for_us {
        return Err(format!("`aud` must be {expected} alone"));
    }
    let expires_at = claims
        .check_times(now, SKEW_SECONDS)
        .map_err(|error| error.to_string())?;
    let made_at = claims.issued_at.unwrap_or(now);
    if expires_at.since(made_at) > definition.max_lifetime {
        return Err(format!(
            "the token's lifetime exceeds the {} seconds that the trusted issuer `{}` is allowed",
            definition.max_lifetime, trusted.name
        ));
    }
    if !has_claims(&claims.other, &definition.required_claims) {
        let names: Vec<&str> = definition
            .required_claims
            .iter()
            .filter(|(name, value)| {
                claims.other.get(*name).and_then(|claim| claim.as_str()) != Some(value.as_str())
            })
            .map(|(name, _)| name.as_str())
            .collect();
        return Err(format!(
            "the token does not have the claims that are required of the trusted issuer `{}`: {}",
            trusted.name,
            names.join(", ")
        ));
    }
    Ok(expires_at)
}

fn subject(trusted: &TrustedIssuer, claims: &Claims) -> Result<String, String> {
    let name = trusted.definition.subject_claim.as_str();
    let value = if name == "sub" {
        claims.subject.as_deref()
    } else {
        claims.other.get(name).and_then(|value| value.as_str())
    };
    match value {
        Some(subject) if !subject.is_empty() && !subject.contains('\0') => Ok(subject.to_owned()),
        Some(_) | None => Err(format!("`{name}` is required, as a string")),
    }
}

fn spends(
    trusted: &TrustedIssuer,
    claims: &Claims,
    expires_at: UnixTime,
) -> Result<Option<SpentAssertion>, String> {
    match trusted.definition.jti {
        JtiPolicy::Reusable => Ok(None),
        JtiPolicy::SingleUse => {
            let jti = single_use::jti(claims).ok_or_else(|| {
                format!(
                    "`jti` is required, with 1 to {JTI_MAX_BYTES} bytes: each token of the trusted issuer `{}` is accepted once",
                    trusted.name
                )
            })?;
            let principal = ["trusted_issuer", trusted.id.as_str()];
            Ok(Some(SpentAssertion::of(principal, jti, expires_at)))
        }
    }
}

/// RFC 7523 §3 item 6: a token that may have been used before a restore is rejected.
fn check_not_from_before_restore(
    trusted: &TrustedIssuer,
    claims: &Claims,
    restored_at: UnixTime,
    now: UnixTime,
) -> Result<(), String> {
    let longest_life = trusted.definition.max_lifetime;
    if single_use::may_predate_restore(claims, restored_at, longest_life, now) {
        return Err(format!(
            "`iat` is required and must be later than {restored_at}, when this issuer was restored from a backup; get a new token"
        ));
    }
    Ok(())
}
