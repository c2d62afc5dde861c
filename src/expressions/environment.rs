//! What is declared, what was compiled, and what it is evaluated with.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use crate::ast::Expr;
use crate::checker::{self, Checked};
use crate::cost::{self, Budget};
use crate::error::Error;
use crate::evaluate;
use crate::parser;
use crate::types::{Shape, Type};
use crate::value::Value;

/// The variables that expressions of one place may mention.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, Shape>,
    mutation: bool,
}

impl Environment {
    /// Declares `name` (which may have dots, as `authorizer.requestResource`), in place of what it was.
    #[must_use]
    pub fn with(mut self, name: &str, shape: impl Into<Shape>) -> Self {
        self.variables.insert(name.to_owned(), shape.into());
        self
    }

    /// Allows `Object{...}` and `JSONPatch{...}`, as mutating policies may write them.
    #[must_use]
    pub fn with_mutation(mut self) -> Self {
        self.mutation = true;
        self
    }

    /// Parses and checks `source`.
    ///
    /// # Errors
    /// [`Error::Compile`] with all faults, shown as upstream shows them.
    pub fn compile(&self, source: &str) -> Result<Program, Error> {
        let (tree, nodes) = parser::parse(source)?;
        let checked = checker::check(source, &tree, nodes, &self.variables, self.mutation)?;
        let estimate = cost::estimate(&tree, &checked);
        Ok(Program { tree, checked, estimate })
    }
}

/// An expression that was compiled: checked once, evaluated often, shared freely.
#[derive(Debug)]
pub struct Program {
    tree: Expr,
    checked: Checked,
    estimate: u64,
}

impl Program {
    pub(crate) fn tree(&self) -> &Expr {
        &self.tree
    }

    pub(crate) fn checked(&self) -> &Checked {
        &self.checked
    }

    /// The type of the result.
    pub fn result(&self) -> &Shape {
        &self.checked.shapes[self.tree.id]
    }

    /// Whether the result is one of `types`, or dynamic where `dynamic` results are taken (admission policies take them, rules
    /// of CRDs do not).
    ///
    /// # Errors
    /// [`Error::Result`] otherwise.
    pub fn require(&self, types: &[Type], dynamic: bool) -> Result<(), Error> {
        let found = &self.result().ty;
        if types.contains(found) || dynamic && *found == Type::Dyn {
            return Ok(());
        }
        // Here upstream calls null by the name of its type, unlike in messages of the type check.
        let name = |ty: &Type| if *ty == Type::Null { "null_type".to_owned() } else { ty.to_string() };
        let names: Vec<String> = types.iter().map(name).collect();
        let expected = if let [one] = names.as_slice() { one.clone() } else { format!("one of [{}]", names.join(" ")) };
        Err(Error::Result { expected, found: found.to_string() })
    }

    /// The variables of the environment that the expression mentions: a rule with `oldSelf` is a transition rule.
    pub fn uses(&self) -> &BTreeSet<String> {
        &self.checked.uses
    }

    /// The most that one evaluation can cost, given the bounds of the schema; `u64::MAX` when it is unbounded. To be
    /// multiplied by how often the rule is evaluated, and held against [`ESTIMATE_LIMIT`](crate::ESTIMATE_LIMIT).
    pub fn estimate(&self) -> u64 {
        self.estimate
    }

    /// Evaluates with `bindings`; what that costs is taken out of `budget`, also when the result is an error.
    ///
    /// # Errors
    /// [`Error::Evaluation`] for an error value, [`Error::CostExceeded`] when this evaluation was too dear, and
    /// [`Error::BudgetExhausted`] when all together were: then the caller stops.
    pub fn evaluate<'a>(&self, bindings: &Bindings<'a>, budget: &mut Budget) -> Result<Value<'a>, Error> {
        let (result, spent) = evaluate::run(self, bindings, budget.per_call(), 0);
        budget.spend(spent.saturating_add(bindings.spent.take()))?;
        result
    }

    /// [`Program::evaluate`], for an expression that [`require`](Program::require)s a truth value.
    ///
    /// # Errors
    /// As [`Program::evaluate`], and [`Error::Evaluation`] when a dynamic result turns out to be something else.
    pub fn holds(&self, bindings: &Bindings<'_>, budget: &mut Budget) -> Result<bool, Error> {
        match self.evaluate(bindings, budget)? {
            Value::Bool(truth) => Ok(truth),
            other => Err(format!("unexpected evaluation result type: {}", other.type_name()).into()),
        }
    }
}

/// The values of variables, for any number of evaluations.
#[derive(Debug, Default)]
pub struct Bindings<'a> {
    values: BTreeMap<String, Value<'a>>,
    composed: BTreeMap<&'a str, &'a Program>,
    /// Composed variables that were evaluated, each at most once.
    cache: RefCell<BTreeMap<String, Result<Value<'a>, Error>>>,
    /// What evaluating composed variables has cost since it was last taken out of a budget.
    spent: Cell<u64>,
}

impl<'a> Bindings<'a> {
    /// Binds `name` to `value`.
    pub fn bind(&mut self, name: &str, value: Value<'a>) {
        self.values.insert(name.to_owned(), value);
    }

    /// Binds `variables` to an object whose fields are `programs`, evaluated when first asked for. They have to be compiled in
    /// order, each with only those before it declared: so there are no circles.
    pub fn compose(&mut self, programs: impl IntoIterator<Item = (&'a str, &'a Program)>) {
        self.composed = programs.into_iter().collect();
        self.values.insert("variables".to_owned(), Value::Variables);
    }

    pub(crate) fn variable(&self, name: &str) -> Result<Value<'a>, Error> {
        self.values.get(name).cloned().ok_or_else(|| format!("no such attribute(s): {name}").into())
    }

    pub(crate) fn composes(&self, name: &str) -> bool {
        self.composed.contains_key(name)
    }

    /// The composed variable `name`, evaluated within `limit`, `nesting` deep.
    pub(crate) fn composed(&self, name: &str, limit: u64, nesting: usize) -> Result<Value<'a>, Error> {
        if let Some(known) = self.cache.borrow().get(name) {
            return known.clone();
        }
        let Some(program) = self.composed.get(name) else { return Err(format!("no such key: {name}").into()) };
        let (result, spent) = evaluate::run(program, self, limit, nesting);
        self.spent.set(self.spent.get().saturating_add(spent));
        let result = result.map_err(|error| match error {
            Error::Evaluation(message) => {
                Error::Evaluation(format!("composited variable \"{name}\" fails to evaluate: {message}"))
            }
            other => other,
        });
        self.cache.borrow_mut().insert(name.to_owned(), result.clone());
        result
    }
}
