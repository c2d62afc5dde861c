//! What a kind does that a definition describes while the cluster runs, where built-in kinds have a declaration and a table
//! of fields.
//!
//! One object of this trait stands for one version of a definition. The generic path asks it at the few places at which it
//! asks `kinds::Declaration` and [`fields`](crate::fields) otherwise; nothing here is async or has a
//! clock.

use jiff::Timestamp;
use serde_json::Value;

use crate::canonical::Warning;
use crate::structure::Structure;
use crate::{Cause, Status};

/// One version of a kind that a definition describes.
pub trait Custom: Send + Sync {
    /// Reads a body: a value of the right form, unknown fields removed and named.
    ///
    /// # Errors
    /// 400 for what is no object of this kind and version.
    fn decode(&self, value: Value) -> Result<(Value, Vec<Warning>), Status>;

    /// Fills in defaults. Twice is once.
    fn default(&self, value: &mut Value);

    /// Drops from a new object what only the server writes.
    fn begin(&self, value: &mut Value);

    /// Makes a stored object, of whichever version, one of this version: what the version does not know goes, defaults come.
    /// Twice is once.
    fn read(&self, value: &mut Value);

    /// The `apiVersion` in which objects are stored.
    fn stored_version(&self) -> &str;

    /// What is wrong with a new object, defaults filled in.
    fn create(&self, value: &Value) -> Vec<Cause>;

    /// What is wrong with replacing one object by another, both of this version.
    fn update(&self, old: &Value, new: &Value) -> Vec<Cause>;

    /// How fields are owned and merged.
    fn structure(&self) -> &Structure;

    /// The columns of the table, each as `columnDefinitions` has it.
    fn columns(&self) -> Vec<Value>;

    /// The cells of an object's row, one for each column. Ages count until `now`.
    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value>;

    /// What `/scale` shows of an object.
    ///
    /// # Errors
    /// A text for people when something of another type stands where a number is looked for, or there is no `/scale`.
    fn scale(&self, object: &Value) -> Result<Replicas, String>;

    /// Sets how many replicas are wanted.
    ///
    /// # Errors
    /// As [`Self::scale`].
    fn set_scale(&self, object: &mut Value, replicas: i64) -> Result<(), String>;

    /// Name of the OpenAPI component, as `com.example.stable.v1.CronTab`.
    fn component_name(&self) -> String;

    /// The OpenAPI component. It may refer to `io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta`.
    fn component(&self) -> Value;

    /// What to warn callers of, where the version is deprecated.
    fn deprecation(&self) -> Option<&str>;

    /// Name and uid of the definition: nothing is created unless it is there and stays.
    fn definition(&self) -> (&str, &str);

    /// Whether the definition is being deleted, and its objects with it.
    fn is_ending(&self) -> bool;
}

/// How many replicas an object says there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replicas {
    /// How many are wanted; `None` when the object does not say, which a scale shows as 0 and a write has to set.
    pub wanted: Option<i64>,
    /// How many there are.
    pub found: i64,
    /// Which they are, as a label selector in the form of a query.
    pub selector: String,
}
