//! Time, which is ticks.
//!
//! Owns the one clock that counts them, on which an idle node does nothing but count, and which many ticks
//! move on at once; how long ago a leader was heard (Raft 5.2). What a role does when its time has come is
//! the role's business. What waits for an answer counts its ticks by itself.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use super::core::Core;
use super::{Raft, Role};
use crate::config::Config;
use crate::error::{Halted, ReadDropped};
use crate::storage::Storage;

impl<S: Storage> Raft<S> {
    /// A tick in which something may happen.
    pub(crate) fn tick(&mut self) -> Result<(), Halted> {
        self.core.check_running()?;
        self.core.tick();
        self.hold_clock();
        let next = match &mut self.role {
            Role::Follower(follower) => follower.tick(&mut self.core),
            Role::PreCandidate(pre_candidate) => pre_candidate.tick(&mut self.core),
            Role::Candidate(candidate) => candidate.tick(&mut self.core),
            Role::Leader(leader) => leader.tick(&mut self.core),
        };
        let result = self.go(next);
        self.finish(result)
    }

    /// As many ticks as that; those in which nothing happens are skipped.
    pub(crate) fn tick_many(&mut self, ticks: u32) -> Result<(), Halted> {
        self.core.check_running()?;
        let mut left = ticks;
        while left > 0 {
            let idle = self.ticks_until_action().saturating_sub(1).min(left);
            self.skip(idle);
            left -= idle;
            if left > 0 {
                self.tick()?;
                left -= 1;
            }
        }
        Ok(())
    }

    /// After how many ticks something happens; [`u32::MAX`] if never.
    pub(crate) fn ticks_until_action(&self) -> u32 {
        let of_role = match &self.role {
            Role::Candidate(_) if self.clock_is_held() => u32::MAX,
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                self.core.ticks_until_election()
            }
            Role::Leader(leader) => leader.ticks_until_action(&self.core),
        };
        of_role.min(self.core.ticks_until_action())
    }

    /// Whether a tick in which nothing happens moves the clock on, and changes nothing else.
    pub(crate) fn only_the_clock_counts(&self) -> bool {
        let hands_over = matches!(&self.role, Role::Leader(leader) if leader.transfer.is_some());
        !hands_over && !self.core.counts_ticks() && !self.clock_is_held()
    }

    /// A candidate's clock begins to count when its own vote is on the disk: before that the election
    /// has not really begun, and another one would wait for the same disk.
    fn clock_is_held(&self) -> bool {
        matches!(self.role, Role::Candidate(_)) && !self.core.vote_is_durable()
    }

    fn hold_clock(&mut self) {
        if self.clock_is_held() {
            self.core.restart_clock();
        }
    }

    /// Lets time pass in which nothing happens.
    fn skip(&mut self, ticks: u32) {
        self.core.skip(ticks);
        self.hold_clock();
        if let Role::Leader(leader) = &mut self.role {
            leader.skip_transfer(ticks);
        }
    }
}

impl<S: Storage> Core<S> {
    /// A tick has passed, whatever the role.
    pub(crate) fn tick(&mut self) {
        self.move_clock(1);
        self.log.ask_again();
        self.reads.skip(1);
        while let Some(context) = self.reads.take_timed_out() {
            self.end_read(context, Err(ReadDropped::TimedOut));
        }
        let outcome = self.transfers.tick();
        self.tell_of_transfer(outcome);
    }

    /// After how many ticks something happens whatever the role.
    pub(crate) fn ticks_until_action(&self) -> u32 {
        let asks_again = self.log.waits_to_ask().then_some(1);
        [
            asks_again,
            self.reads.ticks_until_action(),
            self.transfers.ticks_until_action(),
        ]
        .into_iter()
        .flatten()
        .fold(u32::MAX, u32::min)
    }

    /// Whether something counts the ticks by itself until it is given up, or is asked for with each tick.
    fn counts_ticks(&self) -> bool {
        self.log.waits_to_ask() || self.reads.are_waiting() || self.transfers.are_awaited()
    }

    /// Lets time pass in which nothing happens.
    fn skip(&mut self, ticks: u32) {
        self.move_clock(ticks);
        self.reads.skip(ticks);
        self.transfers.skip(ticks);
    }

    /// Moves the clock on.
    #[inline]
    pub(crate) const fn move_clock(&mut self, ticks: u32) {
        self.election_elapsed = self.election_elapsed.saturating_add(ticks);
    }

    /// Begins to count anew. Whoever has noted a count must take from it what is returned: so many
    /// ticks had passed.
    pub(super) const fn restart_clock(&mut self) -> u32 {
        let passed = self.election_elapsed;
        self.priorities_count_until = self.priorities_count_until.saturating_sub(passed);
        self.election_elapsed = 0;
        passed
    }

    /// For how many more ticks priorities count, if no leader is heard.
    pub(super) const fn priority_ticks_left(&self) -> u32 {
        self.priorities_count_until
            .saturating_sub(self.election_elapsed)
    }

    /// For how long without a leader priorities count: so many of the longest election timeouts.
    /// If nobody of high priority is elected in that time, nobody of high priority can be.
    const fn priority_ticks(&self) -> u32 {
        const ROUNDS: u32 = 3;
        self.config
            .max_election_timeout_ticks
            .saturating_mul(ROUNDS)
    }

    /// For how many more ticks this node may be bound by the lease of a leader whom it has
    /// answered, maybe before it was restarted.
    pub(crate) const fn lease_ticks_left(&self) -> u32 {
        if self.config.lease_reads {
            let since_leader = self.priority_ticks() - self.priority_ticks_left();
            self.config
                .election_timeout_ticks
                .saturating_sub(since_leader)
        } else {
            0
        }
    }

    /// Begins a new wait. The timeout follows from the seed, the node, the term and the number of
    /// failed rounds alone, so that equal states have equal futures.
    pub(crate) fn restart_election_clock(&mut self) {
        self.restart_clock();
        let Config {
            election_timeout_ticks: low,
            max_election_timeout_ticks: high,
            ..
        } = self.config;
        let draw = [
            self.config.id.get(),
            self.current_term.0,
            u64::from(self.failed_rounds),
        ]
        .iter()
        .fold(self.config.seed, |seed, part| {
            Xoshiro256PlusPlus::seed_from_u64(seed ^ part).next_u64()
        });
        let extra = draw % u64::from(high - low);
        self.randomized_election_timeout = low.saturating_add(u32::try_from(extra).unwrap_or(0));
    }

    pub(crate) const fn election_is_due(&self) -> bool {
        self.election_elapsed >= self.randomized_election_timeout
    }

    pub(crate) const fn ticks_until_election(&self) -> u32 {
        self.randomized_election_timeout
            .saturating_sub(self.election_elapsed)
    }

    /// A leader was heard. (At the start one may just have been.)
    pub(crate) const fn heard_from_leader(&mut self) {
        self.priorities_count_until = self.priority_ticks();
        self.election_elapsed = 0;
        self.failed_rounds = 0;
    }
}
