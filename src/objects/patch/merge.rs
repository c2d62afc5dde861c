//! JSON merge patch (RFC 7386): objects merge, null deletes, everything else replaces.

use serde_json::{Map, Value};

use super::check_depth;
use crate::Status;

/// Merges `patch` into `object`.
///
/// # Errors
/// 400 when the patch is not an object or nests too deep.
pub fn merge(object: &Value, patch: &Value) -> Result<Value, Status> {
    if !patch.is_object() {
        return Err(Status::bad_request("error decoding patch: a merge patch is a JSON object"));
    }
    check_depth(patch)?;
    let mut merged = object.clone();
    merge_into(&mut merged, patch);
    Ok(merged)
}

fn merge_into(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, change) in changes {
        if change.is_null() {
            fields.remove(key);
        } else {
            merge_into(fields.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_objects_are_patches() {
        for bad in [json!(null), json!([]), json!("a"), json!(1)] {
            assert_eq!(merge(&json!({}), &bad).unwrap_err().code, 400);
        }
        let mut deep = json!({});
        for _ in 0..300 {
            deep = json!({ "a": deep });
        }
        assert_eq!(merge(&json!({}), &deep).unwrap_err().code, 400);
    }

    #[test]
    fn the_examples_of_the_rfc_hold() {
        for (object, patch, merged) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
            (json!({"n": 1}), json!({"n": 9_007_199_254_740_993_i64}), json!({"n": 9_007_199_254_740_993_i64})),
        ] {
            assert_eq!(merge(&object, &patch).unwrap(), merged, "{object} + {patch}");
        }
    }
}
