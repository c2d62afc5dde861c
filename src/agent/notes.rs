//! Events about pods: told without waiting, posted by one task, repetitions counted.

use crate::limits::{NOTE_ATTEMPTS_MAX, NOTES_MAX, NOTES_REMEMBERED_MAX, WRITE_PAUSE};
use base::Backoff;
use client::{Client, PatchKind};
use jiff::Timestamp;
use objects::time;
use runtime::PodRef;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The longest message that the API takes.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Something that people may want to know about a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Note {
    /// Which pod.
    pub pod: PodRef,
    /// Which of its containers, if one.
    pub container: Option<String>,
    /// Whether people should worry.
    pub warning: bool,
    /// As one word: `Pulled`, `BackOff`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Takes notes.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    sender: mpsc::Sender<Note>,
}

impl Notes {
    /// The taker of notes, and the end at which they come out.
    pub fn new() -> (Self, mpsc::Receiver<Note>) {
        let (sender, receiver) = mpsc::channel(NOTES_MAX);
        (Self { sender }, receiver)
    }

    /// Takes a note; when too many wait it is dropped.
    pub fn tell(&self, note: Note) {
        if self.sender.try_send(note).is_err() {
            tracing::debug!("an event was dropped: too many wait");
        }
    }
}

/// Posts notes until nobody can tell any more.
pub(crate) async fn post_all(client: Arc<Client>, node: String, mut notes: mpsc::Receiver<Note>) {
    let mut posted: HashMap<Note, (String, i64)> = HashMap::new();
    while let Some(note) = notes.recv().await {
        if posted.len() >= NOTES_REMEMBERED_MAX {
            posted.clear();
        }
        let now = base::clock::now();
        let path = format!("/api/v1/namespaces/{}/events", note.pod.namespace);
        let mut pause = Backoff::doubling(WRITE_PAUSE.0, WRITE_PAUSE.1);
        for _ in 0..NOTE_ATTEMPTS_MAX {
            let outcome = match posted.get(&note) {
                Some((name, count)) => {
                    let patch = json!({"count": count + 1, "lastTimestamp": time::format(now)});
                    client.patch(&format!("{path}/{name}"), PatchKind::Merge, &patch).await
                }
                None => {
                    let event = event(&note, &node, &base::random::suffix(10), now);
                    client.create(&path, &event).await
                }
            };
            match outcome {
                Ok(event) => {
                    let name = event["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                    posted.entry(note.clone()).or_insert((name, 0)).1 += 1;
                    break;
                }
                // The event was forgotten by the cluster: begin a new one.
                Err(error) if error.is_not_found() && posted.remove(&note).is_some() => {}
                Err(error) if error.is_transient() => pause.wait().await,
                Err(error) => {
                    tracing::debug!(%error, reason = note.reason, "an event was not posted");
                    break;
                }
            }
        }
    }
}

fn event(note: &Note, node: &str, suffix: &str, now: Timestamp) -> Value {
    let PodRef { namespace, name, uid } = &note.pod;
    let mut end = note.message.len().min(MESSAGE_BYTES_MAX);
    while !note.message.is_char_boundary(end) {
        end -= 1;
    }
    let mut event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": format!("{}.{suffix}", name.get(..200).unwrap_or(name)), "namespace": namespace},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name, "uid": uid},
        "type": if note.warning { "Warning" } else { "Normal" },
        "reason": note.reason,
        "message": &note.message[..end],
        "source": {"component": "kubelet", "host": node},
        "reportingComponent": "kubelet",
        "reportingInstance": node,
        "firstTimestamp": time::format(now),
        "lastTimestamp": time::format(now),
        "count": 1,
    });
    if let Some(container) = &note.container {
        event["involvedObject"]["fieldPath"] = json!(format!("spec.containers{{{container}}}"));
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_name_their_pod_and_are_cut() {
        let pod = PodRef { namespace: "ns".into(), name: "p".into(), uid: "u".into() };
        let note =
            Note { pod, container: Some("c".into()), warning: true, reason: "BackOff", message: "ü".repeat(900) };
        let event = event(&note, "n", "x", Timestamp::UNIX_EPOCH);
        assert_eq!(event["metadata"]["name"], "p.x");
        assert_eq!(event["involvedObject"]["fieldPath"], "spec.containers{c}");
        assert!(event["message"].as_str().unwrap().len() <= MESSAGE_BYTES_MAX);
    }
}
