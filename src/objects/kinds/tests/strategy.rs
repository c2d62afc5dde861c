//! What writes and deletions make of objects, where a kind has its own way; and other forms of stored objects.

use serde_json::{Value, json};

use super::{NOW, created, of, updated};
use crate::lifecycle::{DeleteOptions, Deletion, prepare_delete};
use crate::selector::Fields;
use crate::{Face, Key, canonical, kind};

#[test]
fn a_service_keeps_what_was_allotted() {
    let mut old = created("Service", json!({}));
    old["spec"]["clusterIP"] = json!("10.0.0.5");
    old["spec"]["clusterIPs"] = json!(["10.0.0.5"]);
    old["spec"]["ipFamilies"] = json!(["IPv4"]);
    old["spec"]["ports"][0]["nodePort"] = json!(30080);
    // A client that knows nothing of what was allotted writes its manifest again.
    let bare = json!({"spec": {"clusterIP": null, "clusterIPs": null, "ipFamilies": null, "ports": [{"name": "http", "port": 80}]}});
    let again = updated("Service", &old, bare.clone(), None);
    assert_eq!(again["spec"]["clusterIP"], "10.0.0.5");
    assert_eq!(again["spec"]["clusterIPs"], json!(["10.0.0.5"]));
    assert_eq!(again["spec"]["ipFamilies"], json!(["IPv4"]));
    assert_eq!(again["spec"]["ports"][0]["nodePort"], 30080);
    // Without ports on nodes there is nothing to keep.
    let inside = updated("Service", &old, json!({"spec": {"type": "ClusterIP", "externalTrafficPolicy": null}}), None);
    assert_eq!(inside["spec"]["ports"][0].get("nodePort"), None);
    assert_eq!(inside["spec"]["clusterIP"], "10.0.0.5");
    let named =
        updated("Service", &old, json!({"spec": {"type": "ExternalName", "externalName": "a.example.com"}}), None);
    assert_eq!((named["spec"].get("clusterIP"), named["spec"].get("ipFamilies")), (None, None));
}

#[test]
fn a_status_write_approves_nothing() {
    let old = created("CertificateSigningRequest", json!({"spec": {"username": "somebody else"}}));
    assert_eq!((old["spec"].get("username"), old["spec"].get("extra")), (None, None));
    let approval = json!({"type": "Approved", "status": "True"});
    let failure = json!({"type": "Failed", "status": "True"});
    let patch = json!({"status": {"conditions": [approval, failure], "certificate": "AA=="}});
    let approved = updated("CertificateSigningRequest", &old, patch.clone(), Some("approval"));
    assert_eq!(approved["status"], json!({"conditions": [approval, failure]}));
    let status = updated("CertificateSigningRequest", &old, patch.clone(), Some("status"));
    assert_eq!(status["status"], json!({"conditions": [failure], "certificate": "AA=="}));
    assert_eq!(updated("CertificateSigningRequest", &old, patch, None), old);
}

#[test]
fn some_kinds_let_their_dependents_live() {
    for (name, held) in [("Job", true), ("ReplicationController", true), ("CronJob", false), ("StatefulSet", false)] {
        let mut object = created(name, json!({}));
        object["metadata"].as_object_mut().unwrap().remove("finalizers");
        let found = prepare_delete(of(name), &object, &DeleteOptions::default(), NOW).unwrap();
        let orphaned =
            matches!(&found, Deletion::Update(value) if value["metadata"]["finalizers"] == json!(["orphan"]));
        assert_eq!(orphaned, held, "{name}: {found:?}");
    }
}

#[test]
fn generations_count_where_upstream_counts_them() {
    for sample in super::samples::samples() {
        let kind = of(sample["kind"].as_str().unwrap());
        let object = created(&kind.kind, json!({}));
        assert_eq!(object["metadata"].get("generation").is_some(), kind.counts_generation, "{kind:?}");
    }
}

#[test]
fn other_forms_come_back_as_they_were() {
    let others: Vec<_> = kind::all().iter().filter(|kind| !kind.is_stored()).collect();
    assert_eq!(others.len(), 2);
    for other in others {
        let stored = created(&other.stored().kind, json!({}));
        let mut shown = stored.clone();
        other.from_stored(&mut shown);
        assert_eq!(shown["apiVersion"], other.api_version().as_str());
        let (_, warnings) = canonical::decode_value(other, shown.clone()).unwrap();
        assert_eq!(warnings, [], "{other:?} has all fields of {shown}");
        let mut back = shown;
        other.to_stored(&mut back);
        back["metadata"].as_object_mut().unwrap().remove("annotations");
        assert_eq!(back, stored, "{other:?}");
    }
}

#[test]
fn both_groups_of_events_select_the_same() {
    let event = created("Event", json!({"involvedObject": {"name": "p"}}));
    let face = Face::of(of("Event"), &event);
    let key = Key::new("events", "n", "a");
    let newer = kind::by_kind("events.k8s.io/v1", "Event").unwrap();
    for (kind, text, matches) in [
        (of("Event"), "involvedObject.name=p", true),
        (newer, "regarding.name=p", true),
        (newer, "regarding.name=q,reason=r", false),
    ] {
        assert_eq!(Fields::parse(kind, text).unwrap().matches(&key, &face), matches, "{text}");
    }
    assert!(Fields::parse(newer, "involvedObject.name=p").is_err());
    let job = created("Job", json!({}));
    let face = Face::of(of("Job"), &job);
    let fields = Fields::parse(of("Job"), "status.successful=0").unwrap();
    assert!(fields.matches(&Key::new("jobs.batch", "n", "a"), &face));
}

#[test]
fn doors_for_parts_exist() {
    let names = |name: &str| of(name).subresources.iter().map(|one| one.name).collect::<Vec<_>>();
    assert_eq!(names("Pod"), ["attach", "binding", "eviction", "exec", "log", "portforward", "proxy"]);
    assert_eq!(names("CertificateSigningRequest"), ["approval"]);
    assert_eq!(names("Namespace"), ["finalize"]);
    for (name, scale) in [("StatefulSet", true), ("ReplicationController", true), ("DaemonSet", false), ("Job", false)]
    {
        assert_eq!((of(name).has_status, of(name).has_scale), (true, scale), "{name}");
    }
}

#[test]
fn schemas_may_be_flags_and_lists() {
    let schema = |part: Value| {
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": part}});
        canonical::decode_value(
            of("CustomResourceDefinition"),
            super::sample("CustomResourceDefinition", json!({"spec": {"versions": [version]}})),
        )
    };
    let good = json!({"type": "object", "additionalProperties": false, "items": [{"type": "string"}], "dependencies": {"a": ["b"]}});
    assert_eq!(schema(good).unwrap().1, []);
    let (_, odd) = schema(json!({"additionalProperties": {"type": "string", "tpye": "x"}})).unwrap();
    let place = "spec.versions[0].schema.openAPIV3Schema.additionalProperties.tpye";
    assert_eq!(odd.iter().map(ToString::to_string).collect::<Vec<_>>(), [format!("unknown field \"{place}\"")]);
    for bad in [json!({"additionalProperties": 7}), json!({"items": [7]}), json!({"dependencies": {"a": [1]}})] {
        assert_eq!(schema(bad.clone()).unwrap_err().code, 400, "{bad}");
    }
}
