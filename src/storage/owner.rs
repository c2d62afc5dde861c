//! Whose folder this is: a row that is on disk before anything else, and is checked at every start. Votes and entries of
//! one master must never count as another's.

use std::fmt;

use rocksdb::WriteBatch;

use crate::batch::Durability;
use crate::database::Storage;
use crate::error::Error;

const OWNER_KEY: &[u8] = b"owner";

/// The one master whose data a folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Id of its cluster.
    pub cluster: String,
    /// Its own id in that cluster, never used twice.
    pub id: u64,
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "master {} of cluster {}", self.id, self.cluster)
    }
}

impl Owner {
    /// The id first, as it has a fixed length.
    fn encode(&self) -> Vec<u8> {
        [&self.id.to_be_bytes(), self.cluster.as_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (id, cluster) = bytes.split_first_chunk()?;
        Some(Self { id: u64::from_be_bytes(*id), cluster: std::str::from_utf8(cluster).ok()?.to_owned() })
    }
}

impl Storage {
    /// Makes sure that the folder is this master's; to be called before anything is read or written. A new folder becomes
    /// its own; so does one of a release that did not write down whose it was.
    ///
    /// # Errors
    /// [`Error::OtherOwner`] for a folder of somebody else; [`Error::Damaged`] or [`Error::Disk`] when it cannot be read
    /// or written.
    pub fn claim(&self, owner: &Owner) -> Result<(), Error> {
        match self.owner()? {
            Some(found) if found == *owner => Ok(()),
            Some(found) => Err(Error::OtherOwner { dir: self.dir().to_owned(), found, wanted: owner.clone() }),
            None => {
                let mut writes = WriteBatch::default();
                writes.put_cf(self.meta()?, OWNER_KEY, owner.encode());
                self.commit(writes, Durability::Synced)
            }
        }
    }

    fn owner(&self) -> Result<Option<Owner>, Error> {
        let row = self.inner.db.get_cf(self.meta()?, OWNER_KEY).map_err(|error| self.failed("reading", &error))?;
        row.map(|bytes| {
            Owner::decode(&bytes).ok_or_else(|| Error::Damaged {
                place: self.inner.dir.clone(),
                reason: "the row that says whose folder it is makes no sense".into(),
            })
        })
        .transpose()
    }
}
