//! Handing out a [`Ready`]: what has come up since the last one, and what there is to write and to apply.
//!
//! Owns when there is one, what is in it, and with that the durability rules on the way out: messages wait
//! behind the write that they speak for. Knows of roles only that a leader makes messages when it is asked.

use alloc::boxed::Box;

use super::core::Core;
use super::{Raft, Role};
use crate::error::Halted;
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
    fn has_work(&self) -> bool {
        self.log.has_unpersisted()
            || self.commit_is_news()
            || self.vote_is_news()
            || self.has_unapplied()
    }

    /// Whether there is anything to apply.
    #[inline]
    fn has_unapplied(&self) -> bool {
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

    /// Hands out what there is to apply. Nobody is to be sent entries from before `needed_from`.
    #[inline]
    fn take_unapplied(
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
    fn take_unpersisted(&mut self, ready: &mut Ready) {
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

    /// Messages that waited for what has become durable meanwhile wait no more.
    #[inline]
    fn free_messages(&self, ready: &mut Ready) {
        if !self.durability.is_writing() && !ready.messages_after_persist.is_empty() {
            let Ready {
                messages,
                messages_after_persist,
                ..
            } = ready;
            messages.append(messages_after_persist);
        }
    }

    #[cold]
    fn tell_of_transfers(&self, ready: &Ready) {
        for outcome in &ready.transfer_outcomes {
            self.tell(&Event::TransferEnded(outcome));
        }
    }
}

impl<S: Storage> Raft<S> {
    /// Whether anything waits to be handed out.
    pub(crate) fn has_ready(&self) -> bool {
        let core = &self.core;
        let has_something_due =
            matches!(&self.role, Role::Leader(leader) if leader.has_something_due(core));
        core.halted.is_none() && (core.has_output() || has_something_due)
    }

    /// Hands everything out that waits to be; `None` if nothing does.
    pub(crate) fn ready(&mut self) -> Result<Option<Box<Ready>>, Halted> {
        self.core.check_running()?;
        if let Role::Leader(leader) = &mut self.role {
            if let Err(error) = leader.replicate(&mut self.core) {
                return self.finish(Err(error));
            }
        }
        let has_work = self.core.has_work();
        if !has_work && !self.core.next_ready.is_due() {
            return Ok(None);
        }
        // Nothing leaves a node that has broken its own rules.
        self.check_invariants();
        let mut ready = self.core.next_ready.take(self.core.id());
        ready.number = self.core.durability.next_number();
        if has_work {
            if let Err(error) = self.take_work(&mut ready) {
                return self.finish(Err(error));
            }
        }
        if !ready.must_sync {
            self.core.free_messages(&mut ready);
            if ready.applies_to.is_none() {
                // Nobody need acknowledge this one.
                self.release_memory();
            }
        }
        if !ready.transfer_outcomes.is_empty() {
            self.core.tell_of_transfers(&ready);
        }
        Ok(Some(ready))
    }

    // Not inlined, so that a `Ready` of messages alone stays short.
    #[inline(never)]
    fn take_work(&mut self, ready: &mut Ready) -> Result<(), StorageError> {
        if self.core.has_unapplied() {
            let needed_from = self.needed_from();
            self.core.take_unapplied(ready, needed_from)?;
        }
        self.core.take_unpersisted(ready);
        Ok(())
    }
}
