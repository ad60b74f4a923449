//! Trusted issuers: adding, editing, removing. What a definition omits is not trusted. A definition is checked as
//! a whole after each change.

mod definition;
mod removal;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use crate::api::warning::Warning;
use crate::domain::Invalid;
use crate::domain::audit::AuditEvent;
use crate::domain::id::{IssuerId, TrustedIssuerId};
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::domain::subject::users_of;
use crate::domain::trusted_issuer::{
    JtiPolicy, KeySource, TRUSTED_ISSUERS_MAX, TrustDefinition, TrustedIssuer,
};
use crate::ports::time::UnixTime;
use crate::store::{StoreError, Tx};

use super::change::{Change, Touches};
use super::named::{Facts, Head, Named, known_name};
use super::page::Page;
use super::{Caller, Issuer, IssuerError, check_version};

use definition::applied;

/// A definition of a trusted issuer, or an edit of one; `None`: the default, or unchanged.
#[derive(Clone, Debug, Default)]
pub struct TrustChanges {
    /// A description.
    pub description: Option<String>,
    /// The only accepted `aud`; by default this issuer's URL.
    pub audience: Option<String>,
    /// The source of its keys; by default its discovery document.
    pub keys: Option<KeySource>,
    /// Whether its tokens may authenticate agents; by default not.
    pub client_auth: Option<bool>,
    /// Whether its tokens may be subject tokens; by default not.
    pub subject: Option<bool>,
    /// Whether its tokens may be actor tokens; by default not.
    pub actor: Option<bool>,
    /// Whether its subject tokens may contain `act`; by default not.
    pub accept_act: Option<bool>,
    /// Longest lifetime of its tokens in seconds; by default an hour.
    pub max_lifetime: Option<i64>,
    /// Accepted `typ` headers, the empty text for an absent one; by default `JWT`.
    pub types: Option<Vec<String>>,
    /// How often one token is accepted; by default once.
    pub jti: Option<JtiPolicy>,
    /// Claims that every token must have; by default none.
    pub required_claims: Option<BTreeMap<String, String>>,
    /// The claim that names the subject; by default `sub`.
    pub subject_claim: Option<String>,
    /// Attributes of tokens minted for its subjects, by claim; by default none.
    pub claims: Option<BTreeMap<String, String>>,
}

/// A request to trust an issuer.
#[derive(Clone, Debug, Default)]
pub struct NewTrustedIssuer {
    /// Its short name.
    pub name: String,
    /// The exact `iss` of its tokens, or `spiffe://` and a trust domain.
    pub url: String,
    /// The definition.
    pub trust: TrustChanges,
}

/// A trusted issuer as lists show it.
#[derive(Clone, Debug)]
pub struct TrustedIssuerView {
    /// The trusted issuer.
    pub trusted: TrustedIssuer,
    /// Warnings for the administrator.
    pub warnings: Vec<Warning>,
}

impl Named for TrustedIssuer {
    const NOUN: &'static str = "trusted issuer";
    const KIND: &'static str = "trusted-issuer";
    const CHANGED: AuditEvent = AuditEvent::TrustedIssuerChanged;

    fn head(&self) -> Head<'_> {
        Head {
            name: &self.name,
            version: self.version,
            is_removed: self.removed_at.is_some(),
        }
    }

    fn stamp(&mut self, version: i64, now: UnixTime) {
        self.version = version;
        self.updated_at = now;
    }

    async fn facts(&self, _: &mut Change) -> Result<Facts, StoreError> {
        Ok(Facts::of(json!(self.definition)))
    }

    async fn find(tx: &mut Tx, issuer: &IssuerId, name: &str) -> Result<Option<Self>, StoreError> {
        tx.trusted_issuer_by_name(issuer, name).await
    }

    async fn insert(&self, tx: &mut Tx, issuer: &IssuerId) -> Result<bool, StoreError> {
        tx.insert_trusted_issuer(issuer, self).await
    }

    async fn update(
        &self,
        tx: &mut Tx,
        issuer: &IssuerId,
        expected: i64,
    ) -> Result<bool, StoreError> {
        tx.update_trusted_issuer(issuer, self, expected).await
    }
}

impl Issuer {
    /// Trusts an issuer. Its keys are fetched once as a check.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], or [`IssuerError::Conflict`] for a name that was used before or a URL that is
    /// already trusted.
    pub async fn add_trusted_issuer(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewTrustedIssuer,
    ) -> Result<TrustedIssuerView, IssuerError> {
        let name = Name::parse(&new.name)?;
        let definition = applied(self.default_trust(&new.url), new.trust);
        self.check_trusted_url(&new.url, &definition)?;
        let definition = self.checked(&new.url, definition)?;
        let keys_warning = self.try_keys(&new.url, &definition).await?;
        let mut change = self.begin(caller, Touches::Policy).await?;
        let trusted = TrustedIssuer {
            id: TrustedIssuerId::new(change.at, &*self.ports.random),
            name,
            url: new.url,
            definition,
            version: change.version,
            created_at: change.now(),
            updated_at: change.now(),
            removed_at: None,
        };
        let all = change.tx.trusted_issuers(&self.id).await?;
        if let Some(same) = all.iter().find(|other| other.url == trusted.url) {
            return Err(IssuerError::conflict(format!(
                "`{}` is already trusted, as `{}`",
                same.url, same.name
            ))
            .with_remedy(Remedy::command(format!(
                "trusted-issuer edit {}",
                same.name
            ))));
        }
        if all.len() >= TRUSTED_ISSUERS_MAX {
            return Err(IssuerError::conflict(format!(
                "there are already {TRUSTED_ISSUERS_MAX} trusted issuers, the most there can be"
            ))
            .with_remedy(Remedy::action("remove one first")));
        }
        let detail =
            json!({ "id": trusted.id, "url": trusted.url, "definition": trusted.definition });
        let event = AuditEvent::TrustedIssuerAdded;
        if !change.add(&trusted, event, &detail).await? {
            return Err(IssuerError::conflict(format!(
                "the name `{}` belongs or belonged to another trusted issuer; subjects are named after it",
                trusted.name
            ))
            .with_remedy(Remedy::action("choose another name")));
        }
        self.end(change).await?;
        Ok(view(trusted, keys_warning))
    }

    /// Trusted issuers by name, those after `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn trusted_issuers(
        &self,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Page<TrustedIssuerView>, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let all = tx.trusted_issuers(&self.id).await?;
        tx.rollback().await?;
        let views = all
            .into_iter()
            .filter(|trusted| after.is_none_or(|after| trusted.name.as_str() > after))
            .take(usize::try_from(limit).unwrap_or(0).saturating_add(1))
            .map(|trusted| view(trusted, None));
        Ok(Page::cut(views.collect(), limit))
    }

    /// One trusted issuer.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`].
    pub async fn trusted_issuer(&self, name: &str) -> Result<TrustedIssuerView, IssuerError> {
        let name = known_name("trusted issuer", name)?;
        let (mut tx, _) = self.read().await?;
        let found = tx.trusted_issuer_by_name(&self.id, name.as_str()).await?;
        tx.rollback().await?;
        found
            .map(|trusted| view(trusted, None))
            .ok_or_else(|| IssuerError::not_found("trusted issuer", name.as_str()))
    }

    /// Edits the definition of a trusted issuer. Name and URL never change.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], [`IssuerError::NotFound`], [`IssuerError::Stale`].
    pub async fn edit_trusted_issuer(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        changes: TrustChanges,
        expected: Option<i64>,
    ) -> Result<TrustedIssuerView, IssuerError> {
        // Keys are fetched before the change locks the head row, so that tokens do not wait for a fetch.
        let seen = self.trusted_issuer(name).await?.trusted;
        check_version("trusted issuer", seen.version, expected)?;
        let definition = self.edited(&seen, changes.clone())?;
        let keys_warning = if changes.keys.is_some() {
            self.try_keys(&seen.url, &definition).await?
        } else {
            None
        };
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before: TrustedIssuer = change.live(name, expected).await?;
        // Applied to the current row, which may have changed concurrently. The keys are already checked: they come
        // from the edit, and an edit cannot change the URL.
        let mut after = TrustedIssuer {
            definition: self.edited(&before, changes)?,
            ..before.clone()
        };
        change.write(&before, &mut after).await?;
        // Tokens that rest on withdrawn trust end with it.
        if before.definition.subject && !after.definition.subject
            || before.definition.accept_act && !after.definition.accept_act
        {
            self.end_tokens_of_users(&mut change, &before).await?;
        }
        if before.definition.keys != after.definition.keys {
            change
                .tx
                .delete_trusted_issuer_keys(&self.id, &before.id)
                .await?;
        }
        self.end(change).await?;
        Ok(view(after, keys_warning))
    }

    /// The definition of a trusted issuer after an edit, checked as a whole.
    fn edited(
        &self,
        trusted: &TrustedIssuer,
        changes: TrustChanges,
    ) -> Result<TrustDefinition, Invalid> {
        let definition = applied(trusted.definition.clone(), changes);
        self.check_trusted_url(&trusted.url, &definition)?;
        self.checked(&trusted.url, definition)
    }

    /// Ends, within a change, the tokens issued so far to all users of a trusted issuer. Trusting it again later
    /// does not restore them.
    async fn end_tokens_of_users(
        &self,
        change: &mut Change,
        trusted: &TrustedIssuer,
    ) -> Result<(), IssuerError> {
        self.end_tokens_of(change, &users_of(&trusted.name)).await?;
        Ok(())
    }
}

fn view(trusted: TrustedIssuer, keys_warning: Option<Warning>) -> TrustedIssuerView {
    let mut warnings = Vec::new();
    if !trusted.definition.is_trusted() {
        warnings.push(
            Warning::new(format!(
                "`{}` is not trusted for anything yet",
                trusted.name
            ))
            .with_remedy(&Remedy::command(format!(
                "trusted-issuer edit {} --trust client_auth",
                trusted.name
            ))),
        );
    }
    warnings.extend(keys_warning);
    TrustedIssuerView { trusted, warnings }
}
