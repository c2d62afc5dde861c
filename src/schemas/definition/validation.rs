//! Whether a definition may be stored: upstream's rules, paths and texts.
//!
//! Follows `pkg/apis/apiextensions/validation/validation.go`. Paths are those of upstream's internal form, which clients
//! have always been shown: what all versions say alike is reported once, at `spec.validation`, `spec.subresources`,
//! `spec.additionalPrinterColumns` and `spec.selectableFields`, as `pkg/apis/apiextensions/v1/conversion.go` moves it.

use objects::{Cause, Kind};
use serde_json::{Value, json};

use super::list;
use super::webhook;
use crate::columns::Column;
use crate::faults::Faults;
use crate::place::Place;
use crate::schema::{check_defaults, depth_fits, keywords, structural};
use crate::{Rules, Schema, rules, selectable};

/// Most versions of one definition. Upstream has no limit but the size of a request.
const VERSIONS_MAX: usize = 100;

/// Most columns of one version.
const COLUMNS_MAX: usize = 100;

/// The annotation by which groups of the community are approved.
const APPROVAL: &str = "api-approved.kubernetes.io";

/// What may stand at the root of a schema whose status is a resource of its own, as upstream's types call it, and as JSON
/// does.
const BESIDE_STATUS: [(&str, &str); 22] = [
    ("Description", "description"),
    ("Type", "type"),
    ("Format", "format"),
    ("Title", "title"),
    ("Maximum", "maximum"),
    ("ExclusiveMaximum", "exclusiveMaximum"),
    ("Minimum", "minimum"),
    ("ExclusiveMinimum", "exclusiveMinimum"),
    ("MaxLength", "maxLength"),
    ("MinLength", "minLength"),
    ("Pattern", "pattern"),
    ("MaxItems", "maxItems"),
    ("MinItems", "minItems"),
    ("UniqueItems", "uniqueItems"),
    ("MultipleOf", "multipleOf"),
    ("Required", "required"),
    ("Items", "items"),
    ("Properties", "properties"),
    ("ExternalDocs", "externalDocs"),
    ("Example", "example"),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields"),
    ("XValidations", "x-kubernetes-validations"),
];

/// Definitions without what the registry declares of them: the rules of metadata are the same for all kinds, and the rest is
/// judged here.
fn bare() -> Kind {
    Kind::undeclared("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", false)
}

/// What is wrong with a new definition, defaults filled in; empty when nothing is.
///
/// `rules` compiles `x-kubernetes-validations`; without it, a definition that has any is refused.
pub fn create(definition: &Value, rules: Option<&dyn Rules>) -> Vec<Cause> {
    let mut faults = Faults::default();
    faults.extend(objects::validation::create(&bare(), definition));
    let spec = &definition["spec"];
    let name = definition["metadata"]["name"].as_str().unwrap_or_default();
    let wanted = format!("{}.{}", text(&spec["names"]["plural"]), text(&spec["group"]));
    if name != wanted && !name.is_empty() {
        let metadata = Place::at("metadata");
        faults.invalid_text(&metadata.field("name"), name, "must be spec.names.plural+\".\"+spec.group");
    }
    let rigor = Rigor { rules, recognized_reviews: true, ca_bundle: false };
    check_spec(spec, &rigor, &mut faults);
    check_status(definition, &mut faults);
    approval(definition, None, &mut faults);
    preserve_unknown_fields(definition, None, &mut faults);
    faults.into_causes()
}

/// What is wrong with replacing a definition by another; empty when nothing is.
pub fn update(old: &Value, new: &Value, rules: Option<&dyn Rules>) -> Vec<Cause> {
    let mut faults = Faults::default();
    faults.extend(objects::validation::update(&bare(), old, new));
    let (before, spec) = (&old["spec"], &new["spec"]);
    let established = super::is_established(old);
    let old_webhook = &before["conversion"]["webhook"];
    let reviews = list(&old_webhook["conversionReviewVersions"]);
    let old_bundle = text(&old_webhook["clientConfig"]["caBundle"]);
    let rigor = Rigor {
        rules,
        recognized_reviews: reviews.is_empty() || webhook::recognizes(reviews),
        ca_bundle: established && (old_bundle.is_empty() || webhook::ca_bundle_fault(old_bundle).is_none()),
    };
    check_spec(spec, &rigor, &mut faults);
    let place = Place::at("spec");
    let names = place.field("names");
    if established {
        faults.immutable(&place.field("scope"), &before["scope"], &spec["scope"]);
        faults.immutable(&names.field("kind"), &before["names"]["kind"], &spec["names"]["kind"]);
    }
    faults.immutable(&place.field("group"), &before["group"], &spec["group"]);
    faults.immutable(&names.field("plural"), &before["names"]["plural"], &spec["names"]["plural"]);
    check_status(new, &mut faults);
    approval(new, Some(old), &mut faults);
    preserve_unknown_fields(new, Some(old), &mut faults);
    faults.into_causes()
}

/// What is wrong with a write to a definition's `/status`.
pub fn update_status(old: &Value, new: &Value) -> Vec<Cause> {
    let mut faults = Faults::default();
    faults.extend(objects::validation::update(&bare(), old, new));
    let status = Place::at("status");
    names(&new["status"]["acceptedNames"], &status.field("acceptedNames"), &mut faults);
    faults.into_causes()
}

/// How strict to be.
struct Rigor<'a> {
    rules: Option<&'a dyn Rules>,
    /// Whether a webhook has to speak a version of ConversionReview that this server speaks.
    recognized_reviews: bool,
    /// Whether the webhook's CA bundle has to be good already.
    ca_bundle: bool,
}

/// Where versions say something: each at its own place, or all alike.
struct Shared {
    schema: bool,
    subresources: bool,
    columns: bool,
    selectable: bool,
}

impl Shared {
    fn of(versions: &[Value]) -> Self {
        let alike = |key: &str| versions.windows(2).all(|pair| pair[0][key] == pair[1][key]);
        let schema = alike("schema");
        Self {
            schema,
            subresources: alike("subresources"),
            columns: alike("additionalPrinterColumns"),
            selectable: schema && alike("selectableFields"),
        }
    }
}

fn check_spec(spec: &Value, rigor: &Rigor<'_>, faults: &mut Faults) {
    let place = Place::at("spec");
    group(text(&spec["group"]), &place.field("group"), faults);
    match text(&spec["scope"]) {
        "" => faults.required(&place.field("scope"), ""),
        "Cluster" | "Namespaced" => {}
        _ => faults.not_supported(&place.field("scope"), &spec["scope"], &["Cluster", "Namespaced"]),
    }
    let versions = list(&spec["versions"]);
    let versions_place = place.field("versions");
    if versions.len() > VERSIONS_MAX {
        return faults.push(crate::faults::too_many("spec.versions", versions.len(), VERSIONS_MAX as u64));
    }
    for (at, version) in versions.iter().enumerate() {
        if version["schema"]["openAPIV3Schema"].is_null() {
            let version = versions_place.index(at);
            let schema = version.field("schema");
            faults.required(&schema.field("openAPIV3Schema"), "schemas are required");
        }
    }
    let shared = Shared::of(versions);
    for (at, version) in versions.iter().enumerate() {
        check_version(version, &shared, rigor, &versions_place.index(at), faults);
    }
    version_names(versions, &spec["versions"], &versions_place, faults);
    let names_place = place.field("names");
    for key in ["plural", "singular", "kind", "listKind"] {
        if text(&spec["names"][key]).is_empty() {
            faults.required(&names_place.field(key), "");
        }
    }
    names(&spec["names"], &names_place, faults);
    if let Some(first) = versions.first() {
        let status = versions.iter().any(has_status);
        if shared.schema {
            check_schema(&first["schema"], status, rigor, &place.field("validation"), faults);
        }
        if shared.subresources {
            subresources(&first["subresources"], &place.field("subresources"), faults);
        }
        if shared.columns {
            columns(first, &place.field("additionalPrinterColumns"), faults);
        }
        if shared.selectable {
            selectable_fields(first, &place.field("selectableFields"), faults);
        }
    }
    if text(&spec["conversion"]["strategy"]) != "None" && spec["preserveUnknownFields"] == true {
        let conversion = place.field("conversion");
        let detail = "must be None if spec.preserveUnknownFields is true";
        faults.invalid(&conversion.field("strategy"), &spec["conversion"]["strategy"], detail);
    }
    let conversion = &spec["conversion"];
    webhook::check(conversion, rigor.recognized_reviews, rigor.ca_bundle, &place.field("conversion"), faults);
}

fn has_status(version: &Value) -> bool {
    version["subresources"]["status"].is_object()
}

fn group(group: &str, place: &Place<'_>, faults: &mut Faults) {
    let wrong = objects::validation::names::dns_subdomain(group);
    if group.is_empty() {
        faults.required(place, "");
    } else if !wrong.is_empty() {
        faults.invalid_text(place, group, wrong.join(","));
    } else if !group.contains('.') {
        faults.invalid_text(place, group, "should be a domain with at least one dot");
    }
}

fn check_version(version: &Value, shared: &Shared, rigor: &Rigor<'_>, place: &Place<'_>, faults: &mut Faults) {
    let wrong = dns_1035_label(text(&version["name"]));
    if !wrong.is_empty() {
        faults.invalid_text(&place.field("name"), text(&version["name"]), wrong.join(","));
    }
    deprecation(version, &place.field("deprecationWarning"), faults);
    if !shared.schema {
        check_schema(&version["schema"], has_status(version), rigor, &place.field("schema"), faults);
    }
    if !shared.subresources {
        subresources(&version["subresources"], &place.field("subresources"), faults);
    }
    if !shared.columns {
        columns(version, &place.field("additionalPrinterColumns"), faults);
    }
    if !shared.selectable {
        selectable_fields(version, &place.field("selectableFields"), faults);
    }
}

fn deprecation(version: &Value, place: &Place<'_>, faults: &mut Faults) {
    let Some(warning) = version["deprecationWarning"].as_str() else { return };
    if version["deprecated"] != true {
        return faults.invalid_text(place, warning, "can only be set for deprecated versions");
    }
    if warning.len() > 256 {
        faults.invalid_text(place, warning, "must be <= 256 characters long");
    }
    if warning.is_empty() {
        faults.invalid_text(place, warning, "must not be an empty string");
    }
    if let Some((at, _)) = warning.char_indices().find(|(_, letter)| letter.is_control()) {
        let detail =
            format!("must only contain printable UTF-8 characters; non-printable character found at index {at}");
        faults.invalid_text(place, warning, detail);
    }
}

fn version_names(versions: &[Value], all: &Value, place: &Place<'_>, faults: &mut Faults) {
    let mut names: Vec<&str> = versions.iter().map(|version| text(&version["name"])).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        faults.invalid(place, all, "must contain unique version names");
    }
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        faults.invalid(place, all, "must have exactly one version marked as storage version");
    }
}

fn names(names: &Value, place: &Place<'_>, faults: &mut Faults) {
    for key in ["plural", "singular"] {
        let name = text(&names[key]);
        let wrong = dns_1035_label(name);
        if !name.is_empty() && !wrong.is_empty() {
            faults.invalid_text(&place.field(key), name, wrong.join(","));
        }
    }
    for key in ["kind", "listKind"] {
        let name = text(&names[key]);
        let wrong = dns_1035_label(&name.to_lowercase());
        if !name.is_empty() && !wrong.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            faults.invalid_text(&place.field(key), name, detail);
        }
    }
    let lists = |key: &'static str, faults: &mut Faults| {
        let below = place.field(key);
        for (at, name) in list(&names[key]).iter().enumerate() {
            let wrong = dns_1035_label(text(name));
            if !wrong.is_empty() {
                faults.invalid(&below.index(at), name, wrong.join(","));
            }
        }
    };
    lists("shortNames", faults);
    let kind = text(&names["kind"]);
    if !kind.is_empty() && names["kind"] == names["listKind"] {
        faults.invalid_text(&place.field("listKind"), kind, "kind and listKind may not be the same");
    }
    lists("categories", faults);
}

/// A label that begins with a letter (`apimachinery/pkg/util/validation/validation.go`).
pub(crate) fn dns_1035_label(name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if name.len() > objects::validation::names::LABEL_MAX {
        wrong.push(format!("must be no more than {} bytes", objects::validation::names::LABEL_MAX));
    }
    let begins = name.starts_with(|letter: char| letter.is_ascii_lowercase());
    if !begins || !objects::validation::names::is_dns_label(name) {
        wrong.push(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
             character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation \
             is '[a-z]([-a-z0-9]*[a-z0-9])?')"
                .into(),
        );
    }
    wrong
}

/// Judges `{"openAPIV3Schema": …}`.
fn check_schema(validation: &Value, status: bool, rigor: &Rigor<'_>, place: &Place<'_>, faults: &mut Faults) {
    let raw = &validation["openAPIV3Schema"];
    if raw.is_null() {
        return;
    }
    let place = place.field("openAPIV3Schema");
    if !depth_fits(raw) {
        let detail = crate::Error::TooDeep(crate::schema::DEPTH_MAX);
        return faults.invalid_text(&place, "", detail);
    }
    let mut found = Faults::default();
    if status {
        beside_status(raw, &place, &mut found);
    }
    if raw["nullable"] == true {
        found.forbidden(&place.field("nullable"), "nullable cannot be true at the root");
    }
    let parsed = Schema::parse(raw);
    if let Ok(schema) = &parsed {
        let structure = structural::check(schema, &place);
        let sound = structure.is_empty();
        found.extend(structure);
        if sound {
            found.extend(check_defaults(schema, &place));
        }
    }
    keywords::check(raw, keywords::Context::ROOT, &place, &mut found);
    match parsed {
        // What cannot be read has mostly been named already.
        Err(error) if found.is_empty() => found.invalid_text(&place, "", error),
        Ok(mut schema) if found.is_empty() => found.extend(rules::compile(&mut schema, rigor.rules, &place)),
        _ => {}
    }
    faults.extend(found.into_causes());
}

/// When status is a resource of its own, its part of the schema has to say all that is said about it.
fn beside_status(raw: &Value, place: &Place<'_>, faults: &mut Faults) {
    let empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let ty = text(&raw["type"]);
    if !ty.is_empty() && ty != "object" {
        let detail =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        return faults.invalid_text(&place.field("type"), ty, detail);
    }
    let known = |key: &str| BESIDE_STATUS.iter().any(|(_, name)| *name == key);
    let said = raw.as_object().into_iter().flatten();
    // A root that may not be nullable at all says so itself.
    let other = said.filter(|(key, value)| !empty(value) && !known(key) && is_keyword(key)).count();
    if other > 0 {
        let names: Vec<&str> = BESIDE_STATUS.iter().map(|(name, _)| *name).collect();
        let detail = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
            names.join(" ")
        );
        faults.invalid(place, raw, detail);
    }
}

/// Whether a key is one that schemas know besides those of [`BESIDE_STATUS`]; others are dropped when a schema is stored.
fn is_keyword(key: &str) -> bool {
    key.starts_with("x-kubernetes-")
        || matches!(
            key,
            "id" | "$schema"
                | "$ref"
                | "nullable"
                | "default"
                | "enum"
                | "maxProperties"
                | "minProperties"
                | "allOf"
                | "oneOf"
                | "anyOf"
                | "not"
                | "additionalProperties"
                | "patternProperties"
                | "dependencies"
                | "additionalItems"
                | "definitions"
        )
}

fn subresources(subresources: &Value, place: &Place<'_>, faults: &mut Faults) {
    let scale = &subresources["scale"];
    if !scale.is_object() {
        return;
    }
    for (key, name, below) in [
        ("specReplicasPath", "scale.specReplicasPath", &[".spec."][..]),
        ("statusReplicasPath", "scale.statusReplicasPath", &[".status."]),
        ("labelSelectorPath", "scale.labelSelectorPath", &[".spec.", ".status."]),
    ] {
        let place = place.field(name);
        let path = text(&scale[key]);
        if path.is_empty() {
            if key != "labelSelectorPath" {
                faults.required(&place, "");
            }
        } else if !path.starts_with('.') {
            faults.invalid_text(&place, path, "must be a simple json path starting with .");
        } else if !below.iter().any(|start| path.starts_with(start)) {
            let detail = match below {
                [only] => format!("should be a json path under {}", only.trim_end_matches('.')),
                _ => "should be a json path under either .spec or .status".to_owned(),
            };
            faults.invalid_text(&place, path, detail);
        } else if path.split('.').skip(1).any(str::is_empty) || path.contains(['[', ']']) {
            // Upstream stores such a path and then finds nothing by it.
            faults.invalid_text(&place, path, "must be a json path in the dot notation");
        }
    }
}

fn columns(version: &Value, place: &Place<'_>, faults: &mut Faults) {
    let columns = list(&version["additionalPrinterColumns"]);
    if columns.len() > COLUMNS_MAX {
        let cause = crate::faults::too_many(&place.to_string(), columns.len(), COLUMNS_MAX as u64);
        return faults.push(cause);
    }
    for (at, column) in columns.iter().enumerate() {
        Column::check(column, &place.index(at), faults);
    }
}

fn selectable_fields(version: &Value, place: &Place<'_>, faults: &mut Faults) {
    let fields = list(&version["selectableFields"]);
    if fields.is_empty() {
        return;
    }
    match &version["schema"]["openAPIV3Schema"] {
        Value::Null => {
            faults.invalid_text(place, "", "selectableFields may only be set when validations.schema is included");
        }
        raw => {
            // A schema that cannot be read is told of where it stands.
            if let Ok(schema) = Schema::parse(raw) {
                selectable::check(fields, &schema, place, faults);
            }
        }
    }
}

fn check_status(definition: &Value, faults: &mut Faults) {
    let place = Place::at("status");
    let status = &definition["status"];
    names(&status["acceptedNames"], &place.field("acceptedNames"), faults);
    let place = place.field("storedVersions");
    let (stored, all) = (list(&status["storedVersions"]), json!(list(&status["storedVersions"])));
    if stored.is_empty() {
        return faults.invalid(&place, &all, "must have at least one stored version");
    }
    let versions = list(&definition["spec"]["versions"]);
    for version in versions {
        if version["storage"] == true && !stored.contains(&version["name"]) {
            let detail = format!("must have the storage version {}", text(&version["name"]));
            faults.invalid(&place, &all, detail);
        }
    }
    for (at, name) in stored.iter().enumerate() {
        if !versions.iter().any(|version| version["name"] == *name) {
            let name = text(name);
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a \
                 storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            faults.invalid_text(&place.index(at), name, detail);
        }
    }
}

/// Groups of the community need an annotation that says who approved them.
fn approval(new: &Value, old: Option<&Value>, faults: &mut Faults) {
    let group = text(&new["spec"]["group"]);
    let protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group == *domain || group.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')));
    let state = |definition: &Value| match definition["metadata"]["annotations"][APPROVAL].as_str().unwrap_or_default()
    {
        "" => Approval::Missing,
        text if text.starts_with("unapproved") => Approval::Bypassed,
        text if webhook::Url::parse(text).is_some_and(|url| !url.host.is_empty() && !url.scheme.is_empty()) => {
            Approval::Given
        }
        _ => Approval::Invalid,
    };
    if !protected || old.is_some_and(|old| state(old) == state(new)) {
        return;
    }
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    let metadata = Place::at("metadata");
    let annotations = metadata.field("annotations");
    let place = annotations.key(APPROVAL);
    match state(new) {
        Approval::Missing => {
            faults.required(&place, format!("protected groups must have approval annotation {APPROVAL:?}, {SEE}"));
        }
        Approval::Invalid => {
            let detail = format!(
                "protected groups must have approval annotation {APPROVAL:?} with either a URL or a reason starting with \
                 \"unapproved\", {SEE}"
            );
            faults.invalid(&place, &new["metadata"]["annotations"][APPROVAL], detail);
        }
        Approval::Bypassed | Approval::Given => {}
    }
}

#[derive(PartialEq, Eq)]
enum Approval {
    Missing,
    Bypassed,
    Given,
    Invalid,
}

fn preserve_unknown_fields(new: &Value, old: Option<&Value>, faults: &mut Faults) {
    let preserves = |definition: &Value| definition["spec"]["preserveUnknownFields"] == true;
    if preserves(new) && !old.is_some_and(preserves) {
        let place = Place::at("spec");
        let detail =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        faults.invalid(&place.field("preserveUnknownFields"), &Value::Bool(true), detail);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
