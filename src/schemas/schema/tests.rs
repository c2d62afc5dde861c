//! Structural schemas: reading, structure, pruning, defaults, checks.

use serde_json::json;

use super::*;
use crate::Error;
use crate::place::Place;

fn schema(value: Value) -> Schema {
    Schema::parse(&value).unwrap_or_else(|error| panic!("{value}: {error}"))
}

/// A schema of an object with one field `a`.
fn about(field: Value) -> Schema {
    schema(json!({"type": "object", "properties": {"a": field}}))
}

fn told(causes: &[objects::Cause]) -> Vec<String> {
    causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

#[test]
fn a_schema_survives_being_written() {
    let value = json!({
        "type": "object", "title": "t", "description": "d", "required": ["spec"],
        "properties": {
            "spec": {
                "type": "object", "nullable": true, "default": {"n": 1}, "maxProperties": 3, "minProperties": 1,
                "properties": {
                    "n": {"type": "integer", "format": "int32", "maximum": 5, "exclusiveMaximum": true, "minimum": 0.5, "multipleOf": 2},
                    "s": {"type": "string", "pattern": "^a$", "maxLength": 3, "minLength": 1, "enum": ["a", "b"]},
                    "l": {
                        "type": "array", "maxItems": 4, "minItems": 1, "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["k"],
                        "items": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"k": {"type": "string"}}},
                    },
                    "m": {"type": "object", "additionalProperties": {"type": "boolean"}},
                    "f": {"type": "object", "additionalProperties": true},
                    "p": {"x-kubernetes-preserve-unknown-fields": true},
                    "i": {"x-kubernetes-int-or-string": true, "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}]},
                    "e": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
                },
                "oneOf": [{"required": ["n"]}, {"required": ["s"]}], "not": {"required": ["x"]},
                "x-kubernetes-validations": [{
                    "rule": "self.n > 0", "message": "m", "messageExpression": "'x'", "reason": "FieldValueForbidden",
                    "fieldPath": ".n", "optionalOldSelf": true,
                }],
            },
        },
    });
    let parsed = schema(value.clone());
    assert_eq!(parsed.to_value(), value);
    assert_eq!(schema(parsed.to_value()), parsed);
    assert!(parsed.has_rules());
    assert_eq!(structural::check(&parsed, &Place::ROOT), []);
}

#[test]
fn what_cannot_be_read_is_named() {
    for (value, error) in [
        (json!({"$ref": "#/a"}), Error::Keyword("$ref")),
        (json!({"definitions": {"a": {}}}), Error::Keyword("definitions")),
        (json!({"items": [{}]}), Error::ItemsArray),
        (
            json!({"properties": {"a": {"maxLength": "x"}}}),
            Error::Malformed {
                path: "properties[a].maxLength".into(),
                expected: "integer that is not negative",
                found: "\"x\"".into(),
            },
        ),
        (
            json!({"type": "file"}),
            Error::Malformed {
                path: "type".into(),
                expected: "array, boolean, integer, number, object or string",
                found: "\"file\"".into(),
            },
        ),
    ] {
        assert_eq!(Schema::parse(&value), Err(error), "{value}");
    }
    assert!(matches!(Schema::parse(&json!({"pattern": "("})), Err(Error::Pattern(_))));
    // Keywords that do not exist are passed over, as Go's decoder does.
    assert_eq!(schema(json!({"const": 1, "if": {}})), Schema::default());
}

#[test]
fn hostile_schemas_are_refused() {
    let deep = (0..DEPTH_MAX).fold(json!({"type": "object"}), |below, _| json!({"properties": {"a": below}}));
    assert_eq!(Schema::parse(&deep), Err(Error::TooDeep(DEPTH_MAX)));
    let wide: serde_json::Map<String, Value> =
        (0..NODES_MAX).map(|at| (at.to_string(), json!({"type": "string"}))).collect();
    assert_eq!(Schema::parse(&json!({"properties": wide})), Err(Error::TooLarge(NODES_MAX)));
    assert!(!depth_fits(&(0..2000).fold(json!({}), |below, _| json!([below]))));
}

#[test]
fn structure_is_demanded() {
    for (value, causes) in [
        (json!({}), &["s.type: Required value: must not be empty at the root"][..]),
        (json!({"type": "string"}), &["s.type: Invalid value: \"string\": must be object at the root"]),
        (
            json!({"type": "object", "properties": {"a": {}}}),
            &["s.properties[a].type: Required value: must not be empty for specified object fields"],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "items": {}}}}),
            &["s.properties[a].items.type: Required value: must not be empty for specified array items"],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array"}}}),
            &["s.properties[a].items: Required value: must be specified"],
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            &["s.additionalProperties: Forbidden: must not be used at the root"],
        ),
        (
            json!({"type": "object", "properties": {"a": {"x-kubernetes-int-or-string": true, "x-kubernetes-preserve-unknown-fields": true}}}),
            &["s.properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if \
               x-kubernetes-int-or-string is true"],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            &[
                "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is \
               implicitly specified",
            ],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}}}}),
            &[],
        ),
        (
            json!({"type": "object", "properties": {"kind": {"type": "integer"}}}),
            &["s.properties[kind].type: Invalid value: \"integer\": must be string"],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "object", "x-kubernetes-embedded-resource": true}}}),
            &[
                "s.properties[a].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without \
               x-kubernetes-preserve-unknown-fields",
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "anyOf": [{"properties": {"a": {"type": "string", "description": "d"}}}]}),
            &[
                "s.anyOf[0].properties[a].description: Forbidden: must be empty to be structural",
                "s.anyOf[0].properties[a].type: Forbidden: must be empty to be structural",
            ],
        ),
        (
            json!({"type": "object", "allOf": [{"properties": {"b": {"minLength": 1}}}]}),
            &["s.properties[b]: Required value: because it is defined in s.allOf[0].properties[b]"],
        ),
        (
            json!({"type": "object", "properties": {"a": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}}}),
            &[],
        ),
    ] {
        assert_eq!(told(&structural::check(&schema(value.clone()), &Place::at("s"))), causes, "{value}");
    }
}

#[test]
fn unknown_fields_are_removed_and_named() {
    let schema = schema(json!({
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {
                "a": {"type": "string"},
                "list": {"type": "array", "items": {"type": "object", "properties": {"b": {"type": "string"}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"c": {"type": "string"}}}},
                "keep": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"d": {"type": "object", "properties": {"e": {"type": "string"}}}},
                },
                "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
            }},
        },
    }));
    let mut object = json!({
        "apiVersion": "a/v1", "kind": "K", "metadata": {"name": "n"}, "other": 1,
        "spec": {
            "a": "x", "z": 1, "list": [{"b": "x", "z": 1}, {"z": 2}], "map": {"k": {"c": "x", "z": 1}},
            "keep": {"x": {"y": 1}, "d": {"e": "x", "z": 1}},
            "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"z": 1}, "z": 1},
        },
    });
    let removed = schema.prune(&mut object);
    assert_eq!(
        removed,
        [
            "other",
            "spec.keep.d.z",
            "spec.list[0].z",
            "spec.list[1].z",
            "spec.map.k.z",
            "spec.pod.spec.z",
            "spec.pod.z",
            "spec.z"
        ]
    );
    assert_eq!(
        object,
        json!({
            "apiVersion": "a/v1", "kind": "K", "metadata": {"name": "n"},
            "spec": {
                "a": "x", "list": [{"b": "x"}, {}], "map": {"k": {"c": "x"}}, "keep": {"x": {"y": 1}, "d": {"e": "x"}},
                "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}},
            },
        })
    );
    assert!(schema.prune(&mut object).is_empty());
}

#[test]
fn defaults_fill_what_is_absent_or_null() {
    let schema = schema(json!({
        "type": "object",
        "properties": {
            "spec": {"type": "object", "default": {}, "properties": {
                "n": {"type": "integer", "default": 1},
                "nullable": {"type": "string", "nullable": true, "default": "x"},
                "plain": {"type": "string"},
                "list": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "string", "default": "TCP"}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"q": {"type": "integer", "default": 2}}}},
            }},
        },
    }));
    for (object, filled) in [
        (json!({}), json!({"spec": {"n": 1, "nullable": "x"}})),
        (json!({"spec": null}), json!({"spec": {"n": 1, "nullable": "x"}})),
        (json!({"spec": {"n": null, "nullable": null, "plain": null}}), json!({"spec": {"n": 1, "nullable": null}})),
        (
            json!({"spec": {"n": 5, "nullable": "y", "list": [{}, {"p": "UDP"}], "map": {"k": {}}}}),
            json!({"spec": {"n": 5, "nullable": "y", "list": [{"p": "TCP"}, {"p": "UDP"}], "map": {"k": {"q": 2}}}}),
        ),
    ] {
        let mut value = object.clone();
        schema.fill(&mut value);
        assert_eq!(value, filled, "{object}");
        schema.fill(&mut value);
        assert_eq!(value, filled, "twice: {object}");
    }
}

#[test]
fn values_are_checked_in_upstreams_words() {
    for (field, value, causes) in [
        (
            json!({"type": "integer"}),
            json!("x"),
            &["a: Invalid value: \"string\": a in body must be of type integer: \"string\""][..],
        ),
        (json!({"type": "integer"}), json!(1.0), &[]),
        (
            json!({"type": "integer"}),
            json!(1.5),
            &["a: Invalid value: \"number\": a in body must be of type integer: \"number\""],
        ),
        (json!({"type": "number"}), json!(1), &[]),
        (
            json!({"type": "string"}),
            json!(null),
            &["a: Invalid value: \"null\": a in body must be of type string: \"null\""],
        ),
        (json!({"type": "string", "nullable": true}), json!(null), &[]),
        (json!({"x-kubernetes-int-or-string": true}), json!("1"), &[]),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            &["a: Invalid value: \"boolean\": a in body must be of type integer,string: \"boolean\""],
        ),
        (
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
            json!(0.5),
            &[
                "a: Invalid value: \"number\": a in body must be of type integer,string: \"number\"",
                "<nil>: Invalid value: \"\": \"a\" must validate at least one schema (anyOf)",
                "a: Invalid value: \"number\": a in body must be of type integer: \"number\"",
            ],
        ),
        (json!({"type": "string", "maxLength": 2}), json!("abc"), &["a: Too long: may not be more than 2 bytes"]),
        (json!({"type": "string", "maxLength": 2}), json!("äö"), &[]),
        (
            json!({"type": "string", "minLength": 2}),
            json!("a"),
            &["a: Invalid value: \"a\": a in body should be at least 2 chars long"],
        ),
        (
            json!({"type": "string", "pattern": "^a$"}),
            json!("b"),
            &["a: Invalid value: \"b\": a in body should match '^a$'"],
        ),
        (
            json!({"type": "string", "format": "ipv4"}),
            json!("x"),
            &["a: Invalid value: \"x\": a in body must be of type ipv4: \"x\""],
        ),
        (json!({"type": "string", "format": "cron"}), json!("x"), &[]),
        (json!({"type": "integer", "format": "int32"}), json!(5_000_000_000_i64), &[]),
        (
            json!({"type": "string", "enum": ["x", "y"]}),
            json!("z"),
            &["a: Unsupported value: \"z\": supported values: \"x\", \"y\""],
        ),
        (json!({"type": "number", "enum": [1]}), json!(1.0), &[]),
        (
            json!({"type": "integer", "maximum": 5}),
            json!(6),
            &["a: Invalid value: 6: a in body should be less than or equal to 5"],
        ),
        (
            json!({"type": "integer", "maximum": 5, "exclusiveMaximum": true}),
            json!(5),
            &["a: Invalid value: 5: a in body should be less than 5"],
        ),
        (
            json!({"type": "number", "minimum": 0.5}),
            json!(0.25),
            &["a: Invalid value: 0.25: a in body should be greater than or equal to 0.5"],
        ),
        (
            json!({"type": "integer", "multipleOf": 3}),
            json!(4),
            &["a: Invalid value: 4: a in body should be a multiple of 3"],
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "minItems": 2}),
            json!(["x"]),
            &["a: Invalid value: 1: a in body should have at least 2 items"],
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
            json!(["x", 1]),
            &[
                "a[1]: Invalid value: \"integer\": a[1] in body must be of type string: \"integer\"",
                "a: Too many: 2: must have at most 1 item",
            ],
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 1}),
            json!({"x": "1", "y": "2"}),
            &["a: Too many: 2: must have at most 1 item"],
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}),
            json!({}),
            &["a: Invalid value: 0: a in body should have at least 1 properties"],
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"x": 1}),
            &["a.x: Invalid value: \"integer\": a.x in body must be of type string: \"integer\""],
        ),
        (
            json!({"type": "object", "additionalProperties": false}),
            json!({"x": 1}),
            &["a: Invalid value: \"x\": a.x in body is a forbidden property"],
        ),
        (
            json!({"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x", "y"]}),
            json!({"x": "1"}),
            &["a.y: Required value"],
        ),
        (
            json!({"type": "object", "properties": {"x": {"type": "string"}, "y": {"type": "string"}}, "oneOf": [{"required": ["x"]}, {"required": ["y"]}]}),
            json!({"x": "", "y": ""}),
            &[
                "<nil>: Invalid value: \"\": \"a\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
            ],
        ),
        (
            json!({"type": "object", "properties": {"x": {"type": "string"}, "y": {"type": "string"}}, "oneOf": [{"required": ["x"]}, {"required": ["y"]}]}),
            json!({}),
            &[
                "<nil>: Invalid value: \"\": \"a\" must validate one and only one schema (oneOf). Found none valid",
                "a.x: Required value",
            ],
        ),
        (json!({"type": "string", "allOf": [{"minLength": 2}, {"pattern": "^b"}]}), json!("bb"), &[]),
        (
            json!({"type": "string", "allOf": [{"minLength": 2}]}),
            json!("b"),
            &[
                "a: Invalid value: \"b\": a in body should be at least 2 chars long",
                "<nil>: Invalid value: \"\": \"a\" must validate all the schemas (allOf). None validated",
            ],
        ),
        (
            json!({"type": "string", "not": {"pattern": "^b"}}),
            json!("b"),
            &["<nil>: Invalid value: \"\": \"a\" must not validate the schema (not)"],
        ),
    ] {
        assert_eq!(told(&about(field.clone()).check(&json!({"a": value}), None)), causes, "{field} {value}");
    }
}

#[test]
fn what_did_not_change_is_not_held_against_an_object() {
    let schema = schema(json!({
        "type": "object",
        "properties": {
            "a": {"type": "string", "maxLength": 1},
            "b": {"type": "string", "maxLength": 1},
            "list": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "string", "maxLength": 1}}},
            },
        },
    }));
    let old = json!({"a": "long", "b": "x", "list": [{"k": "1", "v": "long"}]});
    let new = json!({"a": "long", "b": "longer", "list": [{"k": "0", "v": "longer"}, {"k": "1", "v": "long"}]});
    let fields: Vec<String> = schema.check(&new, Some(&old)).into_iter().map(|cause| cause.field).collect();
    assert_eq!(fields, ["b", "list[0].v"]);
    assert_eq!(schema.check(&new, None).len(), 4);
}

#[test]
fn lists_hold_each_element_once() {
    let schema = schema(json!({
        "type": "object",
        "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "l"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "l": {"type": "integer"}}},
            },
        },
    }));
    let object = json!({
        "set": ["a", "b", "a", "a"],
        "map": [{"k": "x", "l": 1}, {"k": "x", "l": 2}, {"k": "x", "l": 1}, {"k": "y"}, {"k": "y"}],
    });
    assert_eq!(
        told(&schema.check_lists(&object)),
        [
            "map[2]: Duplicate value: {\"k\":\"x\",\"l\":1}",
            "map[4]: Duplicate value: {\"k\":\"y\"}",
            "set[2]: Duplicate value: \"a\"",
        ]
    );
    assert_eq!(
        told(&schema.check_lists(&json!({"map": [7]}))),
        ["map[0]: Invalid value: 7: must be an object for an array of list-type map"]
    );
}

#[test]
fn embedded_metadata_is_brought_into_form_and_checked() {
    let schema = about(json!({
        "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true,
    }));
    let good =
        json!({"a": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"x": "y"}}, "spec": {}}});
    assert_eq!(schema.check_embedded(&good), []);
    let bad = json!({"a": {"apiVersion": "a/b/c", "kind": "-", "metadata": {"name": "a/b", "labels": {"-": "x"}}}});
    let fields: Vec<String> = schema.check_embedded(&bad).into_iter().map(|cause| cause.field).collect();
    assert_eq!(fields, ["a.apiVersion", "a.kind", "a.metadata.name", "a.metadata.labels"]);
    assert_eq!(told(&schema.check_embedded(&json!({"a": {"kind": "Pod"}}))), ["a.apiVersion: Required value"]);

    let mut object = json!({"a": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "nope": 1, "creationTimestamp": null}}});
    assert_eq!(schema.coerce(&mut object, false), Ok(vec!["a.metadata.nope".to_owned()]));
    assert_eq!(object["a"]["metadata"], json!({"name": "p"}));
    let malformed = json!({"a": {"apiVersion": 1, "kind": "Pod", "metadata": {"name": 7, "labels": {"x": "y"}}}});
    assert_eq!(schema.coerce(&mut malformed.clone(), false).unwrap_err().field, "a.apiVersion");
    let mut kept = malformed;
    assert_eq!(schema.coerce(&mut kept, true), Ok(vec![]));
    assert_eq!(kept, json!({"a": {"kind": "Pod", "metadata": {"labels": {"x": "y"}}}}));
}

#[test]
fn defaults_have_to_be_good_themselves() {
    for (field, causes) in [
        (json!({"type": "string", "default": "x"}), &[][..]),
        (
            json!({"type": "integer", "default": "x"}),
            &[
                "s.properties[a].default: Invalid value: \"string\": s.properties[a].default in body must be of type integer: \
               \"string\"",
            ],
        ),
        (
            json!({"type": "object", "properties": {"b": {"type": "string"}}, "default": {"b": "x", "c": 1}}),
            &["s.properties[a].default: Invalid value: {\"b\":\"x\",\"c\":1}: must not have unknown fields"],
        ),
        (
            json!({
                "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"metadata": {"type": "object", "properties": {"name": {"type": "string", "default": "a/b"}}}},
            }),
            &[
                "s.properties[a].properties[metadata].properties[name].default: Invalid value: \"a/b\": must result in valid \
               metadata: metadata.name: Invalid value: \"a/b\": may not contain '/'",
            ],
        ),
    ] {
        assert_eq!(told(&check_defaults(&about(field.clone()), &Place::at("s"))), causes, "{field}");
    }
}
