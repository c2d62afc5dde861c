//! The first start of a master: it founds a cluster, or asks one to let it in.

use std::path::{Path, PathBuf};

use identity::{Authority, AuthorityBundle, files};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::info;

use crate::{Error, Options, Record, record};

/// Raft ids are drawn at random so that none is ever used twice; 53 bits survive JSON.
const ID_BITS: u32 = 53;
/// Characters of the secret in a request to join: 152 bits.
const SECRET_LENGTH: usize = 32;

/// Makes this folder a master and writes down what it is.
pub async fn found_or_join(options: &Options) -> Result<(Record, Authority), Error> {
    let (record, authority) = match &options.join {
        None => {
            let cluster = base::random::uid();
            info!(%cluster, "founding a new cluster");
            let authority = Authority::generate(cluster.clone())?;
            (Record { version: 1, cluster, id: draw_id(), founder: true, begun: false }, authority)
        }
        Some(join) => {
            let attempt = Attempt::kept(&options.dir)?;
            let request = json!({
                "role": "master", "name": options.name, "id": attempt.id, "secret": attempt.secret,
                "peer": options.peers.advertise, "api": format!("https://{}", options.api.advertise),
            });
            let endpoints = client::Endpoints::parse(&join.masters.join(","))?;
            let answer = client::join(&endpoints, &join.token, &request, join.deadline).await;
            if let Err(error) = &answer
                && error.is_conflict()
            {
                // It was let in under this id before, with another address; the next start draws a new one.
                attempt.renew(&options.dir)?;
            }
            let answer = answer?;
            let bundle: AuthorityBundle =
                serde_json::from_value(answer["authority"].clone()).map_err(|_| Error::JoinAnswer("the authority"))?;
            let cluster = answer["cluster"].as_str().ok_or(Error::JoinAnswer("the cluster's id"))?.to_owned();
            let id = answer["id"].as_u64().ok_or(Error::JoinAnswer("this master's id"))?;
            info!(%cluster, id, "joining");
            (Record { version: 1, cluster, id, founder: false, begun: false }, Authority::import(bundle))
        }
    };
    record::save(&options.dir, &record, &authority)?;
    // It has been answered; a leftover would do no harm.
    let _ = std::fs::remove_file(Attempt::path(&options.dir));
    Ok((record, authority))
}

/// A raft id that was never used.
pub fn draw_id() -> u64 {
    let drawn = u64::from_be_bytes(base::random::bytes::<8>()) >> (u64::BITS - ID_BITS);
    drawn.max(1)
}

/// A request to join that may have to be repeated, kept in the folder until it is answered: an answer that was lost must
/// not leave a second master behind, nor lock this one out because its token is used up.
#[derive(Debug, Serialize, Deserialize)]
struct Attempt {
    id: u64,
    /// By which the cluster knows that it is the same machine that asks again.
    secret: String,
}

impl Attempt {
    fn path(dir: &Path) -> PathBuf {
        dir.join("joining.json")
    }

    /// The one in the folder, or a new one.
    fn kept(dir: &Path) -> Result<Self, Error> {
        let known = files::read_private(&Self::path(dir))?;
        // Written whole or not at all; what does not parse anyway is replaced.
        match known.and_then(|text| serde_json::from_str(&text).ok()) {
            Some(known) => Ok(known),
            None => Self { id: draw_id(), secret: base::random::suffix(SECRET_LENGTH) }.keep(dir),
        }
    }

    /// The same machine under a new id.
    fn renew(self, dir: &Path) -> Result<Self, Error> {
        Self { id: draw_id(), ..self }.keep(dir)
    }

    fn keep(self, dir: &Path) -> Result<Self, Error> {
        let path = Self::path(dir);
        let text = serde_json::to_vec(&self)
            .map_err(|error| Error::Record { path: path.clone(), reason: error.to_string() })?;
        files::write_private(&path, &text)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_asks_under_the_same_id() {
        let folder = tempfile::tempdir().unwrap();
        let first = Attempt::kept(folder.path()).unwrap();
        let again = Attempt::kept(folder.path()).unwrap();
        assert_eq!((first.id, &first.secret), (again.id, &again.secret));
        let renewed = again.renew(folder.path()).unwrap();
        assert!(renewed.id != first.id && renewed.secret == first.secret);
        assert_eq!(Attempt::kept(folder.path()).unwrap().id, renewed.id);
        std::fs::write(Attempt::path(folder.path()), "{").unwrap();
        assert_ne!(Attempt::kept(folder.path()).unwrap().secret, first.secret);
    }
}
