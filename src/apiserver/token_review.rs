//! TokenReview: whom a token speaks for, asked by those who are shown one.

use identity::service_account::ISSUER;
use objects::Status;
use serde_json::{Value, json};

use crate::authentication::{self, Bearer, Refusal};
use crate::reviews;
use crate::router::Call;

/// Most audiences in one question.
const AUDIENCES_MAX: usize = 64;

/// The status of a TokenReview.
///
/// # Errors
/// 400 for a review that asks nothing, 503 when the answer cannot be found out.
pub async fn status(call: &Call, spec: &Value) -> Result<Value, Status> {
    let text = spec["token"].as_str().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| Status::bad_request("token is required for TokenReview in authentication"))?;
    let asked: Vec<&str> = spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if asked.len() > AUDIENCES_MAX {
        return Err(Status::bad_request(format!("at most {AUDIENCES_MAX} audiences are looked at")));
    }
    let audiences = if asked.is_empty() { vec![ISSUER] } else { asked };
    match authentication::identify(&call.api, &Bearer::new(text), &audiences, call.patience()).await {
        Ok(found) => Ok(json!({
            "authenticated": true, "user": reviews::user_info(&found.caller), "audiences": found.audiences,
        })),
        Err(Refusal::Token(reason)) => Ok(json!({"user": {}, "error": format!("invalid bearer token: {reason}")})),
        Err(Refusal::Unknown(status)) => Err(status),
    }
}
