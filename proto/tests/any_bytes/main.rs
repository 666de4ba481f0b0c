//! No bytes from a peer can take a node down, through the codec into any node that a run can lead to.
//!
//! Owns how many runs are tried, and how a failing one is made short; what must hold stands in
//! `property.rs`, which the fuzz target shares.

mod property;
#[path = "../../../tests/common/random.rs"]
mod random;

use property::{Case, Step};
use proptest::collection::vec;
use proptest::prelude::*;
use random::from_random_bytes;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_into_any_node(
        pre_vote: bool,
        steps in vec(from_random_bytes::<Step, 80>(), 0..80),
    ) {
        Case { pre_vote, steps }.check();
    }
}
