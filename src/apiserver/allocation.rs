//! Addresses and node ports of Services, taken and given back in the transaction that writes the Service: thin, the choice is
//! `objects::allocation`'s.
//!
//! A record for each address and port is created on the condition that there is none, so two masters that choose the same at
//! once cannot both succeed; the one that comes second chooses anew.

use std::sync::Arc;

use objects::allocation::{AddressRange, DEFAULT_RANGE, Good, Holder, Plan, Pool, RANGES, held, plan};
use objects::{Key, Status};
use serde_json::Value;
use state::{Change, Precondition, Refusal, State};

use crate::errors;
use crate::reply;
use crate::route::Target;
use crate::router::Call;

/// What goes into a transaction beside the object itself; the changes come before the object's own.
#[derive(Debug, Default)]
pub struct Beside {
    /// What must hold.
    pub preconditions: Vec<Precondition>,
    /// Records that are made and removed.
    pub changes: Vec<Change>,
}

/// Gives a new object what its kind is given; most kinds are given nothing.
///
/// # Errors
/// 422 for what is asked for and cannot be given, 500 when nothing is left, 503 without a quorum.
pub async fn of_new(call: &Call, target: &Target, value: &mut Value) -> Result<Beside, Status> {
    if !is_service(target) {
        return Ok(Beside::default());
    }
    // An address that was given back through another master is free here as well.
    let state = call.api.store.fresh(call.patience()).await;
    let state = state.map_err(|error| errors::read(error, &target.kind.resource()))?;
    allocate(call, &state, None, value)
}

/// The same for an object that replaces another, which was read linearizably; `ends` says that with this change it goes.
/// `None` stands for the value as it is.
///
/// # Errors
/// As [`of_new`].
pub fn of_change(
    call: &Call,
    target: &Target,
    old: &Value,
    new: &Value,
    ends: bool,
) -> Result<(Option<Value>, Beside), Status> {
    if ends {
        return Ok((None, of_end(call, target, old)));
    }
    if !is_service(target) || target.subresource.is_some() {
        return Ok((None, Beside::default()));
    }
    let mut value = new.clone();
    let beside = allocate(call, &call.api.store.current(), Some(old), &mut value)?;
    Ok((Some(value), beside))
}

/// Takes back what an object that goes was given.
pub fn of_end(call: &Call, target: &Target, old: &Value) -> Beside {
    let mut beside = Beside::default();
    if is_service(target) {
        let me = Holder { namespace: target.namespace.clone(), name: target.name.clone().unwrap_or_default() };
        let state = call.api.store.current();
        held(old).iter().for_each(|good| beside.free(&state, *good, &me));
    }
    beside
}

/// Whether a transaction about `own` was refused only because somebody else took what was chosen beside it.
pub fn is_outrun(refusal: &Refusal, own: &Key) -> bool {
    let key = match refusal {
        Refusal::AlreadyExists(key) | Refusal::NotFound(key) | Refusal::Terminating(key) => key,
        Refusal::Changed { key, .. } | Refusal::Reborn { key, .. } => key,
        Refusal::Fenced(_) => return false,
    };
    key != own && (Good::of(key).is_some() || key.resource.as_str() == RANGES)
}

fn is_service(target: &Target) -> bool {
    target.kind.group.is_empty() && target.kind.kind == "Service"
}

fn allocate(call: &Call, state: &State, old: Option<&Value>, new: &mut Value) -> Result<Beside, Status> {
    let options = &call.api.options;
    let mut beside = Beside::default();
    let ranges = beside.ranges(state, &options.service_ranges);
    let holder =
        |key: &Key| state.get(key).map(|record| record.typed::<Value>().ok().and_then(|one| Holder::named_by(&one)));
    let mut pool =
        Pool { ranges: &ranges, ports: options.node_ports.clone(), holder: &holder, draw: &mut base::random::u128 };
    let Plan { taken, freed } = plan(old, new, &mut pool)?;
    let text = |field: &str| new["metadata"][field].as_str().unwrap_or("").to_owned();
    let me = Holder { namespace: text("namespace"), name: text("name") };
    for good in taken {
        beside.take(state, good, &me)?;
    }
    freed.into_iter().for_each(|good| beside.free(state, good, &me));
    Ok(beside)
}

impl Beside {
    /// Adds what goes beside for another reason.
    pub fn extend(&mut self, other: Self) {
        self.preconditions.extend(other.preconditions);
        self.changes.extend(other.changes);
    }

    /// The ranges that addresses come from: those of the cluster's ServiceCIDRs, its own first, that are not on their way out;
    /// `default` until there are any. None may go while an address is taken from it.
    fn ranges(&mut self, state: &State, default: &[AddressRange]) -> Vec<AddressRange> {
        let mut living: Vec<_> = state.list(&RANGES.into()).filter(|one| !one.face().deleting).collect();
        if living.is_empty() {
            return default.to_vec();
        }
        living.sort_by_key(|one| &*one.key.name != DEFAULT_RANGE);
        let mut ranges = Vec::new();
        for one in living {
            let Ok(value) = one.typed::<Value>() else { continue };
            let cidrs = value["spec"]["cidrs"].as_array().into_iter().flatten().filter_map(Value::as_str);
            ranges.extend(cidrs.filter_map(|text| text.parse::<AddressRange>().ok()));
            self.preconditions.push(Precondition::Active(one.key.clone()));
        }
        ranges
    }

    fn take(&mut self, state: &State, good: Good, me: &Holder) -> Result<(), Status> {
        let key = good.key();
        match state.get(&key) {
            // Left behind by a Service of the same name, or it would not have been chosen.
            Some(record) => self.preconditions.push(Precondition::Unchanged { key, revision: record.revision }),
            None => {
                let record = reply::damaged(good.record(me, &base::random::uid(), base::clock::now()))?;
                self.preconditions.push(Precondition::Absent(key.clone()));
                self.changes.push(Change::Put { key, object: Arc::new(record) });
            }
        }
        Ok(())
    }

    fn free(&mut self, state: &State, good: Good, me: &Holder) {
        let key = good.key();
        let Some(record) = state.get(&key) else { return };
        let holder = record.typed::<Value>().ok().and_then(|one| Holder::named_by(&one));
        if holder.as_ref() == Some(me) {
            self.preconditions.push(Precondition::Unchanged { key: key.clone(), revision: record.revision });
            self.changes.push(Change::Delete { key });
        }
    }
}
