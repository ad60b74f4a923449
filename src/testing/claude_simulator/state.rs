//! The simulation's memory besides its objects: access tokens, consumed `jti`s, the history. All bounded; what
//! expires first is dropped first.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;

use serde_json::{Value, json};

use crate::jose::digest::{base64url, sha256};
use crate::ports::random::{Random, random_bytes};
use crate::ports::time::UnixTime;
use crate::relying_party::claude::{Denied, IssuerObjectId, RuleId, ServiceAccountId, WorkspaceId};

/// Attempts that the history keeps.
const HISTORY_MAX: usize = 1000;
/// Access tokens that are remembered at once.
const TOKENS_MAX: usize = 10_000;
/// Used `jti`s that are remembered at once.
const JTIS_MAX: usize = 100_000;

/// A new access token that looks like Claude's.
pub(super) fn new_token(random: &dyn Random) -> String {
    let bytes: [u8; 48] = random_bytes(random);
    format!("sk-ant-oat01-{}", base64url(&bytes))
}

/// The grants of an access token.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) service_account_id: ServiceAccountId,
    pub(super) scope: String,
    pub(super) workspace_id: Option<WorkspaceId>,
    pub(super) expires_at: UnixTime,
}

/// One attempt to exchange a token.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) at: UnixTime,
    pub(super) request_id: String,
    pub(super) rule_id: RuleId,
    pub(super) issuer_id: Option<IssuerObjectId>,
    pub(super) service_account_id: ServiceAccountId,
    /// The claims of the token, verified or not; null when they cannot be read.
    pub(super) claims: Value,
    pub(super) denied: Option<Denied>,
}

/// One request to exchange a token, for a person at the terminal. Its texts are the caller's: escape them before
/// printing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedExchange {
    /// The time of the request.
    pub at: UnixTime,
    /// The `request-id` of its answer.
    pub request_id: String,
    /// The rule that it named, when it could be read.
    pub rule_id: Option<RuleId>,
    /// `sub`, verified or not, when it could be read.
    pub subject: Option<String>,
    /// `acting_agent`, if it differs from `sub`.
    pub acting_agent: Option<String>,
    /// The lifetime of the access token in seconds, or the reason of the denial.
    pub outcome: Result<i64, String>,
}

impl fmt::Display for SimulatedExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.rule_id.as_ref().map_or("-", RuleId::as_str);
        let subject = self.subject.as_deref().unwrap_or("-");
        let word = if self.outcome.is_ok() {
            "issued "
        } else {
            "denied "
        };
        write!(f, "{}  {word}  {subject}", self.at)?;
        if let Some(agent) = &self.acting_agent {
            write!(f, " by {agent}")?;
        }
        match &self.outcome {
            Ok(seconds) => write!(f, "  {rule}  for {seconds} s")?,
            Err(reason) => write!(f, "  {rule}  {reason}")?,
        }
        write!(f, "  {}", self.request_id)
    }
}

impl Attempt {
    /// The same for a person at the terminal; `lifetime` is that of the access token, if one was issued.
    pub(super) fn told(&self, lifetime: i64) -> SimulatedExchange {
        let text = |name: &str| self.claims[name].as_str().map(str::to_owned);
        let subject = text("sub");
        SimulatedExchange {
            at: self.at,
            request_id: self.request_id.clone(),
            rule_id: Some(self.rule_id.clone()),
            acting_agent: text("acting_agent").filter(|agent| Some(agent) != subject.as_ref()),
            subject,
            outcome: match &self.denied {
                None => Ok(lifetime),
                Some(denied) => Err(denied.to_string()),
            },
        }
    }

    /// In the shape of the Compliance API's `platform_federated_authentication`.
    fn to_value(&self) -> Value {
        let status = match &self.denied {
            None => json!({"outcome": "success", "reason": null, "detail": null}),
            Some(denied) => json!({
                "outcome": "denied",
                "reason": denied.denial.as_str(),
                "detail": denied.detail,
            }),
        };
        json!({
            "type": "platform_federated_authentication",
            "created_at": self.at.to_string(),
            "request_id": self.request_id,
            "event_data": {
                "federation_rule_id": self.rule_id,
                "issuer_id": self.issuer_id,
                "oidc_token": { "claims": self.claims, "jti": self.claims["jti"] },
                "requested_service_account_id": self.service_account_id,
            },
            "status": status,
            // Claude's history usually has no entry when the rule was not recognized.
            "in_console": self.issuer_id.is_some(),
        })
    }
}

/// The memory of the simulation.
#[derive(Debug, Default)]
pub(super) struct Memory {
    history: VecDeque<Attempt>,
    /// By digest, with the grants.
    tokens: HashMap<[u8; 32], Grant>,
    /// Per issuer and `jti`: until when it is remembered.
    jtis: HashMap<(IssuerObjectId, [u8; 32]), UnixTime>,
    /// The same by end, to forget what ended.
    ends: BTreeMap<(UnixTime, u64), (IssuerObjectId, [u8; 32])>,
    counter: u64,
}

impl Memory {
    /// Consumes `jti` for an issuer, to be remembered until `until`; false when it was consumed before.
    pub(super) fn consume_jti(
        &mut self,
        issuer: &IssuerObjectId,
        jti: &str,
        until: UnixTime,
        now: UnixTime,
    ) -> bool {
        while let Some((&(end, number), _)) = self.ends.first_key_value() {
            if end > now && self.jtis.len() < JTIS_MAX {
                break;
            }
            if let Some(key) = self.ends.remove(&(end, number)) {
                self.jtis.remove(&key);
            }
        }
        let key = (issuer.clone(), sha256(jti.as_bytes()));
        if self.jtis.contains_key(&key) {
            return false;
        }
        self.counter += 1;
        self.ends.insert((until, self.counter), key.clone());
        self.jtis.insert(key, until);
        true
    }

    /// Remembers an access token.
    pub(super) fn grant(&mut self, token: &str, grant: Grant, now: UnixTime) {
        if self.tokens.len() >= TOKENS_MAX {
            self.tokens.retain(|_, grant| grant.expires_at > now);
        }
        if self.tokens.len() >= TOKENS_MAX
            && let Some(first) = self
                .tokens
                .iter()
                .min_by_key(|(_, grant)| grant.expires_at)
                .map(|(key, _)| *key)
        {
            self.tokens.remove(&first);
        }
        self.tokens.insert(sha256(token.as_bytes()), grant);
    }

    /// The grants of `token`, expired or not.
    pub(super) fn granted(&self, token: &str) -> Option<&Grant> {
        self.tokens.get(&sha256(token.as_bytes()))
    }

    /// Records an attempt.
    pub(super) fn record(&mut self, attempt: Attempt) {
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_back();
        }
        self.history.push_front(attempt);
    }

    /// The attempts, newest first.
    pub(super) fn history(&self) -> Vec<Value> {
        self.history.iter().map(Attempt::to_value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jti_is_consumed_once_per_issuer_until_its_end() {
        let mut memory = Memory::default();
        let (one, two) = (
            IssuerObjectId::parse("fdis_1").unwrap(),
            IssuerObjectId::parse("fdis_2").unwrap(),
        );
        let (now, until) = (UnixTime(100), UnixTime(200));
        assert!(memory.consume_jti(&one, "a", until, now));
        assert!(!memory.consume_jti(&one, "a", until, UnixTime(199)));
        assert!(memory.consume_jti(&two, "a", until, now));
        assert!(memory.consume_jti(&one, "b", until, now));
        assert!(memory.consume_jti(&one, "a", UnixTime(300), UnixTime(200)));
    }
}
