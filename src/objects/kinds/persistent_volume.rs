//! PersistentVolumes and the claims to them.
//!
//! Follows `pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation/validation.go` and
//! `pkg/registry/core/{persistentvolume,persistentvolumeclaim}/strategy.go`.

use serde_json::{Map, Value, json};

use super::Declaration;
use super::pod::affinity;
use super::pod::volumes;
use super::workload::label_selector;
use crate::columns::{self, AGE, Column, NAME};
use crate::defaulting::Default::Text;
use crate::defaulting::{or_set, structure};
use crate::quantity::Quantity;
use crate::validation::{Faults, is_empty, list, names, present, text};

const MODE: Column = Column::wide("VolumeMode", "Whether the volume is a file system or a block device.")
    .showing_or("spec.volumeMode", "<unset>");
const ATTRIBUTES: Column = Column::text("VolumeAttributesClass", "Class of the volume's attributes.")
    .showing_or("spec.volumeAttributesClassName", "<unset>");

pub(super) static PERSISTENT_VOLUME: Declaration = Declaration {
    stored_only: true,
    short_names: &["pv"],
    status: true,
    defaults: &[
        ("spec.persistentVolumeReclaimPolicy", Text("Retain")),
        ("spec.volumeMode", Text("Filesystem")),
        ("spec.hostPath.type", Text("")),
    ],
    fill: Some(pending),
    rules: Some(volume),
    changed: Some(volume_changed),
    begin: Some(|value| {
        let born = value["metadata"]["creationTimestamp"].clone();
        value["status"] = json!({"phase": "Pending", "lastPhaseTransitionTime": born});
    }),
    columns: &[
        NAME,
        Column::text("Capacity", "Size of the volume.")
            .made(|object, _| json!(columns::plain(&object["spec"]["capacity"]["storage"]))),
        Column::text("Access Modes", "How the volume can be mounted.")
            .made(|object, _| json!(access_modes(&object["spec"]["accessModes"]))),
        Column::text("Reclaim Policy", "What happens to the volume when its claim goes.")
            .showing("spec.persistentVolumeReclaimPolicy"),
        Column::text("Status", "Whether the volume is bound.").made(|object, _| json!(phase(object))),
        Column::text("Claim", "The claim that the volume is bound to.").made(|object, _| {
            let claim = &object["spec"]["claimRef"];
            let name = |key: &str| columns::text(&claim[key]).to_owned();
            json!(if claim.is_object() { format!("{}/{}", name("namespace"), name("name")) } else { String::new() })
        }),
        Column::text("StorageClass", "StorageClass of the pv").showing("spec.storageClassName"),
        ATTRIBUTES,
        Column::text("Reason", "Why the volume is in its state.").showing("status.reason"),
        AGE,
        MODE,
    ],
    ..Declaration::cluster("", "v1", "PersistentVolume", "persistentvolumes")
};

pub(super) static PERSISTENT_VOLUME_CLAIM: Declaration = Declaration {
    stored_only: true,
    short_names: &["pvc"],
    status: true,
    defaults: &[("spec.volumeMode", Text("Filesystem"))],
    fill: Some(|map| {
        data_sources(map);
        pending(map);
    }),
    rules: Some(claim),
    changed: Some(claim_changed),
    begin: Some(|value| value["status"] = json!({"phase": "Pending"})),
    columns: &[
        NAME,
        Column::text("Status", "Whether the claim is bound.").made(|object, _| json!(phase(object))),
        Column::text("Volume", "The volume that the claim is bound to.").showing("spec.volumeName"),
        Column::text("Capacity", "Size of the bound volume.")
            .made(|object, _| json!(columns::plain(&if_bound(object)["capacity"]["storage"]))),
        Column::text("Access Modes", "How the bound volume can be mounted.")
            .made(|object, _| json!(access_modes(&if_bound(object)["accessModes"]))),
        Column::text("StorageClass", "StorageClass of the pvc").made(|object, _| {
            let old = columns::text(&object["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"]);
            json!(if old.is_empty() { columns::text(&object["spec"]["storageClassName"]) } else { old })
        }),
        ATTRIBUTES,
        AGE,
        MODE,
    ],
    ..Declaration::plain("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
};

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

fn pending(map: &mut Map<String, Value>) {
    if let Some(status) = structure(map, "status") {
        or_set(status, "phase", "Pending");
    }
}

/// Defaults of a claim inside of another object, as a stateful set's.
pub(super) fn fill_claim(map: &mut Map<String, Value>) {
    if let Some(spec) = map.get_mut("spec").and_then(Value::as_object_mut) {
        or_set(spec, "volumeMode", "Filesystem");
    }
    pending(map);
}

/// The older and the newer name of what a volume is filled with say the same, where the older can.
fn data_sources(map: &mut Map<String, Value>) {
    let Some(spec) = map.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let of = |spec: &Map<String, Value>, key: &str| spec.get(key).filter(|source| source.is_object()).cloned();
    match (of(spec, "dataSource"), of(spec, "dataSourceRef")) {
        (Some(old), None) => drop(spec.insert("dataSourceRef".into(), old)),
        (None, Some(new)) if is_empty(&new["namespace"]) => drop(spec.insert("dataSource".into(), new)),
        _ => {}
    }
}

fn access(faults: &mut Faults, modes: &Value) {
    if is_empty(modes) {
        faults.required("spec.accessModes", "at least 1 access mode is required");
    }
    let all = columns::list(modes);
    for (path, mode) in list("spec.accessModes", modes) {
        faults.one_of(&path, mode, &ACCESS_MODES);
    }
    if all.len() > 1 && all.iter().any(|mode| mode == "ReadWriteOncePod") {
        let detail = "may not use ReadWriteOncePod with other access modes";
        faults.forbidden("spec.accessModes", detail);
    }
}

/// A size that is there and above zero.
fn size(faults: &mut Faults, path: &str, amount: &Value) {
    if amount.is_null() {
        faults.required(path, "");
    } else if Quantity::from_value(amount).is_ok_and(|quantity| quantity.sign() <= 0) {
        faults.invalid(path, amount, "must be greater than zero");
    }
}

fn volume(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    access(faults, &spec["accessModes"]);
    if is_empty(&spec["capacity"]) {
        faults.required("spec.capacity", "");
    } else {
        for other in present(&spec["capacity"], &["storage"]) {
            faults.one_of("spec.capacity", &json!(other), &["storage"]);
        }
        size(faults, "spec.capacity[storage]", &spec["capacity"]["storage"]);
    }
    let policies = ["Delete", "Recycle", "Retain"];
    faults.one_of("spec.persistentVolumeReclaimPolicy", &spec["persistentVolumeReclaimPolicy"], &policies);
    faults.may_be_named("spec.storageClassName", &spec["storageClassName"], names::dns_subdomain);
    faults.may_be_named("spec.volumeAttributesClassName", &spec["volumeAttributesClassName"], names::dns_subdomain);
    faults.one_of("spec.volumeMode", &spec["volumeMode"], &["Block", "Filesystem"]);
    if !spec["nodeAffinity"].is_null() {
        let path = "spec.nodeAffinity.required";
        if spec["nodeAffinity"]["required"].is_null() {
            faults.required(path, "must specify required node constraints");
        } else {
            affinity::node_selector(faults, path, &spec["nodeAffinity"]["required"]);
        }
    }
    match sources(spec).as_slice() {
        [] => faults.required("spec", "must specify a volume type"),
        [first, others @ ..] => {
            for other in others {
                faults.forbidden(&format!("spec.{other}"), "may not specify more than 1 volume type");
            }
            source(faults, &format!("spec.{first}"), first, spec);
        }
    }
}

/// Which sources a volume names.
fn sources(spec: &Value) -> Vec<&str> {
    present(
        spec,
        &[
            "accessModes",
            "capacity",
            "claimRef",
            "mountOptions",
            "nodeAffinity",
            "persistentVolumeReclaimPolicy",
            "storageClassName",
            "volumeAttributesClassName",
            "volumeMode",
        ],
    )
}

fn source(faults: &mut Faults, path: &str, kind: &str, spec: &Value) {
    let value = &spec[kind];
    match kind {
        "local" => {
            faults.needs(&format!("{path}.path"), &value["path"]);
            if spec["nodeAffinity"].is_null() {
                faults.required("spec.nodeAffinity", "Local volume requires node affinity");
            }
        }
        "csi" => {
            for key in ["driver", "volumeHandle"] {
                faults.needs(&format!("{path}.{key}"), &value[key]);
            }
        }
        _ => volumes::source(faults, path, kind, value),
    }
    if kind == "hostPath" && value["path"] == "/" && spec["persistentVolumeReclaimPolicy"] == "Recycle" {
        let detail = "may not be 'recycle' for a hostPath mount of '/'";
        faults.forbidden("spec.persistentVolumeReclaimPolicy", detail);
    }
}

fn volume_changed(faults: &mut Faults, old: &Value, new: &Value) {
    volume(faults, new);
    let (before, after) = (&old["spec"], &new["spec"]);
    let own =
        |spec: &Value| sources(spec).into_iter().map(|key| (key.to_owned(), spec[key].clone())).collect::<Map<_, _>>();
    if own(before) != own(after) {
        let detail = "spec.persistentvolumesource is immutable after creation";
        faults.forbidden("spec.persistentvolumesource", detail);
    }
    faults.immutable("spec.volumeMode", &before["volumeMode"], &after["volumeMode"]);
    if !before["nodeAffinity"].is_null() && before["nodeAffinity"] != after["nodeAffinity"] {
        faults.invalid("spec.nodeAffinity", &after["nodeAffinity"], "field is immutable");
    }
}

fn claim(faults: &mut Faults, value: &Value) {
    claim_spec(faults, &value["spec"]);
}

fn claim_spec(faults: &mut Faults, spec: &Value) {
    access(faults, &spec["accessModes"]);
    label_selector(faults, "spec.selector", &spec["selector"]);
    size(faults, "spec.resources[storage]", &spec["resources"]["requests"]["storage"]);
    faults.may_be_named("spec.storageClassName", &spec["storageClassName"], names::dns_subdomain);
    faults.may_be_named("spec.volumeAttributesClassName", &spec["volumeAttributesClassName"], names::dns_subdomain);
    faults.one_of("spec.volumeMode", &spec["volumeMode"], &["Block", "Filesystem"]);
    for key in ["dataSource", "dataSourceRef"] {
        let source = &spec[key];
        if source.is_null() {
            continue;
        }
        for part in ["kind", "name"] {
            faults.needs(&format!("spec.{key}.{part}"), &source[part]);
        }
        if is_empty(&source["apiGroup"]) && source["kind"] != "PersistentVolumeClaim" {
            let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            faults.invalid(&format!("spec.{key}"), &source["kind"], detail);
        }
    }
}

fn claim_changed(faults: &mut Faults, old: &Value, new: &Value) {
    claim(faults, new);
    let (before, after) = (&old["spec"], &new["spec"]);
    let mut settled = after.clone();
    let bound = old["status"]["phase"] == "Bound";
    if is_empty(&before["volumeName"])
        && let Some(map) = settled.as_object_mut()
    {
        // Binding names the volume, and a class may be settled late.
        map.remove("volumeName");
        if is_empty(&before["storageClassName"]) {
            map.remove("storageClassName");
        }
    }
    let mutable: &[&str] = if bound { &["resources", "volumeAttributesClassName"] } else { &[] };
    let mut compared = before.clone();
    if is_empty(&before["volumeName"])
        && is_empty(&before["storageClassName"])
        && let Some(map) = compared.as_object_mut()
    {
        map.remove("storageClassName");
    }
    let detail =
        "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n";
    faults.settled("spec", &compared, &settled, mutable, detail);
    let amount = |spec: &Value| Quantity::from_value(&spec["resources"]["requests"]["storage"]).ok();
    if let (Some(had), Some(wants)) = (amount(before), amount(after))
        && wants < had
    {
        let least = Quantity::from_value(&old["status"]["capacity"]["storage"]).ok();
        if least.is_none_or(|least| wants <= least) {
            let detail = "field can not be less than status.capacity";
            faults.forbidden("spec.resources.requests.storage", detail);
        }
    }
}

/// How a volume can be mounted, in the letters of tables.
fn access_modes(modes: &Value) -> String {
    let letters =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |mode: &str| columns::list(modes).iter().any(|one| one == mode);
    letters.into_iter().filter(|(mode, _)| has(mode)).map(|(_, short)| short).collect::<Vec<_>>().join(",")
}

fn phase(object: &Value) -> &str {
    if object["metadata"]["deletionTimestamp"].is_string() { "Terminating" } else { text(&object["status"], "phase") }
}

/// The status of a claim that names its volume; of others, nothing is known yet.
fn if_bound(claim: &Value) -> &Value {
    if is_empty(&claim["spec"]["volumeName"]) { &Value::Null } else { &claim["status"] }
}
