//! Clusters of masters in one process, over real sockets and disks.
