//! Join tokens: a short text with which a node or a master may join, and by which it recognizes the
//! cluster.
//!
//! The text is `barque.ROLE.ID.SECRET.HASH`. The cluster keeps a [`TokenRecord`], which holds only a
//! hash of the secret; `HASH` is the SHA-256 of the serving authority's certificate.

use crate::Error;
use crate::trust::hex;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The namespace of the Secrets that keep records, as upstream keeps its bootstrap tokens.
pub const NAMESPACE: &str = "kube-system";
/// How the name of such a Secret starts; the token's id follows.
pub const SECRET_PREFIX: &str = "join-token-";

/// Every token starts with this word, so that people and secret scanners recognize one.
const PREFIX: &str = "barque";
/// Ids only tell tokens apart; Kubernetes' bootstrap tokens use six characters as well.
const ID_LENGTH: usize = 6;
/// 24 characters of a 27-letter alphabet: 114 bits.
const SECRET_LENGTH: usize = 24;
/// The shortest secret accepted from outside: 76 bits.
const SECRET_LENGTH_MIN: usize = 16;
/// The longest secret accepted from outside, so that nobody makes us hash megabytes.
const SECRET_LENGTH_MAX: usize = 64;
/// Of a joiner's name; short, as a record keeps one for each use.
const JOINER_BYTES: usize = 16;

/// What a token lets its bearer become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A node, which runs pods.
    Node,
    /// A master. Its bearer obtains the keys of the cluster's authorities.
    Master,
}

impl Role {
    /// The role as it stands in tokens and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Master => "master",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "node" => Ok(Self::Node),
            "master" => Ok(Self::Master),
            _ => Err(Error::TokenMalformed("its role is neither node nor master")),
        }
    }
}

/// A join token with its secret. `Display` and `Debug` leave the secret out; [`expose`](Self::expose)
/// does not.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    role: Role,
    id: String,
    secret: String,
    authority_hash: String,
}

/// What the cluster keeps of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRecord {
    /// The token's id.
    pub id: String,
    /// What the token lets its bearer become.
    pub role: Role,
    /// The SHA-256 of the token's secret, in hex.
    pub secret_hash: String,
    /// When the token ceases to be valid.
    pub expires_at: Timestamp,
    /// How many more may join with it; `None` for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u32>,
    /// Who was counted, as [`joiner`] names them: one whose answer was lost asks again, and counts once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<String>,
}

impl TokenRecord {
    /// The Secret that keeps the record, for whoever makes tokens through the API.
    pub fn secret(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "barque.io/join-token",
            "metadata": {"name": secret_name(&self.id), "namespace": NAMESPACE},
            "stringData": {"record": json!(self).to_string()},
        })
    }

    /// The record that a stored Secret keeps; `None` when it keeps none.
    pub fn of_secret(secret: &Value) -> Option<Self> {
        let record = STANDARD.decode(secret["data"]["record"].as_str()?).ok()?;
        serde_json::from_slice(&record).ok()
    }

    /// Puts the record in place of the one that a stored Secret keeps.
    pub fn put_into(&self, secret: &mut Value) {
        secret["data"]["record"] = STANDARD.encode(json!(self).to_string()).into();
    }
}

/// The name of the Secret that keeps the record of the token with this id.
pub fn secret_name(id: &str) -> String {
    format!("{SECRET_PREFIX}{id}")
}

/// A name for who joins, made of what only this joiner has and sends again when it repeats its request (its key). The
/// name gives none of it away.
pub fn joiner(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // The length first, so that no two lists of parts read the same.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex(&hash.finalize()[..JOINER_BYTES])
}

impl Token {
    /// A new random token. `authority_hash` is [`crate::Trust::hash`] of the serving authority.
    pub fn new(role: Role, authority_hash: impl Into<String>) -> Self {
        Self {
            role,
            id: base::random::suffix(ID_LENGTH),
            secret: base::random::suffix(SECRET_LENGTH),
            authority_hash: authority_hash.into(),
        }
    }

    /// What the token lets its bearer become.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The id by which the cluster finds the token's record.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The SHA-256 of the serving authority's certificate, in hex: give it to
    /// [`crate::tls::pinned_client`].
    pub fn authority_hash(&self) -> &str {
        &self.authority_hash
    }

    /// The full text with the secret, to show its maker once or to send to a master.
    pub fn expose(&self) -> String {
        format!("{PREFIX}.{}.{}.{}.{}", self.role, self.id, self.secret, self.authority_hash)
    }

    /// The record for the cluster to keep.
    pub fn record(&self, expires_at: Timestamp, uses_left: Option<u32>) -> TokenRecord {
        TokenRecord {
            id: self.id.clone(),
            role: self.role,
            secret_hash: self.secret_hash(),
            expires_at,
            uses_left,
            joined: Vec::new(),
        }
    }

    /// Checks the token against the record stored under its id, for `joiner` (see [`joiner`]) to join as `wanted` at
    /// `now`. Secrets are compared in constant time.
    ///
    /// Returns the record that must replace the stored one, unchanged since it was read, before the joiner is let in;
    /// `None` when nothing is to be counted, because uses are not or this joiner was.
    ///
    /// # Errors
    /// [`Error::TokenUnknown`] without a record or with a wrong secret, [`Error::TokenRole`],
    /// [`Error::TokenExpired`], [`Error::TokenUsedUp`].
    pub fn verify(
        &self,
        record: Option<&TokenRecord>,
        wanted: Role,
        joiner: &str,
        now: Timestamp,
    ) -> Result<Option<TokenRecord>, Error> {
        let record = record.filter(|record| record.id == self.id).ok_or(Error::TokenUnknown)?;
        if !same(record.secret_hash.as_bytes(), self.secret_hash().as_bytes()) {
            return Err(Error::TokenUnknown);
        }
        // The record counts: whoever altered the token's own text gains nothing.
        if record.role != wanted {
            return Err(Error::TokenRole { of: record.role, wanted });
        }
        if now >= record.expires_at {
            return Err(Error::TokenExpired(record.expires_at));
        }
        match record.uses_left {
            None => Ok(None),
            Some(_) if record.joined.iter().any(|known| known == joiner) => Ok(None),
            Some(0) => Err(Error::TokenUsedUp),
            Some(left) => {
                let mut counted = record.clone();
                counted.uses_left = Some(left - 1);
                counted.joined.push(joiner.to_owned());
                Ok(Some(counted))
            }
        }
    }

    fn secret_hash(&self) -> String {
        hex(&Sha256::digest(self.secret.as_bytes()))
    }
}

impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts: Vec<&str> = text.trim().splitn(6, '.').collect();
        let [prefix, role, id, secret, authority_hash] = parts[..] else {
            return Err(Error::TokenMalformed("it does not have five parts separated by dots"));
        };
        if prefix != PREFIX {
            return Err(Error::TokenMalformed("it does not start with \"barque.\""));
        }
        let role = role.parse()?;
        if id.len() != ID_LENGTH || !plain(id) {
            return Err(Error::TokenMalformed("its id is not six lower-case letters or digits"));
        }
        if !(SECRET_LENGTH_MIN..=SECRET_LENGTH_MAX).contains(&secret.len()) || !plain(secret) {
            return Err(Error::TokenMalformed("its secret is cut off or altered"));
        }
        let lower_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if authority_hash.len() != 64 || !authority_hash.bytes().all(lower_hex) {
            return Err(Error::TokenMalformed("its hash is not 64 hex digits"));
        }
        Ok(Self { role, id: id.to_owned(), secret: secret.to_owned(), authority_hash: authority_hash.to_owned() })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}.{}.{}.(secret)", self.role, self.id)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Whether text is lower-case letters and digits only.
pub(crate) fn plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
}

/// Compares without stopping at the first difference, so that timing tells nothing about it.
pub(crate) fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let difference = left.iter().zip(right).fold(0, |difference, (one, other)| difference | (one ^ other));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn text_reads_back_and_hides_its_secret() {
        let token = Token::new(Role::Node, HASH);
        let text = token.expose();
        let read: Token = format!(" {text}\n").parse().unwrap();
        assert_eq!(read, token);
        assert_eq!((read.role(), read.authority_hash()), (Role::Node, HASH));
        for shown in [format!("{token}"), format!("{token:?}")] {
            assert!(!shown.contains(&token.secret), "{shown}");
        }
        let record = serde_json::to_string(&token.record(at(9), Some(1))).unwrap();
        assert!(!record.contains(&token.secret));
    }

    #[test]
    fn malformed_text_is_refused() {
        let good = Token::new(Role::Master, HASH).expose();
        let bad = [
            String::new(),
            "barque".to_owned(),
            good.replace("barque", "k3s"),
            good.replace("master", "king"),
            good.replace(HASH, "abc"),
            good.replace(HASH, &HASH.to_uppercase()),
            format!("{good}.more"),
            good[..good.len() - 1].to_owned(),
            format!("barque.node.abc.{}.{HASH}", "b".repeat(24)),
            format!("barque.node.abcdef.short.{HASH}"),
            format!("barque.node.abcdef.{}.{HASH}", "b".repeat(65)),
        ];
        for text in bad {
            assert!(matches!(text.parse::<Token>(), Err(Error::TokenMalformed(_))), "{text}");
        }
    }

    #[test]
    fn verification_says_what_is_wrong() {
        let token = Token::new(Role::Node, HASH);
        let record = token.record(at(100), Some(1));
        let check = |record: Option<&TokenRecord>, role, second| token.verify(record, role, "me", at(second));
        assert!(check(Some(&record), Role::Node, 99).is_ok());
        assert!(matches!(check(None, Role::Node, 99), Err(Error::TokenUnknown)));
        assert!(matches!(check(Some(&record), Role::Node, 100), Err(Error::TokenExpired(_))));
        assert!(matches!(
            check(Some(&record), Role::Master, 99),
            Err(Error::TokenRole { of: Role::Node, wanted: Role::Master })
        ));
        let other = Token::new(Role::Node, HASH).record(at(100), None);
        assert!(matches!(check(Some(&other), Role::Node, 99), Err(Error::TokenUnknown)));
        let wrong_secret = TokenRecord { id: record.id.clone(), ..other };
        assert!(matches!(check(Some(&wrong_secret), Role::Node, 99), Err(Error::TokenUnknown)));
    }

    #[test]
    fn uses_are_counted_once_for_each_joiner() {
        let token = Token::new(Role::Node, HASH);
        let by = |record: &TokenRecord, who: &str| token.verify(Some(record), Role::Node, who, at(1));
        let first = by(&token.record(at(100), Some(2)), "one").unwrap().expect("a use");
        assert_eq!(first.uses_left, Some(1));
        assert_eq!(by(&first, "one").unwrap(), None, "a repeat");
        let second = by(&first, "two").unwrap().expect("a use");
        assert!(matches!(by(&second, "three"), Err(Error::TokenUsedUp)));
        assert_eq!(by(&second, "one").unwrap(), None, "a repeat after the last use");
        assert_eq!(by(&token.record(at(100), None), "one").unwrap(), None, "without a number");
        let old = serde_json::json!({"id": "abcdef", "role": "node", "secretHash": "", "expiresAt": at(9)});
        assert_eq!(serde_json::from_value::<TokenRecord>(old).unwrap().joined.len(), 0);
    }

    #[test]
    fn a_secret_keeps_a_record() {
        let record = Token::new(Role::Node, HASH).record(at(100), Some(2));
        let made = record.secret();
        let mut stored = json!({"data": {"record": STANDARD.encode(made["stringData"]["record"].as_str().unwrap())}});
        assert_eq!(TokenRecord::of_secret(&stored), Some(record.clone()));
        let counted = TokenRecord { uses_left: Some(1), ..record };
        counted.put_into(&mut stored);
        assert_eq!(TokenRecord::of_secret(&stored), Some(counted));
        for other in
            [json!({}), json!({"data": {"record": "%"}}), json!({"data": {"record": "e30="}}), json!({"data": 7})]
        {
            assert_eq!(TokenRecord::of_secret(&other), None, "{other}");
        }
    }

    #[test]
    fn joiners_differ_where_any_part_does() {
        let names = [joiner(&["a", "bc"]), joiner(&["ab", "c"]), joiner(&["abc"]), joiner(&["abc", ""])];
        for (position, name) in names.iter().enumerate() {
            assert!(!names[..position].contains(name), "{names:?}");
        }
        assert_eq!(joiner(&["a", "bc"]), names[0]);
    }

    #[test]
    fn an_altered_role_gains_nothing() {
        let token = Token::new(Role::Node, HASH);
        let record = token.record(at(100), None);
        let forged: Token = token.expose().replace("barque.node.", "barque.master.").parse().unwrap();
        assert!(matches!(forged.verify(Some(&record), Role::Master, "me", at(1)), Err(Error::TokenRole { .. })));
    }
}
