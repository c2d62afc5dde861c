//! The type check: every name is declared, every call has an overload, and every node gets a type and a bound.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use regex::Regex;

use crate::ast::{Expr, Fold, Kind, What};
use crate::error::{Error, Issue};
use crate::library::{regexes, time};
use crate::signatures::{self, Overload};
use crate::types::{Bindings, ListType, ObjectType, Order, Shape, Type};
use crate::value::Value;

/// What the check of a tree found out.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// By node.
    pub shapes: Vec<Shape>,
    /// What a name, or the name of a call, stands for where the tree alone does not tell; by node.
    pub resolved: HashMap<usize, Resolved>,
    /// Variables of the environment that the expression mentions.
    pub uses: BTreeSet<String>,
    /// The regular expressions that stand as literals, compiled once.
    pub regexes: HashMap<String, Regex>,
}

#[derive(Debug, Clone)]
pub(crate) enum Resolved {
    /// A variable of the environment whose name is spelled with dots.
    Variable(String),
    /// A function without target whose name is spelled with dots.
    Function(String),
    /// A type as a value.
    Type(&'static str),
}

/// Types that expressions can name.
const TYPE_NAMES: [(&str, Type); 9] = [
    ("bool", Type::Bool),
    ("bytes", Type::Bytes),
    ("double", Type::Double),
    ("google.protobuf.Duration", Type::Duration),
    ("google.protobuf.Timestamp", Type::Timestamp),
    ("int", Type::Int),
    ("null_type", Type::Null),
    ("string", Type::String),
    ("uint", Type::Uint),
];

/// Faults after which no more are looked for.
const ISSUES_MAX: usize = 100;

/// Checks `tree`, which has `nodes` nodes, against `variables`.
///
/// # Errors
/// [`Error::Compile`] with every fault found, in the order of the text.
pub(crate) fn check(
    source: &str,
    tree: &Expr,
    nodes: usize,
    variables: &BTreeMap<String, Shape>,
    mutation: bool,
) -> Result<Checked, Error> {
    let checked = Checked { shapes: vec![Type::Error.into(); nodes], ..Checked::default() };
    let mut checker = Checker {
        source,
        variables,
        mutation,
        locals: Vec::new(),
        bindings: Bindings::default(),
        checked,
        issues: Vec::new(),
    };
    checker.check(tree);
    if !checker.issues.is_empty() {
        checker.issues.sort_by_key(|issue| (issue.line, issue.column));
        return Err(Error::Compile(checker.issues));
    }
    for shape in &mut checker.checked.shapes {
        *shape = checker.bindings.substitute(shape, true);
    }
    Ok(checker.checked)
}

struct Checker<'c> {
    source: &'c str,
    variables: &'c BTreeMap<String, Shape>,
    mutation: bool,
    locals: Vec<(String, Shape)>,
    bindings: Bindings,
    checked: Checked,
    issues: Vec<Issue>,
}

impl Checker<'_> {
    fn fault(&mut self, at: usize, message: impl Into<String>) -> Shape {
        if self.issues.len() < ISSUES_MAX {
            self.issues.push(Issue::new(self.source, at, message));
        }
        Type::Error.into()
    }

    fn shown(&self, shape: &Shape) -> String {
        self.bindings.substitute(shape, true).ty.to_string()
    }

    fn check(&mut self, expr: &Expr) -> Shape {
        let shape = match &expr.kind {
            Kind::Literal(value) => Shape::bounded(literal_type(value), value.size()),
            Kind::Ident(name) => self.ident(expr, name),
            Kind::Select { operand, field, optional } => self.select(expr, operand, field, *optional),
            Kind::Has { operand, field } => {
                let operand = self.check(operand);
                self.field(expr.at, &operand, field);
                Type::Bool.into()
            }
            Kind::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct { name, fields } => self.structure(expr, name, fields),
            Kind::Fold(fold) => self.fold(expr, fold),
            Kind::OptMap { target, variable, body, flat } => self.opt_map(target, variable, body, *flat),
        };
        self.checked.shapes[expr.id] = shape.clone();
        shape
    }

    fn local(&self, name: &str) -> Option<Shape> {
        self.locals.iter().rev().find(|(local, _)| local == name).map(|(_, shape)| shape.clone())
    }

    fn ident(&mut self, expr: &Expr, written: &str) -> Shape {
        let name = written.trim_start_matches('.');
        if name == written
            && let Some(shape) = self.local(name)
        {
            return shape;
        }
        if let Some(shape) = self.variables.get(name) {
            self.checked.uses.insert(name.to_owned());
            self.checked.resolved.insert(expr.id, Resolved::Variable(name.to_owned()));
            return shape.clone();
        }
        if let Some(shape) = self.type_name(expr, name) {
            return shape;
        }
        self.fault(expr.at, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn type_name(&mut self, expr: &Expr, name: &str) -> Option<Shape> {
        let (name, ty) = match name {
            "list" => ("list", Type::list(self.bindings.fresh())),
            "map" => ("map", Type::map(self.bindings.fresh(), self.bindings.fresh())),
            "type" => ("type", Type::Type(Arc::new(self.bindings.fresh()))),
            "optional_type" => ("optional_type", Type::optional(self.bindings.fresh())),
            _ => TYPE_NAMES.into_iter().find(|(known, _)| *known == name)?,
        };
        self.checked.resolved.insert(expr.id, Resolved::Type(name));
        Some(Type::Type(Arc::new(ty)).into())
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &str, optional: bool) -> Shape {
        if !optional && let Some(name) = expr.qualified() {
            let root = name.split('.').next().unwrap_or("");
            if self.local(root).is_none() {
                if let Some(shape) = self.variables.get(&name) {
                    self.checked.uses.insert(name.clone());
                    self.checked.resolved.insert(expr.id, Resolved::Variable(name));
                    return shape.clone();
                }
                if let Some(shape) = self.type_name(expr, &name) {
                    return shape;
                }
            }
        }
        let operand = self.check(operand);
        let (inside, was_optional) = self.unwrap_optional(&operand);
        let found = self.field(expr.at, &inside, field);
        if optional || was_optional { Type::optional(found).into() } else { found }
    }

    /// What an optional may hold, and whether it was one.
    fn unwrap_optional(&self, shape: &Shape) -> (Shape, bool) {
        let shape = self.bindings.resolve(shape);
        match &shape.ty {
            Type::Optional(inner) => (self.bindings.resolve(inner), true),
            _ => (shape, false),
        }
    }

    fn field(&mut self, at: usize, operand: &Shape, field: &str) -> Shape {
        let (operand, _) = self.unwrap_optional(operand);
        match &operand.ty {
            Type::Error => Type::Error.into(),
            Type::Dyn | Type::Variable(_) => Type::Dyn.into(),
            Type::Map(entry) => entry.1.clone(),
            Type::Object(object) => match object.fields.get(field) {
                Some(found) => found.shape.clone(),
                None => self.fault(at, format!("undefined field '{field}'")),
            },
            _ => {
                let shown = self.shown(&operand);
                self.fault(at, format!("type '{shown}' does not support field selection"))
            }
        }
    }

    fn call(&mut self, expr: &Expr, function: &str, target: Option<&Expr>, args: &[Expr]) -> Shape {
        // `sets.contains(a, b)` parses as a method of `sets`.
        let spelled = target.and_then(Expr::qualified).map(|target| format!("{target}.{function}"));
        if let Some(name) = spelled.filter(|name| !signatures::overloads(name).is_empty()) {
            let given: Vec<Shape> = args.iter().map(|arg| self.check(arg)).collect();
            let shape = self.resolve(expr, &name, &given, false);
            self.checked.resolved.insert(expr.id, Resolved::Function(name));
            return shape;
        }
        let mut given: Vec<Shape> = target.iter().map(|target| self.check(target)).collect();
        given.extend(args.iter().map(|arg| self.check(arg)));
        if signatures::overloads(function).is_empty() {
            return self.fault(expr.at, format!("undeclared reference to '{function}' (in container '')"));
        }
        self.check_literals(function, target, args);
        let shape = self.resolve(expr, function, &given, target.is_some());
        let max = result_max(function, &shape.ty, &given).or(shape.max);
        let ty = match shape.ty {
            // What a text is cut into is no longer than the text.
            Type::List(list) if matches!(function, "split" | "findAll") && list.item.ty == Type::String => {
                Type::list(Shape { ty: Type::String, max: given.first().and_then(|text| text.max) })
            }
            other => other,
        };
        Shape { ty, max }
    }

    /// Literals whose faults can be told now rather than when they are met.
    fn check_literals(&mut self, function: &str, target: Option<&Expr>, args: &[Expr]) {
        let position = usize::from(function == "matches" && target.is_none());
        let Some(arg) = args.get(position) else { return };
        let Kind::Literal(Value::String(text)) = &arg.kind else { return };
        let sound = match function {
            "matches" | "find" | "findAll" => match regexes::compile(text, regexes::LITERAL_SIZE_MAX) {
                Ok(regex) => {
                    self.checked.regexes.insert(text.to_string(), regex);
                    true
                }
                Err(_) => false,
            },
            "duration" => time::parse_duration(text).is_ok(),
            "timestamp" => time::parse_timestamp(text).is_ok(),
            "getFullYear" | "getMonth" | "getDayOfYear" | "getDayOfMonth" | "getDate" | "getDayOfWeek" | "getHours"
            | "getMinutes" | "getSeconds" | "getMilliseconds" => time::zone(text).is_ok(),
            _ => true,
        };
        if !sound {
            self.fault(arg.at, format!("invalid {function} argument"));
        }
    }

    fn resolve(&mut self, expr: &Expr, name: &str, given: &[Shape], member: bool) -> Shape {
        let mut chosen: Option<(&Overload, Shape)> = None;
        let mut several = false;
        for overload in signatures::overloads(name) {
            if overload.member != member || overload.args.len() != given.len() {
                continue;
            }
            let mark = self.bindings.mark();
            let result = apply(&mut self.bindings, overload, given);
            self.bindings.undo(mark);
            match (&chosen, result) {
                (None, Some(result)) => chosen = Some((overload, result)),
                (Some((_, first)), Some(result)) => several |= first.ty != result.ty,
                _ => {}
            }
        }
        match chosen {
            Some((overload, result)) => {
                let result = apply(&mut self.bindings, overload, given).unwrap_or(result);
                // Which of several it is shows only in the values.
                if several { Type::Dyn.into() } else { result }
            }
            None if given.iter().any(|shape| self.bindings.resolve(shape).ty == Type::Error) => Type::Error.into(),
            None => {
                let shown: Vec<String> = given.iter().map(|shape| self.shown(shape)).collect();
                let signature = match shown.split_first() {
                    Some((target, args)) if member => format!("{target}.({})", args.join(", ")),
                    _ => format!("({})", shown.join(", ")),
                };
                self.fault(expr.at, format!("found no matching overload for '{name}' applied to '{signature}'"))
            }
        }
    }

    /// The common type of the parts of a literal: `so_far` and then `next`, which stands at `at`.
    fn join(&mut self, at: usize, so_far: Option<Shape>, next: Shape) -> Shape {
        let Some(before) = so_far else { return next };
        if !self.bindings.assign(&before, &next) {
            let message = format!("expected type '{}' but found '{}'", self.shown(&before), self.shown(&next));
            return self.fault(at, message);
        }
        self.bindings.most_general(&before, &next)
    }

    fn list(&mut self, items: &[(Expr, bool)]) -> Shape {
        let mut joined = None;
        for (item, optional) in items {
            let shape = self.check(item);
            let shape = if *optional { self.optional_part(item, &shape) } else { shape };
            joined = Some(self.join(item.at, joined, shape));
        }
        let item = joined.unwrap_or_else(|| self.bindings.fresh().into());
        Shape::bounded(Type::List(Arc::new(ListType { item, order: Order::Atomic })), items.len() as u64)
    }

    fn optional_part(&mut self, expr: &Expr, shape: &Shape) -> Shape {
        match self.unwrap_optional(shape) {
            (inner, true) => inner,
            (Shape { ty: Type::Dyn | Type::Error, .. }, false) => Type::Dyn.into(),
            (other, false) => {
                let shown = self.shown(&other);
                self.fault(expr.at, format!("expected type 'optional_type({shown})' but found '{shown}'"))
            }
        }
    }

    fn map(&mut self, entries: &[(Expr, Expr, bool)]) -> Shape {
        let (mut keys, mut values) = (None, None);
        for (key, value, optional) in entries {
            let shape = self.check(key);
            if !matches!(
                self.bindings.resolve(&shape).ty,
                Type::Bool | Type::Int | Type::Uint | Type::String | Type::Dyn | Type::Error | Type::Variable(_)
            ) {
                let shown = self.shown(&shape);
                self.fault(key.at, format!("unsupported key type: {shown}"));
            }
            keys = Some(self.join(key.at, keys, shape));
            let shape = self.check(value);
            let shape = if *optional { self.optional_part(value, &shape) } else { shape };
            values = Some(self.join(value.at, values, shape));
        }
        let key = keys.unwrap_or_else(|| self.bindings.fresh().into());
        let value = values.unwrap_or_else(|| self.bindings.fresh().into());
        Shape::bounded(Type::map(key, value), entries.len() as u64)
    }

    /// `Object{...}` and `JSONPatch{...}`: what mutations are written as.
    fn structure(&mut self, expr: &Expr, name: &str, fields: &[(String, Expr, bool)]) -> Shape {
        let known = self.mutation && (name == "JSONPatch" || name == "Object" || name.starts_with("Object."));
        for (field, value, optional) in fields {
            let shape = self.check(value);
            let shape = if *optional { self.optional_part(value, &shape) } else { shape };
            if !known || name != "JSONPatch" {
                continue;
            }
            let wanted = match field.as_str() {
                "op" | "path" | "from" => Type::String,
                "value" => Type::Dyn,
                _ => {
                    self.fault(value.at, format!("undefined field '{field}'"));
                    continue;
                }
            };
            if !self.bindings.assign(&wanted.clone().into(), &shape) {
                let shown = self.shown(&shape);
                let message = format!("expected type of field '{field}' is '{wanted}' but provided type is '{shown}'");
                self.fault(value.at, message);
            }
        }
        if !known {
            return self.fault(expr.at, format!("undeclared reference to '{name}' (in container '')"));
        }
        Type::Object(Arc::new(ObjectType { name: name.to_owned(), fields: BTreeMap::new() })).into()
    }

    fn fold(&mut self, expr: &Expr, fold: &Fold) -> Shape {
        let range = self.check(&fold.range);
        let range = self.bindings.resolve(&range);
        let (key, value, is_map) = match &range.ty {
            Type::List(list) => (Type::Int.into(), list.item.clone(), false),
            Type::Map(entry) => (entry.0.clone(), entry.1.clone(), true),
            Type::Dyn | Type::Error | Type::Variable(_) => (Type::Dyn.into(), Type::Dyn.into(), false),
            _ => {
                let shown = self.shown(&range);
                let message = format!(
                    "expression of type '{shown}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.fault(fold.range.at, message);
                (Type::Error.into(), Type::Error.into(), false)
            }
        };
        let depth = self.locals.len();
        match fold.variables.as_slice() {
            [one] => self.locals.push((one.clone(), if is_map { key.clone() } else { value })),
            [first, second] => {
                self.locals.push((first.clone(), key.clone()));
                self.locals.push((second.clone(), value));
            }
            _ => {}
        }
        if let Some(filter) = &fold.filter {
            self.predicate(expr, filter, "_?_:_");
        }
        let step = fold.step.as_ref().map(|step| match fold.what {
            What::All => self.predicate(expr, step, "_&&_"),
            What::Exists => self.predicate(expr, step, "_||_"),
            What::ExistsOne => self.predicate(expr, step, "_?_:_"),
            What::List | What::Map | What::MapEntry => self.check(step),
        });
        let only = self.locals.get(depth).map(|(_, shape)| shape.clone());
        self.locals.truncate(depth);
        let item = step.or(only).unwrap_or_else(|| Type::Dyn.into());
        match fold.what {
            What::All | What::Exists | What::ExistsOne => Type::Bool.into(),
            What::List => Shape { ty: Type::list(item), max: range.max },
            What::Map => Shape { ty: Type::map(key, item), max: range.max },
            What::MapEntry => match self.bindings.resolve(&item).ty {
                ty @ (Type::Map(_) | Type::Dyn | Type::Error) => Shape { ty, max: range.max },
                other => self.fault(expr.at, format!("expected type 'map(dyn, dyn)' but found '{other}'")),
            },
        }
    }

    fn predicate(&mut self, expr: &Expr, predicate: &Expr, function: &str) -> Shape {
        let shape = self.check(predicate);
        if !self.bindings.assign(&Type::Bool.into(), &shape) {
            let shown = self.shown(&shape);
            // Upstream's macros are made of these operators, and so are its messages.
            let signature =
                if function == "_?_:_" { format!("({shown}, dyn, dyn)") } else { format!("(bool, {shown})") };
            let message = format!("found no matching overload for '{function}' applied to '{signature}'");
            self.fault(expr.at.max(predicate.at), message);
        }
        Type::Bool.into()
    }

    fn opt_map(&mut self, target: &Expr, variable: &str, body: &Expr, flat: bool) -> Shape {
        let shape = self.check(target);
        let inner = self.optional_part(target, &shape);
        self.locals.push((variable.to_owned(), inner));
        let result = self.check(body);
        self.locals.pop();
        if !flat {
            return Type::optional(result).into();
        }
        match self.bindings.resolve(&result) {
            found @ Shape { ty: Type::Optional(_) | Type::Dyn | Type::Error, .. } => found,
            other => {
                let shown = self.shown(&other);
                self.fault(body.at, format!("expected type 'optional_type({shown})' but found '{shown}'"))
            }
        }
    }
}

/// The result of `overload` for arguments of these types, if they fit; binds variables.
fn apply(bindings: &mut Bindings, overload: &Overload, given: &[Shape]) -> Option<Shape> {
    let fresh: Vec<Shape> = (0..overload.variables).map(|_| bindings.fresh().into()).collect();
    for (wanted, given) in overload.args.iter().zip(given) {
        if !bindings.assign(&instantiate(wanted, &fresh), given) {
            return None;
        }
    }
    Some(bindings.substitute(&instantiate(&overload.result, &fresh), false))
}

/// `shape` with the variables of a signature replaced by `fresh` ones.
fn instantiate(shape: &Shape, fresh: &[Shape]) -> Shape {
    let ty = match &shape.ty {
        Type::Variable(number) => return fresh.get(*number).cloned().unwrap_or_else(|| Type::Dyn.into()),
        Type::List(list) => Type::list(instantiate(&list.item, fresh)),
        Type::Map(entry) => Type::map(instantiate(&entry.0, fresh), instantiate(&entry.1, fresh)),
        Type::Optional(inner) => Type::optional(instantiate(inner, fresh)),
        Type::Type(of) => Type::Type(Arc::new(instantiate(&(**of).clone().into(), fresh).ty)),
        other => other.clone(),
    };
    Shape { ty, max: shape.max }
}

/// The largest that the result of a call can be, where it follows from the arguments.
fn result_max(function: &str, result: &Type, given: &[Shape]) -> Option<u64> {
    let max = |index: usize| given.get(index).and_then(|shape| shape.max);
    match function {
        "_?_:_" => max(1).zip(max(2)).map(|(yes, no)| yes.max(no)),
        "_+_" if matches!(result, Type::String | Type::Bytes | Type::List(_)) => {
            max(0).zip(max(1)).map(|(one, two)| one.saturating_add(two))
        }
        "lowerAscii" | "upperAscii" | "trim" | "substring" | "find" | "split" | "findAll" => max(0),
        "charAt" => Some(1),
        "string" => match given.first().map(|shape| &shape.ty) {
            Some(Type::String | Type::Bytes) => max(0),
            Some(ty) if ty.is_scalar() => Some(64),
            _ => None,
        },
        _ => None,
    }
}

fn literal_type(value: &Value<'_>) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Uint(_) => Type::Uint,
        Value::Double(_) => Type::Double,
        Value::String(_) => Type::String,
        Value::Bytes(_) => Type::Bytes,
        _ => Type::Dyn,
    }
}
