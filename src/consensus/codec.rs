//! Encoded records: a format byte, then bincode. For what this crate itself keeps on disk and sends to peers.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// Raised when an older release could not read what this one writes; peers of both run together during an upgrade.
pub const FORMAT: u8 = 1;

/// No record is larger; bounds what a damaged length can make us allocate.
const BYTES_MAX: usize = 64 << 20;

/// A format byte, then `value`.
pub fn encode<T: Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![FORMAT];
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .map_err(|error| Error::Record { what, reason: error.to_string() })?;
    Ok(bytes)
}

/// Reads what [`encode`] wrote.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Error> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => {
            bincode::serde::decode_from_slice(rest, bincode::config::standard().with_limit::<BYTES_MAX>())
                .map(|(value, _)| value)
                .map_err(|error| Error::Record { what, reason: error.to_string() })
        }
        Some((other, _)) => Err(Error::Record { what, reason: format!("format {other}, known up to {FORMAT}") }),
        None => Err(Error::Record { what, reason: "it is empty".into() }),
    }
}
