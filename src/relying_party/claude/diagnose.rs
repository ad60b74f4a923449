//! Why Claude refused a token: every denial there is one opaque 401, so the likely causes are ranked from
//! what this side knows — the token, the audit, the keys, what is linked, the environment. Pure: whoever
//! asks has read all that. A cause is *certain* only when the reference names it and the evidence shows it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use super::checks::{Expected, KeyConsumer, KeyState, Link, Registered, difference, short};
use super::{
    ALGORITHMS, ASSERTION_MAX_BYTES, Denial, EXPECTED_AUDIENCE, JWKS_CACHE_SECONDS, SKEW_SECONDS,
    evaluate_condition,
};
use crate::ports::time::UnixTime;

/// A token with less life left than this may have expired on its way.
const NEARLY_SECONDS: i64 = 30;
/// Exchanges that come one after the other are farther apart: the shortest access token lives that long.
const FRESH_SECONDS: i64 = 60;
/// Fetches that belong to one start of a workload.
pub const BURST_SECONDS: i64 = 600;

/// How sure a cause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Likelihood {
    /// Claude refuses such a token.
    Certain,
    /// The evidence points to it.
    Likely,
    /// Nothing speaks against it.
    Possible,
}

impl Likelihood {
    /// `certain`, `likely` or `possible`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Possible => "possible",
        }
    }
}

/// A cause, why it is thought of, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// A reason code: Claude's own where it has published one.
    pub cause: &'static str,
    /// How sure it is.
    pub likelihood: Likelihood,
    /// What speaks for it.
    pub evidence: String,
    /// What to do.
    pub advice: String,
}

/// A token as it says it is, or as far as the audit remembers it.
#[derive(Clone, Debug, Default)]
pub struct Token {
    /// The protected header.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Map<String, Value>,
    /// Its size in bytes; unknown when only the audit tells of it.
    pub bytes: Option<usize>,
    /// Why it cannot be read, if it cannot.
    pub fault: Option<String>,
}

/// What came of looking for the published key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Signature {
    /// It was not looked at: there is no token, or nobody fetches the keys.
    #[default]
    Unchecked,
    /// The key set could not be fetched, and why.
    NoKeySet(String),
    /// It holds, or there is no key with its `kid` to say otherwise.
    Sound,
    /// The key with its `kid` did not sign it.
    Broken,
}

impl Token {
    fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }

    fn time(&self, claim: &str) -> Option<UnixTime> {
        self.claims.get(claim).and_then(Value::as_i64).map(UnixTime)
    }

    fn audiences(&self) -> Vec<&str> {
        match self.claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
                Vec::new()
            }
        }
    }

    /// Whether the claims are all there, not only those that the audit keeps.
    fn is_whole(&self) -> bool {
        self.bytes.is_some()
    }
}

/// One issuance in the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// `jti`.
    pub jti: String,
    /// The agent's name.
    pub agent: String,
    /// When.
    pub at: UnixTime,
    /// From which address.
    pub address: String,
}

/// What the audit says of the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuance {
    /// It was not asked: there is no `jti` to ask for.
    Unasked,
    /// No token with this `jti` was ever issued.
    Unknown,
    /// It was issued.
    Issued(Fetch),
}

/// Everything there is to judge by.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The present.
    pub now: UnixTime,
    /// When Claude refused it, if that was said.
    pub refused_at: Option<UnixTime>,
    /// The token.
    pub token: Token,
    /// Whether it is signed by the key it names.
    pub signature: Signature,
    /// What the audit says of it.
    pub issuance: Issuance,
    /// What its agent fetched around that time, oldest first, the token itself included.
    pub fetches: Vec<Fetch>,
    /// Our issuer URL.
    pub issuer: String,
    /// Our keys.
    pub keys: Vec<KeyState>,
    /// Who holds copies of them.
    pub consumers: Vec<KeyConsumer>,
    /// What is recorded of the agent's rule.
    pub link: Option<Link>,
    /// What is registered at Claude, when it was read back.
    pub registered: Option<Registered>,
    /// What Claude is thought to demand, or is known to.
    pub expected: Expected,
    /// The `ANTHROPIC_…` variables of this environment.
    pub environment: BTreeMap<String, String>,
}

/// The likely causes, the likeliest first. Never empty.
#[must_use]
pub fn rank(evidence: &Evidence) -> Vec<Cause> {
    if let Some(fault) = &evidence.token.fault {
        let mut causes = vec![certain(Denial::Malformed, fault.clone())];
        causes.extend(size(&evidence.token));
        causes.extend(environment(evidence));
        return causes;
    }
    let mut causes = Vec::new();
    causes.extend(origin(evidence));
    causes.extend(shape(evidence));
    // Of another issuer's token, our keys say nothing.
    if evidence.issuance != Issuance::Unknown
        || evidence.token.text("iss") == Some(&evidence.issuer)
    {
        causes.extend(key(evidence));
    }
    causes.extend(standing(evidence));
    causes.extend(times(evidence));
    causes.extend(demands(evidence));
    causes.extend(environment(evidence));
    causes.extend(replay(evidence));
    causes.extend(setup(evidence));
    // Stable: among equals the order above holds, the usual ones first.
    causes.sort_by_key(|cause| cause.likelihood);
    causes
}

fn certain(denial: Denial, evidence: String) -> Cause {
    of(denial, Likelihood::Certain, evidence)
}

fn of(denial: Denial, likelihood: Likelihood, evidence: String) -> Cause {
    Cause {
        cause: denial.as_str(),
        likelihood,
        evidence,
        advice: denial.explain().to_owned(),
    }
}

/// Whether what is registered at Claude can still be used.
fn standing(evidence: &Evidence) -> Vec<Cause> {
    let Some(Registered { rule, issuer, .. }) = &evidence.registered else {
        return Vec::new();
    };
    let mut causes = Vec::new();
    if let Some(at) = &rule.archived_at {
        let seen = format!("the rule {} was archived at {at}", rule.id);
        causes.push(certain(Denial::RuleArchived, seen));
    }
    if let Some(at) = &issuer.jwks_polling_disabled_at {
        // Not documented: whether the keys fetched before go on.
        causes.push(of(
            Denial::JwksUnavailable,
            Likelihood::Likely,
            format!(
                "Claude stopped fetching the keys of the issuer {} at {at}, after repeated failures",
                issuer.id
            ),
        ));
    }
    causes
}

/// Whether it is a token of this issuer at all.
fn origin(evidence: &Evidence) -> Vec<Cause> {
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
            advice: "Ask the issuer that made it, or look whether --data-dir or FIRMAN_URL points to another one than the agent's.".to_owned(),
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
fn shape(evidence: &Evidence) -> Vec<Cause> {
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

fn size(token: &Token) -> Option<Cause> {
    let bytes = token.bytes.filter(|bytes| *bytes > ASSERTION_MAX_BYTES)?;
    Some(certain(
        Denial::TooLarge,
        format!("it has {bytes} bytes; Claude takes {ASSERTION_MAX_BYTES}"),
    ))
}

/// Whether Claude knows the key.
fn key(evidence: &Evidence) -> Vec<Cause> {
    let Some(kid) = evidence.token.header.get("kid").and_then(Value::as_str) else {
        return vec![certain(
            Denial::KidMissing,
            "its header has no kid".to_owned(),
        )];
    };
    let shown = short(kid);
    let Some(key) = evidence.keys.iter().find(|key| key.kid == kid) else {
        return vec![certain(
            Denial::UnknownKid,
            format!("this issuer never had a key {shown}"),
        )];
    };
    let since = key
        .since
        .map_or(String::new(), |since| format!(" since {since}"));
    if matches!(key.state.as_str(), "retired" | "revoked") {
        return vec![certain(
            Denial::UnknownKid,
            format!(
                "its key {shown} is {}{since} and no longer in the JWKS",
                key.state
            ),
        )];
    }
    let without: Vec<&str> = evidence
        .consumers
        .iter()
        .filter(|consumer| !consumer.acknowledged.iter().any(|known| known == kid))
        .map(|consumer| consumer.name.as_str())
        .collect();
    if !without.is_empty() {
        let names = without.join(", ");
        return vec![Cause {
            advice: format!(
                "Register the present key set there again, then: firman key consumer ack {}",
                without[0]
            ),
            ..of(
                Denial::UnknownKid,
                Likelihood::Likely,
                format!(
                    "its key {shown} is in the JWKS, but {names} holds an inline copy and has not acknowledged it"
                ),
            )
        }];
    }
    let at = evidence.refused_at.unwrap_or(evidence.now);
    // A rotation publishes long before; a first key and one that replaces a revoked one sign at once.
    let is_new = |created: &UnixTime| at.since(*created) < JWKS_CACHE_SECONDS;
    if let Some(created) = key.created_at.filter(is_new) {
        return vec![of(
            Denial::UnknownKid,
            Likelihood::Possible,
            format!(
                "its key {shown} is published only since {created}; Claude may take up to {JWKS_CACHE_SECONDS} s to see a new key"
            ),
        )];
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

/// Whether it was within its times and lives no longer than allowed.
fn times(evidence: &Evidence) -> Vec<Cause> {
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
fn demands(evidence: &Evidence) -> Vec<Cause> {
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

/// What the SDK on this machine would do instead.
fn environment(evidence: &Evidence) -> Vec<Cause> {
    let mut causes = Vec::new();
    for name in ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"] {
        if let Some(value) = evidence.environment.get(name) {
            let how = if value.is_empty() {
                "set, though empty"
            } else {
                "set"
            };
            causes.push(Cause {
                cause: "api_key_shadows_federation",
                likelihood: Likelihood::Likely,
                evidence: format!("{name} is {how} in this environment; the SDKs prefer it to federation without a word"),
                advice: format!("unset {name}, or run the workload with firman exec, which removes it"),
            });
        }
    }
    let Some(link) = &evidence.link else {
        return causes;
    };
    for (name, linked, denial) in [
        (
            "ANTHROPIC_FEDERATION_RULE_ID",
            Some(&link.rule),
            Denial::RuleUnknown,
        ),
        (
            "ANTHROPIC_ORGANIZATION_ID",
            Some(&link.organization),
            Denial::RuleUnknown,
        ),
        (
            "ANTHROPIC_SERVICE_ACCOUNT_ID",
            Some(&link.service_account),
            Denial::ServiceAccountMismatch,
        ),
        (
            "ANTHROPIC_WORKSPACE_ID",
            link.workspace.as_ref(),
            Denial::WorkspaceNotAllowed,
        ),
    ] {
        let (Some(linked), Some(set)) = (linked, evidence.environment.get(name)) else {
            continue;
        };
        if set != linked {
            causes.push(of(
                denial,
                Likelihood::Likely,
                format!("{name} is {set} in this environment; linked is {linked}"),
            ));
        }
    }
    causes
}

/// Whether it was used before: what users of this federation report most.
fn replay(evidence: &Evidence) -> Option<Cause> {
    let jti = evidence.token.text("jti")?;
    let at = evidence.refused_at.unwrap_or(evidence.now);
    let cause = |likelihood, evidence| Some(of(Denial::JtiReused, likelihood, evidence));
    let Issuance::Issued(fetch) = &evidence.issuance else {
        return cause(
            Likelihood::Possible,
            format!(
                "Claude takes the jti {} once, however often it is sent",
                short(jti)
            ),
        );
    };
    let told = format!(
        "issued once, to {} at {} for {}",
        fetch.agent,
        fetch.at,
        or_unknown(&fetch.address)
    );
    let burst: Vec<&Fetch> = evidence
        .fetches
        .iter()
        .filter(|other| other.at.since(fetch.at).abs() <= BURST_SECONDS)
        .collect();
    let addresses: BTreeSet<&str> = burst.iter().map(|other| other.address.as_str()).collect();
    if addresses.len() > 1 {
        return cause(
            Likelihood::Likely,
            format!(
                "{told}; {} tokens went to {} addresses ({}) within {} minutes: several processes work as this agent, and a token that two of them hold is a replay",
                burst.len(),
                addresses.len(),
                list(&addresses),
                BURST_SECONDS / 60
            ),
        );
    }
    let later = evidence
        .fetches
        .iter()
        .filter(|other| other.at > fetch.at && other.at <= at && other.jti != fetch.jti)
        .count();
    let age = at.since(fetch.at);
    if later == 0 && age > FRESH_SECONDS {
        return cause(
            Likelihood::Likely,
            format!(
                "{told}; {age} s later no other had been fetched, so whatever exchanged in between sent this one again"
            ),
        );
    }
    cause(
        Likelihood::Possible,
        format!(
            "{told}; {} fetched within {} minutes of it, {later} of them later",
            burst.len(),
            BURST_SECONDS / 60
        ),
    )
}

/// What cannot be seen from here.
fn setup(evidence: &Evidence) -> Vec<Cause> {
    let Some(link) = &evidence.link else {
        return vec![of(
            Denial::RuleUnknown,
            Likelihood::Possible,
            "no rule is linked with this agent, so that it cannot be compared".to_owned(),
        )];
    };
    let mut causes = Vec::new();
    let named = evidence.environment.contains_key("ANTHROPIC_WORKSPACE_ID");
    if link.workspace.is_none() && !named {
        causes.push(of(
            Denial::WorkspaceIdRequired,
            Likelihood::Possible,
            format!(
                "no workspace is linked: that fails when {} is enabled in more than one",
                link.rule
            ),
        ));
    }
    causes.push(of(
        Denial::RuleArchived,
        Likelihood::Possible,
        format!("{} may be archived, or be another organization's; an archived rule stops exchanges at once", link.rule),
    ));
    causes
}

fn or_unknown(address: &str) -> &str {
    if address.is_empty() {
        "an unknown address"
    } else {
        address
    }
}

fn list(names: &BTreeSet<&str>) -> String {
    names
        .iter()
        .map(|name| or_unknown(name))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::RuleMatch;
    use super::*;

    const ISSUER: &str = "https://id.example.com";
    const NOW: i64 = 1_795_253_400;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn fetch(jti: &str, at: i64, address: &str) -> Fetch {
        Fetch {
            jti: jti.to_owned(),
            agent: "mailer".to_owned(),
            at: UnixTime(at),
            address: address.to_owned(),
        }
    }

    /// A token with which nothing is wrong that can be seen from here.
    fn sound() -> Evidence {
        Evidence {
            now: UnixTime(NOW),
            refused_at: Some(UnixTime(NOW)),
            token: Token {
                header: object(json!({"alg": "ES256", "kid": "key-1", "typ": "JWT"})),
                claims: object(json!({
                    "iss": ISSUER, "sub": "agent:mailer", "aud": EXPECTED_AUDIENCE, "iat": NOW - 10,
                    "nbf": NOW - 10, "exp": NOW + 590, "jti": "jti-1", "acting_agent": "agent:mailer",
                    "roles": ["claude-user"],
                })),
                bytes: Some(700),
                fault: None,
            },
            signature: Signature::Sound,
            issuance: Issuance::Issued(fetch("jti-1", NOW - 10, "192.0.2.1")),
            fetches: vec![fetch("jti-1", NOW - 10, "192.0.2.1")],
            issuer: ISSUER.to_owned(),
            keys: vec![KeyState {
                kid: "key-1".to_owned(),
                state: "active".to_owned(),
                created_at: Some(UnixTime(NOW - 100_000)),
                since: Some(UnixTime(NOW - 100_000)),
            }],
            consumers: Vec::new(),
            link: Some(Link {
                rule: "fdrl_01".to_owned(),
                organization: "00000000-0000-4000-8000-000000000000".to_owned(),
                service_account: "svac_01".to_owned(),
                workspace: Some("wrkspc_01".to_owned()),
                token_lifetime: None,
            }),
            registered: None,
            expected: Expected {
                rule: RuleMatch {
                    subject_prefix: Some("agent:mailer".to_owned()),
                    audience: Some(EXPECTED_AUDIENCE.to_owned()),
                    claims: [("acting_agent".to_owned(), "agent:mailer".to_owned())].into(),
                    condition: Some("'claude-user' in claims.roles".to_owned()),
                },
                is_given: true,
                max_lifetime: 3600,
                issuer: ISSUER.to_owned(),
                is_inline: false,
            },
            environment: BTreeMap::new(),
        }
    }

    fn claim(evidence: &mut Evidence, name: &str, value: Value) {
        evidence.token.claims.insert(name.to_owned(), value);
    }

    fn no_jti(evidence: &mut Evidence) {
        evidence.token.claims.remove("jti");
        evidence.issuance = Issuance::Unasked;
    }

    fn variable(evidence: &mut Evidence, name: &str, value: &str) {
        evidence
            .environment
            .insert(name.to_owned(), value.to_owned());
    }

    /// A cause, how sure it is to be, and what is wrong.
    type Case = (&'static str, Likelihood, fn(&mut Evidence));

    use Likelihood::{Certain, Likely, Possible};

    /// Each cause, with what shows it.
    const CASES: &[Case] = &[
        ("malformed", Certain, |e| {
            e.token.fault = Some("this is not a JWT".to_owned())
        }),
        ("too_large", Certain, |e| e.token.bytes = Some(16_385)),
        ("algorithm", Certain, |e| {
            e.token.header.insert("alg".to_owned(), json!("EdDSA"));
        }),
        ("algorithm", Certain, |e| {
            e.token.header.remove("alg");
        }),
        ("kid_missing", Certain, |e| {
            e.token.header.remove("kid");
        }),
        ("issuer_mismatch", Certain, |e| {
            claim(e, "iss", json!("https://id.example.com/"))
        }),
        ("issuer_mismatch", Certain, |e| {
            e.expected.issuer = "https://id.example.com/".to_owned();
        }),
        ("not_issued_here", Certain, |e| {
            e.issuance = Issuance::Unknown
        }),
        ("signature", Certain, |e| e.signature = Signature::Broken),
        ("jwks_unavailable", Likely, |e| {
            e.signature = Signature::NoKeySet("connection refused".to_owned());
        }),
        ("unknown_kid", Certain, |e| e.keys.clear()),
        ("unknown_kid", Certain, |e| {
            e.keys[0].state = "revoked".to_owned()
        }),
        ("unknown_kid", Certain, |e| {
            e.keys[0].state = "retired".to_owned()
        }),
        ("unknown_kid", Likely, |e| {
            e.consumers = vec![KeyConsumer {
                name: "claude".to_owned(),
                acknowledged: vec!["key-0".to_owned()],
                revoked: Vec::new(),
            }];
        }),
        ("unknown_kid", Possible, |e| {
            e.keys[0].created_at = Some(UnixTime(NOW - 20))
        }),
        ("unknown_kid", Possible, |e| e.expected.is_inline = true),
        ("sub_missing", Certain, |e| {
            e.token.claims.remove("sub");
        }),
        ("exp_missing", Certain, |e| {
            e.token.claims.remove("exp");
        }),
        ("iat_missing", Certain, |e| {
            e.token.claims.remove("iat");
        }),
        ("expired", Certain, |e| claim(e, "exp", json!(NOW - 30))),
        ("expired", Likely, |e| claim(e, "exp", json!(NOW + 29))),
        ("expired", Possible, |e| {
            e.refused_at = None;
            claim(e, "exp", json!(NOW - 300));
        }),
        ("not_yet_valid", Certain, |e| {
            claim(e, "nbf", json!(NOW + 31))
        }),
        ("issued_in_future", Certain, |e| {
            claim(e, "iat", json!(NOW + 31))
        }),
        ("lifetime", Certain, |e| {
            claim(e, "exp", json!(NOW - 10 + 3601))
        }),
        ("audience", Certain, |e| claim(e, "aud", json!(["mailer"]))),
        ("audience", Likely, |e| {
            e.expected.is_given = false;
            claim(e, "aud", json!("mailer"));
        }),
        ("match_subject_prefix", Certain, |e| {
            claim(e, "sub", json!("Agent:mailer"))
        }),
        ("match_claims", Certain, |e| {
            claim(e, "acting_agent", json!("agent:other"))
        }),
        ("match_claims", Certain, |e| {
            claim(e, "acting_agent", json!(["agent:mailer"]))
        }),
        ("match_condition", Certain, |e| claim(e, "roles", json!([]))),
        ("match_condition", Certain, |e| {
            e.token.claims.remove("roles");
        }),
        ("api_key_shadows_federation", Likely, |e| {
            variable(e, "ANTHROPIC_API_KEY", "")
        }),
        ("api_key_shadows_federation", Likely, |e| {
            variable(e, "ANTHROPIC_AUTH_TOKEN", "x")
        }),
        ("rule_unknown", Likely, |e| {
            variable(e, "ANTHROPIC_FEDERATION_RULE_ID", "fdrl_02")
        }),
        ("rule_unknown", Likely, |e| {
            variable(e, "ANTHROPIC_ORGANIZATION_ID", "other")
        }),
        ("service_account_mismatch", Likely, |e| {
            variable(e, "ANTHROPIC_SERVICE_ACCOUNT_ID", "svac_02");
        }),
        ("workspace_not_allowed", Likely, |e| {
            variable(e, "ANTHROPIC_WORKSPACE_ID", "default")
        }),
        ("jti_reused", Likely, |e| {
            // It was fetched long before, and none since.
            e.issuance = Issuance::Issued(fetch("jti-1", NOW - 500, "192.0.2.1"));
            e.fetches = vec![fetch("jti-1", NOW - 500, "192.0.2.1")];
        }),
        ("jti_reused", Likely, |e| {
            e.fetches.push(fetch("jti-2", NOW - 8, "192.0.2.2"));
        }),
        ("jti_reused", Possible, |_| {}),
        ("rule_archived", Possible, no_jti),
        ("rule_unknown", Possible, |e| {
            no_jti(e);
            e.link = None;
        }),
        ("workspace_id_required", Possible, |e| {
            no_jti(e);
            e.link.as_mut().unwrap().workspace = None;
        }),
    ];

    #[test]
    fn each_cause_comes_first_when_the_evidence_shows_it() {
        for (index, (cause, likelihood, spoil)) in CASES.iter().enumerate() {
            let mut evidence = sound();
            spoil(&mut evidence);
            let causes = rank(&evidence);
            let first = &causes[0];
            assert_eq!(
                (first.cause, first.likelihood),
                (*cause, *likelihood),
                "case {index}: {causes:#?}"
            );
            assert!(!first.evidence.is_empty() && !first.advice.is_empty());
            assert!(causes.is_sorted_by_key(|cause| cause.likelihood));
        }
    }

    #[test]
    fn every_denial_is_a_case() {
        for denial in Denial::ALL {
            assert!(
                CASES.iter().any(|(cause, ..)| *cause == denial.as_str()),
                "{denial}"
            );
        }
    }

    #[test]
    fn what_the_audit_does_not_keep_is_not_missed() {
        let mut evidence = sound();
        evidence.token.bytes = None;
        evidence.token.header.remove("alg");
        evidence
            .token
            .claims
            .retain(|name, _| ["iss", "sub", "aud", "iat", "exp", "jti"].contains(&name.as_str()));
        let causes: Vec<&str> = rank(&evidence).iter().map(|cause| cause.cause).collect();
        assert_eq!(causes, ["jti_reused", "rule_archived"]);
    }

    #[test]
    fn another_issuers_token_is_not_compared_with_our_keys() {
        let mut evidence = sound();
        claim(&mut evidence, "iss", json!("https://other.example.org"));
        evidence.issuance = Issuance::Unknown;
        evidence.keys.clear();
        let causes: Vec<&str> = rank(&evidence).iter().map(|cause| cause.cause).collect();
        assert_eq!(
            causes,
            [
                "issuer_mismatch",
                "not_issued_here",
                "jti_reused",
                "rule_archived"
            ]
        );
    }

    #[test]
    fn several_faults_are_all_told() {
        let mut evidence = sound();
        claim(&mut evidence, "exp", json!(NOW - 10 + 7200));
        claim(&mut evidence, "aud", json!("https://api.anthropic.com/"));
        variable(&mut evidence, "ANTHROPIC_API_KEY", "sk-x");
        let causes: Vec<&str> = rank(&evidence).iter().map(|cause| cause.cause).collect();
        assert_eq!(
            causes,
            [
                "lifetime",
                "audience",
                "api_key_shadows_federation",
                "jti_reused",
                "rule_archived"
            ]
        );
        assert!(!format!("{:?}", rank(&evidence)).contains("sk-x"));
    }
}
