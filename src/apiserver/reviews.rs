//! Kinds that are asked and answered and never stored: who am I, what may I, what may somebody else.
//!
//! Follows upstream's `pkg/registry/authorization` and `pkg/apis/authorization/validation/validation.go`.

use identity::Caller;
use objects::validation::invalid;
use objects::{Cause, Status};
use rbac::Target;
use serde_json::{Value, json};

use crate::authorization::{self, Attributes, Decision};
use crate::body;
use crate::reply::{self, Response};
use crate::router::Call;
use crate::token_review;
use crate::write;

/// Why the rules of a node are not all there are, in upstream's words.
const BEYOND_NODE: &str = "node authorizer does not support user rule resolution";

/// Answers a POST to one of them.
///
/// # Errors
/// 400 and 422 for bodies that ask nothing, 404 for other kinds, 503 when the state cannot be read.
pub async fn answer(call: &Call, group: &str, plural: &str, namespace: &str, bytes: &[u8]) -> Result<Response, Status> {
    let (package, kind) = match (group, plural) {
        ("authentication.k8s.io", "selfsubjectreviews") => ("authentication", "SelfSubjectReview"),
        ("authorization.k8s.io", "localsubjectaccessreviews") => ("authorization", "LocalSubjectAccessReview"),
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
    let mut metadata = json!({"creationTimestamp": null});
    let status = match kind {
        "SelfSubjectReview" => json!({"userInfo": user_info(&call.caller)}),
        "TokenReview" => token_review::status(call, spec).await?,
        "SelfSubjectRulesReview" => rules(call, text(spec, "namespace"))?,
        "SelfSubjectAccessReview" => {
            check(kind, about(spec))?;
            access(call, &call.caller, spec).await?
        }
        "LocalSubjectAccessReview" => {
            let given = text(&asked["metadata"], "namespace");
            if !given.is_empty() && given != namespace {
                let why = format!("spec.resourceAttributes.namespace must match namespace: {namespace}");
                return Err(Status::bad_request(why));
            }
            metadata["namespace"] = json!(namespace);
            let causes = about(spec).into_iter().chain(of_somebody(spec)).chain(local(spec, namespace));
            check(kind, causes.collect())?;
            access(call, &subject(spec), spec).await?
        }
        _ => {
            check(kind, about(spec).into_iter().chain(of_somebody(spec)).collect())?;
            access(call, &subject(spec), spec).await?
        }
    };
    let mut answer = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "status": status});
    if kind != "SelfSubjectReview" {
        answer["spec"] = spec.clone();
    }
    Ok(reply::value(201, &answer))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
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

/// What the caller may do in a namespace, cluster-wide rules included.
fn rules(call: &Call, namespace: &str) -> Result<Value, Status> {
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let beyond = call.caller.node().map(|_| BEYOND_NODE);
    let index = call.api.policy.index(&call.api.store);
    let mut status = rbac::review::status(&index, &authorization::user(&call.caller), namespace, beyond);
    if authorization::is_almighty(&call.caller) {
        // They may do so by who they are, with or without a role.
        for (key, rule) in [
            ("resourceRules", json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})),
            ("nonResourceRules", json!({"verbs": ["*"], "nonResourceURLs": ["*"]})),
        ] {
            if let Some(rules) = status[key].as_array_mut()
                && !rules.contains(&rule)
            {
                rules.insert(0, rule);
            }
        }
    }
    Ok(status)
}

/// The somebody else whom a review is about. Groups that authentication would add are only there if they are given.
fn subject(spec: &Value) -> Caller {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let extra = spec["extra"].as_object().into_iter().flatten();
    Caller {
        user: text(spec, "user").to_owned(),
        uid: Some(text(spec, "uid").to_owned()).filter(|uid| !uid.is_empty()),
        groups: texts(&spec["groups"]),
        extra: extra.map(|(key, values)| (key.clone(), texts(values))).collect(),
    }
}

fn check(kind: &str, causes: Vec<Cause>) -> Result<(), Status> {
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid("authorization.k8s.io", kind, "", causes)) }
}

/// What is asked has to be one thing.
fn about(spec: &Value) -> Vec<Cause> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    match (resource.is_null(), path.is_null()) {
        (false, false) => {
            let why = "cannot be specified in combination with resourceAttributes";
            vec![invalid("spec.nonResourceAttributes", path, why)]
        }
        (true, true) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            vec![invalid("spec.resourceAttributes", &Value::Null, why)]
        }
        _ => Vec::new(),
    }
}

/// A review about somebody else has to name them.
fn of_somebody(spec: &Value) -> Option<Cause> {
    let nobody = text(spec, "user").is_empty() && spec["groups"].as_array().is_none_or(Vec::is_empty);
    nobody.then(|| invalid("spec.user", &json!(""), "at least one of user or group must be specified"))
}

/// A review in a namespace asks about that namespace.
fn local(spec: &Value, namespace: &str) -> Option<Cause> {
    if !spec["nonResourceAttributes"].is_null() {
        let given = &spec["nonResourceAttributes"];
        return Some(invalid("spec.nonResourceAttributes", given, "disallowed on this kind of request"));
    }
    let given = &spec["resourceAttributes"]["namespace"];
    (given.as_str().unwrap_or("") != namespace)
        .then(|| invalid("spec.resourceAttributes.namespace", given, "must match metadata.namespace"))
}

async fn access(call: &Call, caller: &Caller, spec: &Value) -> Result<Value, Status> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let wanted = if resource.is_null() {
        Attributes::path(text(path, "verb"), text(path, "path"))
    } else {
        let target = Target::Resource {
            group: text(resource, "group"),
            resource: text(resource, "resource"),
            subresource: text(resource, "subresource"),
            namespace: text(resource, "namespace"),
            name: text(resource, "name"),
        };
        Attributes::of(text(resource, "verb"), target)
    };
    let (allowed, reason) = match authorization::decide(&call.api, call.patience(), caller, &wanted).await? {
        Decision::Allow(reason) => (true, reason),
        Decision::Deny(reason) => (false, reason),
    };
    let mut status = json!({ "allowed": allowed });
    if !reason.is_empty() {
        status["reason"] = json!(reason);
    }
    Ok(status)
}
