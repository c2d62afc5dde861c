//! Default classes of claims and ingresses, what a pod's runtime class brings along, and which claims may grow.
//!
//! As upstream's `plugin/pkg/admission/{storage/storageclass/setdefault,storage/persistentvolume/resize,
//! network/defaultingressclass,runtimeclass}/admission.go`.

use objects::Status;
use objects::quantity::Quantity;
use serde_json::{Value, json};

use crate::pod::amounts;
use crate::{Operation, Request, list, named, text, value_of};

/// How claims named their class before there was a field.
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const STORAGE_CLASSES: &str = "storageclasses.storage.k8s.io";

/// Gives a new claim without a class the default one.
pub fn storage(request: &Request<'_>, object: &mut Value) {
    let has = !object["spec"]["storageClassName"].is_null() || !object["metadata"]["annotations"][OLD_CLASS].is_null();
    if !request.creates("", "PersistentVolumeClaim") || has {
        return;
    }
    let marks = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
    if let Some(name) = default_class(request, STORAGE_CLASSES, &marks) {
        object["spec"]["storageClassName"] = json!(name);
    }
}

/// Gives a new ingress without a class the default one.
pub fn ingress(request: &Request<'_>, object: &mut Value) {
    let old = text(&object["metadata"]["annotations"]["kubernetes.io/ingress.class"]);
    let has = !object["spec"]["ingressClassName"].is_null() || !old.is_empty();
    if !request.creates("networking.k8s.io", "Ingress") || has {
        return;
    }
    let marks = ["ingressclass.kubernetes.io/is-default-class"];
    if let Some(name) = default_class(request, "ingressclasses.networking.k8s.io", &marks) {
        object["spec"]["ingressClassName"] = json!(name);
    }
}

/// The newest class that is marked as the default; of equally old ones the first by name.
fn default_class(request: &Request<'_>, resource: &str, marks: &[&str]) -> Option<String> {
    let classes = request.state.list(&resource.into()).filter_map(|stored| value_of(stored));
    let marked = classes.filter(|class| marks.iter().any(|mark| class["metadata"]["annotations"][*mark] == "true"));
    let order = |class: &Value| text(&class["metadata"]["creationTimestamp"]).to_owned();
    // Classes come by name, and of equals the first is kept.
    let newest = marked.reduce(|best, next| if order(&next) > order(&best) { next } else { best })?;
    newest["metadata"]["name"].as_str().map(str::to_owned)
}

/// Writes the overhead and the scheduling of a new pod's runtime class into it.
///
/// # Errors
/// 403 for classes that do not exist and for pods that contradict theirs.
pub fn runtime(request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
    let name = text(&object["spec"]["runtimeClassName"]).to_owned();
    if !request.creates("", "Pod") || name.is_empty() {
        return Ok(());
    }
    let Some(class) = named(request.state, "runtimeclasses.node.k8s.io", &name) else {
        return Err(request.forbidden(object, format!("pod rejected: RuntimeClass {name:?} not found")));
    };
    let overhead = &class["overhead"]["podFixed"];
    if overhead.as_object().is_some_and(|overhead| !overhead.is_empty()) {
        let given = &object["spec"]["overhead"];
        if !given.is_null() && amounts(given) != amounts(overhead) {
            let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
            return Err(request.forbidden(object, why));
        }
        object["spec"]["overhead"] = overhead.clone();
    }
    for (key, wanted) in class["scheduling"]["nodeSelector"].as_object().into_iter().flatten() {
        let given = &object["spec"]["nodeSelector"][key.as_str()];
        if !given.is_null() && given != wanted {
            let why = format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                text(wanted),
                text(given)
            );
            return Err(request.forbidden(object, why));
        }
        object["spec"]["nodeSelector"][key.as_str()] = wanted.clone();
    }
    let mut tolerations: Vec<Value> = list(&object["spec"]["tolerations"]).cloned().collect();
    let known = tolerations.len();
    for toleration in list(&class["scheduling"]["tolerations"]) {
        if !tolerations.contains(toleration) {
            tolerations.push(toleration.clone());
        }
    }
    if tolerations.len() > known {
        object["spec"]["tolerations"] = Value::Array(tolerations);
    }
    Ok(())
}

/// Refuses overhead that no class says, and claims that grow although their class does not let them.
///
/// # Errors
/// 403.
pub fn validate(request: &Request<'_>, object: &Value) -> Result<(), Status> {
    if request.creates("", "Pod") {
        let class = text(&object["spec"]["runtimeClassName"]);
        let overhead = named(request.state, "runtimeclasses.node.k8s.io", class)
            .is_some_and(|class| class["overhead"]["podFixed"].as_object().is_some_and(|amounts| !amounts.is_empty()));
        if !object["spec"]["overhead"].is_null() && !overhead {
            let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            return Err(request.forbidden(object, why));
        }
    }
    let grows = request.operation == Operation::Update && request.subresource.is_empty();
    match request.old {
        Some(old) if grows && request.is("", "PersistentVolumeClaim") => growth(request, old, object),
        _ => Ok(()),
    }
}

fn growth(request: &Request<'_>, old: &Value, new: &Value) -> Result<(), Status> {
    let size = |claim: &Value| Quantity::from_value(&claim["spec"]["resources"]["requests"]["storage"]).ok();
    match (size(old), size(new)) {
        (Some(before), Some(after)) if after > before => {}
        _ => return Ok(()),
    }
    if old["status"]["phase"] != "Bound" {
        return Err(request.forbidden(new, "Only bound persistent volume claims can be expanded"));
    }
    let class = match new["metadata"]["annotations"][OLD_CLASS].as_str() {
        Some(class) => class,
        None => text(&new["spec"]["storageClassName"]),
    };
    if named(request.state, STORAGE_CLASSES, class).is_some_and(|class| class["allowVolumeExpansion"] == true) {
        return Ok(());
    }
    let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support \
               resize";
    Err(request.forbidden(new, why))
}
