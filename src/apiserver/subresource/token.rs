//! `/token` of a service account: issues tokens, as upstream's `pkg/registry/core/serviceaccount/storage/token.go`.

use std::time::Duration;

use identity::service_account::{Bound, Claims, ISSUER, Reference};
use identity::signing::TOKEN_LIFE_MAX;
use objects::{Cause, Key, Status, time};
use serde_json::{Value, json};
use state::State;

use crate::reply::{self, Response};
use crate::route::Target;
use crate::router::Call;
use crate::{body, errors, signing, write};

const LIFE_DEFAULT: i64 = 3600;
const LIFE_MIN: i64 = 600;
/// The largest number that upstream's validation takes; beyond [`TOKEN_LIFE_MAX`] it is cut.
const LIFE_ASKED_MAX: i64 = 1 << 32;
/// Most audiences of one token, and bytes of one: a token has to fit into a header.
const AUDIENCES_MAX: usize = 16;
const AUDIENCE_BYTES_MAX: usize = 256;

/// What a request for a token asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    audiences: Vec<String>,
    life: i64,
    to: Option<To<'a>>,
}

/// An object that a token is to be bound to.
#[derive(Debug, PartialEq, Eq)]
struct To<'a> {
    version: &'a str,
    kind: &'a str,
    name: &'a str,
    /// Empty when any incarnation will do.
    uid: &'a str,
}

/// Answers a TokenRequest.
///
/// # Errors
/// 404 when there is no such account or bound object, 409 when that is another incarnation, 400 and 422 for requests that
/// make no sense, 403 when a node asks for what its pods do not need, 503 without keys or quorum.
pub async fn issue(call: &Call, target: &Target, bytes: &[u8]) -> Result<Response, Status> {
    let dry_run = write::dry_run(&call.query, "CreateOptions")?;
    let message = "k8s.io.api.authentication.v1.TokenRequest";
    let request = body::of_kind(&call.headers, bytes, message, "authentication.k8s.io/v1", "TokenRequest")?;
    let (name, namespace) = (target.name.as_deref().unwrap_or(""), target.namespace.as_str());
    for (field, wanted) in [("name", name), ("namespace", namespace)] {
        let given = request["metadata"][field].as_str().unwrap_or("");
        if !given.is_empty() && given != wanted {
            return Err(Status::bad_request(format!(
                "{field} in URL ({wanted}) does not match {field} in TokenRequest ({given})"
            )));
        }
    }
    let asked = Asked::read(&request["spec"])?;
    let state = call.api.store.fresh(call.patience()).await.map_err(|error| errors::status(error, &target.key()))?;
    let account = state.get(&target.key()).ok_or_else(|| target.not_found())?;
    let account = Reference { name: name.to_owned(), uid: account.face().uid.to_string() };
    if let Some(node) = call.caller.node() {
        restrict(&state, node, namespace, &asked).map_err(|why| Status::forbidden("", "serviceaccounts", name, why))?;
    }
    let bound = bind(&state, namespace, account, asked.to.as_ref())?;
    let now = base::clock::now();
    let life = Duration::from_secs(asked.life.unsigned_abs()).min(TOKEN_LIFE_MAX);
    let claims = Claims::new(bound, asked.audiences.clone(), now, life);
    let ring = call.api.signing.ring(&state).ok_or_else(signing::no_keys)?;
    // What is only tried gives nothing away.
    let token = if dry_run { String::new() } else { ring.sign(&claims, now).map_err(Status::internal)? };
    let mut answer = json!({
        "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": time::format(now)},
        "spec": {"audiences": asked.audiences, "expirationSeconds": life.as_secs(), "boundObjectRef": null},
        "status": {"token": token, "expirationTimestamp": time::format(claims.expires())},
    });
    if asked.to.is_some() {
        answer["spec"]["boundObjectRef"] = request["spec"]["boundObjectRef"].clone();
    }
    let warnings: Vec<String> = (life.as_secs() < asked.life.unsigned_abs())
        .then(|| format!("requested expiration of {} seconds shortened to {} seconds", asked.life, life.as_secs()))
        .into_iter()
        .collect();
    Ok(reply::warn(reply::value(201, &answer), &warnings))
}

impl<'a> Asked<'a> {
    /// Reads the spec of a TokenRequest.
    ///
    /// # Errors
    /// 422 with every field that is out of bounds.
    fn read(spec: &'a Value) -> Result<Self, Status> {
        let mut causes = Vec::new();
        let mut fault = |field: &str, message: String| {
            let reason = "FieldValueInvalid".to_owned();
            causes.push(Cause { reason, message, field: format!("spec.{field}") });
        };
        let life = spec["expirationSeconds"].as_i64().unwrap_or(LIFE_DEFAULT);
        if life < LIFE_MIN {
            fault(
                "expirationSeconds",
                format!("Invalid value: {life}: may not specify a duration less than 10 minutes"),
            );
        } else if life > LIFE_ASKED_MAX {
            let message = format!("Invalid value: {life}: may not specify a duration larger than 2^32 seconds");
            fault("expirationSeconds", message);
        }
        let audiences = spec["audiences"].as_array().into_iter().flatten();
        let mut audiences: Vec<String> = audiences.filter_map(Value::as_str).map(str::to_owned).collect();
        if audiences.len() > AUDIENCES_MAX || audiences.iter().any(|one| one.len() > AUDIENCE_BYTES_MAX) {
            let most = format!("at most {AUDIENCES_MAX} audiences of at most {AUDIENCE_BYTES_MAX} bytes");
            fault("audiences", format!("Invalid value: \"\": {most}"));
        }
        if audiences.is_empty() {
            audiences.push(ISSUER.to_owned());
        }
        let reference = &spec["boundObjectRef"];
        let text = |field: &str| reference[field].as_str().unwrap_or("");
        let to = reference.is_object().then(|| To {
            version: text("apiVersion"),
            kind: text("kind"),
            name: text("name"),
            uid: text("uid"),
        });
        if causes.is_empty() {
            Ok(Self { audiences, life, to })
        } else {
            Err(Status::invalid("authentication.k8s.io", "TokenRequest", "", causes))
        }
    }
}

/// What a token is bound to, as it exists now.
fn bind(state: &State, namespace: &str, account: Reference, to: Option<&To<'_>>) -> Result<Bound, Status> {
    let account_name = account.name.clone();
    let mut bound = Bound { namespace: namespace.to_owned(), node: None, pod: None, secret: None, account };
    let Some(To { version, kind, name, uid }) = to else { return Ok(bound) };
    let (plural, namespace) = match (*version, *kind) {
        ("v1", "Pod") => ("pods", namespace),
        ("v1", "Secret") => ("secrets", namespace),
        ("v1", "Node") => ("nodes", ""),
        _ => return Err(Status::bad_request(format!("cannot bind token to object of type {version}, Kind={kind}"))),
    };
    let stored = state.get(&Key::new(plural, namespace, name)).ok_or_else(|| Status::not_found("", plural, name))?;
    let reference = Reference { name: (*name).to_owned(), uid: stored.face().uid.to_string() };
    if !uid.is_empty() && *uid != reference.uid {
        return Err(Status::conflict("", plural, name, other_uid(uid, &reference.uid)));
    }
    match *kind {
        "Secret" => bound.secret = Some(reference),
        "Node" => bound.node = Some(reference),
        _ => {
            if stored.face().field("spec.serviceAccountName") != account_name {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {account_name:?} to pod running with different serviceaccount name."
                )));
            }
            let node = stored.face().field("spec.nodeName");
            let known = state.get(&Key::new("nodes", "", node));
            bound.node = known.map(|known| Reference { name: node.to_owned(), uid: known.face().uid.to_string() });
            bound.pod = Some(reference);
        }
    }
    Ok(bound)
}

fn other_uid(asked: &str, found: &str) -> String {
    format!(
        "the UID in the bound object reference ({asked}) does not match the UID in record ({found}). The object might have \
         been deleted and then recreated"
    )
}

/// What a node may ask for: tokens bound to a pod that is bound to it, for the audiences of that pod's volumes. Follows
/// upstream's `plugin/pkg/admission/noderestriction`.
fn restrict(state: &State, node: &str, namespace: &str, asked: &Asked<'_>) -> Result<(), String> {
    let to = asked.to.as_ref().filter(|to| to.version == "v1" && to.kind == "Pod" && !to.name.is_empty());
    let to = to.ok_or_else(|| "node requested token not bound to a pod".to_owned())?;
    if to.uid.is_empty() {
        return Err("node requested token with a pod binding without a uid".to_owned());
    }
    let Some(pod) = state.get(&Key::new("pods", namespace, to.name)) else {
        return Err(format!("pod \"{}\" not found", to.name));
    };
    if *pod.face().uid != *to.uid {
        return Err(other_uid(to.uid, &pod.face().uid));
    }
    if pod.face().field("spec.nodeName") != node {
        return Err("node requested token bound to a pod scheduled on a different node".to_owned());
    }
    let spec = pod.to_value().map_err(|error| error.to_string())?["spec"].take();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let projected: Vec<Value> = list(&spec["volumes"])
        .iter()
        .flat_map(|volume| list(&volume["projected"]["sources"]))
        .filter(|source| source["serviceAccountToken"].is_object())
        .collect();
    let named = |source: &Value, audience: &str| {
        let wanted = source["serviceAccountToken"]["audience"].as_str().filter(|wanted| !wanted.is_empty());
        wanted.unwrap_or(ISSUER) == audience
    };
    match asked.audiences.iter().find(|audience| !projected.iter().any(|source| named(source, audience))) {
        Some(audience) => Err(format!(
            "audience {audience:?} not found in pod spec volume, system:node:{node} is not authorized to request service \
             account tokens for this audience"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_within_bounds() {
        let read = |spec: Value| {
            Asked::read(&spec).map(|asked| (asked.audiences, asked.life)).map_err(|status| status.message)
        };
        assert_eq!(read(json!(null)), Ok((vec![ISSUER.to_owned()], 3600)));
        assert_eq!(read(json!({"audiences": ["a"], "expirationSeconds": 600})), Ok((vec!["a".to_owned()], 600)));
        for (spec, words) in [
            (json!({"expirationSeconds": 599}), "599: may not specify a duration less than 10 minutes"),
            (json!({"expirationSeconds": 0}), "less than 10 minutes"),
            (json!({"expirationSeconds": i64::MIN}), "less than 10 minutes"),
            (json!({"expirationSeconds": i64::MAX}), "larger than 2^32 seconds"),
            (json!({"audiences": vec!["a"; 17]}), "at most 16 audiences"),
            (json!({"audiences": ["a".repeat(257)]}), "at most 256 bytes"),
        ] {
            let refused = read(spec.clone()).unwrap_err();
            assert!(refused.contains(words), "{spec}: {refused}");
        }
    }
}
