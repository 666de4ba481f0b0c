//! The arithmetic and the bookkeeping against naive oracles, on random inputs.
//!
//! Owns the oracles: each is the definition, written without any thought of speed.

#[path = "../common/nodes.rs"]
mod nodes;

mod arithmetic;
mod follower_log;
mod window;

use proptest::test_runner::Config;

fn cases(count: u32) -> Config {
    Config {
        failure_persistence: None,
        ..Config::with_cases(count)
    }
}
