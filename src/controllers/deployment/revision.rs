//! Revisions of a template: their hash, their numbers, and the annotations in which the history lies.
//!
//! Follows upstream's `controller/deployment/util/deployment_util.go`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::model::{HASH_LABEL, Set, Wanted};

/// Number of a revision, on a Deployment and on its sets.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Numbers that a set had before it was rolled back to.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// What the Deployment asked for when it last sized the set; differs while a scaling is under way.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// Pods that all sets together might have at that time.
pub(super) const MOST: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations that sets do not take over from their Deployment.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MOST,
    "deprecated.deployment.rollback.to",
];
/// Length in bytes of the list of former numbers; the oldest are cut off.
const HISTORY_MAX: usize = 2000;
/// Letters of a hash in a name, which spell nothing (`util/rand`, `SafeEncodeString`).
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The hash of a template, as the end of a set's name. `collisions` draws another one when a name is taken.
pub(super) fn hash(template: &Value, collisions: Option<i64>) -> String {
    let mut hash = 0x811c_9dc5_u32;
    let mut mix =
        |bytes: &[u8]| bytes.iter().for_each(|byte| hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    // Canonical objects have sorted keys, so equal templates have equal text.
    mix(template.to_string().as_bytes());
    if let Some(collisions) = collisions {
        mix(&collisions.to_le_bytes());
    }
    hash.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}

/// Whether two templates are the same but for the hash label (`EqualIgnoreHash`).
pub(super) fn same_template(left: &Value, right: &Value) -> bool {
    without_hash(left) == without_hash(right)
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove(HASH_LABEL);
    }
    template
}

/// The set of the present template: the oldest, should there be several (`FindNewReplicaSet`).
pub(super) fn find_new<'a>(wanted: &Wanted, sets: &'a [Set]) -> Option<&'a Set> {
    let same = sets.iter().filter(|set| same_template(&set.template, &wanted.template));
    same.min_by(|left, right| left.created.cmp(&right.created))
}

/// The number that the present template gets, above all old ones.
pub(super) fn next_number<'a>(old: impl Iterator<Item = &'a Set>) -> i64 {
    old.map(Set::revision).max().unwrap_or(0) + 1
}

/// The annotations of the set of the present template, brought up to date (`SetNewReplicaSetAnnotations`).
pub(super) fn annotations(wanted: &Wanted, known: &BTreeMap<String, String>, number: i64) -> BTreeMap<String, String> {
    let mut annotations = known.clone();
    for (key, value) in wanted.annotations.iter().filter(|(key, _)| !OWN.contains(&key.as_str())) {
        annotations.insert(key.clone(), value.clone());
    }
    let old = annotations.get(REVISION).cloned();
    if old.as_ref().and_then(|text| text.parse::<i64>().ok()).unwrap_or(0) < number {
        annotations.insert(REVISION.into(), number.to_string());
        if let Some(old) = old {
            let history = annotations.get(REVISION_HISTORY).map(String::as_str).unwrap_or("");
            let mut numbers: Vec<&str> = history.split(',').filter(|number| !number.is_empty()).collect();
            numbers.push(&old);
            while numbers.len() > 1 && numbers.iter().map(|number| number.len() + 1).sum::<usize>() > HISTORY_MAX {
                numbers.remove(0);
            }
            let history = numbers.join(",");
            annotations.insert(REVISION_HISTORY.into(), history);
        }
    }
    annotations
}

/// What a sizing leaves behind on a set, so that a later change of the Deployment's size can be told and shared fairly.
pub(super) fn sized(wanted: &Wanted, annotations: &mut BTreeMap<String, String>) {
    annotations.insert(DESIRED.into(), wanted.replicas.to_string());
    annotations.insert(MOST.into(), wanted.most().to_string());
}

/// The new set's object, without the reference to its owner.
pub(super) fn new_set(wanted: &Wanted, hash: &str, number: i64, replicas: i64) -> Value {
    let mut template = wanted.template.clone();
    template["metadata"]["labels"][HASH_LABEL] = json!(hash);
    let mut selector = wanted.selector.clone();
    selector["matchLabels"][HASH_LABEL] = json!(hash);
    let mut annotations = annotations(wanted, &BTreeMap::new(), number);
    sized(wanted, &mut annotations);
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{}-{hash}", wanted.name),
            "namespace": wanted.namespace,
            "labels": template["metadata"]["labels"],
            "annotations": annotations,
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": wanted.min_ready_seconds,
            "selector": selector,
            "template": template,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_stable_and_spell_nothing() {
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {}});
        let plain = hash(&template, None);
        assert_eq!(plain, hash(&template, None));
        assert_ne!(plain, hash(&template, Some(1)));
        assert_ne!(plain, hash(&json!({}), None));
        assert!(plain.bytes().all(|letter| ALPHABET.contains(&letter)) && plain.len() <= 10);
        let labelled = json!({"metadata": {"labels": {"a": "b", HASH_LABEL: "x"}}, "spec": {}});
        assert!(same_template(&template, &labelled));
        assert!(!same_template(&template, &json!({"metadata": {"labels": {"a": "c"}}, "spec": {}})));
    }

    #[test]
    fn a_set_takes_over_annotations_and_remembers_its_numbers() {
        let pairs =
            |list: &[(&str, &str)]| list.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let wanted = Wanted {
            annotations: pairs(&[("kubernetes.io/change-cause", "why"), (REVISION, "7"), (OWN[0], "{}")]),
            ..Wanted::default()
        };
        let fresh = annotations(&wanted, &BTreeMap::new(), 2);
        assert_eq!(fresh, pairs(&[("kubernetes.io/change-cause", "why"), (REVISION, "2")]));
        let rolled_back = annotations(&wanted, &fresh, 5);
        assert_eq!((&*rolled_back[REVISION], &*rolled_back[REVISION_HISTORY]), ("5", "2"));
        let again = annotations(&wanted, &rolled_back, 8);
        assert_eq!((&*again[REVISION], &*again[REVISION_HISTORY]), ("8", "2,5"));
        assert_eq!(annotations(&wanted, &again, 3), again);
    }
}
