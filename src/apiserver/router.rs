//! Who answers a request: limits, authorization and deadline, then the handler of its verb.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, Method, Request};
use hyper::upgrade::OnUpgrade;
use identity::Caller;
use objects::selector::Fields;
use objects::{Resource, Status};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use crate::api::{Api, Load};
use crate::authentication;
use crate::authorization::{self, Attributes, Decision};
use crate::body::{self, Incoming};
use crate::negotiate::{self, Form};
use crate::query::Query;
use crate::reply::{self, Response};
use crate::route::{self, Own, Route, Target};
use crate::subresource::{self, Subresource};
use crate::{
    create, delete, discovery, errors, get, list, metrics, node_access, openapi, own, patch, reviews, signing, update,
    watch,
};

/// What a handler gets beyond its deadline, so that the store's own, clearer answer comes first.
const MARGIN: Duration = Duration::from_millis(500);
/// Of a path or a message, in a log line.
const SHOWN_CHARS_MAX: usize = 200;
/// The verb of join requests, for logs and metrics.
const JOIN: &str = "join";

/// A request that has been read as far as every handler needs it.
pub struct Call {
    /// The server.
    pub api: Arc<Api>,
    /// Who asks.
    pub caller: Caller,
    /// HTTP method.
    pub method: Method,
    /// Headers.
    pub headers: HeaderMap,
    /// Query parameters.
    pub query: Query,
    /// What form of objects is accepted.
    pub form: Form,
    /// When the answer has to be there.
    pub deadline: Instant,
}

impl Call {
    /// How long to wait for the store: a master cut off from the leader says so while its client has time to ask another.
    pub fn patience(&self) -> Instant {
        self.deadline.min(Instant::now() + store::DEADLINE)
    }
}

/// What a request wants to do, in the words of authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// GET of one object.
    Get,
    /// GET of a collection.
    List,
    /// GET of a collection's changes.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// DELETE of one object.
    Delete,
    /// DELETE of a collection.
    DeleteCollection,
}

impl Verb {
    /// As roles spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// Answers one request. Never fails: every fault is an answer.
pub async fn answer(api: Arc<Api>, from: SocketAddr, caller: Caller, request: Request<Incoming>) -> Response {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut seen = Seen { user: caller.user.clone(), verb: "other", resource: String::new() };
    let _inflight = api.metrics.inflight();
    let response = match dispatch(Arc::clone(&api), from, caller, request, &mut seen).await {
        Ok(response) => response,
        Err(status) => {
            // A refused join is told where more is known about it.
            if matches!(status.code, 401 | 403) && seen.verb != JOIN {
                let (user, path, reason) = (&seen.user, shown(&path), shown(&status.message));
                api.refusals.line(|left_out| {
                    warn!(%from, %user, %method, path, code = status.code, reason, left_out, "a request was refused");
                });
            }
            reply::status(&status)
        }
    };
    let code = response.status().as_u16();
    let elapsed = started.elapsed();
    debug!(user = seen.user, verb = seen.verb, %method, %path, code, ms = elapsed.as_millis() as u64, "answered");
    let request = metrics::Request { verb: seen.verb, resource: seen.resource, code };
    api.metrics.answered(request, elapsed.as_secs_f64());
    response
}

/// What came from outside, as a log may show it: not too long. The log itself quotes and escapes it.
pub fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

/// What a request turned out to be, for logs and metrics.
struct Seen {
    user: String,
    verb: &'static str,
    resource: String,
}

async fn dispatch(
    api: Arc<Api>,
    from: SocketAddr,
    caller: Caller,
    mut request: Request<Incoming>,
    seen: &mut Seen,
) -> Result<Response, Status> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (mut parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query());
    let route = route::parse(parts.uri.path());
    // Questions that need no identity come first, so that a stranger learns nothing else, not even which paths exist.
    match &route {
        Ok(Route::Health(which)) => {
            readable(&parts.method)?;
            let verbose = query.is_ok_and(|query| query.pairs().any(|(key, _)| key == "verbose"));
            return Ok(own::health(&api, *which, verbose));
        }
        Ok(Route::Version) => {
            readable(&parts.method)?;
            return Ok(own::version());
        }
        Ok(Route::Own(Own::Join)) => {
            seen.verb = JOIN;
            let deadline = Instant::now() + api.options.request_deadline;
            return within(deadline, own::join(&api, from, &parts.method, body)).await;
        }
        _ => {}
    }
    let known_by = Instant::now() + store::DEADLINE.min(api.options.request_deadline);
    let caller = authentication::caller(&api, from, caller, &mut parts.headers, known_by).await?;
    if caller.is_anonymous() {
        return Err(Status::unauthorized());
    }
    seen.user.clone_from(&caller.user);
    let (route, query) = (route?, query?);
    let options = &api.options;
    let asked = query.duration("timeout")?.filter(|asked| !asked.is_zero()).unwrap_or(options.request_deadline);
    let deadline = Instant::now() + asked.min(options.request_deadline_max);
    let mut call = Call {
        api: Arc::clone(&api),
        caller,
        method: parts.method,
        headers: parts.headers,
        query,
        form: Form::Object,
        deadline,
    };
    match route {
        Route::Health(_) | Route::Version => Err(Status::no_such_path()),
        Route::Metrics => {
            readable(&call.method)?;
            own::metrics(&call)
        }
        Route::Own(which) => {
            let load = if which == Own::Heartbeat { Load::Heartbeat } else { Load::Read };
            let _permit = api.admit(load)?;
            within(deadline, own::own(&call, which, body)).await
        }
        Route::Issuer(which) => {
            readable(&call.method)?;
            within(deadline, signing::issuer(&call, which, parts.uri.path())).await
        }
        Route::Document => {
            readable(&call.method)?;
            document(parts.uri.path(), &call.headers)
        }
        Route::Review(group, plural) => {
            if call.method != Method::POST {
                return Err(errors::method_not_allowed());
            }
            seen.verb = "create";
            seen.resource = Resource::new(group, plural).to_string();
            let wanted = Attributes {
                verb: "create",
                group,
                resource: plural,
                subresource: "",
                namespace: "",
                name: "",
                selected_node: None,
                selected_name: None,
            };
            authorize(&call, &wanted, None).await?;
            let _permit = api.admit(Load::Read)?;
            within(deadline, async {
                let bytes = body::read(body, options.body_bytes_max).await?;
                reviews::answer(&call, group, plural, &bytes).await
            })
            .await
        }
        Route::Resource(target) => {
            let verb = verb(&call.method, &target, &call.query)?;
            seen.verb = verb.as_str();
            seen.resource = target.kind.resource().to_string();
            resource(&mut call, &target, verb, body, upgrade).await
        }
    }
}

async fn resource(
    call: &mut Call,
    target: &Target,
    verb: Verb,
    body: Incoming,
    upgrade: OnUpgrade,
) -> Result<Response, Status> {
    let (selected_node, selected_name) = match call.query.get("fieldSelector") {
        Some(text) if matches!(verb, Verb::List | Verb::Watch) => {
            let fields = Fields::parse(target.kind, text)?;
            let exact = |path: &str| fields.exact(path).map(str::to_owned);
            (exact("spec.nodeName"), exact("metadata.name"))
        }
        _ => (None, None),
    };
    let wanted = Attributes {
        verb: verb.as_str(),
        group: &target.kind.group,
        resource: &target.kind.plural,
        subresource: target.subresource.as_deref().unwrap_or(""),
        namespace: &target.namespace,
        name: target.name.as_deref().unwrap_or(""),
        selected_node: selected_node.as_deref(),
        selected_name: selected_name.as_deref(),
    };
    let deadline = call.deadline;
    within(deadline, authorize(call, &wanted, Some(target))).await?;
    let sub = target.subresource.as_deref().map(|name| Subresource::of(target.kind, name)).transpose()?;
    let streams = verb == Verb::Watch || sub.is_some_and(Subresource::streams);
    let load = match verb {
        _ if streams => Load::Longrunning,
        Verb::Get | Verb::List | Verb::Watch => Load::Read,
        _ => Load::Write,
    };
    let permit = call.api.admit(load)?;
    // Streams that are no objects choose their form themselves.
    if !sub.is_some_and(Subresource::streams) {
        call.form = negotiate::form(&call.headers)?;
    }
    let call = &*call;
    within(deadline, async {
        let bytes = match verb {
            Verb::Get | Verb::List | Verb::Watch => Default::default(),
            _ if streams => Default::default(),
            _ => body::read(body, call.api.options.body_bytes_max).await?,
        };
        match (sub, verb) {
            (Some(sub), _) => subresource::answer(call, target, sub, verb, &bytes, permit, upgrade).await,
            (None, Verb::Get) => get::get(call, target).await,
            (None, Verb::List) => list::list(call, target).await,
            (None, Verb::Watch) => watch::watch(call, target, permit).await,
            (None, Verb::Create) => create::create(call, target, &bytes).await,
            (None, Verb::Update) => update::update(call, target, &bytes).await,
            (None, Verb::Patch) => patch::patch(call, target, &bytes).await,
            (None, Verb::Delete) => delete::delete(call, target, &bytes).await,
            (None, Verb::DeleteCollection) => delete::collection(call, target, &bytes).await,
        }
    })
    .await
}

fn verb(method: &Method, target: &Target, query: &Query) -> Result<Verb, Status> {
    // Collections over all namespaces are only read.
    let everywhere = target.kind.namespaced && target.namespace.is_empty();
    match (method.as_str(), &target.name, &target.subresource) {
        ("GET", None, _) if query.flag("watch")?.unwrap_or(false) => Ok(Verb::Watch),
        ("GET", None, _) => Ok(Verb::List),
        ("POST", None, _) if !everywhere => Ok(Verb::Create),
        ("DELETE", None, _) if !everywhere => Ok(Verb::DeleteCollection),
        ("GET", Some(_), _) => Ok(Verb::Get),
        ("PUT", Some(_), _) => Ok(Verb::Update),
        ("PATCH", Some(_), _) => Ok(Verb::Patch),
        ("DELETE", Some(_), None) => Ok(Verb::Delete),
        ("POST", Some(_), Some(_)) => Ok(Verb::Create),
        _ => Err(errors::method_not_allowed()),
    }
}

async fn authorize(call: &Call, wanted: &Attributes<'_>, target: Option<&Target>) -> Result<(), Status> {
    let why = match (authorization::decide(&call.caller, wanted), call.caller.node(), target) {
        (Decision::Allow, ..) => return Ok(()),
        (Decision::Deny(why), ..) => why,
        (Decision::IfRelated, Some(node), Some(target)) => {
            let key = target.key();
            let state = call.api.store.fresh(call.patience()).await.map_err(|error| errors::status(error, &key))?;
            if node_access::related(&state, node, &key) {
                return Ok(());
            }
            format!("no relationship found between node '{node}' and this object")
        }
        (Decision::IfRelated, ..) => String::new(),
    };
    Err(authorization::forbidden(&call.caller, wanted, &why))
}

fn readable(method: &Method) -> Result<(), Status> {
    if matches!(*method, Method::GET | Method::HEAD) { Ok(()) } else { Err(errors::method_not_allowed()) }
}

/// Discovery and OpenAPI, with their tags.
fn document(path: &str, headers: &HeaderMap) -> Result<Response, Status> {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let document =
        discovery::answer(path, accept).or_else(|| openapi::answer(path)).ok_or_else(Status::no_such_path)?;
    let tag = format!("\"{}\"", document.etag);
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|given| given.split(',').any(|one| one.trim().trim_start_matches("W/") == tag));
    let mut response = if known {
        reply::of(304, document.content_type, Vec::new())
    } else {
        reply::of(200, document.content_type, document.body)
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// Runs a handler until a little after the deadline; its own errors are clearer than this one.
async fn within<T>(deadline: Instant, handler: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    timeout_at(deadline + MARGIN, handler).await.unwrap_or_else(|_| {
        Err(Status::timeout(
            "Timeout: request did not complete within its deadline; a write may or may not have taken place",
        ))
    })
}
