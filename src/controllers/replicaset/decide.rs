//! How many pods to make, which to delete, and what the status says: pure.
//!
//! Follows upstream's `controller/replicaset/replica_set.go`, `replica_set_utils.go` and, for the order of deletion,
//! `controller/controller_utils.go` (`ActivePodsWithRanks`).

use std::cmp::Reverse;
use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::conditions;
use crate::pods::{Member, Phase};

/// Pods that one step makes or deletes at most; upstream's `BurstReplicas`.
pub(super) const BURST: usize = 500;

/// What is to be done about the number of pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scale {
    /// Nothing.
    Keep,
    /// Make this many.
    Create(usize),
    /// Delete the pods of these names.
    Delete(Vec<String>),
}

/// Brings the active pods among `members` to `desired`. `crowd` is the number of active pods of the set and its siblings by
/// node: pods that share their node with many go first.
pub(super) fn scale(desired: i64, members: &[Member], crowd: &HashMap<String, usize>) -> Scale {
    let mut active: Vec<&Member> = members.iter().filter(|member| member.is_active()).collect();
    let desired = usize::try_from(desired).unwrap_or(0);
    if active.len() < desired {
        return Scale::Create((desired - active.len()).min(BURST));
    }
    let surplus = (active.len() - desired).min(BURST);
    if surplus == 0 {
        return Scale::Keep;
    }
    active.sort_by_cached_key(|member| rank(member, crowd));
    Scale::Delete(active[..surplus].iter().map(|member| member.name.clone()).collect())
}

type Rank =
    (bool, Phase, bool, i32, Reverse<usize>, Reverse<Option<Timestamp>>, Reverse<i32>, Reverse<Timestamp>, String);

/// The smallest goes first: unassigned, pending, not ready, cheap, crowded, ready for a short time, often restarted, young.
fn rank(member: &Member, crowd: &HashMap<String, usize>) -> Rank {
    (
        !member.node.is_empty(),
        member.phase,
        member.ready_since.is_some(),
        member.deletion_cost,
        Reverse(crowd.get(&member.node).copied().unwrap_or(0)),
        Reverse(member.ready_since),
        Reverse(member.restarts),
        Reverse(member.created),
        member.uid.clone(),
    )
}

/// What the status is computed from, besides the pods.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spec<'a> {
    pub generation: i64,
    pub min_ready_seconds: i64,
    /// Labels of the template, which a fully labelled pod has.
    pub template_labels: &'a Value,
    /// Why pods could not be made, if so.
    pub failure: Option<&'a str>,
}

/// The status after `old`, and the seconds until a ready pod becomes available, if one is about to.
pub(super) fn status(old: &Value, spec: Spec<'_>, members: &[(Member, Value)], now: Timestamp) -> (Value, Option<i64>) {
    let active = || members.iter().filter(|(member, _)| member.is_active());
    let waits = || active().filter_map(|(member, _)| member.available_in(spec.min_ready_seconds, now));
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let terminating = members.iter().filter(|(member, _)| member.terminating && !member.is_over()).count();
    let labelled = |labels: &Value| {
        spec.template_labels.as_object().into_iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
    };
    let mut status = json!({
        "replicas": active().count(),
        "fullyLabeledReplicas": active().filter(|(_, labels)| labelled(labels)).count(),
        "readyReplicas": waits().count(),
        "availableReplicas": waits().filter(|wait| *wait == 0).count(),
        "terminatingReplicas": count(terminating),
        "observedGeneration": spec.generation,
    });
    if let Some(conditions) = old.get("conditions") {
        status["conditions"] = conditions.clone();
    }
    match spec.failure {
        Some(message) => {
            // The condition keeps the first time of a failure that goes on.
            if conditions::find(&status, "ReplicaFailure").is_none() {
                let failure =
                    json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message});
                conditions::set(&mut status, failure, now);
            }
        }
        None => conditions::remove(&mut status, "ReplicaFailure"),
    }
    (status, waits().filter(|wait| *wait > 0).min())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000_000 + second).unwrap()
    }

    fn member(name: &str) -> Member {
        Member {
            name: name.into(),
            uid: format!("uid-{name}"),
            node: "n1".into(),
            phase: Phase::Running,
            ready_since: Some(at(0)),
            terminating: false,
            created: at(0),
            restarts: 0,
            deletion_cost: 0,
        }
    }

    #[test]
    fn only_living_pods_count() {
        let members = [
            member("a"),
            Member { terminating: true, ..member("b") },
            Member { phase: Phase::Failed, ..member("c") },
            Member { phase: Phase::Succeeded, ..member("d") },
            Member { phase: Phase::Pending, node: String::new(), ready_since: None, ..member("e") },
        ];
        for (desired, expected) in [
            (2, Scale::Keep),
            (5, Scale::Create(3)),
            (1000, Scale::Create(BURST)),
            (1, Scale::Delete(vec!["e".into()])),
            (0, Scale::Delete(vec!["e".into(), "a".into()])),
            (-1, Scale::Delete(vec!["e".into(), "a".into()])),
        ] {
            assert_eq!(scale(desired, &members, &HashMap::new()), expected, "{desired}");
        }
    }

    #[test]
    fn the_least_useful_pod_goes_first() {
        let crowd = HashMap::from([("n1".to_owned(), 1), ("n2".to_owned(), 5)]);
        let order = [
            Member { node: String::new(), phase: Phase::Pending, ready_since: None, ..member("unassigned") },
            Member { phase: Phase::Pending, ready_since: None, ..member("pending") },
            Member { phase: Phase::Unknown, ready_since: None, ..member("unknown") },
            Member { ready_since: None, ..member("unready") },
            Member { deletion_cost: -1, ..member("cheap") },
            Member { node: "n2".into(), ..member("crowded") },
            Member { ready_since: Some(at(50)), ..member("fresh") },
            Member { restarts: 3, ..member("restarted") },
            Member { created: at(10), ..member("young") },
            member("zz-last"),
        ];
        let names: Vec<String> = order.iter().map(|member| member.name.clone()).collect();
        let mut shuffled = order.to_vec();
        shuffled.reverse();
        assert_eq!(scale(0, &shuffled, &crowd), Scale::Delete(names));
    }

    #[test]
    fn the_status_counts_and_says_when_to_look_again() {
        let labels = json!({"app": "web"});
        let members = [
            (member("a"), labels.clone()),
            (Member { ready_since: Some(at(95)), ..member("b") }, json!({"app": "web", "more": "x"})),
            (Member { ready_since: None, ..member("c") }, json!({})),
            (Member { terminating: true, ..member("d") }, labels.clone()),
        ];
        let spec = Spec { generation: 3, min_ready_seconds: 10, template_labels: &labels, failure: None };
        let (found, wait) = status(&json!({}), spec, &members, at(100));
        assert_eq!(
            found,
            json!({"replicas": 3, "fullyLabeledReplicas": 2, "readyReplicas": 2, "availableReplicas": 1,
                "terminatingReplicas": 1, "observedGeneration": 3})
        );
        assert_eq!(wait, Some(5));
        let failing = Spec { failure: Some("no"), ..spec };
        let (failed, _) = status(&found, failing, &members, at(100));
        assert_eq!(conditions::text(conditions::find(&failed, "ReplicaFailure"), "message"), "no");
        let (again, _) = status(&failed, failing, &members, at(200));
        assert_eq!(again["conditions"], failed["conditions"]);
        assert_eq!(status(&failed, spec, &members, at(200)).0["conditions"], json!([]));
    }
}
