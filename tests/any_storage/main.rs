//! A node survives any answers of its storage: it goes on, or it stops and says why.
//!
//! Owns how many runs are tried, and how a failing one is made short; what must hold stands in
//! `property.rs`, which the fuzz target shares. `tests/bad_storage/` has the same method by method.

mod property;
#[path = "../common/random.rs"]
mod random;

use property::{Case, Start, Step};
use proptest::collection::vec;
use proptest::prelude::*;
use random::from_random_bytes;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_answers_to_any_node(
        start in from_random_bytes::<Start, 32>(),
        steps in vec(from_random_bytes::<Step, 32>(), 0..50),
    ) {
        Case { start, steps }.check();
    }
}
