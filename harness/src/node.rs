//! One running node, of whichever implementation: almadia's own core, or raft-rs 0.7.
//!
//! Owns what the simulator may ask of either, and the neutral answer of the one that does not have
//! what is asked for. Must not know what the answers are for; the run loop is in
//! `cluster/drive.rs`.

use std::num::NonZeroU64;

use almadia::{
    Bytes, ConfState, Entries, HardState, LogId, LogIndex, Membership, MembershipChange, Message,
    MessageKind, NodeId, Proposal, Purpose, ReadState, Ready, RoleKind, Snapshot, SnapshotStatus,
    StepError, StorageError, Term, TransferOutcome, Window,
};

use crate::disk::Write;
use crate::embedder::Store;
#[cfg(feature = "raft-rs")]
use crate::raft_rs::RaftRs;
use crate::recorder::Recorded;
use crate::trace::Look;
use crate::unreliable::Unreliable;

/// Which implementation a machine runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// This workspace's core.
    #[default]
    Almadia,
    /// raft-rs 0.7.0, if this crate was built with the feature `raft-rs`.
    RaftRs(Embedding),
}

impl Kind {
    /// What is not of this kind, embedded like this if it is raft-rs.
    pub(crate) const fn other(self, embedding: Embedding) -> Self {
        match self {
            Self::Almadia => Self::RaftRs(embedding),
            Self::RaftRs(_) => Self::Almadia,
        }
    }
}

/// How a raft-rs node is embedded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Embedding {
    /// By somebody who knows what breaks it, and goes around that.
    #[default]
    Careful,
    /// By somebody who relies on its documentation.
    Trusting,
}

/// A node, and what a call on it may be.
#[derive(Debug)]
pub(crate) enum Node<S: Store> {
    Almadia(Box<Recorded<Unreliable<S>>>),
    #[cfg(feature = "raft-rs")]
    RaftRs(Box<RaftRs<S>>),
}

/// What a node wants done: the public parts of a [`Ready`], which nobody but the core can make.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) number: u64,
    pub(crate) messages: Vec<Message>,
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) entries: Vec<Entries>,
    pub(crate) hard_state: Option<HardState>,
    pub(crate) must_sync: bool,
    pub(crate) messages_after_persist: Vec<Message>,
    pub(crate) committed_entries: Vec<Entries>,
    pub(crate) read_states: Vec<ReadState>,
    pub(crate) transfer_outcomes: Vec<TransferOutcome>,
    pub(crate) applies_to: Option<LogIndex>,
    /// What almadia wants back.
    pub(crate) ready: Option<Box<Ready>>,
}

impl From<Box<Ready>> for Batch {
    fn from(mut ready: Box<Ready>) -> Self {
        use std::mem::take;
        Self {
            number: ready.number,
            messages: take(&mut ready.messages),
            snapshot: ready.snapshot.take().map(|snapshot| *snapshot),
            entries: take(&mut ready.entries),
            hard_state: ready.hard_state,
            must_sync: ready.must_sync,
            messages_after_persist: take(&mut ready.messages_after_persist),
            committed_entries: take(&mut ready.committed_entries),
            read_states: take(&mut ready.read_states),
            transfer_outcomes: take(&mut ready.transfer_outcomes),
            applies_to: ready.applies_to(),
            ready: Some(ready),
        }
    }
}

/// Why a node has not taken a message.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: String,
    /// Whether a node of a correct cluster may refuse for this reason.
    pub(crate) is_expected: bool,
    /// Whether it may for this reason only if the sender is no member.
    pub(crate) is_for_strangers: bool,
    /// Whether a question has come back to the node that has asked it.
    pub(crate) is_relayed: bool,
    /// Whether the node has stopped.
    pub(crate) has_halted: bool,
    /// What the sender should hear.
    pub(crate) reply: Option<Box<Message>>,
}

impl Refusal {
    fn of(kind: MessageKind, error: StepError) -> Self {
        let is_question = matches!(
            kind,
            MessageKind::Propose | MessageKind::ReadIndex | MessageKind::TransferLeader
        );
        let is_expected = matches!(
            error,
            StepError::NotAMember { .. }
                | StepError::Propose(_)
                | StepError::Read(_)
                | StepError::Transfer(_)
        );
        let is_for_strangers = matches!(error, StepError::NotAMember { .. });
        let has_halted = matches!(error, StepError::Halted(_));
        Self {
            error: if let StepError::Halted(halted) = &error {
                halted.to_string()
            } else {
                error.to_string()
            },
            is_expected,
            is_for_strangers,
            is_relayed: is_question && error == StepError::FromThisNode,
            has_halted,
            reply: error.into_reply().map(Box::new),
        }
    }
}

/// The same call on a node of either kind.
macro_rules! on {
    ($self:expr, $node:ident => $call:expr) => {
        on!($self, $node => $call, $node => $call)
    };
    ($self:expr, $almadia:ident => $call:expr, $raft_rs:ident => $other:expr) => {
        match $self {
            Node::Almadia($almadia) => $call,
            #[cfg(feature = "raft-rs")]
            Node::RaftRs($raft_rs) => $other,
        }
    };
}

fn text<T>(result: Result<T, impl ToString>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

// --- Inputs ---

impl<S: Store> Node<S> {
    pub(crate) fn tick(&mut self) -> Result<(), String> {
        on!(self, node => text(node.tick()), node => {
            node.tick();
            Ok(())
        })
    }

    /// So many ticks at once, which must do what as many single ones do. Those are tried out on a
    /// clone; `forget` takes back what it tells. Returns whether both have come to the same.
    pub(crate) fn tick_many(
        &mut self,
        ticks: u32,
        forget: impl FnOnce(),
    ) -> (Result<(), String>, bool) {
        match self {
            Self::Almadia(node) => {
                let mut twin = (***node).clone();
                let twin_result = (0..ticks).try_for_each(|_| twin.tick_in_full());
                forget();
                let result = node.tick_many(ticks);
                let is_same = ***node == twin && result == twin_result;
                (text(result), is_same)
            }
            // It has no such call, and cannot be cloned.
            #[cfg(feature = "raft-rs")]
            Self::RaftRs(node) => {
                (0..ticks).for_each(|_| node.tick());
                (Ok(()), true)
            }
        }
    }

    pub(crate) fn step(&mut self, message: Message) -> Result<(), Refusal> {
        let (kind, from) = (message.body.kind(), message.from);
        let result = on!(
            self,
            node => node.step(message).map_err(|error| Refusal::of(kind, error)),
            node => node.step(&message)
        );
        result.map_err(|refusal| {
            let is_stranger = !self.membership().contains(from);
            let is_expected = refusal.is_expected && (is_stranger || !refusal.is_for_strangers);
            Refusal {
                is_expected,
                ..refusal
            }
        })
    }

    pub(crate) fn propose(
        &mut self,
        context: impl Into<Bytes>,
        data: impl Into<Bytes>,
    ) -> Option<LogId> {
        on!(self, node => node.propose(context, data).ok(), node => {
            node.propose(&context.into(), &data.into())
        })
    }

    /// Whether a follower passes proposals on to its leader by itself. almadia leaves that to the
    /// embedder.
    pub(crate) const fn forwards(&self) -> bool {
        on!(self, _node => false, _node => true)
    }

    /// Lets it do so.
    pub(crate) fn forward(&mut self, proposals: &[Proposal]) {
        let _ = proposals;
        on!(self, _node => {}, node => node.forward(proposals));
    }

    pub(crate) fn propose_conf_change(&mut self, change: &MembershipChange) -> Option<LogId> {
        on!(
            self,
            node => node.propose_conf_change("", change.clone()).ok(),
            node => node.propose_conf_change(change)
        )
    }

    /// The entry at `index` changes the membership, which is `before` where it is applied.
    pub(crate) fn apply_conf_change(
        &mut self,
        change: &MembershipChange,
        index: LogIndex,
        before: &ConfState,
    ) -> Result<ConfState, String> {
        let _ = (index, before);
        on!(
            self,
            node => text(node.apply_conf_change(change)),
            node => node.apply_conf_change(change, index, before)
        )
    }

    pub(crate) fn campaign(&mut self) -> bool {
        on!(self, node => node.campaign().is_ok(), node => node.campaign())
    }

    pub(crate) fn read_index(&mut self, context: Bytes) -> bool {
        on!(self, node => node.read_index(context).is_ok(), node => node.read_index(&context))
    }

    /// raft-rs answers every read by its lease or none.
    pub(crate) fn lease_read(&mut self, context: Bytes) -> bool {
        on!(self, node => node.lease_read(context).is_ok(), node => node.read_index(&context))
    }

    pub(crate) fn transfer_leader(&mut self, transferee: NodeId) -> bool {
        on!(
            self,
            node => node.transfer_leader(transferee).is_ok(),
            node => node.transfer_leader(transferee)
        )
    }

    /// raft-rs cannot be told.
    pub(crate) fn forget_leader(&mut self) {
        on!(self, node => drop(node.forget_leader()), _node => {});
    }

    pub(crate) fn ping(&mut self) {
        on!(self, node => node.ping());
    }

    pub(crate) fn request_snapshot(&mut self) -> bool {
        on!(self, node => node.request_snapshot().is_ok(), node => node.request_snapshot())
    }

    pub(crate) fn on_entries_fetched(&mut self, purpose: Purpose) {
        on!(self, node => node.on_entries_fetched(purpose), node => node.on_entries_fetched());
    }

    /// raft-rs limits messages only, and panics if less than is on its way is allowed.
    pub(crate) fn set_window(&mut self, peer: NodeId, window: Option<Window>) {
        on!(self, node => drop(node.set_window(peer, window)), _node => {});
    }

    pub(crate) fn set_group_commit(&mut self, in_force: bool) {
        on!(self, node => node.set_group_commit(in_force));
    }

    pub(crate) fn assign_commit_group(&mut self, member: NodeId, group: Option<NonZeroU64>) {
        on!(self, node => node.assign_commit_group(member, group));
    }

    pub(crate) fn set_priority(&mut self, priority: i64) {
        on!(self, node => node.set_priority(priority));
    }

    pub(crate) fn set_skip_commit_broadcast(&mut self, skip: bool) {
        on!(self, node => node.set_skip_commit_broadcast(skip));
    }

    pub(crate) fn report_unreachable(&mut self, peer: NodeId) {
        on!(self, node => node.report_unreachable(peer));
    }

    pub(crate) fn report_snapshot(&mut self, peer: NodeId, status: SnapshotStatus) {
        on!(self, node => node.report_snapshot(peer, status));
    }
}

// --- Output ---

impl<S: Store> Node<S> {
    pub(crate) fn has_ready(&self) -> bool {
        on!(self, node => node.has_ready())
    }

    pub(crate) fn ready(&mut self) -> Result<Option<Batch>, String> {
        on!(self, node => text(node.ready()).map(|ready| ready.map(Batch::from)), node => node.ready())
    }

    /// A write is durable, and the node's storage is to show it. raft-rs has to see there what it
    /// has handed out, from then on.
    pub(crate) fn make_readable(&mut self, write: &Write) -> Result<(), String> {
        on!(self, node => {
            let store = node.storage_mut().inner_mut();
            let result = write.write_log(store);
            if let Some(hard_state) = write.hard_state {
                store.set_hard_state(hard_state);
            }
            text(result)
        }, _node => Ok(()))
    }

    pub(crate) fn advance(&mut self, batch: Batch) -> Result<(), String> {
        on!(
            self,
            node => batch.ready.map_or(Ok(()), |ready| text(node.advance(ready))),
            node => {
                node.persisted(batch.number);
                batch.applies_to.into_iter().for_each(|index| node.applied(index));
                Ok(())
            }
        )
    }

    pub(crate) fn persisted(&mut self, number: u64) -> Result<(), String> {
        on!(self, node => text(node.persisted(number)), node => {
            node.persisted(number);
            Ok(())
        })
    }

    pub(crate) fn applied(&mut self, index: LogIndex) -> Result<(), String> {
        on!(self, node => text(node.applied(index)), node => {
            node.applied(index);
            Ok(())
        })
    }
}

// --- Questions ---

impl<S: Store> Node<S> {
    /// The node, if it is almadia's.
    pub(crate) fn as_almadia(&self) -> Option<&Recorded<Unreliable<S>>> {
        on!(self, node => Some(&**node), _node => None)
    }

    /// The same, to keep.
    pub(crate) fn into_almadia(self) -> Option<Recorded<Unreliable<S>>> {
        on!(self, node => Some(*node), _node => None)
    }

    pub(crate) fn id(&self) -> NodeId {
        on!(self, node => node.id())
    }

    pub(crate) fn role(&self) -> RoleKind {
        on!(self, node => node.role())
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        on!(self, node => node.leader())
    }

    pub(crate) fn current_term(&self) -> Term {
        on!(self, node => node.current_term())
    }

    pub(crate) fn commit_index(&self) -> LogIndex {
        on!(self, node => node.commit_index())
    }

    pub(crate) fn last_applied(&self) -> LogIndex {
        on!(self, node => node.last_applied())
    }

    pub(crate) fn last_log(&self) -> LogId {
        on!(self, node => node.last_log())
    }

    pub(crate) fn membership(&self) -> &Membership {
        on!(self, node => node.membership())
    }

    /// What a picture of the run shows of it.
    pub(crate) fn look(&self) -> Look {
        on!(self, node => Look::from(&node.basic_status()), node => node.look())
    }

    /// All that it tells of itself.
    pub(crate) fn description(&self) -> String {
        on!(self, node => format!("{:?}", node.status()), node => format!("{node:?}"))
    }

    /// How many ends of transfers it has still to tell. raft-rs tells none.
    pub(crate) fn untold_transfers(&self) -> usize {
        on!(self, node => {
            let untold = (***node).clone().ready().ok().flatten();
            untold.map_or(0, |ready| ready.transfer_outcomes.len())
        }, _node => 0)
    }

    /// Whether it has stopped because its storage could not be read.
    pub(crate) fn has_halted(&self) -> bool {
        let halted = on!(self, node => node.halted(), _node => None);
        halted.is_some_and(|halted| matches!(halted.error, StorageError::Other(_)))
    }

    /// How far its log may be compacted, as far as that is for it to say: raft-rs reads again what
    /// it does not know to be applied, before it stands for election.
    pub(crate) fn compacts_to(&self) -> LogIndex {
        on!(self, _node => LogIndex::MAX, node => node.last_applied())
    }

    pub(crate) fn storage(&self) -> &Unreliable<S> {
        on!(self, node => node.storage())
    }

    pub(crate) fn store_mut(&mut self) -> &mut S {
        on!(self, node => node.storage_mut().inner_mut())
    }
}
