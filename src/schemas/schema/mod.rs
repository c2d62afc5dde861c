//! A structural schema in a typed form: what `openAPIV3Schema` says about one value and everything below it.
//!
//! One type serves both of upstream's (`pkg/apiserver/schema/structural.go`): `Structural`, and the `NestedValueValidation`
//! inside of `allOf`, `anyOf`, `oneOf` and `not`, which is a schema that may say less. `structural` holds what may be
//! said where. Operations on objects are in modules of their own beside this one.

mod check;
mod defaulting;
mod defaults;
pub(crate) mod keywords;
mod lists;
mod metadata;
mod parse;
mod prune;
pub(crate) mod structural;
mod write;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::format::Format;
use crate::pattern::Pattern;
use crate::rules::Rule;

pub(crate) use check::check;
pub(crate) use defaults::check as check_defaults;
pub(crate) use metadata::{Meta, coerce};
pub(crate) use parse::depth_fits;

/// How deep schemas may nest: deeper than any that is written by hand or generated from types, shallow enough for the
/// stack of a small thread.
pub const DEPTH_MAX: usize = 100;

/// How many schemas one schema may hold; the largest known definitions stay below a third of it.
pub const NODES_MAX: usize = 65_536;

/// What `type` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Type {
    /// `array`
    Array,
    /// `boolean`
    Boolean,
    /// `integer`
    Integer,
    /// `number`
    Number,
    /// `object`
    Object,
    /// `string`
    String,
}

impl Type {
    /// The names that exist, sorted.
    pub(crate) const NAMES: [&'static str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

    /// The type of a name.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "array" => Self::Array,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "object" => Self::Object,
            "string" => Self::String,
            _ => return None,
        })
    }

    /// As schemas spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Object => "object",
            Self::String => "string",
        }
    }
}

/// What `additionalProperties` says about keys that `properties` does not name.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Additional {
    /// Nothing.
    #[default]
    Unsaid,
    /// Whether there may be any.
    Allowed(bool),
    /// What their values are.
    Schema(Box<Schema>),
}

/// `x-kubernetes-list-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole.
    Atomic,
    /// Each value once, owned on its own.
    Set,
    /// Objects that are named by their keys.
    Map,
}

/// `x-kubernetes-map-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapType {
    /// Replaced as a whole.
    Atomic,
    /// Each field owned on its own.
    Granular,
}

/// The keywords of Kubernetes, `x-kubernetes-…`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extensions {
    /// Fields that the schema does not name are kept.
    pub preserve_unknown_fields: bool,
    /// The value is a Kubernetes object: it has `apiVersion`, `kind` and `metadata`.
    pub embedded_resource: bool,
    /// A number or a text.
    pub int_or_string: bool,
    /// How a list is merged and what may not repeat in it.
    pub list_type: Option<ListType>,
    /// The keys that name the elements of a [`ListType::Map`].
    pub list_map_keys: Vec<String>,
    /// How an object is merged.
    pub map_type: Option<MapType>,
    /// `x-kubernetes-validations`.
    pub rules: Vec<Rule>,
}

/// A bound of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// The bound.
    pub limit: f64,
    /// Whether the bound itself is outside.
    pub exclusive: bool,
}

/// Value validations: what the structure does not say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checks {
    /// `format`, with what it means here.
    pub format: Option<Format>,
    /// `pattern`
    pub pattern: Option<Pattern>,
    /// `maximum`, `exclusiveMaximum`
    pub maximum: Option<Bound>,
    /// `minimum`, `exclusiveMinimum`
    pub minimum: Option<Bound>,
    /// `multipleOf`
    pub multiple_of: Option<f64>,
    /// `maxLength`, in characters
    pub max_length: Option<u64>,
    /// `minLength`, in characters
    pub min_length: Option<u64>,
    /// `maxItems`
    pub max_items: Option<u64>,
    /// `minItems`
    pub min_items: Option<u64>,
    /// `uniqueItems`
    pub unique_items: bool,
    /// `maxProperties`
    pub max_properties: Option<u64>,
    /// `minProperties`
    pub min_properties: Option<u64>,
    /// `required`
    pub required: Vec<String>,
    /// `enum`
    pub one_of_values: Vec<Value>,
    /// `allOf`
    pub all_of: Vec<Schema>,
    /// `anyOf`
    pub any_of: Vec<Schema>,
    /// `oneOf`
    pub one_of: Vec<Schema>,
    /// `not`
    pub not: Option<Box<Schema>>,
}

/// What is known about one value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schema {
    /// `type`
    pub ty: Option<Type>,
    /// `title`
    pub title: Box<str>,
    /// `description`
    pub description: Box<str>,
    /// `nullable`
    pub nullable: bool,
    /// `default`; `null` is no default.
    pub default: Option<Value>,
    /// `properties`
    pub properties: BTreeMap<String, Schema>,
    /// `additionalProperties`
    pub additional: Additional,
    /// `items`
    pub items: Option<Box<Schema>>,
    /// `x-kubernetes-…`
    pub extensions: Extensions,
    /// Value validations; most schemas have none.
    pub checks: Option<Box<Checks>>,
    /// Whether `externalDocs` was given: it is dropped, but it may not stand everywhere.
    pub(crate) external_docs: bool,
}

impl Schema {
    /// Reads `openAPIV3Schema`.
    ///
    /// Keywords that do not exist are passed over, as Go's decoder does; those that exist and are not supported are
    /// errors. Whether the schema is structural is for `structural` to say.
    ///
    /// # Errors
    /// A value of the wrong type, an unsupported keyword, a pattern that is none, or a schema beyond [`DEPTH_MAX`] and
    /// [`NODES_MAX`].
    pub fn parse(value: &Value) -> Result<Self, crate::Error> {
        parse::parse(value)
    }

    /// The schema as `openAPIV3Schema`, without what is not kept (`externalDocs`, `example`).
    pub fn to_value(&self) -> Value {
        write::write(self)
    }

    /// The schema of the value under a key; `None` when nothing is known about it.
    pub fn child(&self, key: &str) -> Option<&Schema> {
        self.properties.get(key).or(match &self.additional {
            Additional::Schema(schema) => Some(schema),
            _ => None,
        })
    }

    /// Whether any schema in it has rules.
    pub fn has_rules(&self) -> bool {
        let additional = match &self.additional {
            Additional::Schema(schema) => schema.has_rules(),
            _ => false,
        };
        !self.extensions.rules.is_empty()
            || additional
            || self.items.as_ref().is_some_and(|items| items.has_rules())
            || self.properties.values().any(Schema::has_rules)
    }

    /// Removes what the schema does not know. Gives the removed fields' paths, sorted, as `spec.a[0].b`.
    ///
    /// The value is a whole object: its `apiVersion`, `kind` and `metadata` stay (`pkg/apiserver/schema/pruning`).
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::prune(self, object, true)
    }

    /// Fills in defaults, and drops nulls that are neither allowed nor defaulted (`pkg/apiserver/schema/defaulting`).
    ///
    /// To be done on every write and on every read, since a schema may have got defaults after the object was stored.
    pub fn fill(&self, object: &mut Value) {
        defaulting::drop_nulls(self, object);
        defaulting::default(self, object);
    }

    /// Brings `metadata` of embedded resources into form: drops what the type does not have.
    ///
    /// With `drop_invalid` (what is read from the store) also what has the wrong type. Gives the paths of fields that
    /// embedded metadata does not have.
    ///
    /// # Errors
    /// A cause for the first `apiVersion`, `kind` or `metadata` of the wrong type.
    pub fn coerce(&self, object: &mut Value, drop_invalid: bool) -> Result<Vec<String>, objects::Cause> {
        metadata::coerce(self, object, Meta::Embedded, drop_invalid)
    }

    /// What is wrong with a whole object by types and value validations; rules and metadata of the root aside.
    ///
    /// `old` is the object that it replaces: a part that did not change is not held against newer rules
    /// (`pkg/apiserver/validation/ratcheting.go`).
    pub fn check(&self, object: &Value, old: Option<&Value>) -> Vec<objects::Cause> {
        check(self, object, old, &crate::place::Place::ROOT)
    }

    /// What is wrong with the metadata of embedded resources (`pkg/apiserver/schema/objectmeta/validation.go`).
    pub fn check_embedded(&self, object: &Value) -> Vec<objects::Cause> {
        metadata::check(self, object, Meta::Embedded, &crate::place::Place::ROOT)
    }

    /// What stands twice in lists of types set and map (`pkg/apiserver/schema/listtype/validation.go`).
    pub fn check_lists(&self, object: &Value) -> Vec<objects::Cause> {
        lists::check(self, object)
    }
}

#[cfg(test)]
mod tests;
