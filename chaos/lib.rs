//! Real clusters under faults: started as processes, hurt, observed, and always removed again.
//!
//! The programs beside this library measure, or run campaigns; the integration tests of the root package assert.
//! A [`Cluster`] is what `barque up` makes on this machine; a [`Fleet`] is masters alone, on hosts and disks that can be
//! taken from them.

pub mod campaign;
pub mod check;
mod cluster;
mod disk;
mod error;
pub mod figures;
pub mod fleet;
pub mod history;
mod image;
mod probe;
pub mod serving;
pub mod world;

pub use campaign::Flaw;
pub use cluster::{Cluster, Master, Node, Shape, clients_folder, kubectl_binary, program_beside};
pub use disk::{Disk, Trouble};
pub use error::Error;
pub use fleet::Fleet;
pub use image::{IMAGE, NGINX_IMAGE, ensure_image, ensure_nginx_image};
pub use probe::{Probe, Written};
pub use world::World;
