//! How objects get from one version of a definition to another: without changes, or by a webhook.
//!
//! What is sent, and which answers are believed; the call itself is for the API server. Follows upstream's
//! `pkg/apiserver/conversion/{nop_converter,webhook_converter}.go`.

use serde_json::{Map, Value, json};

use crate::Error;

/// Most bytes of a webhook's reason that are told on.
const REASON_MAX: usize = 1024;

/// Makes an object one of another version by name only. An object that says no version is none, and stays as it is.
pub fn rename(object: &mut Value, api_version: &str) {
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), json!(api_version));
    }
}

/// The review that asks a webhook to convert objects to `api_version`, as `stable.example.com/v1`. `uid` is random,
/// `review` the version of ConversionReview: the first of the definition's that is `v1` or `v1beta1`.
pub fn review(review: &str, uid: &str, api_version: &str, objects: &[Value]) -> Value {
    json!({
        "apiVersion": format!("apiextensions.k8s.io/{review}"),
        "kind": "ConversionReview",
        "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": objects},
    })
}

/// The version of ConversionReview to speak with a webhook; `None` when it speaks none that exists.
pub fn review_version(webhook: &Value) -> Option<&str> {
    let versions = webhook["conversionReviewVersions"].as_array()?;
    versions.iter().filter_map(Value::as_str).find(|version| matches!(*version, "v1" | "v1beta1"))
}

/// Takes the converted objects out of a webhook's answer: as many as were sent, each of the asked version and otherwise
/// the same object. Of metadata only labels and annotations may differ; the rest is kept as it was sent.
///
/// # Errors
/// [`Error::Conversion`] with what is wrong with the answer, or the webhook's own reason.
pub fn converted(asked: &Value, answer: &Value, kind: &str) -> Result<Vec<Value>, Error> {
    let fail = |reason: String| Error::Conversion(format!("conversion webhook for {kind} {reason}"));
    for key in ["apiVersion", "kind"] {
        if answer[key] != asked[key] {
            return Err(fail(format!("returned {key} {}, expected {}", answer[key], asked[key])));
        }
    }
    let (request, response) = (&asked["request"], &answer["response"]);
    if !response.is_object() {
        return Err(fail("returned no response".into()));
    }
    if response["uid"] != request["uid"] && asked["apiVersion"] != "apiextensions.k8s.io/v1beta1" {
        return Err(fail(format!("returned response.uid={}, expected {}", response["uid"], request["uid"])));
    }
    if response["result"]["status"] != "Success" {
        let reason = response["result"]["message"].as_str().filter(|reason| !reason.is_empty());
        let reason: String =
            reason.unwrap_or("response.result.status was 'Failure'").chars().take(REASON_MAX).collect();
        return Err(fail(format!("failed: {reason}")));
    }
    let none = Vec::new();
    let sent = request["objects"].as_array().unwrap_or(&none);
    let got = response["convertedObjects"].as_array().unwrap_or(&none);
    if sent.len() != got.len() {
        return Err(fail(format!("returned {} objects, expected {}", got.len(), sent.len())));
    }
    let pairs = sent.iter().zip(got).enumerate();
    pairs
        .map(|(at, (sent, got))| {
            one(sent, got, &request["desiredAPIVersion"])
                .map_err(|reason| fail(format!("returned invalid converted object at index {at}: {reason}")))
        })
        .collect()
}

fn one(sent: &Value, got: &Value, api_version: &Value) -> Result<Value, String> {
    if got["apiVersion"] != *api_version {
        return Err(format!("invalid groupVersion (expected {api_version}, received {})", got["apiVersion"]));
    }
    if got["kind"] != sent["kind"] {
        return Err(format!("must have the same kind: {} != {}", got["kind"], sent["kind"]));
    }
    let (before, after) = (&sent["metadata"], &got["metadata"]);
    for (key, name) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        if before[key] != after[key] {
            return Err(format!("must have the same {name}: {} != {}", before[key], after[key]));
        }
    }
    let mut metadata = before.as_object().cloned().unwrap_or_default();
    for key in ["labels", "annotations"] {
        match &after[key] {
            Value::Null => drop(metadata.remove(key)),
            Value::Object(map) => {
                if let Some((name, value)) = map.iter().find(|(_, value)| !value.is_string()) {
                    return Err(format!("invalid type of metadata.{key}[{name:?}]: expected string, got {value}"));
                }
                metadata.insert(key.into(), Value::Object(map.clone()));
            }
            _ => return Err(format!("invalid metadata.{key}")),
        }
    }
    let mut object: Map<String, Value> = got.as_object().cloned().unwrap_or_default();
    object.insert("metadata".into(), Value::Object(metadata));
    Ok(Value::Object(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str, labels: Value) -> Value {
        json!({
            "apiVersion": format!("a.b/{version}"), "kind": "K", "spec": {"of": version},
            "metadata": {"name": "n", "uid": "u", "generation": 3, "labels": labels},
        })
    }

    #[test]
    fn answers_are_believed_when_they_are_about_the_same_objects() {
        let asked = review("v1", "id", "a.b/v2", &[object("v1", json!({"x": "1"}))]);
        let answer = |uid: &str, status: &str, objects: Vec<Value>| {
            json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
                "response": {"uid": uid, "result": {"status": status, "message": "no way"}, "convertedObjects": objects},
            })
        };
        let mut good = object("v2", json!({"y": "2"}));
        good["metadata"]["generation"] = json!(9);
        let got = converted(&asked, &answer("id", "Success", vec![good.clone()]), "K").expect("converted");
        assert_eq!(got[0]["metadata"]["labels"], json!({"y": "2"}));
        assert_eq!(got[0]["metadata"]["generation"], 3);
        assert_eq!(got[0]["spec"]["of"], "v2");
        let mut other = good.clone();
        other["metadata"]["uid"] = json!("w");
        let mut mistyped = good.clone();
        mistyped["metadata"]["labels"] = json!({"y": 2});
        for (answer, reason) in [
            (answer("id", "Failure", vec![]), "failed: no way"),
            (answer("wrong", "Success", vec![good.clone()]), "response.uid"),
            (answer("id", "Success", vec![]), "returned 0 objects, expected 1"),
            (answer("id", "Success", vec![object("v1", json!({}))]), "invalid groupVersion"),
            (answer("id", "Success", vec![other]), "must have the same UID"),
            (answer("id", "Success", vec![mistyped]), "metadata.labels"),
            (json!({}), "returned apiVersion"),
        ] {
            let error = converted(&asked, &answer, "K").unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn the_first_known_review_is_spoken() {
        assert_eq!(review_version(&json!({"conversionReviewVersions": ["v7", "v1beta1", "v1"]})), Some("v1beta1"));
        assert_eq!(review_version(&json!({"conversionReviewVersions": ["v7"]})), None);
    }
}
