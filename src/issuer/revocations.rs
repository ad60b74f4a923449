//! Ends tokens before their time: one with everything made from it, or all of a subject so far. The
//! database remembers until the tokens would have expired. RFC 7009 for clients; administrators may name
//! a token by its `jti` too.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::domain::Invalid;
use crate::domain::audit::{AuditDraft, AuditEntry, AuditEvent};
use crate::domain::id::AgentId;
use crate::domain::settings::{LIFETIME_CEILING_SECONDS, SKEW_SECONDS};
use crate::domain::text;
use crate::domain::trusted_issuer::MAX_LIFETIME_CEILING_SECONDS;
use crate::domain::trusted_issuer::{USER_PREFIX, check_user_subject};
use crate::ports::time::UnixTime;
use crate::store::{AuditFilter, RevokedToken, StoreError, SubjectMark, Tx};

use super::authenticate::AuthenticatedClient;
use super::change::{Change, Touches};
use super::own_token::OwnToken;
use super::page::Page;
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
        /// How many tokens were ended, those made from it included; 0 when it had ended before.
        revoked: u64,
    },
    /// Tokens of a subject.
    Subject(SubjectMark),
}

/// What came of a client's wish to revoke a token. The client is told none of it (RFC 7009 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientRevocation {
    /// So many tokens were ended; 0 when it had ended before.
    Revoked(u64),
    /// It is no unexpired token of this issuer.
    Nothing,
    /// It is somebody else's.
    NotAllowed,
}

/// An entry of the list of revocations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// A token.
    Token(RevokedToken),
    /// All tokens of a subject up to a moment.
    Subject(SubjectMark),
}

/// After which entry a page of the list begins: tokens come first, then subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterRevocation {
    /// After the token with this `jti`.
    Token(String),
    /// After this subject.
    Subject(String),
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

    /// Ends a token that its own client presents, or the agent that it is about (RFC 7009 §2.1).
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn revoke_presented(
        self: &Arc<Self>,
        caller: &Caller,
        client: &AuthenticatedClient,
        unverified_token: &str,
    ) -> Result<ClientRevocation, IssuerError> {
        let agent = &client.aggregate().agent;
        let caller = Caller {
            actor: format!("agent:{}", agent.name),
            ..caller.clone()
        };
        let Ok(token) = self.verify_own(unverified_token, self.ports.clock.now()) else {
            return Ok(ClientRevocation::Nothing);
        };
        if token.client_id != agent.name.as_str() && token.subject != agent.subject.as_str() {
            self.note_refusal(AuditDraft {
                at: self.ports.clock.now_millis(),
                event: AuditEvent::TokenRefused,
                actor: caller.actor,
                target: token.subject,
                agent: Some(agent.id.clone()),
                token_id: Some(token.token_id),
                request_id: caller.request_id,
                address: caller.address,
                detail: json!({ "error": "not_allowed", "reason": "asked to revoke a token of somebody else" })
                    .to_string(),
            });
            return Ok(ClientRevocation::NotAllowed);
        }
        let issued = Issued {
            agent: Some(agent.id.clone()),
            ..Issued::from(token)
        };
        let revoked = self.revoke_token(&caller, &issued).await?;
        Ok(ClientRevocation::Revoked(revoked))
    }

    /// Revokes a token and everything below it; how many tokens that ended.
    async fn revoke_token(
        self: &Arc<Self>,
        caller: &Caller,
        issued: &Issued,
    ) -> Result<u64, IssuerError> {
        let mut change = self.begin(caller, Touches::Agent).await?;
        // Verifiers grant a skew: until then it may still be taken somewhere.
        let unexpired_at = change.now().plus(-SKEW_SECONDS);
        let was_revoked = change
            .tx
            .is_token_revoked(&self.id, &issued.token_id, &[], change.now())
            .await?;
        let revoked = if issued.expires_at > unexpired_at {
            let token = RevokedToken {
                token_id: issued.token_id.clone(),
                revoked_at: change.now(),
                expires_at: issued.expires_at,
            };
            change
                .tx
                .revoke_token(&self.id, &token, unexpired_at)
                .await?
        } else {
            0
        };
        if revoked == 0 {
            self.abandon(change).await;
            return Ok(0);
        }
        let below = revoked.saturating_sub(u64::from(!was_revoked));
        change.audit(
            AuditEvent::TokenRevoked,
            &issued.subject,
            issued.agent.as_ref(),
            &json!({ "exp": issued.expires_at.0, "below": below }),
        );
        change.about_token(&issued.token_id);
        self.finish(change).await?;
        Ok(revoked)
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
            let checked = if subject.starts_with(USER_PREFIX) {
                check_user_subject(&subject).map_err(IssuerError::from)
            } else {
                Err(IssuerError::not_found("subject", &subject))
            };
            if let Err(error) = checked {
                self.abandon(change).await;
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
        self.finish(change).await?;
        Ok(Ended::Subject(mark))
    }

    /// Ends, within a change, every token issued up to now that is about a subject or in which it acts.
    /// Switching the subject on again later does not bring them back.
    pub(super) async fn end_tokens_of(
        &self,
        change: &mut Change,
        subject: &str,
    ) -> Result<SubjectMark, StoreError> {
        // The longest life there can be, whatever the settings were when a token was made; of one from
        // outside, what its issuer gave it.
        let longest = if subject.starts_with(USER_PREFIX) {
            LIFETIME_CEILING_SECONDS.max(MAX_LIFETIME_CEILING_SECONDS)
        } else {
            LIFETIME_CEILING_SECONDS
        };
        let mark = SubjectMark {
            subject: subject.to_owned(),
            not_before: change.now(),
            expires_at: change.now().plus(longest + SKEW_SECONDS),
        };
        change.tx.mark_subject(&self.id, &mark).await?;
        Ok(mark)
    }

    /// What was revoked and would not have expired yet: tokens by `jti`, then subjects.
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
        let (after_token, after_subject) = match after {
            None => (Some(None), None),
            Some(AfterRevocation::Token(token_id)) => (Some(Some(token_id.as_str())), None),
            Some(AfterRevocation::Subject(subject)) => (None, Some(subject.as_str())),
        };
        if let Some(after) = after_token {
            let tokens = tx
                .revoked_tokens(&self.id, now.plus(-SKEW_SECONDS), after, limit + 1)
                .await?;
            entries.extend(tokens.into_iter().map(Revocation::Token));
        }
        let room = limit + 1 - i64::try_from(entries.len()).unwrap_or(i64::MAX);
        if room > 0 {
            let marks = tx.subject_marks(&self.id, now, after_subject, room).await?;
            entries.extend(marks.into_iter().map(Revocation::Subject));
        }
        tx.rollback().await?;
        Ok(Page::cut(entries, limit))
    }

    /// What is known of a token by its `jti`; `None` when none was issued with it.
    async fn issued(&self, tx: &mut Tx, token_id: &str) -> Result<Option<Issued>, StoreError> {
        if let Some(row) = tx.lineage(&self.id, token_id).await? {
            return Ok(Some(Issued {
                token_id: row.token_id,
                subject: row.subject,
                agent: Some(row.actor),
                expires_at: row.expires_at,
            }));
        }
        if let Some(entry) = self.issue_entry(tx, token_id).await? {
            let detail: Value = serde_json::from_str(&entry.draft.detail).unwrap_or_default();
            let expires_at = detail["exp"].as_i64().ok_or_else(|| {
                StoreError::corrupt(format!("audit entry {}: it has no exp", entry.seq))
            })?;
            return Ok(Some(Issued {
                token_id: token_id.to_owned(),
                subject: entry.draft.target,
                agent: entry.draft.agent,
                expires_at: UnixTime(expires_at),
            }));
        }
        // A token from outside: what was made from it ends, and nothing more can be made from it.
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
        for event in [AuditEvent::TokenIssued, AuditEvent::IdTokenIssued] {
            let filter = AuditFilter {
                event: Some(event),
                token_id: Some(token_id.to_owned()),
                ..AuditFilter::default()
            };
            if let Some(entry) = tx.audit_page(&self.id, &filter, None, 1).await?.pop() {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}
