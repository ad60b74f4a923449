//! Trusted issuers: making others known, saying what of their tokens is believed, and taking it back.
//! What is not said is not believed. A definition is checked as a whole, whoever wrote which part of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use url::Url;

use crate::domain::Invalid;
use crate::domain::agent::{DESCRIPTION_MAX_CHARS, parse_attributes};
use crate::domain::audit::AuditEvent;
use crate::domain::id::{IssuerId, TrustedIssuerId};
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::domain::subject::users_of;
use crate::domain::text;
use crate::domain::trusted_issuer::{
    CLAIM_MAX_BYTES, DEFAULT_MAX_LIFETIME_SECONDS, ENTRIES_MAX, JtiPolicy, KeySource,
    MAX_LIFETIME_CEILING_SECONDS, SPIFFE_SCHEME, TRUSTED_ISSUERS_MAX, TrustDefinition,
    TrustedIssuer, URL_MAX_BYTES, check_claims,
};
use crate::jose::jwk_error::listed;
use crate::ports::fetch::FetchError;
use crate::ports::time::UnixTime;
use crate::store::{StoreError, Tx};

use super::change::{Change, Touches};
use super::credentials::facts as credential_facts;
use super::named::{FORCED_REMOVAL_MAX, Facts, Head, Named, Removal, known_name, target};
use super::page::Page;
use super::trusted_keys::KeysError;
use super::{Caller, Issuer, IssuerError, check_version};

/// What is said of a trusted issuer, when it is made known or edited; `None`: the default, or as it was.
#[derive(Clone, Debug, Default)]
pub struct TrustChanges {
    /// What it is.
    pub description: Option<String>,
    /// What `aud` must be, alone; by default this issuer's URL.
    pub audience: Option<String>,
    /// Where its keys come from; by default its discovery document.
    pub keys: Option<KeySource>,
    /// Whether its tokens may prove agents; by default not.
    pub client_auth: Option<bool>,
    /// Whether its tokens may be subject tokens; by default not.
    pub subject: Option<bool>,
    /// Whether its tokens may be actor tokens; by default not.
    pub actor: Option<bool>,
    /// Whether its subject tokens may hold an `act`; by default not.
    pub accept_act: Option<bool>,
    /// Longest life of its tokens in seconds; by default an hour.
    pub max_lifetime: Option<i64>,
    /// Accepted `typ` headers, the empty text for none; by default `JWT`.
    pub types: Option<Vec<String>>,
    /// How often one token is taken; by default once.
    pub jti: Option<JtiPolicy>,
    /// Claims that every token must have; by default none.
    pub required_claims: Option<BTreeMap<String, String>>,
    /// The claim that names the subject; by default `sub`.
    pub subject_claim: Option<String>,
    /// Attributes of tokens minted for its subjects, by claim; by default none.
    pub claims: Option<BTreeMap<String, String>>,
}

/// An issuer to be trusted.
#[derive(Clone, Debug, Default)]
pub struct NewTrustedIssuer {
    /// Its short name.
    pub name: String,
    /// What `iss` of its tokens is, byte for byte, or `spiffe://` and a trust domain.
    pub url: String,
    /// What is believed of it.
    pub trust: TrustChanges,
}

/// A trusted issuer as it is shown.
#[derive(Clone, Debug)]
pub struct TrustedIssuerView {
    /// The trusted issuer.
    pub trusted: TrustedIssuer,
    /// What an administrator should know of it.
    pub warnings: Vec<String>,
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
    /// Trusts an issuer. Its keys are fetched once to see whether they can be.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], or [`IssuerError::Conflict`] for a name that was given out before or a
    /// URL that is trusted already.
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

    /// Changes what is believed of a trusted issuer; its name and URL stay.
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
        // Keys are tried before the change holds the head row: nobody's token waits for a fetch.
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
        // Applied to what others may have written meanwhile. Its keys were tried: they come from the edit, and no
        // edit changes the URL.
        let mut after = TrustedIssuer {
            definition: self.edited(&before, changes)?,
            ..before.clone()
        };
        change.write(&before, &mut after).await?;
        // What is no longer trusted does not live on in tokens.
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

    /// What is believed of a trusted issuer after an edit, checked as a whole.
    fn edited(
        &self,
        trusted: &TrustedIssuer,
        changes: TrustChanges,
    ) -> Result<TrustDefinition, Invalid> {
        let definition = applied(trusted.definition.clone(), changes);
        self.check_trusted_url(&trusted.url, &definition)?;
        self.checked(&trusted.url, definition)
    }

    /// Trusts an issuer no longer. Its name is never given out again.
    ///
    /// # Errors
    /// [`IssuerError::Conflict`] when live federated credentials or delegations rest on it and the removal
    /// is not forced; forced, they are revoked, and the tokens made under the delegations with them.
    pub async fn remove_trusted_issuer(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        removal: Removal,
    ) -> Result<(), IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before: TrustedIssuer = change.live(name, removal.expected).await?;
        let (id, now) = (&before.id, change.now());
        let credentials = change
            .tx
            .count_federated_credentials(&self.id, id, now)
            .await?;
        let delegations = change
            .tx
            .count_delegations_of_trusted_issuer(&self.id, id, now)
            .await?;
        if credentials + delegations > 0 && !removal.force {
            return Err(IssuerError::conflict(format!(
                "{} and {} depend on the trusted issuer `{}`; a forced removal revokes them",
                counted(credentials, "live federated credential"),
                counted(delegations, "delegation"),
                before.name
            ))
            .with_remedy(Remedy::command(format!(
                "trusted-issuer remove {} --force",
                before.name
            ))));
        }
        self.revoke_resting_credentials(&mut change, id).await?;
        self.revoke_resting_delegations(&mut change, id).await?;
        let mut after = before.clone();
        after.removed_at = Some(now);
        let detail = json!({
            "url": before.url,
            "credentials_revoked": credentials,
            "delegations_revoked": delegations,
        });
        change
            .replace(
                &before,
                &mut after,
                AuditEvent::TrustedIssuerRemoved,
                &detail,
            )
            .await?;
        self.end_tokens_of_users(&mut change, &before).await?;
        change.tx.delete_trusted_issuer_keys(&self.id, id).await?;
        self.end(change).await
    }

    /// Ends, within a change, the tokens so far of all users of a trusted issuer: to trust it again later does not
    /// bring them back.
    async fn end_tokens_of_users(
        &self,
        change: &mut Change,
        trusted: &TrustedIssuer,
    ) -> Result<(), IssuerError> {
        self.end_tokens_of(change, &users_of(&trusted.name)).await?;
        Ok(())
    }

    async fn revoke_resting_credentials(
        &self,
        change: &mut Change,
        trusted: &TrustedIssuerId,
    ) -> Result<(), IssuerError> {
        let resting = change
            .tx
            .credentials_of_trusted_issuer(&self.id, trusted, FORCED_REMOVAL_MAX + 1)
            .await?;
        check_extent(resting.len())?;
        for mut credential in resting {
            credential.revoked_at = Some(change.now());
            change.tx.update_credential(&self.id, &credential).await?;
            let Some(held) = change.tx.aggregate(&self.id, &credential.agent).await? else {
                continue;
            };
            let agent = held.agent;
            change
                .tx
                .touch_agent(&self.id, &agent.id, change.version, change.now())
                .await?;
            change.audit(
                AuditEvent::CredentialRevoked,
                target(&agent),
                Some(&agent.id),
                &json!({ "credential": credential_facts(&credential) }),
            );
        }
        Ok(())
    }

    async fn revoke_resting_delegations(
        &self,
        change: &mut Change,
        trusted: &TrustedIssuerId,
    ) -> Result<(), IssuerError> {
        let resting = change
            .tx
            .delegations_of_trusted_issuer(&self.id, trusted, FORCED_REMOVAL_MAX + 1)
            .await?;
        check_extent(resting.len())?;
        for delegation in resting {
            self.revoke_with_trust(change, &delegation).await?;
        }
        Ok(())
    }

    /// What is believed of an issuer of which nothing is said.
    fn default_trust(&self, url: &str) -> TrustDefinition {
        // JWT-SVID §3: typ may be left out, JWT or JOSE. Everybody else writes JWT.
        let types: &[&str] = if url.starts_with(SPIFFE_SCHEME) {
            &["", "JWT", "JOSE"]
        } else {
            &["JWT"]
        };
        TrustDefinition {
            description: String::new(),
            audience: self.url.clone(),
            keys: KeySource::Discovery,
            client_auth: false,
            subject: false,
            actor: false,
            accept_act: false,
            max_lifetime: DEFAULT_MAX_LIFETIME_SECONDS,
            types: types.iter().map(|&typ| typ.to_owned()).collect(),
            jti: JtiPolicy::SingleUse,
            required_claims: BTreeMap::new(),
            subject_claim: "sub".to_owned(),
            claims: BTreeMap::new(),
        }
    }

    fn check_trusted_url(&self, url: &str, definition: &TrustDefinition) -> Result<(), Invalid> {
        let refused = |problem: &str| Err(Invalid::new("url", problem));
        if url.len() > URL_MAX_BYTES || !url.bytes().all(|b| b.is_ascii_graphic()) {
            return refused(
                "is longer than 512 bytes, or holds a character that is not printable ASCII",
            );
        }
        if same_place(url, &self.url) {
            return refused(
                "is this issuer's own; its tokens are known without trust, and prove no client",
            );
        }
        if let Some(domain) = url.strip_prefix(SPIFFE_SCHEME) {
            return check_trust_domain(domain, definition);
        }
        let is_web = Url::parse(url).is_ok_and(|parsed| {
            matches!(parsed.scheme(), "http" | "https")
                && parsed.query().is_none()
                && parsed.fragment().is_none()
                && parsed.username().is_empty()
                && parsed.password().is_none()
        });
        if !is_web {
            return refused(
                "must be an https URL without query, fragment and user, exactly as in `iss`, or spiffe:// and a trust domain",
            );
        }
        match &definition.keys {
            KeySource::Discovery => self.check_fetched("url", url),
            // It is a name then: one that only its own network reaches is as good as any.
            KeySource::Inline { .. } | KeySource::JwksUri { .. } => {
                if url.starts_with("https://") || self.ports.fetcher.check(url).is_ok() {
                    Ok(())
                } else {
                    refused("must begin with https://")
                }
            }
        }
    }

    fn check_fetched(&self, field: &'static str, url: &str) -> Result<(), Invalid> {
        match self.ports.fetcher.check(url) {
            Ok(()) => Ok(()),
            Err(FetchError::Refused(why) | FetchError::Failed(why)) => Err(Invalid::new(
                field,
                format!(
                    "must not be fetched: {why}; keys come from public https addresses only, else give them with --jwks"
                ),
            )),
        }
    }

    /// Checks everything that is said of an issuer, in one go and after every change.
    fn checked(
        &self,
        url: &str,
        mut definition: TrustDefinition,
    ) -> Result<TrustDefinition, Invalid> {
        definition.description = text::line(
            "description",
            &definition.description,
            DESCRIPTION_MAX_CHARS,
        )?;
        definition.audience = text::filled_line("audience", &definition.audience, CLAIM_MAX_BYTES)?;
        let longest = MAX_LIFETIME_CEILING_SECONDS;
        if !(1..=longest).contains(&definition.max_lifetime) {
            return Err(Invalid::new(
                "max_lifetime",
                format!("must be 1 to {longest} seconds"),
            ));
        }
        check_types(&definition.types)?;
        check_claims("required_claims", &definition.required_claims)?;
        check_claims("claims", &definition.claims)?;
        parse_attributes(&definition.claims)
            .map_err(|invalid| Invalid::new("claims", invalid.problem))?;
        let subject_claim = BTreeMap::from([(definition.subject_claim.clone(), "x".to_owned())]);
        check_claims("subject_claim", &subject_claim)?;
        if let KeySource::JwksUri { url } = &definition.keys {
            if url.len() > URL_MAX_BYTES {
                return Err(Invalid::new("jwks_uri", "is longer than 512 bytes"));
            }
            self.check_fetched("jwks_uri", url)?;
        }
        if url.starts_with(SPIFFE_SCHEME) && (definition.subject || definition.actor) {
            return Err(Invalid::new(
                "trust",
                "a SPIFFE trust domain can only be trusted with client_auth: its tokens are about workloads",
            ));
        }
        Ok(definition)
    }

    /// Gets the keys as a token would. What is wrong for good is an error; what may pass is a warning.
    async fn try_keys(
        &self,
        url: &str,
        definition: &TrustDefinition,
    ) -> Result<Option<String>, Invalid> {
        let field = match &definition.keys {
            KeySource::Inline { .. } => "jwks",
            KeySource::JwksUri { .. } => "jwks_uri",
            KeySource::Discovery => "url",
        };
        match self.trusted_keys.try_out(url, &definition.keys).await {
            Ok(skipped) if skipped.is_empty() => Ok(None),
            Ok(skipped) => Ok(Some(format!(
                "its key set has entries that cannot be used, and its tokens signed with them are refused: {}",
                listed(&skipped)
            ))),
            Err(error @ KeysError::Unavailable { .. }) => Ok(Some(format!(
                "{error}; it is tried again when a token comes"
            ))),
            Err(error @ (KeysError::Refused { .. } | KeysError::Wrong(_))) => {
                Err(Invalid::new(field, format!("does not do: {error}")))
            }
        }
    }
}

fn applied(definition: TrustDefinition, changes: TrustChanges) -> TrustDefinition {
    TrustDefinition {
        description: changes.description.unwrap_or(definition.description),
        audience: changes.audience.unwrap_or(definition.audience),
        keys: changes.keys.unwrap_or(definition.keys),
        client_auth: changes.client_auth.unwrap_or(definition.client_auth),
        subject: changes.subject.unwrap_or(definition.subject),
        actor: changes.actor.unwrap_or(definition.actor),
        accept_act: changes.accept_act.unwrap_or(definition.accept_act),
        max_lifetime: changes.max_lifetime.unwrap_or(definition.max_lifetime),
        types: changes.types.unwrap_or(definition.types),
        jti: changes.jti.unwrap_or(definition.jti),
        required_claims: changes
            .required_claims
            .unwrap_or(definition.required_claims),
        subject_claim: changes.subject_claim.unwrap_or(definition.subject_claim),
        claims: changes.claims.unwrap_or(definition.claims),
    }
}

fn view(trusted: TrustedIssuer, keys_warning: Option<String>) -> TrustedIssuerView {
    let mut warnings = Vec::new();
    if !trusted.definition.is_trusted() {
        warnings.push(format!(
            "it is trusted with nothing yet; to say with what: firman trusted-issuer edit {} --trust client_auth",
            trusted.name
        ));
    }
    warnings.extend(keys_warning);
    TrustedIssuerView { trusted, warnings }
}

fn counted(count: i64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn check_extent(concerned: usize) -> Result<(), IssuerError> {
    if concerned as i64 <= FORCED_REMOVAL_MAX {
        return Ok(());
    }
    Err(IssuerError::conflict(format!(
        "more than {FORCED_REMOVAL_MAX} credentials or delegations rest on it, too many for one step; revoke some of them first"
    )))
}

/// Whether two URLs lead to one place, however they are spelled.
fn same_place(one: &str, other: &str) -> bool {
    let place = |text: &str| {
        Url::parse(text).map_or_else(
            |_| text.to_owned(),
            |url| url.as_str().trim_end_matches('/').to_owned(),
        )
    };
    place(one) == place(other)
}

/// SPIFFE ID §2.1: lower-case letters, digits, `.`, `-` and `_`, no port and no path.
fn check_trust_domain(domain: &str, definition: &TrustDefinition) -> Result<(), Invalid> {
    let is_domain = !domain.is_empty()
        && domain.len() <= 255
        && domain.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_')
        });
    if !is_domain {
        return Err(Invalid::new(
            "url",
            "must be spiffe:// and a trust domain alone, such as spiffe://example.org",
        ));
    }
    match &definition.keys {
        KeySource::Inline { .. } | KeySource::JwksUri { .. } => Ok(()),
        KeySource::Discovery => Err(Invalid::new(
            "jwks",
            "is missing: a trust domain has no discovery document; give its bundle with --jwks, or the address of its bundle endpoint with --jwks-uri",
        )),
    }
}

fn check_types(types: &[String]) -> Result<(), Invalid> {
    let is_type = |text: &String| {
        text.len() <= 100
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.' | b'_' | b'!'))
    };
    if types.is_empty() || types.len() > ENTRIES_MAX || !types.iter().all(is_type) {
        return Err(Invalid::new(
            "types",
            "must be 1 to 16 media types without application/, such as JWT; the empty text stands for a token without typ",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_is_recognised_in_every_spelling() {
        for other in [
            "https://id.example.com",
            "https://id.example.com/",
            "https://ID.example.com:443//",
        ] {
            assert!(same_place("https://id.example.com", other), "{other}");
        }
        for other in ["https://id.example.com/a", "https://id.example.com:8443"] {
            assert!(!same_place("https://id.example.com", other), "{other}");
        }
    }

    #[test]
    fn a_type_is_a_media_type_without_its_prefix() {
        for bad in ["application/jwt", "J W T", "é", "a\nb"] {
            assert!(check_types(&[bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(check_types(&[]).is_err());
        assert!(check_types(&[String::new(), "at+jwt".to_owned()]).is_ok());
    }
}
