//! The objects of the simulated organization, and which caller may change them.

mod checks;
mod create;
mod update;
mod workspaces;

use serde_json::{Map, Value, json};

use super::Stamp;
use super::answer::ApiError;
use super::caller::Administrator;
use super::objects::{Record, read};
use crate::ports::time::UnixTime;
use crate::relying_party::claude::{
    FederationIssuer, FederationRule, IssuerObjectId, JWKS_CACHE_SECONDS, LinkedIds, OAUTH_SCOPES,
    OrganizationId, PollStatus, RuleId, ServiceAccount, ServiceAccountId, Setup, malformed_id,
};

/// Objects of a family. Not documented: the real limit.
const OBJECTS_MAX: usize = 1000;
/// The scope of administrators.
const ADMIN_SCOPE: &str = OAUTH_SCOPES[3];
/// The scopes that may be managed through the API; the others only in the Console.
const MANAGED_SCOPES: [&str; 2] = [OAUTH_SCOPES[0], OAUTH_SCOPES[1]];
/// Failed polls after which fetching an issuer's keys pauses. Not documented: the real number.
const FAILURES_BEFORE_PAUSE: u32 = 5;

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

/// One object, named by the path of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct ObjectPath<'p> {
    pub(super) family: Family,
    pub(super) id: &'p str,
}

/// Which part of a list.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) limit: usize,
    pub(super) after: Option<String>,
    pub(super) include_archived: bool,
    pub(super) issuer_id: Option<String>,
}

/// All objects, in the order of their creation.
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

/// Whether a poll is due: none is set, or its time has come. All times have one format, so their texts compare
/// as the times do.
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

    /// Records whether an issuer's keys could be fetched.
    ///
    /// Claude polls in the background. Not documented: how often, and after how many failures it pauses. Here
    /// keys are fetched when an exchange needs them, by the simulation's clock; a failure counts when a poll was
    /// due, so that a burst of exchanges is one failure.
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

    /// The object with that id, as the API returns it.
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

    /// Archives an object, permanently.
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

    /// Registers a setup as a person does in the Console, with any scope; existing objects of the names are used.
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

/// The first `limit` records after the one named by `after`.
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
