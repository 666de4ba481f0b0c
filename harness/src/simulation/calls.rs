//! What users and operators ask of the nodes in a random run, beside proposals.
//!
//! Owns the choice of calls and their arguments. Must not judge the answers; the checkers do.

use almadia::{Bytes, Purpose, RoleKind, Window};

use super::Simulation;
use crate::action::Request;
use crate::embedder::Embedder;

impl<E: Embedder> Simulation<'_, E> {
    /// The calls of one step.
    pub(super) fn calls(&mut self) {
        let rates = self.profile.calls;
        if self.dice.chance(rates.transfer) {
            let (at, transferee) = (self.likely_leader(), self.any_id());
            self.act(Request::Transfer(transferee).of(self.id(at)));
        }
        if self.dice.chance(rates.read) {
            self.read();
        }
        if self.dice.chance(rates.lease_read) {
            self.read_by_lease();
        }
        if self.dice.chance(rates.forget_leader) {
            let at = self.any_host();
            self.act(Request::ForgetLeader.of(self.id(at)));
        }
        if self.dice.chance(rates.request_snapshot) {
            let at = self.any_host();
            self.act(Request::RequestSnapshot.of(self.id(at)));
        }
        self.operate();
    }

    /// What an operator or a transport tells a node.
    fn operate(&mut self) {
        let rates = self.profile.calls;
        if self.dice.chance(rates.ping) {
            let at = self.likely_leader();
            self.act(Request::Ping.of(self.id(at)));
        }
        if self.dice.chance(rates.set_priority) {
            let at = self.any_host();
            let priority = i64::try_from(self.dice.below(5)).unwrap_or(0) - 2;
            self.act(Request::SetPriority(priority).of(self.id(at)));
        }
        if self.dice.chance(rates.set_window) {
            let (at, peer) = (self.likely_leader(), self.any_id());
            let window = self.dice.chance(700).then_some(Window {
                messages: self.dice.position(4),
                bytes: self.dice.below(300),
            });
            self.act(Request::SetWindow(peer, window).of(self.id(at)));
        }
        if self.dice.chance(rates.set_skip_commit_broadcast) {
            let at = self.any_host();
            let skip = self.dice.chance(500);
            self.act(Request::SetSkipCommitBroadcast(skip).of(self.id(at)));
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
            self.act(Request::EntriesFetched(purpose).of(self.id(at)));
        }
        if self.dice.chance(rates.report_unreachable) {
            let (at, peer) = (self.likely_leader(), self.any_id());
            self.act(Request::ReportUnreachable(peer).of(self.id(at)));
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
        let context = self.next_context();
        let by_lease = false;
        self.act(Request::Read { context, by_lease }.of(self.id(at)));
    }

    /// A read on every node that could hold a lease, and on one other now and then.
    fn read_by_lease(&mut self) {
        let mut asked = self.leaders();
        if self.dice.chance(50) {
            asked.push(self.any_host());
        }
        for at in asked {
            let context = self.next_context();
            let by_lease = true;
            self.act(Request::Read { context, by_lease }.of(self.id(at)));
        }
    }

    fn next_context(&mut self) -> Bytes {
        self.next_read += 1;
        let number = self.next_read % self.read_contexts;
        Bytes::from(number.to_be_bytes().to_vec())
    }
}
