//! What of this node's state has reached its disk.
//!
//! Owns the writes that were handed out and not acknowledged, what each of them makes durable, and
//! what is durable already. Knows nothing of what depends on it: that is the table in `lib.rs`.
//!
//! Writes are acknowledged in order. What a write claims is cut back when the log is truncated
//! under it, so an acknowledgement for entries that were overwritten meanwhile counts for nothing,
//! also if the same entries were appended again (A-B-A): then a later write claims them.

use alloc::collections::VecDeque;

use crate::buffer::{give_back, give_back_all, pop_front_if};
use crate::error::AcknowledgeError;
use crate::types::{LogIndex, NodeId, Term};

/// The part of the hard state that safety rests on.
pub(crate) type Vote = (Term, Option<NodeId>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Write {
    number: u64,
    /// The log is durable up to here once this write is; zero if it says nothing of the log.
    log_through: LogIndex,
    snapshot: Option<LogIndex>,
    vote: Vote,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Durability {
    writes: VecDeque<Write>,
    last_number: u64,
    /// Up to here the log as it is now is durable.
    log: LogIndex,
    vote: Vote,
}

impl Durability {
    /// Everything that was read at the start is durable.
    pub(crate) const fn at_start(log: LogIndex, vote: Vote) -> Self {
        Self {
            writes: VecDeque::new(),
            last_number: 0,
            log,
            vote,
        }
    }

    /// The last index up to which the log is durable.
    pub(crate) const fn log(&self) -> LogIndex {
        self.log
    }

    /// The term and vote that are durable.
    pub(crate) const fn vote(&self) -> Vote {
        self.vote
    }

    #[inline]
    pub(crate) fn is_writing(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Gives the memory back in which nothing is.
    pub(crate) fn give_back_buffers(&mut self) {
        give_back_all(&mut self.writes);
    }

    /// The number for the next `Ready`.
    #[inline]
    pub(crate) const fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Notes what the `Ready` of this number asks to be written.
    #[inline]
    pub(crate) fn writing(
        &mut self,
        number: u64,
        log_through: LogIndex,
        snapshot: Option<LogIndex>,
        vote: Vote,
    ) {
        self.writes.push_back(Write {
            number,
            log_through,
            snapshot,
            vote,
        });
    }

    /// The log was cut off behind `index`: nothing that any write carries beyond it is in the log
    /// now.
    pub(crate) fn truncated_to(&mut self, index: LogIndex) {
        self.log = self.log.min(index);
        for write in &mut self.writes {
            write.log_through = write.log_through.min(index);
        }
    }

    /// Refuses a number that no `Ready` has had.
    #[inline]
    pub(crate) const fn check(&self, number: u64) -> Result<(), AcknowledgeError> {
        if number > self.last_number {
            return Err(AcknowledgeError::NoSuchReady(number));
        }
        Ok(())
    }

    /// The writes up to this number are durable. Returns the last snapshot among them.
    #[inline]
    pub(crate) fn acknowledge(
        &mut self,
        number: u64,
    ) -> Result<Option<LogIndex>, AcknowledgeError> {
        self.check(number)?;
        let mut snapshot = None;
        while let Some(write) = pop_front_if(&mut self.writes, |write| write.number <= number) {
            self.log = self.log.max(write.log_through);
            self.vote = write.vote;
            snapshot = write.snapshot.or(snapshot);
        }
        give_back(&mut self.writes);
        Ok(snapshot)
    }
}
