//! Probes and hooks of containers: asking, counting, and telling the worker when the answer changes.

use crate::context::Context;
use crate::limits::PROBE_BYTES_MAX;
use crate::pod::view;
use futures::StreamExt;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{
    Container, ExecAction, GRPCAction, HTTPGetAction, HTTPHeader, Pod, Probe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use runtime::ExecSpec;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Startup,
    Readiness,
    Liveness,
}

impl Kind {
    /// Its name at the start of a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Startup => "Startup",
            Kind::Readiness => "Readiness",
            Kind::Liveness => "Liveness",
        }
    }
}

/// A probe's verdict, sent when it is reached and whenever a single probe fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub container: String,
    pub id: String,
    pub kind: Kind,
    /// `None` while the threshold is not reached: one probe has failed, no more.
    pub healthy: Option<bool>,
    /// What the probe said.
    pub message: String,
}

/// The running probes of one pod; dropping it ends them.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    running: HashMap<(String, Kind), tokio::task::JoinHandle<()>>,
}

impl Probes {
    /// Makes exactly the wanted probes run: by container id, with the container and the pod's address.
    pub fn keep(
        &mut self,
        context: &Arc<Context>,
        pod: &Arc<Pod>,
        wanted: &[(String, &Container, Kind)],
        address: Option<IpAddr>,
        verdicts: &mpsc::Sender<Verdict>,
    ) {
        self.running.retain(|(id, kind), task| {
            let stays = wanted.iter().any(|(wanted, _, of)| wanted == id && of == kind);
            if !stays {
                task.abort();
            }
            stays
        });
        for (id, container, kind) in wanted {
            let key = (id.clone(), *kind);
            let Some(probe) = probe_of(container, *kind).filter(|_| !self.running.contains_key(&key)) else { continue };
            let target = Target {
                context: context.clone(),
                pod: pod.clone(),
                container: (*container).clone(),
                id: id.clone(),
                address,
            };
            let task = run(target, *kind, probe.clone(), verdicts.clone());
            self.running.insert(key, tokio::spawn(task));
        }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        for task in self.running.values() {
            task.abort();
        }
    }
}

/// The probe of a container.
pub(crate) fn probe_of(container: &Container, kind: Kind) -> Option<&Probe> {
    match kind {
        Kind::Startup => container.startup_probe.as_ref(),
        Kind::Readiness => container.readiness_probe.as_ref(),
        Kind::Liveness => container.liveness_probe.as_ref(),
    }
}

/// Whom to ask.
pub(crate) struct Target {
    pub context: Arc<Context>,
    pub pod: Arc<Pod>,
    pub container: Container,
    pub id: String,
    pub address: Option<IpAddr>,
}

async fn run(target: Target, kind: Kind, probe: Probe, verdicts: mpsc::Sender<Verdict>) {
    let seconds = |value: Option<i32>, default: u64| {
        Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
    };
    tokio::time::sleep(seconds(probe.initial_delay_seconds, 0)).await;
    let period = seconds(probe.period_seconds.filter(|it| *it > 0), 10);
    let timeout = seconds(probe.timeout_seconds.filter(|it| *it > 0), 1);
    let mut counter = Counter::new(&probe);
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let outcome = match tokio::time::timeout(timeout, ask(&target, &probe)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("it did not answer within {timeout:?}")),
        };
        let healthy = counter.count(outcome.is_ok());
        let (container, id) = (target.container.name.clone(), target.id.clone());
        let message = outcome.err().unwrap_or_default();
        let news = healthy.is_some() || !message.is_empty();
        if news && verdicts.send(Verdict { container, id, kind, healthy, message }).await.is_err() {
            return;
        }
        if kind == Kind::Startup && healthy == Some(true) {
            return;
        }
    }
}

/// Counts results in a row up to the thresholds.
#[derive(Debug)]
struct Counter {
    failures_max: u32,
    successes_min: u32,
    row: (bool, u32),
}

impl Counter {
    fn new(probe: &Probe) -> Self {
        let at_least_one =
            |value: Option<i32>, default| value.and_then(|it| u32::try_from(it).ok()).unwrap_or(default).max(1);
        Self {
            failures_max: at_least_one(probe.failure_threshold, 3),
            successes_min: at_least_one(probe.success_threshold, 1),
            row: (true, 0),
        }
    }

    /// Counts one result; the verdict when a threshold is reached or still exceeded.
    fn count(&mut self, success: bool) -> Option<bool> {
        self.row = if self.row.0 == success { (success, self.row.1.saturating_add(1)) } else { (success, 1) };
        let threshold = if success { self.successes_min } else { self.failures_max };
        (self.row.1 >= threshold).then_some(success)
    }
}

async fn ask(target: &Target, probe: &Probe) -> Result<(), String> {
    if let Some(action) = &probe.exec {
        execute(target, action).await
    } else if let Some(action) = &probe.http_get {
        http_get(target, action).await
    } else if let Some(action) = &probe.tcp_socket {
        tcp(target, action).await
    } else if let Some(action) = &probe.grpc {
        grpc(target, action).await
    } else {
        Ok(())
    }
}

/// Runs a program in the container; fails unless it ends with 0.
pub(crate) async fn execute(target: &Target, action: &ExecAction) -> Result<(), String> {
    let spec = ExecSpec { command: action.command.clone().unwrap_or_default(), tty: false, stdin: false };
    let mut session = target.context.runtime.exec(&target.id, spec).await.map_err(|error| error.to_string())?;
    let mut said = Vec::new();
    while let Some(output) = session.output.next().await {
        let output = output.map_err(|error| error.to_string())?;
        let left = PROBE_BYTES_MAX.saturating_sub(said.len());
        said.extend_from_slice(&output.bytes[..output.bytes.len().min(left)]);
    }
    match session.control.exit_code().await {
        Ok(0) => Ok(()),
        Ok(code) => Err(format!("{} (exit code {code})", String::from_utf8_lossy(&said).trim())),
        Err(error) => Err(error.to_string()),
    }
}

/// Asks by HTTP; any status from 200 to 399 is fine.
pub(crate) async fn http_get(target: &Target, action: &HTTPGetAction) -> Result<(), String> {
    let port = port_of(&target.container, &action.port)?;
    if action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) {
        // Nobody verifies a probe's certificate upstream either; that the port speaks at all is what we can say.
        return connect(target, action.host.as_deref(), port).await.map(drop);
    }
    let stream = connect(target, action.host.as_deref(), port).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let driving = tokio::spawn(connection);
    let path = action.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let mut request = http::Request::get(path).header("User-Agent", "kube-probe/1.37").header("Accept", "*/*");
    let headers: &[HTTPHeader] = action.http_headers.as_deref().unwrap_or_default();
    if !headers.iter().any(|header| header.name.eq_ignore_ascii_case("host")) {
        let host = host_of(target, action.host.as_deref())?;
        request = request.header("Host", format!("{host}:{port}"));
    }
    for header in headers {
        request = request.header(header.name.as_str(), header.value.as_str());
    }
    let outcome = async {
        let request = request.body(Empty::<bytes::Bytes>::new()).map_err(text)?;
        let response = sender.send_request(request).await.map_err(text)?;
        let status = response.status();
        let _ = Limited::new(response.into_body(), PROBE_BYTES_MAX).collect().await;
        if (200..400).contains(&status.as_u16()) {
            Ok(())
        } else {
            Err(format!("HTTP probe failed with statuscode: {}", status.as_u16()))
        }
    };
    let outcome = outcome.await;
    driving.abort();
    outcome
}

async fn tcp(target: &Target, action: &TCPSocketAction) -> Result<(), String> {
    let port = port_of(&target.container, &action.port)?;
    connect(target, action.host.as_deref(), port).await.map(drop)
}

async fn grpc(target: &Target, action: &GRPCAction) -> Result<(), String> {
    // Health checking by gRPC is reduced to its port: a server that listens is taken for healthy.
    let port = u16::try_from(action.port).map_err(text)?;
    connect(target, None, port).await.map(drop)
}

fn host_of(target: &Target, host: Option<&str>) -> Result<String, String> {
    let own = host.filter(|host| !host.is_empty()).map(str::to_owned);
    let address = if view::spec(&target.pod).host_network == Some(true) {
        Some(target.context.options.address)
    } else {
        target.address
    };
    own.or(address.map(|it| it.to_string())).ok_or_else(|| "the pod has no address".to_owned())
}

async fn connect(target: &Target, host: Option<&str>, port: u16) -> Result<TcpStream, String> {
    let host = host_of(target, host)?;
    TcpStream::connect((host.as_str(), port)).await.map_err(|error| format!("dial tcp {host}:{port}: {error}"))
}

fn port_of(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|number| *number > 0)
        .ok_or_else(|| "the port is not known".to_owned())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_count_results_in_a_row() {
        let probe = Probe { failure_threshold: Some(2), success_threshold: Some(2), ..Probe::default() };
        let mut counter = Counter::new(&probe);
        let results = [true, true, false, true, false, false, false, true, true];
        let verdicts: Vec<Option<bool>> = results.into_iter().map(|result| counter.count(result)).collect();
        let (up, down) = (Some(true), Some(false));
        assert_eq!(verdicts, [None, up, None, None, None, down, down, None, up]);
        assert_eq!(Counter::new(&Probe::default()).count(true), up);
    }

    #[test]
    fn ports_go_by_number_or_name() {
        let container: Container =
            serde_json::from_value(serde_json::json!({"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}))
                .unwrap();
        assert_eq!(port_of(&container, &IntOrString::Int(80)), Ok(80));
        assert_eq!(port_of(&container, &IntOrString::String("web".into())), Ok(8080));
        assert!(port_of(&container, &IntOrString::String("none".into())).is_err());
        assert!(port_of(&container, &IntOrString::Int(70_000)).is_err());
    }
}
