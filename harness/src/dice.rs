//! All the randomness there is: one generator, seeded once.
//!
//! Owns the choice of the generator. Must not know what is decided with it.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

/// A seeded source of decisions; equal seeds decide equally for all time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dice {
    generator: Xoshiro256PlusPlus,
}

impl Dice {
    /// The dice of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            generator: Xoshiro256PlusPlus::seed_from_u64(seed),
        }
    }

    /// A number below `limit`; zero if `limit` is zero.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.generator.next_u64().checked_rem(limit).unwrap_or(0)
    }

    /// A position in a list of this length; zero if it is empty.
    pub fn position(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// Yes in `permille` of a thousand cases.
    pub fn chance(&mut self, permille: u64) -> bool {
        permille > 0 && self.below(1000) < permille
    }
}
