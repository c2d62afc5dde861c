//! The authorizer: a question is put together step by step, asked with `check`, and its answer looked at.

use std::fmt;
use std::sync::Arc;

use super::Answer;
use crate::error::Error;
use crate::value::Value;

/// Who answers. Implemented by the room that authorizes; evaluation is synchronous, so it answers from what it has.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// Whether the caller (or the service account of the question) may do so.
    fn decide(&self, question: &Question) -> Decision;
}

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// In place of the caller: namespace and name of a service account.
    pub service_account: Option<(String, String)>,
    /// A path that is no resource; then only it and the verb count.
    pub path: Option<String>,
    /// The API group.
    pub group: String,
    /// The resource, in the plural.
    pub resource: String,
    /// The subresource, or nothing.
    pub subresource: String,
    /// The namespace, or nothing.
    pub namespace: String,
    /// The name, or nothing.
    pub name: String,
    /// A field selector, as written.
    pub field_selector: String,
    /// A label selector, as written.
    pub label_selector: String,
    /// The verb.
    pub verb: String,
}

/// What is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What kept the authorizer from deciding.
    pub error: Option<String>,
}

/// A stage of asking.
#[derive(Debug, Clone)]
pub struct Authorization<'a> {
    authorizer: &'a dyn Authorizer,
    stage: Stage,
    question: Arc<Question>,
    decision: Option<Arc<Decision>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Authorizer,
    Path,
    Group,
    Resource,
    Decided,
}

impl<'a> Authorization<'a> {
    /// The value of the variable `authorizer`, declared as [`AUTHORIZER`](crate::AUTHORIZER).
    pub fn authorizer(authorizer: &'a dyn Authorizer) -> Value<'a> {
        Value::Authorization(Self { authorizer, stage: Stage::Authorizer, question: Arc::default(), decision: None })
    }

    /// The value of the variable `authorizer.requestResource`, declared as [`RESOURCE_CHECK`](crate::RESOURCE_CHECK):
    /// group, resource, subresource, namespace and name of the request.
    pub fn request_resource(authorizer: &'a dyn Authorizer, request: Question) -> Value<'a> {
        Value::Authorization(Self { authorizer, stage: Stage::Resource, question: Arc::new(request), decision: None })
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self.stage {
            Stage::Authorizer => "kubernetes.authorization.Authorizer",
            Stage::Path => "kubernetes.authorization.PathCheck",
            Stage::Group => "kubernetes.authorization.GroupCheck",
            Stage::Resource => "kubernetes.authorization.ResourceCheck",
            Stage::Decided => "kubernetes.authorization.Decision",
        }
    }

    fn next(&self, stage: Stage, fill: impl FnOnce(&mut Question)) -> Value<'a> {
        let mut question = (*self.question).clone();
        fill(&mut question);
        Value::Authorization(Self { authorizer: self.authorizer, stage, question: Arc::new(question), decision: None })
    }
}

pub(super) fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    let Some((Value::Authorization(so_far), args)) = args.split_first() else { return None };
    let texts: Option<Vec<&str>> =
        args.iter().map(|arg| if let Value::String(text) = arg { Some(&**text) } else { None }).collect();
    let texts = texts?;
    if let Some(decision) = &so_far.decision {
        return decided(function, &texts, decision);
    }
    Some(Ok(match (so_far.stage, function, texts.as_slice()) {
        (Stage::Authorizer, "path", [""]) => return Some(Err("path must not be empty".into())),
        (Stage::Authorizer, "path", [path]) => {
            so_far.next(Stage::Path, |question| question.path = Some((*path).to_owned()))
        }
        (Stage::Authorizer, "group", [group]) => {
            so_far.next(Stage::Group, |question| (*group).clone_into(&mut question.group))
        }
        (Stage::Authorizer, "serviceAccount", [namespace, name]) => {
            if namespace.is_empty() || name.is_empty() {
                return Some(Err(Error::from("Invalid service account namespace or name")));
            }
            so_far.next(Stage::Authorizer, |question| {
                question.service_account = Some(((*namespace).to_owned(), (*name).to_owned()));
            })
        }
        (Stage::Group, "resource", [resource]) => {
            so_far.next(Stage::Resource, |question| (*resource).clone_into(&mut question.resource))
        }
        (Stage::Resource, part, [text]) if part != "check" => {
            let field: fn(&mut Question) -> &mut String = match part {
                "subresource" => |question| &mut question.subresource,
                "namespace" => |question| &mut question.namespace,
                "name" => |question| &mut question.name,
                "fieldSelector" => |question| &mut question.field_selector,
                "labelSelector" => |question| &mut question.label_selector,
                _ => return None,
            };
            so_far.next(Stage::Resource, |question| (*text).clone_into(field(question)))
        }
        (Stage::Path | Stage::Resource, "check", [verb]) => {
            let mut question = (*so_far.question).clone();
            (*verb).clone_into(&mut question.verb);
            let decision = so_far.authorizer.decide(&question);
            Value::Authorization(Authorization {
                stage: Stage::Decided,
                decision: Some(Arc::new(decision)),
                ..so_far.clone()
            })
        }
        _ => return None,
    }))
}

fn decided<'a>(function: &str, args: &[&str], decision: &Decision) -> Answer<'a> {
    if !args.is_empty() {
        return None;
    }
    Some(Ok(match function {
        "allowed" => Value::Bool(decision.allowed),
        "reason" => Value::from(decision.reason.clone()),
        "errored" => Value::Bool(decision.error.is_some()),
        "error" => Value::from(decision.error.clone().unwrap_or_default()),
        _ => return None,
    }))
}
