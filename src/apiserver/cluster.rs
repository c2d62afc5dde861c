//! What the API server asks of the master that it belongs to.

use std::sync::Arc;

use futures::future::BoxFuture;
use identity::Seal;
use objects::Status;
use rustls::ClientConfig;
use serde_json::Value;

/// Whether this master can serve, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether clients should be sent here.
    pub ready: bool,
    /// Why not, in plain words; empty when ready.
    pub reasons: Vec<String>,
    /// Whether this master leads.
    pub leads: bool,
}

/// What only the master knows. Implemented by whoever assembles one.
pub trait Cluster: Send + Sync + 'static {
    /// Whether this master can serve.
    fn readiness(&self) -> Readiness;

    /// The cluster as `barque status` shows it.
    fn status(&self) -> Value;

    /// API URLs of the masters, as far as this one knows.
    fn masters(&self) -> Vec<String>;

    /// Checks a join request, token included, and answers with what a new node or master needs.
    ///
    /// # Errors
    /// The status to be shown to the joining side: 400, 401, or 503 when the answer needs a leader and there is none.
    fn admit(&self, request: Value) -> BoxFuture<'_, Result<Value, Status>>;

    /// How to call an agent: with this master's certificate, believing only certificates of agents.
    fn agent_tls(&self) -> Arc<ClientConfig>;

    /// What opens the keys that sign tokens; [`identity::Authority::signing_seal`].
    fn signing_seal(&self) -> Arc<Seal>;

    /// More lines for `/metrics`, complete OpenMetrics families.
    fn extra_metrics(&self) -> String;
}
