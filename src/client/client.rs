//! Calls to the API that find a healthy master by themselves.
//!
//! What may be repeated on another master, and when: a call of which nothing was sent, always; a call
//! that only reads, or is declared repeatable, after any failure and after 503 or 504; any other call that was
//! sent and has no answer ends as [`Error::Unknown`], because it may have taken effect.

use crate::call::{Call, PatchKind, Response};
use crate::connection::{Connection, SendFailure, explain};
use crate::limits::{ANSWER_BYTES_MAX, CALL_DEADLINE, CONNECT_DEADLINE, PAGE_OBJECTS, ROUND_PAUSE, THROTTLED_MAX};
use crate::watch::{Watch, watch_path};
use crate::{Address, Endpoints, Error};
use base::Backoff;
use bytes::Bytes;
use http::header::{ACCEPT, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use rustls::ClientConfig;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

const PRODUCT: &str = concat!("barque/", env!("CARGO_PKG_VERSION"));

/// What may be set for a client.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long TCP and TLS together may take until another master is tried.
    pub connect_deadline: Duration,
    /// How long the calls of the JSON methods may take altogether.
    pub call_deadline: Duration,
    /// The largest answer that is read.
    pub answer_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { connect_deadline: CONNECT_DEADLINE, call_deadline: CALL_DEADLINE, answer_bytes_max: ANSWER_BYTES_MAX }
    }
}

/// A client of one cluster. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    endpoints: Endpoints,
    tls: Arc<ClientConfig>,
    options: Options,
    slots: Mutex<HashMap<(Address, Purpose), Arc<Slot>>>,
}

/// Watches have connections of their own: a slow reader of one must not use up the flow-control
/// window that calls need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Purpose {
    Calls,
    Watches,
}

/// The shared HTTP/2 connection to one master. The lock is held while it is opened, so that many
/// callers open one connection, not many.
#[derive(Debug, Default)]
struct Slot {
    state: tokio::sync::Mutex<SlotState>,
}

#[derive(Debug, Default)]
struct SlotState {
    open: Option<Connection>,
    failed: Option<(Instant, String)>,
}

/// How far a call has come, for the case that its time runs out.
#[derive(Debug, Default)]
struct Progress {
    sent: AtomicBool,
    asking: Mutex<Option<Address>>,
}

impl Progress {
    /// Whether a server may have seen it.
    fn sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }

    fn set_sent(&self, sent: bool) -> bool {
        self.sent.swap(sent, Ordering::Relaxed)
    }

    /// The master that is being asked at the moment.
    fn asking(&self) -> Option<Address> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ask(&self, master: Option<&Address>) {
        *self.asking.lock().unwrap_or_else(PoisonError::into_inner) = master.cloned();
    }
}

/// How one attempt on one master ended.
enum Attempt {
    Answered(Response),
    Failed(SendFailure),
    TooLarge,
}

/// What to do after an attempt.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Return,
    AnotherMaster,
    GiveUp,
}

impl Client {
    /// A client that uses these masters with this TLS set-up (as of [`identity::tls::api_client`]).
    pub fn new(endpoints: Endpoints, tls: Arc<ClientConfig>) -> Self {
        Self::with_options(endpoints, tls, Options::default())
    }

    /// As [`new`](Self::new), with other bounds.
    pub fn with_options(endpoints: Endpoints, tls: Arc<ClientConfig>, options: Options) -> Self {
        Self { shared: Arc::new(Shared { endpoints, tls, options, slots: Mutex::default() }) }
    }

    /// The masters that it uses.
    pub fn endpoints(&self) -> &Endpoints {
        &self.shared.endpoints
    }

    /// Forgets all connections, so that the next calls show a certificate that was replaced meanwhile.
    /// What is under way ends undisturbed.
    pub fn reconnect(&self) {
        self.shared.slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Makes a call and returns whatever was answered, refusals too.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when no master could be reached, [`Error::Timeout`] when a repeatable
    /// call had no answer in time, [`Error::Unknown`] when another one was sent and has no answer,
    /// [`Error::Answer`] when the answer is too large, [`Error::Request`] for a malformed call.
    pub async fn request(&self, call: Call) -> Result<Response, Error> {
        build(&call)?;
        let end = Instant::now() + self.deadline(&call);
        let progress = Progress::default();
        match timeout_at(end, self.rounds(&call, &progress, end)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                if let Some(master) = progress.asking() {
                    self.endpoints().suspected(&master, &format!("{} had no answer in time", call.what()));
                }
                Err(self.out_of_time(&call, progress.sent()))
            }
        }
    }

    /// Makes a call on exactly one master, once, for reports about that master.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn request_to(&self, master: &Address, call: Call) -> Result<Response, Error> {
        build(&call)?;
        let progress = Progress::default();
        let deadline = self.deadline(&call);
        let failed = |sent: bool, reason: String| {
            if sent && !call.repeatable {
                Error::Unknown { what: call.what(), cause: reason }
            } else {
                Error::Unreachable { after: deadline, reasons: format!("{master}: {reason}") }
            }
        };
        match tokio::time::timeout(deadline, self.attempt(master, &call, &progress)).await {
            Ok(Attempt::Answered(response)) => Ok(response),
            Ok(Attempt::Failed(failure)) => Err(failed(failure.sent, failure.reason)),
            Ok(Attempt::TooLarge) => Err(self.too_large(&call)),
            Err(_) => Err(failed(progress.sent(), "no answer in time".to_owned())),
        }
    }

    /// Reads an object or anything else that is JSON.
    ///
    /// # Errors
    /// [`Error::Api`] when the cluster refuses; otherwise as [`request`](Self::request).
    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        self.json(Call::get(path)).await
    }

    /// Reads a whole list, page by page, all of one revision.
    ///
    /// # Errors
    /// As [`get`](Self::get); 410 when the revision of the first page is gone before the last.
    pub async fn list(&self, path: &str) -> Result<Value, Error> {
        Ok(self.list_and_master(path).await?.0)
    }

    /// As [`list`](Self::list), with the master that gave the last page.
    pub(crate) async fn list_and_master(&self, path: &str) -> Result<(Value, Address), Error> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut list: Option<Value> = None;
        let mut position = String::new();
        loop {
            let more = if position.is_empty() { String::new() } else { format!("&continue={}", encode(&position)) };
            let call = Call::get(format!("{path}{separator}limit={PAGE_OBJECTS}{more}"));
            let what = call.what();
            let response = self.request(call).await?;
            let mut page = response.json(&what)?;
            let next = page.pointer("/metadata/continue").and_then(Value::as_str).unwrap_or_default().to_owned();
            let unusable = || Error::Answer { what: format!("GET {path}"), reason: "it is not a list".to_owned() };
            match &mut list {
                None => list = Some(page),
                Some(list) => {
                    let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) else {
                        return Err(unusable());
                    };
                    list.get_mut("items").and_then(Value::as_array_mut).ok_or_else(unusable)?.extend(items);
                }
            }
            if next.is_empty() || next == position {
                let mut list = list.ok_or_else(unusable)?;
                if let Some(metadata) = list.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.remove("continue");
                    metadata.remove("remainingItemCount");
                }
                return Ok((list, response.master));
            }
            position = next;
        }
    }

    /// Creates an object by POST on its collection.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`Error::Unknown`] when it may or may not exist now.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value, Error> {
        self.json(Call::new(Method::POST, path).json(object)).await
    }

    /// Replaces an object by PUT. With a `resourceVersion` in it, it is repeated where necessary: the
    /// second one finds a conflict instead of overwriting, and its caller reads again.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub async fn update(&self, path: &str, object: &Value) -> Result<Value, Error> {
        let call = Call::new(Method::PUT, path).json(object);
        let guarded =
            object.pointer("/metadata/resourceVersion").and_then(Value::as_str).is_some_and(|it| !it.is_empty());
        self.json(if guarded { call.repeatable() } else { call }).await
    }

    /// Patches an object.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub async fn patch(&self, path: &str, kind: PatchKind, patch: &Value) -> Result<Value, Error> {
        self.json(Call::new(Method::PATCH, path).body(kind.content_type(), patch.to_string())).await
    }

    /// Deletes an object; `options` is a DeleteOptions.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub async fn delete(&self, path: &str, options: Option<&Value>) -> Result<Value, Error> {
        let call = Call::new(Method::DELETE, path);
        self.json(match options {
            Some(options) => call.json(options),
            None => call,
        })
        .await
    }

    /// Makes a call and decodes its answer.
    ///
    /// # Errors
    /// [`Error::Api`] when the cluster refuses; otherwise as [`request`](Self::request).
    pub async fn json(&self, call: Call) -> Result<Value, Error> {
        let what = call.what();
        self.request(call).await?.json(&what)
    }

    /// Starts to watch `path` (a collection, with or without a query) for changes after the revision
    /// `from`, with bookmarks.
    ///
    /// # Errors
    /// [`Error::Api`] when the cluster refuses (410: list anew), otherwise as
    /// [`request`](Self::request).
    pub async fn watch(&self, path: &str, from: Option<&str>) -> Result<Watch, Error> {
        let call = Call::get(watch_path(path, from));
        build(&call)?;
        let end = Instant::now() + self.deadline(&call);
        let opening = async {
            let mut pause = Backoff::doubling(ROUND_PAUSE.0, ROUND_PAUSE.1);
            loop {
                for master in self.endpoints().candidates() {
                    let unavailable = match self.open_watch(&master, &call).await {
                        Ok(Ok(watch)) => return Ok(watch),
                        Ok(Err(refusal)) if refusal.code() != Some(503) => return Err(refusal),
                        Ok(Err(refusal)) => refusal.to_string(),
                        Err(failure) => failure.reason,
                    };
                    self.endpoints().failed(&master, &unavailable);
                }
                pause.wait().await;
            }
        };
        match timeout_at(end, opening).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.out_of_time(&call, true)),
        }
    }

    async fn open_watch(&self, master: &Address, call: &Call) -> Result<Result<Watch, Error>, SendFailure> {
        let mut connection = self.connection(master, Purpose::Watches).await?;
        let pinged = matches!(connection, Connection::Http2(_));
        let response = connection.send(master, build(call).map_err(malformed)?).await?;
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            self.endpoints().succeeded(master);
            return Ok(Ok(Watch::new(body, pinged, master.clone(), self.endpoints().clone())));
        }
        let body = self.collect(body).await.map_err(|_| SendFailure {
            sent: true,
            reason: format!("it answered {} and then broke off", head.status),
        })?;
        let response = Response { status: head.status, headers: head.headers, body, master: master.clone() };
        Ok(Err(response.refusal()))
    }

    /// Tries master after master until one gives an answer that counts. Ends only with the deadline
    /// around it.
    async fn rounds(&self, call: &Call, progress: &Progress, end: Instant) -> Result<Response, Error> {
        let mut pause = Backoff::doubling(ROUND_PAUSE.0, ROUND_PAUSE.1);
        let mut throttled = 0;
        loop {
            let mut refusal = None;
            for master in self.endpoints().candidates() {
                let attempt = self.attempt(&master, call, progress).await;
                match (next(&attempt, call.repeatable), attempt) {
                    (Next::Return, Attempt::Answered(response)) => {
                        self.endpoints().succeeded(&master);
                        let wait = response.retry_after().unwrap_or(Duration::from_secs(1));
                        let again = response.status == StatusCode::TOO_MANY_REQUESTS
                            && throttled < THROTTLED_MAX
                            && Instant::now() + wait < end;
                        if !again {
                            return Ok(response);
                        }
                        throttled += 1;
                        tokio::time::sleep(wait).await;
                        break;
                    }
                    (Next::AnotherMaster, Attempt::Answered(response)) => {
                        self.endpoints().failed(&master, &response.refusal().to_string());
                        refusal = Some(response);
                    }
                    (Next::AnotherMaster, Attempt::Failed(failure)) => {
                        self.endpoints().failed(&master, &failure.reason);
                    }
                    (_, Attempt::Failed(failure)) => {
                        self.endpoints().failed(&master, &failure.reason);
                        return Err(Error::Unknown { what: call.what(), cause: failure.reason });
                    }
                    (_, Attempt::TooLarge) => return Err(self.too_large(call)),
                    (Next::GiveUp, Attempt::Answered(response)) => return Ok(response),
                }
            }
            let wait = pause.next_delay();
            if let Some(response) = refusal.filter(|_| Instant::now() + wait >= end) {
                // The masters' own words say more than "timed out".
                return Ok(response);
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, master: &Address, call: &Call, progress: &Progress) -> Attempt {
        progress.ask(Some(master));
        let outcome = self.exchange(master, call, progress).await;
        progress.ask(None);
        match outcome {
            Ok(Some(response)) => Attempt::Answered(response),
            Ok(None) => Attempt::TooLarge,
            Err(failure) => Attempt::Failed(failure),
        }
    }

    /// One exchange; `None` when the answer is too large.
    async fn exchange(
        &self,
        master: &Address,
        call: &Call,
        progress: &Progress,
    ) -> Result<Option<Response>, SendFailure> {
        let mut connection = self.connection(master, Purpose::Calls).await?;
        let request = build(call).map_err(malformed)?;
        let sent_before = progress.set_sent(true);
        let response = match connection.send(master, request).await {
            Ok(response) => response,
            Err(failure) => {
                progress.set_sent(sent_before || failure.sent);
                return Err(failure);
            }
        };
        let (head, body) = response.into_parts();
        let body = match self.collect(body).await {
            Ok(body) => body,
            Err(CollectFailure::TooLarge) => return Ok(None),
            Err(CollectFailure::Broken(cause)) => {
                let reason = format!("it answered {} and then broke off: {cause}", head.status);
                return Err(SendFailure { sent: true, reason });
            }
        };
        Ok(Some(Response { status: head.status, headers: head.headers, body, master: master.clone() }))
    }

    async fn collect(&self, body: Incoming) -> Result<Bytes, CollectFailure> {
        match Limited::new(body, self.shared.options.answer_bytes_max).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(CollectFailure::TooLarge),
            Err(error) => Err(CollectFailure::Broken(explain(error.as_ref()))),
        }
    }

    async fn connection(&self, master: &Address, purpose: Purpose) -> Result<Connection, SendFailure> {
        let asked = Instant::now();
        let slot = self.slot(master, purpose);
        let mut state = slot.state.lock().await;
        if let Some(Connection::Http2(sender)) = &state.open
            && !sender.is_closed()
        {
            return Ok(Connection::Http2(sender.clone()));
        }
        if let Some((at, reason)) = &state.failed
            && *at >= asked
        {
            // It failed for another caller while this one was waiting for the same.
            return Err(SendFailure { sent: false, reason: reason.clone() });
        }
        state.open = None;
        match Connection::open(master, self.shared.tls.clone(), self.shared.options.connect_deadline).await {
            Ok(Connection::Http2(sender)) => {
                state.open = Some(Connection::Http2(sender.clone()));
                Ok(Connection::Http2(sender))
            }
            Ok(connection) => Ok(connection),
            Err(failure) => {
                state.failed = Some((Instant::now(), failure.reason.clone()));
                Err(SendFailure { sent: false, reason: failure.reason })
            }
        }
    }

    fn slot(&self, master: &Address, purpose: Purpose) -> Arc<Slot> {
        let mut slots = self.shared.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (master.clone(), purpose);
        if !slots.contains_key(&key) {
            // Connections to masters that left the list are not kept.
            let known = self.endpoints().addresses();
            slots.retain(|(address, _), _| known.contains(address));
        }
        slots.entry(key).or_default().clone()
    }

    fn deadline(&self, call: &Call) -> Duration {
        call.deadline.unwrap_or(self.shared.options.call_deadline)
    }

    fn out_of_time(&self, call: &Call, sent: bool) -> Error {
        let (reasons, after) = (self.endpoints().reasons(), self.deadline(call));
        match (sent, call.repeatable) {
            (false, _) => Error::Unreachable { after, reasons },
            (true, true) => Error::Timeout { what: call.what(), after, reasons },
            (true, false) => {
                let cause = format!("no answer within {after:?}");
                Error::Unknown { what: call.what(), cause }
            }
        }
    }

    fn too_large(&self, call: &Call) -> Error {
        let reason = format!("it is larger than {} bytes", self.shared.options.answer_bytes_max);
        Error::Answer { what: call.what(), reason }
    }
}

enum CollectFailure {
    TooLarge,
    Broken(String),
}

/// Decides whether an attempt settles the call.
fn next(attempt: &Attempt, repeatable: bool) -> Next {
    match attempt {
        Attempt::Answered(response)
            if repeatable
                && matches!(response.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) =>
        {
            Next::AnotherMaster
        }
        Attempt::Answered(_) => Next::Return,
        Attempt::Failed(failure) if !failure.sent || repeatable => Next::AnotherMaster,
        Attempt::Failed(_) | Attempt::TooLarge => Next::GiveUp,
    }
}

fn build(call: &Call) -> Result<Request<Full<Bytes>>, Error> {
    let malformed = |error: &dyn std::fmt::Display| Error::Request(format!("{}: {error}", call.what()));
    if !call.path.starts_with('/') {
        return Err(malformed(&"the path does not start with /"));
    }
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(call.path.as_str())
        .body(Full::new(call.body.clone()))
        .map_err(|error| malformed(&error))?;
    *request.headers_mut() = call.headers.clone();
    let headers = request.headers_mut();
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(PRODUCT));
    Ok(request)
}

fn malformed(error: Error) -> SendFailure {
    SendFailure { sent: false, reason: error.to_string() }
}

/// Percent-encodes a value for a query.
pub(crate) fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => {
                encoded.push('%');
                for nibble in [byte >> 4, byte & 0x0f] {
                    encoded.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase());
                }
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_repeated() {
        let failed = |sent| Attempt::Failed(SendFailure { sent, reason: String::new() });
        let answered = |status: u16| {
            Attempt::Answered(Response {
                status: StatusCode::from_u16(status).unwrap(),
                headers: http::HeaderMap::new(),
                body: Bytes::new(),
                master: "m:1".parse().unwrap(),
            })
        };
        assert_eq!(next(&failed(false), false), Next::AnotherMaster, "nothing was sent");
        assert_eq!(next(&failed(true), true), Next::AnotherMaster);
        assert_eq!(next(&failed(true), false), Next::GiveUp, "a write may have happened");
        assert_eq!(next(&answered(503), true), Next::AnotherMaster);
        assert_eq!(next(&answered(503), false), Next::Return);
        assert_eq!(next(&answered(404), true), Next::Return);
        assert_eq!(next(&Attempt::TooLarge, true), Next::GiveUp);
    }

    #[test]
    fn values_are_encoded() {
        assert_eq!(encode("a=b,c d/é~"), "a%3Db%2Cc%20d%2F%C3%A9~");
    }

    #[test]
    fn malformed_calls_are_refused() {
        assert!(matches!(build(&Call::get("pods")), Err(Error::Request(_))));
        assert!(matches!(build(&Call::get("/pods with space")), Err(Error::Request(_))));
        let request = build(&Call::get("/pods").json(&serde_json::json!({}))).unwrap();
        assert_eq!(request.headers()[USER_AGENT], PRODUCT);
        assert_eq!(request.headers()[http::header::CONTENT_TYPE], "application/json");
    }
}
