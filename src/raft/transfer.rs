//! Handing leadership over (Thesis 3.10): because somebody asks for it, and because the leader
//! itself has lost its vote (Thesis 4.2.2).
//!
//! Owns when the successor is ready, when a transfer has failed, and how its end is told. Must not
//! know how an election is held.
//!
//! A leader steps down in the moment in which TimeoutNow leaves. So whoever receives it, however
//! late, deposes nobody, and no lease is in force when the others vote without regard to it.

use alloc::vec::Vec;

use super::Next;
use super::core::Core;
use super::leader::Leader;
use super::replication::send_heartbeat;
use crate::error::{TransferError, TransferFailure, TransferOutcome};
use crate::event::Event;
use crate::message::{Body, Token};
use crate::progress::Progress;
use crate::storage::{Storage, StorageError};
use crate::types::{NodeId, Term};

/// The leader's side of a transfer: proposals are refused until it ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Transfer {
    pub(super) target: Target,
    elapsed: u32,
}

/// Who is to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// This voter, because somebody asked for it.
    Node(NodeId),
    /// The first voter that has the whole log, because this node has lost its vote.
    MostCaughtUp,
}

/// The side of the one who asked, in whatever role it is by now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Transfers {
    awaited: Option<Awaited>,
    outcomes: Vec<TransferOutcome>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Awaited {
    transferee: NodeId,
    /// A leader of a later term settles it.
    term: Term,
    ticks_left: u32,
}

impl Transfers {
    #[inline]
    pub(crate) fn has_outcomes(&self) -> bool {
        !self.outcomes.is_empty()
    }

    #[inline]
    pub(crate) fn take_outcomes(&mut self, out: &mut Vec<TransferOutcome>) {
        out.append(&mut self.outcomes);
    }

    /// A transfer begins; what was asked for before gives way to it.
    fn expect(&mut self, transferee: NodeId, term: Term, ticks_left: u32) {
        if let Some(earlier) = &self.awaited {
            if earlier.transferee == transferee && earlier.term == term {
                return;
            }
            self.end(earlier.transferee, Err(TransferFailure::Superseded));
        }
        self.awaited = Some(Awaited {
            transferee,
            term,
            ticks_left,
        });
    }

    /// This transfer has ended. Tells it, if it was asked for here.
    fn end(&mut self, transferee: NodeId, result: Result<(), TransferFailure>) {
        let ended = self
            .awaited
            .take_if(|awaited| awaited.transferee == transferee);
        if ended.is_some() {
            self.outcomes.push(TransferOutcome { transferee, result });
        }
    }

    /// Somebody leads.
    pub(super) fn leader_found(&mut self, leader: NodeId, term: Term) {
        if let Some(awaited) = self.awaited.as_ref().filter(|it| term > it.term) {
            let transferee = awaited.transferee;
            let result = if leader == transferee {
                Ok(())
            } else {
                Err(TransferFailure::OtherLeader(leader))
            };
            self.end(transferee, result);
        }
    }

    pub(super) fn tick(&mut self) {
        if let Some(awaited) = &mut self.awaited {
            awaited.ticks_left = awaited.ticks_left.saturating_sub(1);
            if awaited.ticks_left == 0 {
                let transferee = awaited.transferee;
                self.end(transferee, Err(TransferFailure::TimedOut));
            }
        }
    }

    /// After how many ticks something happens here, if ever.
    #[inline]
    pub(super) fn ticks_until_action(&self) -> Option<u32> {
        self.awaited.as_ref().map(|awaited| awaited.ticks_left)
    }

    /// Lets time pass in which nothing happens.
    pub(super) fn skip(&mut self, ticks: u32) {
        if let Some(awaited) = &mut self.awaited {
            awaited.ticks_left -= ticks;
        }
    }
}

impl<S: Storage> Core<S> {
    /// A transfer was asked for on this node: its end is to be told. The leader gives up after one
    /// election timeout, and after another one or two somebody else leads.
    pub(super) fn await_transfer(&mut self, transferee: NodeId) {
        let ticks = self.config.max_election_timeout_ticks.saturating_mul(3);
        self.transfers.expect(transferee, self.current_term, ticks);
    }
}

impl Leader {
    pub(super) fn transferee(&self) -> Option<NodeId> {
        match self.transfer.as_ref()?.target {
            Target::Node(transferee) => Some(transferee),
            Target::MostCaughtUp => None,
        }
    }

    pub(super) fn start_transfer<S: Storage>(
        &mut self,
        core: &mut Core<S>,
        transferee: NodeId,
    ) -> Result<(), TransferError> {
        if transferee == core.id() {
            return Err(TransferError::AlreadyLeader(transferee));
        }
        if !core.membership.is_voter(transferee) {
            return Err(TransferError::NotAVoter(transferee));
        }
        match self.transfer.as_ref().map(|transfer| transfer.target) {
            Some(Target::MostCaughtUp) => return Err(TransferError::Removed),
            Some(Target::Node(earlier)) if earlier == transferee => return Ok(()),
            Some(Target::Node(earlier)) => {
                let superseded = Err(TransferFailure::Superseded);
                core.transfers.end(earlier, superseded);
            }
            None => {}
        }
        self.transfer = Some(Transfer {
            target: Target::Node(transferee),
            elapsed: 0,
        });
        Ok(())
    }

    /// After a change of the membership: a transfer to somebody without a vote ends, and a leader
    /// without one looks for a successor.
    pub(super) fn adapt_transfer<S: Storage>(&mut self, core: &mut Core<S>) {
        if let Some(Target::Node(transferee)) = self.transfer.as_ref().map(|it| it.target) {
            if !core.membership.is_voter(transferee) {
                self.transfer = None;
                let failure = Err(TransferFailure::NotAVoter);
                core.transfers.end(transferee, failure);
            }
        }
        if !core.membership.is_voter(core.id()) && self.transfer.is_none() {
            self.transfer = Some(Transfer {
                target: Target::MostCaughtUp,
                elapsed: 0,
            });
        }
    }

    /// Hands over once the successor has the whole log (Thesis 3.10): everything that is due
    /// leaves, then TimeoutNow. In between the successor is told the commit index, if nothing has
    /// told it: a membership without this leader may be committed, and without knowing that the
    /// successor would wait for this leader's vote.
    pub(super) fn hand_over_if_ready<S: Storage>(
        &mut self,
        core: &mut Core<S>,
    ) -> Result<Next, StorageError> {
        let Some(target) = self.transfer.as_ref().map(|transfer| transfer.target) else {
            return Ok(Next::Stay);
        };
        let last_index = core.log.last_index();
        let successor = self
            .peers
            .iter()
            .filter(|(_, progress)| progress.match_index == last_index)
            .map(|&(peer, _)| peer)
            .find(|&peer| match target {
                Target::Node(transferee) => peer == transferee,
                Target::MostCaughtUp => core.membership.is_voter(peer),
            });
        let Some(successor) = successor else {
            return Ok(Next::Stay);
        };
        self.replicate(core)?;
        let lacks_commit = |it: &&Progress| it.commit_sent < core.log.commit_index();
        if let Some(progress) = self.progress(successor).filter(lacks_commit) {
            send_heartbeat(core, successor, progress, Token::None);
        }
        core.send(successor, Body::TimeoutNow);
        core.tell(&Event::HandedOver { successor });
        Ok(Next::StepDown)
    }

    /// A transfer that takes an election timeout has failed (Thesis 3.10). A leader without a vote
    /// steps down all the same.
    pub(super) fn tick_transfer<S: Storage>(&mut self, core: &mut Core<S>) -> Next {
        let Some(transfer) = &mut self.transfer else {
            return Next::Stay;
        };
        transfer.elapsed += 1;
        if transfer.elapsed < core.config.election_timeout_ticks {
            return Next::Stay;
        }
        let target = transfer.target;
        self.transfer = None;
        if let Target::Node(transferee) = target {
            let timed_out = Err(TransferFailure::TimedOut);
            core.transfers.end(transferee, timed_out);
        }
        if !core.membership.is_voter(core.id()) {
            return Next::StepDown;
        }
        self.leave_joint_if_due(core);
        Next::Stay
    }

    /// After how many ticks a transfer fails, if there is one.
    pub(super) fn ticks_until_transfer_fails<S: Storage>(&self, core: &Core<S>) -> Option<u32> {
        let transfer = self.transfer.as_ref()?;
        Some(core.config.election_timeout_ticks - transfer.elapsed)
    }

    pub(super) fn skip_transfer(&mut self, ticks: u32) {
        if let Some(transfer) = &mut self.transfer {
            transfer.elapsed += ticks;
        }
    }
}
