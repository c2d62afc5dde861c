//! CustomResourceDefinitions and APIServices: what else is served, kept as objects.
//!
//! Follows `staging/src/k8s.io/kube-aggregator/pkg/apis/apiregistration/{v1/defaults,validation/validation}.go`. What is special
//! to definitions is judged in the room `schemas`; serving what they describe is for the API server.

use serde_json::{Value, json};

use super::Declaration;
use crate::columns::{self, AGE, CREATED_AT, Column, NAME};
use crate::defaulting::{object, or_set};
use crate::validation::{Faults, is_empty, names, text};

pub(super) static CUSTOM_RESOURCE_DEFINITION: Declaration = Declaration {
    package: "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions",
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    status: true,
    generation: true,
    columns: &[NAME, CREATED_AT],
    ..Declaration::cluster("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions")
};

pub(super) static API_SERVICE: Declaration = Declaration {
    stored_only: true,
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
