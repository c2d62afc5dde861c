//! What an agent asks of a container runtime and what it gets told: plain values, no behaviour.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// Names one pod: a pod of the same name made later has another uid.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodRef {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's uid.
    pub uid: String,
}

impl fmt::Display for PodRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// What the engine and its machine are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// The engine: `docker` or `sim`.
    pub engine: String,
    /// The engine's version.
    pub version: String,
    /// The engine's API version in use, such as `1.41`; empty for `sim`.
    pub api_version: String,
    /// Processor capacity in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory capacity in bytes.
    pub memory_bytes: u64,
    /// Kernel release.
    pub kernel: String,
    /// Operating system, as people know it.
    pub os_image: String,
    /// Processor architecture by its Go name, as Kubernetes uses it: `amd64`, `arm64`.
    pub architecture: String,
    /// 1 or 2; 0 where it does not apply.
    pub cgroup_version: u8,
    /// The range from which sandboxes get their addresses (CIDR); `None` until the cluster's network exists on this
    /// engine, see [`Runtime::ensure_network`](crate::Runtime::ensure_network).
    pub address_range: Option<String>,
}

/// Everything that carries the labels of this cluster and node, in no particular order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The sandboxes.
    pub sandboxes: Vec<Sandbox>,
    /// The containers.
    pub containers: Vec<Container>,
}

/// One sandbox as the engine sees it: it holds a pod's network and IPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The engine's id.
    pub id: String,
    /// Its pod.
    pub pod: PodRef,
    /// Which try of the pod's sandbox this is, from 0.
    pub attempt: u32,
    /// Whether it runs.
    pub state: State,
    /// The pod's address; `None` with host networking and while it does not run.
    pub address: Option<IpAddr>,
    /// Whether it uses the node's own network.
    pub host_network: bool,
    /// The hash of the specification it was made from, as given at creation.
    pub spec_hash: String,
    /// When it was created.
    pub created: Option<Timestamp>,
}

/// One container as the engine sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The engine's id.
    pub id: String,
    /// Its pod.
    pub pod: PodRef,
    /// Its name within the pod.
    pub name: String,
    /// Its restart number, from 0.
    pub attempt: u32,
    /// The sandbox it joined.
    pub sandbox_id: String,
    /// Whether it runs.
    pub state: State,
    /// The image as it was asked for.
    pub image: String,
    /// What the image resolved to (`sha256:...`).
    pub image_id: String,
    /// The hash of the specification it was made from, as given at creation.
    pub spec_hash: String,
    /// When it was created.
    pub created: Option<Timestamp>,
}

/// Where a container is in its life, which only goes forward.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Made, not yet started.
    Created,
    /// Its program runs.
    Running {
        /// Since when.
        started: Option<Timestamp>,
    },
    /// Its program ended, or could not be started.
    Exited(Exit),
}

impl State {
    /// Whether the program runs.
    pub fn is_running(&self) -> bool {
        matches!(self, State::Running { .. })
    }

    /// The end, if it came.
    pub fn exit(&self) -> Option<&Exit> {
        match self {
            State::Exited(exit) => Some(exit),
            State::Created | State::Running { .. } => None,
        }
    }
}

/// How a container ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code; 128 plus the signal's number for a program ended by a signal.
    pub code: i32,
    /// The signal, read off the code: a program that itself exits with such a code looks the same.
    pub signal: Option<i32>,
    /// Whether the kernel killed it for exceeding its memory limit.
    pub oom_killed: bool,
    /// When the program started; `None` if it never did.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// What the engine says about a program that it could not start; otherwise empty.
    pub message: String,
}

impl Exit {
    /// The signal behind an exit code, by the shell's convention.
    pub fn signal_of(code: i32) -> Option<i32> {
        (129..=192).contains(&code).then(|| code - 128)
    }
}

/// A sandbox to run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Its pod.
    pub pod: PodRef,
    /// Which try of the pod's sandbox this is, from 0.
    pub attempt: u32,
    /// What `hostname` says inside; ignored with host networking.
    pub hostname: String,
    /// Uses the node's own network instead of an address of its own.
    pub host_network: bool,
    /// Shares the node's IPC; containers then ask for [`IpcNamespace::Host`].
    pub host_ipc: bool,
    /// Ports of the node that lead into the pod; must be empty with host networking.
    pub ports: Vec<PortMapping>,
    /// Name resolution inside; `None` leaves it to the engine.
    pub dns: Option<Dns>,
    /// More lines for `/etc/hosts`: name and address.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// Kernel parameters of the pod's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Labels beside ours; keys must not start with `io.barque.`.
    pub labels: BTreeMap<String, String>,
    /// The hash to recognize a changed specification by.
    pub spec_hash: String,
}

/// One port of the node that leads into a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// The address of the node to listen on; `None` means all.
    pub host_ip: Option<IpAddr>,
    /// The node's port.
    pub host_port: u16,
    /// The pod's port.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Its lowercase name.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

/// Name resolution of a pod. On the cluster's network Docker puts its own resolver in front, which asks these servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Servers, the first asked first.
    pub servers: Vec<IpAddr>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Resolver options such as `ndots:5`.
    pub options: Vec<String>,
}

/// A container to create in a running sandbox.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Its pod.
    pub pod: PodRef,
    /// Its name within the pod.
    pub name: String,
    /// Its restart number, from 0.
    pub attempt: u32,
    /// The running sandbox whose network and IPC it joins.
    pub sandbox_id: String,
    /// The image; it must be present.
    pub image: String,
    /// Replaces the image's entrypoint (and its arguments) unless empty.
    pub command: Vec<String>,
    /// Replaces the image's arguments unless empty.
    pub args: Vec<String>,
    /// Environment, in order; later entries win.
    pub env: Vec<EnvVar>,
    /// Working directory; `None` means the image's.
    pub working_dir: Option<String>,
    /// What is mounted where.
    pub mounts: Vec<Mount>,
    /// Limits and weights.
    pub resources: Resources,
    /// Who it runs as and what it may do.
    pub security: Security,
    /// Whose processes it sees.
    pub pid: PidNamespace,
    /// Whose IPC it shares.
    pub ipc: IpcNamespace,
    /// Has a terminal.
    pub tty: bool,
    /// Keeps standard input open.
    pub stdin: bool,
    /// Closes standard input after the first attached client left.
    pub stdin_once: bool,
    /// The signal that asks it to stop, such as `SIGQUIT`; `None` means the image's or SIGTERM.
    pub stop_signal: Option<String>,
    /// Labels beside ours; keys must not start with `io.barque.`.
    pub labels: BTreeMap<String, String>,
    /// The hash to recognize a changed specification by.
    pub spec_hash: String,
}

/// One environment variable. Its value may be a secret, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

impl EnvVar {
    /// A variable `name` of value `value`.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        EnvVar { name: name.into(), value: value.into() }
    }
}

impl fmt::Debug for EnvVar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}=(hidden)", self.name)
    }
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it appears: an absolute path.
    pub container_path: String,
    /// Whether writing is refused.
    pub read_only: bool,
    /// What is mounted.
    pub source: MountSource,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or folder of the node; it must exist.
    Host {
        /// Its absolute path.
        path: PathBuf,
        /// Whether later mounts below it are seen on the other side.
        propagation: Propagation,
    },
    /// Memory of the container's own, gone with it.
    Tmpfs {
        /// Its limit in bytes; `None` leaves it to the kernel (half of the machine's memory).
        size_bytes: Option<u64>,
        /// The permission bits of its root.
        mode: u32,
    },
}

/// Whether mounts made below a mounted folder later are seen on the other side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Neither way.
    #[default]
    Private,
    /// The container sees the node's later mounts.
    HostToContainer,
    /// Both ways.
    Bidirectional,
}

/// Limits and weights of a container; `None` means none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Processor limit in thousand-millionths of a core.
    pub cpu_limit_nanos: Option<i64>,
    /// Processor weight (1024 per requested core, at least 2).
    pub cpu_shares: Option<i64>,
    /// Memory limit in bytes; Docker raises anything below 6 MiB to that. Swap is not granted beyond it.
    pub memory_limit_bytes: Option<i64>,
    /// Most processes at once.
    pub pids_limit: Option<i64>,
    /// How readily the kernel kills it when memory runs out, -1000 (never) to 1000 (first). Negative values are left out
    /// on engines that may not grant them (rootless ones).
    pub oom_score_adj: Option<i64>,
}

/// Who a container runs as and what it may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// `user`, `uid`, `user:group` or `uid:gid`; `None` means the image's user.
    pub user: Option<String>,
    /// Supplementary groups.
    pub groups: Vec<String>,
    /// All rights of the machine's root.
    pub privileged: bool,
    /// Capabilities to add, without `CAP_`.
    pub cap_add: Vec<String>,
    /// Capabilities to drop, without `CAP_`; `ALL` drops all.
    pub cap_drop: Vec<String>,
    /// Refuses writes to the image's file system.
    pub read_only_root: bool,
    /// Forbids gaining rights through set-uid programs.
    pub no_new_privileges: bool,
    /// Which system calls it may make.
    pub seccomp: Seccomp,
    /// An AppArmor profile's name, or `unconfined`; `None` means the engine's default.
    pub apparmor: Option<String>,
}

/// The filter on a container's system calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// The engine's default filter.
    #[default]
    RuntimeDefault,
    /// None.
    Unconfined,
    /// This profile, as JSON. An empty one is refused, never taken for none (CVE-2023-2431).
    Profile(String),
}

/// Whose processes a container sees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PidNamespace {
    /// Its own.
    #[default]
    Own,
    /// Its pod's: the sandbox is process 1 and reaps orphans.
    Sandbox,
    /// The node's.
    Host,
    /// Those of another container of the pod, by id.
    Container(String),
}

/// Whose IPC a container shares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpcNamespace {
    /// Its pod's.
    #[default]
    Sandbox,
    /// The node's.
    Host,
}

/// An image on the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// What it is (`sha256:...`).
    pub id: String,
    /// Its digests in registries (`name@sha256:...`), the best name to report.
    pub digests: Vec<String>,
    /// Its user: `None` means root; a name is looked up inside the image when the container starts.
    pub user: Option<ImageUser>,
    /// Its entrypoint.
    pub entrypoint: Vec<String>,
    /// Its default arguments.
    pub args: Vec<String>,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// The user an image asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageUser {
    /// A numeric uid: whether it is root can be told.
    Uid(i64),
    /// A name: whether it is root cannot be told from outside.
    Name(String),
}

impl ImageUser {
    /// Reads an image's user field (`user[:group]`); `None` for an empty one, which means root.
    pub fn parse(field: &str) -> Option<Self> {
        let user = field.split(':').next().unwrap_or_default();
        if user.is_empty() {
            return None;
        }
        Some(user.parse().map_or_else(|_| ImageUser::Name(user.to_owned()), ImageUser::Uid))
    }
}

/// A pull of an image.
#[derive(Debug, Clone, Default)]
pub struct PullSpec {
    /// The image.
    pub reference: String,
    /// How to log in to its registry.
    pub credentials: Option<Credentials>,
}

/// A login for an image registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The registry's address, as in the image's name.
    pub server: String,
    /// User name.
    pub username: String,
    /// Password or access token.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Credentials({}@{})", self.username, self.server)
    }
}

/// One report during a pull.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// The layer it is about, if any.
    pub layer: Option<String>,
    /// What happens.
    pub status: String,
    /// Bytes done.
    pub current_bytes: Option<u64>,
    /// Bytes in all.
    pub total_bytes: Option<u64>,
}

/// Receives reports during a pull; called from the pulling task, so it must not block.
pub type Progress = Box<dyn Fn(PullProgress) + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let spec = ContainerSpec { env: vec![EnvVar::new("TOKEN", "hunter2")], ..Default::default() };
        let login = Credentials { password: "hunter2".into(), ..Default::default() };
        assert!(!format!("{spec:?} {login:?}").contains("hunter2"));
    }

    #[test]
    fn users_and_signals_are_read_off() {
        assert_eq!(ImageUser::parse(""), None);
        assert_eq!(ImageUser::parse(":5"), None);
        assert_eq!(ImageUser::parse("0"), Some(ImageUser::Uid(0)));
        assert_eq!(ImageUser::parse("1000:1000"), Some(ImageUser::Uid(1000)));
        assert_eq!(ImageUser::parse("nginx:www"), Some(ImageUser::Name("nginx".into())));
        let signals = [0, 1, 128, 137, 143, 255].map(Exit::signal_of);
        assert_eq!(signals, [None, None, None, Some(9), Some(15), None]);
    }
}
