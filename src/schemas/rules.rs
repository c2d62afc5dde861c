//! `x-kubernetes-validations`: rules in CEL, which another room compiles and evaluates.
//!
//! This module holds what is not the language: what a rule consists of, where rules may stand, which values they are
//! evaluated on, what `oldSelf` is, what may be spent, and how a violation reads. Follows upstream's
//! `pkg/apiserver/schema/cel/validation.go` and `pkg/apis/apiextensions/validation/{validation,cel_validation}.go`.

use std::fmt;
use std::sync::Arc;

use objects::Cause;
use serde_json::{Map, Value};

use crate::faults::{self, Faults};
use crate::place::Place;
use crate::schema::{Additional, ListType, Schema, Type};
use crate::selectable;

/// What one rule may cost at most, by its estimate; upstream's.
pub const RULE_COST_MAX: u64 = 10_000_000;

/// What all rules of one schema may cost together, by their estimates; upstream's.
pub const SCHEMA_COST_MAX: u64 = 100_000_000;

/// What the evaluation of all rules on one object may cost; upstream's.
pub const OBJECT_COST_MAX: u64 = 10_000_000;

/// Reasons that a rule may give for its violation.
const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// One rule.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// The expression; it has to be true.
    pub rule: Box<str>,
    /// What to say when it is not; may be empty.
    pub message: Box<str>,
    /// An expression for what to say; may be empty.
    pub message_expression: Box<str>,
    /// Which reason the cause has; `FieldValueInvalid` without.
    pub reason: Option<Box<str>>,
    /// Which field below the schema the cause names, as `.spec.a`; may be empty.
    pub field_path: Box<str>,
    /// Whether a rule that reads `oldSelf` is evaluated when there is none.
    pub optional_old_self: Option<bool>,
    /// What [`compile`] made of it.
    pub(crate) program: Option<Compiled>,
}

impl PartialEq for Rule {
    /// Whether the texts are the same; what was compiled of them follows from them.
    fn eq(&self, other: &Self) -> bool {
        self.rule == other.rule
            && self.message == other.message
            && self.message_expression == other.message_expression
            && self.reason == other.reason
            && self.field_path == other.field_path
            && self.optional_old_self == other.optional_old_self
    }
}

impl Rule {
    pub(crate) fn to_value(&self) -> Value {
        let mut out = Map::new();
        for (key, text) in [
            ("rule", &*self.rule),
            ("message", &*self.message),
            ("messageExpression", &*self.message_expression),
            ("reason", self.reason.as_deref().unwrap_or_default()),
            ("fieldPath", &*self.field_path),
        ] {
            if !text.is_empty() {
                out.insert(key.into(), text.into());
            }
        }
        if let Some(optional) = self.optional_old_self {
            out.insert("optionalOldSelf".into(), optional.into());
        }
        Value::Object(out)
    }

    /// The rule as messages name it when it has none of its own.
    fn shown(&self) -> &str {
        if self.message.is_empty() { self.rule.trim() } else { self.message.trim() }
    }
}

/// The room that knows the language.
pub trait Rules: Send + Sync {
    /// Compiles the rules of one schema, each against the type of `self` that the schema describes. One result per rule,
    /// in their order.
    fn compile(&self, site: &Site<'_>) -> Vec<Result<Compiled, Fault>>;

    /// How often one object may hold the elements of a list or the values of a map that has this schema and stands
    /// `around` times in it.
    fn cardinality(&self, schema: &Schema, around: u64) -> u64;
}

/// Where rules stand that are to be compiled.
pub struct Site<'a> {
    /// The schema whose rules they are, and which types `self`.
    pub schema: &'a Schema,
    /// Whether `self` is a whole object: then it has `apiVersion`, `kind`, `metadata.name` and `metadata.generateName`.
    pub root: bool,
    /// How many values the schema may describe in one object.
    pub cardinality: u64,
}

/// Why a rule does not compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whether it is the message expression that does not.
    pub in_message: bool,
    /// What is wrong, for people.
    pub detail: String,
}

/// A rule that compiled.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The rule, ready to be evaluated.
    pub program: Arc<dyn Program>,
    /// Whether it reads `oldSelf`.
    pub uses_old_self: bool,
    /// What one object's evaluation may cost, cardinality included.
    pub cost: u64,
    /// The same of the message expression; 0 without.
    pub message_cost: u64,
}

/// A compiled rule.
pub trait Program: fmt::Debug + Send + Sync {
    /// Evaluates the rule on one value, and the message expression if the rule does not hold.
    fn evaluate(&self, scope: &Scope<'_>) -> Outcome;
}

/// What an evaluation sees.
pub struct Scope<'a> {
    /// `self`
    pub value: &'a Value,
    /// `oldSelf`; an optional when the rule says that it is.
    pub old: Option<&'a Value>,
    /// Whether `oldSelf` is an optional.
    pub old_is_optional: bool,
    /// The schema that types both.
    pub schema: &'a Schema,
    /// What may be spent.
    pub budget: u64,
}

/// What an evaluation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What was spent.
    pub cost: u64,
    /// Whether the rule holds.
    pub verdict: Verdict,
}

/// Whether a rule holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Holds,
    /// It does not; with what the message expression says, if there is one and it could be evaluated.
    Violated(Option<String>),
    /// It could not be evaluated, and why.
    Failed(String),
    /// It costs more than was left.
    OutOfBudget,
}

/// Judges the rules of a definition's schema, and compiles them. `None` is a server that cannot evaluate rules: then each
/// is refused, because a rule that is stored and not evaluated would be a promise that is not kept.
pub(crate) fn compile(schema: &mut Schema, rules: Option<&dyn Rules>, place: &Place<'_>) -> Vec<Cause> {
    let mut judge = Judge { rules, faults: Faults::default(), total: 0 };
    judge.schema(schema, place, Inherited { root: true, cardinality: 1, uncorrelatable: None });
    if judge.total > SCHEMA_COST_MAX {
        let detail = over(
            "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema",
            judge.total,
            SCHEMA_COST_MAX,
        );
        judge.faults.forbidden(place, detail);
    }
    judge.faults.into_causes()
}

/// What the schemas above say about the rules of one.
#[derive(Clone)]
struct Inherited {
    root: bool,
    cardinality: u64,
    /// The schema below which old and new values cannot be paired.
    uncorrelatable: Option<String>,
}

struct Judge<'a> {
    rules: Option<&'a dyn Rules>,
    faults: Faults,
    total: u64,
}

impl Judge<'_> {
    fn schema(&mut self, schema: &mut Schema, place: &Place<'_>, inherited: Inherited) {
        if !schema.extensions.rules.is_empty() {
            self.own(schema, place, &inherited);
        }
        let below = Inherited { root: false, ..inherited.clone() };
        let below_has_rules = schema.items.as_ref().is_some_and(|items| items.has_rules())
            || matches!(&schema.additional, Additional::Schema(child) if child.has_rules());
        let times = match self.rules {
            Some(rules) if below_has_rules => rules.cardinality(schema, inherited.cardinality),
            _ => inherited.cardinality,
        };
        let properties = place.field("properties");
        for (name, child) in &mut schema.properties {
            self.schema(child, &properties.key(name), below.clone());
        }
        if let Additional::Schema(child) = &mut schema.additional {
            let inherited = Inherited { cardinality: times, ..below.clone() };
            self.schema(child, &place.field("additionalProperties"), inherited);
        }
        if let Some(child) = &mut schema.items {
            let mut inherited = Inherited { cardinality: times, ..below };
            // Elements of sets and of lists that are replaced as a whole have no former self.
            if schema.extensions.list_type != Some(ListType::Map) && inherited.uncorrelatable.is_none() {
                inherited.uncorrelatable = Some(place.to_string());
            }
            self.schema(child, &place.field("items"), inherited);
        }
    }

    fn own(&mut self, schema: &mut Schema, place: &Place<'_>, inherited: &Inherited) {
        let list = place.field("x-kubernetes-validations");
        let Some(rules) = self.rules else {
            let detail = "this server does not evaluate rules in CEL, and keeps none that it does not evaluate";
            return self.faults.forbidden(&list, detail);
        };
        let before = self.faults.is_empty();
        for (at, rule) in schema.extensions.rules.iter().enumerate() {
            self.form(schema, rule, &list.index(at));
        }
        if !(before && self.faults.is_empty()) {
            return;
        }
        let site = Site { schema: &*schema, root: inherited.root, cardinality: inherited.cardinality };
        let results = rules.compile(&site);
        if results.len() != schema.extensions.rules.len() {
            return self.faults.push(faults::internal(&list.to_string(), "not every rule was compiled"));
        }
        for (at, (rule, result)) in schema.extensions.rules.iter_mut().zip(results).enumerate() {
            let place = list.index(at);
            match result {
                Ok(compiled) => {
                    self.cost(&compiled, &place);
                    let (uses, uncorrelatable) = (compiled.uses_old_self, inherited.uncorrelatable.as_deref());
                    if let (true, Some(above)) = (uses, uncorrelatable) {
                        let detail = format!(
                            "oldSelf cannot be used on the uncorrelatable portion of the schema within {above}"
                        );
                        self.faults.invalid_text(&place.field("rule"), &rule.rule, detail);
                    }
                    if let (false, Some(optional)) = (uses, rule.optional_old_self) {
                        let detail = "may not be set if oldSelf is not used in rule";
                        self.faults.invalid(&place.field("optionalOldSelf"), &optional.into(), detail);
                    }
                    rule.program = Some(compiled);
                }
                Err(fault) => {
                    let key = if fault.in_message { "messageExpression" } else { "rule" };
                    self.faults.invalid(&place.field(key), &rule.to_value(), fault.detail);
                }
            }
        }
    }

    /// What can be said about a rule without knowing the language.
    fn form(&mut self, schema: &Schema, rule: &Rule, place: &Place<'_>) {
        let breaks = |text: &str| text.contains(['\n', '\r']);
        let message = rule.message.trim();
        if rule.rule.trim().is_empty() {
            self.faults.required(&place.field("rule"), "rule is not specified");
        } else if !rule.message.is_empty() && message.is_empty() {
            self.faults.invalid_text(&place.field("message"), &rule.message, "message must be non-empty if specified");
        } else if breaks(message) {
            self.faults.invalid_text(&place.field("message"), &rule.message, "message must not contain line breaks");
        } else if breaks(rule.rule.trim()) && message.is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            self.faults.required(&place.field("message"), detail);
        }
        if !rule.message_expression.is_empty() && rule.message_expression.trim().is_empty() {
            let detail = "messageExpression must be non-empty if specified";
            self.faults.required(&place.field("messageExpression"), detail);
        }
        if let Some(reason) = &rule.reason
            && !REASONS.contains(&&**reason)
        {
            self.faults.not_supported(&place.field("reason"), &Value::String(reason.to_string()), &REASONS);
        }
        if rule.field_path.is_empty() {
            return;
        }
        let field = place.field("fieldPath");
        if rule.field_path.trim().is_empty() {
            self.faults.invalid_text(&field, &rule.field_path, "fieldPath must be non-empty if specified");
        }
        if breaks(&rule.field_path) {
            self.faults.invalid_text(&field, &rule.field_path, "fieldPath must not contain line breaks");
        }
        if selectable::resolve(&rule.field_path, schema, true).is_err() {
            self.faults.invalid_text(&field, &rule.field_path, "fieldPath must be a valid path");
        }
    }

    fn cost(&mut self, compiled: &Compiled, place: &Place<'_>) {
        for (key, name, cost) in [
            ("rule", "estimated rule cost", compiled.cost),
            ("messageExpression", "estimated messageExpression cost", compiled.message_cost),
        ] {
            self.total = self.total.saturating_add(cost);
            if cost > RULE_COST_MAX {
                self.faults.forbidden(&place.field(key), over(name, cost, RULE_COST_MAX));
            }
        }
    }
}

fn over(name: &str, cost: u64, most: u64) -> String {
    let factor = cost as f64 / most as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{name} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}

/// Evaluates all rules on an object that is valid otherwise.
///
/// A rule that was never compiled is a violation: what is not evaluated is not let through.
pub(crate) fn evaluate(schema: &Schema, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut walk = Walk { faults: Faults::default(), budget: Some(OBJECT_COST_MAX) };
    walk.value(schema, object, Former { paired: old, kept: false }, &Place::ROOT);
    walk.faults.into_causes()
}

/// What a value was before.
#[derive(Clone, Copy)]
struct Former<'a> {
    /// The old value, when old and new can be paired.
    paired: Option<&'a Value>,
    /// Whether something around the value is as it was.
    kept: bool,
}

struct Walk {
    faults: Faults,
    /// What is left; `None` once too much was asked for.
    budget: Option<u64>,
}

impl Walk {
    fn value(&mut self, schema: &Schema, value: &Value, former: Former<'_>, place: &Place<'_>) {
        if value.is_null() || self.budget.is_none() {
            return;
        }
        let former = Former { kept: former.kept || former.paired == Some(value), ..former };
        for rule in &schema.extensions.rules {
            if self.budget.is_none() {
                return;
            }
            self.rule(rule, schema, value, former, place);
        }
        match value {
            Value::Object(map) => {
                for (key, below) in map {
                    let former = Former { paired: former.paired.and_then(|old| old.get(key)), ..former };
                    match (schema.properties.get(key), &schema.additional) {
                        (Some(child), _) => self.value(child, below, former, &place.field(key)),
                        (None, Additional::Schema(child)) => self.value(child, below, former, &place.key(key)),
                        _ => {}
                    }
                }
            }
            Value::Array(items) => {
                let Some(child) = schema.items.as_deref().filter(|child| child.has_rules()) else { return };
                let olds = schema.elements(former.paired);
                for (at, item) in items.iter().enumerate() {
                    let former = Former { paired: olds.former(item), ..former };
                    self.value(child, item, former, &place.index(at));
                }
            }
            _ => {}
        }
    }

    fn rule(&mut self, rule: &Rule, schema: &Schema, value: &Value, former: Former<'_>, place: &Place<'_>) {
        let Some(budget) = self.budget else { return };
        let Some(compiled) = &rule.program else {
            return self.faults.push(faults::internal(&place.to_string(), "a rule of the schema was not compiled"));
        };
        let optional = rule.optional_old_self == Some(true);
        if compiled.uses_old_self && former.paired.is_none() && !optional {
            return;
        }
        let scope = Scope { value, old: former.paired, old_is_optional: optional, schema, budget };
        let outcome = compiled.program.evaluate(&scope);
        let left = budget.checked_sub(outcome.cost);
        let (true, Some(left)) = (outcome.verdict != Verdict::OutOfBudget, left) else {
            self.budget = None;
            let detail = "validation failed due to running out of cost budget, no further validation rules will be run";
            return self.faults.push(violation(&place.to_string(), schema, value, detail, None));
        };
        self.budget = Some(left);
        // What did not change is not held against a rule that only looks at what is.
        let forgiven = former.kept && !compiled.uses_old_self;
        match outcome.verdict {
            Verdict::Holds | Verdict::OutOfBudget => {}
            Verdict::Violated(_) if forgiven => {}
            Verdict::Violated(message) => {
                let mut path = place.to_string();
                if let Ok(found) = selectable::resolve(&rule.field_path, schema, true)
                    && !rule.field_path.is_empty()
                {
                    let dot = if path.is_empty() { "" } else { "." };
                    path = format!("{path}{dot}{}", found.path);
                }
                let detail = message.unwrap_or_else(|| match &*rule.message {
                    "" => format!("failed rule: {}", rule.shown()),
                    _ => rule.shown().to_owned(),
                });
                self.faults.push(violation(&path, schema, value, &detail, rule.reason.as_deref()));
            }
            Verdict::Failed(reason) => {
                let detail = format!("{reason} evaluating rule: {}", rule.shown());
                self.faults.push(violation(&place.to_string(), schema, value, &detail, None));
            }
        }
    }
}

fn violation(path: &str, schema: &Schema, value: &Value, detail: &str, reason: Option<&str>) -> Cause {
    match reason {
        Some("FieldValueForbidden") => objects::validation::forbidden(path, detail),
        Some("FieldValueRequired") => objects::validation::required(path, detail),
        Some("FieldValueDuplicate") => faults::duplicate(path, value),
        // Upstream does not print objects and lists here.
        _ if matches!(schema.ty, Some(Type::Object | Type::Array)) => Cause {
            reason: "FieldValueInvalid".into(),
            message: format!("Invalid value: {detail}"),
            field: path.into(),
        },
        _ => objects::validation::invalid(path, value, detail),
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
