//! The masters that a client knows: how each is doing, and which one is used.
//!
//! The choice is sticky: it changes only when the chosen master fails, to the one that is doing best.
//! The list can be replaced at any time from what the cluster says; keeping it over restarts is the
//! caller's part ([`Endpoints::snapshot`]).

use crate::limits::{MASTERS_MAX, REASON_CHARS_MAX};
use crate::{Address, Error};
use jiff::Timestamp;
use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The list of masters, shared by all who use it.
#[derive(Debug, Clone)]
pub struct Endpoints {
    shared: Arc<Shared>,
}

/// How one master is doing, as its users experience it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// Nothing is known yet.
    Untried,
    /// The last use went well.
    Good,
    /// The last use failed.
    Failing,
}

/// One master in a report.
#[derive(Debug, Clone, Serialize)]
pub struct MasterView {
    /// Where it listens.
    pub url: Address,
    /// How the last use of it went.
    pub condition: Condition,
    /// Whether it is the one in use.
    pub current: bool,
    /// When it was last used with success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ok: Option<Timestamp>,
    /// What failed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error_at: Option<Timestamp>,
}

/// The whole list in a report.
#[derive(Debug, Clone, Serialize)]
pub struct View {
    /// Every master, in the order of the list.
    pub masters: Vec<MasterView>,
    /// Why the choice changed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switched_because: Option<String>,
    /// When the choice changed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switched_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Shared {
    list: Mutex<List>,
    // Counts changes of the list itself, not of health.
    replaced: watch::Sender<u64>,
}

#[derive(Debug)]
struct List {
    masters: Vec<Master>,
    current: usize,
    // Orders failures: the one that failed longest ago is tried first.
    failures: u64,
    switched: Option<(Timestamp, String)>,
}

#[derive(Debug, Clone)]
struct Master {
    address: Address,
    // The number of its last failure, until it is used with success.
    failed: Option<u64>,
    last_ok: Option<Timestamp>,
    last_error: Option<(Timestamp, String)>,
}

impl Endpoints {
    /// A list of these masters, repeated ones once. The first choice is random, so that many clients
    /// given the same list spread over the masters.
    ///
    /// # Errors
    /// [`Error::Masters`] when there is none, or absurdly many.
    pub fn new(addresses: impl IntoIterator<Item = Address>) -> Result<Self, Error> {
        let masters = masters_of(addresses)?;
        let current = base::random::below(masters.len());
        Ok(Self::start(masters, current))
    }

    /// As [`new`](Self::new), with the first of the list as the first choice.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn in_order(addresses: impl IntoIterator<Item = Address>) -> Result<Self, Error> {
        Ok(Self::start(masters_of(addresses)?, 0))
    }

    /// Reads a list as on a command line: addresses separated by commas.
    ///
    /// # Errors
    /// [`Error::Address`] for the first that does not parse, [`Error::Masters`] when there is none.
    pub fn parse(list: &str) -> Result<Self, Error> {
        let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
        Self::new(parts.map(str::parse).collect::<Result<Vec<Address>, _>>()?)
    }

    /// Every address, in the order of the list.
    pub fn addresses(&self) -> Vec<Address> {
        self.list().masters.iter().map(|master| master.address.clone()).collect()
    }

    /// The master in use.
    pub fn current(&self) -> Address {
        let list = self.list();
        list.masters[list.current].address.clone()
    }

    /// Every master in the order in which to try them: the one in use, then those without a known
    /// fault, then those whose last failure is longest ago.
    pub fn candidates(&self) -> Vec<Address> {
        let list = self.list();
        list.order().into_iter().map(|index| list.masters[index].address.clone()).collect()
    }

    /// Takes the list that the cluster gives. Masters that stay keep their health and the choice
    /// stays if it can.
    ///
    /// # Errors
    /// [`Error::Masters`] when it is empty or absurdly long; the old list stays in use.
    pub fn replace(&self, addresses: impl IntoIterator<Item = Address>) -> Result<(), Error> {
        let mut masters = masters_of(addresses)?;
        let mut list = self.list();
        let same = masters.len() == list.masters.len()
            && masters.iter().all(|new| list.masters.iter().any(|old| old.address == new.address));
        if same {
            return Ok(());
        }
        for master in &mut masters {
            if let Some(known) = list.masters.iter().find(|known| known.address == master.address) {
                *master = known.clone();
            }
        }
        let chosen = list.masters[list.current].address.clone();
        list.masters = masters;
        match list.position(&chosen) {
            Some(index) => list.current = index,
            None => {
                list.current = 0;
                list.current = list.order().first().copied().unwrap_or(0);
                list.switched = Some((base::clock::now(), format!("{chosen} is no longer a master")));
            }
        }
        drop(list);
        self.shared.replaced.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Notes that `address` was used with success. When the one in use is failing, the choice moves
    /// here.
    pub fn succeeded(&self, address: &Address) {
        let mut list = self.list();
        let Some(index) = list.position(address) else { return };
        list.masters[index].failed = None;
        list.masters[index].last_ok = Some(base::clock::now());
        let current = &list.masters[list.current];
        if index != list.current && current.failed.is_some() {
            let because = match &current.last_error {
                Some((_, reason)) => format!("{}: {reason}", current.address),
                None => format!("{} is failing", current.address),
            };
            list.switch(index, because);
        }
    }

    /// Notes that `address` failed, and why. When it is the one in use and another is not known to
    /// fail, the choice moves there.
    pub fn failed(&self, address: &Address, reason: &str) {
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        let mut list = self.list();
        let Some(index) = list.position(address) else { return };
        list.failures += 1;
        let number = list.failures;
        let master = &mut list.masters[index];
        master.failed = Some(number);
        master.last_error = Some((base::clock::now(), reason.clone()));
        if index == list.current {
            let best = list.order().into_iter().find(|other| list.masters[*other].failed.is_none());
            if let Some(best) = best {
                list.switch(best, format!("{address}: {reason}"));
            }
        }
    }

    /// As [`failed`](Self::failed), unless a fault of it is known already, which then says more.
    pub(crate) fn suspected(&self, address: &Address, reason: &str) {
        let known = {
            let list = self.list();
            list.position(address).is_some_and(|index| list.masters[index].failed.is_some())
        };
        if !known {
            self.failed(address, reason);
        }
    }

    /// How every master is doing.
    pub fn view(&self) -> View {
        let list = self.list();
        let masters = list.masters.iter().enumerate().map(|(index, master)| MasterView {
            url: master.address.clone(),
            condition: match (master.failed, master.last_ok) {
                (Some(_), _) => Condition::Failing,
                (None, Some(_)) => Condition::Good,
                (None, None) => Condition::Untried,
            },
            current: index == list.current,
            last_ok: master.last_ok,
            last_error: master.last_error.as_ref().map(|(_, reason)| reason.clone()),
            last_error_at: master.last_error.as_ref().map(|(at, _)| *at),
        });
        View {
            masters: masters.collect(),
            switched_because: list.switched.as_ref().map(|(_, reason)| reason.clone()),
            switched_at: list.switched.as_ref().map(|(at, _)| *at),
        }
    }

    /// The addresses for the caller to keep over a restart, the best first.
    pub fn snapshot(&self) -> Vec<Address> {
        self.candidates()
    }

    /// A list from what [`snapshot`](Self::snapshot) gave, with `configured` as further masters: a
    /// kept list may be out of date altogether.
    ///
    /// # Errors
    /// [`Error::Masters`] when both are empty.
    pub fn restore(kept: Vec<Address>, configured: impl IntoIterator<Item = Address>) -> Result<Self, Error> {
        Self::in_order(kept.into_iter().chain(configured).take(MASTERS_MAX))
    }

    /// Wakes whenever masters were added or removed.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.replaced.subscribe()
    }

    /// The last failure of every master, for an error message.
    pub(crate) fn reasons(&self) -> String {
        let list = self.list();
        let reasons: Vec<String> = list
            .masters
            .iter()
            .map(|master| match &master.last_error {
                Some((_, reason)) if master.failed.is_some() => format!("{}: {reason}", master.address),
                _ => format!("{}: no answer in time", master.address),
            })
            .collect();
        reasons.join("; ")
    }

    fn start(masters: Vec<Master>, current: usize) -> Self {
        let list = Mutex::new(List { masters, current, failures: 0, switched: None });
        Self { shared: Arc::new(Shared { list, replaced: watch::Sender::new(0) }) }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.shared.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    fn position(&self, address: &Address) -> Option<usize> {
        self.masters.iter().position(|master| &master.address == address)
    }

    /// Indexes in the order in which to try them. Among equals, those after the current one come
    /// first, so that clients of a failed master spread.
    fn order(&self) -> Vec<usize> {
        let count = self.masters.len();
        let mut order: Vec<usize> = (0..count).map(|step| (self.current + step) % count).collect();
        // A stable sort: never failed before failed, then by age of the failure; the current one
        // stays first as long as it does not fail.
        order.sort_by_key(|index| self.masters[*index].failed.unwrap_or(0));
        order
    }

    fn switch(&mut self, index: usize, because: String) {
        tracing::info!(master = %self.masters[index].address, because, "using another master");
        self.current = index;
        self.switched = Some((base::clock::now(), because));
    }
}

fn masters_of(addresses: impl IntoIterator<Item = Address>) -> Result<Vec<Master>, Error> {
    let mut masters: Vec<Master> = Vec::new();
    for address in addresses {
        if !masters.iter().any(|known| known.address == address) {
            masters.push(Master { address, failed: None, last_ok: None, last_error: None });
        }
    }
    if masters.is_empty() || masters.len() > MASTERS_MAX {
        return Err(Error::Masters(masters.len()));
    }
    Ok(masters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u16) -> Address {
        Address::new("m", number).unwrap()
    }

    fn three() -> Endpoints {
        Endpoints::in_order([1, 2, 3].map(address)).unwrap()
    }

    fn order(endpoints: &Endpoints) -> Vec<u16> {
        endpoints.candidates().iter().map(Address::port).collect()
    }

    #[test]
    fn the_choice_is_sticky_and_moves_on_failure() {
        let endpoints = three();
        endpoints.succeeded(&address(2));
        assert_eq!(order(&endpoints), [1, 2, 3], "success elsewhere is no reason to move");
        endpoints.failed(&address(1), "refused");
        assert_eq!(order(&endpoints), [2, 3, 1]);
        endpoints.succeeded(&address(1));
        assert_eq!(endpoints.current(), address(2), "recovery is no reason to move back");
        assert_eq!(endpoints.view().switched_because.as_deref(), Some("https://m:1: refused"));
    }

    #[test]
    fn when_all_fail_the_oldest_failure_is_tried_first() {
        let endpoints = three();
        for number in [2, 1, 3] {
            endpoints.failed(&address(number), "frozen");
        }
        assert_eq!(order(&endpoints), [2, 1, 3]);
        endpoints.succeeded(&address(1));
        assert_eq!(endpoints.current(), address(1), "any success beats a failing choice");
        assert!(endpoints.reasons().contains("https://m:3: frozen"));
    }

    #[test]
    fn replacing_keeps_what_is_known() {
        let endpoints = three();
        let mut changes = endpoints.subscribe();
        endpoints.failed(&address(3), "refused");
        endpoints.replace([3, 2, 1].map(address)).unwrap();
        assert!(!changes.has_changed().unwrap(), "the same masters in another order are no change");
        endpoints.replace([4, 3, 1].map(address)).unwrap();
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert_eq!(order(&endpoints), [1, 4, 3]);
        endpoints.replace([4, 3].map(address)).unwrap();
        assert_eq!(order(&endpoints), [4, 3], "the failing one is not chosen");
        assert!(endpoints.view().switched_because.unwrap().contains("no longer a master"));
        assert!(matches!(endpoints.replace([]), Err(Error::Masters(0))));
        assert_eq!(order(&endpoints), [4, 3]);
    }

    #[test]
    fn lists_are_read_and_kept() {
        let endpoints = Endpoints::parse("https://a:1, b:2,,b:2").unwrap();
        assert_eq!(endpoints.addresses().len(), 2);
        assert!(matches!(Endpoints::parse(" , "), Err(Error::Masters(0))));
        assert!(matches!(Endpoints::parse("a:1,b:x"), Err(Error::Address(_))));
        let kept = serde_json::to_string(&three().snapshot()).unwrap();
        assert_eq!(kept, r#"["https://m:1","https://m:2","https://m:3"]"#);
        let restored = Endpoints::restore(serde_json::from_str(&kept).unwrap(), [3, 9].map(address)).unwrap();
        assert_eq!(order(&restored), [1, 2, 3, 9]);
        let shown = serde_json::to_value(three().view()).unwrap();
        assert_eq!(shown["masters"][0]["condition"], "untried");
    }

    #[test]
    fn strangers_are_ignored() {
        let endpoints = three();
        endpoints.failed(&address(9), "refused");
        endpoints.succeeded(&address(9));
        assert_eq!(order(&endpoints), [1, 2, 3]);
    }
}
