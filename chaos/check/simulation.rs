//! A store that is right by construction, used by clients at once: its histories must pass every checker. For tests.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use crate::history::{Answer, Call, Event, History, Listing, Operation, Watching};

/// Numbers that look random and depend only on the seed (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one, which must not be zero.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True in so many of a hundred cases.
    pub(super) fn percent(&mut self, part: u64) -> bool {
        self.below(100) < part
    }

    /// One of them.
    pub(super) fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.below(all.len() as u64) as usize) }
    }
}

/// What to simulate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) keys: u64,
    pub(super) clients: u32,
    pub(super) calls: usize,
    /// Writes of a hundred whose outcome the client does not learn.
    pub(super) unknown: u64,
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// A client makes a call.
    Invoke(u32),
    /// An operation takes effect.
    Effect(usize),
    /// A list is read.
    List(usize),
}

/// The store, and everything that is under way.
struct Simulation {
    plan: Plan,
    random: Random,
    agenda: BinaryHeap<Reverse<(u64, u64, Step)>>,
    history: History,
    state: BTreeMap<String, (u64, u64)>,
    revision: u64,
    changes: Vec<Event>,
    read: HashMap<(u32, String), u64>,
    drawn: u64,
}

/// The revision before the campaign.
const START: u64 = 100;

/// Simulates a campaign with three watchers: one over all of it, one that begins late, one that ends early.
pub(super) fn simulate(plan: Plan) -> History {
    let mut simulation = Simulation {
        plan,
        random: Random(plan.seed),
        agenda: BinaryHeap::new(),
        history: History::default(),
        state: BTreeMap::new(),
        revision: START,
        changes: Vec::new(),
        read: HashMap::new(),
        drawn: 0,
    };
    for client in 0..plan.clients {
        simulation.plan_at(u64::from(client), Step::Invoke(client));
    }
    while let Some(Reverse((now, _, step))) = simulation.agenda.pop() {
        match step {
            Step::Invoke(client) => simulation.invoke(now, client),
            Step::Effect(operation) => simulation.effect(now, operation),
            Step::List(listing) => {
                simulation.history.listings[listing].revision = simulation.revision;
                simulation.history.listings[listing].items = simulation.state.clone();
            }
        }
    }
    simulation.watch();
    simulation.history
}

impl Simulation {
    fn plan_at(&mut self, time: u64, step: Step) {
        // Two steps never share a moment's place: the number drawn decides.
        let tie = self.random.next();
        self.agenda.push(Reverse((time, tie, step)));
    }

    fn invoke(&mut self, now: u64, client: u32) {
        if self.history.operations.len() + self.history.listings.len() >= self.plan.calls {
            return;
        }
        let master = self.random.below(3) as usize;
        let effect = now + 1 + self.random.below(1_000_000);
        let returned = effect + 1 + self.random.below(1_000_000);
        let pause = 1 + self.random.below(200_000);
        self.plan_at(returned + pause, Step::Invoke(client));
        if self.random.percent(3) {
            let listing = Listing { client, master, invoked: now, returned, revision: 0, items: BTreeMap::new() };
            self.history.listings.push(listing);
            return self.plan_at(effect, Step::List(self.history.listings.len() - 1));
        }
        let key = format!("key-{}", self.random.below(self.plan.keys));
        let call = self.call(client, &key);
        let place = self.history.operations.len();
        let mut answer = Answer::Failed;
        if call != Call::Read && self.random.percent(self.plan.unknown) {
            answer = Answer::Unknown;
            match self.random.below(3) {
                0 => self.plan_at(effect, Step::Effect(place)),
                1 => {
                    let delay = self.random.below(50_000_000);
                    self.plan_at(returned + delay, Step::Effect(place));
                }
                _ => {}
            }
        } else if !self.random.percent(2) {
            self.plan_at(effect, Step::Effect(place));
        }
        self.history.operations.push(Operation { client, master, key, call, invoked: now, returned, answer });
    }

    fn call(&mut self, client: u32, key: &str) -> Call {
        self.drawn += 1;
        let value = self.drawn;
        match self.random.below(100) {
            0..35 => Call::Read,
            35..50 => Call::Create { value },
            50..70 => Call::Write { value },
            70..90 => match self.read.get(&(client, key.to_owned())) {
                Some(expected) => Call::Compare { expected: *expected, value },
                None => Call::Read,
            },
            _ => Call::Delete,
        }
    }

    fn effect(&mut self, now: u64, place: usize) {
        let operation = self.history.operations[place].clone();
        let present = self.state.get(&operation.key).copied();
        let answer = match (&operation.call, present) {
            (Call::Read, Some((value, revision))) => Answer::Found { value, revision },
            (Call::Read | Call::Write { .. } | Call::Compare { .. } | Call::Delete, None) => Answer::Absent,
            (Call::Create { .. }, Some(_)) => Answer::Refused,
            (Call::Compare { expected, .. }, Some((value, _))) if *expected != value => Answer::Refused,
            (Call::Create { .. } | Call::Write { .. } | Call::Compare { .. } | Call::Delete, _) => {
                // Other objects change too.
                self.revision += 1 + self.random.below(3);
                let (revision, value) = (self.revision, operation.call.value());
                match value {
                    Some(value) => drop(self.state.insert(operation.key.clone(), (value, revision))),
                    None => drop(self.state.remove(&operation.key)),
                }
                self.changes.push(Event { revision, key: operation.key.clone(), value, received: now });
                let told = value.is_some() || self.random.percent(50);
                Answer::Done { revision: if told { revision } else { 0 } }
            }
        };
        if let Answer::Found { value, .. } = answer {
            self.read.insert((operation.client, operation.key.clone()), value);
        }
        if operation.answer != Answer::Unknown {
            self.history.operations[place].answer = answer;
        }
    }

    fn watch(&mut self) {
        let middle = START + (self.revision - START) / 3;
        let ends = [(START, self.revision), (middle, self.revision + 5), (START, middle)];
        for (number, (from, until)) in ends.into_iter().enumerate() {
            let mut clock = 0;
            let mut events = Vec::new();
            for change in self.changes.iter().filter(|change| change.revision > from) {
                clock = clock.max(change.received + self.random.below(3_000_000));
                events.push(Event { received: clock, ..change.clone() });
                // A few events after the last bookmark.
                if change.revision > until + 5 {
                    break;
                }
            }
            let name = format!("watcher-{number}");
            self.history.watches.push(Watching { name, master: number, from, until, events, expired: Vec::new() });
        }
    }
}
