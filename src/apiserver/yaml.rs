//! YAML bodies, read into JSON values.

use objects::Status;
use serde_json::Value;

/// How deep a document may nest. Its parser takes far more stack for a level than that of JSON, where more is allowed; what
/// people write by hand stays below a third of it.
const DEPTH_MAX: usize = 64;

/// Begins of what the parser's messages end with.
const ADVICE: [&str; 2] = [", set DuplicateKeyPolicy", "; use from_str_multiple"];

/// Reads one YAML document, which JSON is too. Anchors are expanded within the parser's own budget, repeated keys refused.
///
/// # Errors
/// 400 when the text is no YAML, nests deeper than 64 levels, or holds what JSON cannot say.
pub fn parse(bytes: &[u8]) -> Result<Value, Status> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Status::bad_request(format!("error decoding YAML: byte {} is not UTF-8", error.valid_up_to()))
    })?;
    let options = serde_saphyr::options! { budget: serde_saphyr::budget! { max_depth: DEPTH_MAX } };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        // The first line says what is wrong; the rest quotes the document, which may hold secrets.
        let reason = error.to_string();
        let reason = reason.strip_prefix("error: ").unwrap_or(&reason);
        // What the parser advises its callers to do is of no use to ours.
        let end = ADVICE.iter().filter_map(|advice| reason.find(advice)).min().unwrap_or(reason.len());
        let reason = reason.get(..end).unwrap_or(reason);
        Status::bad_request(format!("error decoding YAML: {}", reason.lines().next().unwrap_or("it does not parse")))
    })
}
