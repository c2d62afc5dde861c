//! Admission: configurations of webhooks, and policies with their bindings.
//!
//! Follows `pkg/apis/admissionregistration/v1/defaults.go`, `pkg/apis/admissionregistration/validation/validation.go` and
//! `pkg/registry/admissionregistration/*/strategy.go`. Expressions are taken as they come: nobody compiles them here.

use serde_json::{Map, Value, json};

use super::Declaration;
use super::workload::label_selector;
use crate::columns::{self, AGE, Column, NAME};
use crate::defaulting::Default::{Struct, Text};
use crate::defaulting::{object, objects, or_set};
use crate::validation::{Faults, is_empty, list, names, text};

const GROUP: &str = "admissionregistration.k8s.io";

pub(super) static MUTATING_WEBHOOK_CONFIGURATION: Declaration = Declaration {
    stored_only: true,
    fill: Some(|map| webhooks(map, true)),
    rules: Some(|faults, value| configuration(faults, value, true)),
    ..hooks("MutatingWebhookConfiguration", "mutatingwebhookconfigurations")
};

pub(super) static VALIDATING_WEBHOOK_CONFIGURATION: Declaration = Declaration {
    stored_only: true,
    fill: Some(|map| webhooks(map, false)),
    rules: Some(|faults, value| configuration(faults, value, false)),
    ..hooks("ValidatingWebhookConfiguration", "validatingwebhookconfigurations")
};

const fn hooks(kind: &'static str, plural: &'static str) -> Declaration {
    Declaration {
        categories: &["api-extensions"],
        generation: true,
        columns: HOOKS,
        ..Declaration::cluster(GROUP, "v1", kind, plural)
    }
}

const HOOKS: &[Column] = &[NAME, Column::integer("Webhooks", "How many webhooks there are.").counting("webhooks"), AGE];

pub(super) static VALIDATING_ADMISSION_POLICY: Declaration = Declaration {
    categories: &["api-extensions"],
    status: true,
    generation: true,
    defaults: POLICY,
    fill: Some(constraints),
    rules: Some(|faults, value| policy(faults, value, "validations")),
    columns: &[
        NAME,
        Column::integer("Validations", "How many validations there are.").counting("spec.validations"),
        PARAM_KIND,
        AGE,
    ],
    ..Declaration::cluster(GROUP, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies")
};

pub(super) static MUTATING_ADMISSION_POLICY: Declaration = Declaration {
    stored_only: true,
    categories: &["api-extensions"],
    generation: true,
    defaults: POLICY,
    fill: Some(constraints),
    rules: Some(|faults, value| {
        policy(faults, value, "mutations");
        let path = "spec.reinvocationPolicy";
        faults.supported(path, &value["spec"]["reinvocationPolicy"], &["IfNeeded", "Never"]);
    }),
    columns: &[
        NAME,
        Column::integer("Mutations", "How many mutations there are.").counting("spec.mutations"),
        PARAM_KIND,
        AGE,
    ],
    ..Declaration::cluster(GROUP, "v1", "MutatingAdmissionPolicy", "mutatingadmissionpolicies")
};

pub(super) static VALIDATING_ADMISSION_POLICY_BINDING: Declaration = Declaration {
    rules: Some(|faults, value| {
        binding(faults, value);
        actions(faults, &value["spec"]["validationActions"]);
    }),
    ..bindings("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings")
};

pub(super) static MUTATING_ADMISSION_POLICY_BINDING: Declaration = Declaration {
    stored_only: true,
    rules: Some(binding),
    ..bindings("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings")
};

const fn bindings(kind: &'static str, plural: &'static str) -> Declaration {
    Declaration {
        categories: &["api-extensions"],
        generation: true,
        defaults: MATCH_RESOURCES,
        fill: Some(resources),
        columns: BINDING,
        ..Declaration::cluster(GROUP, "v1", kind, plural)
    }
}

const BINDING: &[Column] = &[
    NAME,
    Column::text("PolicyName", "The policy that is bound.").showing("spec.policyName"),
    Column::text("ParamRef", "Where its parameters are.").made(|object, _| json!(param_ref(object))),
    AGE,
];

const PARAM_KIND: Column =
    Column::text("ParamKind", "Kind of the policy's parameters.").made(|object, _| json!(param_kind(object)));

const POLICY: &[(&str, crate::defaulting::Default)] = &[
    ("spec.failurePolicy", Text("Fail")),
    ("spec.matchConstraints.matchPolicy", Text("Equivalent")),
    ("spec.matchConstraints.namespaceSelector", Struct),
    ("spec.matchConstraints.objectSelector", Struct),
];

const MATCH_RESOURCES: &[(&str, crate::defaulting::Default)] = &[
    ("spec.matchResources.matchPolicy", Text("Equivalent")),
    ("spec.matchResources.namespaceSelector", Struct),
    ("spec.matchResources.objectSelector", Struct),
];

fn webhooks(map: &mut Map<String, Value>, mutating: bool) {
    for hook in objects(map.get_mut("webhooks")) {
        or_set(hook, "failurePolicy", "Fail");
        or_set(hook, "matchPolicy", "Equivalent");
        or_set(hook, "namespaceSelector", json!({}));
        or_set(hook, "objectSelector", json!({}));
        or_set(hook, "timeoutSeconds", 10);
        if mutating {
            or_set(hook, "reinvocationPolicy", "Never");
        }
        objects(hook.get_mut("rules")).for_each(|rule| or_set(rule, "scope", "*"));
        if let Some(service) = object(hook.get_mut("clientConfig")).and_then(|config| object(config.get_mut("service")))
        {
            or_set(service, "port", 443);
        }
    }
}

fn constraints(map: &mut Map<String, Value>) {
    scopes(map, "matchConstraints");
}

fn resources(map: &mut Map<String, Value>) {
    scopes(map, "matchResources");
    let reference = object(map.get_mut("spec")).and_then(|spec| object(spec.get_mut("paramRef")));
    if let Some(reference) = reference {
        or_set(reference, "parameterNotFoundAction", "Deny");
    }
}

fn scopes(map: &mut Map<String, Value>, key: &str) {
    let matched = object(map.get_mut("spec")).and_then(|spec| object(spec.get_mut(key)));
    if let Some(matched) = matched {
        for rules in ["resourceRules", "excludeResourceRules"] {
            objects(matched.get_mut(rules)).for_each(|rule| or_set(rule, "scope", "*"));
        }
    }
}

const VERBS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];

fn configuration(faults: &mut Faults, value: &Value, mutating: bool) {
    let mut seen = Vec::new();
    for (path, hook) in list("webhooks", &value["webhooks"]) {
        let at = |field: &str| format!("{path}.{field}");
        let name = text(hook, "name");
        if faults.needs(&at("name"), &hook["name"]) {
            faults.named(&at("name"), name, qualified_domain(name));
        }
        if seen.contains(&name) {
            faults.duplicate(&at("name"), &hook["name"]);
        }
        seen.push(name);
        for (path, rule) in list(&at("rules"), &hook["rules"]) {
            self::rule(faults, &path, rule);
        }
        faults.supported(&at("failurePolicy"), &hook["failurePolicy"], &["Fail", "Ignore"]);
        faults.supported(&at("matchPolicy"), &hook["matchPolicy"], &["Equivalent", "Exact"]);
        faults.supported(&at("sideEffects"), &hook["sideEffects"], &["None", "NoneOnDryRun"]);
        faults.between(&at("timeoutSeconds"), &hook["timeoutSeconds"], 1, 30);
        for key in ["namespaceSelector", "objectSelector"] {
            label_selector(faults, &at(key), &hook[key]);
        }
        client(faults, &at("clientConfig"), &hook["clientConfig"]);
        if is_empty(&hook["admissionReviewVersions"]) {
            faults.required(&at("admissionReviewVersions"), "must specify one of v1, v1beta1");
        } else if !columns::list(&hook["admissionReviewVersions"]).iter().any(|one| one == "v1" || one == "v1beta1") {
            let detail = "must include at least one of v1, v1beta1";
            faults.invalid(&at("admissionReviewVersions"), &hook["admissionReviewVersions"], detail);
        }
        if mutating {
            faults.supported(&at("reinvocationPolicy"), &hook["reinvocationPolicy"], &["IfNeeded", "Never"]);
        }
        match_conditions(faults, &at("matchConditions"), &hook["matchConditions"]);
    }
}

/// A name of at least three labels, so that names do not clash.
fn qualified_domain(name: &str) -> Vec<String> {
    let mut faults = names::dns_subdomain(name);
    if name.split('.').count() < 3 {
        faults.push("should be a domain with at least three segments separated by dots".into());
    }
    faults
}

fn client(faults: &mut Faults, path: &str, config: &Value) {
    let (url, service) = (&config["url"], &config["service"]);
    if url.is_null() == service.is_null() {
        faults.required(path, "exactly one of url or service is required");
        return;
    }
    if let Some(address) = url.as_str() {
        if !address.starts_with("https://") {
            faults.invalid(
                &format!("{path}.url"),
                url,
                "'https' is the only allowed URL scheme; desired format: https://host[/path]",
            );
        }
        if address.contains(['?', '#', '@']) {
            faults.invalid(
                &format!("{path}.url"),
                url,
                "user information, query parameters and fragments are not permitted in the URL",
            );
        }
    } else {
        for key in ["name", "namespace"] {
            faults.needs(&format!("{path}.service.{key}"), &service[key]);
        }
        faults.port(&format!("{path}.service.port"), &service["port"]);
        if let Some(below) = service["path"].as_str().filter(|below| !below.starts_with('/')) {
            faults.invalid(&format!("{path}.service.path"), &json!(below), "must start with a '/'");
        }
    }
}

fn rule(faults: &mut Faults, path: &str, rule: &Value) {
    for key in ["operations", "apiGroups", "apiVersions", "resources"] {
        let path = format!("{path}.{key}");
        let all = columns::list(&rule[key]);
        if all.is_empty() {
            faults.required(&path, "");
        }
        if all.len() > 1 && all.iter().any(|one| one == "*") {
            faults.invalid(&path, &rule[key], format!("if '*' is present, must not specify other {key}"));
        }
        for (path, one) in list(&path, &rule[key]) {
            if key == "operations" {
                faults.one_of(&path, one, &VERBS);
            } else if key != "apiGroups" {
                faults.needs(&path, one);
            }
        }
    }
    faults.one_of(&format!("{path}.scope"), &rule["scope"], &["*", "Cluster", "Namespaced"]);
}

fn match_conditions(faults: &mut Faults, path: &str, conditions: &Value) {
    if columns::list(conditions).len() > 64 {
        faults.too_long(path, 64);
    }
    let mut seen = Vec::new();
    for (path, condition) in list(path, conditions) {
        faults.needs(&format!("{path}.expression"), &condition["expression"]);
        faults.needs_name(&format!("{path}.name"), &condition["name"], names::label_key);
        if seen.contains(&text(condition, "name")) {
            faults.duplicate(&format!("{path}.name"), &condition["name"]);
        }
        seen.push(text(condition, "name"));
    }
}

fn match_resources(faults: &mut Faults, path: &str, matched: &Value) {
    let at = |field: &str| format!("{path}.{field}");
    faults.supported(&at("matchPolicy"), &matched["matchPolicy"], &["Equivalent", "Exact"]);
    for key in ["namespaceSelector", "objectSelector"] {
        label_selector(faults, &at(key), &matched[key]);
    }
    for key in ["resourceRules", "excludeResourceRules"] {
        for (path, rule) in list(&at(key), &matched[key]) {
            self::rule(faults, &path, rule);
        }
    }
}

/// Rules of both kinds of policies; `does` is the list of what it does.
fn policy(faults: &mut Faults, value: &Value, does: &str) {
    let spec = &value["spec"];
    if let Some(kind) = Some(&spec["paramKind"]).filter(|kind| !kind.is_null()) {
        for key in ["apiVersion", "kind"] {
            faults.needs(&format!("spec.paramKind.{key}"), &kind[key]);
        }
    }
    faults.supported("spec.failurePolicy", &spec["failurePolicy"], &["Fail", "Ignore"]);
    match_conditions(faults, "spec.matchConditions", &spec["matchConditions"]);
    if spec["matchConstraints"].is_null() {
        faults.required("spec.matchConstraints", "");
    } else {
        match_resources(faults, "spec.matchConstraints", &spec["matchConstraints"]);
        if is_empty(&spec["matchConstraints"]["resourceRules"]) {
            faults.required("spec.matchConstraints.resourceRules", "");
        }
    }
    let idle = is_empty(&spec[does]) && (does == "mutations" || is_empty(&spec["auditAnnotations"]));
    if idle {
        let detail = if does == "mutations" {
            "mutations must contain at least one item"
        } else {
            "validations or auditAnnotations must be specified"
        };
        faults.required(&format!("spec.{does}"), detail);
    }
    for (path, variable) in list("spec.variables", &spec["variables"]) {
        for key in ["name", "expression"] {
            faults.needs(&format!("{path}.{key}"), &variable[key]);
        }
    }
    for (path, one) in list("spec.validations", &spec["validations"]) {
        faults.needs(&format!("{path}.expression"), &one["expression"]);
        let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
        faults.one_of(&format!("{path}.reason"), &one["reason"], &reasons);
    }
    for (path, one) in list("spec.mutations", &spec["mutations"]) {
        faults.supported(&format!("{path}.patchType"), &one["patchType"], &["ApplyConfiguration", "JSONPatch"]);
    }
}

fn binding(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    faults.needs_name("spec.policyName", &spec["policyName"], names::dns_subdomain);
    let reference = &spec["paramRef"];
    if !reference.is_null() {
        if is_empty(&reference["name"]) == reference["selector"].is_null() {
            faults.required("spec.paramRef.name", "one of name or selector must be specified");
        }
        let actions = ["Allow", "Deny"];
        let path = "spec.paramRef.parameterNotFoundAction";
        faults.supported(path, &reference["parameterNotFoundAction"], &actions);
    }
    if !spec["matchResources"].is_null() {
        match_resources(faults, "spec.matchResources", &spec["matchResources"]);
    }
}

fn actions(faults: &mut Faults, actions: &Value) {
    if is_empty(actions) {
        faults.required("spec.validationActions", "");
    }
    let mut seen: Vec<&str> = Vec::new();
    for (path, action) in list("spec.validationActions", actions) {
        faults.one_of(&path, action, &["Audit", "Deny", "Warn"]);
        let word = columns::text(action);
        if seen.contains(&word) {
            faults.duplicate(&path, action);
        }
        seen.push(word);
    }
    if seen.contains(&"Deny") && seen.contains(&"Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                      response and headers serves no purpose)";
        faults.invalid("spec.validationActions", actions, detail);
    }
}

fn param_kind(object: &Value) -> String {
    let kind = &object["spec"]["paramKind"];
    if kind.is_null() { "<unset>".into() } else { format!("{}/{}", text(kind, "apiVersion"), text(kind, "kind")) }
}

fn param_ref(object: &Value) -> String {
    let reference = &object["spec"]["paramRef"];
    match (text(reference, "namespace"), text(reference, "name")) {
        _ if reference.is_null() => "<unset>".into(),
        (namespace, "") => format!("{namespace}/*"),
        ("", name) => format!("*/{name}"),
        (namespace, name) => format!("{namespace}/{name}"),
    }
}
