//! What delegated tokens were made from, and which tokens are ended.
//!
//! An end is one row: a token, or a mark on a subject or a delegation. Nothing here walks down: a judge
//! reads a token's line upward with [`Tx::ancestry`] and asks once for all that it names.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::error::StoreError;
use super::key;
use super::rows::RowLists;
use super::transaction::{Tx, execute, on_engine};
use crate::domain::id::{AgentId, DelegationId, IssuerId};
use crate::ports::time::UnixTime;

/// A token on the way from a delegated token to its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineageRow {
    /// Its `jti`; for a root from outside the trusted issuer's name, `:` and a digest.
    pub token_id: String,
    /// How it was made by exchange; `None` for a root.
    pub made: Option<Exchanged>,
    /// The token at the top; its own id for a root.
    pub root_id: String,
    /// Exchanges since the root, 0 for it.
    pub depth: i64,
    /// Its `sub`, as this issuer names it.
    pub subject: String,
    /// Its `aud`. Empty in a row that an older version wrote: it says nothing of scopes.
    pub audience: String,
    /// Its `scope`, space-separated; empty when it has none.
    pub scopes: String,
    /// The string claims of a root from outside, which its signature proved; `None` for every other token.
    pub proven: Option<BTreeMap<String, String>>,
    /// Its `iat`.
    pub issued_at: UnixTime,
    /// Its `exp`.
    pub expires_at: UnixTime,
}

/// How a token was made by exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// The subject token that it was made from.
    pub parent_id: String,
    /// The delegation that permitted it.
    pub delegation: DelegationId,
    /// The agent that presented itself.
    pub actor: AgentId,
}

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
    /// What `key` is.
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
    /// Those that are about a subject, or that it acts in.
    Subject,
    /// Those made under a delegation, and all that was made from them.
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
struct Row {
    token_id: String,
    parent_id: String,
    delegation_id: String,
    actor_id: String,
    root_id: String,
    depth: i64,
    subject: String,
    audience: String,
    scopes: String,
    claims: Option<String>,
    issued_at: i64,
    expires_at: i64,
}

impl Row {
    fn lineage(self) -> Result<LineageRow, StoreError> {
        let proven = match &self.claims {
            None => None,
            Some(claims) => Some(serde_json::from_str(claims).map_err(|_| {
                StoreError::corrupt(format!("the claims of the token {}", self.token_id))
            })?),
        };
        Ok(LineageRow {
            made: (!self.parent_id.is_empty()).then(|| Exchanged {
                parent_id: self.parent_id,
                delegation: DelegationId::from_text(self.delegation_id),
                actor: AgentId::from_text(self.actor_id),
            }),
            token_id: self.token_id,
            root_id: self.root_id,
            depth: self.depth,
            subject: self.subject,
            audience: self.audience,
            scopes: self.scopes,
            proven,
            issued_at: UnixTime(self.issued_at),
            expires_at: UnixTime(self.expires_at),
        })
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

static INSERT: LazyLock<RowLists> = LazyLock::new(|| {
    RowLists::values(
        "INSERT INTO token_lineage (issuer_id, token_id, parent_id, delegation_id, actor_id, root_id, depth, subject, \
         audience, scopes, claims, issued_at, expires_at)",
        13,
        "ON CONFLICT DO NOTHING",
    )
});
const OF_TOKEN: &str = "SELECT token_id, parent_id, delegation_id, actor_id, root_id, depth, subject, audience, scopes, claims, \
     issued_at, expires_at FROM token_lineage WHERE issuer_id = $1 AND token_id = $2";
// CROSS JOIN: on SQLite the row above is looked up by its key, for each row of the line, and never the other
// way round. A root's parent is '', which no token has. The limit ends a line that some fault made a circle.
const ANCESTRY: &str = "WITH RECURSIVE line (steps, token_id, parent_id, delegation_id, actor_id, root_id, depth, subject, audience, \
         scopes, claims, issued_at, expires_at) AS ( \
         SELECT 0, token_id, parent_id, delegation_id, actor_id, root_id, depth, subject, audience, scopes, claims, \
             issued_at, expires_at FROM token_lineage WHERE issuer_id = $1 AND token_id = $2 \
         UNION ALL \
         SELECT line.steps + 1, above.token_id, above.parent_id, above.delegation_id, above.actor_id, above.root_id, \
             above.depth, above.subject, above.audience, above.scopes, above.claims, above.issued_at, above.expires_at \
         FROM line CROSS JOIN token_lineage AS above \
         WHERE above.issuer_id = $1 AND above.token_id = line.parent_id AND line.steps < $3) \
     SELECT token_id, parent_id, delegation_id, actor_id, root_id, depth, subject, audience, scopes, claims, issued_at, expires_at \
     FROM line ORDER BY steps";
const CHILDREN: &str = "SELECT token_id, parent_id, delegation_id, actor_id, root_id, depth, subject, audience, scopes, claims, \
     issued_at, expires_at FROM token_lineage WHERE issuer_id = $1 AND parent_id = $2 ORDER BY token_id LIMIT $3";
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
const PURGE: &str = "DELETE FROM token_lineage WHERE issuer_id = $1 AND token_id IN \
     (SELECT token_id FROM token_lineage WHERE issuer_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)";
const HOLDS_EXPIRED: &str = "SELECT EXISTS (SELECT 1 FROM used_assertions WHERE issuer_id = $1 AND expires_at < $2) \
     OR EXISTS (SELECT 1 FROM revoked_tokens WHERE issuer_id = $1 AND expires_at < $2) \
     OR EXISTS (SELECT 1 FROM end_marks WHERE issuer_id = $1 AND expires_at < $2) \
     OR EXISTS (SELECT 1 FROM token_lineage WHERE issuer_id = $1 AND expires_at < $2)";
const PURGE_REVOKED: &str = "DELETE FROM revoked_tokens WHERE issuer_id = $1 AND token_id IN \
     (SELECT token_id FROM revoked_tokens WHERE issuer_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)";
const PURGE_MARKS: &str = "DELETE FROM end_marks WHERE issuer_id = $1 AND (key, kind) IN \
     (SELECT key, kind FROM end_marks WHERE issuer_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)";

impl Tx {
    /// Records what tokens were made from. A row that is there already stays as it is: tokens made from one
    /// root all bring its row.
    pub async fn insert_lineage(
        &mut self,
        issuer: &IssuerId,
        rows: &[LineageRow],
    ) -> Result<(), StoreError> {
        let mut claims = Vec::with_capacity(rows.len());
        for row in rows {
            let text = row.proven.as_ref().map(serde_json::to_string).transpose();
            claims.push(text.map_err(StoreError::rejected)?);
        }
        let rows: Vec<(&LineageRow, Option<String>)> = rows.iter().zip(claims).collect();
        for (sql, part) in INSERT.repeating(self.dialect(), &rows) {
            execute!(self, {
                let mut query = sqlx::query(sql);
                for (row, claims) in part {
                    let made = row.made.as_ref();
                    query = query
                        .bind(issuer.as_str())
                        .bind(&row.token_id)
                        .bind(made.map_or("", |made| made.parent_id.as_str()))
                        .bind(made.map_or("", |made| made.delegation.as_str()))
                        .bind(made.map_or("", |made| made.actor.as_str()))
                        .bind(&row.root_id)
                        .bind(row.depth)
                        .bind(&row.subject)
                        .bind(&row.audience)
                        .bind(&row.scopes)
                        .bind(claims.as_deref())
                        .bind(row.issued_at.0)
                        .bind(row.expires_at.0);
                }
                query
            })?;
        }
        Ok(())
    }

    /// A token's row; `None` for one that was never issued, or that nothing was made from or exchanged into.
    pub async fn lineage(
        &mut self,
        issuer: &IssuerId,
        token_id: &str,
    ) -> Result<Option<LineageRow>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, Row>(OF_TOKEN)
            .bind(issuer.as_str())
            .bind(key(token_id))
            .fetch_optional(connection))?
        .map(Row::lineage)
        .transpose()
    }

    /// A token's row and those above it, upward to its root; at most `steps` above it. Empty when it has no
    /// row.
    pub async fn ancestry(
        &mut self,
        issuer: &IssuerId,
        token_id: &str,
        steps: i64,
    ) -> Result<Vec<LineageRow>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, Row>(ANCESTRY)
            .bind(issuer.as_str())
            .bind(key(token_id))
            .bind(steps)
            .fetch_all(connection))?
        .into_iter()
        .map(Row::lineage)
        .collect()
    }

    /// The first `limit` tokens made from one, oldest first.
    pub async fn lineage_children(
        &mut self,
        issuer: &IssuerId,
        parent_id: &str,
        limit: i64,
    ) -> Result<Vec<LineageRow>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, Row>(CHILDREN)
            .bind(issuer.as_str())
            .bind(key(parent_id))
            .bind(limit)
            .fetch_all(connection))?
        .into_iter()
        .map(Row::lineage)
        .collect()
    }

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

    /// Ends all tokens so far of a subject or a delegation. A mark only moves forward.
    pub async fn mark_ended(
        &mut self,
        issuer: &IssuerId,
        mark: &EndMark,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            sqlx::query(MARK)
                .bind(issuer.as_str())
                .bind(mark.kind.as_str())
                .bind(key(&mark.key))
                .bind(mark.not_before.0)
                .bind(mark.expires_at.0)
        )?;
        Ok(())
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

    /// The first `limit` marks of a kind after the key `after` that still end tokens at `now`, by key.
    pub async fn end_marks(
        &mut self,
        issuer: &IssuerId,
        kind: EndKind,
        now: UnixTime,
        (after, limit): (Option<&str>, i64),
    ) -> Result<Vec<EndMark>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, MarkRow>(MARKS)
            .bind(issuer.as_str())
            .bind(kind.as_str())
            .bind(now.0).bind(key(after.unwrap_or_default())).bind(limit)
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

    /// Whether a used assertion, a revocation, a mark or a lineage expired before `before`, so that a purge
    /// would forget it.
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
