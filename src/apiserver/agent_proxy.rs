//! Requests to the agent of a pod's node. Only the address that the Node object records is ever dialed, under the name of
//! that node, and no redirect is followed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base::within;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use identity::{handshake, names};
use objects::{Key, Status};
use serde_json::Value;
use state::State;
use tokio::net::TcpStream;
use tracing::debug;

use crate::route::Target;
use crate::router::Call;
use crate::{query, reply};

/// How long an agent may take to accept a connection, handshake included.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How long an agent may take to begin its answer.
const HEAD_DEADLINE: Duration = Duration::from_secs(15);
/// Most bytes read of an agent's refusal.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// Where a pod runs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    node: String,
    address: SocketAddr,
}

/// The pod that a request is about, with its container where one is meant, and where it runs.
pub struct Found<'a> {
    call: &'a Call,
    target: &'a Target,
    place: Place,
    /// The container's name; empty where the pod as a whole is meant.
    pub container: String,
}

impl<'a> Found<'a> {
    /// The container of `pod` that a call to `target` means.
    ///
    /// # Errors
    /// 400 when it is not clear which container is meant, the pod has none of that name, or the pod has no node; 404 and 500
    /// when its node is not known or not reachable.
    pub fn of(call: &'a Call, target: &'a Target, pod: &Value) -> Result<Self, Status> {
        let container = container(pod, call.query.get("container"))?;
        Ok(Self { call, target, place: Place::of(&call.api.store.current(), pod)?, container })
    }

    /// The whole of `pod`.
    ///
    /// # Errors
    /// 400 when the pod has no node; 404 and 500 when its node is not known or not reachable.
    pub fn whole(call: &'a Call, target: &'a Target, pod: &Value) -> Result<Self, Status> {
        Ok(Self { call, target, place: Place::of(&call.api.store.current(), pod)?, container: String::new() })
    }

    /// Asks the pod's agent to do `what`, with those of the client's parameters that the agent understands. The request
    /// has no body; that of the answer is not read yet.
    ///
    /// # Errors
    /// 500 when the agent cannot be reached, or does not answer in time.
    pub async fn ask(
        &self,
        method: Method,
        what: &str,
        understood: &[&str],
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Response<Incoming>, Status> {
        let mut path = format!(
            "/{what}/{}/{}",
            query::encode(&self.target.namespace),
            query::encode(self.target.name.as_deref().unwrap_or(""))
        );
        if !self.container.is_empty() {
            path.push_str(&format!("/{}", query::encode(&self.container)));
        }
        let mut separator = '?';
        for (key, value) in self.call.query.pairs().filter(|(key, _)| understood.contains(key)) {
            path.push_str(&format!("{separator}{key}={}", query::encode(value)));
            separator = '&';
        }
        let headers = headers.iter().cloned().collect();
        within(HEAD_DEADLINE, "the agent's answer", send(self.call, &self.place, method, &path, headers, Bytes::new()))
            .await
            .map_err(Status::internal)?
    }

    /// Passes the call on to a port of the pod, with these headers and this body. The pod may take as long to answer as the call has.
    ///
    /// # Errors
    /// 500 when the agent cannot be reached.
    pub async fn pass(
        &self,
        port: u16,
        uri: &str,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, Status> {
        let path = format!(
            "/proxy/{}/{}/{port}?uri={}",
            query::encode(&self.target.namespace),
            query::encode(self.target.name.as_deref().unwrap_or("")),
            query::encode(uri)
        );
        send(self.call, &self.place, self.call.method.clone(), &path, headers, body.into()).await
    }
}

impl Place {
    /// The agent of a pod's node.
    fn of(state: &State, pod: &Value) -> Result<Self, Status> {
        let node = pod["spec"]["nodeName"].as_str().unwrap_or("");
        if node.is_empty() {
            let name = pod["metadata"]["name"].as_str().unwrap_or("");
            return Err(Status::bad_request(format!("pod {name} does not have a host assigned")));
        }
        let stored = state.get(&Key::new("nodes", "", node)).ok_or_else(|| Status::not_found("", "nodes", node))?;
        let status = reply::damaged(stored.to_value())?["status"].take();
        let address = status["addresses"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|address| address["type"] == "InternalIP")
            .and_then(|address| address["address"].as_str()?.parse::<IpAddr>().ok());
        let port =
            status["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64().and_then(|port| u16::try_from(port).ok());
        match (address, port) {
            (Some(address), Some(port)) if port > 0 => {
                Ok(Self { node: node.to_owned(), address: SocketAddr::new(address, port) })
            }
            _ => Err(Status::internal(format!("node {node} has not said yet where its agent listens"))),
        }
    }
}

/// Which container is meant.
fn container(pod: &Value, given: Option<&str>) -> Result<String, Status> {
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or("");
    let listed = |key: &str| -> Vec<&str> {
        pod["spec"][key].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect()
    };
    let (containers, inits) = (listed("containers"), listed("initContainers"));
    let ephemeral = listed("ephemeralContainers");
    match (given, containers.as_slice()) {
        (Some(given), _) => {
            if containers.iter().chain(&inits).chain(&ephemeral).any(|name| *name == given) {
                Ok(given.to_owned())
            } else {
                Err(Status::bad_request(format!("container {given} is not valid for pod {pod_name}")))
            }
        }
        (None, [only]) if inits.is_empty() && ephemeral.is_empty() => Ok((*only).to_owned()),
        _ => {
            let mut message = format!(
                "a container name must be specified for pod {pod_name}, choose one of: [{}]",
                containers.join(" ")
            );
            if !inits.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", inits.join(" ")));
            }
            if !ephemeral.is_empty() {
                message.push_str(&format!(" or one of the ephemeral containers: [{}]", ephemeral.join(" ")));
            }
            Err(Status::bad_request(message))
        }
    }
}

async fn send(
    call: &Call,
    place: &Place,
    method: Method,
    path: &str,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Incoming>, Status> {
    let Place { node, address } = place;
    let failed = |error: &dyn std::fmt::Display| {
        Status::internal(format!("the agent of node {node} at {address} cannot be reached: {error}"))
    };
    let stream = within(CONNECT_DEADLINE, format!("connecting to {address}"), TcpStream::connect(address))
        .await
        .map_err(|error| failed(&error))?
        .map_err(|error| failed(&error))?;
    let name = names::agent_server_name(node).map_err(|error| failed(&error))?;
    let stream = handshake::connect(call.api.cluster.agent_tls(), name, stream, CONNECT_DEADLINE)
        .await
        .map_err(|error| failed(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    base::task::spawn("agent connection", async move {
        if let Err(error) = connection.with_upgrades().await {
            debug!(%error, "a connection to an agent ended early");
        }
    });
    let request = Request::builder().method(method).uri(path).header(HOST, address.to_string());
    let mut request = request.body(Full::new(body)).map_err(|error| failed(&error))?;
    request.headers_mut().extend(headers);
    sender.send_request(request).await.map_err(|error| failed(&error))
}

/// What an agent said instead: its own Status, or its text in one of ours.
pub async fn refusal(response: Response<Incoming>) -> Status {
    let code = response.status().as_u16();
    let read =
        within(HEAD_DEADLINE, "the agent's refusal", Limited::new(response.into_body(), REFUSAL_BYTES_MAX).collect());
    let bytes = match read.await {
        Ok(Ok(collected)) => collected.to_bytes(),
        _ => Bytes::new(),
    };
    let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if said["kind"] == "Status" {
        let text = |key: &str| said[key].as_str().unwrap_or("").to_owned();
        return Status::new(if code < 400 { 500 } else { code }, &text("reason"), text("message"));
    }
    let text: String = String::from_utf8_lossy(&bytes).trim().chars().take(1024).collect();
    match code {
        400 => Status::bad_request(text),
        404 => Status::new(404, "NotFound", text),
        429 | 503 => Status::unavailable(text),
        // Whatever else an agent answers, a redirect included, is not what was asked for.
        _ => Status::internal(format!("the agent answered {code}: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_container_must_be_clear() {
        let one = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
        let two = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(container(&one, None).unwrap(), "a");
        assert_eq!(container(&two, Some("i")).unwrap(), "i");
        let rows = [
            (
                &two,
                None,
                "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]",
            ),
            (&one, Some("x"), "container x is not valid for pod p"),
        ];
        for (pod, given, message) in rows {
            let status = container(pod, given).unwrap_err();
            assert_eq!((status.code, status.message.as_str()), (400, message));
        }
    }
}
