//! `/metrics` of the API: requests, their duration, watches. Names follow upstream's where the meaning is the same.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Media type of the exposition.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the duration buckets, in seconds: upstream's SLO is one second.
const DURATION_SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// What a request was. Resources come from the registry and verbs from a fixed list, so the number of series is bounded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// `get`, `list`, `watch`, `create` and so on.
    pub verb: &'static str,
    /// Resource in `plural.group` form; empty for paths that are not resources.
    pub resource: String,
    /// HTTP status code.
    pub code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verb {
    verb: &'static str,
}

/// The API's own metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    durations: Family<Verb, Histogram, fn() -> Histogram>,
    inflight: Gauge,
    watches: Gauge,
    connections: Gauge,
    refused: Counter<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_SECONDS)),
            inflight: Gauge::default(),
            watches: Gauge::default(),
            connections: Gauge::default(),
            refused: Counter::default(),
        };
        metrics.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("apiserver_request", "Requests by verb, resource and code", self.requests.clone());
        registry.register(
            "apiserver_request_duration_seconds",
            "How long requests other than watches took",
            self.durations.clone(),
        );
        registry.register("apiserver_current_inflight_requests", "Requests under way", self.inflight.clone());
        registry.register("apiserver_longrunning_requests", "Watches and streams under way", self.watches.clone());
        registry.register("apiserver_connections", "Open connections", self.connections.clone());
        registry.register("apiserver_rejected_requests", "Requests refused for overload", self.refused.clone());
        self
    }

    /// A request has been answered after `seconds`.
    pub fn answered(&self, request: Request, seconds: f64) {
        if request.verb != "watch" {
            self.durations.get_or_create(&Verb { verb: request.verb }).observe(seconds);
        }
        self.requests.get_or_create(&request).inc();
    }

    /// A request was refused for overload.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// Counts a request for as long as the guard lives.
    pub fn inflight(&self) -> Counted {
        Counted::new(&self.inflight)
    }

    /// Counts a watch or stream for as long as the guard lives.
    pub fn longrunning(&self) -> Counted {
        Counted::new(&self.watches)
    }

    /// Counts a connection for as long as the guard lives.
    pub fn connection(&self) -> Counted {
        Counted::new(&self.connections)
    }

    /// The exposition, with `more` lines (complete OpenMetrics families) of other parts before its end.
    pub fn exposition(&self, more: &str) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        let own = text.strip_suffix("# EOF\n").unwrap_or(&text);
        format!("{own}{more}# EOF\n")
    }
}

/// Counts one thing while it lives.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exposition_counts_what_happened() {
        let metrics = Metrics::default();
        metrics.answered(Request { verb: "get", resource: "pods".into(), code: 200 }, 0.004);
        let watching = metrics.longrunning();
        let text = metrics.exposition("raft_term 3\n");
        assert!(text.contains(r#"apiserver_request_total{verb="get",resource="pods",code="200"} 1"#), "{text}");
        assert!(text.contains("apiserver_longrunning_requests 1\n"), "{text}");
        assert!(text.ends_with("raft_term 3\n# EOF\n"), "{text}");
        drop(watching);
        assert!(metrics.exposition("").contains("apiserver_longrunning_requests 0\n"));
    }
}
