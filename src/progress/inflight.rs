//! The window of append messages on their way to one peer.
//!
//! Owns the bound by messages and by bytes. Knows nothing else.

use crate::outstanding::Outstanding;
use crate::types::LogIndex;

/// The messages that carried entries and have not been acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Inflight(Outstanding);

impl Inflight {
    /// How many messages are on their way.
    #[must_use]
    #[inline]
    pub fn messages(&self) -> usize {
        self.0.len()
    }

    /// How many bytes of entries they carry.
    #[must_use]
    #[inline]
    pub const fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    /// Whether the next message has to wait. A single one always fits.
    #[must_use]
    #[inline]
    pub fn is_full(&self, max_messages: usize, max_bytes: u64) -> bool {
        !self.0.is_empty() && (self.messages() >= max_messages || self.bytes() >= max_bytes)
    }

    /// Adds a message that ends at `last`.
    #[inline]
    pub(crate) fn add(&mut self, last: LogIndex, bytes: u64) {
        self.0.add(last, bytes);
    }

    /// Removes the messages that end at or before `index`.
    #[inline]
    pub(crate) fn free_through(&mut self, index: LogIndex) {
        self.0.free_through(index);
    }

    /// Gives the memory back in which nothing is.
    pub(crate) fn give_back_buffers(&mut self) {
        self.0.give_back_buffers();
    }
}
