//! Kinds that are asked and answered and never stored: who am I, what may I, what may somebody else.

use identity::Caller;
use objects::{Key, Resource, Status};
use serde_json::{Value, json};

use crate::authorization::{self, Attributes, Decision};
use crate::body;
use crate::errors;
use crate::node_access;
use crate::reply::{self, Response};
use crate::router::Call;
use crate::token_review;
use crate::write;

/// Answers a POST to one of them.
///
/// # Errors
/// 400 and 422 for bodies that ask nothing, 404 for other kinds, 503 when the state cannot be read.
pub async fn answer(call: &Call, group: &str, plural: &str, bytes: &[u8]) -> Result<Response, Status> {
    let (package, kind) = match (group, plural) {
        ("authentication.k8s.io", "selfsubjectreviews") => ("authentication", "SelfSubjectReview"),
        ("authentication.k8s.io", "tokenreviews") => ("authentication", "TokenReview"),
        ("authorization.k8s.io", "selfsubjectaccessreviews") => ("authorization", "SelfSubjectAccessReview"),
        ("authorization.k8s.io", "selfsubjectrulesreviews") => ("authorization", "SelfSubjectRulesReview"),
        ("authorization.k8s.io", "subjectaccessreviews") => ("authorization", "SubjectAccessReview"),
        _ => return Err(Status::no_such_path()),
    };
    write::dry_run(&call.query, "CreateOptions")?;
    let api_version = format!("{group}/v1");
    let asked = body::of_kind(&call.headers, bytes, &format!("k8s.io.api.{package}.v1.{kind}"), &api_version, kind)?;
    let spec = &asked["spec"];
    let status = match kind {
        "SelfSubjectReview" => json!({"userInfo": user_info(&call.caller)}),
        "TokenReview" => token_review::status(call, spec).await?,
        "SelfSubjectRulesReview" => rules(&call.caller),
        "SelfSubjectAccessReview" => access(call, &call.caller, kind, spec).await?,
        _ => access(call, &subject(spec)?, kind, spec).await?,
    };
    let mut answer = json!({
        "kind": kind, "apiVersion": api_version, "metadata": {"creationTimestamp": null}, "status": status,
    });
    if kind != "SelfSubjectReview" {
        answer["spec"] = spec.clone();
    }
    Ok(reply::value(201, &answer))
}

/// A caller as `UserInfo`.
pub fn user_info(caller: &Caller) -> Value {
    let mut info = json!({"username": caller.user, "groups": caller.groups});
    if let Some(uid) = &caller.uid {
        info["uid"] = json!(uid);
    }
    if !caller.extra.is_empty() {
        info["extra"] = json!(caller.extra);
    }
    info
}

fn rules(caller: &Caller) -> Value {
    if authorization::is_almighty(caller) {
        return json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        });
    }
    // What a node may do depends on its pods: no list of rules says it.
    json!({"resourceRules": [], "nonResourceRules": [], "incomplete": caller.node().is_some()})
}

fn subject(spec: &Value) -> Result<Caller, Status> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let user = spec["user"].as_str().unwrap_or("").to_owned();
    let groups = texts(&spec["groups"]);
    if user.is_empty() && groups.is_empty() {
        return Err(invalid("SubjectAccessReview", "spec.user", "at least one of user or group must be specified"));
    }
    Ok(Caller { user, uid: None, groups, extra: Default::default() })
}

fn invalid(kind: &str, field: &str, why: &str) -> Status {
    let cause = objects::Cause {
        reason: "FieldValueInvalid".into(),
        message: format!("Invalid value: \"\": {why}"),
        field: field.into(),
    };
    Status::invalid("authorization.k8s.io", kind, "", vec![cause])
}

async fn access(call: &Call, caller: &Caller, kind: &str, spec: &Value) -> Result<Value, Status> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if resource.is_null() == path.is_null() {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        return Err(invalid(kind, "spec.resourceAttributes", why));
    }
    let text = |value: &'_ Value| value.as_str().unwrap_or("").to_owned();
    let decision = if resource.is_null() {
        let open = ["/livez", "/healthz", "/readyz", "/version"].contains(&text(&path["path"]).as_str());
        if open || authorization::is_almighty(caller) { Decision::Allow } else { Decision::Deny(String::new()) }
    } else {
        let field = |name: &str| text(&resource[name]);
        let (verb, group, plural) = (field("verb"), field("group"), field("resource"));
        let (subresource, namespace, name) = (field("subresource"), field("namespace"), field("name"));
        let wanted = Attributes {
            verb: &verb,
            group: &group,
            resource: &plural,
            subresource: &subresource,
            namespace: &namespace,
            name: &name,
            selected_node: None,
            selected_name: None,
        };
        match (authorization::decide(caller, &wanted), caller.node()) {
            (Decision::IfRelated, Some(node)) => {
                let key = Key::new(Resource::new(&group, &plural), &namespace, &name);
                let state = call.api.store.fresh(call.patience()).await.map_err(|error| errors::status(error, &key))?;
                if node_access::related(&state, node, &key) {
                    Decision::Allow
                } else {
                    Decision::Deny(format!("no relationship found between node '{node}' and this object"))
                }
            }
            (decision, _) => decision,
        }
    };
    Ok(match decision {
        Decision::Allow => json!({"allowed": true}),
        Decision::Deny(reason) if reason.is_empty() => json!({"allowed": false}),
        Decision::Deny(reason) => json!({"allowed": false, "reason": reason}),
        Decision::IfRelated => json!({"allowed": false}),
    })
}
