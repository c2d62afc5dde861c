//! What `kubectl get` shows: the columns of each kind's table, and the cells of one object.
//!
//! Names, order, priorities and cell texts follow upstream's printers (`pkg/printers/internalversion`); which columns there
//! are says each kind's declaration (`kinds`). Putting rows into a `meta.k8s.io` Table, and choosing what else a row
//! carries, is the API server's business.

mod duration;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use duration::human;
pub(crate) use duration::since;

use crate::Kind;

/// One column of a kind's table.
#[derive(Debug, Clone, Copy)]
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
    cell: Cell,
}

/// What the cell of a column shows of an object. Fields are named by dotted paths.
#[derive(Debug, Clone, Copy)]
enum Cell {
    /// The kind makes all cells at once.
    None,
    /// A text, or what stands for none.
    Text(&'static str, &'static str),
    /// A number; 0 when absent.
    Number(&'static str),
    /// `true` or `false` as text.
    Flag(&'static str),
    /// How many elements a list or a map has.
    Count(&'static str),
    /// The time since then.
    Since(&'static str),
    /// Something else.
    Made(fn(&Value, Timestamp) -> Value),
}

impl Column {
    const fn new(name: &'static str, ty: &'static str, description: &'static str) -> Self {
        Self { name, ty, format: "", description, priority: 0, cell: Cell::None }
    }

    pub(crate) const fn text(name: &'static str, description: &'static str) -> Self {
        Self::new(name, "string", description)
    }

    pub(crate) const fn integer(name: &'static str, description: &'static str) -> Self {
        Self::new(name, "integer", description)
    }

    pub(crate) const fn boolean(name: &'static str, description: &'static str) -> Self {
        Self::new(name, "boolean", description)
    }

    pub(crate) const fn wide(name: &'static str, description: &'static str) -> Self {
        Self { priority: 1, ..Self::text(name, description) }
    }

    /// The same column, shown in wide output only.
    pub(crate) const fn widened(self) -> Self {
        Self { priority: 1, ..self }
    }

    pub(crate) const fn showing(self, path: &'static str) -> Self {
        self.showing_or(path, "")
    }

    pub(crate) const fn showing_or(self, path: &'static str, none: &'static str) -> Self {
        Self { cell: Cell::Text(path, none), ..self }
    }

    pub(crate) const fn number(self, path: &'static str) -> Self {
        Self { cell: Cell::Number(path), ..self }
    }

    pub(crate) const fn flag(self, path: &'static str) -> Self {
        Self { cell: Cell::Flag(path), ..self }
    }

    pub(crate) const fn counting(self, path: &'static str) -> Self {
        Self { cell: Cell::Count(path), ..self }
    }

    pub(crate) const fn since(self, path: &'static str) -> Self {
        Self { cell: Cell::Since(path), ..self }
    }

    pub(crate) const fn made(self, cell: fn(&Value, Timestamp) -> Value) -> Self {
        Self { cell: Cell::Made(cell), ..self }
    }

    /// As `columnDefinitions` of a Table has it.
    pub fn definition(&self) -> Value {
        json!({
            "name": self.name, "type": self.ty, "format": self.format, "description": self.description,
            "priority": self.priority,
        })
    }

    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        match self.cell {
            Cell::None => Value::Null,
            Cell::Text(path, none) => json!(text_or(at(object, path), none)),
            Cell::Number(path) => json!(number(at(object, path))),
            Cell::Flag(path) => json!((at(object, path) == true).to_string()),
            Cell::Count(path) => json!(count(at(object, path))),
            Cell::Since(path) => json!(since(at(object, path), now)),
            Cell::Made(made) => made(object, now),
        }
    }
}

/// The column that names the object.
pub const NAME: Column = Column {
    format: "name",
    ..Column::text("Name", "Name of the object, unique among its kind in its namespace.").showing("metadata.name")
};
pub(crate) const AGE: Column =
    Column::text("Age", "Time since the object was created.").since("metadata.creationTimestamp");
/// For kinds that have no printer of their own upstream.
pub(crate) const CREATED_AT: Column = Column::new("Created At", "date", "When the object was created.")
    .made(|object, _| object["metadata"]["creationTimestamp"].clone());
pub(crate) const CONTAINERS: Column = Column::wide("Containers", "Names of each container in the template.");
pub(crate) const IMAGES: Column = Column::wide("Images", "Images referenced by each container in the template.");

/// The columns of a built-in kind's table; of others the definition has them. Kinds without a printer of their own show name and creation time, as upstream's do.
pub fn columns(kind: &Kind) -> &'static [Column] {
    kind.declared.columns
}

/// The cells of one object, one for each of [`columns`]. Ages are counted until `now`.
pub fn cells(kind: &Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    match kind.declared.cells {
        _ if kind.custom.is_some() => kind.custom.as_ref().map_or_else(Vec::new, |custom| custom.cells(object, now)),
        Some(cells) => cells(object, now),
        None => kind.declared.columns.iter().map(|column| column.cell(object, now)).collect(),
    }
}

/// The `conditions` of an object's row: clients hide rows of kind `Completed` where they list what is running.
pub fn row_conditions(kind: &Kind, object: &Value) -> Vec<Value> {
    kind.declared.row_conditions.map_or_else(Vec::new, |conditions| conditions(object))
}

/// The value at a dotted path; null where there is none.
pub(crate) fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(object, |value, step| &value[step])
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text, or what stands for none.
pub(crate) fn text_or<'a>(value: &'a Value, none: &'a str) -> &'a str {
    Some(text(value)).filter(|text| !text.is_empty()).unwrap_or(none)
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

pub(crate) fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    }
}

/// Labels, or a map that selects by them, on one line: `a=1,b=2`.
pub(crate) fn labels(map: &Value) -> String {
    let pairs: Vec<String> =
        map.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", text(value))).collect();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",") }
}

/// The first few of many, and how many more there are.
pub(crate) fn first(all: &[String], most: usize) -> String {
    match all {
        [] => "<none>".into(),
        all if all.len() > most => format!("{} + {} more...", all[..most].join(","), all.len() - most),
        all => all.join(","),
    }
}

/// A number, a text, or a quantity as people read it.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
