//! What holds for every sequence of applies and updates, tried with random ones.

use serde_json::{Map, Value, json};

use super::shape::Shape;
use super::typed::{compare, field_set, with_parents};
use super::{apply, strategic};
use crate::canonical::canonicalize;
use crate::fields_v1::{FieldSet, show};
use crate::{Kind, fields, kind, managed};

/// A small generator of random numbers (xorshift), so that a seed repeats a run.
struct Random(u64);

impl Random {
    fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn chance(&mut self) -> bool {
        self.below(2) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

fn deployment() -> &'static Kind {
    kind::by_kind("apps/v1", "Deployment").expect("served")
}

fn shape() -> Shape<'static> {
    Shape::Struct(fields::message(&deployment().message).expect("in the table"))
}

fn some_map(random: &mut Random) -> Value {
    let mut map = Map::new();
    for key in ["a", "b", "c"] {
        if random.chance() {
            map.insert(key.into(), json!(random.pick(&["1", "2"])));
        }
    }
    Value::Object(map)
}

fn some_container(random: &mut Random, name: &str) -> Value {
    let mut container = json!({ "name": name });
    if random.chance() {
        container["image"] = json!(random.pick(&["i:1", "i:2"]));
    }
    if random.chance() {
        container["args"] = json!([random.pick(&["x", "y"])]);
    }
    if random.chance() {
        let protocol = random.pick(&["TCP", "UDP"]);
        container["ports"] = json!([{"containerPort": 80 + random.below(2), "protocol": protocol}]);
    }
    if random.chance() {
        container["env"] = json!([{"name": random.pick(&["X", "Y"]), "value": random.pick(&["1", "2"])}]);
    }
    if random.below(4) == 0 {
        container["livenessProbe"] = json!({"periodSeconds": 1 + random.below(2)});
    }
    container
}

fn some_configuration(random: &mut Random) -> Value {
    let mut containers = Vec::new();
    for name in if random.chance() { ["a", "b", "c"] } else { ["c", "b", "a"] } {
        if random.chance() {
            containers.push(some_container(random, name));
        }
    }
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"},
        "spec": {"template": {"spec": {"containers": containers}}}});
    if random.chance() {
        object["spec"]["replicas"] = json!(random.below(3));
    }
    let labels = some_map(random);
    if labels != json!({}) {
        object["metadata"]["labels"] = labels;
    }
    if random.chance() {
        object["spec"]["selector"] = json!({ "matchLabels": some_map(random) });
    }
    if random.chance() {
        let finalizers: Vec<&str> = ["x/1", "x/2"].into_iter().filter(|_| random.chance()).collect();
        object["metadata"]["finalizers"] = json!(finalizers);
    }
    object
}

/// Everything that the object has, as paths.
fn existing(object: &Value) -> FieldSet {
    let bare = managed::without_entries(object);
    with_parents(shape(), &field_set(shape(), &bare)).union(&compare(shape(), &json!({}), &bare).added)
}

fn entries(object: &Value) -> Vec<managed::Entry> {
    managed::decode(&object["metadata"]["managedFields"]).expect("readable")
}

fn check_ownership(object: &Value, seed: u64) {
    let exists = existing(object);
    for entry in entries(object) {
        let dangling: Vec<String> = entry.fields.difference(&exists).paths().iter().map(|path| show(path)).collect();
        assert!(dangling.is_empty(), "seed {seed}: {} owns {dangling:?} in {object}", entry.shown());
        assert!(!entry.fields.is_empty(), "seed {seed}: an empty entry");
    }
}

#[test]
fn applies_and_updates_keep_their_promises() {
    for seed in 1..=200 {
        let mut random = Random::seeded(seed);
        let mut live: Option<Value> = None;
        for step in 0..12 {
            let now = format!("2026-07-24T08:00:{step:02}Z");
            let manager = random.pick(&["m0", "m1", "m2"]);
            if let (Some(old), true) = (&live, random.below(4) == 0) {
                let mut new = managed::without_entries(old);
                let change = some_configuration(&mut random);
                new["spec"]["replicas"] = json!(random.below(5));
                new["metadata"]["labels"] = change["metadata"]["labels"].clone();
                canonicalize(deployment(), &mut new).expect("canonical");
                managed::update(deployment(), Some(old), &mut new, manager, &now, None).expect("recorded");
                check_ownership(&new, seed);
                live = Some(new);
                continue;
            }
            let configuration = some_configuration(&mut random);
            let force = random.chance();
            let result = match apply(deployment(), live.as_ref(), &configuration, manager, force, &now, None) {
                Ok(result) => result,
                Err(status) => {
                    assert!(!force && status.code == 409, "seed {seed}: {status}");
                    assert!(!status.details.causes.is_empty());
                    continue;
                }
            };
            check_ownership(&result, seed);
            // Everything the manager said is so, and is its own.
            let diff = compare(shape(), &result, &overlaid(&result, &configuration));
            assert!(diff.changed().is_empty(), "seed {seed}: {:?}", diff.changed().paths());
            let said = managed::strip(field_set(shape(), &configuration));
            let own = entries(&result).into_iter().find(|entry| entry.applied && entry.manager == manager);
            assert_eq!(own.map(|entry| entry.fields).unwrap_or_default(), said, "seed {seed}");
            // Without force, nothing of another changed.
            if let (false, Some(live)) = (force, &live) {
                let diff = compare(shape(), &managed::without_entries(live), &managed::without_entries(&result));
                for entry in entries(live).iter().filter(|entry| entry.manager != manager || !entry.applied) {
                    let taken = entry.fields.intersection(&diff.changed());
                    assert!(taken.is_empty(), "seed {seed}: {:?}", taken.paths());
                    // Nor vanished, what another still wants; only containers go that lost all they held.
                    let held = existing(live).paths();
                    let mut gone = entry.fields.intersection(&diff.removed).paths();
                    gone.retain(|path| !held.iter().any(|other| other.len() > path.len() && other.starts_with(path)));
                    assert!(gone.is_empty(), "seed {seed}: {gone:?}");
                }
            }
            // Once more changes nothing, not even a time.
            let again =
                apply(deployment(), Some(&result), &configuration, manager, false, "2027-01-01T00:00:00Z", None);
            assert_eq!(again.as_ref(), Ok(&result), "seed {seed}");
            live = Some(result);
        }
    }
}

fn overlaid(object: &Value, configuration: &Value) -> Value {
    let mut merged = super::typed::merge(shape(), object, configuration);
    canonicalize(deployment(), &mut merged).expect("canonical");
    merged
}

#[test]
fn a_strategic_patch_twice_is_the_patch_once() {
    for seed in 1..=200 {
        let mut random = Random::seeded(seed);
        let object = some_configuration(&mut random);
        let patch = some_configuration(&mut random);
        let once = strategic(deployment(), &object, &patch).expect("merges");
        let twice = strategic(deployment(), &once, &patch).expect("merges");
        assert_eq!(once, twice, "seed {seed}");
        // Nothing of either is lost.
        let names = |value: &Value| -> std::collections::BTreeSet<String> {
            let list = value["spec"]["template"]["spec"]["containers"].as_array().cloned().unwrap_or_default();
            list.iter().map(|item| item["name"].to_string()).collect()
        };
        assert_eq!(names(&once), names(&object).union(&names(&patch)).cloned().collect(), "seed {seed}");
    }
}
