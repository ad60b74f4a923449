//! The conditions of rules: CEL over the one variable `claims`. An expression is somebody's text, and the
//! parser and evaluator are somebody else's code, so each run has a bounded length, nesting and number of
//! steps, and a thread of its own whose panic is an error and whose stack is large enough for what the
//! bounds let through.

use std::collections::HashMap;
use std::sync::Arc;

use ::cel::common::ast::{EntryExpr, Expr, IdedExpr};
use ::cel::objects::Map as CelMap;
use ::cel::{Context, Program, Value as CelValue};
use serde_json::{Map, Value};

use crate::domain::Invalid;

/// The longest condition that is looked at. Not documented: Claude's own limit.
pub const CONDITION_MAX_BYTES: usize = 4 * 1024;
/// How deep brackets may nest, and how many conditionals there may be: the parser recurses over both.
const NESTING_MAX: usize = 32;
/// How many signs that make a chain (`.`, `[`, `-`, …) there may be: the evaluator recurses along chains.
const CHAIN_MAX: usize = 256;
/// How often `+` may stand: each can double the length of a text or list.
const ADDITIONS_MAX: usize = 8;
/// How many steps loops (`all`, `exists`, `map`, …) may take, counted as if each went over all claims.
const STEPS_MAX: usize = 1_000_000;
/// What a regular expression costs, in such steps.
const MATCH_STEPS: usize = 100;
/// Room for the frames of parser and evaluator at the deepest nesting and the longest chain; measured: a
/// quarter of it is enough for an unoptimised build.
const STACK_BYTES: usize = 32 * 1024 * 1024;
/// Names of types, which are values in CEL.
const TYPES: [&str; 12] = [
    "bool",
    "bytes",
    "double",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "optional_type",
    "string",
    "type",
    "uint",
];

/// Checks a condition as the Admin API does when a rule is made.
///
/// # Errors
/// When it is too long, is no CEL, uses another variable than `claims`, or is always the same: true, which
/// would take every token, or no boolean.
pub fn check_condition(condition: &str) -> Result<(), Invalid> {
    let outcome = run(condition, None)?;
    match outcome {
        // Not documented: how the constant is found. What mentions no claim is one.
        Outcome::Constant(CelValue::Bool(true)) => Err(refused(
            "is always true: it would take every token of the issuer; compare a claim",
        )),
        Outcome::Constant(CelValue::Bool(false)) | Outcome::Depends => Ok(()),
        Outcome::Constant(_) => Err(refused(
            "must yield a boolean; compare something, as in claims.sub == 'agent:mailer'",
        )),
        Outcome::Value(_) => Err(refused("cannot be checked")),
    }
}

/// Evaluates a condition over the claims of a token.
///
/// # Errors
/// When it cannot be evaluated (a claim that is missing and not asked for with `has()`, say) or yields no
/// boolean. That such an error denies is inferred, not documented.
pub fn evaluate_condition(condition: &str, claims: &Map<String, Value>) -> Result<bool, Invalid> {
    match run(condition, Some(claims))? {
        Outcome::Value(CelValue::Bool(holds)) => Ok(holds),
        Outcome::Value(_) => Err(refused(
            "does not yield a boolean for this token; compare something, as in claims.sub == 'agent:mailer'",
        )),
        Outcome::Constant(_) | Outcome::Depends => Err(refused("cannot be evaluated")),
    }
}

/// What a run found.
enum Outcome {
    /// The value over the given claims.
    Value(CelValue),
    /// The value of an expression that mentions no claim.
    Constant(CelValue),
    /// It depends on the claims.
    Depends,
}

fn refused(problem: impl Into<String>) -> Invalid {
    Invalid::new("match.condition", problem)
}

/// Parses, checks and (with claims) evaluates in a thread of its own.
fn run(condition: &str, claims: Option<&Map<String, Value>>) -> Result<Outcome, Invalid> {
    check_text(condition)?;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("cel".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || compute(condition, claims));
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(refused("makes the CEL evaluator fail")),
            Err(_) => Err(refused("cannot be evaluated: no thread is left for it")),
        }
    })
}

/// Refuses by the text alone what the parser could choke on.
fn check_text(condition: &str) -> Result<(), Invalid> {
    if condition.len() > CONDITION_MAX_BYTES {
        return Err(refused(format!(
            "is longer than {CONDITION_MAX_BYTES} bytes"
        )));
    }
    // Strings are not told apart: one with that many signs is no loss.
    let (mut depth, mut deepest, mut conditionals, mut chain) = (0_usize, 0, 0, 0);
    for byte in condition.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'?' => conditionals += 1,
            _ => {}
        }
        chain += usize::from(b".([{-+*/%".contains(&byte));
        deepest = deepest.max(depth);
    }
    if deepest > NESTING_MAX || conditionals > NESTING_MAX {
        return Err(refused(format!(
            "is nested deeper than {NESTING_MAX} levels"
        )));
    }
    if chain > CHAIN_MAX {
        return Err(refused(format!(
            "has more than {CHAIN_MAX} operators and calls"
        )));
    }
    Ok(())
}

fn compute(condition: &str, claims: Option<&Map<String, Value>>) -> Result<Outcome, Invalid> {
    let program = Program::compile(condition).map_err(|errors| {
        let first = errors.errors.first().map(|error| error.msg.clone());
        refused(format!(
            "is not valid CEL: {}",
            first.as_deref().unwrap_or("it cannot be parsed")
        ))
    })?;
    let mut census = Census::default();
    census.visit(program.expression(), &mut Vec::new())?;
    let Some(claims) = claims else {
        if census.reads_claims {
            return Ok(Outcome::Depends);
        }
        let value = execute(&program, &Map::new())?;
        return Ok(Outcome::Constant(value));
    };
    census.check_cost(claims)?;
    execute(&program, claims).map(Outcome::Value)
}

fn execute(program: &Program, claims: &Map<String, Value>) -> Result<CelValue, Invalid> {
    let mut context = Context::default();
    context.add_variable_from_value("claims", map_value(claims));
    program
        .execute(&context)
        .map_err(|error| refused(format!("cannot be evaluated for this token: {error}")))
}

/// Claims as CEL sees them. Not documented: whether whole numbers are int or double there; the types compare
/// with each other either way.
fn value(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(value) => CelValue::Bool(*value),
        Value::Number(number) => number.as_i64().map_or_else(
            || CelValue::Float(number.as_f64().unwrap_or(f64::NAN)),
            CelValue::Int,
        ),
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Array(items) => CelValue::List(Arc::new(items.iter().map(self::value).collect())),
        Value::Object(members) => map_value(members),
    }
}

fn map_value(members: &Map<String, Value>) -> CelValue {
    let entries: HashMap<String, CelValue> = members
        .iter()
        .map(|(name, member)| (name.clone(), value(member)))
        .collect();
    CelValue::Map(CelMap::from(entries))
}

/// What an expression is made of.
#[derive(Default)]
struct Census {
    reads_claims: bool,
    loops: u32,
    additions: usize,
    matches: bool,
    nodes: usize,
}

impl Census {
    /// Walks an expression; `scope` holds the variables of the loops around it.
    fn visit<'e>(&mut self, node: &'e IdedExpr, scope: &mut Vec<&'e str>) -> Result<(), Invalid> {
        self.nodes += 1;
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.visit_name(name, scope),
            Expr::Select(select) => self.visit(&select.operand, scope),
            Expr::Call(call) => {
                self.additions += usize::from(call.func_name == "_+_");
                self.matches |= call.func_name == "matches";
                if self.additions > ADDITIONS_MAX {
                    return Err(refused(format!("adds more than {ADDITIONS_MAX} times")));
                }
                let mut parts = call.target.as_deref().into_iter().chain(&call.args);
                parts.try_for_each(|part| self.visit(part, scope))
            }
            Expr::List(list) => {
                let mut elements = list.elements.iter();
                elements.try_for_each(|element| self.visit(element, scope))
            }
            Expr::Map(map) => self.visit_entries(map.entries.iter().map(|e| &e.expr), scope),
            Expr::Struct(object) => {
                self.visit_entries(object.entries.iter().map(|e| &e.expr), scope)
            }
            Expr::Comprehension(over) => {
                self.loops += 1;
                self.visit(&over.iter_range, scope)?;
                let outer = scope.len();
                scope.extend([over.iter_var.as_str(), over.accu_var.as_str()]);
                scope.extend(over.iter_var2.as_deref());
                for part in [
                    &over.accu_init,
                    &over.loop_cond,
                    &over.loop_step,
                    &over.result,
                ] {
                    self.visit(part, scope)?;
                }
                scope.truncate(outer);
                Ok(())
            }
        }
    }

    fn visit_entries<'e>(
        &mut self,
        entries: impl Iterator<Item = &'e EntryExpr>,
        scope: &mut Vec<&'e str>,
    ) -> Result<(), Invalid> {
        for entry in entries {
            match entry {
                EntryExpr::StructField(field) => self.visit(&field.value, scope)?,
                EntryExpr::MapEntry(pair) => {
                    self.visit(&pair.key, scope)?;
                    self.visit(&pair.value, scope)?;
                }
            }
        }
        Ok(())
    }

    fn visit_name(&mut self, name: &str, scope: &[&str]) -> Result<(), Invalid> {
        let plain = name.trim_start_matches('.');
        if scope.contains(&name) || TYPES.contains(&plain) {
            return Ok(());
        }
        if plain == "claims" {
            self.reads_claims = true;
            return Ok(());
        }
        Err(refused(format!(
            "uses the variable `{}`, but there is only `claims`; write claims.{} for a claim of that name",
            plain.escape_debug(),
            plain.escape_debug()
        )))
    }

    /// Bounds what loops may cost, as if each of them went over everything there is.
    fn check_cost(&self, claims: &Map<String, Value>) -> Result<(), Invalid> {
        let elements = claims.values().map(size).sum::<usize>() + self.nodes;
        let cost = elements
            .checked_pow(self.loops)
            .and_then(|steps| steps.checked_mul(if self.matches { MATCH_STEPS } else { 1 }));
        match cost {
            Some(cost) if cost <= STEPS_MAX => Ok(()),
            Some(_) | None => Err(refused(
                "takes too many steps for a token of this size; use fewer loops",
            )),
        }
    }
}

/// How many values there are in `value`, itself included.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => members.values().map(size).sum(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn claims() -> Map<String, Value> {
        let claims = json!({
            "sub": "agent:mailer", "acting_agent": "agent:mailer", "groups": ["deployers", "readers"],
            "level": 3, "ratio": 0.5, "active": true, "nothing": null, "https://example.com/tenant": "a",
            "act": {"sub": "agent:alpha", "act": {"sub": "agent:beta"}},
        });
        claims.as_object().cloned().unwrap()
    }

    #[test]
    fn what_cannot_be_evaluated_is_an_error_and_not_a_match() {
        for condition in [
            "",
            "(",
            "claims.",
            "claims.missing == 'a'",
            "claims.act.missing.deeper == 'a'",
            "claims.sub",
            "claims.level",
            "sub == 'agent:mailer'",
            "claims.sub == subject",
            "nonsense(claims.sub)",
            "claims.sub > 3",
            "claims.groups[7] == 'a'",
            "1 / 0 == claims.level",
        ] {
            let refused = evaluate_condition(condition, &claims()).expect_err(condition);
            assert_eq!(refused.field, "match.condition", "{condition}");
        }
    }

    #[test]
    fn conditions_of_the_guides_hold_or_do_not() {
        for (condition, holds) in [
            ("claims.sub == 'agent:mailer'", true),
            ("claims.sub == 'agent:Mailer'", false),
            ("'deployers' in claims.groups", true),
            ("'admins' in claims.groups", false),
            ("has(claims.act) && claims.act.sub == 'agent:alpha'", true),
            (
                "has(claims.act) && claims.act.act.sub == 'agent:beta'",
                true,
            ),
            ("!has(claims.act)", false),
            ("has(claims.missing) && claims.missing == 'a'", false),
            ("claims.groups.exists(g, g.startsWith('deploy'))", true),
            ("claims.groups.all(g, g == 'readers')", false),
            ("claims.level == 3 && claims.level >= 2.5", true),
            ("claims.active", true),
            ("claims['https://example.com/tenant'] == 'a'", true),
            ("claims.sub.matches('^agent:[a-z]+$')", true),
            ("claims.sub == 'agent:' + 'mailer'", true),
            ("size(claims.groups) == 2", true),
        ] {
            assert_eq!(
                evaluate_condition(condition, &claims()),
                Ok(holds),
                "{condition}"
            );
        }
    }

    #[test]
    fn a_condition_that_would_cost_too_much_is_refused_before_it_runs() {
        let many = vec!["x"; 2000];
        let mut large = claims();
        large.insert("many".to_owned(), json!(many));
        let nested = "claims.many.all(a, claims.many.all(b, claims.many.all(c, true)))";
        for condition in [
            nested,
            "claims.many.all(a, claims.many.all(b, true))",
            &"(".repeat(4000),
            &format!("{}claims.active{}", "(".repeat(60), ")".repeat(60)),
            &format!("{}true", "claims.active ? false : ".repeat(60)),
            &"a".repeat(CONDITION_MAX_BYTES + 1),
            &format!("claims.sub == ''{}", " + claims.sub".repeat(9)),
        ] {
            assert!(
                evaluate_condition(condition, &large).is_err(),
                "{condition}"
            );
        }
        assert_eq!(
            evaluate_condition("claims.many.all(a, a == 'x')", &large),
            Ok(true)
        );
    }

    #[test]
    fn long_chains_neither_overflow_nor_hang() {
        for condition in [
            format!("{}claims.active", "!".repeat(3000)),
            format!("claims{}", ".a".repeat(CHAIN_MAX)),
            format!("claims.level{} == 3", " - 1".repeat(CHAIN_MAX - 1)),
            format!("claims.active{}", " && claims.active".repeat(230)),
            format!("claims.active{}", " == claims.active".repeat(230)),
            format!("{}1", "-".repeat(CHAIN_MAX)),
            format!("claims{}", "[0]".repeat(CHAIN_MAX)),
            format!("claims{}", ".a()".repeat(CHAIN_MAX / 2)),
            format!("1{}", " in [1]".repeat(CHAIN_MAX)),
            format!("claims.level{} == 3", " - 1".repeat(1000)),
            format!("claims{}", "[0]".repeat(1300)),
            "'".repeat(4000),
            "\\".repeat(4000),
        ] {
            let _ = evaluate_condition(&condition, &claims());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn no_text_makes_it_panic(text in r#"([(){}\[\].,?:!&|=<>+*/%"'rb\\ 0-9x-]|claims|has|sub|groups|exists|all|map|in){0,24}"#) {
            let _ = evaluate_condition(&text, &claims());
            let _ = check_condition(&text);
        }
    }
}
