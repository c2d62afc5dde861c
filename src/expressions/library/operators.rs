//! Arithmetic, comparison, indexing, sizes, and membership.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::SignedDuration;

use super::{Answer, time};
use crate::cost::Meter;
use crate::equality::{compare, equal, item_key};
use crate::error::Error;
use crate::types::Order;
use crate::value::{Key, List, Value};

pub(super) fn call<'a>(function: &str, args: &[Value<'a>], meter: &mut Meter) -> Answer<'a> {
    let result = match (function, args) {
        ("_==_", [one, two]) => equal(one, two, meter).map(Value::Bool),
        ("_!=_", [one, two]) => equal(one, two, meter).map(|equal| Value::Bool(!equal)),
        ("_<_", [one, two]) => ordered(one, two, |order| order == Ordering::Less),
        ("_<=_", [one, two]) => ordered(one, two, |order| order != Ordering::Greater),
        ("_>_", [one, two]) => ordered(one, two, |order| order == Ordering::Greater),
        ("_>=_", [one, two]) => ordered(one, two, |order| order != Ordering::Less),
        ("_[_]", [container, index]) => at(container, index, false),
        ("_[?_]", [container, index]) => at(container, index, true),
        ("@in", [item, Value::List(list)]) => contains(list, item, meter).map(Value::Bool),
        ("@in", [key, container @ Value::Map(_)]) => Ok(Value::Bool(matches!(lookup(container, key), Ok(Some(_))))),
        ("@in", [Value::String(name), container @ (Value::Object(..) | Value::Struct(_))]) => {
            Ok(Value::Bool(container.member(name).is_some()))
        }
        ("size", [Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_) | Value::Object(..)]) => {
            Ok(Value::Int(i64::try_from(args[0].size()).unwrap_or(i64::MAX)))
        }
        ("!_", [Value::Bool(truth)]) => Ok(Value::Bool(!truth)),
        ("-_", [Value::Int(number)]) => number.checked_neg().map(Value::Int).ok_or_else(overflow),
        ("-_", [Value::Double(number)]) => Ok(Value::Double(-number)),
        ("_+_", [Value::List(one), Value::List(two)]) => join(one, two, meter),
        ("_+_", [Value::String(one), Value::String(two)]) => match meter.work((one.len() + two.len()) as u64) {
            Ok(()) => Ok(Value::from(format!("{one}{two}"))),
            Err(error) => Err(error),
        },
        ("_+_", [Value::Bytes(one), Value::Bytes(two)]) => match meter.work((one.len() + two.len()) as u64) {
            Ok(()) => Ok(Value::Bytes([&**one, &**two].concat().into())),
            Err(error) => Err(error),
        },
        ("_+_" | "_-_" | "_*_" | "_/_" | "_%_", [one, two]) => return arithmetic(function, one, two),
        _ => return None,
    };
    Some(result)
}

fn overflow() -> Error {
    "integer overflow".into()
}

fn ordered<'a>(one: &Value<'a>, two: &Value<'a>, wanted: impl Fn(Ordering) -> bool) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(compare(one, two)?.is_some_and(wanted)))
}

pub(super) fn contains(list: &List<'_>, item: &Value<'_>, meter: &mut Meter) -> Result<bool, Error> {
    for other in list.iter() {
        if equal(&other?, item, meter)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lookup<'a>(container: &Value<'a>, index: &Value<'a>) -> Result<Option<Value<'a>>, Error> {
    match container {
        Value::List(list) => {
            let at = match Key::of(index) {
                Some(Key::Number(at, _)) => at,
                _ => return Err(format!("unsupported index type '{}' in list", index.type_name()).into()),
            };
            match usize::try_from(at).ok().and_then(|at| list.get(at)) {
                Some(item) => Ok(Some(item?)),
                None => Ok(None),
            }
        }
        Value::Map(map) => match Key::of(index) {
            Some(key) => Ok(map.get(&key).transpose()?),
            None => Err(format!("unsupported key type: {}", index.type_name()).into()),
        },
        Value::Object(..) | Value::Struct(_) => match index {
            Value::String(name) => Ok(container.member(name).transpose()?),
            _ => Err("no such overload".into()),
        },
        _ => Err("no such overload".into()),
    }
}

fn at<'a>(container: &Value<'a>, index: &Value<'a>, optional: bool) -> Result<Value<'a>, Error> {
    let (container, optional) = match container {
        Value::Optional(None) => return Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => (&**inner, true),
        plain => (plain, optional),
    };
    match (lookup(container, index)?, optional) {
        (found, true) => Ok(Value::Optional(found.map(Arc::new))),
        (Some(found), false) => Ok(found),
        (None, false) => {
            let shown = super::conversions::show(index).unwrap_or_default();
            let what = if matches!(container, Value::List(_)) { "index out of bounds" } else { "no such key" };
            Err(format!("{what}: {shown}").into())
        }
    }
}

/// `one + two`: for sets what is new, for lists with keys what replaces, else one after the other.
fn join<'a>(one: &List<'a>, two: &List<'a>, meter: &mut Meter) -> Result<Value<'a>, Error> {
    meter.work((one.len() + two.len()) as u64 * 48)?;
    let ty = one.ty().or(two.ty()).cloned();
    let mut items = one.iter().collect::<Result<Vec<_>, _>>()?;
    match ty.as_ref().map(|ty| &ty.order) {
        None | Some(Order::Atomic) => {
            for item in two.iter() {
                items.push(item?);
            }
        }
        Some(order) => {
            let mut places = HashMap::with_capacity(items.len());
            for (place, item) in items.iter().enumerate() {
                places.insert(item_key(item, order, meter)?, place);
            }
            for item in two.iter() {
                let item = item?;
                let key = item_key(&item, order, meter)?;
                match places.get(&key) {
                    Some(place) => items[*place] = item,
                    None => {
                        places.insert(key, items.len());
                        items.push(item);
                    }
                }
            }
        }
    }
    Ok(Value::List(List::Made(Arc::new(items), ty)))
}

fn arithmetic<'a>(function: &str, one: &Value<'a>, two: &Value<'a>) -> Answer<'a> {
    Some(match (one, two) {
        (Value::Int(one), Value::Int(two)) => integers(function, *one, *two),
        (Value::Uint(one), Value::Uint(two)) => naturals(function, *one, *two),
        (Value::Double(one), Value::Double(two)) => Ok(Value::Double(match function {
            "_+_" => one + two,
            "_-_" => one - two,
            "_*_" => one * two,
            "_/_" => one / two,
            _ => return None,
        })),
        (Value::Duration(one), Value::Duration(two)) => {
            let result = match function {
                "_+_" => one.checked_add(*two),
                "_-_" => one.checked_sub(*two),
                _ => return None,
            };
            result.ok_or_else(|| "duration overflow".to_owned()).and_then(time::checked_duration).map_err(Error::from)
        }
        (Value::Timestamp(at), Value::Duration(length)) => match function {
            "_+_" => shift(*at, Some(*length)),
            "_-_" => shift(*at, length.checked_neg()),
            _ => return None,
        },
        (Value::Duration(length), Value::Timestamp(at)) if function == "_+_" => shift(*at, Some(*length)),
        (Value::Timestamp(one), Value::Timestamp(two)) if function == "_-_" => {
            time::checked_duration(one.duration_since(*two)).map_err(Error::from)
        }
        _ => return None,
    })
}

fn shift<'a>(at: jiff::Timestamp, by: Option<SignedDuration>) -> Result<Value<'a>, Error> {
    let moved = by.and_then(|by| at.checked_add(by).ok()).ok_or_else(|| "timestamp overflow".to_owned());
    moved.and_then(time::checked_timestamp).map(Value::Timestamp).map_err(Error::from)
}

fn integers<'a>(function: &str, one: i64, two: i64) -> Result<Value<'a>, Error> {
    let result = match function {
        "_+_" => one.checked_add(two),
        "_-_" => one.checked_sub(two),
        "_*_" => one.checked_mul(two),
        "_/_" if two == 0 => return Err("division by zero".into()),
        "_/_" => one.checked_div(two),
        _ if two == 0 => return Err("modulus by zero".into()),
        _ => one.checked_rem(two),
    };
    result.map(Value::Int).ok_or_else(overflow)
}

fn naturals<'a>(function: &str, one: u64, two: u64) -> Result<Value<'a>, Error> {
    let result = match function {
        "_+_" => one.checked_add(two),
        "_-_" => one.checked_sub(two),
        "_*_" => one.checked_mul(two),
        "_/_" if two == 0 => return Err("division by zero".into()),
        "_/_" => one.checked_div(two),
        _ if two == 0 => return Err("modulus by zero".into()),
        _ => one.checked_rem(two),
    };
    result.map(Value::Uint).ok_or_else(|| "unsigned integer overflow".into())
}
