//! Work whose preparation is not to be measured.
//!
//! Owns the order: inputs are made, worked on in one go, and what that has left behind is cleared away.

use std::time::{Duration, Instant};

use criterion::Bencher;

/// Measures `work`. Each round prepares at most so many inputs `at_once`, and is tidied up.
pub(crate) fn measure<S, I>(
    bencher: &mut Bencher<'_>,
    at_once: u64,
    state: &mut S,
    prepare: impl Fn(&mut S, u64) -> Vec<I>,
    work: impl Fn(&mut S, I),
    tidy: impl Fn(&mut S),
) {
    bencher.iter_custom(|iterations| {
        let mut taken = Duration::ZERO;
        let mut left = iterations;
        while left > 0 {
            let count = left.min(at_once);
            left -= count;
            let inputs = prepare(state, count);
            let start = Instant::now();
            for input in inputs {
                work(state, input);
            }
            taken += start.elapsed();
            tidy(state);
        }
        taken
    });
}
