//! An object as the store keeps it: canonical JSON bytes with a face.
//!
//! The bytes never hold `metadata.resourceVersion`: only the replicated machine knows it, and output splices it in.
//! GET and LIST therefore copy bytes and parse nothing.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Kind};

/// What is decided about an object without parsing it: extracted once, by whoever wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Face {
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// `metadata.labels`, sorted by key.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// Values of the kind's selectable fields, by dotted path; absent fields read as the empty string upstream, and are left out here.
    pub fields: Vec<(Box<str>, Box<str>)>,
    /// `metadata.ownerReferences`.
    pub owners: Vec<Owner>,
    /// `metadata.generation`; 0 where the kind does not count.
    pub generation: i64,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// `metadata.finalizers`.
    pub finalizers: Vec<Box<str>>,
}

/// One owner reference, as garbage collection and controllers read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// API version of the owner, as `apps/v1`.
    pub api_version: Box<str>,
    /// Kind of the owner.
    pub kind: Box<str>,
    /// Name of the owner, in the object's own namespace or cluster-scoped.
    pub name: Box<str>,
    /// Uid of the owner: the reference is to this incarnation only.
    pub uid: Box<str>,
    /// Whether the owner manages the object.
    pub controller: bool,
    /// Whether foreground deletion of the owner waits for the object.
    pub block_owner_deletion: bool,
}

impl Face {
    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        find(&self.labels, key)
    }

    /// The value of a selectable field by its dotted path; the empty string when the object lacks it.
    pub fn field(&self, path: &str) -> &str {
        find(&self.fields, path).unwrap_or("")
    }

    /// The owner that manages the object.
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller)
    }

    /// Reads the face off a canonical value of `kind`.
    pub fn of(kind: &Kind, value: &Value) -> Self {
        let metadata = &value["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or("").into();
        let mut labels: Vec<(Box<str>, Box<str>)> = metadata["labels"]
            .as_object()
            .map(|map| map.iter().map(|(key, value)| (key.as_str().into(), text(value))).collect())
            .unwrap_or_default();
        labels.sort();
        let fields = kind
            .field_selectors
            .iter()
            .filter_map(|path| {
                let value = path.split('.').try_fold(value, |value, step| value.get(step))?;
                let text = match value {
                    Value::String(text) => text.as_str().into(),
                    Value::Bool(flag) => flag.to_string().into(),
                    Value::Number(number) => number.to_string().into(),
                    // Events select on `source`, which upstream reads as its component.
                    Value::Object(map) => text(map.get("component")?),
                    _ => return None,
                };
                Some((path.as_str().into(), text))
            })
            .collect();
        let owners = metadata["ownerReferences"]
            .as_array()
            .map(|list| {
                list.iter()
                    .map(|owner| Owner {
                        api_version: text(&owner["apiVersion"]),
                        kind: text(&owner["kind"]),
                        name: text(&owner["name"]),
                        uid: text(&owner["uid"]),
                        controller: owner["controller"].as_bool().unwrap_or(false),
                        block_owner_deletion: owner["blockOwnerDeletion"].as_bool().unwrap_or(false),
                    })
                    .collect()
            })
            .unwrap_or_default();
        Self {
            uid: text(&metadata["uid"]),
            labels,
            fields,
            owners,
            generation: metadata["generation"].as_i64().unwrap_or(0),
            deleting: metadata["deletionTimestamp"].is_string(),
            finalizers: metadata["finalizers"]
                .as_array()
                .map(|list| list.iter().map(text).collect())
                .unwrap_or_default(),
        }
    }
}

fn find<'a>(pairs: &'a [(Box<str>, Box<str>)], key: &str) -> Option<&'a str> {
    pairs.iter().find(|(name, _)| &**name == key).map(|(_, value)| &**value)
}

/// Canonical bytes and their face. Equal objects have equal bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// What is decided about the object without parsing.
    pub face: Face,
    bytes: Bytes,
    /// Offset just behind `"metadata":{`, where the resource version is spliced in.
    splice: u32,
}

impl Object {
    /// Makes an object of a canonical value (sorted keys, no nulls, `metadata` present).
    ///
    /// `metadata.resourceVersion` is dropped: it is not part of what is stored. A custom resource is stored in the version
    /// that its definition says.
    ///
    /// # Errors
    /// [`Error::Missing`] when the value has no `metadata.name`, `metadata.uid`, `apiVersion` or `kind`.
    pub fn new(kind: &Kind, value: &Value) -> Result<Self, Error> {
        for (path, name) in [("name", "metadata.name"), ("uid", "metadata.uid")] {
            if !value["metadata"][path].is_string() {
                return Err(Error::Missing(name));
            }
        }
        let map = value.as_object().ok_or_else(|| Error::Malformed("not a JSON object".into()))?;
        let mut bytes = BytesMut::with_capacity(1024).writer();
        let mut splice = 0;
        let malformed = |error: serde_json::Error| Error::Malformed(error.to_string());
        let mut first = true;
        for (key, field) in map {
            bytes.get_mut().put_u8(if first { b'{' } else { b',' });
            first = false;
            serde_json::to_writer(&mut bytes, key).map_err(malformed)?;
            bytes.get_mut().put_u8(b':');
            if key == "metadata" {
                splice = bytes.get_ref().len() + 1;
                let mut metadata = field.clone();
                if let Some(metadata) = metadata.as_object_mut() {
                    metadata.remove("resourceVersion");
                }
                serde_json::to_writer(&mut bytes, &metadata).map_err(malformed)?;
            } else if let ("apiVersion", Some(custom)) = (key.as_str(), &kind.custom) {
                serde_json::to_writer(&mut bytes, custom.stored_version()).map_err(malformed)?;
            } else {
                serde_json::to_writer(&mut bytes, field).map_err(malformed)?;
            }
        }
        bytes.get_mut().put_u8(b'}');
        let splice = u32::try_from(splice).map_err(|_| Error::Malformed("over 4 GiB".into()))?;
        Ok(Self { face: Face::of(kind, value), bytes: bytes.into_inner().freeze(), splice })
    }

    /// The stored bytes: canonical JSON without a resource version.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Appends the object with `metadata.resourceVersion` spliced in.
    pub fn write_json(&self, revision: u64, out: &mut BytesMut) {
        let at = self.splice as usize;
        out.reserve(self.bytes.len() + 48);
        out.put_slice(&self.bytes[..at]);
        out.put_slice(format!("\"resourceVersion\":\"{revision}\",").as_bytes());
        out.put_slice(&self.bytes[at..]);
    }

    /// The object as JSON with `metadata.resourceVersion` spliced in.
    pub fn to_json(&self, revision: u64) -> Bytes {
        let mut out = BytesMut::new();
        self.write_json(revision, &mut out);
        out.freeze()
    }

    /// The object as a value, with `metadata.resourceVersion`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the stored bytes are damaged.
    pub fn to_value(&self, revision: u64) -> Result<Value, Error> {
        let mut value: Value =
            serde_json::from_slice(&self.bytes).map_err(|error| Error::Malformed(error.to_string()))?;
        value["metadata"]["resourceVersion"] = Value::String(revision.to_string());
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind;

    #[test]
    fn the_revision_is_spliced_and_never_stored() {
        let pod = kind::by_kind("v1", "Pod").expect("served");
        let value = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "uid": "u", "resourceVersion": "7", "labels": {"b": "2", "a": "1"}},
            "spec": {"nodeName": "n1"},
        });
        let object = Object::new(pod, &value).expect("object");
        assert!(!object.bytes().windows(15).any(|window| window == b"resourceVersion"));
        let shown: Value = serde_json::from_slice(&object.to_json(12)).expect("JSON");
        assert_eq!(shown["metadata"]["resourceVersion"], "12");
        assert_eq!(shown, object.to_value(12).expect("value"));
        assert_eq!(object.face.field("spec.nodeName"), "n1");
        assert_eq!(object.face.field("status.phase"), "");
        assert_eq!(object.face.label("a"), Some("1"));
    }

    #[test]
    fn a_nameless_object_is_refused() {
        let pod = kind::by_kind("v1", "Pod").expect("served");
        assert_eq!(Object::new(pod, &json!({"metadata": {"uid": "u"}})), Err(Error::Missing("metadata.name")));
    }
}
