//! Watching over one master: asking again and again whether it is ready.

use super::Shared;
use super::board::Health;
use crate::Address;
use crate::connection::Connection;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use std::time::Duration;
use tokio::time::Instant;

/// What the API server adds to its answer where its master leads (`apiserver::own`).
const LEADS: &str = "barque-leads";
/// The longest explanation of a master that is not ready which is kept.
const ANSWER_BYTES_MAX: usize = 512;

/// A probe that ends this much after its deadline proves that we were not running ourselves, and
/// nothing about the master.
const OWN_STALL: Duration = Duration::from_millis(300);

/// What one probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Finding {
    /// Whether it leads, too.
    Ready(bool),
    NotReady(String),
    /// Nobody listens there.
    Refused(String),
    /// No answer in time, or a broken one.
    Missed(String),
    /// Nothing can be concluded.
    Void,
}

/// Probes `address` until it is dropped, and reports to the board and to the list of masters.
pub(super) async fn watch_over(shared: &Shared, address: &Address) {
    let options = &shared.options;
    let mut connection = None;
    loop {
        let started = Instant::now();
        shared.board.asking(address);
        let probing = probe(shared, address, &mut connection);
        let finding = match tokio::time::timeout(options.probe_deadline, probing).await {
            Ok(finding) => finding,
            Err(_) if started.elapsed() > options.probe_deadline + OWN_STALL => Finding::Void,
            Err(_) => Finding::Missed(format!("it did not answer within {:?}", options.probe_deadline)),
        };
        if !matches!(finding, Finding::Ready(_) | Finding::NotReady(_)) {
            connection = None;
        }
        let health = judge(shared.board.health(address), finding, options.misses_max);
        match &health {
            Health::Ready { .. } => shared.endpoints.succeeded(address),
            Health::Down { reason } => shared.endpoints.failed(address, reason),
            _ => {}
        }
        // A missed probe is repeated at once: each pause here is time that frozen clients wait.
        let pause = !matches!(health, Health::Suspect { .. });
        shared.board.report(address, health);
        if pause {
            tokio::time::sleep(options.probe_interval).await;
        }
    }
}

/// Decides what a finding says, given what was known.
fn judge(before: Health, finding: Finding, misses_max: u32) -> Health {
    match finding {
        Finding::Ready(leads) => Health::Ready { leads },
        Finding::NotReady(reason) => Health::NotReady { reason },
        Finding::Refused(reason) => Health::Down { reason },
        Finding::Void => before,
        Finding::Missed(reason) => {
            let misses = match before {
                Health::Down { .. } => return Health::Down { reason },
                Health::Suspect { misses, .. } => misses + 1,
                _ => 1,
            };
            if misses >= misses_max { Health::Down { reason } } else { Health::Suspect { misses, reason } }
        }
    }
}

/// Asks once, over the connection of the last time while that works.
async fn probe(shared: &Shared, address: &Address, kept: &mut Option<Connection>) -> Finding {
    if let Some(connection) = kept.as_mut().filter(|connection| !connection.is_closed())
        && let Some(finding) = ask(shared, address, connection).await
    {
        return finding;
    }
    // A connection that broke says little: a master may have restarted. A new one decides.
    *kept = None;
    match Connection::open(address, shared.tls.clone(), shared.options.probe_deadline).await {
        Ok(mut connection) => {
            let finding = ask(shared, address, &mut connection).await;
            *kept = Some(connection);
            finding.unwrap_or_else(|| Finding::Missed("it broke the connection off".to_owned()))
        }
        Err(failure) if failure.refused => Finding::Refused(failure.reason),
        Err(failure) => Finding::Missed(failure.reason),
    }
}

/// One question; `None` when the connection broke.
async fn ask(shared: &Shared, address: &Address, connection: &mut Connection) -> Option<Finding> {
    let request = Request::get(shared.options.probe_path.as_str()).body(Full::<Bytes>::default());
    let Ok(request) = request else {
        return Some(Finding::NotReady("the probe's path is malformed".to_owned()));
    };
    let response = connection.send(address, request).await.ok()?;
    let (status, leads) = (response.status(), response.headers().contains_key(LEADS));
    // The body is read to its end, or an HTTP/1.1 connection could not be used again.
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    if status == StatusCode::OK {
        return Some(Finding::Ready(leads));
    }
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let words = String::from_utf8_lossy(&body);
    Some(Finding::NotReady(format!("{status} {}", words.trim()).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: Health = Health::Ready { leads: false };

    fn missed() -> Finding {
        Finding::Missed("late".to_owned())
    }

    #[test]
    fn a_master_goes_down_by_missing_twice() {
        let suspect = judge(READY, missed(), 2);
        assert!(matches!(suspect, Health::Suspect { misses: 1, .. }));
        let down = judge(suspect.clone(), missed(), 2);
        assert!(matches!(down, Health::Down { .. }));
        assert!(matches!(judge(down.clone(), missed(), 2), Health::Down { .. }));
        assert_eq!(judge(suspect, Finding::Ready(false), 2), READY);
        assert_eq!(judge(down, Finding::Ready(true), 2), Health::Ready { leads: true });
        assert!(matches!(judge(READY, missed(), 1), Health::Down { .. }));
    }

    #[test]
    fn certainty_needs_no_repetition_and_our_own_stall_says_nothing() {
        let refused = Finding::Refused("refused".to_owned());
        assert!(matches!(judge(READY, refused, 2), Health::Down { .. }));
        assert_eq!(judge(READY, Finding::Void, 2), READY);
        assert_eq!(judge(Health::Unknown, Finding::Void, 2), Health::Unknown);
        let draining = judge(READY, Finding::NotReady("503".to_owned()), 2);
        assert_eq!(draining, Health::NotReady { reason: "503".to_owned() });
    }
}
