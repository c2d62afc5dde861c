//! Rows of bodies: what decodes, what is refused, and with which of upstream's words.

use serde_json::json;

use super::*;
use crate::kind;

fn of(name: &str) -> &'static Kind {
    kind::all().iter().find(|kind| kind.kind == name).unwrap()
}

#[test]
fn bad_bodies_are_refused_in_upstreams_words() {
    let deep = format!("{{\"spec\":{}{}}}", "[".repeat(600), "]".repeat(600));
    let bomb = "[".repeat(1_000_000);
    for (kind, body, part) in [
        (
            "Pod",
            "",
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: ",
        ),
        ("Pod", "apiVersion: v1", "(61706956657273696f6e3a207631)"),
        ("Pod", "{\"a\":1", "EOF while parsing"),
        ("Pod", "{\"a\":1} x", "trailing characters"),
        ("Pod", "[]", "must be of type Pod"),
        ("Pod", "null", "must be of type Pod"),
        ("Pod", deep.as_str(), "nests deeper than 512 levels"),
        ("Pod", bomb.as_str(), "nests deeper than 512 levels"),
        ("Pod", "{\"a\": 1e999}", "number out of range"),
        ("Pod", "{\"\u{1}\": 1}", "control character"),
        (
            "Namespace",
            r#"{"kind":"Pod","apiVersion":"v1"}"#,
            "Pod in version \"v1\" cannot be handled as a Namespace: ",
        ),
        (
            "Deployment",
            r#"{"kind":"Deployment","apiVersion":"apps/v1beta1"}"#,
            "the API version in the data (apps/v1beta1) does not match the expected API version (apps/v1)",
        ),
        (
            "Deployment",
            r#"{"spec":{"replicas":"3"}}"#,
            "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field \
             DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "Pod",
            r#"{"spec":{"containers":[{"image":7}]}}"#,
            "json: cannot unmarshal number into Go struct field Container.spec.containers.image of type string",
        ),
        (
            "Pod",
            r#"{"spec":{"containers":{}}}"#,
            "cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        ("Pod", r#"{"spec":[]}"#, "cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"),
        (
            "Pod",
            r#"{"metadata":{"labels":{"a":1}}}"#,
            "cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        ("Pod", r#"{"metadata":{"labels":[]}}"#, "of type map[string]string"),
        ("Deployment", r#"{"spec":{"replicas":1.5}}"#, "cannot unmarshal number 1.5 into"),
        ("Deployment", r#"{"spec":{"replicas":3000000000}}"#, "cannot unmarshal number 3000000000 into"),
        ("Pod", r#"{"spec":{"hostNetwork":"yes"}}"#, "of type bool"),
        ("Secret", r#"{"data":{"a":"%%"}}"#, "illegal base64 data in field data.a"),
        ("Pod", r#"{"metadata":{"creationTimestamp":"yesterday"}}"#, "parsing time \"yesterday\""),
        (
            "Pod",
            r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"much"}}}]}}"#,
            "spec.containers[0].resources.limits.cpu: \"much\" is not a quantity: quantities must match the regular expression",
        ),
        ("Pod", r#"{"kind":7}"#, "cannot be handled as a Pod"),
    ] {
        let status = decode(of(kind), body.as_bytes()).expect_err(body.get(..80).unwrap_or(body));
        assert_eq!(status.code, 400);
        assert!(status.message.contains(part), "{part}\n  is not in\n{}", status.message);
    }
}

#[test]
fn oddities_are_found_wherever_they_stand() {
    for (kind, body, expected) in [
        ("Pod", r#"{"spec":{}}"#, ""),
        ("Pod", r#"{"spec":{"foo":1}}"#, r#"unknown field "spec.foo""#),
        ("Pod", r#"{"Spec":{}}"#, r#"unknown field "Spec""#),
        ("Pod", r#"{"metadata":{"foo":1}}"#, r#"unknown field "metadata.foo""#),
        (
            "Deployment",
            r#"{"spec":{"template":{"metadata":{"foo":1},"kind":"x"}}}"#,
            r#"unknown field "spec.template.kind", unknown field "spec.template.metadata.foo""#,
        ),
        ("Pod", r#"{"spec":{"containers":[{},{"foo":null}]}}"#, r#"unknown field "spec.containers[1].foo""#),
        ("Pod", r#"{"spec":{"hostname":"a","hostname":"b"}}"#, r#"duplicate field "spec.hostname""#),
        (
            "Pod",
            r#"{"metadata":{"labels":{"a":"1","a":"2"}},"x":{"y":[{"z":1,"z":2}]}}"#,
            r#"duplicate field "metadata.labels.a", duplicate field "x.y[0].z", unknown field "x""#,
        ),
        (
            "Pod",
            r#"{"spec":{"containers":[{"livenessProbe":{"httpGet":{"port":1},"x":1}}]}}"#,
            r#"unknown field "spec.containers[0].livenessProbe.x""#,
        ),
    ] {
        let (_, warnings) = decode(of(kind), body.as_bytes()).unwrap_or_else(|status| panic!("{body}: {status}"));
        let text = strict(of(kind), &warnings).map_or(String::new(), |status| status.message);
        let expected = if expected.is_empty() {
            String::new()
        } else {
            format!("{kind} in version \"v1\" cannot be handled as a {kind}: strict decoding error: {expected}")
        };
        assert_eq!(text, expected, "{body}");
    }
    let many = format!("{{{}}}", (0..500).map(|n| format!("\"x{n}\":1")).collect::<Vec<_>>().join(","));
    assert_eq!(decode(of("Pod"), many.as_bytes()).unwrap().1.len(), WARNINGS_MAX);
}

#[test]
fn the_last_of_two_keys_counts_and_types_are_filled_in() {
    let (value, _) = decode(of("ConfigMap"), br#"{"data":{"a":"1","a":"2"}}"#).unwrap();
    assert_eq!(value, json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "2"}}));
}

#[test]
fn canonical_form_is_upstreams() {
    let probe = |probe: Value| json!({"spec": {"containers": [{"name": "c", "livenessProbe": probe}]}});
    for (kind, value, expected) in [
        ("Pod", json!({"spec": null, "x": 1}), json!({})),
        ("Pod", json!({"apiVersion": "v1", "kind": "Pod"}), json!({"apiVersion": "v1", "kind": "Pod"})),
        (
            "Pod",
            json!({"spec": {"nodeName": "", "hostname": "h", "tolerations": [], "nodeSelector": {}}}),
            json!({"spec": {"hostname": "h"}}),
        ),
        (
            "Pod",
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}], "securityContext": {}}}),
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}], "securityContext": {}}}),
        ),
        (
            "Pod",
            json!({"spec": {"hostNetwork": false, "enableServiceLinks": false, "priority": 0}}),
            json!({"spec": {"enableServiceLinks": false, "priority": 0}}),
        ),
        (
            "Deployment",
            json!({"spec": {"replicas": 0, "minReadySeconds": 0, "paused": false}}),
            json!({"spec": {"replicas": 0}}),
        ),
        ("ReplicaSet", json!({"status": {}}), json!({"status": {"replicas": 0}})),
        (
            "Lease",
            json!({"spec": {"renewTime": "2026-07-24T08:00:00Z", "holderIdentity": ""}}),
            json!({"spec": {"renewTime": "2026-07-24T08:00:00.000000Z", "holderIdentity": ""}}),
        ),
        (
            "Pod",
            json!({"metadata": {"creationTimestamp": "2026-07-24T10:00:00.5+02:00"}}),
            json!({"metadata": {"creationTimestamp": "2026-07-24T08:00:00Z"}}),
        ),
        (
            "Pod",
            json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}, "requests": {}}}]}}),
            json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}]}}),
        ),
        ("Pod", probe(json!({"httpGet": {"port": "http", "path": ""}})), probe(json!({"httpGet": {"port": "http"}}))),
        (
            "Pod",
            probe(json!({"tcpSocket": {"port": 80}, "periodSeconds": 0})),
            probe(json!({"tcpSocket": {"port": 80}})),
        ),
        ("Secret", json!({"data": {"a": "AA==", "b": ""}, "type": ""}), json!({"data": {"a": "AA==", "b": ""}})),
        ("ConfigMap", json!({"data": {"a": null}, "binaryData": {}}), json!({"data": {"a": ""}})),
        (
            "Pod",
            json!({"metadata": {"managedFields": [{"fieldsV1": {"f:a": {}}}]}}),
            json!({"metadata": {"managedFields": [{"fieldsV1": {"f:a": {}}}]}}),
        ),
        ("Pod", json!({"spec": {"containers": [null]}}), json!({"spec": {"containers": [{"name": ""}]}})),
        ("Deployment", json!({"spec": {"selector": {"matchLabels": {}}}}), json!({"spec": {"selector": {}}})),
    ] {
        let mut found = value.clone();
        canonicalize(of(kind), &mut found).unwrap_or_else(|status| panic!("{value}: {status}"));
        assert_eq!(found, expected, "{value}");
        canonicalize(of(kind), &mut found).unwrap();
        assert_eq!(found, expected, "a second time: {value}");
        let (decoded, _) = decode(of(kind), found.to_string().as_bytes()).unwrap();
        let mut again = decoded;
        canonicalize(of(kind), &mut again).unwrap();
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&again[key], value, "round trip");
        }
    }
}
