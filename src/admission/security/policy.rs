//! Which standard a namespace asks for, by its labels.
//!
//! As upstream's `k8s.io/pod-security-admission/api`: a level that does not parse is taken for the strictest where it is
//! enforced, and for none where it only warns.

use std::fmt;

use serde_json::Value;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How strict a standard is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Anything goes.
    #[default]
    Privileged,
    /// No known way to become more than the pod is.
    Baseline,
    /// As little as a program needs.
    Restricted,
}

/// A level as it stood in one version of Kubernetes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standard {
    /// The level.
    pub level: Level,
    /// The minor version; `None` for the latest.
    pub version: Option<u32>,
}

impl Standard {
    /// Whether rules that came with this minor version hold.
    pub fn since(self, minor: u32) -> bool {
        self.version.is_none_or(|version| version >= minor)
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            Some(minor) => write!(out, "{level}:v1.{minor}"),
            None => write!(out, "{level}:latest"),
        }
    }
}

/// A label that means nothing: its key, its value, and why.
pub type Fault = (String, String, &'static str);

/// What a namespace asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// Pods that break this are refused.
    pub enforce: Standard,
    /// What breaks this is told.
    pub warn: Standard,
}

impl Policy {
    /// The policy of labels, and those that mean nothing.
    pub fn of(labels: &[(Box<str>, Box<str>)]) -> (Self, Vec<Fault>) {
        Self::read(|key| labels.iter().find(|(known, _)| **known == *key).map(|(_, value)| value.to_string()))
    }

    /// The same, of labels in an object.
    pub fn of_value(labels: &Value) -> (Self, Vec<Fault>) {
        Self::read(|key| labels[key].as_str().map(str::to_owned))
    }

    fn read(label: impl Fn(&str) -> Option<String>) -> (Self, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut mode = |name: &str, otherwise: Level| {
            let mut standard = Standard::default();
            let (level, version) = (format!("{PREFIX}{name}"), format!("{PREFIX}{name}-version"));
            let (given_level, given_version) = (label(&level), label(&version));
            if let Some(value) = &given_level {
                standard.level = match value.as_str() {
                    "privileged" => Level::Privileged,
                    "baseline" => Level::Baseline,
                    "restricted" => Level::Restricted,
                    _ => {
                        faults.push((level, value.clone(), "must be one of privileged, baseline, restricted"));
                        otherwise
                    }
                };
            }
            if let Some(value) = &given_version {
                match minor(value) {
                    Some(version) => standard.version = version,
                    None => faults.push((version, value.clone(), "must be \"latest\" or \"v1.x\"")),
                }
            }
            (standard, given_level.is_some(), given_version.is_some())
        };
        let (enforce, ..) = mode("enforce", Level::Restricted);
        mode("audit", Level::Privileged);
        let (mut warn, levelled, versioned) = mode("warn", Level::Privileged);
        if !levelled {
            // What is enforced is also what is warned of, unless somebody says otherwise.
            warn.level = enforce.level;
            if !versioned {
                warn.version = enforce.version;
            }
        }
        (Self { enforce, warn }, faults)
    }
}

/// `latest` or `v1.x`; the outer `None` is neither.
fn minor(text: &str) -> Option<Option<u32>> {
    if text == "latest" {
        return Some(None);
    }
    let digits = text.strip_prefix("v1.")?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if plain { digits.parse().ok().map(Some) } else { None }
}
