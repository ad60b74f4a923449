//! `firman token inspect`: the content of a token. Anyone can write a token with any content, so the answer begins
//! with a warning on stderr.

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::super::error::CliError;
use super::super::session::Session;
use super::expose;
use crate::jose::digest::decode_base64url;
use crate::jose::json::parse_object;

pub(super) fn run(token: &SecretString, session: &mut Session<'_>) -> Result<(), CliError> {
    let (header, claims) = decode(expose(token))?;
    session.printer.warn(
        "NOT VERIFIED: anyone can write a token with this content. To check it, use `firman token verify`.",
    );
    super::print(&header, &claims, false, session)
}

/// The members of a JSON object.
pub(in crate::cli) type Members = Map<String, Value>;

/// Header and payload, whatever the header requires: people look at tokens here that were rejected elsewhere.
pub(in crate::cli) fn decode(token: &str) -> Result<(Members, Members), CliError> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, _signature] = parts.as_slice() else {
        let problem = match parts.len() {
            5 => "has five parts: it is encrypted (JWE), and only its recipient can read it",
            _ => "is not a JWT: a JWT has three parts joined by dots",
        };
        return Err(CliError::failed("token", format!("this {problem}")));
    };
    let part = |name: &str, text: &str| {
        let bytes = decode_base64url(text).map_err(|problem| {
            CliError::failed("token", format!("the {name} of the token is {problem}"))
        })?;
        parse_object(&bytes).map_err(|problem| {
            CliError::failed("token", format!("the {name} of the token {problem}"))
        })
    };
    Ok((part("header", header)?, part("payload", payload)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_not_a_token_is_refused_with_the_reason() {
        let cases = [
            (
                "",
                "error: this is not a JWT: a JWT has three parts joined by dots",
            ),
            (
                "a.b",
                "error: this is not a JWT: a JWT has three parts joined by dots",
            ),
            (
                "a.b.c.d.e",
                "error: this has five parts: it is encrypted (JWE), and only its recipient can read it",
            ),
            (
                "e30=.e30.",
                "error: the header of the token is not base64url: only A-Z a-z 0-9 - _ are allowed, without padding or white space",
            ),
            (
                "e30.W10.",
                "error: the payload of the token is not a JSON object",
            ),
        ];
        for (token, expected) in cases {
            assert_eq!(decode(token).unwrap_err().text().unwrap(), expected);
        }
    }

    #[test]
    fn a_token_without_a_signature_is_still_shown() {
        let (header, claims) = decode("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.").unwrap();
        assert_eq!(header["alg"], "none");
        assert_eq!(claims["sub"], "a");
    }
}
