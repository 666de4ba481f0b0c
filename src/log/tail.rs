//! The recent end of the log, in memory.
//!
//! Owns the runs that are not let go of yet, and behind them what was proposed since they were looked
//! at last. Knows nothing of commitment, of disks, or of why an entry may be released.

use alloc::vec::Vec;

use crate::buffer::{empty, push_made};
use crate::entry::{Entries, Entry};
use crate::runs::Runs;
use crate::types::{LogIndex, Term};

/// Every index from `first` on is here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tail {
    runs: Runs,
    /// The entries proposed since the last [`seal`](Self::seal); behind all runs.
    open: Vec<Entry>,
}

impl Tail {
    pub(super) const fn starting_at(first: LogIndex) -> Self {
        Self {
            runs: Runs::starting_at(first),
            open: Vec::new(),
        }
    }

    /// The index of the first entry held, or of the next one to come if there is none.
    #[inline]
    pub(super) const fn first(&self) -> LogIndex {
        self.runs.first()
    }

    /// Adds one proposed entry, with this index; it joins a batch with its neighbours at the next seal.
    #[inline(always)]
    pub(super) fn push(&mut self, index: LogIndex, entry: impl FnOnce() -> Entry) {
        let next = self.runs.next() + self.open.len() as u64;
        assert!(index == next, "a proposed entry continues the log");
        push_made(&mut self.open, entry);
    }

    /// Adds a run as it came from the leader, which begins with the index `first`.
    #[inline]
    pub(super) fn push_run(&mut self, first: LogIndex, entries: Entries) {
        self.seal();
        self.runs.push_run(first, entries);
    }

    /// Makes a run of what was proposed since the last call.
    #[inline]
    pub(super) fn seal(&mut self) {
        if !self.open.is_empty() {
            self.seal_open();
        }
    }

    fn seal_open(&mut self) {
        let batch = self.open.drain(..).collect();
        let first = self.runs.next();
        self.runs.push_run(first, Entries::of_batch(batch));
        empty(&mut self.open);
    }

    /// The runs; nothing was proposed since they were sealed.
    #[inline]
    pub(super) fn sealed(&self) -> &Runs {
        assert!(self.open.is_empty(), "runs are sealed before they are read");
        &self.runs
    }

    /// The runs, to cut them.
    #[inline]
    pub(super) fn sealed_mut(&mut self) -> &mut Runs {
        self.seal();
        &mut self.runs
    }

    /// What the runs count for, in bytes.
    #[inline]
    pub(super) const fn bytes(&self) -> u64 {
        self.runs.bytes()
    }

    /// Drops the runs that lie wholly at or below `index`.
    #[inline]
    pub(super) fn release_through(&mut self, index: LogIndex) {
        self.runs.release_through(index);
    }

    /// Gives the memory back in which nothing is.
    pub(super) fn give_back_buffers(&mut self) {
        self.runs.give_back_buffers();
        self.open.shrink_to_fit();
    }

    /// The term of the entry at `index`, if it is held.
    pub(super) fn term(&self, index: LogIndex) -> Option<Term> {
        if index < self.runs.next() {
            return self.runs.term(index);
        }
        let position = usize::try_from(index.since(self.runs.next())).ok()?;
        self.open.get(position).map(|entry| entry.id.term)
    }
}
