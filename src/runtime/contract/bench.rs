//! Where the contract's cases work: a runtime of a cluster made for one case, and its removal.

use crate::docker::Docker;
use crate::image::{Archive, Entry, tar};
use crate::sim::{Sim, SimOptions};
use crate::{
    Backend, Container, ContainerSpec, Error, Exit, Output, OutputStream, PodRef, Runtime, Sandbox, SandboxSpec, Scope,
    Source, State,
};
use futures::StreamExt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long anything may take in a case: a loaded machine starts containers slowly.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Real programs for test images, static and small.
const BUSYBOX: &str = "/bin/busybox";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Docker,
    Sim,
}

pub struct Bench {
    pub kind: Kind,
    pub runtime: Arc<dyn Runtime>,
    pub cluster: String,
    /// An image with a shell and the usual programs.
    pub image: String,
    pub sim_folder: PathBuf,
    // Removed after the containers.
    _folder: tempfile::TempDir,
}

impl Bench {
    /// A bench with a cluster of its own; `None` when there is no engine and that is acceptable.
    pub async fn open(kind: Kind) -> Option<Bench> {
        let folder = tempfile::tempdir().unwrap();
        let cluster = format!("test-{}", base::random::suffix(12));
        let sim_folder = folder.path().to_owned();
        let image = format!("barque-test/busybox:{cluster}");
        let runtime = open(kind, &cluster, "n1", &sim_folder);
        if kind == Kind::Docker {
            let docker = Docker::new(Scope::new(&cluster, "n1").unwrap(), None).unwrap();
            if let Err(error) = docker.ping().await {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs a Docker engine: {error}");
                eprintln!("SKIPPED, nothing was tested: {error}");
                return None;
            }
        }
        // Made before anything is loaded, so that a failure from here on cleans up too.
        let bench = Bench { kind, runtime, cluster, image, sim_folder, _folder: folder };
        if kind == Kind::Docker {
            let docker = Docker::new(Scope::new(&bench.cluster, "n1").unwrap(), None).unwrap();
            docker.load_image(busybox_image(&bench.image)).await.unwrap();
        }
        Some(bench)
    }

    /// Another node's runtime on the same engine, or a new handle of the same node.
    pub fn node(&self, node: &str) -> Arc<dyn Runtime> {
        open(self.kind, &self.cluster, node, &self.sim_folder)
    }

    pub fn backend(&self) -> Backend {
        if self.kind == Kind::Docker { Backend::Docker } else { Backend::Sim }
    }

    pub async fn sandbox(&self, name: &str) -> Sandbox {
        self.runtime.run_sandbox(sandbox_spec(name)).await.unwrap()
    }

    pub fn spec(&self, sandbox: &Sandbox, script: &str) -> ContainerSpec {
        ContainerSpec {
            pod: sandbox.pod.clone(),
            name: "app".to_owned(),
            sandbox_id: sandbox.id.clone(),
            image: self.image.clone(),
            command: ["/bin/sh", "-c", script].map(str::to_owned).into(),
            spec_hash: "h1".to_owned(),
            ..Default::default()
        }
    }

    pub async fn start(&self, spec: ContainerSpec) -> String {
        let id = self.runtime.create_container(spec).await.unwrap();
        self.runtime.start_container(&id).await.unwrap();
        id
    }

    /// Starts `script` in a pod of its own.
    pub async fn run(&self, script: &str) -> String {
        let sandbox = self.sandbox(&format!("pod-{}", base::random::suffix(5))).await;
        self.start(self.spec(&sandbox, script)).await
    }

    pub async fn find(&self, id: &str) -> Option<Container> {
        let listing = self.runtime.list().await.unwrap();
        listing.containers.into_iter().find(|container| container.id == id)
    }

    pub async fn exit(&self, id: &str) -> Exit {
        eventually("the container ends", || async {
            match self.find(id).await.expect("the container is listed").state {
                State::Exited(exit) => Some(exit),
                State::Created | State::Running { .. } => None,
            }
        })
        .await
    }

    /// Waits until a container has printed `text`: then its script is past that point.
    pub async fn printed(&self, id: &str, text: &str) {
        let options = crate::LogOptions { follow: true, ..Default::default() };
        let mut logs = self.runtime.logs(id, options).await.unwrap();
        let mut seen = String::new();
        let reading = async {
            while !seen.contains(text) {
                let output = logs.next().await.unwrap_or_else(|| panic!("{text:?} is not in {seen:?}")).unwrap();
                seen.push_str(&String::from_utf8_lossy(&output.bytes));
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("{text:?} was not printed"));
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let (backend, folder, cluster) = (self.backend(), self.sim_folder.clone(), self.cluster.clone());
        let image = (self.kind == Kind::Docker).then(|| self.image.clone());
        // A thread of its own, since the test's runtime may be shutting down. Joined: the process ends with the test.
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let swept = crate::sweep(backend, None, &folder, &cluster).await;
                if let Some(image) = image {
                    remove_image(&cluster, &image).await;
                }
                swept
            })
        });
        let outcome = cleaning.join();
        if !std::thread::panicking() {
            outcome.expect("cleaning does not panic").expect("everything can be removed");
        }
    }
}

async fn remove_image(cluster: &str, image: &str) {
    let docker = Docker::new(Scope::new(cluster, "n1").unwrap(), None).unwrap();
    if let Err(error) = docker.remove_image(image).await {
        eprintln!("the test image {image} is left behind: {error}");
    }
}

fn open(kind: Kind, cluster: &str, node: &str, sim_folder: &std::path::Path) -> Arc<dyn Runtime> {
    let scope = Scope::new(cluster, node).unwrap();
    match kind {
        Kind::Docker => Arc::new(Docker::new(scope, None).unwrap()),
        Kind::Sim => {
            let options = SimOptions { folder: Some(sim_folder.to_owned()), ..Default::default() };
            Arc::new(Sim::open(scope, options).unwrap())
        }
    }
}

fn busybox_image(reference: &str) -> Vec<u8> {
    let bytes = std::fs::read(BUSYBOX).unwrap_or_else(|error| {
        panic!("test images are built from {BUSYBOX} ({error}): install it with `apt-get install busybox-static`")
    });
    let mut entries = vec![
        Entry::File { path: "bin/busybox".into(), mode: 0o755, bytes },
        Entry::Folder { path: "tmp".into(), mode: 0o1777 },
        Entry::Folder { path: "proc".into(), mode: 0o755 },
        Entry::File { path: "etc/passwd".into(), mode: 0o644, bytes: b"root:x:0:0::/:/bin/sh\n".to_vec() },
    ];
    let programs = "sh cat echo sleep true false hostname ls id wget httpd tail head grep ps kill stty mount df nc";
    let link = |name: &str| Entry::Link { path: format!("bin/{name}"), target: "busybox".into() };
    entries.extend(programs.split(' ').map(link));
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    tar(&Archive {
        reference: reference.to_owned(),
        architecture: architecture.to_owned(),
        env: vec!["PATH=/bin".to_owned()],
        args: vec!["/bin/sh".to_owned()],
        user: "0:0".to_owned(),
        entries,
        ..Default::default()
    })
    .unwrap()
}

pub fn pod(name: &str) -> PodRef {
    PodRef { namespace: "default".to_owned(), name: name.to_owned(), uid: format!("uid-{name}") }
}

pub fn sandbox_spec(name: &str) -> SandboxSpec {
    SandboxSpec { pod: pod(name), hostname: name.to_owned(), spec_hash: "h0".to_owned(), ..Default::default() }
}

/// Asks until there is an answer. For what the runtime gives no event to wait for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        let mut backoff = base::Backoff::doubling(Duration::from_millis(5), Duration::from_millis(500));
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            backoff.wait().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("it did not come true that {what}"))
}

/// Reads a stream to its end: standard output and standard error, without the simulated runtime's first line.
pub async fn read(stream: OutputStream) -> (String, String) {
    let reading = stream.map(|item| item.unwrap()).collect::<Vec<Output>>();
    let outputs = tokio::time::timeout(PATIENCE, reading).await.expect("the output ends");
    let text = |source: Source| {
        let bytes: Vec<u8> = outputs.iter().filter(|o| o.source == source).flat_map(|o| o.bytes.to_vec()).collect();
        let text = String::from_utf8(bytes).unwrap();
        text.split_inclusive('\n').filter(|line| !line.contains("simulated: container")).collect::<String>()
    };
    (text(Source::Stdout), text(Source::Stderr))
}

pub async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Whether an error is of the expected kind, with the error in the message if not.
macro_rules! assert_fails {
    ($outcome:expr, $pattern:pat) => {
        match $outcome {
            Err($pattern) => {}
            other => panic!("expected {}, got {other:?}", stringify!($pattern)),
        }
    };
}
pub(crate) use assert_fails;

pub fn not_found(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. })
}
