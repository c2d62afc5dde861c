//! The keys that sign tokens of service accounts: making and replacing them, signing, checking signatures, and telling
//! others the public halves.
//!
//! One algorithm, ES256 (RFC 7518): a token that names another is refused before anything of it is believed. A new key
//! is published some time before it signs, so that a master or another reader of the public keys that lags behind knows
//! it by then; an old one verifies until the longest token that it can have signed has expired.

use crate::sealing::Seal;
use crate::{Error, token};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt;
use std::time::Duration;

/// The name of the Secret that keeps the keys, sealed, in [`token::NAMESPACE`].
pub const SECRET_NAME: &str = "service-account-signing-keys";
/// The longest life of a token.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_hours(24 * 365);

/// The one algorithm.
const ALGORITHM: &str = "ES256";
/// What the seal is derived for, and where what it seals lies.
pub(crate) const PURPOSE: &str = "service account signing keys";
/// The key of the Secret's data.
const ENTRY: &str = "sealed";
/// After so long another key is made.
const ROTATED_AFTER: Duration = Duration::from_hours(24 * 90);
/// A key is known for so long before it signs. Readers of the public keys may keep them for an hour.
const PUBLISHED_BEFORE: Duration = Duration::from_hours(2);
/// A replaced key is kept this much longer than its longest token: clocks differ.
const KEPT_LONGER: Duration = Duration::from_hours(24);
/// Longest token that is looked at. Ours have about one KiB, with long names three.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a signature: two numbers of 32.
const SIGNATURE_BYTES: usize = 64;
/// Bytes of a public key: a mark, and two coordinates of 32.
const POINT_BYTES: usize = 65;

/// The keys of a cluster, oldest first. `Debug` shows ids only.
#[derive(Default)]
pub struct KeyRing {
    keys: Vec<Key>,
}

struct Key {
    id: String,
    /// PKCS #8, secret.
    private: Vec<u8>,
    pair: EcdsaKeyPair,
    created: Timestamp,
}

/// A key as it lies under the seal.
#[derive(Serialize, Deserialize)]
struct Kept {
    private: String,
    created: Timestamp,
}

/// The part of a token that is read before its signature is checked. A key that stands twice is refused by the decoder.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    /// Extensions that must be understood: none are.
    #[serde(default)]
    crit: Option<Value>,
}

impl KeyRing {
    /// The keys in the Secret that keeps them.
    ///
    /// # Errors
    /// [`Error::Seal`] when it does not open or does not hold keys.
    pub fn of_secret(secret: &Value, seal: &Seal) -> Result<Self, Error> {
        let text = secret["data"][ENTRY].as_str().ok_or(Error::Seal("the Secret holds no sealed keys"))?;
        let sealed = STANDARD.decode(text).map_err(|_| Error::Seal("the Secret holds no base64"))?;
        let plain = seal.open(PURPOSE, &sealed)?;
        let kept: Vec<Kept> = serde_json::from_slice(&plain).map_err(|_| Error::Seal("no keys are under the seal"))?;
        let keys = kept
            .into_iter()
            .map(|kept| {
                let private =
                    STANDARD.decode(kept.private).map_err(|_| Error::Seal("a key under the seal is no key"))?;
                Key::new(private, kept.created)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { keys })
    }

    /// The Secret that keeps the keys. Who reads it learns nothing; who alters it only makes it useless.
    ///
    /// # Errors
    /// [`Error::Seal`] when the keys cannot be sealed.
    pub fn secret(&self, seal: &Seal) -> Result<Value, Error> {
        let kept: Vec<Kept> =
            self.keys.iter().map(|key| Kept { private: STANDARD.encode(&key.private), created: key.created }).collect();
        let plain = serde_json::to_vec(&kept).map_err(|_| Error::Seal("the keys cannot be written"))?;
        Ok(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "barque.io/signing-keys",
            "metadata": {"name": SECRET_NAME, "namespace": token::NAMESPACE, "annotations": {
                "kubernetes.io/description": "Sealed keys that sign tokens of service accounts. Only masters can open them; \
                    deleting them invalidates every token."}},
            "data": {ENTRY: STANDARD.encode(seal.seal(PURPOSE, &plain)?)},
        }))
    }

    /// The keys as they are to be from now on; `None` when that is what they are. The newest ages into the signer, and
    /// keys whose every token has expired go.
    ///
    /// # Errors
    /// [`Error::Issue`] when the system has no randomness to give.
    pub fn renewed(&self, now: Timestamp) -> Result<Option<Self>, Error> {
        let created: Vec<Timestamp> = self.keys.iter().map(|key| key.created).collect();
        let Plan { add, outlived } = plan(&created, now);
        if !add && outlived == 0 {
            return Ok(None);
        }
        let mut keys = self
            .keys
            .iter()
            .skip(outlived)
            .map(|key| Key::new(key.private.clone(), key.created))
            .collect::<Result<Vec<_>, _>>()?;
        if add {
            keys.push(Key::generate(now)?);
        }
        Ok(Some(Self { keys }))
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A token of these claims, signed by the newest key that was known for long enough.
    ///
    /// # Errors
    /// [`Error::Issue`] without a key, or when the system has no randomness to give.
    pub fn sign(&self, claims: &impl Serialize, now: Timestamp) -> Result<String, Error> {
        let key = self.signer(now).ok_or_else(|| Error::issue("the cluster has no signing key yet"))?;
        let claims = serde_json::to_vec(claims).map_err(Error::issue)?;
        let header = json!({"alg": ALGORITHM, "kid": key.id}).to_string();
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = key
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|_| Error::issue("the token cannot be signed"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }

    /// The claims of a token that one of these keys signed, as JSON. Whether they hold now is for the caller to check.
    ///
    /// # Errors
    /// [`Error::Bearer`] for any other text.
    pub fn verify(&self, token: &str) -> Result<Vec<u8>, Error> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Error::Bearer("it is too long"));
        }
        let malformed = Error::Bearer("it is not three parts of base64url");
        let (Some((signed, signature)), 2) = (token.rsplit_once('.'), token.matches('.').count()) else {
            return Err(malformed);
        };
        let Some((header, claims)) = signed.split_once('.') else { return Err(malformed) };
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::Bearer("it is not base64url"));
        let header: Header = serde_json::from_slice(&decoded(header)?)
            .map_err(|_| Error::Bearer("its header does not name an algorithm and a key"))?;
        if header.alg != ALGORITHM {
            return Err(Error::Bearer("its algorithm is not ES256"));
        }
        if header.crit.is_some() {
            return Err(Error::Bearer("it has extensions that are not known"));
        }
        let key = self.keys.iter().find(|key| key.id == header.kid);
        let key = key.ok_or(Error::Bearer("no key of this cluster has its key id"))?;
        let signature = decoded(signature)?;
        if signature.len() != SIGNATURE_BYTES {
            return Err(Error::Bearer("its signature has the wrong length"));
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.pair.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| Error::Bearer("its signature is not that of its key"))?;
        decoded(claims)
    }

    /// The public keys as a JSON Web Key Set (RFC 7517).
    pub fn key_set(&self) -> Value {
        let keys: Vec<Value> = self.keys.iter().filter_map(Key::published).collect();
        json!({"keys": keys})
    }

    fn signer(&self, now: Timestamp) -> Option<&Key> {
        let ready = |key: &&Key| since(key.created, now) >= PUBLISHED_BEFORE;
        // The oldest needs no time to get known: there is none that could sign meanwhile.
        self.keys.iter().rev().find(ready).or(self.keys.first())
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}

impl Key {
    fn generate(now: Timestamp) -> Result<Self, Error> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| Error::issue("the system has no randomness to give"))?;
        Self::new(document.as_ref().to_vec(), now)
    }

    fn new(private: Vec<u8>, created: Timestamp) -> Result<Self, Error> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private, &SystemRandom::new())
            .map_err(|_| Error::Seal("a key under the seal is no key"))?;
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(pair.public_key().as_ref()));
        Ok(Self { id, private, pair, created })
    }

    fn published(&self) -> Option<Value> {
        let point: &[u8; POINT_BYTES] = self.pair.public_key().as_ref().try_into().ok()?;
        let (x, y) = point.get(1..)?.split_at_checked(32)?;
        Some(json!({
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": ALGORITHM,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }))
    }
}

/// What is to be done about keys.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// Whether another key is due.
    add: bool,
    /// How many of the oldest have outlived their last token.
    outlived: usize,
}

/// Decides about keys made at these times, oldest first.
fn plan(created: &[Timestamp], now: Timestamp) -> Plan {
    let add = created.last().is_none_or(|newest| since(*newest, now) >= ROTATED_AFTER);
    // A key signs until the next one does.
    let kept = PUBLISHED_BEFORE + TOKEN_LIFE_MAX + KEPT_LONGER;
    let outlived = created.iter().skip(1).take_while(|next| since(**next, now) >= kept).count();
    Plan { add, outlived }
}

/// How long ago something was; nothing for what is yet to come.
fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn ring(second: i64) -> KeyRing {
        KeyRing::default().renewed(at(second)).unwrap().expect("a first key")
    }

    fn encoded(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    #[test]
    fn only_what_a_key_of_the_ring_signed_as_es256_is_believed() {
        let ring = ring(0);
        let token = ring.sign(&json!({"a": 1}), at(0)).unwrap();
        assert_eq!(ring.verify(&token).unwrap(), br#"{"a":1}"#);
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = parts[..] else { panic!("{token}") };
        let kid = &ring.keys[0].id;
        let with = |header: String| format!("{}.{claims}.{signature}", encoded(&header));
        let signed_anew = |header: &str, claims: &str| {
            let text = format!("{}.{}", encoded(header), encoded(claims));
            let signature = ring.keys[0].pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
            format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
        };
        // The public key as the secret of an HMAC: the oldest trick.
        let with_public_key = {
            let text = format!("{}.{claims}", encoded(&format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#)));
            let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, ring.keys[0].pair.public_key().as_ref());
            let tag = ring::hmac::sign(&secret, text.as_bytes());
            format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
        };
        let hostile = [
            with_public_key,
            String::new(),
            ".".into(),
            "..".into(),
            "...".into(),
            "a.b.c".into(),
            header.to_owned(),
            format!("{header}.{claims}"),
            format!("{header}.{claims}."),
            format!("{header}..{signature}"),
            format!(".{claims}.{signature}"),
            format!("{token}."),
            format!("{token}.{signature}"),
            format!(" {token}"),
            format!("{token}="),
            format!("{token}\n"),
            format!("{header}.{}.{signature}", encoded(r#"{"a":2}"#)),
            with(format!(r#"{{"alg":"none","kid":"{kid}"}}"#)),
            format!("{}.{claims}.", encoded(&format!(r#"{{"alg":"none","kid":"{kid}"}}"#))),
            with(format!(r#"{{"alg":"None","kid":"{kid}"}}"#)),
            with(format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#)),
            with(format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#)),
            with(format!(r#"{{"alg":"es256","kid":"{kid}"}}"#)),
            with(format!(r#"{{"alg":["ES256"],"kid":"{kid}"}}"#)),
            signed_anew(&format!(r#"{{"alg":"none","kid":"{kid}"}}"#), "{}"),
            signed_anew(&format!(r#"{{"alg":"ES256","alg":"ES256","kid":"{kid}"}}"#), "{}"),
            signed_anew(&format!(r#"{{"alg":"ES256","kid":"{kid}","crit":["b64"],"b64":false}}"#), "{}"),
            signed_anew(r#"{"alg":"ES256"}"#, "{}"),
            signed_anew(r#"{"alg":"ES256","kid":""}"#, "{}"),
            signed_anew(r#"{"alg":"ES256","kid":"../../etc/passwd"}"#, "{}"),
            signed_anew(r#"{"alg":"ES256","kid":7}"#, "{}"),
            signed_anew("[]", "{}"),
            signed_anew("null", "{}"),
            signed_anew(&"[".repeat(5000), "{}"),
            format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([0; SIGNATURE_BYTES])),
            format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([255; SIGNATURE_BYTES])),
            format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([1; 70])),
            format!("{header}.{claims}.{}", &signature[..40]),
            "x".repeat(TOKEN_BYTES_MAX + 1),
            ".".repeat(TOKEN_BYTES_MAX),
            "é.é.é".into(),
            "\0.\0.\0".into(),
        ];
        for text in &hostile {
            let refused = ring.verify(text);
            assert!(matches!(refused, Err(Error::Bearer(_))), "{}: {refused:?}", &text[..text.len().min(80)]);
        }
        assert!(matches!(self::ring(0).verify(&token), Err(Error::Bearer(_))), "another cluster's key");
        assert!(matches!(KeyRing::default().verify(&token), Err(Error::Bearer(_))), "no key at all");
    }

    #[test]
    fn keys_are_rotated_published_first_and_kept_for_their_tokens() {
        let days = |numbers: &[i64]| -> Vec<Timestamp> { numbers.iter().map(|day| at(day * DAY)).collect() };
        let rows: [(&[i64], i64, bool, usize); 8] = [
            (&[], 0, true, 0),
            (&[0], 89, false, 0),
            (&[0], 90, true, 0),
            // A clock that was set back makes no keys.
            (&[100], 0, false, 0),
            (&[0, 90], 120, false, 0),
            (&[0, 90], 90 + 366, true, 0),
            (&[0, 90], 90 + 367, true, 1),
            (&[0, 90, 400], 480, false, 1),
        ];
        for (created, day, add, outlived) in rows {
            assert_eq!(plan(&days(created), at(day * DAY)), Plan { add, outlived }, "{created:?} on day {day}");
        }
        let first = ring(0);
        let old = first.sign(&json!({}), at(1)).unwrap();
        let both = first.renewed(at(90 * DAY)).unwrap().expect("a second key");
        assert_eq!(both.keys.len(), 2);
        assert!(both.renewed(at(90 * DAY + 1)).unwrap().is_none());
        let (before, after) = (at(90 * DAY + 7199), at(90 * DAY + 7200));
        assert!(first.verify(&both.sign(&json!({}), before).unwrap()).is_ok(), "the old key still signs");
        let new = both.sign(&json!({}), after).unwrap();
        assert!(first.verify(&new).is_err() && both.verify(&new).is_ok() && both.verify(&old).is_ok());
        let last = both.renewed(at(90 * DAY + 367 * DAY)).unwrap().expect("a third key, and the first one gone");
        assert_eq!(last.keys.len(), 2);
        assert!(last.verify(&old).is_err() && last.verify(&new).is_ok());
    }

    #[test]
    fn keys_lie_sealed_and_are_published_without_their_secrets() {
        let seal = Seal::derive(b"secret", "c1", PURPOSE).unwrap();
        let ring = ring(0);
        let secret = ring.secret(&seal).unwrap();
        let private = STANDARD.encode(&ring.keys[0].private);
        assert!(!secret.to_string().contains(&private));
        let read = KeyRing::of_secret(&secret, &seal).unwrap();
        assert!(read.verify(&ring.sign(&json!({}), at(0)).unwrap()).is_ok());
        let other = Seal::derive(b"secret", "c2", PURPOSE).unwrap();
        assert!(KeyRing::of_secret(&secret, &other).is_err());
        let garbage = seal.seal(PURPOSE, br#"[{"private":"AAAA","created":"2026-01-01T00:00:00Z"}]"#).unwrap();
        for data in [json!(null), json!("%"), json!(""), json!("AAAA"), json!(STANDARD.encode(garbage))] {
            let damaged = json!({"data": {ENTRY: data}});
            assert!(matches!(KeyRing::of_secret(&damaged, &seal), Err(Error::Seal(_))), "{damaged}");
        }
        let set = ring.key_set();
        let key = &set["keys"][0];
        assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&json!("EC"), &json!("P-256"), &json!("ES256")));
        assert_eq!(key.as_object().unwrap().len(), 7, "and nothing else: {key}");
        // What others compute from the set is the key that signed.
        let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
        let point = [vec![4], coordinate("x"), coordinate("y")].concat();
        let token = ring.sign(&json!({}), at(0)).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &signature).unwrap();
        assert_eq!(format!("{ring:?}"), format!("[{}]", key["kid"]));
    }
}
