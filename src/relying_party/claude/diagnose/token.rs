//! What the token itself shows: issuer, form, key, times, and whether it satisfies the rule.

use serde_json::Value;

use super::super::checks::short;
use super::super::demands::{claim_faults, issuer_fault, match_faults};
use super::super::{
    ALGORITHMS, ASSERTION_MAX_BYTES, Denial, JWKS_CACHE_SECONDS, JwksSource, SKEW_SECONDS,
};
use super::{Cause, Evidence, Issuance, Likelihood, Signature, Token, certain, of};
use crate::domain::remedy::Remedy;
use crate::ports::time::UnixTime;

/// A token with less time left may have expired on its way.
const NEARLY_SECONDS: i64 = 30;

/// What to do with a token that Claude's keys will never verify.
fn another_token() -> Remedy {
    Remedy::action("exchange a new token")
}

/// Whether it is a token of this issuer at all.
pub(super) fn origin(evidence: &Evidence) -> Vec<Cause> {
    let token = &evidence.token;
    let mut causes = Vec::new();
    let iss = token.text("iss");
    let fault = issuer_fault(iss, &evidence.expected.issuer);
    causes.extend(fault.map(|denied| certain(denied.denial, denied.detail)));
    let Some(iss) = iss else {
        return causes;
    };
    if evidence.issuance == Issuance::Unknown {
        let whose = if iss == evidence.issuer {
            "this issuer has no record of a token with this `jti`".to_owned()
        } else {
            format!("its `iss` is {iss:?}; this issuer is {:?}", evidence.issuer)
        };
        causes.push(Cause {
            cause: "not_issued_here",
            likelihood: Likelihood::Certain,
            evidence: whose,
            hint: Remedy::action(
                "run this against the issuer that minted the token; `--data-dir` or `FIRMAN_URL` selects it",
            ),
        });
    }
    match &evidence.signature {
        Signature::Broken => causes.push(certain(
            Denial::Signature,
            "the key that it names did not sign it".to_owned(),
        )),
        Signature::NoKeySet(why) => causes.push(of(
            Denial::JwksUnavailable,
            Likelihood::Likely,
            format!("the issuer's key set cannot be fetched from here either: {why}"),
        )),
        Signature::Sound | Signature::Unchecked => {}
    }
    causes
}

/// Size and algorithm.
pub(super) fn shape(evidence: &Evidence) -> Vec<Cause> {
    let token = &evidence.token;
    let mut causes = Vec::new();
    causes.extend(size(token));
    match token.header.get("alg").and_then(Value::as_str) {
        Some(alg) if !ALGORITHMS.contains(&alg) => causes.push(certain(
            Denial::Algorithm,
            format!(
                "`alg` is {}; Claude accepts {}",
                short(alg),
                ALGORITHMS.join(", ")
            ),
        )),
        None if token.is_whole() => {
            causes.push(certain(
                Denial::Algorithm,
                "the header has no `alg`".to_owned(),
            ));
        }
        Some(_) | None => {}
    }
    causes
}

pub(super) fn size(token: &Token) -> Option<Cause> {
    let bytes = token.bytes.filter(|bytes| *bytes > ASSERTION_MAX_BYTES)?;
    Some(certain(
        Denial::TooLarge,
        format!("the token has {bytes} bytes; Claude accepts {ASSERTION_MAX_BYTES}"),
    ))
}

/// Whether Claude knows the key.
pub(super) fn key(evidence: &Evidence) -> Vec<Cause> {
    let Some(kid) = evidence.token.header.get("kid").and_then(Value::as_str) else {
        return vec![certain(
            Denial::KidMissing,
            "the header has no `kid`".to_owned(),
        )];
    };
    let shown = short(kid);
    let registered = evidence.registered.as_ref();
    if let Some(JwksSource::Inline { keys }) = registered.map(|found| &found.issuer.jwks) {
        // Claude fetches nothing, so the published keys do not matter.
        let is_known = keys.iter().any(|key| key["kid"] == kid);
        let seen = format!("the inline keys at Claude lack its key {shown}");
        let cause = || Cause {
            hint: Remedy::command("claude connect --agent AGENT --inline-keys --apply"),
            ..certain(Denial::UnknownKid, seen)
        };
        return Vec::from_iter((!is_known).then(cause));
    }
    let Some(key) = evidence.keys.iter().find(|key| key.kid == kid) else {
        return vec![Cause {
            hint: another_token(),
            ..certain(
                Denial::UnknownKid,
                format!("this issuer never had the key {shown}"),
            )
        }];
    };
    let since = key
        .since
        .map_or(String::new(), |since| format!(" since {since}"));
    if matches!(key.state.as_str(), "retired" | "revoked") {
        return vec![Cause {
            hint: another_token(),
            ..certain(
                Denial::UnknownKid,
                format!(
                    "its key {shown} is {}{since} and no longer in the JWKS",
                    key.state
                ),
            )
        }];
    }
    // An issuer that is not inline fetches the keys and needs no acknowledgement.
    if registered.is_none()
        && let Some(cause) = unacknowledged(evidence, kid)
    {
        return vec![cause];
    }
    let at = evidence.refused_at.unwrap_or(evidence.now);
    // A rotation publishes a key long before it signs; a first key and a replacement of a revoked one sign at once.
    let is_new = |created: &UnixTime| at.since(*created) < JWKS_CACHE_SECONDS;
    if let Some(created) = key.created_at.filter(is_new) {
        return vec![Cause {
            hint: Remedy::action("repeat the exchange with a new token in a minute"),
            ..of(
                Denial::UnknownKid,
                Likelihood::Possible,
                format!(
                    "its key {shown} was published at {created}; Claude may need up to {JWKS_CACHE_SECONDS} s to see a new key"
                ),
            )
        }];
    }
    if evidence.expected.is_inline && evidence.consumers.is_empty() {
        return vec![of(
            Denial::UnknownKid,
            Likelihood::Possible,
            "the keys are inline at Claude, and no key consumer stands for that copy".to_owned(),
        )];
    }
    Vec::new()
}

/// Whether an inline copy lacks the key.
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
        hint: Remedy::command(format!("key consumer ack {first}")),
        ..of(
            Denial::UnknownKid,
            Likelihood::Likely,
            format!(
                "its key {shown} is in the JWKS, but the key consumer {names} has not acknowledged it: update the keys there first"
            ),
        )
    })
}

/// Whether it lacks a claim, is outside its times or lives too long.
pub(super) fn times(evidence: &Evidence) -> Vec<Cause> {
    let claims = evidence.token.registered_claims();
    let at = evidence.refused_at.unwrap_or(evidence.now);
    // Without the time of the refusal an expired token proves little: this command runs later.
    let unsure = evidence.refused_at.is_none();
    let mut causes: Vec<Cause> = claim_faults(&claims, at, evidence.expected.max_lifetime)
        .into_iter()
        .map(|denied| {
            if denied.denial == Denial::Expired && unsure {
                of(
                    Denial::Expired,
                    Likelihood::Possible,
                    format!(
                        "{}; name the time of the refusal with `--at`",
                        denied.detail
                    ),
                )
            } else {
                certain(denied.denial, denied.detail)
            }
        })
        .collect();
    let is_late = |exp: &UnixTime| (-SKEW_SECONDS + 1..NEARLY_SECONDS).contains(&exp.since(at));
    if let Some(exp) = claims.expires_at.filter(is_late) {
        causes.push(of(
            Denial::Expired,
            if unsure {
                Likelihood::Possible
            } else {
                Likelihood::Likely
            },
            format!(
                "it had {} s left ({exp}), which is within the clocks' tolerance",
                exp.since(at)
            ),
        ));
    }
    causes
}

/// Whether it satisfies the rule.
pub(super) fn demands(evidence: &Evidence) -> Vec<Cause> {
    let (token, expected) = (&evidence.token, &evidence.expected);
    let all = token.is_whole().then_some(&token.claims);
    match_faults(&expected.rule, &token.registered_claims(), all)
        .into_iter()
        .map(|denied| {
            if expected.is_given {
                certain(denied.denial, denied.detail)
            } else {
                of(
                    denied.denial,
                    Likelihood::Likely,
                    format!("{} (assuming {})", denied.detail, expected.origin()),
                )
            }
        })
        .collect()
}
