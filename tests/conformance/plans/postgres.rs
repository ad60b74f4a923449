//! Plans on PostgreSQL: of prepared statements, as the driver sends them, once the server no longer looks
//! at what is bound; on tables that hold many rows of one issuer.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::intended::{ONE_ROW_EACH, PLANNED_FOR};
use super::{Access, EXPRESSION, Plan, listed};

/// Rows of each table: enough that reading all of them is never the cheapest way to one.
const ROWS: u32 = 20_000;
/// PostgreSQL: nothing tells the type of a parameter, as in `$4 IS NULL`.
const UNKNOWN_TYPE: [&str; 2] = ["42P18", "42P08"];

const COLUMNS: &str = "SELECT table_name::TEXT, column_name::TEXT, data_type::TEXT FROM information_schema.columns \
     WHERE table_schema = current_schema() AND table_name NOT LIKE '\\_sqlx%' ORDER BY table_name, ordinal_position";

pub(super) async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("a connection")
}

/// Fills every table, whatever columns it has by now, with rows of one issuer.
pub(super) async fn fill(connection: &mut PgConnection) {
    // References between rows are not needed; uniqueness and CHECK are.
    run(connection, "SET session_replication_role = replica").await;
    let columns: Vec<(String, String, String)> = sqlx::query_as(COLUMNS)
        .fetch_all(&mut *connection)
        .await
        .expect("the columns");
    for table in columns.chunk_by(|one, next| one.0 == next.0) {
        let names: Vec<&str> = table.iter().map(|(_, column, _)| column.as_str()).collect();
        let values: Vec<&str> = table
            .iter()
            .map(|(table, column, kind)| value(table, column, kind))
            .collect();
        let insert = format!(
            "INSERT INTO {} ({}) SELECT {} FROM generate_series(1, {ROWS}) AS n",
            table[0].0,
            names.join(", "),
            values.join(", ")
        );
        run(connection, &insert).await;
    }
    run(connection, "ANALYZE").await;
}

/// What stands in a column of row `n`.
fn value(table: &str, column: &str, kind: &str) -> &'static str {
    match (table, column) {
        (table, "issuer_id") if ONE_ROW_EACH.contains(&table) => "'issuer-' || n",
        (_, "issuer_id") => "'home'",
        ("audit", "agent_id") => "'id-' || n % 50",
        ("delegations", "actor_id") => "'id-' || n % 1000",
        ("audit", "event") => "CASE WHEN n % 3 = 0 THEN 'agent.changed' ELSE 'token.issued' END",
        ("federated_credentials", "subject") => {
            "CASE WHEN n % 20 = 0 THEN NULL ELSE 'id-' || n END"
        }
        ("delegations", "resource_id") => "'id-' || n % 1000",
        ("agent_groups", "group_id") | ("agent_roles" | "group_roles", "role_id") => {
            "'id-' || n % 1000"
        }
        ("token_lineage", "parent_id") => "'id-' || n % 5000",
        ("credentials" | "federated_credentials", "agent_id") => "'id-' || n % 5000",
        ("trusted_issuer_keys", "trusted_issuer_id") => "'id-' || n",
        (_, "trusted_issuer_id") => "'id-' || n % 1000",
        (_, "status") => "'active'",
        ("credentials", "kind") => "'public_key'",
        ("end_marks", "kind") => "'subject'",
        (_, "subject_kind") => "'exact'",
        (_, "state") => "'retired'",
        ("administrators", "role") => "'viewer'",
        ("revoked_tokens", "revoked_at") => "n",
        (_, "revoked_at" | "removed_at" | "status_at" | "secret_hash") => "NULL",
        _ => match kind {
            "bigint" => "n",
            "boolean" => "FALSE",
            "bytea" => "decode(md5(n::TEXT), 'hex')",
            _ => "'id-' || n",
        },
    }
}

/// How the server finds the rows of a statement.
pub(super) async fn plan(connection: &mut PgConnection, name: &str, sql: &str) -> Plan {
    let parameters = (1..100).take_while(|bind| mentions(sql, *bind)).count();
    prepare(connection, sql, parameters).await;
    let planned_for = listed(PLANNED_FOR, name);
    let mode = if planned_for.is_some() {
        "force_custom_plan"
    } else {
        "force_generic_plan"
    };
    run(connection, &format!("SET plan_cache_mode = {mode}")).await;
    let values = match planned_for {
        Some(values) => format!("({values})"),
        None if parameters == 0 => String::new(),
        None => format!("({})", vec!["NULL"; parameters].join(", ")),
    };
    let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE plan {values}");
    let explained: String = sqlx::raw_sql(AssertSqlSafe(explain))
        .fetch_one(&mut *connection)
        .await
        .and_then(|row| row.try_get_unchecked(0))
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    run(connection, "DEALLOCATE plan").await;
    let explained: Value = serde_json::from_str(&explained).expect("a plan in JSON");
    let mut plan = Plan::default();
    visit(&explained[0]["Plan"], &mut plan);
    plan
}

async fn prepare(connection: &mut PgConnection, sql: &str, parameters: usize) {
    let mut types = vec!["unknown"; parameters];
    loop {
        let declared = if types.is_empty() {
            String::new()
        } else {
            format!("({})", types.join(", "))
        };
        let prepare = format!("PREPARE plan {declared} AS {sql}");
        let Err(error) = sqlx::raw_sql(AssertSqlSafe(prepare))
            .execute(&mut *connection)
            .await
        else {
            return;
        };
        let database = error.as_database_error().expect("an answer of the server");
        let code = database.code().unwrap_or_default();
        assert!(UNKNOWN_TYPE.contains(&&*code), "{sql}: {database}");
        let bind = (1..=parameters)
            .rev()
            .find(|bind| database.message().contains(&format!("${bind}")))
            .expect("which parameter it is");
        assert_eq!(types[bind - 1], "unknown", "{sql}: {database}");
        types[bind - 1] = "text";
    }
}

fn mentions(sql: &str, bind: usize) -> bool {
    let bind = format!("${bind}");
    sql.match_indices(&bind)
        .any(|(at, _)| !sql[at + bind.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

/// Notes what a node of the plan and those below it do.
fn visit(node: &Value, plan: &mut Plan) {
    let kind = node["Node Type"].as_str().unwrap_or_default();
    if kind.contains("Sort") {
        plan.sorts = true;
    }
    if let Some(alias) = node["Alias"].as_str()
        && kind.ends_with("Scan")
        && node["Relation Name"].is_string()
    {
        let mut conditions = Vec::new();
        conditions_of(node, &mut conditions);
        plan.accesses.push(Access {
            // A name that the statement uses twice gets a number.
            alias: alias
                .trim_end_matches(|c: char| c.is_ascii_digit())
                .trim_end_matches('_')
                .to_owned(),
            columns: columns(&conditions.join(" AND ")),
        });
    }
    for below in node["Plans"].as_array().into_iter().flatten() {
        visit(below, plan);
    }
}

/// The conditions on an index of a scan: a bitmap's are in the nodes below it.
fn conditions_of(node: &Value, conditions: &mut Vec<String>) {
    conditions.extend(node["Index Cond"].as_str().map(str::to_owned));
    for below in node["Plans"].as_array().into_iter().flatten() {
        if below["Node Type"]
            .as_str()
            .is_some_and(|kind| kind.starts_with("Bitmap"))
        {
            conditions_of(below, conditions);
        }
    }
}

/// The index's columns in a condition such as `((issuer_id = $1) AND (id = held.agent_id))`.
fn columns(condition: &str) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for part in condition.split(" AND ").flat_map(|part| part.split(", ")) {
        let words = part.trim_start_matches('(');
        // `ROW(a, b)`; a bare column stands on the left, what it is compared with on the right.
        let words = words.strip_prefix("ROW(").unwrap_or(words);
        let length = words
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(words.len());
        let column = match words.get(length..=length) {
            Some("(") => EXPRESSION.to_owned(),
            _ => words[..length].to_owned(),
        };
        if !column.is_empty() && !columns.contains(&column) {
            columns.push(column);
        }
    }
    columns
}

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}
