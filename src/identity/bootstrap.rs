//! Kubernetes' bootstrap tokens: `ID.SECRET`, kept as Secrets that `kubeadm` and its like write, with which a machine
//! that has no certificate yet may ask for one. Pure.
//!
//! These are not the join tokens of `barque token create`, of which the cluster keeps only a hash. Follows upstream's
//! `plugin/pkg/auth/authenticator/token/bootstrap`.

use crate::token::{plain, same};
use crate::{Caller, Error, names};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use std::fmt;

/// How the name of a bootstrap token's Secret starts; the token's id follows. They lie in [`crate::token::NAMESPACE`].
pub const SECRET_PREFIX: &str = "bootstrap-token-";

const TYPE: &str = "bootstrap.kubernetes.io/token";
const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;

/// A bootstrap token as its bearer shows it. `Debug` leaves the secret out.
#[derive(Clone, PartialEq, Eq)]
pub struct BootstrapToken {
    id: String,
    secret: String,
}

impl BootstrapToken {
    /// Reads a token; `None` for text that is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        let fits = id.len() == ID_LENGTH && secret.len() == SECRET_LENGTH && plain(id) && plain(secret);
        fits.then(|| Self { id: id.to_owned(), secret: secret.to_owned() })
    }

    /// The name of the Secret that keeps it.
    pub fn secret_name(&self) -> String {
        format!("{SECRET_PREFIX}{}", self.id)
    }

    /// Who the bearer is, by the Secret of [`secret_name`](Self::secret_name).
    ///
    /// # Errors
    /// [`Error::Bearer`] when the Secret is not this token's, or the token may not or no longer authenticate.
    pub fn verify(&self, secret: &Value, now: Timestamp) -> Result<Caller, Error> {
        if secret["type"] != TYPE || !secret["metadata"]["deletionTimestamp"].is_null() {
            return Err(Error::Bearer("its Secret keeps no bootstrap token"));
        }
        let id = entry(secret, "token-id").unwrap_or_default();
        let kept = entry(secret, "token-secret").unwrap_or_default();
        if id != self.id || !same(kept.as_bytes(), self.secret.as_bytes()) {
            return Err(Error::Bearer("no bootstrap token has this id and secret"));
        }
        match (entry(secret, "expiration"), expires(secret)) {
            (Some(text), None) if !text.is_empty() => return Err(Error::Bearer("its expiration is no time")),
            (_, Some(end)) if now >= end => return Err(Error::Bearer("it has expired")),
            _ => {}
        }
        if entry(secret, "usage-bootstrap-authentication").as_deref() != Some("true") {
            return Err(Error::Bearer("it is not meant for authentication"));
        }
        let mut groups = vec![names::GROUP_BOOTSTRAPPERS.to_owned()];
        for group in entry(secret, "auth-extra-groups").unwrap_or_default().split(',').filter(|one| !one.is_empty()) {
            if !is_extra_group(group) {
                return Err(Error::Bearer("it names a group that bootstrap tokens may not be in"));
            }
            groups.push(group.to_owned());
        }
        Ok(Caller::authenticated(format!("system:bootstrap:{}", self.id), groups))
    }
}

impl fmt::Debug for BootstrapToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.(secret)", self.id)
    }
}

/// When the bootstrap token in a Secret expires; `None` when it does not, or the Secret keeps none.
pub fn expires(secret: &Value) -> Option<Timestamp> {
    if secret["type"] != TYPE {
        return None;
    }
    entry(secret, "expiration")?.parse().ok()
}

fn entry(secret: &Value, key: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(secret["data"][key].as_str()?).ok()?).ok()
}

/// `system:bootstrappers:` and up to 256 letters, digits, dashes and colons, the last no dash or colon.
fn is_extra_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix("system:bootstrappers:") else { return false };
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b':' | b'-');
    rest.len() <= 256 && rest.bytes().all(allowed) && rest.ends_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn secret(pairs: &[(&str, &str)]) -> Value {
        let mut value = json!({"type": TYPE, "metadata": {}, "data": {}});
        let whole = [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            ("expiration", "2026-01-02T00:00:00Z"),
        ];
        for (key, text) in whole.iter().chain(pairs) {
            value["data"][key] = json!(STANDARD.encode(text));
        }
        value
    }

    #[test]
    fn only_the_form_is_a_token() {
        for text in [
            "",
            ".",
            "abcdef",
            "abcdef.",
            "abcdef.0123456789abcde",
            "abcdef.0123456789abcdef0",
            "abcde.0123456789abcdef",
            "ABCDEF.0123456789abcdef",
            "abcdef.0123456789abcde.",
            "abcdef.0123456789abcdeé",
            " abcdef.0123456789abcdef",
        ] {
            assert_eq!(BootstrapToken::parse(text), None, "{text}");
        }
        let token = BootstrapToken::parse("abcdef.0123456789abcdef").unwrap();
        assert_eq!(token.secret_name(), "bootstrap-token-abcdef");
        assert!(!format!("{token:?}").contains("0123"));
    }

    #[test]
    fn the_secret_decides() {
        let token = BootstrapToken::parse("abcdef.0123456789abcdef").unwrap();
        let check = |secret: &Value| token.verify(secret, at("2026-01-01T00:00:00Z"));
        let caller =
            check(&secret(&[("auth-extra-groups", "system:bootstrappers:a:b,system:bootstrappers:c")])).unwrap();
        assert_eq!(caller.user, "system:bootstrap:abcdef");
        assert_eq!(
            caller.groups,
            ["system:bootstrappers", "system:bootstrappers:a:b", "system:bootstrappers:c", "system:authenticated"]
        );
        assert!(check(&secret(&[("expiration", "")])).is_ok(), "without an end");
        let mut other_type = secret(&[]);
        other_type["type"] = json!("Opaque");
        let mut ending = secret(&[]);
        ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        for refused in [
            json!(null),
            other_type,
            ending,
            secret(&[("token-id", "fedcba")]),
            secret(&[("token-secret", "0123456789abcdee")]),
            secret(&[("token-secret", "")]),
            secret(&[("expiration", "2026-01-01T00:00:00Z")]),
            secret(&[("expiration", "soon")]),
            secret(&[("usage-bootstrap-authentication", "false")]),
            secret(&[("auth-extra-groups", "system:masters")]),
            secret(&[("auth-extra-groups", "system:bootstrappers:")]),
            secret(&[("auth-extra-groups", "system:bootstrappers:a,system:nodes")]),
        ] {
            assert!(matches!(check(&refused), Err(Error::Bearer(_))), "{refused}");
        }
        assert_eq!(expires(&secret(&[])), Some(at("2026-01-02T00:00:00Z")));
        assert_eq!((expires(&secret(&[("expiration", "x")])), expires(&json!({}))), (None, None));
    }
}
