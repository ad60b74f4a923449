//! The workspaces of accounts and rules.

use serde_json::{Map, Value, json};

use super::super::answer::ApiError;
use super::super::objects::{NewWorkspace, read};
use super::{Family, ObjectPath, Registry, found, live};
use crate::relying_party::claude::{WorkspaceId, WorkspaceMembership, malformed_id};

/// Workspaces of an account or a rule.
const WORKSPACES_MAX: usize = 100;

impl Registry {
    /// The workspaces of an account or a rule.
    pub(in super::super) fn workspaces(&self, family: Family, id: &str) -> Result<Value, ApiError> {
        family.check_id(id)?;
        let missing = || ApiError::not_found(family.noun());
        let data = match family {
            Family::Accounts => json!(found(&self.accounts, id).ok_or_else(missing)?.workspaces),
            Family::Rules => {
                let rule = found(&self.rules, id).ok_or_else(missing)?;
                let named = rule.enabled_workspaces();
                named
                    .iter()
                    .map(|workspace| json!({ "workspace_id": workspace }))
                    .collect()
            }
            Family::Issuers => return Err(ApiError::not_found("page")),
        };
        Ok(json!({ "data": data, "next_page": null }))
    }

    pub(in super::super) fn add_workspace(
        &mut self,
        object: &ObjectPath<'_>,
        body: Map<String, Value>,
    ) -> Result<Value, ApiError> {
        let ObjectPath { family, id } = *object;
        family.check_id(id)?;
        let NewWorkspace {
            workspace_id,
            workspace_role,
        } = read(body)?;
        let full = || {
            ApiError::invalid(format!(
                "this simulation keeps at most {WORKSPACES_MAX} workspaces"
            ))
        };
        match family {
            Family::Accounts => {
                let account = live(&mut self.accounts, id, family)?;
                let role = workspace_role.unwrap_or_else(|| "workspace_developer".to_owned());
                let membership = WorkspaceMembership {
                    workspace_id,
                    workspace_role: Some(role),
                };
                let others =
                    |other: &WorkspaceMembership| other.workspace_id != membership.workspace_id;
                account.workspaces.retain(others);
                if account.workspaces.len() >= WORKSPACES_MAX {
                    return Err(full());
                }
                account.workspaces.push(membership.clone());
                Ok(json!(membership))
            }
            Family::Rules => {
                let rule = live(&mut self.rules, id, family)?;
                if !rule.enabled_workspaces().contains(&&workspace_id) {
                    if rule.workspaces.len() >= WORKSPACES_MAX {
                        return Err(full());
                    }
                    rule.workspaces.push(workspace_id.clone());
                }
                Ok(json!({ "workspace_id": workspace_id }))
            }
            Family::Issuers => Err(ApiError::not_found("page")),
        }
    }

    pub(in super::super) fn remove_workspace(
        &mut self,
        object: &ObjectPath<'_>,
        workspace: &str,
    ) -> Result<Value, ApiError> {
        let ObjectPath { family, id } = *object;
        family.check_id(id)?;
        let workspace = WorkspaceId::parse(workspace).map_err(malformed_id)?;
        let removed = match family {
            Family::Accounts => {
                let account = live(&mut self.accounts, id, family)?;
                let before = account.workspaces.len();
                account
                    .workspaces
                    .retain(|other| other.workspace_id != workspace);
                account.workspaces.len() < before
            }
            Family::Rules => {
                let rule = live(&mut self.rules, id, family)?;
                let before = rule.workspaces.len();
                rule.workspaces.retain(|other| *other != workspace);
                let was_first = rule.workspace_id.as_ref() == Some(&workspace);
                if was_first {
                    rule.workspace_id = None;
                }
                was_first || rule.workspaces.len() < before
            }
            Family::Issuers => return Err(ApiError::not_found("page")),
        };
        if removed {
            Ok(json!({ "workspace_id": workspace, "type": "workspace_deleted" }))
        } else {
            Err(ApiError::not_found("workspace"))
        }
    }
}
