//! What a token of a service account says, and who its bearer is. Pure.
//!
//! The claims are upstream's (`pkg/serviceaccount/claims.go`), so that whoever reads tokens elsewhere reads ours.

use crate::{Caller, Error, names};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Who issues the tokens, and for whom they are where nobody else is named.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// How far the clocks of two masters may differ.
const SKEW_SECONDS: i64 = 60;

/// An object that a token is bound to, in one incarnation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    aud: Vec<String>,
    exp: i64,
    iat: i64,
    iss: String,
    jti: String,
    #[serde(rename = "kubernetes.io")]
    bound: Bound,
    nbf: i64,
    sub: String,
}

/// Whose token it is, and what has to exist for it to count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The account's namespace, and that of what is bound.
    pub namespace: String,
    /// The node that the pod runs on, or that the token is bound to where there is no pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    /// The pod that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The Secret that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// The account.
    #[serde(rename = "serviceaccount")]
    pub account: Reference,
}

impl Claims {
    /// The claims of a new token for `audiences`, which counts from `now` for `life`.
    pub fn new(bound: Bound, audiences: Vec<String>, now: Timestamp, life: Duration) -> Self {
        let second = now.as_second();
        Self {
            aud: audiences,
            exp: second.saturating_add(i64::try_from(life.as_secs()).unwrap_or(i64::MAX)),
            iat: second,
            iss: ISSUER.to_owned(),
            jti: base::random::uid(),
            nbf: second,
            sub: user(&bound.namespace, &bound.account.name),
            bound,
        }
    }

    /// The claims that `wanted` audiences may believe at `now`, and which of them the token names. Whether what it is bound
    /// to exists is for the caller to check.
    ///
    /// # Errors
    /// [`Error::Bearer`] with what is wrong.
    pub fn read(json: &[u8], wanted: &[&str], now: Timestamp) -> Result<(Self, Vec<String>), Error> {
        let claims: Self =
            serde_json::from_slice(json).map_err(|_| Error::Bearer("its claims are not those of a service account"))?;
        let second = now.as_second();
        if claims.iss != ISSUER {
            return Err(Error::Bearer("its issuer is not this cluster"));
        }
        if second >= claims.exp {
            return Err(Error::Bearer("it has expired"));
        }
        if second.saturating_add(SKEW_SECONDS) < claims.nbf.max(claims.iat) {
            return Err(Error::Bearer("it is not valid yet; compare the clocks of the masters"));
        }
        if claims.sub != user(&claims.bound.namespace, &claims.bound.account.name) {
            return Err(Error::Bearer("its subject is not its service account"));
        }
        let audiences: Vec<String> = claims.aud.iter().filter(|one| wanted.contains(&one.as_str())).cloned().collect();
        if audiences.is_empty() {
            return Err(Error::Bearer("it is meant for another audience"));
        }
        Ok((claims, audiences))
    }

    /// Whose token it is, and what has to exist for it to count.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// When the token ceases to count.
    pub fn expires(&self) -> Timestamp {
        Timestamp::from_second(self.exp).unwrap_or(Timestamp::MAX)
    }

    /// Who the bearer is.
    pub fn caller(&self) -> Caller {
        let Bound { namespace, node, pod, account, .. } = &self.bound;
        let groups = [names::GROUP_SERVICE_ACCOUNTS.to_owned(), names::service_accounts_of(namespace)];
        let mut extra = BTreeMap::new();
        let mut tell = |key: &str, value: &str| {
            extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        };
        tell("credential-id", &format!("JTI={}", self.jti));
        for (kind, reference) in [("node", node), ("pod", pod)] {
            if let Some(Reference { name, uid }) = reference {
                tell(&format!("{kind}-name"), name);
                tell(&format!("{kind}-uid"), uid);
            }
        }
        Caller { uid: Some(account.uid.clone()), extra, ..Caller::authenticated(&self.sub, groups) }
    }
}

fn user(namespace: &str, name: &str) -> String {
    names::service_account_user(namespace, name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn reference(name: &str) -> Reference {
        Reference { name: name.into(), uid: format!("{name}-uid") }
    }

    fn claims() -> Claims {
        let bound = Bound {
            namespace: "d".into(),
            node: Some(reference("n")),
            pod: Some(reference("p")),
            secret: None,
            account: reference("robot"),
        };
        Claims::new(bound, vec!["x".into(), ISSUER.into()], at(1000), Duration::from_secs(600))
    }

    #[test]
    fn claims_read_as_upstreams() {
        let value = json!(claims());
        assert_eq!(
            value["kubernetes.io"],
            json!({
                "namespace": "d", "node": {"name": "n", "uid": "n-uid"}, "pod": {"name": "p", "uid": "p-uid"},
                "serviceaccount": {"name": "robot", "uid": "robot-uid"},
            })
        );
        assert_eq!(
            (&value["sub"], &value["iat"], &value["nbf"], &value["exp"]),
            (&json!("system:serviceaccount:d:robot"), &json!(1000), &json!(1000), &json!(1600))
        );
        let caller = claims().caller();
        assert_eq!(caller.user, "system:serviceaccount:d:robot");
        assert_eq!(caller.uid.as_deref(), Some("robot-uid"));
        assert_eq!(caller.groups, ["system:serviceaccounts", "system:serviceaccounts:d", "system:authenticated"]);
        assert_eq!(caller.extra["authentication.kubernetes.io/pod-name"], ["p"]);
        assert_eq!(caller.extra["authentication.kubernetes.io/node-uid"], ["n-uid"]);
        assert!(caller.extra["authentication.kubernetes.io/credential-id"][0].starts_with("JTI="));
    }

    #[test]
    fn claims_hold_in_their_time_for_their_audience() {
        let bytes = json!(claims()).to_string().into_bytes();
        let read = |second, wanted: &[&str]| Claims::read(&bytes, wanted, at(second)).map(|(_, audiences)| audiences);
        assert_eq!(read(1000, &[ISSUER]).unwrap(), [ISSUER]);
        assert_eq!(read(1000, &["y", "x"]).unwrap(), ["x"]);
        for (second, wanted, words) in [
            (1600, ISSUER, "expired"),
            (939, ISSUER, "not valid yet"),
            (1000, "y", "another audience"),
            (1000, "", "another audience"),
        ] {
            let refused = read(second, &[wanted]).unwrap_err().to_string();
            assert!(refused.contains(words), "{second} {wanted}: {refused}");
        }
        assert!(read(1599, &[ISSUER]).is_ok() && read(940, &[ISSUER]).is_ok());
    }

    #[test]
    fn hostile_claims_are_refused() {
        let whole = json!(claims());
        let mut hostile: Vec<Value> = vec![json!(null), json!([]), json!("x"), json!({})];
        for (path, value) in [
            ("/iss", json!("https://elsewhere")),
            ("/sub", json!("system:serviceaccount:kube-system:robot")),
            ("/sub", json!("system:admin")),
            ("/aud", json!([])),
            ("/aud", json!(ISSUER)),
            ("/exp", json!("9999")),
            ("/exp", json!(1e300)),
            ("/exp", json!(i64::MIN)),
            ("/nbf", json!(i64::MAX)),
            ("/iat", json!(i64::MAX)),
            ("/kubernetes.io", json!(null)),
            ("/kubernetes.io/namespace", json!("kube-system")),
            ("/kubernetes.io/serviceaccount", json!({"name": "other", "uid": "u"})),
            ("/kubernetes.io/serviceaccount/uid", json!(null)),
            ("/kubernetes.io/pod", json!("p")),
        ] {
            let mut altered = whole.clone();
            *altered.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value;
            hostile.push(altered);
        }
        for claims in hostile {
            let refused = Claims::read(claims.to_string().as_bytes(), &[ISSUER], at(1000));
            assert!(matches!(refused, Err(Error::Bearer(_))), "{claims}");
        }
        assert!(Claims::read(b"\xff", &[ISSUER], at(1000)).is_err());
    }
}
