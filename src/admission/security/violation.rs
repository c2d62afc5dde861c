//! One way in which a pod breaks a standard, and the words for it.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use crate::{list, text};

/// A check that a pod does not pass.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    /// Name of the check; violations are told in this order.
    pub check: &'static str,
    /// What is wrong, in a word.
    pub reason: String,
    /// Where.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() {
            out.write_str(&self.reason)
        } else {
            write!(out, "{} ({})", self.reason, self.detail)
        }
    }
}

/// All containers of a pod, of every sort: none is a way around a check.
pub fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"].iter().flat_map(|field| list(&pod["spec"][*field]))
}

/// The name of a container.
pub fn name(container: &Value) -> String {
    text(&container["name"]).to_owned()
}

/// Several names in quotes.
pub fn quoted<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("{:?}", name.as_ref())).collect();
    names.join(", ")
}

/// The word for one, or for several.
pub fn plural(one: &str, many: &str, count: usize) -> String {
    if count == 1 { one.to_owned() } else { many.to_owned() }
}

/// `container "a"`, `containers "a", "b"`.
pub fn named(names: &[String]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

/// Who sets a field of the security context to something bad: the pod, its containers, and to what.
#[derive(Default)]
pub struct Setters {
    pod: bool,
    containers: Vec<String>,
    /// The bad values.
    pub values: BTreeSet<String>,
}

impl Setters {
    /// Looks at the security contexts of a pod and its containers; `bad` says what is wrong with one, if anything.
    pub fn find(pod: &Value, bad: impl Fn(&Value) -> Vec<String>) -> Self {
        let mut found = Self::default();
        let own = bad(&pod["spec"]["securityContext"]);
        found.pod = !own.is_empty();
        found.values.extend(own);
        for container in containers(pod) {
            let values = bad(&container["securityContext"]);
            if !values.is_empty() {
                found.containers.push(name(container));
                found.values.extend(values);
            }
        }
        found
    }

    /// Whether nobody does.
    pub fn is_empty(&self) -> bool {
        !self.pod && self.containers.is_empty()
    }

    /// `pod and containers "a", "b"`.
    pub fn who(&self) -> String {
        let mut parts = Vec::new();
        if self.pod {
            parts.push("pod".to_owned());
        }
        if !self.containers.is_empty() {
            parts.push(named(&self.containers));
        }
        parts.join(" and ")
    }
}
