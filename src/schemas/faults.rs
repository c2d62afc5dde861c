//! Causes in upstream's words (`apimachinery/pkg/util/validation/field/errors.go`).

use objects::Cause;
use serde_json::Value;

use crate::place::Place;

/// How many causes one judgement lists; as `objects::validation`.
pub(crate) const CAUSES_MAX: usize = 100;

/// The path that upstream prints for faults that belong to no field.
pub(crate) const NOWHERE: &str = "<nil>";

/// The faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    causes: Vec<Cause>,
}

impl Faults {
    pub(crate) fn push(&mut self, cause: Cause) {
        if self.causes.len() < CAUSES_MAX {
            self.causes.push(cause);
        }
    }

    pub(crate) fn extend(&mut self, causes: impl IntoIterator<Item = Cause>) {
        causes.into_iter().for_each(|cause| self.push(cause));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.causes.is_empty()
    }

    pub(crate) fn into_causes(self) -> Vec<Cause> {
        self.causes
    }

    pub(crate) fn required(&mut self, place: &Place<'_>, detail: impl std::fmt::Display) {
        self.push(objects::validation::required(&place.to_string(), detail));
    }

    pub(crate) fn forbidden(&mut self, place: &Place<'_>, detail: impl std::fmt::Display) {
        self.push(objects::validation::forbidden(&place.to_string(), detail));
    }

    pub(crate) fn invalid(&mut self, place: &Place<'_>, value: &Value, detail: impl std::fmt::Display) {
        self.push(objects::validation::invalid(&place.to_string(), value, detail));
    }

    pub(crate) fn invalid_text(&mut self, place: &Place<'_>, text: &str, detail: impl std::fmt::Display) {
        self.invalid(place, &Value::String(text.to_owned()), detail);
    }

    pub(crate) fn immutable(&mut self, place: &Place<'_>, old: &Value, new: &Value) {
        if old != new {
            self.invalid(place, new, "field is immutable");
        }
    }

    pub(crate) fn not_supported(&mut self, place: &Place<'_>, value: &Value, supported: &[&str]) {
        self.push(not_supported(&place.to_string(), value, supported.iter().copied()));
    }
}

/// A value that the schema does not type as it is.
pub(crate) fn type_invalid(field: &str, value: &Value, detail: impl std::fmt::Display) -> Cause {
    Cause { reason: "FieldValueTypeInvalid".into(), ..objects::validation::invalid(field, value, detail) }
}

/// The same value twice where it may stand once.
pub(crate) fn duplicate(field: &str, value: &Value) -> Cause {
    cause("FieldValueDuplicate", field, format!("Duplicate value: {}", shown(value)))
}

/// A value outside a closed set.
pub(crate) fn not_supported<'a>(field: &str, value: &Value, supported: impl Iterator<Item = &'a str>) -> Cause {
    let list: Vec<String> = supported.map(|name| format!("{name:?}")).collect();
    let message = format!("Unsupported value: {}: supported values: {}", shown(value), list.join(", "));
    cause("FieldValueNotSupported", field, message)
}

/// More elements than allowed.
pub(crate) fn too_many(field: &str, found: usize, most: u64) -> Cause {
    let items = if most == 1 { "item" } else { "items" };
    cause("FieldValueTooMany", field, format!("Too many: {found}: must have at most {most} {items}"))
}

/// A longer text than allowed.
pub(crate) fn too_long(field: &str, most: u64) -> Cause {
    let bytes = if most == 1 { "byte" } else { "bytes" };
    cause("FieldValueTooLong", field, format!("Too long: may not be more than {most} {bytes}"))
}

/// Something that is our fault.
pub(crate) fn internal(field: &str, detail: impl std::fmt::Display) -> Cause {
    cause("InternalError", field, format!("Internal error: {detail}"))
}

fn cause(reason: &str, field: &str, message: String) -> Cause {
    Cause { reason: reason.into(), message, field: field.into() }
}

/// A value as upstream prints it; `objects` cuts long ones.
fn shown(value: &Value) -> String {
    let message = objects::validation::invalid("", value, "").message;
    message.strip_prefix("Invalid value: ").map(str::to_owned).unwrap_or_default()
}

/// A number as Go's `%v` prints a float64.
pub(crate) fn go_float(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    number.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn causes_read_as_upstreams() {
        assert_eq!(
            type_invalid("spec.a", &json!("string"), "spec.a in body must be of type integer: \"string\"").message,
            "Invalid value: \"string\": spec.a in body must be of type integer: \"string\""
        );
        assert_eq!(duplicate("a", &json!({"k": 1})).message, "Duplicate value: {\"k\":1}");
        assert_eq!(
            not_supported("a", &json!(7), ["b", "c"].into_iter()).message,
            "Unsupported value: 7: supported values: \"b\", \"c\""
        );
        assert_eq!(too_many("a", 4, 3).message, "Too many: 4: must have at most 3 items");
        assert_eq!(too_long("a", 1).message, "Too long: may not be more than 1 byte");
    }

    #[test]
    fn floats_print_as_in_go() {
        for (number, text) in
            [(5.0, "5"), (0.1, "0.1"), (1e21, "1e+21"), (1.5e-7, "1.5e-07"), (-2.5, "-2.5"), (0.0, "0")]
        {
            assert_eq!(go_float(number), text);
        }
    }
}
