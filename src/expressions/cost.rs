//! What evaluation may cost, how it is counted, and what is promised of it beforehand.
//!
//! **Counted** ([`Meter`]): in upstream's units, by upstream's formulas for operators, selections, literals of lists and maps,
//! macros, and the functions of the libraries. Exact for these (`conformance/costs.rs` holds upstream's own examples); not exact where
//! upstream evaluates a tree of another form: `optMap` counts its target once, chained optional selections count one each, a
//! variable that is a branch of `?:` counts one where upstream counts none, and so does a short text in a list that is
//! sorted, summed up or searched. Memory and time have a bound of their
//! own ([`WORK_MAX`]) where upstream's units do not see them: lists join at a cost of 1 however long they are, and objects
//! compare at the cost of their topmost fields.
//!
//! **Estimated** ([`estimate`]): the worst case over all values that the schema admits. Upper bounds follow upstream's
//! formulas for selections, operators, macros and the string and list functions. Where the size of an intermediate value is
//! not tracked (items of lists that the expression itself built from unbounded parts, results of `orValue`), it counts as
//! unbounded, so that in doubt a rule is refused rather than let in; a selection on a dynamic value counts 1 where
//! upstream counts none.

use crate::ast::{Expr, Fold, Kind, What};
use crate::checker::{Checked, Resolved};
use crate::error::Error;
use crate::types::Type;
use crate::value::Value;

/// Most that one evaluation may cost.
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// Most that all evaluations for one object, or one binding of a policy, may cost together.
pub const REQUEST_BUDGET: u64 = 10_000_000;
/// Most that a CRD's rule may be estimated to cost: the estimate of one evaluation times how often it happens.
pub const ESTIMATE_LIMIT: u64 = 10_000_000;
/// Most that all rules of a CRD may be estimated to cost together.
pub const ESTIMATE_TOTAL_LIMIT: u64 = 100_000_000;
/// Most bytes, roughly, that one evaluation may allocate and look at in all.
pub(crate) const WORK_MAX: u64 = 128 * 1024 * 1024;

/// Of traversing a string, per code point.
const TRAVERSAL: f64 = 0.1;
/// Of running a regular expression, per code point of it.
const REGEX: f64 = 0.25;
pub(crate) const LIST_CREATE: u64 = 10;
pub(crate) const MAP_CREATE: u64 = 30;
pub(crate) const STRUCT_CREATE: u64 = 40;
/// How deep lists in lists are looked at for what traversing them costs.
const TRAVERSAL_DEPTH: usize = 8;
/// Of an authorization check: two fit into one evaluation.
const CHECK: u64 = 350_000;

/// What the evaluations of one request may still cost.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    remaining: u64,
    per_call: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(REQUEST_BUDGET, PER_CALL_LIMIT)
    }
}

impl Budget {
    /// `total` for all evaluations, `per_call` for each.
    pub fn new(total: u64, per_call: u64) -> Self {
        Self { remaining: total, per_call }
    }

    /// What is left.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    pub(crate) fn per_call(&self) -> u64 {
        self.per_call
    }

    /// Takes `cost` out.
    ///
    /// # Errors
    /// [`Error::BudgetExhausted`] when so much is not left; then nothing is.
    pub(crate) fn spend(&mut self, cost: u64) -> Result<(), Error> {
        match self.remaining.checked_sub(cost) {
            Some(left) => {
                self.remaining = left;
                Ok(())
            }
            None => {
                self.remaining = 0;
                Err(Error::BudgetExhausted)
            }
        }
    }
}

/// Counts the cost of one evaluation.
#[derive(Debug)]
pub(crate) struct Meter {
    pub spent: u64,
    limit: u64,
    work: u64,
}

impl Meter {
    pub fn new(limit: u64) -> Self {
        Self { spent: 0, limit, work: 0 }
    }

    pub fn charge(&mut self, cost: u64) -> Result<(), Error> {
        self.spent = self.spent.saturating_add(cost);
        if self.spent > self.limit { Err(Error::CostExceeded) } else { Ok(()) }
    }

    /// Takes back what was charged for a part that is free where it stands.
    pub fn refund(&mut self, cost: u64) {
        self.spent = self.spent.saturating_sub(cost);
    }

    /// Announces that about `bytes` will be allocated or looked at.
    pub fn work(&mut self, bytes: u64) -> Result<(), Error> {
        self.work = self.work.saturating_add(bytes);
        if self.work > WORK_MAX { Err(Error::CostExceeded) } else { Ok(()) }
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }
}

fn scaled(size: u64, factor: f64) -> u64 {
    if size == u64::MAX { u64::MAX } else { (size as f64 * factor).ceil() as u64 }
}

fn traversal(size: u64) -> u64 {
    scaled(size, TRAVERSAL)
}

/// Cost of matching text of `size` against a pattern of `pattern` code points.
fn regex(size: u64, pattern: u64) -> u64 {
    scaled(size.saturating_add(1), TRAVERSAL).saturating_mul(scaled(pattern, REGEX))
}

/// Whether a function's cost is fixed, and which it is.
fn fixed(function: &str) -> Option<u64> {
    Some(match function {
        "check" => CHECK,
        "_&&_" | "_||_" | "_?_:_" => 0,
        _ => return None,
    })
}

/// The cost of calling `function`, arguments not counted; `result` is the size of what it gave.
pub(crate) fn call(function: &str, args: &[Value<'_>], result: &Value<'_>) -> u64 {
    if let Some(cost) = fixed(function) {
        return cost;
    }
    let size = |index: usize| args.get(index).map_or(1, Value::size);
    let is_text = |index: usize| matches!(args.get(index), Some(Value::String(_) | Value::Bytes(_)));
    match function {
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            args.first().map_or(1, |value| whole_traversal(value, 0))
        }
        "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "isURL" | "quantity" | "isQuantity" | "isIP"
        | "isCIDR" | "cidr" | "strings.quote" | "format" | "semver" | "isSemver" => traversal(size(0)),
        "ip" if is_text(0) => traversal(size(0)),
        "replace" | "split" | "ip.isCanonical" => scaled(size(0), 2.0 * TRAVERSAL),
        "join" => scaled(result.size(), 2.0 * TRAVERSAL),
        "validate" | "jsonpatch.escapeKey" => traversal(size(args.len().saturating_sub(1))),
        "find" | "findAll" | "matches" => regex(size(0), size(1)),
        "containsIP" => scaled(2 * size(0), TRAVERSAL) + if is_text(1) { traversal(size(1)) } else { 0 },
        "containsCIDR" => {
            scaled(2 * size(0), TRAVERSAL) + traversal(size(0)) + 1 + if is_text(1) { traversal(size(1)) } else { 0 }
        }
        "startsWith" | "endsWith" => traversal(size(0)),
        "bytes" | "string" if is_text(0) => traversal(size(0)),
        "contains" => traversal(size(0)).saturating_mul(traversal(size(1))),
        "@in" if matches!(args.get(1), Some(Value::List(_))) => size(1),
        "_==_" | "_!=_" => traversal(size(0).min(size(1))),
        "_<_" | "_<=_" | "_>_" | "_>=_" if is_text(0) => traversal(size(0).min(size(1))),
        "_+_" if is_text(0) => traversal(size(0).saturating_add(size(1))),
        "sets.contains" | "sets.equivalent" | "sets.intersects" => size(0).saturating_mul(size(1)).saturating_add(1),
        _ => 1,
    }
}

/// Of looking at everything in `value` once; a short text counts one.
fn whole_traversal(value: &Value<'_>, depth: usize) -> u64 {
    match value {
        Value::String(text) => (text.len() as u64 / 10).max(1),
        Value::Bytes(bytes) => (bytes.len() as u64 / 10).max(1),
        Value::List(list) if depth < TRAVERSAL_DEPTH => {
            sum(list.iter().map(|item| item.map_or(1, |item| whole_traversal(&item, depth + 1))))
        }
        other => other.size(),
    }
}

/// The most that evaluating the checked `tree` can cost.
pub(crate) fn estimate(tree: &Expr, checked: &Checked) -> u64 {
    Estimator { checked }.of(tree).cost
}

/// Upper bounds of the cost of a node and of the size of its value.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    cost: u64,
    size: u64,
}

struct Estimator<'c> {
    checked: &'c Checked,
}

impl Estimator<'_> {
    fn of(&self, expr: &Expr) -> Estimate {
        let shape = &self.checked.shapes[expr.id];
        let declared = match (shape.max, &shape.ty) {
            (Some(max), _) => max,
            // An address is the largest of these.
            (None, Type::Opaque(_)) => 16,
            (None, Type::Null | Type::Type(_) | Type::Optional(_)) => 1,
            (None, ty) if ty.is_scalar() => 1,
            (None, _) => u64::MAX,
        };
        let sized = |cost: u64| Estimate { cost, size: declared };
        match &expr.kind {
            Kind::Literal(value) => Estimate { cost: 0, size: value.size() },
            Kind::Ident(_) => sized(1),
            Kind::Select { .. } if matches!(self.checked.resolved.get(&expr.id), Some(Resolved::Variable(_))) => {
                sized(1)
            }
            Kind::Select { operand, .. } => sized(self.of(operand).cost.saturating_add(1)),
            Kind::Has { operand, .. } => Estimate { cost: self.of(operand).cost, size: 1 },
            Kind::Call { function, target, args } => self.call(expr, function, target.as_deref(), args, declared),
            Kind::List(items) => {
                let cost = sum(items.iter().map(|(item, _)| self.of(item).cost));
                Estimate { cost: cost.saturating_add(LIST_CREATE), size: items.len() as u64 }
            }
            Kind::Map(entries) => {
                let cost = sum(entries.iter().flat_map(|(key, value, _)| [self.of(key).cost, self.of(value).cost]));
                Estimate { cost: cost.saturating_add(MAP_CREATE), size: entries.len() as u64 }
            }
            Kind::Struct { fields, .. } => {
                sized(sum(fields.iter().map(|(_, value, _)| self.of(value).cost)).saturating_add(STRUCT_CREATE))
            }
            Kind::Fold(fold) => self.fold(fold, declared),
            Kind::OptMap { target, body, .. } => {
                sized(self.of(target).cost.saturating_add(self.of(body).cost).saturating_add(4))
            }
        }
    }

    fn fold(&self, fold: &Fold, declared: u64) -> Estimate {
        let range = self.of(&fold.range);
        let filter = fold.filter.as_ref().map_or(0, |filter| self.of(filter).cost);
        let step = fold.step.as_ref().map_or(1, |step| self.of(step).cost);
        let each = filter.saturating_add(step).saturating_add(fold.what.overhead());
        let cost = range.cost.saturating_add(range.size.saturating_mul(each)).saturating_add(fold.what.base());
        let size = match fold.what {
            What::All | What::Exists | What::ExistsOne => 1,
            What::List | What::Map => range.size,
            What::MapEntry => declared,
        };
        Estimate { cost, size }
    }

    fn call(&self, expr: &Expr, function: &str, target: Option<&Expr>, args: &[Expr], declared: u64) -> Estimate {
        let (function, target) = match self.checked.resolved.get(&expr.id) {
            Some(Resolved::Function(name)) => (name.as_str(), None),
            _ => (function, target),
        };
        let all: Vec<&Expr> = target.into_iter().chain(args).collect();
        let parts: Vec<Estimate> = all.iter().map(|part| self.of(part)).collect();
        let below = sum(parts.iter().map(|part| part.cost));
        let size = |index: usize| parts.get(index).map_or(1, |part| part.size);
        let ty = |index: usize| all.get(index).map(|part| &self.checked.shapes[part.id].ty);
        let is_text = |index: usize| !matches!(ty(index), Some(Type::List(_) | Type::Opaque(_)));
        let (own, result) = match function {
            "_?_:_" => {
                let cost = |index: usize| parts.get(index).map_or(0, |part| part.cost);
                let cost = cost(0).saturating_add(cost(1).max(cost(2)));
                return Estimate { cost, size: size(1).max(size(2)) };
            }
            "isSorted" | "sum" | "max" | "min" => (self.list_cost(all.first(), size(0)), declared),
            "indexOf" | "lastIndexOf" if !is_text(0) => (self.list_cost(all.first(), size(0)), 1),
            "indexOf" | "lastIndexOf" => (traversal(size(0)), 1),
            "dyn" => (1, size(0)),
            "lowerAscii" | "upperAscii" | "substring" | "trim" => (traversal(size(0)), size(0)),
            "url" | "isURL" | "quantity" | "isQuantity" | "isIP" | "isCIDR" | "cidr" | "semver" | "isSemver" => {
                (traversal(size(0)), declared)
            }
            "ip" if is_text(0) => (traversal(size(0)), declared),
            "strings.quote" => (traversal(size(0)), size(0).saturating_mul(2).saturating_add(2)),
            "replace" => {
                // The worst: the replacement around every code point.
                let growth = size(0).saturating_add(1).saturating_mul(size(2)).saturating_add(size(0));
                (scaled(size(0), 2.0 * TRAVERSAL), growth)
            }
            "split" => (scaled(size(0), 2.0 * TRAVERSAL), size(0)),
            "ip.isCanonical" => (scaled(size(0), 2.0 * TRAVERSAL), 1),
            "join" => {
                let item = self.item_size(all.first());
                let separator = if parts.len() > 1 { size(1) } else { 0 };
                let joined =
                    size(0).saturating_mul(item).saturating_add(separator.saturating_mul(size(0).saturating_sub(1)));
                (traversal(joined), joined)
            }
            "format" | "startsWith" | "endsWith" => {
                (traversal(size(if function == "format" { 0 } else { 1 })), declared)
            }
            "validate" | "jsonpatch.escapeKey" => (traversal(size(parts.len().saturating_sub(1))), declared),
            "find" | "findAll" | "matches" => {
                (regex(size(0), size(1)), if function == "matches" { 1 } else { size(0) })
            }
            "containsIP" | "containsCIDR" => {
                let other = if matches!(ty(1), Some(Type::String)) { traversal(size(1)) } else { 0 };
                (7_u64.saturating_add(other), 1)
            }
            "bytes" => (traversal(size(0)), size(0).saturating_mul(4)),
            "string" if is_text(0) => (traversal(size(0)), if size(0) == 1 { 64 } else { size(0) }),
            "contains" => (traversal(size(0)).saturating_mul(traversal(size(1))), 1),
            "@in" => (if matches!(ty(1), Some(Type::Map(_))) { 1 } else { size(1) }, 1),
            "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" => (traversal(size(0).min(size(1))), 1),
            "_+_" => {
                let joined = size(0).saturating_add(size(1));
                match ty(0) {
                    Some(Type::List(_)) => (1, joined),
                    Some(Type::String | Type::Bytes | Type::Dyn) => (traversal(joined), joined),
                    _ => (1, declared),
                }
            }
            "sets.contains" | "sets.equivalent" | "sets.intersects" => {
                (size(0).saturating_mul(size(1)).saturating_add(1), 1)
            }
            _ => (fixed(function).unwrap_or(1), declared),
        };
        Estimate { cost: below.saturating_add(own), size: result }
    }

    fn item_size(&self, list: Option<&&Expr>) -> u64 {
        match list.map(|list| &self.checked.shapes[list.id].ty) {
            Some(Type::List(list)) if list.item.ty.is_scalar() => 1,
            Some(Type::List(list)) => list.item.max.unwrap_or(u64::MAX),
            _ => u64::MAX,
        }
    }

    fn list_cost(&self, list: Option<&&Expr>, size: u64) -> u64 {
        let item = match list.map(|list| &self.checked.shapes[list.id].ty) {
            Some(Type::List(list)) if matches!(list.item.ty, Type::String | Type::Bytes) => {
                traversal(list.item.max.unwrap_or(u64::MAX))
            }
            _ => 0,
        };
        size.saturating_mul(item.saturating_add(1))
    }
}

fn sum(costs: impl Iterator<Item = u64>) -> u64 {
    costs.fold(0, u64::saturating_add)
}

impl What {
    /// What a round costs besides filter and step: the accumulator, the condition to go on, the append.
    pub(crate) fn overhead(self) -> u64 {
        match self {
            Self::All => 3,
            Self::Exists => 4,
            Self::ExistsOne => 2,
            Self::List => 12,
            Self::Map | Self::MapEntry => 3,
        }
    }

    /// What the macro costs once: the accumulator's start and the result.
    pub(crate) fn base(self) -> u64 {
        match self {
            Self::All | Self::Exists => 1,
            Self::ExistsOne => 2,
            Self::List => LIST_CREATE + 1,
            Self::Map | Self::MapEntry => MAP_CREATE + 1,
        }
    }
}
