//! What Claude permits but an operator should know: rules that match more than intended, keys that go stale,
//! lifetimes that cause trouble later.

use serde_json::{Map, Value};

use super::jwks_source::{JwksSource, check_dialled_url};
use super::rule::RuleMatch;
use super::setup::Setup;
use super::{LONGEST_MAX_JWT_LIFETIME_SECONDS, check_issuer};
use crate::domain::remedy::Remedy;

/// The SDKs request a new access token this many seconds before the old one expires.
const ADVISORY_REFRESH_SECONDS: i64 = 120;
/// An identity token that lives longer than this keeps access open for hours after its agent was suspended.
const LONG_IDENTITY_TOKEN_SECONDS: i64 = 3600;
/// Claims of ours that are arrays or objects, which only CEL can match.
const NO_STRINGS: [&str; 3] = ["act", "groups", "roles"];

/// A fact to consider before the setup is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// A stable word for programs.
    pub code: &'static str,
    /// The sentence for people.
    pub text: String,
    /// What to do about it, when that is one command or action.
    pub hint: Option<Remedy>,
}

impl Warning {
    /// The same with what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: Remedy) -> Self {
        self.hint = Some(hint);
        self
    }
}

/// A warning without a hint.
fn warning(code: &'static str, text: impl Into<String>) -> Warning {
    Warning {
        code,
        text: text.into(),
        hint: None,
    }
}

impl Setup {
    /// What to consider about this setup.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut found = self.issuer_warnings();
        found.extend(rule_warnings(&self.rule_match(), None));
        found.extend(self.lifetime_warnings());
        if self.oauth_scope == "org:admin" {
            found.push(warning(
                "admin_scope",
                "the scope `org:admin` lets the agent manage the whole organization. Its rule gets a separate issuer, because Claude lets no OAuth token change an issuer that backs such a rule",
            ).with_hint(Remedy::action("use `--scope workspace:developer` for messages")));
        }
        found
    }

    fn issuer_warnings(&self) -> Vec<Warning> {
        let mut found = Vec::new();
        if self.issuer_url.ends_with('/') {
            found.push(warning(
                "issuer_slash",
                // Not documented: whether Claude strips it before it looks for the discovery document.
                "the issuer URL ends in a slash, which Claude compares byte for byte",
            ));
        }
        match &self.jwks {
            JwksSource::Inline { .. } => {
                let inline = warning(
                    "inline_keys",
                    "Claude does not refresh inline keys. After each rotation update the keys at Claude, then acknowledge them: only then does the new key sign",
                );
                found.push(match &self.key_consumer {
                    Some(consumer) => {
                        inline.with_hint(Remedy::command(format!("key consumer ack {consumer}")))
                    }
                    None => inline,
                });
            }
            JwksSource::Discovery { .. } | JwksSource::ExplicitUrl { .. } => {
                if let Some((field, url)) = self.jwks.dialled_url(&self.issuer_url)
                    && let Err(error) = check_dialled_url(field, &url, false)
                {
                    found.push(
                        warning(
                            "not_reachable",
                            format!("Claude cannot fetch keys from `{url}`: {}", error.problem),
                        )
                        .with_hint(Remedy::action("use `--inline-keys`, or publish a copy and name it with `--discovery-base`")),
                    );
                    return found;
                }
            }
        }
        if let Err(error) = check_issuer(&self.issuer_url, &self.jwks, 1, false) {
            found.push(warning(
                "refused",
                format!("Claude rejects the issuer: {error}"),
            ));
        }
        found
    }

    fn lifetime_warnings(&self) -> Vec<Warning> {
        let mut found = Vec::new();
        if self.identity_token_seconds > self.max_jwt_lifetime_seconds {
            found.push(
                warning(
                    "lifetime",
                    format!(
                        "identity tokens live {} s, but the issuer at Claude accepts at most {} s: every exchange fails",
                        self.identity_token_seconds, self.max_jwt_lifetime_seconds
                    ),
                )
                .with_hint(Remedy::command("resource edit RESOURCE --lifetime 10m")),
            );
        }
        if self.max_jwt_lifetime_seconds > LONGEST_MAX_JWT_LIFETIME_SECONDS {
            found.push(warning(
                "max_lifetime",
                format!(
                    "the longest lifetime that Claude accepts for an issuer is {LONGEST_MAX_JWT_LIFETIME_SECONDS} s (49 h)"
                ),
            ));
        }
        if self.identity_token_seconds > LONG_IDENTITY_TOKEN_SECONDS {
            found.push(
                warning(
                    "long_identity_token",
                    format!(
                        "identity tokens live {} s, and a suspended agent can still exchange one until it expires",
                        self.identity_token_seconds
                    ),
                )
                .with_hint(Remedy::command("resource edit RESOURCE --lifetime 10m")),
            );
        }
        let access =
            super::access_token_lifetime(self.token_lifetime_seconds, self.identity_token_seconds);
        if access <= ADVISORY_REFRESH_SECONDS {
            found.push(warning(
                "short_access_token",
                format!(
                    "access tokens live {access} s, and the SDKs renew {ADVISORY_REFRESH_SECONDS} s before the end: every call makes an exchange"
                ),
            ));
        }
        found
    }
}

/// What to consider about a rule; `claims` is a token it is meant for, when there is one.
#[must_use]
pub fn rule_warnings(rule: &RuleMatch, claims: Option<&Map<String, Value>>) -> Vec<Warning> {
    let mut found = Vec::new();
    if let Some(prefix) = &rule.subject_prefix
        && let Some(start) = prefix.strip_suffix('*')
    {
        found.push(if start.ends_with([':', '.', '/', '|']) {
            warning(
                "prefix",
                format!(
                    "the rule accepts every subject that starts with {start:?}: one account for all of them"
                ),
            )
        } else {
            warning(
                "prefix_boundary",
                format!(
                    "the prefix {start:?} does not end at a separator: it also accepts {:?}",
                    format!("{start}x")
                ),
            )
            .with_hint(Remedy::action("end the prefix with `:` or `.`"))
        });
    }
    if rule.audience.is_none() {
        found.push(
            warning(
                "no_audience",
                "the rule has no audience, so Claude's default for the issuer applies",
            )
            .with_hint(Remedy::action("set the rule's audience in the Console")),
        );
    }
    let names_actor = rule.claims.contains_key("acting_agent")
        || rule.condition.as_deref().is_some_and(|condition| {
            condition.contains("acting_agent") || condition.contains("act")
        });
    if !names_actor {
        found.push(
            warning(
                "no_acting_agent",
                "the rule does not pin `acting_agent`, so it also accepts another agent that acts for this subject",
            )
            .with_hint(Remedy::action("pin the claim `acting_agent` in the rule")),
        );
    }
    for name in rule.claims.keys() {
        let seen = claims.and_then(|claims| claims.get(name));
        let needs_condition = seen.map_or(NO_STRINGS.contains(&name.as_str()), |v| !v.is_string());
        if needs_condition {
            found.push(
                warning(
                    "claim_needs_condition",
                    format!("the claim `{name}` is not a string, and a rule's `claims` match only top-level strings"),
                )
                .with_hint(Remedy::action(format!(
                    "use a condition such as `\"x\" in claims.{name}`"
                ))),
            );
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
