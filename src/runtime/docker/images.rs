//! Images on a Docker engine: look up, pull, load, and the sandbox's own.

use super::engine::Docker;
use crate::image::{Archive, Entry, hex_sha256, split_reference, tar};
use crate::limits::{LOAD_DEADLINE, PULL_DEADLINE, PULL_SILENCE, QUESTION_DEADLINE, REMOVE_DEADLINE};
use crate::{Error, Image, ImageUser, Progress, PullProgress, PullSpec, Result, sandbox_program};
use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::{CreateImageOptions, ImportImageOptions, RemoveImageOptions};
use bytes::Bytes;
use futures::stream::{Stream, StreamExt};
use std::time::Duration;
use tracing::info;

/// The name of the sandbox's image; its tag is the hash of the program.
const SANDBOX_IMAGE: &str = "barque/sandbox";

/// Nobody: the sandbox's program needs no rights.
const SANDBOX_USER: &str = "65535:65535";

impl Docker {
    pub(super) async fn image(&self, reference: &str) -> Result<Option<Image>> {
        split_reference(reference)?;
        let call = |client: bollard::Docker| async move { client.inspect_image(reference).await };
        let image = match self.call("inspecting an image", QUESTION_DEADLINE, call).await {
            Ok(image) => image,
            Err(Error::ImageMissing { .. } | Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let config = image.config.unwrap_or_default();
        Ok(Some(Image {
            id: image.id.unwrap_or_default(),
            digests: image.repo_digests.unwrap_or_default(),
            user: ImageUser::parse(config.user.as_deref().unwrap_or_default()),
            entrypoint: config.entrypoint.unwrap_or_default(),
            args: config.cmd.unwrap_or_default(),
            size_bytes: image.size.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
        }))
    }

    pub(super) async fn pull(&self, spec: PullSpec, progress: Option<Progress>) -> Result<Image> {
        let (name, version) = split_reference(&spec.reference)?;
        let failed = |reason: String| Error::ImagePull { reference: spec.reference.clone(), reason };
        let options = CreateImageOptions {
            from_image: Some(name.to_owned()),
            tag: Some(version.to_owned()),
            ..Default::default()
        };
        let login = spec.credentials.as_ref().map(|login| DockerCredentials {
            username: Some(login.username.clone()),
            password: Some(login.password.clone()),
            serveraddress: Some(login.server.clone()),
            ..Default::default()
        });
        let client = self.connection().await?.client;
        let reports = client.create_image(Some(options), None, login);
        let pulling = async {
            let outcome = drain(reports, PULL_SILENCE, |report: CreateImageInfo| {
                if let Some(progress) = &progress {
                    progress(pull_report(report));
                }
            });
            match outcome.await {
                Drained::Done => Ok(()),
                Drained::Silent => Err(failed(format!("nothing came for {PULL_SILENCE:?}"))),
                Drained::Failed(error) => match self.fault("pulling an image", error).await {
                    error @ Error::EngineUnreachable { .. } => Err(error),
                    Error::Engine { message, .. } | Error::NotFound { what: message } => Err(failed(message)),
                    error => Err(failed(error.to_string())),
                },
            }
        };
        base::within(PULL_DEADLINE, "pulling an image", pulling).await??;
        self.image(&spec.reference).await?.ok_or_else(|| failed("it is absent after the pull".to_owned()))
    }

    /// Loads an image from an archive as made by [`crate::image::tar`]: for images of our own, without a registry.
    ///
    /// # Errors
    /// [`Error::Engine`] when the engine does not like the archive; [`Error::EngineUnreachable`]; [`Error::Timeout`].
    pub async fn load_image(&self, archive: Vec<u8>) -> Result<()> {
        let client = self.connection().await?.client;
        let body = bollard::body_full(Bytes::from(archive));
        let reports = client.import_image(ImportImageOptions { quiet: true, ..Default::default() }, body, None);
        match drain(reports, LOAD_DEADLINE, drop).await {
            Drained::Done => Ok(()),
            Drained::Silent => Err(Error::Timeout { what: "loading an image".to_owned(), after: LOAD_DEADLINE }),
            Drained::Failed(error) => Err(self.fault("loading an image", error).await),
        }
    }

    /// Removes an image's name, and the image with its last name. One that is absent is fine.
    ///
    /// # Errors
    /// [`Error::Engine`] while a container uses its last name; [`Error::Invalid`] for a malformed reference.
    pub async fn remove_image(&self, reference: &str) -> Result<()> {
        split_reference(reference)?;
        let options = Some(RemoveImageOptions::default());
        let call = |client: bollard::Docker| async move { client.remove_image(reference, options, None).await };
        match self.call("removing an image", REMOVE_DEADLINE, call).await {
            Ok(_) | Err(Error::ImageMissing { .. } | Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The sandbox image's name, after making sure that the engine has it.
    pub(super) async fn sandbox_image(&self) -> Result<String> {
        let architecture = self.engine_architecture().await?;
        let Some(program) = sandbox_program::elf(&architecture) else {
            return Err(Error::invalid(format!(
                "there is no sandbox program for {architecture}: use an amd64 or arm64 machine, or --runtime sim"
            )));
        };
        // The hash makes a new release load its own program instead of trusting an old one of the same name.
        let reference = format!("{SANDBOX_IMAGE}:{}", &hex_sha256(&program)[..12]);
        if self.image(&reference).await?.is_some() {
            return Ok(reference);
        }
        let archive = Archive {
            reference: reference.clone(),
            architecture,
            entrypoint: vec!["/sandbox".to_owned()],
            user: SANDBOX_USER.to_owned(),
            entries: vec![Entry::File { path: "sandbox".to_owned(), mode: 0o755, bytes: program }],
            ..Default::default()
        };
        self.load_image(tar(&archive)?).await?;
        info!(%reference, "loaded the sandbox image");
        Ok(reference)
    }

    async fn engine_architecture(&self) -> Result<String> {
        let version = self
            .call("asking for the engine's version", QUESTION_DEADLINE, |client| async move { client.version().await });
        // Unlike the machine's name in the engine's description, this is a Go name already.
        Ok(version.await?.arch.unwrap_or_default())
    }
}

enum Drained {
    Done,
    Silent,
    Failed(bollard::errors::Error),
}

/// Reads reports to the end, with a limit on the silence between two.
async fn drain<T>(
    reports: impl Stream<Item = std::result::Result<T, bollard::errors::Error>>,
    silence: Duration,
    mut each: impl FnMut(T),
) -> Drained {
    let mut reports = std::pin::pin!(reports);
    loop {
        match tokio::time::timeout(silence, reports.next()).await {
            Err(_) => return Drained::Silent,
            Ok(None) => return Drained::Done,
            Ok(Some(Ok(report))) => each(report),
            Ok(Some(Err(error))) => return Drained::Failed(error),
        }
    }
}

fn pull_report(report: CreateImageInfo) -> PullProgress {
    let bytes = report.progress_detail.unwrap_or_default();
    let count = |bytes: Option<i64>| bytes.and_then(|bytes| u64::try_from(bytes).ok());
    PullProgress {
        layer: report.id,
        status: report.status.unwrap_or_default(),
        current_bytes: count(bytes.current),
        total_bytes: count(bytes.total),
    }
}
