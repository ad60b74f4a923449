//! The parents of delegated tokens, and which tokens are ended.
//!
//! An end is one row: a token, or a mark on a subject or a delegation. Nothing here walks down: a reader
//! follows a token's line upward with [`Tx::ancestry`] and queries everything that it names at once.

mod ends;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::domain::id::{AgentId, DelegationId, IssuerId};
use crate::ports::time::UnixTime;

use super::error::StoreError;
use super::key;
use super::rows::RowLists;
use super::transaction::{Tx, execute, on_engine};

pub use ends::{EndKind, EndMark, RevokedToken};

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
    /// Its `aud`. Empty in a row that an older version wrote, which does not record scopes.
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
    /// The subject token that it was derived from.
    pub parent_id: String,
    /// The delegation that permitted it.
    pub delegation: DelegationId,
    /// The agent that authenticated.
    pub actor: AgentId,
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
// way round. A root's parent is '', which no token has. The limit ends a line that a fault made circular.
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
const PURGE: &str = "DELETE FROM token_lineage WHERE issuer_id = $1 AND token_id IN \
     (SELECT token_id FROM token_lineage WHERE issuer_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)";
const HOLDS_EXPIRED: &str = "SELECT EXISTS (SELECT 1 FROM used_assertions WHERE issuer_id = $1 AND expires_at < $2) \
     OR EXISTS (SELECT 1 FROM revoked_tokens WHERE issuer_id = $1 AND expires_at < $2) \
     OR EXISTS (SELECT 1 FROM end_marks WHERE issuer_id = $1 AND expires_at < $2) \
     OR EXISTS (SELECT 1 FROM token_lineage WHERE issuer_id = $1 AND expires_at < $2)";

impl Tx {
    /// Records the parents of tokens. An existing row stays unchanged: tokens derived from one root all bring
    /// its row.
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

    /// A token's row; `None` for one that was never issued, and for one without parents or children.
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

    /// The first `limit` tokens derived from one, oldest first.
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

    /// Whether a used assertion, a revocation, a mark or a lineage expired before `before`, so that a purge
    /// would delete it.
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

    /// Deletes the parents of at most `limit` tokens that expired before `before`; returns how many.
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
