//! The end of all faults, after which the cluster must come back.
//!
//! Owns what coming back means, and how long it may take. A cluster must come back with all its
//! nodes, and with a majority of its voters alone.

use almadia::{LogId, NodeId, RoleKind};

use super::Cluster;
use crate::embedder::Embedder;
use crate::node::Node;
use crate::unreliable::Answers;
use crate::violation::ViolationKind;

/// Within so many ticks after all faults are gone the cluster must have a leader and commit.
pub const RECOVERY_TICKS: u64 = 400;

/// The commands that are proposed here have numbers from this on, so that they have no number of
/// the run's own, whatever is left out of it.
const FIRST_NUMBER: u64 = 1 << 40;

impl<E: Embedder> Cluster<E> {
    /// Ends all faults, and lets time pass until a new proposal is applied by every member.
    pub(super) fn recover(&mut self) {
        self.heal();
        self.network.release(u64::MAX);
        self.is_instant = true;
        for at in 0..self.hosts.len() {
            self.answer_at(at, Answers::Sound);
        }
        for id in 1..=self.hosts.len() as u64 {
            self.complete_writes(id);
            self.restart(id);
        }
        let result = self
            .come_back()
            .and_then(|()| self.come_back_without_a_minority());
        self.check(self.checker.check_history());
        self.is_instant = false;
        self.check(result);
    }

    /// Lets time pass until a new proposal is applied by every member that is up.
    fn come_back(&mut self) -> Result<(), ViolationKind> {
        let mut proposed = None;
        for tick in 1..=RECOVERY_TICKS {
            self.stats.recovery_ticks = self.stats.recovery_ticks.max(tick);
            self.tick_all();
            self.deliver_all();
            if tick % 10 == 0 {
                for at in 0..self.hosts.len() {
                    self.compact_at(at);
                }
            }
            if self.violation.is_some() {
                return Ok(());
            }
            let Some(leader) = self.leader() else {
                continue;
            };
            if proposed.is_none_or(|id| !self.is_in_log(leader, id)) {
                self.own_commands += 1;
                let number = FIRST_NUMBER + self.own_commands;
                proposed = self.write_at(self.position(leader), number, 0);
            } else if self.has_recovered(proposed) {
                return Ok(());
            }
        }
        Err(self.what_is_missing())
    }

    /// Raft promises progress as long as a majority is up (Raft 5): the leader and as many other
    /// voters as can be spared crash, the rest must come back and then keep its leader, and so must
    /// all in the end. Commit groups are out of force meanwhile: whoever is left may be of one.
    fn come_back_without_a_minority(&mut self) -> Result<(), ViolationKind> {
        let Some(leader) = self.leader().filter(|_| self.violation.is_none()) else {
            return Ok(());
        };
        let membership = self.running(leader).membership();
        let voters = membership.incoming();
        let minority = voters.len().saturating_sub(1) / 2;
        if membership.is_joint() || minority == 0 {
            return Ok(());
        }
        let after_leader = voters.iter().position(|voter| voter.get() == leader);
        let from_leader_on = voters.iter().cycle().skip(after_leader.unwrap_or(0));
        let mut gone: Vec<NodeId> = from_leader_on.take(minority).copied().collect();
        gone.extend(self.disturbing(&membership.members()));
        for node in &gone {
            self.crash(node.get());
        }
        for at in 0..self.hosts.len() {
            self.set_group_commit_at(at, false);
        }
        let result = self.come_back().and_then(|()| self.keep_the_leader());
        for node in &gone {
            self.restart(node.get());
        }
        result.and_then(|()| self.come_back())
    }

    /// Who is not of these members and may not know it. Where nobody asks for pre-votes nor stands
    /// by a leader, such a node deposes one after the other (Thesis 4.2.3): it has to be shut down.
    fn disturbing(&self, members: &[NodeId]) -> Vec<NodeId> {
        let mut hosts = self.hosts.iter();
        if hosts.all(|host| host.settings.pre_vote || host.settings.check_quorum) {
            return Vec::new();
        }
        let all = self.hosts.iter().map(|host| host.id);
        all.filter(|id| !members.contains(id)).collect()
    }

    /// Nobody has reason to depose a leader whom a quorum hears and answers.
    fn keep_the_leader(&mut self) -> Result<(), ViolationKind> {
        const TIMEOUTS: u64 = 3;
        let reign = |cluster: &Self| {
            let leader = cluster.leader()?;
            Some((leader, cluster.running(leader).current_term()))
        };
        let before = reign(self);
        let longest = self
            .hosts
            .iter()
            .map(|host| host.settings.longest_timeout());
        let ticks = TIMEOUTS * u64::from(longest.max().unwrap_or(0));
        for tick in 1..=ticks {
            self.tick_all();
            self.deliver_all();
            if self.violation.is_some() {
                return Ok(());
            }
            let after = reign(self);
            if let Some((leader, term)) = before.filter(|_| before != after) {
                return Err(ViolationKind::Deposed {
                    leader: self.hosts[self.position(leader)].id,
                    term,
                    ticks: tick,
                });
            }
        }
        Ok(())
    }

    fn is_in_log(&self, leader: u64, id: LogId) -> bool {
        let node = self.running(leader);
        self.is_committed(id) || (node.role() == RoleKind::Leader && node.current_term() == id.term)
    }

    fn has_recovered(&self, proposed: Option<LogId>) -> bool {
        proposed.is_some_and(|id| self.is_committed(id))
            && self.unsettled().is_none()
            && self.without_end().is_none()
    }

    /// Why the cluster has not come back.
    fn what_is_missing(&self) -> ViolationKind {
        let missing = match (self.unsettled(), self.without_end()) {
            (Some(missing), _) => missing,
            (None, Some((node, what))) => return ViolationKind::WithoutEnd { node, what },
            (None, None) => "the proposal is not committed".into(),
        };
        ViolationKind::NoProgress {
            ticks: RECOVERY_TICKS,
            missing: format!("{missing}\n{}", self.describe()),
        }
    }

    fn describe(&self) -> String {
        let nodes = self.hosts.iter().map(|host| {
            let status = host.node.as_ref().map(Node::description);
            format!(
                "{:?} busy={} {}\n",
                host.id,
                host.busy.is_some(),
                status.unwrap_or_default()
            )
        });
        nodes.collect()
    }
}
