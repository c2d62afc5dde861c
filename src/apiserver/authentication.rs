//! Who asks: the certificate that TLS has verified says it, else a bearer token.
//!
//! A token counts while what it is bound to exists, in the incarnation it was issued for, by this master's own copy of the
//! state, which is as fresh as what the master would serve; what the copy lacks is looked for in a fresh one before a token
//! is refused. Nothing of a token reaches a log, a metric or an answer.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue};
use identity::service_account::{Bound, Claims, ISSUER, Reference};
use identity::{BootstrapToken, Caller, token};
use jiff::{SignedDuration, Timestamp};
use objects::{Key, Status, time};
use state::{State, Stored};
use tokio::time::Instant;
use tracing::warn;

use crate::api::Api;
use crate::errors;

/// How long a token outlives the end of what it is bound to; upstream's leeway (`pkg/serviceaccount/validation`).
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// How a WebSocket's subprotocol starts that is no protocol but carries a token in base64url.
const PROTOCOL_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// A token as it was sent. It has no `Debug`, so that none is ever shown.
pub struct Bearer(String);

/// Whom a token speaks for.
pub struct Identified {
    /// The bearer.
    pub caller: Caller,
    /// For whom among those asked about the token is meant.
    pub audiences: Vec<String>,
}

/// Why a token speaks for nobody.
pub enum Refusal {
    /// It is not good; the reason quotes nothing of it.
    Token(&'static str),
    /// It could not be found out.
    Unknown(Status),
}

impl Bearer {
    /// A token from a request's body.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Takes the token out of a request, so that nothing passes it on; `None` when there is none.
    fn take(headers: &mut HeaderMap) -> Result<Option<Self>, &'static str> {
        let (header, protocol) = (Self::take_header(headers), Self::take_protocol(headers));
        Ok(header?.or(protocol?))
    }

    /// The token in the Authorization header. As upstream, other schemes count as none.
    fn take_header(headers: &mut HeaderMap) -> Result<Option<Self>, &'static str> {
        let given: Vec<HeaderValue> = headers.get_all(AUTHORIZATION).iter().cloned().collect();
        headers.remove(AUTHORIZATION);
        let value = match given.as_slice() {
            [] => return Ok(None),
            [value] => value.to_str().map_err(|_| "the Authorization header is not text")?,
            _ => return Err("there are several Authorization headers"),
        };
        let (scheme, rest) = value.trim().split_once(' ').unwrap_or_default();
        let token = rest.trim_start().split(' ').next().unwrap_or("");
        Ok((scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| Self::new(token)))
    }

    /// The token among the subprotocols of a WebSocket, where browsers have to put it; it must not be the only one.
    fn take_protocol(headers: &mut HeaderMap) -> Result<Option<Self>, &'static str> {
        let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
        let offered = offered.flat_map(|text| text.split(',')).map(str::trim).filter(|one| !one.is_empty());
        let (tokens, others): (Vec<String>, Vec<String>) =
            offered.map(str::to_owned).partition(|one| one.starts_with(PROTOCOL_PREFIX));
        if tokens.is_empty() {
            return Ok(None);
        }
        headers.remove(SEC_WEBSOCKET_PROTOCOL);
        match (tokens.as_slice(), HeaderValue::from_str(&others.join(", "))) {
            ([token], Ok(rest)) if !others.is_empty() => {
                headers.insert(SEC_WEBSOCKET_PROTOCOL, rest);
                let encoded = token.strip_prefix(PROTOCOL_PREFIX).unwrap_or_default();
                let bytes = URL_SAFE_NO_PAD.decode(encoded).ok();
                let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| !text.is_empty());
                text.map(|text| Some(Self(text))).ok_or("the token among the WebSocket protocols is not base64url")
            }
            ([_], _) => Err("there is a token and no protocol to speak among the WebSocket protocols"),
            _ => Err("there are several tokens among the WebSocket protocols"),
        }
    }
}

/// Who asks. `certified` is whom the connection's certificate names, anonymous without one; it goes before any token.
///
/// # Errors
/// 401 for a token that is not good, 503 when that cannot be found out.
pub async fn caller(
    api: &Api,
    from: SocketAddr,
    certified: Caller,
    headers: &mut HeaderMap,
    deadline: Instant,
) -> Result<Caller, Status> {
    let bearer = Bearer::take(headers);
    if !certified.is_anonymous() {
        return Ok(certified);
    }
    let outcome = match bearer {
        Ok(None) => return Ok(certified),
        Ok(Some(bearer)) => identify(api, &bearer, &[ISSUER], deadline).await.map(|identified| identified.caller),
        Err(reason) => Err(Refusal::Token(reason)),
    };
    outcome.map_err(|refusal| match refusal {
        Refusal::Unknown(status) => status,
        Refusal::Token(reason) => {
            api.refused_tokens.line(|left_out| warn!(%from, reason, left_out, "a bearer token was refused"));
            Status::unauthorized()
        }
    })
}

/// Whom a token speaks for, towards any of `audiences`.
///
/// # Errors
/// [`Refusal`].
pub async fn identify(
    api: &Api,
    bearer: &Bearer,
    audiences: &[&str],
    deadline: Instant,
) -> Result<Identified, Refusal> {
    let (text, now, state) = (bearer.0.as_str(), base::clock::now(), api.store.current());
    if let Some(token) = BootstrapToken::parse(text) {
        return bootstrap(&state, &token, audiences, now);
    }
    let refused = |error: identity::Error| match error {
        identity::Error::Bearer(reason) => Refusal::Token(reason),
        _ => Refusal::Token("it cannot be read"),
    };
    let ring = api.signing.ring(&state).ok_or(Refusal::Token("this master knows no signing keys yet"))?;
    let claims = ring.verify(text).map_err(refused)?;
    let (claims, audiences) = Claims::read(&claims, audiences, now).map_err(refused)?;
    if stands(&state, claims.bound(), now).is_err() {
        // Only bearers of what was once a good token get this far, so that strangers cannot make us ask the leader.
        let key = Key::new("serviceaccounts", &claims.bound().namespace, &claims.bound().account.name);
        let state = api.store.fresh(deadline).await.map_err(|error| Refusal::Unknown(errors::status(error, &key)))?;
        stands(&state, claims.bound(), now).map_err(Refusal::Token)?;
    }
    Ok(Identified { caller: claims.caller(), audiences })
}

fn bootstrap(state: &State, token: &BootstrapToken, audiences: &[&str], now: Timestamp) -> Result<Identified, Refusal> {
    // These tokens name no audience: they are for the API.
    if !audiences.contains(&ISSUER) {
        return Err(Refusal::Token("bootstrap tokens are for the API only"));
    }
    let unknown = Refusal::Token("no bootstrap token has this id and secret");
    let Some(stored) = state.get(&Key::new("secrets", token::NAMESPACE, &token.secret_name())) else {
        return Err(unknown);
    };
    let Ok(secret) = stored.to_value() else { return Err(unknown) };
    match token.verify(&secret, now) {
        Ok(caller) => Ok(Identified { caller, audiences: vec![ISSUER.to_owned()] }),
        Err(identity::Error::Bearer(reason)) => Err(Refusal::Token(reason)),
        Err(_) => Err(unknown),
    }
}

/// Whether the account and all that a token is bound to exist, by uid.
fn stands(state: &State, bound: &Bound, now: Timestamp) -> Result<(), &'static str> {
    let exists =
        |plural: &str, namespace: &str, reference: &Reference, why: &'static str| -> Result<(), &'static str> {
            let stored = state.get(&Key::new(plural, namespace, &reference.name)).ok_or(why)?;
            if *stored.face().uid == *reference.uid && !is_over(stored, now) { Ok(()) } else { Err(why) }
        };
    let namespace = bound.namespace.as_str();
    exists("serviceaccounts", namespace, &bound.account, "its service account no longer exists")?;
    if let Some(secret) = &bound.secret {
        exists("secrets", namespace, secret, "the Secret that it is bound to no longer exists")?;
    }
    match (&bound.pod, &bound.node) {
        // Beside a pod the node only says where it runs.
        (Some(pod), _) => exists("pods", namespace, pod, "the pod that it is bound to no longer exists"),
        (None, Some(node)) => exists("nodes", "", node, "the node that it is bound to no longer exists"),
        (None, None) => Ok(()),
    }
}

/// Whether an object that is being deleted should have been gone for a while.
fn is_over(stored: &Stored, now: Timestamp) -> bool {
    if !stored.face().deleting {
        return false;
    }
    let end =
        stored.to_value().ok().and_then(|value| time::parse(value["metadata"]["deletionTimestamp"].as_str()?).ok());
    end.is_none_or(|end| now.duration_since(end) > LEEWAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_among_websocket_protocols_is_taken_out() {
        let carried = format!("{PROTOCOL_PREFIX}{}", URL_SAFE_NO_PAD.encode("a.b.c"));
        // (offered) → (the token, or nothing where it is refused; what is left)
        let rows: [(&[&str], Option<&str>, &str); 8] = [
            (&["v5.channel.k8s.io"], Some(""), "v5.channel.k8s.io"),
            (&[&format!("{carried}, v5.channel.k8s.io")], Some("a.b.c"), "v5.channel.k8s.io"),
            (
                &["v4.channel.k8s.io", &carried, "v5.channel.k8s.io"],
                Some("a.b.c"),
                "v4.channel.k8s.io, v5.channel.k8s.io",
            ),
            (&[&carried], None, ""),
            (&[&carried, &carried, "v5.channel.k8s.io"], None, ""),
            (&[PROTOCOL_PREFIX, "x"], None, "x"),
            (&[&format!("{PROTOCOL_PREFIX}%%%"), "x"], None, "x"),
            (&[&format!("{PROTOCOL_PREFIX}{}", URL_SAFE_NO_PAD.encode(b"\xff")), "x"], None, "x"),
        ];
        for (values, wanted, left) in rows {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(value).unwrap());
            }
            let found = Bearer::take(&mut headers).ok().map(|found| found.map_or(String::new(), |bearer| bearer.0));
            assert_eq!(found.as_deref(), wanted, "{values:?}");
            let rest = headers.get(SEC_WEBSOCKET_PROTOCOL).map_or("", |value| value.to_str().unwrap());
            assert_eq!(rest, left, "{values:?}");
        }
    }

    #[test]
    fn a_token_is_taken_out_of_one_header_of_its_scheme() {
        let rows: [(&[&str], Option<&str>); 13] = [
            (&[], None),
            (&["Bearer a.b.c"], Some("a.b.c")),
            (&["bearer a.b.c"], Some("a.b.c")),
            (&["BEARER   a.b.c  "], Some("a.b.c")),
            (&["Bearer a b"], Some("a")),
            (&["Bearer"], None),
            (&["Bearer "], None),
            (&["Basic YTpi"], None),
            (&["Bearera.b.c"], None),
            (&["a.b.c"], None),
            (&[""], None),
            (&["Token a.b.c"], None),
            (&["Digest Bearer a"], None),
        ];
        for (values, wanted) in rows {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            let found = Bearer::take(&mut headers).unwrap_or_else(|reason| panic!("{values:?}: {reason}"));
            assert_eq!(found.map(|bearer| bearer.0).as_deref(), wanted, "{values:?}");
            assert!(headers.is_empty(), "{values:?}");
        }
        for values in [&[&b"Bearer a"[..], b"Bearer b"][..], &[b"Bearer \xff\xfe"]] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
            }
            assert!(Bearer::take(&mut headers).is_err() && headers.is_empty(), "{values:?}");
        }
    }
}
