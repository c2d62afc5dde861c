//! Kubernetes' functions of lists, and sets.

use std::cmp::Ordering;

use super::Answer;
use super::operators::{self, contains};
use crate::cost::Meter;
use crate::equality::{compare, equal};
use crate::error::Error;
use crate::value::{List, Value};

pub(super) fn call<'a>(function: &str, args: &[Value<'a>], meter: &mut Meter) -> Answer<'a> {
    let result = match (function, args) {
        ("isSorted", [Value::List(list)]) => is_sorted(list),
        ("sum", [Value::List(list)]) => sum(list, meter),
        ("min", [Value::List(list)]) => extreme(list, "min", Ordering::Less),
        ("max", [Value::List(list)]) => extreme(list, "max", Ordering::Greater),
        ("indexOf", [Value::List(list), item]) => place(list, item, false, meter),
        ("lastIndexOf", [Value::List(list), item]) => place(list, item, true, meter),
        ("sets.contains", [Value::List(one), Value::List(two)]) => covers(one, two, meter).map(Value::Bool),
        ("sets.equivalent", [Value::List(one), Value::List(two)]) => {
            covers(one, two, meter).and_then(|covers_two| Ok(Value::Bool(covers_two && covers(two, one, meter)?)))
        }
        ("sets.intersects", [Value::List(one), Value::List(two)]) => intersects(one, two, meter).map(Value::Bool),
        _ => return None,
    };
    Some(result)
}

fn is_sorted<'a>(list: &List<'a>) -> Result<Value<'a>, Error> {
    let mut before: Option<Value<'a>> = None;
    for item in list.iter() {
        let item = item?;
        if let Some(before) = &before
            && compare(before, &item)?.is_none_or(|order| order == Ordering::Greater)
        {
            return Ok(Value::Bool(false));
        }
        before = Some(item);
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(list: &List<'a>, meter: &mut Meter) -> Result<Value<'a>, Error> {
    let mut total: Option<Value<'a>> = None;
    for item in list.iter() {
        let item = item?;
        total = Some(match total {
            None => item,
            Some(before) => operators::call("_+_", &[before, item], meter).unwrap_or(Err("no such overload".into()))?,
        });
    }
    // The type of an empty list's items is not to be seen in its value; upstream declares one start per type.
    Ok(total.unwrap_or_else(|| match list.ty().map(|ty| &ty.item.ty) {
        Some(crate::types::Type::Double) => Value::Double(0.0),
        Some(crate::types::Type::Uint) => Value::Uint(0),
        Some(crate::types::Type::Duration) => Value::Duration(jiff::SignedDuration::ZERO),
        _ => Value::Int(0),
    }))
}

fn extreme<'a>(list: &List<'a>, name: &str, wanted: Ordering) -> Result<Value<'a>, Error> {
    let mut best: Option<Value<'a>> = None;
    for item in list.iter() {
        let item = item?;
        best = Some(match best {
            Some(best) if compare(&item, &best)? != Some(wanted) => best,
            _ => item,
        });
    }
    best.ok_or_else(|| format!("{name} called on empty list").into())
}

fn place<'a>(list: &List<'a>, item: &Value<'a>, last: bool, meter: &mut Meter) -> Result<Value<'a>, Error> {
    let mut found = -1;
    for (place, other) in (0_i64..).zip(list.iter()) {
        if equal(&other?, item, meter)? {
            found = place;
            if !last {
                break;
            }
        }
    }
    Ok(Value::Int(found))
}

/// Whether every item of `two` is in `one`.
fn covers(one: &List<'_>, two: &List<'_>, meter: &mut Meter) -> Result<bool, Error> {
    for item in two.iter() {
        if !contains(one, &item?, meter)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn intersects(one: &List<'_>, two: &List<'_>, meter: &mut Meter) -> Result<bool, Error> {
    for item in two.iter() {
        if contains(one, &item?, meter)? {
            return Ok(true);
        }
    }
    Ok(false)
}
