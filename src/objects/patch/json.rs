//! JSON patch (RFC 6902).
//!
//! Which status answers which failure follows upstream's patch handler: what is no patch at all is 400, a patch that
//! does not fit the object is 422, more than [`JSON_OPERATIONS_MAX`] operations are 413.

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use super::{JSON_COPIED_BYTES_MAX, JSON_OPERATIONS_MAX, check_depth};
use crate::Status;

/// Applies the operations of `patch` in their order; all of them, or none.
///
/// # Errors
/// 400 when the bytes are not a list of operations or nest too deep; 413 when there are more than
/// [`JSON_OPERATIONS_MAX`]; 422 when a `test` fails, a path does not exist, or copies add more than
/// [`JSON_COPIED_BYTES_MAX`] bytes.
pub fn json(object: &Value, patch: &[u8]) -> Result<Value, Status> {
    let list: Vec<Value> =
        serde_json::from_slice(patch).map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    if list.len() > JSON_OPERATIONS_MAX {
        return Err(Status::new(
            413,
            "RequestEntityTooLarge",
            format!(
                "Request entity too large: The allowed maximum operations in a JSON patch is {JSON_OPERATIONS_MAX}, got {}",
                list.len()
            ),
        ));
    }
    let list = Value::Array(list);
    check_depth(&list)?;
    let Patch(operations) =
        serde_json::from_value(list).map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    let mut changed = object.clone();
    let mut copied_bytes = 0;
    for (at, operation) in operations.iter().enumerate() {
        if let PatchOperation::Copy(copy) = operation {
            let source = changed.pointer(copy.from.as_str()).unwrap_or(&Value::Null);
            copied_bytes += size_bytes(source);
            if copied_bytes > JSON_COPIED_BYTES_MAX {
                return Err(unprocessable(&format!(
                    "Unable to complete the copy, the accumulated size increase of copy operation is {copied_bytes}, \
                     exceeding the limit {JSON_COPIED_BYTES_MAX}"
                )));
            }
        }
        json_patch::patch(&mut changed, std::slice::from_ref(operation)).map_err(|error| {
            unprocessable(&format!(
                "operation {at} ({}) failed at path '{}': {}",
                name(operation),
                error.path,
                error.kind
            ))
        })?;
    }
    if !changed.is_object() {
        return Err(unprocessable("the patch leaves no object"));
    }
    check_depth(&changed)?;
    Ok(changed)
}

fn size_bytes(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting cannot fail.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

fn name(operation: &PatchOperation) -> &'static str {
    match operation {
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
        PatchOperation::Test(_) => "test",
    }
}

/// Upstream's text, and behind it what upstream keeps to itself: why.
fn unprocessable(why: &str) -> Status {
    Status::new(422, "Invalid", format!("the server rejected our request due to an error in our request: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let object = value!({"metadata": {"name": "a"}, "list": [1]});
        let many = vec![value!({"op": "test", "path": "/metadata/name", "value": "a"}); JSON_OPERATIONS_MAX + 1];
        for (patch, code, text) in [
            (value!({}), 400, "decoding"),
            (value!([{"op": "jump", "path": "/a"}]), 400, "decoding"),
            (value!([{"op": "add", "path": "/a"}]), 400, "decoding"),
            (value!([{"op": "add", "path": "a", "value": 1}]), 400, "decoding"),
            (value!([{"op": "test", "path": "/metadata/name", "value": "b"}]), 422, "did not match"),
            (value!([{"op": "test", "path": "/none", "value": "b"}]), 422, "test"),
            (value!([{"op": "remove", "path": "/none"}]), 422, "'/none'"),
            (value!([{"op": "replace", "path": "/none", "value": 1}]), 422, "replace"),
            (value!([{"op": "add", "path": "/none/x", "value": 1}]), 422, "add"),
            (value!([{"op": "add", "path": "/list/9", "value": 1}]), 422, "add"),
            (value!([{"op": "copy", "from": "/none", "path": "/x"}]), 422, "copy"),
            (value!([{"op": "move", "from": "/metadata", "path": "/metadata/x"}]), 422, "move"),
            (value!([{"op": "replace", "path": "", "value": 3}]), 422, "no object"),
            (
                value!([{"op": "add", "path": "/x", "value": 1}, {"op": "test", "path": "/x", "value": 2}]),
                422,
                "operation 1",
            ),
            (Value::Array(many), 413, "10000, got 10001"),
        ] {
            let status = json(&object, patch.to_string().as_bytes()).unwrap_err();
            assert_eq!(status.code, code, "{status}");
            assert!(status.message.contains(text), "{status}");
        }
        assert_eq!(json(&object, b"[{").unwrap_err().code, 400);
        assert_eq!(json(&object, b"").unwrap_err().code, 400);
    }

    #[test]
    fn copies_cannot_grow_without_end() {
        let object = value!({"a": "x".repeat(1024)});
        let doubling: Vec<Value> =
            (0..40).map(|at| value!({"op": "copy", "from": "", "path": format!("/b{at}")})).collect();
        let status = json(&object, Value::Array(doubling).to_string().as_bytes()).unwrap_err();
        assert_eq!(status.code, 422);
        assert!(status.message.contains("exceeding the limit 3145728"), "{status}");
    }

    #[test]
    fn operations_apply_in_order() {
        let object = value!({"metadata": {"labels": {"a/b": "1"}}, "list": [1, 2]});
        let patch = value!([
            {"op": "test", "path": "/metadata/labels/a~1b", "value": "1"},
            {"op": "replace", "path": "/metadata/labels/a~1b", "value": "2"},
            {"op": "add", "path": "/list/-", "value": 3},
            {"op": "add", "path": "/list/0", "value": 0},
            {"op": "move", "from": "/list/1", "path": "/list/0"},
            {"op": "copy", "from": "/list", "path": "/again"},
            {"op": "remove", "path": "/list/1"},
        ]);
        let changed = json(&object, patch.to_string().as_bytes()).unwrap();
        assert_eq!(changed, value!({"metadata": {"labels": {"a/b": "2"}}, "list": [1, 2, 3], "again": [1, 0, 2, 3]}));
        assert_eq!(json(&object, b"[]").unwrap(), object);
    }
}
