//! What the log is made of: entries, shared runs of them, and the snapshots that take their place.
//!
//! Owns these values and what they count for in limits. Knows nothing of roles, messages or
//! storage.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::ops::Deref;

use bytes::Bytes;

use crate::membership::{ConfState, MembershipChange};
use crate::types::{LogId, LogIndex};

/// What an entry asks of the node that applies it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// A command for the state machine. Empty for the entry with which a leader opens its term
    /// (Raft 8): there is nothing to apply then.
    Data(Bytes),
    /// A change of the membership, to be passed to
    /// [`RawNode::apply_conf_change`](crate::RawNode::apply_conf_change) when it is applied.
    Change(Arc<MembershipChange>),
}

impl Payload {
    /// Takes it out, and leaves an empty command.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Self {
        mem::replace(self, Self::Data(Bytes::new()))
    }

    /// What the payload counts for in limits, in bytes.
    #[must_use]
    #[inline]
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Data(data) => data.len() as u64,
            Self::Change(change) => change.size_bytes(),
        }
    }
}

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its term and index.
    pub id: LogId,
    /// What it carries.
    pub payload: Payload,
    /// Whatever the proposer wanted to see again when the entry is applied; the core never reads
    /// it.
    pub context: Bytes,
}

impl Entry {
    /// What every entry is charged beside its payload, in bytes, in all limits that count bytes.
    pub const OVERHEAD_BYTES: u64 = 24;

    /// The index of the entry.
    #[must_use]
    pub const fn index(&self) -> LogIndex {
        self.id.index
    }

    /// What the entry counts for in limits, in bytes: payload, context and a fixed overhead.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        Self::size_bytes_of(&self.payload, &self.context)
    }

    /// What an entry with this payload and context counts for.
    #[inline]
    pub(crate) fn size_bytes_of(payload: &Payload, context: &Bytes) -> u64 {
        Self::OVERHEAD_BYTES + payload.size_bytes() + context.len() as u64
    }
}

/// An immutable run of entries with consecutive indexes, cheap to clone.
///
/// One batch of proposals is shared by the log, every follower's message, the
/// [`Ready`](crate::Ready) and the apply, without copying. Reads like a slice.
#[derive(Clone, Default)]
pub struct Entries {
    /// `None` for an empty run, which therefore costs no allocation, and is from 0 to 0.
    batch: Option<Arc<[Entry]>>,
    start: usize,
    end: usize,
    /// [`Entry::size_bytes`] over the run, which every limit on its way asks for.
    bytes: u64,
}

fn sum_of_bytes(entries: &[Entry]) -> u64 {
    entries
        .iter()
        .map(Entry::size_bytes)
        .fold(0, u64::saturating_add)
}

impl Entries {
    /// A run of no entries.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            batch: None,
            start: 0,
            end: 0,
            bytes: 0,
        }
    }

    #[inline]
    pub(crate) fn of_batch(batch: Arc<[Entry]>) -> Self {
        Self {
            start: 0,
            end: batch.len(),
            bytes: sum_of_bytes(&batch),
            batch: Some(batch),
        }
    }

    /// The entries from `start` to before `end`, counted within this run; shares the memory.
    /// Positions past the end of the run are taken as its end.
    #[must_use]
    pub fn slice(&self, start: usize, end: usize) -> Self {
        let end = end.min(self.len());
        let Some(part) = self.get(start..end).filter(|part| !part.is_empty()) else {
            return Self::empty();
        };
        // Only the lesser part is looked at, so that a long run can be cut down bit by bit.
        let bytes = if part.len() <= self.len() / 2 {
            sum_of_bytes(part)
        } else {
            let rest = [self.get(..start), self.get(end..)];
            let rest = rest.into_iter().flatten().map(sum_of_bytes);
            rest.fold(self.bytes, u64::saturating_sub)
        };
        Self {
            batch: self.batch.clone(),
            start: self.start + start,
            end: self.start + end,
            bytes,
        }
    }

    /// Of the entries from `start` to before `end` as many as [`prefix_within`](Self::prefix_within)
    /// these bytes. Looks at no entry behind them, for the rest may be long.
    #[inline]
    pub(crate) fn part_within(&self, start: usize, end: usize, max_bytes: u64) -> Self {
        if start == 0 && end >= self.len() && self.bytes <= max_bytes {
            return self.clone();
        }
        let part = self.get(start..end.min(self.len())).unwrap_or_default();
        let (mut count, mut bytes) = (0, 0_u64);
        for entry in part {
            let with_it = bytes.saturating_add(entry.size_bytes());
            if with_it > max_bytes && count > 0 {
                break;
            }
            (count, bytes) = (count + 1, with_it);
        }
        if count == 0 {
            return Self::empty();
        }
        Self {
            batch: self.batch.clone(),
            start: self.start + start,
            end: self.start + start + count,
            bytes,
        }
    }

    /// Drops the entries before `start`, counted within this run, and those from `end` on. What is
    /// left is copied if it is the lesser part of its batch, so that it does not keep all of that in
    /// memory.
    #[inline]
    pub(crate) fn narrow(&mut self, start: usize, end: usize) {
        if start > 0 || end < self.len() {
            self.cut_to(start, end);
        }
    }

    // Not inlined, for mostly nothing is to be dropped.
    #[inline(never)]
    fn cut_to(&mut self, start: usize, end: usize) {
        *self = self.slice(start, end);
        let batch_len = self.batch.as_ref().map_or(0, |batch| batch.len());
        if self.len() < batch_len / 2 {
            *self = Self::from(&**self);
        }
    }

    /// The longest prefix whose [`Entry::size_bytes`] add up to at most `max_bytes`, but never
    /// less than one entry: an entry larger than the limit still travels, alone.
    #[must_use]
    pub fn prefix_within(&self, max_bytes: u64) -> Self {
        self.part_within(0, self.len(), max_bytes)
    }

    /// Whether both are the same part of the same memory. Runs that were made apart are not, even if
    /// they are equal.
    #[must_use]
    pub fn is_shared_with(&self, other: &Self) -> bool {
        let same_memory = match (&self.batch, &other.batch) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_memory && (self.start, self.end) == (other.start, other.end)
    }

    /// One run of several that follow each other. A single one is shared, not copied.
    pub(crate) fn joined(runs: &[Self]) -> Self {
        match runs {
            [run] => run.clone(),
            runs => {
                let mut all = Vec::with_capacity(runs.iter().map(|run| run.len()).sum());
                runs.iter().for_each(|run| all.extend_from_slice(run));
                all.into()
            }
        }
    }

    /// How many there are.
    #[must_use]
    #[inline]
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there is none.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// How many there are.
    #[inline]
    pub(crate) const fn count(&self) -> u64 {
        self.len() as u64
    }

    /// The first entry, or `None` for an empty run.
    #[must_use]
    #[inline]
    pub fn first(&self) -> Option<&Entry> {
        self.batch.as_ref()?.get(self.start)
    }

    /// The last entry, or `None` for an empty run.
    #[must_use]
    #[inline]
    pub fn last(&self) -> Option<&Entry> {
        self.batch.as_ref()?.get(self.end.checked_sub(1)?)
    }

    /// The sum of [`Entry::size_bytes`] over the run.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.bytes
    }

    /// The log id of the first entry, or `None` for an empty run.
    #[must_use]
    #[inline]
    pub fn first_id(&self) -> Option<LogId> {
        self.first().map(|entry| entry.id)
    }

    /// The log id of the last entry, or `None` for an empty run.
    #[must_use]
    #[inline]
    pub fn last_id(&self) -> Option<LogId> {
        self.last().map(|entry| entry.id)
    }

    /// Whether the entries follow `previous` as entries of one log do: consecutive indexes, and
    /// terms that are above zero and never fall.
    #[must_use]
    #[inline]
    pub fn follow(&self, previous: LogId) -> bool {
        let mut last = previous;
        self.iter().all(|entry| {
            let follows = entry.id.is_position()
                && entry.id.index == last.index.next()
                && entry.id.term >= last.term;
            last = entry.id;
            follows
        })
    }
}

impl Deref for Entries {
    type Target = [Entry];

    #[inline]
    fn deref(&self) -> &[Entry] {
        self.batch
            .as_deref()
            .and_then(|batch| batch.get(self.start..self.end))
            .unwrap_or_default()
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a Entry;
    type IntoIter = core::slice::Iter<'a, Entry>;

    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Vec<Entry>> for Entries {
    fn from(entries: Vec<Entry>) -> Self {
        if entries.is_empty() {
            return Self::empty();
        }
        Self::of_batch(entries.into())
    }
}

/// The same run, shared.
impl From<&Self> for Entries {
    fn from(entries: &Self) -> Self {
        entries.clone()
    }
}

/// A run of copies.
impl From<&[Entry]> for Entries {
    fn from(entries: &[Entry]) -> Self {
        if entries.is_empty() {
            return Self::empty();
        }
        Self::of_batch(entries.into())
    }
}

/// A run of copies.
impl<const LEN: usize> From<&[Entry; LEN]> for Entries {
    fn from(entries: &[Entry; LEN]) -> Self {
        entries.as_slice().into()
    }
}

/// A run of copies.
impl From<&Vec<Entry>> for Entries {
    fn from(entries: &Vec<Entry>) -> Self {
        entries.as_slice().into()
    }
}

impl<const LEN: usize> From<[Entry; LEN]> for Entries {
    fn from(entries: [Entry; LEN]) -> Self {
        if LEN == 0 {
            return Self::empty();
        }
        Self::of_batch(entries.into())
    }
}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        entries.into_iter().collect::<Vec<_>>().into()
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Entries {}

impl core::hash::Hash for Entries {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// A state machine's content in place of the log up to `last_included` (Raft 7).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// The last entry whose effect the snapshot contains.
    pub last_included: LogId,
    /// The membership as of that entry.
    pub conf_state: ConfState,
    /// The state machine's content, in a form that is the embedder's business.
    pub data: Bytes,
}
