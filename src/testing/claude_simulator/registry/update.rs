//! Updates of objects, by POST as in Claude's Admin API.

use serde_json::{Map, Value};

use super::super::answer::ApiError;
use super::super::caller::Administrator;
use super::super::objects::{
    AccountChange, IssuerChange, Record, RuleChange, check_description, read,
};
use super::checks::{check_new_issuer, check_new_name, check_role, check_scope};
use super::{Family, MANAGED_SCOPES, ObjectPath, Registry, live};
use crate::relying_party::claude::{check_rule, check_token_lifetime};

impl Registry {
    pub(in super::super) fn update(
        &mut self,
        object: &ObjectPath<'_>,
        body: Map<String, Value>,
        caller: Administrator,
        now: &str,
    ) -> Result<Value, ApiError> {
        let id = object.id;
        object.family.check_id(id)?;
        match object.family {
            Family::Accounts => self.update_account(id, read(body)?, caller, now),
            Family::Issuers => self.update_issuer(id, read(body)?, now),
            Family::Rules => self.update_rule(id, read(body)?, now),
        }
    }

    fn update_account(
        &mut self,
        id: &str,
        change: AccountChange,
        caller: Administrator,
        now: &str,
    ) -> Result<Value, ApiError> {
        if let Some(name) = &change.name {
            check_new_name(&self.accounts, name, Some(id))?;
        }
        check_description(change.description.as_deref())?;
        check_role(change.role.as_deref(), caller)?;
        let account = live(&mut self.accounts, id, Family::Accounts)?;
        if let Some(name) = change.name {
            account.name = name;
        }
        account.description = change.description.or(account.description.take());
        account.role = change.role.or(account.role.take());
        account.updated_at = Some(now.to_owned());
        Ok(account.to_wire())
    }

    fn update_issuer(
        &mut self,
        id: &str,
        change: IssuerChange,
        now: &str,
    ) -> Result<Value, ApiError> {
        if let Some(name) = &change.name {
            check_new_name(&self.issuers, name, Some(id))?;
        }
        if change.jwks_polling_disabled == Some(true) {
            return Err(ApiError::invalid(
                "jwks_polling_disabled: can only be set to false",
            ));
        }
        let backs_more = self.rules.iter().any(|rule| {
            rule.issuer_id.as_str() == id
                && rule.archived_at.is_none()
                && !MANAGED_SCOPES.contains(&rule.oauth_scope.as_str())
        });
        // A person's token of `ant auth login` is an OAuth token too; only the Console is left.
        if backs_more {
            return Err(ApiError::permission(
                "an OAuth token may not update an issuer that backs a rule with a scope other than workspace:developer or workspace:inference",
            ));
        }
        let issuer = live(&mut self.issuers, id, Family::Issuers)?;
        let mut changed = issuer.clone();
        changed.name = change.name.unwrap_or(changed.name);
        changed.issuer_url = change.issuer_url.unwrap_or(changed.issuer_url);
        changed.jwks = change.jwks.unwrap_or(changed.jwks);
        changed.check_jti = change.check_jti.unwrap_or(changed.check_jti);
        changed.max_jwt_lifetime_seconds = change
            .max_jwt_lifetime_seconds
            .unwrap_or(changed.max_jwt_lifetime_seconds);
        if change.jwks_polling_disabled == Some(false) {
            changed.jwks_polling_disabled_at = None;
            changed.poll_status = None;
        }
        check_new_issuer(
            &changed.issuer_url,
            &changed.jwks,
            changed.max_jwt_lifetime_seconds,
        )?;
        changed.updated_at = Some(now.to_owned());
        *issuer = changed;
        Ok(issuer.to_wire())
    }

    fn update_rule(&mut self, id: &str, change: RuleChange, now: &str) -> Result<Value, ApiError> {
        if let Some(name) = &change.name {
            check_new_name(&self.rules, name, Some(id))?;
        }
        check_description(change.description.as_deref())?;
        change.match_.as_ref().map_or(Ok(()), check_rule)?;
        change
            .token_lifetime_seconds
            .map_or(Ok(()), check_token_lifetime)?;
        change.oauth_scope.as_deref().map_or(Ok(()), check_scope)?;
        if let Some(target) = &change.target {
            self.check_target(target, change.oauth_scope.as_deref().unwrap_or_default())?;
        }
        let rule = live(&mut self.rules, id, Family::Rules)?;
        if change
            .issuer_id
            .is_some_and(|issuer| issuer != rule.issuer_id)
        {
            return Err(ApiError::invalid("issuer_id: cannot be changed"));
        }
        check_scope(&rule.oauth_scope)?;
        let mut changed = rule.clone();
        changed.name = change.name.unwrap_or(changed.name);
        changed.description = change.description.or(changed.description);
        // An update replaces the whole object.
        changed.match_ = change.match_.unwrap_or(changed.match_);
        changed.target = change.target.unwrap_or(changed.target);
        changed.oauth_scope = change.oauth_scope.unwrap_or(changed.oauth_scope);
        changed.token_lifetime_seconds = change
            .token_lifetime_seconds
            .unwrap_or(changed.token_lifetime_seconds);
        changed.workspace_id = change.workspace_id.or(changed.workspace_id);
        changed.applies_to_all_workspaces = change
            .applies_to_all_workspaces
            .unwrap_or(changed.applies_to_all_workspaces);
        changed.updated_at = Some(now.to_owned());
        *rule = changed;
        Ok(rule.to_wire())
    }
}
