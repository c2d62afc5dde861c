//! Properties over random schemas and objects: pruning twice and defaulting twice change nothing, what is valid stays
//! valid after a round trip, nothing that is random makes anything panic.

use serde_json::{Map, Value, json};

use crate::Schema;
use crate::place::Place;
use crate::schema::structural;

/// Random numbers that are the same each time (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }

    fn one_in(&mut self, limit: u64) -> bool {
        self.below(limit) == 0
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len() as u64) as usize]
    }
}

const NAMES: [&str; 5] = ["a", "b", "c", "metadata", "kind"];
const FIELDS: [&str; 3] = ["a", "b", "c"];

/// A structural schema below the root.
fn schema(dice: &mut Dice, depth: u64) -> Value {
    let mut schema = match dice.below(if depth == 0 { 4 } else { 8 }) {
        0 => json!({"type": "string"}),
        1 => json!({"type": "integer"}),
        2 => json!({"type": "boolean"}),
        3 => json!({"x-kubernetes-int-or-string": true}),
        4 => json!({"type": "array", "items": schema(dice, depth - 1)}),
        5 => json!({"type": "object", "additionalProperties": schema(dice, depth - 1)}),
        _ => properties(dice, depth - 1),
    };
    if schema["type"] == "string" {
        match dice.below(4) {
            0 => schema["enum"] = json!(["x", "y"]),
            1 => schema["maxLength"] = json!(2),
            _ => {}
        }
        if dice.one_in(3) {
            schema["default"] = json!("x");
        }
    }
    if schema["type"] == "integer" && dice.one_in(3) {
        schema["default"] = json!(1);
    }
    if schema["type"] == "object" && dice.one_in(4) {
        schema["default"] = json!({});
    }
    if dice.one_in(4) {
        schema["nullable"] = json!(true);
    }
    schema
}

fn properties(dice: &mut Dice, depth: u64) -> Value {
    let mut map = Map::new();
    for name in FIELDS {
        if !dice.one_in(3) {
            map.insert(name.into(), schema(dice, depth));
        }
    }
    let mut out = json!({"type": "object", "properties": map});
    if dice.one_in(5) {
        out["x-kubernetes-preserve-unknown-fields"] = json!(true);
    }
    if dice.one_in(8) {
        out["x-kubernetes-embedded-resource"] = json!(true);
        out["x-kubernetes-preserve-unknown-fields"] = json!(true);
    }
    out
}

fn value(dice: &mut Dice, depth: u64) -> Value {
    match dice.below(if depth == 0 { 5 } else { 8 }) {
        0 => Value::Null,
        1 => json!(dice.below(4)),
        2 => json!(dice.pick(&["x", "y", "long"])),
        3 => json!(true),
        4 => json!(0.5),
        5 => Value::Array((0..dice.below(3)).map(|_| value(dice, depth - 1)).collect()),
        _ => {
            let names: Vec<&str> = NAMES.into_iter().filter(|_| dice.one_in(2)).collect();
            Value::Object(names.into_iter().map(|name| (name.to_owned(), value(dice, depth - 1))).collect())
        }
    }
}

/// A value that mostly fits a schema.
fn fitting(dice: &mut Dice, schema: &Value, depth: u64) -> Value {
    if dice.one_in(12) {
        return value(dice, depth);
    }
    match schema["type"].as_str() {
        Some("string") => json!(dice.pick(&["x", "y"])),
        Some("integer") => json!(dice.below(9)),
        Some("boolean") => json!(dice.one_in(2)),
        Some("array") => {
            Value::Array((0..dice.below(3)).map(|_| fitting(dice, &schema["items"], depth.saturating_sub(1))).collect())
        }
        Some("object") => {
            let mut map = Map::new();
            for name in FIELDS {
                let child = match &schema["properties"][name] {
                    Value::Null => &schema["additionalProperties"],
                    child => child,
                };
                if child.is_object() && !dice.one_in(3) {
                    map.insert(name.into(), fitting(dice, child, depth.saturating_sub(1)));
                }
            }
            if schema["x-kubernetes-embedded-resource"] == true {
                map.insert("apiVersion".into(), json!("v1"));
                map.insert("kind".into(), json!("Pod"));
                map.insert("metadata".into(), json!({"name": "p", "labels": {"a": "b"}}));
            }
            if dice.one_in(4) {
                map.insert("unknown".into(), value(dice, depth.min(2)));
            }
            Value::Object(map)
        }
        _ => json!(dice.below(2)),
    }
}

#[test]
fn what_is_done_twice_is_done_once_and_what_is_valid_stays_valid() {
    let mut dice = Dice(0x5EED_0F5C_4E3A_0001);
    let (mut valid, mut changed) = (0, 0);
    for round in 0..3000 {
        let raw = properties(&mut dice, 3);
        let schema = Schema::parse(&raw).unwrap_or_else(|error| panic!("{raw}: {error}"));
        let mut root = schema.clone();
        root.extensions.embedded_resource = false;
        assert_eq!(structural::check(&root, &Place::ROOT), [], "{raw}");
        assert_eq!(Schema::parse(&schema.to_value()).as_ref(), Ok(&schema));

        let given = if dice.one_in(4) { value(&mut dice, 4) } else { fitting(&mut dice, &raw, 4) };
        let mut object = given.clone();
        drop(schema.coerce(&mut object, true));
        drop(schema.prune(&mut object));
        schema.fill(&mut object);
        changed += usize::from(object != given);
        let once = object.clone();
        assert!(schema.prune(&mut object).is_empty(), "{round}: {raw} {given}");
        assert_eq!(object, once, "pruned twice: {raw} {given}");
        schema.fill(&mut object);
        assert_eq!(object, once, "defaulted twice: {raw} {given}");
        assert_eq!(schema.coerce(&mut object, true), Ok(vec![]), "{raw} {given}");
        assert_eq!(object, once, "coerced twice: {raw} {given}");

        let verdict = schema.check(&object, None);
        let text = serde_json::to_string(&object).expect("JSON");
        let again: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(schema.check(&again, None), verdict);
        assert_eq!(schema.check(&again, Some(&object)), [], "unchanged: {raw} {given}");
        drop((schema.check_lists(&object), schema.check_embedded(&object)));
        valid += usize::from(verdict.is_empty());
    }
    assert!(valid > 500 && changed > 500, "{valid} valid, {changed} changed: the dice are loaded");
}
