//! Snapshots: a file with the metadata first and then the rows of the state.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use openraft::{ErrorVerb, RaftSnapshotBuilder, Snapshot, SnapshotMeta};
use state::{Row, State};
use storage::Storage;
use storage::snapshot::Reader;
use tokio::fs::File;
use tokio::io::{self, AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::warn;

use crate::counters::{Counters, count};
use crate::log_store::blocking;
use crate::types::{DiskError, LogId, Member, Membership, TypeConfig, disk_error};
use crate::{Error, codec};

pub type Meta = SnapshotMeta<u64, Member>;

/// A snapshot's file, on its way to or from a peer.
#[derive(Debug)]
pub struct SnapshotFile {
    file: File,
    path: PathBuf,
    /// Whether it was written aside, to be removed unless it becomes a snapshot.
    aside: bool,
    /// Under way once all of it has come.
    checking: Option<JoinHandle<Result<(), storage::Error>>>,
}

impl SnapshotFile {
    /// An empty file for a snapshot from a peer.
    pub async fn receive(path: PathBuf) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).await?;
        Ok(Self { file, path, aside: true, checking: None })
    }

    /// A snapshot to read.
    pub async fn open(path: PathBuf) -> io::Result<Self> {
        Ok(Self { file: File::open(&path).await?, path, aside: false, checking: None })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        if self.aside {
            // Gone already when it became a snapshot; else a leftover that the next start removes too.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl AsyncRead for SnapshotFile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_read(context, buffer)
    }
}

impl AsyncWrite for SnapshotFile {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.file).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_flush(context)
    }

    /// The end of what a peer sends: checks it whole. An error here goes back to the peer, which sends it anew; found only at
    /// the installation it would be this master's own disk that failed.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.aside {
            return Pin::new(&mut self.file).poll_shutdown(context);
        }
        if self.checking.is_none() {
            ready!(Pin::new(&mut self.file).poll_flush(context))?;
        }
        let path = self.path.clone();
        let checking = self.checking.get_or_insert_with(|| spawn_blocking(move || storage::snapshot::check(&path)));
        let checked = ready!(Pin::new(checking).poll(context));
        self.checking = None;
        Poll::Ready(checked.map_err(io::Error::other)?.map_err(|error| {
            warn!(%error, "a snapshot did not come whole from the leader: it is asked for another one");
            io::Error::other(error)
        }))
    }
}

impl AsyncSeek for SnapshotFile {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.file).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.file).poll_complete(context)
    }
}

/// Writes a snapshot of the state as it stood when the builder was made; applying goes on meanwhile.
pub struct Builder {
    pub storage: Storage,
    pub counters: Arc<Counters>,
    pub state: State,
    pub last_applied: Option<LogId>,
    pub membership: Membership,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, DiskError> {
        let index = self.last_applied.map_or(0, |id| id.index);
        let meta = Meta {
            last_log_id: self.last_applied,
            last_membership: self.membership.clone(),
            snapshot_id: format!("{index}-{}", base::random::suffix(8)),
        };
        let (storage, state, head) = (self.storage.clone(), self.state.clone(), meta.clone());
        let path =
            blocking(move || write(&storage, &state, &head).map_err(|error| disk_error(ErrorVerb::Write, &error)))
                .await?;
        count(&self.counters.snapshots_built);
        let file = SnapshotFile::open(path).await.map_err(|error| disk_error(ErrorVerb::Read, &error))?;
        Ok(Snapshot { meta, snapshot: Box::new(file) })
    }
}

fn write(storage: &Storage, state: &State, meta: &Meta) -> Result<PathBuf, Error> {
    let mut writer = storage.snapshots().create()?;
    writer.write(&codec::encode("the head of a snapshot", meta)?)?;
    for row in state.rows() {
        writer.write(&codec::encode("a row of a snapshot", &row?)?)?;
    }
    Ok(storage.snapshots().adopt(&writer.finish()?)?)
}

/// The head of the snapshot at `path`.
pub fn read_meta(path: &Path) -> Result<Meta, Error> {
    let head = Reader::open(path)?.next().unwrap_or_else(|| {
        Err(storage::Error::Damaged { place: path.to_owned(), reason: "the snapshot is empty".into() })
    })?;
    codec::decode("the head of a snapshot", &head)
}

/// The rows of the snapshot at `path`, each checked.
pub fn read_rows(path: &Path) -> Result<impl Iterator<Item = Result<Row, Error>> + use<>, Error> {
    let records = Reader::open(path)?.skip(1);
    Ok(records.map(|record| codec::decode("a row of a snapshot", &record?)))
}
