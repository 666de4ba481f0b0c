//! The end of all faults, after which the cluster must come back.
//!
//! Owns what coming back means, and how long it may take.

use almadia::{LogId, RoleKind};

use super::Cluster;
use crate::embedder::Embedder;
use crate::unreliable::Answers;
use crate::violation::ViolationKind;

/// Within so many ticks after all faults are gone the cluster must have a leader and commit.
pub const RECOVERY_TICKS: u64 = 400;

impl<E: Embedder> Cluster<E> {
    /// Ends all faults, and lets time pass until a new proposal is applied by every member.
    pub(super) fn recover(&mut self) {
        self.heal();
        self.network.release(u64::MAX);
        self.is_instant = true;
        let nodes = self.hosts.iter().filter_map(|host| host.node.as_ref());
        nodes.for_each(|node| node.storage().set_answers(Answers::Sound));
        for id in 1..=self.hosts.len() as u64 {
            self.complete_writes(id);
            self.restart(id);
        }
        let missing = self.come_back();
        self.check(self.checker.check_history());
        self.is_instant = false;
        if let Some(missing) = missing {
            self.check(Err(ViolationKind::NoProgress {
                ticks: RECOVERY_TICKS,
                missing: format!("{missing}\n{}", self.describe()),
            }));
        }
    }

    /// Returns what is missing in the end, if anything is.
    fn come_back(&mut self) -> Option<String> {
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
                return None;
            }
            let Some(leader) = self.leader() else {
                continue;
            };
            if proposed.is_none_or(|id| !self.is_in_log(leader, id)) {
                proposed = self.propose(leader, "the last command");
            } else if self.has_recovered(proposed) {
                return None;
            }
        }
        let missing = self.unsettled();
        Some(missing.unwrap_or_else(|| "the proposal is not committed".into()))
    }

    fn is_in_log(&self, leader: u64, id: LogId) -> bool {
        let node = self.node(leader);
        self.is_committed(id) || (node.role() == RoleKind::Leader && node.current_term() == id.term)
    }

    fn has_recovered(&self, proposed: Option<LogId>) -> bool {
        proposed.is_some_and(|id| self.is_committed(id)) && self.unsettled().is_none()
    }

    fn describe(&self) -> String {
        let nodes = self.hosts.iter().map(|host| {
            let status = host.node.as_ref().map(|node| node.status());
            format!("{:?} busy={} {status:?}\n", host.id, host.busy.is_some())
        });
        nodes.collect()
    }
}
