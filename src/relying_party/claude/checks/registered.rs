//! The rule, its issuer and its service account as Claude's Admin API returned them: whether they are usable,
//! whether they belong to this issuer, and whether a token satisfies them.

use super::super::{
    Accepted, Denied, Evaluation, ExchangeRequest, FederationIssuer, FederationRule, JwksSource,
    ServiceAccount, evaluate,
};
use super::{Check, Expected, KeyState, Link, difference, short, shorts};
use crate::domain::remedy::Remedy;
use crate::jose::ForeignKeySet;
use crate::ports::time::UnixTime;

/// The name of the checks of what is registered.
const REGISTERED: &str = "registered";

/// What was read back.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The rule that the agent is linked to, with all its workspaces.
    pub rule: FederationRule,
    /// The rule's issuer.
    pub issuer: FederationIssuer,
    /// The rule's service account, with all its workspaces.
    pub account: ServiceAccount,
}

/// What this side knows, which must agree with what is registered.
#[derive(Clone, Copy, Debug)]
pub struct Ours<'a> {
    /// The agent's name.
    pub agent: &'a str,
    /// This issuer's URL.
    pub issuer_url: &'a str,
    /// Its keys.
    pub keys: &'a [KeyState],
    /// What the agent is linked to.
    pub link: &'a Link,
}

impl Ours<'_> {
    /// The command that puts right what is registered.
    fn apply(&self) -> Remedy {
        Remedy::command(format!("claude connect --agent {} --apply", self.agent))
    }
}

impl Registered {
    /// What they require of a token.
    #[must_use]
    pub fn expected(&self) -> Expected {
        Expected {
            rule: self.rule.match_.clone(),
            is_given: true,
            max_lifetime: self.issuer.max_jwt_lifetime_seconds,
            issuer: self.issuer.issuer_url.clone(),
            is_inline: matches!(self.issuer.jwks, JwksSource::Inline { .. }),
        }
    }

    /// Judges a token by them as Claude would, except for single use.
    ///
    /// # Errors
    /// With the denial.
    pub fn judge(
        &self,
        token: &str,
        request: &ExchangeRequest,
        keys: &ForeignKeySet,
        now: UnixTime,
    ) -> Result<Accepted, Denied> {
        evaluate(&Evaluation {
            token,
            issuer: &self.issuer,
            rule: &self.rule,
            service_account: Some(&self.account),
            keys,
            now,
            request,
        })
    }

    /// Whether they are usable and belong to this issuer: the problems, or one line that says what they
    /// are. Tokens are judged by [`Registered::judge`].
    #[must_use]
    pub fn checks(&self, ours: &Ours<'_>) -> Vec<Check> {
        let mut found: Vec<Check> = [
            self.archived(ours),
            self.issuer_url(ours),
            self.paused(ours),
            self.inline_keys(ours),
            self.lifetime(ours),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !self.issuer.check_jti {
            found.push(Check::warn(
                REGISTERED,
                format!(
                    "the issuer {} accepts the same token repeatedly (`check_jti` is off)",
                    self.issuer.id
                ),
                Remedy::action(
                    "turn on `check_jti` in the Console; every firman token has its own `jti`",
                ),
            ));
        }
        if !found.is_empty() {
            return found;
        }
        let keys = match &self.issuer.jwks {
            JwksSource::Inline { keys } => format!("{} inline keys", keys.len()),
            JwksSource::Discovery {
                discovery_base: Some(base),
                ..
            } => format!("keys by discovery at `{base}`"),
            JwksSource::Discovery {
                discovery_base: None,
                ..
            } => "keys by discovery".to_owned(),
            JwksSource::ExplicitUrl { url, .. } => format!("keys at `{url}`"),
        };
        vec![Check::ok(
            REGISTERED,
            format!(
                "rule {} of issuer {} ({keys}) grants {} scope {} for {} s",
                self.rule.id,
                self.issuer.id,
                self.rule.service_account_id(),
                self.rule.oauth_scope,
                self.rule.token_lifetime_seconds
            ),
        )]
    }

    fn archived(&self, ours: &Ours<'_>) -> Option<Check> {
        let objects = [
            ("rule", self.rule.id.as_str(), &self.rule.archived_at),
            ("issuer", self.issuer.id.as_str(), &self.issuer.archived_at),
            (
                "service account",
                self.account.id.as_str(),
                &self.account.archived_at,
            ),
        ];
        objects.into_iter().find_map(|(what, id, at)| {
            let at = at.as_deref()?;
            let seen = format!("the {what} {id} was archived at {at}");
            // Archived objects cannot be restored.
            Some(Check::fail(REGISTERED, seen, ours.apply()))
        })
    }

    fn issuer_url(&self, ours: &Ours<'_>) -> Option<Check> {
        let theirs = &self.issuer.issuer_url;
        let difference = difference(theirs, ours.issuer_url)?;
        Some(Check::fail(
            REGISTERED,
            format!(
                "the issuer {} is for {theirs}, not for {}: {difference}",
                self.issuer.id, ours.issuer_url
            ),
            Remedy::action(
                "correct the issuer URL in the Console, or restart with the right `--issuer-url`",
            ),
        ))
    }

    /// After repeated failures Claude stops fetching keys until an administrator resumes it.
    fn paused(&self, ours: &Ours<'_>) -> Option<Check> {
        let failures = self
            .issuer
            .poll_status
            .as_ref()
            .map_or(0, |status| status.consecutive_failures);
        if let Some(at) = &self.issuer.jwks_polling_disabled_at {
            return Some(Check::fail(
                REGISTERED,
                format!(
                    "Claude stopped fetching the keys of the issuer {} at {at}, after {failures} failures",
                    self.issuer.id
                ),
                // Claude does not resume it on its own.
                ours.apply(),
            ));
        }
        (failures > 0).then(|| {
            Check::warn(
                REGISTERED,
                format!(
                    "Claude failed to fetch the keys of the issuer {} {failures} times in a row",
                    self.issuer.id
                ),
                Remedy::action("fix what fails in the other checks before Claude stops trying"),
            )
        })
    }

    fn inline_keys(&self, ours: &Ours<'_>) -> Option<Check> {
        let JwksSource::Inline { keys } = &self.issuer.jwks else {
            return None;
        };
        let has = |key: &KeyState| keys.iter().any(|inline| inline["kid"] == key.kid.as_str());
        let missing = |state: &str| -> Vec<&str> {
            let of = ours
                .keys
                .iter()
                .filter(|key| key.state == state && !has(key));
            of.map(|key| key.kid.as_str()).collect()
        };
        let again = Remedy::command(format!(
            "claude connect --agent {} --inline-keys --apply",
            ours.agent
        ));
        let told = |what: &str, kids: &[&str]| {
            let id = &self.issuer.id;
            format!(
                "the inline keys of the issuer {id} lack the {what} key {}",
                shorts(kids)
            )
        };
        let (active, prepared) = (missing("active"), missing("prepared"));
        if !active.is_empty() {
            return Some(Check::fail(REGISTERED, told("signing", &active), again));
        }
        if !prepared.is_empty() {
            return Some(Check::warn(REGISTERED, told("prepared", &prepared), again));
        }
        let gone = ours
            .keys
            .iter()
            .find(|key| key.state == "revoked" && has(key))?;
        Some(Check::fail(
            REGISTERED,
            format!(
                "the inline keys of the issuer {} hold the revoked key {}",
                self.issuer.id,
                short(&gone.kid)
            ),
            again,
        ))
    }

    /// After a suspension the agent's access at Claude ends by the linked lifetime.
    fn lifetime(&self, ours: &Ours<'_>) -> Option<Check> {
        let theirs = self.rule.token_lifetime_seconds;
        let linked = ours.link.token_lifetime?;
        (linked != theirs).then(|| {
            Check::warn(
                REGISTERED,
                format!(
                    "the rule {} grants tokens of {theirs} s, but the link says {linked} s",
                    self.rule.id
                ),
                ours.apply(),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Status;
    use super::*;

    const URL: &str = "https://id.example.com";

    fn registered() -> Value {
        json!({
            "rule": {
                "id": "fdrl_1", "name": "mailer", "issuer_id": "fdis_1",
                "match": { "subject_prefix": "agent:mailer", "audience": "https://api.anthropic.com" },
                "target": { "type": "service_account", "service_account_id": "svac_1" },
                "oauth_scope": "workspace:developer", "token_lifetime_seconds": 600, "workspace_id": "default",
            },
            "issuer": { "id": "fdis_1", "name": "firman", "issuer_url": URL },
            "account": { "id": "svac_1", "name": "mailer" },
        })
    }

    fn checks(edit: fn(&mut Value)) -> Vec<Check> {
        let mut value = registered();
        edit(&mut value);
        let registered = Registered {
            rule: serde_json::from_value(value["rule"].clone()).unwrap(),
            issuer: serde_json::from_value(value["issuer"].clone()).unwrap(),
            account: serde_json::from_value(value["account"].clone()).unwrap(),
        };
        let key = |kid: &str, state: &str| KeyState {
            kid: kid.to_owned(),
            state: state.to_owned(),
            created_at: None,
            since: None,
        };
        let link = Link {
            token_lifetime: Some(600),
            ..Link::default()
        };
        registered.checks(&Ours {
            agent: "mailer",
            issuer_url: URL,
            keys: &[
                key("now", "active"),
                key("next", "prepared"),
                key("bad", "revoked"),
            ],
            link: &link,
        })
    }

    #[test]
    fn what_is_wrong_with_what_is_registered_is_told_by_its_cause() {
        for (edit, status, seen) in [
            (
                (|v| v["rule"]["archived_at"] = json!("2027-01-01T00:00:00Z")) as fn(&mut Value),
                Status::Fail,
                "the rule fdrl_1 was archived at 2027-01-01T00:00:00Z",
            ),
            (
                |v| v["account"]["archived_at"] = json!("2027-01-01T00:00:00Z"),
                Status::Fail,
                "the service account svac_1 was archived at 2027-01-01T00:00:00Z",
            ),
            (
                |v| v["issuer"]["issuer_url"] = json!("https://id.example.com/"),
                Status::Fail,
                "the issuer fdis_1 is for https://id.example.com/, not for https://id.example.com: they differ by a trailing slash",
            ),
            (
                |v| {
                    v["issuer"]["jwks_polling_disabled_at"] = json!("2027-01-01T00:00:00Z");
                    v["issuer"]["poll_status"] = json!({ "consecutive_failures": 5 });
                },
                Status::Fail,
                "Claude stopped fetching the keys of the issuer fdis_1 at 2027-01-01T00:00:00Z, after 5 failures",
            ),
            (
                |v| v["issuer"]["poll_status"] = json!({ "consecutive_failures": 2 }),
                Status::Warn,
                "Claude failed to fetch the keys of the issuer fdis_1 2 times in a row",
            ),
            (
                |v| v["issuer"]["jwks"] = json!({ "type": "inline", "keys": [{ "kid": "next" }] }),
                Status::Fail,
                "the inline keys of the issuer fdis_1 lack the signing key now",
            ),
            (
                |v| v["issuer"]["jwks"] = json!({ "type": "inline", "keys": [{ "kid": "now" }] }),
                Status::Warn,
                "the inline keys of the issuer fdis_1 lack the prepared key next",
            ),
            (
                |v| {
                    v["issuer"]["jwks"] = json!({ "type": "inline", "keys": [{ "kid": "now" }, { "kid": "next" }, { "kid": "bad" }] });
                },
                Status::Fail,
                "the inline keys of the issuer fdis_1 hold the revoked key bad",
            ),
            (
                |v| v["rule"]["token_lifetime_seconds"] = json!(3600),
                Status::Warn,
                "the rule fdrl_1 grants tokens of 3600 s, but the link says 600 s",
            ),
            (
                |v| v["issuer"]["check_jti"] = json!(false),
                Status::Warn,
                "the issuer fdis_1 accepts the same token repeatedly (`check_jti` is off)",
            ),
        ] {
            let checks = checks(edit);
            assert_eq!(checks.len(), 1, "{seen}: {checks:#?}");
            assert_eq!((checks[0].status, checks[0].seen.as_str()), (status, seen));
            assert!(checks[0].hint.is_some(), "{seen}");
        }
    }

    #[test]
    fn what_is_in_order_is_told_in_one_line() {
        let checks = checks(|_| ());
        assert_eq!(
            checks,
            [Check::ok(
                REGISTERED,
                "rule fdrl_1 of issuer fdis_1 (keys by discovery) grants svac_1 scope workspace:developer for 600 s"
            )]
        );
    }
}
