//! The objects that hold a policy's parameters.

use objects::selector::Labels;
use objects::{Key, Resource, kind};
use serde_json::Value;
use state::State;

use crate::{Request, list, text, value_of};

/// Everything that a binding refers to; one `null` for a policy without parameters. Empty where there may be none.
///
/// # Errors
/// In upstream's words, why the policy cannot be asked.
pub fn of(request: &Request<'_>, kind: &Value, reference: &Value) -> Result<Vec<Value>, String> {
    if kind.is_null() || reference.is_null() {
        return Ok(vec![Value::Null]);
    }
    let (api_version, name) = (text(&kind["apiVersion"]), text(&kind["kind"]));
    let Some((resource, namespaced)) = resource_of(request.state, api_version, name) else {
        return Err(format!("failed to find resource referenced by paramKind: '{api_version}, Kind={name}'"));
    };
    let namespace = match (namespaced, text(&reference["namespace"])) {
        (false, "") => "",
        (false, _) => return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into()),
        (true, "") if request.namespace.is_empty() => {
            return Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into());
        }
        (true, "") => request.namespace,
        (true, given) => given,
    };
    let name = text(&reference["name"]);
    let found: Vec<Value> = if name.is_empty() {
        let selector = Labels::from_value(&reference["selector"]).map_err(|status| status.message)?;
        let all = request.state.list_in(&resource, namespace);
        all.filter(|stored| selector.matches(&stored.face().labels)).filter_map(|stored| value_of(stored)).collect()
    } else {
        let one = request.state.get(&Key::new(resource, namespace, name));
        one.and_then(|stored| value_of(stored)).into_iter().collect()
    };
    if found.is_empty() && reference["parameterNotFoundAction"] != "Allow" {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
    }
    Ok(found)
}

/// The resource of a kind, built in or defined, and whether it has namespaces.
fn resource_of(state: &State, api_version: &str, name: &str) -> Option<(Resource, bool)> {
    if let Some(kind) = kind::by_kind(api_version, name) {
        return Some((kind.resource(), kind.namespaced));
    }
    let (group, version) = api_version.split_once('/')?;
    let definitions = state.list(&"customresourcedefinitions.apiextensions.k8s.io".into());
    let defined = definitions.filter_map(|stored| value_of(stored)).find(|definition| {
        let spec = &definition["spec"];
        let served = |one: &Value| one["name"] == version && one["served"] == true;
        spec["group"] == group && spec["names"]["kind"] == name && list(&spec["versions"]).any(served)
    })?;
    let spec = &defined["spec"];
    Some((Resource::new(group, text(&spec["names"]["plural"])), spec["scope"] == "Namespaced"))
}
