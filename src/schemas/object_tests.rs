//! Custom resources from body to verdict.

use serde_json::json;

use super::*;
use crate::Definition;

/// The definition that the tests serve.
pub(crate) fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com", "uid": "u"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {
                "plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList", "shortNames": ["ct"],
            },
            "conversion": {"strategy": "None"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                },
                "selectableFields": [{"jsonPath": ".spec.cronSpec"}],
                "schema": {"openAPIV3Schema": {
                    "type": "object", "required": ["spec"],
                    "properties": {
                        "spec": {"type": "object", "required": ["cronSpec"], "properties": {
                            "cronSpec": {"type": "string", "pattern": "^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$"},
                            "replicas": {"type": "integer", "default": 1, "minimum": 0, "maximum": 10},
                            "hosts": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                        }},
                        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
                    },
                }},
            }],
        },
        "status": {"storedVersions": ["v1"], "acceptedNames": {"plural": "", "kind": ""}, "conditions": []},
    })
}

/// Its only kind.
pub(crate) fn kind() -> Kind {
    let definition = Definition::read(&definition(), None).expect("a definition");
    definition.kind_of(&definition.versions[0])
}

fn version() -> Version {
    Definition::read(&definition(), None).expect("a definition").versions.remove(0)
}

fn object(spec: Value) -> Value {
    json!({
        "apiVersion": "stable.example.com/v1", "kind": "CronTab",
        "metadata": {"name": "a", "namespace": "default", "uid": "u"}, "spec": spec,
    })
}

fn told(causes: Vec<Cause>) -> Vec<String> {
    causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

#[test]
fn a_body_becomes_an_object() {
    let (kind, version) = (kind(), version());
    let body = json!({
        "kind": "CronTab", "metadata": {"name": "a", "nope": 1, "creationTimestamp": null}, "foo": 1,
        "spec": {"cronSpec": "* * * * *", "foo": 1, "replicas": null},
    });
    let (mut object, warnings) = decode(&kind, &version.schema, body).expect("decoded");
    let warnings: Vec<String> = warnings.iter().map(Warning::to_string).collect();
    assert_eq!(warnings, ["unknown field \"metadata.nope\"", "unknown field \"foo\"", "unknown field \"spec.foo\""]);
    version.schema.fill(&mut object);
    assert_eq!(
        object,
        json!({
            "apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": "a"},
            "spec": {"cronSpec": "* * * * *", "replicas": 1},
        })
    );
}

#[test]
fn bodies_that_are_no_object_are_refused() {
    let (kind, version) = (kind(), version());
    let deep = (0..600).fold(json!(1), |below, _| json!([below]));
    for (body, message) in [
        (json!(7), "the object provided is unrecognized"),
        (json!({"kind": "Other"}), "the kind in the data (Other) does not match the expected kind (CronTab)"),
        (json!({"apiVersion": "a/v1"}), "the API version in the data (a/v1) does not match"),
        (json!({"metadata": {"labels": 7}}), "cannot be handled as a CronTab: metadata"),
        (json!({"spec": deep}), "nests deeper"),
    ] {
        let status = decode(&kind, &version.schema, body.clone()).expect_err("refused");
        assert_eq!(status.code, 400);
        assert!(status.message.contains(message), "{}", status.message);
    }
}

#[test]
fn objects_are_judged_as_upstream_does() {
    let (kind, version) = (kind(), version());
    for (object, causes) in [
        (object(json!({"cronSpec": "* * * * */5", "replicas": 3})), &[][..]),
        (
            object(json!({"cronSpec": "* * * *", "replicas": 15})),
            &[
                "spec.cronSpec: Invalid value: \"* * * *\": spec.cronSpec in body should match \
                 '^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$'",
                "spec.replicas: Invalid value: 15: spec.replicas in body should be less than or equal to 10",
            ],
        ),
        (
            object(json!({"cronSpec": "* * * * *", "replicas": "x"})),
            &[
                "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
                ".spec.replicas: Invalid value: 0: .spec.replicas accessor error: x is of the type string, expected int64",
            ],
        ),
        (object(json!({})), &["spec.cronSpec: Required value"]),
        (object(json!({"cronSpec": "* * * * *", "hosts": ["a", "a"]})), &["spec.hosts[1]: Duplicate value: \"a\""]),
        (
            json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": "-", "namespace": "default"}}),
            &[
                "metadata.name: Invalid value: \"-\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
                 characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used \
                 for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                "spec: Required value",
            ],
        ),
        (json!({"apiVersion": "stable.example.com/v1", "kind": "X"}), &["kind: Invalid value: \"X\": must be CronTab"]),
    ] {
        assert_eq!(told(create(&kind, &version, &object)), causes, "{object}");
    }
}

#[test]
fn what_was_stored_before_can_be_changed() {
    let (kind, version) = (kind(), version());
    let old = object(json!({"cronSpec": "bad", "hosts": ["a", "a"], "replicas": 1}));
    let new = object(json!({"cronSpec": "bad", "hosts": ["a", "a", "b"], "replicas": 2}));
    assert_eq!(told(update(&kind, &version, &old, &new, None)), Vec::<String>::new());
    let worse = object(json!({"cronSpec": "worse", "replicas": 2}));
    assert_eq!(update(&kind, &version, &old, &worse, None).len(), 1);
}

#[test]
fn reads_follow_the_schema_of_today() {
    let mut stored = object(json!({"cronSpec": "* * * * *", "gone": 1}));
    stored["metadata"]["labels"] = json!({"a": 7});
    read(&version().schema, &mut stored);
    assert_eq!(stored["spec"], json!({"cronSpec": "* * * * *", "replicas": 1}));
    assert_eq!(stored["metadata"], json!({"name": "a", "namespace": "default", "uid": "u"}));
    let before = stored.clone();
    read(&version().schema, &mut stored);
    assert_eq!(stored, before);
}

#[test]
fn a_new_object_has_no_status() {
    let mut object = object(json!({}));
    object["status"] = json!({"replicas": 1});
    prepare_create(&version(), &mut object);
    assert!(object.get("status").is_none());
}

#[test]
fn rules_wait_until_an_object_is_well_formed() {
    let mut definition = definition();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] =
        json!([{"rule": "true"}]);
    let version = Definition::read(&definition, None).expect("a definition").versions.remove(0);
    let causes = told(create(&kind(), &version, &object(json!({}))));
    assert_eq!(
        causes,
        [
            "spec.cronSpec: Required value",
            "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the \
             existing errors to complete validation",
        ]
    );
    // No language was plugged in: nothing passes.
    let causes = create(&kind(), &version, &object(json!({"cronSpec": "* * * * *"})));
    assert_eq!(causes[0].reason, "InternalError");
}
