//! Types and value validations, with the faults and the texts of upstream's validator.
//!
//! Follows `kube-openapi/pkg/validation/validate` (which checks run, which failure of alternatives is told),
//! `kube-openapi/pkg/validation/errors/schema.go` (texts) and `pkg/apiserver/validation/validation.go` (causes).

use std::collections::HashSet;

use objects::Cause;
use objects::validation::{invalid, required};
use serde_json::{Number, Value};

use super::{Additional, Bound, Checks, Schema};
use crate::faults::{self, CAUSES_MAX, NOWHERE, go_float, type_invalid};
use crate::format::Known;
use crate::place::Place;

/// What is wrong with a value at a place.
///
/// Parts that are what they were in `old` are passed over (`pkg/apiserver/validation/ratcheting.go`): there is no new
/// fault in them.
pub(crate) fn check(schema: &Schema, value: &Value, old: Option<&Value>, place: &Place<'_>) -> Vec<Cause> {
    one(schema, value, old, place).causes
}

/// What one schema says about one value.
#[derive(Default)]
struct Result {
    causes: Vec<Cause>,
    /// How many checks came to an end: of failed alternatives, the one with the most is told.
    matches: usize,
}

impl Result {
    fn push(&mut self, cause: Cause) {
        if self.causes.len() < CAUSES_MAX {
            self.causes.push(cause);
        }
    }

    fn merge(&mut self, other: Result) {
        self.matches += other.matches;
        other.causes.into_iter().for_each(|cause| self.push(cause));
    }

    fn is_valid(&self) -> bool {
        self.causes.is_empty()
    }
}

fn one(schema: &Schema, value: &Value, old: Option<&Value>, place: &Place<'_>) -> Result {
    let mut result = Result::default();
    if old == Some(value) {
        return result;
    }
    ty(schema, value, place, &mut result);
    let checks = schema.checks.as_deref();
    if value.is_null() {
        if let Some(checks) = checks {
            among(checks, value, place, &mut result);
        }
        return result;
    }
    if let Some(checks) = checks {
        alternatives(checks, value, place, &mut result);
        match value {
            Value::String(text) => {
                self::text(checks, text, place, &mut result);
                result.matches += 1;
            }
            Value::Number(number) => {
                self::number(checks, number, place, &mut result);
                result.matches += 1;
            }
            _ => {}
        }
    }
    if let Value::Array(items) = value {
        list(schema, items, old, place, &mut result);
        result.matches += 1;
    }
    if let Some(checks) = checks {
        among(checks, value, place, &mut result);
    }
    if let Value::Object(_) = value {
        object(schema, value, old, place, &mut result);
        result.matches += 1;
    }
    // Of the alternatives and of enum, which upstream runs on every value, and of the schema itself.
    result.matches += 3;
    result
}

/// The names of a value's type and format as upstream infers them.
fn inferred(value: &Value) -> (&'static str, &'static str) {
    match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
        Value::Number(number) if number.is_i64() => ("integer", "int64"),
        Value::Number(_) => ("number", "float64"),
    }
}

fn is_whole(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0)
}

fn ty(schema: &Schema, value: &Value, place: &Place<'_>, result: &mut Result) {
    let format = schema.checks.as_ref().and_then(|checks| checks.format.as_ref()).filter(|format| format.is_known());
    let int_or_string = schema.extensions.int_or_string;
    let names = match schema.ty {
        _ if int_or_string => "integer,string",
        Some(ty) => ty.name(),
        None if format.is_none() => return,
        None => "",
    };
    let fault = |wanted: &str, found: &str| {
        let path = place.to_string();
        let detail = format!("{path} in body must be of type {wanted}: {found:?}");
        type_invalid(&path, &Value::String(found.to_owned()), detail)
    };
    if value.is_null() {
        if !names.is_empty() && !schema.nullable {
            result.push(fault(names, "null"));
        }
        return;
    }
    let (found, found_format) = inferred(value);
    let has = |name: &str| names.split(',').any(|one| one == name);
    let fits =
        has(found) || (found == "number" && has("integer") && is_whole(value)) || (found == "integer" && has("number"));
    if let Some(format) = format {
        if !matches!(value, Value::String(_) | Value::Array(_)) && !fits && found_format != format.text() {
            return result.push(fault(format.text(), found_format));
        }
        if matches!(value, Value::String(_) | Value::Array(_)) && !has("number") && !has("integer") {
            result.matches += 2;
            return;
        }
    }
    if fits {
        result.matches += 2;
    } else {
        result.push(fault(names, found));
        result.matches += 1;
    }
}

fn alternatives(checks: &Checks, value: &Value, place: &Place<'_>, result: &mut Result) {
    let told = |detail: String| invalid(NOWHERE, &Value::String(String::new()), detail);
    let name = || place.to_string();
    if !checks.any_of.is_empty() {
        let mut best: Option<Result> = None;
        let mut met = false;
        for schema in &checks.any_of {
            let one = one(schema, value, None, place);
            if one.is_valid() {
                met = true;
                result.matches += one.matches;
                break;
            }
            if best.as_ref().is_none_or(|best| one.matches > best.matches) {
                best = Some(one);
            }
        }
        if !met {
            result.push(told(format!("{:?} must validate at least one schema (anyOf)", name())));
            result.merge(best.unwrap_or_default());
        }
    }
    if !checks.one_of.is_empty() {
        let mut best: Option<Result> = None;
        let mut met = 0;
        for schema in &checks.one_of {
            let one = one(schema, value, None, place);
            if one.is_valid() {
                met += 1;
                best = None;
            } else if met == 0 && best.as_ref().is_none_or(|best| one.matches > best.matches) {
                best = Some(one);
            }
        }
        if met != 1 {
            let found =
                if met == 0 { "Found none valid".to_owned() } else { format!("Found {met} valid alternatives") };
            result.push(told(format!("{:?} must validate one and only one schema (oneOf). {found}", name())));
            result.merge(best.unwrap_or_default());
        }
    }
    if !checks.all_of.is_empty() {
        let mut met = 0;
        for schema in &checks.all_of {
            let one = one(schema, value, None, place);
            met += usize::from(one.is_valid());
            result.merge(one);
        }
        if met != checks.all_of.len() {
            let none = if met == 0 { ". None validated" } else { "" };
            result.push(told(format!("{:?} must validate all the schemas (allOf){none}", name())));
        }
    }
    if let Some(not) = &checks.not
        && one(not, value, None, place).is_valid()
    {
        result.push(told(format!("{:?} must not validate the schema (not)", name())));
    }
}

fn text(checks: &Checks, text: &str, place: &Place<'_>, result: &mut Result) {
    let value = || Value::String(text.to_owned());
    let path = || place.to_string();
    if checks.max_length.is_some() || checks.min_length.is_some() {
        let length = text.chars().count() as u64;
        if let Some(most) = checks.max_length.filter(|most| length > *most) {
            result.push(faults::too_long(&path(), most));
        }
        if let Some(least) = checks.min_length.filter(|least| length < *least) {
            let detail = format!("{} in body should be at least {least} chars long", path());
            result.push(invalid(&path(), &value(), detail));
        }
    }
    if let Some(pattern) = &checks.pattern
        && !pattern.is_match(text)
    {
        let detail = format!("{} in body should match '{}'", path(), pattern.text());
        result.push(invalid(&path(), &value(), detail));
    }
    if let Some(format) = &checks.format
        && let Some(Known::Text(known)) = format.known()
        && !known.holds(text)
    {
        let detail = format!("{} in body must be of type {}: {text:?}", path(), format.text());
        result.push(type_invalid(&path(), &value(), detail));
    }
}

fn number(checks: &Checks, number: &Number, place: &Place<'_>, result: &mut Result) {
    let given = number.as_f64().unwrap_or_default();
    let mut push = |should: String| {
        let path = place.to_string();
        result.push(invalid(&path, &Value::Number(number.clone()), format!("{path} in body should be {should}")));
    };
    if let Some(factor) = checks.multiple_of {
        let whole = if factor < 1.0 { 1.0 / factor * given } else { given / factor };
        if factor <= 0.0 || whole.fract() != 0.0 {
            push(format!("a multiple of {}", go_float(factor)));
        }
    }
    let outside = |bound: Bound, beyond: bool| beyond || (bound.exclusive && given == bound.limit);
    if let Some(bound) = checks.maximum.filter(|bound| outside(*bound, given > bound.limit)) {
        let or_equal = if bound.exclusive { "" } else { " or equal to" };
        push(format!("less than{or_equal} {}", go_float(bound.limit)));
    }
    if let Some(bound) = checks.minimum.filter(|bound| outside(*bound, given < bound.limit)) {
        let or_equal = if bound.exclusive { "" } else { " or equal to" };
        push(format!("greater than{or_equal} {}", go_float(bound.limit)));
    }
}

fn among(checks: &Checks, value: &Value, place: &Place<'_>, result: &mut Result) {
    let same = |one: &Value| one == value || (one.is_number() && value.is_number() && one.as_f64() == value.as_f64());
    if checks.one_of_values.is_empty() || checks.one_of_values.iter().any(same) {
        return;
    }
    let names: Vec<String> =
        checks.one_of_values.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect();
    result.push(faults::not_supported(&place.to_string(), value, names.iter().map(String::as_str)));
}

fn list(schema: &Schema, items: &[Value], old: Option<&Value>, place: &Place<'_>, result: &mut Result) {
    if let Some(child) = schema.items.as_deref() {
        let olds = schema.elements(old);
        for (at, item) in items.iter().enumerate() {
            result.merge(one(child, item, olds.former(item), &place.index(at)));
        }
    }
    let Some(checks) = schema.checks.as_deref() else { return };
    let path = || place.to_string();
    if let Some(least) = checks.min_items.filter(|least| (items.len() as u64) < *least) {
        let detail = format!("{} in body should have at least {least} items", path());
        result.push(invalid(&path(), &items.len().into(), detail));
    }
    if let Some(most) = checks.max_items.filter(|most| items.len() as u64 > *most) {
        result.push(faults::too_many(&path(), items.len(), most));
    }
    if checks.unique_items {
        let mut seen = HashSet::new();
        if !items.iter().all(|item| seen.insert(item.to_string())) {
            let detail = format!("{} in body shouldn't contain duplicates", path());
            result.push(invalid(&path(), &Value::String(String::new()), detail));
        }
    }
}

fn object(schema: &Schema, value: &Value, old: Option<&Value>, place: &Place<'_>, result: &mut Result) {
    let Some(map) = value.as_object() else { return };
    let checks = schema.checks.as_deref();
    let path = || place.to_string();
    if let Some(checks) = checks {
        if let Some(least) = checks.min_properties.filter(|least| (map.len() as u64) < *least) {
            let detail = format!("{} in body should have at least {least} properties", path());
            return result.push(invalid(&path(), &map.len().into(), detail));
        }
        if let Some(most) = checks.max_properties.filter(|most| map.len() as u64 > *most) {
            return result.push(faults::too_many(&path(), map.len(), most));
        }
    }
    for (key, below) in map {
        let former = old.and_then(|old| old.get(key));
        match (schema.child(key), &schema.additional) {
            (Some(child), _) => result.merge(one(child, below, former, &place.field(key))),
            (None, Additional::Allowed(false)) => {
                let detail = format!("{}.{key} in body is a forbidden property", path());
                result.push(invalid(&path(), &Value::String(key.clone()), detail));
            }
            _ => {}
        }
    }
    for key in checks.iter().flat_map(|checks| &checks.required) {
        if !map.contains_key(key) {
            result.push(required(&place.field(key).to_string(), ""));
        }
    }
}
