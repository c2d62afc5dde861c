//! Who is silent: the table of heartbeats, judged with care for a judge that was frozen itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::Stopping;
use jiff::Timestamp;
use state::State;
use store::Liveness;
use tokio::time::Instant;

use super::mass::MassLoss;
use crate::options::{Observed, Options};

/// How often the judge proves to itself that it is awake.
const TICK: Duration = Duration::from_millis(500);
/// A tick that comes later than this by so much means that the judge was frozen: everybody gets a fresh grace.
const GAP_MAX: Duration = Duration::from_secs(1);

/// The judge's knowledge, shared by the controllers of nodes.
pub(crate) struct Health {
    liveness: Arc<Liveness>,
    observed: Arc<Observed>,
    pub(super) grace: Duration,
    inner: Mutex<Inner>,
}

struct Inner {
    last_tick: Instant,
    mass: MassLoss,
    held: bool,
    /// When this leader set a taint, by node uid and taint key; times in objects have whole seconds only.
    tainted: HashMap<(String, String), Timestamp>,
}

/// What the judge says about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether the node has been silent for its whole grace.
    pub lost: bool,
    /// Whether nothing is moved away from lost nodes.
    pub held: bool,
    /// Whether `held` has just changed.
    pub turned: bool,
    /// When to look again.
    pub again: Duration,
}

impl Health {
    pub fn new(liveness: Arc<Liveness>, options: &Options) -> Self {
        let inner =
            Inner { last_tick: Instant::now(), mass: MassLoss::default(), held: false, tainted: HashMap::new() };
        Self { liveness, observed: Arc::clone(&options.observed), grace: options.node_grace, inner: Mutex::new(inner) }
    }

    /// Judges a node at `now`.
    pub(super) fn judge(&self, state: &State, node: &str, uid: &str, now: Instant) -> Verdict {
        self.tick(now);
        let nodes = state.list(&"nodes".into());
        let silences: Vec<Duration> =
            nodes.map(|node| self.liveness.silence(&node.key.name, &node.face().uid, now)).collect();
        let silence = self.liveness.silence(node, uid, now);
        let mut inner = self.lock();
        let held = inner.mass.judge(&silences, self.grace);
        let turned = held != inner.held;
        inner.held = held;
        self.observed.set_evictions_held(held);
        let lost = silence >= self.grace;
        Verdict { lost, held, turned, again: if lost { TICK } else { self.grace - silence } }
    }

    /// Notices a freeze of the judge itself: then nobody's silence means anything.
    fn tick(&self, now: Instant) {
        let mut inner = self.lock();
        if now.saturating_duration_since(inner.last_tick) > TICK + GAP_MAX {
            tracing::warn!("this master was frozen: every node gets a fresh grace");
            self.liveness.renew();
        }
        inner.last_tick = inner.last_tick.max(now);
    }

    /// Notes when a taint was set, more finely than the object can.
    pub(super) fn note_taint(&self, uid: &str, key: &str, at: Timestamp) {
        self.lock().tainted.insert((uid.to_owned(), key.to_owned()), at);
    }

    /// Forgets what is known of nodes other than those that `is_known` names.
    pub(super) fn forget_nodes(&self, is_known: impl Fn(&str) -> bool) {
        self.lock().tainted.retain(|(uid, _), _| is_known(uid));
    }

    /// When a taint whose object says `added` was really set: by this leader's own note where it fits, otherwise at the
    /// end of the second that the object names, so that no toleration is cut short.
    pub(super) fn tainted_at(&self, uid: &str, key: &str, added: Timestamp) -> Timestamp {
        let noted = self.lock().tainted.get(&(uid.to_owned(), key.to_owned())).copied();
        match noted {
            Some(at) if at.as_second() == added.as_second() => at,
            _ => added.checked_add(jiff::SignedDuration::from_secs(1)).unwrap_or(added),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing is half done in here when a panic comes by.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the judge awake, and notices when it was not.
pub(crate) async fn pulse(health: Arc<Health>, stopping: Stopping) {
    while stopping.sleep(TICK).await {
        health.tick(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Beat;

    fn health() -> (Health, Arc<Liveness>) {
        let liveness = Arc::new(Liveness::default());
        let options = Options::new("", crate::tests::seal(), Arc::new(|_| Box::pin(async { Ok(()) })));
        (Health::new(Arc::clone(&liveness), &options), liveness)
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_judge_gives_everybody_a_fresh_grace() {
        let (health, liveness) = health();
        liveness.beat(Beat { node: "n".into(), uid: "u".into() });
        for _ in 0..9 {
            tokio::time::advance(TICK).await;
            health.tick(Instant::now());
        }
        assert!(health.judge(&State::default(), "n", "u", Instant::now()).lost);
        tokio::time::advance(Duration::from_secs(3)).await;
        let verdict = health.judge(&State::default(), "n", "u", Instant::now());
        assert_eq!((verdict.lost, verdict.again), (false, Duration::from_secs(4)));
    }

    #[test]
    fn taints_are_timed_by_the_leaders_own_note_where_it_fits() {
        let (health, _) = health();
        let at = Timestamp::from_millisecond(1_800_000_000_700).unwrap();
        let added = Timestamp::from_second(1_800_000_000).unwrap();
        assert_eq!(health.tainted_at("u", "k", added).as_second(), 1_800_000_001);
        health.note_taint("u", "k", at);
        assert_eq!(health.tainted_at("u", "k", added), at);
        health.forget_nodes(|uid| uid != "u");
        assert_eq!(health.tainted_at("u", "k", added).as_second(), 1_800_000_001);
    }
}
