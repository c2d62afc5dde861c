//! Faults planted into masters, to see that the campaign finds them: a checker that never failed proves nothing.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Fault, Plan, RECOVERY_RULE, rollout};
use crate::check::Verdict;
use crate::fleet::Program;
use crate::{Error, program_beside};

/// How long faults go on in a campaign against a planted one.
const LASTING: Duration = Duration::from_secs(25);

/// What is wrong with a master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Reads answer from the master's own copy without asking whether it is current.
    StaleRead,
    /// Writes are acknowledged up to half a second before they are on any disk.
    EarlyAcknowledgement,
    /// What a leader's duties write is held up for a second, and then goes to whoever leads, without its tenure's token.
    UnfencedDuty,
    /// What a leader's duties write is held up for a second, with its token: no flaw, and nothing may be found.
    SlowDuty,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::StaleRead, Self::EarlyAcknowledgement, Self::UnfencedDuty, Self::SlowDuty];

    /// As the command line names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::StaleRead => "stale-read",
            Self::EarlyAcknowledgement => "early-acknowledgement",
            Self::UnfencedDuty => "unfenced-duty",
            Self::SlowDuty => "slow-duty",
        }
    }

    /// Whether it has to be found.
    pub fn is_a_flaw(self) -> bool {
        self != Self::SlowDuty
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Flaw {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|flaw| flaw.name() == text).ok_or_else(|| format!("one of {}", names()))
    }
}

/// Runs masters with a flaw and tells whether the outcome is as it must be: found, or nothing to find. Prints what was
/// found.
///
/// # Errors
/// [`Error`] when the cluster cannot be driven.
pub async fn prove(flaw: Flaw, seed: u64) -> Result<bool, Error> {
    let program = Program { path: program_beside("flawed")?, arguments: vec![flaw.name().into()] };
    let verdict = match flaw {
        Flaw::StaleRead => {
            let faults = vec![Fault::IsolateFollower, Fault::FreezeFollower, Fault::IsolateLeader];
            super::run(&Plan { lasting: LASTING, seed, program, faults, verbose: false, keep: false }).await?.verdict
        }
        Flaw::EarlyAcknowledgement => {
            let faults = vec![Fault::PowerCut];
            super::run(&Plan { lasting: LASTING, seed, program, faults, verbose: false, keep: false }).await?.verdict
        }
        Flaw::UnfencedDuty | Flaw::SlowDuty => rollout::run(program, 1).await?,
    };
    // Masters that do not come back tell that something is wrong, but not what: that alone does not count.
    let told = match &verdict {
        Verdict::Violated(findings) => findings.iter().find(|finding| finding.rule != RECOVERY_RULE),
        _ => None,
    };
    match &verdict {
        Verdict::Violated(findings) => {
            println!(
                "{flaw}: {}.",
                if told.is_some() { "found" } else { "the masters did not come back, nothing else was found" }
            );
            told.or(findings.first()).into_iter().for_each(|finding| println!("  {finding}"));
        }
        Verdict::Holds => println!("{flaw}: nothing was found."),
        Verdict::Undecided(why) => println!("{flaw}: undecided: {why}"),
    }
    Ok(match verdict {
        Verdict::Violated(_) => told.is_some() && flaw.is_a_flaw(),
        Verdict::Holds => !flaw.is_a_flaw(),
        Verdict::Undecided(_) => false,
    })
}
