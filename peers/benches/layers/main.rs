//! The layers one by one, almadia's beside raft-rs's: `cargo bench --bench layers`, at the root of the
//! workspace.
//!
//! Owns the list of the groups, and how long each is measured. A group's name is its layer's; each bench is
//! named after what is done and who does it. Nothing grows from one iteration to the next: logs are cut,
//! what was sent is acknowledged.

mod cluster;
mod codec;
mod log;
mod progress;
mod quorum;
mod raw_node;
mod rounds;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// There are many of them, and what is looked for is no small difference.
fn brief() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
}

criterion_group! {
    name = layers;
    config = brief();
    targets = quorum::bench, log::bench, progress::bench, codec::bench, raw_node::bench, cluster::bench
}
criterion_main!(layers);
