//! A new token for an owner whose token is lost, made on the machine itself: what it takes is the database and the
//! key-encryption key, which together are the issuer anyway.

use std::sync::Arc;

use super::open::{sealing, stored_issuer};
use super::{Host, HostError, KekSource, assemble};
use crate::api::administrator::AdministratorToken;
use crate::issuer::Ports;
use crate::issuer::ledger::ledger;
use crate::store::Store;

impl Host {
    /// Gives the owner `name` a new token, or makes that owner. Works beside a server that runs on the database.
    ///
    /// # Errors
    /// [`HostError`]: also when the key-encryption key is missing or is not the one of this database.
    pub async fn recover_owner(
        database_url: &str,
        kek: &KekSource,
        name: &str,
        ports: Ports,
    ) -> Result<AdministratorToken, HostError> {
        let database = || Store::name_of(database_url);
        let found = Store::open_beside(database_url)
            .await
            .map_err(|error| HostError::opening(database_url, error))?;
        let Some(found) = found.filter(|found| !found.is_empty) else {
            return Err(HostError::NotMade {
                database: database(),
            });
        };
        let recovered = if found.pending > 0 {
            Err(HostError::Pending {
                database: database(),
            })
        } else {
            recover(&found.store, database(), kek, name, ports).await
        };
        found.store.close().await;
        recovered
    }
}

async fn recover(
    store: &Store,
    database: String,
    kek: &KekSource,
    name: &str,
    ports: Ports,
) -> Result<AdministratorToken, HostError> {
    let settings = stored_issuer(store).await?;
    let settings = settings.ok_or(HostError::NotMade { database })?;
    // Nothing is issued here: no task runs behind the ledger.
    let (ledger, _) = ledger();
    let issuer = assemble(store, settings, sealing(kek)?, ports, &ledger).await?;
    Ok(Arc::new(issuer).recover_owner(name).await?)
}
