//! `barque status`: one screen about the cluster. Asks every master for its own view, so it works without a quorum.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use client::{Address, Call, Client};
use serde::Serialize;
use serde_json::Value;

use crate::cli::{Output, StatusArgs};
use crate::layout::{self, Layout};
use crate::{Error, process, token};

/// How long one master may take to describe itself; a frozen one is shown as such.
const DEADLINE: Duration = Duration::from_millis(1_500);
/// How often the live status looks.
const LOOK_EVERY: Duration = Duration::from_millis(1_000);

/// The stable form of `-o json`.
#[derive(Debug, Serialize)]
struct Report {
    leader: Option<String>,
    term: u64,
    masters: Vec<Master>,
    nodes: Vec<Node>,
    tolerates: usize,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Master {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    /// leader, follower, learner, candidate or unreachable.
    role: String,
    last_applied: u64,
    lag: u64,
}

#[derive(Debug, Serialize)]
struct Node {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    ready: bool,
}

/// Shows the status once.
pub async fn run(args: StatusArgs) -> Result<(), Error> {
    let report = match &args.kubeconfig {
        Some(kubeconfig) => {
            let (client, _) = token::administrator(kubeconfig)?;
            let masters = client.endpoints().addresses().into_iter().map(|address| (None, address)).collect();
            collect(&client, masters, None).await
        }
        None => local(&layout::absolute(&args.dir)?).await?,
    };
    match args.output {
        Output::Json => {
            let text = serde_json::to_string_pretty(&report)
                .map_err(|error| Error::Parse { path: "the status".into(), reason: error.to_string() })?;
            println!("{text}");
        }
        Output::Text => print!("{}", render(&report)),
    }
    Ok(())
}

/// Shows the status of a local cluster until a signal comes; elsewhere than on a terminal, only when it changes.
pub async fn live(dir: &Path) -> Result<(), Error> {
    let mut signals = base::shutdown::signals()?;
    let terminal = std::io::stdout().is_terminal();
    let mut shown = String::new();
    loop {
        let text = render(&local(dir).await?);
        if terminal {
            print!("\x1b[2J\x1b[H{text}\nCtrl-C leaves; the cluster goes on. `barque down` stops it.\n");
        } else if text != shown {
            println!("{text}");
        }
        shown = text;
        tokio::select! {
            _ = signals.next() => return Ok(()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn local(dir: &Path) -> Result<Report, Error> {
    let layout = Layout::load(dir)?.ok_or_else(|| Error::NoCluster(dir.to_owned()))?;
    let (client, _) = token::administrator(&layout::kubeconfig_path(dir))?;
    let masters = layout
        .masters
        .iter()
        .map(|master| Ok((Some(master.name.clone()), Address::new("127.0.0.1", master.api)?)))
        .collect::<Result<_, Error>>()?;
    Ok(collect(&client, masters, Some((dir, &layout))).await)
}

async fn collect(client: &Client, masters: Vec<(Option<String>, Address)>, place: Option<(&Path, &Layout)>) -> Report {
    let asked: Vec<_> = masters
        .into_iter()
        .map(|(name, address)| {
            let client = client.clone();
            tokio::spawn(async move {
                let call = Call::get("/barque/v1/status").deadline(DEADLINE);
                let answer = client.request_to(&address, call).await;
                let view = answer.and_then(|answer| answer.json("the status")).ok().filter(|view| view["id"].is_u64());
                (name, address, view)
            })
        })
        .collect();
    let mut views = Vec::new();
    for asking in asked {
        if let Ok(view) = asking.await {
            views.push(view);
        }
    }
    let pid = |name: &str| place.and_then(|(dir, _)| process::running(dir, name)).map(|process| process.pid);
    report(&views, place.map(|(_, layout)| layout), pid)
}

/// One report out of what each master says. Pure, so that it can be tested.
fn report(
    views: &[(Option<String>, Address, Option<Value>)],
    layout: Option<&Layout>,
    pid: impl Fn(&str) -> Option<i32>,
) -> Report {
    let number = |view: &Value, field: &str| view[field].as_u64().unwrap_or(0);
    let said: Vec<&Value> = views.iter().filter_map(|(_, _, view)| view.as_ref()).collect();
    // The highest term knows best; within it, whoever leads, then whoever has applied most.
    let best =
        said.iter().max_by_key(|view| (number(view, "term"), view["role"] == "leader", number(view, "last_applied")));
    let members: &[Value] = best.and_then(|view| view["members"].as_array()).map_or(&[], Vec::as_slice);
    let newest = said.iter().map(|view| number(view, "last_applied")).max().unwrap_or(0);
    let masters: Vec<Master> = views
        .iter()
        .map(|(name, address, view)| {
            let url = address.to_string();
            let own = |member: &&Value| match view {
                Some(view) => member["id"] == view["id"],
                None => member["api"].as_str() == Some(url.as_str()),
            };
            let member = members.iter().find(own);
            let known = member.and_then(|member| member["name"].as_str()).map(str::to_owned);
            let name = name.clone().or(known).unwrap_or_else(|| address.authority());
            let last_applied = view.as_ref().map_or(0, |view| number(view, "last_applied"));
            let role = match view {
                Some(view) => view["role"].as_str().unwrap_or("unknown").to_owned(),
                None => "unreachable".to_owned(),
            };
            Master {
                id: view.as_ref().or(member).and_then(|view| view["id"].as_u64()),
                pid: pid(&name),
                lag: if view.is_some() { newest - last_applied } else { 0 },
                name,
                url,
                role,
                last_applied,
            }
        })
        .collect();
    let nodes: Vec<Node> = best
        .and_then(|view| view["nodes"].as_array())
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .map(|node| {
            let name = node["name"].as_str().unwrap_or("").to_owned();
            Node { pid: pid(&name), ready: node["ready"] == true, name }
        })
        .collect();
    let voters = members.iter().filter(|member| member["voter"] == true).count();
    let reachable = members
        .iter()
        .filter(|member| member["voter"] == true && said.iter().any(|view| view["id"] == member["id"]))
        .count();
    let quorum = voters / 2 + 1;
    let leader = masters.iter().find(|master| master.role == "leader").map(|master| master.name.clone());
    let mut warnings = Vec::new();
    if said.is_empty() {
        warnings.push("No master answers: the cluster is stopped, or this machine cannot reach it.".to_owned());
    } else if voters > 0 && reachable < quorum {
        warnings.push(format!(
            "No quorum: {reachable} of {voters} masters answer, {quorum} are needed. Nothing can be changed until another \
             one is back; running containers go on."
        ));
    } else if leader.is_none() {
        warnings.push("No leader at the moment: an election is under way.".to_owned());
    } else if reachable == quorum && voters > 1 {
        warnings.push(format!("{reachable} of {voters} masters answer: one more failure stops all changes."));
    }
    if voters == 1 && said.len() == 1 {
        warnings.push("One master alone tolerates no failure: join two more.".to_owned());
    }
    if best.is_some_and(|view| view["evictions_held"] == true) {
        warnings.push(
            "Most nodes vanished at once, so the fault is taken to be ours: no pod is moved until half of them are back."
                .to_owned(),
        );
    }
    for node in nodes.iter().filter(|node| !node.ready) {
        warnings.push(format!("Node {} is not Ready.", node.name));
    }
    if let Some(layout) = layout {
        if layout.runtime == crate::cli::RuntimeChoice::Sim {
            warnings.push("Containers are simulated: nothing really runs.".to_owned());
        }
        if pid(layout::GATEWAY).is_none() {
            warnings
                .push("The gateway is not running: start it with `barque up`, or use a master's context.".to_owned());
        }
    }
    Report {
        leader,
        term: best.map_or(0, |view| number(view, "term")),
        masters,
        nodes,
        tolerates: reachable.saturating_sub(quorum),
        warnings,
    }
}

fn render(report: &Report) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    let leader = report.leader.as_deref().unwrap_or("none");
    // Writing to a string cannot fail.
    let _ = writeln!(out, "Leader {leader}, term {}, tolerates {} more failure(s)\n", report.term, report.tolerates);
    let _ = writeln!(out, "{:<14} {:<12} {:>12} {:>6} {:>8}  URL", "MASTER", "ROLE", "APPLIED", "LAG", "PID");
    for master in &report.masters {
        let pid = master.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let _ = writeln!(
            out,
            "{:<14} {:<12} {:>12} {:>6} {:>8}  {}",
            master.name, master.role, master.last_applied, master.lag, pid, master.url
        );
    }
    let _ = writeln!(out, "\n{:<14} {:<12} {:>8}", "NODE", "READY", "PID");
    for node in &report.nodes {
        let pid = node.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let _ = writeln!(out, "{:<14} {:<12} {:>8}", node.name, if node.ready { "yes" } else { "NO" }, pid);
    }
    for warning in &report.warnings {
        let _ = writeln!(out, "\n! {warning}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn view(id: u64, role: &str, applied: u64) -> Value {
        let member = |id: u64| json!({"id": id, "name": format!("m{id}"), "api": format!("https://127.0.0.1:{id}"), "voter": true});
        json!({
            "id": id, "role": role, "term": 4, "last_applied": applied,
            "members": [member(1), member(2), member(3)],
            "nodes": [{"name": "n1", "ready": true}, {"name": "n2", "ready": false}],
        })
    }

    fn shown(views: [Option<Value>; 3]) -> Report {
        let views: Vec<_> = views
            .into_iter()
            .zip(1..)
            .map(|(view, port)| (None, Address::new("127.0.0.1", port).unwrap(), view))
            .collect();
        report(&views, None, |_| None)
    }

    #[test]
    fn a_healthy_cluster_tolerates_one() {
        let report = shown([Some(view(1, "follower", 9)), Some(view(2, "leader", 10)), Some(view(3, "follower", 10))]);
        assert_eq!((report.leader.as_deref(), report.term, report.tolerates), (Some("m2"), 4, 1));
        assert_eq!(report.masters.iter().map(|master| master.lag).collect::<Vec<_>>(), [1, 0, 0]);
        assert_eq!(report.warnings, ["Node n2 is not Ready."]);
    }

    #[test]
    fn a_dead_master_is_named_and_counted() {
        let report = shown([Some(view(1, "leader", 9)), None, Some(view(3, "follower", 9))]);
        assert_eq!((report.masters[1].name.as_str(), report.masters[1].role.as_str()), ("m2", "unreachable"));
        assert_eq!(report.tolerates, 0);
        assert!(report.warnings[0].contains("one more failure"), "{:?}", report.warnings);
    }

    #[test]
    fn without_a_quorum_it_says_so() {
        let report = shown([Some(view(1, "follower", 9)), None, None]);
        assert!(report.leader.is_none());
        assert!(report.warnings[0].starts_with("No quorum: 1 of 3"), "{:?}", report.warnings);
        assert!(shown([None, None, None]).warnings[0].starts_with("No master answers"));
    }

    #[test]
    fn the_table_fits_eighty_columns() {
        let text = render(&shown([Some(view(1, "follower", 9)), Some(view(2, "leader", 10)), None]));
        assert!(text.lines().filter(|line| !line.starts_with('!')).all(|line| line.chars().count() <= 80), "{text}");
    }
}
