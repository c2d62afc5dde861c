//! What Services are given: addresses of the cluster and ports of the nodes. Pure; who asks brings the state and the dice.
//!
//! Follows upstream's `registry/core/service/storage/alloc.go`. What a Service holds is recorded, one object for each
//! address and port ([`Good`]); the records are written in the transaction that writes the Service, each on the
//! condition that nobody else holds it.

mod families;
mod range;
mod records;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use serde_json::{Value, json};

pub use range::{AddressRange, Family};
pub use records::{ADDRESSES, DEFAULT_RANGE, Good, Holder, NODE_PORTS, RANGES, is_ours};

use crate::columns::list;
use crate::kinds::service::{has_address, has_health_port, has_node_ports};
use crate::lifecycle::ensure_map;
use crate::validation::{self, text};
use crate::{Cause, Key, Status};

/// The range that a cluster takes addresses from unless it is told otherwise.
pub const SERVICE_RANGE: &str = "10.96.0.0/16";
/// The ports of nodes that Services get, unless the cluster is told otherwise; upstream's.
pub const NODE_PORT_RANGE: RangeInclusive<u16> = 30_000..=32_767;

/// What there is to give, and to whom it is given already.
pub struct Pool<'a> {
    /// Ranges of addresses, the cluster's own first: its family is the default.
    pub ranges: &'a [AddressRange],
    /// Ports of nodes.
    pub ports: RangeInclusive<u16>,
    /// Who holds what has a record: `None` when there is none, `Some(None)` when no Service holds it.
    pub holder: &'a dyn Fn(&Key) -> Option<Option<Holder>>,
    /// Draws a number.
    pub draw: &'a mut dyn FnMut() -> u128,
}

/// What a write of a Service takes and gives back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be recorded for the Service.
    pub taken: Vec<Good>,
    /// No longer needed.
    pub freed: Vec<Good>,
}

/// What a stored Service holds.
pub fn held(service: &Value) -> BTreeSet<Good> {
    let spec = &service["spec"];
    let mut goods = BTreeSet::new();
    if has_address(spec) {
        let parsed = addresses(spec).into_iter().filter_map(|text| text.parse().ok());
        goods.extend(parsed.map(Good::Address));
    }
    let numbers = list(&spec["ports"]).iter().map(|port| &port["nodePort"]).chain([&spec["healthCheckNodePort"]]);
    goods.extend(numbers.filter_map(port).map(Good::Port));
    goods
}

/// Completes a Service that is about to be stored, and says what that takes and frees. `old` is what it replaces, by now
/// [`crate::lifecycle::prepare_update`] has kept what the client did not repeat.
///
/// # Errors
/// 422 for what cannot be given: another's, out of range, of a family that the cluster does not have; 500 when nothing is
/// left.
pub fn plan(old: Option<&Value>, new: &mut Value, pool: &mut Pool<'_>) -> Result<Plan, Status> {
    let name = text(&new["metadata"], "name").to_owned();
    let me = Holder { namespace: text(&new["metadata"], "namespace").into(), name: name.clone() };
    let before = old.map(held).unwrap_or_default();
    let mut work = Work { me, before, asked: BTreeSet::new(), pool };
    let refused = |causes: Vec<Cause>| Status::invalid("", "Service", &name, causes);
    if has_address(&new["spec"]) {
        families::settle(old, new, work.pool).map_err(refused)?;
        work.addresses(new)?;
    }
    work.ports(new, old.is_none())?;
    let after = held(new);
    Ok(Plan {
        taken: after.difference(&work.before).copied().collect(),
        freed: work.before.difference(&after).copied().collect(),
    })
}

struct Work<'a, 'b> {
    me: Holder,
    before: BTreeSet<Good>,
    /// What this write has chosen so far.
    asked: BTreeSet<Good>,
    pool: &'a mut Pool<'b>,
}

impl Work<'_, '_> {
    /// Whether the Service may have it. What is recorded for a Service of this name that does not hold it was left behind by
    /// one that is gone.
    fn is_free(&self, good: Good) -> bool {
        let known = (self.pool.holder)(&good.key());
        !self.asked.contains(&good) && known.is_none_or(|holder| holder.as_ref() == Some(&self.me))
    }

    fn addresses(&mut self, new: &mut Value) -> Result<(), Status> {
        let spec = &new["spec"];
        if spec["clusterIP"] == "None" {
            return Ok(());
        }
        let given: Vec<String> = addresses(spec).into_iter().map(str::to_owned).collect();
        for text in &given {
            let Ok(address) = text.parse::<IpAddr>() else { continue };
            let good = Good::Address(address);
            if !self.before.contains(&good) {
                self.may_have(address, good).map_err(|why| {
                    let cause = validation::invalid(
                        "spec.clusterIPs",
                        &json!(given),
                        format!("failed to allocate IP {address}: {why}"),
                    );
                    Status::invalid("", "Service", &self.me.name, vec![cause])
                })?;
            }
            self.asked.insert(good);
        }
        let families: Vec<Family> = families::of(spec);
        let mut all = given;
        for family in families.into_iter().skip(all.len()) {
            let address = self.any_address(family)?;
            self.asked.insert(Good::Address(address));
            all.push(address.to_string());
        }
        let spec = ensure_map(new, "spec");
        spec.insert("clusterIP".into(), json!(all.first()));
        spec.insert("clusterIPs".into(), json!(all));
        Ok(())
    }

    fn may_have(&self, address: IpAddr, good: Good) -> Result<(), String> {
        if !self.pool.ranges.iter().any(|range| range.contains(address)) {
            let ranges = self.pool.ranges.iter().filter(|range| range.family() == Family::of(address));
            let ranges: Vec<String> = ranges.map(AddressRange::to_string).collect();
            let ranges = ranges.join(", ");
            return Err(format!(
                "the provided IP ({address}) is not in the valid range. The range of valid IPs is {ranges}"
            ));
        }
        if self.is_free(good) { Ok(()) } else { Err("provided IP is already allocated".into()) }
    }

    fn any_address(&mut self, family: Family) -> Result<IpAddr, Status> {
        let ranges: Vec<AddressRange> =
            self.pool.ranges.iter().filter(|range| range.family() == family).copied().collect();
        for range in ranges {
            let draw = (self.pool.draw)();
            // Each candidate that is not free has a record: the search ends after as many steps as there are records.
            if let Some(free) = range.candidates(draw).find(|address| self.is_free(Good::Address(*address))) {
                return Ok(free);
            }
        }
        Err(Status::internal("failed to allocate a serviceIP: range is full"))
    }

    fn ports(&mut self, new: &mut Value, created: bool) -> Result<(), Status> {
        let wanted = has_node_ports(&new["spec"]);
        let health_wanted = has_health_port(&new["spec"]);
        // What is asked for by number comes first, so that no draw takes it away.
        for (index, given) in list(&new["spec"]["ports"]).iter().enumerate() {
            if let Some(number) = port(&given["nodePort"]) {
                self.ask(number, &format!("spec.ports[{index}].nodePort"), false)?;
            }
        }
        if let Some(number) = port(&new["spec"]["healthCheckNodePort"]) {
            self.ask(number, "spec.healthCheckNodePort", true)?;
        }
        let spec = ensure_map(new, "spec");
        // The same port of a service in another protocol shares the node's port.
        let mut shared: Vec<(i64, u16)> = Vec::new();
        let mut ports = spec.get_mut("ports").and_then(Value::as_array_mut);
        for given in ports.iter().flat_map(|ports| ports.iter()) {
            shared.extend(port(&given["nodePort"]).map(|number| (given["port"].as_i64().unwrap_or(0), number)));
        }
        for given in ports.iter_mut().flat_map(|ports| ports.iter_mut()).filter(|_| wanted) {
            if port(&given["nodePort"]).is_some() {
                continue;
            }
            let own = given["port"].as_i64().unwrap_or(0);
            let known = shared.iter().find(|(port, _)| created && *port == own).map(|(_, number)| *number);
            let number = match known {
                Some(number) => number,
                None => self.any_port("failed to allocate a nodePort")?,
            };
            shared.push((own, number));
            given["nodePort"] = json!(number);
        }
        if health_wanted && spec.get("healthCheckNodePort").and_then(port).is_none() {
            let number = self.any_port("failed to allocate a HealthCheck NodePort")?;
            spec.insert("healthCheckNodePort".into(), json!(number));
        }
        Ok(())
    }

    /// Takes a port that is asked for; one that several protocols of the Service share is asked for several times.
    fn ask(&mut self, number: u16, field: &str, alone: bool) -> Result<(), Status> {
        let good = Good::Port(number);
        let again = self.asked.contains(&good);
        let range = &self.pool.ports;
        let why = if again && !alone || self.before.contains(&good) && !again {
            None
        } else if !range.contains(&number) {
            Some(format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                range.start(),
                range.end()
            ))
        } else if !self.is_free(good) {
            Some("provided port is already allocated".to_owned())
        } else {
            None
        };
        self.asked.insert(good);
        match why {
            None => Ok(()),
            Some(why) => {
                let cause = validation::invalid(field, &json!(number), why);
                Err(Status::invalid("", "Service", &self.me.name, vec![cause]))
            }
        }
    }

    /// A port that nobody has; the lower part of the range, which is for those who ask by number, comes last (upstream's
    /// `portallocator/allocator.go`).
    fn any_port(&mut self, what: &str) -> Result<u16, Status> {
        let (first, last) = (*self.pool.ports.start(), *self.pool.ports.end());
        let size = last.saturating_sub(first).saturating_add(1);
        let lower = if size <= 16 { 0 } else { (size / 32).clamp(16, 128) };
        let upper = size - lower;
        let start = u16::try_from((self.pool.draw)() % u128::from(upper.max(1))).unwrap_or(0);
        let places = (start..upper).chain(0..start).map(|place| lower + place).chain(0..lower);
        // What the Service gives back in this very write is still recorded for it, and not given to it again.
        let free = |number: &u16| {
            let good = Good::Port(*number);
            self.is_free(good) && !self.before.contains(&good)
        };
        let found = places.map(|place| first.saturating_add(place)).find(free);
        let number = found.ok_or_else(|| Status::internal(format!("{what}: range is full")))?;
        self.asked.insert(Good::Port(number));
        Ok(number)
    }
}

/// The addresses that a Service names; none of a headless one.
fn addresses(spec: &Value) -> Vec<&str> {
    let all: Vec<&str> = list(&spec["clusterIPs"]).iter().filter_map(Value::as_str).collect();
    let all = if all.is_empty() { vec![text(spec, "clusterIP")] } else { all };
    all.into_iter().filter(|address| !address.is_empty() && *address != "None").collect()
}

fn port(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|number| u16::try_from(number).ok()).filter(|number| *number != 0)
}
