//! Types, and the bounds on sizes that a schema gives with them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The type of a value, as far as it is known before evaluation.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// Known only when evaluated.
    Dyn,
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool,
    /// 64 bits, signed.
    Int,
    /// 64 bits, unsigned.
    Uint,
    /// IEEE 754, 64 bits.
    Double,
    /// Unicode text.
    String,
    /// Octets; base64 in JSON.
    Bytes,
    /// A point in time; RFC 3339 in JSON.
    Timestamp,
    /// A length of time; Go's notation in JSON.
    Duration,
    /// A list.
    List(Arc<ListType>),
    /// A map: keys, values.
    Map(Arc<(Shape, Shape)>),
    /// Named fields.
    Object(Arc<ObjectType>),
    /// A value that may be absent.
    Optional(Arc<Shape>),
    /// The type of a type.
    Type(Arc<Type>),
    /// A type whose values only functions make and read, by its name, as `kubernetes.Quantity`.
    Opaque(&'static str),
    /// Not known yet: bound while checking. Never in a program that was compiled.
    Variable(usize),
    /// Follows a fault that was reported already.
    Error,
}

/// A type, and how large its values can be.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// The type.
    pub ty: Type,
    /// Most elements of a list or map, code points of a string, bytes; `None` when nothing is known.
    pub max: Option<u64>,
}

/// A list's items, and what makes two lists equal.
#[derive(Debug, Clone, PartialEq)]
pub struct ListType {
    /// Each item.
    pub item: Shape,
    /// What `==` and `+` mean.
    pub order: Order,
}

/// `x-kubernetes-list-type`: what `==` and `+` of two lists mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Item by item.
    Atomic,
    /// Without order; `+` adds what is not there.
    Set,
    /// Without order, by these fields of the items; `+` replaces items with the same key.
    Map(Vec<String>),
}

/// An object's name and fields.
#[derive(Debug, Clone)]
pub struct ObjectType {
    /// Names the type in messages; two object types are the same when their names are.
    pub name: String,
    /// By the name that expressions use ([`escape`](crate::escape)d).
    pub fields: BTreeMap<String, Field>,
}

impl PartialEq for ObjectType {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// One field of an object.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name in JSON.
    pub name: String,
    /// What it holds.
    pub shape: Shape,
}

impl From<Type> for Shape {
    fn from(ty: Type) -> Self {
        Self { ty, max: None }
    }
}

impl Shape {
    /// `ty`, at most `max` large.
    pub fn bounded(ty: Type, max: u64) -> Self {
        Self { ty, max: Some(max) }
    }

    /// An object called `name` with fields named as expressions spell them.
    pub fn object(name: impl Into<String>, fields: impl IntoIterator<Item = (String, Shape)>) -> Self {
        let fields = fields.into_iter().map(|(name, shape)| (name.clone(), Field { name, shape })).collect();
        Type::Object(Arc::new(ObjectType { name: name.into(), fields })).into()
    }
}

impl Type {
    /// A list of `item`s in order.
    pub fn list(item: impl Into<Shape>) -> Self {
        Self::List(Arc::new(ListType { item: item.into(), order: Order::Atomic }))
    }

    /// A map.
    pub fn map(key: impl Into<Shape>, value: impl Into<Shape>) -> Self {
        Self::Map(Arc::new((key.into(), value.into())))
    }

    /// An optional.
    pub fn optional(inner: impl Into<Shape>) -> Self {
        Self::Optional(Arc::new(inner.into()))
    }

    /// Whether values have a size that does not depend on the input.
    pub(crate) fn is_scalar(&self) -> bool {
        match self {
            Self::Bool | Self::Int | Self::Uint | Self::Double | Self::Timestamp | Self::Duration => true,
            Self::Optional(inner) => inner.ty.is_scalar(),
            _ => false,
        }
    }
}

impl fmt::Display for Type {
    /// As upstream's messages name types.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => out.write_str("dyn"),
            Self::Null => out.write_str("null"),
            Self::Bool => out.write_str("bool"),
            Self::Int => out.write_str("int"),
            Self::Uint => out.write_str("uint"),
            Self::Double => out.write_str("double"),
            Self::String => out.write_str("string"),
            Self::Bytes => out.write_str("bytes"),
            Self::Timestamp => out.write_str("timestamp"),
            Self::Duration => out.write_str("duration"),
            Self::List(list) => write!(out, "list({})", list.item.ty),
            Self::Map(entry) => write!(out, "map({}, {})", entry.0.ty, entry.1.ty),
            Self::Object(object) => out.write_str(&object.name),
            Self::Optional(inner) => write!(out, "optional_type({})", inner.ty),
            Self::Type(of) => write!(out, "type({of})"),
            Self::Opaque(name) => out.write_str(name),
            Self::Variable(number) => write!(out, "_var{number}"),
            Self::Error => out.write_str("!error!"),
        }
    }
}

/// What is known of type variables while an expression is checked.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    bound: Vec<Option<Shape>>,
    /// Variables in the order in which they were bound, and what they were before: what [`Bindings::undo`] takes back.
    trail: Vec<(usize, Option<Shape>)>,
}

impl Bindings {
    pub fn fresh(&mut self) -> Type {
        self.bound.push(None);
        Type::Variable(self.bound.len() - 1)
    }

    /// A state to come back to.
    pub fn mark(&self) -> (usize, usize) {
        (self.bound.len(), self.trail.len())
    }

    /// Takes back all that was made and bound since `mark`.
    pub fn undo(&mut self, (variables, bindings): (usize, usize)) {
        for (number, before) in self.trail.drain(bindings..).rev() {
            if let Some(slot) = self.bound.get_mut(number) {
                *slot = before;
            }
        }
        self.bound.truncate(variables);
    }

    /// Follows variables at the top: `shape` with what its type is bound to, if it is.
    pub fn resolve(&self, shape: &Shape) -> Shape {
        let mut shape = shape.clone();
        while let Type::Variable(number) = shape.ty {
            match self.bound.get(number) {
                Some(Some(found)) => shape = Shape { ty: found.ty.clone(), max: shape.max.or(found.max) },
                _ => break,
            }
        }
        shape
    }

    /// `shape` with every variable replaced; unbound ones stay, or become `dyn` in the `end`.
    pub fn substitute(&self, shape: &Shape, end: bool) -> Shape {
        let shape = self.resolve(shape);
        let ty = match &shape.ty {
            Type::Variable(_) if end => Type::Dyn,
            Type::List(list) => {
                Type::List(Arc::new(ListType { item: self.substitute(&list.item, end), order: list.order.clone() }))
            }
            Type::Map(entry) => Type::map(self.substitute(&entry.0, end), self.substitute(&entry.1, end)),
            Type::Optional(inner) => Type::optional(self.substitute(inner, end)),
            Type::Type(of) => Type::Type(Arc::new(self.substitute(&(**of).clone().into(), end).ty)),
            other => other.clone(),
        };
        Shape { ty, max: shape.max }
    }

    fn occurs(&self, number: usize, shape: &Shape) -> bool {
        let shape = self.resolve(shape);
        match &shape.ty {
            Type::Variable(other) => *other == number,
            Type::List(list) => self.occurs(number, &list.item),
            Type::Map(entry) => self.occurs(number, &entry.0) || self.occurs(number, &entry.1),
            Type::Optional(inner) => self.occurs(number, inner),
            Type::Type(of) => self.occurs(number, &(**of).clone().into()),
            _ => false,
        }
    }

    fn bind(&mut self, number: usize, shape: &Shape) -> bool {
        if shape.ty == Type::Variable(number) {
            return true;
        }
        if self.occurs(number, shape) {
            return false;
        }
        self.set(number, shape.clone());
        true
    }

    fn set(&mut self, number: usize, shape: Shape) {
        if let Some(slot) = self.bound.get_mut(number) {
            self.trail.push((number, slot.replace(shape)));
        }
    }

    /// Of two types that fit each other the one that takes the values of both: the one with more of `dyn` in it.
    pub fn most_general(&self, one: &Shape, two: &Shape) -> Shape {
        let (one, two) = (self.resolve(one), self.resolve(two));
        let max = one.max.zip(two.max).map(|(one, two)| one.max(two));
        let chosen = if two.ty == Type::Null || one.ty != Type::Null && self.covers(&one, &two) { one } else { two };
        Shape { ty: chosen.ty, max }
    }

    fn covers(&self, one: &Shape, two: &Shape) -> bool {
        let (one, two) = (self.resolve(one), self.resolve(two));
        match (&one.ty, &two.ty) {
            (Type::Dyn | Type::Error | Type::Variable(_), _) => true,
            (_, Type::Dyn) => false,
            (Type::List(one), Type::List(two)) => self.covers(&one.item, &two.item),
            (Type::Map(one), Type::Map(two)) => self.covers(&one.0, &two.0) && self.covers(&one.1, &two.1),
            (Type::Optional(one), Type::Optional(two)) => self.covers(one, two),
            _ => true,
        }
    }

    /// Whether a value of `given` may stand where `wanted` is; if so, binds variables of both.
    pub fn assign(&mut self, wanted: &Shape, given: &Shape) -> bool {
        let mark = self.mark();
        let fits = self.unify(wanted, given);
        if !fits {
            self.undo(mark);
        }
        fits
    }

    fn unify(&mut self, wanted: &Shape, given: &Shape) -> bool {
        // A variable that is bound already grows to what takes both values: `b ? 1 : dyn(x)` is dynamic.
        if let Type::Variable(number) = wanted.ty
            && let Some(Some(before)) = self.bound.get(number).cloned()
        {
            if !self.unify(&before, given) {
                return false;
            }
            let general = self.most_general(&before, given);
            if general != before && !self.occurs(number, &general) {
                self.set(number, general);
            }
            return true;
        }
        let (wanted, given) = (self.resolve(wanted), self.resolve(given));
        match (&wanted.ty, &given.ty) {
            (Type::Variable(number), _) => self.bind(*number, &given),
            (_, Type::Variable(number)) => self.bind(*number, &wanted),
            (Type::Dyn | Type::Error, _) | (_, Type::Dyn | Type::Error) => true,
            (Type::List(wanted), Type::List(given)) => self.unify(&wanted.item, &given.item),
            (Type::Map(wanted), Type::Map(given)) => self.unify(&wanted.0, &given.0) && self.unify(&wanted.1, &given.1),
            (Type::Optional(wanted), Type::Optional(given)) => self.unify(wanted, given),
            // Types compare as values, whatever they are the types of.
            (Type::Type(_), Type::Type(_)) => true,
            (nullable, Type::Null) | (Type::Null, nullable) => matches!(
                nullable,
                Type::Null | Type::Object(_) | Type::Opaque(_) | Type::Timestamp | Type::Duration | Type::Optional(_)
            ),
            (wanted, given) => wanted == given,
        }
    }
}
