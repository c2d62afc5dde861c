//! Where requests meet admission: what is refused, or changed, although the object itself is fine.
//!
//! The decisions are the room `admission`'s, and [`node`]'s about node agents; here is only the order in which every write
//! takes them: [`mutate`], the kind's own rules, [`validate`], and the charges to quotas, which go into the transaction of
//! the write. That a namespace exists and is not ending is a precondition of the transaction itself.

mod node;

use ::admission::{Ledger, Operation, Request, User};
use objects::Status;
use serde_json::{Value, json};
use state::State;

use crate::errors;
use crate::route::Target;
use crate::router::Call;

/// Namespaces that the cluster needs.
const PROTECTED: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Refuses a deletion of `old`.
///
/// # Errors
/// 403 for namespaces that the cluster needs; what a policy refuses.
pub fn delete(call: &Call, target: &Target, old: &Value, dry_run: bool) -> Result<(), Status> {
    let name = target.name.as_deref().unwrap_or("");
    if target.kind.group.is_empty() && target.kind.kind == "Namespace" && PROTECTED.contains(&name) {
        return Err(Status::forbidden("", "namespaces", name, "this namespace may not be deleted"));
    }
    let (state, user) = (call.api.store.current(), user(call));
    let write = Write { call, target, state: &state, old: Some(old), subresource: None, dry_run };
    let request = Request { operation: Operation::Delete, ..write.request(&user) };
    call.warn(::admission::ask(&request, &Value::Null)?);
    Ok(())
}

/// Asks about what is done through a subresource with objects of its own: a Binding, an Eviction.
///
/// # Errors
/// What a policy refuses.
pub fn through(call: &Call, target: &Target, object: &Value, dry_run: bool) -> Result<(), Status> {
    part(call, target, Operation::Create, object, dry_run)
}

/// Asks about a stream to a pod; other subresources are none.
///
/// # Errors
/// What a policy refuses.
pub fn connect(call: &Call, target: &Target) -> Result<(), Status> {
    let kind = match target.subresource.as_deref() {
        Some("exec") => "PodExecOptions",
        Some("attach") => "PodAttachOptions",
        Some("portforward") => "PodPortForwardOptions",
        _ => return Ok(()),
    };
    let mut options = json!({"kind": kind, "apiVersion": "v1"});
    for field in ["stdin", "stdout", "stderr", "tty"] {
        // What is no truth value the stream's own reader refuses.
        if matches!(call.query.flag(field), Ok(Some(true))) {
            options[field] = json!(true);
        }
    }
    if let Some(container) = call.query.get("container") {
        options["container"] = json!(container);
    }
    let command: Vec<&str> = call.query.all("command").collect();
    if !command.is_empty() {
        options["command"] = json!(command);
    }
    part(call, target, Operation::Connect, &options, false)
}

fn part(call: &Call, target: &Target, operation: Operation, object: &Value, dry_run: bool) -> Result<(), Status> {
    let (state, user) = (call.api.store.current(), user(call));
    let subresource = target.subresource.as_deref();
    let write = Write { call, target, state: &state, old: None, subresource, dry_run };
    let name = target.name.as_deref().unwrap_or("");
    let request = Request { operation, name, ..write.request(&user) };
    call.warn(::admission::ask(&request, object)?);
    Ok(())
}

/// The caller, as rules see him.
fn user(call: &Call) -> User {
    let caller = &call.caller;
    User {
        name: caller.user.clone(),
        uid: caller.uid.clone().unwrap_or_default(),
        groups: caller.groups.clone(),
        extra: caller.extra.clone(),
    }
}

/// What is known of the cluster, to decide about a new object: read afresh where a stale view could let through what was
/// forbidden before.
///
/// # Errors
/// 503 without a quorum.
pub async fn state(call: &Call, target: &Target) -> Result<State, Status> {
    if ::admission::looks_closely(target.kind.stored()) {
        fresh(call, target).await
    } else {
        Ok(call.api.store.current())
    }
}

/// What is known of the cluster, all acknowledged writes included.
///
/// # Errors
/// 503 without a quorum.
pub async fn fresh(call: &Call, target: &Target) -> Result<State, Status> {
    call.api.store.fresh(call.patience()).await.map_err(|error| errors::status(error, &target.key()))
}

/// A write on its way to the store.
pub struct Write<'a> {
    /// The request.
    pub call: &'a Call,
    /// What it is about.
    pub target: &'a Target,
    /// What is known of the cluster.
    pub state: &'a State,
    /// What is replaced; `None` for what is new.
    pub old: Option<&'a Value>,
    /// Through which subresource.
    pub subresource: Option<&'a str>,
    /// Whether nothing is to be stored.
    pub dry_run: bool,
}

impl Write<'_> {
    /// What others decide before the object's own rules are asked.
    ///
    /// # Errors
    /// 403.
    pub fn mutate(&self, object: &mut Value) -> Result<(), Status> {
        match self.old {
            None => node::create(self.call, self.target, object)?,
            Some(old) => node::update(self.call, self.target, old, object)?,
        }
        ::admission::mutate(&self.request(&user(self.call)), object)
    }

    /// What others say about an object that is valid; what they charge for it.
    ///
    /// # Errors
    /// 403, and 422 for namespaces.
    pub fn validate(&self, object: &Value) -> Result<Ledger, Status> {
        let user = user(self.call);
        let request = self.request(&user);
        self.call.warn(::admission::validate(&request, object)?);
        let mut ledger = Ledger::default();
        ::admission::charge(&request, object, &mut ledger)?;
        Ok(ledger)
    }

    fn request<'a>(&'a self, user: &'a User) -> Request<'a> {
        Request {
            state: self.state,
            kind: self.target.kind.stored(),
            operation: if self.old.is_some() { Operation::Update } else { Operation::Create },
            name: "",
            namespace: &self.target.namespace,
            subresource: self.subresource.unwrap_or(""),
            old: self.old,
            user,
            dry_run: self.dry_run,
            now: base::clock::now(),
        }
    }
}
