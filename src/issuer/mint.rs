//! Turns an [`Authorization`] into signed tokens. Only the ledger releases them, after their audit entries are
//! durable.

use std::fmt;

use serde_json::json;

use crate::domain::audit::{AuditDraft, AuditEvent, TokenDetail};
use crate::domain::claims::{TOKEN_MAX_BYTES, TokenClaims, is_reserved_claim};
use crate::jose::algorithm::SigningAlgorithm;
use crate::jose::digest::base64url;
use crate::jose::key::SigningKey;
use crate::ports::random::{Random, random_bytes};
use crate::ports::time::{UnixMillis, UnixTime};

use super::authorize::token_exchange::TokenType;
use super::authorize::{Authorization, Target};
use super::token_claims::access_token_claims;
use super::{Caller, Issuer};

/// Bytes of a `jti` before base64url.
const TOKEN_ID_BYTES: usize = 22;

/// Why minting failed.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// No active key for the required algorithm.
    #[error("no {0} signing key is active")]
    NoKey(SigningAlgorithm),
    /// Signing failed.
    #[error("the token could not be signed")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The finished claims do not match the authorization: a server-side fault. The token is not released.
    #[error("the claims failed their own check: {0}")]
    SelfCheck(&'static str),
    /// Groups, roles and attributes make the token longer than [`TOKEN_MAX_BYTES`].
    #[error(
        "the token would have {0} bytes, more than {TOKEN_MAX_BYTES}; request fewer scopes, or give the agent fewer groups, roles or attributes"
    )]
    TooLong(usize),
}

/// Tokens that are signed and not yet recorded. Only this module and the ledger can read them.
pub struct Minted {
    pub(super) authorization: Authorization,
    pub(super) token_id: String,
    pub(super) issued_at: UnixTime,
    pub(super) drafts: Vec<AuditDraft>,
    pub(super) issued: IssuedToken,
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted")
            .field("token_id", &self.token_id)
            .finish_non_exhaustive()
    }
}

/// Recorded tokens, to be returned to the client (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3).
pub struct IssuedToken {
    /// The access token.
    pub access_token: String,
    /// The ID token, if `openid` was requested.
    pub id_token: Option<String>,
    /// Lifetime in seconds.
    pub expires_in: i64,
    /// Granted scopes, space-separated.
    pub scope: String,
    /// The type of the token, in response to a token exchange (RFC 8693 §2.2.1).
    pub issued_token_type: Option<TokenType>,
    /// True when the access token is bound to a key (RFC 9449 §5).
    pub is_bound: bool,
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken")
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

impl Issuer {
    /// Signs an authorization.
    ///
    /// # Errors
    /// When no key is active, or the finished token fails its checks.
    pub fn mint(
        &self,
        authorization: Authorization,
        caller: &Caller,
        now: UnixMillis,
    ) -> Result<Minted, MintError> {
        let policy = self.registry.policy();
        let algorithm = authorization.target().algorithm;
        let key = policy
            .keyring
            .active(algorithm)
            .ok_or(MintError::NoKey(algorithm))?;
        let random = &*self.ports.random;
        let claims = access_token_claims(
            &self.url,
            &authorization,
            &policy,
            token_id(now, random),
            now,
        );
        let access_token = sign(
            key,
            authorization.target().typ.as_str(),
            &claims,
            &authorization,
        )?;
        let entry = Entry {
            authorization: &authorization,
            kid: key.kid(),
            caller,
            now,
        };
        let issued_token_type = authorization
            .delegated()
            .map(|delegated| delegated.token_type);
        let event = match issued_token_type {
            Some(TokenType::IdToken) => AuditEvent::IdTokenIssued,
            Some(TokenType::AccessToken | TokenType::Jwt) | None => AuditEvent::TokenIssued,
        };
        let mut drafts = vec![entry.draft(event, &claims)];
        let id_token = if authorization.with_id_token() {
            let id_claims = TokenClaims {
                audience: claims.client_id.clone(),
                token_id: token_id(now, random),
                scope: String::new(),
                bound_to: None,
                ..claims.clone()
            };
            drafts.push(entry.draft(AuditEvent::IdTokenIssued, &id_claims));
            Some(sign(key, "JWT", &id_claims, &authorization)?)
        } else {
            None
        };
        let issued = IssuedToken {
            access_token,
            id_token,
            expires_in: authorization.lifetime(),
            scope: claims.scope,
            issued_token_type,
            is_bound: claims.bound_to.is_some(),
        };
        Ok(Minted {
            token_id: claims.token_id,
            issued_at: claims.issued_at,
            drafts,
            issued,
            authorization,
        })
    }
}

/// Whether a token with these claims would be short enough, without signing it; for `explain`.
///
/// # Errors
/// [`MintError::TooLong`], as from [`Issuer::mint`].
pub fn check_length(claims: &TokenClaims, target: &Target, now: UnixTime) -> Result<(), MintError> {
    let claims = TokenClaims {
        expires_at: now,
        issued_at: now,
        token_id: base64url(&[0; TOKEN_ID_BYTES]),
        ..claims.clone()
    };
    // A `kid` is an RFC 7638 thumbprint, which has the length of any SHA-256.
    let kid = base64url(&[0; 32]);
    let header = json!({ "alg": target.algorithm, "kid": kid, "typ": target.typ });
    let payload = serde_json::to_vec(&claims).map_err(|error| MintError::Sign(Box::new(error)))?;
    let parts = [
        header.to_string().len(),
        payload.len(),
        signature_bytes(target.algorithm),
    ];
    let encoded = parts.map(|bytes| (bytes * 4).div_ceil(3));
    let length = encoded.iter().sum::<usize>() + 2;
    if length > TOKEN_MAX_BYTES {
        Err(MintError::TooLong(length))
    } else {
        Ok(())
    }
}

/// RFC 7518 §3.3 to §3.5 with 2048-bit keys, RFC 8037 §3.1.
fn signature_bytes(algorithm: SigningAlgorithm) -> usize {
    match algorithm {
        SigningAlgorithm::Es256 | SigningAlgorithm::EdDsa => 64,
        SigningAlgorithm::Es384 => 96,
        SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256 => 256,
    }
}

/// base64url of 6 bytes of time and 16 random bytes: unique per mint, 128 bits that cannot be guessed, and ordered
/// by time, so that an index on it stays efficient.
pub(super) fn token_id(now: UnixMillis, random: &dyn Random) -> String {
    let mut bytes = [0; TOKEN_ID_BYTES];
    bytes[..6].copy_from_slice(&now.0.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&random_bytes::<16>(random));
    base64url(&bytes)
}

fn sign(
    key: &SigningKey,
    typ: &str,
    claims: &TokenClaims,
    authorization: &Authorization,
) -> Result<String, MintError> {
    self_check(claims, authorization)?;
    let payload = serde_json::to_vec(claims).map_err(|error| MintError::Sign(Box::new(error)))?;
    let token = key
        .sign_compact(typ, &payload)
        .map_err(|error| MintError::Sign(Box::new(error)))?;
    if token.len() > TOKEN_MAX_BYTES {
        Err(MintError::TooLong(token.len()))
    } else {
        Ok(token)
    }
}

/// Checks the finished claims against their authorization, so that an error in building claims cannot change their
/// subject.
fn self_check(claims: &TokenClaims, authorization: &Authorization) -> Result<(), MintError> {
    let presenter = authorization.agent().subject.as_str();
    let newest = claims.actors.actors().first();
    let is_id_token = claims.audience == claims.client_id;
    let key = authorization.jkt().filter(|_| !is_id_token);
    let fault = if claims.subject != authorization.subject() || claims.acting_agent != presenter {
        "`sub` is not the token's subject, or `acting_agent` is not the authenticated agent"
    } else if authorization.delegated().is_some() != newest.is_some() {
        "`act` without a delegation, or a delegation without `act`"
    } else if claims.origin.is_some() != newest.is_some() {
        "`txn` without `act`, or `act` without `txn`"
    } else if newest
        .is_some_and(|actor| actor.subject != presenter || actor.issuer != claims.issuer)
    {
        "the outermost `act` is not the authenticated agent"
    } else if claims.audience != authorization.target().audience && !is_id_token {
        "`aud` is neither the resource nor the client"
    } else if claims.bound_to.as_deref() != key {
        "`cnf` is not the proven key"
    } else if claims.expires_at.since(claims.issued_at) != authorization.lifetime()
        || authorization.lifetime() <= 0
    {
        "`exp` minus `iat` is not the authorized lifetime"
    } else if claims
        .attributes
        .keys()
        .any(|name| is_reserved_claim(name) && name != "owner")
    {
        "an attribute has a reserved name"
    } else if claims.token_id.is_empty() || claims.issuer.is_empty() {
        "`jti` or `iss` is empty"
    } else {
        return Ok(());
    };
    Err(MintError::SelfCheck(fault))
}

/// The common part of the audit entries of one request.
struct Entry<'e> {
    authorization: &'e Authorization,
    kid: &'e str,
    caller: &'e Caller,
    now: UnixMillis,
}

impl Entry<'_> {
    fn draft(&self, event: AuditEvent, claims: &TokenClaims) -> AuditDraft {
        let authorization = self.authorization;
        let delegated = authorization.delegated();
        let detail = TokenDetail {
            act: delegated.map(|_| json!(claims.actors)),
            aud: claims.audience.as_str().into(),
            credential: authorization.credential().as_str().into(),
            delegation: delegated.map(|delegated| delegated.delegation.as_str().into()),
            exp: claims.expires_at.0,
            external: authorization.external().map(|external| json!(external)),
            grant_type: authorization.grant_type().as_str().into(),
            jkt: claims.bound_to.as_deref().map(Into::into),
            kid: self.kid.into(),
            method: authorization.method().as_str().into(),
            scope: claims.scope.as_str().into(),
            subject_token: delegated.map(|delegated| delegated.parent.line.token_id().into()),
        };
        let actor = format!("agent:{}", claims.client_id);
        AuditDraft {
            target: claims.subject.clone(),
            agent: Some(authorization.agent().id.clone()),
            token_id: Some(claims.token_id.clone()),
            ..self.caller.draft(self.now, event, actor, &detail)
        }
    }
}
