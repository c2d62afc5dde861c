//! Every deadline and bound of this crate, each with the reason for its size.

use std::time::Duration;

/// Questions an idle engine answers in milliseconds; a loaded one may take seconds.
pub const QUESTION_DEADLINE: Duration = Duration::from_secs(15);

/// A list walks all containers of the engine and may wait for one that is being removed.
pub const LIST_DEADLINE: Duration = Duration::from_secs(30);

/// Creating makes a file-system layer, slow on old storage drivers.
pub const CREATE_DEADLINE: Duration = Duration::from_secs(60);

/// Starting sets up namespaces, mounts and ports, and competes with every other start on the machine.
pub const START_DEADLINE: Duration = Duration::from_secs(120);

/// What a stop may take beyond the grace period: SIGKILL, unmounting and the engine's own bookkeeping.
pub const STOP_MARGIN: Duration = Duration::from_secs(30);

/// Removing deletes the container's layer; a busy mount is retried within this time.
pub const REMOVE_DEADLINE: Duration = Duration::from_secs(60);

/// Loading the sandbox image (a few kilobytes) or a test image (a few megabytes).
pub const LOAD_DEADLINE: Duration = Duration::from_secs(60);

/// A pull that reports nothing for this long has a dead registry behind it.
pub const PULL_SILENCE: Duration = Duration::from_secs(300);

/// The longest pull: tens of gigabytes over a slow line.
pub const PULL_DEADLINE: Duration = Duration::from_secs(3600);

/// How long a port of a pod may take to accept a connection: it is on this machine, but its program may be busy.
pub const DIAL_DEADLINE: Duration = Duration::from_secs(10);

/// How long an ended exec may take to be recorded with its exit code: the engine closes the output first.
pub const EXIT_CODE_DEADLINE: Duration = Duration::from_secs(15);

/// How often an open event stream is checked by a ping: a frozen engine keeps its socket open and says nothing.
pub const EVENTS_PING_INTERVAL: Duration = Duration::from_secs(20);

/// How soon an engine that refuses to send events says so. One that takes longer is noticed by the next ping.
pub const EVENTS_REFUSAL: Duration = Duration::from_millis(100);

/// The first and the longest pause between attempts to reach the event stream again.
pub const EVENTS_RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// How long what was learnt about a running container is believed without asking again, so that one restarted by
/// hand soon shows its new start time.
pub const INSPECT_MEMORY: Duration = Duration::from_secs(60);

/// Inspections under way at once in one list: enough to hide latency, too few to crowd out other callers.
pub const INSPECT_PARALLEL: usize = 16;

/// Log bytes kept per file and number of files per container: what a kubelet keeps by default (10Mi, 5 files).
pub const LOG_FILE: (&str, &str) = ("10m", "5");

/// The smallest memory limit the engine accepts; smaller wishes are raised to it.
pub const MEMORY_MIN_BYTES: i64 = 6 * 1024 * 1024;

/// Simulated events that a slow listener may leave unread before it is told to look at everything again.
pub const SIM_EVENTS_MAX: usize = 1024;

/// Bytes in flight between a caller and a simulated process, per direction: beyond it the writer waits.
pub const SIM_PIPE_BYTES: usize = 64 * 1024;

/// Output chunks in flight from a simulated process.
pub const SIM_OUTPUT_CHUNKS: usize = 16;

/// Most bytes of a request's head that a simulated server reads.
pub const SIM_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Lines that a simulated program may print, so that a hostile script does not fill memory.
pub const SIM_STEPS_MAX: usize = 1000;
