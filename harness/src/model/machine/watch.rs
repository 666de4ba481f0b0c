//! What one call may do to a node, and what a leader may not leave undone.
//!
//! Owns the promises that show in one node alone: what only grows, that a vote is given once, that
//! what is known of a peer is not forgotten, that whatever can be done is done. Must not know what
//! was called, nor the other machines.

use almadia::{LogIndex, MemStorage, NodeId, RawNode, RoleKind, Term};

use super::Machine;
use crate::model::history::has_quorum;
use crate::violation::ViolationKind;

type Checked = Result<(), ViolationKind>;

/// What a call may only raise, and the vote, which it may only give once.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) term: Term,
    pub(super) commit: LogIndex,
    pub(super) leads: bool,
    applied: LogIndex,
    vote: Option<NodeId>,
}

impl Seen {
    pub(super) fn of(node: &RawNode<MemStorage>) -> Self {
        Self {
            term: node.current_term(),
            commit: node.commit_index(),
            leads: node.role() == RoleKind::Leader,
            applied: node.last_applied(),
            vote: node.hard_state().voted_for,
        }
    }

    /// Compares what was seen before a call with what is seen after it.
    pub(super) fn check(&self, after: &Self, node: NodeId) -> Checked {
        let numbers = [
            ("current term", self.term.0, after.term.0),
            ("commit index", self.commit.0, after.commit.0),
            ("last applied", self.applied.0, after.applied.0),
        ];
        for (what, before, after) in numbers {
            check_grows(node, what, before, after)?;
        }
        match (self.vote, after.vote) {
            (Some(first), second) if self.term == after.term && second != Some(first) => {
                Err(match second {
                    Some(second) => ViolationKind::VotedTwice {
                        voter: node,
                        term: after.term,
                        first,
                        second,
                    },
                    None => ViolationKind::WentBack {
                        node,
                        what: "vote within the term",
                        before: first.get(),
                        after: 0,
                    },
                })
            }
            (Some(_) | None, _) => Ok(()),
        }
    }
}

fn check_grows(node: NodeId, what: &'static str, before: u64, after: u64) -> Checked {
    if after < before {
        return Err(ViolationKind::WentBack {
            node,
            what,
            before,
            after,
        });
    }
    Ok(())
}

/// A leader does not forget what a peer has acknowledged, while it leads and knows the peer.
pub(super) fn check_matches(
    leader: NodeId,
    before: &[(NodeId, LogIndex)],
    after: &Machine,
) -> Checked {
    let Some(node) = after.node().filter(|_| after.leads()) else {
        return Ok(());
    };
    for &(peer, before) in before {
        if let Some(progress) = node.progress(peer) {
            let after = progress.match_index();
            check_grows(leader, "match index of a peer", before.0, after.0)?;
        }
    }
    Ok(())
}

/// A leader commits whatever a quorum has told it to be durable, and leaves a joint configuration
/// that asks for it. Without this, a cluster that stands still would break no promise.
pub(super) fn check_diligence(machine: &Machine) -> Checked {
    let Some(node) = machine.node().filter(|_| machine.leads()) else {
        return Ok(());
    };
    let status = node.basic_status();
    let omitted = |what| ViolationKind::Omitted {
        leader: machine.id,
        what,
    };
    let membership = node.membership();
    for place in machine.log.iter().rev() {
        if place.id.term < status.current_term || place.id.index <= status.commit_index {
            break;
        }
        let has_acknowledged = |voter| {
            let acknowledged = if voter == machine.id {
                status.persisted_index
            } else {
                let progress = node.progress(voter);
                progress.map_or(LogIndex::ZERO, almadia::Progress::match_index)
            };
            acknowledged >= place.id.index
        };
        if has_quorum(membership, has_acknowledged) {
            return Err(omitted(format!("commit {}", place.id)));
        }
    }
    let rests = status.last_applied == status.last_log.index && status.transferee.is_none();
    if rests && membership.is_joint() && membership.auto_leave() {
        return Err(omitted("leave the joint configuration".into()));
    }
    Ok(())
}
