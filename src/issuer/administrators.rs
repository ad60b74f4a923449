//! Administrators: identifying one by the token of a call; creating, editing, rotating and revoking them.

use std::sync::Arc;

use serde_json::json;
use zeroize::Zeroizing;

use crate::api::administrator::{
    Administrator as AdministratorView, AdministratorEdit, AdministratorRotation,
    AdministratorToken, NewAdministrator,
};
use crate::domain::administrator::{Administrator, AdministratorRole};
use crate::domain::audit::AuditEvent;
use crate::domain::id::{AdministratorId, IssuerId};
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::domain::settings::check_expires_in;
use crate::jose::digest::{base64url, sha256};
use crate::ports::random::{Random, random_bytes};
use crate::ports::time::UnixTime;
use crate::store::{StoreError, Tx};

use super::change::{Change, Touches};
use super::named::{Facts, Head, Named, known_name};
use super::{Caller, Issuer, IssuerError};

/// Prefix of administrator tokens.
const TOKEN_PREFIX: &str = "fma_";

impl Named for Administrator {
    const NOUN: &'static str = "administrator";
    const KIND: &'static str = "administrator";
    const CHANGED: AuditEvent = AuditEvent::AdministratorChanged;

    fn head(&self) -> Head<'_> {
        Head {
            name: &self.name,
            version: self.version,
            // A revoked administrator is still listed, so a change reports that it is revoked, not that it was not
            // found.
            is_removed: false,
        }
    }

    fn stamp(&mut self, version: i64, _: UnixTime) {
        self.version = version;
    }

    async fn facts(&self, _: &mut Change) -> Result<Facts, StoreError> {
        let expires_at = self.expires_at.map(|at| at.0);
        Ok(Facts::of(
            json!({ "role": self.role.as_str(), "expires_at": expires_at }),
        ))
    }

    async fn find(tx: &mut Tx, issuer: &IssuerId, name: &str) -> Result<Option<Self>, StoreError> {
        tx.administrator_by_name(issuer, name).await
    }

    async fn insert(&self, tx: &mut Tx, issuer: &IssuerId) -> Result<bool, StoreError> {
        tx.insert_administrator(issuer, self).await
    }

    async fn update(
        &self,
        tx: &mut Tx,
        issuer: &IssuerId,
        expected: i64,
    ) -> Result<bool, StoreError> {
        tx.update_administrator(issuer, self, expected).await
    }
}

impl Issuer {
    /// The administrator, live or not, that this token belongs to. Reads the database on every call, so that a
    /// revoked token is rejected from the commit on. The look-up is by SHA-256 of the token, so that its timing
    /// reveals nothing about any token's bytes.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn administrator_of(
        &self,
        unverified_token: &str,
    ) -> Result<Option<Administrator>, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let found = tx
            .administrator_by_digest(&self.id, &sha256(unverified_token.as_bytes()))
            .await?;
        tx.rollback().await?;
        Ok(found)
    }

    /// Creates an administrator and its token. Only this response contains the token.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], or [`IssuerError::Conflict`] for a name that was used before.
    pub async fn create_administrator(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewAdministrator,
    ) -> Result<AdministratorToken, IssuerError> {
        let name = Name::parse(&new.name)?;
        let role = AdministratorRole::parse(&new.role)?;
        let expires_in = new.expires_in.map(check_expires_in).transpose()?;
        let token = new_token(&*self.ports.random);
        let mut change = self.begin(caller, Touches::Policy).await?;
        let administrator = Administrator {
            id: AdministratorId::new(change.at, &*self.ports.random),
            name,
            role,
            token_digest: sha256(token.as_bytes()),
            expires_at: expires_in.map(|seconds| change.now().plus(seconds)),
            revoked_at: None,
            version: change.version,
            created_at: change.now(),
        };
        let detail = administrator.facts(&mut change).await?.into_detail();
        if !change
            .add(&administrator, AuditEvent::AdministratorCreated, &detail)
            .await?
        {
            return Err(self.name_taken(&mut change, &administrator).await?);
        }
        self.end(change).await?;
        Ok(with_token(administrator, &token))
    }

    /// The error for a name that was used before, by a revoked administrator too.
    async fn name_taken(
        &self,
        change: &mut Change,
        new: &Administrator,
    ) -> Result<IssuerError, StoreError> {
        let holder = Administrator::find(&mut change.tx, &self.id, new.name.as_str()).await?;
        if holder.is_some_and(|holder| holder.revoked_at.is_some()) {
            return Ok(IssuerError::conflict(format!(
                "the name `{}` belonged to an administrator that was revoked; a name is never reused, because audit entries name their actor by it",
                new.name
            ))
            .with_remedy(Remedy::action("choose another name")));
        }
        change.name_taken(new).await
    }

    /// One administrator, revoked ones included.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`].
    pub async fn administrator(&self, name: &str) -> Result<AdministratorView, IssuerError> {
        let name = known_name("administrator", name)?;
        let (mut tx, _) = self.read().await?;
        let found = tx.administrator_by_name(&self.id, name.as_str()).await?;
        tx.rollback().await?;
        found
            .map(view)
            .ok_or_else(|| IssuerError::not_found("administrator", name.as_str()))
    }

    /// All administrators, revoked ones included.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn administrators(&self) -> Result<Vec<AdministratorView>, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let all = tx.administrators(&self.id).await?;
        tx.rollback().await?;
        Ok(all.into_iter().map(view).collect())
    }

    /// Edits an administrator. Omitted members keep their values.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], [`IssuerError::NotFound`], [`IssuerError::Stale`], and [`IssuerError::Conflict`] for a
    /// revoked one and for the last owner.
    pub async fn edit_administrator(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        edit: AdministratorEdit,
        expected: Option<i64>,
    ) -> Result<AdministratorView, IssuerError> {
        let role = edit.role.as_deref().map(AdministratorRole::parse);
        let expires_in = edit
            .expires_in
            .map(|seconds| seconds.map(check_expires_in).transpose());
        let (role, expires_in) = (role.transpose()?, expires_in.transpose()?);
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before = not_revoked(change.live(name, expected).await?)?;
        let mut after = before.clone();
        if let Some(role) = role {
            after.role = role;
        }
        if let Some(seconds) = expires_in {
            after.expires_at = seconds.map(|seconds| change.now().plus(seconds));
        }
        change.keep_an_owner(&before, &after).await?;
        change.write(&before, &mut after).await?;
        self.end(change).await?;
        Ok(view(after))
    }

    /// Issues a new token to an administrator. Only this response contains it. The old token is revoked at once.
    ///
    /// # Errors
    /// As [`Issuer::edit_administrator`]; [`IssuerError::Conflict`] also for one that has expired, unless the new
    /// token gets an expiry.
    pub async fn rotate_administrator(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        rotation: AdministratorRotation,
        expected: Option<i64>,
    ) -> Result<AdministratorToken, IssuerError> {
        let expires_in = rotation.expires_in.map(check_expires_in).transpose()?;
        let token = new_token(&*self.ports.random);
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before = not_revoked(change.live(name, expected).await?)?;
        let mut after = before.clone();
        after.token_digest = sha256(token.as_bytes());
        if let Some(seconds) = expires_in {
            after.expires_at = Some(change.now().plus(seconds));
        }
        if !after.is_live(change.now()) {
            return Err(IssuerError::conflict(format!(
                "administrator `{}` has expired",
                after.name
            ))
            .with_remedy(Remedy::command(format!(
                "administrator rotate {} --expires-in DURATION",
                after.name
            ))));
        }
        change.keep_an_owner(&before, &after).await?;
        let detail = after.facts(&mut change).await?.into_detail();
        let event = AuditEvent::AdministratorRotated;
        change.replace(&before, &mut after, event, &detail).await?;
        self.end(change).await?;
        Ok(with_token(after, &token))
    }

    /// Revokes an administrator's token permanently. Does nothing if it is already revoked.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`], [`IssuerError::Stale`], or [`IssuerError::Conflict`] for the last owner.
    pub async fn revoke_administrator(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        expected: Option<i64>,
    ) -> Result<AdministratorView, IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before: Administrator = change.live(name, expected).await?;
        if before.revoked_at.is_some() {
            return Ok(view(before));
        }
        let mut after = before.clone();
        after.revoked_at = Some(change.now());
        change.keep_an_owner(&before, &after).await?;
        let detail = json!({ "role": before.role.as_str() });
        let event = AuditEvent::AdministratorRevoked;
        change.replace(&before, &mut after, event, &detail).await?;
        self.end(change).await?;
        Ok(view(after))
    }
}

impl Issuer {
    /// Issues a new token without an expiry to the owner of that name, or creates that owner: for an operator who
    /// has the database and its key-encryption key but no token. The audit entry has the actor `system` and
    /// `"by":"recover"`.
    ///
    /// # Errors
    /// [`IssuerError::Conflict`] when an administrator of that name is revoked or is not an owner.
    pub(crate) async fn recover_owner(
        self: &Arc<Self>,
        name: &str,
    ) -> Result<AdministratorToken, IssuerError> {
        let name = Name::parse(name)?;
        let token = new_token(&*self.ports.random);
        let mut change = self.begin(&Caller::system(), Touches::Policy).await?;
        let found = Administrator::find(&mut change.tx, &self.id, name.as_str()).await?;
        let owner = Administrator {
            id: AdministratorId::new(change.at, &*self.ports.random),
            name,
            role: AdministratorRole::Owner,
            token_digest: sha256(token.as_bytes()),
            expires_at: None,
            revoked_at: None,
            version: change.version,
            created_at: change.now(),
        };
        let by = json!({ "by": "recover" });
        let detail = owner.facts(&mut change).await?.and(by).into_detail();
        let owner = match found {
            None => {
                let event = AuditEvent::AdministratorCreated;
                if !change.add(&owner, event, &detail).await? {
                    let what = "could not make a new token; try again";
                    return Err(IssuerError::conflict(what));
                }
                owner
            }
            Some(before) => {
                let before = recoverable(before)?;
                let mut after = Administrator {
                    token_digest: owner.token_digest,
                    expires_at: None,
                    ..before.clone()
                };
                let event = AuditEvent::AdministratorRotated;
                change.replace(&before, &mut after, event, &detail).await?;
                after
            }
        };
        self.end(change).await?;
        Ok(with_token(owner, &token))
    }
}

/// Refuses to make an existing non-owner an owner, and to restore a revoked administrator.
fn recoverable(found: Administrator) -> Result<Administrator, IssuerError> {
    let what = if found.revoked_at.is_some() {
        "revoked, permanently".to_owned()
    } else if found.role != AdministratorRole::Owner {
        format!("{}, not owner", found.role.as_str())
    } else {
        return Ok(found);
    };
    Err(
        IssuerError::conflict(format!("administrator `{}` is {what}", found.name))
            .with_remedy(Remedy::command("administrator recover NEW_NAME")),
    )
}

impl Change {
    /// Refuses to end the last owner. If an owner without an expiry exists, one must remain; otherwise an issuer
    /// could lose its last owner by the clock alone.
    async fn keep_an_owner(
        &mut self,
        before: &Administrator,
        after: &Administrator,
    ) -> Result<(), IssuerError> {
        let now = self.now();
        let stays = before.expires_at.is_none();
        let is_such =
            |one: &Administrator| one.is_live_owner(now) && (one.expires_at.is_none() || !stays);
        if !is_such(before) || is_such(after) {
            return Ok(());
        }
        let all = self.tx.administrators(&self.issuer).await?;
        if all.iter().any(|one| one.id != before.id && is_such(one)) {
            return Ok(());
        }
        let which = if stays { " that does not expire" } else { "" };
        Err(IssuerError::conflict(format!(
            "`{}` is the last owner{which}; an issuer without an owner cannot rotate keys or manage administrators",
            before.name
        ))
        .with_remedy(Remedy::command("administrator add NAME --role owner")))
    }
}

fn not_revoked(administrator: Administrator) -> Result<Administrator, IssuerError> {
    if administrator.revoked_at.is_none() {
        return Ok(administrator);
    }
    Err(IssuerError::conflict(format!(
        "administrator `{}` is revoked, permanently",
        administrator.name
    ))
    .with_remedy(Remedy::command("administrator add NAME --role ROLE")))
}

/// A new token: 256 random bits.
pub(crate) fn new_token(random: &dyn Random) -> Zeroizing<String> {
    let bits = Zeroizing::new(random_bytes::<32>(random));
    Zeroizing::new(format!("{TOKEN_PREFIX}{}", base64url(&*bits)))
}

fn with_token(administrator: Administrator, token: &str) -> AdministratorToken {
    AdministratorToken {
        administrator: view(administrator),
        token: token.to_owned(),
    }
}

fn view(administrator: Administrator) -> AdministratorView {
    AdministratorView {
        id: administrator.id.to_string(),
        name: administrator.name.to_string(),
        role: administrator.role.as_str().to_owned(),
        expires_at: administrator.expires_at.map(|at| at.0),
        revoked_at: administrator.revoked_at.map(|at| at.0),
        created_at: administrator.created_at.0,
        version: administrator.version,
    }
}
