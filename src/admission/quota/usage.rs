//! What one object uses of what quotas count, and which quotas are about it.

use jiff::{SignedDuration, Timestamp};
use objects::quantity::Quantity;
use objects::{Kind, Resource, defaulting, time};
use serde_json::Value;

use crate::pod::{Amounts, amounts, asks_with_overhead};
use crate::{list, text};

/// Core kinds that quotas may also count by their plain plural.
const PLAIN: [&str; 5] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets", "services"];
const BY_CLASS: &str = ".storageclass.storage.k8s.io/";

/// Whether objects of this kind are nobody's to count: events come and go by themselves.
pub fn is_uncounted(kind: &Kind) -> bool {
    kind.kind == "Event"
}

/// The resource whose objects use what a quota calls `name`.
pub fn resource_of(name: &str) -> Resource {
    if let Some(counted) = name.strip_prefix("count/") {
        let (plural, group) = counted.split_once('.').unwrap_or((counted, ""));
        return Resource::new(group, plural);
    }
    match name {
        "services.nodeports" | "services.loadbalancers" => "services".into(),
        "persistentvolumeclaims" | "requests.storage" => "persistentvolumeclaims".into(),
        _ if name.contains(BY_CLASS) => "persistentvolumeclaims".into(),
        _ if PLAIN.contains(&name) => name.into(),
        _ => "pods".into(),
    }
}

/// The name under which every object of a resource counts.
pub fn count_name(kind: &Kind) -> String {
    format!("count/{}", kind.resource())
}

/// What an object uses, by the names of quotas.
pub fn usage(kind: &Kind, object: &Value, now: Timestamp) -> Amounts {
    let one = Quantity::from_units(1);
    let mut used = Amounts::from([(count_name(kind), one)]);
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") if runs(object, now) => used.extend(of_pod(&object["spec"])),
        ("", "Pod") => {}
        ("", "Service") => {
            let kind = text(&object["spec"]["type"]);
            let open = matches!(kind, "NodePort" | "LoadBalancer");
            let ports = if open { list(&object["spec"]["ports"]).count() } else { 0 };
            used.insert("services".into(), one);
            used.insert("services.nodeports".into(), Quantity::from_units(i64::try_from(ports).unwrap_or(i64::MAX)));
            used.insert("services.loadbalancers".into(), Quantity::from_units(i64::from(kind == "LoadBalancer")));
        }
        ("", "PersistentVolumeClaim") => used.extend(of_claim(object)),
        ("", _) if PLAIN.contains(&kind.plural.as_str()) => {
            used.insert(kind.plural.clone(), one);
        }
        _ => {}
    }
    used
}

/// Whether a pod still uses anything: not when it has ended, nor when its deletion is overdue.
fn runs(pod: &Value, now: Timestamp) -> bool {
    let ended = matches!(text(&pod["status"]["phase"]), "Succeeded" | "Failed");
    !ended && overdue_at(pod).is_none_or(|at| now <= at)
}

/// When a pod that is being deleted no longer counts.
pub fn overdue_at(pod: &Value) -> Option<Timestamp> {
    let deleted = time::parse(pod["metadata"]["deletionTimestamp"].as_str()?).ok()?;
    let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_i64()?;
    deleted.checked_add(SignedDuration::from_secs(grace)).ok()
}

fn of_pod(spec: &Value) -> Amounts {
    let mut used = Amounts::from([("pods".to_owned(), Quantity::from_units(1))]);
    for (name, amount) in asks_with_overhead(spec, "requests") {
        let plain = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
        used.insert(format!("requests.{name}"), amount);
        if plain {
            used.insert(name, amount);
        }
    }
    for (name, amount) in asks_with_overhead(spec, "limits") {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            used.insert(format!("limits.{name}"), amount);
        }
    }
    used
}

fn of_claim(claim: &Value) -> Amounts {
    let one = Quantity::from_units(1);
    let mut used = Amounts::from([("persistentvolumeclaims".to_owned(), one)]);
    let class = match claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_str() {
        Some(class) => class,
        None => text(&claim["spec"]["storageClassName"]),
    };
    let storage = |list: &Value| amounts(list).get("storage").copied();
    let allocated = storage(&claim["status"]["allocatedResources"]);
    let size = storage(&claim["spec"]["resources"]["requests"]).max(allocated);
    if let Some(size) = size {
        used.insert("requests.storage".into(), size);
    }
    if !class.is_empty() {
        used.insert(format!("{class}{BY_CLASS}persistentvolumeclaims"), one);
        if let Some(size) = size {
            used.insert(format!("{class}{BY_CLASS}requests.storage"), size);
        }
    }
    used
}

/// Whether all scopes of a quota are the object's; a quota without scopes is about every object.
pub fn fits_scopes(quota: &Value, kind: &Kind, object: &Value) -> bool {
    let exists = serde_json::json!({"operator": "Exists"});
    let plain = list(&quota["spec"]["scopes"]).all(|scope| in_scope(text(scope), &exists, kind, object));
    let terms = list(&quota["spec"]["scopeSelector"]["matchExpressions"]);
    plain && terms.into_iter().all(|term| in_scope(text(&term["scopeName"]), term, kind, object))
}

fn in_scope(scope: &str, term: &Value, kind: &Kind, object: &Value) -> bool {
    let spec = &object["spec"];
    match (kind.group.as_str(), kind.kind.as_str(), scope) {
        ("", "PersistentVolumeClaim", "VolumeAttributesClass") => {
            selects(term, text(&spec["volumeAttributesClassName"]))
        }
        ("", "Pod", "Terminating") => spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0),
        ("", "Pod", "NotTerminating") => spec["activeDeadlineSeconds"].as_i64().is_none_or(|seconds| seconds < 0),
        ("", "Pod", "BestEffort") => defaulting::qos_class(spec) == "BestEffort",
        ("", "Pod", "NotBestEffort") => defaulting::qos_class(spec) != "BestEffort",
        ("", "Pod", "PriorityClass") => selects(term, text(&spec["priorityClassName"])),
        ("", "Pod", "CrossNamespacePodAffinity") => reaches_out(&spec["affinity"]),
        _ => false,
    }
}

/// Whether a term of a scope selector takes a class; an empty name is no class.
fn selects(term: &Value, class: &str) -> bool {
    let among = list(&term["values"]).any(|value| value == class);
    match text(&term["operator"]) {
        "In" => !class.is_empty() && among,
        "NotIn" => class.is_empty() || !among,
        "DoesNotExist" => class.is_empty(),
        _ => !class.is_empty(),
    }
}

/// Whether a pod's affinity looks at pods of other namespaces.
fn reaches_out(affinity: &Value) -> bool {
    let outside = |term: &Value| list(&term["namespaces"]).next().is_some() || !term["namespaceSelector"].is_null();
    ["podAffinity", "podAntiAffinity"].iter().any(|sort| {
        list(&affinity[*sort]["requiredDuringSchedulingIgnoredDuringExecution"]).any(outside)
            || list(&affinity[*sort]["preferredDuringSchedulingIgnoredDuringExecution"])
                .any(|weighted| outside(&weighted["podAffinityTerm"]))
    })
}
