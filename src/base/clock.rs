//! The wall clock: the only place that reads it.
//!
//! Wall time is for people and for objects (creation times, expiry of certificates). Intervals and
//! deadlines use the monotonic `tokio::time::Instant`, which never jumps.

use jiff::Timestamp;

/// The current wall-clock time.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The current wall-clock time in milliseconds since the Unix epoch.
pub fn millis() -> i64 {
    now().as_millisecond()
}
