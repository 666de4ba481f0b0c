//! Handing out a [`Ready`]: what has come up since the last one, and what there is to write and to apply.
//!
//! Owns when there is one, and with that the durability rules on the way out: messages wait behind the
//! write that they speak for. Must not know roles.

use alloc::boxed::Box;

use super::core::Core;
use crate::event::Event;
use crate::ready::Ready;
use crate::storage::{Storage, StorageError};
use crate::types::{HardState, LogIndex};

impl<S: Storage> Core<S> {
    #[inline]
    pub(crate) fn has_output(&self) -> bool {
        self.next_ready.is_due()
            || self.log.has_unpersisted()
            || self.commit_is_news()
            || self.vote_is_news()
            || self
                .log
                .has_unapplied(self.may_apply(), self.config.max_committed_bytes_per_ready)
    }

    /// Gives the memory back in which nothing is.
    pub(crate) fn give_back_buffers(&mut self) {
        self.next_ready.give_back();
        self.log.give_back_buffers();
        self.durability.give_back_buffers();
        self.reads.give_back_buffers();
    }

    fn vote_is_news(&self) -> bool {
        let HardState {
            current_term,
            voted_for,
            commit_index: _,
        } = self.handed_out;
        (current_term, voted_for) != self.vote()
    }

    fn commit_is_news(&self) -> bool {
        self.handed_out.commit_index != self.log.commit_index()
    }

    /// What is persisted here, and as much more as may be applied before it is.
    fn may_apply(&self) -> LogIndex {
        self.durability.log() + self.config.max_apply_unpersisted_entries
    }

    /// Hands everything out that waits to be. Nobody is to be sent entries from before `needed_from`.
    pub(crate) fn take_output(
        &mut self,
        needed_from: LogIndex,
    ) -> Result<Box<Ready>, StorageError> {
        let mut ready = self.next_ready.take(self.id());
        ready.number = self.durability.next_number();
        ready.snapshot = self.log.take_snapshot();
        let snapshot_index = ready
            .snapshot
            .as_ref()
            .map(|snapshot| snapshot.last_included.index);
        ready.applies_to = snapshot_index;
        if snapshot_index.is_none() {
            let max_bytes = self.config.max_committed_bytes_per_ready;
            let may_apply = self.may_apply();
            let unneeded = self.durability.log().min(needed_from.previous());
            let committed = &mut ready.committed_entries;
            ready.applies_to = self
                .log
                .take_unapplied(may_apply, unneeded, max_bytes, committed)?;
        }
        let log_through = self.log.take_unpersisted(&mut ready.entries);

        let vote_changed = self.vote_is_news();
        let commit_changed = self.commit_is_news();
        ready.must_sync = vote_changed || snapshot_index.is_some() || log_through.is_some();
        if vote_changed || commit_changed {
            let hard_state = self.hard_state();
            self.handed_out = hard_state;
            ready.hard_state = Some(hard_state);
        } else {
            ready.hard_state = None;
        }
        if ready.must_sync {
            let log_through = log_through.max(snapshot_index).unwrap_or_default();
            self.durability
                .writing(ready.number, log_through, snapshot_index, self.vote());
        } else if !self.durability.is_writing() && !ready.messages_after_persist.is_empty() {
            // What they waited for has become durable meanwhile.
            let Ready {
                messages,
                messages_after_persist,
                ..
            } = &mut *ready;
            messages.append(messages_after_persist);
        }
        for outcome in &ready.transfer_outcomes {
            self.tell(&Event::TransferEnded(outcome));
        }
        Ok(ready)
    }
}
