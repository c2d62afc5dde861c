//! barque
fn main() {}
