//! What the token itself shows: whose it is, its form, its key, its times, and what the rule asks of it.

use serde_json::Value;

use super::super::checks::{difference, short};
use super::super::{
    ALGORITHMS, ASSERTION_MAX_BYTES, Denial, EXPECTED_AUDIENCE, JWKS_CACHE_SECONDS, JwksSource,
    SKEW_SECONDS, evaluate_condition,
};
use super::{Cause, Evidence, Issuance, Likelihood, Signature, Token, certain, of};
use crate::ports::time::UnixTime;

/// What to do with a token that no key of Claude's copy will ever verify.
const ANOTHER_TOKEN: &str = "exchange a new token: `firman token get`";
/// A token with less life left than this may have expired on its way.
const NEARLY_SECONDS: i64 = 30;

/// Whether it is a token of this issuer at all.
pub(super) fn origin(evidence: &Evidence) -> Vec<Cause> {
    let token = &evidence.token;
    let mut causes = Vec::new();
    let Some(iss) = token.text("iss") else {
        return vec![certain(
            Denial::IssuerMismatch,
            "the token has no iss".to_owned(),
        )];
    };
    if let Some(how) = difference(iss, &evidence.expected.issuer) {
        causes.push(certain(
            Denial::IssuerMismatch,
            format!(
                "iss is {iss:?}, registered at Claude is {:?}: {how}",
                evidence.expected.issuer
            ),
        ));
    }
    if evidence.issuance == Issuance::Unknown {
        let whose = if iss == evidence.issuer {
            "it names this issuer, whose audit has no token with this jti".to_owned()
        } else {
            format!("its iss is {iss:?}; this issuer is {:?}", evidence.issuer)
        };
        causes.push(Cause {
            cause: "not_issued_here",
            likelihood: Likelihood::Certain,
            evidence: whose,
            advice: "run this where the issuer is that made the token; --data-dir or FIRMAN_URL chooses it".to_owned(),
        });
    }
    match &evidence.signature {
        Signature::Broken => causes.push(certain(
            Denial::Signature,
            "the key it names is published here, and the signature is not that key's".to_owned(),
        )),
        Signature::NoKeySet(why) => causes.push(of(
            Denial::JwksUnavailable,
            Likelihood::Likely,
            format!("from here the issuer's key set cannot be fetched either: {why}"),
        )),
        Signature::Sound | Signature::Unchecked => {}
    }
    causes
}

/// What Claude demands of every token.
pub(super) fn shape(evidence: &Evidence) -> Vec<Cause> {
    let token = &evidence.token;
    let mut causes = Vec::new();
    causes.extend(size(token));
    match token.header.get("alg").and_then(Value::as_str) {
        Some(alg) if !ALGORITHMS.contains(&alg) => causes.push(certain(
            Denial::Algorithm,
            format!(
                "it is signed with {}; Claude takes {}",
                short(alg),
                ALGORITHMS.join(", ")
            ),
        )),
        None if token.is_whole() => {
            causes.push(certain(
                Denial::Algorithm,
                "its header has no alg".to_owned(),
            ));
        }
        Some(_) | None => {}
    }
    if token.text("sub").is_none_or(str::is_empty) {
        causes.push(certain(
            Denial::SubMissing,
            "it has no sub, which Claude demands".to_owned(),
        ));
    }
    if token.time("iat").is_none() {
        causes.push(certain(
            Denial::IatMissing,
            "it has no iat, which Claude demands".to_owned(),
        ));
    }
    causes
}

pub(super) fn size(token: &Token) -> Option<Cause> {
    let bytes = token.bytes.filter(|bytes| *bytes > ASSERTION_MAX_BYTES)?;
    Some(certain(
        Denial::TooLarge,
        format!("it has {bytes} bytes; Claude takes {ASSERTION_MAX_BYTES}"),
    ))
}

/// Whether Claude knows the key.
pub(super) fn key(evidence: &Evidence) -> Vec<Cause> {
    let Some(kid) = evidence.token.header.get("kid").and_then(Value::as_str) else {
        return vec![certain(
            Denial::KidMissing,
            "its header has no kid".to_owned(),
        )];
    };
    let shown = short(kid);
    let registered = evidence.registered.as_ref();
    if let Some(JwksSource::Inline { keys }) = registered.map(|found| &found.issuer.jwks) {
        // Nothing is fetched, so that what is published here does not matter.
        let is_known = keys.iter().any(|key| key["kid"] == kid);
        let seen = format!("the keys that are registered inline at Claude lack its key {shown}");
        let cause = || {
            Cause {
            advice: "register the current keys: `firman claude connect --agent AGENT --inline-keys --apply`".to_owned(),
            ..certain(Denial::UnknownKid, seen)
        }
        };
        return Vec::from_iter((!is_known).then(cause));
    }
    let Some(key) = evidence.keys.iter().find(|key| key.kid == kid) else {
        return vec![Cause {
            advice: ANOTHER_TOKEN.to_owned(),
            ..certain(
                Denial::UnknownKid,
                format!("this issuer never had a key {shown}"),
            )
        }];
    };
    let since = key
        .since
        .map_or(String::new(), |since| format!(" since {since}"));
    if matches!(key.state.as_str(), "retired" | "revoked") {
        return vec![Cause {
            advice: ANOTHER_TOKEN.to_owned(),
            ..certain(
                Denial::UnknownKid,
                format!(
                    "its key {shown} is {}{since} and no longer in the JWKS",
                    key.state
                ),
            )
        }];
    }
    // Who fetches the keys is none of the holders of a copy.
    if registered.is_none()
        && let Some(cause) = unacknowledged(evidence, kid)
    {
        return vec![cause];
    }
    let at = evidence.refused_at.unwrap_or(evidence.now);
    // A rotation publishes long before; a first key and one that replaces a revoked one sign at once.
    let is_new = |created: &UnixTime| at.since(*created) < JWKS_CACHE_SECONDS;
    if let Some(created) = key.created_at.filter(is_new) {
        return vec![Cause {
            advice: "repeat the exchange with a new token in a minute".to_owned(),
            ..of(
                Denial::UnknownKid,
                Likelihood::Possible,
                format!(
                    "its key {shown} is published only since {created}; Claude may take up to {JWKS_CACHE_SECONDS} s to see a new key"
                ),
            )
        }];
    }
    if evidence.expected.is_inline && evidence.consumers.is_empty() {
        return vec![of(
            Denial::UnknownKid,
            Likelihood::Possible,
            format!("the keys are inline at Claude and nobody is recorded as holding {shown}"),
        )];
    }
    Vec::new()
}

/// Whether a copy that somebody holds lacks the key.
fn unacknowledged(evidence: &Evidence, kid: &str) -> Option<Cause> {
    let without: Vec<&str> = evidence
        .consumers
        .iter()
        .filter(|consumer| !consumer.acknowledged.iter().any(|known| known == kid))
        .map(|consumer| consumer.name.as_str())
        .collect();
    let first = without.first()?;
    let (shown, names) = (short(kid), without.join(", "));
    Some(Cause {
        advice: format!(
            "register the current keys there, then say so: `firman key consumer ack {first}`"
        ),
        ..of(
            Denial::UnknownKid,
            Likelihood::Likely,
            format!(
                "its key {shown} is in the JWKS, but {names} holds an inline copy and has not acknowledged it"
            ),
        )
    })
}

/// Whether it was within its times and lives no longer than allowed.
pub(super) fn times(evidence: &Evidence) -> Vec<Cause> {
    let token = &evidence.token;
    let mut causes = Vec::new();
    let at = evidence.refused_at.unwrap_or(evidence.now);
    // Without the time of the refusal an expired token says little: everybody looks later.
    let sure = if evidence.refused_at.is_some() {
        Likelihood::Certain
    } else {
        Likelihood::Possible
    };
    match token.time("exp") {
        None => causes.push(certain(
            Denial::ExpMissing,
            "it has no exp, which Claude demands".to_owned(),
        )),
        Some(exp) if at.since(exp) >= SKEW_SECONDS => causes.push(of(
            Denial::Expired,
            sure,
            match evidence.refused_at {
                Some(at) => format!(
                    "it expired at {exp}, {} s before it was refused",
                    at.since(exp)
                ),
                None => format!(
                    "it expired at {exp}, {} s ago; say when it was refused with --at",
                    at.since(exp)
                ),
            },
        )),
        Some(exp) if exp.since(at) < NEARLY_SECONDS => causes.push(of(
            Denial::Expired,
            if evidence.refused_at.is_some() {
                Likelihood::Likely
            } else {
                Likelihood::Possible
            },
            format!(
                "it had {} s left ({exp}); the clocks need not agree better than that",
                exp.since(at)
            ),
        )),
        Some(_) => {}
    }
    for (claim, denial) in [
        ("nbf", Denial::NotYetValid),
        ("iat", Denial::IssuedInFuture),
    ] {
        if let Some(time) = token
            .time(claim)
            .filter(|time| time.since(at) > SKEW_SECONDS)
        {
            causes.push(certain(
                denial,
                format!(
                    "its {claim} is {time}, {} s ahead; a clock is wrong",
                    time.since(at)
                ),
            ));
        }
    }
    if let (Some(iat), Some(exp)) = (token.time("iat"), token.time("exp")) {
        let (lifetime, maximum) = (exp.since(iat), evidence.expected.max_lifetime);
        if lifetime > maximum {
            causes.push(certain(
                Denial::Lifetime,
                format!("it lives {lifetime} s; the issuer's maximum at Claude is {maximum} s"),
            ));
        }
    }
    causes
}

/// Whether it is what the rule demands.
pub(super) fn demands(evidence: &Evidence) -> Vec<Cause> {
    let (token, expected) = (&evidence.token, &evidence.expected);
    let likelihood = if expected.is_given {
        Likelihood::Certain
    } else {
        Likelihood::Likely
    };
    let by = if expected.is_given {
        "the rule demands"
    } else {
        "a rule as firman claude connect prints it demands"
    };
    let mut causes = Vec::new();
    if let (Some(wanted), Some(sub)) = (&expected.rule.subject_prefix, token.text("sub"))
        && !expected.rule.takes_subject(sub)
    {
        causes.push(of(
            Denial::MatchSubjectPrefix,
            likelihood,
            format!("sub is {sub:?}, {by} {wanted:?}"),
        ));
    }
    let audiences = token.audiences();
    let wanted = expected
        .rule
        .audience
        .as_deref()
        .unwrap_or(EXPECTED_AUDIENCE);
    if !audiences.contains(&wanted) {
        causes.push(of(
            Denial::Audience,
            likelihood,
            format!("aud is {audiences:?}, {by} {wanted:?}"),
        ));
    }
    if !token.is_whole() {
        return causes;
    }
    for (name, wanted) in &expected.rule.claims {
        let found = match token.claims.get(name) {
            Some(Value::String(found)) if found == wanted => continue,
            Some(Value::String(found)) => format!("{name} is {found:?}"),
            Some(_) => format!("{name} is no string, and only strings can be matched by claims"),
            None => format!("{name} is missing"),
        };
        causes.push(of(
            Denial::MatchClaims,
            likelihood,
            format!("{found}, {by} {wanted:?}"),
        ));
    }
    if let Some(condition) = &expected.rule.condition {
        let fault = match evaluate_condition(condition, &token.claims) {
            Ok(true) => None,
            Ok(false) => Some("is false for it".to_owned()),
            Err(invalid) => Some(invalid.problem),
        };
        causes.extend(fault.map(|fault| {
            of(
                Denial::MatchCondition,
                likelihood,
                format!("the condition {condition} {fault}"),
            )
        }));
    }
    causes
}
