//! What the embedder reports as done.
//!
//! Owns what follows when a `Ready` is persisted or applied: votes count, entries commit, memory is let
//! go. Knows what was handed out, and refuses what was not.

use alloc::boxed::Box;

use super::{Next, Raft, Role};
use crate::error::{AcknowledgeError, Halted};
use crate::event::Event;
use crate::ready::Ready;
use crate::storage::Storage;
use crate::types::LogIndex;

impl<S: Storage> Raft<S> {
    /// All that was handed out with this `Ready` is done. Nothing of it counts if some of it was not
    /// handed out here. Returns whether anything was waiting for it.
    pub(crate) fn done(&mut self, ready: Box<Ready>) -> Result<bool, AcknowledgeError> {
        self.core.check_running()?;
        let (from, number, applies_to) = (ready.from, ready.number, ready.applies_to);
        if from != self.core.id() {
            return Err(AcknowledgeError::NoSuchReady(number));
        }
        let handed_out = self.core.log.applying();
        if let Some(index) = applies_to.filter(|&index| index > handed_out) {
            return Err(AcknowledgeError::NotHandedOut { index, handed_out });
        }
        self.core.durability.check(number)?;
        let is_news = self.core.durability.is_writing() || applies_to.is_some();
        self.core.next_ready.recycle(ready);
        // If nothing waited, memory was let go of when this was handed out.
        if is_news {
            let persisted = self.note_persisted(number);
            let result = match applies_to {
                Some(index) => persisted.and_then(|()| self.note_applied(index)),
                None => persisted,
            };
            self.finish_acknowledgement(result)?;
        }
        Ok(is_news)
    }

    /// All writes up to the `Ready` of this number are durable.
    pub(crate) fn persisted(&mut self, number: u64) -> Result<(), AcknowledgeError> {
        self.core.check_running()?;
        let result = self.note_persisted(number);
        self.finish_acknowledgement(result)
    }

    /// The state machine contains everything up to this index.
    pub(crate) fn applied(&mut self, index: LogIndex) -> Result<(), AcknowledgeError> {
        self.core.check_running()?;
        let result = self.note_applied(index);
        self.finish_acknowledgement(result)
    }

    fn finish_acknowledgement(
        &mut self,
        result: Result<(), AcknowledgeError>,
    ) -> Result<(), AcknowledgeError> {
        match result {
            Ok(()) => {
                self.release_memory();
                Ok(())
            }
            Err(AcknowledgeError::Halted(halted)) => Ok(self.finish(Err(halted.error))?),
            Err(refusal) => Err(refusal),
        }
    }

    fn note_persisted(&mut self, number: u64) -> Result<(), AcknowledgeError> {
        let before = self.core.durability.log();
        if let Some(snapshot) = self.core.durability.acknowledge(number)? {
            self.core.log.snapshot_persisted(snapshot);
        }
        let next = match &mut self.role {
            Role::Candidate(candidate) => candidate.outcome(&self.core),
            Role::Leader(leader) => {
                if self.core.durability.log() > before {
                    leader.commit(&mut self.core);
                }
                Next::Stay
            }
            Role::Follower(_) | Role::PreCandidate(_) => Next::Stay,
        };
        Ok(self.go(next).map_err(|error| Halted { error })?)
    }

    fn note_applied(&mut self, index: LogIndex) -> Result<(), AcknowledgeError> {
        let handed_out = self.core.log.applying();
        if index > handed_out {
            return Err(AcknowledgeError::NotHandedOut { index, handed_out });
        }
        if self.core.log.needs_unpersisted_snapshot(index) {
            return Err(AcknowledgeError::NotPersisted(index));
        }
        self.core.log.applied_to(index);
        if let Some(restored) = self
            .core
            .restoring
            .take_if(|restoring| restoring.0 <= index)
        {
            self.core.membership = restored.1;
            self.core
                .tell(&Event::MembershipChanged(&self.core.membership));
        }
        let next = match &mut self.role {
            Role::Leader(leader) => {
                leader.leave_joint_if_due(&mut self.core);
                Next::Stay
            }
            Role::Follower(follower) if follower.takes_over => Next::TakeOver,
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => Next::Stay,
        };
        Ok(self.go(next).map_err(|error| Halted { error })?)
    }

    /// Lets go of entries in memory that nobody needs any more.
    #[inline]
    pub(super) fn release_memory(&mut self) {
        let persisted = self.core.durability.log();
        let max_tail_bytes = self.core.config.max_tail_bytes;
        if self.core.log.may_release(persisted, max_tail_bytes) {
            self.release(persisted, max_tail_bytes);
        }
    }

    // Not inlined, for mostly there is nothing to let go of: what is applied was given away.
    #[inline(never)]
    fn release(&mut self, persisted: LogIndex, max_tail_bytes: u64) {
        let needed_from = self.needed_from();
        self.core
            .log
            .release(persisted, needed_from, max_tail_bytes);
    }

    /// The first entry that some peer is to be sent from memory.
    pub(super) fn needed_from(&self) -> LogIndex {
        match &self.role {
            Role::Leader(leader) if self.core.log.is_in_memory() => leader.needed_from(&self.core),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => {
                self.core.log.last_index().next()
            }
        }
    }
}
