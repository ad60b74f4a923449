//! Checks an administrator again when a change begins. The call was admitted when it arrived, but may have waited since:
//! for its body, the keys of a trusted issuer, a new key or the issuer's lock. Under the lock the administrator is looked
//! up again, so that no change is committed after the administrator was revoked, rotated or demoted.

use std::sync::Arc;

use crate::domain::administrator::{AdministratorRole, NotAdmitted};
use crate::domain::audit::{Answer, AuditDraft, AuditEvent, RefusalDetail};
use crate::ports::time::UnixMillis;
use crate::store::Tx;

use super::{Caller, Issuer, IssuerError};

/// The facts by which an administrator's call was admitted.
#[derive(Clone, Debug)]
pub struct Authority {
    /// SHA-256 of the token in the call, so that a replaced token is rejected too.
    pub token_digest: [u8; 32],
    /// The least role that the call requires.
    pub least: AdministratorRole,
    /// Method and path of the call, for the audit.
    pub call: String,
}

impl Issuer {
    /// Looks up the administrator of a call again, in a transaction that has locked the head row.
    ///
    /// # Errors
    /// [`IssuerError::NotAdmitted`], which is audited.
    pub(super) async fn readmit(
        self: &Arc<Self>,
        tx: &mut Tx,
        caller: &Caller,
        at: UnixMillis,
    ) -> Result<(), IssuerError> {
        let Some(authority) = &caller.authority else {
            return Ok(());
        };
        let administrator = tx
            .administrator_by_digest(&self.id, &authority.token_digest)
            .await?;
        let admitted = match administrator {
            Some(administrator) => administrator.admit(authority.least, at.seconds()),
            None => Err(NotAdmitted::Unknown),
        };
        admitted.map_err(|refused| {
            self.note_not_admitted(caller, authority, &refused);
            refused.into()
        })
    }

    /// Audits the rejection of an administrator's call.
    pub fn note_not_admitted(
        self: &Arc<Self>,
        caller: &Caller,
        authority: &Authority,
        refused: &NotAdmitted,
    ) {
        let status = match refused {
            NotAdmitted::Unknown | NotAdmitted::Revoked | NotAdmitted::Expired => 401,
            NotAdmitted::RoleTooLow { .. } => 403,
        };
        let detail = RefusalDetail::new(Answer::Status(status), refused.reason());
        let at = self.ports.clock.now_millis();
        self.note_refusal(AuditDraft {
            target: authority.call.clone(),
            ..caller.draft(at, AuditEvent::AdminRefused, &caller.actor, &detail)
        });
    }
}
