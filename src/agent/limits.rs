//! Every deadline and bound of this crate, each with the reason for its size.

use std::time::Duration;

/// A heartbeat that has no answer in this time is sent to another master: a quarter of the usual grace.
pub(crate) const HEARTBEAT_DEADLINE: Duration = Duration::from_secs(1);

/// A node's Lease is renewed this often, as upstream's kubelet does.
pub(crate) const LEASE_INTERVAL: Duration = Duration::from_secs(10);

/// How long a Lease counts, as upstream's kubelet says.
pub(crate) const LEASE_SECONDS: i64 = 40;

/// The Node's status is posted at least this often, changed or not.
pub(crate) const NODE_STATUS_INTERVAL: Duration = Duration::from_secs(300);

/// The first and longest pause after a failed write to the API.
pub(crate) const WRITE_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long one write of a pod's status may take with every attempt before the newest status is tried instead.
pub(crate) const STATUS_DEADLINE: Duration = Duration::from_secs(10);

/// The runtime is looked at this often even if it reports nothing: an event may have been lost.
pub(crate) const RELIST_INTERVAL: Duration = Duration::from_secs(10);

/// The first and longest pause after the runtime failed to list.
pub(crate) const RELIST_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How long the runtime may give no list before the node is NotReady, as upstream's kubelet waits for its own
/// (`baseRuntimeSyncThreshold` in pkg/kubelet/kubelet.go).
pub(crate) const ENGINE_PATIENCE: Duration = Duration::from_secs(30);

/// Messages that wait for one pod's worker; probes and actions wait when it is full.
pub(crate) const MAILBOX_MAX: usize = 64;

/// Notes that wait to be posted; beyond it the newest are dropped, because a note is never worth memory without end.
pub(crate) const NOTES_MAX: usize = 1024;

/// Events whose counts are remembered; beyond it the table starts over, which only makes more Event objects.
pub(crate) const NOTES_REMEMBERED_MAX: usize = 2048;

/// Attempts at posting one event.
pub(crate) const NOTE_ATTEMPTS_MAX: u32 = 3;

/// The first and longest delay before a crashed container starts again, as upstream's kubelet has them.
pub(crate) const CRASH_SECONDS: (i64, i64) = (10, 300);

/// A container that ran this long before it ended starts its back-off anew.
pub(crate) const CRASH_RESET_SECONDS: i64 = 600;

/// The first and longest delay before an image is pulled again.
pub(crate) const PULL_SECONDS: (i64, i64) = (10, 300);

/// The first and longest delay before volumes, a sandbox or a container are tried again.
pub(crate) const RETRY_SECONDS: (i64, i64) = (1, 60);

/// Exited containers kept for each name: the last, and the one before it for `logs --previous`.
pub(crate) const KEPT_INSTANCES: usize = 2;

/// Images pulled at once: more only share the line.
pub(crate) const PULLS_PARALLEL: usize = 4;

/// Containers started or sandboxes made at once on this node: beyond it an engine gets slower, not faster.
pub(crate) const STARTS_PARALLEL: usize = 8;

/// How old a ConfigMap or Secret may be when a mounted one is looked at again.
pub(crate) const CONFIG_AGE: Duration = Duration::from_secs(20);

/// ConfigMaps and Secrets remembered; beyond it the oldest are fetched again.
pub(crate) const CONFIG_MAX: usize = 512;

/// The largest ConfigMap or Secret: upstream's validation allows 1 MiB.
pub(crate) const CONFIG_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How long fetching one ConfigMap or Secret may take.
pub(crate) const CONFIG_DEADLINE: Duration = Duration::from_secs(5);

/// How long asking for one token of a service account may take.
pub(crate) const TOKEN_DEADLINE: Duration = Duration::from_secs(5);

/// A token is renewed at this age even if it lives longer, as upstream's kubelet does (`pkg/kubelet/token`).
pub(crate) const TOKEN_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Tokens remembered; beyond it those that end first are asked for again.
pub(crate) const TOKENS_MAX: usize = 2048;

/// Sessions (logs, exec, attach, port-forward) served at once.
pub(crate) const SESSIONS_MAX: usize = 256;

/// Connections accepted at once by the agent's server.
pub(crate) const CONNECTIONS_MAX: usize = 512;

/// A session that moves no byte for this long is ended, as upstream's kubelet does after four hours.
pub(crate) const SESSION_IDLE_MAX: Duration = Duration::from_secs(4 * 3600);

/// A client that does not answer a ping within this time is gone.
pub(crate) const SESSION_PING: Duration = Duration::from_secs(30);

/// How long an ended program's exit code may take to be known.
pub(crate) const EXIT_CODE_DEADLINE: Duration = Duration::from_secs(30);

/// Pieces of standard input in flight to the program; beyond it the client waits.
pub(crate) const STDIN_PIECES_MAX: usize = 16;

/// How long a client may take to open the streams of its session, as upstream has it
/// (`DefaultStreamCreationTimeout` of kubelet's cri/streaming/remotecommand).
pub(crate) const STREAMS_DEADLINE: Duration = Duration::from_secs(30);

/// How long a client may take to read the last of a session and to close its connection.
pub(crate) const SESSION_LINGER: Duration = Duration::from_secs(30);

/// Streams of one exec or attach: it has five, and a client of ours opens no more.
pub(crate) const SESSION_STREAMS_MAX: usize = 16;

/// Streams of one port-forward, two for each connection: a browser opens six connections at once, a load test a hundred.
pub(crate) const FORWARD_STREAMS_MAX: usize = 256;

/// How long a pod may take to begin its answer to a proxied request; the master's own deadline is usually shorter.
pub(crate) const PROXY_HEAD_DEADLINE: Duration = Duration::from_secs(300);

/// Ports of one port-forward over a WebSocket without SPDY, which connects to all of them at once.
pub(crate) const FORWARD_PORTS_MAX: usize = 16;

/// Pieces in flight on each way of such a port-forward; beyond it the faster side waits.
pub(crate) const FORWARD_PIECES_MAX: usize = 16;

/// Connections to pods that all port-forwards of the node hold at once.
pub(crate) const FORWARDED_MAX: usize = 1024;

/// Received bytes of one SPDY connection that wait for whoever reads them: with every session taken a quarter of a GiB.
pub(crate) const SPDY_UNREAD_MAX: usize = 1024 * 1024;

/// The longest message of a WebSocket session.
pub(crate) const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// How long the last status of a pod may take to be written before its deletion is finished without it.
pub(crate) const LAST_STATUS_DEADLINE: Duration = Duration::from_secs(5);

/// How long a preStop hook may run when its pod has no grace period of its own.
pub(crate) const HOOK_DEADLINE: Duration = Duration::from_secs(30);

/// Bytes read from an answer to an HTTP probe; only the status counts.
pub(crate) const PROBE_BYTES_MAX: usize = 10 * 1024;
