//! Entries in memory, as the runs in which they came.
//!
//! Owns the runs of a part of a log, so that a batch is shared and never copied: the log keeps its
//! recent end in them, and `MemStorage` all it has. Knows nothing of commitment, of disks, or of why an
//! entry may be released.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::buffer::{
    give_back, give_back_all, give_back_unused, make_room, make_room_behind, pop_front_if,
    push_made,
};
use crate::entry::{Entries, Entry};
use crate::types::{LogIndex, Term};

/// A run, and where it stands: its entries are not looked at to find out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Run {
    first: LogIndex,
    entries: Entries,
}

impl Run {
    /// The index behind its last entry.
    #[inline]
    fn next(&self) -> LogIndex {
        self.first + self.entries.count()
    }

    /// Its part from `first` to before `next`, at most `max_bytes` of it, but one entry at least.
    #[inline]
    fn part(&self, first: LogIndex, next: LogIndex, max_bytes: u64) -> Entries {
        let whole = first == self.first && next >= self.next();
        if whole && self.entries.size_bytes() <= max_bytes {
            return self.entries.clone();
        }
        let (begin, end) = (self.offset(first), self.offset(next));
        self.entries.part_within(begin, end, max_bytes)
    }

    /// Where the entry with this index stands; clamped to the run's ends.
    #[inline]
    fn offset(&self, index: LogIndex) -> usize {
        usize::try_from(index.since(self.first))
            .unwrap_or(usize::MAX)
            .min(self.entries.len())
    }
}

/// A gapless run of runs. Every index from `first` to before `next` is here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Runs {
    /// The index of the first entry held, or of the next one to come if there is none.
    first: LogIndex,
    /// The index of the next entry to come.
    next: LogIndex,
    runs: VecDeque<Run>,
    /// [`Entry::size_bytes`] over everything held.
    bytes: u64,
}

impl Runs {
    pub(crate) const fn starting_at(first: LogIndex) -> Self {
        Self {
            first,
            next: first,
            runs: VecDeque::new(),
            bytes: 0,
        }
    }

    #[inline]
    pub(crate) const fn first(&self) -> LogIndex {
        self.first
    }

    #[inline]
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The index of the next entry to come.
    #[inline]
    pub(crate) const fn next(&self) -> LogIndex {
        self.next
    }

    /// Drops everything and begins again at `first`.
    pub(crate) fn restart_at(&mut self, first: LogIndex) {
        self.runs.clear();
        give_back(&mut self.runs);
        self.first = first;
        self.next = first;
        self.bytes = 0;
    }

    /// Adds a run at the end, which begins with the index `first`.
    #[inline]
    pub(crate) fn push_run(&mut self, first: LogIndex, entries: Entries) {
        assert!(first == self.next, "a run continues the log");
        debug_assert_eq!(entries.first().map(Entry::index), Some(first));
        self.next = first + entries.count();
        self.bytes += entries.size_bytes();
        make_room_behind(&mut self.runs);
        self.runs.push_back(Run { first, entries });
    }

    /// Drops the entries from `index` on; what comes next has this index, even if it is below all
    /// that was held.
    pub(crate) fn truncate_from(&mut self, index: LogIndex) {
        if index <= self.first {
            self.restart_at(index);
            return;
        }
        while let Some(mut run) = self.runs.pop_back() {
            if run.next() <= index {
                self.runs.push_back(run);
                break;
            }
            if run.first < index {
                let first = run.first;
                self.narrow(&mut run, first, index);
                self.runs.push_back(run);
            } else {
                self.bytes -= run.entries.size_bytes();
            }
        }
        self.next = self.next.min(index);
    }

    /// Drops the runs that lie wholly at or below `index`.
    #[inline]
    pub(crate) fn release_through(&mut self, index: LogIndex) {
        if index < self.first {
            return;
        }
        self.drop_runs_through(index);
        give_back(&mut self.runs);
    }

    #[inline]
    fn drop_runs_through(&mut self, index: LogIndex) {
        while let Some(run) = pop_front_if(&mut self.runs, |run| run.next() <= index.next()) {
            self.bytes -= run.entries.size_bytes();
            self.first = run.next();
        }
    }

    /// Puts the oldest runs into `out` and keeps them no more, if they begin with `first`: whole runs, up
    /// to `last` and `max_bytes`. Returns the index behind them, and their bytes.
    #[inline]
    pub(crate) fn give_away(
        &mut self,
        first: LogIndex,
        last: LogIndex,
        max_bytes: u64,
        out: &mut Vec<Entries>,
    ) -> (LogIndex, u64) {
        let (mut next, mut bytes) = (first, 0);
        if first == self.first {
            let fits = |run: &Run, bytes| {
                run.next() <= last.next() && run.entries.size_bytes() <= max_bytes - bytes
            };
            while self.runs.front().is_some_and(|run| fits(run, bytes)) {
                make_room(out);
                let Some(run) = self.runs.pop_front() else {
                    break;
                };
                next = run.next();
                bytes += run.entries.size_bytes();
                out.push(run.entries);
            }
            self.first = next;
            self.bytes -= bytes;
            give_back(&mut self.runs);
        }
        (next, bytes)
    }

    /// Gives the memory back in which nothing is.
    pub(crate) fn give_back_buffers(&mut self) {
        give_back_all(&mut self.runs);
    }

    /// Drops all entries at or below `index`, which is not beyond the last one.
    pub(crate) fn cut_through(&mut self, index: LogIndex) {
        let in_use = self.runs.len();
        self.drop_runs_through(index);
        if let Some(mut run) = pop_front_if(&mut self.runs, |run| run.first <= index) {
            let next = run.next();
            self.narrow(&mut run, index.next(), next);
            self.runs.push_front(run);
        }
        self.first = index.next();
        give_back_unused(&mut self.runs, in_use);
    }

    /// Drops of a run, taken out, what is not from `first` to before `next`.
    fn narrow(&mut self, run: &mut Run, first: LogIndex, next: LogIndex) {
        self.bytes -= run.entries.size_bytes();
        run.entries.narrow(run.offset(first), run.offset(next));
        run.first = first;
        self.bytes += run.entries.size_bytes();
    }

    /// All entries.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.runs.iter().flat_map(|run| &run.entries)
    }

    /// The term of the entry at `index`, if it is held.
    pub(crate) fn term(&self, index: LogIndex) -> Option<Term> {
        let run = self.run_holding(index)?;
        let entry = run.entries.get(run.offset(index))?;
        Some(entry.id.term)
    }

    /// Puts the entries from `first` to `last` into `out`, in pieces, until they would come to
    /// more than `max_bytes`; at least one. They are held. Returns the index behind them, and their bytes.
    #[inline]
    pub(crate) fn read(
        &self,
        first: LogIndex,
        last: LogIndex,
        max_bytes: u64,
        out: &mut Vec<Entries>,
    ) -> (LogIndex, u64) {
        assert!(first >= self.first, "only what the runs hold is read");
        // Mostly it is the newest run, and all of it.
        let whole = |run: &&Run| run.first == first && run.next() == last.next();
        if let Some(Run { entries, .. }) = self.runs.back().filter(whole) {
            if entries.size_bytes() <= max_bytes {
                push_made(out, || entries.clone());
                return (last.next(), entries.size_bytes());
            }
        }
        self.read_pieces(first, last, max_bytes, out)
    }

    // Not inlined, so that the usual case is short.
    #[inline(never)]
    fn read_pieces(
        &self,
        first: LogIndex,
        last: LogIndex,
        max_bytes: u64,
        out: &mut Vec<Entries>,
    ) -> (LogIndex, u64) {
        let (mut next, mut bytes) = (first, 0_u64);
        while next <= last {
            let Some(run) = self.run_holding(next) else {
                break;
            };
            let budget = max_bytes.saturating_sub(bytes);
            let piece = run.part(next, last.next(), budget);
            if piece.size_bytes() > budget && !out.is_empty() {
                break;
            }
            next = next + piece.count();
            bytes = bytes.saturating_add(piece.size_bytes());
            out.push(piece);
        }
        (next, bytes)
    }

    /// The entries from `first` on that come to at most `max_bytes`, as one run; at least one. A
    /// message wants them in one piece; in the steady state they are one already, and shared.
    #[inline]
    pub(crate) fn read_one_run(&self, first: LogIndex, max_bytes: u64) -> Entries {
        let Some(run) = self.run_holding(first) else {
            return Entries::empty();
        };
        let fits = run.part(first, run.next(), max_bytes);
        if run.next() == self.next || first + fits.count() < run.next() {
            return fits;
        }
        let mut pieces = Vec::new();
        self.read(first, self.next.previous(), max_bytes, &mut pieces);
        Entries::joined(&pieces)
    }

    /// The last index of the run that holds `index`, if it is held.
    pub(crate) fn end_of_run(&self, index: LogIndex) -> Option<LogIndex> {
        Some(self.run_holding(index)?.next().previous())
    }

    #[inline]
    fn run_holding(&self, index: LogIndex) -> Option<&Run> {
        // Mostly what is new is asked for.
        let last = self.runs.back()?;
        if last.first <= index {
            return (index < last.next()).then_some(last);
        }
        let position = self.runs.partition_point(|run| run.next() <= index);
        self.runs.get(position).filter(|run| run.first <= index)
    }
}
