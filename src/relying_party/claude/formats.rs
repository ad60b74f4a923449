//! A setup in the forms that programs read: the variables and the profile file of the SDKs, a `.tfvars` file.

use serde_json::{Value, json};

use super::BASE_URL;
use super::setup::{Setup, quoted};

impl Setup {
    /// The variables that the SDKs read, in the order of their documentation.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let ids = self.id_texts();
        let mut variables = vec![
            ("ANTHROPIC_FEDERATION_RULE_ID", ids.rule),
            ("ANTHROPIC_ORGANIZATION_ID", ids.organization),
            ("ANTHROPIC_SERVICE_ACCOUNT_ID", ids.service_account),
            ("ANTHROPIC_IDENTITY_TOKEN_FILE", self.token_file.clone()),
        ];
        variables.extend(ids.workspace.map(|id| ("ANTHROPIC_WORKSPACE_ID", id)));
        let base_url = self.base_url.clone();
        variables.extend(base_url.map(|url| ("ANTHROPIC_BASE_URL", url)));
        variables
    }

    /// The content of `<config_dir>/configs/<profile>.json`.
    #[must_use]
    pub fn profile_json(&self) -> Value {
        let ids = self.id_texts();
        let mut profile = json!({
            "version": "1.0",
            "authentication": {
                "type": "oidc_federation",
                "federation_rule_id": ids.rule,
                "service_account_id": ids.service_account,
                "identity_token": { "source": "file", "path": self.token_file },
            },
            "organization_id": ids.organization,
            "base_url": self.base_url.as_deref().unwrap_or(BASE_URL),
        });
        if let Some(workspace) = ids.workspace {
            profile["workspace_id"] = json!(workspace);
        }
        profile
    }

    /// The values as a `.tfvars` file.
    #[must_use]
    pub fn terraform_vars(&self) -> String {
        let jwks = json!(self.jwks).to_string();
        let texts = [
            ("claude_issuer_name", self.issuer_name()),
            ("claude_issuer_url", self.issuer_url.clone()),
            ("claude_jwks_json", jwks),
            ("claude_rule_name", self.name()),
            ("claude_subject", self.token_subject().to_owned()),
            ("claude_acting_agent", self.subject.clone()),
            ("claude_audience", self.audience.clone()),
            ("claude_oauth_scope", self.oauth_scope.clone()),
            ("claude_workspace_id", self.workspace().to_string()),
        ];
        let numbers = [
            (
                "claude_max_jwt_lifetime_seconds",
                self.max_jwt_lifetime_seconds,
            ),
            ("claude_token_lifetime_seconds", self.token_lifetime_seconds),
        ];
        let mut file = String::new();
        for (name, text) in texts {
            file.push_str(&format!("{name} = {}\n", terraform_quoted(&text)));
        }
        for (name, number) in numbers {
            file.push_str(&format!("{name} = {number}\n"));
        }
        file
    }

    /// The ids as texts, with a visible gap where one is not known yet.
    pub(super) fn id_texts(&self) -> IdTexts {
        match &self.ids {
            Some(ids) => IdTexts {
                rule: ids.rule_id.to_string(),
                organization: ids.organization_id.to_string(),
                service_account: ids.service_account_id.to_string(),
                workspace: ids.workspace_id.as_ref().map(ToString::to_string),
            },
            None => IdTexts {
                rule: "fdrl_…".to_owned(),
                organization: "<organization UUID>".to_owned(),
                service_account: "svac_…".to_owned(),
                workspace: self.workspace_id.as_ref().map(ToString::to_string),
            },
        }
    }
}

/// The ids as texts.
pub(super) struct IdTexts {
    pub(super) rule: String,
    pub(super) organization: String,
    pub(super) service_account: String,
    pub(super) workspace: Option<String>,
}

/// A string literal of Terraform's, where `${` and `%{` begin templates.
fn terraform_quoted(text: &str) -> String {
    quoted(text).replace("${", "$${").replace("%{", "%%{")
}
