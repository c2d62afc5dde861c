//! FlowSchemas and PriorityLevelConfigurations: which requests are served first.
//!
//! Follows `pkg/apis/flowcontrol/v1/defaults.go`, `pkg/apis/flowcontrol/validation/validation.go` and
//! `pkg/registry/flowcontrol/{flowschema,prioritylevelconfiguration}/strategy.go`.

use serde_json::{Map, Value, json};

use super::Declaration;
use crate::columns::{self, AGE, Column, NAME};
use crate::defaulting::Default::NotZero;
use crate::defaulting::{object, or_set};
use crate::validation::{Faults, is_empty, list, names, text};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";

pub(super) static FLOW_SCHEMA: Declaration = Declaration {
    stored_only: true,
    status: true,
    generation: true,
    defaults: &[("spec.matchingPrecedence", NotZero(1000))],
    rules: Some(schema),
    columns: &[
        NAME,
        Column::text("PriorityLevel", "The level of the requests.").showing("spec.priorityLevelConfiguration.name"),
        Column::text("MatchingPrecedence", "The lowest matches first.").number("spec.matchingPrecedence"),
        Column::text("DistinguisherMethod", "What makes flows of requests.")
            .showing_or("spec.distinguisherMethod.type", "<none>"),
        AGE,
        Column::text("MissingPL", "Whether there is no such level.").made(|object, _| {
            let conditions = columns::list(&object["status"]["conditions"]);
            let dangling = conditions.iter().find(|condition| condition["type"] == "Dangling");
            json!(dangling.map_or("?", |condition| columns::text(&condition["status"])))
        }),
    ],
    ..Declaration::cluster(GROUP, "v1", "FlowSchema", "flowschemas")
};

pub(super) static PRIORITY_LEVEL_CONFIGURATION: Declaration = Declaration {
    stored_only: true,
    status: true,
    generation: true,
    fill: Some(fill),
    rules: Some(level),
    columns: &[
        NAME,
        Column::text("Type", "Exempt or Limited.").showing("spec.type"),
        Column::text("NominalConcurrencyShares", "Share of the seats.").made(|object, _| {
            let spec = &object["spec"];
            let side = if spec["type"] == "Exempt" { &spec["exempt"] } else { &spec["limited"] };
            json!(or_none(&side["nominalConcurrencyShares"]))
        }),
        Column::text("Queues", "How many queues there are.")
            .made(|object, _| json!(or_none(&queuing(object)["queues"]))),
        Column::text("HandSize", "How many queues a flow is dealt.")
            .made(|object, _| json!(or_none(&queuing(object)["handSize"]))),
        Column::text("QueueLengthLimit", "How many requests wait in a queue.")
            .made(|object, _| json!(or_none(&queuing(object)["queueLengthLimit"]))),
        AGE,
    ],
    ..Declaration::cluster(GROUP, "v1", "PriorityLevelConfiguration", "prioritylevelconfigurations")
};

fn queuing(object: &Value) -> &Value {
    &object["spec"]["limited"]["limitResponse"]["queuing"]
}

fn or_none(value: &Value) -> String {
    if value.is_null() { "<none>".into() } else { columns::plain(value) }
}

fn fill(map: &mut Map<String, Value>) {
    let Some(spec) = object(map.get_mut("spec")) else { return };
    if let Some(exempt) = object(spec.get_mut("exempt")) {
        or_set(exempt, "nominalConcurrencyShares", 0);
        or_set(exempt, "lendablePercent", 0);
    }
    if let Some(limited) = object(spec.get_mut("limited")) {
        or_set(limited, "nominalConcurrencyShares", 30);
        or_set(limited, "lendablePercent", 0);
        let queuing = object(limited.get_mut("limitResponse")).and_then(|response| object(response.get_mut("queuing")));
        if let Some(queuing) = queuing {
            for (key, number) in [("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)] {
                if queuing.get(key).and_then(Value::as_i64).unwrap_or(0) == 0 {
                    queuing.insert(key.into(), json!(number));
                }
            }
        }
    }
}

const PRECEDENCE_MAX: i64 = 10_000;
const QUEUES_MAX: i64 = 10_000_000;

fn schema(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    let precedence = &spec["matchingPrecedence"];
    let number = precedence.as_i64().unwrap_or(0);
    if number <= 0 {
        faults.invalid("spec.matchingPrecedence", precedence, "must be a positive value");
    }
    if number > PRECEDENCE_MAX {
        let detail = format!("must not be greater than {PRECEDENCE_MAX}");
        faults.invalid("spec.matchingPrecedence", precedence, detail);
    }
    if number == 1 && value["metadata"]["name"] != "exempt" {
        faults.invalid(
            "spec.matchingPrecedence",
            precedence,
            "only the schema named 'exempt' may have matchingPrecedence 1",
        );
    }
    if !spec["distinguisherMethod"].is_null() {
        let path = "spec.distinguisherMethod.type";
        faults.supported(path, &spec["distinguisherMethod"]["type"], &["ByNamespace", "ByUser"]);
    }
    let path = "spec.priorityLevelConfiguration.name";
    faults.needs_name(path, &spec["priorityLevelConfiguration"]["name"], names::dns_subdomain);
    for (path, rule) in list("spec.rules", &spec["rules"]) {
        if is_empty(&rule["subjects"]) {
            faults.required(&format!("{path}.subjects"), "subjects must contain at least one value");
        }
        for (path, subject) in list(&format!("{path}.subjects"), &rule["subjects"]) {
            self::subject(faults, &path, subject);
        }
        if is_empty(&rule["resourceRules"]) && is_empty(&rule["nonResourceRules"]) {
            let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
            faults.required(&path, detail);
        }
        for (path, one) in list(&format!("{path}.resourceRules"), &rule["resourceRules"]) {
            for key in ["verbs", "apiGroups", "resources"] {
                if is_empty(&one[key]) {
                    faults.required(&format!("{path}.{key}"), &format!("{key} must contain at least one value"));
                }
            }
            if is_empty(&one["namespaces"]) && one["clusterScope"] != true {
                let detail = "resource rules that are not cluster scoped must supply at least one namespace";
                faults.required(&format!("{path}.namespaces"), detail);
            }
        }
        for (path, one) in list(&format!("{path}.nonResourceRules"), &rule["nonResourceRules"]) {
            for key in ["verbs", "nonResourceURLs"] {
                if is_empty(&one[key]) {
                    faults.required(&format!("{path}.{key}"), &format!("{key} must contain at least one value"));
                }
            }
        }
    }
}

fn subject(faults: &mut Faults, path: &str, subject: &Value) {
    let kinds = [("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user")];
    let known: Vec<&str> = kinds.iter().map(|(kind, _)| *kind).collect();
    faults.supported(&format!("{path}.kind"), &subject["kind"], &known);
    for (kind, key) in kinds {
        let own = text(subject, "kind") == kind;
        let there = !subject[key].is_null();
        if own && !there {
            faults.required(&format!("{path}.{key}"), &format!("{key} is required when subject kind is '{kind}'"));
        } else if own {
            faults.needs(&format!("{path}.{key}.name"), &subject[key]["name"]);
        } else if there && known.contains(&text(subject, "kind")) {
            let detail = format!("{key} is forbidden when subject kind is not '{kind}'");
            faults.forbidden(&format!("{path}.{key}"), detail);
        }
    }
}

fn level(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    faults.supported("spec.type", &spec["type"], &["Exempt", "Limited"]);
    let (exempt, limited) = (&spec["exempt"], &spec["limited"]);
    match text(spec, "type") {
        "Exempt" if !limited.is_null() => {
            faults.forbidden("spec.limited", "must be nil if the type is not Limited");
        }
        "Limited" => {
            if !exempt.is_null() {
                faults.forbidden("spec.exempt", "must be nil if the type is Limited");
            }
            if limited.is_null() {
                faults.required("spec.limited", "must not be empty when type is Limited");
            }
        }
        _ => {}
    }
    faults.not_negative("spec.exempt.nominalConcurrencyShares", &exempt["nominalConcurrencyShares"]);
    faults.between("spec.exempt.lendablePercent", &exempt["lendablePercent"], 0, 100);
    if limited.is_null() {
        return;
    }
    faults.not_negative("spec.limited.nominalConcurrencyShares", &limited["nominalConcurrencyShares"]);
    faults.between("spec.limited.lendablePercent", &limited["lendablePercent"], 0, 100);
    faults.not_negative("spec.limited.borrowingLimitPercent", &limited["borrowingLimitPercent"]);
    let (response, queuing) = (&limited["limitResponse"], &limited["limitResponse"]["queuing"]);
    let path = "spec.limited.limitResponse";
    faults.supported(&format!("{path}.type"), &response["type"], &["Queue", "Reject"]);
    match (text(response, "type"), queuing.is_null()) {
        ("Reject", false) => {
            faults.forbidden(&format!("{path}.queuing"), "must be nil if limited.limitResponse.type is not Limited")
        }
        ("Queue", true) => {
            faults.required(&format!("{path}.queuing"), "must not be empty if limited.limitResponse.type is Limited")
        }
        _ => {}
    }
    if queuing.is_null() {
        return;
    }
    for key in ["queues", "handSize", "queueLengthLimit"] {
        if queuing[key].as_i64().unwrap_or(0) <= 0 {
            faults.invalid(&format!("{path}.queuing.{key}"), &queuing[key], "must be positive");
        }
    }
    let (queues, hand) = (queuing["queues"].as_i64().unwrap_or(0), queuing["handSize"].as_i64().unwrap_or(0));
    if queues > QUEUES_MAX {
        let detail = format!("must not be greater than {QUEUES_MAX}");
        faults.invalid(&format!("{path}.queuing.queues"), &queuing["queues"], detail);
    }
    if hand > queues {
        let detail = format!("should not be greater than queues ({queues})");
        faults.invalid(&format!("{path}.queuing.handSize"), &queuing["handSize"], detail);
    }
}
