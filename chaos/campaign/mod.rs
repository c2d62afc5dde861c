//! The campaign: traffic through every master, one fault after the other, and then the question whether anything that was
//! promised was broken.

mod faults;
mod planted;
mod rollout;
mod sweep;
mod traffic;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::Instant;

use crate::check::{self, Finding, Verdict, Wanted};
use crate::figures::table;
use crate::fleet::{Program, Timers};
use crate::history::History;
use crate::{Cluster, Error, Fleet, World};
pub use faults::Fault;
pub use planted::{Flaw, prove};
pub use rollout::run as rollout;
pub use sweep::run as sweep;
use traffic::Traffic;

/// Masters of a campaign.
const MASTERS: usize = 3;
/// How long the cluster may take to be whole again once a fault is over.
const RECOVERY: Duration = Duration::from_secs(45);
/// The rule that a cluster is whole again once a fault is over.
const RECOVERY_RULE: &str = "recovery";
/// How long the traffic flows undisturbed between two faults.
const CALM: Duration = Duration::from_millis(1_500);

/// What a campaign is told.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long faults go on.
    pub lasting: Duration,
    /// Decides which faults come in which order, and what the clients do.
    pub seed: u64,
    /// What runs as a master.
    pub program: Program,
    /// The faults to draw from; all of them come once before one comes twice.
    pub faults: Vec<Fault>,
    /// Prints each fault as it happens.
    pub verbose: bool,
    /// Keeps logs and history when something is found.
    pub keep: bool,
}

impl Plan {
    /// All faults on the real masters.
    ///
    /// # Errors
    /// [`Error::System`] when the `barque` binary is not there.
    pub fn new(lasting: Duration, seed: u64) -> Result<Self, Error> {
        let program = Program { path: Cluster::binary_beside()?, arguments: vec!["master".into()] };
        Ok(Self { lasting, seed, program, faults: Fault::ALL.to_vec(), verbose: true, keep: true })
    }
}

/// How a campaign ended.
#[derive(Debug)]
pub struct Report {
    /// Whether every invariant held, as far as the history tells.
    pub verdict: Verdict,
    /// Each fault, how often it happened, and how long the cluster took to be whole again.
    pub faults: Vec<Vec<String>>,
    /// What the clients did, and how it ended.
    pub operations: Vec<Vec<String>>,
    /// How many terms the campaign took.
    pub terms: u64,
    /// Where the history lies when something was found.
    pub kept: Option<PathBuf>,
}

impl Report {
    /// Whether it is a pass: everything was decided, and nothing was found.
    pub fn passed(&self) -> bool {
        self.verdict.holds()
    }

    /// The report for people.
    pub fn shown(&self) -> String {
        let faults = table(&["fault", "times", "whole again, ms (median / worst)"], &self.faults);
        let operations = table(&check::SUMMARY, &self.operations);
        let end = match &self.verdict {
            Verdict::Holds => "Every invariant held.".to_owned(),
            Verdict::Undecided(why) => format!("UNDECIDED, which is no pass: {why}"),
            Verdict::Violated(findings) => {
                let shown: Vec<String> = findings.iter().map(|finding| format!("BROKEN {finding}")).collect();
                shown.join("\n")
            }
        };
        let kept = self.kept.as_ref().map(|path| format!("\nThe history is kept in {}.", path.display()));
        format!("{faults}\n{operations}\n{} terms.\n{end}{}", self.terms, kept.unwrap_or_default())
    }
}

/// Runs a campaign in a world of its own; call [`crate::world::enter`] first.
///
/// # Errors
/// [`Error`] when the cluster cannot be driven, which is not a finding.
pub async fn run(plan: &Plan) -> Result<Report, Error> {
    let folder = tempfile::Builder::new().prefix("barque-chaos-").tempdir().map_err(Error::system("make a folder"))?;
    let barque = Cluster::binary_beside()?;
    let world = World::make(MASTERS)?;
    let mut fleet =
        Fleet::start(world, folder.path(), &barque, plan.program.clone(), MASTERS, Timers::default()).await?;
    let mut random = StdRng::seed_from_u64(plan.seed);
    let (_, first_term) = fleet.leader().await?;
    let traffic = Traffic::start(&fleet, plan.seed).await?;
    let mut log = faults::Log::default();
    let outcome = match disturb(plan, &mut fleet, &traffic, &mut random, &mut log).await {
        Ok(()) => settle(&fleet, traffic).await,
        // A cluster that does not come back is a finding, and what it showed until then is judged all the same.
        Err(error @ Error::Late { .. }) => {
            let finding = Finding { rule: RECOVERY_RULE, text: error.to_string(), excerpt: Vec::new() };
            Ok((traffic.cut_off().await, vec![finding]))
        }
        Err(error) => {
            drop(traffic.cut_off().await);
            Err(error)
        }
    };
    let (history, findings) = match outcome {
        Ok(whole) => whole,
        Err(error) if !plan.keep => return Err(error),
        Err(error) => {
            // What the masters said is worth more than the error alone.
            let kept = folder.keep();
            return Err(Error::Answer(format!("{error}\nthe logs are kept in {}", kept.display())));
        }
    };
    // Without a recovery there may be no leader to ask.
    let last_term = fleet.leader().await.map_or(first_term, |(_, term)| term);
    let verdict = check::all(&history).and(findings.into());
    let verdict = verdict.and(check::coverage(&history, &wanted(plan.lasting)).into());
    let kept = if !plan.keep || verdict.holds() { None } else { Some(keep(folder, &history)?) };
    Ok(Report {
        operations: check::summary(&history),
        faults: log.rows(),
        terms: last_term.saturating_sub(first_term),
        verdict,
        kept,
    })
}

/// One fault after the other, until the time is over.
async fn disturb(
    plan: &Plan,
    fleet: &mut Fleet,
    traffic: &Traffic,
    random: &mut StdRng,
    log: &mut faults::Log,
) -> Result<(), Error> {
    let began = Instant::now();
    let mut hand: Vec<Fault> = Vec::new();
    while began.elapsed() < plan.lasting {
        let fault = match hand.pop() {
            Some(fault) => fault,
            None => {
                hand = faults::shuffled(&plan.faults, random);
                continue;
            }
        };
        tokio::time::sleep(CALM).await;
        let mended = faults::inflict(fault, fleet, traffic, random).await?;
        fleet.mend()?;
        let whole = tokio::time::timeout(RECOVERY, fleet.all_ready()).await;
        whole.map_err(|_| Error::Late {
            what: format!("recovery from: {fault}"),
            seconds: RECOVERY.as_secs(),
            detail: String::new(),
        })??;
        log.add(fault, mended.elapsed());
        if plan.verbose {
            eprintln!("  {:6.1} s  {fault}", began.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

/// Ends the traffic, waits until every watch has seen the end, and compares the masters.
async fn settle(fleet: &Fleet, traffic: Traffic) -> Result<(History, Vec<Finding>), Error> {
    traffic.quiesce().await;
    fleet.all_ready().await?;
    let history = traffic.finish(fleet).await?;
    let mut findings = Vec::new();
    let mut views = Vec::new();
    for host in 0..fleet.len() {
        let view = crate::fleet::wait("a master's view", Duration::from_secs(10), async || Ok(fleet.view(host).await));
        views.push(view.await?);
    }
    let same = |view: &crate::fleet::View| view.revision == views[0].revision;
    // Controllers may still write; copies are compared where they stand at one revision.
    for view in views.iter().filter(|view| same(view)) {
        if view.chain != views[0].chain {
            let text = format!("masters {} and {} differ at revision {}", views[0].id, view.id, view.revision);
            findings.push(Finding { rule: "copies", text, excerpt: Vec::new() });
        }
    }
    Ok((history, findings))
}

/// What the clients must have got done to make a campaign of that length count: a small part of what they do when nothing
/// is wrong.
fn wanted(lasting: Duration) -> Wanted {
    let seconds = usize::try_from(lasting.as_secs()).unwrap_or(usize::MAX);
    Wanted {
        reads: 4 * seconds,
        creates: seconds,
        writes: seconds / 4,
        compares: seconds,
        deletes: seconds / 4,
        listings: 2 * seconds,
        watches: MASTERS,
        events: 2 * seconds,
    }
}

fn keep(folder: tempfile::TempDir, history: &History) -> Result<PathBuf, Error> {
    let logs: &Path = folder.path();
    let path = logs.join("history.json");
    let text = serde_json::to_vec(history).map_err(|error| Error::Answer(error.to_string()))?;
    std::fs::write(&path, text).map_err(Error::system("keep the history"))?;
    Ok(folder.keep())
}
