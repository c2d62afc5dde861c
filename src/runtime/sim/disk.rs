//! Where simulated containers are kept, so that an agent that starts anew finds them, as it would with a real engine:
//! `FOLDER/CLUSTER/NODE/ID.json`, one file each.

use super::record::Record;
use crate::{Error, Result, Scope};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tracing::warn;

#[derive(Debug, Clone)]
pub(super) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Opens (and makes) the folder of a node and reads what is there.
    pub fn open(folder: &Path, scope: &Scope) -> Result<(Self, Vec<Record>)> {
        let folder = folder.join(&scope.cluster).join(&scope.node);
        std::fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let mut records = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed(&folder))? {
            let path = entry.map_err(failed(&folder))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let bytes = std::fs::read(&path).map_err(failed(&path))?;
            match serde_json::from_slice(&bytes) {
                Ok(record) => records.push(record),
                // Nothing real is lost with it.
                Err(error) => warn!(path = %path.display(), %error, "an unreadable simulated container is ignored"),
            }
        }
        Ok((Disk { folder }, records))
    }

    /// Writes a record in whole or not at all. Not synced: what a power cut loses never ran.
    pub fn put(&self, record: &Record) -> Result<()> {
        let path = self.path(record.id());
        let bytes = serde_json::to_vec(record).map_err(|error| failed(&path)(error.into()))?;
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, bytes).map_err(failed(&fresh))?;
        std::fs::rename(&fresh, &path).map_err(failed(&path))
    }

    pub fn remove(&self, id: &str) -> Result<()> {
        let path = self.path(id);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            outcome => outcome.map_err(failed(&path)),
        }
    }

    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

/// Removes the simulated containers of a cluster and returns how many there were.
pub(super) fn remove_cluster(folder: &Path, cluster: &str) -> Result<usize> {
    let folder = folder.join(cluster);
    let nodes = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        outcome => outcome.map_err(failed(&folder))?,
    };
    let mut count = 0;
    for node in nodes {
        let node = node.map_err(failed(&folder))?.path();
        let files = std::fs::read_dir(&node).map_err(failed(&node))?;
        count += files.flatten().filter(|file| file.path().extension().is_some_and(|name| name == "json")).count();
    }
    std::fs::remove_dir_all(&folder).map_err(failed(&folder))?;
    Ok(count)
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::State { path: path.clone(), source }
}
