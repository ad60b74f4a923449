//! The `typ` header of an access token (RFC 7515 §4.1.9).

use serde::Serialize;

/// The `typ` of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum TokenTyp {
    /// An access token of the JWT profile (RFC 9068 §2.1): a verifier can distinguish it from an ID token.
    #[serde(rename = "at+jwt")]
    AccessToken,
    /// A JWT, for verifiers that reject any other `typ`.
    #[serde(rename = "JWT")]
    Jwt,
}

impl TokenTyp {
    /// All values.
    pub const ALL: [Self; 2] = [Self::AccessToken, Self::Jwt];

    /// The value on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "at+jwt",
            Self::Jwt => "JWT",
        }
    }

    /// The value with that text, byte for byte.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|typ| typ.as_str() == text)
    }
}
