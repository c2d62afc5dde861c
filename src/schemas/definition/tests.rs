//! Definitions: defaults, rules, names, conditions, reading.

use serde_json::{Value, json};

use super::*;
use crate::object::tests::definition;

fn told(causes: Vec<objects::Cause>) -> Vec<String> {
    causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

/// The definition with the value at a pointer replaced; null removes it.
fn with(changes: &[(&str, Value)]) -> Value {
    let mut definition = definition();
    for (pointer, value) in changes {
        let (above, key) = pointer.rsplit_once('/').expect("a pointer");
        let above = definition.pointer_mut(above).unwrap_or_else(|| panic!("{pointer}"));
        match (above, value) {
            (Value::Array(items), value) if key == "-" => items.push(value.clone()),
            (above, Value::Null) => drop(above.as_object_mut().expect("an object").remove(key)),
            (above, value) => above[key] = value.clone(),
        }
    }
    definition
}

const V1: &str = "/spec/versions/0";
const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";

#[test]
fn a_good_definition_passes() {
    assert_eq!(told(create(&definition(), None)), Vec::<String>::new());
    let old = with(&[("/metadata/creationTimestamp", json!("2024-01-01T00:00:00Z"))]);
    assert_eq!(told(update(&old, &old, None)), Vec::<String>::new());
}

/// What is changed in the definition, and how the causes begin.
type Row = (Vec<(String, Value)>, Vec<&'static str>);

#[test]
fn bad_definitions_are_told_why() {
    let second = json!({
        "name": "v2", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"a": {}}}},
    });
    let rows: Vec<Row> = vec![
        (
            vec![("/metadata/name".into(), json!("x.y"))],
            vec!["metadata.name: Invalid value: \"x.y\": must be spec.names.plural+\".\"+spec.group"],
        ),
        (
            vec![("/spec/scope".into(), json!("World"))],
            vec!["spec.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespaced\""],
        ),
        (vec![("/spec/scope".into(), Value::Null)], vec!["spec.scope: Required value"]),
        (
            vec![("/spec/names/kind".into(), json!("CronTabList"))],
            vec!["spec.names.listKind: Invalid value: \"CronTabList\": kind and listKind may not be the same"],
        ),
        (vec![("/spec/names/singular".into(), json!(""))], vec!["spec.names.singular: Required value"]),
        (vec![(format!("{V1}/storage"), json!(false))], vec!["spec.versions: Invalid value"]),
        (
            vec![(format!("{V1}/schema"), Value::Null), (format!("{V1}/selectableFields"), Value::Null)],
            vec!["spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"],
        ),
        (
            vec![(format!("{SCHEMA}/properties/spec/type"), Value::Null)],
            vec![
                "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
            ],
        ),
        (
            vec![(format!("{SCHEMA}/properties/spec/type"), json!("file"))],
            vec![
                "spec.validation.openAPIV3Schema.properties[spec].type: Unsupported value: \"file\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
            ],
        ),
        (
            vec![(format!("{SCHEMA}/properties/spec/$ref"), json!("#/x"))],
            vec!["spec.validation.openAPIV3Schema.properties[spec].$ref: Forbidden: $ref is not supported"],
        ),
        (
            vec![(format!("{SCHEMA}/properties/spec/uniqueItems"), json!(true))],
            vec![
                "spec.validation.openAPIV3Schema.properties[spec].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            ],
        ),
        (
            vec![(format!("{SCHEMA}/properties/spec/additionalProperties"), json!({"type": "string"}))],
            vec![
                "spec.validation.openAPIV3Schema.properties[spec].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
            ],
        ),
        (
            vec![(format!("{SCHEMA}/properties/spec/properties/cronSpec/pattern"), json!("("))],
            vec![
                "spec.validation.openAPIV3Schema.properties[spec].properties[cronSpec].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: error parsing regexp: ",
            ],
        ),
        (
            vec![(format!("{SCHEMA}/properties/spec/properties/replicas/default"), json!(11))],
            vec![
                "spec.validation.openAPIV3Schema.properties[spec].properties[replicas].default: Invalid value: 11: spec.validation.openAPIV3Schema.properties[spec].properties[replicas].default in body should be less than or equal to 10",
            ],
        ),
        (
            vec![(format!("{SCHEMA}/properties/metadata"), json!({"type": "object", "default": {}}))],
            vec![
                "spec.validation.openAPIV3Schema.properties[metadata].default: Forbidden: must not be set in top-level metadata",
            ],
        ),
        (
            vec![(format!("{SCHEMA}/nullable"), json!(true))],
            vec![
                "spec.validation.openAPIV3Schema: Invalid value",
                "spec.validation.openAPIV3Schema.nullable: Forbidden: nullable cannot be true at the root",
            ],
        ),
        (vec![(format!("{SCHEMA}/maxProperties"), json!(3))], vec!["spec.validation.openAPIV3Schema: Invalid value"]),
        (
            vec![(format!("{SCHEMA}/properties/spec/x-kubernetes-validations"), json!([{"rule": "true"}]))],
            vec![
                "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations: Forbidden: this server does not evaluate rules in CEL",
            ],
        ),
        (
            vec![(format!("{SCHEMA}/properties/spec/x-kubernetes-preserve-unknown-fields"), json!(false))],
            vec![
                "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined",
            ],
        ),
        (
            vec![(format!("{SCHEMA}/properties/spec/properties/hosts/items"), json!({"type": "object"}))],
            vec![
                "spec.validation.openAPIV3Schema.properties[spec].properties[hosts].items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set",
            ],
        ),
        (
            vec![(
                format!("{SCHEMA}/properties/spec/properties/hosts"),
                json!({
                    "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"],
                    "items": {"type": "object", "properties": {"a": {"type": "string"}}},
                }),
            )],
            vec![
                "spec.validation.openAPIV3Schema.properties[spec].properties[hosts].x-kubernetes-list-map-keys: Invalid value: [\"a\",\"b\"]: entries must all be names of item properties",
                "spec.validation.openAPIV3Schema.properties[spec].properties[hosts].items.properties[a].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ],
        ),
        (
            vec![(format!("{V1}/name"), json!("1"))],
            vec![
                "spec.versions[0].name: Invalid value: \"1\": a DNS-1035 label",
                "status.storedVersions: Invalid value",
                "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions",
            ],
        ),
        (
            vec![(format!("{V1}/deprecationWarning"), json!("x"))],
            vec!["spec.versions[0].deprecationWarning: Invalid value: \"x\": can only be set for deprecated versions"],
        ),
        (
            vec![(format!("{V1}/subresources/scale/specReplicasPath"), json!(".status.x"))],
            vec![
                "spec.subresources.scale.specReplicasPath: Invalid value: \".status.x\": should be a json path under .spec",
            ],
        ),
        (
            vec![(format!("{V1}/subresources/scale/statusReplicasPath"), json!(""))],
            vec!["spec.subresources.scale.statusReplicasPath: Required value"],
        ),
        (
            vec![(format!("{V1}/subresources/scale/labelSelectorPath"), json!(".x.y"))],
            vec![
                "spec.subresources.scale.labelSelectorPath: Invalid value: \".x.y\": should be a json path under either .spec or .status",
            ],
        ),
        (
            vec![(
                format!("{V1}/additionalPrinterColumns"),
                json!([{"name": "a", "type": "string", "jsonPath": "spec"}]),
            )],
            vec![
                "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"spec\": must be a simple json path starting with .",
            ],
        ),
        (
            vec![(
                format!("{V1}/selectableFields"),
                json!([{"jsonPath": ".spec.nope"}, {"jsonPath": ".spec"}, {"jsonPath": ".spec.cronSpec"}, {"jsonPath": ".spec.cronSpec"}]),
            )],
            vec![
                "spec.selectableFields[0].jsonPath: Invalid value: \".spec.nope\": is an invalid path: does not refer to a valid field",
                "spec.selectableFields[1].jsonPath: Invalid value: \".spec\": must point to a field of type string, boolean or integer.",
                "spec.selectableFields[3].jsonPath: Duplicate value: \".spec.cronSpec\"",
            ],
        ),
        (
            vec![("/spec/versions/-".into(), second)],
            vec![
                "spec.versions[1].schema.openAPIV3Schema.properties[a].type: Required value: must not be empty for specified object fields",
            ],
        ),
        (
            vec![("/spec/preserveUnknownFields".into(), json!(true))],
            vec!["spec.preserveUnknownFields: Invalid value: true: cannot set to true"],
        ),
        (
            vec![("/spec/conversion/strategy".into(), json!("Magic"))],
            vec!["spec.conversion.strategy: Unsupported value: \"Magic\": supported values: \"None\", \"Webhook\""],
        ),
        (
            vec![("/spec/conversion/strategy".into(), json!("Webhook"))],
            vec![
                "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
                "spec.conversion.conversionReviewVersions: Required value",
            ],
        ),
        (
            vec![(
                "/spec/conversion".into(),
                json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v9"], "clientConfig": {"url": "http://u@h/?q#f"}}}),
            )],
            vec![
                "spec.conversion.webhookClientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
                "spec.conversion.webhookClientConfig.url: Invalid value: \"u\": user information is not permitted in the URL",
                "spec.conversion.webhookClientConfig.url: Invalid value: \"f\": fragments are not permitted in the URL",
                "spec.conversion.webhookClientConfig.url: Invalid value: \"q\": query parameters are not permitted in the URL",
                "spec.conversion.conversionReviewVersions: Invalid value: [\"v9\"]: must include at least one of v1, v1beta1",
            ],
        ),
        (
            vec![(
                "/spec/conversion".into(),
                json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {"service": {"name": "s", "namespace": "n", "port": 443, "path": "/a//b"}}}}),
            )],
            vec![
                "spec.conversion.webhookClientConfig.service.path: Invalid value: \"/a//b\": segment[1] may not be empty",
            ],
        ),
        (
            vec![("/spec/conversion/webhook".into(), json!({"conversionReviewVersions": ["v1"]}))],
            vec![
                "spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to Webhook",
            ],
        ),
        (
            vec![("/spec/group".into(), json!("example")), ("/metadata/name".into(), json!("crontabs.example"))],
            vec!["spec.group: Invalid value: \"example\": should be a domain with at least one dot"],
        ),
        (
            vec![("/spec/group".into(), json!("x.k8s.io")), ("/metadata/name".into(), json!("crontabs.x.k8s.io"))],
            vec![
                "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation",
            ],
        ),
    ];
    for (changes, causes) in rows {
        let changes: Vec<(&str, Value)> =
            changes.iter().map(|(pointer, value)| (pointer.as_str(), value.clone())).collect();
        let found = told(create(&with(&changes), None));
        assert_eq!(found.len(), causes.len(), "{changes:?}: {found:#?}");
        for (found, cause) in found.iter().zip(&causes) {
            assert!(found.starts_with(cause), "{found}\n{cause}");
        }
    }
}

#[test]
fn what_objects_are_stored_by_cannot_change() {
    let established = [("/status/conditions", json!([{"type": "Established", "status": "True"}]))];
    let old = with(&established);
    for (pointer, value, field) in [
        ("/spec/scope", json!("Cluster"), "spec.scope"),
        ("/spec/names/kind", json!("Other"), "spec.names.kind"),
        ("/spec/group", json!("other.example.com"), "spec.group"),
        ("/spec/names/plural", json!("others"), "spec.names.plural"),
    ] {
        let mut changes = established.to_vec();
        changes.push((pointer, value));
        let found = told(update(&old, &with(&changes), None));
        assert!(
            found.iter().any(|cause| cause.starts_with(field) && cause.ends_with("field is immutable")),
            "{found:?}"
        );
    }
    // Before it is established, scope and kind can.
    assert_eq!(told(update(&definition(), &with(&[("/spec/scope", json!("Cluster"))]), None)), Vec::<String>::new());
}

#[test]
fn hostile_definitions_are_refused() {
    let deep =
        (0..300).fold(json!({"type": "object"}), |below, _| json!({"type": "object", "properties": {"a": below}}));
    let found = told(create(&with(&[(SCHEMA, deep)]), None));
    assert!(found.iter().any(|cause| cause.contains("nests deeper")), "{found:?}");
    let columns: Vec<Value> =
        (0..500).map(|at| json!({"name": at.to_string(), "type": "string", "jsonPath": ".a"})).collect();
    let found = told(create(&with(&[("/spec/versions/0/additionalPrinterColumns", json!(columns))]), None));
    assert_eq!(found, ["spec.additionalPrinterColumns: Too many: 500: must have at most 100 items"]);
}

#[test]
fn defaults_complete_a_definition() {
    let mut sparse = with(&[
        ("/spec/names/singular", Value::Null),
        ("/spec/names/listKind", Value::Null),
        ("/spec/conversion", Value::Null),
        ("/status", Value::Null),
    ]);
    default(&mut sparse);
    assert_eq!(sparse["spec"]["names"]["singular"], "crontab");
    assert_eq!(sparse["spec"]["names"]["listKind"], "CronTabList");
    assert_eq!(sparse["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(sparse["status"]["storedVersions"], json!(["v1"]));
    let once = sparse.clone();
    default(&mut sparse);
    assert_eq!(sparse, once);
    let mut hooked = with(&[(
        "/spec/conversion",
        json!({"strategy": "Webhook", "webhook": {"clientConfig": {"service": {"name": "s", "namespace": "n"}}}}),
    )]);
    default(&mut hooked);
    assert_eq!(hooked["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["port"], 443);
}

#[test]
fn stored_versions_are_kept_and_grow() {
    let mut fresh = with(&[("/status", json!({"conditions": [{"type": "Established", "status": "True"}]}))]);
    prepare_create(&mut fresh);
    assert_eq!(fresh["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(fresh["status"]["conditions"], json!([]));
    let mut moved = with(&[("/spec/versions/0/name", json!("v2")), ("/status", json!({"storedVersions": []}))]);
    prepare_update(&fresh, &mut moved);
    assert_eq!(moved["status"]["storedVersions"], json!(["v1", "v2"]));
}

const NOW: &str = "2024-01-01T00:00:00Z";

fn condition<'a>(status: &'a Value, ty: &str) -> &'a Value {
    let conditions = status["conditions"].as_array().expect("conditions");
    conditions.iter().find(|condition| condition["type"] == ty).unwrap_or(&Value::Null)
}

#[test]
fn names_are_given_to_who_comes_first() {
    let none = Claims::beside(&definition(), [], []);
    let status = settle(&definition(), &none, NOW).expect("a status");
    assert_eq!(status["acceptedNames"], definition()["spec"]["names"]);
    assert_eq!(condition(&status, "NamesAccepted")["reason"], "NoConflicts");
    assert_eq!(condition(&status, "Established")["status"], "True");
    assert_eq!(condition(&status, "Established")["lastTransitionTime"], NOW);
    assert_eq!(condition(&status, "NonStructuralSchema"), &Value::Null);

    // Decided once is decided: nothing changes, and time does not move.
    let settled = with(&[("/status", status.clone())]);
    assert_eq!(settle(&settled, &none, "2025-01-01T00:00:00Z"), None);
    assert!(is_established(&settled));

    let rival = with(&[("/metadata/name", json!("tabs.stable.example.com")), ("/spec/names/plural", json!("tabs"))]);
    let claims = Claims::beside(&rival, [&settled, &rival], []);
    let status = settle(&rival, &claims, NOW).expect("a status");
    let names = condition(&status, "NamesAccepted");
    assert_eq!(names["status"], "False");
    assert_eq!(names["reason"], "ListKindConflict");
    assert_eq!(names["message"], "\"CronTabList\" is already in use");
    assert_eq!(condition(&status, "Established")["reason"], "NotAccepted");
    assert_eq!(status["acceptedNames"]["plural"], "tabs");
    assert_ne!(status["acceptedNames"]["kind"], "CronTab");

    // A definition of another group is no rival, a built-in kind of the group is one.
    let elsewhere = with(&[("/spec/group", json!("other.example.com"))]);
    assert_eq!(Claims::beside(&elsewhere, [&settled], []), Claims::default());
    let mut built_in = crate::object::tests::kind();
    built_in.plural = "crontabs".into();
    built_in.kind = "Built".into();
    let claims = Claims::beside(&definition(), [], [&built_in]);
    let status = settle(&definition(), &claims, NOW).expect("a status");
    assert_eq!(condition(&status, "NamesAccepted")["status"], "False");
}

#[test]
fn an_established_definition_keeps_its_names() {
    let status = settle(&definition(), &Claims::default(), NOW).expect("a status");
    let other = with(&[
        ("/metadata/name", json!("o")),
        ("/status", json!({"acceptedNames": {"plural": "os", "shortNames": ["o"]}})),
    ]);
    let greedy = with(&[("/status", status), ("/spec/names/shortNames", json!(["ct", "o"]))]);
    let claims = Claims::beside(&greedy, [&other], []);
    let status = settle(&greedy, &claims, NOW).expect("a status");
    assert_eq!(condition(&status, "NamesAccepted")["reason"], "ShortNamesConflict");
    assert_eq!(condition(&status, "Established")["status"], "True");
    assert_eq!(status["acceptedNames"]["shortNames"], json!(["ct"]));
}

#[test]
fn old_schemas_without_structure_are_marked() {
    let old = with(&[("/spec/versions/0/schema/openAPIV3Schema/properties/spec/type", Value::Null)]);
    let status = settle(&old, &Claims::default(), NOW).expect("a status");
    let condition = condition(&status, "NonStructuralSchema");
    assert_eq!(condition["status"], "True");
    assert!(
        condition["message"].as_str().is_some_and(|text| text.starts_with("spec.versions[0].schema.openAPIV3Schema"))
    );
}

#[test]
fn a_removal_ends_when_no_object_is_left() {
    let mut definition = definition();
    begin_removal(&mut definition, NOW);
    begin_removal(&mut definition, NOW);
    assert_eq!(definition["metadata"]["finalizers"], json!([CLEANUP_FINALIZER]));
    assert_eq!(condition(&definition["status"], "Terminating")["reason"], "InstanceDeletionPending");
    removal(&mut definition, &Removal::InProgress, NOW);
    removal(&mut definition, &Removal::Failed("x".into()), NOW);
    assert_eq!(condition(&definition["status"], "Terminating")["message"], "could not issue all deletes: x");
    removal(&mut definition, &Removal::Done, NOW);
    assert_eq!(condition(&definition["status"], "Terminating")["status"], "False");
    assert!(definition["metadata"].get("finalizers").is_none());
}

#[test]
fn a_definition_is_read_as_what_is_served() {
    let mut value = definition();
    for (name, served) in [("v1beta1", true), ("v2", true), ("v10alpha1", true), ("foo", true), ("v3", false)] {
        let mut version = value["spec"]["versions"][0].clone();
        version["name"] = json!(name);
        version["served"] = json!(served);
        version["storage"] = json!(false);
        version["deprecated"] = json!(name == "v1beta1");
        value["spec"]["versions"].as_array_mut().expect("versions").push(version);
    }
    let read = Definition::read(&value, None).expect("a definition");
    let served: Vec<&str> = read.served().iter().map(|version| version.name.as_str()).collect();
    assert_eq!(served, ["v2", "v1", "v1beta1", "v10alpha1", "foo"]);
    assert_eq!(read.storage().map(|version| version.name.as_str()), Some("v1"));
    let beta = read.version("v1beta1").expect("a version");
    assert_eq!(beta.deprecation.as_deref(), Some("stable.example.com/v1beta1 CronTab is deprecated"));
    let kind = read.kind_of(beta);
    assert_eq!(kind.api_version(), "stable.example.com/v1beta1");
    assert_eq!(kind.field_selectors, ["spec.cronSpec"]);
    assert!(kind.namespaced && kind.has_status && kind.has_scale && kind.counts_generation);
    assert_eq!(beta.columns.len(), 1);
    assert!(matches!(Definition::read(&json!({}), None), Err(Error::Missing(_))));
}
