//! Values. JSON is borrowed and read where an expression looks, never converted as a whole.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use objects::quantity::Quantity;
use serde_json::Value as Json;

use crate::library::authorizer::Authorization;
use crate::library::network::Cidr;
use crate::library::urls::Url;
use crate::types::{ListType, ObjectType, Shape, Type};

/// A value of an expression; `'a` is the life of the JSON it was read from.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A floating point number.
    Double(f64),
    /// Text.
    String(Text<'a>),
    /// Octets.
    Bytes(Arc<[u8]>),
    /// A point in time.
    Timestamp(Timestamp),
    /// A length of time.
    Duration(SignedDuration),
    /// A list.
    List(List<'a>),
    /// A map, or an object without declared fields.
    Map(Map<'a>),
    /// An object with declared fields.
    Object(&'a serde_json::Map<String, Json>, Arc<ObjectType>),
    /// What `Object{...}` and `JSONPatch{...}` make.
    Struct(Arc<(String, BTreeMap<String, Value<'a>>)>),
    /// The composed variables of an admission policy, see [`Bindings::compose`](crate::Bindings::compose).
    Variables,
    /// An optional value.
    Optional(Option<Arc<Value<'a>>>),
    /// A type, by its name.
    Type(Text<'a>),
    /// A parsed URL.
    Url(Arc<Url>),
    /// An IP address.
    Ip(IpAddr),
    /// A network.
    Cidr(Cidr),
    /// A resource quantity.
    Quantity(Quantity),
    /// A semantic version.
    Semver(Arc<semver::Version>),
    /// A named format, as `dns1123Label`.
    Format(&'static str),
    /// The authorizer, or a question to it that is being put together, or its answer.
    Authorization(Authorization<'a>),
}

/// Text, borrowed from the input or shared.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    /// From the input.
    Borrowed(&'a str),
    /// Made by the expression.
    Shared(Arc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self::Shared(text.into())
    }
}

impl std::fmt::Display for Text<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self)
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Text::Borrowed(text))
    }
}

/// A list, borrowed from the input or made by the expression.
#[derive(Debug, Clone)]
pub enum List<'a> {
    /// From the input, with what is declared of it.
    Json(&'a [Json], Arc<ListType>),
    /// Made by the expression; the type says what equality means where it came from a schema.
    Made(Arc<Vec<Value<'a>>>, Option<Arc<ListType>>),
}

/// A map, borrowed from the input or made by the expression.
#[derive(Debug, Clone)]
pub enum Map<'a> {
    /// From the input, with the shape of its values.
    Json(&'a serde_json::Map<String, Json>, Arc<(Shape, Shape)>),
    /// Made by the expression, in the order of the keys.
    Made(Arc<BTreeMap<Key<'a>, Value<'a>>>),
}

/// A key of a map. Integers of both kinds are one key when they are one number.
#[derive(Debug, Clone)]
pub enum Key<'a> {
    /// A truth value.
    Bool(bool),
    /// An integer; `true` when it was unsigned.
    Number(i128, bool),
    /// Text.
    String(Text<'a>),
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(one), Self::Bool(two)) => one.cmp(two),
            (Self::Number(one, _), Self::Number(two, _)) => one.cmp(two),
            (Self::String(one), Self::String(two)) => (**one).cmp(&**two),
            (Self::Bool(_), _) | (Self::Number(..), Self::String(_)) => Ordering::Less,
            _ => Ordering::Greater,
        }
    }
}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key<'_> {}

impl<'a> Key<'a> {
    /// The key that `value` is; `None` for a type that is no key. A double that is a whole number finds integers.
    pub(crate) fn of(value: &Value<'a>) -> Option<Self> {
        Some(match value {
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Int(number) => Self::Number((*number).into(), false),
            Value::Uint(number) => Self::Number((*number).into(), true),
            Value::Double(number) if number.fract() == 0.0 && number.abs() < 1e19 => {
                Self::Number(*number as i128, false)
            }
            Value::String(text) => Self::String(text.clone()),
            _ => return None,
        })
    }

    /// The key without a borrow: a map of keys of any life can be asked for it.
    fn owned<'o>(&self) -> Key<'o> {
        match self {
            Self::Bool(truth) => Key::Bool(*truth),
            Self::Number(number, unsigned) => Key::Number(*number, *unsigned),
            Self::String(text) => Key::String(Text::Shared((**text).into())),
        }
    }

    pub(crate) fn value(&self) -> Value<'a> {
        match self {
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Number(number, true) => Value::Uint(u64::try_from(*number).unwrap_or(u64::MAX)),
            Self::Number(number, false) => Value::Int(i64::try_from(*number).unwrap_or(i64::MAX)),
            Self::String(text) => Value::String(text.clone()),
        }
    }
}

impl<'a> List<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(items, _) => items.len(),
            Self::Made(items, _) => items.len(),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<Result<Value<'a>, String>> {
        match self {
            Self::Json(items, ty) => items.get(index).map(|item| Value::from_json(item, &ty.item.ty)),
            Self::Made(items, _) => items.get(index).cloned().map(Ok),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, String>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    pub(crate) fn ty(&self) -> Option<&Arc<ListType>> {
        match self {
            Self::Json(_, ty) => Some(ty),
            Self::Made(_, ty) => ty.as_ref(),
        }
    }
}

impl<'a> Map<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(map, _) => map.len(),
            Self::Made(map) => map.len(),
        }
    }

    pub(crate) fn get(&self, key: &Key<'_>) -> Option<Result<Value<'a>, String>> {
        match (self, key) {
            (Self::Json(map, entry), Key::String(key)) => {
                map.get(&**key).map(|value| Value::from_json(value, &entry.1.ty))
            }
            (Self::Json(..), _) => None,
            (Self::Made(map), key) => map.get(&key.owned()).cloned().map(Ok),
        }
    }

    pub(crate) fn keys(&self) -> Vec<Key<'a>> {
        match self {
            Self::Json(map, _) => map.keys().map(|key| Key::String(Text::Borrowed(key))).collect(),
            Self::Made(map) => map.keys().cloned().collect(),
        }
    }
}

impl<'a> Value<'a> {
    /// The value that `json` is when it is declared as `ty`: dates become timestamps, whole numbers doubles.
    ///
    /// # Errors
    /// The text of an error value, when the JSON does not fit the type.
    pub fn from_json(json: &'a Json, ty: &Type) -> Result<Self, String> {
        let misfit = || Err(format!("expected a value of type {ty}, found {}", kind_of(json)));
        Ok(match (json, ty) {
            (Json::Null, _) => Self::Null,
            (Json::Bool(truth), Type::Bool | Type::Dyn) => Self::Bool(*truth),
            (Json::Number(number), Type::Int | Type::Dyn) if number.is_i64() => {
                Self::Int(number.as_i64().unwrap_or_default())
            }
            (Json::Number(number), Type::Uint | Type::Dyn) if number.is_u64() => {
                Self::Uint(number.as_u64().unwrap_or_default())
            }
            (Json::Number(number), Type::Int)
                if number.as_f64().is_some_and(|number| number.fract() == 0.0 && number.abs() < 9e18) =>
            {
                Self::Int(number.as_f64().unwrap_or_default() as i64)
            }
            (Json::Number(number), Type::Double | Type::Dyn) => Self::Double(number.as_f64().unwrap_or_default()),
            (Json::String(text), Type::String | Type::Dyn) => Self::from(text.as_str()),
            (Json::String(text), Type::Bytes) => {
                use base64::Engine as _;
                let bytes = base64::engine::general_purpose::STANDARD.decode(text);
                Self::Bytes(bytes.map_err(|_| "invalid base64".to_owned())?.into())
            }
            (Json::String(text), Type::Timestamp) => {
                Self::Timestamp(crate::library::time::parse_timestamp_or_date(text)?)
            }
            (Json::String(text), Type::Duration) => Self::Duration(crate::library::time::parse_duration(text)?),
            (Json::Array(items), Type::List(list)) => Self::List(List::Json(items, Arc::clone(list))),
            (Json::Array(items), Type::Dyn) => Self::List(List::Json(items, dynamic_list())),
            (Json::Object(map), Type::Object(object)) => Self::Object(map, Arc::clone(object)),
            (Json::Object(map), Type::Map(entry)) => Self::Map(Map::Json(map, Arc::clone(entry))),
            (Json::Object(map), Type::Dyn) => Self::Map(Map::Json(map, dynamic_map())),
            (json, Type::Optional(inner)) => Self::Optional(Some(Arc::new(Self::from_json(json, &inner.ty)?))),
            _ => return misfit(),
        })
    }

    /// The value of untyped `json`.
    pub fn dynamic(json: &'a Json) -> Self {
        Self::from_json(json, &Type::Dyn).unwrap_or(Self::Null)
    }

    /// An optional that holds `value`.
    pub fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    /// The name of the value's type, as `type(value)` gives it.
    pub(crate) fn type_name(&self) -> &str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Object(_, object) => &object.name,
            Self::Struct(made) => &made.0,
            Self::Variables => "kubernetes.variables",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Url(_) => "kubernetes.URL",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Authorization(authorization) => authorization.type_name(),
        }
    }

    /// The size that costs are counted by: code points, bytes, elements; 1 for what has no size.
    pub(crate) fn size(&self) -> u64 {
        let size = match self {
            Self::String(text) => text.chars().count(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
            Self::Object(map, _) => map.len(),
            Self::Ip(IpAddr::V4(_)) => 4,
            Self::Ip(IpAddr::V6(_)) => 16,
            Self::Cidr(cidr) => cidr.size(),
            _ => 1,
        };
        size as u64
    }

    /// A field of an object or a value of a map; `None` when it is not there.
    pub(crate) fn member(&self, name: &str) -> Option<Result<Value<'a>, String>> {
        match self {
            Self::Map(map) => map.get(&Key::String(Text::Borrowed(name))),
            Self::Object(map, object) => {
                let field = object.fields.get(name)?;
                map.get(&field.name).map(|value| Self::from_json(value, &field.shape.ty))
            }
            Self::Struct(made) => made.1.get(name).cloned().map(Ok),
            _ => None,
        }
    }
}

fn kind_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

pub(crate) fn dynamic_list() -> Arc<ListType> {
    static LIST: std::sync::LazyLock<Arc<ListType>> =
        std::sync::LazyLock::new(|| Arc::new(ListType { item: Type::Dyn.into(), order: crate::types::Order::Atomic }));
    Arc::clone(&LIST)
}

pub(crate) fn dynamic_map() -> Arc<(Shape, Shape)> {
    static MAP: std::sync::LazyLock<Arc<(Shape, Shape)>> =
        std::sync::LazyLock::new(|| Arc::new((Type::String.into(), Type::Dyn.into())));
    Arc::clone(&MAP)
}
