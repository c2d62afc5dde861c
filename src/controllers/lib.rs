//! What keeps the cluster as it is asked to be: one controller a file or folder, each a pure decision and a thin `sync`.
//!
//! All of it runs on the leader, within its tenure, and ends with it. Controllers read the state as it stands, never the
//! event that woke them, so that a missed or repeated wake does no harm.

mod account_secrets;
mod aggregation;
mod bootstrap;
mod conditions;
mod custom;
mod definitions;
mod deployment;
mod disruption;
pub mod error;
mod gc;
mod job;
mod namespace;
mod node;
pub mod options;
mod owners;
mod pods;
mod policy;
mod priority;
mod queue;
mod quota;
mod replicaset;
mod runner;
mod service;
mod serviceaccount;
mod signing;
mod tokens;
mod upkeep;
mod writes;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use base::{Stopping, TaskGroup};
use events::{Note, Recorder, Regarding};
use state::Stored;
use store::{Duty, Liveness};

pub use error::Error;
pub use options::{Compact, Masters, Observed, Options};

/// What every controller holds.
#[derive(Clone)]
pub(crate) struct Context {
    pub duty: Duty,
    pub recorder: Recorder,
    pub options: Arc<Options>,
}

impl Context {
    /// Tells people about an object, in the name of a component.
    pub fn note(&self, component: &'static str, about: &Stored, warning: bool, reason: &str, message: String) {
        let (regarding, reason) = (Regarding::of(about), reason.to_owned());
        self.recorder.record(Note { regarding, warning, reason, message, component });
    }
}

/// Runs every controller until `stopping`, or until another leader has taken over.
///
/// Call it once a tenure, after the tenure's first entry is applied here: from then on the state holds all that was
/// committed before. `liveness` starts over: a new leader knows nothing of anybody's silence.
pub async fn run(duty: Duty, liveness: Arc<Liveness>, options: Options, stopping: Stopping) {
    liveness.renew();
    let tenure = stopping.child();
    let recorder = events::recorder(duty.clone(), tenure.stopping());
    let context = Context { duty, recorder, options: Arc::new(options) };
    let group = TaskGroup::new("controllers");
    let health = Arc::new(node::Health::new(liveness, &context.options));
    let controllers: Vec<Arc<dyn runner::Controller>> = vec![
        Arc::new(bootstrap::Bootstrap::new(context.clone())),
        Arc::new(policy::Policy::new(context.clone())),
        Arc::new(aggregation::Aggregation::new(context.clone())),
        Arc::new(serviceaccount::Accounts::new(context.clone())),
        Arc::new(namespace::Namespaces::new(context.clone())),
        Arc::new(definitions::Definitions::new(context.clone())),
        Arc::new(gc::Collector::new(context.clone())),
        Arc::new(deployment::Deployments::new(context.clone())),
        Arc::new(replicaset::ReplicaSets::new(context.clone())),
        Arc::new(node::Lifecycle::new(context.clone(), Arc::clone(&health))),
        Arc::new(node::Eviction::new(context.clone(), Arc::clone(&health))),
        Arc::new(node::PodCollector::new(context.clone())),
        Arc::new(tokens::Tokens::new(context.clone())),
        Arc::new(job::Jobs::new(context.clone())),
        Arc::new(disruption::Budgets::new(context.clone())),
        Arc::new(service::Ranges::new(context.clone())),
        Arc::new(service::MastersService::new(context.clone())),
        Arc::new(service::Records::new(context.clone())),
        Arc::new(service::Slices::new(context.clone())),
        Arc::new(service::LegacyEndpoints::new(context.clone())),
        Arc::new(service::Mirror::new(context.clone())),
        Arc::new(priority::PriorityClasses::new(context.clone())),
        Arc::new(quota::Quotas::new(context.clone())),
        Arc::new(signing::SigningKeys::new(context.clone())),
        Arc::new(account_secrets::AccountSecrets::new(context.clone())),
    ];
    for controller in controllers {
        let over = tenure.clone();
        group.spawn(controller.name(), runner::supervise(controller, context.duty.clone(), over));
    }
    group.spawn("pulse", node::pulse(health, tenure.stopping()));
    group.spawn("upkeep", upkeep::supervise(context, tenure.clone()));
    tenure.stopping().stopped().await;
    group.abort_and_join().await;
}
