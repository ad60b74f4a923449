//! The bodies of the Admin API's requests and the objects of its answers. Unknown members are rejected: a typo must
//! not pass here and fail at Claude.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::answer::ApiError;
use crate::domain::Invalid;
use crate::relying_party::claude::{
    FederationIssuer, FederationRule, IssuerObjectId, JwksSource, RuleMatch, RuleTarget,
    ServiceAccount, WorkspaceId, malformed_id,
};

/// The longest description. Not documented.
const DESCRIPTION_MAX_BYTES: usize = 1024;

/// The ids that a body may contain, by the fields of their errors.
const IDS: [&str; 3] = ["issuer_id", "service_account_id", "workspace_id"];

/// Parses a body. Errors have the member's name where serde knows it; a malformed id is reported in Claude's words.
pub(super) fn read<T: DeserializeOwned>(body: Map<String, Value>) -> Result<T, ApiError> {
    let value = Value::Object(body);
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (path, problem) = (error.path().to_string(), error.inner().to_string());
        // Serde keeps only the text of an error, which begins with its field.
        let id = IDS.into_iter().find(|id| {
            let rest = problem.strip_prefix(id);
            rest.is_some_and(|rest| rest.starts_with(": must be "))
        });
        if let Some(id) = id {
            return malformed_id(Invalid::new(id, problem)).into();
        }
        ApiError::invalid(if path == "." || problem.starts_with(&path) {
            problem
        } else {
            format!("{path}: {problem}")
        })
    })
}

/// Refuses a description that is too long.
pub(super) fn check_description(text: Option<&str>) -> Result<(), ApiError> {
    if text.is_some_and(|text| text.len() > DESCRIPTION_MAX_BYTES) {
        return Err(ApiError::invalid(format!(
            "description: must have at most {DESCRIPTION_MAX_BYTES} bytes"
        )));
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    pub(super) name: String,
    pub(super) description: Option<String>,
    /// Not documented: the member's name. An account is a developer unless it is an admin.
    pub(super) role: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountChange {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) role: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewIssuer {
    pub(super) name: String,
    pub(super) issuer_url: String,
    #[serde(default)]
    pub(super) jwks: JwksSource,
    pub(super) check_jti: Option<bool>,
    pub(super) max_jwt_lifetime_seconds: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IssuerChange {
    pub(super) name: Option<String>,
    pub(super) issuer_url: Option<String>,
    pub(super) jwks: Option<JwksSource>,
    pub(super) check_jti: Option<bool>,
    pub(super) max_jwt_lifetime_seconds: Option<i64>,
    pub(super) jwks_polling_disabled: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRule {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) issuer_id: IssuerObjectId,
    #[serde(rename = "match")]
    pub(super) match_: RuleMatch,
    pub(super) target: RuleTarget,
    pub(super) oauth_scope: String,
    pub(super) token_lifetime_seconds: Option<i64>,
    pub(super) workspace_id: Option<WorkspaceId>,
    #[serde(default)]
    pub(super) applies_to_all_workspaces: bool,
    #[serde(default)]
    pub(super) attributes: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleChange {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) issuer_id: Option<IssuerObjectId>,
    #[serde(rename = "match")]
    pub(super) match_: Option<RuleMatch>,
    pub(super) target: Option<RuleTarget>,
    pub(super) oauth_scope: Option<String>,
    pub(super) token_lifetime_seconds: Option<i64>,
    pub(super) workspace_id: Option<WorkspaceId>,
    pub(super) applies_to_all_workspaces: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewWorkspace {
    pub(super) workspace_id: WorkspaceId,
    pub(super) workspace_role: Option<String>,
}

/// An object of one of the three families.
pub(super) trait Record {
    fn id(&self) -> &str;
    fn name(&self) -> &str;
    fn archived_at_mut(&mut self) -> &mut Option<String>;
    fn archived_at(&self) -> Option<&str>;
    /// The object as it is answered.
    fn to_wire(&self) -> Value;
}

/// `object` with its type. A serialisation cannot fail: every member is a text, a number or a list of them.
fn wire(kind: &str, object: &impl serde::Serialize) -> Value {
    let mut value = json!(object);
    value["type"] = json!(kind);
    value
}

macro_rules! record {
    ($type:ty, $kind:literal) => {
        impl Record for $type {
            fn id(&self) -> &str {
                self.id.as_str()
            }

            fn name(&self) -> &str {
                &self.name
            }

            fn archived_at_mut(&mut self) -> &mut Option<String> {
                &mut self.archived_at
            }

            fn archived_at(&self) -> Option<&str> {
                self.archived_at.as_deref()
            }

            fn to_wire(&self) -> Value {
                wire($kind, self)
            }
        }
    };
}

record!(ServiceAccount, "service_account");
record!(FederationIssuer, "federation_issuer");
record!(FederationRule, "federation_rule");
