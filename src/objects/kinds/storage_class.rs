//! Classes of storage and of volume attributes, and attachments of volumes to nodes.
//!
//! Follows `pkg/apis/storage/v1/defaults.go`, `pkg/apis/storage/validation/validation.go` and
//! `pkg/registry/storage/{storageclass,volumeattributesclass,volumeattachment}/strategy.go`.

use serde_json::{Value, json};

use super::Declaration;
use crate::columns::{self, AGE, Column, NAME};
use crate::defaulting::Default::Text;
use crate::validation::{Faults, is_empty, list, names, text};

pub(super) static STORAGE_CLASS: Declaration = Declaration {
    stored_only: true,
    short_names: &["sc"],
    defaults: &[("reclaimPolicy", Text("Delete")), ("volumeBindingMode", Text("Immediate"))],
    rules: Some(class),
    changed: Some(|faults, old, new| {
        class(faults, new);
        let detail = "updates to parameters are forbidden.";
        if old["parameters"] != new["parameters"] {
            faults.forbidden("parameters", detail);
        }
        if old["provisioner"] != new["provisioner"] {
            faults.forbidden("provisioner", "updates to provisioner are forbidden.");
        }
        if old["reclaimPolicy"] != new["reclaimPolicy"] {
            faults.forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden.");
        }
        faults.immutable("volumeBindingMode", &old["volumeBindingMode"], &new["volumeBindingMode"]);
    }),
    columns: &[
        NAME.made(|object, _| json!(name_and_default(object, "storageclass.kubernetes.io/is-default-class"))),
        Column::text("Provisioner", "Who makes the volumes.").showing("provisioner"),
        Column::text("ReclaimPolicy", "What happens to a volume when its claim goes.").showing("reclaimPolicy"),
        Column::text("VolumeBindingMode", "When volumes are made and bound.").showing("volumeBindingMode"),
        Column::text("AllowVolumeExpansion", "Whether volumes can grow.")
            .made(|object, _| json!(object["allowVolumeExpansion"] == true)),
        AGE,
    ],
    ..Declaration::cluster("storage.k8s.io", "v1", "StorageClass", "storageclasses")
};

pub(super) static VOLUME_ATTRIBUTES_CLASS: Declaration = Declaration {
    stored_only: true,
    short_names: &["vac"],
    rules: Some(attributes),
    changed: Some(|faults, old, new| {
        attributes(faults, new);
        if old["driverName"] != new["driverName"] {
            faults.forbidden("driverName", "updates to driverName are forbidden.");
        }
        if old["parameters"] != new["parameters"] {
            faults.forbidden("parameters", "updates to parameters are forbidden.");
        }
    }),
    columns: &[NAME, Column::text("DriverName", "Whose attributes these are.").showing("driverName"), AGE],
    ..Declaration::cluster("storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclasses")
};

pub(super) static VOLUME_ATTACHMENT: Declaration = Declaration {
    stored_only: true,
    status: true,
    rules: Some(attachment),
    immutable: &["spec"],
    begin: Some(|value| value["status"] = json!({"attached": false})),
    columns: &[
        NAME,
        Column::text("Attacher", "Who attaches.").showing("spec.attacher"),
        Column::text("PV", "The volume.").showing("spec.source.persistentVolumeName"),
        Column::text("Node", "The node.").showing("spec.nodeName"),
        Column::boolean("Attached", "Whether it is attached.")
            .made(|object, _| json!(object["status"]["attached"] == true)),
        AGE,
    ],
    ..Declaration::cluster("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments")
};

const PARAMETERS_MAX: usize = 512;
const PARAMETER_BYTES_MAX: usize = 256 * 1024;

fn name_and_default(object: &Value, annotation: &str) -> String {
    let name = columns::text(&object["metadata"]["name"]);
    let annotations = &object["metadata"]["annotations"];
    let old = "storageclass.beta.kubernetes.io/is-default-class";
    if annotations[annotation] == "true" || annotations[old] == "true" {
        format!("{name} (default)")
    } else {
        name.to_owned()
    }
}

fn class(faults: &mut Faults, value: &Value) {
    if faults.needs("provisioner", &value["provisioner"]) {
        let name = text(value, "provisioner").to_lowercase();
        faults.named("provisioner", &name, names::label_key(&name));
    }
    parameters(faults, &value["parameters"], false);
    faults.supported("reclaimPolicy", &value["reclaimPolicy"], &["Delete", "Retain"]);
    let modes = ["Immediate", "WaitForFirstConsumer"];
    faults.supported("volumeBindingMode", &value["volumeBindingMode"], &modes);
    for (path, term) in list("allowedTopologies", &value["allowedTopologies"]) {
        for (path, one) in list(&format!("{path}.matchLabelExpressions"), &term["matchLabelExpressions"]) {
            faults.needs_name(&format!("{path}.key"), &one["key"], names::label_key);
            if is_empty(&one["values"]) {
                faults.required(&format!("{path}.values"), "");
            }
        }
    }
}

fn parameters(faults: &mut Faults, parameters: &Value, needed: bool) {
    let all = parameters.as_object().into_iter().flatten();
    if needed && is_empty(parameters) {
        faults.required("parameters", "must contain at least one key/value pair");
    }
    if columns::count(parameters) > PARAMETERS_MAX {
        faults.too_long("parameters", PARAMETERS_MAX);
    }
    let mut size = 0;
    for (key, value) in all {
        if key.is_empty() {
            faults.invalid("parameters", &json!(key), "field can not be empty.");
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > PARAMETER_BYTES_MAX {
        faults.too_long("parameters", PARAMETER_BYTES_MAX);
    }
}

fn attributes(faults: &mut Faults, value: &Value) {
    faults.needs_name("driverName", &value["driverName"], super::csi::driver_name);
    parameters(faults, &value["parameters"], true);
}

fn attachment(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    faults.needs_name("spec.attacher", &spec["attacher"], super::csi::driver_name);
    faults.needs_name("spec.nodeName", &spec["nodeName"], names::dns_subdomain);
    let source = &spec["source"];
    match (is_empty(&source["persistentVolumeName"]), source["inlineVolumeSpec"].is_null()) {
        (true, true) => {
            let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            faults.required("spec.source", detail);
        }
        (false, false) => {
            let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            faults.forbidden("spec.source", detail);
        }
        _ => faults.may_be_named(
            "spec.source.persistentVolumeName",
            &source["persistentVolumeName"],
            names::dns_subdomain,
        ),
    }
}
