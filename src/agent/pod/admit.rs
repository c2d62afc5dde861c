//! Whether a pod may run on this node beside those that are there: what upstream's kubelet checks before it runs a pod, and its
//! words. The rule itself is the scheduler's too.

use super::memory::Failure;
use super::view;
use fit::{Amounts, HostPort, collision};
use k8s_openapi::api::core::v1::Pod;

/// Decides whether `pod` may run beside `others`, which were admitted before, where there is `room` for all together.
pub(crate) fn admit<'a>(pod: &Pod, others: impl IntoIterator<Item = &'a Pod>, room: &Amounts) -> Result<(), Failure> {
    let (mut used, mut held) = (Amounts::default(), Vec::new());
    for other in others {
        if view::is_terminal(other) || other.metadata.uid == pod.metadata.uid {
            continue;
        }
        used.add(&Amounts::requested_by(other));
        held.extend(HostPort::of(other));
    }
    let refused =
        |reason: String, message: String| Err(Failure { reason, message: format!("Pod was rejected: {message}") });
    if let Some(taken) = collision(&HostPort::of(pod), &held) {
        let message = format!("Predicate NodePorts failed: host port {} is taken", taken.port);
        return refused("NodePorts".to_owned(), message);
    }
    let mut wanted = Amounts::requested_by(pod);
    // A node cannot run out of what it does not count (upstream's `removeMissingExtendedResources`).
    wanted.other.retain(|name, _| room.other.contains_key(name));
    if room.ephemeral_storage == 0 {
        wanted.ephemeral_storage = 0;
    }
    match wanted.lacking(&used, room).first() {
        None => Ok(()),
        Some(fit::Lack { resource, requested, used, capacity }) => refused(
            format!("OutOf{resource}"),
            format!(
                "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn room(pods: i64) -> Amounts {
        Amounts { cpu_milli: 1000, memory: 1000, pods, ..Amounts::default() }
    }

    fn pod(uid: &str, container: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": uid, "uid": uid}, "spec": {"containers": [container]}}))
            .unwrap()
    }

    #[test]
    fn what_does_not_fit_is_refused_with_upstreams_words() {
        let asks =
            |cpu: &str, memory: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}});
        let port = |address: &str, number: i32| json!({"name": "c", "ports": [{"containerPort": 1, "hostPort": number, "hostIP": address}]});
        let room = room(2);
        let cases = [
            (asks("500m", "500"), vec![asks("500m", "500")], ""),
            (asks("501m", "1"), vec![asks("500m", "500")], "OutOfcpu"),
            (asks("1m", "501"), vec![asks("500m", "500")], "OutOfmemory"),
            (json!({"name": "c"}), vec![json!({"name": "c"}), json!({"name": "c"})], "OutOfpods"),
            (json!({"name": "c"}), vec![asks("5", "5000")], ""),
            (port("", 80), vec![port("10.0.0.1", 80)], "NodePorts"),
            (port("10.0.0.2", 80), vec![port("10.0.0.1", 80)], ""),
            (port("", 80), vec![port("", 81)], ""),
            // What this node does not count.
            (
                json!({"name": "c", "resources": {"requests": {"ephemeral-storage": "1Gi", "example.com/gpu": "1"}}}),
                vec![],
                "",
            ),
        ];
        for (index, (wanted, there, reason)) in cases.into_iter().enumerate() {
            let others: Vec<Pod> = there.into_iter().enumerate().map(|(n, c)| pod(&format!("o{n}"), c)).collect();
            let outcome = admit(&pod("new", wanted), &others, &room);
            assert_eq!(outcome.err().map(|failure| failure.reason).unwrap_or_default(), reason, "case {index}");
        }
        let refused = admit(&pod("new", asks("1500m", "1")), [], &room).unwrap_err().message;
        let words = "Pod was rejected: Node didn't have enough resource: cpu, requested: 1500, used: 0, capacity: 1000";
        assert_eq!(refused, words);
    }

    #[test]
    fn ended_pods_and_the_pod_itself_take_no_room() {
        let wanted = json!({"name": "c", "resources": {"limits": {"cpu": "1"}}});
        let mut ended = pod("ended", wanted.clone());
        ended.status = Some(serde_json::from_value(json!({"phase": "Succeeded"})).unwrap());
        assert!(admit(&pod("a", wanted.clone()), [&ended, &pod("a", wanted)], &room(1)).is_ok());
    }
}
