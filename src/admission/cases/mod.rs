//! The plug-ins by themselves: what is refused, in which words, and what is written.

mod limits;
mod policies;
mod quota;
mod security;

use std::sync::Arc;

use objects::{Object, kind};
use serde_json::json;
use state::{Change, Command, Origin, Precondition, RequestId, Transaction};

use super::*;

fn kind_of(value: &Value) -> &'static Kind {
    kind::by_kind(value["apiVersion"].as_str().unwrap(), value["kind"].as_str().unwrap()).unwrap()
}

static USER: User = User { name: String::new(), uid: String::new(), groups: Vec::new(), extra: BTreeMap::new() };

/// A state of these objects.
fn state(objects: &[Value]) -> State {
    let mut state = State::default();
    for (index, value) in objects.iter().enumerate() {
        put(&mut state, index as u64 + 1, vec![], vec![change(value)]).unwrap();
    }
    state
}

fn change(value: &Value) -> Change {
    let kind = kind_of(value);
    let metadata = &value["metadata"];
    let key = Key::new(kind.resource(), text(&metadata["namespace"]), text(&metadata["name"]));
    Change::Put { key, object: Arc::new(Object::new(kind, value).unwrap()) }
}

fn put(
    state: &mut State,
    index: u64,
    preconditions: Vec<Precondition>,
    changes: Vec<Change>,
) -> Result<(), state::Refusal> {
    let id = RequestId(u128::from(index));
    let transaction = Transaction { id, origin: Origin::Client("test".into()), at_ms: 0, preconditions, changes };
    let applied = state.apply(index, &Command::Transact(vec![transaction])).unwrap();
    applied.answers.into_iter().next().unwrap().map(drop)
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn request<'a>(state: &'a State, value: &Value, old: Option<&'a Value>) -> Request<'a> {
    let operation = if old.is_some() { Operation::Update } else { Operation::Create };
    let namespace = if kind_of(value).namespaced { "d" } else { "" };
    Request {
        state,
        kind: kind_of(value),
        operation,
        name: "",
        namespace,
        subresource: "",
        old,
        user: &USER,
        dry_run: false,
        now: now(),
    }
}

fn object(api_version: &str, kind: &str, name: &str, rest: Value) -> Value {
    let mut value = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "uid": name}});
    if kind::by_kind(api_version, kind).unwrap().namespaced {
        value["metadata"]["namespace"] = json!("d");
    }
    for (key, inner) in rest.as_object().unwrap() {
        value[key.as_str()] = inner.clone();
    }
    value
}

fn pod(spec: Value) -> Value {
    object("v1", "Pod", "p", json!({ "spec": spec }))
}

fn container(name: &str, requests: Value, limits: Value) -> Value {
    json!({"name": name, "image": "i", "resources": {"requests": requests, "limits": limits}})
}

/// What the whole path says about an object; empty when it is let through.
fn verdict(state: &State, value: &Value, old: Option<&Value>) -> String {
    let request = request(state, value, old);
    let mut value = value.clone();
    let outcome = mutate(&request, &mut value)
        .and_then(|()| validate(&request, &value))
        .and_then(|_| charge(&request, &value, &mut Ledger::default()));
    outcome.err().map(|status| status.message).unwrap_or_default()
}

fn namespace(labels: Value) -> Value {
    let mut value = object("v1", "Namespace", "d", json!({}));
    let labels = labels.as_object().unwrap().iter();
    value["metadata"]["labels"] = Value::Object(
        labels.map(|(key, value)| (format!("pod-security.kubernetes.io/{key}"), value.clone())).collect(),
    );
    value
}
