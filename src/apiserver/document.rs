//! A document that is made once and is the same on every master: discovery and OpenAPI.

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// A body with the tag by which clients ask whether it has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Media type, parameters included.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
    /// Hash of the body in hex, without quotes.
    pub etag: String,
}

impl Document {
    /// A JSON document; keys come in the order in which `value` serializes them.
    pub fn json(content_type: &'static str, value: &impl Serialize) -> Self {
        // Values made here always serialize; an empty body would show at once in any client.
        let body = serde_json::to_vec(value).unwrap_or_default();
        Self::new(content_type, body.into())
    }

    /// A document of any kind.
    pub fn new(content_type: &'static str, body: Bytes) -> Self {
        let etag = Sha256::digest(&body).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02X}"));
        Self { content_type, body, etag }
    }
}
