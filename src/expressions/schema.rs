//! Types out of structural schemas, with the bounds that the estimate of costs needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::names::escape;
use crate::types::{Field, ListType, ObjectType, Order, Shape, Type};

/// Bytes of the largest request: what bounds everything that a schema does not.
const REQUEST_MAX: u64 = 3 * 1024 * 1024;
/// Characters of the longest duration, date and time in JSON, quotes included.
const DURATION_MAX: u64 = 32;
const DATE_MAX: u64 = 12;
const TIME_MAX: u64 = 32;

/// The declaration of a structural (OpenAPI v3) `schema`, as upstream derives it; `None` when expressions cannot see such
/// values at all (no type, untyped items, unknown fields only).
///
/// `root` says that the schema is that of a whole resource: `apiVersion`, `kind`, `metadata.name` and
/// `metadata.generateName` are then always there. Object types are named after `name` and their path.
pub fn shape_of_schema(schema: &Value, root: bool, name: &str) -> Option<Shape> {
    sized(schema, root, name).map(|(shape, _)| shape)
}

/// How many values at most stand below one that has this schema: what a nested rule's cost is multiplied by. `None` when
/// only the size of the request bounds the list or map.
pub fn max_elements(schema: &Value) -> Option<u64> {
    match schema["type"].as_str() {
        Some("array") => schema["maxItems"].as_u64(),
        Some("object") => schema["maxProperties"].as_u64(),
        _ => None,
    }
}

/// Upper bound of how often one rule is evaluated per object, when the list or map around it has `schema` and stands
/// `around` times: upstream's cardinality.
pub fn cardinality(schema: &Value, around: u64) -> u64 {
    let inner = if schema["type"] == "array" { &schema["items"] } else { &schema["additionalProperties"] };
    let least = sized(inner, flag(inner, "x-kubernetes-embedded-resource"), "object").map_or(1, |(_, least)| least);
    let most = max_elements(schema).unwrap_or_else(|| {
        let overhead = if schema["type"] == "array" { 1 } else { 6 };
        (REQUEST_MAX - 2) / (least + overhead)
    });
    around.saturating_mul(most)
}

fn flag(schema: &Value, name: &str) -> bool {
    schema[name].as_bool().unwrap_or(false)
}

/// The shape, and the least bytes that such a value takes in JSON.
fn sized(schema: &Value, root: bool, name: &str) -> Option<(Shape, u64)> {
    let length = || schema["maxLength"].as_i64().map(|length| u64::try_from(length).unwrap_or(0));
    if flag(schema, "x-kubernetes-int-or-string") {
        let max = length().map_or(REQUEST_MAX - 2, |length| length.saturating_mul(4));
        return Some((Shape::bounded(Type::Dyn, max), 1));
    }
    match schema["type"].as_str()? {
        "array" => array(schema, name),
        "object" if schema["additionalProperties"].is_object() => {
            let inner = &schema["additionalProperties"];
            let (value, least) = sized(inner, flag(inner, "x-kubernetes-embedded-resource"), &format!("{name}.@elem"))?;
            let max = max_elements(schema).unwrap_or((REQUEST_MAX - 2) / (least + 6));
            // Keys have no bound of their own.
            Some((Shape::bounded(Type::map(Shape::bounded(Type::String, REQUEST_MAX - 2), value), max), 2))
        }
        "object" => Some(object(schema, root, name)),
        "string" => Some(match schema["format"].as_str() {
            Some("byte") => (Shape::bounded(Type::Bytes, length().unwrap_or(REQUEST_MAX - 2)), 2),
            Some("duration") => (Shape::bounded(Type::Duration, DURATION_MAX), 3),
            Some("date") => (Shape::bounded(Type::Timestamp, DATE_MAX), DATE_MAX),
            Some("date-time") => (Shape::bounded(Type::Timestamp, TIME_MAX), 21),
            // A bound counts code points, each of up to four bytes.
            _ => match (length(), schema["enum"].as_array()) {
                (Some(length), _) => (Shape::bounded(Type::String, length.saturating_mul(4)), 2),
                (None, Some(values)) if !values.is_empty() => {
                    let longest = values.iter().filter_map(Value::as_str).map(str::len).max().unwrap_or(0);
                    (Shape::bounded(Type::String, longest as u64), 2)
                }
                _ => (Shape::bounded(Type::String, REQUEST_MAX - 2), 2),
            },
        }),
        "boolean" => Some((Type::Bool.into(), 4)),
        "number" => Some((Type::Double.into(), 1)),
        "integer" => Some((Type::Int.into(), 1)),
        _ => None,
    }
}

fn array(schema: &Value, name: &str) -> Option<(Shape, u64)> {
    let inner = &schema["items"];
    let (item, least) = sized(inner, flag(inner, "x-kubernetes-embedded-resource"), &format!("{name}.@idx"))?;
    let max = max_elements(schema).unwrap_or((REQUEST_MAX - 2) / (least + 1));
    let order = match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Order::Set,
        Some("map") => Order::Map(
            schema["x-kubernetes-list-map-keys"]
                .as_array()
                .map(|keys| keys.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                .unwrap_or_default(),
        ),
        _ => Order::Atomic,
    };
    Some((Shape::bounded(Type::List(Arc::new(ListType { item, order })), max), 2))
}

fn object(schema: &Value, root: bool, name: &str) -> (Shape, u64) {
    let mut fields = BTreeMap::new();
    let mut least = 2;
    let required: Vec<&str> =
        schema["required"].as_array().map(|names| names.iter().filter_map(Value::as_str).collect()).unwrap_or_default();
    for (property, inner) in schema["properties"].as_object().into_iter().flatten() {
        let embedded = flag(inner, "x-kubernetes-embedded-resource");
        let Some((shape, size)) = sized(inner, embedded, &format!("{name}.{property}")) else { continue };
        if required.contains(&property.as_str()) && inner.get("default").is_none() {
            least += property.len() as u64 + size + 4;
        }
        if let Some(escaped) = escape(property) {
            fields.insert(escaped, Field { name: property.clone(), shape });
        }
    }
    if root {
        let text = || Shape::bounded(Type::String, REQUEST_MAX - 2);
        for always in ["apiVersion", "kind"] {
            fields.insert(always.into(), Field { name: always.into(), shape: text() });
        }
        let metadata = [("name".to_owned(), text()), ("generateName".to_owned(), text())];
        let metadata = Shape::object(format!("{name}.metadata"), metadata);
        fields.insert("metadata".into(), Field { name: "metadata".into(), shape: metadata });
    }
    let most = fields.len() as u64;
    (Shape::bounded(Type::Object(Arc::new(ObjectType { name: name.to_owned(), fields })), most), least)
}
