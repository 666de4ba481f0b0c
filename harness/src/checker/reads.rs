//! The promise of linearizable reads (Thesis 6.4): who asks learns of everything that was committed
//! before, and every question ends.
//!
//! Owns the reads that wait for their end on each node. Must not know whether a leader answers them
//! by a round of messages or by its lease; the promise is the same.
//!
//! An answer is matched to a question by its context. Where several questions with one context
//! wait, the answer is taken for the latest question that it satisfies, because the others are
//! easier to satisfy later. So no correct node is ever accused; where contexts are unique, no
//! stale answer is missed either.

use almadia::{Bytes, LogIndex, NodeId, ReadState};

use super::Checked;
use crate::node::Batch;
use crate::violation::ViolationKind;

/// A read that waits for its end.
#[derive(Clone, Debug)]
struct Question {
    context: Bytes,
    /// What some leader had committed when it was asked.
    committed: LogIndex,
    /// Whether it may be answered by a lease, and no `Ready` was handed out since.
    is_fresh_lease_read: bool,
}

/// The reads of one node that wait, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    waiting: Vec<Question>,
    /// Whether the node may drop a read without a word, and answer one twice. Whoever asks it gives
    /// up when asking again by the same context, and does not mind an answer to no question.
    is_silent: bool,
}

/// How reads have ended, over all nodes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReadCounts {
    pub(super) answered: u64,
    pub(super) dropped: u64,
    /// Answered by the `Ready` that followed the question, without any message in between.
    pub(super) by_lease: u64,
}

impl Reads {
    /// Those of a node that tells every end, or of one that is silent.
    pub(super) const fn new(is_silent: bool) -> Self {
        Self {
            waiting: Vec::new(),
            is_silent,
        }
    }

    /// A read is asked for, when `committed` is the last index that any leader has committed.
    pub(super) fn asked(&mut self, context: Bytes, committed: LogIndex, may_use_lease: bool) {
        if self.is_silent {
            self.waiting.retain(|question| question.context != context);
        }
        self.waiting.push(Question {
            context,
            committed,
            is_fresh_lease_read: may_use_lease,
        });
    }

    /// The last read was not taken.
    pub(super) fn refused(&mut self) {
        self.waiting.pop();
    }

    pub(super) fn on_ready(
        &mut self,
        node: NodeId,
        batch: &Batch,
        counts: &mut ReadCounts,
    ) -> Checked {
        for state in &batch.read_states {
            self.end(node, state, counts)?;
        }
        for question in &mut self.waiting {
            question.is_fresh_lease_read = false;
        }
        Ok(())
    }

    fn end(&mut self, node: NodeId, state: &ReadState, counts: &mut ReadCounts) -> Checked {
        let is_asked = |question: &Question| question.context == state.context;
        let Some(oldest) = self.waiting.iter().find(|question| is_asked(question)) else {
            if self.is_silent {
                return Ok(());
            }
            let what = format!("the read {:?}", state.context);
            return Err(ViolationKind::EndedTwice { node, what });
        };
        let committed = oldest.committed;
        // A read that is dropped satisfies none, and may be any.
        let reaches = state.outcome.unwrap_or(LogIndex(u64::MAX));
        let position = self
            .waiting
            .iter()
            .rposition(|question| is_asked(question) && question.committed <= reaches);
        match (state.outcome, position) {
            (Ok(read_index), None) => {
                return Err(ViolationKind::StaleRead {
                    node,
                    read_index,
                    committed,
                });
            }
            (Ok(_), Some(position)) => {
                counts.answered += 1;
                let question = self.waiting.remove(position);
                counts.by_lease += u64::from(question.is_fresh_lease_read);
            }
            (Err(_), position) => {
                counts.dropped += 1;
                position.map(|position| self.waiting.remove(position));
            }
        }
        Ok(())
    }

    /// What waits still.
    pub(super) fn without_end(&self) -> Option<String> {
        let question = self.waiting.first().filter(|_| !self.is_silent)?;
        Some(format!("the read {:?}", question.context))
    }
}
