//! Plans on SQLite, without statistics: nothing runs ANALYZE on a database in use.

use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use super::{Access, EXPRESSION, Plan};

pub(super) async fn connect(url: &str) -> SqliteConnection {
    SqliteConnection::connect(url).await.expect("a connection")
}

/// How SQLite finds the rows of a statement.
pub(super) async fn plan(connection: &mut SqliteConnection, sql: &str) -> Plan {
    let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
        .fetch_all(connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut plan = Plan::default();
    let mut own: Vec<String> = Vec::new();
    for row in rows {
        let step: String = row.get("detail");
        plan.sorts |= step.starts_with("USE TEMP B-TREE");
        match step.split_once(' ') {
            Some(("CO-ROUTINE" | "MATERIALIZE", subquery)) => own.push(subquery.to_owned()),
            _ => plan.accesses.extend(access(&step)),
        }
    }
    // What the statement itself has made is no table.
    plan.accesses.retain(|access| !own.contains(&access.alias));
    plan
}

/// `SEARCH held USING INDEX of_agent (issuer_id=? AND agent_id=?)`, or `SCAN held`.
fn access(step: &str) -> Option<Access> {
    let (found, rest) = step.split_once(' ')?;
    let alias = rest.split(' ').next().unwrap_or_default().to_owned();
    let columns = match found {
        "SEARCH" => {
            let (_, conditions) = rest.split_once('(').unwrap_or_default();
            conditions
                .trim_end_matches(')')
                .split(" AND ")
                .map(|condition| {
                    // An index's expression: its text is not in the plan.
                    if condition.starts_with(EXPRESSION) {
                        return EXPRESSION.to_owned();
                    }
                    condition
                        .split(['=', '<', '>'])
                        .next()
                        .unwrap_or_default()
                        .to_owned()
                })
                .collect()
        }
        // Rows that the statement itself holds.
        "SCAN" if rest.starts_with("CONSTANT ROW") || rest.ends_with("VALUES CLAUSE") => {
            return None;
        }
        "SCAN" => Vec::new(),
        _ => return None,
    };
    Some(Access { alias, columns })
}
