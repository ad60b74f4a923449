//! Marks that end tokens up to a moment: all of a subject, or all that were made under a delegation.

use crate::domain::id::DelegationId;
use crate::domain::settings::{LIFETIME_CEILING_SECONDS, SKEW_SECONDS};
use crate::domain::subject::is_user;
use crate::domain::trusted_issuer::MAX_LIFETIME_CEILING_SECONDS;
use crate::store::{EndKind, EndMark, StoreError};

use super::Issuer;
use super::change::Change;

/// The mark that a change leaves on a subject or a delegation.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    /// The mark: an older one where that ends at least as many tokens.
    pub(super) mark: EndMark,
    /// True when the change moved it.
    pub(super) is_written: bool,
}

impl Issuer {
    /// Ends, within a change, every token issued so far in which `subject` is the subject or an actor. `subject`
    /// may be `user:NAME:` for all users of a trusted issuer. Later changes do not restore these tokens.
    pub(super) async fn end_tokens_of(
        &self,
        change: &mut Change,
        subject: &str,
    ) -> Result<Ending, StoreError> {
        // The longest possible lifetime, whatever the settings were when a token was issued; for a user's tokens
        // at least that of tokens from trusted issuers.
        let longest = if is_user(subject) {
            LIFETIME_CEILING_SECONDS.max(MAX_LIFETIME_CEILING_SECONDS)
        } else {
            LIFETIME_CEILING_SECONDS
        };
        self.mark(change, EndKind::Subject, subject, longest).await
    }

    /// Ends, within a change, every token issued so far under a delegation, and everything made from those.
    /// Resuming the delegation does not restore them.
    pub(super) async fn end_tokens_under(
        &self,
        change: &mut Change,
        delegation: &DelegationId,
    ) -> Result<Ending, StoreError> {
        let key = delegation.as_str();
        self.mark(change, EndKind::Delegation, key, LIFETIME_CEILING_SECONDS)
            .await
    }

    async fn mark(
        &self,
        change: &mut Change,
        kind: EndKind,
        key: &str,
        longest_life: i64,
    ) -> Result<Ending, StoreError> {
        let not_before = change.ends_until();
        let mark = EndMark {
            kind,
            key: key.to_owned(),
            not_before,
            expires_at: not_before.plus(longest_life + SKEW_SECONDS),
        };
        if change.tx.mark_ended(&self.id, &mark).await? {
            return Ok(Ending {
                mark,
                is_written: true,
            });
        }
        let marks = change.tx.end_marks_among(&self.id, &[key]).await?;
        let mark = marks
            .into_iter()
            .find(|present| present.kind == kind)
            .ok_or_else(|| StoreError::corrupt("a mark that is in the way is not found"))?;
        Ok(Ending {
            mark,
            is_written: false,
        })
    }
}
