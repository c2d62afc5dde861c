//! Who answers a request: limits, authorization and deadline, then the handler of its verb.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, Method, Request, Uri};
use hyper::upgrade::OnUpgrade;
use identity::Caller;
use objects::selector::Fields;
use objects::{Resource, Status};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use crate::api::{Api, Load};
use crate::authentication;
use crate::authorization::{self, Attributes};
use crate::body::{self, Incoming};
use crate::negotiate::{self, Form};
use crate::query::Query;
use crate::reply::{self, Response};
use crate::route::{self, Own, Route, Target};
use crate::subresource::{self, Subresource};
use crate::{
    create, custom_kinds, delete, discovery, errors, get, impersonation, list, metrics, openapi, own, patch, reviews,
    signing, update, watch,
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
    /// Who asks; where somebody impersonates another, the other.
    pub caller: Caller,
    /// The user who impersonates the caller, if anybody does.
    pub impersonated_by: Option<String>,
    /// HTTP method.
    pub method: Method,
    /// Path and query as they came.
    pub uri: Uri,
    /// Headers.
    pub headers: HeaderMap,
    /// Query parameters.
    pub query: Query,
    /// What form of objects is accepted.
    pub form: Form,
    /// When the answer has to be there.
    pub deadline: Instant,
    /// What the client should be told although the request succeeds.
    pub warnings: Mutex<Vec<String>>,
}

impl Call {
    /// How long to wait for the store: a master cut off from the leader says so while its client has time to ask another.
    pub fn patience(&self) -> Instant {
        self.deadline.min(Instant::now() + store::DEADLINE)
    }

    /// Has the client told; what it is told already is not repeated.
    pub fn warn(&self, texts: impl IntoIterator<Item = String>) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        for text in texts {
            if !warnings.contains(&text) {
                warnings.push(text);
            }
        }
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
    let mut seen =
        Seen { user: caller.user.clone(), verb: "other", resource: String::new(), impersonated: String::new() };
    let _inflight = api.metrics.inflight();
    let response = match dispatch(Arc::clone(&api), from, caller, request, &mut seen).await {
        Ok(response) => response,
        Err(status) => {
            // A refused join is told where more is known about it.
            if matches!(status.code, 401 | 403) && seen.verb != JOIN {
                let (user, path, reason, code) = (&seen.user, shown(&path), shown(&status.message), status.code);
                let impersonated = shown(&seen.impersonated);
                api.refusals.line(|left_out| {
                    warn!(%from, %user, impersonated, %method, path, code, reason, left_out, "a request was refused");
                });
            }
            reply::status(&status)
        }
    };
    let code = response.status().as_u16();
    let elapsed = started.elapsed();
    let (user, verb, impersonated) = (&seen.user, seen.verb, &seen.impersonated);
    debug!(%user, impersonated, verb, %method, %path, code, ms = elapsed.as_millis() as u64, "answered");
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
    /// The user whom the caller impersonates; empty for nobody.
    impersonated: String,
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
    let find = |group: &str, version: &str, plural: &str| api.kind(group, version, plural);
    let parse = |path: &str| route::parse(subresource::proxy::own(path), &find);
    let mut route = parse(parts.uri.path());
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
    let patience = Instant::now() + store::DEADLINE.min(api.options.request_deadline);
    let real = authentication::caller(&api, from, caller, &mut parts.headers, patience).await?;
    if real.is_anonymous() {
        return Err(Status::unauthorized());
    }
    seen.user.clone_from(&real.user);
    let (caller, impersonated_by) = match impersonation::take(&mut parts.headers)? {
        None => (real, None),
        Some(wanted) => {
            seen.impersonated.clone_from(&wanted.user);
            (wanted.granted(&api, patience, &real).await?, Some(real.user))
        }
    };
    if rests_on_definitions(&route, parts.uri.path(), &parts.method) {
        let definitions = custom_kinds::definitions();
        api.store.fresh(patience).await.map_err(|error| errors::read(error, &definitions))?;
        route = parse(parts.uri.path());
    }
    let (path, method) = (parts.uri.path(), parts.method.as_str().to_ascii_lowercase());
    let about_path = Attributes::path(&method, path);
    let route = match route {
        Ok(route) => route,
        Err(status) => {
            authorization::demand(&api, patience, &caller, &about_path).await?;
            return Err(status);
        }
    };
    if matches!(route, Route::Metrics | Route::Document | Route::Issuer(_) | Route::Own(Own::Status)) {
        authorization::demand(&api, patience, &caller, &about_path).await?;
    }
    let query = query?;
    let options = &api.options;
    let asked = query.duration("timeout")?.filter(|asked| !asked.is_zero()).unwrap_or(options.request_deadline);
    let deadline = Instant::now() + asked.min(options.request_deadline_max);
    let mut call = Call {
        api: Arc::clone(&api),
        caller,
        impersonated_by,
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        query,
        form: Form::Object,
        deadline,
        warnings: Mutex::default(),
    };
    match route {
        Route::Health(_) | Route::Version => Err(Status::no_such_path()),
        Route::Metrics => {
            readable(&call.method)?;
            Ok(own::metrics(&call))
        }
        Route::Own(which) => {
            let load = if which == Own::Heartbeat { Load::Heartbeat } else { Load::Read };
            let _permit = api.admit(load)?;
            within(deadline, own::own(&call, which, body)).await
        }
        Route::Issuer(which) => {
            readable(&call.method)?;
            within(deadline, signing::issuer(&call, which)).await
        }
        Route::Document => {
            readable(&call.method)?;
            document(&api, call.uri.path(), &call.headers)
        }
        Route::Review(group, plural, namespace) => {
            if call.method != Method::POST {
                return Err(errors::method_not_allowed());
            }
            seen.verb = "create";
            seen.resource = Resource::new(group, plural).to_string();
            let asked =
                rbac::Target::Resource { group, resource: plural, subresource: "", namespace: &namespace, name: "" };
            authorize(&call, &Attributes::of("create", asked)).await?;
            let _permit = api.admit(Load::Read)?;
            within(deadline, async {
                let bytes = body::read(body, options.body_bytes_max).await?;
                reviews::answer(&call, group, plural, &namespace, &bytes).await
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
            let fields = Fields::parse(&target.kind, text)?;
            let exact = |path: &str| fields.exact(path).map(str::to_owned);
            (exact("spec.nodeName"), exact("metadata.name"))
        }
        _ => (None, None),
    };
    let wanted = Attributes {
        verb: subresource::verb(target, verb),
        target: asked_target(target, verb, selected_name.as_deref()),
        selected_node: selected_node.as_deref(),
    };
    let deadline = call.deadline;
    within(deadline, authorize(call, &wanted)).await?;
    let sub = target.subresource.as_deref().map(|name| Subresource::of(&target.kind, name)).transpose()?;
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
    let response = within(deadline, async {
        let bytes = match verb {
            Verb::Get | Verb::List | Verb::Watch => Default::default(),
            _ if streams && sub != Some(Subresource::Proxy) => Default::default(),
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
    .await?;
    call.warn(target.kind.custom.as_ref().and_then(|custom| custom.deprecation()).map(str::to_owned));
    let warnings = call.warnings.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(reply::warn(response, &warnings))
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
        ("DELETE", Some(_), Some(sub)) if sub == "proxy" => Ok(Verb::Delete),
        ("HEAD", Some(_), Some(sub)) if sub == "proxy" => Ok(Verb::Get),
        ("POST", Some(_), Some(_)) => Ok(Verb::Create),
        _ => Err(errors::method_not_allowed()),
    }
}

/// What a request has to be allowed to be done to. Follows upstream's `apiserver/pkg/endpoints/request/requestinfo.go`, for
/// which a namespace lies in itself: so a role in a namespace can be about the namespace.
fn asked_target<'a>(target: &'a Target, verb: Verb, selected_name: Option<&'a str>) -> rbac::Target<'a> {
    let name = target.name.as_deref().unwrap_or("");
    let is_namespace = target.kind.group.is_empty() && target.kind.plural == "namespaces";
    rbac::Target::Resource {
        group: &target.kind.group,
        resource: &target.kind.plural,
        subresource: target.subresource.as_deref().unwrap_or(""),
        namespace: if is_namespace { name } else { &target.namespace },
        name: rbac::request::name(verb.as_str(), name, selected_name),
    }
}

/// Demands that the caller may create the named object, for a request that turned out to do so.
///
/// # Errors
/// 403, and 503 as for any other request.
pub async fn authorize_creation(call: &Call, target: &Target) -> Result<(), Status> {
    authorize(call, &Attributes::of(Verb::Create.as_str(), asked_target(target, Verb::Create, None))).await
}

async fn authorize(call: &Call, wanted: &Attributes<'_>) -> Result<(), Status> {
    authorization::demand(&call.api, call.patience(), &call.caller, wanted).await
}

fn readable(method: &Method) -> Result<(), Status> {
    if matches!(*method, Method::GET | Method::HEAD) { Ok(()) } else { Err(errors::method_not_allowed()) }
}

/// Whether definitions that this master has not heard of yet could change what a path names, or how a write is judged. Reads
/// of what is known wait for the newest objects anyway, if they are asked to.
fn rests_on_definitions(route: &Result<Route, Status>, path: &str, method: &Method) -> bool {
    match route {
        Err(status) => status.code == 404 && path.starts_with("/apis/"),
        Ok(Route::Resource(target)) => target.kind.custom.is_some() && !matches!(*method, Method::GET | Method::HEAD),
        Ok(_) => false,
    }
}

/// Discovery and OpenAPI, with their tags.
fn document(api: &Api, path: &str, headers: &HeaderMap) -> Result<Response, Status> {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let custom = api.custom_kinds();
    let document = discovery::answer(path, accept, custom.all())
        .or_else(|| openapi::answer(path, &custom))
        .ok_or_else(Status::no_such_path)?;
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
