//! What can be wrong with roles, bindings, and what refers to them.

use objects::Status;

use crate::{GROUP, PolicyKind};

/// Why a role or binding cannot be used, or not be written. None of these goes away by trying again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value that is not of the kind's shape. Stored objects are; so this is a fault of whoever fed it.
    #[error("{path} is not {wanted}")]
    Malformed {
        /// Path of the field, as `rules[0].verbs`.
        path: String,
        /// What it should be, as `a list of strings`.
        wanted: &'static str,
    },
    /// A binding refers to a role that does not exist (yet).
    #[error("{}.{} {name:?} not found", .kind.singular(), GROUP)]
    NotFound {
        /// [`PolicyKind::Role`] or [`PolicyKind::ClusterRole`].
        kind: PolicyKind,
        /// Name of the missing role.
        name: String,
    },
    /// A binding refers to something that is no role.
    #[error("unsupported role reference kind: {0:?}")]
    UnsupportedReference(String),
    /// A selector of an aggregated role that selects nothing because it cannot be read.
    #[error("{0}")]
    Selector(String),
    /// The writer does not hold what the role would give. The text is upstream's, with one missing rule a line.
    #[error("{0}")]
    Escalation(String),
    /// The built-in policy has a line that makes no sense: a fault of this build.
    #[error("line {line} of the bootstrap policy: {reason}")]
    Policy {
        /// Line number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// Several errors as one text: equal ones once, more than one in brackets, as upstream's
    /// `apimachinery/pkg/util/errors/errors.go` shows an aggregate. Empty for none.
    pub fn list(errors: &[Error]) -> String {
        let mut texts: Vec<String> = Vec::new();
        for error in errors {
            let text = error.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        match texts.as_slice() {
            [] => String::new(),
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        }
    }

    /// What a client reads when a write meets the error: 404 for a missing role, 500 for the rest.
    pub fn status(&self) -> Status {
        match self {
            Self::NotFound { kind, name } => Status::not_found(GROUP, kind.plural(), name),
            other => Status::internal(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_errors_read_as_upstreams() {
        let missing = |kind, name: &str| Error::NotFound { kind, name: name.into() };
        let one = missing(PolicyKind::ClusterRole, "x");
        let other = missing(PolicyKind::Role, "y");
        assert_eq!(Error::list(&[]), "");
        assert_eq!(Error::list(std::slice::from_ref(&one)), "clusterrole.rbac.authorization.k8s.io \"x\" not found");
        assert_eq!(Error::list(&[one.clone(), one.clone()]), Error::list(std::slice::from_ref(&one)));
        assert_eq!(
            Error::list(&[one.clone(), other, one.clone()]),
            "[clusterrole.rbac.authorization.k8s.io \"x\" not found, role.rbac.authorization.k8s.io \"y\" not found]"
        );
        assert_eq!(one.status().message, "clusterroles.rbac.authorization.k8s.io \"x\" not found");
        assert_eq!(Error::UnsupportedReference("Pod".into()).status().code, 500);
    }
}
