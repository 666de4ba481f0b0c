//! The limits of leaders: how much is on its way to each peer, and how much is uncommitted.
//!
//! Owns counts of its own, made of what was sent and proposed and of what is known to have arrived.
//! Must not ask the node how full it takes its windows to be; that may be what is wrong.

use std::collections::BTreeMap;

use almadia::{Body, LogId, LogIndex, Message, NodeId, ProgressState, Storage, Term, Window};

use crate::recorder::Recorded;
use crate::violation::ViolationKind;

/// One append that carried entries.
#[derive(Clone, Copy, Debug)]
struct Sent {
    last: LogIndex,
    bytes: u64,
}

/// What one node has sent as the leader of one term.
#[derive(Clone, Debug, Default)]
pub(super) struct Windows {
    term: Term,
    /// The appends to each peer that may be on their way, oldest first.
    sent: BTreeMap<NodeId, Vec<Sent>>,
    /// Proposals that were taken, and their bytes, oldest first.
    taken: Vec<(LogId, u64)>,
}

impl Windows {
    /// A message leaves this node, which has made it in its present state.
    pub(super) fn on_send<S: Storage>(
        &mut self,
        node: &Recorded<S>,
        message: &Message,
    ) -> Result<(), ViolationKind> {
        let Body::AppendEntries(append) = &message.body else {
            return Ok(());
        };
        let Some(last) = append.entries.last_id() else {
            return Ok(());
        };
        if self.term != message.term {
            self.term = message.term;
            self.sent.clear();
        }
        let progress = node.progress(message.to);
        // Only a peer that takes one append after the other has a window.
        let Some(progress) =
            progress.filter(|it| matches!(it.state(), ProgressState::Replicate { .. }))
        else {
            self.sent.remove(&message.to);
            return Ok(());
        };
        let sent = self.sent.entry(message.to).or_default();
        // What is sent once more was given up before, and all behind it.
        let before = append.prev_log.index;
        sent.retain(|it| it.last > progress.match_index() && it.last <= before);
        let allowed = progress.window(node.config());
        let bytes: u64 = sent.iter().map(|it| it.bytes).sum();
        // A single message always fits, and the last one may be too large by part of an entry.
        let is_full = sent.len() >= allowed.messages || bytes >= allowed.bytes;
        if !sent.is_empty() && is_full {
            return Err(exceeded(
                message,
                sent,
                append.entries.size_bytes(),
                allowed,
            ));
        }
        sent.push(Sent {
            last: last.index,
            bytes: append.entries.size_bytes(),
        });
        Ok(())
    }

    /// This node has taken a proposal of so many bytes when it had committed up to there. One
    /// always fits where nothing is uncommitted.
    pub(super) fn on_proposal<S: Storage>(
        &mut self,
        node: &Recorded<S>,
        id: LogId,
        bytes: u64,
        committed: LogIndex,
    ) -> Result<(), ViolationKind> {
        let is_uncommitted = |it: &LogId| it.term == id.term && it.index > committed;
        self.taken.retain(|(taken, _)| is_uncommitted(taken));
        let is_alone = self.taken.is_empty();
        self.taken.push((id, bytes));
        let sum = self.taken.iter().map(|(_, bytes)| bytes).sum();
        let allowed = node.config().max_uncommitted_bytes();
        if is_alone || sum <= allowed {
            return Ok(());
        }
        Err(ViolationKind::TooManyUncommitted {
            leader: node.id(),
            bytes: sum,
            allowed,
        })
    }
}

fn exceeded(message: &Message, sent: &[Sent], bytes: u64, allowed: Window) -> ViolationKind {
    ViolationKind::WindowExceeded {
        leader: message.from,
        peer: message.to,
        messages: sent.len() + 1,
        bytes: sent.iter().map(|it| it.bytes).sum::<u64>() + bytes,
        allowed,
    }
}
