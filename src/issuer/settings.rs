//! The issuer's own settings.

use std::sync::Arc;

use crate::api::issuer::IssuerEdit;
use crate::domain::Invalid;
use crate::domain::assertion_audience::AssertionAudience;
use crate::domain::audit::AuditEvent;
use crate::domain::remedy::Remedy;
use crate::domain::settings::{IssuerSettings, check_lifetimes};
use crate::jose::algorithm::SigningAlgorithm;
use crate::store::{StoreError, Tx};

use super::change::Touches;
use super::keyring::SIGNED_WITH;
use super::named::Difference;
use super::{Caller, Issuer, IssuerError, check_version};

impl Issuer {
    /// The settings.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn settings(&self) -> Result<IssuerSettings, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let settings = self.settings_in(&mut tx).await?;
        tx.rollback().await?;
        Ok(settings)
    }

    /// Edits the settings.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], [`IssuerError::Stale`], or [`IssuerError::Conflict`] when a resource's lifetime
    /// exceeds the new maximum.
    pub async fn edit_settings(
        self: &Arc<Self>,
        caller: &Caller,
        edit: IssuerEdit,
        expected: Option<i64>,
    ) -> Result<IssuerSettings, IssuerError> {
        let assertion_audience = edit
            .assertion_audience
            .as_deref()
            .map(AssertionAudience::parse)
            .transpose()?;
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before = self.settings_in(&mut change.tx).await?;
        check_version("issuer", before.version, expected)?;
        let mut after = before.clone();
        after.default_lifetime = edit.default_lifetime.unwrap_or(before.default_lifetime);
        after.max_lifetime = edit.max_lifetime.unwrap_or(before.max_lifetime);
        check_lifetimes(after.default_lifetime, after.max_lifetime)?;
        if let Some(text) = edit.default_algorithm {
            after.default_algorithm = parse_default_algorithm(&text)?;
        }
        after.assertion_audience = assertion_audience.unwrap_or(before.assertion_audience);
        let resources = change.tx.resources(&self.id).await?;
        if let Some(longer) = resources.iter().find(|resource| {
            resource
                .lifetime
                .is_some_and(|lifetime| lifetime > after.max_lifetime)
        }) {
            return Err(IssuerError::conflict(format!(
                "the lifetime of tokens for the resource `{}` is {} seconds, longer than the new `max_lifetime`",
                longer.name,
                longer.lifetime.unwrap_or_default()
            ))
            .with_remedy(Remedy::command(format!(
                "resource edit {} --lifetime {}",
                longer.name, after.max_lifetime
            ))));
        }
        let difference = difference(&before, &after);
        if difference.is_empty() {
            return Ok(before);
        }
        after.version = change.version;
        let now = change.now();
        change.tx.update_issuer(&after, now).await?;
        change.audit(
            AuditEvent::IssuerChanged,
            format!("issuer:{}", after.slug),
            None,
            &difference.into_detail(),
        );
        self.end(change).await?;
        Ok(after)
    }

    /// The settings as a transaction sees them.
    pub(super) async fn settings_in(&self, tx: &mut Tx) -> Result<IssuerSettings, StoreError> {
        let all = tx.issuers().await?;
        all.into_iter()
            .find(|settings| settings.id == self.id)
            .ok_or_else(|| StoreError::corrupt("the issuer's row is missing"))
    }
}

fn difference(before: &IssuerSettings, after: &IssuerSettings) -> Difference {
    let mut difference = Difference::default();
    difference.note(
        "default_lifetime",
        &before.default_lifetime,
        &after.default_lifetime,
    );
    difference.note("max_lifetime", &before.max_lifetime, &after.max_lifetime);
    difference.note(
        "default_algorithm",
        &before.default_algorithm,
        &after.default_algorithm,
    );
    difference.note(
        "assertion_audience",
        &before.assertion_audience,
        &after.assertion_audience,
    );
    difference
}

fn parse_default_algorithm(text: &str) -> Result<SigningAlgorithm, Invalid> {
    SIGNED_WITH
        .into_iter()
        .find(|algorithm| algorithm.as_str() == text)
        .ok_or_else(|| Invalid::new("default_algorithm", "must be `ES256` or `RS256`"))
}
