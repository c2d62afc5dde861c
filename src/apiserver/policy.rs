//! The roles and bindings of this master's copy of the state, as an index that follows its history.
//!
//! Nothing runs for it: whoever asks brings the index up to the state first. So a role whose write this master has answered
//! holds for the next request to it, and a request costs four looks into the history, never a scan of the state.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use objects::Resource;
use rbac::{Index, PolicyKind};
use state::{Event, EventKind, Revision, State, Stored};
use store::Store;
use tracing::warn;

/// The index. It holds what the state holds of the four kinds, and nothing else.
pub struct Policy {
    resources: [Resource; 4],
    index: RwLock<Arc<Index>>,
    /// The revision up to which the index is right. Set under the lock; only ever grows.
    at: AtomicU64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { resources: PolicyKind::ALL.map(PolicyKind::resource), index: RwLock::default(), at: AtomicU64::new(0) }
    }
}

impl Policy {
    /// The index as of this master's newest state, or a newer one.
    pub fn index(&self, store: &Store) -> Arc<Index> {
        let state = store.current();
        {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            let at = Revision(self.at.load(Ordering::Acquire));
            if at >= state.revision() || self.changes(&state, at).is_some_and(|changes| changes.is_empty()) {
                // Nobody else changes the index while this lock is held: what is true at `at` is true at the state.
                self.at.fetch_max(state.revision().0, Ordering::AcqRel);
                return Arc::clone(&index);
            }
        }
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let at = Revision(self.at.load(Ordering::Acquire));
        if at < state.revision() {
            match self.changes(&state, at) {
                Some(changes) => {
                    let index = Arc::make_mut(&mut index);
                    changes.iter().for_each(|event| follow(index, event));
                }
                // History does not reach back that far: this master was given a snapshot, or nobody asked for long.
                None => *index = Arc::new(self.read(&state)),
            }
            self.at.store(state.revision().0, Ordering::Release);
        }
        Arc::clone(&index)
    }

    /// What changed of the four kinds after a revision, each object's changes in order; `None` when that is forgotten.
    fn changes<'a>(&self, state: &'a State, after: Revision) -> Option<Vec<&'a Arc<Event>>> {
        let mut changes = Vec::new();
        for resource in &self.resources {
            changes.extend(state.events_after(resource, after)?);
        }
        Some(changes)
    }

    fn read(&self, state: &State) -> Index {
        let mut index = Index::default();
        for stored in self.resources.iter().flat_map(|resource| state.list(resource)) {
            insert(&mut index, stored);
        }
        index
    }
}

fn follow(index: &mut Index, event: &Event) {
    match event.kind {
        EventKind::Created | EventKind::Updated => insert(index, &event.current),
        EventKind::Deleted => index.remove(event.key()),
    }
}

/// An object that cannot be read gives nothing to anybody; what was there before it gives nothing either.
fn insert(index: &mut Index, stored: &Stored) {
    let inserted = match stored.to_value() {
        Ok(value) => index.insert(&stored.key, &value).map_err(|error| error.to_string()),
        Err(error) => {
            index.remove(&stored.key);
            Err(error.to_string())
        }
    };
    if let Err(reason) = inserted {
        warn!(key = %stored.key, reason, "a role or binding cannot be read and counts as absent");
    }
}

#[cfg(test)]
mod tests {
    use objects::{Key, Object, kind};
    use rbac::{Attributes, Target, User};
    use serde_json::{Value, json};
    use state::{Change, Command};
    use store::testing::Direct;

    use super::*;

    fn put(direct: &Direct, kind: PolicyKind, name: &str, mut value: Value) {
        value["metadata"] = json!({"name": name, "uid": name});
        let served = kind::by_kind("rbac.authorization.k8s.io/v1", kind.name()).unwrap();
        let object = Arc::new(Object::new(served, &value).unwrap());
        direct.write(vec![Change::Put { key: Key::new(kind.resource(), "", name), object }]);
    }

    fn may(index: &Index, verb: &str) -> bool {
        let pods = Target::Resource { group: "", resource: "pods", subresource: "", namespace: "", name: "" };
        index.authorize(&User { name: "u", groups: &[] }, &Attributes { verb, target: pods }).is_allowed()
    }

    fn role(verb: &str) -> Value {
        json!({"rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]})
    }

    #[test]
    fn the_index_is_never_behind_the_state() {
        let (store, direct) = Direct::start();
        let policy = Policy::default();
        assert!(!may(&policy.index(&store), "get"));
        put(&direct, PolicyKind::ClusterRole, "r", role("get"));
        let before = policy.index(&store);
        let binding =
            json!({"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]});
        put(&direct, PolicyKind::ClusterRoleBinding, "b", binding);
        assert!(may(&policy.index(&store), "get"));
        assert!(!may(&before, "get"), "what was handed out does not change any more");
        put(&direct, PolicyKind::ClusterRole, "r", role("list"));
        let index = policy.index(&store);
        assert!(!may(&index, "get") && may(&index, "list"));
        direct.write(vec![Change::Delete { key: Key::new(PolicyKind::ClusterRoleBinding.resource(), "", "b") }]);
        assert!(!may(&policy.index(&store), "list"));
    }

    #[test]
    fn the_index_is_read_anew_when_history_is_forgotten() {
        let (store, direct) = Direct::start();
        let policy = Policy::default();
        let binding =
            json!({"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]});
        put(&direct, PolicyKind::ClusterRoleBinding, "b", binding);
        put(&direct, PolicyKind::ClusterRole, "gone", role("get"));
        assert!(!may(&policy.index(&store), "get"));
        put(&direct, PolicyKind::ClusterRole, "r", role("get"));
        direct.write(vec![Change::Delete { key: Key::new(PolicyKind::ClusterRole.resource(), "", "gone") }]);
        let newest = store.current().revision();
        direct.apply(&Command::Compact { until: newest });
        assert_eq!(store.current().compacted(), newest);
        assert!(may(&policy.index(&store), "get"));
    }

    #[test]
    fn what_cannot_be_read_gives_nothing() {
        let (store, direct) = Direct::start();
        let policy = Policy::default();
        let binding =
            json!({"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]});
        put(&direct, PolicyKind::ClusterRoleBinding, "b", binding);
        put(&direct, PolicyKind::ClusterRole, "r", role("get"));
        assert!(may(&policy.index(&store), "get"));
        put(&direct, PolicyKind::ClusterRole, "r", json!({"rules": "all"}));
        assert!(!may(&policy.index(&store), "get"));
    }
}
