//! A new credential: as requested, and as checked and hashed.

use secrecy::SecretString;
use serde_json::Value;

use crate::api::credential as api;
use crate::domain::credential::CredentialKind;
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::domain::settings::check_expires_in;
use crate::domain::trusted_issuer::TokenMatch;
use crate::domain::{Invalid, text};
use crate::issuer::named::known_name;
use crate::issuer::{Issuer, IssuerError};
use crate::jose::jwk::PublicJwk;
use crate::relying_party::cel::check_condition;

/// Longest `kid` of a public key, in characters; `jose` counts bytes.
const KID_MAX_CHARS: usize = 256;

/// A request for a credential.
#[derive(Debug)]
pub(in crate::issuer) struct NewCredential {
    /// Its kind, with the public part.
    pub(super) kind: NewCredentialKind,
    /// Seconds until it expires; `None`: never.
    pub(super) expires_in: Option<i64>,
}

/// The kind of a requested credential.
#[derive(Debug)]
pub(super) enum NewCredentialKind {
    /// A client secret, generated here.
    ClientSecret,
    /// A public key. The private key stays with the agent.
    PublicKey(UnverifiedKey),
    /// Tokens of a trusted issuer.
    Federated {
        /// The trusted issuer's name.
        trusted_issuer: String,
        /// Which of its tokens match.
        matching: TokenMatch,
    },
}

/// A public key as it was sent.
#[derive(Debug)]
pub enum UnverifiedKey {
    /// As a JSON Web Key.
    Jwk(Value),
    /// As a PEM text.
    Pem(String),
    /// One of these under a `kid` that its owner chose.
    Named(Box<UnverifiedKey>, String),
}

/// A credential that is checked and hashed before the transaction, so that neither happens while the head row is
/// locked.
pub(in crate::issuer) struct PreparedCredential {
    pub(super) kind: PreparedKind,
    pub(super) secret: Option<SecretString>,
    pub(super) expires_in: Option<i64>,
}

/// The kind of a prepared credential.
pub(super) enum PreparedKind {
    Ready(CredentialKind),
    /// The trusted issuer is looked up by its name in the change's transaction.
    Federated {
        trusted_issuer: Name,
        matching: Box<TokenMatch>,
    },
}

impl NewCredential {
    /// Reads a request for a credential.
    ///
    /// # Errors
    /// [`Invalid`] when its members do not fit together.
    pub(in crate::issuer) fn parse(body: api::NewCredential) -> Result<Self, Invalid> {
        let key = UnverifiedKey::parse(body.jwk, body.pem, body.kid)?;
        let federation = (body.trusted_issuer, body.matching);
        let kind = match (body.kind.as_str(), key, federation) {
            ("client_secret", None, (None, None)) => NewCredentialKind::ClientSecret,
            ("client_secret", _, _) => {
                return Err(Invalid::new(
                    "kind",
                    "is `client_secret`, which the issuer makes: leave out `jwk`, `pem`, `trusted_issuer` and `match`",
                ));
            }
            ("public_key", Some(key), (None, None)) => NewCredentialKind::PublicKey(key),
            ("public_key", Some(_), _) => {
                return Err(Invalid::new(
                    "kind",
                    "is `public_key`: leave out `trusted_issuer` and `match`",
                ));
            }
            ("public_key", None, _) => {
                return Err(Invalid::new(
                    "jwk",
                    "is missing: a `public_key` credential requires the public key as `jwk` or `pem`",
                ));
            }
            ("federated", None, (Some(trusted_issuer), Some(matching))) => {
                NewCredentialKind::Federated {
                    trusted_issuer,
                    matching: matching.into(),
                }
            }
            ("federated", _, _) => {
                return Err(Invalid::new(
                    "kind",
                    "is `federated`, which requires `trusted_issuer` and `match`: leave out `jwk` and `pem`",
                ));
            }
            (_, _, _) => {
                return Err(Invalid::new(
                    "kind",
                    "must be `client_secret`, `public_key` or `federated`",
                ));
            }
        };
        Ok(Self {
            kind,
            expires_in: body.expires_in,
        })
    }
}

impl UnverifiedKey {
    /// Reads a key in one of two forms, with its name.
    ///
    /// # Errors
    /// [`Invalid`] for a name without a key, or two keys.
    pub fn parse(
        jwk: Option<Value>,
        pem: Option<String>,
        kid: Option<String>,
    ) -> Result<Option<Self>, Invalid> {
        let key = match (jwk, pem) {
            (None, None) if kid.is_some() => {
                return Err(Invalid::new(
                    "kid",
                    "is the name of a public key; send `jwk` or `pem` with it",
                ));
            }
            (None, None) => return Ok(None),
            (Some(jwk), None) => Self::Jwk(jwk),
            (None, Some(pem)) => Self::Pem(pem),
            (Some(_), Some(_)) => {
                return Err(Invalid::new(
                    "pem",
                    "was sent together with `jwk`; send the key in one form",
                ));
            }
        };
        Ok(Some(match kid {
            Some(kid) => Self::Named(Box::new(key), kid),
            None => key,
        }))
    }
}

impl Issuer {
    pub(in crate::issuer) fn prepare_credential(
        &self,
        new: NewCredential,
    ) -> Result<PreparedCredential, IssuerError> {
        let expires_in = new.expires_in.map(check_expires_in).transpose()?;
        let (kind, secret) = match new.kind {
            NewCredentialKind::ClientSecret => {
                let made = self
                    .secrets
                    .issue(&*self.ports.random)
                    .map_err(|error| IssuerError::Unavailable(Box::new(error)))?;
                (
                    PreparedKind::Ready(CredentialKind::ClientSecret { hash: made.hash }),
                    Some(made.plaintext),
                )
            }
            NewCredentialKind::PublicKey(key) => {
                let jwk = Box::new(public_jwk(key)?);
                (PreparedKind::Ready(CredentialKind::PublicKey { jwk }), None)
            }
            NewCredentialKind::Federated {
                trusted_issuer,
                matching,
            } => (prepare_match(&trusted_issuer, matching)?, None),
        };
        Ok(PreparedCredential {
            kind,
            secret,
            expires_in,
        })
    }
}

/// Checks a match and compiles its condition.
fn prepare_match(trusted_issuer: &str, matching: TokenMatch) -> Result<PreparedKind, IssuerError> {
    let trusted_issuer = known_name("trusted issuer", trusted_issuer)?;
    matching.check()?;
    matching
        .condition
        .as_deref()
        .map_or(Ok(()), check_condition)?;
    Ok(PreparedKind::Federated {
        trusted_issuer,
        matching: Box::new(matching),
    })
}

fn public_jwk(key: UnverifiedKey) -> Result<PublicJwk, Invalid> {
    let (jwk, field) = match key {
        UnverifiedKey::Jwk(value) => (PublicJwk::from_value(&value), "jwk"),
        UnverifiedKey::Pem(text) => (PublicJwk::from_pem(&text), "pem"),
        UnverifiedKey::Named(key, kid) => (public_jwk(*key)?.with_kid(&kid), "kid"),
    };
    let jwk = jwk.map_err(|error| {
        let invalid = Invalid::new(field, error.to_string());
        match error.hint() {
            Some(hint) => invalid.with_remedy(Remedy::action(hint)),
            None => invalid,
        }
    })?;
    // `jose` accepts any printable `kid`; like every text that is displayed, it must be a single line of limited
    // length.
    if let Some(kid) = jwk.kid() {
        text::line(field, kid, KID_MAX_CHARS)
            .map_err(|invalid| Invalid::new(field, format!("`kid` {}", invalid.problem)))?;
    }
    Ok(jwk)
}
