//! JSON bodies, read strictly: exactly one interpretation (no member twice, bounded depth), no unknown member,
//! and errors that name the member without repeating its value.

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::domain::remedy::Remedy;
use crate::domain::text::is_unshowable;
use crate::jose::json::{JsonError, parse_object};

use super::problem::{Kind, Problem};

/// Longest body, in bytes: an agent with every attribute set has some 12 KiB.
const BODY_MAX_BYTES: usize = 64 * 1024;

/// A required body.
pub(super) struct Json<T>(pub(super) T);

/// A body that is optional because all its members are.
pub(super) struct OptionalJson<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_content_type(request.headers())?;
        read(&body(request).await?).map(Self)
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let checked = check_content_type(request.headers());
        let bytes = body(request).await?;
        if bytes.is_empty() {
            return read(b"{}").map(Self);
        }
        checked?;
        read(&bytes).map(Self)
    }
}

/// Only `application/json`, which a form on another site cannot send. A `charset` must be UTF-8.
fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let only = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().unwrap_or_default(),
        (Some(_) | None, _) => "",
    };
    let (essence, parameters) = only
        .split_once(';')
        .map_or((only, None), |(essence, rest)| (essence, Some(rest.trim())));
    let is_utf8 = parameters.is_none_or(|rest| {
        rest.eq_ignore_ascii_case("charset=utf-8") || rest.eq_ignore_ascii_case("charset=\"utf-8\"")
    });
    if essence.trim().eq_ignore_ascii_case("application/json") && is_utf8 {
        return Ok(());
    }
    Err(Problem::new(
        Kind::UnsupportedMediaType,
        "the `Content-Type` of the body must be `application/json`",
    ))
}

async fn body(request: Request) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        Problem::new(
            Kind::TooLarge,
            format!("the body must be at most {BODY_MAX_BYTES} bytes long"),
        )
    };
    let announced = request
        .headers()
        .get(axum::http::header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > BODY_MAX_BYTES as u64) {
        return Err(too_large());
    }
    match to_bytes(request.into_body(), BODY_MAX_BYTES).await {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => {
            let is_limit = std::error::Error::source(&error)
                .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
            Err(if is_limit {
                too_large()
            } else {
                Problem::new(Kind::Invalid, "the body is incomplete")
                    .with_remedy(&Remedy::action("send the request again"))
            })
        }
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let object: Map<String, Value> = parse_object(bytes).map_err(|error| match error {
        JsonError::NotUtf8
        | JsonError::Syntax
        | JsonError::NotAnObject
        | JsonError::DuplicateMember
        | JsonError::TooDeep => Problem::new(Kind::Invalid, format!("the body {error}")),
    })?;
    serde_path_to_error::deserialize(Value::Object(object)).map_err(|error| {
        let path = error.path().to_string();
        let problem = in_words(&error.inner().to_string());
        match path.as_str() {
            "." => Problem::new(Kind::Invalid, format!("the body has {problem}")),
            member => Problem::invalid(shown(member), &problem),
        }
    })
}

/// Serde's message without the value.
fn in_words(serde_words: &str) -> String {
    if serde_words.starts_with("invalid type")
        || serde_words.starts_with("invalid value")
        || serde_words.starts_with("invalid length")
    {
        let expected = serde_words
            .rsplit_once(", expected ")
            .map_or("another value", |(_, expected)| expected);
        let expected = match expected {
            "i64" | "u64" => "an integer of at most 63 bits",
            "a map" => "an object",
            "a sequence" => "an array",
            other => other,
        };
        return format!("must be {}", shown(expected));
    }
    shown(serde_words)
}

/// A text that a caller may have influenced, cut and without control characters for a terminal.
pub(super) fn shown(text: &str) -> String {
    text.chars()
        .filter(|&c| !is_unshowable(c))
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use crate::api::edit::present;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Edit {
        #[serde(default, deserialize_with = "present")]
        owner: Option<String>,
        #[serde(default, deserialize_with = "present")]
        expires_in: Option<Option<i64>>,
    }

    fn refusal(text: &str) -> String {
        format!("{:?}", read::<Edit>(text.as_bytes()).expect_err("refused"))
    }

    #[test]
    fn a_refusal_names_the_member_and_not_its_value() {
        for (text, said) in [
            (
                r#"{"expires_in":"sixty"}"#,
                "expires_in: must be an integer of at most 63 bits",
            ),
            (
                r#"{"expires_in":0.5}"#,
                "expires_in: must be an integer of at most 63 bits",
            ),
            (
                r#"{"expires_in":9223372036854775808}"#,
                "expires_in: must be an integer of at most 63 bits",
            ),
            (r#"{"owner":null}"#, "owner: must be a string"),
            (r#"{"is_admin":true}"#, "unknown field `is_admin`"),
            (
                r#"{"owner":"a","owner":"b"}"#,
                "the body has a member twice",
            ),
            ("[]", "the body is not a JSON object"),
        ] {
            let refusal = refusal(text);
            assert!(refusal.contains(said), "{text} gave {refusal}");
            assert!(!refusal.contains("sixty"), "{refusal}");
        }
    }

    #[test]
    fn left_out_and_null_differ() {
        let edit: Edit = read(b"{}").expect("good");
        assert_eq!((edit.owner, edit.expires_in), (None, None));
        let edit: Edit = read(br#"{"expires_in":null}"#).expect("good");
        assert_eq!(edit.expires_in, Some(None));
    }
}
