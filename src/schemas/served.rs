//! A version of a definition as the generic path of the API server sees it: one [`Kind`], whose behaviour is here.

use std::sync::Arc;

use jiff::Timestamp;
use objects::canonical::Warning;
use objects::columns::NAME;
use objects::custom::Replicas;
use objects::structure::Structure;
use objects::{Cause, Custom, Kind, Status};
use serde_json::{Value, json};

use crate::definition::{Definition, Version, is_established};
use crate::{columns, conversion, object, openapi};

/// What the stored form of a definition says besides its spec: who it is, and how far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    name: String,
    uid: String,
    accepted: Value,
    established: bool,
    ending: bool,
}

impl Standing {
    /// Reads a definition as it is stored.
    pub fn read(definition: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &definition["metadata"];
        Self {
            name: text(&metadata["name"]),
            uid: text(&metadata["uid"]),
            accepted: definition["status"]["acceptedNames"].clone(),
            established: is_established(definition),
            ending: metadata["deletionTimestamp"].is_string(),
        }
    }
}

/// The kinds that a definition gives, one for each served version, the preferred one first; none before its names are
/// accepted.
pub fn kinds(definition: &Arc<Definition>, standing: &Standing) -> Vec<Arc<Kind>> {
    if !standing.established {
        return Vec::new();
    }
    let stored =
        definition.storage().map_or_else(String::new, |version| format!("{}/{}", definition.group, version.name));
    let served = definition.served().into_iter().filter_map(|version| {
        let at = definition.versions.iter().position(|other| other.name == version.name)?;
        let mut bare = definition.kind_of(version);
        accept(&mut bare, &standing.accepted);
        let behaviour = Served {
            definition: Arc::clone(definition),
            at,
            bare: bare.clone(),
            stored: stored.clone(),
            standing: standing.clone(),
        };
        bare.custom = Some(Arc::new(behaviour));
        Some(Arc::new(bare))
    });
    served.collect()
}

/// Gives a kind the names that were accepted, which may be others than those that are asked for.
fn accept(kind: &mut Kind, accepted: &Value) {
    let text = |key: &str| accepted[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let texts = |key: &str| -> Vec<String> {
        accepted[key].as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    if let Some(name) = text("kind") {
        kind.kind = name;
    }
    if let Some(name) = text("listKind") {
        kind.list_kind = name;
    }
    if let Some(name) = text("singular") {
        kind.singular = name;
    }
    kind.short_names = texts("shortNames");
    kind.categories = texts("categories");
}

struct Served {
    definition: Arc<Definition>,
    /// Which of its versions.
    at: usize,
    /// The kind without this behaviour, for the rules that are alike for all kinds.
    bare: Kind,
    /// API version of the storage version.
    stored: String,
    standing: Standing,
}

impl Served {
    fn version(&self) -> &Version {
        &self.definition.versions[self.at]
    }
}

impl Custom for Served {
    fn decode(&self, value: Value) -> Result<(Value, Vec<Warning>), Status> {
        object::decode(&self.bare, &self.version().schema, value)
    }

    fn default(&self, value: &mut Value) {
        self.version().schema.fill(value);
    }

    fn begin(&self, value: &mut Value) {
        object::prepare_create(self.version(), value);
    }

    fn read(&self, value: &mut Value) {
        conversion::rename(value, &self.bare.api_version());
        object::read(&self.version().schema, value);
    }

    fn stored_version(&self) -> &str {
        &self.stored
    }

    fn create(&self, value: &Value) -> Vec<Cause> {
        object::create(&self.bare, self.version(), value)
    }

    fn update(&self, old: &Value, new: &Value) -> Vec<Cause> {
        object::update(&self.bare, self.version(), old, new, None)
    }

    fn structure(&self) -> &Structure {
        &self.version().structure
    }

    fn columns(&self) -> Vec<Value> {
        let own = self.version().columns.iter().map(|column| {
            json!({
                "name": column.name, "type": column.ty, "format": column.format, "description": column.description,
                "priority": column.priority,
            })
        });
        std::iter::once(NAME.definition()).chain(own).collect()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        columns::cells(&self.version().columns, object, now)
    }

    fn scale(&self, object: &Value) -> Result<Replicas, String> {
        self.version().scale.as_ref().map_or_else(|| Err(NO_SCALE.to_owned()), |scale| scale.get(object))
    }

    fn set_scale(&self, object: &mut Value, replicas: i64) -> Result<(), String> {
        self.version().scale.as_ref().map_or_else(|| Err(NO_SCALE.to_owned()), |scale| scale.set(object, replicas))
    }

    fn component_name(&self) -> String {
        openapi::component_name(&self.bare)
    }

    fn component(&self) -> Value {
        openapi::component(&self.bare, &self.version().schema)
    }

    fn deprecation(&self) -> Option<&str> {
        self.version().deprecation.as_deref()
    }

    fn definition(&self) -> (&str, &str) {
        (&self.standing.name, &self.standing.uid)
    }

    fn is_ending(&self) -> bool {
        self.standing.ending
    }
}

const NO_SCALE: &str = "the version has no scale subresource";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_gives_kinds_once_it_is_established() {
        let mut value = crate::object::tests::definition();
        let read = |value: &Value| Arc::new(Definition::read(value, None).expect("a definition"));
        assert!(kinds(&read(&value), &Standing::read(&value)).is_empty());
        value["spec"]["versions"][0]["additionalPrinterColumns"] =
            json!([{"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"}]);
        value["spec"]["names"]["shortNames"] = json!(["ct", "taken"]);
        value["status"]["acceptedNames"] = json!({"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"]});
        value["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
        let kinds = kinds(&read(&value), &Standing::read(&value));
        let [kind] = kinds.as_slice() else { panic!("{kinds:?}") };
        assert_eq!(kind.api_version(), "stable.example.com/v1");
        assert_eq!((&*kind.list_kind, &*kind.short_names), ("CronTabList", &["ct".to_owned()][..]));
        assert!(kind.is_stored() && !kind.shows_what_is_stored());
        let custom = kind.custom.as_ref().expect("a behaviour");
        assert_eq!(custom.stored_version(), "stable.example.com/v1");
        assert_eq!(custom.definition(), ("crontabs.stable.example.com", "u"));
        let mut object = json!({"apiVersion": "stable.example.com/v1beta1", "spec": {"cronSpec": "* * * * *", "odd": 1},
            "metadata": {"name": "a"}});
        kind.from_stored(&mut object);
        assert_eq!(
            object,
            json!({"apiVersion": "stable.example.com/v1", "metadata": {"name": "a"},
            "spec": {"cronSpec": "* * * * *", "replicas": 1}})
        );
        let names: Vec<Value> = custom.columns().into_iter().map(|column| column["name"].clone()).collect();
        assert_eq!(names, ["Name", "Spec"]);
        assert_eq!(custom.cells(&object, Timestamp::UNIX_EPOCH), ["a", "* * * * *"]);
        assert_eq!(custom.scale(&object).map(|replicas| replicas.wanted), Ok(Some(1)));
    }
}
