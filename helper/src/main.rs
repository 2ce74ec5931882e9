//! gantry-helper: the root service that runs LXC containers.

mod engine;

fn main() {}
