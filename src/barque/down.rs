//! `barque down`: stops a local cluster and removes its containers.

use std::time::Duration;

use crate::cli::{DownArgs, RuntimeChoice};
use crate::layout::{self, Layout};
use crate::progress::Progress;
use crate::{Error, process};

/// How long a process may take to end by itself: a master drains its requests first.
const PATIENCE: Duration = Duration::from_secs(8);

/// Stops everything; a repeat finds nothing to do.
pub async fn run(args: DownArgs) -> Result<(), Error> {
    let dir = layout::absolute(&args.dir)?;
    let layout = Layout::load(&dir)?.ok_or_else(|| Error::NoCluster(args.dir.clone()))?;
    let mut progress = Progress::new();
    // Agents first: they would otherwise look for masters that are ending.
    progress.begin("nodes");
    let nodes: Vec<_> = layout.nodes.iter().filter_map(|node| process::running(&dir, &node.name)).collect();
    process::stop(&nodes, PATIENCE).await;
    progress.begin("masters");
    let masters = layout.masters.iter().map(|master| master.name.as_str()).chain([layout::GATEWAY]);
    let masters: Vec<_> = masters.filter_map(|name| process::running(&dir, name)).collect();
    process::stop(&masters, PATIENCE).await;
    let cluster =
        layout.masters.first().and_then(|founder| master::cluster_of(&layout::process_dir(&dir, &founder.name)));
    if let Some(cluster) = &cluster {
        progress.begin("containers");
        // Docker's containers are swept once; simulated ones lie with each node.
        let mut folders =
            layout.nodes.iter().map(|node| crate::node::sim_folder(&layout::process_dir(&dir, &node.name)));
        let folders: Vec<_> = match layout.runtime {
            RuntimeChoice::Sim => folders.collect(),
            _ => folders.by_ref().take(1).collect(),
        };
        for folder in folders {
            runtime::sweep(layout.runtime.backend(), None, &folder, cluster).await?;
        }
    }
    if args.purge {
        if let Some(cluster) = &cluster {
            agent::forget_memory(cluster)?;
        }
        progress.begin("data");
        std::fs::remove_dir_all(&dir).map_err(Error::file("remove", &dir))?;
    }
    progress.done();
    Ok(())
}
