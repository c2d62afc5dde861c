//! Writing one pod's status to the API: the newest wins, what fails is tried again, nothing is written twice unless somebody
//! else has written over it.

use crate::limits::{STATUS_DEADLINE, WRITE_PAUSE};
use crate::pod::status::says_the_same;
use base::Backoff;
use client::{Call, Client};
use http::Method;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use runtime::PodRef;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Reports the statuses of one pod. When it is dropped, reporting ends.
#[derive(Debug)]
pub(crate) struct Reporter {
    newest: watch::Sender<Value>,
    written: watch::Receiver<Written>,
    /// The revision of the pod in which somebody else's word was last found.
    corrected: u64,
}

/// The status that nobody need wait for any longer, and what the API made of it.
#[derive(Debug, Default)]
struct Written {
    status: Value,
    /// The pod's revision and status after the write; absent when there was nothing to write to.
    kept: Option<(u64, Option<PodStatus>)>,
}

impl Written {
    /// The revision at which somebody has written over it since; a mirror that lags behind proves nothing.
    fn overwritten(&self, pod: &Pod) -> Option<u64> {
        let (at, kept) = self.kept.as_ref()?;
        revision(pod).filter(|seen| seen > at && pod.status != *kept)
    }
}

fn revision(pod: &Pod) -> Option<u64> {
    pod.metadata.resource_version.as_ref()?.parse().ok()
}

impl Reporter {
    /// Starts to report.
    pub fn start(client: Arc<Client>, pod: PodRef) -> Self {
        let (newest, wanted) = watch::channel(Value::Null);
        let (done, written) = watch::channel(Written::default());
        base::task::spawn(format!("status of {pod}"), report(client, pod, wanted, done));
        Self { newest, written, corrected: 0 }
    }

    /// Reports `status`, unless it says what the last one said and the API still says so: `pod` is how the cluster shows it. The
    /// master makes the pods of a node that it does not hear unready; only we can take that back.
    pub fn report(&mut self, status: Value, pod: &Pod) {
        let written = self.written.borrow();
        // While a write is under way the cluster may show it before its answer is here.
        let idle = written.status == *self.newest.borrow();
        let overwritten = written.overwritten(pod).filter(|seen| idle && *seen > self.corrected);
        drop(written);
        self.corrected = overwritten.unwrap_or(self.corrected);
        self.newest.send_if_modified(|newest| {
            let news = overwritten.is_some() || !says_the_same(newest, &status);
            if news {
                *newest = status;
            }
            news
        });
    }

    /// The status reported last.
    pub fn newest(&self) -> Value {
        self.newest.borrow().clone()
    }

    /// A wait for the newest status to be written, at most this long.
    pub fn settled(&self, at_most: Duration) -> impl Future<Output = ()> + Send + use<> {
        let (newest, mut written) = (self.newest(), self.written.clone());
        async move {
            let reached = written.wait_for(|written| written.status == newest);
            if tokio::time::timeout(at_most, reached).await.is_err() {
                tracing::debug!("the last status of a pod could not be written in time");
            }
        }
    }
}

async fn report(client: Arc<Client>, pod: PodRef, mut wanted: watch::Receiver<Value>, done: watch::Sender<Written>) {
    let path = format!("/api/v1/namespaces/{}/pods/{}/status", pod.namespace, pod.name);
    let mut pause = Backoff::doubling(WRITE_PAUSE.0, WRITE_PAUSE.1);
    while wanted.changed().await.is_ok() {
        loop {
            let status = wanted.borrow_and_update().clone();
            let patch = json!({"metadata": {"uid": pod.uid}, "status": status});
            // Only this agent writes it, so that a repetition changes nothing.
            let call = Call::new(Method::PATCH, &*path)
                .body("application/merge-patch+json", patch.to_string())
                .deadline(STATUS_DEADLINE)
                .repeatable();
            match client.json(call).await {
                Ok(answer) => {
                    pause.reset();
                    let kept = serde_json::from_value::<Pod>(answer).ok();
                    let kept = kept.and_then(|pod| Some((revision(&pod)?, pod.status)));
                    done.send_replace(Written { status, kept });
                    break;
                }
                Err(error) => {
                    tracing::debug!(%pod, %error, "a status was not written");
                    if error.is_not_found() || error.is_conflict() {
                        // Nobody need wait for it. It is tried again all the same: a master that lags behind does not know
                        // the pod yet, and of a pod that is gone we are told by the end of this reporter.
                        done.send_replace(Written { status, kept: None });
                    }
                    let again = pause.next_delay();
                    tokio::select! {
                        () = tokio::time::sleep(again) => {}
                        changed = wanted.changed() => if changed.is_err() { return },
                    }
                }
            }
        }
    }
}
