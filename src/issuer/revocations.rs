//! Ends tokens before they expire: one with everything made from it, or all of a subject so far (RFC 7009 for
//! clients; administrators may name a token by its `jti` too). Each end is one row, kept until the tokens would have
//! expired: introspection, exchange and the ledger read a token's line upward (`line.rs`).

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::domain::Invalid;
use crate::domain::audit::{
    Answer, AuditDraft, AuditEntry, AuditEvent, EndDetail, RefusalDetail, TokenDetail,
};
use crate::domain::id::{AgentId, DelegationId};
use crate::domain::settings::{LIFETIME_CEILING_SECONDS, SKEW_SECONDS};
use crate::domain::subject::{check_user_subject, is_user};
use crate::domain::text;
use crate::domain::trusted_issuer::MAX_LIFETIME_CEILING_SECONDS;
use crate::ports::time::UnixTime;
use crate::store::{EndKind, EndMark, RevokedToken, StoreError, Tx};

use super::authenticate::AuthenticatedClient;
use super::change::{Change, Touches};
use super::ledger::Verdict;
use super::own_token::OwnToken;
use super::page::Page;
use super::single_use::Spent;
use super::{Caller, Issuer, IssuerError};

/// Longest `jti`, or name of a token from outside, that is looked for.
pub const TOKEN_ID_MAX_CHARS: usize = 256;

/// What an administrator wants ended.
pub enum ToRevoke {
    /// The token with this `jti`, or what was made from a token from outside, by its name in a trace.
    TokenId(String),
    /// This token, whole; it is neither kept nor logged.
    Token(SecretString),
    /// All tokens so far that are about this subject or in which it acts.
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

/// What came of a client's wish to revoke a token. The client is told none of it (RFC 7009 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientRevocation {
    /// It ended, with everything made from it.
    Revoked,
    /// It had ended before.
    EndedBefore,
    /// It is not an unexpired token of this issuer.
    Nothing,
    /// It is another client's.
    NotAllowed,
}

/// Why a client's wish to revoke a token was not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHeard {
    /// What its proof rests on has changed: authenticate it again.
    Stale,
    /// What it proved itself with was used before.
    Replayed(Spent),
    /// The database cannot be written.
    Unavailable,
}

/// An entry of the list of revocations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// A token.
    Token(RevokedToken),
    /// All tokens of a subject, or made under a delegation, up to a moment.
    Mark(EndMark),
}

/// After which entry a page of the list begins: tokens come first, then subjects, then delegations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterRevocation {
    /// After the token with this `jti`.
    Token(String),
    /// After the mark on this subject or delegation.
    Mark(EndKind, String),
}

/// What is known of a token that was issued, without the token.
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
    /// [`IssuerError::Invalid`] for a token that is not a good one of this issuer,
    /// [`IssuerError::NotFound`] for a `jti` that was never issued or a subject nobody has.
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
                        format!("is no token that this issuer could revoke: {no}"),
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

    /// Ends a token that its own client presents, or the agent that it is about (RFC 7009 §2.1), and uses up
    /// what the client proved itself with, in one record of the ledger.
    ///
    /// # Errors
    /// [`NotHeard`]; nothing was ended then.
    pub async fn revoke_presented(
        self: &Arc<Self>,
        caller: &Caller,
        client: &AuthenticatedClient,
        unverified_token: &str,
    ) -> Result<ClientRevocation, NotHeard> {
        let agent = &client.aggregate().agent;
        let now = self.ports.clock.now_millis();
        let actor = format!("agent:{}", agent.name);
        let mut record = self.record_of(client);
        let token = self.verify_own(unverified_token, now.seconds()).ok();
        let is_own = token.as_ref().is_some_and(|token| {
            token.client_id == agent.name.as_str() || token.subject == agent.subject.as_str()
        });
        let about = |token: &OwnToken, draft: AuditDraft| AuditDraft {
            target: token.subject.clone(),
            agent: Some(agent.id.clone()),
            token_id: Some(token.token_id.clone()),
            ..draft
        };
        if let Some(token) = token.as_ref().filter(|_| is_own) {
            record.ends = Some(RevokedToken {
                token_id: token.token_id.clone(),
                revoked_at: now.seconds(),
                expires_at: token.expires_at,
            });
            let exp = token.expires_at.0;
            let draft = caller.draft(now, AuditEvent::TokenRevoked, &*actor, &EndDetail { exp });
            record.drafts.push(about(token, draft));
        }
        match self.commit_record(record).await {
            Verdict::Recorded => {}
            Verdict::EndedBefore => return Ok(ClientRevocation::EndedBefore),
            Verdict::Stale => return Err(NotHeard::Stale),
            Verdict::Replayed(what) => return Err(NotHeard::Replayed(what)),
            Verdict::Revoked | Verdict::Unavailable => return Err(NotHeard::Unavailable),
        }
        match token {
            None => Ok(ClientRevocation::Nothing),
            Some(_) if is_own => Ok(ClientRevocation::Revoked),
            Some(token) => {
                let answer = Answer::Error("not_allowed");
                let detail = RefusalDetail::new(answer, "asked to revoke another client's token");
                let draft = caller.draft(now, AuditEvent::TokenRefused, actor, &detail);
                self.note_refusal(about(&token, draft));
                Ok(ClientRevocation::NotAllowed)
            }
        }
    }

    /// Revokes a token and everything below it; false when it had expired or was revoked before.
    async fn revoke_token(
        self: &Arc<Self>,
        caller: &Caller,
        issued: &Issued,
    ) -> Result<bool, IssuerError> {
        let mut change = self.begin(caller, Touches::Agent).await?;
        // Verifiers grant a skew: until then it may still be taken somewhere.
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
        // A slip of the pen would end nothing and seem to have ended everything.
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
        let mark = self.end_tokens_of(&mut change, &subject).await?;
        change.audit(
            AuditEvent::SubjectRevoked,
            &subject,
            agent.as_ref().map(|agent| &agent.id),
            &json!({ "not_before": mark.not_before.0 }),
        );
        self.end(change).await?;
        Ok(Ended::Subject(mark))
    }

    /// Ends, within a change, every token so far that is about a subject or in which it acts; `subject` may be
    /// `user:NAME:` for all users of a trusted issuer. Switching it on again later does not bring them back.
    pub(super) async fn end_tokens_of(
        &self,
        change: &mut Change,
        subject: &str,
    ) -> Result<EndMark, StoreError> {
        // The longest life there can be, whatever the settings were when a token was made; of one from
        // outside, what its issuer gave it.
        let longest = if is_user(subject) {
            LIFETIME_CEILING_SECONDS.max(MAX_LIFETIME_CEILING_SECONDS)
        } else {
            LIFETIME_CEILING_SECONDS
        };
        self.mark(change, (EndKind::Subject, subject), longest)
            .await
    }

    /// Ends, within a change, every token so far that was made under a delegation, and all that was made from
    /// those. Switching the delegation on again later does not bring them back.
    pub(super) async fn end_tokens_under(
        &self,
        change: &mut Change,
        delegation: &DelegationId,
    ) -> Result<EndMark, StoreError> {
        let marked = (EndKind::Delegation, delegation.as_str());
        self.mark(change, marked, LIFETIME_CEILING_SECONDS).await
    }

    async fn mark(
        &self,
        change: &mut Change,
        (kind, key): (EndKind, &str),
        longest_life: i64,
    ) -> Result<EndMark, StoreError> {
        let not_before = change.ends_until();
        let mark = EndMark {
            kind,
            key: key.to_owned(),
            not_before,
            expires_at: not_before.plus(longest_life + SKEW_SECONDS),
        };
        change.tx.mark_ended(&self.id, &mark).await?;
        Ok(mark)
    }

    /// What was revoked and would not have expired yet: tokens by `jti`, then subjects, then delegations.
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
                let marks = tx.end_marks(&self.id, kind, now, (after, room)).await?;
                entries.extend(marks.into_iter().map(Revocation::Mark));
            }
        }
        tx.rollback().await?;
        Ok(Page::cut(entries, limit))
    }

    /// What is known of a token by its `jti`; `None` when none was issued with it.
    async fn issued(&self, tx: &mut Tx, token_id: &str) -> Result<Option<Issued>, StoreError> {
        // The row of a root of ours does not say which agent got it; the audit does.
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
        // A token from outside that an older version exchanged, without a row of its own.
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

    /// How long a token from outside, named `TRUSTED-ISSUER:DIGEST`, can have lived after it was first seen.
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

    /// The audit entry with which a token left.
    pub(super) async fn issue_entry(
        &self,
        tx: &mut Tx,
        token_id: &str,
    ) -> Result<Option<AuditEntry>, StoreError> {
        tx.issue_entry(&self.id, token_id).await
    }
}
