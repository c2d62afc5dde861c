//! Chooses and opens the runtime of a node, and clears away a whole cluster.

use crate::docker::Docker;
use crate::sim::{Sim, SimOptions};
use crate::{Result, Runtime, Scope, docker, sim};
use std::path::PathBuf;
use std::sync::Arc;
use tracing::info;

/// Which engine runs the containers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Backend {
    /// Docker if an engine answers, otherwise simulated.
    #[default]
    Auto,
    /// Docker.
    Docker,
    /// Simulated: nothing really runs.
    Sim,
}

impl std::str::FromStr for Backend {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Backend::Auto),
            "docker" => Ok(Backend::Docker),
            "sim" => Ok(Backend::Sim),
            other => Err(crate::Error::invalid(format!("unknown runtime {other:?}: choose auto, docker or sim"))),
        }
    }
}

impl Backend {
    /// The name by which it is chosen.
    pub fn as_str(self) -> &'static str {
        match self {
            Backend::Auto => "auto",
            Backend::Docker => "docker",
            Backend::Sim => "sim",
        }
    }
}

/// How to open a runtime.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which engine.
    pub backend: Backend,
    /// Whose containers.
    pub scope: Scope,
    /// The Docker engine's address (`unix:///path`); `None` means that of `DOCKER_HOST`, or [`docker::DEFAULT_SOCKET`].
    pub docker_host: Option<String>,
    /// Where simulated containers are kept, so that they outlive the agent.
    pub sim_folder: PathBuf,
}

/// Opens a runtime.
///
/// # Errors
/// [`Error::EngineUnreachable`](crate::Error::EngineUnreachable) when [`Backend::Docker`] is asked for and no engine
/// answers; [`Error::Invalid`](crate::Error::Invalid) for an address that is not a Unix socket;
/// [`Error::State`](crate::Error::State) when the simulated runtime cannot use its folder.
pub async fn connect(options: Options) -> Result<Arc<dyn Runtime>> {
    let simulated = |options: &Options| -> Result<Arc<dyn Runtime>> {
        let sim = SimOptions { folder: Some(options.sim_folder.clone()), ..SimOptions::default() };
        Ok(Arc::new(Sim::open(options.scope.clone(), sim)?))
    };
    match options.backend {
        Backend::Sim => simulated(&options),
        Backend::Docker => Ok(Arc::new(docker(&options).await?)),
        Backend::Auto => match docker(&options).await {
            Ok(docker) => Ok(Arc::new(docker)),
            Err(error) => {
                info!(%error, "no Docker engine: containers are simulated");
                simulated(&options)
            }
        },
    }
}

async fn docker(options: &Options) -> Result<Docker> {
    let docker = Docker::new(options.scope.clone(), options.docker_host.as_deref())?;
    docker.ping().await?;
    Ok(docker)
}

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Containers and sandboxes.
    pub containers: usize,
    /// Networks.
    pub networks: usize,
}

/// Removes every container, sandbox and network of a cluster, of all its nodes on this machine, whether they run or
/// not. Nothing else is touched; images stay. Simulated containers are those under `sim_folder`.
///
/// With [`Backend::Auto`] an absent Docker engine is no error. Repeating it changes nothing.
///
/// # Errors
/// As for [`connect`]; what could not be removed is named by the error, and the rest is removed all the same.
pub async fn sweep(
    backend: Backend,
    docker_host: Option<&str>,
    sim_folder: &std::path::Path,
    cluster: &str,
) -> Result<Swept> {
    crate::labels::check_name("cluster id", cluster)?;
    let mut swept = match backend {
        Backend::Docker => docker::sweep(docker_host, cluster).await?,
        Backend::Sim => Swept::default(),
        Backend::Auto => match docker::sweep(docker_host, cluster).await {
            Err(crate::Error::EngineUnreachable { .. }) => Swept::default(),
            outcome => outcome?,
        },
    };
    if backend != Backend::Docker {
        swept.containers += sim::sweep(sim_folder, cluster)?;
    }
    Ok(swept)
}
