//! From a pod to what the engine is asked for: specifications of its sandbox and of one container. Reads no world but the
//! paths it is given.

use super::env::{Fault, Place, expand};
use super::view;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use objects::quantity::Quantity;
use runtime::{
    ContainerSpec, Dns, EnvVar, Image, ImageUser, IpcNamespace, Mount, MountSource, PidNamespace, PortMapping,
    Propagation, Protocol, Resources, SandboxSpec, Seccomp, Security,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// The sandbox of a pod.
pub(crate) fn sandbox(pod: &Pod, attempt: u32, host_port_address: Option<IpAddr>) -> SandboxSpec {
    let spec = view::spec(pod);
    let host_network = spec.host_network == Some(true);
    let containers =
        || spec.containers.iter().chain(view::init_containers(pod).iter().filter(|it| view::is_sidecar(it)));
    let ports = containers().flat_map(|container| container.ports.iter().flatten()).filter_map(|port| {
        Some(PortMapping {
            host_ip: port.host_ip.as_ref().and_then(|ip| ip.parse().ok()).or(host_port_address),
            host_port: port.host_port.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0)?,
            container_port: u16::try_from(port.container_port).ok()?,
            protocol: match port.protocol.as_deref() {
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                _ => Protocol::Tcp,
            },
        })
    });
    let aliases = spec.host_aliases.iter().flatten().flat_map(|alias| {
        let address: Option<IpAddr> = alias.ip.parse().ok();
        alias.hostnames.iter().flatten().filter_map(move |name| Some((name.clone(), address?)))
    });
    let sysctls = spec.security_context.iter().flat_map(|it| it.sysctls.iter().flatten());
    SandboxSpec {
        pod: view::pod_ref(pod),
        attempt,
        hostname: hostname(pod),
        host_network,
        host_ipc: spec.host_ipc == Some(true),
        ports: if host_network { Vec::new() } else { ports.collect() },
        dns: dns(pod),
        extra_hosts: aliases.collect(),
        sysctls: sysctls.map(|it| (it.name.clone(), it.value.clone())).collect(),
        labels: BTreeMap::new(),
        spec_hash: String::new(),
    }
}

/// What `hostname` says in a pod; the kernel allows 64 characters, upstream 63.
fn hostname(pod: &Pod) -> String {
    let spec = view::spec(pod);
    let own = spec.hostname_override.as_ref().or(spec.hostname.as_ref()).filter(|name| !name.is_empty());
    let name = own.or(pod.metadata.name.as_ref()).cloned().unwrap_or_default();
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

fn dns(pod: &Pod) -> Option<Dns> {
    let spec = view::spec(pod);
    let config = spec.dns_config.as_ref();
    if config.is_none() && spec.dns_policy.as_deref() != Some("None") {
        // The engine's own resolver serves until the cluster has one.
        return None;
    }
    let servers = config.iter().flat_map(|it| it.nameservers.iter().flatten()).filter_map(|it| it.parse().ok());
    let options = config.iter().flat_map(|it| it.options.iter().flatten()).map(|option| {
        let name = option.name.clone().unwrap_or_default();
        option.value.as_ref().map_or(name.clone(), |value| format!("{name}:{value}"))
    });
    Some(Dns {
        servers: servers.collect(),
        searches: config.iter().flat_map(|it| it.searches.iter().flatten()).cloned().collect(),
        options: options.collect(),
    })
}

/// What is known when a container is made.
#[derive(Debug)]
pub(crate) struct Circumstances<'a> {
    /// Its restart number.
    pub attempt: u32,
    /// The running sandbox.
    pub sandbox_id: &'a str,
    /// Its image, which is there.
    pub image: &'a Image,
    /// Its environment.
    pub env: Vec<EnvVar>,
    /// Its mounts: path inside, path on the node, read-only, as wanted by the pod.
    pub mounts: Vec<(String, PathBuf, bool, Option<String>)>,
    /// Where its last words go: path on the node.
    pub last_words: Option<PathBuf>,
    /// The node.
    pub place: &'a Place,
}

/// One container of a pod.
///
/// # Errors
/// [`Fault`] when the container's wishes contradict its image, as `runAsNonRoot` on an image that runs as root.
pub(crate) fn container(pod: &Pod, container: &Container, facts: Circumstances<'_>) -> Result<ContainerSpec, Fault> {
    let spec = view::spec(pod);
    let values: BTreeMap<String, String> = facts.env.iter().map(|it| (it.name.clone(), it.value.clone())).collect();
    let expanded = |list: &Option<Vec<String>>| list.iter().flatten().map(|text| expand(text, &values)).collect();
    let mut mounts: Vec<Mount> = facts
        .mounts
        .into_iter()
        .map(|(container_path, path, read_only, propagation)| Mount {
            container_path,
            read_only,
            source: MountSource::Host { path, propagation: propagated(propagation.as_deref()) },
        })
        .collect();
    if let (Some(path), Some(inside)) = (facts.last_words, &container.termination_message_path) {
        let source = MountSource::Host { path, propagation: Propagation::Private };
        mounts.push(Mount { container_path: inside.clone(), read_only: false, source });
    }
    let pid = match (spec.host_pid, spec.share_process_namespace) {
        (Some(true), _) => PidNamespace::Host,
        (_, Some(true)) => PidNamespace::Sandbox,
        _ => PidNamespace::Own,
    };
    Ok(ContainerSpec {
        pod: view::pod_ref(pod),
        name: container.name.clone(),
        attempt: facts.attempt,
        sandbox_id: facts.sandbox_id.to_owned(),
        image: container.image.clone().unwrap_or_default(),
        command: expanded(&container.command),
        args: expanded(&container.args),
        env: facts.env,
        working_dir: container.working_dir.clone().filter(|path| !path.is_empty()),
        mounts,
        resources: resources(container.resources.as_ref(), view::qos_class(pod), facts.place.allocatable.1),
        security: security(pod, container, facts.image)?,
        pid,
        ipc: if spec.host_ipc == Some(true) { IpcNamespace::Host } else { IpcNamespace::Sandbox },
        tty: container.tty == Some(true),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        stop_signal: container.lifecycle.as_ref().and_then(|it| it.stop_signal.clone()),
        labels: BTreeMap::new(),
        spec_hash: String::new(),
    })
}

fn propagated(mode: Option<&str>) -> Propagation {
    match mode {
        Some("HostToContainer") => Propagation::HostToContainer,
        Some("Bidirectional") => Propagation::Bidirectional,
        _ => Propagation::Private,
    }
}

fn resources(wanted: Option<&ResourceRequirements>, class: &str, capacity: i64) -> Resources {
    let read = |limits: bool, name: &str| -> Option<Quantity> {
        let list = wanted.and_then(|it| if limits { it.limits.as_ref() } else { it.requests.as_ref() });
        list.and_then(|list| list.get(name))
            .and_then(|quantity| quantity.0.parse().ok())
            .filter(|it: &Quantity| it.sign() > 0)
    };
    let cpu = read(false, "cpu").or(read(true, "cpu")).map_or(0, Quantity::to_milli);
    let memory = read(false, "memory").map_or(0, Quantity::to_bytes);
    // The kernel ends the greediest first: rules of `pkg/kubelet/qos/policy.go`.
    let oom_score_adj = match class {
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        _ => (1000 - memory.saturating_mul(1000) / capacity.max(1)).clamp(3, 999),
    };
    Resources {
        cpu_limit_nanos: read(true, "cpu").map(|it| it.to_milli().saturating_mul(1_000_000)),
        cpu_shares: Some((cpu.saturating_mul(1024) / 1000).clamp(2, 262_144)),
        memory_limit_bytes: read(true, "memory").map(Quantity::to_bytes),
        pids_limit: None,
        oom_score_adj: Some(oom_score_adj),
    }
}

fn security(pod: &Pod, container: &Container, image: &Image) -> Result<Security, Fault> {
    let of_pod = view::spec(pod).security_context.as_ref();
    let own = container.security_context.as_ref();
    let user = own.and_then(|it| it.run_as_user).or(of_pod.and_then(|it| it.run_as_user));
    let group = own.and_then(|it| it.run_as_group).or(of_pod.and_then(|it| it.run_as_group));
    let non_root = own.and_then(|it| it.run_as_non_root).or(of_pod.and_then(|it| it.run_as_non_root)) == Some(true);
    if non_root {
        let refuse = |why: &str| Err(Fault(format!("container has runAsNonRoot and {why}")));
        match (user, &image.user) {
            (Some(0), _) => return Err(Fault("container's runAsUser breaks non-root policy".to_owned())),
            (Some(_), _) => {}
            (None, None | Some(ImageUser::Uid(0))) => return refuse("image will run as root"),
            (None, Some(ImageUser::Name(name))) => {
                return refuse(&format!("image has non-numeric user ({name}), cannot verify user is non-root"));
            }
            (None, Some(ImageUser::Uid(_))) => {}
        }
    }
    let groups = of_pod.iter().flat_map(|it| it.fs_group.iter().chain(it.supplemental_groups.iter().flatten()));
    let capabilities = own.and_then(|it| it.capabilities.as_ref());
    let bare = |list: Option<&Vec<String>>| -> Vec<String> {
        list.into_iter().flatten().map(|name| name.trim_start_matches("CAP_").to_owned()).collect()
    };
    let profile = own.and_then(|it| it.seccomp_profile.as_ref()).or(of_pod.and_then(|it| it.seccomp_profile.as_ref()));
    let armor =
        own.and_then(|it| it.app_armor_profile.as_ref()).or(of_pod.and_then(|it| it.app_armor_profile.as_ref()));
    Ok(Security {
        user: match (user, group) {
            (Some(user), Some(group)) => Some(format!("{user}:{group}")),
            (Some(user), None) => Some(user.to_string()),
            (None, Some(group)) => {
                let user = match &image.user {
                    None => "0".to_owned(),
                    Some(ImageUser::Uid(uid)) => uid.to_string(),
                    Some(ImageUser::Name(name)) => name.clone(),
                };
                Some(format!("{user}:{group}"))
            }
            (None, None) => None,
        },
        groups: groups.map(ToString::to_string).collect(),
        privileged: own.and_then(|it| it.privileged) == Some(true),
        cap_add: bare(capabilities.and_then(|it| it.add.as_ref())),
        cap_drop: bare(capabilities.and_then(|it| it.drop.as_ref())),
        read_only_root: own.and_then(|it| it.read_only_root_filesystem) == Some(true),
        no_new_privileges: own.and_then(|it| it.allow_privilege_escalation) == Some(false),
        seccomp: match profile.map(|profile| profile.type_.as_str()) {
            Some("Unconfined") => Seccomp::Unconfined,
            Some("Localhost") => {
                return Err(Fault("seccomp profiles of type Localhost are not supported by this node".to_owned()));
            }
            _ => Seccomp::RuntimeDefault,
        },
        apparmor: armor.and_then(|profile| match profile.type_.as_str() {
            "Unconfined" => Some("unconfined".to_owned()),
            "Localhost" => profile.localhost_profile.clone(),
            _ => None,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use serde_json::{Value, json};

    fn made(spec: Value, image: &Image) -> Result<ContainerSpec, Fault> {
        let pod = fixtures::pod(spec);
        let place = Place { node: "n".into(), host: [10, 0, 0, 1].into(), address: None, allocatable: (4000, 1 << 30) };
        let facts = Circumstances {
            attempt: 1,
            sandbox_id: "s",
            image,
            env: vec![EnvVar::new("A", "1")],
            mounts: vec![],
            last_words: None,
            place: &place,
        };
        container(&pod, &view::spec(&pod).containers[0], facts)
    }

    #[test]
    fn commands_are_expanded_and_limits_translated() {
        let spec = made(
            json!({"containers": [{"name": "c", "image": "i", "command": ["x", "$(A)"], "args": ["$$(A)"],
                "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}}}]}),
            &Image::default(),
        )
        .unwrap();
        assert_eq!((spec.command, spec.args), (vec!["x".into(), "1".into()], vec!["$(A)".into()]));
        assert_eq!(spec.resources.cpu_limit_nanos, Some(500_000_000));
        assert_eq!(spec.resources.cpu_shares, Some(256));
        assert_eq!(spec.resources.memory_limit_bytes, Some(64 << 20));
    }

    #[test]
    fn security_is_never_weaker_than_asked() {
        let root = Image::default();
        let named = Image { user: Some(ImageUser::Name("web".into())), ..Image::default() };
        let numeric = Image { user: Some(ImageUser::Uid(7)), ..Image::default() };
        let non_root = json!({"securityContext": {"runAsNonRoot": true}, "containers": [{"name": "c"}]});
        for (image, works) in [(&root, false), (&named, false), (&numeric, true)] {
            assert_eq!(made(non_root.clone(), image).is_ok(), works, "{image:?}");
        }
        let own = made(
            json!({"securityContext": {"runAsUser": 5, "runAsGroup": 6, "fsGroup": 9},
                "containers": [{"name": "c", "securityContext": {"runAsUser": 7, "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"], "add": ["CAP_NET_RAW"]}}}]}),
            &root,
        )
        .unwrap()
        .security;
        assert_eq!((own.user.as_deref(), own.groups), (Some("7:6"), vec!["9".to_owned()]));
        assert!(own.no_new_privileges && own.read_only_root && !own.privileged);
        assert_eq!((own.cap_add, own.cap_drop), (vec!["NET_RAW".to_owned()], vec!["ALL".to_owned()]));
        let local =
            json!({"securityContext": {"seccompProfile": {"type": "Localhost"}}, "containers": [{"name": "c"}]});
        assert!(made(local, &root).is_err());
    }

    #[test]
    fn sandboxes_get_ports_names_and_hosts() {
        let spec = json!({"hostname": "h", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["x", "y"]}],
            "containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}]}]});
        let made = sandbox(&fixtures::pod(spec.clone()), 2, Some([127, 0, 0, 1].into()));
        assert_eq!((made.hostname.as_str(), made.attempt, made.ports.len()), ("h", 2, 1));
        assert_eq!(made.ports[0].host_ip, Some([127, 0, 0, 1].into()));
        assert_eq!(made.extra_hosts.len(), 2);
        let mut host = spec;
        host["hostNetwork"] = json!(true);
        assert!(sandbox(&fixtures::pod(host), 0, None).ports.is_empty());
    }
}
