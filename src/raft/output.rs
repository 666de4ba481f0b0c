//! Making a [`Ready`] out of what the common state has collected.
//!
//! Owns what goes into which part of it, and with that the durability rules on the way out:
//! messages wait behind the write that they speak for. Must not know roles.

use core::mem;

use super::core::Core;
use crate::entry::Entries;
use crate::event::Event;
use crate::ready::{Buffers, Ready};
use crate::storage::{Storage, StorageError};
use crate::types::LogIndex;

impl<S: Storage> Core<S> {
    pub(crate) fn has_output(&self) -> bool {
        !self.outbox.is_empty()
            || !self.outbox_after_persist.is_empty()
            || self.hard_state() != self.handed_out
            || self.log.has_unpersisted()
            || self.reads.has_states()
            || self.transfers.has_outcomes()
            || self
                .log
                .has_unapplied(self.may_apply(), self.config.max_committed_bytes_per_ready)
    }

    /// What is persisted here, and as much more as may be applied before it is.
    fn may_apply(&self) -> LogIndex {
        self.durability.log() + self.config.max_apply_unpersisted_entries
    }

    /// Hands everything out that waits to be.
    pub(crate) fn take_output(&mut self) -> Result<Ready, StorageError> {
        let Buffers {
            messages,
            messages_after_persist,
            mut entries,
            mut committed_entries,
            read_states,
        } = mem::take(&mut self.buffers);
        let snapshot = self.log.take_snapshot();
        if snapshot.is_none() {
            let max_bytes = self.config.max_committed_bytes_per_ready;
            let may_apply = self.may_apply();
            self.log
                .take_unapplied(may_apply, max_bytes, &mut committed_entries)?;
        }
        self.log.take_unpersisted(&mut entries);

        let hard_state = self.hard_state();
        let vote_changed = (self.handed_out.current_term, self.handed_out.voted_for) != self.vote();
        let must_sync = vote_changed || snapshot.is_some() || !entries.is_empty();
        let changed = hard_state != self.handed_out;
        self.handed_out = hard_state;

        let number = self.durability.next_number();
        let snapshot_index = snapshot
            .as_ref()
            .map(|snapshot| snapshot.last_included.index);
        if must_sync {
            let log_through = entries.last().and_then(Entries::last_id).map(|id| id.index);
            let log_through = log_through.max(snapshot_index).unwrap_or_default();
            self.durability
                .writing(number, log_through, snapshot_index, self.vote());
        }

        let mut messages = mem::replace(&mut self.outbox, messages);
        let mut after = mem::replace(&mut self.outbox_after_persist, messages_after_persist);
        if !self.durability.is_writing() {
            // What they waited for has become durable meanwhile.
            messages.append(&mut after);
        }
        let transfer_outcomes = self.transfers.take_outcomes();
        for outcome in &transfer_outcomes {
            self.tell(&Event::TransferEnded(outcome));
        }
        let applied = committed_entries
            .last()
            .and_then(Entries::last_id)
            .map(|id| id.index);
        Ok(Ready {
            number,
            messages,
            snapshot,
            entries,
            hard_state: changed.then_some(hard_state),
            must_sync,
            messages_after_persist: after,
            committed_entries,
            read_states: self.reads.take_states(read_states),
            transfer_outcomes,
            applies_to: applied.or(snapshot_index),
            from: self.id(),
        })
    }
}
