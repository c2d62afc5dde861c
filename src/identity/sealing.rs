//! Sealing: what lies in the cluster's state for all masters, and for nobody else to read or to forge.

use crate::Error;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use std::fmt;

/// A key that every master derives from what only masters hold. `Debug` shows nothing of it.
pub struct Seal {
    key: LessSafeKey,
}

impl Seal {
    /// Derives the key for one purpose from a secret; another purpose or cluster yields an unrelated key.
    ///
    /// # Errors
    /// [`Error::Seal`] when the cipher cannot be set up.
    pub(crate) fn derive(secret: &[u8], cluster_id: &str, purpose: &str) -> Result<Self, Error> {
        let derived = Salt::new(HKDF_SHA256, cluster_id.as_bytes()).extract(secret);
        let info = [purpose.as_bytes()];
        let okm = derived.expand(&info, &AES_256_GCM).map_err(|_| Error::Seal("no key can be derived"))?;
        Ok(Self { key: LessSafeKey::new(UnboundKey::from(okm)) })
    }

    /// Seals bytes; they open only under the same `context`, which says where they lie, so that sealed texts cannot be
    /// swapped.
    ///
    /// # Errors
    /// [`Error::Seal`] when the bytes are too many for the cipher.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
        // A nonce is drawn, not counted: no two masters share a counter, and few texts are ever sealed.
        let nonce = base::random::bytes::<NONCE_LEN>();
        let mut text = plain.to_vec();
        let aad = Aad::from(context.as_bytes());
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)
            .map_err(|_| Error::Seal("the text is too long"))?;
        Ok([nonce.as_slice(), &text].concat())
    }

    /// Opens what [`seal`](Self::seal) made under the same context.
    ///
    /// # Errors
    /// [`Error::Seal`] when it was altered, or sealed by another cluster or for another place.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let refused = || Error::Seal("it was altered, or sealed elsewhere");
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(refused)?;
        let mut text = text.to_vec();
        let aad = Aad::from(context.as_bytes());
        let plain =
            self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut text).map_err(|_| refused())?;
        Ok(plain.to_vec())
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Seal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_altered_or_from_elsewhere_does_not_open() {
        let seal = Seal::derive(b"secret", "c1", "p").unwrap();
        let sealed = seal.seal("here", b"hunter2").unwrap();
        assert_eq!(seal.open("here", &sealed).unwrap(), b"hunter2");
        assert!(!sealed.windows(7).any(|part| part == b"hunter2"));
        assert_ne!(seal.seal("here", b"hunter2").unwrap(), sealed, "no nonce comes twice");
        assert!(seal.open("there", &sealed).is_err());
        for (secret, cluster, purpose) in [("other", "c1", "p"), ("secret", "c2", "p"), ("secret", "c1", "q")] {
            let other = Seal::derive(secret.as_bytes(), cluster, purpose).unwrap();
            assert!(other.open("here", &sealed).is_err(), "{secret} {cluster} {purpose}");
        }
        for position in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[position] ^= 1;
            assert!(seal.open("here", &altered).is_err(), "byte {position}");
            assert!(seal.open("here", &sealed[..position]).is_err(), "cut to {position}");
        }
        assert_eq!(format!("{seal:?}"), "Seal");
    }
}
