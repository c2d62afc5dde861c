//! The limits of one API server. Each bounds something that a client could otherwise make grow.

use std::ops::RangeInclusive;
use std::time::Duration;

use objects::allocation::{AddressRange, NODE_PORT_RANGE, SERVICE_RANGE};

/// Limits and deadlines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Most open connections; further ones wait in the listener's backlog.
    pub connections_max: usize,
    /// Most bytes of a request body; upstream's limit.
    pub body_bytes_max: usize,
    /// How long a request that is neither a watch nor a stream may take, where it does not say.
    pub request_deadline: Duration,
    /// The longest `timeout` that a request may ask for.
    pub request_deadline_max: Duration,
    /// Most reading requests under way; upstream's default.
    pub reads_max: usize,
    /// Most writing requests under way; upstream's default.
    pub writes_max: usize,
    /// Most watches and streams under way.
    pub longrunning_max: usize,
    /// How long a watch lives at least, where it does not say; up to twice as long, so that they do not end together.
    pub watch_min: Duration,
    /// How often a watch that allows bookmarks gets one.
    pub bookmark_every: Duration,
    /// How long a read waits for a revision that this master has not reached; upstream's.
    pub future_wait: Duration,
    /// How long open requests may take once the server stops.
    pub drain: Duration,
    /// Where Services get addresses from, until the cluster has a ServiceCIDR.
    pub service_ranges: Vec<AddressRange>,
    /// Which ports of the nodes Services get.
    pub node_ports: RangeInclusive<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: 8192,
            body_bytes_max: 3 * 1024 * 1024,
            request_deadline: Duration::from_secs(30),
            request_deadline_max: Duration::from_secs(60),
            reads_max: 400,
            writes_max: 200,
            longrunning_max: 16_384,
            watch_min: Duration::from_secs(30 * 60),
            bookmark_every: Duration::from_secs(60),
            future_wait: Duration::from_secs(3),
            drain: Duration::from_secs(4),
            service_ranges: SERVICE_RANGE.parse().into_iter().collect(),
            node_ports: NODE_PORT_RANGE,
        }
    }
}
