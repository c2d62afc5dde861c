//! Label selectors and field selectors: which objects a list, a watch or a controller means.
//!
//! The grammar and the texts follow upstream's `apimachinery/pkg/labels` and `pkg/fields`. Matching reads faces and keys
//! only, never an object's bytes.

mod fields;
mod labels;

pub use fields::Fields;
pub use labels::Labels;

/// Length of a selector in bytes: long enough for any client, short enough to parse at once.
const TEXT_MAX: usize = 64 * 1024;
/// How many requirements a selector may have.
const REQUIREMENTS_MAX: usize = 1024;
