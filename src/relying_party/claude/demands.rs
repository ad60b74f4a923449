//! What Claude requires of a token's claims, each fault named once: [`evaluate`](super::evaluate) stops at the
//! first, `diagnose` ranks them all.

use serde_json::{Map, Value};
use url::Url;

use super::denial::{Denial, Denied};
use super::rule::RuleMatch;
use super::{EXPECTED_AUDIENCE, SKEW_SECONDS, evaluate_condition};
use crate::jose::Claims;
use crate::ports::time::UnixTime;

/// How much of a claim's value a detail repeats.
const SHOWN_MAX_CHARACTERS: usize = 120;

/// Whether `iss` is the registered issuer URL.
pub(super) fn issuer_fault(iss: Option<&str>, registered: &str) -> Option<Denied> {
    let Some(iss) = iss else {
        return Some(Denial::IssuerMismatch.because("the token has no `iss`"));
    };
    let how = difference(iss, registered)?;
    Some(Denial::IssuerMismatch.because(format!(
        "`iss` is {}, registered is {}: {how}",
        shown(iss),
        shown(registered)
    )))
}

/// The claims that every token needs, and its times at `at`.
pub(super) fn claim_faults(claims: &Claims, at: UnixTime, max_lifetime: i64) -> Vec<Denied> {
    let mut faults = Vec::new();
    if claims.subject.as_deref().unwrap_or_default().is_empty() {
        faults.push(Denial::SubMissing.because("the token has no `sub`"));
    }
    if claims.issued_at.is_none() {
        faults.push(Denial::IatMissing.because("the token has no `iat`"));
    }
    match claims.expires_at {
        None => faults.push(Denial::ExpMissing.because("the token has no `exp`")),
        Some(exp) if at.since(exp) >= SKEW_SECONDS => {
            let late = at.since(exp);
            faults.push(
                Denial::Expired
                    .because(format!("the token expired at {exp}, {late} s before {at}")),
            );
        }
        Some(_) => {}
    }
    for (name, time, denial) in [
        ("nbf", claims.not_before, Denial::NotYetValid),
        ("iat", claims.issued_at, Denial::IssuedInFuture),
    ] {
        if let Some(time) = time.filter(|time| time.since(at) > SKEW_SECONDS) {
            let early = time.since(at);
            faults.push(denial.because(format!("`{name}` is {time}, {early} s after {at}")));
        }
    }
    if let (Some(iat), Some(exp)) = (claims.issued_at, claims.expires_at) {
        let lifetime = exp.since(iat);
        // Not documented: a token that expires before it was issued. No issuer means that.
        if lifetime <= 0 || lifetime > max_lifetime {
            faults.push(Denial::Lifetime.because(format!(
                "the token lives {lifetime} s; the issuer's maximum is {max_lifetime} s"
            )));
        }
    }
    faults
}

/// What `rule` requires. Without `all` claims only audience and subject are known.
pub(super) fn match_faults(
    rule: &RuleMatch,
    claims: &Claims,
    all: Option<&Map<String, Value>>,
) -> Vec<Denied> {
    let mut faults = Vec::new();
    let required = rule.audience.as_deref().unwrap_or(EXPECTED_AUDIENCE);
    let audience = claims.audience.as_ref();
    if !audience.is_some_and(|audience| audience.contains(required)) {
        let seen = audience.map(|audience| audience.iter().collect::<Vec<_>>().join(", "));
        faults.push(Denial::Audience.because(format!(
            "`aud` is {}; the rule requires {}",
            seen.as_deref().map_or("missing".to_owned(), shown),
            shown(required)
        )));
    }
    let subject = claims.subject.as_deref().unwrap_or_default();
    if !subject.is_empty() && !rule.accepts_subject(subject) {
        let pattern = rule.subject_prefix.as_deref().unwrap_or_default();
        faults.push(Denial::MatchSubjectPrefix.because(format!(
            "`sub` is {}; the rule requires {}",
            shown(subject),
            shown(pattern)
        )));
    }
    let Some(all) = all else {
        return faults;
    };
    for (name, value) in &rule.claims {
        if all.get(name).and_then(Value::as_str) != Some(value) {
            let seen = all.get(name).map_or("missing".to_owned(), |claim| {
                shown(claim.as_str().unwrap_or(&claim.to_string()))
            });
            faults.push(Denial::MatchClaims.because(format!(
                "{} is {seen}; the rule requires the string {}",
                shown(name),
                shown(value)
            )));
        }
    }
    if let Some(condition) = &rule.condition {
        match evaluate_condition(condition, all) {
            Ok(true) => {}
            Ok(false) => faults.push(
                Denial::MatchCondition
                    .because(format!("the condition {} is false", shown(condition))),
            ),
            Err(error) => faults.push(Denial::MatchCondition.because(format!(
                "the condition {} {}",
                shown(condition),
                shown(&error.problem).trim_matches('"')
            ))),
        }
    }
    faults
}

/// A value from outside, quoted, escaped and cut.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_MAX_CHARACTERS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// How two spellings of an issuer that must be equal differ; `None` when they are equal.
pub(super) fn difference(one: &str, other: &str) -> Option<&'static str> {
    if one == other {
        return None;
    }
    let bare = |text: &str| text.trim_end_matches('/').to_owned();
    let parts = |text: &str| Url::parse(text).ok();
    Some(if bare(one) == bare(other) {
        "they differ by a trailing slash"
    } else if bare(one).eq_ignore_ascii_case(&bare(other)) {
        "they differ in upper and lower case"
    } else {
        match (parts(one), parts(other)) {
            (Some(one), Some(other))
                if one.host() == other.host() && one.path() == other.path() =>
            {
                if one.scheme() == other.scheme() {
                    "they differ in the port"
                } else {
                    "they differ in the scheme"
                }
            }
            (Some(one), Some(other)) if one.host() == other.host() => "they differ in the path",
            (Some(_) | None, Some(_) | None) => "they are different issuers",
        }
    })
}
