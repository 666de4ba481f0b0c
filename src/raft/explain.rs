//! Why nothing happens: there is no leader, an entry does not commit, a peer is sent nothing.
//!
//! Owns how the answers of `explain.rs` are found. Changes nothing.

use alloc::vec::Vec;

use super::leader::Leader;
use super::{Core, Raft, Role, SnapshotWish};
use crate::explain::{Behind, NoLeader, NotCommitting, Paused, Votes};
use crate::progress::{Progress, ProgressState};
use crate::quorum::Tally;
use crate::storage::Storage;
use crate::types::{LogIndex, NodeId};

impl<S: Storage> Raft<S> {
    pub(crate) fn why_no_leader(&self) -> Option<NoLeader> {
        if self.leader().is_some() {
            return None;
        }
        Some(match &self.role {
            Role::PreCandidate(pre_candidate) => {
                NoLeader::AsksForPreVotes(votes(&self.core, pre_candidate.tally()))
            }
            Role::Candidate(candidate) if candidate.has_won(&self.core) => {
                NoLeader::OwnVoteUnpersisted
            }
            Role::Candidate(candidate) => {
                NoLeader::AsksForVotes(votes(&self.core, candidate.tally()))
            }
            Role::Follower(_) | Role::Leader(_) => match self.check_may_campaign() {
                Ok(()) => NoLeader::WaitsForTimeout {
                    ticks: self
                        .core
                        .ticks_until_election()
                        .max(self.core.lease_ticks_left()),
                },
                Err(reason) => NoLeader::MayNotCampaign(reason),
            },
        })
    }

    pub(crate) fn why_not_committing(&self, index: LogIndex) -> Option<NotCommitting> {
        let core = &self.core;
        if index <= core.log.commit_index() {
            return None;
        }
        let last_index = core.log.last_index();
        if index > last_index {
            return Some(NotCommitting::BeyondLog { last_index });
        }
        let Role::Leader(leader) = &self.role else {
            let leader = self.leader();
            return Some(NotCommitting::NotLeader { leader });
        };
        let acknowledged = |voter| leader.acknowledged(core, voter);
        let needed = index.max(leader.term_start);
        let behind = leader.behind(core, needed);
        Some(if core.membership.quorum_index(acknowledged) >= needed {
            NotCommitting::OneGroupOnly
        } else if index < leader.term_start {
            let term_start = leader.term_start;
            NotCommitting::EarlierTerm { term_start, behind }
        } else {
            NotCommitting::QuorumLacks(behind)
        })
    }

    /// Whether everybody has everything, as far as this node can know.
    pub(crate) fn is_quiescent(&self) -> bool {
        let log = &self.core.log;
        let all_applied =
            log.last_index() == log.commit_index() && log.commit_index() == log.last_applied();
        let role_rests = match &self.role {
            Role::Follower(follower) => follower.leader.is_some() && !follower.takes_over,
            Role::PreCandidate(_) | Role::Candidate(_) => false,
            Role::Leader(leader) => leader.is_quiescent(&self.core),
        };
        // Whatever counts ticks needs them.
        let needs_time = self.core.config.lease_reads
            || self.core.snapshot_wish != SnapshotWish::None
            || self.core.ticks_until_action() < u32::MAX;
        let is_running = self.core.halted.is_none();
        is_running && all_applied && role_rests && !needs_time && !self.has_ready()
    }

    pub(crate) fn why_paused(&self, peer: NodeId) -> Option<Paused> {
        match &self.role {
            Role::Leader(leader) => paused(&self.core, leader.progress(peer)?),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
        }
    }
}

impl Leader {
    fn is_quiescent<S: Storage>(&self, core: &Core<S>) -> bool {
        let last_index = core.log.last_index();
        self.transfer.is_none()
            && self.rounds.are_settled()
            && self.peers.iter().all(|(_, progress)| {
                progress.match_index == last_index
                    && progress.commit_index == last_index
                    && progress.requested_snapshot().is_none()
                    && paused(core, progress).is_none()
            })
    }

    fn behind<S: Storage>(&self, core: &Core<S>, index: LogIndex) -> Vec<Behind> {
        let voters = core.membership.voters().into_iter();
        let behind = voters.filter(|&voter| self.acknowledged(core, voter) < index);
        behind
            .map(|voter| {
                let progress = self.progress(voter);
                Behind {
                    voter,
                    acknowledged: self.acknowledged(core, voter),
                    recently_active: voter == core.id()
                        || progress.is_some_and(Progress::recently_active),
                    paused: progress.and_then(|progress| paused(core, progress)),
                }
            })
            .collect()
    }
}

fn votes<S: Storage>(core: &Core<S>, tally: &Tally) -> Votes {
    let mut votes = Votes::default();
    for voter in core.membership.voters() {
        match tally.vote(voter) {
            Some(true) => votes.granted.push(voter),
            Some(false) => votes.refused.push(voter),
            None => votes.silent.push(voter),
        }
    }
    votes
}

fn paused<S: Storage>(core: &Core<S>, progress: &Progress) -> Option<Paused> {
    match &progress.state {
        ProgressState::Snapshot { pending, .. } => Some(Paused::Snapshot { pending: *pending }),
        ProgressState::Probe { .. } | ProgressState::Replicate { .. } if progress.fetching => {
            Some(Paused::Fetching)
        }
        ProgressState::Probe { awaiting } => awaiting.then_some(Paused::Probing),
        ProgressState::Replicate { inflight, .. } => {
            let window = progress.window(&core.config);
            inflight
                .is_full(window.messages, window.bytes)
                .then(|| Paused::WindowFull {
                    messages: inflight.messages(),
                    bytes: inflight.bytes(),
                })
        }
    }
}
