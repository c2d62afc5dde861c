//! CSI drivers, what they offer on nodes, and how much room they have.
//!
//! Follows `pkg/apis/storage/v1/defaults.go`, `pkg/apis/storage/validation/validation.go` and
//! `pkg/registry/storage/{csidriver,csinode,csistoragecapacity}/strategy.go`.

use serde_json::{Map, Value, json};

use super::Declaration;
use super::workload::label_selector;
use crate::columns::{self, AGE, Column, NAME};
use crate::defaulting::Default::{Flag, Text};
use crate::defaulting::object;
use crate::quantity::Quantity;
use crate::validation::{Faults, is_empty, list, names, text};

pub(super) static CSI_DRIVER: Declaration = Declaration {
    stored_only: true,
    generation: true,
    defaults: &[
        ("spec.attachRequired", Flag(true)),
        ("spec.podInfoOnMount", Flag(false)),
        ("spec.storageCapacity", Flag(false)),
        ("spec.fsGroupPolicy", Text("ReadWriteOnceWithFSType")),
        ("spec.requiresRepublish", Flag(false)),
        ("spec.seLinuxMount", Flag(false)),
    ],
    fill: Some(fill),
    rules: Some(driver),
    immutable: &["spec.attachRequired", "spec.volumeLifecycleModes"],
    columns: &[
        NAME,
        Column::boolean("AttachRequired", "Whether volumes are attached first.")
            .made(|object, _| json!(object["spec"]["attachRequired"] != false)),
        Column::boolean("PodInfoOnMount", "Whether the driver is told about the pod.")
            .made(|object, _| json!(object["spec"]["podInfoOnMount"] == true)),
        Column::boolean("StorageCapacity", "Whether room decides where pods go.")
            .made(|object, _| json!(object["spec"]["storageCapacity"] == true)),
        Column::text("TokenRequests", "Audiences of the tokens the driver gets.")
            .made(|object, _| json!(audiences(object))),
        Column::boolean("RequiresRepublish", "Whether volumes are published again and again.")
            .made(|object, _| json!(object["spec"]["requiresRepublish"] == true)),
        Column::text("Modes", "Which volumes the driver makes.").made(|object, _| {
            let modes: Vec<&str> =
                columns::list(&object["spec"]["volumeLifecycleModes"]).iter().map(columns::text).collect();
            json!(if modes.is_empty() { "<none>".into() } else { modes.join(",") })
        }),
        AGE,
    ],
    ..Declaration::cluster("storage.k8s.io", "v1", "CSIDriver", "csidrivers")
};

pub(super) static CSI_NODE: Declaration = Declaration {
    stored_only: true,
    rules: Some(node),
    columns: &[NAME, Column::integer("Drivers", "How many drivers run on the node.").counting("spec.drivers"), AGE],
    ..Declaration::cluster("storage.k8s.io", "v1", "CSINode", "csinodes")
};

pub(super) static CSI_STORAGE_CAPACITY: Declaration = Declaration {
    stored_only: true,
    rules: Some(capacity),
    immutable: &["nodeTopology", "storageClassName"],
    columns: &[
        NAME,
        Column::text("StorageClassName", "Class of the volumes that there is room for.").showing("storageClassName"),
        Column::text("Capacity", "How much room there is.").showing_or("capacity", "<unset>"),
    ],
    ..Declaration::plain("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities")
};

const DRIVER_NAME_MAX: usize = 63;

/// The grammar of a driver's name: a domain, in lower or upper case.
pub(super) fn driver_name(name: &str) -> Vec<String> {
    let mut faults = names::dns_subdomain(&name.to_lowercase());
    if name.len() > DRIVER_NAME_MAX {
        faults.push(format!("must be no more than {DRIVER_NAME_MAX} bytes"));
    }
    faults
}

fn fill(map: &mut Map<String, Value>) {
    if let Some(spec) = object(map.get_mut("spec"))
        && is_empty(spec.get("volumeLifecycleModes").unwrap_or(&Value::Null))
    {
        spec.insert("volumeLifecycleModes".into(), json!(["Persistent"]));
    }
}

fn driver(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    faults.may_be_named("metadata.name", &value["metadata"]["name"], driver_name);
    for key in ["attachRequired", "podInfoOnMount", "storageCapacity"] {
        if spec[key].is_null() {
            faults.required(&format!("spec.{key}"), "");
        }
    }
    let policies = ["File", "None", "ReadWriteOnceWithFSType"];
    faults.supported("spec.fsGroupPolicy", &spec["fsGroupPolicy"], &policies);
    for (path, mode) in list("spec.volumeLifecycleModes", &spec["volumeLifecycleModes"]) {
        faults.one_of(&path, mode, &["Ephemeral", "Persistent"]);
    }
    let mut seen = Vec::new();
    for (path, request) in list("spec.tokenRequests", &spec["tokenRequests"]) {
        let audience = text(request, "audience");
        if seen.contains(&audience) {
            faults.duplicate(&format!("{path}.audience"), &request["audience"]);
        }
        seen.push(audience);
        let seconds = &request["expirationSeconds"];
        if seconds.as_i64().is_some_and(|seconds| seconds < 600) {
            let detail = "may not specify a duration less than 10 minutes";
            faults.invalid(&format!("{path}.expirationSeconds"), seconds, detail);
        }
    }
}

fn node(faults: &mut Faults, value: &Value) {
    let mut seen = Vec::new();
    for (path, driver) in list("spec.drivers", &value["spec"]["drivers"]) {
        let at = |field: &str| format!("{path}.{field}");
        faults.needs_name(&at("name"), &driver["name"], driver_name);
        if seen.contains(&text(driver, "name")) {
            faults.duplicate(&at("name"), &driver["name"]);
        }
        seen.push(text(driver, "name"));
        if faults.needs(&at("nodeID"), &driver["nodeID"]) && text(driver, "nodeID").len() > 256 {
            faults.too_long(&at("nodeID"), 256);
        }
        faults.not_negative(&at("allocatable.count"), &driver["allocatable"]["count"]);
        let mut keys = Vec::new();
        for (path, key) in list(&at("topologyKeys"), &driver["topologyKeys"]) {
            faults.needs_name(&path, key, names::label_key);
            if keys.contains(&key) {
                faults.duplicate(&path, key);
            }
            keys.push(key);
        }
    }
}

fn capacity(faults: &mut Faults, value: &Value) {
    faults.needs_name("storageClassName", &value["storageClassName"], names::dns_subdomain);
    label_selector(faults, "nodeTopology", &value["nodeTopology"]);
    for key in ["capacity", "maximumVolumeSize"] {
        if Quantity::from_value(&value[key]).is_ok_and(|amount| amount.sign() < 0) {
            faults.invalid(key, &value[key], "must be greater than or equal to 0");
        }
    }
}

fn audiences(object: &Value) -> String {
    let all: Vec<&str> = columns::list(&object["spec"]["tokenRequests"])
        .iter()
        .map(|request| columns::text(&request["audience"]))
        .collect();
    if all.is_empty() { "<unset>".into() } else { all.join(",") }
}
