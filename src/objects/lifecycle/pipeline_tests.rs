//! The whole way of a write, over objects with random damage: nothing panics, and what is accepted is stable.

use serde_json::{Map, Value, json};

use super::*;
use crate::kinds::tests::samples::samples;
use crate::{Object, canonical, defaulting, kind, typed, validation};

const NOW: &str = "2026-07-24T08:00:00Z";
const ROUNDS: u64 = 60_000;

/// A small generator of its own, so that a failure is reproduced by its seed alone.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// Replaces one value somewhere inside by junk, or adds a field.
fn damage(value: &mut Value, dice: &mut Dice) {
    let junk = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(""),
        json!("x"),
        json!("A b"),
        json!("9".repeat(70)),
        json!([]),
        json!([null]),
        json!({}),
        json!({"": null}),
        json!(["x", "x"]),
        json!(i64::MAX),
        json!("100%"),
        json!(["orphan"]),
        json!("b"),
        json!(7),
        json!({"a": "b"}),
    ];
    let width = match value {
        Value::Object(map) => map.len(),
        Value::Array(list) => list.len(),
        _ => 0,
    };
    if width == 0 || dice.below(8) == 0 {
        // Mostly junk of the right type: the wrong one seldom gets past decoding.
        let alike: Vec<&Value> =
            junk.iter().filter(|junk| std::mem::discriminant(*junk) == std::mem::discriminant(value)).collect();
        let junk = if alike.is_empty() || dice.below(4) == 0 {
            &junk[dice.below(junk.len())]
        } else {
            alike[dice.below(alike.len())]
        };
        let junk = junk.clone();
        match value {
            Value::Object(map) if dice.below(2) == 0 => drop(map.insert("status".into(), junk)),
            other => *other = junk,
        }
        return;
    }
    let at = dice.below(width);
    match value {
        Value::Object(map) => damage(map.values_mut().nth(at).unwrap(), dice),
        Value::Array(list) => damage(&mut list[at], dice),
        _ => unreachable!("a scalar has no width"),
    }
}

/// Takes a value the way of a create, an update and a delete.
fn travel(kind: &Kind, value: Value, seed: u64) -> bool {
    let Ok((mut value, _)) = canonical::decode_value(kind, value) else { return false };
    canonical::canonicalize(kind, &mut value).unwrap_or_else(|status| panic!("seed {seed}: decoded, yet {status}"));
    defaulting::apply(kind, &mut value);
    defaulting::admission_defaults(kind, &mut value);
    if prepare_create(kind, &mut value, "u", NOW, "abcde").is_err() {
        return false;
    }
    canonical::canonicalize(kind, &mut value).unwrap_or_else(|status| panic!("seed {seed}: decoded, yet {status}"));
    let mut again = value.clone();
    canonical::canonicalize(kind, &mut again).unwrap();
    assert_eq!(again, value, "seed {seed}: canonical form is stable");
    if !validation::create(kind, &value).is_empty() {
        return false;
    }
    let object = Object::new(kind, &value).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let stored = object.to_value(7).unwrap();
    let (decoded, warnings) =
        canonical::decode(kind, &object.to_json(7)).unwrap_or_else(|status| panic!("seed {seed}: {status}"));
    assert_eq!(warnings, [], "seed {seed}");
    // A client that writes back what it read changes nothing.
    let mut same = decoded;
    defaulting::apply(kind, &mut same);
    canonical::canonicalize(kind, &mut same).unwrap();
    for door in [None, Some("status")] {
        let mut same = same.clone();
        let changed =
            prepare_update(kind, &stored, &mut same, door).unwrap_or_else(|status| panic!("seed {seed}: {status}"));
        assert!(!changed, "seed {seed} {door:?}:\n{stored}\n{same}");
        assert_eq!(validation::update(kind, &stored, &same), [], "seed {seed} {door:?}: {stored}");
    }
    match prepare_delete(kind, &stored, &DeleteOptions::default(), NOW)
        .unwrap_or_else(|status| panic!("seed {seed}: {status}"))
    {
        Deletion::Update(marked) => {
            assert!(marked["metadata"]["deletionTimestamp"].is_string(), "seed {seed}");
            let again = prepare_delete(kind, &marked, &DeleteOptions::default(), NOW).unwrap();
            assert_eq!(again, Deletion::Nothing, "seed {seed}: a second delete changes nothing");
        }
        Deletion::Remove => {}
        Deletion::Nothing => panic!("seed {seed}: the first delete does nothing"),
    }
    view(&object, kind, seed);
    true
}

/// What passed validation decodes into its typed view.
fn view(object: &Object, kind: &Kind, seed: u64) {
    use k8s_openapi::api::{
        admissionregistration, apps, autoscaling, batch, certificates, coordination, core, discovery, flowcontrol,
        networking, node, policy, rbac, resource, scheduling, storage,
    };
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as extensions;
    use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as registration;
    let fits = match kind.kind.as_str() {
        "Pod" => typed::typed::<core::v1::Pod>(object).map(drop),
        "ConfigMap" => typed::typed::<core::v1::ConfigMap>(object).map(drop),
        "Secret" => typed::typed::<core::v1::Secret>(object).map(drop),
        "ServiceAccount" => typed::typed::<core::v1::ServiceAccount>(object).map(drop),
        "Namespace" => typed::typed::<core::v1::Namespace>(object).map(drop),
        "Node" => typed::typed::<core::v1::Node>(object).map(drop),
        "Event" => typed::typed::<core::v1::Event>(object).map(drop),
        "Service" => typed::typed::<core::v1::Service>(object).map(drop),
        "Endpoints" => typed::typed::<core::v1::Endpoints>(object).map(drop),
        "PersistentVolume" => typed::typed::<core::v1::PersistentVolume>(object).map(drop),
        "PersistentVolumeClaim" => typed::typed::<core::v1::PersistentVolumeClaim>(object).map(drop),
        "ResourceQuota" => typed::typed::<core::v1::ResourceQuota>(object).map(drop),
        "LimitRange" => typed::typed::<core::v1::LimitRange>(object).map(drop),
        "ReplicationController" => typed::typed::<core::v1::ReplicationController>(object).map(drop),
        "PodTemplate" => typed::typed::<core::v1::PodTemplate>(object).map(drop),
        "Deployment" => typed::typed::<apps::v1::Deployment>(object).map(drop),
        "ReplicaSet" => typed::typed::<apps::v1::ReplicaSet>(object).map(drop),
        "StatefulSet" => typed::typed::<apps::v1::StatefulSet>(object).map(drop),
        "DaemonSet" => typed::typed::<apps::v1::DaemonSet>(object).map(drop),
        "ControllerRevision" => typed::typed::<apps::v1::ControllerRevision>(object).map(drop),
        "Job" => typed::typed::<batch::v1::Job>(object).map(drop),
        "CronJob" => typed::typed::<batch::v1::CronJob>(object).map(drop),
        "HorizontalPodAutoscaler" => typed::typed::<autoscaling::v2::HorizontalPodAutoscaler>(object).map(drop),
        "PodDisruptionBudget" => typed::typed::<policy::v1::PodDisruptionBudget>(object).map(drop),
        "Role" => typed::typed::<rbac::v1::Role>(object).map(drop),
        "ClusterRole" => typed::typed::<rbac::v1::ClusterRole>(object).map(drop),
        "RoleBinding" => typed::typed::<rbac::v1::RoleBinding>(object).map(drop),
        "ClusterRoleBinding" => typed::typed::<rbac::v1::ClusterRoleBinding>(object).map(drop),
        "Ingress" => typed::typed::<networking::v1::Ingress>(object).map(drop),
        "IngressClass" => typed::typed::<networking::v1::IngressClass>(object).map(drop),
        "NetworkPolicy" => typed::typed::<networking::v1::NetworkPolicy>(object).map(drop),
        "ServiceCIDR" => typed::typed::<networking::v1::ServiceCIDR>(object).map(drop),
        "IPAddress" => typed::typed::<networking::v1::IPAddress>(object).map(drop),
        "EndpointSlice" => typed::typed::<discovery::v1::EndpointSlice>(object).map(drop),
        "Lease" => typed::typed::<coordination::v1::Lease>(object).map(drop),
        "StorageClass" => typed::typed::<storage::v1::StorageClass>(object).map(drop),
        "VolumeAttributesClass" => typed::typed::<storage::v1::VolumeAttributesClass>(object).map(drop),
        "VolumeAttachment" => typed::typed::<storage::v1::VolumeAttachment>(object).map(drop),
        "CSIDriver" => typed::typed::<storage::v1::CSIDriver>(object).map(drop),
        "CSINode" => typed::typed::<storage::v1::CSINode>(object).map(drop),
        "CSIStorageCapacity" => typed::typed::<storage::v1::CSIStorageCapacity>(object).map(drop),
        "PriorityClass" => typed::typed::<scheduling::v1::PriorityClass>(object).map(drop),
        "RuntimeClass" => typed::typed::<node::v1::RuntimeClass>(object).map(drop),
        "CertificateSigningRequest" => typed::typed::<certificates::v1::CertificateSigningRequest>(object).map(drop),
        "ClusterTrustBundle" => typed::typed::<certificates::v1::ClusterTrustBundle>(object).map(drop),
        "PodCertificateRequest" => typed::typed::<certificates::v1::PodCertificateRequest>(object).map(drop),
        "MutatingWebhookConfiguration" => {
            typed::typed::<admissionregistration::v1::MutatingWebhookConfiguration>(object).map(drop)
        }
        "ValidatingWebhookConfiguration" => {
            typed::typed::<admissionregistration::v1::ValidatingWebhookConfiguration>(object).map(drop)
        }
        "ValidatingAdmissionPolicy" => {
            typed::typed::<admissionregistration::v1::ValidatingAdmissionPolicy>(object).map(drop)
        }
        "ValidatingAdmissionPolicyBinding" => {
            typed::typed::<admissionregistration::v1::ValidatingAdmissionPolicyBinding>(object).map(drop)
        }
        "MutatingAdmissionPolicy" => {
            typed::typed::<admissionregistration::v1::MutatingAdmissionPolicy>(object).map(drop)
        }
        "MutatingAdmissionPolicyBinding" => {
            typed::typed::<admissionregistration::v1::MutatingAdmissionPolicyBinding>(object).map(drop)
        }
        "FlowSchema" => typed::typed::<flowcontrol::v1::FlowSchema>(object).map(drop),
        "PriorityLevelConfiguration" => typed::typed::<flowcontrol::v1::PriorityLevelConfiguration>(object).map(drop),
        "ResourceClaim" => typed::typed::<resource::v1::ResourceClaim>(object).map(drop),
        "ResourceClaimTemplate" => typed::typed::<resource::v1::ResourceClaimTemplate>(object).map(drop),
        "DeviceClass" => typed::typed::<resource::v1::DeviceClass>(object).map(drop),
        "ResourceSlice" => typed::typed::<resource::v1::ResourceSlice>(object).map(drop),
        "DeviceTaintRule" => typed::typed::<resource::v1::DeviceTaintRule>(object).map(drop),
        "CustomResourceDefinition" => typed::typed::<extensions::CustomResourceDefinition>(object).map(drop),
        "APIService" => typed::typed::<registration::APIService>(object).map(drop),
        other => panic!("no view of {other} is tested"),
    };
    fits.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
}

#[test]
fn samples_of_every_kind_arrive() {
    let samples = samples();
    assert_eq!(samples.len(), kind::stored().count());
    for value in samples {
        let kind = kind::by_kind(value["apiVersion"].as_str().unwrap(), value["kind"].as_str().unwrap()).unwrap();
        assert!(travel(kind, value.clone(), 0), "{value}");
    }
}

#[test]
fn damage_is_refused_or_harmless() {
    let samples = samples();
    let mut arrived = 0;
    for seed in 1..=ROUNDS {
        let mut dice = Dice(seed);
        let sample = &samples[dice.below(samples.len())];
        let kind = kind::by_kind(sample["apiVersion"].as_str().unwrap(), sample["kind"].as_str().unwrap()).unwrap();
        let mut value = sample.clone();
        for _ in 0..=dice.below(3) {
            damage(&mut value, &mut dice);
        }
        arrived += u64::from(travel(kind, value, seed));
    }
    assert!(arrived > ROUNDS / 10 && arrived < ROUNDS * 9 / 10, "{arrived} of {ROUNDS} arrived");
}

#[test]
fn the_deepest_body_fits_a_small_stack() {
    let levels = canonical::DEPTH_MAX - 2;
    let body = format!("{{\"a\":{}{}}}", "{\"b\":".repeat(levels) + "1", "}".repeat(levels));
    let run = move || {
        let pod = kind::by_kind("v1", "Pod").unwrap();
        let (mut value, warnings) = canonical::decode(pod, body.as_bytes()).unwrap();
        assert_eq!(warnings.len(), 1);
        canonical::canonicalize(pod, &mut value).unwrap();
        value.as_object().map(Map::len)
    };
    // Half of what a thread of the server has.
    let thread = std::thread::Builder::new().stack_size(1024 * 1024).spawn(run).unwrap();
    assert_eq!(thread.join().unwrap(), Some(2));
}
