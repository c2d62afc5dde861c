//! CustomResourceDefinitions and APIServices: what else is served, kept as objects.
//!
//! Follows `staging/src/k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/{v1/defaults,validation/validation}.go` and
//! `staging/src/k8s.io/kube-aggregator/pkg/apis/apiregistration/{v1/defaults,validation/validation}.go`, as far as the
//! objects themselves go. Serving what they describe is for others.

use serde_json::{Map, Value, json};

use super::Declaration;
use crate::columns::{self, AGE, CREATED_AT, Column, NAME};
use crate::defaulting::{object, or_set, structure};
use crate::validation::{Faults, is_empty, list, names, text};

pub(super) static CUSTOM_RESOURCE_DEFINITION: Declaration = Declaration {
    package: "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions",
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    status: true,
    generation: true,
    fill: Some(definition_defaults),
    rules: Some(definition),
    immutable: &["spec.group", "spec.scope", "spec.names.kind", "spec.names.plural"],
    columns: &[NAME, CREATED_AT],
    ..Declaration::cluster("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions")
};

pub(super) static API_SERVICE: Declaration = Declaration {
    package: "k8s.io.kube_aggregator.pkg.apis.apiregistration",
    categories: &["api-extensions"],
    status: true,
    fill: Some(|map| {
        let service = object(map.get_mut("spec")).and_then(|spec| object(spec.get_mut("service")));
        if let Some(service) = service {
            or_set(service, "port", 443);
        }
    }),
    rules: Some(service),
    columns: &[
        NAME,
        Column::text("Service", "Who serves the group and version.").made(|object, _| {
            let service = &object["spec"]["service"];
            json!(if service.is_null() {
                "Local".into()
            } else {
                format!("{}/{}", columns::text(&service["namespace"]), columns::text(&service["name"]))
            })
        }),
        Column::text("Available", "Whether it is served.").made(|object, _| json!(available(object))),
        AGE,
    ],
    ..Declaration::cluster("apiregistration.k8s.io", "v1", "APIService", "apiservices")
};

fn definition_defaults(map: &mut Map<String, Value>) {
    let Some(spec) = object(map.get_mut("spec")) else { return };
    if let Some(given) = structure(spec, "names") {
        let kind = given.get("kind").and_then(Value::as_str).unwrap_or("").to_owned();
        if !kind.is_empty() {
            or_set(given, "singular", kind.to_lowercase());
            or_set(given, "listKind", format!("{kind}List"));
        }
    }
    if let Some(conversion) = structure(spec, "conversion") {
        or_set(conversion, "strategy", "None");
        let service = object(conversion.get_mut("webhook"))
            .and_then(|webhook| object(webhook.get_mut("clientConfig")))
            .and_then(|config| object(config.get_mut("service")));
        if let Some(service) = service {
            or_set(service, "port", 443);
        }
    }
}

fn definition(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    let given = &spec["names"];
    let wanted = format!("{}.{}", text(given, "plural"), text(spec, "group"));
    if value["metadata"]["name"] != wanted.as_str() {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        faults.invalid("metadata.name", &value["metadata"]["name"], detail);
    }
    if faults.needs("spec.group", &spec["group"]) {
        faults.may_be_named("spec.group", &spec["group"], names::dns_subdomain);
        if !text(spec, "group").contains('.') {
            faults.invalid("spec.group", &spec["group"], "should be a domain with at least one dot");
        }
    }
    faults.supported("spec.scope", &spec["scope"], &["Cluster", "Namespaced"]);
    faults.needs_name("spec.names.plural", &given["plural"], names::dns_1035_label);
    for key in ["kind", "listKind"] {
        let path = format!("spec.names.{key}");
        if faults.needs(&path, &given[key]) {
            let name = text(given, key);
            faults.named(&path, name, names::dns_1035_label(&name.to_lowercase()));
        }
    }
    if !is_empty(&given["kind"]) && given["kind"] == given["listKind"] {
        faults.invalid("spec.names.listKind", &given["listKind"], "kind and listKind may not be the same");
    }
    faults.may_be_named("spec.names.singular", &given["singular"], names::dns_1035_label);
    for key in ["shortNames", "categories"] {
        for (path, name) in list(&format!("spec.names.{key}"), &given[key]) {
            faults.may_be_named(&path, name, names::dns_1035_label);
        }
    }
    versions(faults, &spec["versions"]);
    let strategies = ["None", "Webhook"];
    faults.supported("spec.conversion.strategy", &spec["conversion"]["strategy"], &strategies);
    if spec["conversion"]["strategy"] == "Webhook" && spec["conversion"]["webhook"].is_null() {
        let detail = "required when strategy is set to Webhook";
        faults.required("spec.conversion.webhook", detail);
    }
}

fn versions(faults: &mut Faults, versions: &Value) {
    let mut seen = Vec::new();
    let mut stored = 0;
    for (path, version) in list("spec.versions", versions) {
        let name = text(version, "name");
        faults.needs_name(&format!("{path}.name"), &version["name"], names::dns_1035_label);
        if seen.contains(&name) {
            faults.invalid("spec.versions", &version["name"], "must contain unique version names");
        }
        seen.push(name);
        stored += usize::from(version["storage"] == true);
        if version["schema"]["openAPIV3Schema"].is_null() {
            faults.required(&format!("{path}.schema.openAPIV3Schema"), "schemas are required");
        } else if version["schema"]["openAPIV3Schema"]["type"] != "object" {
            let given = json!(text(&version["schema"]["openAPIV3Schema"], "type"));
            faults.invalid(&format!("{path}.schema.openAPIV3Schema.type"), &given, "must be object at the root");
        }
    }
    if stored != 1 {
        let detail = "must have exactly one version marked as storage version";
        faults.invalid("spec.versions", &json!(seen), detail);
    }
}

fn service(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    let (group, version) = (text(spec, "group"), text(spec, "version"));
    let wanted = format!("{version}.{group}");
    if value["metadata"]["name"] != wanted.as_str() {
        faults.invalid(
            "metadata.name",
            &value["metadata"]["name"],
            format!("must be `spec.version+\".\"+spec.group`: {wanted:?}"),
        );
    }
    faults.may_be_named("spec.group", &spec["group"], names::dns_subdomain);
    if group.is_empty() && version != "v1" {
        faults.required("spec.group", "only v1 may have an empty group and it better be legacy kube");
    }
    faults.needs_name("spec.version", &spec["version"], names::dns_1035_label);
    for (key, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let number = spec[key].as_i64().unwrap_or(0);
        if !(1..=most).contains(&number) {
            faults.invalid(&format!("spec.{key}"), &spec[key], format!("must be positive and less than {most}"));
        }
    }
    if spec["service"].is_null() {
        return;
    }
    for key in ["namespace", "name"] {
        faults.needs(&format!("spec.service.{key}"), &spec["service"][key]);
    }
    faults.port("spec.service.port", &spec["service"]["port"]);
    if spec["insecureSkipTLSVerify"] == true && !is_empty(&spec["caBundle"]) {
        faults.invalid("spec.insecureSkipTLSVerify", &json!(true), "may not be true if caBundle is present");
    }
}

fn available(object: &Value) -> String {
    let conditions = columns::list(&object["status"]["conditions"]);
    match conditions.iter().find(|condition| condition["type"] == "Available") {
        None => "Unknown".into(),
        Some(condition) if condition["status"] == "True" => "True".into(),
        Some(condition) => format!("{} ({})", text(condition, "status"), text(condition, "reason")),
    }
}
