//! Linearizable reads without log entries (Thesis 6.4): ReadIndex, and leases (Thesis 6.4.1).
//!
//! Owns the reads that were asked for on this node, the rounds of heartbeats by which a leader
//! makes sure that it still leads, and its lease. Must not know what is read.
//!
//! A leader may answer a read with its commit index once it has committed an entry of its own term
//! (else it might not know what its predecessors have committed), and once a quorum has answered
//! a heartbeat that it sent after the read came (else there might be a newer leader). Everything
//! that came between two `Ready`s shares one round. A round is a number that the heartbeats carry
//! and their answers echo, so an answer to an earlier heartbeat confirms nothing later.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::core::Core;
use super::leader::Leader;
use crate::buffer::{give_back, give_back_all, make_room_behind, pop_front_if};
use crate::config::Config;
use crate::error::{ReadDropped, ReadError, StepError};
use crate::message::{Body, ReadIndexResponse, Token};
use crate::ready::ReadState;
use crate::storage::{Storage, StorageError};
use crate::types::{LogId, LogIndex, NodeId};

// --- The side of the one who asks ---

/// The reads that were asked for on this node, whatever its role.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reads {
    /// Oldest first; all wait equally long, so the first is the first to be dropped.
    waiting: VecDeque<OwnRead>,
    /// Tokens are never used twice, not even in another life; what the caller gives is only echoed.
    incarnation: u32,
    /// How many were used in this life.
    tokens_used: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct OwnRead {
    token: u64,
    context: Bytes,
    ticks_left: u32,
}

impl Reads {
    pub(crate) fn new(incarnation: Option<u32>) -> Self {
        Self {
            waiting: VecDeque::new(),
            incarnation: incarnation.unwrap_or(0),
            tokens_used: 0,
        }
    }

    /// A token that no read had before; those of the next incarnation are not for this one.
    fn next_token(&mut self) -> Option<u64> {
        self.tokens_used = self.tokens_used.checked_add(1)?;
        Some(u64::from(self.incarnation) << u32::BITS | u64::from(self.tokens_used))
    }

    /// Takes the read of this token out, and returns its context.
    fn take(&mut self, token: u64) -> Option<Bytes> {
        let position = self.waiting.binary_search_by_key(&token, |read| read.token);
        let read = self.waiting.remove(position.ok()?)?;
        give_back(&mut self.waiting);
        Some(read.context)
    }

    /// Takes the oldest read out, if its time is over.
    pub(super) fn take_timed_out(&mut self) -> Option<Bytes> {
        let read = pop_front_if(&mut self.waiting, |read| read.ticks_left == 0)?;
        give_back(&mut self.waiting);
        Some(read.context)
    }

    /// Gives the memory back in which nothing is.
    pub(super) fn give_back_buffers(&mut self) {
        give_back_all(&mut self.waiting);
    }

    /// The token of the last read that waits; zero if none does.
    #[inline]
    fn newest(&self) -> u64 {
        self.waiting.back().map_or(0, |read| read.token)
    }

    /// After how many ticks a read is dropped, if any waits.
    #[inline]
    pub(super) fn ticks_until_action(&self) -> Option<u32> {
        self.waiting.front().map(|read| read.ticks_left)
    }

    #[inline]
    pub(super) fn are_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Lets time pass. Whose time is up waits to be taken.
    pub(super) fn skip(&mut self, ticks: u32) {
        for read in &mut self.waiting {
            read.ticks_left = read.ticks_left.saturating_sub(ticks);
        }
    }
}

impl<S: Storage> Core<S> {
    /// Takes a read, and gives it a token of its own. It is dropped when it has waited for two of
    /// the longest election timeouts, in which a leader could be lost and another one be found.
    pub(super) fn accept_read(&mut self, context: Bytes) -> Result<u64, ReadError> {
        if self.reads.waiting.len() >= self.config.max_pending_reads {
            return Err(ReadError::TooManyPending);
        }
        let token = self.reads.next_token().ok_or(ReadError::NoTokenLeft)?;
        let ticks_left = self.config.max_election_timeout_ticks.saturating_mul(2);
        make_room_behind(&mut self.reads.waiting);
        self.reads.waiting.push_back(OwnRead {
            token,
            context,
            ticks_left,
        });
        Ok(token)
    }

    /// Tells the end of a read of this node.
    pub(super) fn end_read(&mut self, context: Bytes, outcome: Result<LogIndex, ReadDropped>) {
        let states = &mut self.next_ready().read_states;
        states.push(ReadState { context, outcome });
    }

    /// Answers this node's reads up to this token.
    fn answer_reads_through(&mut self, token: u64, read_index: LogIndex) {
        while let Some(OwnRead { context, .. }) =
            pop_front_if(&mut self.reads.waiting, |read| read.token <= token)
        {
            self.end_read(context, Ok(read_index));
        }
        give_back(&mut self.reads.waiting);
    }

    /// Asks the leader. An answer from before a restart must not be taken for one to this read, so
    /// a node that does not count its starts asks nobody.
    pub(super) fn forward_read(&mut self, leader: NodeId, token: u64) {
        if self.config.incarnation.is_some() {
            self.send_without_term(leader, || Body::ReadIndex(Token::Number(token)));
        }
    }

    /// Asks a new leader for everything that the old one has not answered.
    pub(super) fn forward_reads(&mut self, leader: NodeId) {
        let tokens: Vec<u64> = self.reads.waiting.iter().map(|read| read.token).collect();
        for token in tokens {
            self.forward_read(leader, token);
        }
    }

    /// The leader has answered a read that was forwarded to it. The index is the leader's commit
    /// index, and the entry there is of its term; where the log holds that very entry, it is
    /// committed here too.
    pub(super) fn on_read_index_response(
        &mut self,
        response: &ReadIndexResponse,
    ) -> Result<(), StorageError> {
        let read_index = response.read_index;
        let committed = LogId {
            term: self.current_term,
            index: read_index,
        };
        if self.log.holds(committed)? {
            self.log.commit_to(read_index);
        }
        let own = match response.token {
            Token::Number(token) => self.reads.take(token),
            Token::None | Token::Bytes(_) => None,
        };
        if let Some(context) = own {
            self.end_read(context, Ok(read_index));
        }
        Ok(())
    }
}

// --- The leader's side ---

/// The reads that a leader has to answer: those of its peers, and how far its own are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Rounds {
    /// For these no heartbeat has left yet.
    waiting: Vec<Request>,
    /// Up to this token heartbeats have left for the node's own reads.
    own_asked: u64,
    /// Rounds that no quorum has answered yet, oldest first.
    asked: VecDeque<Round>,
    requests_asked: usize,
    /// The number of the last round.
    last: u64,
    /// Boxed, for it is there only with leases on.
    lease: Option<Box<Lease>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Request {
    from: NodeId,
    token: Token,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Round {
    number: u64,
    read_index: LogIndex,
    /// The node's own reads up to this token wait for it.
    own_through: u64,
    requests: Vec<Request>,
}

/// Until when no other leader can be elected, because a quorum has promised not to vote. Not
/// touched unless leases are on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Lease {
    /// Ticks from when the node began to lead to when the clock began to count.
    before: u64,
    /// The rounds that no quorum has answered, and when each was sent, in ticks of the leadership.
    sent: VecDeque<(u64, u64)>,
    /// When the last heartbeats were sent that a quorum has answered.
    acknowledged: Option<u64>,
}

impl Lease {
    /// More rounds than this are not kept apart: the oldest are forgotten, and extend nothing.
    const MAX_SENT: usize = 256;

    /// Ticks since the node began to lead.
    fn now<S: Storage>(&self, core: &Core<S>) -> u64 {
        self.before + u64::from(core.election_elapsed)
    }
}

impl Rounds {
    /// Gives the memory back in which nothing is.
    pub(super) fn give_back_buffers(&mut self) {
        self.waiting.shrink_to_fit();
        give_back_all(&mut self.asked);
        if let Some(lease) = &mut self.lease {
            give_back_all(&mut lease.sent);
        }
    }

    pub(super) fn new(config: &Config) -> Self {
        Self {
            lease: config.lease_reads.then(Box::default),
            ..Self::default()
        }
    }

    /// The clock begins to count anew.
    pub(super) fn clock_restarted(&mut self, passed: u32) {
        if let Some(lease) = &mut self.lease {
            lease.before += u64::from(passed);
        }
    }

    /// Whether no peer's read waits.
    pub(super) fn are_settled(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }
}

impl Leader {
    pub(super) fn take_read<S: Storage>(
        &mut self,
        core: &Core<S>,
        from: NodeId,
        token: Token,
    ) -> Result<(), ReadError> {
        let rounds = &mut self.rounds;
        if rounds.waiting.len() + rounds.requests_asked >= core.config.max_pending_reads {
            return Err(ReadError::TooManyPending);
        }
        rounds.waiting.push(Request { from, token });
        Ok(())
    }

    /// Whether the leader knows everything that was committed before its term (Thesis 6.4).
    pub(super) fn has_committed_in_term<S: Storage>(&self, core: &Core<S>) -> bool {
        core.log.commit_index() >= self.term_start
    }

    pub(super) fn reads_are_due<S: Storage>(&self, core: &Core<S>) -> bool {
        let rounds = &self.rounds;
        let somebody_waits = !rounds.waiting.is_empty() || core.reads.newest() > rounds.own_asked;
        somebody_waits && self.has_committed_in_term(core)
    }

    /// Makes a new round of all reads that wait. Returns its number, which heartbeats are to carry
    /// now, if there is one.
    pub(super) fn start_round<S: Storage>(&mut self, core: &Core<S>) -> Option<u64> {
        if !self.reads_are_due(core) {
            return None;
        }
        let requests = core::mem::take(&mut self.rounds.waiting);
        self.rounds.requests_asked += requests.len();
        let own_through = core.reads.newest();
        self.rounds.own_asked = own_through;
        let number = self.next_round(core);
        make_room_behind(&mut self.rounds.asked);
        self.rounds.asked.push_back(Round {
            number,
            read_index: core.log.commit_index(),
            own_through,
            requests,
        });
        Some(number)
    }

    fn next_round<S: Storage>(&mut self, core: &Core<S>) -> u64 {
        let Rounds { last, lease, .. } = &mut self.rounds;
        *last += 1;
        if let Some(lease) = lease {
            lease.sent.push_back((*last, lease.now(core)));
            if lease.sent.len() > Lease::MAX_SENT {
                lease.sent.pop_front();
            }
        }
        *last
    }

    /// What a heartbeat carries that no new read has caused: with leases a new round all the same,
    /// else the last one while a read waits for it, in case its heartbeat was lost.
    #[inline]
    pub(super) fn heartbeat_token<S: Storage>(&mut self, core: &Core<S>) -> Token {
        if self.rounds.lease.is_some() {
            Token::Number(self.next_round(core))
        } else if self.rounds.asked.is_empty() {
            Token::None
        } else {
            Token::Number(self.rounds.last)
        }
    }

    /// Whether a peer may answer a heartbeat with this token.
    pub(super) fn check_round(&self, from: NodeId, token: &Token) -> Result<(), StepError> {
        match token {
            Token::None => Ok(()),
            Token::Number(number) if *number <= self.rounds.last => Ok(()),
            Token::Number(_) | Token::Bytes(_) => Err(StepError::UnknownHeartbeat { from }),
        }
    }

    /// Answers the reads, and extends the lease, of every round that a quorum has answered.
    #[inline]
    pub(super) fn confirm_rounds<S: Storage>(&mut self, core: &mut Core<S>) {
        if !self.rounds.asked.is_empty() || self.rounds.lease.is_some() {
            self.confirm_asked(core);
        }
    }

    fn confirm_asked<S: Storage>(&mut self, core: &mut Core<S>) {
        while let Some(round) = self.rounds.asked.front() {
            if !self.is_confirmed(core, round.number) {
                break;
            }
            let Some(round) = self.rounds.asked.pop_front() else {
                break;
            };
            self.rounds.requests_asked -= round.requests.len();
            let read_index = round.read_index;
            core.answer_reads_through(round.own_through, read_index);
            for Request { from, token } in round.requests {
                let response = ReadIndexResponse { read_index, token };
                core.send(from, || Body::ReadIndexResponse(response));
            }
        }
        give_back(&mut self.rounds.asked);
        self.extend_lease(core);
    }

    fn extend_lease<S: Storage>(&mut self, core: &Core<S>) {
        let Some(mut lease) = self.rounds.lease.take() else {
            return;
        };
        let confirmed = |&(number, _): &(u64, u64)| self.is_confirmed(core, number);
        while let Some((_, sent)) = pop_front_if(&mut lease.sent, confirmed) {
            lease.acknowledged = Some(sent);
        }
        self.rounds.lease = Some(lease);
    }

    fn is_confirmed<S: Storage>(&self, core: &Core<S>, number: u64) -> bool {
        core.membership.has_quorum(|voter| {
            voter == core.id()
                || self
                    .progress(voter)
                    .is_some_and(|progress| progress.round_answered >= number)
        })
    }

    /// Whether no other node can have been elected, as far as clocks can be trusted. Void as soon
    /// as a transfer has begun, which makes the others vote without regard to a lease.
    pub(super) fn holds_lease<S: Storage>(&self, core: &Core<S>) -> bool {
        let Some(lease) = &self.rounds.lease else {
            return false;
        };
        let Config {
            election_timeout_ticks,
            lease_margin_ticks,
            ..
        } = core.config;
        let duration = election_timeout_ticks.saturating_sub(lease_margin_ticks);
        let is_in_force = lease
            .acknowledged
            .is_some_and(|sent| lease.now(core) - sent < u64::from(duration));
        self.transfer.is_none() && self.has_committed_in_term(core) && is_in_force
    }
}
