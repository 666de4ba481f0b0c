//! Reading entries of the log: from the tail where they are there, else from `Storage`.
//!
//! Owns what is asked of `Storage::entries`, and the checks of its answers. Knows nothing of commitment, nor
//! of what the entries are for.

use alloc::vec::Vec;

use super::Log;
use crate::entry::Entries;
use crate::storage::{EntriesRequest, Purpose, Storage, StorageError};
use crate::types::{LogId, LogIndex, Term};

/// How much of the log is looked at in one go, in bytes.
const SCAN_STRIDE_BYTES: u64 = 1 << 20;

/// What came of an attempt to read entries.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// Here they are, not empty.
    Entries(Entries),
    /// The first of them has been compacted away.
    Compacted,
    /// `Storage` wants to be asked again later.
    NotYet,
}

impl<S: Storage> Log<S> {
    /// Entries for a peer, behind `prev_log`, as one run of at most `max_bytes`.
    pub(crate) fn fetch(
        &mut self,
        prev_log: LogId,
        max_bytes: u64,
        purpose: Purpose,
    ) -> Result<Fetched, StorageError> {
        self.tail.seal();
        let fetched = self.fetch_sealed(prev_log.index.next(), max_bytes, purpose)?;
        let falls = matches!(&fetched, Fetched::Entries(entries)
            if entries.first_id().is_some_and(|first| first.term < prev_log.term));
        if falls {
            return Err(StorageError::Contract("the terms of the log fall"));
        }
        Ok(fetched)
    }

    /// Entries from `first` on, to be looked at. Nothing was proposed since the tail was sealed.
    pub(super) fn scan(&self, first: LogIndex) -> Result<Fetched, StorageError> {
        self.fetch_sealed(first, SCAN_STRIDE_BYTES, Purpose::Scan)
    }

    fn fetch_sealed(
        &self,
        first: LogIndex,
        max_bytes: u64,
        purpose: Purpose,
    ) -> Result<Fetched, StorageError> {
        if first <= self.before_first.index {
            return Ok(Fetched::Compacted);
        }
        if first >= self.tail.first() {
            return Ok(Fetched::Entries(
                self.tail.sealed().read_one_run(first, max_bytes),
            ));
        }
        let before_tail = self.tail.first().previous();
        match self.fetch_from_storage(first, before_tail, max_bytes, purpose)? {
            // Whoever lacks the end of what is stored lacks the tail too.
            Fetched::Entries(stored)
                if stored.last_id().map(|id| id.index) == Some(before_tail) =>
            {
                let room = max_bytes.saturating_sub(stored.size_bytes());
                let mut pieces = Vec::from([stored]);
                self.tail
                    .sealed()
                    .read(self.tail.first(), self.last.index, room, &mut pieces);
                Ok(Fetched::Entries(Entries::joined(&pieces)))
            }
            fetched @ (Fetched::Entries(_) | Fetched::Compacted | Fetched::NotYet) => Ok(fetched),
        }
    }

    pub(super) fn fetch_from_storage(
        &self,
        first: LogIndex,
        last: LogIndex,
        max_bytes: u64,
        purpose: Purpose,
    ) -> Result<Fetched, StorageError> {
        // What the tail holds may not be in `Storage` yet, or be something older there.
        let last = last.min(self.tail.first().previous());
        let request = EntriesRequest::new(first, last, max_bytes, purpose);
        let entries = match self.storage.entries(&request) {
            Ok(entries) => entries,
            Err(StorageError::Compacted) => return Ok(Fetched::Compacted),
            Err(StorageError::TemporarilyUnavailable) => return Ok(Fetched::NotYet),
            Err(StorageError::Unavailable) => {
                return Err(StorageError::Contract(
                    "entries inside the log are not there",
                ));
            }
            Err(error @ (StorageError::Contract(_) | StorageError::Other(_))) => return Err(error),
        };
        let before = LogId {
            term: entries.first_id().map_or(Term::ZERO, |id| id.term),
            index: first.previous(),
        };
        let fits = |id: LogId| id.index <= last && id.term <= self.last.term;
        if !entries.last_id().is_some_and(fits) || !entries.follow(before) {
            return Err(StorageError::Contract(
                "entries() did not return the entries asked for",
            ));
        }
        Ok(Fetched::Entries(entries.prefix_within(max_bytes)))
    }
}
