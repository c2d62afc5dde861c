//! Whom a binding gives a role to, and which role.

use std::fmt;

use serde_json::Value;

use crate::{Error, User};

/// What names of users behind service accounts start with.
const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// Somebody a role is given to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The user of that name.
    User(String),
    /// Everybody in the group of that name.
    Group(String),
    /// The service account of that name.
    ServiceAccount {
        /// Its namespace: the binding's own where the subject says none; empty when there is none either, and then the
        /// subject is nobody.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A kind that does not exist; it is nobody. Validation lets none in.
    Unknown,
}

impl Subject {
    /// Reads a subject of a binding in `namespace` (empty for a cluster role binding); `path` is where it stands.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is no object.
    pub fn parse(path: &str, value: &Value, namespace: &str) -> Result<Self, Error> {
        if !value.is_object() {
            return Err(Error::Malformed { path: path.into(), wanted: "an object" });
        }
        let text = |key: &str| value[key].as_str().unwrap_or("").to_owned();
        Ok(match value["kind"].as_str().unwrap_or("") {
            "User" => Self::User(text("name")),
            "Group" => Self::Group(text("name")),
            "ServiceAccount" => {
                let own = text("namespace");
                let namespace = if own.is_empty() { namespace.to_owned() } else { own };
                Self::ServiceAccount { namespace, name: text("name") }
            }
            _ => Self::Unknown,
        })
    }

    /// The user name that the subject stands for; none for groups, and for subjects that are nobody.
    pub(crate) fn user_name(&self) -> Option<String> {
        match self {
            Self::User(name) => Some(name.clone()),
            Self::ServiceAccount { namespace, name } if !namespace.is_empty() => {
                Some(format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"))
            }
            _ => None,
        }
    }

    /// Whether the user is meant. Follows `appliesToUser` of upstream's `pkg/registry/rbac/validation/rule.go`.
    pub fn is(&self, user: &User<'_>) -> bool {
        match self {
            Self::User(name) => name == user.name,
            Self::Group(name) => user.is_in(name),
            Self::ServiceAccount { namespace, name } => {
                !namespace.is_empty()
                    && user
                        .name
                        .strip_prefix(SERVICE_ACCOUNT_PREFIX)
                        .and_then(|rest| rest.strip_prefix(namespace.as_str()))
                        .and_then(|rest| rest.strip_prefix(':'))
                        == Some(name.as_str())
            }
            Self::Unknown => false,
        }
    }
}

/// As the reason of an allowed request names it. A service account is shown name first, as upstream does.
impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(out, "User {name:?}"),
            Self::Group(name) => write!(out, "Group {name:?}"),
            Self::ServiceAccount { namespace, name } => {
                write!(out, "ServiceAccount {:?}", format!("{name}/{namespace}"))
            }
            Self::Unknown => out.write_str("nobody"),
        }
    }
}

/// The role that a binding gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRef {
    /// API group; always that of this crate in objects that passed validation.
    pub group: String,
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Name of the role.
    pub name: String,
}

impl RoleRef {
    /// Reads a `roleRef`; absent fields are empty.
    pub fn parse(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap_or("").to_owned();
        Self { group: text("apiGroup"), kind: text("kind"), name: text("name") }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn subjects_are_whom_upstream_means() {
        let groups = ["g".to_owned(), "system:authenticated".to_owned()];
        for (subject, namespace, user, expected) in [
            (json!({"kind": "User", "name": "u"}), "", "u", true),
            (json!({"kind": "User", "name": "u"}), "", "U", false),
            (json!({"kind": "Group", "name": "g"}), "", "u", true),
            (json!({"kind": "Group", "name": "h"}), "", "u", false),
            (json!({"kind": "Group", "name": "u"}), "", "u", false),
            (json!({"kind": "User", "name": "g"}), "", "u", false),
            (json!({"kind": "ServiceAccount", "name": "a", "namespace": "n"}), "", "system:serviceaccount:n:a", true),
            (json!({"kind": "ServiceAccount", "name": "a", "namespace": "n"}), "m", "system:serviceaccount:m:a", false),
            (json!({"kind": "ServiceAccount", "name": "a"}), "n", "system:serviceaccount:n:a", true),
            (json!({"kind": "ServiceAccount", "name": "a"}), "", "system:serviceaccount::a", false),
            (json!({"kind": "ServiceAccount", "name": "a", "namespace": "n"}), "", "a", false),
            (json!({"kind": "User", "name": "system:serviceaccount:n:a"}), "", "system:serviceaccount:n:a", true),
            (json!({"kind": "Robot", "name": "u"}), "", "u", false),
        ] {
            let user = User { name: user, groups: &groups };
            let parsed = Subject::parse("subjects[0]", &subject, namespace).unwrap();
            assert_eq!(parsed.is(&user), expected, "{subject} in {namespace:?} / {}", user.name);
            // The index finds by name what `is` confirms.
            let by_name = parsed.user_name().as_deref() == Some(user.name);
            assert_eq!(by_name || matches!(&parsed, Subject::Group(name) if user.is_in(name)), expected, "{subject}");
        }
    }
}
