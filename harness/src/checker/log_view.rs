//! The log of one node as its `Ready`s show it, persisted or not.
//!
//! Owns log ids only. Must not know what the entries carry or whether they are committed.

use almadia::{LogId, LogIndex, Storage, Term};

/// The ids of the entries of one log.
#[derive(Clone, Debug, Default)]
pub(super) struct LogView {
    /// The entry before the first, and then all entries.
    ids: Vec<LogId>,
    /// The term that the node leads, if it does.
    pub(super) led: Option<Term>,
}

impl LogView {
    /// The log that a node starts from.
    pub(super) fn read(storage: &impl Storage) -> Self {
        let first = storage.first_index().unwrap_or_default().previous();
        let last = storage.last_index().unwrap_or_default();
        let ids = (first.0..=last.0).map(|index| {
            let index = LogIndex(index);
            let term = storage.term(index).unwrap_or_default();
            LogId { term, index }
        });
        Self {
            ids: ids.collect(),
            led: None,
        }
    }

    /// The position before the first entry held.
    pub(super) fn before_first(&self) -> LogId {
        self.ids.first().copied().unwrap_or_default()
    }

    pub(super) fn last(&self) -> LogId {
        self.ids.last().copied().unwrap_or_default()
    }

    /// The entry at this index, or the position before the first.
    pub(super) fn at(&self, index: LogIndex) -> Option<LogId> {
        let offset = index.0.checked_sub(self.before_first().index.0)?;
        self.ids.get(usize::try_from(offset).ok()?).copied()
    }

    /// Every entry with its predecessor.
    pub(super) fn pairs(&self) -> impl Iterator<Item = [LogId; 2]> + '_ {
        self.ids.windows(2).map(|pair| [pair[0], pair[1]])
    }

    /// Puts an entry in the place of what is there and behind. Returns its predecessor; `None` if
    /// there is none.
    pub(super) fn append(&mut self, id: LogId) -> Option<LogId> {
        let previous = self.at(id.index.previous()).filter(|_| id.index.0 > 0)?;
        let kept = id.index.since(self.before_first().index);
        self.ids
            .truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        self.ids.push(id);
        Some(previous)
    }

    /// A snapshot took the log's place.
    pub(super) fn restart_at(&mut self, last_included: LogId) {
        self.ids.clear();
        self.ids.push(last_included);
    }
}
