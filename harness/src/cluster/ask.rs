//! What users and operators ask of a node: writes, reads, transfers, changes, snapshots.
//!
//! Owns the telling of the checkers before each question, so that they know what its answer must
//! be worth. Must not judge the answers.

use std::num::NonZeroU64;

use almadia::{Body, Bytes, LogId, MembershipChange, Message, NodeId, Payload, Proposal, Term};

use super::Cluster;
use crate::embedder::{Embedder, Machine};
use crate::host::{Groups, Host};
use crate::node::{Embedding, Kind, Node};
use crate::trace::What;
use crate::violation::ViolationKind;

impl<E: Embedder> Cluster<E> {
    /// Asks for a read. Nothing happens if the node is down or busy.
    pub(crate) fn read_at(&mut self, at: usize, context: Bytes, by_lease: bool) {
        if self.hosts[at].busy.is_some() {
            return;
        }
        self.settle_clock(at);
        self.checker.before_read(at, context.clone(), by_lease);
        self.tell_read(at, &context, by_lease);
        let taken = self.call(at, |node| {
            if by_lease {
                node.lease_read(context)
            } else {
                node.read_index(context)
            }
        });
        if taken != Some(true) {
            self.checker.read_refused(at);
            let text = "the read is refused".into();
            self.tell(at, || What::Read { text });
        }
    }

    /// Asks for a write. Returns its place in the log; `None` if it was not taken, as it is not if
    /// the node is down or busy.
    pub(crate) fn write_at(&mut self, at: usize, number: u64, padding: usize) -> Option<LogId> {
        let (context, data) = E::Machine::command(number, padding);
        let bytes = Proposal {
            payload: Payload::Data(data.clone()),
            context: context.clone(),
        }
        .size_bytes();
        self.checker.before_write(number);
        let taken = self.call(at, |node| {
            let committed = node.commit_index();
            node.propose(context, data).map(|id| (id, committed))
        });
        let Some((id, committed)) = taken.flatten() else {
            self.checker.write_refused(number);
            return None;
        };
        self.checker.on_write(at, id, number);
        let host = &self.hosts[at];
        let checked = self.checker.on_proposal(host, at, (id, bytes), committed);
        self.check(checked);
        Some(id)
    }

    /// Lets a node pass writes on to the leader that it knows. Nothing happens if it knows none, or
    /// leads itself.
    pub(crate) fn forward_at(&mut self, at: usize, number: u64, count: u64, padding: usize) {
        let host = &self.hosts[at];
        let node = host.node.as_ref().filter(|_| host.busy.is_none());
        let leader = node.and_then(|node| node.leader());
        let Some(to) = leader.filter(|&leader| leader != host.id) else {
            return;
        };
        let checker = &mut self.checker;
        let proposals = (number..number + count).map(|number| {
            checker.before_write(number);
            let (context, data) = E::Machine::command(number, padding);
            let payload = Payload::Data(data);
            Proposal { payload, context }
        });
        let proposals: Vec<Proposal> = proposals.collect();
        if node.is_some_and(Node::forwards) {
            self.call(at, |node| node.forward(&proposals));
            return;
        }
        let body = Body::Propose(proposals);
        let message = Message {
            from: host.id,
            to,
            // Forwarded proposals belong to no term.
            term: Term::ZERO,
            body,
        };
        self.post(message);
    }

    /// Asks for a membership change. One that is refused must leave no trace in the log.
    pub(crate) fn change_at(&mut self, at: usize, change: MembershipChange) {
        if !self.bears(at, &change) {
            return;
        }
        let taken = self.call(at, |node| {
            let before = node.last_log();
            let taken = node.propose_conf_change(&change).is_some();
            (before, taken, node.last_log())
        });
        let Some((before, taken, after)) = taken else {
            return;
        };
        if taken {
            let kind = self.hosts[at].kind;
            self.stats.mixed.changes.count(kind);
        }
        if !taken && before != after {
            let node = self.hosts[at].id;
            self.check(Err(ViolationKind::RefusedButTaken { node, entry: after }));
        }
    }

    /// Whether the cluster may make this change. A single voter of raft-rs leads before its own vote
    /// is durable, so nobody makes one who knows that.
    fn bears(&self, at: usize, change: &MembershipChange) -> bool {
        let is_trusting = |host: &Host<E>| host.kind == Kind::RaftRs(Embedding::Trusting);
        if !self.talks_in_bytes() || self.hosts.iter().any(is_trusting) {
            return true;
        }
        let node = self.hosts[at].node.as_ref();
        let next = node.and_then(|node| node.membership().changed(change).ok());
        next.is_none_or(|next| next.incoming().len() > 1)
    }

    /// Puts group commit into force on one node, or out of it.
    pub(crate) fn set_group_commit_at(&mut self, at: usize, in_force: bool) {
        self.regroup_at(at, |groups| groups.in_force = in_force);
        self.call(at, |node| node.set_group_commit(in_force));
    }

    /// Tells one node of which group a member is; zero is none.
    pub(crate) fn assign_group_at(&mut self, at: usize, member: NodeId, group: u64) {
        self.regroup_at(at, |groups| groups.assign(member, group));
        self.call(at, |node| {
            node.assign_commit_group(member, NonZeroU64::new(group));
        });
    }

    /// Notes what a node is about to be told of groups, if it can be told anything. First, because
    /// entries may commit by it.
    fn regroup_at(&mut self, at: usize, change: impl FnOnce(&mut Groups)) {
        let host = &mut self.hosts[at];
        if host.node.is_some() && host.busy.is_none() {
            self.settle_clock(at);
            change(&mut self.hosts[at].groups);
        }
    }

    /// Asks for a leader. Nothing happens if the node is down or busy.
    pub(crate) fn transfer_at(&mut self, at: usize, transferee: NodeId) {
        if self.hosts[at].busy.is_some() {
            return;
        }
        self.settle_clock(at);
        let Some(node) = &self.hosts[at].node else {
            return;
        };
        let term = node.current_term();
        let untold = node.untold_transfers();
        // What the clone has told did not happen.
        self.hosts[at].tap.forget();
        self.tell(at, || What::Note {
            text: format!("is asked that node {transferee} lead"),
        });
        let taken = self.call(at, |node| node.transfer_leader(transferee));
        if taken == Some(true) {
            self.checker.on_transfer(at, transferee, term, untold);
        }
    }

    /// Lets a follower ask for a snapshot.
    pub(crate) fn request_snapshot_at(&mut self, at: usize) {
        let taken = self.call(at, Node::request_snapshot);
        self.stats.snapshot_requests += u64::from(taken == Some(true));
    }
}
