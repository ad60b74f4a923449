//! What is allowed at Claude and still unwise: rules that take more than was meant, keys that go stale,
//! lifetimes that make trouble later.

use serde_json::{Map, Value};

use super::jwks_source::{JwksSource, check_dialled_url};
use super::rule::RuleMatch;
use super::setup::Setup;
use super::{LONGEST_MAX_JWT_LIFETIME_SECONDS, check_issuer};

/// The SDKs ask for a new access token this many seconds before the old one ends.
const ADVISORY_REFRESH_SECONDS: i64 = 120;
/// An identity token that lives longer than this leaves access for hours after its agent was suspended.
const LONG_IDENTITY_TOKEN_SECONDS: i64 = 3600;
/// Claims of ours that are arrays or objects, which only CEL can see into.
const NO_STRINGS: [&str; 3] = ["act", "groups", "roles"];

/// Something to think about before it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// A stable word for programs.
    pub code: &'static str,
    /// The sentence for people: what it is and what to do.
    pub text: String,
}

fn warning(code: &'static str, text: impl Into<String>) -> Warning {
    Warning {
        code,
        text: text.into(),
    }
}

impl Setup {
    /// What is unwise about this set-up.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut found = self.issuer_warnings();
        found.extend(rule_warnings(&self.rule_match(), None));
        found.extend(self.lifetime_warnings());
        if self.oauth_scope == "org:admin" {
            found.push(warning(
                "admin_scope",
                "the scope org:admin lets the agent manage the whole organization; workspace:developer is enough for messages. Its rule gets an issuer of its own: Claude lets no OAuth token change an issuer that backs such a rule, so that the keys of all your agents could no longer be updated",
            ));
        }
        found
    }

    fn issuer_warnings(&self) -> Vec<Warning> {
        let mut found = Vec::new();
        if self.issuer_url.ends_with('/') {
            found.push(warning(
                "issuer_slash",
                "the issuer URL ends in a slash; Claude compares it byte for byte, and whether it takes the slash off before it looks for the discovery document is not documented",
            ));
        }
        match &self.jwks {
            JwksSource::Inline { .. } => {
                let told = self.key_consumer.as_ref().map_or(String::new(), |consumer| {
                    format!("; then say so, for no new key signs before (firman key consumer ack {consumer})")
                });
                found.push(warning(
                    "inline_keys",
                    format!("inline keys are never fetched again: after each rotation register the new key there and take retired ones out{told}"),
                ));
            }
            JwksSource::Discovery { .. } | JwksSource::ExplicitUrl { .. } => {
                if let Some((field, url)) = self.jwks.dialled_url(&self.issuer_url)
                    && let Err(error) = check_dialled_url(field, &url, false)
                {
                    found.push(warning(
                        "not_reachable",
                        format!(
                            "Claude cannot fetch keys from {url} ({}); register them inline, or publish a copy (firman publish-static) and give it as discovery base",
                            error.problem
                        ),
                    ));
                    return found;
                }
            }
        }
        if let Err(error) = check_issuer(&self.issuer_url, &self.jwks, 1, false) {
            found.push(warning(
                "refused",
                format!("Claude would refuse the issuer: {error}"),
            ));
        }
        found
    }

    fn lifetime_warnings(&self) -> Vec<Warning> {
        let mut found = Vec::new();
        if self.identity_token_seconds > self.max_jwt_lifetime_seconds {
            found.push(warning(
                "lifetime",
                format!(
                    "identity tokens live {} s, but Claude is told to take at most {} s: every exchange would fail; shorten the resource's lifetime or raise the maximum",
                    self.identity_token_seconds, self.max_jwt_lifetime_seconds
                ),
            ));
        }
        if self.max_jwt_lifetime_seconds > LONGEST_MAX_JWT_LIFETIME_SECONDS {
            found.push(warning(
                "max_lifetime",
                format!(
                    "Claude takes no maximum above {LONGEST_MAX_JWT_LIFETIME_SECONDS} s (49 h)"
                ),
            ));
        }
        if self.identity_token_seconds > LONG_IDENTITY_TOKEN_SECONDS {
            found.push(warning(
                "long_identity_token",
                "an identity token of more than an hour keeps a suspended agent's way open for as long; ten minutes are enough, since the file is kept fresh",
            ));
        }
        let access =
            super::access_token_lifetime(self.token_lifetime_seconds, self.identity_token_seconds);
        if access <= ADVISORY_REFRESH_SECONDS {
            found.push(warning(
                "short_access_token",
                format!(
                    "access tokens would live {access} s; the SDKs renew {ADVISORY_REFRESH_SECONDS} s before the end, so that every call would try an exchange, each with a token of its own"
                ),
            ));
        }
        found
    }
}

/// What is unwise about a rule; `claims` is a token it is meant for, when there is one.
#[must_use]
pub fn rule_warnings(rule: &RuleMatch, claims: Option<&Map<String, Value>>) -> Vec<Warning> {
    let mut found = Vec::new();
    if let Some(prefix) = &rule.subject_prefix
        && let Some(start) = prefix.strip_suffix('*')
    {
        found.push(if start.ends_with([':', '.', '/', '|']) {
            warning(
                "prefix",
                format!("the rule takes every subject that starts with {start:?}: one account for all of them"),
            )
        } else {
            warning(
                "prefix_boundary",
                format!("the prefix {start:?} does not end at a boundary: it also takes {:?}; end it with ':' or '.'", format!("{start}x")),
            )
        });
    }
    if rule.audience.is_none() {
        found.push(warning(
            "no_audience",
            "the rule names no audience; set it, so that a token for another resource is never taken",
        ));
    }
    let names_actor = rule.claims.contains_key("acting_agent")
        || rule.condition.as_deref().is_some_and(|condition| {
            condition.contains("acting_agent") || condition.contains("act")
        });
    if !names_actor {
        found.push(warning(
            "no_acting_agent",
            "the rule does not pin acting_agent: a token of another agent that acts for this subject would pass as well",
        ));
    }
    for name in rule.claims.keys() {
        let seen = claims.and_then(|claims| claims.get(name));
        let is_no_string = seen.map_or(NO_STRINGS.contains(&name.as_str()), |v| !v.is_string());
        if is_no_string {
            found.push(warning(
                "claim_needs_condition",
                format!("the claim {name:?} is no text; the claims map takes only top-level texts: use a condition such as \"x\" in claims.{name}"),
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn setup() -> Setup {
        Setup::new("mailer", "agent:mailer", "https://id.example.com")
    }

    fn codes(warnings: &[Warning]) -> Vec<&'static str> {
        warnings.iter().map(|warning| warning.code).collect()
    }

    #[test]
    fn everything_too_wide_is_warned_about() {
        for (setup, expected) in [
            (
                Setup {
                    issuer_url: "https://id.example.com/".to_owned(),
                    ..setup()
                },
                vec!["issuer_slash"],
            ),
            (
                Setup {
                    issuer_url: "http://127.0.0.1:8080".to_owned(),
                    ..setup()
                },
                vec!["not_reachable"],
            ),
            (
                Setup {
                    issuer_url: "https://id.corp.internal".to_owned(),
                    ..setup()
                },
                vec!["not_reachable"],
            ),
            (
                Setup {
                    identity_token_seconds: 7200,
                    ..setup()
                },
                vec!["lifetime", "long_identity_token"],
            ),
            (
                Setup {
                    max_jwt_lifetime_seconds: 200_000,
                    ..setup()
                },
                vec!["max_lifetime"],
            ),
            (
                Setup {
                    identity_token_seconds: 60,
                    ..setup()
                },
                vec!["short_access_token"],
            ),
            (
                Setup {
                    token_lifetime_seconds: 60,
                    ..setup()
                },
                vec!["short_access_token"],
            ),
            (
                Setup {
                    oauth_scope: "org:admin".to_owned(),
                    ..setup()
                },
                vec!["admin_scope"],
            ),
        ] {
            assert_eq!(codes(&setup.warnings()), expected, "{setup:?}");
        }
        let inline = Setup {
            jwks: JwksSource::Inline { keys: Vec::new() },
            ..setup()
        };
        assert_eq!(codes(&inline.warnings()), ["inline_keys", "refused"]);
    }

    #[test]
    fn a_rule_that_takes_more_than_one_agent_is_warned_about() {
        let rule = |value: Value| serde_json::from_value::<RuleMatch>(value).unwrap();
        let pinned = json!({"acting_agent": "agent:a"});
        for (value, expected) in [
            (
                json!({"subject_prefix": "agent:a", "claims": pinned}),
                vec!["no_audience"],
            ),
            (
                json!({"subject_prefix": "agent:a", "audience": "x"}),
                vec!["no_acting_agent"],
            ),
            (
                json!({"subject_prefix": "agent:a*", "audience": "x", "claims": pinned}),
                vec!["prefix_boundary"],
            ),
            (
                json!({"subject_prefix": "agent:a.*", "audience": "x", "claims": pinned}),
                vec!["prefix"],
            ),
            (
                json!({"audience": "x", "claims": {"acting_agent": "agent:a", "groups": "deployers"}}),
                vec!["claim_needs_condition"],
            ),
        ] {
            assert_eq!(
                codes(&rule_warnings(&rule(value.clone()), None)),
                expected,
                "{value}"
            );
        }
        let level =
            rule(json!({"audience": "x", "claims": {"acting_agent": "agent:a", "level": "3"}}));
        let claims = json!({"acting_agent": "agent:a", "level": 3});
        assert_eq!(
            codes(&rule_warnings(&level, claims.as_object())),
            ["claim_needs_condition"]
        );
    }

    #[test]
    fn the_proposed_set_up_is_silent() {
        assert_eq!(setup().warnings(), []);
    }
}
