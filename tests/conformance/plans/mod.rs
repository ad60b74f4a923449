//! How each engine finds the rows of each statement of the store. Every index begins with `issuer_id`, a
//! constant in most databases: a planner that uses no more of an index than that reads a whole table,
//! and no other test would notice.

mod intended;
mod postgres;
mod sources;
mod sqlite;

use std::fmt;

/// Statements that there are, lest none be found and all be well.
const AT_LEAST: usize = 120;

/// What stands for a column of an index that is an expression, as SQLite has it.
const EXPRESSION: &str = "<expr>";

/// How rows of one table are found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Access {
    /// The table's name in the statement.
    alias: String,
    /// The columns of an index that narrow it down; none when the whole table is read.
    columns: Vec<String>,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.alias, self.columns.join(", "))
    }
}

/// How a statement finds its rows.
#[derive(Debug, Default)]
struct Plan {
    accesses: Vec<Access>,
    /// True when it sorts what it found, or a part of it.
    sorts: bool,
}

impl Plan {
    /// The accesses, each as in [`intended::ACCESSES`], in order.
    fn written(&self) -> Vec<String> {
        let mut written: Vec<String> = self.accesses.iter().map(ToString::to_string).collect();
        written.sort_unstable();
        written
    }

    /// The accesses that use no more of an index than the issuer.
    fn read_whole(&self) -> impl Iterator<Item = &Access> {
        self.accesses
            .iter()
            .filter(|access| match access.columns.as_slice() {
                [] => true,
                [column] => {
                    column == "issuer_id"
                        && !intended::ONE_ROW_EACH.contains(&access.alias.as_str())
                }
                _ => false,
            })
    }

    /// Whether rows are found at least as directly as intended, in whatever order tables are joined.
    fn does(&self, intended: &[&str]) -> bool {
        let mut left = self.accesses.clone();
        // The narrowest first: they stand behind the wider ones, and a wider one must not use up what they need.
        intended.iter().rev().all(|intended| {
            let found = left.iter().position(|access| {
                let (alias, columns) = intended.split_once('(').unwrap_or_default();
                access.alias == alias
                    && columns
                        .trim_end_matches(')')
                        .split(", ")
                        .all(|column| access.columns.iter().any(|known| known == column))
            });
            found.map(|at| left.swap_remove(at)).is_some()
        })
    }
}

/// A statement as both engines carry it out.
struct Planned {
    name: String,
    sql: String,
    sqlite: Plan,
    postgres: Plan,
}

impl Planned {
    fn is_on_a_large_table(&self) -> bool {
        self.sqlite.accesses.iter().any(|access| {
            intended::LARGE.iter().any(|table| {
                access.alias == *table
                    || self.sql.contains(&format!(" {table} AS {} ", access.alias))
            })
        })
    }

    /// What is wrong with how it finds its rows.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let found = self.sqlite.written();
        match listed(intended::ACCESSES, &self.name) {
            Some(intended) => {
                if found != *intended {
                    faults.push(format!("SQLite: {found:?} in place of {intended:?}"));
                }
                if !self.postgres.does(intended) {
                    faults.push(format!(
                        "PostgreSQL: {:?} in place of {intended:?}",
                        self.postgres.written()
                    ));
                }
            }
            None if self.is_on_a_large_table() => {
                faults.push(format!("is it intended? (\"{}\", &{found:?}),", self.name));
            }
            None if listed(intended::WHOLE, &self.name).is_none() => {
                for plan in [&self.sqlite, &self.postgres] {
                    faults.extend(
                        plan.read_whole()
                            .map(|access| format!("reads all rows of {access}")),
                    );
                }
            }
            None => {}
        }
        if self.sorts() && listed(intended::SORTS, &self.name).is_none() {
            faults.push("sorts what it finds".to_owned());
        }
        faults
    }

    fn sorts(&self) -> bool {
        self.sqlite.sorts || self.postgres.sorts
    }

    fn reads_whole(&self) -> bool {
        [&self.sqlite, &self.postgres]
            .iter()
            .any(|plan| plan.read_whole().next().is_some())
    }
}

fn listed<'l, T>(list: &'l [(&str, T)], name: &str) -> Option<&'l T> {
    list.iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

async fn planned() -> Vec<Planned> {
    let (sqlite, postgres) = (
        crate::support::sqlite().await,
        crate::support::postgres().await,
    );
    let mut on_sqlite = sqlite::connect(&sqlite.url).await;
    let mut on_postgres = postgres::connect(&postgres.url).await;
    postgres::fill(&mut on_postgres).await;
    let mut planned = Vec::new();
    for (name, sql) in sources::statements() {
        planned.push(Planned {
            sqlite: sqlite::plan(&mut on_sqlite, &sql).await,
            postgres: postgres::plan(&mut on_postgres, &name, &sql).await,
            name,
            sql,
        });
    }
    planned
}

#[tokio::test]
async fn every_statement_finds_its_rows_by_the_index_meant_for_it() {
    let planned = planned().await;
    println!(
        "{} statements of the store were planned on both engines",
        planned.len()
    );
    assert!(
        planned.len() >= AT_LEAST,
        "only {} statements were found",
        planned.len()
    );
    let mut faults = Vec::new();
    for statement in &planned {
        let found = statement.faults();
        if !found.is_empty() {
            faults.push(format!("{}: {}", statement.name, found.join("; ")));
        }
    }
    faults.extend(superfluous(&planned));
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// The entries of the lists that no statement needs.
fn superfluous(planned: &[Planned]) -> Vec<String> {
    let is = |name: &str, holds: fn(&Planned) -> bool| {
        planned
            .iter()
            .any(|statement| statement.name == name && holds(statement))
    };
    let accesses = intended::ACCESSES
        .iter()
        .filter(|(name, _)| !is(name, |_| true));
    let whole = intended::WHOLE
        .iter()
        .filter(|(name, _)| !is(name, Planned::reads_whole));
    let sorts = intended::SORTS
        .iter()
        .filter(|(name, _)| !is(name, Planned::sorts));
    let values = intended::PLANNED_FOR
        .iter()
        .filter(|(name, _)| !is(name, |_| true));
    accesses
        .map(|(name, _)| name)
        .chain(whole.chain(sorts).chain(values).map(|(name, _)| name))
        .map(|name| format!("{name}: its entry in a list is not needed"))
        .collect()
}
