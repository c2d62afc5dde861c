//! Doing what `sync` decided: one function for each action, and what came of it as a value for the worker.

use crate::context::Context;
use crate::limits::{CONFIG_AGE, HOOK_DEADLINE};
use crate::pod::env::environment;
use crate::pod::prepare::{self, Circumstances};
use crate::pod::sync::{Action, Why};
use crate::pod::view;
use crate::probes::{Target, execute, http_get};
use crate::volumes;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use runtime::{Image, PodRef, PullSpec};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// What the engine shows next says it all.
    Seen,
    VolumesReady,
    VolumesTrouble(String),
    SandboxReady(Option<IpAddr>),
    SandboxTrouble(String),
    ImageReady {
        container: String,
        attempt: u32,
    },
    ImageTrouble {
        container: String,
        reason: &'static str,
        message: String,
    },
    Started {
        container: String,
    },
    ContainerTrouble {
        container: String,
        reason: &'static str,
        message: String,
    },
    CleanedUp,
    Finalized,
    /// It did not work and is simply tried again after a while.
    Failed(String),
}

/// What an action is about.
#[derive(Clone)]
pub(crate) struct Subject {
    pub context: Arc<Context>,
    pub pod_ref: PodRef,
    /// Absent for what only the engine knows.
    pub pod: Option<Arc<Pod>>,
    /// The pod's address.
    pub address: Option<IpAddr>,
    /// The time that an update of volumes is named after.
    pub stamp: String,
}

impl Subject {
    /// Does `action`.
    pub async fn act(&self, action: Action) -> Effect {
        match action {
            Action::PrepareVolumes => self.with_pod(|pod| self.prepare_volumes(pod)).await,
            Action::CreateSandbox { attempt } => self.with_pod(|pod| self.create_sandbox(pod, attempt)).await,
            Action::RemoveSandbox { id } => {
                let _ = self.context.runtime.stop_sandbox(&id, Duration::ZERO).await;
                seen(self.context.runtime.remove_sandbox(&id).await)
            }
            Action::PullImage { container, attempt } => self.with_pod(|pod| self.pull(pod, container, attempt)).await,
            Action::Start { container, attempt, sandbox_id } => {
                self.with_pod(|pod| self.start(pod, container, attempt, sandbox_id)).await
            }
            Action::Stop { container, id, grace_seconds, why } => self.stop(&container, &id, grace_seconds, why).await,
            Action::Remove { id, .. } => seen(self.context.runtime.remove_container(&id).await),
            Action::CleanUp => {
                let (disk, uid) = (self.context.disk.clone(), self.pod_ref.uid.clone());
                match blocking(move || disk.forget_pod(&uid)).await {
                    Ok(()) => Effect::CleanedUp,
                    Err(reason) => Effect::Failed(reason),
                }
            }
            Action::Finalize => self.finalize().await,
        }
    }

    async fn with_pod<'a, F: Future<Output = Effect>>(&'a self, act: impl FnOnce(&'a Arc<Pod>) -> F) -> Effect {
        match &self.pod {
            Some(pod) => act(pod).await,
            None => Effect::Failed("the pod is not known".to_owned()),
        }
    }

    fn tell(&self, container: Option<&str>, warning: bool, reason: &'static str, message: String) {
        self.context.tell(&self.pod_ref, container, warning, reason, message);
    }

    async fn prepare_volumes(&self, pod: &Arc<Pod>) -> Effect {
        let needs = volumes::needs(pod);
        let bundle = async {
            let mut bundle = self.context.configs.bundle(&self.pod_ref.namespace, &needs, CONFIG_AGE).await?;
            self.context.tokens.add_to(&mut bundle, pod).await?;
            Ok::<_, String>(bundle)
        }
        .await;
        let (disk, pod, stamp) = (self.context.disk.clone(), pod.clone(), self.stamp.clone());
        let place = self.context.place(self.address);
        let outcome = match bundle {
            Ok(bundle) => blocking(move || volumes::make(&disk, &pod, &place, &bundle, &stamp)).await,
            // No master answers. A pod whose volumes were made before goes on with them.
            Err(reason) if volumes::are_there(&disk, &pod) => {
                tracing::debug!(pod = %self.pod_ref, reason, "volumes are used as they were left");
                Ok(())
            }
            Err(reason) => Err(reason),
        };
        match outcome {
            Ok(()) => Effect::VolumesReady,
            Err(message) => {
                self.tell(None, true, "FailedMount", message.clone());
                Effect::VolumesTrouble(message)
            }
        }
    }

    async fn create_sandbox(&self, pod: &Arc<Pod>, attempt: u32) -> Effect {
        let Ok(_place) = self.context.starts.acquire().await else { return Effect::Seen };
        let spec = prepare::sandbox(pod, attempt, self.context.options.host_port_address);
        match self.context.runtime.run_sandbox(spec).await {
            Ok(sandbox) => Effect::SandboxReady(sandbox.address),
            // An earlier answer was lost: the sandbox shows in the next look. Should it not, a pause keeps us from asking on and on.
            Err(error @ runtime::Error::NameConflict { .. }) => Effect::Failed(error.to_string()),
            Err(error) => {
                let message = format!("Failed to create pod sandbox: {error}");
                self.tell(None, true, "FailedCreatePodSandBox", message.clone());
                Effect::SandboxTrouble(message)
            }
        }
    }

    async fn pull(&self, pod: &Arc<Pod>, name: String, attempt: u32) -> Effect {
        let Some(container) = view::container(pod, &name) else { return Effect::Seen };
        let reference = container.image.clone().unwrap_or_default();
        let trouble = |reason: &'static str, message: String| {
            let told = format!("Failed to pull image \"{reference}\": {message}");
            if reason == "ErrImagePull" {
                self.tell(Some(&name), true, "Failed", told);
                self.tell(Some(&name), true, "Failed", format!("Error: {reason}"));
            } else {
                self.tell(Some(&name), true, reason, message.clone());
            }
            Effect::ImageTrouble { container: name.clone(), reason, message }
        };
        let present = match self.context.runtime.image_present(&reference).await {
            Ok(present) => present,
            Err(runtime::Error::Invalid { .. }) => {
                let message = format!("Failed to apply default image tag \"{reference}\": couldn't parse image name");
                return trouble("InvalidImageName", message);
            }
            Err(error) => return trouble("ErrImagePull", error.to_string()),
        };
        let always = match container.image_pull_policy.as_deref() {
            Some(policy) => policy == "Always",
            None => is_latest(&reference),
        };
        if present.is_some() && !always {
            let message = format!("Container image \"{reference}\" already present on machine");
            self.tell(Some(&name), false, "Pulled", message);
            return Effect::ImageReady { container: name, attempt };
        }
        if container.image_pull_policy.as_deref() == Some("Never") {
            let message = format!("Container image \"{reference}\" is not present with pull policy of Never");
            return trouble("ErrImageNeverPull", message);
        }
        let Ok(_place) = self.context.pulls.acquire().await else { return Effect::Seen };
        self.tell(Some(&name), false, "Pulling", format!("Pulling image \"{reference}\""));
        match self.context.runtime.pull_image(PullSpec { reference: reference.clone(), credentials: None }, None).await
        {
            Ok(image) => {
                let message =
                    format!("Successfully pulled image \"{reference}\". Image size: {} bytes.", image.size_bytes);
                self.tell(Some(&name), false, "Pulled", message);
                Effect::ImageReady { container: name, attempt }
            }
            Err(error) => trouble("ErrImagePull", error.to_string()),
        }
    }

    async fn start(&self, pod: &Arc<Pod>, name: String, attempt: u32, sandbox_id: String) -> Effect {
        let Some(container) = view::container(pod, &name) else { return Effect::Seen };
        let Ok(_place) = self.context.starts.acquire().await else { return Effect::Seen };
        let trouble = |reason: &'static str, message: String| {
            self.tell(Some(&name), true, "Failed", format!("Error: {message}"));
            Effect::ContainerTrouble { container: name.clone(), reason, message }
        };
        let reference = container.image.as_deref().unwrap_or_default();
        let image = match self.context.runtime.image_present(reference).await {
            Ok(Some(image)) => image,
            Ok(None) => {
                let message = format!("image \"{reference}\" is not present");
                return Effect::ImageTrouble { container: name.clone(), reason: "ErrImagePull", message };
            }
            Err(error) => return trouble("CreateContainerError", error.to_string()),
        };
        let spec = match self.container_spec(pod, container, attempt, &sandbox_id, &image).await {
            Ok(spec) => spec,
            Err(message) => return trouble("CreateContainerConfigError", message),
        };
        let id = match self.context.runtime.create_container(spec).await {
            Ok(id) => id,
            // As with a sandbox: an earlier answer was lost.
            Err(error @ runtime::Error::NameConflict { .. }) => return Effect::Failed(error.to_string()),
            Err(runtime::Error::ImageMissing { .. }) => {
                let message = format!("image \"{reference}\" is not present");
                return Effect::ImageTrouble { container: name.clone(), reason: "ErrImagePull", message };
            }
            Err(error) => return trouble("CreateContainerError", error.to_string()),
        };
        self.tell(Some(&name), false, "Created", format!("Container created: {name}"));
        match self.context.runtime.start_container(&id).await {
            Ok(()) => {}
            Err(error) => return trouble("RunContainerError", error.to_string()),
        }
        self.tell(Some(&name), false, "Started", format!("Container started: {name}"));
        if let Some(hook) = container.lifecycle.as_ref().and_then(|it| it.post_start.as_ref())
            && let Err(reason) = self.hook(pod, container, &id, hook).await
        {
            self.tell(Some(&name), true, "FailedPostStartHook", format!("PostStartHook failed: {reason}"));
            let grace = Duration::from_secs(u64::try_from(view::grace_seconds(pod)).unwrap_or(0));
            return seen(self.context.runtime.stop_container(&id, grace).await);
        }
        Effect::Started { container: name }
    }

    async fn container_spec(
        &self,
        pod: &Arc<Pod>,
        container: &Container,
        attempt: u32,
        sandbox_id: &str,
        image: &Image,
    ) -> Result<runtime::ContainerSpec, String> {
        let bundle =
            self.context.configs.bundle(&self.pod_ref.namespace, &volumes::needs_of(container), CONFIG_AGE).await?;
        let place = self.context.place(self.address);
        let env = environment(pod, container, &place, &bundle).map_err(|fault| fault.0)?;
        let variables: BTreeMap<String, String> = env.iter().map(|it| (it.name.clone(), it.value.clone())).collect();
        let (disk, owned, mounted) = (self.context.disk.clone(), pod.clone(), container.clone());
        let (mounts, last_words) = blocking(move || {
            let mut mounts = Vec::new();
            for mount in mounted.volume_mounts.iter().flatten() {
                let (path, read_only) =
                    volumes::mount_source(&disk, &owned, mount, &variables).map_err(|fault| fault.to_string())?;
                mounts.push((mount.mount_path.clone(), path, read_only, mount.mount_propagation.clone()));
            }
            let uid = owned.metadata.uid.as_deref().unwrap_or_default();
            let words = match &mounted.termination_message_path {
                Some(path) if !path.is_empty() => Some(
                    volumes::last_words_file(&disk, uid, &mounted.name, attempt).map_err(|error| error.to_string())?,
                ),
                _ => None,
            };
            Ok::<_, String>((mounts, words))
        })
        .await?;
        let facts = Circumstances { attempt, sandbox_id, image, env, mounts, last_words, place: &place };
        prepare::container(pod, container, facts).map_err(|fault| fault.0)
    }

    async fn stop(&self, name: &str, id: &str, grace_seconds: i64, why: Why) -> Effect {
        let message = match why {
            Why::Unhealthy => format!("Container {name} failed a probe, will be restarted"),
            _ => format!("Stopping container {name}"),
        };
        self.tell(Some(name), false, "Killing", message);
        let mut grace = Duration::from_secs(u64::try_from(grace_seconds).unwrap_or(0));
        let container = self.pod.as_ref().and_then(|pod| Some((pod, view::container(pod, name)?)));
        let hook = container.and_then(|(pod, container)| {
            Some((pod, container, container.lifecycle.as_ref().and_then(|it| it.pre_stop.as_ref())?))
        });
        if let Some((pod, container, hook)) = hook.filter(|_| !grace.is_zero() && why != Why::SandboxGone) {
            let begun = tokio::time::Instant::now();
            let hooked = tokio::time::timeout(grace, self.hook(pod, container, id, hook)).await;
            if let Ok(Err(reason)) = hooked {
                self.tell(Some(name), true, "FailedPreStopHook", format!("PreStopHook failed: {reason}"));
            }
            // Upstream leaves a program two seconds to end however long its hook took.
            grace = grace.saturating_sub(begun.elapsed()).max(Duration::from_secs(2));
        }
        seen(self.context.runtime.stop_container(id, grace).await)
    }

    async fn hook(
        &self,
        pod: &Arc<Pod>,
        container: &Container,
        id: &str,
        hook: &LifecycleHandler,
    ) -> Result<(), String> {
        let target = Target {
            context: self.context.clone(),
            pod: pod.clone(),
            container: container.clone(),
            id: id.to_owned(),
            address: self.address,
        };
        let running = async {
            if let Some(action) = &hook.exec {
                execute(&target, action).await
            } else if let Some(action) = &hook.http_get {
                http_get(&target, action).await
            } else if let Some(action) = &hook.sleep {
                tokio::time::sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0))).await;
                Ok(())
            } else {
                Ok(())
            }
        };
        let at_most = Duration::from_secs(u64::try_from(view::grace_seconds(pod)).unwrap_or(0)).max(HOOK_DEADLINE);
        tokio::time::timeout(at_most, running)
            .await
            .unwrap_or_else(|_| Err(format!("it did not end within {at_most:?}")))
    }

    async fn finalize(&self) -> Effect {
        let PodRef { namespace, name, uid } = &self.pod_ref;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        let options = serde_json::json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": uid},
        });
        let call = client::Call::new(http::Method::DELETE, path).json(&options).repeatable();
        match self.context.client.json(call).await {
            Ok(_) => Effect::Finalized,
            // Not even "not found" ends it: the master may lag behind. That the pod is gone is told by the list.
            Err(error) => Effect::Failed(error.to_string()),
        }
    }
}

fn seen(outcome: runtime::Result<()>) -> Effect {
    match outcome {
        Ok(()) | Err(runtime::Error::NotFound { .. } | runtime::Error::NotRunning { .. }) => Effect::Seen,
        Err(error) => Effect::Failed(error.to_string()),
    }
}

/// Whether a reference without a policy is pulled always: no tag, or `latest`, and no digest.
fn is_latest(reference: &str) -> bool {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    !reference.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// File work runs where it holds up nobody.
pub(crate) async fn blocking<T: Send + 'static, E: ToString + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::is_latest;

    #[test]
    fn tags_decide_the_policy() {
        for (reference, latest) in [
            ("a", true),
            ("a:latest", true),
            ("a:1", false),
            ("h:5000/a", true),
            ("h:5000/a:1", false),
            ("a@sha256:0", false),
        ] {
            assert_eq!(is_latest(reference), latest, "{reference}");
        }
    }
}
