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
        self.next_ready.is_due() || self.has_work()
    }

    /// Whether there is anything to write or to apply.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        self.log.has_unpersisted()
            || self.commit_is_news()
            || self.vote_is_news()
            || self.has_unapplied()
    }

    /// Whether there is anything to apply.
    #[inline]
    pub(crate) fn has_unapplied(&self) -> bool {
        // Mostly the first question tells.
        let max_bytes = self.config.max_committed_bytes_per_ready;
        self.log.applying() < self.log.commit_index()
            && self.log.has_unapplied(self.may_apply(), max_bytes)
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

    /// Hands out what has come up.
    #[inline(always)]
    pub(crate) fn take_messages(&mut self) -> Box<Ready> {
        let mut ready = self.next_ready.take(self.id());
        ready.number = self.durability.next_number();
        if !ready.transfer_outcomes.is_empty() {
            self.tell_of_transfers(&ready);
        }
        ready
    }

    #[cold]
    fn tell_of_transfers(&self, ready: &Ready) {
        for outcome in &ready.transfer_outcomes {
            self.tell(&Event::TransferEnded(outcome));
        }
    }

    /// Messages that wait for nothing that is on its way to the disk: what they waited for has become
    /// durable meanwhile.
    #[inline]
    pub(crate) fn free_messages(&self, ready: &mut Ready) {
        if !self.durability.is_writing() && !ready.messages_after_persist.is_empty() {
            let Ready {
                messages,
                messages_after_persist,
                ..
            } = ready;
            messages.append(messages_after_persist);
        }
    }

    /// Hands out what there is to apply. Nobody is to be sent entries from before `needed_from`.
    #[inline]
    pub(crate) fn take_unapplied(
        &mut self,
        ready: &mut Ready,
        needed_from: LogIndex,
    ) -> Result<(), StorageError> {
        let max_bytes = self.config.max_committed_bytes_per_ready;
        let may_apply = self.may_apply();
        let unneeded = self.durability.log().min(needed_from.previous());
        let committed = &mut ready.committed_entries;
        ready.applies_to = self
            .log
            .take_unapplied(may_apply, unneeded, max_bytes, committed)?;
        Ok(())
    }

    /// Hands out what there is to write.
    #[inline]
    pub(crate) fn take_unpersisted(&mut self, ready: &mut Ready) {
        ready.snapshot = self.log.take_snapshot();
        let snapshot_index = ready
            .snapshot
            .as_ref()
            .map(|snapshot| snapshot.last_included.index);
        if snapshot_index.is_some() {
            ready.applies_to = snapshot_index;
        }
        let log_through = self.log.take_unpersisted(&mut ready.entries);

        let vote_changed = self.vote_is_news();
        let commit_changed = self.commit_is_news();
        if vote_changed || commit_changed {
            let hard_state = self.hard_state();
            self.handed_out = hard_state;
            ready.hard_state = Some(hard_state);
        }
        if vote_changed || snapshot_index.is_some() || log_through.is_some() {
            ready.must_sync = true;
            let log_through = log_through.max(snapshot_index).unwrap_or_default();
            self.durability
                .writing(ready.number, log_through, snapshot_index, self.vote());
        }
    }
}
