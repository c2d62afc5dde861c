//! A disk in memory, mounted as a real file system, that loses power, fills up, slows down and fails on demand.
//!
//! What is promised to survive [`Disk::cut_power`] is what a careful reading of ext4 promises, and no byte more:
//!
//! * **Bytes.** A file's content and length go back to its last fsync or fdatasync (of any handle; a write through an
//!   `O_DSYNC` handle counts as one). All that was written, cut or extended since is undone. Nothing is torn and nothing
//!   unsynced ever survives by luck.
//! * **Names.** Creating, linking, renaming and removing files and folders is journalled in order. A sync of a file or
//!   folder makes durable the last change of names that concerns it (as the thing named, replaced, or the folder around)
//!   and with it all that happened before, on the whole disk. A cut takes the rest back, latest first; a rename over
//!   another file happens wholly or not at all. When 4096 changes wait, the oldest become durable by themselves.
//! * **Both.** So a file that was created and never synced vanishes, or is there and empty if its name became durable by
//!   another's sync; a rename of a file whose bytes were not synced leaves what was synced of them, which may be nothing
//!   (ext4 would often be kinder here). A removed file comes back unless its removal was made durable.
//! * **Modes, owners, times** are not lost, and space reserved by fallocate is not given back.
//! * **A failed sync** is told once, as Linux does: the file's unsynced bytes then count as clean. Later syncs of that
//!   file succeed and make none of its bytes durable, until a cut or until it is cut to nothing. Only giving it up helps.
//!
//! Handles opened before a cut answer EIO afterwards. The kernel keeps no names and no attributes of this disk, drops
//! its cached bytes at each open and at each cut, and writes through.
//!
//! A sync takes its time aside: all other operations go on, except writes to the same file and changes in the same
//! folder, which the kernel itself holds back while their sync runs. A process killed in a sync ends when that is
//! answered; a cut, the end of the trouble or the end of the disk answers it.

mod content;
mod serve;
mod state;
#[cfg(test)]
mod tests;
mod tree;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use fuser::{BackgroundSession, Config, INodeNo, Session, SessionACL};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{getgid, getuid};

use crate::Error;
use serve::Served;
use state::Shared;

/// Of a sync on a common SSD.
const SYNC_LATENCY: Duration = Duration::from_millis(1);
/// Threads that answer the kernel. Syncs wait elsewhere.
const THREADS: usize = 2;

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// Each sync takes this much longer; [`Duration::MAX`] stands for never. Syncs that wait already are held, too.
    SlowSync(Duration),
    /// ENOSPC for what needs new space: creating, and writing where no byte was written yet, even where fallocate had
    /// reserved it (as on a thinly provisioned volume, or under a quota that counts what is written).
    Full,
    /// As [`Trouble::Full`], but reserved space can still be written (as on ext4).
    FullButReserved,
    /// EIO for each sync, and nothing becomes durable.
    FailSync,
    /// EIO for each write and fallocate, and nothing is written.
    FailWrite,
}

/// What happened on a disk since it was mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Syncs of files and folders that succeeded.
    pub syncs: u64,
    /// Syncs that were asked for and not answered yet.
    pub syncs_waiting: u64,
    /// Operations that were refused because of a [`Trouble`].
    pub refused: u64,
    /// Bytes that writers wrote.
    pub bytes_written: u64,
    /// Of these, the bytes that the last cut took back (the sum over its writes).
    pub bytes_dropped: u64,
}

/// A mounted disk. Dropping it unmounts it and forgets its content, even when it is in use: who still uses it gets
/// errors.
#[derive(Debug)]
pub struct Disk {
    at: PathBuf,
    shared: Arc<Shared>,
    session: Option<BackgroundSession>,
    syncs: Option<JoinHandle<()>>,
}

impl Disk {
    /// Mounts an empty disk whose syncs take 1 ms. Makes the folder if needed, and takes away the dead mount of a process
    /// that was killed. Needs root.
    ///
    /// # Errors
    /// [`Error::System`] when the folder cannot be made or the kernel does not mount it.
    pub fn mount(at: &Path) -> Result<Self, Error> {
        Self::mount_with(at, SYNC_LATENCY)
    }

    /// As [`Disk::mount`], with another duration of a sync in good times.
    ///
    /// # Errors
    /// As [`Disk::mount`].
    pub fn mount_with(at: &Path, sync_latency: Duration) -> Result<Self, Error> {
        let failed = |doing: &str| Error::system(format!("{doing} {}", at.display()));
        if fs::metadata(at).is_err_and(|error| error.kind() == io::ErrorKind::NotConnected) {
            umount2(at, MntFlags::MNT_DETACH).map_err(io::Error::from).map_err(failed("remove the dead disk at"))?;
        }
        fs::create_dir_all(at).map_err(failed("make the folder"))?;
        let at = at.canonicalize().map_err(failed("find the folder"))?;
        let device = File::options().read(true).write(true).open("/dev/fuse").map_err(Error::system(
            "open /dev/fuse (load the kernel's module fuse, and give the device to a container that runs this)",
        ))?;
        let options = format!(
            "fd={},rootmode=40755,user_id={},group_id={},allow_other,default_permissions",
            device.as_raw_fd(),
            getuid(),
            getgid()
        );
        let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOATIME;
        mount(Some("barque-disk"), &at, Some("fuse"), flags, Some(options.as_str()))
            .map_err(io::Error::from)
            .map_err(Error::system(format!("mount a disk at {} (needs root)", at.display())))?;
        // From here on, dropping it unmounts.
        let mut disk = Self { at, shared: Arc::new(Shared::new(sync_latency)), session: None, syncs: None };
        let serving = |disk: &Self| Error::system(format!("serve the disk at {}", disk.at.display()));
        let mut config = Config::default();
        config.n_threads = Some(THREADS);
        let served = Served::new(Arc::clone(&disk.shared));
        let session =
            Session::from_fd(served, OwnedFd::from(device), SessionACL::All, config).map_err(serving(&disk))?;
        disk.session = Some(session.spawn().map_err(serving(&disk))?);
        let shared = Arc::clone(&disk.shared);
        let syncs = std::thread::Builder::new().name("disk-syncs".to_owned()).spawn(move || shared.answer_syncs());
        disk.syncs = Some(syncs.map_err(serving(&disk))?);
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Loses all that was not synced; see the module for what that is. Waiting syncs answer EIO, and so do handles that
    /// are open: kill the processes first (they need not have ended), start them again after.
    ///
    /// # Errors
    /// [`Error::System`] when the kernel does not forget what it cached: the disk is then not fit for use.
    pub fn cut_power(&self) -> Result<(), Error> {
        let known = self.shared.cut();
        let Some(session) = &self.session else { return Ok(()) };
        let notifier = session.notifier();
        for ino in known {
            // Outside of any lock: the kernel may ask for something first.
            notifier.inval_inode(INodeNo(ino), 0, 0).map_err(Error::system("make the kernel forget a file"))?;
        }
        Ok(())
    }

    /// From now on this is wrong with it, instead of what was before.
    pub fn trouble(&self, trouble: Trouble) {
        self.shared.set_trouble(trouble);
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.close();
        // Force ends the connection, so that nobody hangs; detach takes the mount away although somebody is in it.
        let flags = MntFlags::MNT_FORCE | MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
        let unmounted = umount2(&self.at, flags).is_ok();
        if let Some(syncs) = self.syncs.take() {
            // A panic there was reported by its own thread.
            let _reported = syncs.join();
        }
        if let Some(session) = self.session.take()
            && unmounted
        {
            let _ends_with_the_connection = session.join();
        }
    }
}
