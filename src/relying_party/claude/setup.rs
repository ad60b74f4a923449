//! The setup that lets one agent, or a team, into Claude: the Console's fields and the Admin API's objects.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::rule::{RuleMatch, pair_name, rule_name};
use super::{DEFAULT_MAX_JWT_LIFETIME_SECONDS, EXPECTED_AUDIENCE, JwksSource};
use crate::domain::claude_link::{
    IssuerObjectId, OrganizationId, RuleId, ServiceAccountId, WorkspaceId,
};

/// The access token lifetime that the Console's wizard proposes.
const PROPOSED_TOKEN_LIFETIME_SECONDS: i64 = 600;
/// The scope that the Console's wizard proposes.
const PROPOSED_SCOPE: &str = "workspace:developer";
/// The scope of administrators.
const ADMIN_SCOPE: &str = "org:admin";
/// Keeps a team's rule from accepting tokens in which another agent acts for one of the team.
const TEAM_CONDITION: &str = "claims.acting_agent == claims.sub && !has(claims.act)";
/// The default token file of a workload.
const TOKEN_FILE: &str = "/run/firman/claude-token";

/// The ids of the objects at Claude.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedIds {
    /// The organization.
    pub organization_id: OrganizationId,
    /// The rule.
    pub rule_id: RuleId,
    /// The account.
    pub service_account_id: ServiceAccountId,
    /// The issuer, when known.
    pub issuer_id: Option<IssuerObjectId>,
    /// The workspace to name in the exchange, if any.
    pub workspace_id: Option<WorkspaceId>,
}

/// One agent's way into Claude.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// The agent's name, its `client_id`; or `PREFIX.*` for a team.
    pub agent: String,
    /// The agent's subject, which is its `acting_agent` claim; of a team the prefix of theirs and `*`.
    pub subject: String,
    /// The subject that the agent acts for; `None`: itself.
    pub act_for: Option<String>,
    /// The issuer's URL, byte for byte.
    pub issuer_url: String,
    /// The audience: the resource's identifier.
    pub audience: String,
    /// The life of the identity tokens that the resource mints, in seconds.
    pub identity_token_seconds: i64,
    /// The longest life of an identity token to register, in seconds.
    pub max_jwt_lifetime_seconds: i64,
    /// The life of the access tokens, in seconds.
    pub token_lifetime_seconds: i64,
    /// The scope of the access tokens.
    pub oauth_scope: String,
    /// The workspace of the rule; `None`: the default one.
    pub workspace_id: Option<WorkspaceId>,
    /// Where Claude gets the keys.
    pub jwks: JwksSource,
    /// The key consumer that stands for inline keys; `None`: without one.
    pub key_consumer: Option<String>,
    /// The ids at Claude, once they are known.
    pub ids: Option<LinkedIds>,
    /// The SDKs' base URL; `None`: Claude's own.
    pub base_url: Option<String>,
    /// The agent's identity token file.
    pub token_file: String,
}

impl Setup {
    /// A setup with the values that the Console's wizard proposes, and keys by discovery.
    #[must_use]
    pub fn new(agent: &str, subject: &str, issuer_url: &str) -> Self {
        Self {
            agent: agent.to_owned(),
            subject: subject.to_owned(),
            act_for: None,
            issuer_url: issuer_url.to_owned(),
            audience: EXPECTED_AUDIENCE.to_owned(),
            identity_token_seconds: PROPOSED_TOKEN_LIFETIME_SECONDS,
            max_jwt_lifetime_seconds: DEFAULT_MAX_JWT_LIFETIME_SECONDS,
            token_lifetime_seconds: PROPOSED_TOKEN_LIFETIME_SECONDS,
            oauth_scope: PROPOSED_SCOPE.to_owned(),
            workspace_id: None,
            jwks: JwksSource::discovery(),
            key_consumer: None,
            ids: None,
            base_url: None,
            token_file: TOKEN_FILE.to_owned(),
        }
    }

    /// Whether it is for all agents whose subject has the prefix.
    #[must_use]
    pub fn is_team(&self) -> bool {
        self.subject.ends_with('*')
    }

    /// The name of the issuer at Claude. A rule with the scope `org:admin` has a separate issuer, because Claude lets
    /// no OAuth token change an issuer that backs such a rule.
    #[must_use]
    pub fn issuer_name(&self) -> String {
        let place = self
            .issuer_url
            .split_once("://")
            .map_or(self.issuer_url.as_str(), |(_, rest)| rest);
        if self.oauth_scope == ADMIN_SCOPE {
            rule_name(&format!("firman admin {place}"))
        } else {
            rule_name(&format!("firman {place}"))
        }
    }

    /// The name of the rule and of the service account at Claude.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.act_for {
            None => rule_name(&self.subject),
            Some(other) => pair_name(&self.subject, other),
        }
    }

    /// The `sub` of the tokens.
    #[must_use]
    pub fn token_subject(&self) -> &str {
        self.act_for.as_deref().unwrap_or(&self.subject)
    }

    /// The rule by the static matcher. It pins `sub` and `acting_agent`: the static matcher cannot see `act`, and a
    /// rule on `sub` alone would also accept a token of another agent that acts for this subject.
    #[must_use]
    pub fn rule_match(&self) -> RuleMatch {
        if self.is_team() {
            return RuleMatch {
                subject_prefix: Some(self.subject.clone()),
                audience: Some(self.audience.clone()),
                claims: BTreeMap::new(),
                condition: Some(TEAM_CONDITION.to_owned()),
            };
        }
        RuleMatch {
            subject_prefix: Some(self.token_subject().to_owned()),
            audience: Some(self.audience.clone()),
            claims: BTreeMap::from([("acting_agent".to_owned(), self.subject.clone())]),
            condition: None,
        }
    }

    /// The same by CEL, on `act.sub`.
    #[must_use]
    pub fn rule_match_by_condition(&self) -> RuleMatch {
        RuleMatch {
            subject_prefix: None,
            audience: Some(self.audience.clone()),
            claims: BTreeMap::new(),
            condition: Some(self.condition()),
        }
    }

    /// The CEL condition that pins the subject and who acts.
    #[must_use]
    pub fn condition(&self) -> String {
        if let Some(prefix) = self.subject.strip_suffix('*') {
            return format!(
                "claims.sub.startsWith({}) && {TEAM_CONDITION}",
                quoted(prefix)
            );
        }
        let (subject, actor) = (quoted(self.token_subject()), quoted(&self.subject));
        match self.act_for {
            None => format!(
                "claims.sub == {subject} && claims.acting_agent == {actor} && !has(claims.act)"
            ),
            Some(_) => format!(
                "claims.sub == {subject} && has(claims.act) && claims.act.sub == {actor} && !has(claims.act.act)"
            ),
        }
    }

    /// The fields of the Console (Settings, Workload identity, Connect workload, Custom OIDC) in its order. Its labels
    /// may change; the values matter.
    #[must_use]
    pub fn console_fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("Issuer name", self.issuer_name()),
            ("Issuer URL", self.issuer_url.clone()),
            ("JWKS source", self.jwks_label()),
        ];
        match &self.jwks {
            JwksSource::Discovery { discovery_base, .. } => fields.extend(
                discovery_base
                    .iter()
                    .map(|base| ("Discovery base", base.clone())),
            ),
            JwksSource::ExplicitUrl { url, .. } => fields.push(("JWKS URL", url.clone())),
            JwksSource::Inline { keys } => fields.push(("JWKS", json!(keys).to_string())),
        }
        let ca_cert_pem = self.jwks.ca_cert_pem();
        fields.extend(ca_cert_pem.map(|pem| ("CA certificate", pem.trim_end().to_owned())));
        fields.extend([
            (
                "Maximum identity-token lifetime",
                format!("{} s", self.max_jwt_lifetime_seconds),
            ),
            ("Service account", self.name()),
            ("Rule name", self.name()),
        ]);
        fields.extend(self.match_fields());
        fields.extend([
            ("Audience", self.audience.clone()),
            ("OAuth scope", self.oauth_scope.clone()),
            ("Workspace", self.workspace().to_string()),
            (
                "Token lifetime",
                format!("{} s", self.token_lifetime_seconds),
            ),
        ]);
        fields
    }

    fn match_fields(&self) -> Vec<(&'static str, String)> {
        if self.is_team() {
            return vec![
                ("Match type", "CEL".to_owned()),
                ("Subject prefix", self.subject.clone()),
                ("Condition", self.condition()),
            ];
        }
        vec![
            ("Match type", "Static".to_owned()),
            ("Subject prefix", self.token_subject().to_owned()),
            ("Claims", format!("acting_agent = {}", self.subject)),
            ("or Match type CEL", self.condition()),
        ]
    }

    fn jwks_label(&self) -> String {
        match self.jwks {
            JwksSource::Discovery { .. } => "Discovery",
            JwksSource::ExplicitUrl { .. } => "Explicit URL",
            JwksSource::Inline { .. } => "Inline (the bare array of keys)",
        }
        .to_owned()
    }

    pub(super) fn workspace(&self) -> WorkspaceId {
        self.workspace_id
            .clone()
            .unwrap_or_else(WorkspaceId::default_workspace)
    }

    /// The body of `POST /v1/organizations/service_accounts`.
    #[must_use]
    pub fn service_account_json(&self) -> Value {
        json!({ "name": self.name() })
    }

    /// The body of `POST /v1/organizations/federation_issuers`.
    #[must_use]
    pub fn issuer_json(&self) -> Value {
        json!({
            "name": self.issuer_name(),
            "issuer_url": self.issuer_url,
            "jwks": self.jwks,
            "check_jti": true,
            "max_jwt_lifetime_seconds": self.max_jwt_lifetime_seconds,
        })
    }

    /// The body of `POST /v1/organizations/federation_rules`, with the ids that are known.
    #[must_use]
    pub fn rule_json(&self) -> Value {
        self.rule_with(&self.rule_match())
    }

    /// The same with the CEL condition.
    #[must_use]
    pub fn rule_json_by_condition(&self) -> Value {
        self.rule_with(&self.rule_match_by_condition())
    }

    fn rule_with(&self, rule: &RuleMatch) -> Value {
        let issuer_id = self.ids.as_ref().and_then(|ids| ids.issuer_id.as_ref());
        json!({
            "name": self.name(),
            "issuer_id": issuer_id.map_or("fdis_…", IssuerObjectId::as_str),
            "match": rule,
            "target": { "type": "service_account", "service_account_id": self.id_texts().service_account },
            "oauth_scope": self.oauth_scope,
            "token_lifetime_seconds": self.token_lifetime_seconds,
            "workspace_id": self.workspace(),
        })
    }
}

/// Whether a rule is one that [`Setup::rule_match`] makes for a team.
#[must_use]
pub fn is_team_rule(rule: &RuleMatch) -> bool {
    rule.condition.as_deref() == Some(TEAM_CONDITION)
}

/// A CEL string literal: JSON's escapes are among CEL's.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relying_party::claude::{check_issuer, check_name, check_rule};

    fn setup() -> Setup {
        Setup::new("mailer", "agent:mailer", "https://id.example.com")
    }

    fn linked() -> Setup {
        Setup {
            ids: Some(LinkedIds {
                organization_id: OrganizationId::parse("550e8400-e29b-41d4-a716-446655440000")
                    .unwrap(),
                rule_id: RuleId::parse("fdrl_01").unwrap(),
                service_account_id: ServiceAccountId::parse("svac_01").unwrap(),
                issuer_id: Some(IssuerObjectId::parse("fdis_01").unwrap()),
                workspace_id: None,
            }),
            ..setup()
        }
    }

    #[test]
    fn what_it_prints_is_what_claude_takes() {
        for act_for in [None, Some("user:ada \"the\" ${first}".to_owned())] {
            let setup = Setup { act_for, ..setup() };
            for rule in [setup.rule_match(), setup.rule_match_by_condition()] {
                assert_eq!(check_rule(&rule), Ok(()), "{rule:?}");
            }
            assert_eq!(check_name(&setup.name()), Ok(()));
            assert_eq!(check_name(&setup.issuer_name()), Ok(()));
            let issuer = check_issuer(
                &setup.issuer_url,
                &setup.jwks,
                setup.max_jwt_lifetime_seconds,
                false,
            );
            assert_eq!(issuer, Ok(()));
        }
    }

    #[test]
    fn the_rule_pins_the_subject_and_who_acts() {
        insta::assert_snapshot!(linked().rule_json(), @r#"{"issuer_id":"fdis_01","match":{"audience":"https://api.anthropic.com","claims":{"acting_agent":"agent:mailer"},"subject_prefix":"agent:mailer"},"name":"agent-mailer-6894ea70","oauth_scope":"workspace:developer","target":{"service_account_id":"svac_01","type":"service_account"},"token_lifetime_seconds":600,"workspace_id":"default"}"#);
        let pair = Setup {
            act_for: Some("user:ada".to_owned()),
            ..linked()
        };
        insta::assert_snapshot!(pair.rule_json_by_condition(), @r#"{"issuer_id":"fdis_01","match":{"audience":"https://api.anthropic.com","condition":"claims.sub == \"user:ada\" && has(claims.act) && claims.act.sub == \"agent:mailer\" && !has(claims.act.act)"},"name":"agent-mailer-for-user-ada-43b7c870","oauth_scope":"workspace:developer","target":{"service_account_id":"svac_01","type":"service_account"},"token_lifetime_seconds":600,"workspace_id":"default"}"#);
    }

    #[test]
    fn the_rule_of_a_team_takes_its_agents_as_themselves_alone() {
        let team = Setup::new("ops.*", "agent:ops.*", "https://id.example.com");
        insta::assert_snapshot!(team.rule_json()["match"], @r#"{"audience":"https://api.anthropic.com","condition":"claims.acting_agent == claims.sub && !has(claims.act)","subject_prefix":"agent:ops.*"}"#);
        insta::assert_snapshot!(team.condition(), @r#"claims.sub.startsWith("agent:ops.") && claims.acting_agent == claims.sub && !has(claims.act)"#);
        let (of_api, of_console) = (team.rule_match(), team.rule_match_by_condition());
        for (claims, is_taken) in [
            (
                json!({"sub": "agent:ops.a", "acting_agent": "agent:ops.a"}),
                true,
            ),
            (
                json!({"sub": "agent:opsec", "acting_agent": "agent:opsec"}),
                false,
            ),
            (
                json!({"sub": "agent:ops.a", "acting_agent": "agent:b"}),
                false,
            ),
            (
                json!({"sub": "agent:ops.a", "acting_agent": "agent:ops.b"}),
                false,
            ),
            (
                json!({"sub": "agent:ops.a", "acting_agent": "agent:ops.a", "act": {"sub": "agent:b"}}),
                false,
            ),
        ] {
            for rule in [&of_api, &of_console] {
                assert_eq!(check_rule(rule), Ok(()));
                let condition = rule.condition.as_deref().unwrap();
                let claims = claims.as_object().unwrap();
                let is_true = crate::relying_party::claude::evaluate_condition(condition, claims);
                let takes = rule.accepts_subject(claims["sub"].as_str().unwrap());
                assert_eq!(takes && is_true == Ok(true), is_taken, "{claims:?}");
            }
        }
    }

    #[test]
    fn a_rule_that_administers_has_an_issuer_of_its_own() {
        let admin = Setup {
            oauth_scope: ADMIN_SCOPE.to_owned(),
            ..setup()
        };
        assert_ne!(admin.issuer_name(), setup().issuer_name());
    }

    #[test]
    fn the_issuer_and_the_account_are_the_documented_bodies() {
        insta::assert_snapshot!(linked().issuer_json(), @r#"{"check_jti":true,"issuer_url":"https://id.example.com","jwks":{"type":"discovery"},"max_jwt_lifetime_seconds":3600,"name":"firman-id-example-com-de96f5b6"}"#);
        insta::assert_snapshot!(linked().service_account_json(), @r#"{"name":"agent-mailer-6894ea70"}"#);
        let inline = Setup {
            jwks: JwksSource::Inline {
                keys: vec![json!({"kty": "EC"})],
            },
            ..setup()
        };
        assert_eq!(
            inline.issuer_json()["jwks"],
            json!({"type": "inline", "keys": [{"kty": "EC"}]})
        );
    }

    #[test]
    fn environment_and_profile_name_the_same_things() {
        insta::assert_debug_snapshot!(linked().environment(), @r#"
        [
            (
                "ANTHROPIC_FEDERATION_RULE_ID",
                "fdrl_01",
            ),
            (
                "ANTHROPIC_ORGANIZATION_ID",
                "550e8400-e29b-41d4-a716-446655440000",
            ),
            (
                "ANTHROPIC_SERVICE_ACCOUNT_ID",
                "svac_01",
            ),
            (
                "ANTHROPIC_IDENTITY_TOKEN_FILE",
                "/run/firman/claude-token",
            ),
        ]
        "#);
        insta::assert_snapshot!(linked().profile_json(), @r#"{"authentication":{"federation_rule_id":"fdrl_01","identity_token":{"path":"/run/firman/claude-token","source":"file"},"service_account_id":"svac_01","type":"oidc_federation"},"base_url":"https://api.anthropic.com","organization_id":"550e8400-e29b-41d4-a716-446655440000","version":"1.0"}"#);
        insta::assert_debug_snapshot!(setup().environment(), @r#"
        [
            (
                "ANTHROPIC_FEDERATION_RULE_ID",
                "fdrl_…",
            ),
            (
                "ANTHROPIC_ORGANIZATION_ID",
                "<organization UUID>",
            ),
            (
                "ANTHROPIC_SERVICE_ACCOUNT_ID",
                "svac_…",
            ),
            (
                "ANTHROPIC_IDENTITY_TOKEN_FILE",
                "/run/firman/claude-token",
            ),
        ]
        "#);
    }

    #[test]
    fn the_console_fields_come_in_its_order() {
        insta::assert_debug_snapshot!(setup().console_fields(), @r#"
        [
            (
                "Issuer name",
                "firman-id-example-com-de96f5b6",
            ),
            (
                "Issuer URL",
                "https://id.example.com",
            ),
            (
                "JWKS source",
                "Discovery",
            ),
            (
                "Maximum identity-token lifetime",
                "3600 s",
            ),
            (
                "Service account",
                "agent-mailer-6894ea70",
            ),
            (
                "Rule name",
                "agent-mailer-6894ea70",
            ),
            (
                "Match type",
                "Static",
            ),
            (
                "Subject prefix",
                "agent:mailer",
            ),
            (
                "Claims",
                "acting_agent = agent:mailer",
            ),
            (
                "or Match type CEL",
                "claims.sub == \"agent:mailer\" && claims.acting_agent == \"agent:mailer\" && !has(claims.act)",
            ),
            (
                "Audience",
                "https://api.anthropic.com",
            ),
            (
                "OAuth scope",
                "workspace:developer",
            ),
            (
                "Workspace",
                "default",
            ),
            (
                "Token lifetime",
                "600 s",
            ),
        ]
        "#);
    }

    #[test]
    fn terraform_values_cannot_open_a_template() {
        let setup = Setup {
            act_for: Some("user:${ada}%{x}\"".to_owned()),
            ..setup()
        };
        insta::assert_snapshot!(setup.terraform_vars(), @r#"
        claude_issuer_name = "firman-id-example-com-de96f5b6"
        claude_issuer_url = "https://id.example.com"
        claude_jwks_json = "{\"type\":\"discovery\"}"
        claude_rule_name = "agent-mailer-for-user-ada-x-de8355bd"
        claude_subject = "user:$${ada}%%{x}\""
        claude_acting_agent = "agent:mailer"
        claude_audience = "https://api.anthropic.com"
        claude_oauth_scope = "workspace:developer"
        claude_workspace_id = "default"
        claude_max_jwt_lifetime_seconds = 3600
        claude_token_lifetime_seconds = 600
        "#);
    }
}
