//! Tables: rows for people, made on the server.

use objects::{Kind, Status, columns};
use serde_json::{Value, json};

use crate::query::Query;
use crate::reply;

/// What a row carries of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    Nothing,
    /// Metadata; the default.
    Metadata,
    /// All of it.
    Object,
}

impl Include {
    /// Reads `includeObject`.
    ///
    /// # Errors
    /// 400 for a value that does not exist.
    pub fn parse(query: &Query) -> Result<Self, Status> {
        match query.get("includeObject") {
            None | Some("Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::Nothing),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(Status::bad_request(format!(
                "unrecognized includeObject value: {other:?}; use None, Metadata or Object"
            ))),
        }
    }
}

/// The row of one object as it is stored: all forms of a kind have the same cells.
pub fn row(kind: &Kind, object: &Value, include: Include, version: &str) -> Value {
    let shown;
    let object = if kind.custom.is_some() {
        let mut value = object.clone();
        kind.from_stored(&mut value);
        shown = value;
        &shown
    } else {
        object
    };
    let mut row = json!({"cells": columns::cells(kind, object, base::clock::now())});
    let conditions = columns::row_conditions(kind, object);
    if !conditions.is_empty() {
        row["conditions"] = Value::Array(conditions);
    }
    row["object"] = match include {
        Include::Nothing => Value::Null,
        Include::Metadata => reply::partial(version, object),
        Include::Object => {
            let mut shown = object.clone();
            kind.from_stored(&mut shown);
            shown
        }
    };
    row
}

/// A table of rows; without its columns where an earlier one of the same watch had them.
pub fn table(kind: &Kind, version: &str, metadata: Value, rows: Vec<Value>, with_columns: bool) -> Value {
    let definitions: Vec<Value> = match &kind.custom {
        _ if !with_columns => Vec::new(),
        Some(custom) => custom.columns(),
        None => columns::columns(kind).iter().map(columns::Column::definition).collect(),
    };
    json!({
        "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata,
        "columnDefinitions": definitions, "rows": rows,
    })
}
