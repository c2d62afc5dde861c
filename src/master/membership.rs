//! The first start of a master: it founds a cluster, or asks one to let it in.

use std::time::Duration;

use identity::{Authority, AuthorityBundle};
use serde_json::json;
use tracing::info;

use crate::{Error, Options, Record, record};

/// Raft ids are drawn at random so that none is ever used twice; 53 bits survive JSON.
const ID_BITS: u32 = 53;
/// How long joining may take: an election may be under way.
const JOIN_DEADLINE: Duration = Duration::from_secs(30);

/// Makes this folder a master and writes down what it is.
pub async fn found_or_join(options: &Options) -> Result<(Record, Authority), Error> {
    let (record, authority) = match &options.join {
        None => {
            let cluster = base::random::uid();
            info!(%cluster, "founding a new cluster");
            let authority = Authority::generate(cluster.clone())?;
            (Record { version: 1, cluster, id: draw_id(), founder: true }, authority)
        }
        Some(join) => {
            let request = json!({
                "role": "master", "name": options.name, "id": draw_id(),
                "peer": options.peers.advertise, "api": format!("https://{}", options.api.advertise),
            });
            let endpoints = client::Endpoints::parse(&join.masters.join(","))?;
            let answer = client::join(&endpoints, &join.token, &request, JOIN_DEADLINE).await?;
            let bundle: AuthorityBundle =
                serde_json::from_value(answer["authority"].clone()).map_err(|_| Error::JoinAnswer("the authority"))?;
            let cluster = answer["cluster"].as_str().ok_or(Error::JoinAnswer("the cluster's id"))?.to_owned();
            let id = answer["id"].as_u64().ok_or(Error::JoinAnswer("this master's id"))?;
            info!(%cluster, id, "joining");
            (Record { version: 1, cluster, id, founder: false }, Authority::import(bundle))
        }
    };
    record::save(&options.dir, &record, &authority)?;
    Ok((record, authority))
}

/// A raft id that was never used.
pub fn draw_id() -> u64 {
    let drawn = u64::from_be_bytes(base::random::bytes::<8>()) >> (u64::BITS - ID_BITS);
    drawn.max(1)
}
