//! ValidatingAdmissionPolicies: rules of the cluster's own, written as expressions.
//!
//! As upstream's `k8s.io/apiserver/pkg/admission/plugin/policy`. A policy is compiled once for each revision of it and shared
//! by all requests. Absent: `authorizer` (an expression that mentions it is refused when the policy is written), types
//! other than of `request`, and audit annotations, which are compiled and go nowhere.

mod compile;
mod matching;
mod params;

use std::collections::BTreeMap;

use expressions::{Bindings, Budget, Program, Value as Cel};
use objects::{Key, Status};
use serde_json::{Value, json};

use crate::{Operation, Request, list, text, value_of};
use compile::{Compiled, Rule};

const GROUP: &str = "admissionregistration.k8s.io";
const POLICIES: &str = "validatingadmissionpolicies.admissionregistration.k8s.io";
const BINDINGS: &str = "validatingadmissionpolicybindings.admissionregistration.k8s.io";

/// Refuses a policy whose expressions do not compile, with every fault.
///
/// # Errors
/// 422.
pub fn compiles(request: &Request<'_>, object: &Value) -> Result<(), Status> {
    if !request.is(GROUP, "ValidatingAdmissionPolicy") || !request.subresource.is_empty() {
        return Ok(());
    }
    // What came past this once does not keep a policy from being changed in other ways.
    if request.old.is_some_and(|old| old["spec"] == object["spec"]) {
        return Ok(());
    }
    let faults = Compiled::of(object).faults;
    if faults.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(GROUP, "ValidatingAdmissionPolicy", text(&object["metadata"]["name"]), faults))
}

/// Asks every policy that is bound to requests like this one. `object` is null where it is deleted.
///
/// # Errors
/// The refusal of the first policy that denies it, with all refusals as causes; its code is the one that the policy's author
/// chose.
pub fn validate(request: &Request<'_>, object: &Value, warnings: &mut Vec<String>) -> Result<(), Status> {
    // So that nobody shuts himself out.
    let plurals = ["validatingadmissionpolic", "mutatingadmissionpolic"];
    if request.kind.group == GROUP && plurals.iter().any(|plural| request.kind.plural.starts_with(plural)) {
        return Ok(());
    }
    let mut bound: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for binding in request.state.list(&BINDINGS.into()).filter_map(|stored| value_of(stored)) {
        bound.entry(text(&binding["spec"]["policyName"]).to_owned()).or_default().push(binding);
    }
    let mut denied = Vec::new();
    let mut home = None;
    for (name, bindings) in bound {
        let Some(policy) = request.state.get(&Key::new(POLICIES, "", &name)) else { continue };
        let Ok(compiled) = policy.typed::<Compiled>() else { continue };
        let home: &Value = home.get_or_insert_with(|| request.home().and_then(value_of).unwrap_or_default());
        if !matching::matches(&compiled.constraints, request, object, home) {
            continue;
        }
        let asked = Asked { request, object, home, name: &name, policy: &compiled };
        for binding in bindings {
            if matching::matches(&binding["spec"]["matchResources"], request, object, home) {
                asked.bound(&binding, &mut denied, warnings);
            }
        }
    }
    refusal(request, object, denied)
}

/// A refusal: what it says, and the reason that the policy gives it.
type Denial = (String, String);

fn refusal(request: &Request<'_>, object: &Value, denied: Vec<Denial>) -> Result<(), Status> {
    let Some((message, reason)) = denied.first() else { return Ok(()) };
    let about = if object.is_null() { request.old.unwrap_or(object) } else { object };
    let mut status = request.forbidden(about, message);
    status.code = match reason.as_str() {
        "Unauthorized" => 401,
        "Forbidden" => 403,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    };
    status.reason.clone_from(reason);
    Err(denied.iter().fold(status, |status, (message, _)| status.because("", message.clone(), "")))
}

/// A request, and a policy that is asked about it.
struct Asked<'a> {
    request: &'a Request<'a>,
    object: &'a Value,
    home: &'a Value,
    name: &'a str,
    policy: &'a Compiled,
}

impl Asked<'_> {
    /// Asks the policy as one binding wants it, once for each object that holds parameters.
    fn bound(&self, binding: &Value, denied: &mut Vec<Denial>, warnings: &mut Vec<String>) {
        let name = text(&binding["metadata"]["name"]);
        let mut failed: Vec<Denial> = Vec::new();
        match params::of(self.request, &self.policy.param_kind, &binding["spec"]["paramRef"]) {
            Ok(all) => all.iter().for_each(|params| self.ask(params, &mut failed)),
            Err(_) if self.policy.ignores => return,
            Err(why) => failed.push((format!("failed to configure binding: {why}"), "Invalid".into())),
        }
        let acts = |action: &str| list(&binding["spec"]["validationActions"]).any(|one| one == action);
        for (message, reason) in failed {
            if acts("Deny") {
                let head = format!("ValidatingAdmissionPolicy '{}' with binding '{name}' denied request", self.name);
                denied.push((format!("{head}: {message}"), reason));
            } else if acts("Warn") {
                let head =
                    format!("Validation failed for ValidatingAdmissionPolicy '{}' with binding '{name}'", self.name);
                warnings.push(format!("{head}: {message}"));
            }
        }
    }

    fn ask(&self, params: &Value, failed: &mut Vec<Denial>) {
        let asks = attributes(self.request, self.object);
        let nothing = Value::Null;
        let mut bindings = Bindings::default();
        bindings.bind("object", Cel::dynamic(self.object));
        bindings.bind("oldObject", Cel::dynamic(self.request.old.unwrap_or(&nothing)));
        bindings.bind("params", Cel::dynamic(params));
        bindings.bind("namespaceObject", Cel::dynamic(self.home));
        match Cel::from_json(&asks, &compile::request_shape().ty) {
            Ok(value) => bindings.bind("request", value),
            Err(why) => return self.error(failed, format!("the request cannot be shown to expressions: {why}")),
        }
        bindings.compose(self.policy.variables.iter().map(|(name, program)| (name.as_str(), program)));
        let mut budget = Budget::default();
        for (source, condition) in &self.policy.conditions {
            match condition.holds(&bindings, &mut budget) {
                Ok(true) => {}
                Ok(false) => return,
                Err(why) => return self.error(failed, format!("expression '{source}' resulted in error: {why}")),
            }
        }
        for rule in &self.policy.rules {
            match rule.program.holds(&bindings, &mut budget) {
                Ok(true) => {}
                Ok(false) => failed.push((told(rule, &bindings, &mut budget), rule.reason.clone())),
                Err(why) => self.error(failed, format!("expression '{}' resulted in error: {why}", rule.source)),
            }
        }
    }

    /// What becomes of an expression that gives no value.
    fn error(&self, failed: &mut Vec<Denial>, message: String) {
        if !self.policy.ignores {
            failed.push((message, "Invalid".into()));
        }
    }
}

/// What a rule that does not hold tells: what its author computes, or has written, or the rule itself.
fn told(rule: &Rule, bindings: &Bindings<'_>, budget: &mut Budget) -> String {
    let computed = |program: &Program, budget: &mut Budget| {
        let value = program.evaluate(bindings, budget).and_then(|value| value.to_json()).ok()?;
        let text = value.as_str()?.trim().to_owned();
        (!text.is_empty() && !text.contains('\n')).then_some(text)
    };
    let computed = rule.message_program.as_ref().and_then(|program| computed(program, budget));
    computed.or_else(|| rule.message.clone()).unwrap_or_else(|| format!("failed expression: {}", rule.source))
}

/// The request as expressions see it.
fn attributes(request: &Request<'_>, object: &Value) -> Value {
    let kind = request.kind;
    let about = if object.is_null() { request.old.unwrap_or(object) } else { object };
    // A subresource may have objects of its own.
    let (group, version) = match text(&about["apiVersion"]).rsplit_once('/') {
        Some(both) => both,
        None => ("", text(&about["apiVersion"])),
    };
    let names = json!({"group": group, "version": version, "kind": about["kind"]});
    let resource = json!({"group": kind.group, "version": kind.version, "resource": kind.plural});
    json!({
        "kind": names, "resource": resource, "subResource": request.subresource,
        "requestKind": names, "requestResource": resource, "requestSubResource": request.subresource,
        "name": request.name_of(about), "namespace": request.namespace,
        "operation": request.operation.as_str(), "dryRun": request.dry_run,
        "userInfo": {"username": request.user.name, "uid": request.user.uid, "groups": request.user.groups,
            "extra": request.user.extra},
    })
}

impl Operation {
    /// As rules and expressions spell it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}
