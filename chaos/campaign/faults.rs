//! What goes wrong: each fault is inflicted, lasts for a while, and is then mended by the campaign.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tokio::time::Instant;

use super::traffic::Traffic;
use crate::figures::Samples;
use crate::{Error, Fleet, Trouble};

/// How long a master whose disk has failed may take to end.
const ENDING: Duration = Duration::from_secs(3);

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The leader's process is killed and started again at once, within its lease.
    KillLeader,
    /// The leader's process is killed and stays away for seconds.
    LoseLeader,
    /// A follower's process is killed and stays away for seconds.
    LoseFollower,
    /// Two masters are killed: no quorum for seconds.
    LoseQuorum,
    /// The leader stands still for seconds, then goes on.
    FreezeLeader,
    /// A follower stands still for seconds, then goes on.
    FreezeFollower,
    /// The leader reaches no other master; clients still reach it.
    IsolateLeader,
    /// A follower reaches no other master.
    IsolateFollower,
    /// What the leader sends does not arrive; what is sent to it does.
    MuteLeader,
    /// What is sent to the leader does not arrive.
    DeafenLeader,
    /// Two masters do not reach each other; the third reaches both.
    Bridge,
    /// The leader's links go and come several times a second.
    Flap,
    /// The leader's disk takes long for every sync.
    SlowLeaderDisk,
    /// A follower's disk takes long for every sync.
    SlowFollowerDisk,
    /// A follower's disk is full for a while.
    FullFollowerDisk,
    /// The leader's disk fails to sync: its process must end, not answer.
    FailingLeaderDisk,
    /// The power of the leader alone goes.
    LeaderPower,
    /// The power of all masters goes at one moment.
    PowerCut,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 18] = [
        Self::KillLeader,
        Self::LoseLeader,
        Self::LoseFollower,
        Self::LoseQuorum,
        Self::FreezeLeader,
        Self::FreezeFollower,
        Self::IsolateLeader,
        Self::IsolateFollower,
        Self::MuteLeader,
        Self::DeafenLeader,
        Self::Bridge,
        Self::Flap,
        Self::SlowLeaderDisk,
        Self::SlowFollowerDisk,
        Self::FullFollowerDisk,
        Self::FailingLeaderDisk,
        Self::LeaderPower,
        Self::PowerCut,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::KillLeader => "leader killed, back at once",
            Self::LoseLeader => "leader killed",
            Self::LoseFollower => "follower killed",
            Self::LoseQuorum => "two masters killed",
            Self::FreezeLeader => "leader frozen",
            Self::FreezeFollower => "follower frozen",
            Self::IsolateLeader => "leader in the minority",
            Self::IsolateFollower => "follower in the minority",
            Self::MuteLeader => "leader cannot send",
            Self::DeafenLeader => "leader cannot receive",
            Self::Bridge => "two masters cut off from each other",
            Self::Flap => "leader's links flap",
            Self::SlowLeaderDisk => "leader's disk slow",
            Self::SlowFollowerDisk => "follower's disk slow",
            Self::FullFollowerDisk => "follower's disk full",
            Self::FailingLeaderDisk => "leader's disk fails",
            Self::LeaderPower => "leader's power cut",
            Self::PowerCut => "all power cut",
        })
    }
}

/// All kinds in a random order, to be taken from the end.
pub fn shuffled(faults: &[Fault], random: &mut StdRng) -> Vec<Fault> {
    let mut hand = faults.to_vec();
    hand.shuffle(random);
    hand
}

/// Lets a fault happen and last. Returns the moment from which the cluster may recover.
pub async fn inflict(
    fault: Fault,
    fleet: &mut Fleet,
    traffic: &Traffic,
    random: &mut StdRng,
) -> Result<Instant, Error> {
    let (leader, _) = fleet.leader().await?;
    let others: Vec<usize> = (0..fleet.len()).filter(|host| *host != leader).collect();
    let follower = others[random.random_range(0..others.len())];
    let lasting = Duration::from_millis(random.random_range(1_500..4_500));
    let last = async || tokio::time::sleep(lasting).await;
    match fault {
        Fault::KillLeader => fleet.kill(leader)?,
        Fault::LoseLeader => {
            fleet.kill(leader)?;
            last().await;
        }
        Fault::LoseFollower => {
            fleet.kill(follower)?;
            last().await;
        }
        Fault::LoseQuorum => {
            fleet.kill(follower)?;
            fleet.kill(leader)?;
            last().await;
        }
        Fault::FreezeLeader => {
            fleet.freeze(leader)?;
            last().await;
        }
        Fault::FreezeFollower => {
            fleet.freeze(follower)?;
            last().await;
        }
        Fault::IsolateLeader => {
            others.iter().try_for_each(|other| fleet.world().part(leader, *other))?;
            last().await;
        }
        Fault::IsolateFollower => {
            let rest = (0..fleet.len()).filter(|host| *host != follower);
            rest.into_iter().try_for_each(|other| fleet.world().part(follower, other))?;
            last().await;
        }
        Fault::MuteLeader => {
            others.iter().try_for_each(|other| fleet.world().cut(leader, *other))?;
            last().await;
        }
        Fault::DeafenLeader => {
            others.iter().try_for_each(|other| fleet.world().cut(*other, leader))?;
            last().await;
        }
        Fault::Bridge => {
            fleet.world().part(leader, follower)?;
            last().await;
        }
        Fault::Flap => {
            for _ in 0..6 {
                others.iter().try_for_each(|other| fleet.world().part(leader, *other))?;
                tokio::time::sleep(Duration::from_millis(random.random_range(100..500))).await;
                fleet.world().heal()?;
                tokio::time::sleep(Duration::from_millis(random.random_range(50..300))).await;
            }
        }
        Fault::SlowLeaderDisk | Fault::SlowFollowerDisk => {
            let host = if fault == Fault::SlowLeaderDisk { leader } else { follower };
            fleet.trouble(host, Trouble::SlowSync(Duration::from_millis(random.random_range(100..700))));
            last().await;
        }
        Fault::FullFollowerDisk => {
            fleet.trouble(follower, Trouble::Full);
            last().await;
        }
        Fault::FailingLeaderDisk => {
            fleet.trouble(leader, Trouble::FailSync);
            last().await;
            // A process that goes on after a failed sync no longer knows what is on its disk; ours has to end.
            let deadline = Instant::now() + ENDING;
            while !fleet.reap(leader)? {
                if Instant::now() > deadline {
                    return Err(Error::Answer("the leader goes on although its disk cannot sync".into()));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Fault::LeaderPower => {
            fleet.cut_power(&[leader])?;
            last().await;
        }
        Fault::PowerCut => {
            let all: Vec<usize> = (0..fleet.len()).collect();
            fleet.cut_power(&all)?;
        }
    }
    let mended = Instant::now();
    if matches!(fault, Fault::KillLeader | Fault::LeaderPower | Fault::PowerCut) {
        // The first thing that each master shows afterwards must hold everything that was acknowledged.
        fleet.mend()?;
        traffic.first_reads(fleet).await?;
    }
    Ok(mended)
}

/// How often each fault happened, and how long the cluster took to be whole again.
#[derive(Debug, Default)]
pub struct Log(BTreeMap<Fault, Samples>);

impl Log {
    /// Notes a fault that is over.
    pub fn add(&mut self, fault: Fault, recovery: Duration) {
        self.0.entry(fault).or_default().add(recovery);
    }

    /// Rows for a table.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let row = |(fault, samples): (&Fault, &Samples)| {
            let recovery = format!("{:.0} / {:.0}", samples.quantile(0.5), samples.worst());
            vec![fault.to_string(), samples.len().to_string(), recovery]
        };
        self.0.iter().map(row).collect()
    }
}
