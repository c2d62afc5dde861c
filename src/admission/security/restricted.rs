//! The checks of the restricted level, beyond those of baseline.
//!
//! As upstream's `k8s.io/pod-security-admission/policy/check_*.go`. Since 1.25 pods for Windows are let off what Windows does
//! not have, since 1.35 pods with a user namespace of their own what is harmless there.

use std::collections::BTreeSet;

use serde_json::Value;

use super::baseline::is_confined;
use super::policy::Standard;
use super::violation::{Setters, Violation, containers, name, named, plural, quoted};
use crate::{list, text};

/// What a volume may be made of.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Every violation of the level that is none of baseline's.
pub fn check(pod: &Value, standard: Standard) -> Vec<Violation> {
    let windows = standard.since(25) && pod["spec"]["os"]["name"] == "windows";
    let apart = standard.since(35) && pod["spec"]["hostUsers"] == false;
    let mut found = vec![volumes(pod)];
    if standard.since(8) && !windows {
        found.push(escalation(pod));
    }
    if standard.since(22) && !windows {
        found.push(capabilities(pod));
    }
    if standard.since(19) && !windows {
        found.push(seccomp(pod));
    }
    if !apart {
        found.push(non_root(pod));
        if standard.since(23) {
            found.push(user(pod));
        }
    }
    found.into_iter().flatten().collect()
}

fn violation(check: &'static str, reason: &str, detail: String) -> Option<Violation> {
    Some(Violation { check, reason: reason.to_owned(), detail })
}

fn escalation(pod: &Value) -> Option<Violation> {
    let bad: Vec<String> = containers(pod)
        .filter(|container| container["securityContext"]["allowPrivilegeEscalation"] != false)
        .map(name)
        .collect();
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", named(&bad));
    violation("allowPrivilegeEscalation", "allowPrivilegeEscalation != false", detail)
}

fn capabilities(pod: &Value) -> Option<Violation> {
    let (mut keeping, mut adding, mut added) = (Vec::new(), Vec::new(), BTreeSet::new());
    for container in containers(pod) {
        let given = &container["securityContext"]["capabilities"];
        if !list(&given["drop"]).any(|one| one == "ALL") {
            keeping.push(name(container));
        }
        let more: Vec<&str> = list(&given["add"]).map(text).filter(|one| *one != "NET_BIND_SERVICE").collect();
        if !more.is_empty() {
            adding.push(name(container));
            added.extend(more);
        }
    }
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", named(&keeping)));
    }
    if !adding.is_empty() {
        let added = quoted(added);
        details.push(format!("{} must not include {added} in securityContext.capabilities.add", named(&adding)));
    }
    if details.is_empty() {
        return None;
    }
    violation("capabilities_restricted", "unrestricted capabilities", details.join("; "))
}

fn volumes(pod: &Value) -> Option<Violation> {
    let (mut names, mut kinds) = (Vec::new(), BTreeSet::new());
    for volume in list(&pod["spec"]["volumes"]) {
        let sources: Vec<&String> = volume.as_object().into_iter().flatten().map(|(key, _)| key).collect();
        if sources.iter().any(|source| VOLUMES.contains(&source.as_str())) {
            continue;
        }
        names.push(name(volume));
        kinds.extend(sources.into_iter().filter(|source| *source != "name").cloned());
    }
    if names.is_empty() {
        return None;
    }
    let (uses, word) =
        (plural("uses", "use", names.len()), plural("restricted volume type", "restricted volume types", kinds.len()));
    let detail =
        format!("{} {} {uses} {word} {}", plural("volume", "volumes", names.len()), quoted(&names), quoted(kinds));
    violation("restrictedVolumes", "restricted volume types", detail)
}

/// Containers that do not say what the pod does not say for them.
fn silent(pod: &Value, said: impl Fn(&Value) -> bool) -> Vec<String> {
    if said(&pod["spec"]["securityContext"]) {
        return Vec::new();
    }
    containers(pod).filter(|container| !said(&container["securityContext"])).map(name).collect()
}

fn non_root(pod: &Value) -> Option<Violation> {
    let (check, reason) = ("runAsNonRoot", "runAsNonRoot != true");
    let setters = Setters::find(pod, |context| {
        let root = context["runAsNonRoot"] == false;
        if root { vec![String::new()] } else { Vec::new() }
    });
    if !setters.is_empty() {
        let detail = format!("{} must not set securityContext.runAsNonRoot=false", setters.who());
        return violation(check, reason, detail);
    }
    let silent = silent(pod, |context| context["runAsNonRoot"] == true);
    if silent.is_empty() {
        return None;
    }
    violation(check, reason, format!("pod or {} must set securityContext.runAsNonRoot=true", named(&silent)))
}

fn user(pod: &Value) -> Option<Violation> {
    let setters = Setters::find(pod, |context| {
        let root = context["runAsUser"] == 0;
        if root { vec![String::new()] } else { Vec::new() }
    });
    if setters.is_empty() {
        return None;
    }
    violation("runAsUser", "runAsUser=0", format!("{} must not set runAsUser=0", setters.who()))
}

fn seccomp(pod: &Value) -> Option<Violation> {
    let (check, reason) = ("seccompProfile_restricted", "seccompProfile");
    let setters = Setters::find(pod, |context| match context["seccompProfile"]["type"].as_str() {
        Some(profile) if !is_confined(profile) => vec![profile.to_owned()],
        _ => Vec::new(),
    });
    if !setters.is_empty() {
        let values = quoted(&setters.values);
        let detail = format!("{} must not set securityContext.seccompProfile.type to {values}", setters.who());
        return violation(check, reason, detail);
    }
    let silent = silent(pod, |context| context["seccompProfile"]["type"].as_str().is_some_and(is_confined));
    if silent.is_empty() {
        return None;
    }
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        named(&silent)
    );
    violation(check, reason, detail)
}
