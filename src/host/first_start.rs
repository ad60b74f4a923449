//! What a new issuer lacks after its row is made: signing keys and the first administrator.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Host, HostError, HostOptions};
use crate::domain::administrator::{Administrator, AdministratorRole, BOOTSTRAP};
use crate::domain::audit::AuditEvent;
use crate::domain::id::AdministratorId;
use crate::domain::name::Name;
use crate::issuer::administrators::new_token;
use crate::issuer::change::Touches;
use crate::issuer::keyring::SIGNED_WITH;
use crate::issuer::rotation::generate;
use crate::issuer::{Caller, IssuerError, Ports};
use crate::jose::digest::sha256;

impl Host {
    /// Makes what a new issuer lacks: signing keys, and the first administrator. Decided under the
    /// head row, so that two replicas that start at once make one of each, and a start that was cut
    /// off is completed by the next.
    pub(super) async fn complete_first_start(
        &self,
        options: &HostOptions,
    ) -> Result<(), HostError> {
        let issuer = &self.issuer;
        let mut tx = self.store.read().await?;
        let lacks_keys = tx.keys(&issuer.id).await?.is_empty();
        let lacks_administrators = !tx.holds_administrators(&issuer.id).await?;
        tx.rollback().await?;
        if !lacks_keys && !lacks_administrators {
            return Ok(());
        }
        let mut keys = Vec::new();
        if lacks_keys {
            for algorithm in SIGNED_WITH {
                let mut given = options.first_keys.iter();
                keys.push(match given.find(|key| key.algorithm() == algorithm) {
                    Some(key) => Arc::clone(key),
                    None => Arc::new(generate(algorithm).await?),
                });
            }
        }
        let mut change = issuer.begin(&Caller::system(), Touches::Policy).await?;
        let (mut changed, mut has_token) = (false, false);
        if lacks_keys && change.tx.keys(&issuer.id).await?.is_empty() {
            issuer.insert_first_keys(&mut change, &keys).await?;
            changed = true;
        }
        if lacks_administrators && !change.tx.holds_administrators(&issuer.id).await? {
            let token = new_token(&*issuer.ports.random);
            let administrator = Administrator {
                id: AdministratorId::new(change.at, &*issuer.ports.random),
                name: Name::parse(BOOTSTRAP).map_err(IssuerError::from)?,
                role: AdministratorRole::Owner,
                token_digest: sha256(token.as_bytes()),
                expires_at: None,
                revoked_at: None,
                version: change.version,
                created_at: change.now(),
            };
            change
                .tx
                .insert_administrator(&issuer.id, &administrator)
                .await?;
            let detail = serde_json::json!({ "role": administrator.role.as_str() });
            change.audit(
                AuditEvent::AdministratorCreated,
                format!("administrator:{BOOTSTRAP}"),
                None,
                &detail,
            );
            // Before the commit: a crash in between leaves a token that is not accepted, never an administrator
            // without one.
            write_admin_token(&options.admin_token_file, &token, &issuer.ports)?;
            changed = true;
            has_token = true;
        }
        if !changed {
            return Ok(change.tx.rollback().await?);
        }
        let ended = issuer.end(change).await;
        if has_token && matches!(ended, Err(IssuerError::Unavailable(_))) {
            discard(&options.admin_token_file);
        }
        Ok(ended?)
    }
}

/// Writes the bootstrap token, for its owner only.
fn write_admin_token(path: &Path, token: &str, ports: &Ports) -> Result<(), HostError> {
    let fault = |source| HostError::AdminToken {
        path: path.to_owned(),
        source,
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(fault)?;
    // A temporary file of mode 0600 in the same folder, then a rename: never a half-written token.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fault)?;
    std::io::Write::write_all(&mut file, token.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(fault)?;
    set_aside(path, ports).map_err(fault)?;
    file.persist(path).map_err(|error| fault(error.error))?;
    Ok(())
}

/// Renames a token that is there already: it may be the only one of another database.
fn set_aside(path: &Path, ports: &Ports) -> io::Result<()> {
    if !path.try_exists()? {
        return Ok(());
    }
    let mut kept = path.as_os_str().to_owned();
    kept.push(format!(".{}", ports.clock.now().0));
    while Path::new(&kept).try_exists()? {
        kept.push(".1");
    }
    std::fs::rename(path, &kept)?;
    tracing::warn!(
        file = %path.display(),
        kept = %Path::new(&kept).display(),
        "an administrator's token that was already there was renamed"
    );
    Ok(())
}

/// Removes a token that no database has.
fn discard(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(file = %path.display(), %error, "an unused administrator's token could not be removed");
    }
}
