//! A hash that is the same on every machine and in every version of the standard library.
//!
//! Owns the mixing function. Must not know what is hashed; used for entries, state machines and
//! traces.

use std::hash::{Hash, Hasher};

/// A [`Hasher`] with a fixed function; no defence against chosen inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// The hash of nothing.
    pub const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

    /// The hash of one value.
    #[must_use]
    pub fn of(value: &impl Hash) -> u64 {
        Self::fold(Self::EMPTY, value)
    }

    /// The hash of everything that led to `before`, and then `value`.
    #[must_use]
    pub fn fold(before: u64, value: &impl Hash) -> u64 {
        let mut digest = Self(before);
        value.hash(&mut digest);
        digest.0
    }
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((word, behind)) = rest.split_first_chunk() {
            self.write_u64(u64::from_be_bytes(*word));
            rest = behind;
        }
        if !rest.is_empty() {
            let word = rest
                .iter()
                .fold(1_u64, |word, &byte| (word << 8) | u64::from(byte));
            self.write_u64(word);
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 29);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}
