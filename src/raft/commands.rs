//! What the embedder asks of a node: proposals, reads, transfers, campaigns, reports.
//!
//! Owns who carries a wish out: the leader itself, or a message to it. Changes no role; what comes
//! of a wish is the role's business.

use bytes::Bytes;

use super::{Raft, Role, SnapshotWish};
use crate::entry::Payload;
use crate::error::{CampaignError, ProposeError, ReadError, RequestSnapshotError, TransferError};
use crate::message::Body;
use crate::progress::{Progress, Window};
use crate::quorum::CommitGroups;
use crate::storage::{Purpose, Storage};
use crate::types::{LogId, NodeId};

impl<S: Storage> Raft<S> {
    /// Takes the payload and the context out, unless it refuses them.
    #[inline]
    pub(crate) fn propose(
        &mut self,
        payload: &mut Payload,
        context: &mut Bytes,
    ) -> Result<LogId, ProposeError> {
        self.core.check_running()?;
        let Role::Leader(role) = &mut self.role else {
            let leader = self.leader();
            return Err(ProposeError::NotLeader { leader });
        };
        role.propose(&mut self.core, payload, context)
    }

    pub(crate) fn campaign(&mut self) -> Result<(), CampaignError> {
        self.core.check_running()?;
        let result = self.try_campaign();
        if let Err(CampaignError::Halted(halted)) = &result {
            self.core.halt(halted.error.clone());
        }
        result
    }

    /// The snapshot that was sent to this peer has arrived, or has not.
    pub(crate) fn report_snapshot(&mut self, peer: NodeId, delivered: bool) {
        if let Some(progress) = self.progress_mut(peer) {
            progress.snapshot_reported(delivered);
        }
    }

    pub(crate) fn report_unreachable(&mut self, peer: NodeId) {
        if let Some(progress) = self.progress_mut(peer) {
            progress.unreachable();
        }
    }

    /// Asks, or lets the leader ask, for an index up to which a read must have applied.
    pub(crate) fn read_index(&mut self, context: Bytes) -> Result<(), ReadError> {
        self.core.check_running()?;
        match &self.role {
            // It joins the next round.
            Role::Leader(_) => {
                self.core.accept_read(context)?;
            }
            Role::Follower(follower) => {
                let leader = follower.leader.ok_or(ReadError::NoLeader)?;
                if self.core.config.incarnation.is_none() {
                    return Err(ReadError::NoIncarnation);
                }
                let token = self.core.accept_read(context)?;
                self.core.forward_read(leader, token);
            }
            Role::PreCandidate(_) | Role::Candidate(_) => return Err(ReadError::NoLeader),
        }
        Ok(())
    }

    /// Answers a read at once where the lease allows it.
    pub(crate) fn lease_read(&mut self, context: Bytes) -> Result<(), ReadError> {
        self.core.check_running()?;
        match &self.role {
            Role::Leader(leader) if leader.holds_lease(&self.core) => {
                let read_index = self.core.log.commit_index();
                self.core.end_read(context, Ok(read_index));
                Ok(())
            }
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => {
                self.read_index(context)
            }
        }
    }

    pub(crate) fn transfer_leader(&mut self, transferee: NodeId) -> Result<(), TransferError> {
        self.core.check_running()?;
        match &mut self.role {
            Role::Leader(leader) => {
                leader.start_transfer(&mut self.core, transferee)?;
                self.core.await_transfer(transferee);
                let next = leader.hand_over_if_ready(&mut self.core);
                let result = next.and_then(|next| self.go(next));
                Ok(self.finish(result)?)
            }
            Role::Follower(follower) => {
                let leader = follower.leader.ok_or(TransferError::NoLeader)?;
                if leader == transferee {
                    return Err(TransferError::AlreadyLeader(transferee));
                }
                if !self.core.membership.is_voter(transferee) {
                    return Err(TransferError::NotAVoter(transferee));
                }
                self.core.await_transfer(transferee);
                self.core
                    .send(leader, || Body::TransferLeader { transferee });
                Ok(())
            }
            Role::PreCandidate(_) | Role::Candidate(_) => Err(TransferError::NoLeader),
        }
    }

    /// To whom this node is to hand leadership, if it leads and is.
    pub(crate) fn transferee(&self) -> Option<NodeId> {
        match &self.role {
            Role::Leader(leader) => leader.transferee(),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
        }
    }

    /// The embedder knows that the leader is gone. A promise not to vote outlives that.
    pub(crate) fn forget_leader(&mut self) -> bool {
        let is_bound = self.core.lease_ticks_left() > 0;
        match &mut self.role {
            Role::Follower(follower) if !is_bound => follower.leader.take().is_some(),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => {
                false
            }
        }
    }

    pub(crate) fn ping(&mut self) {
        if let Role::Leader(leader) = &mut self.role {
            leader.heartbeat_due |= !leader.peers.is_empty();
        }
    }

    pub(crate) fn request_snapshot(&mut self) -> Result<(), RequestSnapshotError> {
        self.core.check_running()?;
        if self.core.log.is_installing_snapshot() {
            return Err(RequestSnapshotError::InstallingSnapshot);
        }
        let leader = match &self.role {
            Role::Follower(follower) => follower.leader,
            Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => None,
        };
        let leader = leader.ok_or(RequestSnapshotError::NoLeader)?;
        if self.core.snapshot_wish == SnapshotWish::None {
            self.core.snapshot_wish = SnapshotWish::Waiting;
        }
        self.core.ask_for_snapshot(leader);
        Ok(())
    }

    /// What `Storage` could not give before is there now.
    pub(crate) fn entries_fetched(&mut self, purpose: Purpose) {
        match purpose {
            Purpose::Apply => self.core.log.ask_again(),
            Purpose::Send(peer) => {
                if let Some(progress) = self.progress_mut(peer) {
                    progress.fetching = false;
                }
            }
            // Looked for again with the next campaign.
            Purpose::Scan => {}
        }
    }

    pub(crate) fn set_window(&mut self, peer: NodeId, window: Option<Window>) -> bool {
        let Some(progress) = self.progress_mut(peer) else {
            return false;
        };
        progress.set_window(window);
        true
    }

    /// Changes the rule by which entries commit; what that commits, commits now.
    pub(crate) fn change_groups(&mut self, change: impl FnOnce(&mut CommitGroups)) {
        change(self.core.commit_groups.get_or_insert_default());
        match &mut self.role {
            Role::Leader(leader) if self.core.halted.is_none() => leader.commit(&mut self.core),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => {}
        }
    }

    pub(crate) fn is_commit_grouped(&self) -> Option<bool> {
        match &self.role {
            Role::Leader(leader) => leader.is_commit_grouped(&self.core),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
        }
    }

    fn progress_mut(&mut self, peer: NodeId) -> Option<&mut Progress> {
        match &mut self.role {
            Role::Leader(leader) => leader.progress_mut(peer),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
        }
    }
}
