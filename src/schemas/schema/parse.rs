//! From JSON to a [`Schema`]. Follows upstream's `pkg/apiserver/schema/convert.go`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Additional, Bound, Checks, DEPTH_MAX, Extensions, ListType, MapType, NODES_MAX, Schema, Type};
use crate::Error;
use crate::format::Format;
use crate::pattern::Pattern;
use crate::place::Place;
use crate::rules::Rule;

/// Keywords that structural schemas do not have.
const UNSUPPORTED: [&str; 7] =
    ["id", "$schema", "$ref", "patternProperties", "dependencies", "additionalItems", "definitions"];

pub(super) fn parse(value: &Value) -> Result<Schema, Error> {
    Parser { nodes: 0 }.schema(value, &Place::ROOT, DEPTH_MAX)
}

/// Whether raw JSON nests no deeper than a schema of [`DEPTH_MAX`] can: what walks it before it is parsed asks first.
pub(crate) fn depth_fits(value: &Value) -> bool {
    fn fits(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(items) => left > 0 && items.iter().all(|item| fits(item, left - 1)),
            Value::Object(map) => left > 0 && map.values().all(|item| fits(item, left - 1)),
            _ => true,
        }
    }
    fits(value, 2 * DEPTH_MAX + 32)
}

struct Parser {
    nodes: usize,
}

impl Parser {
    fn schema(&mut self, value: &Value, place: &Place<'_>, left: usize) -> Result<Schema, Error> {
        let Some(left) = left.checked_sub(1) else { return Err(Error::TooDeep(DEPTH_MAX)) };
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Error::TooLarge(NODES_MAX));
        }
        let map = value.as_object().ok_or_else(|| malformed(place, "object", value))?;
        for keyword in UNSUPPORTED {
            let given = map.get(keyword).is_some_and(|value| match value {
                Value::Null => false,
                Value::String(text) => !text.is_empty(),
                Value::Object(map) => !map.is_empty() || keyword == "additionalItems",
                _ => true,
            });
            if given {
                return Err(Error::Keyword(if keyword == "$schema" { "schema" } else { keyword }));
            }
        }
        let read = Reader { map, place };
        let ty = match read.text("type")? {
            "" => None,
            name => Some(Type::of(name).ok_or_else(|| {
                let expected = "array, boolean, integer, number, object or string";
                malformed(&place.field("type"), expected, &Value::String(name.to_owned()))
            })?),
        };
        let extensions = extensions(&read)?;
        let mut properties = BTreeMap::new();
        for (name, value) in read.object("properties")?.into_iter().flatten() {
            let below = place.field("properties");
            properties.insert(name.clone(), self.schema(value, &below.key(name), left)?);
        }
        let additional = match map.get("additionalProperties") {
            None | Some(Value::Null) => Additional::Unsaid,
            Some(Value::Bool(allowed)) => Additional::Allowed(*allowed),
            Some(value) => {
                Additional::Schema(Box::new(self.schema(value, &place.field("additionalProperties"), left)?))
            }
        };
        let items = match map.get("items") {
            None | Some(Value::Null) => None,
            Some(Value::Array(_)) => return Err(Error::ItemsArray),
            Some(value) => Some(Box::new(self.schema(value, &place.field("items"), left)?)),
        };
        let checks = self.checks(&read, ty, extensions.int_or_string, left)?;
        Ok(Schema {
            ty,
            title: read.text("title")?.into(),
            description: read.text("description")?.into(),
            nullable: read.flag("nullable")?,
            default: map.get("default").filter(|value| !value.is_null()).cloned(),
            properties,
            additional,
            items,
            checks: (checks != Checks::default()).then(|| Box::new(checks)),
            external_docs: map.get("externalDocs").is_some_and(|docs| !docs.is_null()),
            extensions,
        })
    }

    fn checks(
        &mut self,
        read: &Reader<'_>,
        ty: Option<Type>,
        int_or_string: bool,
        left: usize,
    ) -> Result<Checks, Error> {
        let bound = |limit: &str, exclusive: &str| -> Result<Option<Bound>, Error> {
            let exclusive = read.flag(exclusive)?;
            Ok(read.number(limit)?.map(|limit| Bound { limit, exclusive }))
        };
        // A type of two makes formats of numbers mean nothing.
        let typed = if int_or_string { None } else { ty };
        let not = match read.map.get("not") {
            None | Some(Value::Null) => None,
            Some(value) => Some(Box::new(self.schema(value, &read.place.field("not"), left)?)),
        };
        Ok(Checks {
            format: Some(read.text("format")?).filter(|text| !text.is_empty()).map(|text| Format::of(text, typed)),
            pattern: match read.text("pattern")? {
                "" => None,
                text => Some(Pattern::new(text).map_err(Error::Pattern)?),
            },
            maximum: bound("maximum", "exclusiveMaximum")?,
            minimum: bound("minimum", "exclusiveMinimum")?,
            multiple_of: read.number("multipleOf")?,
            max_length: read.count("maxLength")?,
            min_length: read.count("minLength")?,
            max_items: read.count("maxItems")?,
            min_items: read.count("minItems")?,
            unique_items: read.flag("uniqueItems")?,
            max_properties: read.count("maxProperties")?,
            min_properties: read.count("minProperties")?,
            required: read.texts("required")?,
            one_of_values: read.list("enum")?.to_vec(),
            all_of: self.schemas(read, "allOf", left)?,
            any_of: self.schemas(read, "anyOf", left)?,
            one_of: self.schemas(read, "oneOf", left)?,
            not,
        })
    }

    fn schemas(&mut self, read: &Reader<'_>, key: &str, left: usize) -> Result<Vec<Schema>, Error> {
        let below = read.place.field(key);
        let list = read.list(key)?.iter().enumerate();
        list.map(|(at, value)| self.schema(value, &below.index(at), left)).collect()
    }
}

fn extensions(read: &Reader<'_>) -> Result<Extensions, Error> {
    let unknown = |key: &'static str, expected: &'static str, name: &str| {
        malformed(&read.place.field(key), expected, &Value::String(name.to_owned()))
    };
    let list_type = match read.text("x-kubernetes-list-type")? {
        "" => None,
        "atomic" => Some(ListType::Atomic),
        "set" => Some(ListType::Set),
        "map" => Some(ListType::Map),
        other => return Err(unknown("x-kubernetes-list-type", "atomic, set or map", other)),
    };
    let map_type = match read.text("x-kubernetes-map-type")? {
        "" => None,
        "atomic" => Some(MapType::Atomic),
        "granular" => Some(MapType::Granular),
        other => return Err(unknown("x-kubernetes-map-type", "atomic or granular", other)),
    };
    let below = read.place.field("x-kubernetes-validations");
    let mut rules = Vec::new();
    for (at, value) in read.list("x-kubernetes-validations")?.iter().enumerate() {
        let place = below.index(at);
        let map = value.as_object().ok_or_else(|| malformed(&place, "object", value))?;
        let read = Reader { map, place: &place };
        rules.push(Rule {
            rule: read.text("rule")?.into(),
            message: read.text("message")?.into(),
            message_expression: read.text("messageExpression")?.into(),
            reason: Some(read.text("reason")?).filter(|reason| !reason.is_empty()).map(Into::into),
            field_path: read.text("fieldPath")?.into(),
            optional_old_self: match map.get("optionalOldSelf") {
                None | Some(Value::Null) => None,
                Some(_) => Some(read.flag("optionalOldSelf")?),
            },
            program: None,
        });
    }
    Ok(Extensions {
        preserve_unknown_fields: read.flag("x-kubernetes-preserve-unknown-fields")?,
        embedded_resource: read.flag("x-kubernetes-embedded-resource")?,
        int_or_string: read.flag("x-kubernetes-int-or-string")?,
        list_type,
        list_map_keys: read.texts("x-kubernetes-list-map-keys")?,
        map_type,
        rules,
    })
}

/// Reads the keywords of one schema; absent and null are the same.
struct Reader<'a> {
    map: &'a Map<String, Value>,
    place: &'a Place<'a>,
}

impl<'a> Reader<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn wrong<T>(&self, key: &str, expected: &'static str, value: &Value) -> Result<T, Error> {
        Err(malformed(&self.place.field(key), expected, value))
    }

    fn text(&self, key: &str) -> Result<&'a str, Error> {
        match self.get(key) {
            None => Ok(""),
            Some(Value::String(text)) => Ok(text),
            Some(other) => self.wrong(key, "string", other),
        }
    }

    fn flag(&self, key: &str) -> Result<bool, Error> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => self.wrong(key, "boolean", other),
        }
    }

    fn number(&self, key: &str) -> Result<Option<f64>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) => Ok(Some(number)),
                None => self.wrong(key, "number", value),
            },
        }
    }

    /// A count; what upstream takes as a negative one can never be met or always is, so it is refused here.
    fn count(&self, key: &str) -> Result<Option<u64>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(count) => Ok(Some(count)),
                None => self.wrong(key, "integer that is not negative", value),
            },
        }
    }

    fn list(&self, key: &str) -> Result<&'a [Value], Error> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(other) => self.wrong(key, "array", other),
        }
    }

    fn texts(&self, key: &str) -> Result<Vec<String>, Error> {
        let list = self.list(key)?.iter();
        list.map(|value| match value {
            Value::String(text) => Ok(text.clone()),
            other => self.wrong(key, "array of strings", other),
        })
        .collect()
    }

    fn object(&self, key: &str) -> Result<Option<&'a Map<String, Value>>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(other) => self.wrong(key, "object", other),
        }
    }
}

fn malformed(place: &Place<'_>, expected: &'static str, value: &Value) -> Error {
    let found = match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "a boolean".into(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{:?}", text.chars().take(64).collect::<String>()),
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
    };
    Error::Malformed { path: place.to_string(), expected, found }
}
