//! Jobs: pods that run to their end, as many as are asked for.
//!
//! Not done here, and left to whoever made it: Jobs that name another manager (`managedBy`). Not done at all yet, and said so in
//! an event: Jobs with a policy on failures or success, or a limit for each index.

mod decide;
mod indexes;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use objects::lifecycle::{DeleteOptions, Propagation};
use objects::{Key, Resource};
use serde_json::{Value, json};
use state::{Event, State, Stored};

use crate::owners::Ownership;
use crate::pods::{Member, from_template, pods, with_account};
use crate::runner::{Controller, Next};
use crate::writes::{Draft, background, kind_named, map_at};
use crate::{Context, Error};
use decide::{End, Plan, Sight};

const COMPONENT: &str = "job-controller";
/// Holds a pod until it is counted.
const TRACKED: &str = "batch.kubernetes.io/job-tracking";
const MANAGER: &str = "kubernetes.io/job-controller";
/// The index of a pod of an indexed Job: annotation, label, and what an environment variable shows.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// Pods written in one transaction.
const BATCH: usize = 50;
/// The longest wait for a date, so that a clock that was set wrong does no lasting harm.
const WAIT_MAX: i64 = 3600;

const JOBS: Ownership = Ownership {
    owners: "jobs.batch",
    kind: "Job",
    managed: "pods",
    adoptable: |pod| !matches!(pod.field("status.phase"), "Succeeded" | "Failed"),
};

/// The controller.
pub(crate) struct Jobs {
    context: Context,
}

impl Jobs {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        if key.resource == pods() {
            return self.let_go(key).await;
        }
        let (duty, state, now) = (&self.context.duty, self.context.duty.current(), base::clock::now());
        let Some(owner) = JOBS.read(&state, key)? else {
            return Ok(Next::Rest);
        };
        let (stored, job) = (&owner.stored, &*owner.value);
        let spec = &job["spec"];
        if !matches!(spec["managedBy"].as_str(), None | Some(MANAGER)) {
            return Ok(Next::Rest);
        }
        if let Some(finished) = decide::finished(&job["status"]) {
            return self.finished(&state, stored, decide::left(spec, finished, now), now).await;
        }
        if let Some(what) = unsupported(spec) {
            let message =
                format!("Jobs with {what} are not run by this version; delete the Job, or set spec.managedBy");
            self.context.note(COMPONENT, stored, true, "Unsupported", message);
            return Ok(Next::Rest);
        }
        if JOBS.claim(duty, &state, &owner).await? {
            return Ok(Next::Again);
        }
        let owned: Vec<(Arc<Stored>, Sight)> =
            JOBS.owned(&state, stored).map(|pod| Ok((Arc::clone(pod), sight(pod)?))).collect::<Result<_, Error>>()?;
        if self.track(stored, spec, &owned).await? || self.count(stored, spec, &owned).await? {
            return Ok(Next::Again);
        }
        if stored.face().deleting {
            return Ok(Next::Rest);
        }
        let sights: Vec<Sight> = owned.iter().map(|(_, sight)| sight.clone()).collect();
        let Plan { status, create, delete, wait, told } = decide::plan(spec, &job["status"], &sights, now);
        let mut draft = Draft::new();
        let changed = draft.edit(stored, |value| value["status"] = status)?;
        draft.commit(duty).await?;
        if let Some((warning, reason, message)) = told.filter(|_| changed) {
            self.context.note(COMPONENT, stored, warning, reason, message.to_owned());
        }
        if !create.is_empty() {
            self.create(stored, job, &create, now).await?;
        }
        for (pod, sight) in owned.iter().filter(|(_, sight)| delete.contains(&sight.name)) {
            let mut draft = Draft::new();
            draft.require_exists(stored);
            draft.delete(pod, &background(), now)?;
            draft.commit(duty).await?;
            self.context.note(COMPONENT, stored, false, "SuccessfulDelete", format!("Deleted pod: {}", sight.name));
        }
        Ok(match wait {
            _ if !create.is_empty() || !delete.is_empty() => Next::Again,
            Some(seconds) => after(seconds),
            None => Next::Rest,
        })
    }

    /// Makes pods that were not made here, and are the Job's, wait until they are counted.
    async fn track(&self, job: &Stored, spec: &Value, owned: &[(Arc<Stored>, Sight)]) -> Result<bool, Error> {
        let new = |(_, sight): &&(Arc<Stored>, Sight)| !sight.tracked && !sight.deleting && sight.end(spec).is_none();
        let mut draft = Draft::new();
        for (pod, _) in owned.iter().filter(new).take(BATCH) {
            draft.edit(pod, |value| match value["metadata"]["finalizers"].as_array_mut() {
                Some(list) => list.push(json!(TRACKED)),
                None => value["metadata"]["finalizers"] = json!([TRACKED]),
            })?;
        }
        if draft.is_empty() {
            return Ok(false);
        }
        draft.require_exists(job);
        draft.commit(&self.context.duty).await?;
        Ok(true)
    }

    /// Counts pods that have ended, and lets them go in the same transaction.
    async fn count(&self, job: &Stored, spec: &Value, owned: &[(Arc<Stored>, Sight)]) -> Result<bool, Error> {
        let (mut draft, mut ends) = (Draft::new(), Vec::<(End, Option<i64>)>::new());
        for (pod, sight) in owned.iter().filter(|(_, sight)| sight.tracked) {
            if let Some(end) = sight.end(spec)
                && ends.len() < BATCH
            {
                untrack(&mut draft, pod)?;
                ends.push((end, sight.index));
            }
        }
        if ends.is_empty() {
            return Ok(false);
        }
        draft.edit(job, |value| value["status"] = decide::counted(spec, &value["status"], &ends))?;
        draft.commit(&self.context.duty).await?;
        Ok(true)
    }

    /// A finished Job counts nothing any more; it goes when its time has come.
    async fn finished(&self, state: &State, job: &Stored, left: Option<i64>, now: Timestamp) -> Result<Next, Error> {
        let mut draft = Draft::new();
        for pod in JOBS.owned(state, job).filter(|pod| is_tracked(pod)).take(BATCH) {
            untrack(&mut draft, pod)?;
        }
        if !draft.is_empty() {
            draft.commit(&self.context.duty).await?;
            return Ok(Next::Again);
        }
        match left {
            Some(0) if !job.face().deleting => {
                let how = DeleteOptions { propagation: Some(Propagation::Foreground), ..DeleteOptions::default() };
                draft.delete(job, &how, now)?;
                draft.commit(&self.context.duty).await?;
                Ok(Next::Rest)
            }
            Some(seconds) if seconds > 0 => Ok(after(seconds)),
            _ => Ok(Next::Rest),
        }
    }

    /// Lets a pod go whose Job is gone: nobody counts it any more.
    async fn let_go(&self, key: &Key) -> Result<Next, Error> {
        let state = self.context.duty.current();
        if let Some(pod) = state.get(key).filter(|pod| is_tracked(pod) && orphaned(&state, pod)) {
            let mut draft = Draft::new();
            untrack(&mut draft, pod)?;
            draft.commit(&self.context.duty).await?;
        }
        Ok(Next::Rest)
    }

    async fn create(&self, stored: &Stored, job: &Value, pods: &[Option<i64>], now: Timestamp) -> Result<(), Error> {
        let kind = kind_named("v1", "Pod")?;
        let mut plain = from_template(stored, job)?;
        match plain["metadata"]["finalizers"].as_array_mut() {
            Some(list) => list.push(json!(TRACKED)),
            None => plain["metadata"]["finalizers"] = json!([TRACKED]),
        }
        for batch in pods.chunks(BATCH) {
            let (mut draft, mut names, mut refused) = (Draft::new(), Vec::new(), None);
            let state = self.context.duty.current();
            draft.require_exists(stored);
            for index in batch {
                let mut pod = plain.clone();
                if let Some(index) = index {
                    number(&mut pod, &stored.key.name, *index);
                }
                match with_account(&state, pod).and_then(|pod| draft.create(&state, kind, pod, now)) {
                    Ok(key) => names.push(key.name),
                    // As many as a quota allows are made all the same.
                    Err(error) => {
                        refused = Some(error);
                        break;
                    }
                }
            }
            if !names.is_empty() {
                draft.commit(&self.context.duty).await?;
            }
            for name in &names {
                self.context.note(COMPONENT, stored, false, "SuccessfulCreate", format!("Created pod: {name}"));
            }
            if let Some(error) = refused {
                self.context.note(COMPONENT, stored, true, "FailedCreate", format!("Error creating: {error}"));
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Gives a pod the index by which it knows its share of the work.
fn number(pod: &mut Value, job: &str, index: i64) {
    pod["metadata"]["generateName"] = json!(format!("{job}-{index}-"));
    for part in ["annotations", "labels"] {
        map_at(map_at(pod, "metadata"), part)[INDEX] = json!(index.to_string());
    }
    if pod["spec"]["hostname"].is_null() {
        pod["spec"]["hostname"] = json!(format!("{job}-{index}"));
    }
    let variable = json!({"name": INDEX_VARIABLE, "valueFrom":
        {"fieldRef": {"apiVersion": "v1", "fieldPath": format!("metadata.labels['{INDEX}']")}}});
    for part in ["initContainers", "containers"] {
        for container in pod["spec"][part].as_array_mut().into_iter().flatten() {
            match container["env"].as_array_mut() {
                Some(env) if env.iter().any(|known| known["name"] == INDEX_VARIABLE) => {}
                Some(env) => env.push(variable.clone()),
                None => container["env"] = json!([variable]),
            }
        }
    }
}

/// What of a Job this version cannot honour: to run its pods all the same would be wrong.
fn unsupported(spec: &Value) -> Option<&'static str> {
    let asks = |field: &str| !spec[field].is_null();
    if asks("backoffLimitPerIndex") {
        Some("a backoffLimitPerIndex")
    } else if asks("podFailurePolicy") {
        Some("a podFailurePolicy")
    } else if asks("successPolicy") {
        Some("a successPolicy")
    } else {
        None
    }
}

fn after(seconds: i64) -> Next {
    Next::After(Duration::from_secs(seconds.clamp(1, WAIT_MAX).unsigned_abs()))
}

fn is_tracked(pod: &Stored) -> bool {
    pod.face().finalizers.iter().any(|one| &**one == TRACKED)
}

/// Whether the Job of a pod is gone.
fn orphaned(state: &State, pod: &Stored) -> bool {
    let owner = pod.face().controller();
    let job = JOBS.manager(pod).and_then(|key| state.get(&key));
    job.is_none_or(|job| owner.is_none_or(|owner| owner.uid != job.face().uid))
}

fn untrack(draft: &mut Draft, pod: &Stored) -> Result<(), Error> {
    draft.edit(pod, |value| {
        if let Some(list) = value["metadata"]["finalizers"].as_array_mut() {
            list.retain(|one| one != TRACKED);
        }
    })?;
    Ok(())
}

/// Reads a pod.
fn sight(stored: &Stored) -> Result<Sight, Error> {
    let (member, pod) = (Member::of(stored)?, stored.typed::<Pod>()?);
    let status = pod.status.as_ref();
    let of = |list: Option<&Vec<k8s_openapi::api::core::v1::ContainerStatus>>| list.cloned().unwrap_or_default();
    let containers = of(status.and_then(|status| status.container_statuses.as_ref()));
    let inits = of(status.and_then(|status| status.init_container_statuses.as_ref()));
    let ended =
        containers.iter().chain(&inits).filter_map(|one| one.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    Ok(Sight {
        at: ended.map(|time| time.0).max().unwrap_or(member.created),
        restarts: containers.iter().chain(&inits).map(|one| i64::from(one.restart_count)).sum(),
        name: member.name,
        phase: member.phase,
        deleting: member.terminating,
        tracked: is_tracked(stored),
        ready: member.ready_since.is_some(),
        index: stored.face().label(INDEX).and_then(|index| index.parse().ok()),
    })
}

impl Controller for Jobs {
    fn name(&self) -> &'static str {
        COMPONENT
    }

    fn resources(&self) -> Vec<Resource> {
        vec![JOBS.resource(), pods(), "serviceaccounts".into()]
    }

    fn all(&self, state: &State) -> Vec<Key> {
        let left = state.list(&pods()).filter(|pod| is_tracked(pod) && orphaned(state, pod));
        JOBS.all(state).into_iter().chain(left.map(|pod| pod.key.clone())).collect()
    }

    fn concerns(&self, event: &Event, state: &State) -> Vec<Key> {
        let mut keys = JOBS.concerns(event, state);
        if event.key().resource == pods() {
            if is_tracked(&event.current) && orphaned(state, &event.current) {
                keys.push(event.key().clone());
            }
        } else if event.kind == state::EventKind::Deleted {
            let orphans = state.list_in(&pods(), &event.key().namespace);
            keys.extend(orphans.filter(|pod| is_tracked(pod) && orphaned(state, pod)).map(|pod| pod.key.clone()));
        }
        keys
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbered_pod_knows_its_index() {
        let mut pod = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
            {"name": "c"}, {"name": "d", "env": [{"name": "X", "value": "1"}]},
            {"name": "e", "env": [{"name": "JOB_COMPLETION_INDEX", "value": "mine"}]}]}});
        number(&mut pod, "j", 3);
        assert_eq!((&pod["metadata"]["labels"][INDEX], &pod["metadata"]["labels"]["a"]), (&json!("3"), &json!("b")));
        assert_eq!((&pod["metadata"]["annotations"][INDEX], &pod["spec"]["hostname"]), (&json!("3"), &json!("j-3")));
        let path = json!(format!("metadata.labels['{INDEX}']"));
        assert_eq!(pod["spec"]["containers"][0]["env"][0]["valueFrom"]["fieldRef"]["fieldPath"], path);
        assert_eq!(pod["spec"]["containers"][1]["env"][1]["name"], INDEX_VARIABLE);
        assert_eq!(pod["spec"]["containers"][2]["env"], json!([{"name": INDEX_VARIABLE, "value": "mine"}]));
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        for (spec, expected) in [
            (json!({"completionMode": "Indexed"}), None),
            (json!({"backoffLimitPerIndex": 0}), Some("a backoffLimitPerIndex")),
            (json!({"podFailurePolicy": {"rules": []}}), Some("a podFailurePolicy")),
            (json!({"successPolicy": {"rules": []}}), Some("a successPolicy")),
        ] {
            assert_eq!(unsupported(&spec), expected);
        }
    }
}
