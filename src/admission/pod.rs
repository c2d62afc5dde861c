//! What a pod asks for altogether, by resource.
//!
//! As upstream's `component-helpers/resource/helpers.go`; with the quantities' own spelling, which refusals quote.

use std::collections::BTreeMap;

use objects::quantity::Quantity;
use serde_json::Value;

use crate::list;

/// Amounts by resource.
pub type Amounts = BTreeMap<String, Quantity>;

/// A resource list as amounts; what does not parse counts as nothing.
pub fn amounts(value: &Value) -> Amounts {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(name, amount)| Some((name.clone(), Quantity::from_value(amount).ok()?))).collect()
}

/// Adds `more` to `sum`.
pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let known = sum.get(name).copied().unwrap_or(Quantity::ZERO);
        sum.insert(name.clone(), known.plus(*amount));
    }
}

fn raise(sum: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        if sum.get(name).is_none_or(|known| known < amount) {
            sum.insert(name.clone(), *amount);
        }
    }
}

/// The `requests` or `limits` (`side`) of a pod's containers together, or of its largest init container where that is more;
/// init containers that keep running add up. What the pod asks for as a whole replaces the sum.
pub fn asks(spec: &Value, side: &str) -> Amounts {
    let mut total = Amounts::new();
    for container in list(&spec["containers"]) {
        add(&mut total, &amounts(&container["resources"][side]));
    }
    let (mut beside, mut peak) = (Amounts::new(), Amounts::new());
    for container in list(&spec["initContainers"]) {
        let wanted = amounts(&container["resources"][side]);
        if container["restartPolicy"] == "Always" {
            add(&mut total, &wanted);
            add(&mut beside, &wanted);
            raise(&mut peak, &beside);
        } else {
            let mut together = wanted;
            add(&mut together, &beside);
            raise(&mut peak, &together);
        }
    }
    raise(&mut total, &peak);
    total.extend(amounts(&spec["resources"][side]));
    total
}

/// [`asks`], and what running the pod costs besides; of limits only where there is one.
pub fn asks_with_overhead(spec: &Value, side: &str) -> Amounts {
    let mut total = asks(spec, side);
    let mut overhead = amounts(&spec["overhead"]);
    if side == "limits" {
        overhead.retain(|name, _| total.contains_key(name));
    }
    add(&mut total, &overhead);
    total
}
