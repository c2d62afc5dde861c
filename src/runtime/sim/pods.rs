//! Simulated sandboxes and containers: list, create, start, stop, remove.

use super::Shared;
use super::ended::sleep;
use super::program::OnTerm;
use super::record::{ContainerRecord, Record, SandboxRecord};
use crate::labels::Identity;
use crate::{Change, ContainerSpec, Error, Exit, Listing, Result, Sandbox, SandboxSpec, State, image};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// Whether an image's name says that there is none.
pub(super) fn is_missing(reference: &str) -> bool {
    reference.contains("missing")
}

impl Shared {
    pub(super) fn list(&self) -> Result<Listing> {
        let inner = self.reach()?;
        let now = self.clock.now();
        let mut listing = Listing::default();
        for record in inner.records.values() {
            match record {
                Record::Sandbox(record) => listing.sandboxes.push(record.describe()),
                Record::Container(record) => listing.containers.push(record.describe(now)),
            }
        }
        Ok(listing)
    }

    pub(super) fn run_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox> {
        let record = {
            let mut inner = self.reach()?;
            if spec.host_network && !spec.ports.is_empty() {
                return Err(Error::invalid(
                    "a pod on the node's own network cannot map ports: its ports are the node's",
                ));
            }
            let identity =
                Identity { pod: spec.pod.clone(), container: None, attempt: spec.attempt, spec_hash: String::new() };
            self.check_new(&inner.records, &identity, &spec.labels)?;
            let running = inner.records.values().filter_map(|record| match record {
                Record::Sandbox(record) if record.ended.is_none() => Some(record.as_ref()),
                _ => None,
            });
            let running: Vec<&SandboxRecord> = running.collect();
            let taken = |port: &&crate::PortMapping| {
                let same = |other: &crate::PortMapping| {
                    let apart = matches!((other.host_ip, port.host_ip), (Some(one), Some(two)) if one != two);
                    other.host_port == port.host_port && other.protocol == port.protocol && !apart
                };
                running.iter().any(|record| record.spec.ports.iter().any(same))
            };
            if let Some(port) = spec.ports.iter().find(taken) {
                let reason = "another simulated sandbox has it".to_owned();
                return Err(Error::PortInUse { port: Some(port.host_port), reason });
            }
            let used: Vec<IpAddr> = running.iter().filter_map(|record| record.address).collect();
            let address = if spec.host_network {
                None
            } else {
                let (address, next) = free_address(self.first_address, inner.next_address, &used)?;
                inner.next_address = next;
                Some(address)
            };
            let record = SandboxRecord { id: new_id(), spec, address, created: self.clock.now(), ended: None };
            inner.put(Record::Sandbox(Box::new(record.clone())))?;
            record
        };
        self.announce(&record.id, Change::Started);
        Ok(record.describe())
    }

    pub(super) fn create(&self, spec: ContainerSpec) -> Result<String> {
        let mut inner = self.reach()?;
        image::split_reference(&spec.image)?;
        if is_missing(&spec.image) {
            return Err(Error::ImageMissing { reference: spec.image });
        }
        let hostname = match inner.records.get(&spec.sandbox_id) {
            Some(Record::Sandbox(sandbox)) => sandbox.spec.hostname.clone(),
            _ => return Err(Error::not_found(&spec.sandbox_id)),
        };
        let identity = Identity {
            pod: spec.pod.clone(),
            container: Some(spec.name.clone()),
            attempt: spec.attempt,
            spec_hash: String::new(),
        };
        self.check_new(&inner.records, &identity, &spec.labels)?;
        let record = ContainerRecord {
            id: new_id(),
            spec,
            hostname,
            created: self.clock.now(),
            started: None,
            ended: None,
            announced: false,
        };
        let id = record.id.clone();
        inner.put(Record::Container(Box::new(record)))?;
        Ok(id)
    }

    /// Fails when the same attempt exists or a label is reserved.
    fn check_new(
        &self,
        records: &std::collections::BTreeMap<String, Record>,
        identity: &Identity,
        labels: &std::collections::BTreeMap<String, String>,
    ) -> Result<()> {
        identity.write(&self.scope, labels)?;
        let same = records.values().find(|record| match record {
            Record::Sandbox(record) => {
                identity.container.is_none()
                    && (&record.spec.pod, record.spec.attempt) == (&identity.pod, identity.attempt)
            }
            Record::Container(record) => {
                identity.container.as_ref() == Some(&record.spec.name)
                    && (&record.spec.pod, record.spec.attempt) == (&identity.pod, identity.attempt)
            }
        });
        match same {
            Some(holder) => {
                Err(Error::NameConflict { name: identity.engine_name(&self.scope), id: Some(holder.id().to_owned()) })
            }
            None => Ok(()),
        }
    }

    pub(super) async fn start(self: &Arc<Self>, id: &str) -> Result<()> {
        drop(self.reach()?);
        sleep(self.options.start_delay).await;
        {
            let mut inner = self.reach()?;
            let Some(Record::Container(record)) = inner.records.get(id) else { return Err(Error::not_found(id)) };
            if record.started.is_some() {
                return Ok(());
            }
            let mut record = record.clone();
            let sandbox = match inner.records.get(&record.spec.sandbox_id) {
                Some(Record::Sandbox(sandbox)) if sandbox.ended.is_none() => Ok(()),
                _ => Err(format!("its sandbox {} does not run", record.spec.sandbox_id)),
            };
            let now = self.clock.now();
            if let Err(reason) = sandbox.and_then(|()| record.program().map(drop)) {
                let message = reason.clone();
                record.ended = Some(Exit { code: 127, finished: Some(now), message, ..Default::default() });
                inner.put(Record::Container(record))?;
                return Err(Error::StartFailed { reason });
            }
            record.started = Some(now);
            inner.put(Record::Container(record))?;
        }
        self.announce(id, Change::Started);
        self.schedule_end(id);
        Ok(())
    }

    pub(super) async fn stop(&self, id: &str, grace: Duration) -> Result<()> {
        let on_term = match self.reach()?.records.get(id) {
            None => return Ok(()),
            Some(Record::Sandbox(_)) => OnTerm::Exit(0),
            Some(Record::Container(record)) if !record.state(self.clock.now()).is_running() => return Ok(()),
            Some(Record::Container(record)) => record.on_term(),
        };
        let code = match on_term {
            OnTerm::Exit(code) => code,
            OnTerm::Ignore => match tokio::time::timeout(grace, self.wait_end(id)).await {
                Ok(_) => return Ok(()),
                Err(_) => 137,
            },
        };
        match self.end(id, code, false) {
            Err(Error::NotFound { .. } | Error::NotRunning { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    pub(super) fn signal(&self, id: &str, signal: &str) -> Result<()> {
        let state = match self.reach()?.records.get(id) {
            None => return Err(Error::not_found(id)),
            Some(Record::Sandbox(record)) => (record.state(), OnTerm::Exit(0)),
            Some(Record::Container(record)) => (record.state(self.clock.now()), record.on_term()),
        };
        let (State::Running { .. }, on_term) = state else { return Err(Error::NotRunning { id: id.to_owned() }) };
        match (signal.trim_start_matches("SIG"), on_term) {
            ("KILL" | "9", _) => self.end(id, 137, false),
            ("TERM" | "15", OnTerm::Exit(code)) => self.end(id, code, false),
            // A program that is process 1 does not notice what it has no handler for.
            ("TERM" | "15" | "INT" | "HUP" | "QUIT" | "USR1" | "USR2", _) => Ok(()),
            _ => Err(Error::invalid(format!("unknown signal {signal}"))),
        }
    }

    pub(super) fn remove(&self, id: &str) -> Result<()> {
        drop(self.reach()?);
        match self.end(id, 137, false) {
            Err(Error::NotFound { .. }) => return Ok(()),
            // It may have ended so recently that its timer has not gone off.
            Err(Error::NotRunning { .. }) => self.announce_own_end(id),
            Ok(()) => {}
            Err(error) => return Err(error),
        }
        self.announce(id, Change::Removed);
        self.inner().remove(id)?;
        self.wake();
        Ok(())
    }
}

fn new_id() -> String {
    let bytes: [u8; 32] = base::random::bytes();
    image::hex_sha256(&bytes)
}

/// The next address from `next` on that is not in use, and where to go on. Network, gateway and broadcast addresses are
/// left out.
fn free_address(first: Ipv4Addr, next: u32, used: &[IpAddr]) -> Result<(IpAddr, u32)> {
    let size = 1u32 << (32 - super::RANGE_PREFIX);
    let usable = size - 3;
    for step in 0..usable {
        let offset = 2 + (next.saturating_sub(2) + step) % usable;
        let address = IpAddr::V4(Ipv4Addr::from(u32::from(first) + offset));
        if !used.contains(&address) {
            return Ok((address, offset + 1));
        }
    }
    Err(Error::Engine {
        what: "giving the sandbox an address".to_owned(),
        status: 0,
        message: format!("all {usable} addresses are in use"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_round_and_run_out() {
        let first = Ipv4Addr::new(10, 128, 4, 0);
        let (address, next) = free_address(first, 2, &[]).unwrap();
        assert_eq!((address.to_string().as_str(), next), ("10.128.4.2", 3));
        let (address, next) = free_address(first, 1022, &[]).unwrap();
        assert_eq!(address.to_string(), "10.128.7.254");
        let (address, _) = free_address(first, next, &[address]).unwrap();
        assert_eq!(address.to_string(), "10.128.4.2");
        let all: Vec<IpAddr> = (0..1024).map(|n| IpAddr::V4(Ipv4Addr::from(u32::from(first) + n))).collect();
        assert!(free_address(first, 2, &all).is_err());
    }
}
