//! Clusters of masters in one process, over real sockets and disks. Each master has a runtime of its own, so that it can
//! be frozen (its threads are held) and killed (its runtime is dropped) like a process.

mod cluster;
mod failover;
mod members;
mod reads_and_writes;
mod snapshots;
mod suite;
