//! `/version`: which Kubernetes this speaks, in a form that clients parse as semantic versions.

use serde_json::{Value, json};

/// The API level, with Barque's own version behind the plus sign.
pub const GIT_VERSION: &str = concat!("v1.37.0+barque.", env!("CARGO_PKG_VERSION"));

/// The body of `/version`. Major and minor are plain integers in text, as Helm and the conformance suite want them.
pub fn body() -> Value {
    json!({
        "major": "1", "minor": "37", "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc",
        "platform": format!("linux/{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }),
    })
}
