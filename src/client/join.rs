//! Asking a cluster to be let in, with nothing but addresses and a token.

use crate::call::Call;
use crate::client::Client;
use crate::{Endpoints, Error};
use http::Method;
use identity::{Token, tls};
use serde_json::Value;
use std::time::Duration;

/// Where masters take requests to join.
const JOIN_PATH: &str = "/barque/v1/join";

/// Sends `request` (a JSON object) to any of `masters` and returns its answer. The masters must prove
/// that they belong to the cluster that the token names; the token's text is added to the request as
/// `token`.
///
/// # Errors
/// [`Error::JoinRefused`] with the master's explanation, [`Error::Unreachable`] when none of the
/// addresses leads to a master of that cluster (the reasons say what was found instead),
/// [`Error::Timeout`] when the request was sent and no answer came: make the same request again, and
/// it counts once.
pub async fn join(masters: &Endpoints, token: &Token, request: &Value, deadline: Duration) -> Result<Value, Error> {
    let mut request = request.clone();
    let object = request.as_object_mut().ok_or_else(|| Error::Request("a join request is a JSON object".to_owned()))?;
    object.insert("token".to_owned(), Value::String(token.expose()));
    let client = Client::new(masters.clone(), tls::pinned_client(token.authority_hash())?);
    // The cluster knows a joiner that asks again by its key, so nothing is done or counted twice.
    let call = Call::new(Method::POST, JOIN_PATH).json(&request).deadline(deadline).repeatable();
    match client.json(call).await {
        Err(Error::Api { code, message, .. }) => Err(Error::JoinRefused { code, message }),
        other => other,
    }
}
