//! WATCH: changes as a stream of JSON lines. A watch queues nothing: it is a position in the history and a wake-up.

use std::sync::Arc;
use std::time::Duration;

use base::Stopping;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use objects::{Key, Kind, Status};
use serde_json::{Value, json};
use state::{Event, EventKind, Revision, State, Stored};
use store::Store;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use crate::custom_kinds;
use crate::errors::{self, invalid_option};
use crate::list::Selection;
use crate::metrics::Counted;
use crate::negotiate::Form;
use crate::query::Query;
use crate::reply::{self, Response};
use crate::revision::{self, Wanted};
use crate::route::Target;
use crate::router::Call;
use crate::table::{self, Include};

/// Bytes of initial events that are made at once: enough to be efficient, little enough to let others run.
const CHUNK_BYTES: usize = 256 * 1024;

/// Where a watch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Start {
    wanted: Wanted,
    /// Whether the objects that are there come first.
    initial: bool,
    /// Whether a bookmark says where they end.
    end_bookmark: bool,
}

/// Answers with the stream.
///
/// # Errors
/// 400 and 422 for parameters that make no sense, 503 and 504 as for any read. A forgotten revision is an event of the
/// stream, as upstream has it.
pub async fn watch(call: &Call, target: &Target, longrunning: OwnedSemaphorePermit) -> Result<Response, Status> {
    let selection = Selection::parse(target, &call.query)?;
    let include = Include::parse(&call.query)?;
    let bookmarks = call.query.flag("allowWatchBookmarks")?.unwrap_or(false);
    let start = start(&call.query, bookmarks)?;
    let options = &call.api.options;
    let life = match call.query.number("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok()) {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds),
        _ => base::random::jitter(options.watch_min..options.watch_min * 2),
    };
    let resource = target.kind.resource();
    let state = revision::state(call, start.wanted, &resource).await?;
    let from = match start.wanted {
        Wanted::NotOlderThan(revision) if !start.initial => Revision(revision),
        _ => state.revision(),
    };
    let now = Instant::now();
    let feed = Feed {
        kind: Arc::clone(&target.kind),
        selection,
        form: call.form,
        include,
        redefined: redefinitions(&call.api.store, &target.kind, state.revision()),
        watch: call.api.store.watch(resource, from),
        initial: start.initial.then_some((state, None)),
        end_bookmark: start.end_bookmark,
        bookmark_at: bookmarks.then(|| now + options.bookmark_every),
        bookmark_every: options.bookmark_every,
        // A life of centuries is for ever.
        until: now.checked_add(life).unwrap_or(now + Duration::from_secs(86_400 * 365)),
        stopping: call.api.stopping.clone(),
        columns_sent: false,
        over: false,
        _counted: call.api.metrics.longrunning(),
        _permit: longrunning,
    };
    let frames = stream::unfold(feed, |mut feed| async move {
        let bytes = feed.next().await?;
        Some((Ok(Frame::data(bytes)), feed))
    });
    let mut response = reply::json(200, Bytes::new());
    *response.body_mut() = StreamBody::new(frames).boxed_unsync();
    Ok(response)
}

fn start(query: &Query, bookmarks: bool) -> Result<Start, Status> {
    let forbidden = |field: &str, why: &str| {
        Err(invalid_option("ListOptions", field, "FieldValueForbidden", format!("Forbidden: {why}")))
    };
    let wanted = revision::of_get(query)?;
    let matching = query.get("resourceVersionMatch");
    match (query.flag("sendInitialEvents")?, matching) {
        (None, Some(_)) => forbidden(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        // Upstream's watch without a version starts with what is there.
        (None, None) => Ok(Start { wanted, initial: !matches!(wanted, Wanted::NotOlderThan(_)), end_bookmark: false }),
        (Some(_), None) => {
            forbidden("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        }
        (Some(_), Some(other)) if other != "NotOlderThan" => {
            Err(revision::unsupported_match(other, "\"NotOlderThan\""))
        }
        (Some(initial), Some(_)) => Ok(Start { wanted, initial, end_bookmark: initial && bookmarks }),
    }
}

struct Feed {
    kind: Arc<Kind>,
    selection: Selection,
    form: Form,
    include: Include,
    watch: store::Watch,
    /// The changes of the definition of a custom resource.
    redefined: Option<(store::Watch, Key)>,
    /// What is still to be sent of what was there, and from which key on.
    initial: Option<(State, Option<Key>)>,
    end_bookmark: bool,
    bookmark_at: Option<Instant>,
    bookmark_every: Duration,
    until: Instant,
    stopping: Stopping,
    columns_sent: bool,
    over: bool,
    _counted: Counted,
    _permit: OwnedSemaphorePermit,
}

/// What woke a feed.
enum Woken {
    Events(Result<Vec<Arc<Event>>, store::Error>),
    Bookmark,
    End,
    Drain,
    /// The kind is not what it was, or is gone.
    Redefined,
}

/// What tells of changes of a kind's definition; `None` for kinds without one.
fn redefinitions(store: &Store, kind: &Kind, from: Revision) -> Option<(store::Watch, Key)> {
    let (name, _) = kind.custom.as_ref()?.definition();
    Some((store.watch(custom_kinds::definitions(), from), Key::new(custom_kinds::definitions(), "", name)))
}

/// Waits until the definition says something else about its objects, or is gone; for ever where there is none.
async fn redefined(definition: &mut Option<(store::Watch, Key)>) {
    let Some((watch, key)) = definition else { return std::future::pending().await };
    // A place in history that is lost ends the watch as well: the client begins anew.
    while let Ok(events) = watch.next().await {
        let generation = |stored: &Stored| stored.face().generation;
        let other = |event: &Event| {
            event.kind == EventKind::Deleted
                || event.previous.as_ref().is_none_or(|old| generation(old) != generation(&event.current))
        };
        if events.iter().any(|event| event.key() == key && other(event)) {
            return;
        }
    }
}

impl Feed {
    /// The next lines; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        let mut out = BytesMut::new();
        if let Some((state, from)) = self.initial.take() {
            self.write_initial(&mut out, state, from);
        }
        while out.is_empty() && !self.over {
            match self.woken().await {
                Woken::Events(events) => self.write_events(&mut out, events),
                Woken::Bookmark => {
                    self.bookmark_at = Some(Instant::now() + self.bookmark_every);
                    self.catch_up(&mut out);
                }
                Woken::End => {
                    if self.bookmark_at.is_some() {
                        self.catch_up(&mut out);
                    }
                    self.over = true;
                }
                Woken::Drain | Woken::Redefined => self.over = true,
            }
        }
        (!out.is_empty()).then(|| out.freeze())
    }

    async fn woken(&mut self) -> Woken {
        let bookmark_at = self.bookmark_at;
        tokio::select! {
            biased;
            () = self.stopping.stopped() => Woken::Drain,
            () = sleep_until(self.until) => Woken::End,
            () = sleep_until(bookmark_at.unwrap_or(self.until)), if bookmark_at.is_some() => Woken::Bookmark,
            events = self.watch.next() => Woken::Events(events),
            () = redefined(&mut self.redefined) => Woken::Redefined,
        }
    }

    /// Events that are there, then a bookmark behind them.
    fn catch_up(&mut self, out: &mut BytesMut) {
        let events = self.watch.ready();
        let fine = events.is_ok();
        self.write_events(out, events);
        if fine {
            self.write_bookmark(out, self.watch.position(), false);
        }
    }

    fn write_initial(&mut self, out: &mut BytesMut, state: State, from: Option<Key>) {
        let mut resume = None;
        let selection = self.selection.clone();
        for stored in selection.of(&state, from) {
            if out.len() >= CHUNK_BYTES {
                resume = Some(stored.key.clone());
                break;
            }
            self.write_stored(out, "ADDED", stored, None);
        }
        if resume.is_some() {
            self.initial = Some((state, resume));
        } else if self.end_bookmark {
            self.write_bookmark(out, state.revision(), true);
        }
    }

    fn write_events(&mut self, out: &mut BytesMut, events: Result<Vec<Arc<Event>>, store::Error>) {
        let events = match events {
            Ok(events) => events,
            Err(error) => {
                let status = errors::read(error, &self.kind.resource());
                put_line(out, "ERROR", status.to_value().to_string().as_bytes());
                self.over = true;
                return;
            }
        };
        for event in events {
            let before = event.previous.as_ref().filter(|previous| self.selection.matches(previous));
            let after = event.kind != EventKind::Deleted && self.selection.matches(&event.current);
            match (before, after) {
                (None, false) => {}
                (None, true) => self.write_stored(out, "ADDED", &event.current, Some(event.json())),
                (Some(_), true) => self.write_stored(out, "MODIFIED", &event.current, Some(event.json())),
                (Some(_), false) if event.kind == EventKind::Deleted => {
                    self.write_stored(out, "DELETED", &event.current, Some(event.json()));
                }
                // It left the selection: its last form in there, at the revision of the change.
                (Some(previous), false) => {
                    let (key, object) = (previous.key.clone(), Arc::clone(&previous.object));
                    let last = Stored::new(key, object, previous.created, event.revision());
                    self.write_stored(out, "DELETED", &last, None);
                }
            }
        }
    }

    fn write_stored(&mut self, out: &mut BytesMut, ty: &str, stored: &Stored, json: Option<&Bytes>) {
        match (self.form, json) {
            (Form::Object, Some(json)) if self.kind.shows_what_is_stored() => put_line(out, ty, json),
            (Form::Object, None) if self.kind.shows_what_is_stored() => {
                put_head(out, ty);
                stored.write_json(out);
                out.put_slice(b"}\n");
            }
            _ => match stored.to_value() {
                Ok(value) => self.write_value(out, ty, &value),
                Err(error) => {
                    put_line(out, "ERROR", Status::internal(error).to_value().to_string().as_bytes());
                    self.over = true;
                }
            },
        }
    }

    fn write_value(&mut self, out: &mut BytesMut, ty: &str, object: &Value) {
        let shown = match self.form {
            Form::Object => {
                let mut shown = object.clone();
                self.kind.from_stored(&mut shown);
                shown.to_string()
            }
            Form::Metadata(version) => reply::partial(version, object).to_string(),
            Form::Table(version) => {
                let rows = vec![table::row(&self.kind, object, self.include, version)];
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                let with_columns = !std::mem::replace(&mut self.columns_sent, true);
                table::table(&self.kind, version, metadata, rows, with_columns).to_string()
            }
        };
        put_line(out, ty, shown.as_bytes());
    }

    fn write_bookmark(&mut self, out: &mut BytesMut, at: Revision, initial_end: bool) {
        let mut object = json!({
            "kind": self.kind.kind, "apiVersion": self.kind.api_version(),
            "metadata": {"creationTimestamp": null, "resourceVersion": at.to_string()},
        });
        if initial_end {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        if self.form == Form::Object {
            // It is no object: nothing is to be defaulted in it.
            return put_line(out, "BOOKMARK", object.to_string().as_bytes());
        }
        self.write_value(out, "BOOKMARK", &object);
    }
}

fn put_head(out: &mut BytesMut, ty: &str) {
    out.put_slice(b"{\"type\":\"");
    out.put_slice(ty.as_bytes());
    out.put_slice(b"\",\"object\":");
}

fn put_line(out: &mut BytesMut, ty: &str, object: &[u8]) {
    out.reserve(object.len() + 40);
    put_head(out, ty);
    out.put_slice(object);
    out.put_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_starts_where_its_parameters_say() {
        let at = |wanted, initial, end_bookmark| Ok(Start { wanted, initial, end_bookmark });
        let rows = [
            ("", at(Wanted::Fresh, true, false)),
            ("resourceVersion=0", at(Wanted::Any, true, false)),
            ("resourceVersion=5", at(Wanted::NotOlderThan(5), false, false)),
            ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", at(Wanted::Fresh, true, true)),
            (
                "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=5",
                at(Wanted::NotOlderThan(5), true, true),
            ),
            ("sendInitialEvents=false&resourceVersionMatch=NotOlderThan", at(Wanted::Fresh, false, false)),
            ("sendInitialEvents=true", Err(422)),
            ("sendInitialEvents=true&resourceVersionMatch=Exact", Err(422)),
            ("resourceVersionMatch=NotOlderThan&resourceVersion=5", Err(422)),
            ("sendInitialEvents=maybe&resourceVersionMatch=NotOlderThan", Err(400)),
            ("resourceVersion=x", Err(400)),
        ];
        for (query, wanted) in rows {
            let found = start(&Query::parse(Some(query)).unwrap(), true).map_err(|status| status.code);
            assert_eq!(found, wanted, "{query}");
        }
    }
}
