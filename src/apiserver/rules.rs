//! Rules of custom resources in CEL: what `schemas` asks for, answered by `expressions`.
//!
//! Follows upstream's `pkg/apiserver/schema/cel/compilation.go`.

use std::sync::Arc;

use expressions::{Bindings, Budget, Environment, Error, PER_CALL_LIMIT, Shape, Type, Value, shape_of_schema};
use schemas::Schema;
use schemas::rules::{Compiled, Fault, Outcome, Program, Rule, Scope, Site, Verdict};

/// Longest message that an expression may make, in characters; upstream cuts there.
const MESSAGE_CHARS_MAX: usize = 5 * 1024;

/// The rules of the API server.
pub const CEL: &dyn schemas::Rules = &Cel;

struct Cel;

impl schemas::Rules for Cel {
    fn compile(&self, site: &Site<'_>) -> Vec<Result<Compiled, Fault>> {
        let embedded = site.schema.extensions.embedded_resource;
        let shape = shape_of_schema(&site.schema.to_value(), site.root || embedded, "self");
        let rules = site.schema.extensions.rules.iter();
        let Some(shape) = shape else {
            // As upstream: what no expression can see cannot have rules.
            let detail = "rules cannot be set on values of unknown type".to_owned();
            return rules.map(|_| Err(Fault { in_message: false, detail: detail.clone() })).collect();
        };
        rules.map(|rule| compile(rule, &shape, site.cardinality)).collect()
    }

    fn cardinality(&self, schema: &Schema, around: u64) -> u64 {
        expressions::cardinality(&schema.to_value(), around)
    }
}

fn compile(rule: &Rule, shape: &Shape, cardinality: u64) -> Result<Compiled, Fault> {
    let optional = rule.optional_old_self == Some(true);
    let old = if optional { Type::optional(shape.clone()).into() } else { shape.clone() };
    let environment = Environment::default().with("self", shape.clone()).with("oldSelf", old);
    let fault = |in_message: bool| move |error: Error| Fault { in_message, detail: error.to_string() };
    let program = environment.compile(&rule.rule).map_err(fault(false))?;
    program.require(&[Type::Bool], false).map_err(fault(false))?;
    let message = match &*rule.message_expression {
        "" => None,
        text => {
            let program = environment.compile(text).map_err(fault(true))?;
            program.require(&[Type::String], false).map_err(fault(true))?;
            Some(program)
        }
    };
    let times = |cost: u64| cost.saturating_mul(cardinality);
    let uses = |program: &expressions::Program| program.uses().contains("oldSelf");
    Ok(Compiled {
        uses_old_self: uses(&program) || message.as_ref().is_some_and(uses),
        cost: times(program.estimate()),
        message_cost: message.as_ref().map_or(0, |program| times(program.estimate())),
        program: Arc::new(Ready { rule: program, message, ty: shape.ty.clone() }),
    })
}

/// A rule and its message expression, with the type of the value that they are evaluated on.
#[derive(Debug)]
struct Ready {
    rule: expressions::Program,
    message: Option<expressions::Program>,
    ty: Type,
}

impl Program for Ready {
    fn evaluate(&self, scope: &Scope<'_>) -> Outcome {
        let mut budget = Budget::new(scope.budget, PER_CALL_LIMIT);
        let verdict = self.verdict(scope, &mut budget).unwrap_or_else(|error| match error {
            Error::BudgetExhausted => Verdict::OutOfBudget,
            other => Verdict::Failed(other.to_string()),
        });
        Outcome { cost: scope.budget.saturating_sub(budget.remaining()), verdict }
    }
}

impl Ready {
    fn verdict(&self, scope: &Scope<'_>, budget: &mut Budget) -> Result<Verdict, Error> {
        let mut bindings = Bindings::default();
        bindings.bind("self", Value::from_json(scope.value, &self.ty)?);
        let old = scope.old.map(|old| Value::from_json(old, &self.ty)).transpose()?;
        match (old, scope.old_is_optional) {
            (old, true) => bindings.bind("oldSelf", Value::Optional(old.map(Arc::new))),
            (Some(old), false) => bindings.bind("oldSelf", old),
            (None, false) => {}
        }
        if self.rule.holds(&bindings, budget)? {
            return Ok(Verdict::Holds);
        }
        let Some(message) = &self.message else { return Ok(Verdict::Violated(None)) };
        let made = match message.evaluate(&bindings, budget) {
            Err(Error::BudgetExhausted) => return Err(Error::BudgetExhausted),
            // What cannot be said is left to the rule's own message.
            Err(_) => None,
            Ok(Value::String(text)) => Some(text.trim().chars().take(MESSAGE_CHARS_MAX).collect::<String>()),
            Ok(_) => None,
        };
        Ok(Verdict::Violated(made.filter(|text| !text.is_empty() && !text.contains(['\n', '\r']))))
    }
}
