//! Credentials.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::domain::trusted_issuer as domain;

/// The status of a credential whose row cannot be read.
pub const DAMAGED: &str = "damaged";

/// A credential, without the secret or its hash.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Credential {
    pub id: String,
    /// `client_secret`, `public_key` or `federated`.
    pub kind: String,
    /// The `kid` of a public key, for the header of assertions.
    pub kid: Option<String>,
    /// The public key as a JSON Web Key.
    pub jwk: Option<Value>,
    /// RFC 7638 thumbprint of the public key.
    pub thumbprint: Option<String>,
    /// For `federated`: the name of the trusted issuer, while it is trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub trusted_issuer: Option<String>,
    /// For `federated`: which tokens of the trusted issuer authenticate the agent.
    #[serde(
        default,
        rename = "match",
        deserialize_with = "known_members",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    pub matching: Option<TokenMatch>,
    pub not_before: i64,
    pub expires_at: Option<i64>,
    pub revoked_at: Option<i64>,
    /// `live`, `pending`, `expired` or `revoked`; in the list over all agents also `damaged`: the log says why.
    pub status: String,
    pub created_at: i64,
}

/// Which tokens of a trusted issuer match: those that meet every condition here.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenMatch {
    /// The exact subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 512)]
    pub subject: Option<String>,
    /// The prefix of the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 512)]
    pub subject_prefix: Option<String>,
    /// Top-level string claims with their exact values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
    /// A CEL condition over `claims`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 4096)]
    pub condition: Option<String>,
}

impl From<domain::TokenMatch> for TokenMatch {
    fn from(matching: domain::TokenMatch) -> Self {
        let domain::TokenMatch {
            subject,
            subject_prefix,
            claims,
            condition,
        } = matching;
        Self {
            subject,
            subject_prefix,
            claims,
            condition,
        }
    }
}

impl From<TokenMatch> for domain::TokenMatch {
    fn from(body: TokenMatch) -> Self {
        let TokenMatch {
            subject,
            subject_prefix,
            claims,
            condition,
        } = body;
        Self {
            subject,
            subject_prefix,
            claims,
            condition,
        }
    }
}

/// Accepts further members from a newer server: [`TokenMatch`] itself is strict because requests contain it too.
fn known_members<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<TokenMatch>, D::Error> {
    let mut members = Map::<String, Value>::deserialize(deserializer)?;
    members.retain(|name, _| {
        ["subject", "subject_prefix", "claims", "condition"].contains(&name.as_str())
    });
    TokenMatch::deserialize(Value::Object(members))
        .map(Some)
        .map_err(D::Error::custom)
}

/// A request for a credential.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCredential {
    /// `client_secret`, `public_key` or `federated`.
    #[schema(pattern = "^(client_secret|public_key|federated)$")]
    pub kind: String,
    /// The public key as a JSON Web Key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub jwk: Option<Value>,
    /// The public key as PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
    /// The `kid` that the client uses, unique among the agent's keys; omitted: that of the JWK, otherwise the RFC
    /// 7638 thumbprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub kid: Option<String>,
    /// For `federated`: the name of the trusted issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_issuer: Option<String>,
    /// For `federated`: which tokens of the trusted issuer authenticate the agent.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<TokenMatch>,
    /// Seconds until it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 315_360_000)]
    pub expires_in: Option<i64>,
}

impl NewCredential {
    /// A client secret, generated by the issuer.
    #[must_use]
    pub fn client_secret() -> Self {
        Self {
            kind: "client_secret".to_owned(),
            ..Self::default()
        }
    }

    /// A public key, as a JSON Web Key.
    #[must_use]
    pub fn public_key(jwk: Value) -> Self {
        Self {
            kind: "public_key".to_owned(),
            jwk: Some(jwk),
            ..Self::default()
        }
    }
}

/// A request to replace a credential.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialRotation {
    /// Seconds for which the old one stays valid, 86400 by default; 0: it expires at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 315_360_000)]
    pub overlap: Option<i64>,
    /// The new public key as a JSON Web Key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub jwk: Option<Value>,
    /// The new public key as PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
    /// The `kid` of the new public key; it must differ from the old one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub kid: Option<String>,
    /// Seconds until the new one expires; omitted: never, whatever the old one's expiry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 315_360_000)]
    pub expires_in: Option<i64>,
}

/// A new credential.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct AddedCredential {
    pub credential: Credential,
    /// The credential it replaces, in a rotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub replaced: Option<Credential>,
    pub client_id: String,
    /// The client secret, shown only once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub client_secret: Option<String>,
}

/// A credential with its agent.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AgentCredential {
    /// The agent's name.
    pub agent: String,
    #[serde(flatten)]
    pub credential: Credential,
}
