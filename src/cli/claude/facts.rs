//! What `verify` and `diagnose` know before they check: the issuer, the agent, its link with Claude, the keys
//! and their consumers; and the rule, as named or as `connect` makes it.

use clap::Args;
use serde_json::{Map, Value};

use super::connection::key_consumer_name;
use crate::api::claude_link::ClaudeLink;
use crate::api::issuer::Issuer;
use crate::api::key::Key;
use crate::api::key_consumer as api;
use crate::api::list::List;
use crate::api::resource::Resource;
use crate::cli::client::{AdminClient, Extent, Query};
use crate::cli::duration::parse_duration;
use crate::cli::error::CliError;
use crate::cli::parse::parse_pair;
use crate::domain::remedy::Remedy;
use crate::ports::time::UnixTime;
use crate::relying_party::claude::checks::{Expected, KeyConsumer, KeyState, Link};
use crate::relying_party::claude::{
    DEFAULT_MAX_JWT_LIFETIME_SECONDS, EXPECTED_AUDIENCE, RuleMatch, Setup,
};

/// The rule at Claude and its issuer there, where they differ from what `connect` makes.
#[derive(Debug, Args)]
#[command(next_help_heading = "The rule at Claude")]
pub(super) struct RuleArgs {
    /// The rule's subject: exact, or a prefix if it ends in `*`
    #[arg(long, value_name = "SUBJECT")]
    subject_prefix: Option<String>,
    /// The rule's audience
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// A claim that the rule pins; repeatable
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = parse_pair)]
    claims: Vec<(String, String)>,
    /// The rule's CEL condition
    #[arg(long, value_name = "CEL", allow_hyphen_values = true)]
    condition: Option<String>,
    /// The issuer's registered maximum token lifetime [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_lifetime: Option<u64>,
    /// The issuer URL as registered at Claude [default: this issuer's]
    #[arg(long, value_name = "URL")]
    registered_issuer: Option<String>,
    /// The keys are registered inline, so Claude fetches nothing
    #[arg(long)]
    inline: bool,
}

impl RuleArgs {
    /// Whether any of it was named, so that it is not read back.
    pub(super) fn is_named(&self) -> bool {
        self.is_rule_named()
            || self.max_lifetime.is_some()
            || self.registered_issuer.is_some()
            || self.inline
    }

    fn is_rule_named(&self) -> bool {
        self.subject_prefix.is_some()
            || self.audience.is_some()
            || !self.claims.is_empty()
            || self.condition.is_some()
    }

    /// Whether the keys are registered inline.
    pub(super) fn is_inline(&self) -> bool {
        self.inline
    }

    /// What Claude requires of a token of `subject`.
    pub(super) fn expected(
        &self,
        facts: &Facts,
        subject: &str,
        audience: Option<&str>,
    ) -> Expected {
        let is_given = self.is_rule_named();
        let rule = if is_given {
            RuleMatch {
                subject_prefix: self.subject_prefix.clone(),
                audience: self.audience.clone(),
                claims: self.claims.iter().cloned().collect(),
                condition: self.condition.clone(),
            }
        } else {
            let usual = Setup::new("", subject, &facts.issuer);
            Setup {
                audience: audience.unwrap_or(EXPECTED_AUDIENCE).to_owned(),
                ..usual
            }
            .rule_match()
        };
        Expected {
            rule,
            is_given,
            max_lifetime: self
                .max_lifetime
                .map_or(DEFAULT_MAX_JWT_LIFETIME_SECONDS, |seconds| {
                    i64::try_from(seconds).unwrap_or(i64::MAX)
                }),
            issuer: self
                .registered_issuer
                .clone()
                .unwrap_or_else(|| facts.issuer.clone()),
            is_inline: self.inline,
        }
    }
}

/// What the admin API knows, independent of the agent.
pub(super) struct Facts {
    /// The issuer's URL.
    pub(super) issuer: String,
    /// The key consumer that stands for inline keys at Claude by default.
    pub(super) key_consumer: String,
    /// All its keys.
    pub(super) keys: Vec<KeyState>,
    /// The holders of copies of them.
    pub(super) consumers: Vec<KeyConsumer>,
}

impl Facts {
    /// Asks the admin API.
    pub(super) async fn load(admin: &AdminClient) -> Result<Self, CliError> {
        let issuer: Issuer = admin.get(&["issuer"], &Query::default()).await?;
        let keys: List<Key> = admin.get(&["keys"], &Query::default()).await?;
        let consumers: List<api::KeyConsumer> =
            admin.get(&["key-consumers"], &Query::default()).await?;
        Ok(Self {
            key_consumer: key_consumer_name(&issuer.slug),
            issuer: issuer.url,
            keys: keys.items.into_iter().map(key_state).collect(),
            consumers: consumers.items.into_iter().map(key_consumer).collect(),
        })
    }
}

fn key_state(key: Key) -> KeyState {
    KeyState {
        kid: key.kid,
        state: key.state,
        created_at: Some(UnixTime(key.created_at)),
        since: key.since.map(UnixTime),
    }
}

fn key_consumer(consumer: api::KeyConsumer) -> KeyConsumer {
    KeyConsumer {
        name: consumer.name,
        acknowledged: consumer.acknowledged,
        revoked: consumer.revoked,
    }
}

/// The agent's link with Claude, if it has one.
pub(super) async fn link(admin: &AdminClient, agent: &str) -> Result<Option<Link>, CliError> {
    match admin
        .get::<ClaudeLink>(&["agents", agent, "claude-link"], &Query::default())
        .await
    {
        Ok(link) => Ok(Some(Link {
            rule: link.rule_id,
            organization: link.organization_id,
            service_account: link.service_account_id,
            workspace: link.workspace_id,
            token_lifetime: link.token_lifetime,
        })),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every resource with profile `claude`.
pub(super) async fn claude_resources(admin: &AdminClient) -> Result<Vec<Resource>, CliError> {
    let mut resources = Vec::new();
    admin
        .each_page(
            &["resources"],
            &Query::default(),
            &Extent::default(),
            |page| {
                resources.extend(
                    page.into_iter()
                        .filter(|one: &Resource| one.profile == "claude"),
                );
                Ok(())
            },
        )
        .await?;
    Ok(resources)
}

/// The names that a remedy leaves open.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Names<'n> {
    pub(super) agent: Option<&'n str>,
    pub(super) resource: Option<&'n str>,
}

impl Names<'_> {
    /// `remedy` with the names that are known.
    pub(super) fn fill(&self, remedy: Remedy) -> Remedy {
        let fill = |mut text: String| {
            for (placeholder, name) in [("AGENT", self.agent), ("RESOURCE", self.resource)] {
                if let Some(name) = name {
                    text = text.replace(placeholder, name);
                }
            }
            text
        };
        match remedy {
            Remedy::Command(line) => Remedy::Command(fill(line)),
            Remedy::Action(sentence) => Remedy::Action(fill(sentence)),
        }
    }
}

/// The members of an object; none for another value.
pub(super) fn members(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
