//! The members of a JWK (RFC 7517 §4), read one by one.

use serde_json::{Map, Value};

use super::algorithm::SigningAlgorithm;
use super::digest::decode_base64url;
use super::jwk_error::{JwkError, MAX_KEY_ID_BYTES};

/// The members that only a private or symmetric key has (RFC 7518 §6.2.2, §6.3.2, §6.4).
pub(super) const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The members of a JWK that state its use.
#[derive(Debug, Default)]
pub(super) struct KeyMeta {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Option<SigningAlgorithm>,
}

impl KeyMeta {
    pub(super) fn of(members: &Map<String, Value>) -> Result<Self, JwkError> {
        Ok(Self {
            kid: signature_kid(members)?,
            algorithm: optional_string(members, "alg")?
                .map(|name| SigningAlgorithm::parse(name).ok_or(JwkError::Algorithm))
                .transpose()?,
        })
    }
}

/// The `kty` of a key that is public and contains no secret.
pub(super) fn public_kty(members: &Map<String, Value>) -> Result<&str, JwkError> {
    let kty = required_string(members, "kty")?;
    if kty == "oct" {
        return Err(JwkError::Symmetric);
    }
    match PRIVATE_MEMBERS
        .into_iter()
        .find(|&member| members.contains_key(member))
    {
        Some(member) => Err(JwkError::Private(member)),
        None => Ok(kty),
    }
}

/// The `kid` of a signature key.
pub(super) fn signature_kid(members: &Map<String, Value>) -> Result<Option<String>, JwkError> {
    match members.get("use") {
        None => {}
        Some(Value::String(usage)) if usage == "sig" => {}
        Some(_) => return Err(JwkError::Use),
    }
    match members.get("key_ops") {
        None => {}
        Some(Value::Array(operations)) if operations.as_slice() == ["verify"] => {}
        Some(_) => return Err(JwkError::KeyOps),
    }
    let kid = optional_string(members, "kid")?;
    if kid.is_some_and(|kid| !is_valid_key_id(kid)) {
        return Err(JwkError::KeyId);
    }
    Ok(kid.map(str::to_owned))
}

/// Whether `kid` is short and printable enough to look up, index and log.
pub(super) fn is_valid_key_id(kid: &str) -> bool {
    !kid.is_empty() && kid.len() <= MAX_KEY_ID_BYTES && !kid.chars().any(char::is_control)
}

pub(super) fn required_string<'m>(
    members: &'m Map<String, Value>,
    name: &'static str,
) -> Result<&'m str, JwkError> {
    optional_string(members, name)?.ok_or(JwkError::Missing(name))
}

pub(super) fn optional_string<'m>(
    members: &'m Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'m str>, JwkError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_),
        ) => Err(JwkError::WrongType(name, "a string")),
    }
}

pub(super) fn number(
    members: &Map<String, Value>,
    name: &'static str,
) -> Result<Vec<u8>, JwkError> {
    decode_base64url(required_string(members, name)?)
        .map_err(|error| JwkError::Encoding(name, error))
}
