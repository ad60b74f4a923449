//! What an expression consists of, and whether its cost is bounded.

use ::cel::common::ast::{EntryExpr, Expr, IdedExpr};

use super::refused;
use crate::domain::Invalid;

/// How many `+` are accepted: each can double the length of a text or list.
const ADDITIONS_MAX: usize = 8;
/// How many steps loops (`all`, `exists`, `map`, …) may take, counted as if each went over all claims.
const STEPS_MAX: usize = 1_000_000;
/// What a regular expression costs, in such steps.
const MATCH_STEPS: usize = 100;
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

/// What an expression consists of.
#[derive(Debug, Default)]
pub(super) struct Census {
    pub(super) reads_claims: bool,
    loops: u32,
    additions: usize,
    matches: bool,
    nodes: usize,
}

impl Census {
    /// Walks an expression; `scope` holds the variables of the loops around it.
    pub(super) fn visit<'e>(
        &mut self,
        node: &'e IdedExpr,
        scope: &mut Vec<&'e str>,
    ) -> Result<(), Invalid> {
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
            "uses the variable `{}`, not `claims.{}`",
            plain.escape_debug(),
            plain.escape_debug()
        )))
    }

    /// Bounds the cost of loops, as if each went over all values.
    pub(super) fn check_cost(&self, claims_size: usize) -> Result<(), Invalid> {
        let elements = claims_size + self.nodes;
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
