//! The promise of leader transfers (Thesis 3.10): each one that is taken tells how it ended, and
//! does not claim a success that was none.
//!
//! Owns the transfers that were asked for on each node. Must not know how one is carried out.
//!
//! A node waits for one transfer at a time. Whoever asks for the same one again while it waits, in
//! the same term, gets one end for both; anything else ends what was asked for before. So ends are
//! told in the order of the questions.

use std::collections::VecDeque;

use almadia::{NodeId, Term, TransferOutcome};

use super::Checked;
use crate::node::Batch;
use crate::violation::ViolationKind;

/// A transfer that was taken, and whose end was not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    transferee: NodeId,
    /// The term of the node when it was asked.
    term: Term,
}

/// The transfers that were asked for on one node, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Transfers {
    waiting: VecDeque<Request>,
}

/// How transfers have ended, over all nodes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TransferCounts {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
}

impl Transfers {
    /// A transfer was asked for in this term, and taken. `untold` ends were waiting for a `Ready`
    /// to tell them.
    pub(super) fn asked(&mut self, transferee: NodeId, term: Term, untold: usize) {
        let request = Request { transferee, term };
        let awaited = self.waiting.iter().skip(untold).next_back();
        if awaited != Some(&request) {
            self.waiting.push_back(request);
        }
    }

    /// `led_after` tells whether a node led any term after the given one.
    pub(super) fn on_ready(
        &mut self,
        node: NodeId,
        batch: &Batch,
        led_after: impl Fn(NodeId, Term) -> bool,
        counts: &mut TransferCounts,
    ) -> Checked {
        for &TransferOutcome { transferee, result } in &batch.transfer_outcomes {
            let request = self.waiting.pop_front();
            let Some(Request { term, .. }) = request.filter(|it| it.transferee == transferee)
            else {
                let what = format!("a transfer to {transferee}");
                return Err(ViolationKind::EndedTwice { node, what });
            };
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

    /// What has not ended.
    pub(super) fn without_end(&self) -> Option<String> {
        let request = self.waiting.front()?;
        Some(format!("the transfer to {}", request.transferee))
    }
}
