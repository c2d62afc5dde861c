//! YAML bodies, read into JSON values.

use objects::Status;
use serde_json::Value;

/// Reads one YAML document, which JSON is too. Anchors are expanded within the parser's own budget, repeated keys refused.
///
/// # Errors
/// 400 when the text is no YAML, or holds what JSON cannot say.
pub fn parse(bytes: &[u8]) -> Result<Value, Status> {
    let text = std::str::from_utf8(bytes).map_err(|_| Status::bad_request("error decoding YAML: it is not UTF-8"))?;
    serde_saphyr::from_str(text).map_err(|error| {
        // The first line says what is wrong; the rest quotes the document, which may hold secrets.
        let reason = error.to_string();
        Status::bad_request(format!("error decoding YAML: {}", reason.lines().next().unwrap_or("it does not parse")))
    })
}
