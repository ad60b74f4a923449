//! The objects of the organization and the rules of changing them.

use serde_json::{Map, Value, json};

use super::Stamp;
use super::answer::ApiError;
use super::caller::Administrator;
use super::objects::{
    AccountChange, IssuerChange, NewAccount, NewIssuer, NewRule, NewWorkspace, Record, RuleChange,
    check_description, read,
};
use crate::ports::time::UnixTime;
use crate::relying_party::claude::{
    DEFAULT_MAX_JWT_LIFETIME_SECONDS, DEFAULT_TOKEN_LIFETIME_SECONDS, FederationIssuer,
    FederationRule, IssuerObjectId, JWKS_CACHE_SECONDS, JwksSource, LinkedIds, OAUTH_SCOPES,
    OrganizationId, PollStatus, RuleId, RuleTarget, ServiceAccount, ServiceAccountId, Setup,
    WorkspaceId, WorkspaceMembership, check_issuer, check_name, check_rule, check_token_lifetime,
    malformed_id,
};

/// Objects of a family. Not documented: the real limit.
const OBJECTS_MAX: usize = 1000;
/// Workspaces of an account or a rule.
const WORKSPACES_MAX: usize = 100;
/// The scope of administrators.
const ADMIN_SCOPE: &str = OAUTH_SCOPES[3];
/// The scopes that may be managed through the API; the others are given out in the Console.
const MANAGED_SCOPES: [&str; 2] = [OAUTH_SCOPES[0], OAUTH_SCOPES[1]];
/// Failed polls after which an issuer's keys are fetched no more. Not documented: the real number.
const FAILURES_BEFORE_PAUSE: u32 = 5;
/// A made id has the right form.
const OUR_ID: &str = "an id of our own making is well-formed";

/// One of the three kinds of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Accounts,
    Issuers,
    Rules,
}

impl Family {
    /// The family of that path segment.
    pub(super) fn parse(segment: &str) -> Result<Self, ApiError> {
        match segment {
            "service_accounts" => Ok(Self::Accounts),
            "federation_issuers" => Ok(Self::Issuers),
            "federation_rules" => Ok(Self::Rules),
            _ => Err(ApiError::not_found("page")),
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Accounts => "service account",
            Self::Issuers => "federation issuer",
            Self::Rules => "federation rule",
        }
    }

    /// Refuses an id that is not of this family's form.
    fn check_id(self, id: &str) -> Result<(), ApiError> {
        match self {
            Self::Accounts => ServiceAccountId::parse(id).map(drop),
            Self::Issuers => IssuerObjectId::parse(id).map(drop),
            Self::Rules => RuleId::parse(id).map(drop),
        }
        .map_err(|refused| malformed_id(refused).into())
    }
}

/// Which part of a list.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) limit: usize,
    pub(super) after: Option<String>,
    pub(super) include_archived: bool,
    pub(super) issuer_id: Option<String>,
}

/// All objects, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Registry {
    accounts: Vec<ServiceAccount>,
    issuers: Vec<FederationIssuer>,
    rules: Vec<FederationRule>,
}

fn found<'r, R: Record>(records: &'r [R], id: &str) -> Option<&'r R> {
    records.iter().find(|record| record.id() == id)
}

/// A record that may be changed: it exists and is not archived.
fn live<'r, R: Record>(
    records: &'r mut [R],
    id: &str,
    family: Family,
) -> Result<&'r mut R, ApiError> {
    let record = records
        .iter_mut()
        .find(|record| record.id() == id)
        .ok_or_else(|| ApiError::not_found(family.noun()))?;
    if record.archived_at().is_some() {
        return Err(ApiError::invalid(format!(
            "the {} is archived and cannot be updated",
            family.noun()
        )));
    }
    Ok(record)
}

/// Room for one more, under a name that nobody has. Not documented: that archived ones keep theirs.
fn check_new_name<R: Record>(records: &[R], name: &str, own: Option<&str>) -> Result<(), ApiError> {
    check_name(name)?;
    let is_other = |record: &&R| record.name() == name && Some(record.id()) != own;
    if records.iter().any(|record| is_other(&record)) {
        return Err(ApiError::conflict(format!(
            "name: {name} is already in use in this organization"
        )));
    }
    if own.is_none() && records.len() >= OBJECTS_MAX {
        return Err(ApiError::invalid(format!(
            "this simulation keeps at most {OBJECTS_MAX} objects of a kind"
        )));
    }
    Ok(())
}

fn check_role(role: Option<&str>, caller: Administrator) -> Result<(), ApiError> {
    match (role, caller) {
        (None | Some("developer"), _) | (Some("admin"), Administrator::Person) => Ok(()),
        (Some("admin"), Administrator::Workload) => Err(ApiError::permission(
            "a workload may make developer service accounts only",
        )),
        (Some(_), _) => Err(ApiError::invalid("role: must be developer or admin")),
    }
}

fn check_scope(scope: &str) -> Result<(), ApiError> {
    if MANAGED_SCOPES.contains(&scope) {
        Ok(())
    } else if OAUTH_SCOPES.contains(&scope) {
        Err(ApiError::permission(format!(
            "oauth_scope: {scope} cannot be given out through the API; use the Console"
        )))
    } else {
        Err(ApiError::invalid(format!(
            "oauth_scope: must be one of {}",
            OAUTH_SCOPES.join(", ")
        )))
    }
}

fn check_new_issuer(url: &str, jwks: &JwksSource, lifetime: i64) -> Result<(), ApiError> {
    // Loopback URLs pass, since this is a simulation.
    Ok(check_issuer(url, jwks, lifetime, true)?)
}

/// Whether a poll is due: none was set, or its time has come. The times are ours, of one form, so that
/// their texts compare as they do.
fn is_due(status: &PollStatus, now: UnixTime) -> bool {
    let next = status.next_poll_at.as_deref();
    next.is_none_or(|next| *next <= *now.to_string())
}

impl Registry {
    pub(super) fn account(&self, id: &ServiceAccountId) -> Option<&ServiceAccount> {
        found(&self.accounts, id.as_str())
    }

    pub(super) fn issuer(&self, id: &IssuerObjectId) -> Option<&FederationIssuer> {
        found(&self.issuers, id.as_str())
    }

    pub(super) fn rule(&self, id: &RuleId) -> Option<&FederationRule> {
        found(&self.rules, id.as_str())
    }

    /// Notes that an issuer's keys were fetched, or could not be.
    ///
    /// Claude polls in the background, and not documented is how often, and after how many failures it
    /// pauses. Here keys are fetched when an exchange needs them, by the simulation's clock; a failure
    /// counts when a poll was due, so that a burst of exchanges is one failure.
    pub(super) fn note_fetch(&mut self, id: &IssuerObjectId, is_good: bool, now: UnixTime) {
        let Some(issuer) = self.issuers.iter_mut().find(|issuer| issuer.id == *id) else {
            return;
        };
        let mut status = issuer.poll_status.take().unwrap_or_default();
        let next = now.plus(JWKS_CACHE_SECONDS).to_string();
        if is_good {
            status = PollStatus {
                consecutive_failures: 0,
                last_fetched_at: Some(now.to_string()),
                next_poll_at: Some(next),
            };
        } else if is_due(&status, now) {
            status.consecutive_failures += 1;
            status.next_poll_at = Some(next);
        }
        if status.consecutive_failures >= FAILURES_BEFORE_PAUSE {
            status.next_poll_at = None;
            issuer.jwks_polling_disabled_at = Some(now.to_string());
        }
        issuer.poll_status = Some(status);
    }

    /// The object of that id, as it is answered.
    pub(super) fn show(&self, family: Family, id: &str) -> Result<Value, ApiError> {
        family.check_id(id)?;
        let object = match family {
            Family::Accounts => found(&self.accounts, id).map(Record::to_wire),
            Family::Issuers => found(&self.issuers, id).map(Record::to_wire),
            Family::Rules => found(&self.rules, id).map(Record::to_wire),
        };
        object.ok_or_else(|| ApiError::not_found(family.noun()))
    }

    /// Part of a list: `{data, next_page}`.
    pub(super) fn list(&self, family: Family, selection: &Selection) -> Result<Value, ApiError> {
        match family {
            Family::Accounts => page(self.accounts.iter(), selection),
            Family::Issuers => page(self.issuers.iter(), selection),
            Family::Rules => page(
                self.rules.iter().filter(|rule| {
                    let wanted = selection.issuer_id.as_deref();
                    wanted.is_none_or(|id| rule.issuer_id.as_str() == id)
                }),
                selection,
            ),
        }
    }

    pub(super) fn create(
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

    fn create_account(
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

    fn create_issuer(&mut self, new: NewIssuer, stamp: &Stamp) -> Result<Value, ApiError> {
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

    fn create_rule(&mut self, new: NewRule, stamp: &Stamp) -> Result<Value, ApiError> {
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

    fn check_target(&mut self, target: &RuleTarget, scope: &str) -> Result<(), ApiError> {
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

    pub(super) fn update(
        &mut self,
        (family, id): (Family, &str),
        body: Map<String, Value>,
        caller: Administrator,
        now: &str,
    ) -> Result<Value, ApiError> {
        family.check_id(id)?;
        match family {
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
        // A person's token of `ant auth login` is an OAuth token too: what is left is the Console.
        if backs_more {
            return Err(ApiError::permission(
                "an OAuth token may not update an issuer that backs a rule with another scope than workspace:developer or workspace:inference",
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

    /// Archives an object, once and for all.
    pub(super) fn archive(
        &mut self,
        family: Family,
        id: &str,
        now: &str,
    ) -> Result<Value, ApiError> {
        family.check_id(id)?;
        let in_use = self
            .rules
            .iter()
            .filter(|rule| rule.archived_at.is_none())
            .any(|rule| match family {
                Family::Accounts => rule.service_account_id().as_str() == id,
                Family::Issuers => rule.issuer_id.as_str() == id,
                Family::Rules => false,
            });
        if in_use {
            return Err(ApiError::invalid(format!(
                "the {} is used by a federation rule that is not archived; archive the rule first",
                family.noun()
            )));
        }
        let archived = match family {
            Family::Accounts => archive(&mut self.accounts, id, now),
            Family::Issuers => archive(&mut self.issuers, id, now),
            Family::Rules => archive(&mut self.rules, id, now),
        };
        archived.ok_or_else(|| ApiError::not_found(family.noun()))
    }

    /// The workspaces of an account or a rule.
    pub(super) fn workspaces(&self, family: Family, id: &str) -> Result<Value, ApiError> {
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

    pub(super) fn add_workspace(
        &mut self,
        (family, id): (Family, &str),
        body: Map<String, Value>,
    ) -> Result<Value, ApiError> {
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

    pub(super) fn remove_workspace(
        &mut self,
        (family, id): (Family, &str),
        workspace: &str,
    ) -> Result<Value, ApiError> {
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

    /// What a person does in the Console for a set-up, scope and all; what has the name is taken as it is.
    pub(super) fn register(
        &mut self,
        setup: &Setup,
        organization_id: &OrganizationId,
        stamp: &Stamp,
    ) -> Result<LinkedIds, ApiError> {
        let named = |value: Value| value["id"].as_str().unwrap_or_default().to_owned();
        let object = |value: Value| match value {
            Value::Object(members) => members,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Map::new(),
        };
        let account = match self.accounts.iter().find(|a| a.name == setup.name()) {
            Some(account) => account.id.to_string(),
            None => {
                let mut body = setup.service_account_json();
                if setup.oauth_scope == ADMIN_SCOPE {
                    body["role"] = json!("admin");
                }
                let new = read(object(body))?;
                named(self.create_account(new, Administrator::Person, stamp)?)
            }
        };
        let issuer = match self.issuers.iter().find(|i| i.name == setup.issuer_name()) {
            Some(issuer) => issuer.id.to_string(),
            None => named(self.create_issuer(read(object(setup.issuer_json()))?, stamp)?),
        };
        let rule = match self.rules.iter().find(|rule| rule.name == setup.name()) {
            Some(rule) => rule.id.to_string(),
            None => {
                let mut body = setup.rule_json();
                body["issuer_id"] = json!(issuer);
                body["target"]["service_account_id"] = json!(account);
                named(self.create_rule(read(object(body))?, stamp)?)
            }
        };
        Ok(LinkedIds {
            organization_id: organization_id.clone(),
            rule_id: RuleId::parse(&rule)?,
            service_account_id: ServiceAccountId::parse(&account)?,
            issuer_id: Some(IssuerObjectId::parse(&issuer)?),
            workspace_id: setup.workspace_id.clone(),
        })
    }
}

fn archive<R: Record>(records: &mut [R], id: &str, now: &str) -> Option<Value> {
    let record = records.iter_mut().find(|record| record.id() == id)?;
    record
        .archived_at_mut()
        .get_or_insert_with(|| now.to_owned());
    Some(record.to_wire())
}

/// The first `limit` records after the one that `after` names.
fn page<'r, R: Record + 'r>(
    records: impl Iterator<Item = &'r R>,
    selection: &Selection,
) -> Result<Value, ApiError> {
    let all: Vec<&R> = records.collect();
    let start = match &selection.after {
        None => 0,
        Some(id) => {
            let at = all.iter().position(|record| record.id() == id);
            at.ok_or_else(|| ApiError::invalid("page: is not a page of this list"))? + 1
        }
    };
    let mut rest = all[start..]
        .iter()
        .filter(|record| selection.include_archived || record.archived_at().is_none());
    let data: Vec<&&R> = rest.by_ref().take(selection.limit).collect();
    let next_page = match (data.last(), rest.next()) {
        (Some(last), Some(_)) => json!(last.id()),
        (Some(_) | None, _) => Value::Null,
    };
    let data: Vec<Value> = data.iter().map(|record| record.to_wire()).collect();
    Ok(json!({ "data": data, "next_page": next_page }))
}
