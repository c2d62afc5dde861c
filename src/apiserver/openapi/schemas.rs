//! The components of a document: `k8s-openapi`'s schemas, completed with what the field table knows.

use std::sync::Arc;

use k8s_openapi::api::{
    admissionregistration, apps, authentication, authorization, autoscaling, batch, certificates, coordination, core,
    discovery, events, flowcontrol, networking, node, policy, rbac, resource, scheduling, storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as extensions;
use k8s_openapi::apimachinery::pkg::apis::meta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as registration;
use objects::{Kind, fields};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

/// Where components live in a document.
const COMPONENTS: &str = "#/components/schemas/";

/// Schemas of `kinds`, their lists, of what else is sent to a group-version (`others`: group, version and kind), and all
/// that these refer to.
pub fn of(kinds: &[&Arc<Kind>], others: &[(&str, &str, &str)]) -> Map<String, Value> {
    let mut generator = SchemaSettings::openapi3().into_generator();
    for kind in kinds {
        match &kind.custom {
            None => register(&mut generator, &kind.message),
            // What components of custom resources refer to.
            Some(_) => drop(generator.subschema_for::<meta::v1::ObjectMeta>()),
        }
    }
    for (group, version, kind) in others {
        register(&mut generator, &component_of(group, version, kind).replacen("io.k8s.", "k8s.io.", 1));
    }
    generator.subschema_for::<meta::v1::DeleteOptions>();
    generator.subschema_for::<meta::v1::Status>();
    generator.subschema_for::<meta::v1::ListMeta>();
    if kinds.iter().any(|kind| kind.has_scale) {
        generator.subschema_for::<autoscaling::v1::Scale>();
    }
    let mut schemas: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    for (name, schema) in &mut schemas {
        complete(name, schema);
    }
    for kind in kinds {
        let name = component(kind);
        if let Some(custom) = &kind.custom {
            schemas.insert(name.clone(), custom.component());
        } else if let Some(schema) = schemas.get_mut(&name) {
            schema["x-kubernetes-group-version-kind"] = json!([gvk(kind)]);
        }
        schemas.insert(list_component(kind), list_of(kind, &name));
    }
    for (group, version, kind) in others {
        if let Some(schema) = schemas.get_mut(&component_of(group, version, kind)) {
            schema["x-kubernetes-group-version-kind"] = json!([{"group": group, "version": version, "kind": kind}]);
        }
    }
    if let Some(scale) = schemas.get_mut("io.k8s.api.autoscaling.v1.Scale") {
        scale["x-kubernetes-group-version-kind"] = json!([{"group": "autoscaling", "version": "v1", "kind": "Scale"}]);
    }
    schemas
}

/// Name of a kind's component, as `io.k8s.api.core.v1.Pod`. Two packages have a hyphen here and an underscore in messages.
pub fn component(kind: &Kind) -> String {
    if let Some(custom) = &kind.custom {
        return custom.component_name();
    }
    kind.message.replacen("k8s.io.", "io.k8s.", 1).replace('_', "-")
}

/// Name of the component of a kind's lists.
pub fn list_component(kind: &Kind) -> String {
    let own = component(kind);
    format!("{}{}", own.strip_suffix(&*kind.kind).unwrap_or(&own), kind.list_kind)
}

/// Name of the component of what is no kind of its own, as `io.k8s.api.policy.v1.Eviction`.
pub fn component_of(group: &str, version: &str, kind: &str) -> String {
    let package = if group.is_empty() { "core" } else { group.split('.').next().unwrap_or(group) };
    format!("io.k8s.api.{package}.{version}.{kind}")
}

/// A reference to a component.
pub fn reference(component: &str) -> Value {
    json!({ "$ref": format!("{COMPONENTS}{component}") })
}

/// The kind as extensions name it.
pub fn gvk(kind: &Kind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

/// Which type describes which message.
macro_rules! typed {
    ($generator:ident, $message:ident, $($name:literal => $view:ty,)*) => {
        match $message {
            $($name => $generator.subschema_for::<$view>(),)*
            // A kind without a typed schema is described by its metadata alone; a test holds that there is none.
            _ => $generator.subschema_for::<meta::v1::ObjectMeta>(),
        }
    };
}

fn register(generator: &mut SchemaGenerator, message: &str) {
    typed!(
        generator, message,
        "k8s.io.api.core.v1.Pod" => core::v1::Pod,
        "k8s.io.api.core.v1.ConfigMap" => core::v1::ConfigMap,
        "k8s.io.api.core.v1.Secret" => core::v1::Secret,
        "k8s.io.api.core.v1.ServiceAccount" => core::v1::ServiceAccount,
        "k8s.io.api.core.v1.Namespace" => core::v1::Namespace,
        "k8s.io.api.core.v1.Node" => core::v1::Node,
        "k8s.io.api.core.v1.Event" => core::v1::Event,
        "k8s.io.api.core.v1.Service" => core::v1::Service,
        "k8s.io.api.core.v1.Endpoints" => core::v1::Endpoints,
        "k8s.io.api.core.v1.PersistentVolume" => core::v1::PersistentVolume,
        "k8s.io.api.core.v1.PersistentVolumeClaim" => core::v1::PersistentVolumeClaim,
        "k8s.io.api.core.v1.ResourceQuota" => core::v1::ResourceQuota,
        "k8s.io.api.core.v1.LimitRange" => core::v1::LimitRange,
        "k8s.io.api.core.v1.ReplicationController" => core::v1::ReplicationController,
        "k8s.io.api.core.v1.PodTemplate" => core::v1::PodTemplate,
        "k8s.io.api.apps.v1.Deployment" => apps::v1::Deployment,
        "k8s.io.api.apps.v1.ReplicaSet" => apps::v1::ReplicaSet,
        "k8s.io.api.apps.v1.StatefulSet" => apps::v1::StatefulSet,
        "k8s.io.api.apps.v1.DaemonSet" => apps::v1::DaemonSet,
        "k8s.io.api.apps.v1.ControllerRevision" => apps::v1::ControllerRevision,
        "k8s.io.api.batch.v1.Job" => batch::v1::Job,
        "k8s.io.api.batch.v1.CronJob" => batch::v1::CronJob,
        "k8s.io.api.autoscaling.v2.HorizontalPodAutoscaler" => autoscaling::v2::HorizontalPodAutoscaler,
        "k8s.io.api.policy.v1.PodDisruptionBudget" => policy::v1::PodDisruptionBudget,
        "k8s.io.api.rbac.v1.Role" => rbac::v1::Role,
        "k8s.io.api.rbac.v1.ClusterRole" => rbac::v1::ClusterRole,
        "k8s.io.api.rbac.v1.RoleBinding" => rbac::v1::RoleBinding,
        "k8s.io.api.rbac.v1.ClusterRoleBinding" => rbac::v1::ClusterRoleBinding,
        "k8s.io.api.networking.v1.Ingress" => networking::v1::Ingress,
        "k8s.io.api.networking.v1.IngressClass" => networking::v1::IngressClass,
        "k8s.io.api.networking.v1.NetworkPolicy" => networking::v1::NetworkPolicy,
        "k8s.io.api.networking.v1.ServiceCIDR" => networking::v1::ServiceCIDR,
        "k8s.io.api.networking.v1.IPAddress" => networking::v1::IPAddress,
        "k8s.io.api.discovery.v1.EndpointSlice" => discovery::v1::EndpointSlice,
        "k8s.io.api.coordination.v1.Lease" => coordination::v1::Lease,
        "k8s.io.api.storage.v1.StorageClass" => storage::v1::StorageClass,
        "k8s.io.api.storage.v1.VolumeAttributesClass" => storage::v1::VolumeAttributesClass,
        "k8s.io.api.storage.v1.VolumeAttachment" => storage::v1::VolumeAttachment,
        "k8s.io.api.storage.v1.CSIDriver" => storage::v1::CSIDriver,
        "k8s.io.api.storage.v1.CSINode" => storage::v1::CSINode,
        "k8s.io.api.storage.v1.CSIStorageCapacity" => storage::v1::CSIStorageCapacity,
        "k8s.io.api.scheduling.v1.PriorityClass" => scheduling::v1::PriorityClass,
        "k8s.io.api.node.v1.RuntimeClass" => node::v1::RuntimeClass,
        "k8s.io.api.certificates.v1.CertificateSigningRequest" => certificates::v1::CertificateSigningRequest,
        "k8s.io.api.certificates.v1.ClusterTrustBundle" => certificates::v1::ClusterTrustBundle,
        "k8s.io.api.certificates.v1.PodCertificateRequest" => certificates::v1::PodCertificateRequest,
        "k8s.io.api.admissionregistration.v1.MutatingWebhookConfiguration" => admissionregistration::v1::MutatingWebhookConfiguration,
        "k8s.io.api.admissionregistration.v1.ValidatingWebhookConfiguration" => admissionregistration::v1::ValidatingWebhookConfiguration,
        "k8s.io.api.admissionregistration.v1.ValidatingAdmissionPolicy" => admissionregistration::v1::ValidatingAdmissionPolicy,
        "k8s.io.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding" => admissionregistration::v1::ValidatingAdmissionPolicyBinding,
        "k8s.io.api.admissionregistration.v1.MutatingAdmissionPolicy" => admissionregistration::v1::MutatingAdmissionPolicy,
        "k8s.io.api.admissionregistration.v1.MutatingAdmissionPolicyBinding" => admissionregistration::v1::MutatingAdmissionPolicyBinding,
        "k8s.io.api.flowcontrol.v1.FlowSchema" => flowcontrol::v1::FlowSchema,
        "k8s.io.api.flowcontrol.v1.PriorityLevelConfiguration" => flowcontrol::v1::PriorityLevelConfiguration,
        "k8s.io.api.resource.v1.ResourceClaim" => resource::v1::ResourceClaim,
        "k8s.io.api.resource.v1.ResourceClaimTemplate" => resource::v1::ResourceClaimTemplate,
        "k8s.io.api.resource.v1.DeviceClass" => resource::v1::DeviceClass,
        "k8s.io.api.resource.v1.ResourceSlice" => resource::v1::ResourceSlice,
        "k8s.io.api.resource.v1.DeviceTaintRule" => resource::v1::DeviceTaintRule,
        "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition" => extensions::CustomResourceDefinition,
        "k8s.io.kube_aggregator.pkg.apis.apiregistration.v1.APIService" => registration::APIService,
        "k8s.io.api.autoscaling.v1.HorizontalPodAutoscaler" => autoscaling::v1::HorizontalPodAutoscaler,
        "k8s.io.api.events.v1.Event" => events::v1::Event,
        "k8s.io.api.core.v1.Binding" => core::v1::Binding,
        "k8s.io.api.policy.v1.Eviction" => policy::v1::Eviction,
        "k8s.io.api.authentication.v1.TokenRequest" => authentication::v1::TokenRequest,
        "k8s.io.api.authentication.v1.TokenReview" => authentication::v1::TokenReview,
        "k8s.io.api.authentication.v1.SelfSubjectReview" => authentication::v1::SelfSubjectReview,
        "k8s.io.api.authorization.v1.LocalSubjectAccessReview" => authorization::v1::LocalSubjectAccessReview,
        "k8s.io.api.authorization.v1.SelfSubjectAccessReview" => authorization::v1::SelfSubjectAccessReview,
        "k8s.io.api.authorization.v1.SelfSubjectRulesReview" => authorization::v1::SelfSubjectRulesReview,
        "k8s.io.api.authorization.v1.SubjectAccessReview" => authorization::v1::SubjectAccessReview,
    );
}

/// Adds merge rules to a component's properties.
fn complete(name: &str, schema: &mut Value) {
    let message = name.replacen("io.k8s.", "k8s.io.", 1).replace('-', "_");
    let Some(message) = fields::message(&message) else { return };
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (json_name, property) in properties {
        let Some(field) = message.field(json_name) else { continue };
        let Some(property) = property.as_object_mut() else { continue };
        if let Some(strategy) = &field.patch_strategy {
            let parts =
                [(strategy.merge, "merge"), (strategy.replace, "replace"), (strategy.retain_keys, "retainKeys")];
            let names: Vec<&str> = parts.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
            property.insert("x-kubernetes-patch-strategy".into(), names.join(",").into());
        }
        if let Some(key) = field.patch_merge_key {
            property.insert("x-kubernetes-patch-merge-key".into(), key.into());
        }
        if field.label == fields::Label::Repeated {
            let list_type = match field.list {
                fields::ListType::Atomic => "atomic",
                fields::ListType::Set => "set",
                fields::ListType::Map => "map",
            };
            property.insert("x-kubernetes-list-type".into(), list_type.into());
            if !field.map_keys.is_empty() {
                property.insert("x-kubernetes-list-map-keys".into(), json!(field.map_keys));
            }
        } else if field.atomic {
            property.insert("x-kubernetes-map-type".into(), "atomic".into());
        }
    }
}

fn list_of(kind: &Kind, component: &str) -> Value {
    json!({
        "description": format!("{} is a list of {} objects.", kind.list_kind, kind.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of this list's schema."},
            "kind": {"type": "string", "description": "Kind of this list."},
            "metadata": reference("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"),
            "items": {"type": "array", "description": "The objects.", "items": reference(component)},
        },
        "x-kubernetes-group-version-kind":
            [{"group": kind.group, "version": kind.version, "kind": kind.list_kind}],
    })
}
