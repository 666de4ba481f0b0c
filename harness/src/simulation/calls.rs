//! What users and operators ask of the nodes in a random run, beside proposals.
//!
//! Owns the choice of calls and their arguments. Must not judge the answers; the checkers do.

use almadia::{Bytes, Purpose, RoleKind, Window};

use super::Simulation;
use crate::action::Request;
use crate::embedder::Embedder;
use crate::node::{Embedding, Kind};

impl<E: Embedder> Simulation<'_, E> {
    /// The calls of one step.
    pub(super) fn calls(&mut self) {
        let rates = self.profile.calls;
        if self.dice.chance(rates.transfer) {
            let (at, transferee) = (self.likely_leader(), self.any_id());
            self.ask(at, Request::Transfer(transferee));
        }
        if self.dice.chance(rates.read) {
            self.read();
        }
        if self.dice.chance(rates.lease_read) {
            self.read_by_lease();
        }
        if self.dice.chance(rates.forget_leader) {
            let at = self.any_host();
            self.ask(at, Request::ForgetLeader);
        }
        if self.dice.chance(rates.request_snapshot) {
            let at = self.any_host();
            self.ask(at, Request::RequestSnapshot);
        }
        self.operate();
    }

    /// What an operator or a transport tells a node.
    fn operate(&mut self) {
        let rates = self.profile.calls;
        if self.dice.chance(rates.ping) {
            let at = self.likely_leader();
            self.ask(at, Request::Ping);
        }
        if self.dice.chance(rates.set_priority) {
            let at = self.any_host();
            let priority = i64::try_from(self.dice.below(5)).unwrap_or(0) - 2;
            self.ask(at, Request::SetPriority(priority));
        }
        if self.dice.chance(rates.set_window) {
            let (at, peer) = (self.likely_leader(), self.any_id());
            let window = self.dice.chance(700).then_some(Window {
                messages: self.dice.position(4),
                bytes: self.dice.below(300),
            });
            self.ask(at, Request::SetWindow(peer, window));
        }
        if self.dice.chance(rates.set_skip_commit_broadcast) {
            let at = self.any_host();
            let skip = self.dice.chance(500);
            self.ask(at, Request::SetSkipCommitBroadcast(skip));
        }
        if self.dice.chance(rates.group_commit) {
            self.regroup();
        }
        if self.dice.chance(rates.entries_fetched) {
            let at = self.likely_leader();
            let purpose = match self.dice.below(3) {
                0 => Purpose::Apply,
                1 => Purpose::Scan,
                _ => {
                    let peer = self.any_host();
                    Purpose::Send(self.cluster.hosts[peer].id)
                }
            };
            self.ask(at, Request::EntriesFetched(purpose));
        }
        if self.dice.chance(rates.report_unreachable) {
            let (at, peer) = (self.likely_leader(), self.any_id());
            self.ask(at, Request::ReportUnreachable(peer));
        }
    }

    /// Tells every node the groups of all, or takes group commit out of force.
    fn regroup(&mut self) {
        let nodes = self.cluster.hosts.len();
        let in_force = self.dice.chance(700);
        let groups: Vec<u64> = (0..nodes)
            .map(|_| [1, 2, 1 + self.dice.below(3), self.dice.below(2)][self.dice.position(4)])
            .collect();
        for at in 0..nodes {
            self.ask(at, Request::GroupCommit(in_force));
            for (member, &group) in (1..).zip(groups.iter().filter(|_| in_force)) {
                self.ask(at, Request::AssignGroup { member, group });
            }
        }
    }

    fn any_id(&mut self) -> u64 {
        let at = self.any_host();
        self.id(at)
    }

    /// The nodes that lead, or believe so.
    fn leaders(&self) -> Vec<usize> {
        let hosts = self.cluster.hosts.iter().enumerate();
        let leads = |(at, host): (usize, &crate::host::Host<E>)| {
            let node = host.node.as_ref()?;
            (node.role() == RoleKind::Leader).then_some(at)
        };
        hosts.filter_map(leads).collect()
    }

    /// A read on any node, more often on one that leads.
    fn read(&mut self) {
        let leaders = self.leaders();
        let at = if leaders.is_empty() || self.dice.chance(500) {
            self.any_host()
        } else {
            leaders[self.dice.position(leaders.len())]
        };
        let context = self.next_context(at);
        let by_lease = false;
        self.ask(at, Request::Read { context, by_lease });
    }

    /// A read on every node that could hold a lease, and on one other now and then.
    fn read_by_lease(&mut self) {
        let mut asked = self.leaders();
        if self.dice.chance(50) {
            asked.push(self.any_host());
        }
        for at in asked {
            let context = self.next_context(at);
            let by_lease = true;
            self.ask(at, Request::Read { context, by_lease });
        }
    }

    fn next_context(&mut self, at: usize) -> Bytes {
        self.next_read += 1;
        let number = match self.cluster.hosts[at].kind {
            // It takes the answer to one read for that to another of the same context.
            Kind::RaftRs(Embedding::Careful) => self.next_read,
            Kind::RaftRs(Embedding::Trusting) | Kind::Almadia => {
                self.next_read % self.read_contexts
            }
        };
        Bytes::from(number.to_be_bytes().to_vec())
    }
}
