//! Every bound of this crate, with its reason.

use std::time::Duration;

/// How long TCP and TLS together may take until another master is tried. A frozen master's kernel
/// still accepts connections, so this is also how soon one is noticed by a new connection.
pub(crate) const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// How long a call may take altogether unless it says otherwise: covers a change of leader.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(15);

/// How often an HTTP/2 connection in use is pinged.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(1);

/// How long the answer to a ping may take. With the interval: a frozen master is noticed in 3 s.
pub(crate) const PING_DEADLINE: Duration = Duration::from_secs(2);

/// The largest answer read into memory: a list of some hundred thousand small objects.
pub(crate) const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The longest line of a watch: objects are limited to a few megabytes by the API.
pub(crate) const WATCH_LINE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long a watch over HTTP/2 may bring nothing: servers send a bookmark about every minute, so
/// silence for three means that the feed behind a living connection is stuck.
pub(crate) const WATCH_IDLE_MAX: Duration = Duration::from_secs(180);

/// The same over HTTP/1.1, where no ping tells a quiet watch from a frozen master.
pub(crate) const WATCH_IDLE_MAX_HTTP1: Duration = Duration::from_secs(15);

/// The shortest and longest pause between rounds over all masters.
pub(crate) const ROUND_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How often a call is repeated because a server said "too many requests" (as client-go does).
pub(crate) const THROTTLED_MAX: u32 = 10;

/// Objects per page of a mirrored list: small enough to be answered well within a deadline.
pub(crate) const PAGE_OBJECTS: usize = 500;

/// How much of an answer that is not a Status is quoted in an error.
pub(crate) const QUOTE_CHARS_MAX: usize = 200;

/// How many masters a list may name: clusters have three to seven; more is a mistake or an attack.
pub(crate) const MASTERS_MAX: usize = 64;

/// How long the text about a master's last failure may be.
pub(crate) const REASON_CHARS_MAX: usize = 300;
