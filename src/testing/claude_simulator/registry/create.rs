//! New objects.

use serde_json::{Map, Value};

use super::super::Stamp;
use super::super::answer::ApiError;
use super::super::caller::Administrator;
use super::super::objects::{NewAccount, NewIssuer, NewRule, Record, check_description, read};
use super::checks::{check_new_issuer, check_new_name, check_role, check_scope};
use super::{ADMIN_SCOPE, Family, Registry, live};
use crate::relying_party::claude::{
    DEFAULT_MAX_JWT_LIFETIME_SECONDS, DEFAULT_TOKEN_LIFETIME_SECONDS, FederationIssuer,
    FederationRule, IssuerObjectId, RuleId, RuleTarget, ServiceAccount, ServiceAccountId,
    check_rule, check_token_lifetime,
};

/// Generated ids have the right form.
const OUR_ID: &str = "a generated id is well-formed";

impl Registry {
    pub(in super::super) fn create(
        &mut self,
        family: Family,
        body: Map<String, Value>,
        caller: Administrator,
        stamp: &Stamp,
    ) -> Result<Value, ApiError> {
        match family {
            Family::Accounts => self.create_account(read(body)?, caller, stamp),
            Family::Issuers => self.create_issuer(read(body)?, stamp),
            Family::Rules => {
                let new: NewRule = read(body)?;
                check_scope(&new.oauth_scope)?;
                self.create_rule(new, stamp)
            }
        }
    }

    pub(super) fn create_account(
        &mut self,
        new: NewAccount,
        caller: Administrator,
        stamp: &Stamp,
    ) -> Result<Value, ApiError> {
        check_new_name(&self.accounts, &new.name, None)?;
        check_description(new.description.as_deref())?;
        check_role(new.role.as_deref(), caller)?;
        let account = ServiceAccount {
            id: ServiceAccountId::parse(&stamp.id("svac_")).expect(OUR_ID),
            name: new.name,
            description: new.description,
            role: new.role.or_else(|| Some("developer".to_owned())),
            workspaces: Vec::new(),
            archived_at: None,
            created_at: Some(stamp.now_text()),
            updated_at: Some(stamp.now_text()),
        };
        let answer = account.to_wire();
        self.accounts.push(account);
        Ok(answer)
    }

    pub(super) fn create_issuer(
        &mut self,
        new: NewIssuer,
        stamp: &Stamp,
    ) -> Result<Value, ApiError> {
        check_new_name(&self.issuers, &new.name, None)?;
        let lifetime = new
            .max_jwt_lifetime_seconds
            .unwrap_or(DEFAULT_MAX_JWT_LIFETIME_SECONDS);
        check_new_issuer(&new.issuer_url, &new.jwks, lifetime)?;
        let issuer = FederationIssuer {
            id: IssuerObjectId::parse(&stamp.id("fdis_")).expect(OUR_ID),
            name: new.name,
            issuer_url: new.issuer_url,
            jwks: new.jwks,
            check_jti: new.check_jti.unwrap_or(true),
            max_jwt_lifetime_seconds: lifetime,
            poll_status: None,
            jwks_polling_disabled_at: None,
            archived_at: None,
            created_at: Some(stamp.now_text()),
            updated_at: Some(stamp.now_text()),
        };
        let answer = issuer.to_wire();
        self.issuers.push(issuer);
        Ok(answer)
    }

    pub(super) fn create_rule(&mut self, new: NewRule, stamp: &Stamp) -> Result<Value, ApiError> {
        check_new_name(&self.rules, &new.name, None)?;
        check_description(new.description.as_deref())?;
        check_rule(&new.match_)?;
        let lifetime = new
            .token_lifetime_seconds
            .unwrap_or(DEFAULT_TOKEN_LIFETIME_SECONDS);
        check_token_lifetime(lifetime)?;
        if !new.attributes.is_empty() {
            return Err(ApiError::invalid("attributes: must be empty"));
        }
        if new.workspace_id.is_none() && !new.applies_to_all_workspaces {
            return Err(ApiError::invalid(
                "one of workspace_id and applies_to_all_workspaces is required",
            ));
        }
        live(&mut self.issuers, new.issuer_id.as_str(), Family::Issuers)?;
        self.check_target(&new.target, &new.oauth_scope)?;
        let rule = FederationRule {
            id: RuleId::parse(&stamp.id("fdrl_")).expect(OUR_ID),
            name: new.name,
            description: new.description,
            issuer_id: new.issuer_id,
            match_: new.match_,
            target: new.target,
            oauth_scope: new.oauth_scope,
            token_lifetime_seconds: lifetime,
            workspace_id: new.workspace_id,
            applies_to_all_workspaces: new.applies_to_all_workspaces,
            workspaces: Vec::new(),
            archived_at: None,
            created_at: Some(stamp.now_text()),
            updated_at: Some(stamp.now_text()),
        };
        let answer = rule.to_wire();
        self.rules.push(rule);
        Ok(answer)
    }

    pub(super) fn check_target(
        &mut self,
        target: &RuleTarget,
        scope: &str,
    ) -> Result<(), ApiError> {
        let RuleTarget::ServiceAccount { service_account_id } = target;
        let id = service_account_id.as_str();
        let account = live(&mut self.accounts, id, Family::Accounts)?;
        if scope == ADMIN_SCOPE && account.role.as_deref() != Some("admin") {
            return Err(ApiError::invalid(
                "oauth_scope: org:admin needs a service account with the role admin",
            ));
        }
        Ok(())
    }
}
