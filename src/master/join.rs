//! Letting nodes and masters in: a join token is checked against its record, then certificates are signed.

mod token;

use identity::token::joiner;
use identity::{Role, Token};
use objects::Status;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::info;

use crate::cluster::Serving;
use token::{check, unauthorized, use_up};

/// Shortest secret of a joining master, in characters; ours have 32.
const SECRET_LENGTH_MIN: usize = 16;

/// What a joining node or master sends.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    token: String,
    role: String,
    name: String,
    /// Nodes: signing request for the client certificate.
    #[serde(default)]
    csr: String,
    /// Nodes: signing request for the certificate of the agent's own port.
    #[serde(default)]
    serving_csr: String,
    /// Masters: the raft id it has drawn.
    #[serde(default)]
    id: u64,
    /// Masters: drawn with the id and told to nobody else; whoever repeats a request proves with it to be the same.
    #[serde(default)]
    secret: String,
    /// Masters: `host:port` for other masters.
    #[serde(default)]
    peer: String,
    /// Masters: URL of its API.
    #[serde(default)]
    api: String,
}

/// Answers a join request.
pub async fn answer(serving: &Serving, request: Value) -> Result<Value, Status> {
    let request: Request = serde_json::from_value(request)
        .map_err(|error| Status::bad_request(format!("the join request is not understood: {error}")))?;
    let role: Role = request.role.parse().map_err(|_| {
        Status::bad_request(format!("the role \"{}\" is unknown: join as \"node\" or \"master\"", request.role))
    })?;
    let token: Token = request.token.parse().map_err(unauthorized)?;
    let joiner = request.joiner(role);
    // A request that cannot be granted for other reasons uses nothing up.
    check(&serving.store, &token, role, &joiner).await?;
    let mut answer = request.prepare(serving, role)?;
    {
        // Those that come through this master take turns; others are told apart by the record's revision.
        let _turn = serving.joining.lock().await;
        use_up(&serving.store, &token, role, &joiner).await?;
    }
    if role == Role::Master {
        let member = consensus::Member { name: request.name.clone(), peer: request.peer, api: request.api };
        serving.consensus.admit(request.id, member).await.map_err(|error| match error {
            consensus::Error::Refused(reason) => Status::new(409, "Conflict", reason),
            error => Status::unavailable(format!("the master cannot be admitted: {error}")),
        })?;
    }
    answer["masters"] = json!(serving.masters_known());
    info!(%role, name = %request.name, "joined");
    Ok(answer)
}

impl Request {
    /// Who asks: the same for a repeat, and for nobody else.
    fn joiner(&self, role: Role) -> String {
        match role {
            Role::Node => joiner(&["node", &self.name, &self.csr, &self.serving_csr]),
            Role::Master => joiner(&["master", &self.secret]),
        }
    }

    /// What the joiner will get, but for the list of masters. Changes nothing.
    fn prepare(&self, serving: &Serving, role: Role) -> Result<Value, Status> {
        let authority = &serving.authority;
        let refused = |error: identity::Error| Status::bad_request(error.to_string());
        match role {
            Role::Node => {
                identity::names::check_node_name(&self.name).map_err(refused)?;
                Ok(json!({
                    "cluster": authority.cluster_id(),
                    "certificate": authority.node_client(&self.csr, &self.name).map_err(refused)?,
                    "servingCertificate": authority.agent_serving(&self.serving_csr, &self.name).map_err(refused)?,
                    "clientsAuthority": authority.clients().map_err(refused)?.pem(),
                    "servingAuthority": authority.serving().map_err(refused)?.pem(),
                }))
            }
            Role::Master if self.id == 0 || self.peer.is_empty() || self.api.is_empty() => {
                Err(Status::bad_request("a master joins with its id, peer address and API URL"))
            }
            // It gets the cluster's keys: who only knows its id must not pass for it.
            Role::Master if self.secret.len() < SECRET_LENGTH_MIN => {
                Err(Status::bad_request("a master joins with a secret of its own: is it of the same release?"))
            }
            Role::Master => Ok(json!({
                "cluster": authority.cluster_id(), "id": self.id, "authority": authority.export(),
            })),
        }
    }
}
