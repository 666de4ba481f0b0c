//! The public API of a node.
//!
//! Owns the grammar of calls: inputs ([`RawNode::tick`], [`RawNode::step`]), commands
//! ([`RawNode::propose`], [`RawNode::campaign`] and others), the output ([`RawNode::ready`]) and
//! its acknowledgement. Decides nothing; that is `raft.rs` and below.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::config::Config;
use crate::entry::Payload;
use crate::error::{
    AcknowledgeError, CampaignError, ChangeError, Halted, ProposeError, StartError, StepError,
};
use crate::membership::{ConfState, Membership, MembershipChange};
use crate::message::{Message, Proposal};
use crate::progress::Progress;
use crate::raft::{Raft, Role};
use crate::ready::Ready;
use crate::status::{RoleKind, Status};
use crate::storage::Storage;
use crate::types::{HardState, LogId, LogIndex, NodeId, Term};

/// One node of a Raft group: messages and ticks go in, [`Ready`] batches come out.
///
/// Pure: the same calls on equal nodes have equal results, so a node can be cloned, compared,
/// hashed and replayed. No method panics, whatever it is given; an assertion that fails is a bug
/// of this crate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RawNode<S> {
    raft: Raft<S>,
}

/// Whether a snapshot has reached its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SnapshotStatus {
    /// The transport has delivered it.
    Delivered,
    /// It is lost, or was given up.
    Failed,
}

impl<S: Storage> RawNode<S> {
    /// Starts a node from what its storage holds, as a follower.
    ///
    /// # Errors
    ///
    /// If the storage cannot be read, or holds what no node could have left there.
    pub fn new(config: Config, storage: S) -> Result<Self, StartError> {
        Ok(Self {
            raft: Raft::open(config, storage)?,
        })
    }

    // --- Inputs ---

    /// One tick of time has passed.
    ///
    /// # Errors
    ///
    /// [`Halted`] if the storage fails, now or before.
    pub fn tick(&mut self) -> Result<(), Halted> {
        self.raft.tick()
    }

    /// A message has come from a peer.
    ///
    /// # Errors
    ///
    /// If the message makes no sense; the node is then exactly as it was. Report it and go on. One
    /// error has an answer for the sender: see [`StepError::into_reply`].
    pub fn step(&mut self, message: Message) -> Result<(), StepError> {
        self.raft.step(message)
    }

    // --- Commands ---

    /// Puts a command into the log, if this node leads. Returns the place that it has there: when
    /// an entry of that index is applied, it is this command if the term is the same too, and
    /// another one, proposed by another leader in its place, if not.
    ///
    /// Empty data cannot be told from the entry with which a leader opens its term; do not give it
    /// a meaning.
    ///
    /// Nothing is sent before the next [`ready`](Self::ready), so proposals between two of them
    /// travel together.
    ///
    /// # Errors
    ///
    /// If it was not taken, and why.
    pub fn propose(
        &mut self,
        context: impl Into<Bytes>,
        data: impl Into<Bytes>,
    ) -> Result<LogId, ProposeError> {
        let payload = Payload::Data(data.into());
        self.raft.propose(Proposal {
            payload,
            context: context.into(),
        })
    }

    /// Puts a change of membership into the log, if this node leads and no other change is in
    /// progress. It takes effect when it is applied: see
    /// [`apply_conf_change`](Self::apply_conf_change).
    ///
    /// # Errors
    ///
    /// If it was not taken, and why.
    pub fn propose_conf_change(
        &mut self,
        context: impl Into<Bytes>,
        change: MembershipChange,
    ) -> Result<LogId, ProposeError> {
        let payload = Payload::Change(Arc::new(change));
        self.raft.propose(Proposal {
            payload,
            context: context.into(),
        })
    }

    /// Puts a membership change into effect. To be called for every [`Payload::Change`] among the
    /// committed entries, in order, before their application is reported. Returns the new
    /// membership, to be stored with the applied state.
    ///
    /// # Errors
    ///
    /// If the change is impossible from the current membership, which then stays as it is.
    pub fn apply_conf_change(
        &mut self,
        change: &MembershipChange,
    ) -> Result<ConfState, ChangeError> {
        self.raft.apply_change(change)?;
        Ok(self.membership().to_conf_state())
    }

    /// Begins an election now (with a pre-vote, if these are on).
    ///
    /// # Errors
    ///
    /// If the node may not campaign, and why.
    pub fn campaign(&mut self) -> Result<(), CampaignError> {
        self.raft.campaign()
    }

    /// The transport could not deliver to this peer: what is on its way is probably lost. A lost
    /// snapshot is reported by [`report_snapshot`](Self::report_snapshot) besides.
    pub fn report_unreachable(&mut self, peer: NodeId) {
        self.raft.report_unreachable(peer);
    }

    /// The snapshot sent to this peer has arrived or not. The transport owes this report for every
    /// snapshot; until then the peer is sent no entries.
    pub fn report_snapshot(&mut self, peer: NodeId, status: SnapshotStatus) {
        self.raft
            .report_snapshot(peer, status == SnapshotStatus::Delivered);
    }

    // --- Output ---

    /// Whether [`ready`](Self::ready) has something to do.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        self.raft.core.halted.is_none() && self.raft.has_ready()
    }

    /// What is to be done now, or `None`. Each obligation is handed out once.
    ///
    /// # Errors
    ///
    /// [`Halted`] if the storage fails, now or before.
    pub fn ready(&mut self) -> Result<Option<Ready>, Halted> {
        self.raft.ready()
    }

    /// Everything in this `Ready` has been done: the same as [`persisted`](Self::persisted) and
    /// [`applied`](Self::applied), and its memory is used again.
    ///
    /// # Errors
    ///
    /// If the `Ready` is not from this node, or the node has [`Halted`].
    pub fn advance(&mut self, ready: Ready) -> Result<(), AcknowledgeError> {
        self.raft.check_own(&ready)?;
        self.raft.persisted(ready.number)?;
        if let Some(index) = ready.applies_to() {
            self.raft.applied(index)?;
        }
        self.raft.core.buffers.recycle(ready);
        Ok(())
    }

    /// The writes of the `Ready` of this number, and of all before it, are durable.
    ///
    /// # Errors
    ///
    /// If there was no such `Ready`, or the node has [`Halted`].
    pub fn persisted(&mut self, number: u64) -> Result<(), AcknowledgeError> {
        self.raft.persisted(number)
    }

    /// The state machine contains everything up to this index. An index reported before says
    /// nothing new.
    ///
    /// # Errors
    ///
    /// If the index was not handed out to be applied, if it needs a snapshot that is not persisted
    /// yet, or if the node has [`Halted`].
    pub fn applied(&mut self, index: LogIndex) -> Result<(), AcknowledgeError> {
        self.raft.applied(index)
    }

    // --- Questions ---

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.raft.core.id()
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.raft.core.config
    }

    /// Its role.
    #[must_use]
    pub fn role(&self) -> RoleKind {
        match &self.raft.role {
            Role::Follower(_) => RoleKind::Follower,
            Role::PreCandidate(_) => RoleKind::PreCandidate,
            Role::Candidate(_) => RoleKind::Candidate,
            Role::Leader(_) => RoleKind::Leader,
        }
    }

    /// The leader of the current term, if this node knows it.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.raft.leader()
    }

    /// The current term.
    #[must_use]
    pub fn current_term(&self) -> Term {
        self.raft.core.current_term
    }

    /// The term, vote and commit index as they are in memory; a `Ready` says when to persist them.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        self.raft.core.hard_state()
    }

    /// The highest index known to be committed.
    #[must_use]
    pub fn commit_index(&self) -> LogIndex {
        self.raft.core.log.commit_index()
    }

    /// The highest index reported as applied.
    #[must_use]
    pub fn last_applied(&self) -> LogIndex {
        self.raft.core.log.last_applied()
    }

    /// The last entry of the log, persisted or not.
    #[must_use]
    pub fn last_log(&self) -> LogId {
        self.raft.core.log.last()
    }

    /// The membership as applied here.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.raft.core.membership
    }

    /// On a leader, what it knows of a peer.
    #[must_use]
    pub fn progress(&self, peer: NodeId) -> Option<&Progress> {
        if let Role::Leader(leader) = &self.raft.role {
            leader.progress(peer)
        } else {
            None
        }
    }

    /// Why the node has stopped, if it has.
    #[must_use]
    pub fn halted(&self) -> Option<&Halted> {
        self.raft.core.halted.as_ref()
    }

    /// Everything at once.
    #[must_use]
    pub fn status(&self) -> Status {
        let core = &self.raft.core;
        let progress = match &self.raft.role {
            Role::Leader(leader) => leader.peers.clone(),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => Vec::new(),
        };
        Status {
            id: core.id(),
            role: self.role(),
            leader: self.leader(),
            current_term: core.current_term,
            voted_for: core.voted_for,
            commit_index: core.log.commit_index(),
            last_applied: core.log.last_applied(),
            last_log: core.log.last(),
            persisted_index: core.durability.log(),
            membership: core.membership.clone(),
            progress,
        }
    }

    /// The storage.
    #[must_use]
    pub fn storage(&self) -> &S {
        self.raft.core.log.storage()
    }

    /// The storage, to write what a [`Ready`] asks for, and to compact.
    pub fn storage_mut(&mut self) -> &mut S {
        self.raft.core.log.storage_mut()
    }

    /// Ends the node, and gives back its storage. What the node had in memory alone is lost.
    #[must_use]
    pub fn into_storage(self) -> S {
        self.raft.core.log.into_storage()
    }
}
