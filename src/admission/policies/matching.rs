//! Which requests a policy, or a binding, is about.
//!
//! As upstream's `k8s.io/apiserver/pkg/admission/plugin/policy/matching` and `.../webhook/predicates/rules`.

use objects::kind;
use objects::selector::Labels;
use serde_json::Value;

use crate::{Request, list, text};

/// Whether match resources take a request; ones that are absent take every one.
pub fn matches(resources: &Value, request: &Request<'_>, object: &Value, home: &Value) -> bool {
    if resources.is_null() {
        return true;
    }
    let rules = || list(&resources["resourceRules"]);
    let exact = resources["matchPolicy"] == "Exact";
    let mut excluded = list(&resources["excludeResourceRules"]);
    (rules().next().is_none() || rules().any(|rule| takes(rule, request, object, exact)))
        && !excluded.any(|rule| takes(rule, request, object, exact))
        && in_namespace(&resources["namespaceSelector"], request, object, home)
        && [object, request.old.unwrap_or(&Value::Null)]
            .iter()
            .any(|one| one.is_object() && selects(&resources["objectSelector"], &one["metadata"]["labels"]))
}

/// A selector that does not parse selects nothing; such a one is refused when it is written.
fn selects(selector: &Value, labels: &Value) -> bool {
    if selector.is_null() {
        return true;
    }
    Labels::from_value(selector).is_ok_and(|selector| selector.matches_value(labels))
}

fn in_namespace(selector: &Value, request: &Request<'_>, object: &Value, home: &Value) -> bool {
    if request.is("", "Namespace") {
        // As it is to be; one that goes, as it was.
        let itself = if object.is_null() { request.old.unwrap_or(object) } else { object };
        return selects(selector, &itself["metadata"]["labels"]);
    }
    request.namespace.is_empty() || selects(selector, &home["metadata"]["labels"])
}

fn takes(rule: &Value, request: &Request<'_>, object: &Value, exact: bool) -> bool {
    let any =
        |field: &str, fits: &dyn Fn(&str) -> bool| list(&rule[field]).any(|one| text(one) == "*" || fits(text(one)));
    let about = if object.is_null() { request.old.unwrap_or(object) } else { object };
    let names = list(&rule["resourceNames"]).next().is_none()
        || list(&rule["resourceNames"]).any(|name| text(name) == request.name_of(about));
    let scope = match text(&rule["scope"]) {
        "Cluster" => !request.kind.namespaced,
        "Namespaced" => request.kind.namespaced,
        _ => true,
    };
    // The same objects under another name are the same request, unless only the very name counts.
    let same = kind::all().iter().filter(|one| !exact && one.resource() == request.kind.resource());
    let known: Vec<(&str, &str, &str)> = std::iter::once(request.kind)
        .chain(same.map(|kind| &**kind))
        .map(|kind| (kind.group.as_str(), kind.version.as_str(), kind.plural.as_str()))
        .collect();
    let named = known.iter().any(|(group, version, plural)| {
        any("apiGroups", &|one| one == *group)
            && any("apiVersions", &|one| one == *version)
            && list(&rule["resources"]).any(|one| resource(text(one), plural, request.subresource))
    });
    names && scope && named && any("operations", &|one| one == request.operation.as_str())
}

/// `pods`, `pods/status`, `pods/*`, `*/status`, `*` (no subresources), `*/*`.
fn resource(wanted: &str, plural: &str, subresource: &str) -> bool {
    let (head, tail) = match wanted.split_once('/') {
        Some((head, tail)) => (head, Some(tail)),
        None => (wanted, None),
    };
    let below = match tail {
        Some("*") => true,
        Some(tail) => tail == subresource,
        None => subresource.is_empty(),
    };
    (head == "*" || head == plural) && below
}
