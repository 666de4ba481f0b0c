//! The clients of each node: what they wait for, and what they learn.
//!
//! Owns the matching of answers to questions, from which the history of reads and writes is made.
//! Must not know whether it is possible; `history.rs` judges that.
//!
//! A client writes at one node and learns of the end when that node applies the entry; it reads at
//! one node, waits until the index it was given is applied there, and reads the state machine. When
//! the node stops, nobody learns anything any more.

use std::collections::BTreeMap;

use almadia::{Bytes, LogId, LogIndex, ReadState};

use super::history::{History, Impossible, Moment, register_of};
use crate::embedder::Machine;
use crate::node::Batch;
use crate::state_machine::StateMachine;

/// A read that has its index, and waits until that is applied.
#[derive(Clone, Copy, Debug)]
struct Indexed {
    read_index: LogIndex,
    register: usize,
    began: Moment,
}

/// A read that has no index yet.
#[derive(Clone, Debug)]
struct Asked {
    context: Bytes,
    began: Moment,
    /// Whether no other read with its context waited at the same time: then its answer is known.
    is_alone: bool,
}

/// The clients of one node.
#[derive(Clone, Debug, Default)]
struct AtNode {
    writes: BTreeMap<LogId, u64>,
    /// Reads without an index, oldest first.
    asked: Vec<Asked>,
    indexed: Vec<Indexed>,
    is_silent: bool,
}

/// All clients, and what they have seen.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    nodes: Vec<AtNode>,
    history: History,
}

impl Clients {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            nodes: vec![AtNode::default(); nodes],
            history: History::default(),
        }
    }

    /// The node stops, and starts without memory of anybody. If it is silent it may drop a read
    /// without a word, and who asks again by the same context has given up.
    pub(super) fn forget(&mut self, at: usize, is_silent: bool) {
        self.nodes[at] = AtNode {
            is_silent,
            ..AtNode::default()
        };
    }

    pub(super) fn write_begins(&mut self, value: u64) {
        self.history.write_begins(value);
    }

    /// The write of this value was not taken.
    pub(super) fn write_refused(&mut self, value: u64) {
        self.history.write_refused(value);
    }

    /// The write of this value was taken, and has this place in the log.
    pub(super) fn write_taken(&mut self, at: usize, id: LogId, value: u64) {
        self.nodes[at].writes.insert(id, value);
    }

    /// The node has applied this entry.
    pub(super) fn applied(&mut self, at: usize, id: LogId) {
        if let Some(value) = self.nodes[at].writes.remove(&id) {
            self.history.write_ends(value);
        }
    }

    pub(super) fn read_begins(&mut self, at: usize, context: Bytes) {
        let began = self.history.moment();
        let mut is_alone = true;
        if self.nodes[at].is_silent {
            self.nodes[at].asked.retain(|it| it.context != context);
        }
        for other in &mut self.nodes[at].asked {
            if other.context == context {
                other.is_alone = false;
                is_alone = false;
            }
        }
        self.nodes[at].asked.push(Asked {
            context,
            began,
            is_alone,
        });
    }

    /// The last read was not taken.
    pub(super) fn read_refused(&mut self, at: usize) {
        self.nodes[at].asked.pop();
    }

    /// Answers may have come.
    pub(super) fn on_ready(&mut self, at: usize, batch: &Batch) {
        for ReadState { context, outcome } in &batch.read_states {
            let node = &mut self.nodes[at];
            let is_asked = |asked: &Asked| asked.context == context;
            let Some(position) = node.asked.iter().position(is_asked) else {
                continue;
            };
            let Asked {
                began, is_alone, ..
            } = node.asked.remove(position);
            if !is_alone {
                continue;
            }
            let number = context
                .first_chunk()
                .map(|bytes| u64::from_be_bytes(*bytes));
            if let (Ok(read_index), Some(number)) = (*outcome, number) {
                node.indexed.push(Indexed {
                    read_index,
                    register: register_of(number),
                    began,
                });
            }
        }
    }

    /// Reads that have waited for what is applied now are answered from the state machine.
    pub(super) fn serve<M: Machine>(
        &mut self,
        at: usize,
        machine: &StateMachine<M>,
    ) -> Result<(), Impossible> {
        let applied = machine.applied_index();
        let node = &mut self.nodes[at];
        let (due, waiting) = node
            .indexed
            .drain(..)
            .partition(|read| read.read_index <= applied);
        node.indexed = waiting;
        let due: Vec<Indexed> = due;
        due.iter().try_for_each(|read| {
            let Some(value) = machine.machine().register(read.register) else {
                return Ok(());
            };
            self.history.read(read.register, read.began, value)
        })
    }

    pub(super) fn check(&self) -> Result<(), Impossible> {
        self.history.check()
    }
}
