//! Printed columns of custom resources: what `kubectl get` shows.
//!
//! Follows upstream's `pkg/registry/customresource/tableconvertor/tableconvertor.go` and
//! `ValidateCustomResourceColumnDefinition` (`pkg/apis/apiextensions/validation/validation.go`).

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Error;
use crate::faults::{Faults, go_float};
use crate::jsonpath::JsonPath;
use crate::place::Place;

const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

/// One column besides the name, which is always the first.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// `boolean`, `date`, `integer`, `number` or `string`.
    pub ty: String,
    /// OpenAPI format; may be empty.
    pub format: String,
    /// What the cells say.
    pub description: String,
    /// 0 is always shown, more only in wide output.
    pub priority: i32,
    path: JsonPath,
}

impl Column {
    /// The column that a version without columns of its own has.
    pub fn age() -> Self {
        Self {
            name: "Age".into(),
            ty: "date".into(),
            format: String::new(),
            description: "Time since the object was created.".into(),
            priority: 0,
            path: JsonPath::parse(".metadata.creationTimestamp").unwrap_or_else(|_| unreachable!("a constant path")),
        }
    }

    /// Reads one of `additionalPrinterColumns`.
    pub(crate) fn read(column: &Value) -> Result<Self, Error> {
        let text = |key: &str| column[key].as_str().unwrap_or_default().to_owned();
        let path = text("jsonPath");
        let description = match text("description") {
            empty if empty.is_empty() => format!("Custom resource definition column (in JSONPath format): {path}"),
            description => description,
        };
        Ok(Self {
            name: text("name"),
            ty: text("type"),
            format: text("format"),
            description,
            priority: column["priority"].as_i64().and_then(|priority| i32::try_from(priority).ok()).unwrap_or(0),
            path: JsonPath::parse(&path)?,
        })
    }

    /// What is wrong with one of `additionalPrinterColumns`.
    pub(crate) fn check(column: &Value, place: &Place<'_>, faults: &mut Faults) {
        let text = |key: &str| column[key].as_str().unwrap_or_default();
        if text("name").is_empty() {
            faults.required(&place.field("name"), "");
        }
        let one_of = |names: &[&str]| format!("must be one of {}", names.join(","));
        match text("type") {
            "" => faults.required(&place.field("type"), one_of(&TYPES)),
            ty if TYPES.contains(&ty) => {}
            ty => faults.invalid_text(&place.field("type"), ty, one_of(&TYPES)),
        }
        let format = text("format");
        if !format.is_empty() && !FORMATS.contains(&format) {
            faults.invalid_text(&place.field("format"), format, one_of(&FORMATS));
        }
        let place = place.field("JSONPath");
        match text("jsonPath") {
            "" => faults.required(&place, ""),
            path if !path.starts_with('.') => {
                faults.invalid_text(&place, path, "must be a simple json path starting with .");
            }
            path => {
                if let Err(error) = JsonPath::parse(path) {
                    faults.invalid_text(&place, path, format!("is not supported: {error}"));
                }
            }
        }
    }

    /// What the column shows of an object; null for nothing, and for a value of another type. Ages count until `now`.
    pub fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let Some(value) = self.path.find(object).first().copied() else { return Value::Null };
        match (self.ty.as_str(), value) {
            ("string", Value::Null) => Value::Null,
            ("string", Value::String(text)) => json!(text),
            ("string", Value::Number(number)) if number.is_f64() => {
                json!(go_float(number.as_f64().unwrap_or_default()))
            }
            ("string", other) => json!(other.to_string()),
            ("integer", Value::Number(number)) => match number.as_i64() {
                Some(number) => json!(number),
                // As Go does: towards zero, and within what an integer holds.
                None => json!(number.as_f64().unwrap_or_default() as i64),
            },
            ("number", Value::Number(number)) => json!(number.as_f64()),
            ("boolean", Value::Bool(flag)) => json!(flag),
            ("date", Value::String(text)) => match objects::time::parse(text) {
                Ok(at) => json!(objects::columns::human(now.duration_since(at).as_secs())),
                Err(_) => json!("<invalid>"),
            },
            _ => Value::Null,
        }
    }
}

/// The cells of an object's row: its name, then one for each column.
pub fn cells(columns: &[Column], object: &Value, now: Timestamp) -> Vec<Value> {
    let name = object["metadata"]["name"].clone();
    std::iter::once(name).chain(columns.iter().map(|column| column.cell(object, now))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_upstreams() {
        let now: Timestamp = "2024-01-01T00:10:00Z".parse().expect("a time");
        let object = json!({
            "metadata": {"name": "a", "creationTimestamp": "2024-01-01T00:00:00Z"},
            "spec": {"n": 3, "f": 1.5, "b": true, "s": "x", "list": [1], "null": null},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        for (ty, path, cell) in [
            ("string", ".spec.s", json!("x")),
            ("string", ".spec.n", json!("3")),
            ("string", ".spec.f", json!("1.5")),
            ("string", ".spec.list", json!("[1]")),
            ("string", ".spec.null", json!(null)),
            ("string", ".spec.nope", json!(null)),
            ("string", ".status.conditions[?(@.type==\"Ready\")].status", json!("True")),
            ("integer", ".spec.n", json!(3)),
            ("integer", ".spec.f", json!(1)),
            ("integer", ".spec.s", json!(null)),
            ("number", ".spec.n", json!(3.0)),
            ("boolean", ".spec.b", json!(true)),
            ("boolean", ".spec.s", json!(null)),
            ("date", ".metadata.creationTimestamp", json!("10m")),
            ("date", ".spec.s", json!("<invalid>")),
        ] {
            let column = Column::read(&json!({"name": "x", "type": ty, "jsonPath": path})).expect("a column");
            assert_eq!(column.cell(&object, now), cell, "{ty} {path}");
        }
        assert_eq!(cells(&[Column::age()], &object, now), [json!("a"), json!("10m")]);
    }

    #[test]
    fn bad_columns_are_told_why() {
        for (column, field) in [
            (json!({"type": "string", "jsonPath": ".a"}), "c.name"),
            (json!({"name": "a", "jsonPath": ".a"}), "c.type"),
            (json!({"name": "a", "type": "object", "jsonPath": ".a"}), "c.type"),
            (json!({"name": "a", "type": "string", "format": "x", "jsonPath": ".a"}), "c.format"),
            (json!({"name": "a", "type": "string"}), "c.JSONPath"),
            (json!({"name": "a", "type": "string", "jsonPath": "a"}), "c.JSONPath"),
            (json!({"name": "a", "type": "string", "jsonPath": ".a..b"}), "c.JSONPath"),
        ] {
            let mut faults = Faults::default();
            Column::check(&column, &Place::at("c"), &mut faults);
            let fields: Vec<String> = faults.into_causes().into_iter().map(|cause| cause.field).collect();
            assert_eq!(fields, [field], "{column}");
        }
    }
}
