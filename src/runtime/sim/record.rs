//! What is kept of a simulated sandbox or container, and what it is at a given time. Pure.

use super::program::{self, Course, OnTerm, Surroundings};
use crate::{Container, ContainerSpec, Exit, Sandbox, SandboxSpec, State};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Record {
    Sandbox(Box<SandboxRecord>),
    Container(Box<ContainerRecord>),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SandboxRecord {
    pub id: String,
    pub spec: SandboxSpec,
    pub address: Option<IpAddr>,
    pub created: Timestamp,
    /// How it was ended, if it was.
    pub ended: Option<Exit>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ContainerRecord {
    pub id: String,
    pub spec: ContainerSpec,
    pub hostname: String,
    pub created: Timestamp,
    pub started: Option<Timestamp>,
    /// How it was ended from outside, if it was; its own end follows from its program.
    pub ended: Option<Exit>,
    /// Whether listeners were told of its own end. Not kept: a new agent looks at the list first.
    #[serde(skip)]
    pub announced: bool,
}

impl Record {
    pub fn id(&self) -> &str {
        match self {
            Record::Sandbox(record) => &record.id,
            Record::Container(record) => &record.id,
        }
    }
}

impl SandboxRecord {
    pub fn state(&self) -> State {
        match &self.ended {
            Some(exit) => State::Exited(exit.clone()),
            None => State::Running { started: Some(self.created) },
        }
    }

    pub fn describe(&self) -> Sandbox {
        let state = self.state();
        Sandbox {
            id: self.id.clone(),
            pod: self.spec.pod.clone(),
            attempt: self.spec.attempt,
            address: self.address.filter(|_| state.is_running()),
            state,
            host_network: self.spec.host_network,
            spec_hash: self.spec.spec_hash.clone(),
            created: Some(self.created),
        }
    }
}

impl ContainerRecord {
    /// Its program, or why it cannot be started.
    pub fn program(&self) -> Result<program::Program, String> {
        let words: Vec<String> = self.spec.command.iter().chain(&self.spec.args).cloned().collect();
        program::parse(&words, self.surroundings())
    }

    pub fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            hostname: &self.hostname,
            env: &self.spec.env,
            has_memory_limit: self.spec.resources.memory_limit_bytes.is_some(),
        }
    }

    pub fn course(&self) -> Course {
        self.program().map(|program| program.course()).unwrap_or_default()
    }

    pub fn on_term(&self) -> OnTerm {
        self.program().map_or(OnTerm::Exit(143), |program| program.on_term)
    }

    pub fn state(&self, now: Timestamp) -> State {
        if let Some(exit) = &self.ended {
            return State::Exited(exit.clone());
        }
        let Some(started) = self.started else { return State::Created };
        let own_end = self.course().end.and_then(|end| Some((end, later(started, end.at)?)));
        match own_end {
            Some((end, finished)) if finished <= now => State::Exited(Exit {
                code: end.code,
                signal: Exit::signal_of(end.code),
                oom_killed: end.oom_killed,
                started: Some(started),
                finished: Some(finished),
                message: String::new(),
            }),
            _ => State::Running { started: Some(started) },
        }
    }

    pub fn describe(&self, now: Timestamp) -> Container {
        Container {
            id: self.id.clone(),
            pod: self.spec.pod.clone(),
            name: self.spec.name.clone(),
            attempt: self.spec.attempt,
            sandbox_id: self.spec.sandbox_id.clone(),
            state: self.state(now),
            image: self.spec.image.clone(),
            image_id: image_id(&self.spec.image),
            spec_hash: self.spec.spec_hash.clone(),
            created: Some(self.created),
        }
    }
}

/// The id of a simulated image: the hash of its name.
pub(super) fn image_id(reference: &str) -> String {
    format!("sha256:{}", crate::image::hex_sha256(reference.as_bytes()))
}

/// `None` when that is beyond the end of all time.
pub(super) fn later(time: Timestamp, by: Duration) -> Option<Timestamp> {
    time.checked_add(SignedDuration::try_from(by).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_state_follows_from_the_time() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let spec =
            ContainerSpec { command: ["sh", "-c", "sleep 10; exit 3"].map(str::to_owned).into(), ..Default::default() };
        let mut record = ContainerRecord {
            id: "1".into(),
            spec,
            hostname: String::new(),
            created: start,
            started: None,
            ended: None,
            announced: false,
        };
        let after = |seconds| later(start, Duration::from_secs(seconds)).unwrap();
        assert_eq!(record.state(after(100)), State::Created);
        record.started = Some(start);
        assert!(record.state(after(9)).is_running());
        assert_eq!(record.state(after(10)).exit().map(|exit| exit.code), Some(3));
        assert_eq!(record.state(after(99)).exit().and_then(|exit| exit.finished), Some(after(10)));
        record.ended = Some(Exit { code: 137, ..Default::default() });
        assert_eq!(record.state(start).exit().map(|exit| exit.code), Some(137));
        assert_eq!(later(start, Duration::MAX), None);
    }
}
