//! What users ask of a node: reads, transfers, snapshots.
//!
//! Owns the telling of the checkers before each question, so that they know what its answer must
//! be worth. Must not judge the answers.

use almadia::{Bytes, NodeId};

use super::Cluster;
use crate::embedder::{Embedder, Machine};
use crate::trace::What;

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
                node.lease_read(context).is_ok()
            } else {
                node.read_index(context).is_ok()
            }
        });
        if taken != Some(true) {
            self.checker.read_refused(at);
            let text = "the read is refused".into();
            self.tell(at, || What::Read { text });
        }
    }

    /// Asks for a write. Nothing happens if the node is down or busy.
    pub(crate) fn write_at(&mut self, at: usize, number: u64, padding: usize) {
        let (context, data) = E::Machine::command(number, padding);
        self.checker.before_write(number);
        let taken = self.call(at, |node| node.propose(context, data).ok());
        if let Some(id) = taken.flatten() {
            self.checker.on_write(at, id, number);
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
        let untold = (**node).clone().ready().ok().flatten();
        // What the clone has told did not happen.
        self.hosts[at].tap.forget();
        let untold = untold.map_or(0, |ready| ready.transfer_outcomes.len());
        self.tell(at, || What::Note {
            text: format!("is asked that node {transferee} lead"),
        });
        let taken = self.call(at, |node| node.transfer_leader(transferee).is_ok());
        if taken == Some(true) {
            self.checker.on_transfer(at, transferee, term, untold);
        }
    }

    /// Lets a follower ask for a snapshot.
    pub(crate) fn request_snapshot_at(&mut self, at: usize) {
        let taken = self.call(at, |node| node.request_snapshot().is_ok());
        self.stats.snapshot_requests += u64::from(taken == Some(true));
    }
}
