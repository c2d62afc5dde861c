//! The roles and bindings of a cluster, found by whom they are for.
//!
//! Upstream's authorizer walks all cluster role bindings and all bindings of the namespace for every request
//! (`pkg/registry/rbac/validation/rule.go`). This one looks up the bindings of the user and of each of their groups,
//! and visits only those; in the order of their names, cluster-wide ones first, so that the reason it gives does not
//! change from one request to the next.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use objects::Key;
use serde_json::Value;

use crate::{Attributes, Error, PolicyKind, RoleRef, Rule, Subject, User};

/// All roles and bindings. Fed one object at a time; reading never changes it.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// By namespace; the empty one is the cluster's, with cluster roles and their bindings.
    scopes: HashMap<Box<str>, Scope>,
}

/// Names of bindings by the name of a user or of a group.
type NamesBy = HashMap<Box<str>, BTreeSet<Box<str>>>;

#[derive(Debug, Clone, Default)]
struct Scope {
    roles: HashMap<Box<str>, Vec<Rule>>,
    bindings: HashMap<Box<str>, Binding>,
    /// Names of the bindings that mean a user, or the user behind a service account.
    of_user: NamesBy,
    /// Names of the bindings that mean a group.
    of_group: NamesBy,
}

#[derive(Debug, Clone)]
struct Binding {
    role: RoleRef,
    subjects: Vec<Subject>,
}

/// What RBAC says to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes, for this reason, as `RBAC: allowed by ClusterRoleBinding "x" of ClusterRole "y" to Group "z"`.
    Allow {
        /// For the audit and for access reviews.
        reason: String,
    },
    /// No rule allows it. That is no refusal: another authorizer may still say yes.
    NoOpinion {
        /// Roles that bindings of the user refer to and that could not be read; they might have allowed it.
        faults: Vec<Error>,
    },
}

impl Decision {
    /// Whether the answer is yes.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    /// What a client may read about it; empty when there is nothing to say.
    pub fn reason(&self) -> String {
        match self {
            Self::Allow { reason } => reason.clone(),
            Self::NoOpinion { faults } if faults.is_empty() => String::new(),
            Self::NoOpinion { faults } => format!("RBAC: {}", Error::list(faults)),
        }
    }
}

/// Rules that one binding gives to a user.
#[derive(Debug, Clone, Copy)]
pub struct Grant<'a> {
    /// The rules of the bound role.
    pub rules: &'a [Rule],
    binding: &'a Binding,
    name: &'a str,
    namespace: &'a str,
    subject: &'a Subject,
}

/// The binding, as the reason of an allowed request names it. A namespaced one is shown name first, as upstream does.
impl fmt::Display for Grant<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(out, "ClusterRoleBinding {:?}", self.name)?;
        } else {
            write!(out, "RoleBinding {:?}", format!("{}/{}", self.name, self.namespace))?;
        }
        write!(out, " of {} {:?} to {}", self.binding.role.kind, self.binding.role.name, self.subject)
    }
}

/// All rules of a user in a namespace, as far as they could be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved<'a> {
    /// The rules, binding by binding; the same one may come more than once.
    pub rules: Vec<&'a Rule>,
    /// Bindings whose role could not be read. The rules count all the same.
    pub faults: Vec<Error>,
}

impl Index {
    /// Inserts or replaces the object of a key; keys of other resources are passed over.
    ///
    /// # Errors
    /// [`Error::Malformed`]; the object then counts as absent, whatever was there before. So it does when its key has a
    /// namespace and its kind none, or the other way round: it could give more than it says.
    pub fn insert(&mut self, key: &Key, value: &Value) -> Result<(), Error> {
        let Some(kind) = PolicyKind::of_resource(&key.resource) else { return Ok(()) };
        self.remove(key);
        let (namespace, name): (&str, &str) = (&key.namespace, &key.name);
        if kind.is_namespaced() == namespace.is_empty() {
            let wanted = if kind.is_namespaced() { "the name of a namespace" } else { "empty" };
            return Err(Error::Malformed { path: "metadata.namespace".into(), wanted });
        }
        if kind.is_binding() {
            let subjects = match &value["subjects"] {
                Value::Null => Vec::new(),
                Value::Array(list) => list
                    .iter()
                    .enumerate()
                    .map(|(index, subject)| Subject::parse(&format!("subjects[{index}]"), subject, namespace))
                    .collect::<Result<_, _>>()?,
                _ => return Err(Error::Malformed { path: "subjects".into(), wanted: "a list" }),
            };
            let binding = Binding { role: RoleRef::parse(&value["roleRef"]), subjects };
            self.scopes.entry(namespace.into()).or_default().bind(name, binding);
        } else {
            let rules = Rule::parse_all(&value["rules"])?;
            self.scopes.entry(namespace.into()).or_default().roles.insert(name.into(), rules);
        }
        Ok(())
    }

    /// Takes out the object of a key, if it is there.
    pub fn remove(&mut self, key: &Key) {
        let Some(kind) = PolicyKind::of_resource(&key.resource) else { return };
        let (namespace, name): (&str, &str) = (&key.namespace, &key.name);
        if kind.is_namespaced() == namespace.is_empty() {
            return;
        }
        let Some(scope) = self.scopes.get_mut(namespace) else { return };
        if kind.is_binding() {
            scope.unbind(name);
        } else {
            scope.roles.remove(name);
        }
        if scope.roles.is_empty() && scope.bindings.is_empty() {
            self.scopes.remove(namespace);
        }
    }

    /// What RBAC says to a request. Costs a look at each binding of the user and of their groups, cluster-wide and in
    /// the request's namespace, and at no other.
    pub fn authorize(&self, user: &User<'_>, wanted: &Attributes<'_>) -> Decision {
        let mut faults = Vec::new();
        for grant in self.grants(user, wanted.namespace()) {
            match grant {
                Ok(grant) if grant.rules.iter().any(|rule| rule.allows(wanted)) => {
                    return Decision::Allow { reason: format!("RBAC: allowed by {grant}") };
                }
                Ok(_) => {}
                Err(fault) => faults.push(fault),
            }
        }
        Decision::NoOpinion { faults }
    }

    /// All rules of a user: cluster-wide ones, and those of a namespace unless it is empty.
    pub fn rules_for(&self, user: &User<'_>, namespace: &str) -> Resolved<'_> {
        let mut found = Resolved { rules: Vec::new(), faults: Vec::new() };
        for grant in self.grants(user, namespace) {
            match grant {
                Ok(grant) => found.rules.extend(grant.rules),
                Err(fault) => found.faults.push(fault),
            }
        }
        found
    }

    /// The rules of the role that a binding in `namespace` (empty for a cluster role binding) refers to.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a role that does not exist, [`Error::UnsupportedReference`] for what is no role.
    pub fn role_rules(&self, role: &RoleRef, namespace: &str) -> Result<&[Rule], Error> {
        let (kind, scope) = match role.kind.as_str() {
            "ClusterRole" => (PolicyKind::ClusterRole, Some("")),
            // A cluster role binding has no namespace in which there could be a role.
            "Role" => (PolicyKind::Role, Some(namespace).filter(|namespace| !namespace.is_empty())),
            other => return Err(Error::UnsupportedReference(other.to_owned())),
        };
        scope
            .and_then(|scope| self.scopes.get(scope))
            .and_then(|scope| scope.roles.get(role.name.as_str()))
            .map(Vec::as_slice)
            .ok_or_else(|| Error::NotFound { kind, name: role.name.clone() })
    }

    /// What bindings give to a user: cluster-wide ones, then those of a namespace unless it is empty.
    fn grants<'a, 'u>(
        &'a self,
        user: &'u User<'u>,
        namespace: &'u str,
    ) -> impl Iterator<Item = Result<Grant<'a>, Error>> + use<'a, 'u> {
        let scopes = ["", namespace].into_iter().take(if namespace.is_empty() { 1 } else { 2 });
        scopes.filter_map(move |namespace| self.scopes.get_key_value(namespace)).flat_map(move |(namespace, scope)| {
            scope.names(user).into_iter().filter_map(move |name| {
                let (binding, subject) = scope.given(user, name)?;
                let grant = |rules| Grant { rules, binding, name, namespace, subject };
                Some(self.role_rules(&binding.role, namespace).map(grant))
            })
        })
    }
}

impl Scope {
    fn bind(&mut self, name: &str, binding: Binding) {
        for subject in &binding.subjects {
            if let Some((by, whom)) = self.place(subject) {
                by.entry(whom.into()).or_default().insert(name.into());
            }
        }
        self.bindings.insert(name.into(), binding);
    }

    fn unbind(&mut self, name: &str) {
        let Some(binding) = self.bindings.remove(name) else { return };
        for subject in &binding.subjects {
            if let Some((by, whom)) = self.place(subject)
                && let Some(names) = by.get_mut(whom.as_str())
            {
                names.remove(name);
                if names.is_empty() {
                    by.remove(whom.as_str());
                }
            }
        }
    }

    /// Where the bindings of a subject are listed; nowhere for one that is nobody.
    fn place(&mut self, subject: &Subject) -> Option<(&mut NamesBy, String)> {
        match subject {
            Subject::Group(name) => Some((&mut self.of_group, name.clone())),
            other => other.user_name().map(|name| (&mut self.of_user, name)),
        }
    }

    /// The names of the bindings that mean a user, in order.
    fn names(&self, user: &User<'_>) -> BTreeSet<&str> {
        let groups = user.groups.iter().filter_map(|group| self.of_group.get(group.as_str()));
        self.of_user.get(user.name).into_iter().chain(groups).flatten().map(|name| &**name).collect()
    }

    fn given<'a>(&'a self, user: &User<'_>, name: &str) -> Option<(&'a Binding, &'a Subject)> {
        let binding = self.bindings.get(name)?;
        let subject = binding.subjects.iter().find(|subject| subject.is(user))?;
        Some((binding, subject))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rule::tests::request;

    fn key(kind: PolicyKind, namespace: &str, name: &str) -> Key {
        Key::new(kind.resource(), namespace, name)
    }

    /// Adds a role of one rule.
    fn role(index: &mut Index, namespace: &str, name: &str, resource: &str) {
        let kind = if namespace.is_empty() { PolicyKind::ClusterRole } else { PolicyKind::Role };
        let rules = json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}]});
        index.insert(&key(kind, namespace, name), &rules).unwrap();
    }

    /// Adds a binding; subjects are `User/NAME`, `Group/NAME` or `ServiceAccount/NAME`, perhaps with `/NAMESPACE`.
    fn bind(index: &mut Index, namespace: &str, name: &str, (role_kind, role): (&str, &str), subjects: &[&str]) {
        let kind = if namespace.is_empty() { PolicyKind::ClusterRoleBinding } else { PolicyKind::RoleBinding };
        let subjects: Vec<Value> = subjects
            .iter()
            .map(|subject| match subject.split('/').collect::<Vec<_>>().as_slice() {
                [kind, name] => json!({"kind": kind, "name": name}),
                [kind, name, namespace] => json!({"kind": kind, "name": name, "namespace": namespace}),
                _ => panic!("{subject} is no subject"),
            })
            .collect();
        let value =
            json!({"roleRef": {"apiGroup": crate::GROUP, "kind": role_kind, "name": role}, "subjects": subjects});
        index.insert(&key(kind, namespace, name), &value).unwrap();
    }

    fn answer(index: &Index, user: &str, groups: &[&str], wanted: &str) -> (bool, String) {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        let decision = index.authorize(&User { name: user, groups: &groups }, &request(wanted));
        (decision.is_allowed(), decision.reason())
    }

    #[test]
    fn bindings_give_their_role_where_they_are() {
        let mut index = Index::default();
        role(&mut index, "", "reader", "pods");
        role(&mut index, "n", "reader", "secrets");
        bind(&mut index, "", "everywhere", ("ClusterRole", "reader"), &["Group/x", "Group/ops"]);
        bind(&mut index, "n", "here", ("ClusterRole", "reader"), &["User/ann"]);
        bind(&mut index, "n", "own", ("Role", "reader"), &["ServiceAccount/robot", "ServiceAccount/robot/m"]);
        for (user, groups, wanted, reason) in [
            (
                "bob",
                &["ops"][..],
                "get - pods n p",
                r#"RBAC: allowed by ClusterRoleBinding "everywhere" of ClusterRole "reader" to Group "ops""#,
            ),
            (
                "bob",
                &["ops"],
                "get - pods - -",
                r#"RBAC: allowed by ClusterRoleBinding "everywhere" of ClusterRole "reader" to Group "ops""#,
            ),
            (
                "ann",
                &[],
                "get - pods n p",
                r#"RBAC: allowed by RoleBinding "here/n" of ClusterRole "reader" to User "ann""#,
            ),
            (
                "system:serviceaccount:n:robot",
                &[],
                "get - secrets n s",
                r#"RBAC: allowed by RoleBinding "own/n" of Role "reader" to ServiceAccount "robot/n""#,
            ),
            (
                "system:serviceaccount:m:robot",
                &[],
                "get - secrets n s",
                r#"RBAC: allowed by RoleBinding "own/n" of Role "reader" to ServiceAccount "robot/m""#,
            ),
        ] {
            assert_eq!(answer(&index, user, groups, wanted), (true, reason.to_owned()), "{user} {wanted}");
        }
        for (user, groups, wanted) in [
            ("ann", &[][..], "get - pods m p"),
            ("ann", &[], "get - pods - -"),
            ("ann", &[], "get - secrets n s"),
            ("ops", &["ann"], "get - pods n p"),
            ("system:serviceaccount:m:robot", &[], "get - secrets m s"),
            ("robot", &[], "get - secrets n s"),
            ("bob", &["ops"], "get /version"),
        ] {
            assert_eq!(answer(&index, user, groups, wanted), (false, String::new()), "{user} {wanted}");
        }
    }

    #[test]
    fn a_missing_role_is_said_and_stops_nothing() {
        let mut index = Index::default();
        bind(&mut index, "", "a", ("ClusterRole", "gone"), &["User/u"]);
        bind(&mut index, "n", "b", ("Role", "gone"), &["User/u"]);
        bind(&mut index, "n", "c", ("Pod", "p"), &["User/u"]);
        // The role of a namespace is none of the cluster's, nor is a cluster role one of no namespace.
        bind(&mut index, "", "d", ("Role", "reader"), &["User/u"]);
        role(&mut index, "", "reader", "pods");
        assert_eq!(
            answer(&index, "u", &[], "get - pods n p").1,
            "RBAC: [clusterrole.rbac.authorization.k8s.io \"gone\" not found, \
             role.rbac.authorization.k8s.io \"reader\" not found, role.rbac.authorization.k8s.io \"gone\" not found, \
             unsupported role reference kind: \"Pod\"]"
        );
        bind(&mut index, "n", "z", ("ClusterRole", "reader"), &["User/u"]);
        assert!(answer(&index, "u", &[], "get - pods n p").0);
        let user = User { name: "u", groups: &[] };
        let found = index.rules_for(&user, "n");
        assert_eq!((found.rules.len(), found.faults.len()), (1, 4));
        assert_eq!(index.rules_for(&user, "").faults.len(), 2);
    }

    #[test]
    fn objects_come_change_and_go() {
        let mut index = Index::default();
        let allowed = |index: &Index, user: &str| answer(index, user, &[], "get - pods n p").0;
        role(&mut index, "n", "r", "pods");
        bind(&mut index, "n", "b", ("Role", "r"), &["User/u", "User/u", "User/v"]);
        assert!(allowed(&index, "u") && allowed(&index, "v"));
        bind(&mut index, "n", "b", ("Role", "r"), &["User/v"]);
        assert!(!allowed(&index, "u") && allowed(&index, "v"));
        role(&mut index, "n", "r", "secrets");
        assert!(!allowed(&index, "v"));
        role(&mut index, "n", "r", "pods");
        // What cannot be read counts as absent: an old version must not stay in force.
        let here = key(PolicyKind::RoleBinding, "n", "b");
        assert!(index.insert(&here, &json!({"subjects": "v"})).is_err());
        assert!(!allowed(&index, "v"));
        bind(&mut index, "n", "b", ("Role", "r"), &["User/v"]);
        assert!(allowed(&index, "v"));
        index.remove(&key(PolicyKind::ClusterRoleBinding, "", "b"));
        index.remove(&Key::new("pods", "n", "b"));
        assert!(allowed(&index, "v"));
        index.remove(&here);
        index.remove(&here);
        assert!(!allowed(&index, "v"));
        index.remove(&key(PolicyKind::Role, "n", "r"));
        assert!(index.scopes.is_empty(), "nothing is left behind: {index:?}");
        index.insert(&Key::new("pods", "n", "p"), &json!({})).unwrap();
        // A binding that lost its namespace must not become one for the whole cluster.
        for (kind, namespace) in [(PolicyKind::RoleBinding, ""), (PolicyKind::ClusterRole, "n")] {
            assert!(index.insert(&key(kind, namespace, "b"), &json!({})).is_err());
            index.remove(&key(kind, namespace, "b"));
        }
        assert!(index.scopes.is_empty());
    }
}
