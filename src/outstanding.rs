//! What is on its way, piece by piece: to a peer, to the state machine, to being committed.
//!
//! Owns the pieces, each with its last index and its bytes, and the sum of the bytes. Knows nothing of
//! what they are, nor of limits.

use alloc::collections::VecDeque;

use crate::buffer::{give_back, give_back_all, pop_front_if};
use crate::types::LogIndex;

/// Pieces of a log, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Outstanding {
    /// Each piece's last index and bytes of entries.
    pieces: VecDeque<(LogIndex, u64)>,
    bytes: u64,
}

impl Outstanding {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The sum over all pieces.
    #[inline]
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a piece that ends at `last`, behind all others.
    #[inline]
    pub(crate) fn add(&mut self, last: LogIndex, bytes: u64) {
        self.pieces.push_back((last, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Removes the pieces that end at or before `index`.
    #[inline]
    pub(crate) fn free_through(&mut self, index: LogIndex) {
        let newest = self.pieces.back();
        if newest.is_none_or(|&(last, _)| last <= index) {
            self.pieces.clear();
            self.bytes = 0;
        }
        while let Some((_, bytes)) = pop_front_if(&mut self.pieces, |&(last, _)| last <= index) {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        give_back(&mut self.pieces);
    }

    /// Gives the memory back in which nothing is.
    pub(crate) fn give_back_buffers(&mut self) {
        give_back_all(&mut self.pieces);
    }
}
