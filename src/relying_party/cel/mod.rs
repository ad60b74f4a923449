//! The conditions of rules: CEL over the one variable `claims`. Expressions are untrusted text and the parser and
//! evaluator third-party code, so each run has a bounded length, nesting and number of steps. It runs on one of
//! a few dedicated threads, whose stacks suffice for what the bounds admit and which outlive a panic. Each text
//! is parsed once and cached.

mod census;
mod workers;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use ::cel::objects::Map as CelMap;
use ::cel::{Context, Program, Value as CelValue};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::domain::Invalid;
use census::Census;
use workers::{TURNS, on_a_worker, submit};

/// The longest condition. Not documented: Claude's own limit.
pub const CONDITION_MAX_BYTES: usize = 4 * 1024;
/// How deep brackets may nest, and how many conditionals there may be: the parser recurses over both.
const NESTING_MAX: usize = 32;
/// How many signs that make a chain (`.`, `[`, `-`, …) there may be: the evaluator recurses along chains.
const CHAIN_MAX: usize = 256;
/// How much text of parsed conditions is kept, in bytes, twice over: see [`Kept`]. What is parsed of a text is
/// up to a hundred times as large.
const KEPT_TEXT_BYTES: usize = 128 * 1024;
/// Checks a condition as the Admin API does when a rule is made.
///
/// # Errors
/// When it is too long, is not CEL, uses a variable other than `claims`, or is constant: true, which would
/// accept every token, or not a boolean.
pub fn check_condition(condition: &str) -> Result<(), Invalid> {
    check_text(condition)?;
    let text = condition.to_owned();
    let constant = on_a_worker(move || {
        let compiled = Compiled::of(&text)?;
        if compiled.census.reads_claims {
            return Ok(None);
        }
        compiled.value(&TokenClaims::default()).map(Some)
    })?;
    match constant {
        // Not documented: how the constant is found. An expression without a claim is one.
        Some(CelValue::Bool(true)) => Err(refused(
            "is always true, so it accepts every token of the issuer",
        )),
        Some(CelValue::Bool(false)) | None => Ok(()),
        Some(_) => Err(refused(
            "must yield a boolean, as `claims.sub == 'agent:mailer'` does",
        )),
    }
}

/// Evaluates a condition over the claims of a token, and blocks until it is done.
///
/// # Errors
/// When it cannot be evaluated (for example, a missing claim without `has()`) or yields no boolean. That such an
/// error denies is inferred, not documented.
pub fn evaluate_condition(condition: &str, claims: &Map<String, Value>) -> Result<bool, Invalid> {
    check_text(condition)?;
    let (condition, claims) = (condition.to_owned(), TokenClaims::of(claims));
    on_a_worker(move || holds(&condition, &claims))
}

/// As [`evaluate_condition`], without blocking the calling thread. At most four run at once; the next waits.
///
/// # Errors
/// As there.
pub async fn condition_holds(condition: &str, claims: &Arc<TokenClaims>) -> Result<bool, Invalid> {
    check_text(condition)?;
    // Kept until the evaluation ends: the caller may be gone before.
    let turn = TURNS.acquire().await;
    let (condition, claims) = (condition.to_owned(), Arc::clone(claims));
    let (answer, answered) = oneshot::channel();
    submit(Box::new(move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| holds(&condition, &claims)));
        drop(turn);
        // The caller may be gone.
        let _ = answer.send(outcome.unwrap_or_else(|_| Err(failed())));
    }))?;
    answered.await.unwrap_or_else(|_| Err(failed()))
}

/// The claims of a token as conditions see them, made once for all of them.
#[derive(Debug)]
pub struct TokenClaims {
    value: CelValue,
    /// How many values there are in them.
    size: usize,
}

impl TokenClaims {
    /// These claims.
    #[must_use]
    pub fn of(claims: &Map<String, Value>) -> Self {
        Self {
            value: map_value(claims),
            size: claims.values().map(size).sum(),
        }
    }
}

impl Default for TokenClaims {
    fn default() -> Self {
        Self::of(&Map::new())
    }
}

fn refused(problem: impl Into<String>) -> Invalid {
    Invalid::new("match.condition", problem)
}

fn failed() -> Invalid {
    refused("makes the CEL evaluator fail")
}

/// A condition that was parsed and counted. Made, evaluated and dropped on a worker alone: each of these
/// recurses as deep as the expression is nested.
#[derive(Debug)]
struct Compiled {
    program: Program,
    census: Census,
}

impl Compiled {
    fn of(condition: &str) -> Result<Self, Invalid> {
        let program = Program::compile(condition).map_err(|errors| {
            let first = errors.errors.first().map(|error| error.msg.clone());
            refused(format!(
                "is not valid CEL: {}",
                first.as_deref().unwrap_or("it cannot be parsed")
            ))
        })?;
        let mut census = Census::default();
        census.visit(program.expression(), &mut Vec::new())?;
        Ok(Self { program, census })
    }

    /// The same, from those that are kept.
    fn kept(condition: &str) -> Result<Arc<Self>, Invalid> {
        static KEPT: Mutex<Option<Kept>> = Mutex::new(None);
        let found = KEPT
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_default()
            .get(condition);
        if let Some(found) = found {
            return Ok(found);
        }
        let compiled = Arc::new(Self::of(condition)?);
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.get_or_insert_default();
        kept.put(condition.to_owned(), Arc::clone(&compiled));
        Ok(compiled)
    }

    fn value(&self, claims: &TokenClaims) -> Result<CelValue, Invalid> {
        thread_local! {
            /// The functions of CEL, which take longer to name than most conditions to evaluate.
            static FUNCTIONS: Context<'static, 'static> = Context::default();
        }
        self.census.check_cost(claims.size)?;
        FUNCTIONS.with(|functions| {
            let mut context = functions.new_inner_scope();
            context.add_variable_from_value("claims", claims.value.clone());
            self.program
                .execute(&context)
                .map_err(|error| refused(format!("cannot be evaluated for this token: {error}")))
        })
    }
}

fn holds(condition: &str, claims: &TokenClaims) -> Result<bool, Invalid> {
    let value = Compiled::kept(condition)?.value(claims)?;
    let CelValue::Bool(holds) = value else {
        return Err(refused(
            "does not yield a boolean for this token, as `claims.sub == 'agent:mailer'` does",
        ));
    };
    Ok(holds)
}

/// Parsed conditions by their text, in two generations: when the younger is full it becomes the elder, and
/// conditions not used since are dropped.
#[derive(Debug, Default)]
struct Kept {
    younger: HashMap<String, Arc<Compiled>>,
    elder: HashMap<String, Arc<Compiled>>,
    younger_bytes: usize,
}

impl Kept {
    fn get(&mut self, condition: &str) -> Option<Arc<Compiled>> {
        if let Some(found) = self.younger.get(condition) {
            return Some(Arc::clone(found));
        }
        let (condition, found) = self.elder.remove_entry(condition)?;
        self.put(condition, Arc::clone(&found));
        Some(found)
    }

    fn put(&mut self, condition: String, compiled: Arc<Compiled>) {
        if self.younger_bytes + condition.len() > KEPT_TEXT_BYTES {
            self.elder = std::mem::take(&mut self.younger);
            self.younger_bytes = 0;
        }
        let bytes = condition.len();
        if self.younger.insert(condition, compiled).is_none() {
            self.younger_bytes += bytes;
        }
    }
}

/// Refuses, by the text alone, what could exhaust the parser.
fn check_text(condition: &str) -> Result<(), Invalid> {
    if condition.len() > CONDITION_MAX_BYTES {
        return Err(refused(format!(
            "is longer than {CONDITION_MAX_BYTES} bytes"
        )));
    }
    // String literals are not distinguished: a legitimate one does not have that many signs.
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

    use super::workers::WORKERS;
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

    #[test]
    fn a_condition_is_parsed_once_and_judges_each_token_by_its_own_claims() {
        let condition = "claims.sub == 'agent:parsed-once' && claims.active";
        let with = |sub: &str, active: bool| {
            let claims = json!({"sub": sub, "active": active});
            claims.as_object().cloned().unwrap()
        };
        for (sub, active, expected) in [
            ("agent:parsed-once", true, true),
            ("agent:other", true, false),
            ("agent:parsed-once", false, false),
            ("agent:parsed-once", true, true),
        ] {
            let holds = evaluate_condition(condition, &with(sub, active));
            assert_eq!(holds, Ok(expected), "{sub} {active}");
        }
        let parsed = || on_a_worker(move || Compiled::kept(condition)).unwrap();
        assert!(Arc::ptr_eq(&parsed(), &parsed()));
    }

    #[test]
    fn parsed_conditions_are_kept_within_their_bound_and_those_in_use_stay() {
        let mut kept = Kept::default();
        let compiled = Arc::new(Compiled::of("true").unwrap());
        let text = |number: usize| format!("{number:04000}");
        kept.put("in use".to_owned(), Arc::clone(&compiled));
        for number in 0..1000 {
            kept.put(text(number), Arc::clone(&compiled));
            assert!(kept.get("in use").is_some(), "{number}");
            let all = kept.younger.keys().chain(kept.elder.keys());
            let bytes: usize = all.map(String::len).sum();
            assert!(bytes <= 2 * KEPT_TEXT_BYTES, "{bytes}");
        }
        assert!(kept.get(&text(999)).is_some());
        assert!(kept.get(&text(0)).is_none());
    }

    #[test]
    fn a_worker_outlives_a_panic() {
        for _ in 0..3 * WORKERS {
            let outcome =
                on_a_worker(|| -> Result<(), Invalid> { panic!("a fault of the evaluator") });
            assert_eq!(outcome, Err(failed()));
        }
        assert_eq!(evaluate_condition("claims.active", &claims()), Ok(true));
    }

    #[tokio::test]
    async fn a_flood_of_conditions_waits_for_its_turn() {
        let token = Arc::new(TokenClaims::of(&claims()));
        let all = TURNS
            .acquire_many(u32::try_from(WORKERS).unwrap())
            .await
            .unwrap();
        let asked = condition_holds("claims.active", &token);
        let waited = tokio::time::timeout(std::time::Duration::from_millis(50), asked).await;
        assert!(waited.is_err(), "it did not wait");
        drop(all);
        assert_eq!(condition_holds("claims.active", &token).await, Ok(true));
        assert_eq!(TURNS.available_permits(), WORKERS);
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
