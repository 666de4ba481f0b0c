//! The promise of leader transfers (Thesis 3.10): each one that is taken tells how it ended, and
//! does not claim a success that was none.
//!
//! Owns the transfers that were asked for on each node. Must not know how one is carried out.
//!
//! Several requests for one node in one term may be told one end or several: the node may not have
//! noticed yet, when it is asked again, that the first one has ended. So an end ends all of them,
//! and what has ended is remembered until no `Ready` waits that could tell of it.

use almadia::{NodeId, Ready, Term, TransferOutcome};

use super::Checked;
use crate::violation::ViolationKind;

/// A transfer that was taken.
#[derive(Clone, Copy, Debug)]
struct Request {
    transferee: NodeId,
    /// The term of the node when it was asked.
    term: Term,
    has_ended: bool,
}

/// The transfers that were asked for on one node, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Transfers {
    requests: Vec<Request>,
}

/// How transfers have ended, over all nodes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TransferCounts {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
}

impl Transfers {
    /// A transfer is asked for. `is_quiet` tells that no `Ready` waits.
    pub(super) fn asked(&mut self, transferee: NodeId, term: Term, is_quiet: bool) {
        if is_quiet {
            self.requests.retain(|request| !request.has_ended);
        }
        self.requests.push(Request {
            transferee,
            term,
            has_ended: false,
        });
    }

    /// The last transfer was not taken.
    pub(super) fn refused(&mut self) {
        self.requests.pop();
    }

    /// `led_after` tells whether a node led any term after the given one.
    pub(super) fn on_ready(
        &mut self,
        node: NodeId,
        ready: &Ready,
        led_after: impl Fn(NodeId, Term) -> bool,
        counts: &mut TransferCounts,
    ) -> Checked {
        for &TransferOutcome { transferee, result } in &ready.transfer_outcomes {
            let term = self.end(node, transferee)?;
            if result.is_err() {
                counts.failed += 1;
                continue;
            }
            counts.succeeded += 1;
            if !led_after(transferee, term) {
                return Err(ViolationKind::TransferUntrue {
                    node,
                    transferee,
                    term,
                });
            }
        }
        Ok(())
    }

    /// The oldest transfers to this node have ended. Returns the term in which the oldest was
    /// asked for that may be meant.
    fn end(&mut self, node: NodeId, transferee: NodeId) -> Result<Term, ViolationKind> {
        let is_meant = |request: &Request| request.transferee == transferee;
        let Some(&oldest) = self.requests.iter().find(|request| is_meant(request)) else {
            let what = format!("a transfer to {transferee}");
            return Err(ViolationKind::EndedTwice { node, what });
        };
        let mut meant = self.requests.iter_mut().filter(|request| is_meant(request));
        if let Some(first) = meant.find(|request| !request.has_ended) {
            first.has_ended = true;
            let term = first.term;
            for request in meant.filter(|request| request.term == term) {
                request.has_ended = true;
            }
        }
        Ok(oldest.term)
    }

    /// What has not ended.
    pub(super) fn without_end(&self) -> Option<String> {
        let waiting = self.requests.iter().find(|request| !request.has_ended)?;
        Some(format!("the transfer to {}", waiting.transferee))
    }
}
