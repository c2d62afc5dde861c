//! Searches an order of one key's steps that explains every answer, after Wing and Gong, with Lowe's memory of
//! positions already seen.
//!
//! Four shortcuts keep it fast and lose no order. What changes nothing is placed as soon as it fits. An operation that
//! only may have happened is tried when it makes something possible that was not. Of interchangeable ones the first is
//! taken. And a position is given up when it was reached before with no more of those used up.

use std::collections::HashMap;

use super::steps::{ABSENT, Needs, State, Step, Steps};

/// Where the search ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// There is an order.
    Ordered,
    /// There is none.
    Stuck(Stuck),
    /// Too many positions.
    GivenUp,
}

/// The longest order that explains its part of the answers.
#[derive(Debug, Default)]
pub(super) struct Stuck {
    /// Places of its operations.
    pub(super) order: Vec<usize>,
    /// How many of them certainly happened.
    pub(super) placed: usize,
    /// The state after it.
    pub(super) state: State,
    /// The operation that must come next and cannot.
    pub(super) blocked: usize,
}

/// A step to try.
#[derive(Debug, Clone, Copy)]
enum Choice {
    Must(usize),
    May(usize),
}

/// Which steps are placed, and the state after them.
#[derive(Debug, Clone)]
struct Position {
    /// One bit for each step that must be placed.
    done: Box<[u64]>,
    placed: usize,
    /// All steps before this one are placed.
    first: usize,
    /// How many of each group are used.
    used: Box<[u16]>,
    state: State,
}

/// A position whose choices are being tried.
struct Frame {
    position: Position,
    choices: Vec<Choice>,
    order: usize,
}

/// For a set of placed steps and a state: what was used up each time it was reached.
type Memory = HashMap<(Box<[u64]>, State), Vec<Box<[u16]>>>;

/// Looks for an order, and gives up after so many positions.
pub(super) fn search(steps: &Steps, positions_max: u64) -> Outcome {
    if let Some(step) = steps.must.iter().find(|step| step.until < step.from) {
        return Outcome::Stuck(Stuck { blocked: step.operation, ..Stuck::default() });
    }
    let (mut memory, mut order, mut positions) = (Memory::new(), Vec::new(), 0_u64);
    let mut longest: Option<Stuck> = None;
    let mut frames: Vec<Frame> = Vec::new();
    let mut next = Some(Position::start(steps));
    loop {
        if let Some(mut position) = next.take() {
            position.settle(steps, &mut order);
            let Some(horizon) = position.horizon(steps) else { return Outcome::Ordered };
            if longest.as_ref().is_none_or(|stuck| position.placed > stuck.placed) {
                let (placed, state, blocked) = (position.placed, position.state, horizon.operation);
                longest = Some(Stuck { order: order.clone(), placed, state, blocked });
            }
            if is_new(&mut memory, &position) {
                positions += 1;
                if positions > positions_max {
                    return Outcome::GivenUp;
                }
                let choices = position.choices(steps, horizon.until);
                frames.push(Frame { position, choices, order: order.len() });
            }
        }
        let Some(frame) = frames.last_mut() else { return Outcome::Stuck(longest.unwrap_or_default()) };
        order.truncate(frame.order);
        match frame.choices.pop() {
            Some(choice) => next = Some(frame.position.after(choice, steps, &mut order)),
            None => drop(frames.pop()),
        }
    }
}

/// Whether nothing as good as this was seen; it is then remembered.
fn is_new(memory: &mut Memory, position: &Position) -> bool {
    let seen = memory.entry((position.done.clone(), position.state)).or_default();
    let covers = |one: &[u16], other: &[u16]| one.iter().zip(other).all(|(one, other)| one <= other);
    if seen.iter().any(|used| covers(used, &position.used)) {
        return false;
    }
    seen.retain(|used| !covers(&position.used, used));
    seen.push(position.used.clone());
    true
}

impl Position {
    fn start(steps: &Steps) -> Self {
        let words = steps.must.len().div_ceil(64);
        Self { done: vec![0; words].into(), placed: 0, first: 0, used: vec![0; steps.may.len()].into(), state: ABSENT }
    }

    fn is_placed(&self, step: usize) -> bool {
        self.done[step / 64] >> (step % 64) & 1 == 1
    }

    fn place(&mut self, step: usize, steps: &Steps, order: &mut Vec<usize>) {
        self.done[step / 64] |= 1 << (step % 64);
        self.placed += 1;
        order.push(steps.must[step].operation);
        while self.first < steps.must.len() && self.is_placed(self.first) {
            self.first += 1;
        }
    }

    /// Steps not placed yet, by their start.
    fn open<'a>(&'a self, steps: &'a Steps) -> impl Iterator<Item = (usize, &'a Step)> + 'a {
        steps.must.iter().enumerate().skip(self.first).filter(|(step, _)| !self.is_placed(*step))
    }

    /// The open step that must have happened first: nothing that began later can come before it.
    fn horizon<'a>(&self, steps: &'a Steps) -> Option<&'a Step> {
        let mut earliest: Option<&Step> = None;
        for (step, one) in steps.must.iter().enumerate().skip(self.first) {
            match earliest {
                Some(found) if one.from > found.until => break,
                Some(found) if found.until <= one.until => {}
                _ if self.is_placed(step) => {}
                _ => earliest = Some(one),
            }
        }
        earliest
    }

    /// Places what fits and changes nothing; sooner is never worse for it.
    fn settle(&mut self, steps: &Steps, order: &mut Vec<usize>) {
        while let Some(horizon) = self.horizon(steps).map(|step| step.until) {
            let fits = |(_, one): &(usize, &Step)| one.leaves.is_none() && one.needs.met(self.state);
            let found: Vec<usize> = self
                .open(steps)
                .take_while(|(_, one)| one.from <= horizon)
                .filter(fits)
                .map(|(step, _)| step)
                .collect();
            if found.is_empty() {
                return;
            }
            found.into_iter().for_each(|step| self.place(step, steps, order));
        }
    }

    /// What may come next, the most promising last.
    fn choices(&self, steps: &Steps, horizon: u64) -> Vec<Choice> {
        let open = || self.open(steps).take_while(|(_, one)| one.from <= horizon);
        let unused = || {
            let next = |(group, list): (usize, &'_ Vec<Step>)| {
                list.get(usize::from(self.used[group])).map(|one| (group, *one))
            };
            steps.may.iter().enumerate().filter_map(next).filter(|(_, one)| one.from <= horizon)
        };
        let helps = |state: State| {
            let enabled = |needs: Needs| !needs.met(self.state) && needs.met(state);
            open().any(|(_, one)| enabled(one.needs)) || unused().any(|(_, one)| enabled(one.needs))
        };
        // Tried last: what may never have happened.
        let mut choices: Vec<Choice> = unused()
            .filter(|(_, one)| one.needs.met(self.state) && one.leaves.is_some_and(helps))
            .map(|(group, _)| Choice::May(group))
            .collect();
        let mut known: Vec<(usize, &Step)> =
            open().filter(|(_, one)| one.leaves.is_some() && one.needs.met(self.state)).collect();
        known.sort_by_key(|(_, one)| std::cmp::Reverse((one.revision, one.until)));
        choices.extend(known.into_iter().map(|(step, _)| Choice::Must(step)));
        choices
    }

    fn after(&self, choice: Choice, steps: &Steps, order: &mut Vec<usize>) -> Self {
        let mut next = self.clone();
        let taken = match choice {
            Choice::Must(step) => {
                next.place(step, steps, order);
                &steps.must[step]
            }
            Choice::May(group) => {
                let taken = &steps.may[group][usize::from(next.used[group])];
                next.used[group] += 1;
                order.push(taken.operation);
                taken
            }
        };
        next.state = taken.leaves.unwrap_or(next.state);
        next
    }
}
