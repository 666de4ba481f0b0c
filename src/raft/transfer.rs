//! Handing leadership over (Thesis 3.10): because somebody asks for it, and because the leader
//! itself has lost its vote (Thesis 4.2.2).
//!
//! Owns when the successor is ready, when a transfer has failed, and how its end is told. Must not
//! know how an election is held.
//!
//! A leader steps down in the moment in which TimeoutNow leaves. So whoever receives it, however
//! late, deposes nobody, and no lease is in force when the others vote without regard to it.

use alloc::boxed::Box;

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

impl Transfer {
    fn to(target: Target) -> Box<Self> {
        Box::new(Self { target, elapsed: 0 })
    }
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
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Awaited {
    transferee: NodeId,
    /// A leader of a later term settles it.
    term: Term,
    ticks_left: u32,
}

impl Transfers {
    /// A transfer begins. Returns the end of what was asked for before, which gives way to it.
    fn expect(
        &mut self,
        transferee: NodeId,
        term: Term,
        ticks_left: u32,
    ) -> Option<TransferOutcome> {
        let earlier = self.awaited.as_ref();
        if earlier.is_some_and(|it| it.transferee == transferee && it.term == term) {
            return None;
        }
        let earlier = self.awaited.replace(Awaited {
            transferee,
            term,
            ticks_left,
        });
        earlier.map(|earlier| TransferOutcome {
            transferee: earlier.transferee,
            result: Err(TransferFailure::Superseded),
        })
    }

    /// This transfer has ended. Returns that, if it was asked for here.
    fn end(
        &mut self,
        transferee: NodeId,
        result: Result<(), TransferFailure>,
    ) -> Option<TransferOutcome> {
        self.awaited
            .take_if(|awaited| awaited.transferee == transferee)?;
        Some(TransferOutcome { transferee, result })
    }

    /// Somebody leads. Returns what this is the end of, if anything.
    fn leader_found(&mut self, leader: NodeId, term: Term) -> Option<TransferOutcome> {
        let awaited = self.awaited.take_if(|awaited| term > awaited.term)?;
        let transferee = awaited.transferee;
        let result = if leader == transferee {
            Ok(())
        } else {
            Err(TransferFailure::OtherLeader(leader))
        };
        Some(TransferOutcome { transferee, result })
    }

    /// A tick has passed. Returns what has waited for too long.
    #[inline]
    pub(super) fn tick(&mut self) -> Option<TransferOutcome> {
        let awaited = self.awaited.as_mut()?;
        awaited.ticks_left = awaited.ticks_left.saturating_sub(1);
        let timed_out = self.awaited.take_if(|awaited| awaited.ticks_left == 0)?;
        Some(TransferOutcome {
            transferee: timed_out.transferee,
            result: Err(TransferFailure::TimedOut),
        })
    }

    /// After how many ticks something happens here, if ever.
    #[inline]
    pub(super) fn ticks_until_action(&self) -> Option<u32> {
        self.awaited.as_ref().map(|awaited| awaited.ticks_left)
    }

    #[inline]
    pub(super) const fn are_awaited(&self) -> bool {
        self.awaited.is_some()
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
        let outcome = self.transfers.expect(transferee, self.current_term, ticks);
        self.tell_of_transfer(outcome);
    }

    /// Somebody leads in the current term.
    pub(super) fn settle_transfer(&mut self, leader: NodeId) {
        let outcome = self.transfers.leader_found(leader, self.current_term);
        self.tell_of_transfer(outcome);
    }

    /// This transfer has come to its end, if it is one that was asked for here.
    fn end_transfer(&mut self, transferee: NodeId, result: Result<(), TransferFailure>) {
        let outcome = self.transfers.end(transferee, result);
        self.tell_of_transfer(outcome);
    }

    #[inline]
    pub(super) fn tell_of_transfer(&mut self, outcome: Option<TransferOutcome>) {
        if let Some(outcome) = outcome {
            self.next_ready().transfer_outcomes.push(outcome);
        }
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
                core.end_transfer(earlier, superseded);
            }
            None => {}
        }
        self.transfer = Some(Transfer::to(Target::Node(transferee)));
        Ok(())
    }

    /// After a change of the membership: a transfer to somebody without a vote ends, and a leader
    /// without one looks for a successor.
    pub(super) fn adapt_transfer<S: Storage>(&mut self, core: &mut Core<S>) {
        if let Some(Target::Node(transferee)) = self.transfer.as_ref().map(|it| it.target) {
            if !core.membership.is_voter(transferee) {
                self.transfer = None;
                let failure = Err(TransferFailure::NotAVoter);
                core.end_transfer(transferee, failure);
            }
        }
        if !core.membership.is_voter(core.id()) && self.transfer.is_none() {
            self.transfer = Some(Transfer::to(Target::MostCaughtUp));
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
            send_heartbeat(core, successor, progress, &Token::None);
        }
        core.send(successor, || Body::TimeoutNow);
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
            core.end_transfer(transferee, timed_out);
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
