//! Making a pod's volumes on this node and finding what a container's mount shows.

use super::files::{Payload, is_refreshed, payload};
use super::write::{make_folder, write};
use super::{Bundle, subpath};
use crate::disk::Disk;
use crate::pod::env::{Place, expand};
use crate::pod::view;
use k8s_openapi::api::core::v1::{HostPathVolumeSource, Pod, Volume, VolumeMount};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// The longest last words of a container, as upstream has it.
const LAST_WORDS_BYTES_MAX: u64 = 4096;

/// Why a volume is not there, in words for an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {reason}")]
pub(crate) struct VolumeFault {
    /// The volume's name.
    pub volume: String,
    /// What is wrong.
    pub reason: String,
}

/// Makes every volume of a pod. Repeating it is harmless.
pub(crate) fn make(disk: &Disk, pod: &Pod, place: &Place, bundle: &Bundle, stamp: &str) -> Result<(), VolumeFault> {
    for volume in view::spec(pod).volumes.iter().flatten() {
        let fault = |reason: String| VolumeFault { volume: volume.name.clone(), reason };
        let files = payload(pod, volume, place, bundle).map_err(|it| fault(it.0))?;
        make_one(disk, pod, volume, files, stamp).map_err(|error| fault(error.to_string()))?;
    }
    Ok(())
}

/// Brings the volumes of configuration up to date; what has vanished meanwhile keeps its last files.
pub(crate) fn refresh(disk: &Disk, pod: &Pod, place: &Place, bundle: &Bundle, stamp: &str) {
    for volume in view::spec(pod).volumes.iter().flatten().filter(|volume| is_refreshed(volume)) {
        if let Ok(Some(files)) = payload(pod, volume, place, bundle)
            && let Err(error) = make_one(disk, pod, volume, Some(files), stamp)
        {
            tracing::warn!(volume = volume.name, %error, "a volume cannot be brought up to date");
        }
    }
}

/// Whether every volume was made before.
pub(crate) fn are_there(disk: &Disk, pod: &Pod) -> bool {
    view::spec(pod).volumes.iter().flatten().all(|volume| {
        let root = root_of(disk, pod, volume);
        if is_refreshed(volume) { root.join("..data").is_dir() } else { root.exists() }
    })
}

fn make_one(disk: &Disk, pod: &Pod, volume: &Volume, files: Option<Payload>, stamp: &str) -> io::Result<()> {
    let group = view::spec(pod).security_context.as_ref().and_then(|it| it.fs_group);
    let group = group.and_then(|group| u32::try_from(group).ok());
    let root = root_of(disk, pod, volume);
    if let Some(files) = files {
        write(&root, &files, group, stamp)?;
        return Ok(());
    }
    if volume.empty_dir.is_some() {
        if !root.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(&root)?;
            // Any user of a container may write, as on upstream's nodes.
            let mut mode = 0o777;
            if group.is_some() {
                chown(&root, None, group)?;
                mode = 0o2777;
            }
            fs::set_permissions(&root, fs::Permissions::from_mode(mode))?;
        }
        return Ok(());
    }
    match &volume.host_path {
        Some(source) => host_path(source),
        None => Err(io::Error::other("this kind of volume is not supported by this node")),
    }
}

/// Checks a path of the node and makes it where its type says so.
fn host_path(source: &HostPathVolumeSource) -> io::Result<()> {
    let path = Path::new(&source.path);
    if !path.is_absolute() {
        return Err(io::Error::other("hostPath must be absolute"));
    }
    let wanted = source.type_.as_deref().unwrap_or_default();
    let kind = fs::metadata(path).map(|found| found.file_type());
    let fits = |fits: bool| {
        if fits {
            Ok(())
        } else {
            Err(io::Error::other(format!("hostPath type check failed: {} is not a {wanted}", source.path)))
        }
    };
    match (wanted, kind) {
        ("", Ok(_)) => Ok(()),
        // The engine must be given something that exists; upstream's engines make a folder too.
        ("" | "DirectoryOrCreate", Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
        }
        ("FileOrCreate", Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).map(drop)
        }
        (_, Err(error)) => Err(error),
        ("Directory" | "DirectoryOrCreate", Ok(kind)) => fits(kind.is_dir()),
        ("File" | "FileOrCreate", Ok(kind)) => fits(kind.is_file()),
        ("Socket", Ok(kind)) => fits(kind.is_socket()),
        ("CharDevice", Ok(kind)) => fits(kind.is_char_device()),
        ("BlockDevice", Ok(kind)) => fits(kind.is_block_device()),
        (other, Ok(_)) => Err(io::Error::other(format!("hostPath type {other:?} is not known"))),
    }
}

/// What a container's mount shows: a path of this node that exists, and whether it must be read-only.
pub(crate) fn mount_source(
    disk: &Disk,
    pod: &Pod,
    mount: &VolumeMount,
    variables: &BTreeMap<String, String>,
) -> Result<(PathBuf, bool), VolumeFault> {
    let fault = |reason: String| VolumeFault { volume: mount.name.clone(), reason };
    let volume = view::spec(pod).volumes.iter().flatten().find(|volume| volume.name == mount.name);
    let volume = volume.ok_or_else(|| fault("there is no such volume in the pod".to_owned()))?;
    let root = root_of(disk, pod, volume);
    let own = is_refreshed(volume);
    let read_only = own || mount.read_only == Some(true);
    let sub = match (&mount.sub_path_expr, &mount.sub_path) {
        (Some(expression), _) if !expression.is_empty() => {
            let expanded = expand(expression, variables);
            if expanded.contains("$(") {
                return Err(fault(format!("subPathExpr {expression:?} names a variable that is not set")));
            }
            expanded
        }
        (_, Some(sub)) => sub.clone(),
        _ => String::new(),
    };
    if sub.is_empty() {
        return Ok((root, read_only));
    }
    let resolved = if own { subpath::resolve_own(&root, &sub) } else { subpath::resolve(&root, &sub) };
    resolved.map(|path| (path, read_only)).map_err(|error| fault(error.to_string()))
}

/// Where a volume lies.
fn root_of(disk: &Disk, pod: &Pod, volume: &Volume) -> PathBuf {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    if let Some(source) = &volume.host_path {
        return PathBuf::from(&source.path);
    }
    let holds_secrets = volume.secret.is_some()
        || volume
            .projected
            .iter()
            .flat_map(|it| it.sources.iter().flatten())
            .any(|source| source.secret.is_some() || source.service_account_token.is_some());
    let in_memory = volume.empty_dir.as_ref().is_some_and(|source| source.medium.as_deref() == Some("Memory"));
    let base = if holds_secrets || in_memory { disk.memory_volumes_dir(uid) } else { disk.volumes_dir(uid) };
    // Names of volumes are DNS labels; anything else must not lead elsewhere.
    let name: String =
        volume.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    base.join(name)
}

/// Makes the file into which a container may write its last words, and returns its path.
pub(crate) fn last_words_file(disk: &Disk, uid: &str, container: &str, attempt: u32) -> io::Result<PathBuf> {
    let folder = disk.pod_dir(uid).join("words");
    make_folder(&folder)?;
    let path = folder.join(format!("{container}-{attempt}"));
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o666).open(&path)?;
    file.set_permissions(fs::Permissions::from_mode(0o666))?;
    Ok(path)
}

/// What a container wrote as its last words; empty where it wrote none.
pub(crate) fn read_last_words(disk: &Disk, uid: &str, container: &str, attempt: u32) -> io::Result<String> {
    use std::io::Read;
    let path = disk.pod_dir(uid).join("words").join(format!("{container}-{attempt}"));
    let mut bytes = Vec::new();
    match fs::File::open(&path) {
        Ok(file) => file.take(LAST_WORDS_BYTES_MAX).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
