//! What a Job needs next: pods to make or to delete, and what its status says. Pure.
//!
//! Follows upstream's `controller/job/job_controller.go`. A pod that has ended is counted in the transaction that lets it go, so
//! each counts once and no list of pods in between is kept.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::Timestamp;
use objects::time;
use serde_json::{Value, json};

use super::indexes;
use crate::conditions;
use crate::pods::Phase;

/// Pods that one step makes or deletes at most; upstream's `MaxPodCreateDeletePerSync`.
const BURST: usize = 500;
/// Wait after the first of several failures in a row, in seconds; doubles with each further one, up to the second.
const BACKOFF_SECONDS: (i64, i64) = (10, 600);

/// A pod of the Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sight {
    pub name: String,
    pub phase: Phase,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it is still to be counted when it ends.
    pub tracked: bool,
    pub ready: bool,
    /// When it ended, or else was made.
    pub at: Timestamp,
    /// Restarts of all its containers.
    pub restarts: i64,
    /// Its index, in an indexed Job.
    pub index: Option<i64>,
}

/// How a pod has ended for its Job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Succeeded,
    Failed,
}

impl Sight {
    /// How the pod has ended; `None` while it has not. One that is being deleted may never come to say so itself.
    pub fn end(&self, spec: &Value) -> Option<End> {
        match self.phase {
            Phase::Succeeded => Some(End::Succeeded),
            Phase::Failed => Some(End::Failed),
            _ if self.deleting && spec["podReplacementPolicy"] != "Failed" => Some(End::Failed),
            _ => None,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    fn is_active(&self) -> bool {
        !self.is_over() && !self.deleting
    }
}

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// The status to write.
    pub status: Value,
    /// Pods to make, each with its index in an indexed Job.
    pub create: Vec<Option<i64>>,
    /// Pods to delete.
    pub delete: Vec<String>,
    /// Seconds until a rule about time needs another look.
    pub wait: Option<i64>,
    /// What people are told: whether it is a warning, reason and message.
    pub told: Option<(bool, &'static str, &'static str)>,
}

/// Whether the Job has come to its end, and when.
pub(super) fn finished(status: &Value) -> Option<Timestamp> {
    let mut conditions = status["conditions"].as_array()?.iter();
    let end =
        conditions.find(|one| (one["type"] == "Complete" || one["type"] == "Failed") && one["status"] == "True")?;
    Some(at(&end["lastTransitionTime"]).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Seconds until a finished Job goes by its `ttlSecondsAfterFinished`: zero when it is due, `None` when it stays.
pub(super) fn left(spec: &Value, finished: Timestamp, now: Timestamp) -> Option<i64> {
    let ttl = spec["ttlSecondsAfterFinished"].as_i64()?;
    Some(finished.as_second().saturating_add(ttl).saturating_sub(now.as_second()).max(0))
}

/// The status once these ends are counted, each with the pod's index. An index that has succeeded counts once.
pub(super) fn counted(spec: &Value, status: &Value, ends: &[(End, Option<i64>)]) -> Value {
    let mut status = if status.is_object() { status.clone() } else { json!({}) };
    let of = |wanted: End| ends.iter().filter(move |(end, _)| *end == wanted);
    let failed = number(&status, "failed") + count(of(End::Failed).count());
    put(&mut status, "failed", failed);
    if is_indexed(spec) {
        let mut completed = completed(spec, &status);
        let limit = completions(spec);
        completed.extend(of(End::Succeeded).filter_map(|(_, index)| *index).filter(|index| (0..limit).contains(index)));
        put(&mut status, "succeeded", count(completed.len()));
        let text = indexes::print(&completed);
        match status.as_object_mut() {
            Some(map) if text.is_empty() => drop(map.remove("completedIndexes")),
            Some(map) => drop(map.insert("completedIndexes".into(), json!(text))),
            None => {}
        }
    } else {
        let succeeded = number(&status, "succeeded") + count(of(End::Succeeded).count());
        put(&mut status, "succeeded", succeeded);
    }
    status
}

fn is_indexed(spec: &Value) -> bool {
    spec["completionMode"] == "Indexed"
}

fn completions(spec: &Value) -> i64 {
    spec["completions"].as_i64().unwrap_or(0)
}

/// The indexes that have succeeded.
fn completed(spec: &Value, status: &Value) -> BTreeSet<i64> {
    indexes::parse(status["completedIndexes"].as_str().unwrap_or(""), completions(spec))
}

/// What to do about a Job that is not finished, all of whose ended pods are counted.
pub(super) fn plan(spec: &Value, old: &Value, pods: &[Sight], now: Timestamp) -> Plan {
    let mut status = counted(spec, old, &[]);
    let active: Vec<&Sight> = pods.iter().filter(|pod| pod.is_active()).collect();
    let terminating = pods.iter().filter(|pod| pod.deleting && !pod.is_over()).count();
    put(&mut status, "active", count(active.len()));
    status["ready"] = json!(active.iter().filter(|pod| pod.ready).count());
    status["terminating"] = json!(terminating);
    let mut plan = Plan { status, ..Plan::default() };
    if target(&plan.status).is_none()
        && let Some((kind, reason, message)) = verdict(spec, &plan.status, &active, now)
    {
        set(&mut plan.status, kind, true, reason, message, now);
    }
    if let Some(kind) = target(&plan.status) {
        plan.end(kind, &active, terminating, now);
    } else if spec["suspend"] == true {
        plan.suspend(&active, now);
    } else {
        plan.run(spec, pods, &active, terminating, now);
    }
    plan
}

impl Plan {
    /// The outcome is certain: pods that still run go, and with the last one the Job is finished.
    fn end(&mut self, kind: &str, active: &[&Sight], terminating: usize, now: Timestamp) {
        self.delete = active.iter().take(BURST).map(|pod| pod.name.clone()).collect();
        if !active.is_empty() || terminating > 0 {
            return;
        }
        let why = conditions::find(&self.status, kind);
        let (reason, message) =
            (conditions::text(why, "reason").to_owned(), conditions::text(why, "message").to_owned());
        if kind == "FailureTarget" {
            set(&mut self.status, "Failed", true, &reason, &message, now);
            self.told = Some(match reason.as_str() {
                "DeadlineExceeded" => (true, "DeadlineExceeded", DEADLINE),
                _ => (true, "BackoffLimitExceeded", BACKOFF),
            });
        } else {
            set(&mut self.status, "Complete", true, &reason, &message, now);
            self.status["completionTime"] = json!(time::format(now));
            self.told = Some((false, "Completed", "Job completed"));
        }
    }

    fn suspend(&mut self, active: &[&Sight], now: Timestamp) {
        self.delete = active.iter().take(BURST).map(|pod| pod.name.clone()).collect();
        if !is_true(&self.status, "Suspended") {
            set(&mut self.status, "Suspended", true, "JobSuspended", "Job suspended", now);
            self.told = Some((false, "Suspended", "Job suspended"));
        }
        // The time it may take starts anew when it goes on.
        if let Some(map) = self.status.as_object_mut() {
            map.remove("startTime");
        }
    }

    fn run(&mut self, spec: &Value, pods: &[Sight], active: &[&Sight], terminating: usize, now: Timestamp) {
        if is_true(&self.status, "Suspended") {
            set(&mut self.status, "Suspended", false, "JobResumed", "Job resumed", now);
            self.told = Some((false, "Resumed", "Job resumed"));
        }
        if self.status["startTime"].is_null() {
            self.status["startTime"] = json!(time::format(now));
        }
        let deadline = spec["activeDeadlineSeconds"].as_i64();
        let started = at(&self.status["startTime"]).unwrap_or(now);
        self.wait = deadline.map(|seconds| (seconds - (now.as_second() - started.as_second())).max(1));
        let wanted = usize::try_from(wanted(spec, &self.status, active.len())).unwrap_or(0);
        let completed = completed(spec, &self.status);
        let mut held: BTreeSet<i64> = BTreeSet::new();
        // Of several pods of one index, one stays; a pod whose index is done or does not exist, none.
        let needed = |held: &mut BTreeSet<i64>, pod: &Sight| match pod.index {
            Some(index) => (0..completions(spec)).contains(&index) && !completed.contains(&index) && held.insert(index),
            None => false,
        };
        let (mut keep, stray): (Vec<&Sight>, Vec<&Sight>) =
            active.iter().copied().partition(|pod| !is_indexed(spec) || needed(&mut held, pod));
        self.delete = stray.iter().take(BURST).map(|pod| pod.name.clone()).collect();
        if keep.len() > wanted {
            // Those that have come least far; of an indexed Job the highest indexes.
            keep.sort_by_key(|pod| (Reverse(pod.index), pod.ready, pod.phase, Reverse(pod.at)));
            self.delete.extend(keep.iter().take((keep.len() - wanted).min(BURST)).map(|pod| pod.name.clone()));
            return;
        }
        let waits = spec["podReplacementPolicy"] == "Failed";
        if waits {
            held.extend(pods.iter().filter(|pod| pod.deleting && !pod.is_over()).filter_map(|pod| pod.index));
        }
        let leaving = if waits { terminating } else { 0 };
        let missing = wanted.saturating_sub(keep.len()).saturating_sub(leaving).min(BURST);
        match backoff(pods, now) {
            0 if is_indexed(spec) => {
                let free = (0..completions(spec)).filter(|index| !completed.contains(index) && !held.contains(index));
                self.create = free.take(missing).map(Some).collect();
            }
            0 => self.create = vec![None; missing],
            seconds if missing > 0 => self.wait = Some(self.wait.map_or(seconds, |wait| wait.min(seconds))),
            _ => {}
        }
    }
}

const BACKOFF: &str = "Job has reached the specified backoff limit";
const DEADLINE: &str = "Job was active longer than specified deadline";

/// Whether the outcome is certain by now: condition, reason and message.
fn verdict<'a>(spec: &Value, status: &Value, active: &[&Sight], now: Timestamp) -> Option<(&'a str, &'a str, &'a str)> {
    let limit = spec["backoffLimit"].as_i64().unwrap_or(6);
    let restarts: i64 = active.iter().map(|pod| pod.restarts).sum();
    // Containers that are started anew in their pod count, too.
    let restarted = spec["template"]["spec"]["restartPolicy"] == "OnFailure" && restarts > 0 && restarts >= limit;
    if number(status, "failed") > limit || restarted {
        return Some(("FailureTarget", "BackoffLimitExceeded", BACKOFF));
    }
    if let (Some(seconds), Some(started)) = (spec["activeDeadlineSeconds"].as_i64(), at(&status["startTime"]))
        && spec["suspend"] != true
        && now.as_second() - started.as_second() >= seconds
    {
        return Some(("FailureTarget", "DeadlineExceeded", DEADLINE));
    }
    let succeeded = number(status, "succeeded");
    let reached = match spec["completions"].as_i64() {
        Some(completions) => succeeded >= completions,
        None => succeeded > 0 && active.is_empty(),
    };
    let met = "Reached expected number of succeeded pods";
    reached.then_some(("SuccessCriteriaMet", "CompletionsReached", met))
}

/// The condition that says that the outcome is certain.
fn target(status: &Value) -> Option<&'static str> {
    ["FailureTarget", "SuccessCriteriaMet"].into_iter().find(|kind| is_true(status, kind))
}

/// How many pods should be at work.
fn wanted(spec: &Value, status: &Value, active: usize) -> i64 {
    let parallelism = spec["parallelism"].as_i64().unwrap_or(1);
    let succeeded = number(status, "succeeded");
    match spec["completions"].as_i64() {
        Some(completions) => (completions - succeeded).min(parallelism),
        // The pods share their work: once one has found that there is none left, no other is made.
        None if succeeded > 0 => count(active).min(parallelism),
        None => parallelism,
    }
    .max(0)
}

/// Seconds to wait before the next pod, for the failures since the last success.
fn backoff(pods: &[Sight], now: Timestamp) -> i64 {
    let success = pods.iter().filter(|pod| pod.phase == Phase::Succeeded).map(|pod| pod.at).max();
    let failures = || pods.iter().filter(|pod| pod.phase == Phase::Failed).map(|pod| pod.at);
    let since = || failures().filter(|at| success.is_none_or(|success| *at > success));
    let (Some(last), number) = (since().max(), since().count()) else { return 0 };
    let doublings = u32::try_from(number.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let (first, most) = BACKOFF_SECONDS;
    let delay = first.saturating_mul(1 << doublings).min(most);
    (delay - (now.as_second() - last.as_second())).clamp(0, delay)
}

fn set(status: &mut Value, kind: &str, is: bool, reason: &str, message: &str, now: Timestamp) {
    let condition = json!({"type": kind, "status": if is { "True" } else { "False" }, "reason": reason,
        "message": message, "lastProbeTime": time::format(now)});
    conditions::set(status, condition, now);
}

fn is_true(status: &Value, kind: &str) -> bool {
    conditions::text(conditions::find(status, kind), "status") == "True"
}

/// Counters that are zero are left out, as upstream does.
fn put(status: &mut Value, field: &str, number: i64) {
    if let Some(map) = status.as_object_mut() {
        match number {
            0 => drop(map.remove(field)),
            _ => drop(map.insert(field.into(), json!(number))),
        }
    }
}

fn number(status: &Value, field: &str) -> i64 {
    status[field].as_i64().unwrap_or(0)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn at(value: &Value) -> Option<Timestamp> {
    value.as_str().and_then(|text| time::parse(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    /// A pod for each letter: Running, Pending, Succeeded, Failed, Leaving; the ended ones ended 1000 seconds ago.
    fn pods(text: &str) -> Vec<Sight> {
        let one = |(index, letter): (usize, char)| Sight {
            name: format!("{letter}{index}"),
            phase: match letter {
                'S' => Phase::Succeeded,
                'F' => Phase::Failed,
                'P' => Phase::Pending,
                _ => Phase::Running,
            },
            deleting: letter == 'L',
            tracked: false,
            ready: letter == 'R',
            at: Timestamp::from_second(NOW - 1000).unwrap(),
            restarts: 0,
            index: None,
        };
        text.chars().enumerate().map(one).collect()
    }

    fn spec(more: Value) -> Value {
        let mut spec = json!({"parallelism": 2, "completions": 3, "backoffLimit": 1, "podReplacementPolicy": "TerminatingOrFailed",
            "template": {"spec": {"restartPolicy": "Never"}}});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        spec
    }

    /// Pods made, pods deleted, conditions that are true.
    fn shown(plan: &Plan) -> String {
        let conditions = plan.status["conditions"].as_array().into_iter().flatten();
        let true_ones = conditions
            .into_iter()
            .filter(|one| one["status"] == "True")
            .map(|one| format!("{}:{}", one["type"].as_str().unwrap(), one["reason"].as_str().unwrap()));
        format!("+{} -{} {}", plan.create.len(), plan.delete.join(","), true_ones.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn pods_are_made_until_enough_have_succeeded() {
        let queue = json!({"completions": null});
        let waits = json!({"podReplacementPolicy": "Failed"});
        let rows: Vec<(Value, Value, &str, &str)> = vec![
            (json!({}), json!({}), "", "+2 - "),
            (json!({}), json!({}), "RR", "+0 - "),
            (json!({}), json!({"succeeded": 1}), "RS", "+1 - "),
            (json!({}), json!({"succeeded": 2}), "SSR", "+0 - "),
            (json!({}), json!({"succeeded": 2}), "RRSS", "+0 -R0 "),
            (json!({"parallelism": 1}), json!({}), "RP", "+0 -P1 "),
            (json!({"parallelism": 0}), json!({}), "R", "+0 -R0 "),
            (
                json!({}),
                json!({"succeeded": 3}),
                "SSS",
                "+0 - SuccessCriteriaMet:CompletionsReached Complete:CompletionsReached",
            ),
            (json!({}), json!({"succeeded": 3}), "RSSS", "+0 -R0 SuccessCriteriaMet:CompletionsReached"),
            (json!({}), json!({"succeeded": 3}), "LSSS", "+0 - SuccessCriteriaMet:CompletionsReached"),
            (
                json!({"completions": 0}),
                json!({}),
                "",
                "+0 - SuccessCriteriaMet:CompletionsReached Complete:CompletionsReached",
            ),
            // Pods that share a queue.
            (queue.clone(), json!({}), "R", "+1 - "),
            (queue.clone(), json!({"succeeded": 1}), "SR", "+0 - "),
            (
                queue,
                json!({"succeeded": 2}),
                "SS",
                "+0 - SuccessCriteriaMet:CompletionsReached Complete:CompletionsReached",
            ),
            // Failures.
            (json!({}), json!({"failed": 1}), "FR", "+1 - "),
            (json!({}), json!({"failed": 2}), "FFR", "+0 -R2 FailureTarget:BackoffLimitExceeded"),
            (
                json!({}),
                json!({"failed": 2}),
                "FF",
                "+0 - FailureTarget:BackoffLimitExceeded Failed:BackoffLimitExceeded",
            ),
            (
                json!({"backoffLimit": 0}),
                json!({"failed": 1}),
                "F",
                "+0 - FailureTarget:BackoffLimitExceeded Failed:BackoffLimitExceeded",
            ),
            // One that leaves is replaced at once, or only when it has gone.
            (json!({}), json!({}), "LR", "+1 - "),
            (waits, json!({}), "LR", "+0 - "),
            // Held.
            (json!({"suspend": true}), json!({}), "", "+0 - Suspended:JobSuspended"),
            (json!({"suspend": true}), json!({"failed": 1}), "RP", "+0 -R0,P1 Suspended:JobSuspended"),
        ];
        for (more, status, seen, expected) in rows {
            let found = plan(&spec(more.clone()), &status, &pods(seen), now());
            assert_eq!(shown(&found), expected, "{more} {status} {seen}");
        }
    }

    #[test]
    fn time_ends_a_job_and_holds_pods_back() {
        let started = |ago: i64| json!({"startTime": time::format(Timestamp::from_second(NOW - ago).unwrap())});
        let limited = spec(json!({"activeDeadlineSeconds": 60}));
        assert_eq!(plan(&limited, &started(59), &pods("RR"), now()).wait, Some(1));
        let late = plan(&limited, &started(60), &pods("RR"), now());
        assert_eq!(shown(&late), "+0 -R0,R1 FailureTarget:DeadlineExceeded");
        let over = plan(&limited, &late.status, &pods(""), now());
        assert_eq!(shown(&over), "+0 - FailureTarget:DeadlineExceeded Failed:DeadlineExceeded");
        assert_eq!((finished(&over.status), finished(&late.status)), (Some(now()), None));
        // Failures one after the other wait longer and longer.
        for (failures, ago, expected) in
            [(1, 9, Some(1)), (1, 10, None), (2, 10, Some(10)), (3, 0, Some(40)), (20, 0, Some(600))]
        {
            let mut seen = pods(&"F".repeat(failures));
            seen.iter_mut().for_each(|pod| pod.at = Timestamp::from_second(NOW - ago).unwrap());
            let found = plan(&spec(json!({"backoffLimit": 100})), &json!({"failed": failures}), &seen, now());
            assert_eq!(
                (found.wait, found.create.len()),
                (expected, if expected.is_none() { 2 } else { 0 }),
                "{failures} {ago}"
            );
        }
        // A success in between forgets them.
        let mut seen = pods("FS");
        seen[0].at = Timestamp::from_second(NOW - 5).unwrap();
        seen[1].at = Timestamp::from_second(NOW - 4).unwrap();
        assert_eq!(plan(&spec(json!({})), &json!({"failed": 1, "succeeded": 1}), &seen, now()).create.len(), 2);
        for (ttl, ago, expected) in
            [(json!(null), 5, None), (json!(10), 4, Some(6)), (json!(0), 0, Some(0)), (json!(1), 99, Some(0))]
        {
            let at = Timestamp::from_second(NOW - ago).unwrap();
            assert_eq!(left(&json!({"ttlSecondsAfterFinished": ttl}), at, now()), expected);
        }
    }

    #[test]
    fn restarts_in_place_count_against_the_limit() {
        let spec = spec(json!({"backoffLimit": 3, "template": {"spec": {"restartPolicy": "OnFailure"}}}));
        let mut seen = pods("RR");
        (seen[0].restarts, seen[1].restarts) = (1, 1);
        assert_eq!(shown(&plan(&spec, &json!({}), &seen, now())), "+0 - ");
        seen[1].restarts = 2;
        assert_eq!(shown(&plan(&spec, &json!({}), &seen, now())), "+0 -R0,R1 FailureTarget:BackoffLimitExceeded");
    }

    #[test]
    fn a_job_that_goes_on_starts_its_time_anew() {
        let held =
            plan(&spec(json!({"suspend": true})), &json!({"startTime": "2001-01-01T00:00:00Z"}), &pods(""), now());
        assert_eq!((held.status.get("startTime"), held.told), (None, Some((false, "Suspended", "Job suspended"))));
        let on = plan(&spec(json!({})), &held.status, &pods(""), now());
        assert_eq!((shown(&on).as_str(), &on.status["startTime"]), ("+2 - ", &json!(time::format(now()))));
        assert_eq!(on.told, Some((false, "Resumed", "Job resumed")));
        // A second look finds nothing new to say.
        let again = plan(&spec(json!({})), &on.status, &pods("RR"), now());
        assert_eq!(again.told, None);
        assert_eq!(plan(&spec(json!({})), &again.status, &pods("RR"), now()).status, again.status);
    }

    #[test]
    fn each_end_is_told_by_phase_or_departure() {
        let ends: Vec<Option<End>> = pods("RPSFL").iter().map(|pod| pod.end(&spec(json!({})))).collect();
        assert_eq!(ends, [None, None, Some(End::Succeeded), Some(End::Failed), Some(End::Failed)]);
        assert_eq!(pods("L")[0].end(&spec(json!({"podReplacementPolicy": "Failed"}))), None);
        let ends = [End::Succeeded, End::Failed, End::Succeeded].map(|end| (end, None));
        let status = counted(&spec(json!({})), &json!({"succeeded": 1, "active": 4}), &ends);
        assert_eq!(status, json!({"succeeded": 3, "failed": 1, "active": 4}));
        assert_eq!(counted(&spec(json!({})), &Value::Null, &[]), json!({}));
    }

    #[test]
    fn each_index_runs_until_it_has_succeeded_once() {
        let indexed = |more: Value| {
            let mut spec = spec(json!({"completionMode": "Indexed", "completions": 5, "parallelism": 2}));
            more.as_object().unwrap().iter().for_each(|(key, value)| spec[key] = value.clone());
            spec
        };
        // Pods as letter and index.
        let seen = |text: &str| -> Vec<Sight> {
            let one = |part: &str| {
                let mut pod = pods(&part[..1]).remove(0);
                (pod.index, pod.name) = (part[1..].parse().ok(), part.to_owned());
                pod
            };
            text.split_whitespace().map(one).collect()
        };
        let waits = json!({"podReplacementPolicy": "Failed"});
        for (more, completed, text, created, deleted) in [
            (json!({}), "", "", vec![0, 1], ""),
            (json!({}), "0,2", "R1", vec![3], ""),
            (json!({}), "0-3", "", vec![4], ""),
            (json!({}), "", "R0 R1", vec![], ""),
            // Two of one index, one that is done, one that there never was, and one without.
            (json!({}), "", "R0 P0 R1", vec![], "P0"),
            (json!({}), "0", "R0 R9 R", vec![1, 2], "R0 R9 R"),
            (json!({"parallelism": 1}), "", "R0 R1", vec![], "R1"),
            (json!({"parallelism": 0}), "", "R3 R1", vec![], "R3 R1"),
            (json!({}), "", "L0 R1", vec![0], ""),
            (waits, "", "L0 R1", vec![], ""),
            (json!({"completions": 2}), "0,4", "", vec![1], ""),
        ] {
            let status = json!({"completedIndexes": completed});
            let found = plan(&indexed(more.clone()), &status, &seen(text), now());
            let expected: Vec<Option<i64>> = created.into_iter().map(Some).collect();
            assert_eq!(
                (found.create, found.delete.join(" ")),
                (expected, deleted.to_owned()),
                "{more} {completed} {text}"
            );
        }
        let ends =
            [(End::Succeeded, Some(1)), (End::Succeeded, Some(1)), (End::Failed, Some(3)), (End::Succeeded, Some(7))];
        let status = counted(&indexed(json!({})), &json!({"completedIndexes": "0,2", "succeeded": 2}), &ends);
        assert_eq!(status, json!({"completedIndexes": "0-2", "succeeded": 3, "failed": 1}));
        let done = plan(&indexed(json!({})), &json!({"completedIndexes": "0-4"}), &[], now());
        assert_eq!(shown(&done), "+0 - SuccessCriteriaMet:CompletionsReached Complete:CompletionsReached");
    }
}
