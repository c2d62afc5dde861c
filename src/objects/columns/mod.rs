//! What `kubectl get` shows: the columns of each kind's table, and the cells of one object.
//!
//! Names, order, priorities and cell texts follow upstream's printers (`pkg/printers/internalversion`). Putting rows into
//! a `meta.k8s.io` Table, and choosing what else a row carries, is the API server's business.

mod duration;
mod event;
mod node;
mod pod;
mod workload;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use duration::human;
use duration::since;

use crate::Kind;

/// One column of a kind's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Heading, as `Ready`.
    pub name: &'static str,
    /// OpenAPI type of the cells: `string`, `integer`, `date`.
    pub ty: &'static str,
    /// OpenAPI format; `name` marks the column that names the object, empty is none.
    pub format: &'static str,
    /// What the cells say, for people.
    pub description: &'static str,
    /// 0 is always shown, 1 only in wide output.
    pub priority: i32,
}

impl Column {
    const fn new(name: &'static str, ty: &'static str, description: &'static str) -> Self {
        Self { name, ty, format: "", description, priority: 0 }
    }

    const fn text(name: &'static str, description: &'static str) -> Self {
        Self::new(name, "string", description)
    }

    const fn wide(name: &'static str, description: &'static str) -> Self {
        Self { priority: 1, ..Self::text(name, description) }
    }
}

const NAME: Column =
    Column { format: "name", ..Column::text("Name", "Name of the object, unique among its kind in its namespace.") };
const AGE: Column = Column::text("Age", "Time since the object was created.");
const CONTAINERS: Column = Column::wide("Containers", "Names of each container in the template.");
const IMAGES: Column = Column::wide("Images", "Images referenced by each container in the template.");

const GENERIC: &[Column] = &[NAME, Column::new("Created At", "date", "When the object was created.")];
const NAMESPACE: &[Column] = &[NAME, Column::text("Status", "The status of the namespace"), AGE];
const CONFIG_MAP: &[Column] = &[NAME, Column::text("Data", "How many entries the object holds."), AGE];
const SECRET: &[Column] = &[
    NAME,
    Column::text("Type", "What the data is for."),
    Column::text("Data", "How many entries the object holds."),
    AGE,
];
const SERVICE_ACCOUNT: &[Column] = &[NAME, Column::text("Secrets", "How many secrets the account names."), AGE];
const LEASE: &[Column] = &[NAME, Column::text("Holder", "Who holds the lease."), AGE];

/// The columns of a kind's table. Kinds without a printer of their own show name and creation time, as upstream's do.
pub fn columns(kind: &Kind) -> &'static [Column] {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => pod::COLUMNS,
        ("", "Node") => node::COLUMNS,
        ("", "Namespace") => NAMESPACE,
        ("", "ConfigMap") => CONFIG_MAP,
        ("", "Secret") => SECRET,
        ("", "ServiceAccount") => SERVICE_ACCOUNT,
        ("" | "events.k8s.io", "Event") => event::COLUMNS,
        ("apps", "Deployment") => workload::DEPLOYMENT,
        ("apps", "ReplicaSet") => workload::REPLICA_SET,
        ("coordination.k8s.io", "Lease") => LEASE,
        _ => GENERIC,
    }
}

/// The cells of one object, one for each of [`columns`]. Ages are counted until `now`.
pub fn cells(kind: &Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    let name = text(&object["metadata"]["name"]);
    let age = since(&object["metadata"]["creationTimestamp"], now);
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => pod::cells(object, now),
        ("", "Node") => node::cells(object, now),
        ("", "Namespace") => vec![json!(name), json!(text(&object["status"]["phase"])), json!(age)],
        ("", "ConfigMap") => {
            vec![json!(name), json!(count(&object["data"]) + count(&object["binaryData"])), json!(age)]
        }
        ("", "Secret") => vec![json!(name), json!(text(&object["type"])), json!(count(&object["data"])), json!(age)],
        ("", "ServiceAccount") => vec![json!(name), json!(count(&object["secrets"])), json!(age)],
        ("" | "events.k8s.io", "Event") => event::cells(object, now),
        ("apps", "Deployment") => workload::deployment(object, now),
        ("apps", "ReplicaSet") => workload::replica_set(object, now),
        ("coordination.k8s.io", "Lease") => {
            vec![json!(name), json!(text(&object["spec"]["holderIdentity"])), json!(age)]
        }
        _ => vec![json!(name), object["metadata"]["creationTimestamp"].clone()],
    }
}

/// The `conditions` of an object's row: clients hide rows of kind `Completed` where they list what is running.
pub fn row_conditions(kind: &Kind, object: &Value) -> Vec<Value> {
    if kind.group.is_empty() && kind.kind == "Pod" { pod::row_conditions(object) } else { Vec::new() }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text, or what stands for none.
fn text_or<'a>(value: &'a Value, none: &'a str) -> &'a str {
    Some(text(value)).filter(|text| !text.is_empty()).unwrap_or(none)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
