//! When a node of an interaction script campaigns by itself.
//!
//! Owns the count of ticks towards the next election, and the timeout that a script has set. Must
//! not know what an election is.
//!
//! The nodes draw their own timeouts from a range so wide that none of them ever passes. What a
//! script wants instead is counted here: ticks, from whenever the node's own clock begins anew.

use almadia::{RawNode, RoleKind, Storage, Term};

/// The shortest election timeout of a node, in ticks.
pub(super) const ELECTION_TICKS: u32 = 3;

/// The longest that etcd/raft would draw. No script depends on one that it has not set.
const LONGEST_TICKS: u32 = 2 * ELECTION_TICKS - 1;

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    elapsed: u32,
    /// What the script has set, until the next change of state.
    timeout: Option<u32>,
    /// What the node was seen to be last, and how many ticks it would wait.
    role: RoleKind,
    term: Term,
    ticks_left: u32,
}

impl Clock {
    pub(super) fn new<S: Storage>(raft: &RawNode<S>) -> Self {
        Self {
            elapsed: 0,
            timeout: None,
            role: raft.role(),
            term: raft.current_term(),
            ticks_left: raft.ticks_until_action(),
        }
    }

    pub(super) fn set_timeout(&mut self, ticks: u32) {
        self.timeout = Some(ticks);
    }

    /// Something was done on the node, and so many ticks have passed on it.
    pub(super) fn observe<S: Storage>(&mut self, raft: &RawNode<S>, ticks: u32) {
        let now = Self::new(raft);
        let goes_on = now.ticks_left == self.ticks_left.saturating_sub(ticks);
        let elapsed = if goes_on { self.elapsed + ticks } else { 0 };
        // A pre-candidate is still in the state in which it was.
        let has_changed =
            now.term != self.term || (now.role != self.role && now.role != RoleKind::PreCandidate);
        let timeout = self.timeout.filter(|_| !has_changed);
        *self = Self {
            elapsed,
            timeout,
            ..now
        };
    }

    /// Whether an election is due. If so, the count begins anew.
    pub(super) fn take_due(&mut self) -> bool {
        let timeout = self.timeout.unwrap_or(LONGEST_TICKS);
        let is_due = self.role != RoleKind::Leader && self.elapsed >= timeout;
        if is_due {
            self.elapsed = 0;
        }
        is_due
    }
}
