//! The functions, by library. A function is found by its name and by what its arguments are; the checker has seen to it that
//! nothing else is called unless a value is dynamic.

pub(crate) mod authorizer;
mod conversions;
mod formats;
mod formatting;
mod lists;
pub(crate) mod network;
mod operators;
mod quantities;
pub(crate) mod regexes;
mod strings;
pub(crate) mod time;
pub(crate) mod urls;
mod versions;

use crate::cost::Meter;
use crate::error::Error;
use crate::evaluate::Evaluator;
use crate::value::{List, Value};

/// What a library makes of a call: `None` when it has no such function for such arguments.
pub(crate) type Answer<'a> = Option<Result<Value<'a>, Error>>;

/// The value of `function` for `args`, the target of a method first.
///
/// # Errors
/// The function's own error values, and `no such overload` when nothing takes such arguments.
pub(crate) fn call<'a>(
    evaluator: &mut Evaluator<'_, 'a>,
    function: &str,
    args: &[Value<'a>],
) -> Result<Value<'a>, Error> {
    let meter = &mut evaluator.meter;
    if let Some(answer) = operators::call(function, args, meter)
        .or_else(|| optionals(function, args))
        .or_else(|| strings::call(function, args, meter))
        .or_else(|| lists::call(function, args, meter))
        .or_else(|| conversions::call(function, args, meter))
        .or_else(|| time::call(function, args))
        .or_else(|| urls::call(function, args))
        .or_else(|| network::call(function, args))
        .or_else(|| quantities::call(function, args))
        .or_else(|| versions::call(function, args))
        .or_else(|| formats::call(function, args))
        .or_else(|| authorizer::call(function, args))
        .or_else(|| formatting::call(function, args, meter))
    {
        return answer;
    }
    regexes::call(evaluator, function, args).unwrap_or_else(|| Err("no such overload".into()))
}

fn optionals<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    Some(Ok(match (function, args) {
        ("optional.of", [value]) => Value::some(value.clone()),
        ("optional.none", []) => Value::Optional(None),
        ("optional.ofNonZeroValue", [value]) => {
            if is_zero(value) {
                Value::Optional(None)
            } else {
                Value::some(value.clone())
            }
        }
        ("hasValue", [Value::Optional(inner)]) => Value::Bool(inner.is_some()),
        ("value", [Value::Optional(Some(inner))]) => (**inner).clone(),
        ("value", [Value::Optional(None)]) => return Some(Err("optional.none() dereference".into())),
        _ => return None,
    }))
}

fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Int(number) => *number == 0,
        Value::Uint(number) => *number == 0,
        Value::Double(number) => *number == 0.0,
        Value::Duration(length) => length.is_zero(),
        Value::Optional(inner) => inner.is_none(),
        Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_) => value.size() == 0,
        _ => false,
    }
}

/// A list of texts, paid for.
fn texts<'a>(texts: Vec<String>, meter: &mut Meter) -> Result<Value<'a>, Error> {
    let bytes: usize = texts.iter().map(|text| text.len() + 48).sum();
    meter.work(bytes as u64)?;
    Ok(made(texts.into_iter().map(Value::from).collect()))
}

fn made(items: Vec<Value<'_>>) -> Value<'_> {
    Value::List(List::Made(std::sync::Arc::new(items), None))
}
