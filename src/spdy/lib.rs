//! SPDY/3.1 as Kubernetes uses it: exec, attach and port-forward of clients that upgrade to SPDY, and port-forward as
//! SPDY within a WebSocket.
//!
//! From below: frames ([`frame`], [`codec`]) are pure, [`connection`] makes streams of them over any bytes ([`tunnel`]
//! makes bytes of messages), [`portforward`] and [`remotecommand`] say what the streams are for, [`upgrade`] how a
//! request asks for all this.
//!
//! The one peer that matters is moby/spdystream, which kubectl and client-go speak: no flow control, no settings, and
//! replies to every stream. Nothing here knows a pod: who may connect to what is for the callers.

pub mod codec;
mod compression;
pub mod connection;
mod dictionary;
mod error;
pub mod frame;
mod headers;
mod limits;
pub mod portforward;
pub mod remotecommand;
pub mod tunnel;
pub mod upgrade;

pub use connection::{Arrival, Connection, Driver, Incoming, Stream, connect, serve};
pub use error::{Error, Result};
pub use frame::{ResetCode, StreamId};
pub use headers::Headers;
pub use limits::Limits;
pub use tunnel::Tunnel;

/// The header that says what a stream is for (`StreamType` in k8s.io/api/core/v1).
pub const STREAM_TYPE: &str = "streamtype";
