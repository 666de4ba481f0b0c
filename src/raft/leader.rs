//! A leader: takes proposals, counts acknowledgements, commits, and knows when it has lost its
//! quorum.
//!
//! Owns what only a leader has: every peer's progress and the bookkeeping of its proposals. What it
//! sends is in `replication.rs`; membership changes are in `reconfigure.rs`. Dropped as a whole
//! when the node steps down.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Next;
use super::core::Core;
use crate::entry::{Entry, Payload};
use crate::error::{ProposeError, StepError};
use crate::message::{AppendEntriesResponse, Body, HeartbeatResponse, Proposal};
use crate::progress::Progress;
use crate::storage::Storage;
use crate::types::{LogId, LogIndex, NodeId, Term};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leader {
    /// All members but this node, ascending by id.
    pub(crate) peers: Vec<(NodeId, Progress)>,
    pub(super) heartbeat_elapsed: u32,
    /// Ticks since the last quorum check.
    pub(super) quorum_elapsed: u32,
    /// Whether a quorum had answered at the last check.
    pub(super) has_quorum: bool,
    /// The index of the entry that opened the term. Only from here on does counting
    /// acknowledgements commit anything (Raft 5.4.2).
    pub(super) term_start: LogIndex,
    /// No membership change may be proposed before this index is applied (Raft 6).
    pub(super) pending_change: LogIndex,
    /// The proposals of this term that are not committed: index and bytes of each.
    uncommitted: VecDeque<(LogIndex, u64)>,
    uncommitted_bytes: u64,
}

impl Leader {
    /// Takes over: assumes nothing of the peers, and opens the term with an entry of its own
    /// (Raft 8), behind which everything older commits.
    pub(super) fn start<S: Storage>(core: &mut Core<S>) -> Self {
        let next_index = core.log.last_index().next();
        let mut leader = Self {
            peers: Vec::new(),
            heartbeat_elapsed: 0,
            quorum_elapsed: 0,
            has_quorum: true,
            term_start: next_index,
            pending_change: core.log.last_index(),
            uncommitted: VecDeque::new(),
            uncommitted_bytes: 0,
        };
        leader.sync_peers(core, false);
        append(
            core,
            Proposal {
                payload: Payload::Data(Bytes::new()),
                context: Bytes::new(),
            },
        );
        leader
    }

    pub(crate) fn progress(&self, peer: NodeId) -> Option<&Progress> {
        let position = self.peers.binary_search_by_key(&peer, |(id, _)| *id).ok()?;
        self.peers.get(position).map(|(_, progress)| progress)
    }

    pub(super) fn progress_mut(&mut self, peer: NodeId) -> Option<&mut Progress> {
        let position = self.peers.binary_search_by_key(&peer, |(id, _)| *id).ok()?;
        self.peers.get_mut(position).map(|(_, progress)| progress)
    }

    pub(super) fn tick<S: Storage>(&mut self, core: &mut Core<S>) -> Next {
        self.quorum_elapsed += 1;
        if self.quorum_elapsed >= core.config.election_timeout_ticks {
            self.quorum_elapsed = 0;
            self.has_quorum = self.check_quorum(core);
            if core.config.check_quorum && !self.has_quorum {
                return Next::StepDown;
            }
        }
        self.heartbeat_elapsed += 1;
        if self.heartbeat_elapsed >= core.config.heartbeat_interval_ticks {
            self.heartbeat_elapsed = 0;
            self.broadcast_heartbeat(core);
        }
        Next::Stay
    }

    /// Whether a quorum has answered since the last time this was asked (Thesis 6.2).
    fn check_quorum<S: Storage>(&mut self, core: &Core<S>) -> bool {
        let active = core.membership.has_quorum(|voter| {
            voter == core.id() || self.progress(voter).is_some_and(Progress::recently_active)
        });
        for (_, progress) in &mut self.peers {
            progress.recently_active = false;
        }
        active
    }

    /// A message of the current term.
    pub(super) fn step<S: Storage>(
        &mut self,
        core: &mut Core<S>,
        from: NodeId,
        body: Body,
    ) -> Result<Next, StepError> {
        match body {
            Body::AppendEntriesResponse(response) => {
                self.on_append_entries_response(core, from, response)?;
            }
            Body::HeartbeatResponse(response) => {
                self.on_heartbeat_response(core, from, &response)?;
            }
            // There is one leader in a term (Election Safety, Raft 5.2).
            Body::AppendEntries(_) | Body::Heartbeat(_) | Body::InstallSnapshot(_) => {
                return Err(StepError::SecondLeader { from, term: core.current_term });
            }
            Body::RequestVote(request) => {
                core.on_request_vote(from, &request, Some(core.id()))?;
            }
            Body::PreVote(request) => {
                core.on_pre_vote(from, core.current_term, &request, Some(core.id()))?;
            }
            Body::Propose(proposals) => {
                self.propose(core, proposals).map_err(StepError::Propose)?;
            }
            // Votes that are not needed any more.
            Body::RequestVoteResponse(_)
            | Body::PreVoteResponse(_)
            // Refused at the door.
            | Body::TimeoutNow
            | Body::ReadIndex(_)
            | Body::ReadIndexResponse(_)
            | Body::TransferLeader { .. } => {}
        }
        Ok(Next::Stay)
    }

    fn on_append_entries_response<S: Storage>(
        &mut self,
        core: &mut Core<S>,
        from: NodeId,
        response: AppendEntriesResponse,
    ) -> Result<(), StepError> {
        match response {
            AppendEntriesResponse::Accepted {
                match_index,
                commit_index,
            } => {
                check_ack(core, match_index.max(commit_index))?;
                let log_reaches = core.log.term(match_index)?.is_some();
                let Some(progress) = self.progress_mut(from) else {
                    return Ok(());
                };
                progress.recently_active = true;
                progress.accepted(match_index, log_reaches);
                self.commit(core);
            }
            AppendEntriesResponse::Rejected {
                prev_index,
                hint,
                commit_index,
            } => {
                check_ack(core, prev_index.max(hint.index).max(commit_index))?;
                // The peer's word on where the logs can agree at best, then this log's. A peer
                // without such an entry names no term.
                let agree_at_most = if hint.term == Term::ZERO {
                    hint.index
                } else {
                    core.log.latest_not_after(hint)?.index
                };
                let Some(progress) = self.progress_mut(from) else {
                    return Ok(());
                };
                progress.recently_active = true;
                progress.rejected(prev_index, agree_at_most);
            }
            // Refused at the door; and news only to a leader of an older term.
            AppendEntriesResponse::SnapshotRequested { .. }
            | AppendEntriesResponse::TermOutdated => {}
        }
        Ok(())
    }

    fn on_heartbeat_response<S: Storage>(
        &mut self,
        core: &Core<S>,
        from: NodeId,
        response: &HeartbeatResponse,
    ) -> Result<(), StepError> {
        check_ack(core, response.commit_index)?;
        let Some(progress) = self.progress_mut(from) else {
            return Ok(());
        };
        progress.recently_active = true;
        progress.heartbeat_answered(response.commit_index, core.log.last_index());
        Ok(())
    }

    /// Commits what a quorum has on disk (Raft 5.3), if it is of this term; what is older commits
    /// with it (Raft 5.4.2). This node counts for what is on its own disk.
    pub(super) fn commit<S: Storage>(&mut self, core: &mut Core<S>) {
        let index = core.membership.quorum_index(|voter| {
            if voter == core.id() {
                core.durability.log()
            } else {
                self.progress(voter)
                    .map_or(LogIndex::ZERO, Progress::match_index)
            }
        });
        if index < self.term_start {
            return;
        }
        core.log.commit_to(index);
        while let Some(&(proposed, bytes)) = self.uncommitted.front() {
            if proposed > index {
                break;
            }
            self.uncommitted.pop_front();
            self.uncommitted_bytes -= bytes;
        }
    }

    /// Appends proposals to the log (Figure 2): all of them or none. Returns the first one's log
    /// id.
    pub(super) fn propose<S: Storage>(
        &mut self,
        core: &mut Core<S>,
        proposals: impl IntoIterator<Item = Proposal> + AsRef<[Proposal]>,
    ) -> Result<LogId, ProposeError> {
        self.check_proposals(core, proposals.as_ref())?;
        let first = LogId {
            term: core.current_term,
            index: core.log.last_index().next(),
        };
        for proposal in proposals {
            let bytes = proposal.size_bytes();
            let is_change = matches!(proposal.payload, Payload::Change(_));
            let index = append(core, proposal);
            self.uncommitted.push_back((index, bytes));
            self.uncommitted_bytes += bytes;
            if is_change {
                self.pending_change = index;
            }
        }
        Ok(first)
    }

    fn check_proposals<S: Storage>(
        &self,
        core: &Core<S>,
        proposals: &[Proposal],
    ) -> Result<(), ProposeError> {
        let mut total = self.uncommitted_bytes;
        let mut change_seen = false;
        for proposal in proposals {
            if let Payload::Change(change) = &proposal.payload {
                if change_seen {
                    return Err(ProposeError::ChangePending);
                }
                self.check_change(core, change)?;
                change_seen = true;
            }
            total = total.saturating_add(proposal.size_bytes());
        }
        if LogIndex::MAX.since(core.log.last_index()) < proposals.len() as u64 {
            return Err(ProposeError::NoIndexLeft);
        }
        let is_alone = self.uncommitted.is_empty() && proposals.len() == 1;
        if total > core.config.max_uncommitted_bytes && !is_alone {
            return Err(ProposeError::TooManyUncommitted);
        }
        Ok(())
    }
}

/// Gives a proposal its place in the log.
pub(super) fn append<S: Storage>(core: &mut Core<S>, proposal: Proposal) -> LogIndex {
    let id = LogId {
        term: core.current_term,
        index: core.log.last_index().next(),
    };
    let Proposal { payload, context } = proposal;
    core.log.append_proposal(Entry {
        id,
        payload,
        context,
    });
    id.index
}

/// A peer cannot have what this leader does not have.
fn check_ack<S: Storage>(core: &Core<S>, index: LogIndex) -> Result<(), StepError> {
    let last_index = core.log.last_index();
    if index > last_index {
        Err(StepError::AcknowledgedBeyondLog { index, last_index })
    } else {
        Ok(())
    }
}
