//! Reading a pod: the few questions that several parts ask of one, answered in one place.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec};
use runtime::PodRef;
use std::collections::BTreeMap;

static NO_SPEC: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);

/// The pod's spec; an empty one where it has none.
pub(crate) fn spec(pod: &Pod) -> &PodSpec {
    pod.spec.as_ref().unwrap_or(&NO_SPEC)
}

/// Which pod it is.
pub(crate) fn pod_ref(pod: &Pod) -> PodRef {
    PodRef {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
    }
}

/// Init containers, sidecars among them, in order.
pub(crate) fn init_containers(pod: &Pod) -> &[Container] {
    spec(pod).init_containers.as_deref().unwrap_or_default()
}

/// A container of any sort by name.
pub(crate) fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    init_containers(pod).iter().chain(&spec(pod).containers).find(|container| container.name == name)
}

/// An init container that keeps running beside the others.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// When containers start again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Always,
    OnFailure,
    Never,
}

impl Policy {
    /// The pod's policy.
    pub fn of(pod: &Pod) -> Self {
        match spec(pod).restart_policy.as_deref() {
            Some("OnFailure") => Self::OnFailure,
            Some("Never") => Self::Never,
            _ => Self::Always,
        }
    }

    /// The policy of one init container: a sidecar always starts again, any other until it succeeds.
    pub fn of_init(self, container: &Container) -> Self {
        match self {
            _ if is_sidecar(container) => Self::Always,
            Self::Always => Self::OnFailure,
            policy => policy,
        }
    }

    /// Whether a container that ended with this code starts again.
    pub fn restarts(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// Whether the API says that the pod has come to its end.
pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// The phase in the API.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether the pod is being deleted.
pub(crate) fn is_deleted(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// How long its containers may take to end, in seconds.
pub(crate) fn grace_seconds(pod: &Pod) -> i64 {
    let own = spec(pod).termination_grace_period_seconds.unwrap_or(30);
    let grace = if is_deleted(pod) { pod.metadata.deletion_grace_period_seconds.unwrap_or(own) } else { own };
    grace.max(0)
}

/// When the kubelet of this pod first saw it, as far as the API knows.
pub(crate) fn start_time(pod: &Pod) -> Option<Timestamp> {
    pod.status.as_ref()?.start_time.as_ref().map(|time| time.0)
}

/// What the API knows of a container.
pub(crate) fn known_status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let own = status.container_statuses.iter().flatten();
    own.chain(status.init_container_statuses.iter().flatten()).find(|status| status.name == name)
}

/// A pod's quality of service, by upstream's rules (`pkg/apis/core/v1/helper/qos/qos.go`).
pub(crate) fn qos_class(pod: &Pod) -> &'static str {
    let containers: Vec<&Container> = init_containers(pod).iter().chain(&spec(pod).containers).collect();
    let zero = objects::quantity::Quantity::ZERO;
    let parsed = |list: Option<&BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>,
                  name: &str| {
        list.and_then(|list| list.get(name)).and_then(|it| it.0.parse().ok()).filter(|it| *it != zero)
    };
    let (mut guaranteed, mut any) = (true, false);
    for container in containers {
        let resources = container.resources.as_ref();
        for name in ["cpu", "memory"] {
            let limit: Option<objects::quantity::Quantity> =
                parsed(resources.and_then(|resources| resources.limits.as_ref()), name);
            let request: Option<objects::quantity::Quantity> =
                parsed(resources.and_then(|resources| resources.requests.as_ref()), name).or(limit);
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && limit == request;
        }
    }
    match (guaranteed && any, any) {
        (true, _) => "Guaranteed",
        (false, true) => "Burstable",
        (false, false) => "BestEffort",
    }
}

/// Whether nothing that the worker acts upon differs: the API's own bookkeeping and our own reports do not matter.
pub(crate) fn same_intent(one: &Pod, other: &Pod) -> bool {
    one.spec == other.spec
        && one.metadata.uid == other.metadata.uid
        && one.metadata.labels == other.metadata.labels
        && one.metadata.annotations == other.metadata.annotations
        && one.metadata.deletion_timestamp == other.metadata.deletion_timestamp
        && one.metadata.deletion_grace_period_seconds == other.metadata.deletion_grace_period_seconds
        // Once it is deleted its phase changes nothing any more.
        && (is_deleted(one) || phase(one) == phase(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quality_of_service_follows_requests_and_limits() {
        let cases = [
            (json!([{"name": "a"}]), "BestEffort"),
            (json!([{"name": "a", "resources": {"requests": {"cpu": "1"}}}]), "Burstable"),
            (json!([{"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]), "Guaranteed"),
            (
                json!([{"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}]),
                "Burstable",
            ),
            (
                json!([{"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}, {"name": "b"}]),
                "Burstable",
            ),
            (json!([{"name": "a", "resources": {"requests": {"cpu": "0"}}}]), "BestEffort"),
        ];
        for (containers, class) in cases {
            let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {"containers": containers}})).unwrap();
            assert_eq!(qos_class(&pod), class, "{containers}");
        }
    }

    #[test]
    fn policies_of_containers() {
        let init = Container { name: "i".into(), ..Default::default() };
        let sidecar = Container { restart_policy: Some("Always".into()), ..init.clone() };
        assert_eq!(Policy::Always.of_init(&init), Policy::OnFailure);
        assert_eq!(Policy::Never.of_init(&init), Policy::Never);
        assert_eq!(Policy::Never.of_init(&sidecar), Policy::Always);
        assert!(Policy::OnFailure.restarts(1) && !Policy::OnFailure.restarts(0) && !Policy::Never.restarts(1));
    }
}
