//! Who this master is: the record and the authority in its folder. Written before the first vote, and once more when the log
//! has begun.

use std::path::Path;

use identity::{Authority, files};
use serde::{Deserialize, Serialize};

use crate::Error;

const FILE: &str = "master.json";
const AUTHORITY: &str = "pki";

/// What a master knows about itself before it knows anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Format of this file.
    pub version: u32,
    /// Id of the cluster.
    pub cluster: String,
    /// Raft id of this master; used once, never again after its folder is emptied.
    pub id: u64,
    /// Whether this master founded the cluster: only a founder initializes the log.
    pub founder: bool,
    /// Whether its log has begun: from then on a log that is not there is damage, and no fresh start. Absent in the records of
    /// older releases, which learn it at their next start.
    #[serde(default)]
    pub begun: bool,
}

/// Reads the folder; `None` when it holds no master yet.
pub fn load(dir: &Path) -> Result<Option<(Record, Authority)>, Error> {
    let path = dir.join(FILE);
    let Some(text) = files::read_private(&path)? else { return Ok(None) };
    let unusable = |reason: String| Error::Record { path: path.clone(), reason };
    let record = serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
    let authority = Authority::load(&dir.join(AUTHORITY))?;
    let authority = authority.ok_or_else(|| unusable(format!("the folder {AUTHORITY} beside it is gone")))?;
    Ok(Some((record, authority)))
}

/// Keeps both; the record comes last, so that half a folder counts as none.
pub fn save(dir: &Path, record: &Record, authority: &Authority) -> Result<(), Error> {
    authority.save(&dir.join(AUTHORITY))?;
    keep(dir, record)
}

/// Notes that the log has begun.
pub fn begin(dir: &Path, record: &mut Record) -> Result<(), Error> {
    if !record.begun {
        record.begun = true;
        keep(dir, record)?;
    }
    Ok(())
}

fn keep(dir: &Path, record: &Record) -> Result<(), Error> {
    let path = dir.join(FILE);
    let text = serde_json::to_vec_pretty(record)
        .map_err(|error| Error::Record { path: path.clone(), reason: error.to_string() })?;
    files::write_private(&path, &text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_its_record_is_no_master() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path()).unwrap().is_none());
        let authority = Authority::generate("c1").unwrap();
        authority.save(&folder.path().join(AUTHORITY)).unwrap();
        assert!(load(folder.path()).unwrap().is_none());
        let mut record = Record { version: 1, cluster: "c1".into(), id: 7, founder: true, begun: false };
        save(folder.path(), &record, &authority).unwrap();
        assert!(!load(folder.path()).unwrap().expect("a master").0.begun);
        begin(folder.path(), &mut record).unwrap();
        let (found, authority) = load(folder.path()).unwrap().expect("a master");
        assert!(found.begun);
        assert_eq!((found, authority.cluster_id()), (record, "c1"));
        let old = r#"{"version": 1, "cluster": "c1", "id": 7, "founder": true}"#;
        assert!(!serde_json::from_str::<Record>(old).unwrap().begun);
    }

    #[test]
    fn damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        let Err(error) = load(folder.path()) else { panic!("half a record is no record") };
        let error = error.to_string();
        assert!(error.contains("master.json") && error.contains("join the cluster anew"), "{error}");
    }
}
