//! Statements over many rows: `VALUES` and `IN` lists of fixed sizes, made once per engine. Only this file
//! assembles SQL, from constants only.
//!
//! SQLite gets `?`, PostgreSQL `$n`: the driver looks up every `$n` by name on SQLite, which costs ten times as
//! much at 256 rows. Every bind appears once and in order.

use std::fmt::Write as _;

use sqlx::FromRow;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::error::StoreError;
use super::transaction::{Dialect, Tx, execute, on_engine};
use crate::domain::id::IssuerId;

/// Rows per statement, largest first; any number of rows is a sum of these.
const SIZES: [usize; 9] = [256, 128, 64, 32, 16, 8, 4, 2, 1];

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
    /// The same for a statement to which a repeated row makes no difference: an `IN` list, or an insert with
    /// `ON CONFLICT DO NOTHING`. For PostgreSQL the last part is padded to the next size by repeating its last
    /// row: up to 256 rows are one statement and one round trip under the issuer's lock.
    pub(super) fn repeating<'r, T>(
        &self,
        dialect: Dialect,
        rows: &'r [T],
    ) -> Vec<(&'static str, Vec<&'r T>)> {
        if dialect == Dialect::Sqlite {
            let statements = self.statements(dialect, rows).into_iter();
            return statements
                .map(|(sql, part)| (sql, part.iter().collect()))
                .collect();
        }
        rows.chunks(SIZES[0])
            .map(|part| {
                let (size, sql) = SIZES
                    .into_iter()
                    .zip(self.postgres)
                    .rfind(|(size, _)| *size >= part.len())
                    .unwrap_or((SIZES[0], self.postgres[0]));
                let last = part.last().into_iter();
                let fill = last.cycle().take(size - part.len());
                (sql, part.iter().chain(fill).collect())
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
    /// Inserts rows that contain only text.
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
        for (sql, part) in lists.repeating(self.dialect(), ids) {
            found.append(&mut on_engine!(self, connection => {
                let mut query = sqlx::query_as::<_, R>(sql).bind(issuer.as_str());
                for id in &part {
                    query = query.bind(**id);
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
    fn on_postgresql_rows_are_filled_up_to_one_statement_and_none_is_lost() {
        let lists = RowLists::of_issuer("SELECT a FROM t", "b");
        let rows: Vec<usize> = (0..600).collect();
        for (count, sizes) in [
            (0, &[][..]),
            (1, &[1]),
            (2, &[2]),
            (17, &[32]),
            (63, &[64]),
            (129, &[256]),
            (257, &[256, 1]),
            (600, &[256, 256, 128]),
        ] {
            let statements = lists.repeating(Dialect::Postgres, &rows[..count]);
            let mut found = Vec::new();
            for ((sql, part), size) in statements.iter().zip(sizes) {
                assert_eq!((part.len(), sql.matches('$').count()), (*size, size + 1));
                found.extend(part.iter().map(|row| **row));
            }
            found.dedup();
            assert_eq!(found, rows[..count], "{count}");
            assert_eq!(statements.len(), sizes.len(), "{count}");
            // A file has no round trips: rows are not repeated there.
            let exact = lists.repeating(Dialect::Sqlite, &rows[..count]);
            let exact = exact.iter().flat_map(|(_, part)| part.iter().copied());
            assert_eq!(exact.copied().collect::<Vec<_>>(), rows[..count], "{count}");
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
