//! What must be true of a node whatever it was told: our own promises, checked in release builds
//! too.
//!
//! Owns the assertions that span modules. A node that fails one has a bug, and must stop before it
//! does harm; nothing that a peer, an embedder or a `Storage` does may lead here.

use super::{Raft, Role};
use crate::storage::Storage;

impl<S: Storage> Raft<S> {
    #[inline(always)]
    pub(super) fn check_invariants(&self) {
        let core = &self.core;
        let last = core.log.last();
        assert!(
            core.log.commit_index() <= last.index,
            "the log reaches the commit index"
        );
        assert!(
            last.term <= core.current_term,
            "no entry is of a future term"
        );
        assert!(
            core.durability.log() <= last.index,
            "what is durable is in the log"
        );
        assert!(
            core.log.last_applied() <= core.log.applying(),
            "applied after being handed out"
        );
        match &self.role {
            Role::Follower(follower) => {
                assert!(follower.leader != Some(core.id()), "nobody follows itself");
            }
            Role::PreCandidate(_) => {}
            Role::Candidate(_) => {
                assert!(
                    core.voted_for == Some(core.id()),
                    "a candidate votes for itself"
                );
            }
            Role::Leader(leader) => {
                assert!(
                    core.voted_for == Some(core.id()),
                    "a leader has voted for itself"
                );
                assert!(core.vote_is_durable(), "a leader's own vote is durable");
                assert!(
                    core.election_elapsed < core.config.election_timeout_ticks,
                    "a leader looks for its quorum in time"
                );
                for (_, progress) in &leader.peers {
                    assert!(
                        progress.match_index < progress.next_index,
                        "match is below next"
                    );
                    assert!(
                        progress.match_index <= last.index,
                        "no peer is ahead of the leader"
                    );
                }
            }
        }
    }
}
