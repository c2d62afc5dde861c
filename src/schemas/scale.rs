//! The scale subresource of custom resources: three paths into an object.
//!
//! Follows upstream's `pkg/registry/customresource/{etcd,validator}.go`.

use objects::Cause;
use objects::custom::Replicas;
use objects::validation::invalid;
use serde_json::{Map, Value, json};

/// Where `/scale` reads and writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// `specReplicasPath`, as `.spec.replicas`.
    pub spec_replicas: String,
    /// `statusReplicasPath`
    pub status_replicas: String,
    /// `labelSelectorPath`; a text in the form of a query.
    pub label_selector: Option<String>,
}

impl Scale {
    pub(crate) fn read(scale: &Value) -> Option<Self> {
        let text = |key: &str| scale[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Some(Self {
            spec_replicas: text("specReplicasPath")?,
            status_replicas: text("statusReplicasPath")?,
            label_selector: text("labelSelectorPath"),
        })
    }

    /// Reads an object.
    ///
    /// # Errors
    /// A text in upstream's words when something of another type stands on the way.
    pub fn get(&self, object: &Value) -> Result<Replicas, String> {
        let selector = match &self.label_selector {
            Some(path) => find(object, path)?,
            None => None,
        };
        let selector = match (selector, &self.label_selector) {
            (None, _) => String::new(),
            (Some(Value::String(text)), _) => text.clone(),
            (Some(other), path) => return Err(wrong_type(path.as_deref().unwrap_or_default(), other, "string")),
        };
        Ok(Replicas {
            wanted: number(object, &self.spec_replicas)?,
            found: number(object, &self.status_replicas)?.unwrap_or(0),
            selector,
        })
    }

    /// Sets how many are wanted, making the objects on the way.
    ///
    /// # Errors
    /// A text in upstream's words when something that is no object stands on the way.
    pub fn set(&self, object: &mut Value, replicas: i64) -> Result<(), String> {
        let mut steps: Vec<&str> = steps(&self.spec_replicas).collect();
        let Some(last) = steps.pop() else { return Err("the path names no field".into()) };
        let mut at = object;
        for (taken, step) in steps.iter().enumerate() {
            let map = at.as_object_mut().ok_or_else(|| blocked(&steps[..taken]))?;
            at = map.entry(*step).or_insert_with(|| Value::Object(Map::new()));
        }
        let map = at.as_object_mut().ok_or_else(|| blocked(&steps))?;
        map.insert(last.to_owned(), json!(replicas));
        Ok(())
    }

    /// What is wrong with the replicas of an object: with those wanted (unless only the status is written), those found,
    /// and the selector.
    pub fn check(&self, object: &Value, status_only: bool) -> Vec<Cause> {
        let mut causes = Vec::new();
        let mut judge = |path: &str| {
            let most = i64::from(i32::MAX);
            match number(object, path) {
                Err(reason) => causes.push(invalid(path, &json!(0), reason)),
                Ok(Some(count)) if count < 0 => {
                    causes.push(invalid(path, &json!(count), "should be a non-negative integer"));
                }
                Ok(Some(count)) if count > most => {
                    causes.push(invalid(path, &json!(count), format!("should be less than or equal to {most}")));
                }
                Ok(_) => {}
            }
        };
        if !status_only {
            judge(&self.spec_replicas);
        }
        judge(&self.status_replicas);
        if let Some(path) = &self.label_selector {
            let reason = match find(object, path) {
                Err(reason) => Some(reason),
                Ok(Some(other)) if !other.is_string() => Some(wrong_type(path, other, "string")),
                Ok(_) => None,
            };
            causes.extend(reason.map(|reason| invalid(path, &json!(""), reason)));
        }
        causes
    }
}

fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('.').unwrap_or(path).split('.')
}

fn find<'a>(object: &'a Value, path: &str) -> Result<Option<&'a Value>, String> {
    let mut at = object;
    for step in steps(path) {
        match at {
            Value::Object(map) => match map.get(step) {
                None => return Ok(None),
                Some(below) => at = below,
            },
            Value::Null => return Ok(None),
            other => return Err(wrong_type(path, other, "map[string]interface{}")),
        }
    }
    Ok(Some(at))
}

fn number(object: &Value, path: &str) -> Result<Option<i64>, String> {
    match find(object, path)? {
        None => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(|| wrong_type(path, value, "int64")),
    }
}

fn wrong_type(path: &str, value: &Value, expected: &str) -> String {
    let (shown, found) = match value {
        Value::Null => ("<nil>".to_owned(), "<nil>"),
        Value::Bool(flag) => (flag.to_string(), "bool"),
        Value::Number(number) if number.is_i64() => (number.to_string(), "int64"),
        Value::Number(number) => (number.to_string(), "float64"),
        Value::String(text) => (text.clone(), "string"),
        Value::Array(_) => (value.to_string(), "[]interface {}"),
        Value::Object(_) => (value.to_string(), "map[string]interface {}"),
    };
    format!("{path} accessor error: {shown} is of the type {found}, expected {expected}")
}

fn blocked(taken: &[&str]) -> String {
    format!("value cannot be set because .{} is not a map[string]interface{{}}", taken.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale() -> Scale {
        Scale::read(&json!({
            "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size", "labelSelectorPath": ".status.selector",
        }))
        .expect("a scale")
    }

    #[test]
    fn replicas_are_read_and_set() {
        let mut object = json!({"spec": {"size": 3}, "status": {"size": 2, "selector": "a=b"}});
        let replicas = Replicas { wanted: Some(3), found: 2, selector: "a=b".into() };
        assert_eq!(scale().get(&object), Ok(replicas));
        assert_eq!(scale().get(&json!({})), Ok(Replicas::default()));
        scale().set(&mut object, 5).expect("set");
        assert_eq!(object["spec"]["size"], 5);
        let mut empty = json!({});
        scale().set(&mut empty, 1).expect("set");
        assert_eq!(empty, json!({"spec": {"size": 1}}));
        assert!(scale().set(&mut json!({"spec": 7}), 1).unwrap_err().contains(".spec is not a map"));
        let error = scale().get(&json!({"spec": {"size": "x"}})).unwrap_err();
        assert_eq!(error, ".spec.size accessor error: x is of the type string, expected int64");
    }

    #[test]
    fn replicas_have_bounds() {
        for (object, fields) in [
            (json!({"spec": {"size": -1}}), &[".spec.size"][..]),
            (json!({"spec": {"size": 3_000_000_000_u64}}), &[".spec.size"]),
            (json!({"status": {"size": -1, "selector": 7}}), &[".status.size", ".status.selector"]),
            (json!({"spec": {"size": 1}}), &[]),
        ] {
            let found: Vec<String> = scale().check(&object, false).into_iter().map(|cause| cause.field).collect();
            assert_eq!(found, fields, "{object}");
        }
        assert!(scale().check(&json!({"spec": {"size": -1}}), true).is_empty());
    }
}
