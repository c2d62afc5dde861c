//! Sets of field paths, as `metadata.managedFields[].fieldsV1` carries them.
//!
//! A path is a row of steps; each step is kept in its FieldsV1 spelling: `f:NAME` (a field), `k:{…}` (a list element by
//! its keys), `v:…` (a set element by value), `i:N` (a list element by position). The form is upstream's
//! (`structured-merge-diff/fieldpath`). Which fields are worth a path is not decided here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// How deep a set may nest; no served kind comes near, and recursion must end.
const DEPTH_MAX: usize = 128;

/// One step of a path, in its FieldsV1 spelling.
pub type Step = String;

/// The step to a field of an object.
pub fn field_step(name: &str) -> Step {
    format!("f:{name}")
}

/// The step to a list element by its key fields.
pub fn key_step(keys: &Map<String, Value>) -> Step {
    // `Map` is sorted, so equal keys spell equally.
    format!("k:{}", Value::Object(keys.clone()))
}

/// The step to an element of a set.
pub fn value_step(value: &Value) -> Step {
    format!("v:{value}")
}

/// A set of field paths: a tree in which a node may be a member itself, have members below it, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    members: BTreeSet<Step>,
    children: BTreeMap<Step, FieldSet>,
}

impl FieldSet {
    /// Whether no path is in the set.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(FieldSet::is_empty)
    }

    /// How many paths are in the set.
    pub fn len(&self) -> usize {
        self.members.len() + self.children.values().map(FieldSet::len).sum::<usize>()
    }

    /// Adds one path; the empty path is nothing.
    pub fn insert(&mut self, path: &[Step]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    /// Whether exactly this path is in the set.
    pub fn has(&self, path: &[Step]) -> bool {
        match path {
            [] => false,
            [last] => self.has_member(last),
            [first, rest @ ..] => self.children.get(first).is_some_and(|child| child.has(rest)),
        }
    }

    /// Whether the path of this one step is in the set.
    pub fn has_member(&self, step: &str) -> bool {
        self.members.contains(step)
    }

    /// The paths below a step, without it.
    pub fn below(&self, step: &str) -> Option<&FieldSet> {
        self.children.get(step).filter(|child| !child.is_empty())
    }

    /// Steps that are members themselves.
    pub fn members(&self) -> impl Iterator<Item = &Step> {
        self.members.iter()
    }

    /// Steps with members below them.
    pub fn children(&self) -> impl Iterator<Item = (&Step, &FieldSet)> {
        self.children.iter()
    }

    /// Puts what was found at one step: whether it is a member, and what lies below.
    pub(crate) fn put(&mut self, step: &str, member: bool, below: FieldSet) {
        if member {
            self.members.insert(step.to_owned());
        }
        if !below.is_empty() {
            self.children.insert(step.to_owned(), below);
        }
    }

    /// Paths in either set.
    pub fn union(&self, other: &FieldSet) -> FieldSet {
        let mut all = self.clone();
        all.extend(other);
        all
    }

    /// Adds all paths of another set.
    pub fn extend(&mut self, other: &FieldSet) {
        self.members.extend(other.members.iter().cloned());
        for (step, child) in &other.children {
            self.children.entry(step.clone()).or_default().extend(child);
        }
    }

    /// Paths in both sets.
    pub fn intersection(&self, other: &FieldSet) -> FieldSet {
        let mut common = FieldSet {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: BTreeMap::new(),
        };
        for (step, child) in &self.children {
            if let Some(others) = other.children.get(step) {
                common.put(step, false, child.intersection(others));
            }
        }
        common
    }

    /// Paths in this set but not in the other; a path does not take the paths below it along.
    pub fn difference(&self, other: &FieldSet) -> FieldSet {
        let mut rest =
            FieldSet { members: self.members.difference(&other.members).cloned().collect(), children: BTreeMap::new() };
        for (step, child) in &self.children {
            let left = match other.children.get(step) {
                Some(others) => child.difference(others),
                None => child.clone(),
            };
            rest.put(step, false, left);
        }
        rest
    }

    /// Without one top-level field and all below it.
    pub fn without(mut self, step: &str) -> FieldSet {
        self.members.remove(step);
        self.children.remove(step);
        self
    }

    /// All paths, parents before children, as row of steps.
    pub fn paths(&self) -> Vec<Vec<Step>> {
        let mut paths = Vec::new();
        self.walk(&mut Vec::new(), &mut paths);
        paths
    }

    fn walk(&self, prefix: &mut Vec<Step>, paths: &mut Vec<Vec<Step>>) {
        for step in &self.members {
            let mut path = prefix.clone();
            path.push(step.clone());
            paths.push(path);
        }
        for (step, child) in &self.children {
            prefix.push(step.clone());
            child.walk(prefix, paths);
            prefix.pop();
        }
    }

    /// The FieldsV1 object.
    pub fn encode(&self) -> Value {
        let mut map = Map::new();
        for step in &self.members {
            map.insert(step.clone(), Value::Object(Map::new()));
        }
        for (step, child) in &self.children {
            if child.is_empty() {
                continue;
            }
            let mut below = child.encode();
            if let (true, Some(below)) = (self.members.contains(step), below.as_object_mut()) {
                below.insert(".".into(), Value::Object(Map::new()));
            }
            map.insert(step.clone(), below);
        }
        Value::Object(map)
    }

    /// Reads a FieldsV1 object.
    ///
    /// # Errors
    /// A text for people when the value is not such an object: something else than objects, a step without a colon, a key
    /// that is not JSON. Steps of unknown kind are skipped, as upstream does for those of a later version.
    pub fn decode(value: &Value) -> Result<FieldSet, String> {
        decode(value, 0)
    }
}

fn decode(value: &Value, depth: usize) -> Result<FieldSet, String> {
    if depth > DEPTH_MAX {
        return Err(format!("fields nest deeper than {DEPTH_MAX}"));
    }
    let Value::Object(map) = value else {
        return Err(format!("expected an object of fields, got {}", kind_of(value)));
    };
    let mut set = FieldSet::default();
    for (text, below) in map {
        if text == "." {
            // Membership of the node itself, which its parent records.
            continue;
        }
        let Some(step) = step(text)? else { continue };
        let child = decode(below, depth + 1)?;
        let member = child.is_empty() || below.get(".").is_some();
        set.put(&step, member, child);
    }
    Ok(set)
}

/// Brings a step into the spelling that [`key_step`] and [`value_step`] write.
fn step(text: &str) -> Result<Option<Step>, String> {
    let mut letters = text.chars();
    let kind = letters.next();
    if letters.next() != Some(':') {
        return Err(format!("missing colon: {text}"));
    }
    let rest = letters.as_str();
    let json = || serde_json::from_str::<Value>(rest).map_err(|error| format!("bad path element {text}: {error}"));
    Ok(match kind {
        Some('f') => Some(text.to_owned()),
        Some('k') => match json()? {
            Value::Object(keys) => Some(key_step(&keys)),
            other => return Err(format!("bad path element {text}: keys are {}", kind_of(&other))),
        },
        Some('v') => Some(value_step(&json()?)),
        Some('i') => {
            rest.parse::<i64>().map_err(|error| format!("bad path element {text}: {error}"))?;
            Some(text.to_owned())
        }
        _ => None,
    })
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A path as upstream writes it in messages: `.spec.containers[name="a"].image`, `.metadata.finalizers[="x"]`.
pub fn show(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        let Some((kind, rest)) = step.split_once(':') else { continue };
        match kind {
            "f" => {
                text.push('.');
                text.push_str(rest);
            }
            "k" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
                let shown: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                text.push_str(&format!("[{}]", shown.join(",")));
            }
            "v" => text.push_str(&format!("[={rest}]")),
            _ => text.push_str(&format!("[{rest}]")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_set_is_refused() {
        let mut deep = json!({});
        for _ in 0..200 {
            deep = json!({ "f:a": deep });
        }
        for (bad, reason) in [
            (json!([]), "expected an object"),
            (json!({"f:a": 1}), "expected an object"),
            (json!({"f": {}}), "missing colon"),
            (json!({"": {}}), "missing colon"),
            (json!({"spec": {}}), "missing colon"),
            (json!({"k:{": {}}), "bad path element"),
            (json!({"k:[]": {}}), "bad path element"),
            (json!({"v:x": {}}), "bad path element"),
            (json!({"i:x": {}}), "bad path element"),
            (deep, "deeper"),
        ] {
            let error = FieldSet::decode(&bad).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }

    #[test]
    fn sets_survive_the_round_trip() {
        for value in [
            json!({}),
            json!({"f:data": {}}),
            json!({"f:data": {".": {}, "f:a": {}}}),
            json!({"f:metadata": {"f:labels": {"f:app": {}}}}),
            json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {},
                "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}),
            json!({"f:metadata": {"f:finalizers": {".": {}, "v:\"x/y\"": {}}}}),
            json!({"f:items": {"i:0": {}}}),
        ] {
            let set = FieldSet::decode(&value).unwrap();
            assert_eq!(set.encode(), value);
        }
        // Steps of kinds that only a later version knows vanish; keys come into one spelling.
        let set = FieldSet::decode(&json!({"z:new": {}, "k:{\"b\": 1, \"a\": 2}": {}})).unwrap();
        assert_eq!(set.encode(), json!({"k:{\"a\":2,\"b\":1}": {}}));
    }

    #[test]
    fn sets_are_sets() {
        let set = |value: Value| FieldSet::decode(&value).unwrap();
        let a = set(json!({"f:a": {".": {}, "f:x": {}}, "f:b": {}}));
        let b = set(json!({"f:a": {"f:x": {}, "f:y": {}}}));
        assert_eq!(a.union(&b).encode(), json!({"f:a": {".": {}, "f:x": {}, "f:y": {}}, "f:b": {}}));
        assert_eq!(a.intersection(&b).encode(), json!({"f:a": {"f:x": {}}}));
        assert_eq!(a.difference(&b).encode(), json!({"f:a": {}, "f:b": {}}));
        assert_eq!(b.difference(&a).encode(), json!({"f:a": {"f:y": {}}}));
        // A parent does not take its children along.
        assert_eq!(b.difference(&set(json!({"f:a": {}}))), b);
        assert_eq!(a.len(), 3);
        assert!(a.has(&["f:a".into(), "f:x".into()]));
        assert!(!b.has(&["f:a".into()]));
        assert!(b.clone().without("f:a").is_empty());
        assert!(FieldSet::default().is_empty());
    }

    #[test]
    fn paths_read_as_upstreams() {
        let set = FieldSet::decode(&json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {"f:image": {}}}},
            "f:metadata": {"f:finalizers": {"v:\"x\"": {}}}, "f:l": {"i:3": {}}}))
        .unwrap();
        let shown: Vec<String> = set.paths().iter().map(|path| show(path)).collect();
        assert_eq!(shown, [".l[3]", ".metadata.finalizers[=\"x\"]", ".spec.containers[name=\"a\"].image"]);
    }
}
