//! The checks of the baseline level.
//!
//! As upstream's `k8s.io/pod-security-admission/policy/check_*.go`, with the versions in which each came.

use std::collections::BTreeSet;

use serde_json::Value;

use super::policy::{Level, Standard};
use super::violation::{Setters, Violation, containers, name, named, plural, quoted};
use super::{SECCOMP, SECCOMP_CONTAINER};
use crate::{list, text};

/// Capabilities that containers may add.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Kernel parameters that are the pod's own, and since which minor version they count as safe.
const SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Every violation of the level.
pub fn check(pod: &Value, standard: Standard) -> Vec<Violation> {
    let mut found = vec![
        app_armor(pod),
        host_namespaces(pod),
        host_path(pod),
        host_ports(pod),
        privileged(pod),
        proc_mount(pod, standard),
        se_linux(pod, standard),
        sysctls(pod, standard),
        host_process(pod),
    ];
    // The restricted level has stricter checks of its own.
    if standard.level == Level::Baseline || !standard.since(22) {
        found.push(capabilities(pod));
    }
    if standard.level == Level::Baseline || !standard.since(19) {
        found.push(seccomp(pod, standard));
    }
    if standard.since(34) {
        found.push(probes(pod));
    }
    found.into_iter().flatten().collect()
}

fn violation(check: &'static str, reason: impl Into<String>, detail: impl Into<String>) -> Option<Violation> {
    Some(Violation { check, reason: reason.into(), detail: detail.into() })
}

fn app_armor(pod: &Value) -> Option<Violation> {
    let setters = Setters::find(pod, |context| match context["appArmorProfile"]["type"].as_str() {
        Some(profile) if !matches!(profile, "RuntimeDefault" | "Localhost") => vec![profile.to_owned()],
        _ => Vec::new(),
    });
    let annotations = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    let bad: BTreeSet<String> = annotations
        .filter(|(key, value)| {
            let profile = text(value);
            let fine = matches!(profile, "" | "runtime/default") || profile.starts_with("localhost/");
            key.starts_with(APP_ARMOR) && !fine
        })
        .map(|(key, value)| format!("{key}={:?}", text(value)))
        .collect();
    let mut who = setters.who();
    if !bad.is_empty() {
        who = if who.is_empty() { String::new() } else { format!("{who} and ") };
        who.push_str(&plural("annotation", "annotations", bad.len()));
    }
    let values: Vec<&String> = setters.values.iter().chain(&bad).collect();
    if values.is_empty() {
        return None;
    }
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len());
    violation("appArmorProfile", reason, format!("{who} must not set AppArmor profile type to {}", quoted(values)))
}

/// As [`named`], where a container may have been found twice.
fn distinct(names: Vec<String>) -> Vec<String> {
    names.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

fn capabilities(pod: &Value) -> Option<Violation> {
    let (mut bad, mut added) = (Vec::new(), BTreeSet::new());
    for container in containers(pod) {
        let forbidden: Vec<&str> = list(&container["securityContext"]["capabilities"]["add"])
            .map(text)
            .filter(|capability| !CAPABILITIES.contains(capability))
            .collect();
        if !forbidden.is_empty() {
            bad.push(name(container));
            added.extend(forbidden);
        }
    }
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must not include {} in securityContext.capabilities.add", named(&bad), quoted(added));
    violation("capabilities_baseline", "non-default capabilities", detail)
}

fn host_namespaces(pod: &Value) -> Option<Violation> {
    let set: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .filter(|field| pod["spec"][**field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    if set.is_empty() { None } else { violation("hostNamespaces", "host namespaces", set.join(", ")) }
}

fn host_path(pod: &Value) -> Option<Violation> {
    let volumes = list(&pod["spec"]["volumes"]).filter(|volume| !volume["hostPath"].is_null());
    let names: Vec<String> = volumes.map(name).collect();
    if names.is_empty() {
        return None;
    }
    let detail = format!("{} {}", plural("volume", "volumes", names.len()), quoted(names));
    violation("hostPathVolumes", "hostPath volumes", detail)
}

fn host_ports(pod: &Value) -> Option<Violation> {
    let (mut bad, mut ports) = (Vec::new(), BTreeSet::new());
    for container in containers(pod) {
        let used: Vec<i64> =
            list(&container["ports"]).filter_map(|port| port["hostPort"].as_i64()).filter(|port| *port != 0).collect();
        if !used.is_empty() {
            bad.push(name(container));
            ports.extend(used.into_iter().map(|port| port.to_string()));
        }
    }
    if bad.is_empty() {
        return None;
    }
    let (uses, word) = (plural("uses", "use", bad.len()), plural("hostPort", "hostPorts", ports.len()));
    let ports: Vec<String> = ports.into_iter().collect();
    violation("hostPorts", "hostPort", format!("{} {uses} {word} {}", named(&bad), ports.join(", ")))
}

fn probes(pod: &Value) -> Option<Violation> {
    let (mut bad, mut hosts) = (Vec::new(), BTreeSet::new());
    for container in containers(pod) {
        let lifecycle = &container["lifecycle"];
        let handlers = [
            &container["livenessProbe"],
            &container["readinessProbe"],
            &container["startupProbe"],
            &lifecycle["postStart"],
            &lifecycle["preStop"],
        ];
        for handler in handlers {
            for way in ["httpGet", "tcpSocket"] {
                let host = text(&handler[way]["host"]);
                if !host.is_empty() {
                    bad.push(name(container));
                    hosts.insert(host.to_owned());
                }
            }
        }
    }
    let bad = distinct(bad);
    if bad.is_empty() {
        return None;
    }
    let uses = plural("uses", "use", bad.len());
    let word = plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len());
    let detail = format!("{} {uses} {word} {}", named(&bad), quoted(hosts));
    violation("hostProbesAndHostLifecycle", "probe or lifecycle host", detail)
}

fn privileged(pod: &Value) -> Option<Violation> {
    let bad: Vec<String> =
        containers(pod).filter(|container| container["securityContext"]["privileged"] == true).map(name).collect();
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.privileged=true", named(&bad));
    violation("privileged", "privileged", detail)
}

fn proc_mount(pod: &Value, standard: Standard) -> Option<Violation> {
    // Since 1.35 a pod in a user namespace of its own may see all of /proc, as far as baseline goes.
    if pod["spec"]["hostUsers"] == false && standard.level == Level::Baseline && standard.since(35) {
        return None;
    }
    let (mut bad, mut kinds) = (Vec::new(), BTreeSet::new());
    for container in containers(pod) {
        if let Some(kind) = container["securityContext"]["procMount"].as_str().filter(|kind| *kind != "Default") {
            bad.push(name(container));
            kinds.insert(kind.to_owned());
        }
    }
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.procMount to {}", named(&bad), quoted(kinds));
    violation("procMount", "procMount", detail)
}

fn se_linux(pod: &Value, standard: Standard) -> Option<Violation> {
    let fine = |kind: &str| {
        matches!(kind, "" | "container_t" | "container_init_t" | "container_kvm_t")
            || kind == "container_engine_t" && standard.since(31)
    };
    // A type is told by its name; user and role by marks that no type can be.
    let setters = Setters::find(pod, |context| {
        let options = &context["seLinuxOptions"];
        let mut bad = Vec::new();
        if !fine(text(&options["type"])) {
            bad.push(format!("type {}", text(&options["type"])));
        }
        for field in ["user", "role"] {
            if !text(&options[field]).is_empty() {
                bad.push(field.to_owned());
            }
        }
        bad
    });
    if setters.is_empty() {
        return None;
    }
    let types: Vec<&str> = setters.values.iter().filter_map(|value| value.strip_prefix("type ")).collect();
    let mut data = Vec::new();
    if !types.is_empty() {
        data.push(format!("{} {}", plural("type", "types", types.len()), quoted(types)));
    }
    for field in ["user", "role"] {
        if setters.values.contains(field) {
            data.push(format!("{field} may not be set"));
        }
    }
    let detail = format!("{} set forbidden securityContext.seLinuxOptions: {}", setters.who(), data.join("; "));
    violation("seLinuxOptions", "seLinuxOptions", detail)
}

/// The profiles that a security context may name.
pub fn is_confined(profile: &str) -> bool {
    matches!(profile, "RuntimeDefault" | "Localhost")
}

fn seccomp(pod: &Value, standard: Standard) -> Option<Violation> {
    if !standard.since(19) {
        return seccomp_annotations(pod);
    }
    let setters = Setters::find(pod, |context| match context["seccompProfile"]["type"].as_str() {
        Some(profile) if !is_confined(profile) => vec![profile.to_owned()],
        _ => Vec::new(),
    });
    if setters.is_empty() {
        return None;
    }
    let detail =
        format!("{} must not set securityContext.seccompProfile.type to {}", setters.who(), quoted(&setters.values));
    violation("seccompProfile_baseline", "seccompProfile", detail)
}

fn seccomp_annotations(pod: &Value) -> Option<Violation> {
    let keys = std::iter::once(SECCOMP.to_owned())
        .chain(containers(pod).map(|container| format!("{SECCOMP_CONTAINER}{}", name(container))));
    let bad: BTreeSet<String> = keys
        .filter_map(|key| {
            let value = pod["metadata"]["annotations"][key.as_str()].as_str()?;
            let fine = matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
            (!fine).then(|| format!("{key}={value:?}"))
        })
        .collect();
    if bad.is_empty() {
        return None;
    }
    let word = plural("annotation", "annotations", bad.len());
    let bad: Vec<String> = bad.into_iter().collect();
    violation("seccompProfile_baseline", "seccompProfile", format!("forbidden {word} {}", bad.join(", ")))
}

fn sysctls(pod: &Value, standard: Standard) -> Option<Violation> {
    let safe = |name: &str| SYSCTLS.iter().any(|(known, minor)| *known == name && standard.since(*minor));
    let bad: Vec<&str> = list(&pod["spec"]["securityContext"]["sysctls"])
        .map(|one| text(&one["name"]))
        .filter(|name| !safe(name))
        .collect();
    if bad.is_empty() { None } else { violation("sysctls", "forbidden sysctls", bad.join(", ")) }
}

fn host_process(pod: &Value) -> Option<Violation> {
    let setters = Setters::find(pod, |context| {
        let set = context["windowsOptions"]["hostProcess"] == true;
        if set { vec![String::new()] } else { Vec::new() }
    });
    if setters.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.windowsOptions.hostProcess=true", setters.who());
    violation("windowsHostProcess", "hostProcess", detail)
}
