//! Statements over many rows: `VALUES` and `IN` lists of fixed sizes, made once per engine. The one
//! place that puts SQL together, from constants only.
//!
//! SQLite gets `?`, PostgreSQL `$n`: the driver looks every `$n` up by name on SQLite, which costs
//! ten times as much at 256 rows. Every bind stands once and in order.

use std::fmt::Write as _;

use sqlx::FromRow;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::engine::{Dialect, Tx, execute, on_engine};
use super::error::StoreError;
use crate::domain::id::IssuerId;

/// Rows per statement, largest first; any number of rows is a sum of these.
const SIZES: [usize; 5] = [256, 64, 16, 4, 1];

/// One statement in all its sizes, for both engines.
pub(super) struct RowLists {
    sqlite: [&'static str; SIZES.len()],
    postgres: [&'static str; SIZES.len()],
}

impl RowLists {
    /// `<insert> VALUES (…), (…) <rest>` with `columns` binds a row.
    pub(super) fn values(insert: &str, columns: usize, rest: &str) -> Self {
        Self::make(|dialect, rows| {
            let mut sql = format!("{insert} VALUES ");
            for row in 0..rows {
                sql.push_str(if row == 0 { "(" } else { ", (" });
                push_binds(&mut sql, dialect, row * columns, columns);
                sql.push(')');
            }
            sql.push(' ');
            sql.push_str(rest);
            sql
        })
    }

    /// `<select> WHERE issuer_id = … AND <column> IN (…)`: the issuer is the first bind.
    pub(super) fn of_issuer(select: &str, column: &str) -> Self {
        Self::make(|dialect, rows| {
            let mut sql = format!("{select} WHERE issuer_id = ");
            push_binds(&mut sql, dialect, 0, 1);
            sql.push_str(" AND ");
            sql.push_str(column);
            sql.push_str(" IN (");
            push_binds(&mut sql, dialect, 1, rows);
            sql.push(')');
            sql
        })
    }

    /// Leaks the texts: they are made once per process, and the driver keeps static texts without a copy.
    fn make(sql: impl Fn(Dialect, usize) -> String) -> Self {
        Self {
            sqlite: SIZES.map(|rows| &*sql(Dialect::Sqlite, rows).leak()),
            postgres: SIZES.map(|rows| &*sql(Dialect::Postgres, rows).leak()),
        }
    }

    /// Cuts `rows` into parts, each with the statement of its size.
    pub(super) fn statements<'r, T>(
        &self,
        dialect: Dialect,
        mut rows: &'r [T],
    ) -> Vec<(&'static str, &'r [T])> {
        let texts = match dialect {
            Dialect::Sqlite => &self.sqlite,
            Dialect::Postgres => &self.postgres,
        };
        let mut statements = Vec::new();
        for (&size, &sql) in SIZES.iter().zip(texts) {
            while let Some((part, rest)) = rows.split_at_checked(size) {
                statements.push((sql, part));
                rows = rest;
            }
        }
        statements
    }
}

impl RowLists {
    /// Cuts `keys` into parts of the largest size, and fills the last one up to the next size by repeating a key:
    /// one statement for up to 256 keys of an `IN` list, which is one way to the server and back.
    pub(super) fn padded<'k>(
        &self,
        dialect: Dialect,
        keys: &[&'k str],
    ) -> Vec<(&'static str, Vec<&'k str>)> {
        let texts = match dialect {
            Dialect::Sqlite => &self.sqlite,
            Dialect::Postgres => &self.postgres,
        };
        keys.chunks(SIZES[0])
            .map(|part| {
                let (size, sql) = SIZES
                    .into_iter()
                    .zip(texts)
                    .rfind(|(size, _)| *size >= part.len())
                    .unwrap_or((SIZES[0], &texts[0]));
                let mut part = part.to_vec();
                let last = part.last().copied().unwrap_or_default();
                part.resize(size, last);
                (*sql, part)
            })
            .collect()
    }
}

fn push_binds(sql: &mut String, dialect: Dialect, before: usize, count: usize) {
    for index in 1..=count {
        if index > 1 {
            sql.push_str(", ");
        }
        match dialect {
            Dialect::Sqlite => sql.push('?'),
            Dialect::Postgres => {
                // Writing to a String cannot fail.
                let _ = write!(sql, "${}", before + index);
            }
        }
    }
}

impl Tx {
    /// Inserts rows that hold nothing but text.
    pub(super) async fn insert_texts<const COLUMNS: usize>(
        &mut self,
        lists: &RowLists,
        rows: &[[&str; COLUMNS]],
    ) -> Result<(), StoreError> {
        for (sql, part) in lists.statements(self.dialect(), rows) {
            execute!(self, {
                let mut query = sqlx::query(sql);
                for text in part.iter().flatten() {
                    query = query.bind(*text);
                }
                query
            })?;
        }
        Ok(())
    }

    /// The rows of a list made with [`RowLists::of_issuer`] whose key is one of `ids`, in no order.
    pub(super) async fn rows_of<R>(
        &mut self,
        lists: &RowLists,
        issuer: &IssuerId,
        ids: &[&str],
    ) -> Result<Vec<R>, StoreError>
    where
        R: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let mut found = Vec::new();
        for (sql, part) in lists.padded(self.dialect(), ids) {
            found.append(&mut on_engine!(self, connection => {
                let mut query = sqlx::query_as::<_, R>(sql).bind(issuer.as_str());
                for id in &part {
                    query = query.bind(*id);
                }
                query.fetch_all(connection)
            })?);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_exactly_one_statement_of_its_size() {
        let lists = RowLists::values("INSERT INTO t (a, b)", 2, "ON CONFLICT DO NOTHING");
        for count in [0, 1, 3, 4, 5, 63, 255, 256, 257, 300, 1000] {
            let rows: Vec<usize> = (0..count).collect();
            let statements = lists.statements(Dialect::Sqlite, &rows);
            assert!(
                statements
                    .iter()
                    .all(|(sql, part)| sql.matches('?').count() == 2 * part.len()),
                "{count} rows"
            );
            assert_eq!(
                statements
                    .iter()
                    .flat_map(|(_, part)| *part)
                    .copied()
                    .collect::<Vec<_>>(),
                rows,
                "{count} rows"
            );
        }
    }

    #[test]
    fn keys_are_filled_up_to_one_statement_and_none_is_lost() {
        let lists = RowLists::of_issuer("SELECT a FROM t", "b");
        let names: Vec<String> = (0..600).map(|number| number.to_string()).collect();
        let keys: Vec<&str> = names.iter().map(String::as_str).collect();
        for (count, sizes) in [
            (0, &[][..]),
            (1, &[1]),
            (2, &[4]),
            (16, &[16]),
            (17, &[64]),
            (200, &[256]),
            (257, &[256, 1]),
            (600, &[256, 256, 256]),
        ] {
            let padded = lists.padded(Dialect::Sqlite, &keys[..count]);
            let mut found: Vec<&str> = Vec::new();
            for ((sql, part), size) in padded.iter().zip(sizes) {
                assert_eq!((part.len(), sql.matches('?').count()), (*size, size + 1));
                found.extend_from_slice(part);
            }
            found.dedup();
            assert_eq!(found, keys[..count], "{count}");
            assert_eq!(padded.len(), sizes.len(), "{count}");
        }
    }

    #[test]
    fn each_engine_gets_its_own_binds() {
        let insert = RowLists::values("INSERT INTO t (a, b)", 2, "ON CONFLICT DO NOTHING");
        assert_eq!(
            insert.statements(Dialect::Postgres, &[(); 4])[0].0,
            "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4), ($5, $6), ($7, $8) ON CONFLICT DO NOTHING"
        );
        assert_eq!(
            insert.statements(Dialect::Sqlite, &[()])[0].0,
            "INSERT INTO t (a, b) VALUES (?, ?) ON CONFLICT DO NOTHING"
        );
        let select = RowLists::of_issuer("SELECT a FROM t", "b");
        assert_eq!(
            select.statements(Dialect::Postgres, &[(); 4])[0].0,
            "SELECT a FROM t WHERE issuer_id = $1 AND b IN ($2, $3, $4, $5)"
        );
    }
}
