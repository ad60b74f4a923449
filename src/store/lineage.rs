//! What delegated tokens were made from, and which tokens are good no longer.

use super::engine::{Tx, execute, on_engine};
use super::error::StoreError;
use super::key;
use crate::domain::id::{AgentId, DelegationId, IssuerId};
use crate::ports::time::UnixTime;

/// Where a delegated token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineageRow {
    /// Its `jti`.
    pub token_id: String,
    /// The `jti` of the subject token it was made from; for one from outside, the trusted issuer's name,
    /// `:` and a digest.
    pub parent_id: String,
    /// Under which delegation.
    pub delegation: DelegationId,
    /// Its `sub`.
    pub subject: String,
    /// The agent that presented itself.
    pub actor: AgentId,
    /// Its `iat`.
    pub issued_at: UnixTime,
    /// Its `exp`.
    pub expires_at: UnixTime,
}

/// A token that is good no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedToken {
    /// Its `jti`.
    pub token_id: String,
    /// When it was revoked.
    pub revoked_at: UnixTime,
    /// When it would have expired.
    pub expires_at: UnixTime,
}

/// Tokens issued at or before a moment that are about a subject, or that it acts in, are good no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectMark {
    /// The subject.
    pub subject: String,
    /// The moment.
    pub not_before: UnixTime,
    /// When the last such token would have expired.
    pub expires_at: UnixTime,
}

#[derive(sqlx::FromRow)]
struct Row {
    token_id: String,
    parent_id: String,
    delegation_id: String,
    subject: String,
    actor_id: String,
    issued_at: i64,
    expires_at: i64,
}

impl Row {
    fn lineage(self) -> LineageRow {
        LineageRow {
            token_id: self.token_id,
            parent_id: self.parent_id,
            delegation: DelegationId::from_text(self.delegation_id),
            subject: self.subject,
            actor: AgentId::from_text(self.actor_id),
            issued_at: UnixTime(self.issued_at),
            expires_at: UnixTime(self.expires_at),
        }
    }
}

macro_rules! select_lineage {
    ($rest:literal) => {
        concat!(
            "SELECT token_id, parent_id, delegation_id, subject, actor_id, issued_at, expires_at FROM token_lineage ",
            $rest
        )
    };
}

const INSERT: &str = "INSERT INTO token_lineage (issuer_id, token_id, parent_id, delegation_id, subject, actor_id, issued_at, \
     expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const OF_TOKEN: &str = select_lineage!("WHERE issuer_id = $1 AND token_id = $2");
const CHILDREN: &str = select_lineage!(
    "WHERE issuer_id = $1 AND parent_id = $2 ORDER BY issued_at, token_id LIMIT $3"
);
const REVOKE: &str = "INSERT INTO revoked_tokens (issuer_id, token_id, revoked_at, expires_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT DO NOTHING";
// A chain has at most four actors, but one actor may repeat without a link: the recursion follows the rows,
// and UNION ends it.
const REVOKE_BELOW: &str = "INSERT INTO revoked_tokens (issuer_id, token_id, revoked_at, expires_at) \
     WITH RECURSIVE below (token_id, expires_at) AS ( \
         SELECT token_id, expires_at FROM token_lineage WHERE issuer_id = $1 AND parent_id = $2 \
         UNION \
         SELECT child.token_id, child.expires_at FROM token_lineage AS child \
         JOIN below ON child.parent_id = below.token_id WHERE child.issuer_id = $1) \
     SELECT $1, token_id, $3, expires_at FROM below WHERE expires_at > $4 ON CONFLICT DO NOTHING";
const REVOKE_OF_DELEGATION: &str = "INSERT INTO revoked_tokens (issuer_id, token_id, revoked_at, expires_at) \
     WITH RECURSIVE below (token_id, expires_at) AS ( \
         SELECT token_id, expires_at FROM token_lineage WHERE issuer_id = $1 AND delegation_id = $2 AND expires_at > $4 \
         UNION \
         SELECT child.token_id, child.expires_at FROM token_lineage AS child \
         JOIN below ON child.parent_id = below.token_id WHERE child.issuer_id = $1) \
     SELECT $1, token_id, $3, expires_at FROM below WHERE expires_at > $4 ON CONFLICT DO NOTHING";
const IS_REVOKED: &str =
    "SELECT COUNT(*) FROM revoked_tokens WHERE issuer_id = $1 AND token_id = $2";
const MARK: &str = "INSERT INTO subject_marks (issuer_id, subject, not_before, expires_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (issuer_id, subject) DO UPDATE SET not_before = excluded.not_before, expires_at = excluded.expires_at \
     WHERE subject_marks.not_before < excluded.not_before";
const IS_MARKED: &str =
    "SELECT COUNT(*) FROM subject_marks WHERE issuer_id = $1 AND subject = $2 AND not_before >= $3";
const REVOKED: &str = "SELECT token_id, revoked_at, expires_at FROM revoked_tokens \
     WHERE issuer_id = $1 AND expires_at > $2 AND token_id > $3 ORDER BY token_id LIMIT $4";
const MARKS: &str = "SELECT subject, not_before, expires_at FROM subject_marks \
     WHERE issuer_id = $1 AND expires_at > $2 AND subject > $3 ORDER BY subject LIMIT $4";
const PURGE: &str = "DELETE FROM token_lineage WHERE issuer_id = $1 AND token_id IN \
     (SELECT token_id FROM token_lineage WHERE issuer_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)";
const HOLDS_EXPIRED: &str = "SELECT EXISTS (SELECT 1 FROM used_assertions WHERE issuer_id = $1 AND expires_at < $2) \
     OR EXISTS (SELECT 1 FROM revoked_tokens WHERE issuer_id = $1 AND expires_at < $2) \
     OR EXISTS (SELECT 1 FROM subject_marks WHERE issuer_id = $1 AND expires_at < $2) \
     OR EXISTS (SELECT 1 FROM token_lineage WHERE issuer_id = $1 AND expires_at < $2)";
const PURGE_REVOKED: &str = "DELETE FROM revoked_tokens WHERE issuer_id = $1 AND token_id IN \
     (SELECT token_id FROM revoked_tokens WHERE issuer_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)";
const PURGE_MARKS: &str = "DELETE FROM subject_marks WHERE issuer_id = $1 AND subject IN \
     (SELECT subject FROM subject_marks WHERE issuer_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)";

impl Tx {
    /// Notes what a delegated token was made from.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn insert_lineage(
        &mut self,
        issuer: &IssuerId,
        row: &LineageRow,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            sqlx::query(INSERT)
                .bind(issuer.as_str())
                .bind(&row.token_id)
                .bind(&row.parent_id)
                .bind(row.delegation.as_str())
                .bind(&row.subject)
                .bind(row.actor.as_str())
                .bind(row.issued_at.0)
                .bind(row.expires_at.0)
        )?;
        Ok(())
    }

    /// Where a delegated token comes from; `None` for one that was not delegated or never issued.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn lineage(
        &mut self,
        issuer: &IssuerId,
        token_id: &str,
    ) -> Result<Option<LineageRow>, StoreError> {
        let row = on_engine!(self, connection => sqlx::query_as::<_, Row>(OF_TOKEN)
            .bind(issuer.as_str())
            .bind(key(token_id))
            .fetch_optional(connection))?;
        Ok(row.map(Row::lineage))
    }

    /// The first `limit` tokens made from one, oldest first.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn lineage_children(
        &mut self,
        issuer: &IssuerId,
        parent_id: &str,
        limit: i64,
    ) -> Result<Vec<LineageRow>, StoreError> {
        let rows = on_engine!(self, connection => sqlx::query_as::<_, Row>(CHILDREN)
            .bind(issuer.as_str())
            .bind(key(parent_id))
            .bind(limit)
            .fetch_all(connection))?;
        Ok(rows.into_iter().map(Row::lineage).collect())
    }

    /// Revokes a token and every token below it that has not expired by `unexpired_at`; how many were not revoked
    /// before.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn revoke_token(
        &mut self,
        issuer: &IssuerId,
        token: &RevokedToken,
        unexpired_at: UnixTime,
    ) -> Result<u64, StoreError> {
        let own = execute!(
            self,
            sqlx::query(REVOKE)
                .bind(issuer.as_str())
                .bind(key(&token.token_id))
                .bind(token.revoked_at.0)
                .bind(token.expires_at.0)
        )?;
        let below = execute!(
            self,
            sqlx::query(REVOKE_BELOW)
                .bind(issuer.as_str())
                .bind(key(&token.token_id))
                .bind(token.revoked_at.0)
                .bind(unexpired_at.0)
        )?;
        Ok(own + below)
    }

    /// Revokes every unexpired token made under a delegation, and those below; how many were not revoked
    /// before.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn revoke_tokens_of_delegation(
        &mut self,
        issuer: &IssuerId,
        delegation: &DelegationId,
        now: UnixTime,
        unexpired_at: UnixTime,
    ) -> Result<u64, StoreError> {
        execute!(
            self,
            sqlx::query(REVOKE_OF_DELEGATION)
                .bind(issuer.as_str())
                .bind(key(delegation.as_str()))
                .bind(now.0)
                .bind(unexpired_at.0)
        )
    }

    /// Ends all tokens so far that are about a subject or that it acts in. A mark only moves forward.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn mark_subject(
        &mut self,
        issuer: &IssuerId,
        mark: &SubjectMark,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            sqlx::query(MARK)
                .bind(issuer.as_str())
                .bind(key(&mark.subject))
                .bind(mark.not_before.0)
                .bind(mark.expires_at.0)
        )?;
        Ok(())
    }

    /// Whether a token is good no longer: revoked itself, or issued at or before the mark of one of
    /// `subjects`, those it is about or that act in it.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn is_token_revoked(
        &mut self,
        issuer: &IssuerId,
        token_id: &str,
        subjects: &[String],
        issued_at: UnixTime,
    ) -> Result<bool, StoreError> {
        let revoked: i64 = on_engine!(self, connection => sqlx::query_scalar(IS_REVOKED)
            .bind(issuer.as_str())
            .bind(key(token_id))
            .fetch_one(connection))?;
        if revoked > 0 {
            return Ok(true);
        }
        for subject in subjects {
            let marked: i64 = on_engine!(self, connection => sqlx::query_scalar(IS_MARKED)
                .bind(issuer.as_str())
                .bind(key(subject))
                .bind(issued_at.0)
                .fetch_one(connection))?;
            if marked > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first `limit` revoked tokens after `after` that would not have expired by `now`, by jti.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn revoked_tokens(
        &mut self,
        issuer: &IssuerId,
        now: UnixTime,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<RevokedToken>, StoreError> {
        let rows = on_engine!(self, connection => sqlx::query_as::<_, (String, i64, i64)>(REVOKED)
            .bind(issuer.as_str())
            .bind(now.0).bind(key(after.unwrap_or_default())).bind(limit)
            .fetch_all(connection))?;
        Ok(rows
            .into_iter()
            .map(|(token_id, revoked_at, expires_at)| RevokedToken {
                token_id,
                revoked_at: UnixTime(revoked_at),
                expires_at: UnixTime(expires_at),
            })
            .collect())
    }

    /// The first `limit` marks after `after` that still end tokens at `now`, by subject.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn subject_marks(
        &mut self,
        issuer: &IssuerId,
        now: UnixTime,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<SubjectMark>, StoreError> {
        let rows = on_engine!(self, connection => sqlx::query_as::<_, (String, i64, i64)>(MARKS)
            .bind(issuer.as_str())
            .bind(now.0).bind(key(after.unwrap_or_default())).bind(limit)
            .fetch_all(connection))?;
        Ok(rows
            .into_iter()
            .map(|(subject, not_before, expires_at)| SubjectMark {
                subject,
                not_before: UnixTime(not_before),
                expires_at: UnixTime(expires_at),
            })
            .collect())
    }

    /// Forgets at most `limit` revocations and as many marks that expired before `before`; how many.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn purge_revocations(
        &mut self,
        issuer: &IssuerId,
        before: UnixTime,
        limit: i64,
    ) -> Result<u64, StoreError> {
        let mut purged = 0;
        for statement in [PURGE_REVOKED, PURGE_MARKS] {
            purged += execute!(
                self,
                sqlx::query(statement)
                    .bind(issuer.as_str())
                    .bind(before.0)
                    .bind(limit)
            )?;
        }
        Ok(purged)
    }

    /// Whether a used assertion, a revocation, a mark or a lineage expired before `before`, so that a purge
    /// would forget it.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn holds_expired(
        &mut self,
        issuer: &IssuerId,
        before: UnixTime,
    ) -> Result<bool, StoreError> {
        on_engine!(self, connection => sqlx::query_scalar(HOLDS_EXPIRED)
            .bind(issuer.as_str())
            .bind(before.0)
            .fetch_one(connection))
    }

    /// Forgets where at most `limit` tokens that expired before `before` came from; how many.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn purge_lineage(
        &mut self,
        issuer: &IssuerId,
        before: UnixTime,
        limit: i64,
    ) -> Result<u64, StoreError> {
        execute!(
            self,
            sqlx::query(PURGE)
                .bind(issuer.as_str())
                .bind(before.0)
                .bind(limit)
        )
    }
}
