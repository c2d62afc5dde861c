//! The evaluator: walks a checked tree over values, and counts what it costs.
//!
//! An error value travels as `Err(Error::Evaluation)` until something absorbs it: `&&`, `||`, `all`, `exists`. The other
//! errors end the evaluation.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use regex::Regex;

use crate::ast::{Expr, Fold, Kind, What};
use crate::checker::Resolved;
use crate::cost::{self, LIST_CREATE, MAP_CREATE, Meter, STRUCT_CREATE};
use crate::environment::{Bindings, Program};
use crate::error::Error;
use crate::library;
use crate::value::{Key, List, Map, Value};

/// How deep one evaluation may nest, composed variables included: bounds the stack.
const NESTING_MAX: usize = 400;
/// What one element of a list counts as, in bytes.
const ELEMENT: u64 = 48;

type Evaluated<'a> = Result<Value<'a>, Error>;

pub(crate) struct Evaluator<'p, 'a> {
    program: &'p Program,
    bindings: &'p Bindings<'a>,
    locals: Vec<(&'p str, Value<'a>)>,
    pub meter: Meter,
    /// Regular expressions that came out of values.
    pub patterns: HashMap<String, Regex>,
    nesting: usize,
}

/// Evaluates `program`, `nesting` deep already; the cost counts also when the result is an error.
pub(crate) fn run<'a>(program: &Program, bindings: &Bindings<'a>, limit: u64, nesting: usize) -> (Evaluated<'a>, u64) {
    let mut evaluator = Evaluator {
        program,
        bindings,
        locals: Vec::new(),
        meter: Meter::new(limit),
        patterns: HashMap::new(),
        nesting,
    };
    let result = evaluator.eval(program.tree());
    (result, evaluator.meter.spent)
}

impl<'p, 'a> Evaluator<'p, 'a> {
    /// The literal pattern `text`, if the check compiled it.
    pub fn literal_pattern(&self, text: &str) -> Option<&'p Regex> {
        self.program.checked().regexes.get(text)
    }

    fn eval(&mut self, expr: &'p Expr) -> Evaluated<'a> {
        if self.nesting >= NESTING_MAX {
            return Err("expression nests too deeply".into());
        }
        self.nesting += 1;
        let result = match &expr.kind {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::Ident(name) => self.ident(expr, name),
            Kind::Select { operand, field, optional } => self.select(expr, operand, field, *optional),
            Kind::Has { operand, field } => self.has(operand, field),
            Kind::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct { name, fields } => self.structure(name, fields),
            Kind::Fold(fold) => self.fold(fold),
            Kind::OptMap { target, variable, body, flat } => self.opt_map(target, variable, body, *flat),
        };
        self.nesting -= 1;
        result
    }

    fn ident(&mut self, expr: &Expr, name: &str) -> Evaluated<'a> {
        self.meter.charge(1)?;
        match self.program.checked().resolved.get(&expr.id) {
            Some(Resolved::Type(name)) => Ok(Value::Type((*name).to_owned().into())),
            Some(Resolved::Variable(name)) => self.bindings.variable(name),
            _ => {
                let local = self.locals.iter().rev().find(|(local, _)| *local == name);
                local.map(|(_, value)| value.clone()).ok_or_else(|| format!("no such attribute(s): {name}").into())
            }
        }
    }

    fn select(&mut self, expr: &'p Expr, operand: &'p Expr, field: &str, optional: bool) -> Evaluated<'a> {
        if self.program.checked().resolved.contains_key(&expr.id) {
            return self.ident(expr, field);
        }
        let operand = self.eval(operand)?;
        self.meter.charge(1)?;
        let (operand, optional) = match operand {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => ((*inner).clone(), true),
            plain => (plain, optional),
        };
        let found = self.member(&operand, field)?;
        match (found, optional) {
            (Some(value), true) => Ok(Value::some(value)),
            (None, true) => Ok(Value::Optional(None)),
            (Some(value), false) => Ok(value),
            (None, false) => Err(format!("no such key: {field}").into()),
        }
    }

    fn member(&mut self, operand: &Value<'a>, field: &str) -> Result<Option<Value<'a>>, Error> {
        match operand {
            Value::Variables => self.bindings.composed(field, self.meter.limit(), self.nesting).map(Some),
            Value::Map(_) | Value::Object(..) | Value::Struct(_) => Ok(operand.member(field).transpose()?),
            Value::Null => Err(format!("no such key: {field}").into()),
            _ => Err("no such overload".into()),
        }
    }

    fn has(&mut self, operand: &'p Expr, field: &str) -> Evaluated<'a> {
        // The test itself is free, as Kubernetes configures it, and so is the variable at the root of what is tested.
        let value = self.eval(operand)?;
        if is_path(operand) {
            self.meter.refund(1);
        }
        Ok(Value::Bool(match value {
            Value::Optional(None) | Value::Null => false,
            Value::Optional(Some(inner)) => self.present(&inner, field)?,
            plain => self.present(&plain, field)?,
        }))
    }

    fn present(&self, operand: &Value<'a>, field: &str) -> Result<bool, Error> {
        match operand {
            Value::Variables => Ok(self.bindings.composes(field)),
            // A field that is null is not there, unless it is a value of a map.
            Value::Object(..) => Ok(!matches!(operand.member(field).transpose()?, None | Some(Value::Null))),
            Value::Map(_) | Value::Struct(_) => Ok(operand.member(field).is_some()),
            _ => Err("no such overload".into()),
        }
    }

    fn call(&mut self, expr: &Expr, function: &str, target: Option<&'p Expr>, args: &'p [Expr]) -> Evaluated<'a> {
        match (function, args) {
            ("_&&_", [left, right]) => return self.connect(left, right, false),
            ("_||_", [left, right]) => return self.connect(left, right, true),
            ("_?_:_", [condition, yes, no]) => {
                return match self.eval(condition)? {
                    Value::Bool(true) => self.eval(yes),
                    Value::Bool(false) => self.eval(no),
                    _ => Err("no such overload".into()),
                };
            }
            ("orValue" | "or", [other]) => {
                let target = target.map(|target| self.eval(target)).transpose()?;
                self.meter.charge(1)?;
                return match (target, function) {
                    (Some(Value::Optional(None)), _) => self.eval(other),
                    (Some(found @ Value::Optional(_)), "or") => Ok(found),
                    (Some(Value::Optional(Some(inner))), _) => Ok((*inner).clone()),
                    _ => Err("no such overload".into()),
                };
            }
            _ => {}
        }
        let (function, target) = match self.program.checked().resolved.get(&expr.id) {
            Some(Resolved::Function(name)) => (name.as_str(), None),
            _ => (function, target),
        };
        let mut values = Vec::with_capacity(args.len() + 1);
        for part in target.into_iter().chain(args) {
            values.push(self.eval(part)?);
        }
        // A variable that is an index is part of the path: upstream counts the step, not the variable.
        if let ("_[_]", [container, Expr { kind: Kind::Ident(_), .. }]) = (function, args)
            && is_path(container)
        {
            self.meter.refund(1);
        }
        for value in &values {
            if let Value::String(text) = value {
                // Functions of constant cost may still read all of a text.
                self.meter.work(text.len() as u64 / 16)?;
            }
        }
        // `join` is as dear as what it makes; all others are paid before they are done.
        if function == "join" {
            let result = library::call(self, function, &values)?;
            self.meter.charge(cost::call(function, &values, &result))?;
            return Ok(result);
        }
        self.meter.charge(cost::call(function, &values, &Value::Null))?;
        library::call(self, function, &values)
    }

    /// `&&` and `||`: one side that decides absorbs an error of the other.
    fn connect(&mut self, left: &'p Expr, right: &'p Expr, decisive: bool) -> Evaluated<'a> {
        let left = truth(self.eval(left))?;
        if left == Ok(decisive) {
            return Ok(Value::Bool(decisive));
        }
        let right = truth(self.eval(right))?;
        if right == Ok(decisive) {
            return Ok(Value::Bool(decisive));
        }
        match (left, right) {
            (Err(message), _) | (_, Err(message)) => Err(Error::Evaluation(message)),
            _ => Ok(Value::Bool(!decisive)),
        }
    }

    fn list(&mut self, items: &'p [(Expr, bool)]) -> Evaluated<'a> {
        let mut values = Vec::with_capacity(items.len());
        self.meter.work(items.len() as u64 * ELEMENT)?;
        for (item, optional) in items {
            let value = self.eval(item)?;
            values.extend(part(value, *optional)?);
        }
        self.meter.charge(LIST_CREATE)?;
        Ok(Value::List(List::Made(Arc::new(values), None)))
    }

    fn map(&mut self, entries: &'p [(Expr, Expr, bool)]) -> Evaluated<'a> {
        let mut map = BTreeMap::new();
        self.meter.work(entries.len() as u64 * 2 * ELEMENT)?;
        for (key, value, optional) in entries {
            let key = key_of(&self.eval(key)?)?;
            let value = self.eval(value)?;
            if let Some(value) = part(value, *optional)? {
                insert(&mut map, key, value)?;
            }
        }
        self.meter.charge(MAP_CREATE)?;
        Ok(Value::Map(Map::Made(Arc::new(map))))
    }

    fn structure(&mut self, name: &str, fields: &'p [(String, Expr, bool)]) -> Evaluated<'a> {
        let mut made = BTreeMap::new();
        for (field, value, optional) in fields {
            let value = self.eval(value)?;
            if let Some(value) = part(value, *optional)? {
                made.insert(field.clone(), value);
            }
        }
        self.meter.charge(STRUCT_CREATE)?;
        Ok(Value::Struct(Arc::new((name.to_owned(), made))))
    }

    fn opt_map(&mut self, target: &'p Expr, variable: &'p str, body: &'p Expr, flat: bool) -> Evaluated<'a> {
        let target = self.eval(target)?;
        self.meter.charge(1)?;
        let inner = match target {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => (*inner).clone(),
            _ => return Err("no such overload".into()),
        };
        self.meter.charge(if flat { 1 } else { 2 })?;
        self.locals.push((variable, inner));
        let result = self.eval(body);
        self.locals.pop();
        match (result?, flat) {
            (result, false) => Ok(Value::some(result)),
            (result @ Value::Optional(_), true) => Ok(result),
            _ => Err("no such overload".into()),
        }
    }

    fn fold(&mut self, fold: &'p Fold) -> Evaluated<'a> {
        let range = self.eval(&fold.range)?;
        self.meter.charge(fold.what.base())?;
        let mut folded = Folded::start(fold.what);
        match &range {
            Value::List(list) => {
                for index in 0..list.len() {
                    let Some(item) = list.get(index) else { break };
                    let key = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
                    if self.round(fold, &mut folded, key, item, true)? {
                        break;
                    }
                }
            }
            Value::Map(_) | Value::Object(..) | Value::Struct(_) => {
                self.meter.work(range.size().saturating_mul(2 * ELEMENT))?;
                for (key, value) in pairs(&range) {
                    if self.round(fold, &mut folded, key.value(), value, false)? {
                        break;
                    }
                }
            }
            _ => return Err("no such overload".into()),
        }
        folded.end()
    }

    /// One element; whether it decided the result.
    fn round(
        &mut self,
        fold: &'p Fold,
        folded: &mut Folded<'a>,
        key: Value<'a>,
        item: Result<Value<'a>, String>,
        of_list: bool,
    ) -> Result<bool, Error> {
        let depth = self.locals.len();
        let only = match fold.variables.as_slice() {
            [one] => {
                let value = if of_list { item? } else { key.clone() };
                self.locals.push((one, value.clone()));
                value
            }
            [first, second] => {
                self.locals.push((first, key.clone()));
                self.locals.push((second, item?));
                Value::Null
            }
            _ => Value::Null,
        };
        let decided = self.step(fold, folded, key, only);
        self.locals.truncate(depth);
        decided
    }

    fn step(
        &mut self,
        fold: &'p Fold,
        folded: &mut Folded<'a>,
        key: Value<'a>,
        only: Value<'a>,
    ) -> Result<bool, Error> {
        let overhead = fold.what.overhead();
        if let Some(filter) = &fold.filter {
            match self.eval(filter)? {
                Value::Bool(true) => {}
                Value::Bool(false) => {
                    self.meter.charge(1)?;
                    return Ok(false);
                }
                _ => return Err("no such overload".into()),
            }
        }
        let value = match &fold.step {
            Some(step) => self.eval(step),
            None => {
                self.meter.charge(1)?;
                Ok(only)
            }
        };
        self.meter.charge(overhead)?;
        match folded {
            Folded::Truth { decisive, error } => match truth(value)? {
                Ok(found) if found == *decisive => {
                    *folded = Folded::Decided(found);
                    return Ok(true);
                }
                Ok(_) => {}
                Err(message) => *error = error.take().or(Some(message)),
            },
            Folded::Decided(_) => return Ok(true),
            Folded::Count(count) => match value? {
                Value::Bool(found) => *count += usize::from(found),
                _ => return Err("no such overload".into()),
            },
            Folded::List(items) => {
                self.meter.work(ELEMENT)?;
                items.push(value?);
            }
            Folded::Map(map) => {
                self.meter.work(2 * ELEMENT)?;
                insert(map, key_of(&key)?, value?)?;
            }
            Folded::Entries(map) => {
                let value = value?;
                let Value::Map(_) = &value else { return Err("no such overload".into()) };
                for (key, value) in pairs(&value) {
                    self.meter.work(2 * ELEMENT)?;
                    insert(map, key, value?)?;
                }
            }
        }
        Ok(false)
    }
}

/// Whether an expression is a variable and steps from it.
fn is_path(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Ident(_) => true,
        Kind::Select { operand, .. } => is_path(operand),
        Kind::Call { function, args, .. } if function == "_[_]" => args.first().is_some_and(is_path),
        _ => false,
    }
}

/// What a macro has put together so far.
enum Folded<'a> {
    /// `all` and `exists`: not decided yet, and the first error met.
    Truth {
        decisive: bool,
        error: Option<String>,
    },
    Decided(bool),
    Count(usize),
    List(Vec<Value<'a>>),
    Map(BTreeMap<Key<'a>, Value<'a>>),
    Entries(BTreeMap<Key<'a>, Value<'a>>),
}

impl<'a> Folded<'a> {
    fn start(what: What) -> Self {
        match what {
            What::All => Self::Truth { decisive: false, error: None },
            What::Exists => Self::Truth { decisive: true, error: None },
            What::ExistsOne => Self::Count(0),
            What::List => Self::List(Vec::new()),
            What::Map => Self::Map(BTreeMap::new()),
            What::MapEntry => Self::Entries(BTreeMap::new()),
        }
    }

    fn end(self) -> Evaluated<'a> {
        Ok(match self {
            Self::Truth { error: Some(message), .. } => return Err(Error::Evaluation(message)),
            Self::Truth { decisive, error: None } => Value::Bool(!decisive),
            Self::Decided(truth) => Value::Bool(truth),
            Self::Count(count) => Value::Bool(count == 1),
            Self::List(items) => Value::List(List::Made(Arc::new(items), None)),
            Self::Map(map) | Self::Entries(map) => Value::Map(Map::Made(Arc::new(map))),
        })
    }
}

/// A truth value, or the message of an error that may be absorbed.
fn truth(value: Evaluated<'_>) -> Result<Result<bool, String>, Error> {
    match value {
        Ok(Value::Bool(truth)) => Ok(Ok(truth)),
        Ok(_) => Ok(Err("no such overload".into())),
        Err(error) if error.ends() => Err(error),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// The value of an item that may be optional: `None` leaves it out.
fn part(value: Value<'_>, optional: bool) -> Result<Option<Value<'_>>, Error> {
    match (value, optional) {
        (value, false) => Ok(Some(value)),
        (Value::Optional(inner), true) => Ok(inner.map(|inner| (*inner).clone())),
        _ => Err("cannot initialize optional entry from non-optional value".into()),
    }
}

fn key_of<'a>(value: &Value<'a>) -> Result<Key<'a>, Error> {
    match value {
        Value::Double(_) => Err("unsupported key type: double".into()),
        value => Key::of(value).ok_or_else(|| format!("unsupported key type: {}", value.type_name()).into()),
    }
}

fn insert<'a>(map: &mut BTreeMap<Key<'a>, Value<'a>>, key: Key<'a>, value: Value<'a>) -> Result<(), Error> {
    if map.contains_key(&key) {
        return Err("insert failed: key already exists".into());
    }
    map.insert(key, value);
    Ok(())
}

/// Keys and values of a map, in order.
fn pairs<'a>(value: &Value<'a>) -> Vec<(Key<'a>, Result<Value<'a>, String>)> {
    match value {
        Value::Map(map) => map.keys().into_iter().filter_map(|key| map.get(&key).map(|value| (key, value))).collect(),
        Value::Object(map, object) => object
            .fields
            .iter()
            .filter_map(|(name, field)| {
                let json = map.get(&field.name)?;
                Some((Key::String(name.clone().into()), Value::from_json(json, &field.shape.ty)))
            })
            .collect(),
        _ => Vec::new(),
    }
}
