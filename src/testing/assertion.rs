//! Client assertions, valid ones and every kind of invalid one.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};

use super::keys::TestKey;

/// Makes a client assertion (RFC 7523 §3).
#[derive(Clone, Debug)]
pub struct AssertionBuilder {
    key: TestKey,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

static NUMBER: AtomicU64 = AtomicU64::new(1);

impl AssertionBuilder {
    pub(super) fn new(key: TestKey, client_id: &str, issuer: &str, now: i64) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let signing_key = key.signing_key();
        let header = [
            ("alg", json!(signing_key.algorithm())),
            ("kid", json!(signing_key.kid())),
        ];
        let claims = [
            ("iss", json!(client_id)),
            ("sub", json!(client_id)),
            ("aud", json!(issuer)),
            ("iat", json!(now)),
            ("exp", json!(now + 60)),
            ("jti", json!(format!("jti-{number}"))),
        ];
        let object = |pairs: &[(&str, Value)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect()
        };
        Self {
            key,
            header: object(&header),
            claims: object(&claims),
        }
    }

    /// Sets a claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a claim.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets a header member.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a header member.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Signs with a key that is not the agent's.
    #[must_use]
    pub fn signed_by(mut self, key: TestKey) -> Self {
        self.key = key;
        self
    }

    /// The compact JWS.
    ///
    /// # Panics
    /// When the key does not sign.
    #[must_use]
    pub fn build(&self) -> String {
        self.build_from(
            &Value::from(self.header.clone()).to_string(),
            &Value::from(self.claims.clone()).to_string(),
        )
    }

    /// The compact JWS over exactly these texts, for JSON that a library would not write.
    ///
    /// # Panics
    /// When the key does not sign.
    #[must_use]
    pub fn build_from(&self, header: &str, claims: &str) -> String {
        self.key
            .signing_key()
            .sign_parts(header.as_bytes(), claims.as_bytes())
            .expect("a signature")
    }

    /// The header as text.
    #[must_use]
    pub fn header_text(&self) -> String {
        Value::from(self.header.clone()).to_string()
    }

    /// The claims as text.
    #[must_use]
    pub fn claims_text(&self) -> String {
        Value::from(self.claims.clone()).to_string()
    }
}
