//! The connection to a Docker engine: version negotiation, deadlines, and forgetting a connection that went bad.

use super::faults;
use super::network::ClusterNetwork;
use super::pods::Seen;
use crate::limits::{PULL_DEADLINE, QUESTION_DEADLINE};
use crate::{Error, Info, Result, Scope};
use http::HeaderValue;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Where a Docker engine listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "unix:///var/run/docker.sock";

/// The environment's word for where the engine listens.
const HOST_VARIABLE: &str = "DOCKER_HOST";

/// The oldest engine API we speak (Docker 19.03): it knows every field we send.
const API_MIN: (u32, u32) = (1, 40);

/// The newest engine API we have seen; a newer engine is asked for this one.
const API_MAX: (u32, u32) = (1, 53);

/// The containers of one node of one cluster on a Docker engine. Cheap to clone; clones share what they remember.
#[derive(Clone)]
pub struct Docker {
    pub(super) scope: Arc<Scope>,
    socket: Arc<str>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    // Held only while connecting: callers that come meanwhile share the outcome.
    connection: tokio::sync::Mutex<Option<Connection>>,
    seen: Mutex<HashMap<String, Seen>>,
    network: Mutex<Option<ClusterNetwork>>,
    lowers_oom_score: OnceLock<bool>,
}

#[derive(Clone)]
pub(super) struct Connection {
    pub client: bollard::Docker,
    pub api_version: String,
    pub server_version: String,
}

impl std::fmt::Debug for Docker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Docker").field("scope", &self.scope).field("socket", &self.socket).finish()
    }
}

impl Docker {
    /// A runtime for `scope` on the engine at `host` (`unix:///path`); without one at that of the environment's
    /// `DOCKER_HOST`, as the `docker` command does, else at [`DEFAULT_SOCKET`]. Connects at the first call, not here.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an address that is not a Unix socket.
    pub fn new(scope: Scope, host: Option<&str>) -> Result<Self> {
        let host = choose_host(host, std::env::var(HOST_VARIABLE).ok());
        let Some(socket) = host.strip_prefix("unix://").filter(|path| path.starts_with('/')) else {
            return Err(Error::invalid(format!(
                "the Docker address {host:?} must be a Unix socket (unix:///path) of this machine: containers share \
                 folders with the agent; correct or unset {HOST_VARIABLE}"
            )));
        };
        Ok(Docker { scope: Arc::new(scope), socket: socket.into(), shared: Arc::default() })
    }

    /// Whether the engine answers.
    ///
    /// # Errors
    /// [`Error::EngineUnreachable`]; [`Error::Timeout`] when it is frozen.
    pub async fn ping(&self) -> Result<()> {
        self.call("pinging the engine", QUESTION_DEADLINE, |client| async move { client.ping().await }).await.map(drop)
    }

    pub(super) async fn describe(&self) -> Result<Info> {
        let connection = self.connection().await?;
        let info = self.call("asking about the engine", QUESTION_DEADLINE, |client| async move { client.info().await });
        let info = info.await?;
        let range = self.find_network().await?.map(|network| network.range);
        let architecture = go_architecture(info.architecture.as_deref().unwrap_or_default());
        let cgroup_version = info.cgroup_version.map(|version| version.to_string().parse().unwrap_or(1));
        Ok(Info {
            engine: "docker".to_owned(),
            version: connection.server_version,
            api_version: connection.api_version,
            cpu_millis: info.ncpu.and_then(|cores| u64::try_from(cores).ok()).unwrap_or(0) * 1000,
            memory_bytes: info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
            kernel: info.kernel_version.unwrap_or_default(),
            os_image: info.operating_system.unwrap_or_default(),
            architecture: architecture.to_owned(),
            // Engines that do not report it are older than cgroup v2 support.
            cgroup_version: cgroup_version.unwrap_or(1),
            address_range: range,
        })
    }

    /// One engine call with a deadline. A connection that proves dead, or of a version that the engine no longer
    /// speaks, is forgotten, so that the next call negotiates anew.
    pub(super) async fn call<T, F, Fut>(&self, what: &str, deadline: Duration, call: F) -> Result<T>
    where
        F: FnOnce(bollard::Docker) -> Fut,
        Fut: Future<Output = std::result::Result<T, bollard::errors::Error>>,
    {
        let connection = self.connection().await?;
        let outcome = base::within(deadline, what, call(connection.client)).await?;
        match outcome {
            Ok(value) => Ok(value),
            Err(error) => Err(self.fault(what, error).await),
        }
    }

    /// Translates an engine error, forgetting the connection if it was at fault.
    pub(super) async fn fault(&self, what: &str, error: bollard::errors::Error) -> Error {
        let error = faults::translate(&self.socket, what, error);
        if matches!(error, Error::EngineUnreachable { .. }) {
            *self.shared.connection.lock().await = None;
        }
        error
    }

    pub(super) async fn connection(&self) -> Result<Connection> {
        let mut slot = self.shared.connection.lock().await;
        if let Some(connection) = slot.as_ref() {
            return Ok(connection.clone());
        }
        let connection = base::within(QUESTION_DEADLINE, "connecting to the engine", self.negotiate()).await??;
        Ok(slot.insert(connection).clone())
    }

    async fn negotiate(&self) -> Result<Connection> {
        let translate = |error| faults::translate(&self.socket, "connecting", error);
        // bollard's own deadline covers only the wait for an answer's head; ours, in `call`, is the one that counts.
        let seconds = PULL_DEADLINE.as_secs();
        let client = bollard::Docker::connect_with_unix(&self.socket, seconds, bollard::API_DEFAULT_VERSION)
            .map_err(translate)?;
        // bollard sends no version in its URLs, so this question is understood by every engine.
        let version = client.version().await.map_err(translate)?;
        let offered = version.api_version.unwrap_or_default();
        let api = choose_api(&offered).ok_or_else(|| Error::EngineUnreachable {
            reason: format!("the engine speaks API {offered:?}, at least {}.{} is needed", API_MIN.0, API_MIN.1),
            remedy: "install Docker 19.03 or newer".to_owned(),
        })?;
        let prefix = format!("/v{}.{}", api.0, api.1);
        Ok(Connection {
            client: client.with_request_modifier(move |request| adjust(&prefix, request)),
            api_version: format!("{}.{}", api.0, api.1),
            server_version: version.version.unwrap_or_default(),
        })
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the engine may make processes less likely to be killed when memory runs out.
    ///
    /// Engines without CAP_SYS_RESOURCE (rootless, or in a container) may not. They are not asked by trying: a container
    /// that fails to start can leave its network endpoint behind (seen with engine 20.10). The engine shares this machine,
    /// so what this process may at most be given tells.
    pub(super) fn lowers_oom_score(&self) -> bool {
        *self.shared.lowers_oom_score.get_or_init(|| {
            std::fs::read_to_string("/proc/self/status").is_ok_and(|status| may_lower_oom_score(&status))
        })
    }

    pub(super) fn known_network(&self) -> MutexGuard<'_, Option<ClusterNetwork>> {
        self.shared.network.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the engine listens: as told, as the environment says, or where it usually does.
fn choose_host(told: Option<&str>, environment: Option<String>) -> String {
    let environment = environment.filter(|host| !host.is_empty());
    told.map(str::to_owned).or(environment).unwrap_or_else(|| DEFAULT_SOCKET.to_owned())
}

/// Pins the API version of a request, and writes registry logins in the URL-safe alphabet that the engine reads
/// (bollard uses the other one, and the engine then takes them for absent).
fn adjust<B>(prefix: &str, mut request: http::Request<B>) -> http::Request<B> {
    let mut parts = request.uri().clone().into_parts();
    if let Some(path) = parts.path_and_query.take() {
        parts.path_and_query = format!("{prefix}{path}").parse().ok();
        if let Ok(uri) = http::Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    if let Some(login) = request.headers_mut().get_mut("x-registry-auth") {
        let safe = |byte: &u8| match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => *other,
        };
        let bytes: Vec<u8> = login.as_bytes().iter().map(safe).collect();
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            *login = value;
        }
    }
    request
}

/// The API version to speak with an engine that offers `offered`; `None` if it is too old or not a version.
fn choose_api(offered: &str) -> Option<(u32, u32)> {
    let (major, minor) = offered.split_once('.')?;
    let offered = (major.parse().ok()?, minor.parse().ok()?);
    (offered >= API_MIN).then(|| offered.min(API_MAX))
}

/// The Go name of a processor architecture that the kernel calls `machine`.
fn go_architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Reads `/proc/PID/status`: whether CAP_SYS_RESOURCE (bit 24) is in the bounding set.
fn may_lower_oom_score(status: &str) -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .is_some_and(|set| set >> CAP_SYS_RESOURCE & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_negotiated() {
        assert_eq!(choose_api("1.41"), Some((1, 41)));
        assert_eq!(choose_api("1.99"), Some(API_MAX));
        assert_eq!(choose_api("2.0"), Some(API_MAX));
        for bad in ["1.39", "0.99", "", "x.y"] {
            assert_eq!(choose_api(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn requests_carry_the_version_and_a_readable_login() {
        let request = http::Request::builder().uri("unix://2f/info?a=b").header("X-Registry-Auth", "a+b/c").body(());
        let request = adjust("/v1.41", request.unwrap());
        assert_eq!(request.uri().to_string(), "unix://2f/v1.41/info?a=b");
        assert_eq!(request.headers()["x-registry-auth"], "a-b_c");
    }

    #[tokio::test]
    async fn an_absent_engine_is_explained() {
        let scope = Scope::new("c", "n").unwrap();
        let docker = Docker::new(scope.clone(), Some("unix:///nonexistent/docker.sock")).unwrap();
        let error = docker.ping().await.unwrap_err();
        assert!(matches!(&error, Error::EngineUnreachable { .. }), "{error}");
        assert!(error.to_string().contains("--runtime sim"), "{error}");
        for elsewhere in ["tcp://h:2375", "unix://", "unix://relative"] {
            let error = Docker::new(scope.clone(), Some(elsewhere)).unwrap_err();
            assert!(error.to_string().contains("DOCKER_HOST"), "{error}");
        }
    }

    #[test]
    fn the_environment_names_the_engine_unless_told_otherwise() {
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(choose_host(None, None), DEFAULT_SOCKET);
        assert_eq!(choose_host(None, said("")), DEFAULT_SOCKET);
        assert_eq!(choose_host(None, said("unix:///a")), "unix:///a");
        assert_eq!(choose_host(Some("unix:///b"), said("unix:///a")), "unix:///b");
    }

    #[test]
    fn the_bounding_set_tells_whether_scores_may_be_lowered() {
        assert!(may_lower_oom_score("Name:\tx\nCapBnd:\t000001ffffffffff\n"));
        assert!(!may_lower_oom_score("Name:\tx\nCapBnd:\t000001fffeffffff\n"));
        assert!(!may_lower_oom_score("Name:\tx\n"));
    }
}
