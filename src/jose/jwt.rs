//! The registered claims of a JWT (RFC 7519 §4.1), typed: a claim of a wrong type is an error and never counts
//! as an absent one (CVE-2026-25537). Claims are only made from a [`VerifiedJws`]; the caller decides which
//! issuer, audience and jti to accept.

use serde_json::{Map, Number, Value};

use super::compact::VerifiedJws;
use super::json::{self, JsonError};
use crate::ports::time::UnixTime;

/// Why a verified token's claims are refused. The texts name the claim and do not contain its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The payload is not an unambiguous JSON object.
    #[error("the payload {0}")]
    Payload(#[from] JsonError),
    /// `iss`, `sub` or `jti` is not a string.
    #[error("`{0}` must be a string")]
    NotAString(&'static str),
    /// `aud` is neither a string nor an array of strings with at least one entry.
    #[error("`aud` must be a string or a non-empty array of strings")]
    Audience,
    /// `exp`, `nbf` or `iat` is not a number.
    #[error("`{0}` must be a JSON number: seconds since 1970, without quotes")]
    NotANumber(&'static str),
    /// `exp`, `nbf` or `iat` is negative or past the year 9999.
    #[error("`{0}` must be between 1970 and the year 9999, in seconds and not in milliseconds")]
    OutOfRange(&'static str),
    /// `exp` is missing.
    #[error("`exp` is missing; state when the token expires")]
    NoExpiry,
    /// `exp` is past.
    #[error(
        "the token has expired (`exp`); make a new one, and check the clock of the machine that makes it"
    )]
    Expired,
    /// `nbf` is ahead.
    #[error("the token is not valid yet (`nbf`); check the clock of the machine that makes it")]
    NotYetValid,
    /// `iat` is ahead.
    #[error(
        "the token was issued in the future (`iat`); check the clock of the machine that makes it"
    )]
    IssuedInFuture,
}

/// The `aud` claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A string.
    One(String),
    /// An array of at least one string, even if it is only one.
    Many(Vec<String>),
}

impl Audience {
    /// Whether it is the string `audience`: not an array that contains it.
    #[must_use]
    pub fn is_exactly(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(_) => false,
        }
    }

    /// Every audience.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many.as_slice(),
        }
        .iter()
        .map(String::as_str)
    }

    /// Whether `audience` is one of them.
    #[must_use]
    pub fn contains(&self, audience: &str) -> bool {
        self.iter().any(|one| one == audience)
    }
}

/// The claims of a verified JWT.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims {
    /// `iss`.
    pub issuer: Option<String>,
    /// `sub`.
    pub subject: Option<String>,
    /// `aud`.
    pub audience: Option<Audience>,
    /// `jti`.
    pub jwt_id: Option<String>,
    /// `exp`.
    pub expires_at: Option<UnixTime>,
    /// `nbf`.
    pub not_before: Option<UnixTime>,
    /// `iat`.
    pub issued_at: Option<UnixTime>,
    /// Every other claim.
    pub other: Map<String, Value>,
}

impl Claims {
    /// The claims in `jws`.
    ///
    /// # Errors
    /// When the payload is not a JSON object or a registered claim is not of its type.
    pub fn parse<A>(jws: &VerifiedJws<A>) -> Result<Self, ClaimError> {
        Self::from_payload(jws.payload())
    }

    fn from_payload(payload: &[u8]) -> Result<Self, ClaimError> {
        let mut other = json::parse_object(payload)?;
        Ok(Self {
            issuer: take_string(&mut other, "iss")?,
            subject: take_string(&mut other, "sub")?,
            audience: other.remove("aud").map(audience).transpose()?,
            jwt_id: take_string(&mut other, "jti")?,
            expires_at: take_time(&mut other, "exp", f64::floor)?,
            not_before: take_time(&mut other, "nbf", f64::ceil)?,
            issued_at: take_time(&mut other, "iat", f64::floor)?,
            other,
        })
    }

    /// Checks `exp`, `nbf` and `iat` against `now`, each with `skew_seconds` of tolerance.
    /// Returns `exp`, which is required (RFC 7523 §3).
    ///
    /// # Errors
    /// When `exp` is missing, or a time is on the wrong side of `now`.
    pub fn check_times(&self, now: UnixTime, skew_seconds: i64) -> Result<UnixTime, ClaimError> {
        let expires_at = self.expires_at.ok_or(ClaimError::NoExpiry)?;
        if now >= expires_at.plus(skew_seconds) {
            return Err(ClaimError::Expired);
        }
        let latest = now.plus(skew_seconds);
        if self
            .not_before
            .is_some_and(|not_before| not_before > latest)
        {
            return Err(ClaimError::NotYetValid);
        }
        if self.issued_at.is_some_and(|issued_at| issued_at > latest) {
            return Err(ClaimError::IssuedInFuture);
        }
        Ok(expires_at)
    }
}

fn take_string(
    claims: &mut Map<String, Value>,
    name: &'static str,
) -> Result<Option<String>, ClaimError> {
    match claims.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_),
        ) => Err(ClaimError::NotAString(name)),
    }
}

/// The latest time that is accepted, in seconds: the end of the year 9999, the last that RFC 3339 can write.
const LATEST_SECONDS: i64 = 253_402_300_799;

/// RFC 7519 §2: a `NumericDate` may have a fraction. Everything here counts in whole seconds, and `round`
/// states the direction: always the one that accepts less. `exp` goes down (the token ends no later than it
/// says) and `nbf` up (it begins no earlier). `iat` goes down: an older token is closer to its longest life, to
/// the revocation of its subject and to the end of a proof's window. The cost, an `iat` less than a second
/// further ahead, is within the tolerated skew.
fn take_time(
    claims: &mut Map<String, Value>,
    name: &'static str,
    round: fn(f64) -> f64,
) -> Result<Option<UnixTime>, ClaimError> {
    match claims.remove(name) {
        None => Ok(None),
        Some(Value::Number(number)) => seconds(&number, round)
            .map(|seconds| Some(UnixTime(seconds)))
            .ok_or(ClaimError::OutOfRange(name)),
        Some(
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_),
        ) => Err(ClaimError::NotANumber(name)),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "checked to be within the year 9999, far below 2^53, up to which whole doubles are exact"
)]
fn seconds(number: &Number, round: fn(f64) -> f64) -> Option<i64> {
    let whole = match number.as_i64() {
        Some(whole) => whole,
        None => {
            let seconds = number.as_f64().filter(|seconds| *seconds >= 0.0)?;
            let rounded = round(seconds);
            (rounded <= LATEST_SECONDS as f64).then_some(rounded as i64)?
        }
    };
    (0..=LATEST_SECONDS).contains(&whole).then_some(whole)
}

fn audience(value: Value) -> Result<Audience, ClaimError> {
    match value {
        Value::String(one) => Ok(Audience::One(one)),
        Value::Array(many) if !many.is_empty() => many
            .into_iter()
            .map(|entry| match entry {
                Value::String(one) => Ok(one),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => Err(ClaimError::Audience),
            })
            .collect::<Result<_, _>>()
            .map(Audience::Many),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(ClaimError::Audience)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const SKEW_SECONDS: i64 = 30;

    fn refusal(payload: &str) -> ClaimError {
        Claims::from_payload(payload.as_bytes()).expect_err(payload)
    }

    #[test]
    fn claims_of_a_wrong_type_are_refused_and_not_taken_for_absent() {
        for name in ["iss", "sub", "jti"] {
            for value in [
                "7",
                "null",
                "true",
                "[\"agent-7\"]",
                "[\"agent-7\",\"evil\"]",
                "{}",
            ] {
                assert_eq!(
                    refusal(&format!("{{\"{name}\":{value}}}")),
                    ClaimError::NotAString(name)
                );
            }
        }
        for name in ["exp", "nbf", "iat"] {
            for value in [
                "\"1800000060\"",
                "\"1800000060.5\"",
                "null",
                "true",
                "[1800000060]",
                "{}",
            ] {
                assert_eq!(
                    refusal(&format!("{{\"{name}\":{value}}}")),
                    ClaimError::NotANumber(name)
                );
            }
            for value in [
                "-1",
                "-0.5",
                "-9223372036854775808",
                "9223372036854775807",
                "9223372036854775808",
                "18446744073709551615",
                "253402300800",
                "1800000060000",
                "1e300",
                "-1e300",
            ] {
                assert_eq!(
                    refusal(&format!("{{\"{name}\":{value}}}")),
                    ClaimError::OutOfRange(name)
                );
            }
            // JSON does not have such a number: the payload is refused, not the claim.
            for value in ["1e400", "NaN", "Infinity", "-Infinity"] {
                assert_eq!(
                    refusal(&format!("{{\"{name}\":{value}}}")),
                    ClaimError::Payload(JsonError::Syntax)
                );
            }
        }
        for value in [
            "7",
            "null",
            "true",
            "{}",
            "[]",
            "[7]",
            "[\"a\",null]",
            "[[\"a\"]]",
        ] {
            assert_eq!(
                refusal(&format!("{{\"aud\":{value}}}")),
                ClaimError::Audience
            );
        }
    }

    #[test]
    fn payloads_that_are_no_unambiguous_object_are_refused() {
        for (payload, expected) in [
            ("", JsonError::Syntax),
            ("[]", JsonError::NotAnObject),
            ("{\"exp\":1e400}", JsonError::Syntax),
            ("{\"aud\":\"a\",\"aud\":\"b\"}", JsonError::DuplicateMember),
            (
                "{\"act\":{\"sub\":\"a\",\"sub\":\"b\"}}",
                JsonError::DuplicateMember,
            ),
        ] {
            assert_eq!(refusal(payload), ClaimError::Payload(expected));
        }
    }

    #[test]
    fn every_claim_is_read_into_its_place() {
        let payload = json!({
            "iss": "a", "sub": "b", "aud": ["c", "d"], "jti": "e", "exp": 1_800_000_060, "nbf": 0, "iat": 1.8e9,
            "scope": "read", "act": {"sub": "f"},
        });
        assert_eq!(
            Claims::from_payload(payload.to_string().as_bytes()),
            Ok(Claims {
                issuer: Some("a".into()),
                subject: Some("b".into()),
                audience: Some(Audience::Many(vec!["c".into(), "d".into()])),
                jwt_id: Some("e".into()),
                expires_at: Some(UnixTime(1_800_000_060)),
                not_before: Some(UnixTime(0)),
                issued_at: Some(NOW),
                other: json!({"scope": "read", "act": {"sub": "f"}})
                    .as_object()
                    .cloned()
                    .unwrap(),
            })
        );
        assert_eq!(Claims::from_payload(b"{}"), Ok(Claims::default()));
    }

    #[test]
    fn a_fraction_of_a_second_is_rounded_to_the_side_that_accepts_less() {
        for (text, floor, ceil) in [
            ("1800000000.5", 1_800_000_000, 1_800_000_001),
            ("1800000000.000001", 1_800_000_000, 1_800_000_001),
            ("1800000000.0", 1_800_000_000, 1_800_000_000),
            ("1.8e9", 1_800_000_000, 1_800_000_000),
            ("18E8", 1_800_000_000, 1_800_000_000),
            ("0.1", 0, 1),
            ("-0", 0, 0),
            ("253402300798.5", 253_402_300_798, 253_402_300_799),
        ] {
            let payload = format!("{{\"exp\":{text},\"nbf\":{text},\"iat\":{text}}}");
            let claims = Claims::from_payload(payload.as_bytes()).expect(text);
            assert_eq!(
                (claims.expires_at, claims.not_before, claims.issued_at),
                (
                    Some(UnixTime(floor)),
                    Some(UnixTime(ceil)),
                    Some(UnixTime(floor))
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn times_on_the_wrong_side_of_now_are_refused_and_ten_seconds_are_forgiven() {
        let times = |exp: Option<i64>, nbf: Option<i64>, iat: Option<i64>| {
            let at = |offset: Option<i64>| offset.map(|seconds| NOW.plus(seconds));
            Claims {
                expires_at: at(exp),
                not_before: at(nbf),
                issued_at: at(iat),
                ..Claims::default()
            }
            .check_times(NOW, SKEW_SECONDS)
        };
        for (exp, nbf, iat, expected) in [
            (None, None, None, ClaimError::NoExpiry),
            (None, Some(0), Some(0), ClaimError::NoExpiry),
            (Some(-300), None, None, ClaimError::Expired),
            (Some(-61), None, None, ClaimError::Expired),
            (Some(-30), None, None, ClaimError::Expired),
            (Some(60), Some(61), None, ClaimError::NotYetValid),
            (Some(60), Some(31), None, ClaimError::NotYetValid),
            (Some(60), None, Some(61), ClaimError::IssuedInFuture),
            (Some(60), None, Some(31), ClaimError::IssuedInFuture),
        ] {
            assert_eq!(
                times(exp, nbf, iat),
                Err(expected),
                "{exp:?} {nbf:?} {iat:?}"
            );
        }
        for (exp, nbf, iat) in [
            (60, None, None),
            (60, Some(10), Some(10)),
            (60, Some(30), Some(30)),
            (-10, None, Some(-300)),
            (-29, Some(-300), None),
        ] {
            assert_eq!(
                times(Some(exp), nbf, iat),
                Ok(NOW.plus(exp)),
                "{exp} {nbf:?} {iat:?}"
            );
        }
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        for seconds in [i64::MIN, i64::MAX] {
            let claims = Claims {
                expires_at: Some(UnixTime(seconds)),
                not_before: Some(UnixTime(seconds)),
                issued_at: Some(UnixTime(seconds)),
                ..Claims::default()
            };
            for now in [UnixTime(i64::MIN), NOW, UnixTime(i64::MAX)] {
                let _ = claims.check_times(now, SKEW_SECONDS);
            }
        }
    }

    #[test]
    fn an_audience_is_exactly_one_string_only_as_a_string() {
        let one = Audience::One("a".into());
        let array = Audience::Many(vec!["a".into()]);
        assert!(one.is_exactly("a"));
        assert!(!one.is_exactly("a/"));
        assert!(!array.is_exactly("a"));
        assert!(one.contains("a") && array.contains("a"));
        assert!(!array.contains("b"));
        assert_eq!(array.iter().collect::<Vec<_>>(), ["a"]);
    }
}
