//! Which tokens are ended: revoked ones, and marks on subjects and delegations.

use std::sync::LazyLock;

use crate::domain::id::IssuerId;
use crate::ports::time::UnixTime;
use crate::store::error::StoreError;
use crate::store::rows::RowLists;
use crate::store::transaction::{Tx, execute, on_engine};
use crate::store::{Window, key};

/// A token that was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedToken {
    /// Its `jti`.
    pub token_id: String,
    /// When it was revoked.
    pub revoked_at: UnixTime,
    /// When it would have expired.
    pub expires_at: UnixTime,
}

/// Tokens issued at or before a moment are ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndMark {
    /// The kind of `key`.
    pub kind: EndKind,
    /// A subject, or the id of a delegation.
    pub key: String,
    /// The moment.
    pub not_before: UnixTime,
    /// When the last such token would have expired.
    pub expires_at: UnixTime,
}

/// Which tokens a mark ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndKind {
    /// Tokens about a subject, or in which it acts.
    Subject,
    /// Tokens issued under a delegation, and all that were derived from them.
    Delegation,
}

impl EndKind {
    /// The kind's name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Delegation => "delegation",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        match text {
            "subject" => Ok(Self::Subject),
            "delegation" => Ok(Self::Delegation),
            other => Err(StoreError::corrupt(format!("a mark has the kind {other}"))),
        }
    }
}

#[derive(sqlx::FromRow)]
struct MarkRow {
    kind: String,
    key: String,
    not_before: i64,
    expires_at: i64,
}

impl MarkRow {
    fn mark(self) -> Result<EndMark, StoreError> {
        Ok(EndMark {
            kind: EndKind::parse(&self.kind)?,
            key: self.key,
            not_before: UnixTime(self.not_before),
            expires_at: UnixTime(self.expires_at),
        })
    }
}

const REVOKE: &str = "INSERT INTO revoked_tokens (issuer_id, token_id, revoked_at, expires_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT DO NOTHING";
static REVOKE_ALL: LazyLock<RowLists> = LazyLock::new(|| {
    RowLists::values(
        "INSERT INTO revoked_tokens (issuer_id, token_id, revoked_at, expires_at)",
        4,
        "ON CONFLICT DO NOTHING",
    )
});
static REVOKED_AMONG: LazyLock<RowLists> =
    LazyLock::new(|| RowLists::of_issuer("SELECT token_id FROM revoked_tokens", "token_id"));
const MARK: &str = "INSERT INTO end_marks (issuer_id, kind, key, not_before, expires_at) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (issuer_id, key, kind) DO UPDATE SET not_before = excluded.not_before, expires_at = excluded.expires_at \
     WHERE end_marks.not_before < excluded.not_before";
static MARKS_AMONG: LazyLock<RowLists> = LazyLock::new(|| {
    RowLists::of_issuer(
        "SELECT kind, key, not_before, expires_at FROM end_marks",
        "key",
    )
});
const REVOKED: &str = "SELECT token_id, revoked_at, expires_at FROM revoked_tokens \
     WHERE issuer_id = $1 AND expires_at > $2 AND token_id > $3 ORDER BY token_id LIMIT $4";
const MARKS: &str = "SELECT kind, key, not_before, expires_at FROM end_marks \
     WHERE issuer_id = $1 AND kind = $2 AND expires_at > $3 AND key > $4 ORDER BY key LIMIT $5";

const PURGE_REVOKED: &str = "DELETE FROM revoked_tokens WHERE issuer_id = $1 AND token_id IN \
     (SELECT token_id FROM revoked_tokens WHERE issuer_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)";
const PURGE_MARKS: &str = "DELETE FROM end_marks WHERE issuer_id = $1 AND (key, kind) IN \
     (SELECT key, kind FROM end_marks WHERE issuer_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)";

impl Tx {
    /// Revokes a token, and with it everything below; false when it was revoked before.
    pub async fn revoke_token(
        &mut self,
        issuer: &IssuerId,
        token: &RevokedToken,
    ) -> Result<bool, StoreError> {
        let revoked = execute!(
            self,
            sqlx::query(REVOKE)
                .bind(issuer.as_str())
                .bind(key(&token.token_id))
                .bind(token.revoked_at.0)
                .bind(token.expires_at.0)
        )?;
        Ok(revoked == 1)
    }

    /// Revokes tokens; those that were revoked before stay as they are.
    pub async fn revoke_tokens(
        &mut self,
        issuer: &IssuerId,
        tokens: &[RevokedToken],
    ) -> Result<(), StoreError> {
        for (sql, part) in REVOKE_ALL.repeating(self.dialect(), tokens) {
            execute!(self, {
                let mut query = sqlx::query(sql);
                for token in part {
                    query = query
                        .bind(issuer.as_str())
                        .bind(&token.token_id)
                        .bind(token.revoked_at.0)
                        .bind(token.expires_at.0);
                }
                query
            })?;
        }
        Ok(())
    }

    /// Which of `token_ids` were revoked themselves. In no order.
    pub async fn revoked_among(
        &mut self,
        issuer: &IssuerId,
        token_ids: &[&str],
    ) -> Result<Vec<String>, StoreError> {
        let ids: Vec<&str> = token_ids.iter().map(|id| key(id)).collect();
        let rows: Vec<(String,)> = self.rows_of(&REVOKED_AMONG, issuer, &ids).await?;
        Ok(rows.into_iter().map(|(token_id,)| token_id).collect())
    }

    /// Ends all tokens so far of a subject or a delegation. A mark only moves forward: false when it is at that
    /// moment or a later one already.
    pub async fn mark_ended(
        &mut self,
        issuer: &IssuerId,
        mark: &EndMark,
    ) -> Result<bool, StoreError> {
        let marked = execute!(
            self,
            sqlx::query(MARK)
                .bind(issuer.as_str())
                .bind(mark.kind.as_str())
                .bind(key(&mark.key))
                .bind(mark.not_before.0)
                .bind(mark.expires_at.0)
        )?;
        Ok(marked == 1)
    }

    /// The marks on any of `keys`, of both kinds. In no order.
    pub async fn end_marks_among(
        &mut self,
        issuer: &IssuerId,
        keys: &[&str],
    ) -> Result<Vec<EndMark>, StoreError> {
        let keys: Vec<&str> = keys.iter().map(|text| key(text)).collect();
        let rows: Vec<MarkRow> = self.rows_of(&MARKS_AMONG, issuer, &keys).await?;
        rows.into_iter().map(MarkRow::mark).collect()
    }

    /// The first `limit` revoked tokens after `after` that would not have expired by `now`, by jti.
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

    /// The marks of a kind that still end tokens at `now`, those of a window by key.
    pub async fn end_marks(
        &mut self,
        issuer: &IssuerId,
        kind: EndKind,
        now: UnixTime,
        window: Window<'_>,
    ) -> Result<Vec<EndMark>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, MarkRow>(MARKS)
            .bind(issuer.as_str())
            .bind(kind.as_str())
            .bind(now.0).bind(key(window.after.unwrap_or_default())).bind(window.limit)
            .fetch_all(connection))?
        .into_iter()
        .map(MarkRow::mark)
        .collect()
    }

    /// Forgets at most `limit` revocations and as many marks that expired before `before`; how many.
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
}
