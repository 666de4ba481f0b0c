//! The log seen whole: what `Storage` holds and, behind it, the tail in memory.
//!
//! Owns the log's bounds, the rules of log matching (Raft 5.3), commitment as an index, and what
//! has been handed out to be persisted and applied. Knows nothing of roles, peers or messages; what
//! is durable is told to it (`raft/durability.rs` keeps that).

mod fetch;
mod incoming;
mod tail;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::take;

use bytes::Bytes;

pub(crate) use self::fetch::Fetched;
use self::incoming::Incoming;
use self::tail::Tail;
use crate::entry::{Entries, Entry, Payload, Snapshot};
use crate::error::StartError;
use crate::outstanding::Outstanding;
use crate::storage::{Purpose, Storage, StorageError};
use crate::types::{HardState, LogId, LogIndex, Term};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Log<S> {
    storage: S,
    tail: Tail,
    /// The entry before the first, as far as known; `Storage` may have compacted further.
    before_first: LogId,
    last: LogId,
    incoming: Option<Box<Incoming>>,
    commit_index: LogIndex,
    /// The last index handed out to be persisted.
    handed_out: LogIndex,
    /// The last index handed out to be applied.
    applying: LogIndex,
    /// What was handed out to be applied and not reported as applied.
    outstanding: Outstanding,
    /// The last index that the embedder reported as applied (*lastApplied*).
    last_applied: LogIndex,
    /// `Storage` could not give the entries to apply; it is asked again after the next tick.
    apply_waits: bool,
}

impl<S: Storage> Log<S> {
    /// Reads the bounds of the log.
    ///
    /// `applied` may be beyond the commit index, which need not have been persisted when the
    /// state machine was. If entries may be applied before they are persisted (`unpersisted`), it
    /// may be beyond the log, or the log may hold something else there.
    pub(crate) fn open(
        storage: S,
        hard_state: &HardState,
        applied: LogId,
        unpersisted: bool,
    ) -> Result<Self, StartError> {
        let first_index = storage.first_index()?;
        let last_index = storage.last_index()?;
        if first_index.0 == 0 || last_index.next() < first_index || last_index > LogIndex::MAX {
            return Err(StorageError::Contract("first_index and last_index are no bounds").into());
        }
        let id_at = |index| storage.term(index).map(|term| LogId { term, index });
        let before_first = id_at(first_index.previous())?;
        let last = id_at(last_index)?;
        if !before_first.is_position() || !last.is_position() || last.term < before_first.term {
            return Err(StorageError::Contract("the terms at the log's ends make no sense").into());
        }
        let commit_index = hard_state.commit_index;
        if commit_index < before_first.index || commit_index > last_index {
            return Err(StartError::CommitOutOfRange {
                commit_index,
                snapshot_index: before_first.index,
                last_index,
            });
        }
        if hard_state.current_term < last.term {
            return Err(StartError::TermBehindLog {
                current_term: hard_state.current_term,
                last_log: last,
            });
        }
        // What is applied is committed, whether or not that was persisted; and those who need this
        // node's word for it may have nobody else to ask.
        let mut commit_index = commit_index;
        if applied.index > last_index && !unpersisted {
            return Err(StartError::AppliedBeyondLog {
                applied,
                last_index,
            });
        }
        if (before_first.index..=last_index).contains(&applied.index) {
            let found = id_at(applied.index)?;
            if found == applied {
                commit_index = commit_index.max(applied.index);
            } else if !unpersisted || commit_index >= applied.index {
                return Err(StartError::AppliedDiffers { applied, found });
            }
        }
        let applied = applied.index.max(before_first.index);
        Ok(Self {
            storage,
            tail: Tail::starting_at(last_index.next()),
            before_first,
            last,
            incoming: None,
            commit_index,
            handed_out: last_index,
            applying: applied,
            outstanding: Outstanding::default(),
            last_applied: applied,
            apply_waits: false,
        })
    }

    pub(crate) const fn storage(&self) -> &S {
        &self.storage
    }

    pub(crate) const fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    pub(crate) fn into_storage(self) -> S {
        self.storage
    }

    /// The last entry, persisted or not.
    pub(crate) const fn last(&self) -> LogId {
        self.last
    }

    pub(crate) const fn last_index(&self) -> LogIndex {
        self.last.index
    }

    pub(crate) const fn commit_index(&self) -> LogIndex {
        self.commit_index
    }

    pub(crate) const fn last_applied(&self) -> LogIndex {
        self.last_applied
    }

    pub(crate) const fn applying(&self) -> LogIndex {
        self.applying
    }

    /// Whether a snapshot is on its way to the disk.
    pub(crate) const fn is_installing_snapshot(&self) -> bool {
        self.incoming.is_some()
    }

    /// Whether applying up to `index` takes a snapshot that is on its way to the disk. A snapshot
    /// that was asked for may end where something does that was handed out before.
    pub(crate) fn needs_unpersisted_snapshot(&self, index: LogIndex) -> bool {
        self.incoming
            .as_ref()
            .is_some_and(|incoming| incoming.forbids(index))
    }

    /// The term of the entry at `index`; `None` if the log does not reach there or no longer does.
    pub(crate) fn term(&self, index: LogIndex) -> Result<Option<Term>, StorageError> {
        if index == self.last.index {
            return Ok(Some(self.last.term));
        }
        if index == self.before_first.index {
            return Ok(Some(self.before_first.term));
        }
        if index > self.last.index || index < self.before_first.index {
            return Ok(None);
        }
        if let Some(term) = self.tail.term(index) {
            return Ok(Some(term));
        }
        match self.storage.term(index) {
            Ok(term) if term > Term::ZERO && term <= self.last.term => Ok(Some(term)),
            Ok(_) => Err(StorageError::Contract("an entry has an impossible term")),
            Err(StorageError::Compacted) => Ok(None),
            Err(StorageError::Unavailable | StorageError::TemporarilyUnavailable) => Err(
                StorageError::Contract("the term of an entry inside the log is not there"),
            ),
            Err(error @ (StorageError::Contract(_) | StorageError::Other(_))) => Err(error),
        }
    }

    /// Whether the log holds this very entry (Raft 5.3).
    pub(crate) fn holds(&self, id: LogId) -> Result<bool, StorageError> {
        Ok(self.term(id.index)? == Some(id.term))
    }

    /// The log id at `index`; zero if it is not there.
    pub(crate) fn id_or_zero(&self, index: LogIndex) -> Result<LogId, StorageError> {
        Ok(self
            .term(index)?
            .map_or(LogId::ZERO, |term| LogId { term, index }))
    }

    /// The first of `entries` that contradicts a committed entry, if one does. Such a message
    /// cannot come from a correct leader (Leader Completeness, Raft 5.4.3).
    pub(crate) fn conflict_with_committed(
        &self,
        entries: &Entries,
    ) -> Result<Option<LogId>, StorageError> {
        for entry in entries
            .iter()
            .take_while(|entry| entry.index() <= self.commit_index)
        {
            if self
                .term(entry.index())?
                .is_some_and(|term| term != entry.id.term)
            {
                return Ok(Some(entry.id));
            }
        }
        Ok(None)
    }

    /// The latest entry at or below `limit` whose term is not after `limit`'s: the two logs can
    /// agree up to here at most. Used on both sides of a rejection, so that one probe settles a
    /// whole term (end of Raft 5.3).
    pub(crate) fn latest_not_after(&self, limit: LogId) -> Result<LogId, StorageError> {
        let mut index = limit.index.min(self.last.index);
        loop {
            match self.term(index)? {
                Some(term) if term <= limit.term => return Ok(LogId { term, index }),
                Some(_) => index = index.previous(),
                None => return Ok(LogId::ZERO),
            }
        }
    }

    /// Gives a proposal a place at the end, which never overwrites anything (Leader Append-Only). What is
    /// to be there is made when there is room.
    #[inline(always)]
    pub(crate) fn append_proposal(
        &mut self,
        term: Term,
        proposal: impl FnOnce() -> (Payload, Bytes),
    ) -> LogId {
        let index = self.last.index.next();
        let id = LogId { term, index };
        self.tail.push(index, || {
            let (payload, context) = proposal();
            Entry {
                id,
                payload,
                context,
            }
        });
        self.last = id;
        id
    }

    /// Proposals end here: the leader has stepped down.
    pub(crate) fn seal(&mut self) {
        self.tail.seal();
    }

    /// Adds what is new of a leader's entries, whose predecessor this log holds. Entries that
    /// differ from the leader's are removed with all that follow them; entries that are the same
    /// stay, however old the message is. Returns the last index before the removed ones, if any
    /// were. What is new is taken out.
    pub(crate) fn append_from_leader(
        &mut self,
        entries: &mut Entries,
    ) -> Result<Option<LogIndex>, StorageError> {
        let (Some(mut first), Some(last)) = (entries.first_id(), entries.last_id()) else {
            return Ok(None);
        };
        let mut kept = None;
        // Mostly all of them are new.
        if first.index <= self.last.index {
            self.drop_known(entries)?;
            first = match entries.first_id() {
                Some(first) => first,
                None => return Ok(None),
            };
            kept = self.truncate_from(first.index);
        }
        self.tail.push_run(first.index, take(entries));
        self.last = last;
        Ok(kept)
    }

    /// Drops the first of these entries, as many as this log holds.
    fn drop_known(&self, entries: &mut Entries) -> Result<(), StorageError> {
        let mut known = 0;
        for entry in &*entries {
            if !self.holds(entry.id)? {
                break;
            }
            known += 1;
        }
        entries.narrow(known, entries.len());
        Ok(())
    }

    /// Removes what the log holds from `index` on. Returns the last index that it keeps, if anything was
    /// there.
    fn truncate_from(&mut self, index: LogIndex) -> Option<LogIndex> {
        assert!(
            index > self.commit_index,
            "a committed entry is never replaced"
        );
        if index > self.last.index {
            return None;
        }
        let kept = index.previous();
        self.tail.sealed_mut().truncate_from(index);
        self.handed_out = self.handed_out.min(kept);
        Some(kept)
    }

    /// Puts a snapshot in place of the whole log.
    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        let last = snapshot.last_included;
        assert!(
            last.index >= self.commit_index,
            "a snapshot never takes back what is committed"
        );
        self.tail.sealed_mut().restart_at(last.index.next());
        self.before_first = last;
        self.last = last;
        self.commit_index = last.index;
        self.handed_out = last.index;
        let incoming = Incoming::new(snapshot, self.incoming.as_deref(), self.applying);
        self.incoming = Some(Box::new(incoming));
    }

    /// Raises the commit index; it never falls.
    pub(crate) fn commit_to(&mut self, index: LogIndex) {
        assert!(
            index <= self.last.index,
            "only entries of the log are committed"
        );
        self.commit_index = self.commit_index.max(index);
    }

    /// Whether there is something to persist that has not been handed out.
    pub(crate) fn has_unpersisted(&self) -> bool {
        self.handed_out < self.last.index
            || self
                .incoming
                .as_ref()
                .is_some_and(|incoming| !incoming.is_handed_out())
    }

    /// Hands out the snapshot to be persisted and restored, once.
    pub(crate) fn take_snapshot(&mut self) -> Option<Box<Snapshot>> {
        let snapshot = self.incoming.as_mut()?.hand_out()?;
        let index = snapshot.last_included.index;
        self.applying = index;
        // A state machine that was ahead of its log is taken back. What follows the snapshot is
        // applied again, once that is restored.
        if self.last_applied > index {
            self.last_applied = index.previous();
        }
        Some(snapshot)
    }

    /// Hands out the entries to be persisted, once. Returns the last one's index, if there are any.
    pub(crate) fn take_unpersisted(&mut self, out: &mut Vec<Entries>) -> Option<LogIndex> {
        if self.handed_out >= self.last.index {
            return None;
        }
        self.tail.seal();
        let runs = self.tail.sealed();
        runs.read(self.handed_out.next(), self.last.index, u64::MAX, out);
        self.handed_out = self.last.index;
        Some(self.last.index)
    }

    /// The last index that may be applied now: committed, and persisted here up to the given
    /// index, or as much more as is allowed. Nothing while a snapshot is on its way, to the disk or
    /// into the state machine, so that what follows it is applied to it.
    fn may_apply_to(&self, persisted: LogIndex) -> LogIndex {
        if self.incoming.is_some() || self.last_applied < self.before_first.index {
            return LogIndex::ZERO;
        }
        self.commit_index.min(persisted)
    }

    /// Whether there is something to apply that has not been handed out, and room for it: no more
    /// than about `max_bytes` may be handed out and not reported as applied.
    #[inline]
    pub(crate) fn has_unapplied(&self, persisted: LogIndex, max_bytes: u64) -> bool {
        let has_room = self.outstanding.is_empty() || self.outstanding.bytes() < max_bytes;
        has_room && !self.apply_waits && self.applying < self.may_apply_to(persisted)
    }

    /// Hands out entries to be applied, once; there are some. Returns the last one's index, if `Storage`
    /// can give them now. What nobody needs (that is, up to `unneeded`) need not stay in memory: it is
    /// given away, not shared.
    pub(crate) fn take_unapplied(
        &mut self,
        may_apply: LogIndex,
        unneeded: LogIndex,
        max_bytes: u64,
        out: &mut Vec<Entries>,
    ) -> Result<Option<LogIndex>, StorageError> {
        let last = self.may_apply_to(may_apply);
        let first = self.applying.next();
        assert!(first <= last, "there is something to apply");
        let room = max_bytes.saturating_sub(self.outstanding.bytes());
        let (next, bytes) = if first >= self.tail.first() {
            let runs = self.tail.sealed_mut();
            let (next, given) = runs.give_away(first, last.min(unneeded), room, out);
            if next <= last {
                let (next, shared) = runs.read(next, last, room - given, out);
                (next, given.saturating_add(shared))
            } else {
                (next, given)
            }
        } else {
            match self.fetch_from_storage(first, last, room, Purpose::Apply)? {
                Fetched::Entries(entries) => {
                    let fetched = (first + entries.count(), entries.size_bytes());
                    out.push(entries);
                    fetched
                }
                Fetched::NotYet => {
                    self.apply_waits = true;
                    return Ok(None);
                }
                Fetched::Compacted => {
                    return Err(StorageError::Contract(
                        "entries were compacted before they were applied",
                    ));
                }
            }
        };
        self.applying = next.previous();
        self.outstanding.add(self.applying, bytes);
        Ok(Some(self.applying))
    }

    /// Whether `Storage` is to be asked again.
    pub(crate) const fn waits_to_ask(&self) -> bool {
        self.apply_waits
    }

    /// Time has passed: what was not there may be there now.
    pub(crate) const fn ask_again(&mut self) {
        self.apply_waits = false;
    }

    /// The snapshot has reached the disk.
    pub(crate) fn snapshot_persisted(&mut self, index: LogIndex) {
        self.incoming.take_if(|incoming| incoming.persisted(index));
    }

    pub(crate) fn applied_to(&mut self, index: LogIndex) {
        self.last_applied = self.last_applied.max(index);
        self.outstanding.free_through(index);
    }

    /// Whether any part of it is held in memory.
    #[inline]
    pub(crate) const fn is_in_memory(&self) -> bool {
        self.tail.first().0 <= self.last.index.0
    }

    /// Whether [`release`](Self::release) may find something to let go of.
    #[inline]
    pub(crate) fn may_release(&self, persisted: LogIndex, max_tail_bytes: u64) -> bool {
        self.tail.first() <= persisted.min(self.applying) || self.tail.bytes() > max_tail_bytes
    }

    /// Lets go of entries in memory that are persisted, and that nobody needs (`needed_from` is
    /// the first that somebody does) or for which there is no room.
    pub(crate) fn release(
        &mut self,
        persisted: LogIndex,
        needed_from: LogIndex,
        max_tail_bytes: u64,
    ) {
        if self.incoming.is_some() {
            return;
        }
        let unneeded = needed_from.previous().min(self.applying);
        self.tail.release_through(persisted.min(unneeded));
        if self.tail.bytes() > max_tail_bytes {
            self.tail.release_through(persisted);
        }
    }

    /// Gives the memory back in which nothing is.
    pub(crate) fn give_back_buffers(&mut self) {
        self.outstanding.give_back_buffers();
        self.tail.give_back_buffers();
    }

    /// The bytes of all entries that are not committed; `None` if `Storage` cannot tell now.
    pub(crate) fn uncommitted_bytes(&self) -> Result<Option<u64>, StorageError> {
        let mut index = self.commit_index.next();
        let mut bytes = 0_u64;
        while index <= self.last.index {
            match self.scan(index)? {
                Fetched::Entries(entries) => {
                    bytes = bytes.saturating_add(entries.size_bytes());
                    index = entries.last_id().map_or(index, |id| id.index).next();
                }
                Fetched::Compacted | Fetched::NotYet => return Ok(None),
            }
        }
        Ok(Some(bytes))
    }

    /// The last index that has been compacted away, as `Storage` knows it now.
    pub(crate) fn compacted_through(&self) -> Result<LogIndex, StorageError> {
        Ok(self
            .storage
            .first_index()?
            .previous()
            .max(self.before_first.index))
    }

    /// Whether the entries behind this one are in memory, as far as there are any.
    pub(crate) const fn goes_on_in_memory_from(&self, index: LogIndex) -> bool {
        index.next().0 >= self.tail.first().0
    }

    /// Whether the entries behind this one can be sent, as far as there are any.
    pub(crate) fn goes_on_from(&self, index: LogIndex) -> Result<bool, StorageError> {
        let is_there = self.goes_on_in_memory_from(index) || index >= self.compacted_through()?;
        Ok(is_there && self.term(index)?.is_some())
    }

    /// Whether a committed membership change waits to be applied. A node that does not know the
    /// latest committed membership must not campaign. If it cannot be told now, there may be one.
    pub(crate) fn has_unapplied_change(&self) -> Result<bool, StorageError> {
        let mut index = self.last_applied.next();
        while index <= self.commit_index {
            match self.scan(index)? {
                Fetched::Entries(entries) => {
                    let committed = entries
                        .iter()
                        .take_while(|entry| entry.index() <= self.commit_index);
                    let is_change = |entry: &Entry| matches!(entry.payload, Payload::Change(_));
                    if committed.into_iter().any(is_change) {
                        return Ok(true);
                    }
                    index = entries.last_id().map_or(index, |id| id.index).next();
                }
                Fetched::Compacted | Fetched::NotYet => return Ok(true),
            }
        }
        Ok(false)
    }
}
