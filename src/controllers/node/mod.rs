//! Nodes: which are lost, what that means for them and for the pods on them.

mod collect;
mod decide;
mod eviction;
mod health;
mod mass;

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use objects::{Key, Resource};
use serde_json::Value;
use state::{Event, State, Stored};
use tokio::time::Instant;

use crate::pods::on_node;
use crate::runner::{Controller, Next};
use crate::writes::{Draft, value_of};
use crate::{Context, Error};

pub(crate) use collect::PodCollector;
pub(crate) use eviction::Eviction;
pub(crate) use health::{Health, pulse};

const COMPONENT: &str = "node-controller";

/// The controller; its keys are nodes. Each is looked at when it changes, and when its grace would end.
pub(crate) struct Lifecycle {
    context: Context,
    health: Arc<Health>,
}

impl Lifecycle {
    pub fn new(context: Context, health: Arc<Health>) -> Self {
        Self { context, health }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let state = self.context.duty.current();
        let Some(stored) = state.get(key) else {
            let known: Vec<String> = state.list(&"nodes".into()).map(|node| node.face().uid.to_string()).collect();
            self.health.forget_nodes(|uid| known.iter().any(|one| one == uid));
            return Ok(Next::Rest);
        };
        let uid = &stored.face().uid;
        let verdict = self.health.judge(&state, &key.name, uid, Instant::now());
        if verdict.turned {
            self.tell_of_hold(stored, verdict.held);
        }
        let now = base::clock::now();
        let before = value_of(stored)?;
        let mut after = before.clone();
        if verdict.lost {
            decide::mark_lost(&mut after, now);
        }
        decide::taint(&mut after, verdict.held, now);
        if after != before {
            let mut draft = Draft::new();
            draft.edit(stored, |value| *value = after.clone())?;
            draft.commit(&self.context.duty).await?;
            for taint in [decide::UNREACHABLE, decide::NOT_READY] {
                if has_taint(&after, taint) && !has_taint(&before, taint) {
                    self.health.note_taint(uid, taint, now);
                }
            }
            self.tell_of_node(stored, decide::ready(&before), decide::ready(&after));
        }
        if !matches!(decide::ready(&after), "True" | "") && !verdict.held {
            self.mark_pods(&state, stored, now).await?;
        }
        Ok(Next::After(verdict.again))
    }

    /// Pods on a node that is not ready are not ready either: nobody can tell how they fare.
    async fn mark_pods(&self, state: &State, node: &Stored, now: Timestamp) -> Result<(), Error> {
        for pod in on_node(state, &node.key.name) {
            let mut draft = Draft::new();
            if draft.edit(pod, |value| decide::mark_pod(value, now))? {
                match draft.commit(&self.context.duty).await {
                    Ok(_) => {}
                    // Somebody knows better, or it is gone.
                    Err(error) if error.is_conflict() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn tell_of_node(&self, node: &Stored, before: &str, after: &str) {
        if before == after {
            return;
        }
        tracing::info!(node = %node.key.name, ready = after, "node changed");
        if after != "True" {
            let message = format!("Node {} status is now: NodeNotReady", node.key.name);
            self.context.note(COMPONENT, node, false, "NodeNotReady", message);
        }
    }

    fn tell_of_hold(&self, node: &Stored, held: bool) {
        let (reason, message) = if held {
            ("EvictionsHeld", "Too many nodes vanished at once: no pod is moved until half of them are back")
        } else {
            ("EvictionsResumed", "Half of the nodes are back: pods are moved away from lost nodes again")
        };
        tracing::warn!(reason, message, "evictions");
        self.context.note(COMPONENT, node, held, reason, message.into());
    }
}

impl Controller for Lifecycle {
    fn name(&self) -> &'static str {
        COMPONENT
    }

    fn resources(&self) -> Vec<Resource> {
        vec!["nodes".into()]
    }

    fn all(&self, state: &State) -> Vec<Key> {
        state.list(&"nodes".into()).map(|node| node.key.clone()).collect()
    }

    fn concerns(&self, event: &Event, _: &State) -> Vec<Key> {
        // A node that went is looked at once more, to forget it.
        vec![event.key().clone()]
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}

fn has_taint(node: &Value, key: &str) -> bool {
    let taints = node["spec"]["taints"].as_array();
    taints.into_iter().flatten().any(|taint| taint["key"] == key && taint["effect"] == "NoExecute")
}
