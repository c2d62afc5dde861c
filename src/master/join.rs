//! Letting nodes and masters in: a join token is checked against its record, then certificates are signed.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use identity::{Role, Token, TokenRecord};
use objects::{Key, Object, Status, kind};
use serde::Deserialize;
use serde_json::{Value, json};
use state::{Change, Origin, Precondition, Stored};
use tokio::time::Instant;
use tracing::info;

use crate::cluster::Serving;

/// Where tokens are kept, as upstream keeps its bootstrap tokens.
const NAMESPACE: &str = "kube-system";

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
    /// Masters: `host:port` for other masters.
    #[serde(default)]
    peer: String,
    /// Masters: URL of its API.
    #[serde(default)]
    api: String,
}

/// The Secret that holds a token's record, for whoever makes tokens through the API.
pub fn token_secret(record: &TokenRecord) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "barque.io/join-token",
        "metadata": {"name": secret_name(&record.id), "namespace": NAMESPACE},
        "stringData": {"record": json!(record).to_string()},
    })
}

fn secret_name(id: &str) -> String {
    format!("join-token-{id}")
}

/// Answers a join request.
pub async fn answer(serving: &Serving, request: Value) -> Result<Value, Status> {
    let request: Request = serde_json::from_value(request)
        .map_err(|error| Status::bad_request(format!("the join request is not understood: {error}")))?;
    let role: Role = request.role.parse().map_err(|_| {
        Status::bad_request(format!("the role \"{}\" is unknown: join as \"node\" or \"master\"", request.role))
    })?;
    admit_token(serving, &request.token, role).await?;
    let authority = &serving.authority;
    let refused = |error: identity::Error| Status::bad_request(error.to_string());
    let masters = serving.masters_known();
    let answer = match role {
        Role::Node => {
            identity::names::check_node_name(&request.name).map_err(refused)?;
            json!({
                "cluster": authority.cluster_id(),
                "certificate": authority.node_client(&request.csr, &request.name).map_err(refused)?,
                "servingCertificate": authority.agent_serving(&request.serving_csr, &request.name).map_err(refused)?,
                "clientsAuthority": authority.clients().map_err(refused)?.pem(),
                "servingAuthority": authority.serving().map_err(refused)?.pem(),
                "masters": masters,
            })
        }
        Role::Master => {
            if request.id == 0 || request.peer.is_empty() || request.api.is_empty() {
                return Err(Status::bad_request("a master joins with its id, peer address and API URL"));
            }
            let member = consensus::Member { name: request.name.clone(), peer: request.peer, api: request.api };
            let admitted = serving.consensus.admit(request.id, member).await;
            admitted.map_err(|error| Status::unavailable(format!("the master cannot be admitted: {error}")))?;
            json!({
                "cluster": authority.cluster_id(), "id": request.id,
                "authority": authority.export(), "masters": masters,
            })
        }
    };
    info!(%role, name = %request.name, "joined");
    Ok(answer)
}

/// Checks a token, and counts its use where uses are counted.
async fn admit_token(serving: &Serving, text: &str, role: Role) -> Result<(), Status> {
    let unauthorized = |error: identity::Error| Status::new(401, "Unauthorized", error.to_string());
    let token: Token = text.parse().map_err(unauthorized)?;
    let deadline = Instant::now() + store::DEADLINE;
    let unavailable = |error: store::Error| Status::unavailable(error.to_string());
    let state = serving.store.fresh(deadline).await.map_err(unavailable)?;
    let key = Key::new("secrets", NAMESPACE, &secret_name(token.id()));
    let stored = state.get(&key).cloned();
    let record = stored.as_ref().and_then(|stored| read_record(stored));
    token.verify(record.as_ref(), role, base::clock::now()).map_err(unauthorized)?;
    if let (Some(stored), Some(record)) = (stored, record)
        && record.uses_left.is_some()
    {
        let object = used(&stored, record).ok_or_else(|| Status::internal("the token's record cannot be rewritten"))?;
        let unchanged = Precondition::Unchanged { key: key.clone(), revision: stored.revision };
        let changes = vec![Change::Put { key, object }];
        serving
            .store
            .transact(Origin::Client("system:join".into()), vec![unchanged], changes, deadline)
            .await
            .map_err(unavailable)?;
    }
    Ok(())
}

fn read_record(stored: &Stored) -> Option<TokenRecord> {
    let secret = stored.typed::<SecretView>().ok()?;
    serde_json::from_slice(&STANDARD.decode(&secret.data.record).ok()?).ok()
}

fn used(stored: &Stored, record: TokenRecord) -> Option<Arc<Object>> {
    let secret = kind::by_kind("v1", "Secret")?;
    let mut value = stored.to_value().ok()?;
    let text = serde_json::to_vec(&record.used()).ok()?;
    value["data"]["record"] = Value::String(STANDARD.encode(&text));
    Object::new(secret, &value).ok().map(Arc::new)
}

/// The part of a token's Secret that is read here.
#[derive(Deserialize)]
struct SecretView {
    data: SecretData,
}

#[derive(Deserialize)]
struct SecretData {
    record: String,
}
