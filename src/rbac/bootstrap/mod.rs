//! The roles and bindings that every cluster starts with, read from `policy.txt`.
//!
//! Follows upstream's `plugin/pkg/auth/authorizer/rbac/bootstrappolicy`. How they are kept up to date is
//! [`crate::reconcile`].

use serde_json::{Value, json};

use crate::{Error, GROUP, PolicyKind, Rule};

/// Annotation of what a newer version may bring up to date; `false` keeps it as it is.
pub const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
/// Label of everything built in, with its one value.
pub const LABEL: (&str, &str) = ("kubernetes.io/bootstrapping", "rbac-defaults");
/// What labels start with that make an aggregated role gather a role.
pub const AGGREGATE_TO: &str = "rbac.authorization.k8s.io/aggregate-to-";

/// What a read-only rule allows.
const READ: [&str; 3] = ["get", "list", "watch"];
/// What a rule about writing allows.
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];
/// The namespace of controllers' service accounts.
const NAMESPACE_SYSTEM: &str = "kube-system";

/// All built-in objects as manifests, roles before bindings: without uid, times and resource version, and with defaults
/// filled in. Aggregated roles have no rules yet; whoever runs [`crate::aggregation`] fills them in.
///
/// # Errors
/// [`Error::Policy`] if the built-in table is damaged, which the tests of this crate rule out.
pub fn objects() -> Result<Vec<(PolicyKind, Value)>, Error> {
    parse(include_str!("policy.txt"))
}

fn parse(text: &str) -> Result<Vec<(PolicyKind, Value)>, Error> {
    let mut drafts: Vec<Draft> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let fault = |reason: &str| Error::Policy { line: index + 1, reason: reason.to_owned() };
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.is_empty() || words[0].starts_with('#') {
            continue;
        }
        if line.starts_with(' ') {
            let draft = drafts.last_mut().ok_or_else(|| fault("belongs to no object"))?;
            draft.add(&words).ok_or_else(|| fault("is neither rule nor subject of the object above it"))?;
        } else {
            drafts.push(Draft::begin(&words).ok_or_else(|| fault("begins no object"))?);
        }
    }
    let mut objects: Vec<(PolicyKind, Value)> = drafts.into_iter().flat_map(Draft::finish).collect();
    let rank = |kind: PolicyKind| PolicyKind::ALL.iter().position(|other| *other == kind);
    objects.sort_by_key(|(kind, _)| rank(*kind));
    Ok(objects)
}

/// An object that is being read.
#[derive(Debug)]
struct Draft {
    kind: PolicyKind,
    namespace: String,
    name: String,
    /// For bindings.
    role: String,
    aggregates: Option<String>,
    feeds: Option<String>,
    rules: Vec<Rule>,
    subjects: Vec<Value>,
    /// Whether a service account of the same name is bound to it.
    is_controller: bool,
}

impl Draft {
    fn begin(words: &[&str]) -> Option<Self> {
        let plain = |kind: PolicyKind, namespace: &str, name: &str, role: &str| Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            role: role.to_owned(),
            aggregates: None,
            feeds: None,
            rules: Vec::new(),
            subjects: Vec::new(),
            is_controller: false,
        };
        Some(match *words {
            ["clusterrole", name, ref options @ ..] => {
                let mut draft = plain(PolicyKind::ClusterRole, "", name, "");
                for option in options {
                    match option.split_once('=')? {
                        ("aggregates", to) => draft.aggregates = Some(to.to_owned()),
                        ("feeds", to) => draft.feeds = Some(to.to_owned()),
                        _ => return None,
                    }
                }
                draft
            }
            ["controller", name] => {
                let mut draft = plain(PolicyKind::ClusterRole, "", name, "");
                draft.is_controller = true;
                draft
            }
            ["role", namespace, name] => plain(PolicyKind::Role, namespace, name, ""),
            ["bind", name] => plain(PolicyKind::ClusterRoleBinding, "", name, name),
            ["bind", name, role] => plain(PolicyKind::ClusterRoleBinding, "", name, role),
            ["bindrole", namespace, name] => plain(PolicyKind::RoleBinding, namespace, name, name),
            ["bindrole", namespace, name, role] => plain(PolicyKind::RoleBinding, namespace, name, role),
            _ => return None,
        })
    }

    fn add(&mut self, words: &[&str]) -> Option<()> {
        if self.kind.is_binding() {
            self.subjects.push(match *words {
                ["group", name] => json!({"apiGroup": GROUP, "kind": "Group", "name": name}),
                ["user", name] => json!({"apiGroup": GROUP, "kind": "User", "name": name}),
                ["serviceaccount", namespace, name] => account(namespace, name),
                _ => return None,
            });
            return Some(());
        }
        let mut rule = match *words {
            [verbs, "url", paths] => {
                Rule { verbs: self::verbs(verbs), non_resource_urls: list(paths), ..Rule::default() }
            }
            [verbs, groups, resources, ref names @ ..] if names.len() <= 1 => Rule {
                verbs: self::verbs(verbs),
                api_groups: list(groups)
                    .into_iter()
                    .map(|group| if group == "core" { String::new() } else { group })
                    .collect(),
                resources: list(resources),
                resource_names: names.iter().flat_map(|names| list(names)).collect(),
                non_resource_urls: Vec::new(),
            },
            _ => return None,
        };
        // Sorted, as upstream has them: so a diff against another cluster is empty.
        for list in [
            &mut rule.verbs,
            &mut rule.api_groups,
            &mut rule.resources,
            &mut rule.resource_names,
            &mut rule.non_resource_urls,
        ] {
            list.sort();
        }
        self.rules.push(rule);
        Some(())
    }

    fn finish(self) -> Vec<(PolicyKind, Value)> {
        let name = if self.is_controller { format!("system:controller:{}", self.name) } else { self.name.clone() };
        if self.is_controller {
            let role = self.object(PolicyKind::ClusterRole, &name);
            let mut binding = self.object(PolicyKind::ClusterRoleBinding, &name);
            binding["roleRef"] = reference(PolicyKind::ClusterRole, &name);
            binding["subjects"] = json!([account(NAMESPACE_SYSTEM, &self.name)]);
            return vec![(PolicyKind::ClusterRole, role), (PolicyKind::ClusterRoleBinding, binding)];
        }
        vec![(self.kind, self.object(self.kind, &name))]
    }

    fn object(&self, kind: PolicyKind, name: &str) -> Value {
        let mut labels = json!({LABEL.0: LABEL.1});
        if let Some(to) = &self.feeds {
            labels[format!("{AGGREGATE_TO}{to}")] = json!("true");
        }
        let metadata = json!({"name": name, "labels": labels, "annotations": {AUTOUPDATE: "true"}});
        let mut object = json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind.name(), "metadata": metadata});
        if kind.is_namespaced() {
            object["metadata"]["namespace"] = json!(self.namespace);
        }
        if kind.is_binding() {
            let of = if kind.is_namespaced() { PolicyKind::Role } else { PolicyKind::ClusterRole };
            object["roleRef"] = reference(of, &self.role);
            if !self.subjects.is_empty() {
                object["subjects"] = json!(self.subjects);
            }
            return object;
        }
        if let Some(to) = &self.aggregates {
            let label = format!("{AGGREGATE_TO}{to}");
            object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
        } else {
            object["rules"] = self.rules.iter().map(Rule::to_value).collect();
        }
        object
    }
}

fn account(namespace: &str, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
}

fn reference(kind: PolicyKind, name: &str) -> Value {
    json!({"apiGroup": GROUP, "kind": kind.name(), "name": name})
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

fn verbs(text: &str) -> Vec<String> {
    let mut verbs: Vec<String> = Vec::new();
    for word in text.split(',') {
        match word {
            "read" => verbs.extend(READ.map(str::to_owned)),
            "write" => verbs.extend(WRITE.map(str::to_owned)),
            verb => verbs.push(verb.to_owned()),
        }
    }
    verbs
}

#[cfg(test)]
mod tests;
