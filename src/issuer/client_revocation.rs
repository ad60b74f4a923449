//! RFC 7009: a client revokes its own token. Administrators revoke through `revocations.rs`.

use std::sync::Arc;

use crate::domain::audit::{Answer, AuditDraft, AuditEvent, EndDetail, RefusalDetail};
use crate::store::RevokedToken;

use super::authenticate::AuthenticatedClient;
use super::ledger::Verdict;
use super::own_token::OwnToken;
use super::single_use::Spent;
use super::{Caller, Issuer};

/// The result of a client's request to revoke a token. The response reveals none of it (RFC 7009 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientRevocation {
    /// It is revoked, with everything made from it.
    Revoked,
    /// It was revoked before.
    EndedBefore,
    /// It is not an unexpired token of this issuer.
    Nothing,
    /// It belongs to another client.
    NotAllowed,
}

/// Why a client's revocation could not be recorded: nothing was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRecorded {
    /// What the authentication rests on has changed: authenticate the client again.
    Stale,
    /// The assertion or proof was used before.
    Replayed(Spent),
    /// The database cannot be written.
    Unavailable,
}

impl Issuer {
    /// Revokes a token that is presented by its own client or by the agent that is its subject (RFC 7009 §2.1),
    /// and marks the client's assertion as used, in one record of the ledger.
    ///
    /// # Errors
    /// [`NotRecorded`]; then nothing was revoked.
    pub(crate) async fn revoke_presented(
        self: &Arc<Self>,
        caller: &Caller,
        client: &AuthenticatedClient,
        unverified_token: &str,
    ) -> Result<ClientRevocation, NotRecorded> {
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
            Verdict::Stale => return Err(NotRecorded::Stale),
            Verdict::Replayed(what) => return Err(NotRecorded::Replayed(what)),
            Verdict::Revoked | Verdict::Unavailable => return Err(NotRecorded::Unavailable),
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
}
