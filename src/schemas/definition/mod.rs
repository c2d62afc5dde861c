//! CustomResourceDefinitions (`apiextensions.k8s.io/v1`): what they say, whether they may, what becomes of them.
//!
//! [`decode`], [`default`], [`prepare_create`] and [`prepare_update`] make a body what is stored, [`create`] and [`update`]
//! judge it, [`settle`] decides its status. [`Definition::read`] is the typed form of one that passed: what the API server
//! serves by.

mod decoding;
mod defaulting;
mod status;
mod validation;
mod webhook;

use std::sync::{Arc, LazyLock};

use objects::Kind;
use objects::structure::Structure;
use serde_json::Value;

pub use decoding::decode;
pub use defaulting::{default, prepare_create, prepare_update};
pub use status::{CLEANUP_FINALIZER, Claims, Removal, begin_removal, is_established, removal, settle};
pub(crate) use validation::dns_1035_label;
pub use validation::{create, update, update_status};

use crate::columns::Column;
use crate::scale::Scale;
use crate::{Error, Rules, Schema};
use crate::{ownership, rules};

/// The kind of definitions, as the registry of kinds lists it.
pub fn kind() -> &'static Arc<Kind> {
    static KIND: LazyLock<Arc<Kind>> = LazyLock::new(|| {
        let listed = objects::kind::by_kind("apiextensions.k8s.io/v1", "CustomResourceDefinition");
        Arc::clone(listed.expect("the registry lists the kind of definitions"))
    });
    &KIND
}

/// A definition in a typed form.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// API group.
    pub group: String,
    /// Plural, as in URLs.
    pub plural: String,
    /// Singular.
    pub singular: String,
    /// Short names.
    pub short_names: Vec<String>,
    /// Categories.
    pub categories: Vec<String>,
    /// Kind, as manifests spell it.
    pub kind: String,
    /// Kind of lists.
    pub list_kind: String,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// The versions, in the order of the definition.
    pub versions: Vec<Version>,
    /// How objects get from one version to another.
    pub conversion: Conversion,
}

/// How objects get from one version to another.
#[derive(Debug, Clone, PartialEq)]
pub enum Conversion {
    /// Only `apiVersion` changes.
    None,
    /// A webhook does it: `spec.conversion.webhook`, with `clientConfig` and `conversionReviewVersions`.
    Webhook(Value),
}

/// One version of a definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// Its name, as `v1`.
    pub name: String,
    /// Whether it is served.
    pub served: bool,
    /// Whether objects are stored in it; one is.
    pub storage: bool,
    /// What to warn callers of when it is deprecated.
    pub deprecation: Option<String>,
    /// What its objects hold.
    pub schema: Arc<Schema>,
    /// How its fields are owned and merged.
    pub structure: Arc<Structure>,
    /// Whether `/status` exists.
    pub has_status: bool,
    /// Where `/scale` reads and writes.
    pub scale: Option<Scale>,
    /// Columns of its table besides the name; the age when the definition has none.
    pub columns: Vec<Column>,
    /// Paths that field selectors may name, as `.spec.a`.
    pub selectable: Vec<String>,
}

impl Definition {
    /// Reads a definition that passed [`create`] or [`update`]. `rules` compiles its rules; without it, objects of a
    /// version that has rules are refused.
    ///
    /// # Errors
    /// What keeps a part from being read; a definition that passed has no such part.
    pub fn read(definition: &Value, rules: Option<&dyn Rules>) -> Result<Self, Error> {
        let spec = &definition["spec"];
        let names = &spec["names"];
        let needed = |value: &Value, what: &'static str| {
            value.as_str().filter(|text| !text.is_empty()).map(str::to_owned).ok_or(Error::Missing(what))
        };
        let kind = needed(&names["kind"], "spec.names.kind")?;
        let group = needed(&spec["group"], "spec.group")?;
        let conversion = match spec["conversion"]["strategy"].as_str() {
            Some("Webhook") => Conversion::Webhook(spec["conversion"]["webhook"].clone()),
            _ => Conversion::None,
        };
        let versions: Result<Vec<Version>, Error> =
            list(&spec["versions"]).iter().map(|version| Version::read(version, &group, &kind, rules)).collect();
        Ok(Self {
            plural: needed(&names["plural"], "spec.names.plural")?,
            singular: names["singular"].as_str().map_or_else(|| kind.to_lowercase(), str::to_owned),
            short_names: texts(&names["shortNames"]),
            categories: texts(&names["categories"]),
            list_kind: names["listKind"].as_str().map_or_else(|| format!("{kind}List"), str::to_owned),
            namespaced: spec["scope"] == "Namespaced",
            versions: versions?,
            conversion,
            group,
            kind,
        })
    }

    /// A version by its name, served or not.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }

    /// The version that objects are stored in.
    pub fn storage(&self) -> Option<&Version> {
        self.versions.iter().find(|version| version.storage)
    }

    /// The served versions in the order of discovery: stable before beta before alpha, later before earlier; the first is
    /// the preferred one (`apimachinery/pkg/version/helpers.go`).
    pub fn served(&self) -> Vec<&Version> {
        let mut served: Vec<&Version> = self.versions.iter().filter(|version| version.served).collect();
        served.sort_by(|a, b| version_order(&a.name, &b.name));
        served
    }

    /// What the registry of kinds says about one version.
    pub fn kind_of(&self, version: &Version) -> Kind {
        let mut kind = Kind::undeclared(&self.group, &version.name, &self.kind, &self.plural, self.namespaced);
        kind.singular = self.singular.clone();
        kind.short_names = self.short_names.clone();
        kind.categories = self.categories.clone();
        kind.list_kind = self.list_kind.clone();
        kind.has_status = version.has_status;
        kind.has_scale = version.scale.is_some();
        kind.counts_generation = true;
        kind.field_selectors =
            version.selectable.iter().map(|path| crate::selectable::label(path).to_owned()).collect();
        kind
    }
}

impl Version {
    fn read(version: &Value, group: &str, kind: &str, rules: Option<&dyn Rules>) -> Result<Self, Error> {
        let name = version["name"].as_str().ok_or(Error::Missing("spec.versions[].name"))?.to_owned();
        let mut schema = match &version["schema"]["openAPIV3Schema"] {
            Value::Null => Schema::default(),
            schema => Schema::parse(schema)?,
        };
        if let Some(rules) = rules {
            // What does not compile stays without a program, so that its objects are refused.
            drop(rules::compile(&mut schema, Some(rules), &crate::place::Place::ROOT));
        }
        let deprecation = (version["deprecated"] == true).then(|| match version["deprecationWarning"].as_str() {
            Some(text) => text.to_owned(),
            None => format!("{group}/{name} {kind} is deprecated"),
        });
        let subresources = &version["subresources"];
        let columns: Result<Vec<Column>, Error> = match list(&version["additionalPrinterColumns"]) {
            [] => Ok(vec![Column::age()]),
            columns => columns.iter().map(Column::read).collect(),
        };
        Ok(Self {
            served: version["served"] == true,
            storage: version["storage"] == true,
            deprecation,
            has_status: subresources["status"].is_object(),
            scale: Scale::read(&subresources["scale"]),
            columns: columns?,
            selectable: list(&version["selectableFields"])
                .iter()
                .filter_map(|field| field["jsonPath"].as_str().map(str::to_owned))
                .collect(),
            structure: Arc::new(ownership::of_object(&schema)),
            schema: Arc::new(schema),
            name,
        })
    }
}

/// How versions of one group are ordered in discovery, the preferred one first.
pub fn version_order(a: &str, b: &str) -> std::cmp::Ordering {
    priority(b).cmp(&priority(a)).then_with(|| a.cmp(b))
}

/// What versions are sorted by: whether the name is one of Kubernetes' form, how stable it is, its numbers.
fn priority(name: &str) -> (bool, u8, u64, u64) {
    let parsed = || {
        let rest = name.strip_prefix('v')?;
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let major = rest[..end].parse().ok()?;
        let rest = &rest[end..];
        if rest.is_empty() {
            return Some((true, 2, major, 0));
        }
        let (stability, minor) = match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
            (Some(minor), _) => (1, minor),
            (_, Some(minor)) => (0, minor),
            _ => return None,
        };
        let minor = if minor.is_empty() { 0 } else { minor.parse().ok()? };
        Some((true, stability, major, minor))
    };
    parsed().unwrap_or((false, 0, 0, 0))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn texts(value: &Value) -> Vec<String> {
    list(value).iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests;
