//! An object at one revision.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use objects::{Face, Key, Object};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Counts object changes: each change of one object is one revision, shown to clients as `resourceVersion`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// An object as it stood from one revision on. Immutable and shared.
pub struct Stored {
    /// Its name.
    pub key: Key,
    /// Its content.
    pub object: Arc<Object>,
    /// The revision that created this incarnation.
    pub created: Revision,
    /// The revision that wrote this content; for the last sight of a deleted object, that of the deletion.
    pub revision: Revision,
    typed: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Stored {
    /// An object at a revision.
    pub fn new(key: Key, object: Arc<Object>, created: Revision, revision: Revision) -> Self {
        Self { key, object, created, revision, typed: OnceLock::new() }
    }

    /// Labels, owners and the rest that needs no parsing.
    pub fn face(&self) -> &Face {
        &self.object.face
    }

    /// The object as clients see it, `resourceVersion` included.
    pub fn to_json(&self) -> Bytes {
        self.object.to_json(self.revision.0)
    }

    /// Appends the object as clients see it.
    pub fn write_json(&self, out: &mut BytesMut) {
        self.object.write_json(self.revision.0, out);
    }

    /// The object as clients see it, as a value.
    ///
    /// # Errors
    /// [`objects::Error::Malformed`] when the stored bytes are damaged.
    pub fn to_value(&self) -> Result<serde_json::Value, objects::Error> {
        self.object.to_value(self.revision.0)
    }

    /// The typed view, decoded at most once per revision and shared by all who ask for the same type.
    ///
    /// The view has no `resourceVersion`; that is [`Stored::revision`].
    ///
    /// # Errors
    /// [`objects::Error::Untyped`] when the stored object does not fit the type.
    pub fn typed<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, objects::Error> {
        if let Some(known) = self.typed.get()
            && let Ok(view) = Arc::clone(known).downcast::<T>()
        {
            return Ok(view);
        }
        let view: Arc<T> =
            Arc::new(serde_json::from_slice(self.object.bytes()).map_err(|error| objects::Error::Untyped {
                resource: self.key.resource.to_string(),
                name: self.key.to_string(),
                view: std::any::type_name::<T>(),
                reason: error.to_string(),
            })?);
        // A second type for the same object is rare enough to be decoded anew each time.
        let _ = self.typed.set(Arc::clone(&view) as Arc<dyn Any + Send + Sync>);
        Ok(view)
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}@{}", self.key, self.revision)
    }
}

impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
            && self.revision == other.revision
            && self.created == other.created
            && self.object == other.object
    }
}
