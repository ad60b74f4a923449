//! Answers of the listeners, for tests.

use std::fmt;

use serde_json::{Value, json};

/// An answer of one of the listeners.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; JSON null when it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header field as text; empty when it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The access token.
    ///
    /// # Panics
    /// When none was issued.
    #[must_use]
    pub fn assert_issued(&self) -> String {
        assert_eq!(self.status, 200, "{self}");
        self.json()["access_token"]
            .as_str()
            .expect("an access token")
            .to_owned()
    }

    /// The claims of the access token, not verified.
    ///
    /// # Panics
    /// When none was issued.
    #[must_use]
    pub fn claims(&self) -> Value {
        decoded_part(&self.assert_issued(), 1)
    }
}

impl fmt::Display for Answer {
    /// Status and body, for comparison in tests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.text())
    }
}

/// A part of a compact JWS (0: header, 1: payload) as JSON, not verified.
///
/// # Panics
/// When it is not a compact JWS with JSON in that part.
#[must_use]
pub fn decoded_part(token: &str, part: usize) -> Value {
    let text = token.split('.').nth(part).expect("a compact JWS");
    let bytes = crate::jose::digest::decode_base64url(text).expect("base64url");
    serde_json::from_slice(&bytes).unwrap_or(json!(null))
}
