//! Entries in memory, as the runs in which they came.
//!
//! Owns the runs of a part of a log, so that a batch is shared and never copied: the log keeps its
//! recent end in them, and `MemStorage` all it has. Knows nothing of commitment, of disks, or of why an
//! entry may be released.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::buffer::{empty, give_back};
use crate::entry::{Entries, Entry};
use crate::types::{LogIndex, Term};

/// A gapless run of runs. Every index from `first` on is here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Runs {
    /// The index of the first entry held, or of the next one to come if there is none.
    first: LogIndex,
    runs: VecDeque<Entries>,
    /// The entries proposed since the last [`seal`](Self::seal); behind all runs.
    open: Vec<Entry>,
    /// [`Entry::size_bytes`] over everything held.
    bytes: u64,
}

impl Runs {
    pub(crate) const fn starting_at(first: LogIndex) -> Self {
        Self {
            first,
            runs: VecDeque::new(),
            open: Vec::new(),
            bytes: 0,
        }
    }

    pub(crate) const fn first(&self) -> LogIndex {
        self.first
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The index of the next entry to come.
    pub(crate) fn next(&self) -> LogIndex {
        let last = self.open.last().map(Entry::index);
        let last = last.or_else(|| self.runs.back()?.last_id().map(|id| id.index));
        last.map_or(self.first, LogIndex::next)
    }

    /// Drops everything and begins again at `first`.
    pub(crate) fn restart_at(&mut self, first: LogIndex) {
        self.runs.clear();
        self.open.clear();
        self.first = first;
        self.bytes = 0;
    }

    /// Adds one proposed entry; it joins a batch with its neighbours at the next seal.
    pub(crate) fn push(&mut self, entry: Entry) {
        assert_eq!(
            entry.index(),
            self.next(),
            "a proposed entry continues the log"
        );
        self.bytes += entry.size_bytes();
        self.open.push(entry);
    }

    /// Adds a run as it came from the leader.
    pub(crate) fn push_run(&mut self, run: Entries) {
        self.seal();
        let Some(first) = run.first() else { return };
        assert_eq!(
            first.index(),
            self.next(),
            "a received run continues the log"
        );
        self.bytes += run.size_bytes();
        self.runs.push_back(run);
    }

    /// Makes a run of what was proposed since the last call.
    pub(crate) fn seal(&mut self) {
        if !self.open.is_empty() {
            let batch = self.open.drain(..).collect();
            self.runs.push_back(Entries::of_batch(batch));
            empty(&mut self.open);
        }
    }

    /// Drops the entries from `index` on; what comes next has this index, even if it is below all
    /// that was held.
    pub(crate) fn truncate_from(&mut self, index: LogIndex) {
        self.seal();
        if index <= self.first {
            self.restart_at(index);
            return;
        }
        while let Some(run) = self.runs.pop_back() {
            self.bytes -= run.size_bytes();
            if run.first().is_some_and(|first| first.index() < index) {
                let mut kept = run;
                kept.narrow(0, offset(&kept, index));
                self.bytes += kept.size_bytes();
                self.runs.push_back(kept);
                break;
            }
        }
    }

    /// Drops the runs that lie wholly at or below `index`.
    pub(crate) fn release_through(&mut self, index: LogIndex) {
        while let Some(last) = self.runs.front().and_then(Entries::last_id) {
            if last.index > index {
                break;
            }
            if let Some(run) = self.runs.pop_front() {
                self.bytes -= run.size_bytes();
                self.first = last.index.next();
            }
        }
        give_back(&mut self.runs);
    }

    /// Drops all entries at or below `index`, which is not beyond the last one.
    pub(crate) fn cut_through(&mut self, index: LogIndex) {
        self.release_through(index);
        if let Some(run) = self.runs.front_mut() {
            let before = run.size_bytes();
            run.narrow(offset(run, index.next()), run.len());
            self.bytes -= before - run.size_bytes();
        }
        self.first = index.next();
    }

    /// All entries. The runs are sealed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        debug_assert!(self.open.is_empty(), "runs are sealed before they are read");
        self.runs.iter().flatten()
    }

    /// The term of the entry at `index`, if it is held.
    pub(crate) fn term(&self, index: LogIndex) -> Option<Term> {
        if index < self.first {
            return None;
        }
        let entry = match self.open.first() {
            Some(first) if index >= first.index() => self
                .open
                .get(usize::try_from(index.since(first.index())).ok()?),
            Some(_) | None => {
                let run = self.run_holding(index)?;
                run.get(offset(run, index))
            }
        };
        entry.map(|entry| entry.id.term)
    }

    /// Hands the entries from `first` to `last` to `take`, in pieces, until they would come to
    /// more than `max_bytes`; at least one. Returns the index of the last one handed over. They
    /// are sealed, and hold them.
    pub(crate) fn read(
        &self,
        first: LogIndex,
        last: LogIndex,
        max_bytes: u64,
        out: &mut Vec<Entries>,
    ) -> LogIndex {
        assert!(self.open.is_empty(), "runs are sealed before they are read");
        assert!(first >= self.first, "only what the runs hold is read");
        let mut read = first.previous();
        let mut budget = max_bytes;
        while read < last {
            let Some(run) = self.run_holding(read.next()) else {
                break;
            };
            let (begin, end) = (offset(run, read.next()), offset(run, last.next()));
            let piece = run.part_within(begin, end, budget);
            if piece.size_bytes() > budget && !out.is_empty() {
                break;
            }
            let is_whole = piece.len() == end - begin;
            read = piece.last_id().map_or(last, |id| id.index);
            budget = budget.saturating_sub(piece.size_bytes());
            out.push(piece);
            if !is_whole {
                break;
            }
        }
        read
    }

    /// The entries from `first` on that come to at most `max_bytes`, as one run; at least one. A
    /// message wants them in one piece; in the steady state they are one already, and shared.
    pub(crate) fn read_one_run(&self, first: LogIndex, max_bytes: u64) -> Entries {
        let Some(run) = self.run_holding(first) else {
            return Entries::empty();
        };
        let begin = offset(run, first);
        let fits = run.part_within(begin, run.len(), max_bytes);
        let is_last_run = self
            .runs
            .back()
            .is_some_and(|last| last.last_id() == run.last_id());
        if begin + fits.len() < run.len() || is_last_run {
            return fits;
        }
        let mut pieces = Vec::new();
        self.read(first, self.next().previous(), max_bytes, &mut pieces);
        Entries::joined(&pieces)
    }

    /// The last index of the run that holds `index`, if it is held.
    pub(crate) fn end_of_run(&self, index: LogIndex) -> Option<LogIndex> {
        Some(self.run_holding(index)?.last_id()?.index)
    }

    fn run_holding(&self, index: LogIndex) -> Option<&Entries> {
        if index < self.first {
            return None;
        }
        // Mostly what is new is asked for.
        let last = self.runs.back()?;
        if last.first().is_some_and(|first| first.index() <= index) {
            return last
                .last()
                .filter(|end| end.index() >= index)
                .and(Some(last));
        }
        let position = self
            .runs
            .partition_point(|run| run.last_id().is_some_and(|last| last.index < index));
        self.runs.get(position)
    }
}

/// Where the entry with this index stands in the run; clamped to its ends.
fn offset(run: &Entries, index: LogIndex) -> usize {
    let first = run.first().map_or(index, Entry::index);
    usize::try_from(index.since(first))
        .unwrap_or(usize::MAX)
        .min(run.len())
}
