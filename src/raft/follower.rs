//! A follower: answers leaders and candidates, and campaigns when it hears from neither (Raft 5.2).
//!
//! Owns what a follower knows beyond the common state: its leader. Must not know how an election or
//! replication is led.

use super::core::Core;
use super::{Next, door};
use crate::error::{ProposeError, ReadError, StepError, TransferError};
use crate::message::Body;
use crate::storage::Storage;
use crate::types::NodeId;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Follower {
    /// The leader of the current term, once it was heard.
    pub(crate) leader: Option<NodeId>,
    /// The leader has stepped down for this node, which has a membership change or a snapshot to
    /// apply first.
    pub(super) takes_over: bool,
}

impl Follower {
    pub(super) const fn of(leader: Option<NodeId>) -> Self {
        Self {
            leader,
            takes_over: false,
        }
    }

    pub(super) fn tick<S: Storage>(&self, core: &mut Core<S>) -> Next {
        if !core.election_is_due() {
            return Next::Stay;
        }
        Next::Campaign
    }

    /// A message of the current term. Entries and tokens are taken out of it.
    pub(super) fn step<S: Storage>(
        &mut self,
        core: &mut Core<S>,
        from: NodeId,
        body: &mut Body,
    ) -> Result<Next, StepError> {
        match body {
            Body::AppendEntries(append) => {
                self.hear(core, from)?;
                core.on_append_entries(from, append)?;
            }
            Body::Heartbeat(heartbeat) => {
                self.hear(core, from)?;
                core.on_heartbeat(from, heartbeat);
                core.ask_for_snapshot(from);
            }
            Body::InstallSnapshot(snapshot) => {
                let membership = door::check_snapshot(core, core.current_term, snapshot)?;
                self.hear(core, from)?;
                core.on_install_snapshot(from, snapshot, membership)?;
            }
            Body::RequestVote(request) => core.on_request_vote(from, request, self.leader)?,
            Body::PreVote(request) => {
                core.on_pre_vote(from, core.current_term, request, self.leader)?;
            }
            // The leader has stepped down for this node (Thesis 3.10).
            Body::TimeoutNow => {
                if self.leader == Some(from) || core.membership.contains(from) {
                    self.hear(core, from)?;
                    return Ok(Next::TakeOver);
                }
            }
            Body::ReadIndexResponse(response) => {
                if self.leader == Some(from) {
                    core.on_read_index_response(response)?;
                }
            }
            Body::Propose(_) => {
                return Err(StepError::Propose(ProposeError::NotLeader {
                    leader: self.leader,
                }));
            }
            Body::ReadIndex(_) => {
                return Err(StepError::Read(ReadError::NotLeader {
                    leader: self.leader,
                }));
            }
            Body::TransferLeader { .. } => {
                return Err(StepError::Transfer(TransferError::NotLeader {
                    leader: self.leader,
                }));
            }
            // Answers to what this node asked in a role that it has left.
            Body::RequestVoteResponse(_)
            | Body::PreVoteResponse(_)
            | Body::AppendEntriesResponse(_)
            | Body::HeartbeatResponse(_) => {}
        }
        Ok(Next::Stay)
    }

    /// There is one leader in a term (Election Safety, Raft 5.2).
    fn hear<S: Storage>(&mut self, core: &mut Core<S>, from: NodeId) -> Result<(), StepError> {
        match self.leader {
            Some(leader) if leader != from => Err(StepError::SecondLeader {
                from,
                term: core.current_term,
            }),
            Some(_) => {
                core.heard_from_leader();
                Ok(())
            }
            None => {
                self.leader = Some(from);
                core.heard_from_leader();
                core.leader_found(from);
                Ok(())
            }
        }
    }
}
