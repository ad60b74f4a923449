//! `client_secret_basic` and `client_secret_post` (RFC 6749 §2.3.1).

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;

use crate::issuer::authenticate::{ClientAuthMethod, PresentedCredential};
use crate::oauth::error::OAuthError;
use crate::oauth::form::{Form, decode};

/// A secret in the Authorization header: both halves form-encoded, then base64 (RFC 6749 §2.3.1).
pub(super) fn from_basic(
    headers: &HeaderMap,
    form: &Form,
) -> Result<PresentedCredential, OAuthError> {
    let malformed = |fault: &'static str| {
        OAuthError::invalid_client()
            .because(fault)
            .challenging(true)
    };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(OAuthError::invalid_request(
            "more than one `Authorization` header",
        ));
    };
    let (scheme, encoded) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(|| malformed("the `Authorization` header is not a scheme and a value"))?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return Err(malformed(
            "the scheme of the `Authorization` header is not `Basic`",
        ));
    }
    let pair = STANDARD
        .decode(encoded.trim())
        .map_err(|_| malformed("the value of the `Authorization` header is not base64"))?;
    let colon = pair.iter().position(|&b| b == b':').ok_or_else(|| {
        malformed("the value of the `Authorization` header has no colon after the client id")
    })?;
    let (client_id, secret) = (&pair[..colon], &pair[colon + 1..]);
    let (Some(client_id), Some(secret)) = (decode(client_id), decode(secret)) else {
        return Err(malformed(
            "client id and secret of the `Authorization` header are not form-encoded UTF-8",
        ));
    };
    if form
        .get("client_id")
        .is_some_and(|named| named != client_id)
    {
        return Err(OAuthError::invalid_request(
            "`client_id` is not the client of the `Authorization` header",
        ));
    }
    Ok(PresentedCredential::Secret {
        method: ClientAuthMethod::ClientSecretBasic,
        unverified_client_id: client_id,
        unverified_secret: SecretString::from(secret),
    })
}

/// A secret in the form.
pub(super) fn from_form(form: &Form) -> Result<PresentedCredential, OAuthError> {
    match (form.get("client_id"), form.get("client_secret")) {
        (Some(client_id), Some(secret)) => Ok(PresentedCredential::Secret {
            method: ClientAuthMethod::ClientSecretPost,
            unverified_client_id: client_id.to_owned(),
            unverified_secret: SecretString::from(secret),
        }),
        _ => Err(OAuthError::invalid_request(
            "`client_secret` requires `client_id`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use secrecy::ExposeSecret as _;

    use super::*;

    fn basic(value: &str) -> Result<PresentedCredential, OAuthError> {
        let headers =
            HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())]);
        from_basic(&headers, &Form::default())
    }

    #[test]
    fn te_017_a_secret_with_colon_plus_percent_space_and_umlaut_arrives_whole() {
        let value = format!(
            "Basic {}",
            STANDARD.encode("mail%65r:a%3Ab%2Bc%25d+e%C3%A9:f")
        );
        let Ok(PresentedCredential::Secret {
            unverified_client_id,
            unverified_secret,
            ..
        }) = basic(&value)
        else {
            panic!("refused")
        };
        assert_eq!(unverified_client_id, "mailer");
        assert_eq!(unverified_secret.expose_secret(), "a:b+c%d eé:f");
    }

    #[test]
    fn te_018_a_broken_basic_value_is_refused() {
        for bad in [
            "Basic",
            "Basic ",
            "Basic *",
            "Bearer x",
            "Basic bm9jb2xvbg==",
        ] {
            assert!(basic(bad).is_err(), "{bad}");
        }
        for pair in [&b"a:%zz"[..], b"a:\xff", b"%ff:b"] {
            assert!(
                basic(&format!("Basic {}", STANDARD.encode(pair))).is_err(),
                "{pair:?}"
            );
        }
    }
}
