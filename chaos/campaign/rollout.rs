//! A leader is frozen in the middle of a rollout, replaced, and thawed: what it still wanted to do must not be done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use client::{Call, Client, EventKind, PatchKind};
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::check::{Finding, Verdict};
use crate::fleet::{Program, Timers, wait};
use crate::{Cluster, Error, Fleet, World};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";
const PODS: &str = "/api/v1/namespaces/default/pods";
/// Replicas of the Deployment.
const REPLICAS: u64 = 12;
/// How long a rollout of simulated pods may take.
const ROLLOUT: Duration = Duration::from_secs(90);
/// What the thawed leader had under way is written by then, or refused: twice as long as a slow duty holds it up.
const AFTERMATH: Duration = Duration::from_secs(3);

/// Runs so many rounds against these masters; call [`crate::world::enter`] first.
///
/// # Errors
/// [`Error`] when the cluster cannot be driven.
pub async fn run(program: Program, rounds: u64) -> Result<Verdict, Error> {
    let folder = tempfile::Builder::new().prefix("barque-chaos-").tempdir().map_err(Error::system("make a folder"))?;
    let barque = Cluster::binary_beside()?;
    let world = World::make(3)?;
    let mut fleet = Fleet::start(world, folder.path(), &barque, program, 3, Timers::default()).await?;
    fleet.add_nodes(2).await?;
    create(&fleet.client(0)?).await?;
    settled(&fleet, 0, 0).await?;
    let mut findings = Vec::new();
    for round in 1..=rounds {
        let (leader, term) = fleet.leader().await?;
        let other = (leader + 1) % fleet.len();
        let client = fleet.client(other)?;
        let watcher = Watcher::start(&client).await?;
        let known = sets(&client).await?;
        let change = json!({"spec": {"template": {"metadata": {"annotations": {"round": round.to_string()}}}}});
        client.patch(&format!("{DEPLOYMENTS}/web"), PatchKind::Merge, &change).await?;
        // From the moment that the new ReplicaSet wants pods, its controller is about to create them.
        wait("a new ReplicaSet", ROLLOUT, async || {
            let fresh =
                sets(&client).await?.into_iter().find(|(name, wanted)| !known.contains_key(name) && *wanted > 0);
            Ok(fresh)
        })
        .await?;
        fleet.freeze(leader)?;
        settled(&fleet, other, round).await?;
        fleet.thaw(leader)?;
        wait("the old leader's insight", Duration::from_secs(20), async || {
            Ok(fleet.view(leader).await.filter(|view| !view.leads && view.term > term))
        })
        .await?;
        tokio::time::sleep(AFTERMATH).await;
        fleet.all_ready().await?;
        settled(&fleet, other, round).await?;
        findings.extend(watcher.finish(&client).await?);
    }
    Ok(findings.into())
}

async fn create(client: &Client) -> Result<(), Error> {
    let body = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": REPLICAS, "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": {"round": "0"}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": "server:1"}]}},
        },
    });
    client.json(Call::new(Method::POST, DEPLOYMENTS).json(&body)).await?;
    Ok(())
}

/// Waits until the rollout of a round is complete, as the master `host` sees it.
async fn settled(fleet: &Fleet, host: usize, round: u64) -> Result<(), Error> {
    let client = fleet.client(host)?;
    wait(&format!("the end of rollout {round}"), ROLLOUT, async || {
        let one = client.json(Call::get(format!("{DEPLOYMENTS}/web")).deadline(Duration::from_secs(3))).await?;
        let (spec, status) = (&one["spec"], &one["status"]);
        let complete = spec["template"]["metadata"]["annotations"]["round"] == json!(round.to_string())
            && status["observedGeneration"] == one["metadata"]["generation"]
            && ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|field| status[field] == REPLICAS);
        if complete { Ok(Some(())) } else { Err(Error::Answer(status.to_string())) }
    })
    .await
}

/// Each ReplicaSet and how many pods it wants.
async fn sets(client: &Client) -> Result<BTreeMap<String, u64>, Error> {
    let list = client.json(Call::get(SETS).deadline(Duration::from_secs(3))).await?;
    let wanted = |set: &Value| {
        Some((set["metadata"]["name"].as_str()?.to_owned(), set["spec"]["replicas"].as_u64().unwrap_or(0)))
    };
    Ok(list["items"].as_array().map_or(&[][..], Vec::as_slice).iter().filter_map(wanted).collect())
}

/// Follows all pods and counts, at every revision, how many live ones each ReplicaSet has.
struct Watcher {
    task: JoinHandle<Result<BTreeMap<String, usize>, Error>>,
}

impl Watcher {
    async fn start(client: &Client) -> Result<Self, Error> {
        let list = client.json(Call::get(PODS)).await?;
        let mut live: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for pod in list["items"].as_array().map_or(&[][..], Vec::as_slice) {
            note(&mut live, pod, false);
        }
        let from = list["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_owned();
        let client = client.clone();
        Ok(Self { task: tokio::spawn(follow(client, from, live)) })
    }

    /// Writes a last pod that ends the watch, and compares what was seen with what each ReplicaSet wants.
    async fn finish(self, client: &Client) -> Result<Vec<Finding>, Error> {
        let end = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "end", "labels": {"app": "end"}},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": "server:1"}]},
        });
        client.json(Call::new(Method::POST, PODS).json(&end)).await?;
        let most = self.task.await.map_err(|error| Error::Answer(error.to_string()))??;
        client.json(Call::new(Method::DELETE, format!("{PODS}/end?gracePeriodSeconds=0"))).await?;
        let limit = usize::try_from(REPLICAS).unwrap_or(usize::MAX);
        Ok(most
            .into_iter()
            .filter(|(_, count)| *count > limit)
            .map(|(set, count)| {
                let text =
                    format!("{set} never wanted more than {limit} pods, and had {count} live ones at one moment");
                Finding { rule: "tenure", text, excerpt: Vec::new() }
            })
            .collect())
    }
}

async fn follow(
    client: Client,
    mut from: String,
    mut live: BTreeMap<String, BTreeSet<String>>,
) -> Result<BTreeMap<String, usize>, Error> {
    let mut most = BTreeMap::new();
    loop {
        let mut watch = client.watch(PODS, Some(&from)).await?;
        while let Some(next) = watch.next().await {
            let event = match next {
                Ok(event) => event,
                Err(client::Error::WatchBroken(_)) => break,
                Err(error) => return Err(error.into()),
            };
            if let Some(revision) = event.revision() {
                from = revision.to_string();
            }
            if event.object["metadata"]["labels"]["app"] == "end" {
                return Ok(most);
            }
            if event.kind != EventKind::Bookmark {
                note(&mut live, &event.object, event.kind == EventKind::Deleted);
                for (set, pods) in &live {
                    let seen = most.entry(set.clone()).or_insert(0);
                    *seen = pods.len().max(*seen);
                }
            }
        }
    }
}

fn note(live: &mut BTreeMap<String, BTreeSet<String>>, pod: &Value, deleted: bool) {
    let (Some(name), Some(owner)) =
        (pod["metadata"]["name"].as_str(), pod["metadata"]["ownerReferences"][0]["name"].as_str())
    else {
        return;
    };
    let pods = live.entry(owner.to_owned()).or_default();
    if deleted || pod["metadata"]["deletionTimestamp"].is_string() {
        pods.remove(name);
    } else {
        pods.insert(name.to_owned());
    }
}
