//! Changing the membership: when a change may be proposed, and what applying one does.
//!
//! Owns the rules of Raft 6 and Thesis 4 that concern time. The arithmetic of configurations is in
//! `membership.rs`.

use alloc::sync::Arc;

use bytes::Bytes;

use super::Next;
use super::core::Core;
use super::leader::Leader;
use crate::entry::Payload;
use crate::error::ProposeError;
use crate::membership::MembershipChange;
use crate::progress::Progress;
use crate::storage::{Storage, StorageError};
use crate::types::LogIndex;

impl Leader {
    /// A change is in force. It may end the wait for a quorum, and this node's own vote.
    pub(super) fn membership_changed<S: Storage>(
        &mut self,
        core: &mut Core<S>,
    ) -> Result<Next, StorageError> {
        self.sync_peers(core, true);
        self.commit(core);
        self.confirm_rounds(core);
        self.adapt_transfer(core);
        self.hand_over_if_ready(core)
    }

    /// One change at a time: an earlier one, also of an earlier term, must have been applied here
    /// (Thesis 4.1).
    pub(super) fn check_change<S: Storage>(
        &self,
        core: &Core<S>,
        change: &MembershipChange,
    ) -> Result<(), ProposeError> {
        if !core.config.validate_conf_changes {
            return Ok(());
        }
        if self.change_is_pending(core) {
            return Err(ProposeError::ChangePending);
        }
        core.membership.changed(change)?;
        Ok(())
    }

    fn change_is_pending<S: Storage>(&self, core: &Core<S>) -> bool {
        self.pending_change > core.log.last_applied()
    }

    /// Leaves a joint configuration that asks for it, once it is applied. Asked after every apply,
    /// so a leader that inherits the configuration leaves it too (Thesis 4.3).
    pub(super) fn leave_joint_if_due<S: Storage>(&mut self, core: &mut Core<S>) {
        if core.membership.is_joint()
            && core.membership.auto_leave()
            && !self.change_is_pending(core)
            && self.transfer.is_none()
            && core.log.last_index() < LogIndex::MAX
        {
            let payload = Payload::Change(Arc::new(MembershipChange::leave_joint()));
            let id = core
                .log
                .append_proposal(core.current_term, || (payload, Bytes::new()));
            self.pending_change = id.index;
        }
    }

    /// Makes the peers those of the membership. A new one counts as active until the next quorum
    /// check, so that it has time to answer.
    pub(super) fn sync_peers<S: Storage>(&mut self, core: &Core<S>, new_are_active: bool) {
        let next_index = core.log.last_index().next();
        let mut members = core.membership.members();
        members.retain(|&id| id != core.id());
        self.peers
            .retain(|(id, _)| members.binary_search(id).is_ok());
        // Room for all, and no more: they are many times as large as what else a leader has.
        let come = members.len().saturating_sub(self.peers.len());
        self.peers.reserve_exact(come);
        for id in members {
            if let Err(position) = self.peers.binary_search_by_key(&id, |(id, _)| *id) {
                let mut progress = Progress::new(next_index);
                progress.recently_active = new_are_active;
                self.peers.insert(position, (id, progress));
            }
        }
    }
}
