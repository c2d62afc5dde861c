//! ResourceQuota: what all objects of a namespace may ask for together.
//!
//! As upstream's `k8s.io/apiserver/pkg/admission/plugin/resourcequota` and `pkg/quota/v1/evaluator/core`. A quota's
//! `status.used` is charged in the transaction that stores the object, on the condition that nobody else has charged it since
//! it was read: so writers on any number of masters never go beyond `hard` together. What is given back is counted anew by a
//! duty of the leader, with [`counted`].

mod count;
mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;

use objects::quantity::Quantity;
use objects::{Key, Object, Status, kind};
use serde_json::{Value, json};
use state::{Change, Precondition, Stored};

use crate::pod::{Amounts, add, amounts};
use crate::{Operation, Request, list, text, value_of};
pub use count::{Counted, counted, eases, needs_count};
use usage::{fits_scopes, usage};

/// Resources of pods that every container has to name where a quota counts them.
const DEMANDED: [&str; 6] = ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

/// What one transaction charges to quotas.
#[derive(Debug, Default)]
pub struct Ledger {
    quotas: BTreeMap<Key, Entry>,
}

#[derive(Debug)]
struct Entry {
    read: Arc<Stored>,
    value: Value,
}

impl Ledger {
    /// Whether the object is a quota that is charged here: then a refusal about it means that somebody else charged it first,
    /// and the writer may try again.
    pub fn charges(&self, key: &Key) -> bool {
        self.quotas.contains_key(key)
    }

    /// What the charges demand and change. The changes go before those of the objects.
    ///
    /// # Errors
    /// [`objects::Error`] when a quota cannot be encoded, which none that was decoded is.
    pub fn into_parts(self) -> Result<(Vec<Precondition>, Vec<Change>), objects::Error> {
        let (mut preconditions, mut changes) = (Vec::new(), Vec::new());
        for (key, entry) in self.quotas {
            let Some(kind) = kind::by_resource(&key.resource) else { continue };
            preconditions.push(Precondition::Unchanged { key: key.clone(), revision: entry.read.revision });
            changes.push(Change::Put { key, object: Arc::new(Object::new(kind, &entry.value)?) });
        }
        Ok((preconditions, changes))
    }
}

/// Charges what an object asks for, or asks for more than before.
///
/// # Errors
/// 403 in upstream's words.
pub fn charge(request: &Request<'_>, object: &Value, ledger: &mut Ledger) -> Result<(), Status> {
    if request.namespace.is_empty() || !counts(request, object) {
        return Ok(());
    }
    let mut wanted: Option<Amounts> = None;
    for stored in request.state.list_in(&"resourcequotas".into(), request.namespace) {
        let Some(quota) = ledger.quotas.get(&stored.key).map(|entry| entry.value.clone()).or_else(|| value_of(stored))
        else {
            continue;
        };
        if !fits_scopes(&quota, request.kind, object) {
            continue;
        }
        let name = &stored.key.name;
        let hard = amounts(&quota["status"]["hard"]);
        if let Some(why) = unsaid(request, object, &hard) {
            return Err(request.forbidden(object, format!("failed quota: {name}: {why}")));
        }
        let wanted = wanted.get_or_insert_with(|| usage(request.kind, object, request.now));
        let negative: Vec<&str> =
            wanted.iter().filter(|(_, amount)| amount.sign() < 0).map(|(name, _)| name.as_str()).collect();
        if !negative.is_empty() {
            let why = format!("quota usage is negative for resource(s): {}", negative.join(","));
            return Err(request.forbidden(object, why));
        }
        let mut more = wanted.clone();
        if let Some(old) = request.old.filter(|old| fits_scopes(&quota, request.kind, old)) {
            for (name, before) in usage(request.kind, old, request.now) {
                if let Some(amount) = more.get_mut(&name) {
                    *amount = amount.minus(before);
                }
            }
        }
        more.retain(|name, amount| amount.sign() > 0 && hard.contains_key(name));
        if more.is_empty() {
            continue;
        }
        let used = amounts(&quota["status"]["used"]);
        let unknown: Vec<&str> = more.keys().filter(|name| !used.contains_key(*name)).map(String::as_str).collect();
        if !unknown.is_empty() {
            let why = format!("status unknown for quota: {name}, resources: {}", unknown.join(","));
            return Err(request.forbidden(object, why));
        }
        let mut after = used.clone();
        add(&mut after, &more);
        let exceeded = |name: &String| after.get(name) > hard.get(name);
        if more.keys().any(exceeded) {
            let of = |amounts: &Amounts| {
                let parts = amounts.iter().filter(|(name, _)| more.contains_key(*name) && exceeded(name));
                parts.map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
            };
            let (requested, used, limited) = (of(&more), of(&used), of(&hard));
            let why = format!("exceeded quota: {name}, requested: {requested}, used: {used}, limited: {limited}");
            return Err(request.forbidden(object, why));
        }
        let mut value = quota;
        value["status"]["used"] = spelled(&after);
        ledger.quotas.insert(stored.key.clone(), Entry { read: Arc::clone(stored), value });
    }
    Ok(())
}

fn spelled(amounts: &Amounts) -> Value {
    Value::Object(amounts.iter().map(|(name, amount)| (name.clone(), json!(amount.to_string()))).collect())
}

/// Whether the write can ask for more than there was.
fn counts(request: &Request<'_>, object: &Value) -> bool {
    if usage::is_uncounted(request.kind) {
        return false;
    }
    match request.operation {
        Operation::Create => return request.subresource.is_empty(),
        Operation::Update => {}
        Operation::Delete | Operation::Connect => return false,
    }
    let deadline = |pod: &Value| !pod["spec"]["activeDeadlineSeconds"].is_null();
    match (request.kind.group.as_str(), request.kind.kind.as_str(), request.subresource) {
        ("", "Pod", "resize") => true,
        // Another scope, so perhaps other quotas.
        ("", "Pod", "") => request.old.is_some_and(|old| deadline(old) != deadline(object)),
        ("", "Service" | "PersistentVolumeClaim", "") => true,
        _ => false,
    }
}

/// What the containers of a pod do not say although a quota counts it.
fn unsaid(request: &Request<'_>, object: &Value, hard: &Amounts) -> Option<String> {
    if !request.is("", "Pod") || object["spec"]["resources"].as_object().is_some_and(|whole| !whole.is_empty()) {
        return None;
    }
    let mut missing: Vec<String> = Vec::new();
    for name in DEMANDED.iter().filter(|name| hard.contains_key(**name)) {
        let (side, resource) = match name.split_once('.') {
            Some((side, resource)) => (side, resource),
            None => ("requests", *name),
        };
        let mut silent: Vec<&str> = ["containers", "initContainers"]
            .iter()
            .flat_map(|field| list(&object["spec"][*field]))
            .filter(|container| Quantity::from_value(&container["resources"][side][resource]).is_err())
            .map(|container| text(&container["name"]))
            .collect();
        silent.sort_unstable();
        if !silent.is_empty() {
            missing.push(format!("{name} for: {}", silent.join(",")));
        }
    }
    if missing.is_empty() { None } else { Some(format!("must specify {}", missing.join("; "))) }
}
