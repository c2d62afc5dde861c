//! Ingresses and their classes.
//!
//! Follows `pkg/apis/networking/v1/defaults.go`, `pkg/apis/networking/validation/validation.go` and
//! `pkg/registry/networking/{ingress,ingressclass}/strategy.go`.

use serde_json::{Value, json};

use super::Declaration;
use crate::columns::{self, AGE, Column, NAME};
use crate::defaulting::Default::Text;
use crate::validation::{Faults, is_empty, list, names, text};

pub(super) static INGRESS: Declaration = Declaration {
    stored_only: true,
    short_names: &["ing"],
    status: true,
    generation: true,
    rules: Some(ingress),
    begin: Some(|value| value["status"] = json!({"loadBalancer": {}})),
    columns: &[
        NAME,
        Column::text("Class", "Which class serves the ingress.").made(|object, _| json!(class_of(object))),
        Column::text("Hosts", "Hosts that incoming requests are matched against before the ingress rule")
            .made(|object, _| json!(hosts(object))),
        Column::text("Address", "Where the ingress can be reached.").made(|object, _| json!(address(object))),
        Column::text("Ports", "Ports of TLS configurations that open")
            .made(|object, _| json!(if is_empty(&object["spec"]["tls"]) { "80" } else { "80, 443" })),
        AGE,
    ],
    ..Declaration::plain("networking.k8s.io", "v1", "Ingress", "ingresses")
};

pub(super) static INGRESS_CLASS: Declaration = Declaration {
    stored_only: true,
    generation: true,
    defaults: &[("spec.parameters.scope", Text("Cluster"))],
    rules: Some(class),
    immutable: &["spec.controller"],
    columns: &[
        NAME,
        Column::text("Controller", "Who serves ingresses of the class.").showing("spec.controller"),
        Column::text("Parameters", "What the controller is set up with.").made(|object, _| json!(parameters(object))),
        AGE,
    ],
    ..Declaration::cluster("networking.k8s.io", "v1", "IngressClass", "ingressclasses")
};

/// The annotation that named the class before there was a field for it.
const CLASS: &str = "kubernetes.io/ingress.class";

fn ingress(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    if is_empty(&spec["rules"]) && spec["defaultBackend"].is_null() {
        faults.invalid("spec", &json!([]), "either `defaultBackend` or `rules` must be specified");
    }
    if !spec["defaultBackend"].is_null() {
        backend(faults, "spec.defaultBackend", &spec["defaultBackend"]);
    }
    faults.may_be_named("spec.ingressClassName", &spec["ingressClassName"], names::dns_subdomain);
    for (path, tls) in list("spec.tls", &spec["tls"]) {
        for (path, host) in list(&format!("{path}.hosts"), &tls["hosts"]) {
            faults.may_be_named(&path, host, names::wildcard_subdomain);
        }
        faults.may_be_named(&format!("{path}.secretName"), &tls["secretName"], names::dns_subdomain);
    }
    for (path, rule) in list("spec.rules", &spec["rules"]) {
        let host = text(rule, "host");
        if host.parse::<std::net::IpAddr>().is_ok() {
            faults.invalid(&format!("{path}.host"), &rule["host"], "must be a DNS name, not an IP address");
        } else {
            faults.may_be_named(&format!("{path}.host"), &rule["host"], names::wildcard_subdomain);
        }
        if rule["http"].is_object() && is_empty(&rule["http"]["paths"]) {
            faults.required(&format!("{path}.http.paths"), "");
        }
        for (path, one) in list(&format!("{path}.http.paths"), &rule["http"]["paths"]) {
            self::path(faults, &path, one);
        }
    }
}

fn path(faults: &mut Faults, path: &str, one: &Value) {
    let kind = text(one, "pathType");
    if kind.is_empty() {
        faults.required(&format!("{path}.pathType"), "pathType must be specified");
    }
    let given = text(one, "path");
    match kind {
        "Exact" | "Prefix" => {
            if !given.starts_with('/') {
                faults.invalid(&format!("{path}.path"), &json!(given), "must be an absolute path");
            }
            for bad in ["//", "/./", "/../", "%2f", "%2F"] {
                if given.contains(bad) {
                    faults.invalid(&format!("{path}.path"), &one["path"], format!("must not contain '{bad}'"));
                }
            }
            for bad in ["/..", "/."] {
                if given.ends_with(bad) {
                    faults.invalid(&format!("{path}.path"), &one["path"], format!("cannot end with '{bad}'"));
                }
            }
        }
        "ImplementationSpecific" => {
            if !given.is_empty() && !given.starts_with('/') {
                faults.invalid(&format!("{path}.path"), &one["path"], "must be an absolute path");
            }
        }
        "" => {}
        _ => {
            let known = ["Exact", "ImplementationSpecific", "Prefix"];
            faults.one_of(&format!("{path}.pathType"), &one["pathType"], &known);
        }
    }
    backend(faults, &format!("{path}.backend"), &one["backend"]);
}

fn backend(faults: &mut Faults, path: &str, backend: &Value) {
    let (service, resource) = (&backend["service"], &backend["resource"]);
    match (service.is_null(), resource.is_null()) {
        (false, false) => faults.invalid(path, &json!(""), "cannot set both resource and service backends"),
        (true, true) => faults.invalid(path, &json!(""), "must specify either a service or a resource"),
        (true, false) => {
            for key in ["kind", "name"] {
                faults.needs(&format!("{path}.resource.{key}"), &resource[key]);
            }
        }
        (false, true) => {
            faults.needs_name(&format!("{path}.service.name"), &service["name"], names::dns_1035_label);
            let port = &service["port"];
            match (is_empty(&port["name"]), port["number"].as_i64().unwrap_or(0) == 0) {
                (false, false) => {
                    let detail = "cannot set both port name & port number";
                    faults.invalid(path, &json!(""), detail);
                }
                (true, true) => faults.required(path, "port name or number is required"),
                (false, true) => {
                    faults.may_be_named(&format!("{path}.service.port.name"), &port["name"], names::port_name)
                }
                (true, false) => faults.port(&format!("{path}.service.port.number"), &port["number"]),
            }
        }
    }
}

fn class(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    if faults.needs("spec.controller", &spec["controller"]) {
        faults.may_be_named("spec.controller", &spec["controller"], names::prefixed);
        if text(spec, "controller").len() > 250 {
            faults.too_long("spec.controller", 250);
        }
    }
    let parameters = &spec["parameters"];
    if parameters.is_null() {
        return;
    }
    for key in ["kind", "name"] {
        faults.needs_name(&format!("spec.parameters.{key}"), &parameters[key], names::path_segment);
    }
    faults.supported("spec.parameters.scope", &parameters["scope"], &["Cluster", "Namespace"]);
    match (text(parameters, "scope"), is_empty(&parameters["namespace"])) {
        ("Namespace", true) => {
            let detail = "`parameters.scope` is set to 'Namespace'";
            faults.required("spec.parameters.namespace", detail);
        }
        ("Cluster", false) => {
            let detail = "`parameters.scope` is set to 'Cluster'";
            faults.forbidden("spec.parameters.namespace", detail);
        }
        _ => faults.may_be_named("spec.parameters.namespace", &parameters["namespace"], names::dns_label),
    }
}

fn class_of(object: &Value) -> &str {
    let old = columns::text(&object["metadata"]["annotations"][CLASS]);
    columns::text_or(&object["spec"]["ingressClassName"], if old.is_empty() { "<none>" } else { old })
}

fn hosts(object: &Value) -> String {
    let rules = columns::list(&object["spec"]["rules"]);
    let hosts: Vec<String> = rules.iter().map(|rule| columns::text_or(&rule["host"], "*").to_owned()).collect();
    if hosts.is_empty() { "*".into() } else { columns::first(&hosts, 3) }
}

fn address(object: &Value) -> String {
    let mut all: Vec<&str> = columns::list(&object["status"]["loadBalancer"]["ingress"])
        .iter()
        .map(|ingress| columns::text_or(&ingress["ip"], columns::text(&ingress["hostname"])))
        .filter(|address| !address.is_empty())
        .collect();
    all.sort_unstable();
    all.dedup();
    all.join(",")
}

fn parameters(object: &Value) -> String {
    let parameters = &object["spec"]["parameters"];
    if parameters.is_null() {
        return "<none>".into();
    }
    let (group, kind) = (text(parameters, "apiGroup"), text(parameters, "kind"));
    let dot = if group.is_empty() { "" } else { "." };
    format!("{kind}{dot}{group}/{}", text(parameters, "name"))
}
