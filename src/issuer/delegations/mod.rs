//! Delegations: permitting an agent to act for others, and ending that permission. Token exchange (RFC 8693)
//! requires one; `authorize/` decides whether a request falls under it.

mod new;
mod status;
mod subject;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::delegation::{Delegation as DelegationView, DelegationEdit};
use crate::domain::Invalid;
use crate::domain::audit::AuditEvent;
use crate::domain::delegation::{
    DELEGATION_MAX_SECONDS, Delegation, DelegationStatus, SubjectPattern,
};
use crate::domain::id::AgentId;
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::domain::settings::LIFETIME_CEILING_SECONDS;
use crate::ports::time::UnixTime;
use crate::store::{DelegationNames, StoreError, Tx, Window};

use super::change::{Change, Touches};
use super::page::Page;
use super::{Caller, Issuer, IssuerError, check_version};

/// When a delegation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DelegationEnd {
    /// At this second.
    At(UnixTime),
    /// This many seconds from now.
    In(i64),
}

/// Which delegations a list shows.
#[derive(Debug, Default)]
pub struct DelegationQuery {
    /// Name of the agent that may act.
    pub actor: Option<String>,
    /// A subject that they match; with a trailing `*`, delegations that match any subject with this prefix.
    pub subject: Option<String>,
}

/// A delegation with the names of the objects that it refers to.
pub(super) struct NamedDelegation {
    delegation: Delegation,
    names: DelegationNames,
}

impl Issuer {
    /// One delegation, revoked ones included.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`].
    pub async fn delegation(&self, id: &str) -> Result<DelegationView, IssuerError> {
        let now = self.ports.clock.now();
        let (mut tx, _) = self.read().await?;
        let found = tx.delegation(&self.id, id).await?;
        let delegation = found.ok_or_else(|| IssuerError::not_found("delegation", id))?;
        let named = self.named_delegation(&mut tx, delegation).await?;
        tx.rollback().await?;
        Ok(named.view(now))
    }

    /// Delegations, the oldest first, those after the id `after`. Revoked and expired ones are included.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for a filter that no delegation can match.
    pub async fn delegations(
        &self,
        query: &DelegationQuery,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Page<DelegationView>, IssuerError> {
        let now = self.ports.clock.now();
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
                Window {
                    after,
                    limit: limit + 1,
                },
            )
            .await?;
        let named = self.named_delegations(&mut tx, found).await?;
        tx.rollback().await?;
        let views = named.into_iter().map(|named| named.view(now));
        Ok(Page::cut(views.collect(), limit))
    }

    async fn actor_filter(&self, tx: &mut Tx, text: &str) -> Result<AgentId, IssuerError> {
        let name = Name::parse(text).map_err(|invalid| Invalid::new("actor", invalid.problem))?;
        let found = tx.agent_by_name(&self.id, name.as_str()).await?;
        let agent =
            found.ok_or_else(|| Invalid::new("actor", format!("agent `{name}` never existed")))?;
        Ok(agent.id)
    }

    /// Changes when a delegation ends, unless it is already over. No token outlives its delegation: if a token
    /// made under it could outlive an earlier end, all tokens made under it are ended at once.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], [`IssuerError::NotFound`], [`IssuerError::Stale`], and
    /// [`IssuerError::Conflict`] when it was revoked or has expired.
    pub async fn edit_delegation(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
        edit: DelegationEdit,
        expected: Option<i64>,
    ) -> Result<DelegationView, IssuerError> {
        let end = DelegationEnd::parse(edit.expires_at, edit.expires_in)?;
        let mut change = self.begin(caller, Touches::Agent).await?;
        let expires_at = check_end(end, change.now())?;
        let before = self.lasting_delegation(&mut change, id, expected).await?;
        if before.expires_at == expires_at {
            return self.unchanged(change, before).await;
        }
        let after = Delegation {
            expires_at,
            ..before.clone()
        };
        // A token made under it may outlive a new end that is nearer than the longest lifetime.
        let may_outlive = expires_at < before.expires_at
            && expires_at < change.ends_until().plus(LIFETIME_CEILING_SECONDS);
        let ended = if may_outlive {
            Some(self.end_tokens_under(&mut change, &before.id).await?)
        } else {
            None
        };
        let named = self
            .write_delegation(&mut change, &before, after, Touch::Actor)
            .await?;
        let mut detail = identifying(&named);
        detail["expires_at"] = json!({ "from": before.expires_at.0, "to": expires_at.0 });
        if let Some(ending) = ended {
            detail["tokens_ended_until"] = json!(ending.mark.not_before.0);
        }
        audit(&mut change, AuditEvent::DelegationChanged, &named, &detail);
        let view = named.view(change.now());
        self.end(change).await?;
        Ok(view)
    }

    /// Ends a change that found nothing to change, and shows what it found.
    async fn unchanged(
        self: &Arc<Self>,
        mut change: Change,
        found: Delegation,
    ) -> Result<DelegationView, IssuerError> {
        let named = self.named_delegation(&mut change.tx, found).await?;
        let view = named.view(change.now());
        self.end(change).await?;
        Ok(view)
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

    /// A delegation that is not over, to be changed.
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
            "delegation `{}` {ended} and can no longer be changed",
            delegation.id
        ))
        .with_remedy(Remedy::command("delegation add")))
    }

    async fn write_delegation(
        &self,
        change: &mut Change,
        before: &Delegation,
        mut after: Delegation,
        touch: Touch,
    ) -> Result<NamedDelegation, IssuerError> {
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
            Touch::Nothing => {}
        }
        Ok(self.named_delegation(&mut change.tx, after).await?)
    }

    async fn named_delegation(
        &self,
        tx: &mut Tx,
        delegation: Delegation,
    ) -> Result<NamedDelegation, StoreError> {
        let mut named = self.named_delegations(tx, vec![delegation]).await?;
        named
            .pop()
            .ok_or_else(|| StoreError::corrupt("a delegation's names are missing"))
    }

    pub(super) async fn named_delegations(
        &self,
        tx: &mut Tx,
        delegations: Vec<Delegation>,
    ) -> Result<Vec<NamedDelegation>, StoreError> {
        let ids: Vec<&str> = delegations.iter().map(|held| held.id.as_str()).collect();
        let mut names = tx.delegation_names(&self.id, &ids).await?;
        delegations
            .into_iter()
            .map(|delegation| {
                let names = names.remove(&delegation.id).ok_or_else(|| {
                    StoreError::corrupt(format!("delegation {}: no names", delegation.id))
                })?;
                Ok(NamedDelegation { delegation, names })
            })
            .collect()
    }
}

impl NamedDelegation {
    /// The delegation as it is shown at `now`.
    pub(super) fn view(self, now: UnixTime) -> DelegationView {
        let Self { delegation, names } = self;
        let (status, since) = status_at(&delegation, now);
        DelegationView {
            id: delegation.id.to_string(),
            actor: names.actor.to_string(),
            subject: delegation.subject.text(),
            trusted_issuer: names.trusted_issuer.map(|name| name.to_string()),
            subject_claims: delegation.subject.claims,
            resource: names.resource.to_string(),
            identifier: names.identifier.as_str().to_owned(),
            scopes: delegation.scopes.into(),
            max_depth: delegation.max_depth,
            status: status.to_owned(),
            status_since: since.map(|at| at.0),
            expires_at: delegation.expires_at.0,
            created_at: delegation.created_at.0,
            updated_at: delegation.updated_at.0,
            version: delegation.version,
        }
    }
}

fn status_at(delegation: &Delegation, now: UnixTime) -> (&'static str, Option<UnixTime>) {
    match delegation.status {
        DelegationStatus::Active | DelegationStatus::Suspended { .. }
            if delegation.is_over(now) =>
        {
            ("expired", Some(delegation.expires_at))
        }
        status @ (DelegationStatus::Active
        | DelegationStatus::Suspended { .. }
        | DelegationStatus::Revoked { .. }) => (status.as_str(), status.since()),
    }
}

impl DelegationEnd {
    fn parse(expires_at: Option<i64>, expires_in: Option<i64>) -> Result<Self, Invalid> {
        match (expires_at, expires_in) {
            (Some(at), None) => Ok(Self::At(UnixTime(at))),
            (None, Some(seconds)) => Ok(Self::In(seconds)),
            (None, None) => Err(Invalid::new(
                "expires_at",
                "`expires_at` (a time) or `expires_in` (seconds) is required",
            )),
            (Some(_), Some(_)) => Err(Invalid::new(
                "expires_in",
                "cannot be combined with `expires_at`",
            )),
        }
    }
}

/// Whether a change of a delegation must also mark its actor's row as changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    /// Yes.
    Actor,
    /// No: the same change already writes the row.
    Nothing,
}

fn target(delegation: &Delegation) -> String {
    format!("delegation:{}", delegation.id)
}

fn audit(change: &mut Change, event: AuditEvent, named: &NamedDelegation, detail: &Value) {
    let delegation = &named.delegation;
    change.audit(event, target(delegation), Some(&delegation.actor), detail);
}

/// The facts that identify a delegation to a person.
fn identifying(named: &NamedDelegation) -> Value {
    json!({
        "actor": named.names.actor,
        "subject": named.delegation.subject.text(),
        "resource": named.names.resource,
    })
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
            format!("must be between now and {last}, 400 days from now: a delegation is reviewed once a year"),
        )
    })
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
            assert!(check_end(bad, now).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(check_end(DelegationEnd::In(1), now), Ok(now.plus(1)));
        let last = now.plus(DELEGATION_MAX_SECONDS);
        assert_eq!(check_end(DelegationEnd::At(last), now), Ok(last));
    }
}
