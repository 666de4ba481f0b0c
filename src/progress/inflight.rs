//! The window of append messages on their way to one peer.
//!
//! Owns the bound by messages and by bytes. Knows nothing else.

use alloc::collections::VecDeque;

use crate::buffer::{give_back, give_back_all, pop_front_if};
use crate::types::LogIndex;

/// The messages that carried entries and have not been acknowledged, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Inflight {
    /// Each message's last index and bytes of entries.
    messages: VecDeque<(LogIndex, u64)>,
    bytes: u64,
}

impl Inflight {
    /// How many messages are on their way.
    #[must_use]
    #[inline]
    pub fn messages(&self) -> usize {
        self.messages.len()
    }

    /// How many bytes of entries they carry.
    #[must_use]
    #[inline]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the next message has to wait. A single one always fits.
    #[must_use]
    #[inline]
    pub fn is_full(&self, max_messages: usize, max_bytes: u64) -> bool {
        !self.messages.is_empty()
            && (self.messages.len() >= max_messages || self.bytes >= max_bytes)
    }

    /// Adds a message that ends at `last`.
    #[inline]
    pub(crate) fn add(&mut self, last: LogIndex, bytes: u64) {
        self.messages.push_back((last, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Gives the memory back in which nothing is.
    pub(crate) fn give_back_buffers(&mut self) {
        give_back_all(&mut self.messages);
    }

    /// Removes the messages that end at or before `index`.
    #[inline]
    pub(crate) fn free_through(&mut self, index: LogIndex) {
        while let Some((_, bytes)) = pop_front_if(&mut self.messages, |&(last, _)| last <= index) {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        give_back(&mut self.messages);
    }
}
