//! A pod's rules about other pods, parsed: affinity, anti-affinity and spreading.

use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, TopologySpreadConstraint};
use objects::selector::Labels;

use crate::facts::{LabelPairs, PodFacts, Snapshot, read_selector};

/// Pods that a rule is about, and the part of the cluster it counts them in.
#[derive(Debug, Clone)]
pub(crate) struct Term {
    /// Which pods.
    selector: Labels,
    /// Namespaces by name.
    namespaces: Vec<String>,
    /// Namespaces by label.
    namespace_selector: Option<Labels>,
    /// Label of nodes whose value names the part.
    pub topology_key: String,
    /// How much it counts; 0 for a required term.
    pub weight: i64,
}

/// A rule about evenness.
#[derive(Debug, Clone)]
pub(crate) struct Spread {
    selector: Labels,
    /// Label of nodes whose value names the part.
    pub topology_key: String,
    /// By how much one part may exceed the emptiest.
    pub skew_max: i64,
    /// With fewer parts than this, the emptiest counts as empty.
    pub domains_min: i64,
    /// Whether the rule forbids (or only prefers).
    pub required: bool,
}

/// All rules of a pod about other pods.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terms {
    pub affinity: Vec<Term>,
    pub anti_affinity: Vec<Term>,
    pub preferred: Vec<Term>,
    pub spread: Vec<Spread>,
}

impl Terms {
    pub fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else {
            return Self::default();
        };
        let own = pod.metadata.namespace.as_deref().unwrap_or("");
        let mut terms = Self::default();
        if let Some(affinity) = spec.affinity.as_ref().and_then(|affinity| affinity.pod_affinity.as_ref()) {
            let required = affinity.required_during_scheduling_ignored_during_execution.iter().flatten();
            terms.affinity.extend(required.map(|term| Term::of(term, own, 0)));
            let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
            terms.preferred.extend(preferred.map(|term| Term::of(&term.pod_affinity_term, own, term.weight.into())));
        }
        if let Some(affinity) = spec.affinity.as_ref().and_then(|affinity| affinity.pod_anti_affinity.as_ref()) {
            let required = affinity.required_during_scheduling_ignored_during_execution.iter().flatten();
            terms.anti_affinity.extend(required.map(|term| Term::of(term, own, 0)));
            let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
            terms
                .preferred
                .extend(preferred.map(|term| Term::of(&term.pod_affinity_term, own, -i64::from(term.weight))));
        }
        terms.spread.extend(spec.topology_spread_constraints.iter().flatten().map(Spread::of));
        terms
    }
}

impl Term {
    fn of(term: &PodAffinityTerm, own: &str, weight: i64) -> Self {
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        let namespace_selector = term.namespace_selector.as_ref().map(|selector| read_selector(Some(selector)));
        if namespaces.is_empty() && namespace_selector.is_none() {
            namespaces.push(own.to_owned());
        }
        Self {
            selector: read_selector(term.label_selector.as_ref()),
            namespaces,
            namespace_selector,
            topology_key: term.topology_key.clone(),
            weight,
        }
    }

    /// Whether the rule is about `pod`.
    pub fn matches(&self, pod: &PodFacts, snapshot: &Snapshot) -> bool {
        let nothing = LabelPairs::new();
        let namespace = || snapshot.namespaces.get(&pod.namespace).unwrap_or(&nothing);
        let there = self.namespaces.contains(&pod.namespace)
            || self.namespace_selector.as_ref().is_some_and(|selector| selector.matches(namespace()));
        there && self.selector.matches(&pod.labels)
    }
}

impl Spread {
    fn of(constraint: &TopologySpreadConstraint) -> Self {
        Self {
            selector: read_selector(constraint.label_selector.as_ref()),
            topology_key: constraint.topology_key.clone(),
            skew_max: constraint.max_skew.into(),
            domains_min: constraint.min_domains.unwrap_or(1).into(),
            required: constraint.when_unsatisfiable == "DoNotSchedule",
        }
    }

    /// Whether a pod of `namespace` counts.
    pub fn matches(&self, pod: &PodFacts, namespace: &str) -> bool {
        pod.namespace == namespace && self.selector.matches(&pod.labels)
    }
}
