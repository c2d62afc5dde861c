//! Endpoints into slices, with as few writes as may be: pure.
//!
//! Follows upstream's `endpointslice/reconciler.go` (`reconcileByPortMapping`): what is there stays where it is, what is new
//! goes first into slices that change anyway, then into one that has room for all of it, then into new ones.

use std::collections::BTreeMap;

use serde_json::Value;

/// Endpoints of a slice at most; upstream's default.
pub(super) const SLICE_MAX: usize = 100;

/// A slice that exists.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slice {
    name: String,
    address_type: String,
    ports: Value,
    endpoints: Vec<Value>,
}

/// Endpoints that can share slices: of one type of address, with the same ports.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: &'static str,
    /// `ports` of the slices.
    pub ports: Value,
    /// Every one of them; none asks for one empty slice.
    pub endpoints: Vec<Value>,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// A new slice.
    Create { address_type: &'static str, ports: Value, endpoints: Vec<Value> },
    /// What a slice is to hold; possibly what it holds already.
    Put { name: String, endpoints: Vec<Value> },
    /// A slice that goes.
    Delete(String),
}

impl Slice {
    /// Reads an EndpointSlice.
    pub fn of(name: &str, value: &Value) -> Self {
        Self {
            name: name.to_owned(),
            address_type: value["addressType"].as_str().unwrap_or("").to_owned(),
            ports: ports(&value["ports"]),
            endpoints: list(&value["endpoints"]).to_vec(),
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// No ports and an empty list of them are the same.
fn ports(value: &Value) -> Value {
    Value::Array(list(value).to_vec())
}

/// By what an endpoint is known from one look to the next.
fn identity(endpoint: &Value) -> String {
    format!("{} {}", endpoint["addresses"], endpoint["targetRef"]["uid"])
}

/// The writes that make the slices hold what is wanted; what is added comes before what goes.
pub(super) fn pack(mut known: Vec<Slice>, wanted: Vec<Group>) -> Vec<Step> {
    known.sort_by(|one, other| one.name.cmp(&other.name));
    let (mut steps, mut last) = (Vec::new(), Vec::new());
    for group in wanted {
        let same = |slice: &Slice| slice.address_type == group.address_type && slice.ports == ports(&group.ports);
        let (mine, rest) = known.into_iter().partition(same);
        known = rest;
        fill(mine, group, &mut steps, &mut last);
    }
    last.extend(known.into_iter().map(|slice| Step::Delete(slice.name)));
    steps.extend(last);
    steps
}

fn fill(mine: Vec<Slice>, group: Group, steps: &mut Vec<Step>, last: &mut Vec<Step>) {
    let Group { address_type, ports, endpoints } = group;
    let empty_wanted = endpoints.is_empty();
    let mut wanted: BTreeMap<String, Value> = BTreeMap::new();
    for endpoint in endpoints {
        wanted.insert(identity(&endpoint), endpoint);
    }
    // What is there stays where it is.
    let mut slices: Vec<(Slice, Vec<Value>)> = Vec::new();
    for slice in mine {
        let stays = slice.endpoints.iter().filter_map(|one| wanted.remove(&identity(one))).collect();
        slices.push((slice, stays));
    }
    let mut new: Vec<Value> = wanted.into_values().collect();
    for (slice, now) in &mut slices {
        if *now != slice.endpoints && !now.is_empty() {
            let room = SLICE_MAX.saturating_sub(now.len()).min(new.len());
            now.extend(new.drain(..room));
        }
    }
    while new.len() >= SLICE_MAX {
        let endpoints = new.drain(..SLICE_MAX).collect();
        steps.push(Step::Create { address_type, ports: ports.clone(), endpoints });
    }
    if !new.is_empty() {
        // The fullest that takes all of it.
        let fits = |(_, now): &&mut (Slice, Vec<Value>)| now.len() + new.len() <= SLICE_MAX;
        match slices.iter_mut().filter(fits).max_by_key(|(_, now)| now.len()) {
            Some((_, now)) => now.append(&mut new),
            None => steps.push(Step::Create { address_type, ports: ports.clone(), endpoints: new }),
        }
    }
    let mut kept = false;
    for (slice, now) in slices {
        if now.is_empty() && (!empty_wanted || kept) {
            last.push(Step::Delete(slice.name));
        } else {
            kept = true;
            steps.push(Step::Put { name: slice.name, endpoints: now });
        }
    }
    if empty_wanted && !kept {
        steps.push(Step::Create { address_type, ports, endpoints: Vec::new() });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(number: usize) -> Value {
        json!({"addresses": [format!("10.0.{}.{}", number / 250, number % 250)], "conditions": {"ready": true}})
    }

    fn many(numbers: std::ops::Range<usize>) -> Vec<Value> {
        numbers.map(one).collect()
    }

    fn port(number: u16) -> Value {
        json!([{"name": "", "port": number, "protocol": "TCP"}])
    }

    fn group(number: u16, endpoints: Vec<Value>) -> Group {
        Group { address_type: "IPv4", ports: port(number), endpoints }
    }

    fn slice(name: &str, number: u16, endpoints: Vec<Value>) -> Slice {
        Slice { name: name.into(), address_type: "IPv4".into(), ports: port(number), endpoints }
    }

    /// Each step as a word and a number of endpoints.
    fn shown(steps: &[Step]) -> Vec<String> {
        let show = |step: &Step| match step {
            Step::Create { ports, endpoints, .. } => format!("create {} {}", ports[0]["port"], endpoints.len()),
            Step::Put { name, endpoints } => format!("put {name} {}", endpoints.len()),
            Step::Delete(name) => format!("delete {name}"),
        };
        steps.iter().map(show).collect()
    }

    #[test]
    fn as_little_as_possible_is_written() {
        let twice: Vec<Value> = vec![one(1), one(1), one(2)];
        let rows: Vec<(Vec<Slice>, Vec<Group>, &[&str])> = vec![
            (vec![], vec![], &[]),
            (vec![], vec![group(1, vec![])], &["create 1 0"]),
            (vec![slice("a", 1, vec![])], vec![group(1, vec![])], &["put a 0"]),
            (vec![slice("a", 1, vec![]), slice("b", 1, vec![])], vec![group(1, vec![])], &["put a 0", "delete b"]),
            (vec![], vec![group(1, many(0..250))], &["create 1 100", "create 1 100", "create 1 50"]),
            (vec![], vec![group(1, many(0..100))], &["create 1 100"]),
            (vec![], vec![group(1, twice.clone())], &["create 1 2"]),
            // What a slice holds twice it holds once afterwards.
            (vec![slice("a", 1, twice)], vec![group(1, many(1..3))], &["put a 2"]),
            (vec![slice("a", 1, many(0..2))], vec![group(2, many(0..2))], &["create 2 2", "delete a"]),
            // The fullest that has room takes what is new, and the others stay as they are.
            (
                vec![slice("a", 1, many(0..10)), slice("b", 1, many(10..90)), slice("c", 1, many(90..189))],
                vec![group(1, many(0..194))],
                &["put a 10", "put b 85", "put c 99"],
            ),
            // One that loses something is written anyway, and takes it.
            (
                vec![slice("a", 1, many(0..100)), slice("b", 1, many(100..150))],
                vec![group(1, many(5..155))],
                &["put a 100", "put b 50"],
            ),
            (vec![slice("a", 1, many(0..100))], vec![group(1, many(0..101))], &["create 1 1", "put a 100"]),
            (
                vec![slice("a", 1, many(0..100)), slice("b", 1, many(100..101))],
                vec![group(1, many(0..100))],
                &["put a 100", "delete b"],
            ),
            (vec![slice("a", 1, many(0..3))], vec![group(1, vec![])], &["put a 0"]),
            (
                vec![slice("a", 1, many(0..3))],
                vec![group(1, many(0..2)), group(2, many(2..3))],
                &["put a 2", "create 2 1"],
            ),
        ];
        for (known, wanted, expected) in rows {
            assert_eq!(shown(&pack(known.clone(), wanted.clone())), expected, "{} {}", known.len(), wanted.len());
        }
    }

    #[test]
    fn repeated_packing_holds_everything_once_and_rests() {
        let mut slices: Vec<Slice> = Vec::new();
        let (mut seed, mut drawn) = (1u64, 0);
        let mut draw = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..200 {
            let wanted: Vec<Value> = (0..400).filter(|_| draw(3) > 0).map(one).collect();
            for round in 0..2 {
                let before = slices.clone();
                for step in pack(slices.clone(), vec![group(1, wanted.clone())]) {
                    match step {
                        Step::Create { endpoints, .. } => {
                            drawn += 1;
                            slices.push(slice(&format!("s{drawn}"), 1, endpoints));
                        }
                        Step::Put { name, endpoints } => {
                            slices.iter_mut().find(|slice| slice.name == name).unwrap().endpoints = endpoints;
                        }
                        Step::Delete(name) => slices.retain(|slice| slice.name != name),
                    }
                }
                if round == 1 {
                    assert_eq!(slices, before, "a second look writes nothing");
                }
                assert!(slices.iter().all(|slice| slice.endpoints.len() <= SLICE_MAX));
                let mut held: Vec<String> =
                    slices.iter().flat_map(|slice| slice.endpoints.iter().map(Value::to_string)).collect();
                let mut all: Vec<String> = wanted.iter().map(Value::to_string).collect();
                held.sort();
                all.sort();
                assert_eq!(held, all);
            }
        }
    }
}
