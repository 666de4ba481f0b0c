//! What the nodes of both kinds do, and do for each other, in a cluster that has both.
//!
//! Owns the counting. Must not change anything: where it looks, the run goes on as without it.

use std::collections::BTreeMap;

use almadia::{Body, LogIndex, Message, NodeId, Term};

use super::Cluster;
use crate::embedder::Embedder;
use crate::node::Kind;

/// What is on its way from one node to another, and is not counted before it has arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Mixing {
    /// Who has sent each node the snapshot that ends there.
    snapshots: BTreeMap<(NodeId, LogIndex), NodeId>,
    /// Who was told to stand for election, and in which term by whom.
    told_to_stand: BTreeMap<NodeId, (Term, NodeId)>,
}

impl<E: Embedder> Cluster<E> {
    pub(super) fn kind_of(&self, id: NodeId) -> Kind {
        let host = self.hosts.iter().find(|host| host.id == id);
        host.map_or(Kind::Almadia, |host| host.kind)
    }

    fn kinds(&self, from: NodeId, to: NodeId) -> [Kind; 2] {
        [from, to].map(|id| self.kind_of(id))
    }

    /// A node is about to be told this.
    pub(super) fn before_step(&mut self, message: &Message) {
        let &Message { from, to, term, .. } = message;
        match &message.body {
            Body::InstallSnapshot(snapshot) => {
                let place = (to, snapshot.last_included.index);
                self.mixing.snapshots.insert(place, from);
            }
            Body::TimeoutNow => {
                self.mixing.told_to_stand.insert(to, (term, from));
            }
            Body::ReadIndexResponse(_) => {
                let kinds = self.kinds(from, to);
                self.stats.mixed.reads.count(kinds);
            }
            Body::RequestVote(_)
            | Body::RequestVoteResponse(_)
            | Body::PreVote(_)
            | Body::PreVoteResponse(_)
            | Body::AppendEntries(_)
            | Body::AppendEntriesResponse(_)
            | Body::Heartbeat(_)
            | Body::HeartbeatResponse(_)
            | Body::Propose(_)
            | Body::ReadIndex(_)
            | Body::TransferLeader { .. } => {}
        }
    }

    /// A leader has taken what another node has passed on.
    pub(super) fn on_forwarded(&mut self, from: NodeId, to: NodeId, count: u64) {
        self.stats.forwarded += count;
        if count > 0 {
            let kinds = self.kinds(from, to);
            self.stats.mixed.proposals.count(kinds);
        }
    }

    /// A node has restored a snapshot that ends here.
    pub(super) fn on_restored(&mut self, at: usize, index: LogIndex) {
        let to = self.hosts[at].id;
        if let Some(from) = self.mixing.snapshots.remove(&(to, index)) {
            let kinds = self.kinds(from, to);
            self.stats.mixed.snapshots.count(kinds);
        }
    }

    /// A node leads a term that nobody has led before.
    pub(super) fn on_elected(&mut self, at: usize, term: Term) {
        let host = &self.hosts[at];
        let (id, kind) = (host.id, host.kind);
        self.stats.mixed.elections.count(kind);
        let told = self.mixing.told_to_stand.remove(&id);
        if let Some((_, from)) = told.filter(|(before, _)| before.next() == term) {
            let kinds = self.kinds(from, id);
            self.stats.mixed.transfers.count(kinds);
        }
    }
}
