//! Resource quantities.

use std::cmp::Ordering;

use objects::quantity::Quantity;

use super::Answer;
use crate::error::Error;
use crate::value::Value;

pub(super) fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    Some(Ok(match (function, args) {
        ("quantity", [Value::String(text)]) => match text.parse() {
            Ok(quantity) => Value::Quantity(quantity),
            Err(objects::Error::Quantity { reason, .. }) => return Some(Err(reason.into())),
            Err(error) => return Some(Err(Error::Evaluation(error.to_string()))),
        },
        ("isQuantity", [Value::String(text)]) => Value::Bool(text.parse::<Quantity>().is_ok()),
        ("sign", [Value::Quantity(quantity)]) => Value::Int(quantity.sign().into()),
        ("isInteger", [Value::Quantity(quantity)]) => Value::Bool(quantity.is_whole()),
        ("asInteger", [Value::Quantity(quantity)]) => {
            if !quantity.is_whole() {
                return Some(Err("cannot convert value to integer".into()));
            }
            Value::Int(quantity.to_bytes())
        }
        ("asApproximateFloat", [Value::Quantity(quantity)]) => Value::Double(quantity.to_f64()),
        ("isGreaterThan", [Value::Quantity(one), Value::Quantity(two)]) => {
            Value::Bool(one.cmp(two) == Ordering::Greater)
        }
        ("isLessThan", [Value::Quantity(one), Value::Quantity(two)]) => Value::Bool(one.cmp(two) == Ordering::Less),
        ("compareTo", [Value::Quantity(one), Value::Quantity(two)]) => Value::Int(one.cmp(two) as i64),
        ("add", [Value::Quantity(one), Value::Quantity(two)]) => Value::Quantity(one.plus(*two)),
        ("add", [Value::Quantity(one), Value::Int(two)]) => Value::Quantity(one.plus(Quantity::from_units(*two))),
        ("sub", [Value::Quantity(one), Value::Quantity(two)]) => Value::Quantity(one.minus(*two)),
        ("sub", [Value::Quantity(one), Value::Int(two)]) => Value::Quantity(one.minus(Quantity::from_units(*two))),
        _ => return None,
    }))
}
