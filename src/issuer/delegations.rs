//! Delegations: permitting an agent to act for others, and ending that (the permission that token
//! exchange, RFC 8693, asks for). Whether a request falls under one is decided where tokens are.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::domain::Invalid;
use crate::domain::agent::{Agent, AgentStatus};
use crate::domain::audit::AuditEvent;
use crate::domain::delegation::{
    DELEGATION_MAX_SECONDS, DELEGATIONS_MAX, Delegation, DelegationStatus, SubjectKind,
    SubjectPattern, check_depth,
};
use crate::domain::id::{AgentId, DelegationId};
use crate::domain::name::Name;
use crate::domain::resource::Resource;
use crate::domain::role::GrantedScopes;
use crate::domain::settings::LIFETIME_CEILING_SECONDS;
use crate::domain::subject::{split_user, user_subject, users_of};
use crate::domain::trusted_issuer::TrustedIssuer;
use crate::ports::time::UnixTime;
use crate::store::{DelegationNames, StoreError, Tx};

use super::change::{Change, Touches};
use super::directory::Directory;
use super::granted::{parse_granted, unknown_resource};
use super::page::Page;
use super::{Caller, Issuer, IssuerError, check_version};

/// Actors in a chain when nobody says otherwise: the agent acts directly, and for nobody who acts
/// for somebody else.
const MAX_DEPTH_DEFAULT: i64 = 1;

/// A delegation to be made.
#[derive(Debug)]
pub struct NewDelegation {
    /// Name of the agent that may act.
    pub actor: String,
    /// For whom: a subject, or with `*` at its end the beginning of subjects.
    pub subject: String,
    /// Name of the trusted issuer whose tokens alone count.
    pub trusted_issuer: Option<String>,
    /// Claims that such a token must have.
    pub subject_claims: BTreeMap<String, String>,
    /// Name or identifier of the resource.
    pub resource: String,
    /// Scopes of the resource; `None`: all, now and later.
    pub scopes: Option<Vec<String>>,
    /// Most actors in the chain; `None`: 1.
    pub max_depth: Option<i64>,
    /// Until when.
    pub end: DelegationEnd,
}

/// When a delegation is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelegationEnd {
    /// At that second.
    At(UnixTime),
    /// So many seconds from now.
    In(i64),
}

/// Which delegations a list shows.
#[derive(Debug, Default)]
pub struct DelegationQuery {
    /// Name of the agent that may act.
    pub actor: Option<String>,
    /// A subject that they take; with `*` at its end, those that take any of the subjects that begin so.
    pub subject: Option<String>,
}

/// A delegation as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegationView {
    /// The delegation.
    pub delegation: Delegation,
    /// The names of what it speaks of.
    pub names: DelegationNames,
}

/// A delegation that was made.
#[derive(Clone, Debug)]
pub struct AddedDelegation {
    /// The delegation.
    pub view: DelegationView,
    /// Why it is of no use as things are; a sentence each.
    pub warnings: Vec<String>,
}

/// A delegation that was suspended or revoked.
#[derive(Clone, Debug)]
pub struct EndedDelegation {
    /// The delegation.
    pub view: DelegationView,
    /// Tokens made under it up to this second ended now, and all that was made from them; `None` when it was
    /// over before.
    pub tokens_ended_until: Option<UnixTime>,
}

impl Issuer {
    /// Permits an agent to act for others.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for what is not well-formed or names what there is not,
    /// [`IssuerError::Conflict`] when the resource does not allow delegation, the agent was removed or
    /// has too many delegations.
    pub async fn add_delegation(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewDelegation,
    ) -> Result<AddedDelegation, IssuerError> {
        let max_depth = check_depth(new.max_depth.unwrap_or(MAX_DEPTH_DEFAULT))?;
        let mut change = self.begin(caller, Touches::Agent).await?;
        let expires_at = check_end(new.end, change.now())?;
        let actor = self.known_actor(&mut change, &new.actor).await?;
        let trusted = self.known_trusted_issuer(&mut change.tx, &new).await?;
        let subject = parse_subject(&new, &actor, trusted.as_ref())?;
        let directory = Directory::load(&mut change.tx, &self.id).await?;
        let resource = directory
            .resource(&new.resource)
            .ok_or_else(|| unknown_resource("resource", &new.resource))?;
        check_allows(resource)?;
        let scopes = match &new.scopes {
            None => GrantedScopes::All,
            Some(names) => GrantedScopes::Only(parse_granted("scopes", names, resource)?),
        };
        let delegation = Delegation {
            id: DelegationId::new(change.at, &*self.ports.random),
            actor: actor.id.clone(),
            subject,
            resource: resource.id.clone(),
            scopes,
            max_depth,
            status: DelegationStatus::Active,
            expires_at,
            version: change.version,
            created_at: change.now(),
            updated_at: change.now(),
        };
        self.insert_delegation(&mut change, &actor, &delegation)
            .await?;
        let mut warnings = Vec::new();
        if !directory.grants(&actor, &resource.id) {
            warnings.push(format!(
                "no role of the agent '{0}' grants the resource '{1}', so that every exchange is refused; give it one that does: firman agent edit {0} --add-role ROLE",
                actor.name, resource.name
            ));
        }
        let about_subject = self
            .why_nobody(&mut change.tx, &delegation.subject, trusted)
            .await?;
        warnings.extend(about_subject);
        let view = self.delegation_view(&mut change.tx, delegation).await?;
        let detail = facts(&view);
        change.audit(
            AuditEvent::DelegationAdded,
            target(&view.delegation),
            Some(&view.delegation.actor),
            &detail,
        );
        self.end(change).await?;
        Ok(AddedDelegation { view, warnings })
    }

    async fn known_actor(&self, change: &mut Change, text: &str) -> Result<Agent, IssuerError> {
        let name = Name::parse(text).map_err(|invalid| Invalid::new("actor", invalid.problem))?;
        match self.live_agent(change, name.as_str(), None).await {
            Err(IssuerError::NotFound { .. }) => Err(Invalid::new(
                "actor",
                format!("there is no agent '{name}'; register it with: firman agent add {name}"),
            )
            .into()),
            found => found,
        }
    }

    async fn known_trusted_issuer(
        &self,
        tx: &mut Tx,
        new: &NewDelegation,
    ) -> Result<Option<TrustedIssuer>, IssuerError> {
        let Some(text) = &new.trusted_issuer else {
            return Ok(None);
        };
        let name =
            Name::parse(text).map_err(|invalid| Invalid::new("trusted_issuer", invalid.problem))?;
        let found = tx.trusted_issuer_by_name(&self.id, name.as_str()).await?;
        match found {
            Some(trusted) => Ok(Some(trusted)),
            None => Err(Invalid::new(
                "trusted_issuer",
                format!("there is no trusted issuer '{name}'"),
            )
            .into()),
        }
    }

    async fn insert_delegation(
        &self,
        change: &mut Change,
        actor: &Agent,
        delegation: &Delegation,
    ) -> Result<(), IssuerError> {
        let now = change.now();
        let held = change.tx.delegations_of(&self.id, &actor.id).await?;
        if held.iter().filter(|held| !held.is_over(now)).count() >= DELEGATIONS_MAX {
            return Err(IssuerError::conflict(format!(
                "the agent '{0}' has {DELEGATIONS_MAX} delegations already; revoke one that is not needed (firman delegation list --actor {0} shows them), or take a prefix for several subjects",
                actor.name
            )));
        }
        if !change.tx.insert_delegation(&self.id, delegation).await? {
            return Err(IssuerError::conflict(
                "the id that was drawn is taken; try again".to_owned(),
            ));
        }
        change
            .tx
            .touch_agent(&self.id, &actor.id, change.version, now)
            .await?;
        Ok(())
    }

    /// Why no subject token can fall under a pattern as things are, if it is plain to see.
    async fn why_nobody(
        &self,
        tx: &mut Tx,
        pattern: &SubjectPattern,
        trusted: Option<TrustedIssuer>,
    ) -> Result<Option<String>, StoreError> {
        let subject = &pattern.subject;
        if let Some((issuer, user)) = split_user(subject)
            && let Ok(issuer) = Name::parse(issuer)
        {
            let trusted = match trusted {
                Some(trusted) => Some(trusted),
                None => tx.trusted_issuer_by_name(&self.id, issuer.as_str()).await?,
            };
            return Ok(why_no_user(trusted.as_ref(), &issuer, user));
        }
        if pattern.kind == SubjectKind::Prefix || !subject.starts_with("agent:") {
            return Ok(None);
        }
        let Some(name) = tx.agent_name_by_subject(&self.id, subject).await? else {
            return Ok(Some(format!(
                "no agent has the subject '{subject}' as yet; 'firman agent list' shows the agents"
            )));
        };
        let status = tx.agent_by_name(&self.id, &name).await?;
        Ok(match status.map(|agent| agent.status) {
            Some(AgentStatus::Removed { .. }) => Some(format!(
                "the agent with the subject '{subject}' was removed, and its subject is never given out again"
            )),
            Some(AgentStatus::Active | AgentStatus::Suspended { .. }) | None => None,
        })
    }

    /// One delegation, a revoked one too.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`].
    pub async fn delegation(&self, id: &str) -> Result<DelegationView, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let found = tx.delegation(&self.id, id).await?;
        let delegation = found.ok_or_else(|| IssuerError::not_found("delegation", id))?;
        let view = self.delegation_view(&mut tx, delegation).await?;
        tx.rollback().await?;
        Ok(view)
    }

    /// Delegations, the oldest first, those after the id `after`; revoked and expired ones too.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for a filter that no delegation can match.
    pub async fn delegations(
        &self,
        query: &DelegationQuery,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Page<DelegationView>, IssuerError> {
        let subject = query
            .subject
            .as_deref()
            .map(|text| SubjectPattern::parse(text, None, BTreeMap::new()))
            .transpose()?;
        let (mut tx, _) = self.read().await?;
        let actor = match query.actor.as_deref() {
            None => None,
            Some(text) => Some(self.actor_filter(&mut tx, text).await?),
        };
        let found = tx
            .delegations_page(
                &self.id,
                actor.as_ref(),
                subject.as_ref(),
                (after, limit + 1),
            )
            .await?;
        let views = self.delegation_views(&mut tx, found).await?;
        tx.rollback().await?;
        Ok(Page::cut(views, limit))
    }

    async fn actor_filter(&self, tx: &mut Tx, text: &str) -> Result<AgentId, IssuerError> {
        let name = Name::parse(text).map_err(|invalid| Invalid::new("actor", invalid.problem))?;
        let found = tx.agent_by_name(&self.id, name.as_str()).await?;
        let agent = found
            .ok_or_else(|| Invalid::new("actor", format!("there never was an agent '{name}'")))?;
        Ok(agent.id)
    }

    /// Moves the end of a delegation that is not over. No token outlives its delegation: where one made under it
    /// so far could outlive an earlier end, all of them end at once.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], [`IssuerError::NotFound`], [`IssuerError::Stale`], and
    /// [`IssuerError::Conflict`] when it was revoked or has expired.
    pub async fn edit_delegation(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
        end: DelegationEnd,
        expected: Option<i64>,
    ) -> Result<DelegationView, IssuerError> {
        let mut change = self.begin(caller, Touches::Agent).await?;
        let expires_at = check_end(end, change.now())?;
        let before = self.lasting_delegation(&mut change, id, expected).await?;
        if before.expires_at == expires_at {
            self.end(change).await?;
            return self.delegation(id).await;
        }
        let after = Delegation {
            expires_at,
            ..before.clone()
        };
        // A token made under it so far may outlive an end that is nearer than the longest life.
        let may_outlive = expires_at < before.expires_at
            && expires_at < change.ends_until().plus(LIFETIME_CEILING_SECONDS);
        let ended = if may_outlive {
            Some(self.end_tokens_under(&mut change, &before.id).await?)
        } else {
            None
        };
        let view = self
            .write_delegation(&mut change, &before, after, Touch::Actor)
            .await?;
        let mut detail = identifying(&view);
        detail["expires_at"] = json!({ "from": before.expires_at.0, "to": expires_at.0 });
        if let Some(mark) = ended {
            detail["tokens_ended_until"] = json!(mark.not_before.0);
        }
        audit(&mut change, AuditEvent::DelegationChanged, &view, &detail);
        self.end(change).await?;
        Ok(view)
    }

    /// Switches a delegation off; the tokens made under it end at once, and those made from them. Does
    /// nothing to one that is.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`], [`IssuerError::Stale`], and [`IssuerError::Conflict`] when it was
    /// revoked or has expired.
    pub async fn suspend_delegation(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
        expected: Option<i64>,
    ) -> Result<EndedDelegation, IssuerError> {
        let mut change = self.begin(caller, Touches::Agent).await?;
        let before = self.lasting_delegation(&mut change, id, expected).await?;
        if before.status != DelegationStatus::Active {
            self.end(change).await?;
            let view = self.delegation(id).await?;
            return Ok(EndedDelegation {
                view,
                tokens_ended_until: None,
            });
        }
        let after = Delegation {
            status: DelegationStatus::Suspended { at: change.now() },
            ..before.clone()
        };
        let mark = self.end_tokens_under(&mut change, &before.id).await?;
        let view = self
            .write_delegation(&mut change, &before, after, Touch::Actor)
            .await?;
        let mut detail = identifying(&view);
        detail["tokens_ended_until"] = json!(mark.not_before.0);
        audit(&mut change, AuditEvent::DelegationSuspended, &view, &detail);
        self.end(change).await?;
        Ok(EndedDelegation {
            view,
            tokens_ended_until: Some(mark.not_before),
        })
    }

    /// Switches a delegation on again; tokens that ended stay so. Does nothing to one that is.
    ///
    /// # Errors
    /// As [`Issuer::suspend_delegation`].
    pub async fn resume_delegation(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
        expected: Option<i64>,
    ) -> Result<DelegationView, IssuerError> {
        let mut change = self.begin(caller, Touches::Agent).await?;
        let before = self.lasting_delegation(&mut change, id, expected).await?;
        let DelegationStatus::Suspended { at } = before.status else {
            self.end(change).await?;
            return self.delegation(id).await;
        };
        let after = Delegation {
            status: DelegationStatus::Active,
            ..before.clone()
        };
        let view = self
            .write_delegation(&mut change, &before, after, Touch::Actor)
            .await?;
        let mut detail = identifying(&view);
        detail["suspended_at"] = json!(at.0);
        audit(&mut change, AuditEvent::DelegationResumed, &view, &detail);
        self.end(change).await?;
        Ok(view)
    }

    /// Ends a delegation for good, an expired one too; the tokens made under it end at once, and those
    /// made from them. Does nothing to one that is revoked.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`], [`IssuerError::Stale`].
    pub async fn revoke_delegation(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
        expected: Option<i64>,
    ) -> Result<EndedDelegation, IssuerError> {
        let mut change = self.begin(caller, Touches::Agent).await?;
        let before = self.known_delegation(&mut change, id, expected).await?;
        if matches!(before.status, DelegationStatus::Revoked { .. }) {
            self.end(change).await?;
            let view = self.delegation(id).await?;
            return Ok(EndedDelegation {
                view,
                tokens_ended_until: None,
            });
        }
        let ended = self
            .revoke_in(&mut change, &before, (Touch::Actor, None))
            .await?;
        self.end(change).await?;
        Ok(ended)
    }

    /// Revokes the delegations of an agent that is being removed, and is written by that.
    pub(super) async fn revoke_delegations_of(
        &self,
        change: &mut Change,
        actor: &Agent,
    ) -> Result<(), IssuerError> {
        let why = "its actor was removed";
        for delegation in change.tx.delegations_of(&self.id, &actor.id).await? {
            self.revoke_in(change, &delegation, (Touch::Nobody, Some(why)))
                .await?;
        }
        Ok(())
    }

    /// Revokes delegations that name a resource which is being removed.
    pub(super) async fn revoke_delegations_on(
        &self,
        change: &mut Change,
        delegations: &[Delegation],
    ) -> Result<(), IssuerError> {
        let why = "its resource was removed";
        for delegation in delegations {
            self.revoke_in(change, delegation, (Touch::Actor, Some(why)))
                .await?;
        }
        Ok(())
    }

    /// Revokes a delegation that names a trusted issuer which is being removed.
    pub(super) async fn revoke_with_trust(
        &self,
        change: &mut Change,
        delegation: &Delegation,
    ) -> Result<(), IssuerError> {
        let why = "its trusted issuer was removed";
        self.revoke_in(change, delegation, (Touch::Actor, Some(why)))
            .await?;
        Ok(())
    }

    async fn revoke_in(
        &self,
        change: &mut Change,
        before: &Delegation,
        (touch, why): (Touch, Option<&str>),
    ) -> Result<EndedDelegation, IssuerError> {
        let after = Delegation {
            status: DelegationStatus::Revoked { at: change.now() },
            ..before.clone()
        };
        let mark = self.end_tokens_under(change, &before.id).await?;
        let view = self.write_delegation(change, before, after, touch).await?;
        let mut detail = identifying(&view);
        detail["tokens_ended_until"] = json!(mark.not_before.0);
        if let Some(why) = why {
            detail["why"] = json!(why);
        }
        audit(change, AuditEvent::DelegationRevoked, &view, &detail);
        Ok(EndedDelegation {
            view,
            tokens_ended_until: Some(mark.not_before),
        })
    }

    async fn known_delegation(
        &self,
        change: &mut Change,
        id: &str,
        expected: Option<i64>,
    ) -> Result<Delegation, IssuerError> {
        let found = change.tx.delegation(&self.id, id).await?;
        let delegation = found.ok_or_else(|| IssuerError::not_found("delegation", id))?;
        check_version("delegation", delegation.version, expected)?;
        Ok(delegation)
    }

    /// A delegation that is not over, for a change of it.
    async fn lasting_delegation(
        &self,
        change: &mut Change,
        id: &str,
        expected: Option<i64>,
    ) -> Result<Delegation, IssuerError> {
        let delegation = self.known_delegation(change, id, expected).await?;
        if !delegation.is_over(change.now()) {
            return Ok(delegation);
        }
        let ended = match delegation.status {
            DelegationStatus::Revoked { at } => format!("was revoked at {at}"),
            DelegationStatus::Active | DelegationStatus::Suspended { .. } => {
                format!("expired at {}", delegation.expires_at)
            }
        };
        Err(IssuerError::conflict(format!(
            "the delegation {} {ended} and cannot be changed any more; make a new one with: firman delegation add",
            delegation.id
        )))
    }

    async fn write_delegation(
        &self,
        change: &mut Change,
        before: &Delegation,
        mut after: Delegation,
        touch: Touch,
    ) -> Result<DelegationView, IssuerError> {
        after.version = change.version;
        after.updated_at = change.now();
        let written = change
            .tx
            .update_delegation(&self.id, &after, before.version)
            .await?;
        if !written {
            return Err(IssuerError::Stale {
                noun: "delegation",
                present: before.version,
            });
        }
        match touch {
            Touch::Actor => {
                let now = change.now();
                change
                    .tx
                    .touch_agent(&self.id, &after.actor, change.version, now)
                    .await?;
            }
            Touch::Nobody => {}
        }
        Ok(self.delegation_view(&mut change.tx, after).await?)
    }

    async fn delegation_view(
        &self,
        tx: &mut Tx,
        delegation: Delegation,
    ) -> Result<DelegationView, StoreError> {
        let mut views = self.delegation_views(tx, vec![delegation]).await?;
        views
            .pop()
            .ok_or_else(|| StoreError::corrupt("a delegation's names are missing"))
    }

    pub(super) async fn delegation_views(
        &self,
        tx: &mut Tx,
        delegations: Vec<Delegation>,
    ) -> Result<Vec<DelegationView>, StoreError> {
        let ids: Vec<&str> = delegations.iter().map(|held| held.id.as_str()).collect();
        let mut names = tx.delegation_names(&self.id, &ids).await?;
        delegations
            .into_iter()
            .map(|delegation| {
                let names = names.remove(&delegation.id).ok_or_else(|| {
                    StoreError::corrupt(format!("delegation {}: no names", delegation.id))
                })?;
                Ok(DelegationView { delegation, names })
            })
            .collect()
    }
}

/// Whether a change of a delegation has its actor's row to mark as changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    /// Yes.
    Actor,
    /// No: the same change writes the row anyway.
    Nobody,
}

fn target(delegation: &Delegation) -> String {
    format!("delegation:{}", delegation.id)
}

fn audit(change: &mut Change, event: AuditEvent, view: &DelegationView, detail: &Value) {
    let delegation = &view.delegation;
    change.audit(event, target(delegation), Some(&delegation.actor), detail);
}

/// What tells a person which delegation is meant.
fn identifying(view: &DelegationView) -> Value {
    json!({
        "actor": view.names.actor,
        "subject": view.delegation.subject.text(),
        "resource": view.names.resource,
    })
}

fn facts(view: &DelegationView) -> Value {
    let delegation = &view.delegation;
    let mut facts = identifying(view);
    facts["trusted_issuer"] = json!(view.names.trusted_issuer);
    facts["subject_claims"] = json!(delegation.subject.claims);
    facts["scopes"] = match &delegation.scopes {
        GrantedScopes::All => json!("*"),
        GrantedScopes::Only(scopes) => json!(scopes),
    };
    facts["max_depth"] = json!(delegation.max_depth);
    facts["expires_at"] = json!(delegation.expires_at.0);
    facts
}

fn check_end(end: DelegationEnd, now: UnixTime) -> Result<UnixTime, Invalid> {
    let (field, at) = match end {
        DelegationEnd::At(at) => ("expires_at", Some(at)),
        DelegationEnd::In(seconds) => ("expires_in", now.0.checked_add(seconds).map(UnixTime)),
    };
    let last = now.plus(DELEGATION_MAX_SECONDS);
    at.filter(|at| *at > now && *at <= last).ok_or_else(|| {
        Invalid::new(
            field,
            format!("must lie between now and {last}, 400 days from now: a delegation is looked at again once a year"),
        )
    })
}

fn check_allows(resource: &Resource) -> Result<(), IssuerError> {
    if resource.allows_delegation() {
        return Ok(());
    }
    Err(IssuerError::conflict(format!(
        "the resource '{0}' does not take tokens that somebody acts in; allow it with: firman resource edit {0} --allow-delegation",
        resource.name
    )))
}

fn parse_subject(
    new: &NewDelegation,
    actor: &Agent,
    trusted: Option<&TrustedIssuer>,
) -> Result<SubjectPattern, Invalid> {
    let pattern = SubjectPattern::parse(
        &new.subject,
        trusted.map(|trusted| trusted.id.clone()),
        new.subject_claims.clone(),
    )?;
    if pattern.kind == SubjectKind::Exact && pattern.subject == actor.subject.as_str() {
        return Err(Invalid::new(
            "subject",
            "is the actor's own; for itself an agent needs no delegation, it asks with client_credentials",
        ));
    }
    if let Some(trusted) = trusted {
        let beginning = users_of(&trusted.name);
        let is_possible = match pattern.kind {
            SubjectKind::Exact => pattern.subject.starts_with(&beginning),
            SubjectKind::Prefix => {
                pattern.subject.starts_with(&beginning) || beginning.starts_with(&pattern.subject)
            }
        };
        if !is_possible {
            return Err(Invalid::new(
                "subject",
                format!(
                    "takes nobody of the trusted issuer '{}', whose subjects all begin with {beginning}",
                    trusted.name
                ),
            ));
        }
    }
    Ok(pattern)
}

fn why_no_user(trusted: Option<&TrustedIssuer>, issuer: &Name, user: &str) -> Option<String> {
    let Some(trusted) = trusted else {
        return Some(format!(
            "there is no trusted issuer '{issuer}' as yet, so that nobody has such a subject"
        ));
    };
    if !trusted.definition.subject {
        return Some(format!(
            "the trusted issuer '{issuer}' is not trusted with subjects, so that every exchange of its tokens is refused"
        ));
    }
    let is_encoded = |b: u8| b.is_ascii_alphanumeric() || b"-._~%".contains(&b);
    if user.bytes().all(is_encoded) {
        return None;
    }
    let written = user_subject(issuer, user).ok()?;
    Some(format!(
        "what stands behind the second ':' of such a subject is percent-encoded, so that this takes nobody; {written} was meant, perhaps"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_is_past_or_too_far_away_is_refused() {
        let now = UnixTime(1_800_000_000);
        for bad in [
            DelegationEnd::At(now),
            DelegationEnd::At(now.plus(-1)),
            DelegationEnd::At(now.plus(DELEGATION_MAX_SECONDS + 1)),
            DelegationEnd::At(UnixTime(i64::MAX)),
            DelegationEnd::At(UnixTime(i64::MIN)),
            DelegationEnd::In(0),
            DelegationEnd::In(i64::MIN),
            DelegationEnd::In(i64::MAX),
            DelegationEnd::In(DELEGATION_MAX_SECONDS + 1),
        ] {
            assert!(check_end(bad, now).is_err(), "{bad:?} was taken");
        }
        assert_eq!(check_end(DelegationEnd::In(1), now), Ok(now.plus(1)));
        let last = now.plus(DELEGATION_MAX_SECONDS);
        assert_eq!(check_end(DelegationEnd::At(last), now), Ok(last));
    }
}
