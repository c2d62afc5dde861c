//! From what a client sent to a definition: unknown fields named and removed, types checked.
//!
//! The kind of definitions is described in its own language, by a structural schema; only schemas inside of definitions,
//! which hold each other, are walked by hand. Fields are those of upstream's `pkg/apis/apiextensions/v1/types.go` and
//! `types_jsonschema.go`.

use std::sync::LazyLock;

use objects::Status;
use objects::canonical::Warning;
use serde_json::{Value, json};

use super::kind;
use crate::faults::CAUSES_MAX;
use crate::schema::depth_fits;
use crate::{Schema, object};

/// What a definition is made of.
static FORM: LazyLock<Schema> = LazyLock::new(|| {
    Schema::parse(&form()).unwrap_or_else(|error| unreachable!("the schema of definitions is a constant: {error}"))
});

/// Reads a body as a definition, ready for [`super::default`].
///
/// `null` and absence are the same. Unknown fields are removed and named, in the definition and in its schemas.
///
/// # Errors
/// 400 for what is no definition: another kind, values of the wrong types, too deep.
pub fn decode(value: Value) -> Result<(Value, Vec<Warning>), Status> {
    let (mut value, mut warnings) = object::decode(kind(), &FORM, value)?;
    FORM.fill(&mut value);
    let versions = value.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
    for (at, version) in versions.into_iter().flatten().enumerate() {
        let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") else { continue };
        let path = format!("spec.versions[{at}].schema.openAPIV3Schema");
        if !depth_fits(schema) {
            let reason = crate::Error::TooDeep(crate::schema::DEPTH_MAX);
            return Err(refused(&path, &reason.to_string()));
        }
        prune(schema, &path, &mut warnings);
    }
    if let Some(cause) = FORM.check(&value, None).into_iter().next() {
        return Err(refused(&cause.field, &cause.message));
    }
    warnings.truncate(CAUSES_MAX);
    Ok((value, warnings))
}

fn refused(path: &str, reason: &str) -> Status {
    Status::bad_request(format!(
        "CustomResourceDefinition in version \"v1\" cannot be handled as a CustomResourceDefinition: {path}: {reason}"
    ))
}

/// How the value of a keyword goes on.
enum Below {
    /// It holds no schema.
    Nothing,
    /// It is a schema, or (as `additionalProperties`) something else.
    Schema,
    /// It holds schemas, by name or by position.
    Schemas,
    /// It is a rule, or a list of them.
    Rules,
}

fn below(keyword: &str) -> Option<Below> {
    Some(match keyword {
        "id"
        | "$schema"
        | "$ref"
        | "description"
        | "type"
        | "format"
        | "title"
        | "default"
        | "maximum"
        | "exclusiveMaximum"
        | "minimum"
        | "exclusiveMinimum"
        | "maxLength"
        | "minLength"
        | "pattern"
        | "maxItems"
        | "minItems"
        | "uniqueItems"
        | "multipleOf"
        | "enum"
        | "maxProperties"
        | "minProperties"
        | "required"
        | "externalDocs"
        | "example"
        | "nullable"
        | "x-kubernetes-preserve-unknown-fields"
        | "x-kubernetes-embedded-resource"
        | "x-kubernetes-int-or-string"
        | "x-kubernetes-list-map-keys"
        | "x-kubernetes-list-type"
        | "x-kubernetes-map-type" => Below::Nothing,
        "items" | "not" | "additionalProperties" | "additionalItems" => Below::Schema,
        "allOf" | "oneOf" | "anyOf" | "properties" | "patternProperties" | "dependencies" | "definitions" => {
            Below::Schemas
        }
        "x-kubernetes-validations" => Below::Rules,
        _ => return None,
    })
}

const RULE: [&str; 6] = ["rule", "message", "messageExpression", "reason", "fieldPath", "optionalOldSelf"];

/// Removes keywords that do not exist, and nulls.
fn prune(schema: &mut Value, path: &str, warnings: &mut Vec<Warning>) {
    let Some(map) = schema.as_object_mut() else { return };
    map.retain(|keyword, value| {
        let path = format!("{path}.{keyword}");
        let Some(below) = below(keyword) else {
            name(path, warnings);
            return false;
        };
        match (below, value) {
            (_, Value::Null) => return false,
            (Below::Schema, Value::Array(items)) => {
                for (at, item) in items.iter_mut().enumerate() {
                    prune(item, &format!("{path}[{at}]"), warnings);
                }
            }
            (Below::Schema, value) => prune(value, &path, warnings),
            (Below::Schemas, Value::Object(map)) => {
                for (key, schema) in map {
                    prune(schema, &format!("{path}.{key}"), warnings);
                }
            }
            (Below::Schemas, Value::Array(items)) => {
                for (at, item) in items.iter_mut().enumerate() {
                    prune(item, &format!("{path}[{at}]"), warnings);
                }
            }
            (Below::Rules, Value::Array(rules)) => {
                for (at, rule) in
                    rules.iter_mut().enumerate().filter_map(|(at, rule)| Some((at, rule.as_object_mut()?)))
                {
                    rule.retain(|key, _| {
                        let known = RULE.contains(&key.as_str());
                        if !known {
                            name(format!("{path}[{at}].{key}"), warnings);
                        }
                        known
                    });
                }
            }
            _ => {}
        }
        true
    });
}

fn name(path: String, warnings: &mut Vec<Warning>) {
    if warnings.len() < CAUSES_MAX {
        warnings.push(Warning::Unknown(path));
    }
}

fn form() -> Value {
    let text = json!({"type": "string"});
    let texts = json!({"type": "array", "items": text});
    let flag = json!({"type": "boolean"});
    let path = |fields: &[&str]| {
        let properties: serde_json::Map<String, Value> =
            fields.iter().map(|field| ((*field).to_owned(), text.clone())).collect();
        json!({"type": "object", "properties": properties})
    };
    let names = json!({"type": "object", "properties": {
        "plural": text, "singular": text, "kind": text, "listKind": text, "shortNames": texts, "categories": texts,
    }});
    let webhook = json!({"type": "object", "properties": {
        "conversionReviewVersions": texts,
        "clientConfig": {"type": "object", "properties": {
            "url": text, "caBundle": text,
            "service": {"type": "object", "properties": {
                "namespace": text, "name": text, "path": text, "port": {"type": "integer"},
            }},
        }},
    }});
    let mut column = path(&["name", "type", "format", "description", "jsonPath"]);
    column["properties"]["priority"] = json!({"type": "integer"});
    let mut condition = path(&["type", "status", "lastTransitionTime", "reason", "message"]);
    condition["properties"]["observedGeneration"] = json!({"type": "integer"});
    let free = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version = json!({"type": "object", "properties": {
        "name": text,
        "served": {"type": "boolean", "default": false},
        "storage": {"type": "boolean", "default": false},
        "deprecated": flag, "deprecationWarning": text,
        "schema": {"type": "object", "properties": {"openAPIV3Schema": free}},
        "subresources": {"type": "object", "properties": {
            "status": {"type": "object"},
            "scale": path(&["specReplicasPath", "statusReplicasPath", "labelSelectorPath"]),
        }},
        "additionalPrinterColumns": {"type": "array", "items": column},
        "selectableFields": {"type": "array", "items": path(&["jsonPath"])},
    }});
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "default": {}, "properties": {
            "group": text, "names": names, "scope": text, "preserveUnknownFields": flag,
            "versions": {"type": "array", "items": version},
            "conversion": {"type": "object", "properties": {"strategy": text, "webhook": webhook}},
        }},
        "status": {"type": "object", "properties": {
            "conditions": {"type": "array", "items": condition},
            "acceptedNames": names, "storedVersions": texts, "observedGeneration": {"type": "integer"},
        }},
    }})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::tests::definition;

    #[test]
    fn a_definition_is_what_it_was() {
        let (decoded, warnings) = decode(definition()).expect("decoded");
        assert_eq!((decoded, warnings), (definition(), vec![]));
    }

    #[test]
    fn unknown_fields_are_named_wherever_they_stand() {
        let mut body = definition();
        body["spec"]["foo"] = json!(1);
        let version = &mut body["spec"]["versions"][0];
        version["bar"] = json!(1);
        version.as_object_mut().expect("a version").remove("storage");
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["cronSpec"]["const"] = json!("x");
        version["schema"]["openAPIV3Schema"]["allOf"] = json!([{"if": {}}]);
        version["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] = json!([{"rule": "true", "baz": 1}]);
        version["schema"]["openAPIV3Schema"]["default"] = json!(null);
        let (decoded, warnings) = decode(body).expect("decoded");
        let warnings: Vec<String> = warnings.iter().map(Warning::to_string).collect();
        assert_eq!(
            warnings,
            [
                "unknown field \"spec.foo\"",
                "unknown field \"spec.versions[0].bar\"",
                "unknown field \"spec.versions[0].schema.openAPIV3Schema.allOf[0].if\"",
                "unknown field \"spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.cronSpec.const\"",
                "unknown field \"spec.versions[0].schema.openAPIV3Schema.x-kubernetes-validations[0].baz\"",
            ]
        );
        assert_eq!(decoded["spec"]["versions"][0]["storage"], false);
        assert!(decoded["spec"]["versions"][0]["schema"]["openAPIV3Schema"].get("default").is_none());
    }

    #[test]
    fn wrong_types_are_refused() {
        for (pointer, value) in [
            ("/spec", json!(7)),
            ("/spec/versions", json!({})),
            ("/spec/versions/0/served", json!("yes")),
            ("/spec/names/shortNames", json!([1])),
            ("/metadata/labels", json!(1)),
            ("/kind", json!("Pod")),
        ] {
            let mut body = definition();
            let (above, key) = pointer.rsplit_once('/').expect("a pointer");
            body.pointer_mut(above).expect("there")[key] = value;
            assert_eq!(decode(body).expect_err(pointer).code, 400, "{pointer}");
        }
    }
}
