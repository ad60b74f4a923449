//! The claims of the tokens issued here (RFC 9068 §2.2, RFC 7519 §4.1).

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::ports::time::UnixTime;

use super::actor::ActorChain;
use super::id::DelegationId;

/// Longest token that is minted, in bytes: proxies drop longer headers; Claude accepts twice as much.
pub const TOKEN_MAX_BYTES: usize = 8 * 1024;

/// Claim names that an attribute or a claim source may not set: those that the issuer writes, and those that
/// relying parties interpret as the issuer's assertion.
pub const RESERVED_CLAIMS: [&str; 40] = [
    "acr",
    "act",
    "acting_agent",
    "amr",
    "at_hash",
    "aud",
    "auth_time",
    "authorization_details",
    "azp",
    "c_hash",
    "client_id",
    "client_profile",
    "cnf",
    "delegations",
    "email",
    "email_verified",
    "entitlements",
    "events",
    "exp",
    "groups",
    "iat",
    "iss",
    "issuer",
    "jti",
    "may_act",
    "name",
    "nbf",
    "nonce",
    "owner",
    "parents",
    "preferred_username",
    "roles",
    "scope",
    "scp",
    "sid",
    "sub",
    "sub_id",
    "sub_profile",
    "txn",
    "typ",
];

/// True when only the issuer may set this claim.
#[must_use]
pub fn is_reserved_claim(name: &str) -> bool {
    RESERVED_CLAIMS.contains(&name)
}

/// The claims of an access token or an ID token, in the order in which they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenClaims {
    /// `iss`: the issuer URL, byte for byte.
    pub issuer: String,
    /// `sub`: the subject.
    pub subject: String,
    /// `aud`: exactly one audience.
    pub audience: String,
    /// `exp`.
    pub expires_at: UnixTime,
    /// `iat` and `nbf`.
    pub issued_at: UnixTime,
    /// `jti`: unique per mint.
    pub token_id: String,
    /// `client_id`: the agent's name.
    pub client_id: String,
    /// `scope`: granted scopes, space-separated; omitted when empty.
    pub scope: String,
    /// `groups`: names, sorted.
    pub groups: Vec<String>,
    /// `roles`: names, sorted.
    pub roles: Vec<String>,
    /// `owner` and the agent's attributes, each a top-level string.
    pub attributes: BTreeMap<String, String>,
    /// `sub_profile`: the kind of subject.
    pub subject_profile: String,
    /// `acting_agent`: always the subject of the agent that requested the token.
    pub acting_agent: String,
    /// `cnf.jkt`: the thumbprint of the key that the token is bound to; `None`: a bearer token (RFC 9449 §6).
    pub bound_to: Option<String>,
    /// `act`: the actors; omitted for a subject that acts for itself (RFC 8693 §4.1).
    pub actors: ActorChain,
    /// The origin of a delegated token; `None` for any other token.
    pub origin: Option<Origin>,
}

/// The origin of a delegated token, which a verifier that works offline compares with the revocation list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// `txn`: the `jti` of the root, or the name of an external token (RFC 8417 §2.2).
    pub root_id: String,
    /// `parents`: the `jti` of each token between the root and this one, newest first; omitted when empty.
    pub parents: Vec<String>,
    /// `delegations`: the ids of the delegations that this token and those were made under, newest first.
    pub delegations: Vec<DelegationId>,
}

/// `cnf` (RFC 7800 §3.1).
#[derive(Serialize)]
struct Confirmation<'c> {
    jkt: &'c str,
}

/// The `sub_profile` of an agent.
pub const AI_AGENT: &str = "ai_agent";
/// The `sub_profile` of a trusted issuer's user.
pub const USER: &str = "user";

impl Serialize for TokenClaims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("iss", &self.issuer)?;
        map.serialize_entry("sub", &self.subject)?;
        map.serialize_entry("aud", &self.audience)?;
        map.serialize_entry("exp", &self.expires_at.0)?;
        map.serialize_entry("iat", &self.issued_at.0)?;
        map.serialize_entry("nbf", &self.issued_at.0)?;
        map.serialize_entry("jti", &self.token_id)?;
        map.serialize_entry("client_id", &self.client_id)?;
        if !self.scope.is_empty() {
            map.serialize_entry("scope", &self.scope)?;
        }
        map.serialize_entry("groups", &self.groups)?;
        map.serialize_entry("roles", &self.roles)?;
        for (name, value) in &self.attributes {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("sub_profile", &self.subject_profile)?;
        map.serialize_entry("acting_agent", &self.acting_agent)?;
        if let Some(jkt) = &self.bound_to {
            map.serialize_entry("cnf", &Confirmation { jkt })?;
        }
        if !self.actors.is_empty() {
            map.serialize_entry("act", &self.actors)?;
        }
        if let Some(origin) = &self.origin {
            map.serialize_entry("txn", &origin.root_id)?;
            if !origin.parents.is_empty() {
                map.serialize_entry("parents", &origin.parents)?;
            }
            map.serialize_entry("delegations", &origin.delegations)?;
        }
        map.end()
    }
}
