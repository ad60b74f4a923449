//! The shared part of the verbs of every named thing: agents, groups, roles, resources, trusted issuers. This file
//! finds one for a change, writes it back and audits the difference: not found, changed concurrently, the new
//! version and time, and the members that differ. A verb is a straight function between `Change::live` and
//! `Change::write`; the rules specific to its noun are the lines in between.

use std::future::Future;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::domain::Invalid;
use crate::domain::agent::DESCRIPTION_MAX_CHARS;
use crate::domain::audit::AuditEvent;
use crate::domain::id::{AgentId, IssuerId};
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::domain::text;
use crate::ports::time::UnixTime;
use crate::store::{StoreError, Tx};

use super::change::Change;
use super::{IssuerError, check_version};

/// Most agents, credentials or delegations that a forced removal changes: all of them are written in one
/// transaction, and no token is issued during it.
pub const FORCED_REMOVAL_MAX: i64 = 500;

/// Checks that the dependents of an object are few enough for one forced removal. `count` may stop at one more than
/// that; `depending` describes them in the plural: `agents are in the group`.
///
/// # Errors
/// [`IssuerError::Conflict`], with `remedy`.
pub(super) fn check_extent(count: i64, depending: &str, remedy: &str) -> Result<(), IssuerError> {
    if count <= FORCED_REMOVAL_MAX {
        return Ok(());
    }
    Err(IssuerError::conflict(format!(
        "more than {FORCED_REMOVAL_MAX} {depending}, too many for one step"
    ))
    .with_remedy(Remedy::action(remedy)))
}

/// How to remove an object with dependents.
#[derive(Clone, Copy, Debug, Default)]
pub struct Removal {
    /// Remove the dependents' references too, with one audit entry each.
    pub force: bool,
    /// The version that the caller saw.
    pub expected: Option<i64>,
}

/// The common members of all named things.
pub(super) struct Head<'a> {
    pub(super) name: &'a Name,
    pub(super) version: i64,
    /// True for a row that is only kept so that its name is never reused.
    pub(super) is_removed: bool,
}

/// A thing with a unique name and a version that every change increments.
pub(super) trait Named: Send + Sync {
    /// Its noun in error messages.
    const NOUN: &'static str;
    /// The prefix of an audit entry's target.
    const KIND: &'static str;
    /// The event of an edit.
    const CHANGED: AuditEvent;

    fn head(&self) -> Head<'_>;

    /// Sets the version and the time of a change.
    fn stamp(&mut self, version: i64, now: UnixTime);

    /// The agent under which its audit entries are found.
    fn agent(&self) -> Option<&AgentId> {
        None
    }

    /// Its members as the audit shows them, with names in place of ids.
    fn facts(&self, change: &mut Change) -> impl Future<Output = Result<Facts, StoreError>> + Send;

    /// The row of that name, removed ones included.
    fn find(
        tx: &mut Tx,
        issuer: &IssuerId,
        name: &str,
    ) -> impl Future<Output = Result<Option<Self>, StoreError>> + Send
    where
        Self: Sized;

    /// False when its name, or another unique member, is in use.
    fn insert(
        &self,
        tx: &mut Tx,
        issuer: &IssuerId,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// False when it is not at version `expected`.
    fn update(
        &self,
        tx: &mut Tx,
        issuer: &IssuerId,
        expected: i64,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// The facts of a thing in an audit entry, by member.
#[derive(Debug, Default)]
pub(super) struct Facts(Map<String, Value>);

impl Facts {
    /// The members of an object.
    pub(super) fn of(object: Value) -> Self {
        match object {
            Value::Object(members) => Self(members),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Self::default(),
        }
    }

    /// The same facts with `more`, which replaces members of the same name.
    pub(super) fn and(mut self, more: Value) -> Self {
        self.0.extend(Self::of(more).0);
        self
    }

    pub(super) fn into_detail(self) -> Value {
        Value::Object(self.0)
    }
}

/// What an edit changed, for its audit entry: `{"owner":{"from":…,"to":…}}`.
#[derive(Debug, Default)]
pub(super) struct Difference(Map<String, Value>);

impl Difference {
    /// The members that differ between two states of a thing.
    pub(super) fn between(before: Facts, after: Facts) -> Self {
        let mut difference = Self::default();
        let Facts(mut before) = before;
        for (member, to) in after.0 {
            let from = before.remove(&member).unwrap_or(Value::Null);
            difference.note(&member, &from, &to);
        }
        difference
    }

    /// Records a member if it changed.
    pub(super) fn note<T: Serialize + PartialEq>(&mut self, member: &str, from: &T, to: &T) {
        if from != to {
            let sides = json!({ "from": from, "to": to });
            self.0.insert(member.to_owned(), sides);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The detail of the audit entry.
    pub(super) fn into_detail(self) -> Value {
        Value::Object(self.0)
    }
}

impl Change {
    /// Finds the thing of that name, to be changed.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`]; [`IssuerError::Stale`] when it is not at version `expected`.
    pub(super) async fn live<T: Named>(
        &mut self,
        name: &str,
        expected: Option<i64>,
    ) -> Result<T, IssuerError> {
        let name = known_name(T::NOUN, name)?;
        let found = T::find(&mut self.tx, &self.issuer, name.as_str()).await?;
        let thing = found
            .filter(|thing| !thing.head().is_removed)
            .ok_or_else(|| IssuerError::not_found(T::NOUN, name.as_str()))?;
        check_version(T::NOUN, thing.head().version, expected)?;
        Ok(thing)
    }

    /// Adds a new thing and audits it as `event` with `detail`. False when a unique member is in use; then nothing
    /// was written.
    pub(super) async fn add<T: Named>(
        &mut self,
        thing: &T,
        event: AuditEvent,
        detail: &Value,
    ) -> Result<bool, IssuerError> {
        if !thing.insert(&mut self.tx, &self.issuer).await? {
            return Ok(false);
        }
        self.audit(event, target(thing), thing.agent(), detail);
        Ok(true)
    }

    /// Writes an edit and audits the difference. Without a difference `after` keeps its version and nothing is
    /// written.
    ///
    /// # Errors
    /// [`IssuerError::Stale`].
    pub(super) async fn write<T: Named>(
        &mut self,
        before: &T,
        after: &mut T,
    ) -> Result<(), IssuerError> {
        let was = before.facts(self).await?;
        let is = after.facts(self).await?;
        let difference = Difference::between(was, is);
        if difference.is_empty() {
            return Ok(());
        }
        self.replace(before, after, T::CHANGED, &difference.into_detail())
            .await
    }

    /// Writes a change that has its own event.
    ///
    /// # Errors
    /// [`IssuerError::Stale`].
    pub(super) async fn replace<T: Named>(
        &mut self,
        before: &T,
        after: &mut T,
        event: AuditEvent,
        detail: &Value,
    ) -> Result<(), IssuerError> {
        let seen = before.head().version;
        after.stamp(self.version, self.now());
        if !after.update(&mut self.tx, &self.issuer, seen).await? {
            let present = T::find(&mut self.tx, &self.issuer, before.head().name.as_str()).await?;
            return Err(IssuerError::Stale {
                noun: T::NOUN,
                present: present.map_or(seen, |present| present.head().version),
            });
        }
        self.audit(event, target(after), after.agent(), detail);
        Ok(())
    }

    /// The error for a name that was used before.
    pub(super) async fn name_taken<T: Named>(
        &mut self,
        thing: &T,
    ) -> Result<IssuerError, StoreError> {
        let (noun, name) = (T::NOUN, thing.head().name);
        let holder = T::find(&mut self.tx, &self.issuer, name.as_str()).await?;
        Ok(if holder.is_some_and(|holder| holder.head().is_removed) {
            name_belonged(noun, name)
        } else {
            name_in_use(noun, name)
        })
    }
}

/// The error for the name of something that was removed.
pub(super) fn name_belonged(noun: &str, name: &Name) -> IssuerError {
    IssuerError::conflict(format!(
        "the name `{name}` belonged to {} that was removed; a name is never reused, because relying parties may still trust it",
        with_article(noun)
    ))
    .with_remedy(Remedy::action("choose another name"))
}

/// The error for the name of something else.
pub(super) fn name_in_use(noun: &str, name: &Name) -> IssuerError {
    IssuerError::conflict(format!("{} named `{name}` exists", with_article(noun)))
        .with_remedy(Remedy::command(format!("{noun} edit {name}")))
}

fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}

/// The target of a thing in the audit: `group:mailers`.
pub(super) fn target<T: Named>(thing: &T) -> String {
    format!("{}:{}", T::KIND, thing.head().name)
}

/// Parses a name in a path; a name that no object can have is not found.
pub(super) fn known_name(noun: &'static str, text: &str) -> Result<Name, IssuerError> {
    Name::parse(text).map_err(|_| IssuerError::not_found(noun, text))
}

/// Reads a description.
pub(super) fn description(text: &str) -> Result<String, Invalid> {
    text::line("description", text, DESCRIPTION_MAX_CHARS)
}
