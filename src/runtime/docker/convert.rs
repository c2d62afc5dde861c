//! Our values into the engine's and back. Pure.

use crate::labels::{self, Identity, Labels};
use crate::limits::{LOG_FILE, MEMORY_MIN_BYTES};
use crate::{
    Container, ContainerSpec, Error, Exit, IpcNamespace, MountSource, PidNamespace, Propagation, Result, Sandbox,
    SandboxSpec, Scope, Seccomp, State,
};
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as Status, HostConfig,
    HostConfigLogConfig, Mount as EngineMount, MountBindOptions, MountBindOptionsPropagationEnum, MountTmpfsOptions,
    MountType, PortBinding, PortMap,
};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// A sandbox or a container, as read from the engine.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    Sandbox(Sandbox),
    Container(Container),
}

/// The engine's request for a sandbox, with its name. `network` is the cluster network's id.
pub(super) fn sandbox_body(
    scope: &Scope,
    spec: &SandboxSpec,
    image: &str,
    network: Option<&str>,
    oom_score_adj: Option<i64>,
) -> Result<(String, ContainerCreateBody)> {
    if spec.host_network && !spec.ports.is_empty() {
        return Err(Error::invalid("a pod on the node's own network cannot map ports: its ports are the node's"));
    }
    let identity =
        Identity { pod: spec.pod.clone(), container: None, attempt: spec.attempt, spec_hash: spec.spec_hash.clone() };
    let mut own = identity.write(scope, &spec.labels)?;
    if spec.host_network {
        own.insert(labels::HOST_NETWORK.to_owned(), "true".to_owned());
    }
    let (exposed, bindings) = ports(spec);
    let dns = spec.dns.clone().unwrap_or_default();
    let host = HostConfig {
        network_mode: Some(network.unwrap_or("host").to_owned()),
        ipc_mode: Some(if spec.host_ipc { "host" } else { "shareable" }.to_owned()),
        port_bindings: some(bindings),
        dns: some(dns.servers.iter().map(IpAddr::to_string).collect()),
        dns_search: some(dns.searches),
        dns_options: some(dns.options),
        extra_hosts: some(spec.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect()),
        sysctls: some(spec.sysctls.clone().into_iter().collect()),
        // The program needs nothing at all.
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        readonly_rootfs: Some(true),
        oom_score_adj,
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        ..Default::default()
    };
    let hostname = (!spec.host_network && !spec.hostname.is_empty()).then(|| spec.hostname.clone());
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        hostname,
        labels: Some(own.into_iter().collect()),
        exposed_ports: some(exposed),
        host_config: Some(host),
        ..Default::default()
    };
    Ok((identity.engine_name(scope), body))
}

/// The engine's request for a container, with its name.
pub(super) fn container_body(scope: &Scope, spec: &ContainerSpec) -> Result<(String, ContainerCreateBody)> {
    let identity = Identity {
        pod: spec.pod.clone(),
        container: Some(spec.name.clone()),
        attempt: spec.attempt,
        spec_hash: spec.spec_hash.clone(),
    };
    let mut own = identity.write(scope, &spec.labels)?;
    own.insert(labels::SANDBOX_ID.to_owned(), spec.sandbox_id.clone());
    own.insert(labels::IMAGE.to_owned(), spec.image.clone());
    let security = &spec.security;
    let body = ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: some(spec.command.clone()),
        cmd: some(spec.args.clone()),
        env: some(spec.env.iter().map(|var| format!("{}={}", var.name, var.value)).collect()),
        working_dir: spec.working_dir.clone(),
        user: security.user.clone(),
        tty: Some(spec.tty),
        open_stdin: Some(spec.stdin),
        stdin_once: Some(spec.stdin && spec.stdin_once),
        stop_signal: spec.stop_signal.clone(),
        labels: Some(own.into_iter().collect()),
        host_config: Some(host_config(spec)?),
        ..Default::default()
    };
    Ok((identity.engine_name(scope), body))
}

fn host_config(spec: &ContainerSpec) -> Result<HostConfig> {
    let sandbox = format!("container:{}", spec.sandbox_id);
    let pid = match &spec.pid {
        PidNamespace::Own => None,
        PidNamespace::Sandbox => Some(sandbox.clone()),
        PidNamespace::Host => Some("host".to_owned()),
        PidNamespace::Container(id) => Some(format!("container:{id}")),
    };
    let memory = spec.resources.memory_limit_bytes.map(|bytes| bytes.max(MEMORY_MIN_BYTES));
    let (size, count) = LOG_FILE;
    let log_bounds = [("max-size", size), ("max-file", count)].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let security = &spec.security;
    Ok(HostConfig {
        ipc_mode: Some(if spec.ipc == IpcNamespace::Host { "host".to_owned() } else { sandbox.clone() }),
        network_mode: Some(sandbox),
        pid_mode: pid,
        mounts: some(spec.mounts.iter().map(mount).collect::<Result<_>>()?),
        nano_cpus: spec.resources.cpu_limit_nanos,
        cpu_shares: spec.resources.cpu_shares.map(|shares| shares.max(2)),
        memory,
        // Equal to the memory limit means: no swap beyond it.
        memory_swap: memory,
        pids_limit: spec.resources.pids_limit,
        oom_score_adj: spec.resources.oom_score_adj,
        group_add: some(security.groups.clone()),
        privileged: Some(security.privileged),
        cap_add: some(security.cap_add.clone()),
        cap_drop: some(security.cap_drop.clone()),
        readonly_rootfs: Some(security.read_only_root),
        security_opt: some(security_options(spec)?),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from(log_bounds)),
        }),
        ..Default::default()
    })
}

fn security_options(spec: &ContainerSpec) -> Result<Vec<String>> {
    let mut options = Vec::new();
    if spec.security.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    match &spec.security.seccomp {
        Seccomp::RuntimeDefault => {}
        Seccomp::Unconfined => options.push("seccomp=unconfined".to_owned()),
        Seccomp::Profile(profile) if profile.trim().is_empty() => {
            return Err(Error::invalid("the seccomp profile is empty: name a profile, or unconfined"));
        }
        Seccomp::Profile(profile) => options.push(format!("seccomp={profile}")),
    }
    options.extend(spec.security.apparmor.iter().map(|name| format!("apparmor={name}")));
    Ok(options)
}

fn mount(mount: &crate::Mount) -> Result<EngineMount> {
    let common = EngineMount {
        target: Some(mount.container_path.clone()),
        read_only: Some(mount.read_only),
        ..Default::default()
    };
    Ok(match &mount.source {
        MountSource::Host { path, propagation } => {
            let Some(source) = path.to_str() else {
                return Err(Error::invalid(format!("the path {} is not UTF-8", path.display())));
            };
            let propagation = match propagation {
                Propagation::Private => MountBindOptionsPropagationEnum::RPRIVATE,
                Propagation::HostToContainer => MountBindOptionsPropagationEnum::RSLAVE,
                Propagation::Bidirectional => MountBindOptionsPropagationEnum::RSHARED,
            };
            EngineMount {
                typ: Some(MountType::BIND),
                source: Some(source.to_owned()),
                bind_options: Some(MountBindOptions { propagation: Some(propagation), ..Default::default() }),
                ..common
            }
        }
        MountSource::Tmpfs { size_bytes, mode } => EngineMount {
            typ: Some(MountType::TMPFS),
            tmpfs_options: Some(MountTmpfsOptions {
                size_bytes: size_bytes.and_then(|bytes| i64::try_from(bytes).ok()),
                mode: Some(i64::from(*mode)),
                ..Default::default()
            }),
            ..common
        },
    })
}

fn ports(spec: &SandboxSpec) -> (Vec<String>, PortMap) {
    let mut bindings = PortMap::new();
    for port in &spec.ports {
        let key = format!("{}/{}", port.container_port, port.protocol.as_str());
        let binding = PortBinding {
            host_ip: port.host_ip.map(|address| address.to_string()),
            host_port: Some(port.host_port.to_string()),
        };
        bindings.entry(key).or_default().get_or_insert_default().push(binding);
    }
    let mut exposed: Vec<String> = bindings.keys().cloned().collect();
    exposed.sort();
    (exposed, bindings)
}

/// Reads an inspected container; `None` when it is not of this scope or its labels are incomplete.
pub(super) fn item(scope: &Scope, inspected: &ContainerInspectResponse) -> Option<Item> {
    let own = inspected.config.as_ref()?.labels.as_ref()?;
    if !scope.owns(own) {
        return None;
    }
    let identity = Identity::read(own)?;
    let id = inspected.id.clone()?;
    let state = state(inspected.state.as_ref()?);
    let created = inspected.created.as_deref().and_then(time);
    Some(match identity.container {
        None => Item::Sandbox(Sandbox {
            id,
            pod: identity.pod,
            attempt: identity.attempt,
            address: address(inspected).filter(|_| state.is_running()),
            state,
            host_network: own.value(labels::HOST_NETWORK) == Some("true"),
            spec_hash: identity.spec_hash,
            created,
        }),
        Some(name) => Item::Container(Container {
            id,
            pod: identity.pod,
            name,
            attempt: identity.attempt,
            sandbox_id: own.value(labels::SANDBOX_ID).unwrap_or_default().to_owned(),
            state,
            image: own.value(labels::IMAGE).unwrap_or_default().to_owned(),
            image_id: inspected.image.clone().unwrap_or_default(),
            spec_hash: identity.spec_hash,
            created,
        }),
    })
}

fn address(inspected: &ContainerInspectResponse) -> Option<IpAddr> {
    let networks = inspected.network_settings.as_ref()?.networks.as_ref()?;
    networks.values().find_map(|network| network.ip_address.as_deref()?.parse().ok())
}

fn state(state: &ContainerState) -> State {
    let started = state.started_at.as_deref().and_then(time);
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(-1);
    let message = state.error.clone().unwrap_or_default();
    let exited = |message| {
        let finished = state.finished_at.as_deref().and_then(time);
        // The engine notes a start only after the process runs, so one that ends at once may seem to have ended before.
        let started = started.map(|started| finished.map_or(started, |finished| started.min(finished)));
        State::Exited(Exit {
            code,
            signal: Exit::signal_of(code),
            oom_killed: state.oom_killed.unwrap_or(false),
            started,
            finished,
            message,
        })
    };
    match state.status.unwrap_or(Status::EMPTY) {
        // A failed start leaves the container "created", with the reason.
        Status::CREATED if code != 0 || !message.is_empty() => exited(message),
        Status::CREATED | Status::EMPTY => State::Created,
        Status::EXITED | Status::DEAD | Status::REMOVING => exited(message),
        _ => State::Running { started },
    }
}

/// Reads an engine's time; the engine writes the year 1 for "never".
fn time(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().filter(|time| time.as_second() > 0)
}

/// The engine's default is absence, not emptiness.
fn some<T: Collection>(value: T) -> Option<T> {
    (!value.is_void()).then_some(value)
}

trait Collection {
    fn is_void(&self) -> bool;
}

impl<T> Collection for Vec<T> {
    fn is_void(&self) -> bool {
        self.is_empty()
    }
}

impl<K, V> Collection for HashMap<K, V> {
    fn is_void(&self) -> bool {
        self.is_empty()
    }
}

/// The engine's filter for containers or events with these labels.
pub(super) fn label_filter(pairs: &[(&str, &str)]) -> HashMap<String, Vec<String>> {
    let labels = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    BTreeMap::from([("label".to_owned(), labels)]).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EnvVar, PodRef, PortMapping, Protocol};

    fn scope() -> Scope {
        Scope::new("c1", "n1").unwrap()
    }

    fn pod() -> PodRef {
        PodRef { namespace: "shop".into(), name: "web".into(), uid: "u1".into() }
    }

    #[test]
    fn a_sandbox_maps_ports_and_joins_the_network() {
        let port = PortMapping { host_ip: None, host_port: 8080, container_port: 80, protocol: Protocol::Tcp };
        let spec = SandboxSpec { pod: pod(), hostname: "web".into(), ports: vec![port], ..Default::default() };
        let (_, body) = sandbox_body(&scope(), &spec, "image", Some("net1"), None).unwrap();
        let host = body.host_config.unwrap();
        assert_eq!(host.network_mode.as_deref(), Some("net1"));
        assert_eq!(body.exposed_ports, Some(vec!["80/tcp".to_owned()]));
        let binding = host.port_bindings.unwrap()["80/tcp"].clone().unwrap();
        assert_eq!(binding[0].host_port.as_deref(), Some("8080"));
        let on_host = SandboxSpec { host_network: true, ..spec };
        assert!(matches!(sandbox_body(&scope(), &on_host, "image", None, None), Err(Error::Invalid { .. })));
    }

    #[test]
    fn a_container_joins_its_sandbox_and_keeps_its_limits() {
        let mut spec = ContainerSpec {
            pod: pod(),
            name: "app".into(),
            sandbox_id: "s1".into(),
            command: vec!["run".into()],
            env: vec![EnvVar::new("A", "b=c")],
            pid: PidNamespace::Sandbox,
            ..Default::default()
        };
        spec.resources.memory_limit_bytes = Some(1);
        let (_, body) = container_body(&scope(), &spec).unwrap();
        assert_eq!(body.env, Some(vec!["A=b=c".to_owned()]));
        assert_eq!((body.entrypoint, body.cmd), (Some(vec!["run".to_owned()]), None));
        let host = body.host_config.unwrap();
        for mode in [host.network_mode, host.ipc_mode, host.pid_mode] {
            assert_eq!(mode.as_deref(), Some("container:s1"));
        }
        assert_eq!((host.memory, host.memory_swap), (Some(MEMORY_MIN_BYTES), Some(MEMORY_MIN_BYTES)));
        spec.security.seccomp = Seccomp::Profile(" ".into());
        assert!(matches!(container_body(&scope(), &spec), Err(Error::Invalid { .. })));
    }

    #[test]
    fn engine_states_are_read() {
        let engine = |status, code, error: &str| ContainerState {
            status: Some(status),
            exit_code: Some(code),
            error: Some(error.to_owned()),
            started_at: Some("2026-01-02T03:04:05.123456789Z".to_owned()),
            finished_at: Some("0001-01-01T00:00:00Z".to_owned()),
            ..Default::default()
        };
        assert_eq!(state(&engine(Status::CREATED, 0, "")), State::Created);
        let failed = state(&engine(Status::CREATED, 127, "no such program"));
        assert_eq!(failed.exit().map(|exit| (exit.code, exit.message.as_str())), Some((127, "no such program")));
        let running = state(&engine(Status::RUNNING, 0, ""));
        assert!(matches!(running, State::Running { started: Some(_) }));
        let killed = state(&engine(Status::EXITED, 137, ""));
        let exit = killed.exit().unwrap();
        assert_eq!((exit.code, exit.signal, exit.finished), (137, Some(9), None));
        let mut short = engine(Status::EXITED, 0, "");
        short.finished_at = Some("2026-01-02T03:04:05.120Z".to_owned());
        let short = state(&short);
        let exit = short.exit().unwrap();
        assert!(exit.started.is_some() && exit.started <= exit.finished, "{exit:?}");
    }
}
