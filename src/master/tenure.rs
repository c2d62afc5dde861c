//! The leader's duties: started when this master leads, ended when it no longer does. Nothing a leader starts outlives
//! its tenure.

use std::sync::Arc;
use std::time::Duration;

use base::{Backoff, Stopping, TaskGroup};
use consensus::{Consensus, Leadership};
use state::Token;
use store::{Duty, Liveness, Store};
use tokio::sync::watch;
use tracing::{info, warn};

/// What the duties need.
pub struct Duties {
    pub leadership: watch::Receiver<Leadership>,
    pub store: Store,
    pub consensus: Arc<Consensus>,
    pub liveness: Arc<Liveness>,
    pub node_grace: Duration,
    /// What the controllers let the status show.
    pub observed: Arc<controllers::Observed>,
    /// PEM of the authority that clients trust, published into every namespace.
    pub serving_authority: String,
    /// Under which the keys lie that sign tokens.
    pub seal: Arc<identity::Seal>,
    pub stopping: Stopping,
}

/// Runs the duties of each tenure of this master, until it stops.
pub async fn keep(mut duties: Duties) {
    loop {
        let next = duties.leadership.wait_for(|now| matches!(now, Leadership::Leader { .. }));
        let token = match duties.stopping.unless(next).await {
            Some(Ok(now)) => match *now {
                Leadership::Leader { token } => token,
                Leadership::Follower { .. } => continue,
            },
            // Stopping, or consensus has ended.
            Some(Err(_)) | None => return,
        };
        info!(token = token.0, "this master leads: duties start");
        let scope = duties.stopping.child();
        let running = start(&duties, token, scope.stopping());
        let over = duties.leadership.wait_for(|now| *now != Leadership::Leader { token });
        // Either way the tenure is over; what ended it is in the log of consensus.
        let _ = duties.stopping.unless(over).await;
        scope.trigger();
        running.abort_and_join().await;
        info!(token = token.0, "the tenure is over: duties have ended");
    }
}

fn start(duties: &Duties, token: Token, stopping: Stopping) -> TaskGroup {
    let group = TaskGroup::new("duty");
    let duty = Duty::new(duties.store.clone(), token);
    let scheduling = duty.clone();
    group.spawn(
        "scheduler",
        again("scheduler", stopping.clone(), move |stopping| scheduler::run(scheduling.clone(), stopping)),
    );
    let (liveness, consensus) = (Arc::clone(&duties.liveness), Arc::clone(&duties.consensus));
    let members = Arc::clone(&duties.consensus);
    let mut options = controllers::Options::new(
        duties.serving_authority.as_str(),
        Arc::clone(&duties.seal),
        Arc::new(move |until| {
            let consensus = Arc::clone(&consensus);
            Box::pin(async move { consensus.compact(until).await })
        }),
    );
    options.node_grace = duties.node_grace;
    options.masters = Arc::new(move || members.status().members.into_iter().map(|member| member.api).collect());
    options.observed = Arc::clone(&duties.observed);
    group.spawn(
        "controllers",
        again("controllers", stopping, move |stopping| {
            controllers::run(duty.clone(), Arc::clone(&liveness), options.clone(), stopping)
        }),
    );
    group
}

/// Starts a duty anew when it ends before its tenure does, be it by a panic.
async fn again<F, W>(name: &'static str, stopping: Stopping, work: W)
where
    F: Future + Send + 'static,
    F::Output: base::task::Outcome,
    W: Fn(Stopping) -> F,
{
    let mut backoff = Backoff::doubling(Duration::from_millis(100), Duration::from_secs(10));
    loop {
        let ending = base::task::spawn(name, work(stopping.clone())).join().await;
        if stopping.is_stopping() {
            return;
        }
        warn!(duty = name, ?ending, "a duty ended early and starts anew");
        if !stopping.sleep(backoff.next_delay()).await {
            return;
        }
    }
}
