//! `/proxy` of a pod: an HTTP request passed on to one of its ports, through the agent of its node.
//!
//! The address is the one that the engine gave the pod, found by the agent: nothing that somebody wrote into an object is dialed.

use futures::StreamExt;
use http::header::{AUTHORIZATION, CONNECTION, HOST, PROXY_AUTHORIZATION, UPGRADE};
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::upgrade::OnUpgrade;
use objects::Status;
use serde_json::Value;
use spdy::upgrade::{Asked, asked, strip_hops};
use tokio::sync::OwnedSemaphorePermit;

use super::upgrade;
use crate::agent_proxy::Found;
use crate::query;
use crate::reply::Response;
use crate::route::Target;
use crate::router::Call;
use crate::write;

const FOLDER: &str = "/api/v1/namespaces/";

/// Where a pod has no port of its own: HTTP's.
const PORT: u16 = 80;

/// The part of a path that is the API's own, up to and with `/proxy` of a pod; all of it where nothing is proxied.
pub fn own(path: &str) -> &str {
    split(path).0
}

/// That part, and what is behind it.
fn split(path: &str) -> (&str, &str) {
    let steps: Vec<&str> = path.strip_prefix(FOLDER).map(|rest| rest.splitn(5, '/').collect()).unwrap_or_default();
    match steps.as_slice() {
        [_, "pods", _, "proxy", rest] => path.split_at(path.len() - rest.len() - 1),
        _ => (path, ""),
    }
}

/// Passes a request on and streams the answer. Redirects are not followed: they are the client's to judge.
///
/// # Errors
/// 400 for a pod or port that is none and a path that climbs, 404 when there is no such pod, 500 when the agent cannot be reached.
pub async fn proxy(
    call: &Call,
    target: &Target,
    body: &[u8],
    permit: OwnedSemaphorePermit,
    upgrading: OnUpgrade,
) -> Result<Response, Status> {
    let (name, port) = pod_and_port(target.name.as_deref().unwrap_or(""))?;
    let target = Target { name: Some(name.to_owned()), ..target.clone() };
    let (_, pod) = write::read(call, &target).await?;
    let uri = behind(split(call.uri.path()).1, call.uri.query())?;
    let found = Found::whole(call, &target, &pod)?;
    let mut headers = passed(&call.headers);
    let becomes = match asked(&call.headers) {
        Asked::Nothing => None,
        _ => Some(upgrade::becomes(&call.headers)?),
    };
    if let Some(becomes) = becomes {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(becomes));
    }
    let port = port.or_else(|| first_port(&pod)).unwrap_or(PORT);
    let response = found.pass(port, &uri, headers, body.to_vec()).await?;
    if response.status() == 101 {
        let becomes = becomes.ok_or_else(|| Status::internal("the agent changed the protocol unasked"))?;
        return upgrade::tie(call, response, becomes, permit, upgrading);
    }
    let counted = call.api.metrics.longrunning();
    let stopped = call.api.stopping.clone().into_stopped();
    let (mut parts, body) = response.into_parts();
    strip_hops(&mut parts.headers);
    let frames = BodyStream::new(body).take_until(Box::pin(stopped)).map(move |frame| {
        // The answer counts for as long as it is read.
        let _ = (&counted, &permit);
        frame.map_err(std::io::Error::other)
    });
    Ok(Response::from_parts(parts, StreamBody::new(frames).boxed_unsync()))
}

/// What a name says: `[http:]NAME[:PORT]`, as upstream's `SplitSchemeNamePort`.
fn pod_and_port(text: &str) -> Result<(&str, Option<u16>), Status> {
    let invalid = || Status::bad_request(format!("invalid pod request {text:?}"));
    let number = |port: &str| port.parse().ok().filter(|port| *port > 0).ok_or_else(invalid);
    match text.split(':').collect::<Vec<_>>().as_slice() {
        [name] if !name.is_empty() => Ok((name, None)),
        ["http" | "", name, ""] | [name, ""] if !name.is_empty() => Ok((name, None)),
        ["http" | "", name, port] | [name, port] if !name.is_empty() => Ok((name, Some(number(port)?))),
        ["https", ..] => Err(Status::bad_request("pods are reached by plain HTTP only: leave https: out")),
        _ => Err(invalid()),
    }
}

fn first_port(pod: &Value) -> Option<u16> {
    let containers = pod["spec"]["containers"].as_array()?;
    let mut ports = containers.iter().filter_map(|container| container["ports"][0]["containerPort"].as_u64());
    ports.next().and_then(|port| u16::try_from(port).ok())
}

/// What the pod is asked for. Whatever steps mean to the pod, none may climb or hide.
fn behind(path: &str, query: Option<&str>) -> Result<String, Status> {
    let unsafe_path = || Status::bad_request("the path behind /proxy has steps that climb, or characters that hide");
    let decoded = query::decode(path).ok_or_else(unsafe_path)?;
    if decoded.contains(char::is_control) || decoded.split(['/', '\\']).any(|step| matches!(step, "." | "..")) {
        return Err(unsafe_path());
    }
    let path = if path.is_empty() { "/" } else { path };
    Ok(query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}")))
}

/// A client's headers without those that are about its connection, and without those that say who it is: pods are not to learn
/// credentials, nor to be told of somebody else.
fn passed(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    strip_hops(&mut passed);
    for name in [AUTHORIZATION, PROXY_AUTHORIZATION, HOST] {
        passed.remove(name);
    }
    let said: Vec<_> = passed.keys().filter(|name| is_about_the_caller(name.as_str())).cloned().collect();
    for name in said {
        passed.remove(name);
    }
    passed
}

fn is_about_the_caller(name: &str) -> bool {
    name.starts_with("impersonate-") || name.starts_with("x-remote-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_belongs_to_the_pod() {
        let rows = [
            ("/api/v1/namespaces/d/pods/p/proxy", "/api/v1/namespaces/d/pods/p/proxy", ""),
            ("/api/v1/namespaces/d/pods/p/proxy/", "/api/v1/namespaces/d/pods/p/proxy", "/"),
            ("/api/v1/namespaces/d/pods/p/proxy/a//b", "/api/v1/namespaces/d/pods/p/proxy", "/a//b"),
            ("/api/v1/namespaces/d/pods/p/exec/a", "/api/v1/namespaces/d/pods/p/exec/a", ""),
            ("/api/v1/namespaces/d/secrets/p/proxy/a", "/api/v1/namespaces/d/secrets/p/proxy/a", ""),
            ("/apis/v1/namespaces/d/pods/p/proxy/a", "/apis/v1/namespaces/d/pods/p/proxy/a", ""),
        ];
        for (path, before, rest) in rows {
            assert_eq!(split(path), (before, rest), "{path}");
        }
    }

    #[test]
    fn paths_may_not_climb_or_hide() {
        for (path, query, expected) in [
            ("", None, "/"),
            ("/", None, "/"),
            ("/a//b%20c", Some("x=%2e%2e&y"), "/a//b%20c?x=%2e%2e&y"),
            ("/a..b/...", None, "/a..b/..."),
        ] {
            assert_eq!(behind(path, query).unwrap(), expected);
        }
        for path in
            ["/..", "/a/../b", "/%2e%2e/b", "/a/.%2E", "/%2e%2e%2fb", "/a%5c..%5cb", "/a%00", "/a%0d%0ab", "/%", "/./a"]
        {
            assert_eq!(behind(path, None).unwrap_err().code, 400, "{path}");
        }
    }

    #[test]
    fn names_say_a_port() {
        for (text, expected) in [
            ("p", ("p", None)),
            ("p:80", ("p", Some(80))),
            ("http:p:80", ("p", Some(80))),
            ("http:p:", ("p", None)),
            (":p:80", ("p", Some(80))),
        ] {
            assert_eq!(pod_and_port(text).unwrap(), expected, "{text}");
        }
        for text in ["", ":", "p:0", "p:x", "p:70000", "https:p:443", "ftp:p:1", "a:b:c:d", "::1"] {
            assert_eq!(pod_and_port(text).unwrap_err().code, 400, "{text}");
        }
    }

    #[test]
    fn pods_learn_nothing_about_who_asks() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("proxy-authorization", "x"),
            ("impersonate-user", "root"),
            ("impersonate-extra-a", "b"),
            ("x-remote-group", "system:masters"),
            ("connection", "keep-alive, x-own"),
            ("x-own", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("host", "master"),
            ("accept", "text/html"),
            ("cookie", "a=b"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let passed = passed(&headers);
        let mut names: Vec<_> = passed.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "cookie"]);
    }
}
