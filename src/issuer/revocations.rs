//! The administrators' revocations: end a token with everything made from it, or all tokens of a subject so far,
//! and list what was ended. Each end is one row, however many tokens descend from it: introspection, exchange and
//! the ledger read a token's line upward (`line.rs`). The row is kept until the tokens would have expired. Clients
//! revoke through `client_revocation.rs`.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::domain::Invalid;
use crate::domain::audit::{AuditEntry, AuditEvent, EndDetail, TokenDetail};
use crate::domain::id::AgentId;
use crate::domain::settings::{LIFETIME_CEILING_SECONDS, SKEW_SECONDS};
use crate::domain::subject::{check_user_subject, is_user};
use crate::domain::text;
use crate::ports::time::UnixTime;
use crate::store::{EndKind, EndMark, RevokedToken, StoreError, Tx, Window};

use super::change::Touches;
use super::end_marks::Ending;
use super::own_token::OwnToken;
use super::page::Page;
use super::{Caller, Issuer, IssuerError};

/// Longest accepted `jti`, or name of an external token.
pub const TOKEN_ID_MAX_CHARS: usize = 256;

/// What an administrator wants to end.
pub enum ToRevoke {
    /// The token with this `jti`, or everything made from an external token, by its name in a trace.
    TokenId(String),
    /// This token in full; it is neither stored nor logged.
    Token(SecretString),
    /// All tokens issued so far in which this is the subject or an actor.
    Subject(String),
}

/// What was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A token.
    Token {
        /// Its `jti`.
        token_id: String,
        /// Its `sub`.
        subject: String,
        /// Its `exp`.
        expires_at: UnixTime,
        /// False when it had expired or was revoked before.
        revoked: bool,
    },
    /// Tokens of a subject.
    Subject(EndMark),
}

/// An entry of the list of revocations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// A token.
    Token(RevokedToken),
    /// All tokens of a subject, or all made under a delegation, up to a moment.
    Mark(EndMark),
}

/// The entry that a page of the list starts after: tokens come first, then subjects, then delegations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterRevocation {
    /// After the token with this `jti`.
    Token(String),
    /// After the mark on this subject or delegation.
    Mark(EndKind, String),
}

/// The record of an issued token, without the token.
struct Issued {
    token_id: String,
    subject: String,
    agent: Option<AgentId>,
    expires_at: UnixTime,
}

impl From<OwnToken> for Issued {
    fn from(token: OwnToken) -> Self {
        Self {
            token_id: token.token_id,
            subject: token.subject,
            agent: None,
            expires_at: token.expires_at,
        }
    }
}

impl Issuer {
    /// Ends what an administrator names.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for a token that is not a valid one of this issuer, [`IssuerError::NotFound`] for
    /// a `jti` that was never issued or a subject that does not exist.
    pub async fn revoke(
        self: &Arc<Self>,
        caller: &Caller,
        wish: ToRevoke,
    ) -> Result<Ended, IssuerError> {
        let issued = match wish {
            ToRevoke::Subject(subject) => return self.revoke_subject(caller, &subject).await,
            ToRevoke::Token(token) => self
                .verify_own(token.expose_secret(), self.ports.clock.now())
                .map(Issued::from)
                .map_err(|no| {
                    Invalid::new(
                        "token",
                        format!("is not a token that this issuer can revoke: {no}"),
                    )
                })?,
            ToRevoke::TokenId(token_id) => {
                let token_id = text::filled_line("token_id", &token_id, TOKEN_ID_MAX_CHARS)?;
                let (mut tx, _) = self.read().await?;
                let issued = self.issued(&mut tx, &token_id).await?;
                tx.rollback().await?;
                issued.ok_or_else(|| IssuerError::not_found("token", &token_id))?
            }
        };
        let revoked = self.revoke_token(caller, &issued).await?;
        Ok(Ended::Token {
            token_id: issued.token_id,
            subject: issued.subject,
            expires_at: issued.expires_at,
            revoked,
        })
    }

    /// Revokes a token and everything below it; false when it had expired or was already revoked.
    async fn revoke_token(
        self: &Arc<Self>,
        caller: &Caller,
        issued: &Issued,
    ) -> Result<bool, IssuerError> {
        let mut change = self.begin(caller, Touches::Agent).await?;
        // Verifiers allow a skew: until then a verifier may still accept it.
        let is_over = issued.expires_at <= change.now().plus(-SKEW_SECONDS);
        let token = RevokedToken {
            token_id: issued.token_id.clone(),
            revoked_at: change.now(),
            expires_at: issued.expires_at,
        };
        if is_over || !change.tx.revoke_token(&self.id, &token).await? {
            self.end(change).await?;
            return Ok(false);
        }
        change.audit(
            AuditEvent::TokenRevoked,
            &issued.subject,
            issued.agent.as_ref(),
            &EndDetail {
                exp: issued.expires_at.0,
            },
        );
        change.about_token(&issued.token_id);
        self.end(change).await?;
        Ok(true)
    }

    async fn revoke_subject(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &str,
    ) -> Result<Ended, IssuerError> {
        let subject = text::filled_line("subject", subject, TOKEN_ID_MAX_CHARS)?;
        let mut change = self.begin(caller, Touches::Agent).await?;
        let agent = match change.tx.agent_name_by_subject(&self.id, &subject).await? {
            Some(name) => change.tx.agent_by_name(&self.id, &name).await?,
            None => None,
        };
        // A mistyped subject would end nothing but report success.
        if agent.is_none() {
            let checked = if is_user(&subject) {
                check_user_subject(&subject).map_err(IssuerError::from)
            } else {
                Err(IssuerError::not_found("subject", &subject))
            };
            if let Err(error) = checked {
                self.end(change).await?;
                return Err(error);
            }
        }
        let Ending { mark, is_written } = self.end_tokens_of(&mut change, &subject).await?;
        // In the second of an earlier call all of them are ended already.
        if is_written {
            change.audit(
                AuditEvent::SubjectRevoked,
                &subject,
                agent.as_ref().map(|agent| &agent.id),
                &json!({ "not_before": mark.not_before.0 }),
            );
        }
        self.end(change).await?;
        Ok(Ended::Subject(mark))
    }

    /// Revocations whose tokens would not have expired yet: tokens by `jti`, then subjects, then delegations.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn revocations(
        &self,
        after: Option<&AfterRevocation>,
        limit: i64,
    ) -> Result<Page<Revocation>, IssuerError> {
        let now = self.ports.clock.now();
        let (mut tx, _) = self.read().await?;
        let mut entries = Vec::new();
        let room = |entries: &Vec<Revocation>| {
            limit + 1 - i64::try_from(entries.len()).unwrap_or(i64::MAX)
        };
        let after_token = match after {
            None => Some(None),
            Some(AfterRevocation::Token(token_id)) => Some(Some(token_id.as_str())),
            Some(AfterRevocation::Mark(..)) => None,
        };
        if let Some(after) = after_token {
            let tokens = tx
                .revoked_tokens(&self.id, now.plus(-SKEW_SECONDS), after, limit + 1)
                .await?;
            entries.extend(tokens.into_iter().map(Revocation::Token));
        }
        for kind in [EndKind::Subject, EndKind::Delegation] {
            let after = match after {
                Some(AfterRevocation::Mark(EndKind::Delegation, _)) if kind == EndKind::Subject => {
                    continue;
                }
                Some(AfterRevocation::Mark(of, key)) if *of == kind => Some(key.as_str()),
                Some(AfterRevocation::Mark(..) | AfterRevocation::Token(_)) | None => None,
            };
            let room = room(&entries);
            if room > 0 {
                let marks = tx
                    .end_marks(&self.id, kind, now, Window { after, limit: room })
                    .await?;
                entries.extend(marks.into_iter().map(Revocation::Mark));
            }
        }
        tx.rollback().await?;
        Ok(Page::cut(entries, limit))
    }

    /// The record of a token by its `jti`; `None` when no token has it.
    async fn issued(&self, tx: &mut Tx, token_id: &str) -> Result<Option<Issued>, StoreError> {
        // The row of a root issued here does not name its agent; the audit does.
        if let Some(row) = tx.lineage(&self.id, token_id).await?
            && (row.made.is_some() || row.proven.is_some())
        {
            return Ok(Some(Issued {
                token_id: row.token_id,
                subject: row.subject,
                agent: row.made.map(|made| made.actor),
                expires_at: row.expires_at,
            }));
        }
        if let Some(entry) = self.issue_entry(tx, token_id).await? {
            let expires_at = TokenDetail::read(&entry.draft)
                .map(|detail| UnixTime(detail.exp))
                .ok_or_else(|| {
                    StoreError::corrupt(format!("audit entry {} has no `exp`", entry.seq))
                })?;
            return Ok(Some(Issued {
                token_id: token_id.to_owned(),
                subject: entry.draft.target,
                agent: entry.draft.agent,
                expires_at,
            }));
        }
        // An external token that an older version exchanged, without a row of its own.
        let first = tx.lineage_children(&self.id, token_id, 1).await?.pop();
        Ok(first.map(|child| Issued {
            token_id: token_id.to_owned(),
            subject: child.subject,
            agent: None,
            expires_at: child
                .issued_at
                .plus(self.longest_life_outside(token_id) + SKEW_SECONDS),
        }))
    }

    /// The longest lifetime of an external token, named `TRUSTED-ISSUER:DIGEST`, after it was first seen.
    fn longest_life_outside(&self, token_id: &str) -> i64 {
        let name = token_id.split(':').next().unwrap_or_default();
        self.policy()
            .trusted_issuers
            .values()
            .find(|trusted| trusted.name.as_str() == name)
            .map_or(LIFETIME_CEILING_SECONDS, |trusted| {
                trusted.definition.max_lifetime
            })
    }

    /// The audit entry that recorded a token's issuance.
    pub(super) async fn issue_entry(
        &self,
        tx: &mut Tx,
        token_id: &str,
    ) -> Result<Option<AuditEntry>, StoreError> {
        tx.issue_entry(&self.id, token_id).await
    }
}
