//! One file per fault.

pub mod absence;
pub mod followers;
pub mod idle;
pub mod leader;
pub mod node;
pub mod workload;

/// Prints a broken invariant and returns whether it held.
pub fn check(held: bool, what: &str) -> bool {
    if !held {
        println!("BROKEN: {what}");
    }
    held
}
