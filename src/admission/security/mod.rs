//! PodSecurity: the Pod Security Standards, by the labels of a namespace.
//!
//! As upstream's `k8s.io/pod-security-admission/admission`. Pods are held to the level that is enforced; workload
//! templates only warn, because their pods will be held to it. What is only to be audited goes nowhere yet: there is no
//! audit log.

mod baseline;
mod policy;
mod restricted;
mod violation;

use std::collections::BTreeMap;

use objects::{Cause, Kind, Status};
use serde_json::Value;
use state::State;

use crate::{Operation, Request, list, text, values};
use policy::{Level, Policy, Standard};
use violation::Violation;

/// Pods of a namespace that are looked at when its level is raised; upstream's.
const PODS_MAX: usize = 3000;
/// Annotations by which pods once chose seccomp profiles.
const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// Where a kind keeps its pod: metadata and spec of a pod, or of a template.
fn pod_of<'a>(kind: &Kind, object: &'a Value) -> Option<&'a Value> {
    let template = match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => object,
        ("", "PodTemplate") => &object["template"],
        ("", "ReplicationController")
        | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("batch", "Job") => &object["spec"]["template"],
        ("batch", "CronJob") => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => return None,
    };
    template["spec"].is_object().then_some(template)
}

/// Whether objects of the kind are pods or make some.
pub fn has_pods(kind: &Kind) -> bool {
    let names =
        ["Pod", "PodTemplate", "ReplicationController", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"];
    matches!(kind.group.as_str(), "" | "apps" | "batch")
        && (names.contains(&kind.kind.as_str()) || kind.kind == "CronJob")
}

/// Holds pods and what makes them to the standard of their namespace, and namespaces to labels that mean something.
///
/// # Errors
/// 403 for pods, with every violation; 422 for labels.
pub fn validate(request: &Request<'_>, object: &Value, warnings: &mut Vec<String>) -> Result<(), Status> {
    if request.is("", "Namespace") {
        return namespace(request, object, warnings);
    }
    let Some(pod) = pod_of(request.kind, object) else { return Ok(()) };
    let itself = request.is("", "Pod");
    let looked_at = match request.subresource {
        "" => true,
        "ephemeralcontainers" | "resize" => itself,
        _ => false,
    };
    if !looked_at {
        return Ok(());
    }
    if let (true, Operation::Update, Some(old)) = (itself, request.operation, request.old)
        && !significant(old, pod)
    {
        return Ok(());
    }
    let policy = Policy::of(request.home().map(|namespace| &namespace.face().labels[..]).unwrap_or_default()).0;
    if itself {
        let found = violations(pod, policy.enforce);
        if !found.is_empty() {
            let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, detail(&found));
            return Err(request.forbidden(object, why));
        }
    }
    let found = violations(pod, policy.warn);
    if !found.is_empty() {
        warnings.push(format!("would violate PodSecurity \"{}\": {}", policy.warn, detail(&found)));
    }
    Ok(())
}

/// Whether an update of a pod touches what the standards are about; the rest of a pod cannot be changed.
fn significant(old: &Value, new: &Value) -> bool {
    let noted = |pod: &Value, key: &str| pod["metadata"]["annotations"][key].as_str().map(str::to_owned);
    if noted(old, SECCOMP) != noted(new, SECCOMP) {
        return true;
    }
    let changed = |container: &Value, before: &Value| {
        let key = format!("{SECCOMP_CONTAINER}{}", text(&container["name"]));
        container["image"] != before["image"] || noted(old, &key) != noted(new, &key)
    };
    ["containers", "initContainers", "ephemeralContainers"].iter().any(|field| {
        let before: BTreeMap<&str, &Value> = list(&old["spec"][*field]).map(|one| (text(&one["name"]), one)).collect();
        let count = list(&new["spec"][*field]).count();
        count != before.len()
            || list(&new["spec"][*field])
                .any(|one| before.get(text(&one["name"])).is_none_or(|before| changed(one, before)))
    })
}

/// Every way in which a pod breaks a standard: what breaks baseline first, each level in the order of its checks' names.
fn violations(pod: &Value, standard: Standard) -> Vec<Violation> {
    let mut found = Vec::new();
    for (level, check) in
        [(Level::Baseline, baseline::check as fn(&Value, Standard) -> _), (Level::Restricted, restricted::check)]
    {
        if standard.level >= level {
            let mut of_level: Vec<Violation> = check(pod, standard);
            of_level.sort_by_key(|violation| violation.check);
            found.extend(of_level);
        }
    }
    found
}

fn detail(found: &[Violation]) -> String {
    let parts: Vec<String> = found.iter().map(Violation::to_string).collect();
    parts.join(", ")
}

/// Refuses labels that mean nothing, and tells which pods would break a level that is raised.
fn namespace(request: &Request<'_>, object: &Value, warnings: &mut Vec<String>) -> Result<(), Status> {
    if !request.subresource.is_empty() {
        return Ok(());
    }
    let (policy, faults) = Policy::of_value(&object["metadata"]["labels"]);
    let (before, known) = request.old.map(|old| Policy::of_value(&old["metadata"]["labels"])).unwrap_or_default();
    // What was wrong before does not keep a namespace from being changed in other ways.
    if !faults.is_empty() && (request.old.is_none() || faults != known) {
        let causes = faults.into_iter().map(|(label, value, why)| Cause {
            reason: "FieldValueInvalid".into(),
            message: format!("Invalid value: {value:?}: {why}"),
            field: format!("metadata.labels[{label}]"),
        });
        let name = text(&object["metadata"]["name"]);
        return Err(Status::invalid("", "Namespace", name, causes.collect()));
    }
    let raised = policy.enforce.level > before.enforce.level || policy.enforce.version != before.enforce.version;
    if request.old.is_some() && policy.enforce.level > Level::Privileged && raised {
        warnings.extend(existing(request.state, text(&object["metadata"]["name"]), policy.enforce));
    }
    Ok(())
}

/// What to say about the pods of a namespace that break a standard.
fn existing(state: &State, namespace: &str, standard: Standard) -> Vec<String> {
    let total = state.list_in(&"pods".into(), namespace).count();
    let mut kinds: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for pod in values(state, "pods", namespace).take(PODS_MAX) {
        let found = violations(&pod, standard);
        if !found.is_empty() {
            let reasons: Vec<&str> = found.iter().map(|violation| violation.reason.as_str()).collect();
            let first = || (text(&pod["metadata"]["name"]).to_owned(), 0);
            kinds.entry(reasons.join(", ")).or_insert_with(first).1 += 1;
        }
    }
    let mut told = Vec::new();
    if total > PODS_MAX {
        told.push(format!(
            "new PodSecurity enforce level only checked against the first {PODS_MAX} of {total} existing pods"
        ));
    }
    if !kinds.is_empty() {
        told.push(format!(
            "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{standard}\""
        ));
    }
    let mut pods: Vec<String> = kinds
        .into_iter()
        .map(|(reasons, (name, count))| match count {
            1 => format!("{name}: {reasons}"),
            2 => format!("{name} (and 1 other pod): {reasons}"),
            more => format!("{name} (and {} other pods): {reasons}", more - 1),
        })
        .collect();
    pods.sort();
    told.extend(pods);
    told
}
