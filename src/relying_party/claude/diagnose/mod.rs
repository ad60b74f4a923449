//! Why Claude denied a token. Every denial is the same opaque 401, so the likely causes are ranked by what this
//! side knows: the token, the audit, the keys, the link, the environment. Pure: the caller gathers the evidence.
//! A cause is *certain* only when the reference names it and the evidence shows it.

mod circumstances;
mod token;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use super::Denial;
use super::checks::{Expected, KeyConsumer, KeyState, Link, Registered};
use crate::domain::remedy::Remedy;
use crate::jose::{Audience, Claims};
use crate::ports::time::UnixTime;
use circumstances::{environment, replay, setup, standing, target};
use token::{demands, key, origin, shape, size, times};

/// Fetches that belong to one start of a workload.
pub const BURST_SECONDS: i64 = 600;

/// How sure a cause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Likelihood {
    /// Claude denies such a token.
    Certain,
    /// The evidence points to it.
    Likely,
    /// The evidence does not exclude it.
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

/// A cause, the evidence for it, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// A reason code: Claude's own where it has published one.
    pub cause: &'static str,
    /// How sure it is.
    pub likelihood: Likelihood,
    /// What points to it.
    pub evidence: String,
    /// What to do. `AGENT` and `RESOURCE` stand for the names in question.
    pub hint: Remedy,
}

/// A token as presented, or as far as the audit recorded it.
#[derive(Clone, Debug, Default)]
pub struct Token {
    /// The protected header.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Map<String, Value>,
    /// Its size in bytes; unknown when only the audit knows it.
    pub bytes: Option<usize>,
    /// Why it cannot be parsed, if so.
    pub fault: Option<String>,
}

/// The result of verifying it with the published key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Signature {
    /// Not verified: the token itself is not known, or the keys are inline.
    #[default]
    Unchecked,
    /// The key set could not be fetched, and why.
    NoKeySet(String),
    /// It verifies, or no published key has its `kid`.
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

    fn audience(&self) -> Option<Audience> {
        match self.claims.get("aud")? {
            Value::String(one) => Some(Audience::One(one.clone())),
            Value::Array(many) => {
                let texts = many.iter().filter_map(Value::as_str);
                Some(Audience::Many(texts.map(str::to_owned).collect()))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        }
    }

    /// The registered claims as far as they are there and of their type.
    fn registered_claims(&self) -> Claims {
        let text = |name: &str| self.text(name).map(str::to_owned);
        Claims {
            issuer: text("iss"),
            subject: text("sub"),
            audience: self.audience(),
            jwt_id: text("jti"),
            expires_at: self.time("exp"),
            not_before: self.time("nbf"),
            issued_at: self.time("iat"),
            ..Claims::default()
        }
    }

    /// Whether all claims are known, not only those that the audit records.
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

/// The token in the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuance {
    /// Not looked up: the token has no `jti`.
    Unasked,
    /// No token with this `jti` was ever issued.
    Unknown,
    /// It was issued.
    Issued(Fetch),
}

/// Everything that the ranking uses.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The current time.
    pub now: UnixTime,
    /// When Claude denied it, if known.
    pub refused_at: Option<UnixTime>,
    /// The token.
    pub token: Token,
    /// Whether it is signed by the key it names.
    pub signature: Signature,
    /// The audit's record of it.
    pub issuance: Issuance,
    /// Tokens issued to its agent around that time, oldest first, including this one.
    pub fetches: Vec<Fetch>,
    /// Our issuer URL.
    pub issuer: String,
    /// Our keys.
    pub keys: Vec<KeyState>,
    /// The holders of copies of them.
    pub consumers: Vec<KeyConsumer>,
    /// The ids at Claude that are stored with the agent.
    pub link: Option<Link>,
    /// What is registered at Claude, when it was read back.
    pub registered: Option<Registered>,
    /// Claude's answer when the linked rule was not found there.
    pub missing: Option<String>,
    /// What Claude requires, known or assumed.
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
    // For another issuer's token our keys do not matter.
    if evidence.issuance != Issuance::Unknown
        || evidence.token.text("iss") == Some(&evidence.issuer)
    {
        causes.extend(key(evidence));
    }
    causes.extend(standing(evidence));
    causes.extend(target(evidence));
    causes.extend(times(evidence));
    causes.extend(demands(evidence));
    causes.extend(environment(evidence));
    causes.extend(replay(evidence));
    causes.extend(setup(evidence));
    // Stable: among equals the order above holds, the usual ones first.
    causes.sort_by_key(|cause| cause.likelihood);
    // A cause that is already named as likelier is not repeated as possible.
    let mut named = BTreeSet::new();
    causes.retain(|cause| named.insert(cause.cause) || cause.likelihood != Likelihood::Possible);
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
        hint: denial.remedy(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{EXPECTED_AUDIENCE, RuleMatch};
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
            missing: None,
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

    /// The same with what is registered at Claude read back, which fits; `edit` may spoil it.
    fn read_back(evidence: &mut Evidence, edit: fn(&mut Value)) {
        let mut value = json!({
            "rule": {
                "id": "fdrl_01", "name": "mailer", "issuer_id": "fdis_01",
                "match": { "subject_prefix": "agent:mailer", "audience": EXPECTED_AUDIENCE },
                "target": { "type": "service_account", "service_account_id": "svac_01" },
                "oauth_scope": "workspace:developer", "workspace_id": "wrkspc_01",
            },
            "issuer": { "id": "fdis_01", "name": "firman", "issuer_url": ISSUER },
            "account": {
                "id": "svac_01", "name": "mailer", "workspaces": [{ "workspace_id": "wrkspc_01" }],
            },
        });
        edit(&mut value);
        let registered = Registered {
            rule: serde_json::from_value(value["rule"].take()).unwrap(),
            issuer: serde_json::from_value(value["issuer"].take()).unwrap(),
            account: serde_json::from_value(value["account"].take()).unwrap(),
        };
        evidence.expected = registered.expected();
        evidence.registered = Some(registered);
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
            claim(e, "iat", json!(NOW - 900));
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
        ("api_key_shadows_federation", Likely, |e| {
            variable(e, "ANTHROPIC_CUSTOM_HEADERS", "x-trace: 1\nX-Api-Key: sk-x")
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
        ("jti_reused", Possible, |e| read_back(e, |_| {})),
        ("rule_unknown", Likely, |e| {
            e.missing = Some("cannot read the rule fdrl_01".to_owned());
        }),
        ("rule_unknown", Possible, |e| {
            // Then a token may be used again.
            read_back(e, |v| v["issuer"]["check_jti"] = json!(false));
        }),
        ("rule_archived", Certain, |e| {
            read_back(e, |v| {
                v["rule"]["archived_at"] = json!("2026-11-01T00:00:00Z")
            });
        }),
        ("jwks_unavailable", Likely, |e| {
            read_back(e, |v| {
                v["issuer"]["poll_status"] = json!({ "consecutive_failures": 1 });
            });
        }),
        ("jwks_unavailable", Likely, |e| {
            read_back(e, |v| {
                v["issuer"]["jwks_polling_disabled_at"] = json!("2026-11-01T00:00:00Z");
            });
        }),
        ("unknown_kid", Certain, |e| {
            read_back(e, |v| {
                v["issuer"]["jwks"] = json!({ "type": "inline", "keys": [{ "kid": "key-0" }] });
            });
        }),
        ("jti_reused", Possible, |e| {
            // Withdrawn here, and still there.
            e.keys.clear();
            read_back(e, |v| {
                v["issuer"]["jwks"] = json!({ "type": "inline", "keys": [{ "kid": "key-1" }] });
            });
        }),
        ("jti_reused", Possible, |e| {
            // A key consumer with another copy.
            e.consumers = vec![KeyConsumer {
                name: "other".to_owned(),
                acknowledged: Vec::new(),
                revoked: Vec::new(),
            }];
            read_back(e, |_| {});
        }),
        ("service_account_mismatch", Likely, |e| {
            read_back(e, |v| {
                v["rule"]["target"]["service_account_id"] = json!("svac_02");
            });
        }),
        ("service_account_mismatch", Likely, |e| {
            variable(e, "ANTHROPIC_SERVICE_ACCOUNT_ID", "svac_02");
            read_back(e, |_| {});
        }),
        ("workspace_id_required", Likely, |e| {
            e.link.as_mut().unwrap().workspace = None;
            read_back(e, |v| v["rule"]["workspaces"] = json!(["default"]));
        }),
        ("jti_reused", Possible, |e| {
            // The environment names one of the two.
            e.link.as_mut().unwrap().workspace = None;
            variable(e, "ANTHROPIC_WORKSPACE_ID", "default");
            read_back(e, |v| v["rule"]["workspaces"] = json!(["default"]));
        }),
        ("workspace_not_allowed", Likely, |e| {
            variable(e, "ANTHROPIC_WORKSPACE_ID", "wrkspc_02");
            read_back(e, |_| {});
        }),
        ("workspace_not_allowed", Certain, |e| {
            read_back(e, |v| v["account"]["workspaces"] = json!([]));
        }),
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
            assert!(!first.evidence.is_empty() && !first.hint.to_string().is_empty());
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
    fn what_was_read_back_leaves_no_guesses() {
        let mut evidence = sound();
        evidence.link.as_mut().unwrap().workspace = None;
        read_back(&mut evidence, |_| {});
        let causes: Vec<&str> = rank(&evidence).iter().map(|cause| cause.cause).collect();
        assert_eq!(causes, ["jti_reused", "rule_unknown"]);
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
