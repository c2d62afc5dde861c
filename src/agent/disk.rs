//! What an agent keeps on disk: which cluster it serves, the highest revision it has seen, the masters, and the pods it
//! was last told to run, so that a restart without any master still looks after them.

use crate::Error;
use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file of what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    cluster: String,
    revision: u64,
}

/// An agent's data folder.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    dir: PathBuf,
    memory_dir: PathBuf,
    cluster: String,
}

impl Disk {
    /// Opens the folder and yields the highest revision seen; makes the folder where it is missing.
    ///
    /// # Errors
    /// [`Error::OtherCluster`] for the folder of another cluster, [`Error::Disk`] when it cannot be used. A file that is
    /// damaged is an error too: believing that nothing was seen would let an old answer stop healthy pods.
    pub fn open(options: &crate::Options) -> Result<(Self, u64), Error> {
        let dir = options.dir.clone();
        let memory_dir = match &options.memory_dir {
            Some(folder) => folder.join(format!("barque-{}-{}", options.cluster, options.node)),
            None => dir.join("memory"),
        };
        let disk = Self { dir, memory_dir, cluster: options.cluster.clone() };
        for folder in [disk.dir.clone(), disk.pods_dir(), disk.memory_dir.clone()] {
            make_private(&folder)?;
        }
        let path = disk.seen_path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                disk.keep_revision(0)?;
                return Ok((disk, 0));
            }
            Err(error) => return Err(Error::disk("read", &path)(error)),
        };
        let seen: Seen = serde_json::from_slice(&bytes)
            .map_err(|error| Error::disk("understand", &path)(std::io::Error::other(error)))?;
        if seen.cluster != options.cluster {
            return Err(Error::OtherCluster { path: disk.dir, expected: options.cluster.clone(), found: seen.cluster });
        }
        Ok((disk, seen.revision))
    }

    /// Keeps the highest revision seen, before anything is done because of it.
    pub fn keep_revision(&self, revision: u64) -> Result<(), Error> {
        self.write_json(&self.seen_path(), &Seen { cluster: self.cluster.clone(), revision })
    }

    /// Keeps the list of masters.
    pub fn keep_masters(&self, masters: &[client::Address]) -> Result<(), Error> {
        self.write_json(&self.dir.join("masters.json"), &masters)
    }

    /// The masters kept last; empty where there are none.
    pub fn masters(&self) -> Vec<client::Address> {
        read_masters(&self.dir)
    }

    /// Keeps what a pod is meant to be.
    pub fn keep_pod(&self, uid: &str, pod: &Pod) -> Result<(), Error> {
        make_private(&self.pod_dir(uid))?;
        self.write_json(&self.pod_dir(uid).join("pod.json"), pod)
    }

    /// The pods kept; one that does not parse is left out, with a warning.
    pub fn pods(&self) -> Vec<Pod> {
        let Ok(entries) = fs::read_dir(self.pods_dir()) else { return Vec::new() };
        let mut pods = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path().join("pod.json");
            let Ok(bytes) = fs::read(&path) else { continue };
            match serde_json::from_slice(&bytes) {
                Ok(pod) => pods.push(pod),
                Err(error) => tracing::warn!(path = %path.display(), %error, "a kept pod does not parse"),
            }
        }
        pods
    }

    /// The uids of pods that have a folder here, whatever is in it.
    pub fn pod_uids(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.pods_dir()) else { return Vec::new() };
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Forgets a pod and deletes its volumes.
    pub fn forget_pod(&self, uid: &str) -> Result<(), Error> {
        for folder in [self.memory_dir.join(safe_name(uid)), self.pod_dir(uid)] {
            match fs::remove_dir_all(&folder) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::disk("delete", &folder)(error)),
            }
        }
        Ok(())
    }

    /// Where a pod's volumes lie on disk.
    pub fn volumes_dir(&self, uid: &str) -> PathBuf {
        self.pod_dir(uid).join("volumes")
    }

    /// Where a pod's volumes lie that must not reach a disk.
    pub fn memory_volumes_dir(&self, uid: &str) -> PathBuf {
        self.memory_dir.join(safe_name(uid))
    }

    /// Where a pod's own files (such as termination messages) lie.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.pods_dir().join(safe_name(uid))
    }

    fn pods_dir(&self) -> PathBuf {
        self.dir.join("pods")
    }

    fn seen_path(&self) -> PathBuf {
        self.dir.join("seen.json")
    }

    fn write_json<T: Serialize + ?Sized>(&self, path: &Path, value: &T) -> Result<(), Error> {
        let bytes =
            serde_json::to_vec(value).map_err(|error| Error::disk("encode", path)(std::io::Error::other(error)))?;
        replace(path, &bytes)
    }
}

/// The masters that an agent with this data folder knew last, for a start that has no other list.
pub fn read_masters(dir: &Path) -> Vec<client::Address> {
    fs::read(dir.join("masters.json")).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// A folder of this machine whose files live in memory only.
pub(crate) fn memory_folder() -> Option<PathBuf> {
    let folder = Path::new("/dev/shm");
    let found = nix::sys::statfs::statfs(folder).ok()?;
    (found.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC).then(|| folder.to_owned())
}

/// Deletes what agents of a cluster left in this machine's memory, for whoever deletes a cluster's data. The agents must
/// have ended.
///
/// # Errors
/// [`Error::Disk`] when something cannot be deleted.
pub fn forget_memory(cluster: &str) -> Result<(), Error> {
    memory_folder().map_or(Ok(()), |folder| forget_memory_in(&folder, cluster))
}

fn forget_memory_in(folder: &Path, cluster: &str) -> Result<(), Error> {
    let prefix = format!("barque-{cluster}-");
    for entry in fs::read_dir(folder).map_err(Error::disk("read", folder))?.flatten() {
        if !cluster.is_empty() && entry.file_name().to_string_lossy().starts_with(&prefix) {
            fs::remove_dir_all(entry.path()).map_err(Error::disk("delete", &entry.path()))?;
        }
    }
    Ok(())
}

/// Makes a folder that only its owner may enter, with those above it.
pub(crate) fn make_private(folder: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::disk("make", folder))
}

/// Replaces a file as a whole: after a crash it holds the old or the new content.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        match path.parent() {
            Some(folder) => fs::File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(Error::disk("write", path))
}

/// A uid as a file name: API servers make UUIDs, and anything else must not leave the folder.
fn safe_name(uid: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name: String = uid.chars().map(|c| if safe(c) { c } else { '_' }).take(200).collect();
    if name.is_empty() { "_".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(dir: &Path, cluster: &str) -> crate::Options {
        let mut options = crate::Options::new("n", cluster, dir, ([127, 0, 0, 1], 0).into(), [127, 0, 0, 1].into());
        options.memory_dir = None;
        options
    }

    #[test]
    fn memory_of_one_cluster_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["barque-c1-n1", "barque-c1-n2", "barque-c2-n1", "other"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        forget_memory_in(dir.path(), "c1").unwrap();
        forget_memory_in(dir.path(), "").unwrap();
        let mut left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["barque-c2-n1", "other"]);
    }

    #[test]
    fn a_folder_remembers_and_belongs_to_one_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, revision) = Disk::open(&options(dir.path(), "c")).unwrap();
        assert_eq!(revision, 0);
        disk.keep_revision(7).unwrap();
        let pod = Pod { metadata: Default::default(), ..Default::default() };
        disk.keep_pod("../evil", &pod).unwrap();
        disk.keep_pod("u", &pod).unwrap();
        let (disk, revision) = Disk::open(&options(dir.path(), "c")).unwrap();
        assert_eq!((revision, disk.pods().len()), (7, 2));
        assert!(disk.pod_dir("../evil").starts_with(dir.path().join("pods")));
        disk.forget_pod("u").unwrap();
        assert_eq!(disk.pods().len(), 1);
        assert!(matches!(Disk::open(&options(dir.path(), "d")), Err(Error::OtherCluster { .. })));
        std::fs::write(dir.path().join("seen.json"), "{").unwrap();
        assert!(matches!(Disk::open(&options(dir.path(), "c")), Err(Error::Disk { .. })));
    }
}
