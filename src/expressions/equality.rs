//! When two values are equal, which is the smaller, and what is JSON for a value.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use serde_json::Value as Json;

use crate::cost::Meter;
use crate::error::Error;
use crate::library::time;
use crate::names::{escape, unescape};
use crate::types::Order;
use crate::value::{Key, List, Map, Value};

/// How deep a value may nest where it is walked: deeper JSON is an error value, not an overflow of the stack.
const NESTING_MAX: usize = 256;

/// What looking at one value counts as, in bytes.
const NODE_WORK: u64 = 32;

fn too_deep() -> String {
    format!("values nest deeper than {NESTING_MAX}")
}

/// Whether two values are equal. Numbers of all kinds compare as numbers, NaN equals nothing, and values of different
/// types are unequal.
///
/// # Errors
/// The text of an error value: nesting that is too deep, JSON that does not fit its declared type.
pub(crate) fn equal(one: &Value<'_>, two: &Value<'_>, meter: &mut Meter) -> Result<bool, Error> {
    equal_at(one, two, 0, meter)
}

fn equal_at(one: &Value<'_>, two: &Value<'_>, depth: usize, meter: &mut Meter) -> Result<bool, Error> {
    if depth > NESTING_MAX {
        return Err(too_deep().into());
    }
    // Upstream's units do not see how much lies below the top of a value.
    meter.work(NODE_WORK)?;
    Ok(match (one, two) {
        (Value::Null, Value::Null) | (Value::Variables, Value::Variables) => true,
        (Value::Bool(one), Value::Bool(two)) => one == two,
        (Value::String(one), Value::String(two)) => **one == **two,
        (Value::Bytes(one), Value::Bytes(two)) => one == two,
        (Value::Timestamp(one), Value::Timestamp(two)) => one == two,
        (Value::Duration(one), Value::Duration(two)) => one == two,
        (Value::List(one), Value::List(two)) => equal_lists(one, two, depth, meter)?,
        (
            Value::Map(_) | Value::Object(..) | Value::Struct(_),
            Value::Map(_) | Value::Object(..) | Value::Struct(_),
        ) => {
            if one.size() != two.size() || one.type_name() != two.type_name() {
                return Ok(false);
            }
            meter.work(one.size().saturating_mul(NODE_WORK))?;
            let (left, right) = (entries(one)?, entries(two)?);
            let right: HashMap<_, _> = right.into_iter().map(|(key, value)| (identity(&key), value)).collect();
            for (key, value) in left {
                match right.get(&identity(&key)) {
                    Some(other) if equal_at(&value, other, depth + 1, meter)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Optional(one), Value::Optional(two)) => match (one, two) {
            (Some(one), Some(two)) => equal_at(one, two, depth + 1, meter)?,
            (None, None) => true,
            _ => false,
        },
        (Value::Type(one), Value::Type(two)) => **one == **two,
        (Value::Url(one), Value::Url(two)) => one == two,
        (Value::Ip(one), Value::Ip(two)) => one == two,
        (Value::Cidr(one), Value::Cidr(two)) => one == two,
        (Value::Quantity(one), Value::Quantity(two)) => one.cmp(two) == Ordering::Equal,
        (Value::Semver(one), Value::Semver(two)) => one.cmp_precedence(two) == Ordering::Equal,
        (Value::Format(one), Value::Format(two)) => one == two,
        _ => numbers(one, two) == Some(Ordering::Equal),
    })
}

fn identity(key: &Key<'_>) -> (u8, i128, String) {
    match key {
        Key::Bool(truth) => (0, i128::from(*truth), String::new()),
        Key::Number(number, _) => (1, *number, String::new()),
        Key::String(text) => (2, 0, text.to_string()),
    }
}

/// Keys and values of a map, an object or a structure.
fn entries<'a>(value: &Value<'a>) -> Result<Vec<(Key<'a>, Value<'a>)>, String> {
    match value {
        Value::Map(map) => {
            map.keys().into_iter().filter_map(|key| Some((key.clone(), map.get(&key)?))).map(pair).collect()
        }
        Value::Object(map, object) => map
            .iter()
            .map(|(name, json)| {
                let value = match escape(name).and_then(|escaped| object.fields.get(&escaped)) {
                    Some(field) => Value::from_json(json, &field.shape.ty),
                    None => Ok(Value::dynamic(json)),
                };
                pair((Key::String(crate::value::Text::Borrowed(name)), value))
            })
            .collect(),
        Value::Struct(made) => Ok(made
            .1
            .iter()
            .map(|(name, value)| (Key::String(crate::value::Text::from(name.clone())), value.clone()))
            .collect()),
        _ => Ok(Vec::new()),
    }
}

fn pair<'a>((key, value): (Key<'a>, Result<Value<'a>, String>)) -> Result<(Key<'a>, Value<'a>), String> {
    value.map(|value| (key, value))
}

fn equal_lists(one: &List<'_>, two: &List<'_>, depth: usize, meter: &mut Meter) -> Result<bool, Error> {
    if one.len() != two.len() {
        return Ok(false);
    }
    match one.ty().or(two.ty()).map(|ty| &ty.order) {
        None | Some(Order::Atomic) => {
            for (one, two) in one.iter().zip(two.iter()) {
                if !equal_at(&one?, &two?, depth + 1, meter)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Some(order) => {
            let mut there = HashMap::with_capacity(two.len());
            for item in two.iter() {
                let item = item?;
                there.insert(item_key(&item, order, meter)?, item);
            }
            let mut seen = HashSet::new();
            for item in one.iter() {
                let item = item?;
                let key = item_key(&item, order, meter)?;
                match there.get(&key) {
                    Some(other) if equal_at(&item, other, depth + 1, meter)? => {
                        seen.insert(key);
                    }
                    _ => return Ok(false),
                }
            }
            Ok(seen.len() == there.len())
        }
    }
}

/// What identifies an item of a set, or of a list with keys: canonical JSON of it, or of its keys.
pub(crate) fn item_key(item: &Value<'_>, order: &Order, meter: &mut Meter) -> Result<String, Error> {
    let key = key_text(item, order)?;
    meter.work(NODE_WORK + key.len() as u64)?;
    Ok(key)
}

fn key_text(item: &Value<'_>, order: &Order) -> Result<String, String> {
    let Order::Map(keys) = order else { return Ok(json_at(item, 0)?.to_string()) };
    let mut identity = Vec::with_capacity(keys.len());
    for key in keys {
        let name = escape(key).unwrap_or_else(|| key.clone());
        identity.push(match item.member(&name) {
            Some(value) => json_at(&value?, 0)?,
            None => Json::Null,
        });
    }
    Ok(Json::Array(identity).to_string())
}

/// The order of two numbers, whatever their kinds; `None` for NaN and for what is no number.
fn numbers(one: &Value<'_>, two: &Value<'_>) -> Option<Ordering> {
    let whole = |value: &Value<'_>| match value {
        Value::Int(number) => Some(i128::from(*number)),
        Value::Uint(number) => Some(i128::from(*number)),
        _ => None,
    };
    let against = |double: f64, integer: i128| {
        if double.is_nan() {
            None
        } else if double >= 1.9e19 {
            Some(Ordering::Greater)
        } else if double <= -1e19 {
            Some(Ordering::Less)
        } else {
            double.partial_cmp(&(integer as f64))
        }
    };
    match (one, two) {
        (Value::Double(one), Value::Double(two)) => one.partial_cmp(two),
        (Value::Double(one), two) => against(*one, whole(two)?),
        (one, Value::Double(two)) => against(*two, whole(one)?).map(Ordering::reverse),
        (one, two) => Some(whole(one)?.cmp(&whole(two)?)),
    }
}

/// The order of two values of one ordered type, or of two numbers. `Ok(None)` when a NaN is among them.
///
/// # Errors
/// `no such overload` for values that have no order.
pub(crate) fn compare(one: &Value<'_>, two: &Value<'_>) -> Result<Option<Ordering>, String> {
    Ok(Some(match (one, two) {
        (Value::Bool(one), Value::Bool(two)) => one.cmp(two),
        (Value::String(one), Value::String(two)) => (**one).cmp(&**two),
        (Value::Bytes(one), Value::Bytes(two)) => one.cmp(two),
        (Value::Timestamp(one), Value::Timestamp(two)) => one.cmp(two),
        (Value::Duration(one), Value::Duration(two)) => one.cmp(two),
        (Value::Int(_) | Value::Uint(_) | Value::Double(_), Value::Int(_) | Value::Uint(_) | Value::Double(_)) => {
            return Ok(numbers(one, two));
        }
        _ => return Err("no such overload".into()),
    }))
}

impl Value<'_> {
    /// The value as JSON: what a mutation writes and an audit annotation shows.
    ///
    /// # Errors
    /// [`Error::Evaluation`] for values without JSON (types, authorizers, empty optionals), for numbers that JSON cannot
    /// hold, and for an `Object{...}` whose type names do not spell the path of fields at which they stand.
    pub fn to_json(&self) -> Result<Json, Error> {
        json_at(self, 0).map_err(Error::Evaluation)
    }
}

fn json_at(value: &Value<'_>, depth: usize) -> Result<Json, String> {
    if depth > NESTING_MAX {
        return Err(too_deep());
    }
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(number) => Json::from(*number),
        Value::Uint(number) => Json::from(*number),
        Value::Double(number) => {
            Json::Number(serde_json::Number::from_f64(*number).ok_or("JSON has no infinity and no NaN")?)
        }
        Value::String(text) => Json::String(text.to_string()),
        Value::Bytes(bytes) => Json::String(base64::engine::general_purpose::STANDARD.encode(bytes)),
        Value::Timestamp(at) => Json::String(time::show_timestamp(*at)),
        Value::Duration(length) => Json::String(time::show_duration(*length)),
        Value::List(List::Json(items, _)) => Json::Array(items.to_vec()),
        Value::List(list) => {
            let mut items = Vec::with_capacity(list.len());
            for item in list.iter() {
                items.push(json_at(&item?, depth + 1)?);
            }
            Json::Array(items)
        }
        Value::Map(Map::Json(map, _)) | Value::Object(map, _) => Json::Object((*map).clone()),
        Value::Map(map) => {
            let mut object = serde_json::Map::new();
            for key in map.keys() {
                let Key::String(name) = &key else { return Err("JSON has only strings as keys".into()) };
                if let Some(value) = map.get(&key) {
                    object.insert(name.to_string(), json_at(&value?, depth + 1)?);
                }
            }
            Json::Object(object)
        }
        Value::Struct(made) => {
            let mut object = serde_json::Map::new();
            for (escaped, value) in &made.1 {
                let name = unescape(escaped).unwrap_or_else(|| escaped.clone());
                check_path(&made.0, escaped, value)?;
                object.insert(name, json_at(value, depth + 1)?);
            }
            Json::Object(object)
        }
        Value::Optional(Some(value)) => json_at(value, depth + 1)?,
        other => return Err(format!("a value of type {} has no JSON", other.type_name())),
    })
}

/// Upstream's rule for `Object{...}`: the structure in field `field` of `Object.a` is called `Object.a.field`.
fn check_path(parent: &str, field: &str, value: &Value<'_>) -> Result<(), String> {
    let child = |value: &Value<'_>| match value {
        Value::Struct(made) if parent != "JSONPatch" && made.0 != format!("{parent}.{field}") => Err(format!(
            "unexpected type name \"{}\", expected \"{parent}.{field}\", which matches field name path from root Object type",
            made.0
        )),
        _ => Ok(()),
    };
    match value {
        Value::List(list @ List::Made(..)) => list.iter().try_for_each(|item| child(&item?)),
        Value::Optional(Some(inner)) => child(inner),
        value => child(value),
    }
}
