//! Turns the engine's errors into ours. Pure: looks at status codes and messages only.
//!
//! The engine tells kinds apart by status code and details only by its message; the phrases below have been stable
//! from Docker 19.03 to 29 (moby `daemon/names.go`, `daemon/errors.go`, `libnetwork/portallocator`).

use crate::Error;
use bollard::errors::Error as Bollard;
use std::error::Error as _;
use std::io::ErrorKind;

/// Our error for the engine's, met at `socket` while doing `what`.
pub(super) fn translate(socket: &str, what: &str, error: Bollard) -> Error {
    match error {
        Bollard::DockerResponseServerError { status_code, message } => refusal(what, status_code, message),
        Bollard::DockerStreamError { error } => Error::Engine { what: what.to_owned(), status: 0, message: error },
        Bollard::SocketNotFoundError(_) => unreachable(socket, ErrorKind::NotFound, "no such socket".to_owned()),
        Bollard::RequestTimeoutError => Error::EngineUnreachable {
            reason: "no answer".to_owned(),
            remedy: "look at the engine's own log (journalctl -u docker)".to_owned(),
        },
        other => match io_kind(&other) {
            Some(kind) => unreachable(socket, kind, other.to_string()),
            None if is_transport(&other) => unreachable(socket, ErrorKind::ConnectionReset, other.to_string()),
            None => Error::Engine { what: what.to_owned(), status: 0, message: other.to_string() },
        },
    }
}

/// A failed start: whatever is not clearly something else is the container's own fault.
pub(super) fn start_failed(error: Error) -> Error {
    match error {
        Error::Engine { message: reason, .. } | Error::Invalid { reason } => Error::StartFailed { reason },
        other => other,
    }
}

fn refusal(what: &str, status: u16, message: String) -> Error {
    let says = |phrase: &str| message.contains(phrase);
    if let Some((_, rest)) = message.split_once("No such image: ").filter(|_| status == 404) {
        return Error::ImageMissing { reference: rest.trim().to_owned() };
    }
    if says("client version") && says("too") {
        // The engine was replaced by one of another version while we were connected.
        return Error::EngineUnreachable {
            reason: message,
            remedy: "try again: the version is negotiated anew".to_owned(),
        };
    }
    if says("address pool") {
        // The engine calls it "not found", as if something of ours were missing.
        let message = format!("{message}: remove unused networks (docker network prune)");
        return Error::Engine { what: what.to_owned(), status, message };
    }
    if says("port is already allocated") || says("address already in use") || says("Bind for ") {
        return Error::PortInUse { port: port_in(&message), reason: message };
    }
    if says("is already in use by container") {
        return name_conflict(&message);
    }
    match status {
        404 => Error::NotFound { what: message },
        409 if says("is not running") || says("is paused") => Error::NotRunning { id: container_in(&message) },
        400 => Error::Invalid { reason: message },
        _ => Error::Engine { what: what.to_owned(), status, message },
    }
}

/// Reads `... The container name "/NAME" is already in use by container "ID". ...`.
fn name_conflict(message: &str) -> Error {
    let quoted: Vec<&str> = message.split('"').skip(1).step_by(2).collect();
    let name = quoted.first().unwrap_or(&"").trim_start_matches('/').to_owned();
    Error::NameConflict { name, id: quoted.get(1).map(|id| (*id).to_owned()) }
}

/// The port of the first `address:port` in a message.
fn port_in(message: &str) -> Option<u16> {
    let words = message.split([' ', ',', ')', '(']);
    words.filter_map(|word| word.trim_end_matches(':').rsplit_once(':')?.1.parse().ok()).find(|port| *port != 0)
}

fn container_in(message: &str) -> String {
    let longest = message.split_whitespace().max_by_key(|word| word.len()).unwrap_or_default();
    longest.to_owned()
}

fn io_kind(error: &Bollard) -> Option<ErrorKind> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = source {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        if let Some(Bollard::IOError { err }) = current.downcast_ref::<Bollard>() {
            return Some(err.kind());
        }
        if let Some(Bollard::HyperLegacyError { err }) = current.downcast_ref::<Bollard>() {
            source = err.source();
            continue;
        }
        source = current.source();
    }
    None
}

fn is_transport(error: &Bollard) -> bool {
    matches!(error, Bollard::HyperLegacyError { .. } | Bollard::HyperResponseError { .. })
}

fn unreachable(socket: &str, kind: ErrorKind, reason: String) -> Error {
    let remedy = match kind {
        ErrorKind::PermissionDenied => {
            "run as root or join the group docker (usermod -aG docker $USER, then log in again)".to_owned()
        }
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            "start Docker (systemctl start docker), or simulate containers with --runtime sim".to_owned()
        }
        _ => "check that Docker runs (systemctl status docker); the call may be repeated".to_owned(),
    };
    Error::EngineUnreachable { reason: format!("{socket}: {reason}"), remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status_code: u16, message: &str) -> Error {
        let error = Bollard::DockerResponseServerError { status_code, message: message.to_owned() };
        translate("/run/docker.sock", "creating a container", error)
    }

    #[test]
    fn messages_become_kinds() {
        let error = fault(404, "No such image: example/none:1");
        assert!(matches!(&error, Error::ImageMissing { reference } if reference == "example/none:1"), "{error}");
        let taken =
            "Conflict. The container name \"/barque_x\" is already in use by container \"abc123\". You have to ...";
        let error = fault(409, taken);
        let matches =
            matches!(&error, Error::NameConflict { name, id: Some(id) } if name == "barque_x" && id == "abc123");
        assert!(matches, "{error}");
        assert!(matches!(fault(404, "No such container: abc"), Error::NotFound { .. }));
        let error = fault(409, "Container 0123456789abcdef0123456789abcdef is not running");
        assert!(matches!(&error, Error::NotRunning { id } if id.starts_with("0123")), "{error}");
        assert!(matches!(fault(400, "bad parameter"), Error::Invalid { .. }));
        assert!(matches!(fault(500, "broken"), Error::Engine { status: 500, .. }));
        let error = fault(404, "could not find an available, non-overlapping IPv4 address pool among the defaults");
        assert!(error.is_retryable() && error.to_string().contains("docker network prune"), "{error}");
        let error = fault(400, "client version 1.41 is too old. Minimum supported API version is 1.44");
        assert!(error.is_retryable() && matches!(error, Error::EngineUnreachable { .. }));
    }

    #[test]
    fn busy_ports_are_named() {
        let allocated = "driver failed programming external connectivity on endpoint x (abc): \
                         Bind for 0.0.0.0:8080 failed: port is already allocated";
        let proxied = "driver failed programming external connectivity on endpoint x (abc): \
                       Error starting userland proxy: listen tcp4 127.0.0.1:8081: bind: address already in use";
        for (message, expected) in [(allocated, 8080), (proxied, 8081)] {
            let error = fault(500, message);
            assert!(matches!(&error, Error::PortInUse { port: Some(port), .. } if *port == expected), "{error:?}");
        }
    }

    #[test]
    fn connection_faults_say_what_to_do() {
        let denied = Bollard::IOError { err: ErrorKind::PermissionDenied.into() };
        assert!(translate("/s", "x", denied).to_string().contains("group docker"));
        let refused = Bollard::IOError { err: ErrorKind::ConnectionRefused.into() };
        assert!(translate("/s", "x", refused).to_string().contains("systemctl start docker"));
        let absent = Bollard::SocketNotFoundError("/s".to_owned());
        assert!(matches!(translate("/s", "x", absent), Error::EngineUnreachable { .. }));
    }
}
