//! LIST: selected objects at one revision, in pages if asked for. Bytes are spliced, not parsed.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use objects::selector::{Fields, Labels};
use objects::{Face, Key, Kind, Status};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use state::{Revision, State, Stored};

use crate::negotiate::Form;
use crate::query::Query;
use crate::reply::{self, Response};
use crate::revision::{self, Wanted};
use crate::route::Target;
use crate::router::Call;
use crate::table::{self, Include};

/// Which objects of a collection are meant.
#[derive(Debug, Clone)]
pub struct Selection {
    target: Target,
    labels: Labels,
    fields: Fields,
}

impl Selection {
    /// Reads `labelSelector` and `fieldSelector`.
    ///
    /// # Errors
    /// 400 for selectors that do not parse.
    pub fn parse(target: &Target, query: &Query) -> Result<Self, Status> {
        let labels = query.get("labelSelector").map_or_else(|| Ok(Labels::everything()), Labels::parse)?;
        let fields = query
            .get("fieldSelector")
            .map_or_else(|| Ok(Fields::everything()), |text| Fields::parse(&target.kind, text))?;
        Ok(Self { target: target.clone(), labels, fields })
    }

    /// Whether an object is meant.
    pub fn matches(&self, stored: &Stored) -> bool {
        (self.target.namespace.is_empty() || *stored.key.namespace == *self.target.namespace)
            && self.labels.matches(&stored.face().labels)
            && self.fields_match(stored)
    }

    fn fields_match(&self, stored: &Stored) -> bool {
        let kind = &self.target.kind;
        if kind.custom.is_none() || !self.fields.look_inside() {
            return self.fields.matches(&stored.key, stored.face());
        }
        // What is selectable may have changed since the object was stored, and defaults may have come.
        reply::shown(kind, stored).is_ok_and(|shown| self.fields.matches(&stored.key, &Face::of(kind, &shown)))
    }

    /// The objects of a state that are meant, from `from` on, in list order.
    pub fn of<'a>(&'a self, state: &'a State, from: Option<Key>) -> impl Iterator<Item = &'a Arc<Stored>> {
        let target = &self.target;
        let mut first = Key::new(target.kind.resource(), &target.namespace, "");
        // A single name in a single namespace needs no walk.
        let single =
            self.fields.exact("metadata.name").filter(|_| !target.kind.namespaced || !target.namespace.is_empty());
        if let Some(name) = single {
            first.name = name.into();
        }
        let only = single.map(|_| first.clone());
        let from = from.filter(|from| *from > first).unwrap_or(first);
        state
            .list_from(from)
            .take_while(move |stored| {
                (target.namespace.is_empty() || *stored.key.namespace == *target.namespace)
                    && only.as_ref().is_none_or(|only| stored.key == *only)
            })
            .filter(move |stored| self.matches(stored))
    }

    fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }
}

/// Where the next page starts; opaque to clients, valid on every master.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Token {
    v: String,
    /// Revision of the list; -1 continues at whatever is current.
    rv: i64,
    namespace: String,
    name: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

impl Token {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(json!(self).to_string())
    }

    fn decode(text: &str) -> Result<Self, Status> {
        let bad = || Status::bad_request("continue key is not valid: start a new list without it");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| bad())?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|_| bad())?;
        if token.v == TOKEN_VERSION && token.rv != 0 { Ok(token) } else { Err(bad()) }
    }
}

/// Answers with a page of the collection.
///
/// # Errors
/// 400 for bad selectors, limits and tokens; what `revision::state` refuses.
pub async fn list(call: &Call, target: &Target) -> Result<Response, Status> {
    let selection = Selection::parse(target, &call.query)?;
    let limit = call.query.number("limit")?.unwrap_or(0);
    let limit = usize::try_from(limit).map_err(|_| Status::bad_request("limit must not be negative"))?;
    let include = Include::parse(&call.query)?;
    let mut wanted = revision::of_list(&call.query)?;
    let mut from = None;
    if let Some(text) = call.query.get("continue") {
        let token = Token::decode(text)?;
        if !target.namespace.is_empty() && token.namespace != target.namespace {
            return Err(Status::bad_request("continue key is not valid: it belongs to another namespace"));
        }
        from = Some(Key::new(target.kind.resource(), &token.namespace, &token.name));
        wanted = u64::try_from(token.rv).map_or(Wanted::Fresh, Wanted::Exact);
    }
    let state = match revision::state(call, wanted, &target.kind.resource()).await {
        Err(status) if status.code == 410 => return Ok(expired(status, from)),
        other => other?,
    };
    let (kind, form) = (Arc::clone(&target.kind), call.form);
    let page = Page { selection, limit, from, state };
    // Only splicing is cheap enough to be done between other requests.
    let bytes = if form == Form::Object && kind.shows_what_is_stored() {
        page.render(&kind, form, include)?
    } else {
        tokio::task::spawn_blocking(move || page.render(&kind, form, include)).await.map_err(Status::internal)??
    };
    Ok(reply::json(200, bytes))
}

/// 410; a page that cannot be continued consistently brings a token with which it can be otherwise.
fn expired(mut status: Status, from: Option<Key>) -> Response {
    let Some(from) = from else { return reply::status(&status) };
    let token =
        Token { v: TOKEN_VERSION.into(), rv: -1, namespace: from.namespace.to_string(), name: from.name.to_string() };
    status.message = "The provided continue parameter is too old to display a consistent list result. You can start a \
                      new list without the continue parameter, or use the continue token in this response to retrieve \
                      the remainder of the results. Continuing with the provided token results in an inconsistent list \
                      - objects that were created, modified, or deleted between the time the first chunk was returned \
                      and now may show up in the list."
        .into();
    let mut body = status.to_value();
    body["metadata"] = json!({"continue": token.encode()});
    reply::value(status.code, &body)
}

struct Page {
    selection: Selection,
    limit: usize,
    from: Option<Key>,
    state: State,
}

impl Page {
    fn render(&self, kind: &Kind, form: Form, include: Include) -> Result<Bytes, Status> {
        let mut matching = self.selection.of(&self.state, self.from.clone());
        let limit = if self.limit == 0 { usize::MAX } else { self.limit };
        let page: Vec<&Arc<Stored>> = matching.by_ref().take(limit).collect();
        let next = if self.limit == 0 { None } else { matching.next() };
        let remaining = next.filter(|_| self.selection.is_everything()).map(|_| 1 + matching.count());
        let metadata = metadata(self.state.revision(), next.map(|stored| &stored.key), remaining);
        match form {
            Form::Object => {
                let head = format!(
                    "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{metadata}",
                    kind.list_kind,
                    kind.api_version()
                );
                let mut out = BytesMut::with_capacity(
                    head.len() + 16 + page.iter().map(|stored| stored.object.bytes().len() + 48).sum::<usize>(),
                );
                out.put_slice(head.as_bytes());
                out.put_slice(b",\"items\":[");
                for (position, stored) in page.iter().enumerate() {
                    if position > 0 {
                        out.put_u8(b',');
                    }
                    if kind.shows_what_is_stored() {
                        stored.write_json(&mut out);
                    } else {
                        out.put_slice(reply::shown(kind, stored)?.to_string().as_bytes());
                    }
                }
                out.put_slice(b"]}");
                Ok(out.freeze())
            }
            Form::Metadata(version) => {
                let items = values(&page, |object| reply::partial(version, object))?;
                let list = json!({
                    "kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{version}"),
                    "metadata": metadata, "items": items,
                });
                Ok(list.to_string().into())
            }
            Form::Table(version) => {
                let rows = values(&page, |object| table::row(kind, object, include, version))?;
                Ok(table::table(kind, version, metadata, rows, true).to_string().into())
            }
        }
    }
}

fn values(page: &[&Arc<Stored>], make: impl Fn(&Value) -> Value) -> Result<Vec<Value>, Status> {
    page.iter().map(|stored| reply::damaged(stored.to_value()).map(|object| make(&object))).collect()
}

fn metadata(revision: Revision, next: Option<&Key>, remaining: Option<usize>) -> Value {
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if let (Some(next), Ok(rv)) = (next, i64::try_from(revision.0)) {
        let token =
            Token { v: TOKEN_VERSION.into(), rv, namespace: next.namespace.to_string(), name: next.name.to_string() };
        metadata["continue"] = json!(token.encode());
    }
    if let Some(remaining) = remaining {
        metadata["remainingItemCount"] = json!(remaining);
    }
    metadata
}
