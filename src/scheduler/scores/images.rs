//! Prefers nodes that have the pod's images (`imagelocality/image_locality.go`).

use super::BEST;
use crate::{NodeFacts, PodFacts, Snapshot};

/// Below this, fetching costs so little that it does not matter, in bytes.
const SIZE_MIN: i64 = 23 << 20;
/// Above this, a container's images make no further difference, in bytes.
const SIZE_MAX: i64 = 1000 << 20;

pub(super) fn score(pod: &PodFacts, nodes: &[&NodeFacts], snapshot: &Snapshot) -> Vec<i64> {
    let containers = pod.pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let images: Vec<String> = containers.iter().filter_map(|one| one.image.as_deref()).map(with_tag).collect();
    let total = snapshot.nodes.len().max(1) as i64;
    // An image that is on few nodes counts less, so that they are not all sent to the one that happens to have it.
    let common: Vec<i64> = images
        .iter()
        .map(|image| snapshot.nodes.iter().filter(|node| node.images.contains_key(image)).count() as i64)
        .collect();
    let most = SIZE_MAX * (containers.len().max(1) as i64);
    let one = |node: &&NodeFacts| {
        let held = |(image, nodes): (&String, &i64)| node.images.get(image).map_or(0, |size| size / total * nodes);
        let sum: i64 = images.iter().zip(&common).map(held).sum();
        BEST * (sum.clamp(SIZE_MIN, most) - SIZE_MIN) / (most - SIZE_MIN)
    };
    nodes.iter().map(one).collect()
}

fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}
