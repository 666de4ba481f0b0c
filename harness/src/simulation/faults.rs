//! What goes wrong in a random run: machines crash, stand still and are replaced, storages answer late,
//! links are cut.
//!
//! Owns the choice of faults. Must not know what has to hold in spite of them.

use super::Simulation;
use crate::action::{Action, MachineAction};
use crate::embedder::Embedder;
use crate::profile::Mix;
use crate::unreliable::Answers;

impl<E: Embedder> Simulation<'_, E> {
    /// The faults of one step.
    pub(super) fn faults(&mut self) {
        let profile = self.profile;
        if self.dice.chance(profile.mix.replace) || self.is_late() {
            self.replace();
        }
        self.rest();
        self.answers();
        if self.dice.chance(profile.crash) {
            let at = self.leader_or_any(500);
            self.crash(at);
        }
        if self.dice.chance(profile.blackout) {
            let leader = self.leader_or_any(1000);
            let others = (0..self.cluster.hosts.len()).filter(|&at| at != leader);
            for at in others {
                if self.dice.chance(700) {
                    let crash = MachineAction::Crash {
                        kept: 0,
                        synced: false,
                    };
                    self.act(crash.at(self.id(at)));
                }
            }
        }
        for at in 0..self.cluster.hosts.len() {
            if self.cluster.hosts[at].node.is_none() && self.dice.chance(profile.restart) {
                self.act(MachineAction::Start.at(self.id(at)));
            }
        }
        if self.dice.chance(profile.partition) {
            self.partition();
        }
        if self.dice.chance(profile.heal) {
            self.act(Action::Heal);
        }
        if self.cluster.network.is_whole() && self.dice.chance(profile.coup) {
            if let Some(leader) = self.cluster.leader() {
                self.cut_off(leader);
            }
        }
    }

    /// The next machine begins to run what it did not run: so a cluster goes from one kind to the
    /// other node by node, and back. Some are stopped in good order, others crash, and are down for
    /// a while.
    fn replace(&mut self) {
        let at = usize::try_from(self.replaced).unwrap_or(0) % self.cluster.hosts.len();
        let id = self.id(at);
        if self.is_late() {
            self.act(MachineAction::Start.at(id));
        }
        if self.cluster.hosts[at].node.is_none() {
            return;
        }
        self.replaced += 1;
        let kind = self.cluster.hosts[at].kind;
        let kind = kind.other(self.profile.mix.embedding);
        if self.dice.chance(500) {
            return self.act(MachineAction::Replace(kind).at(id));
        }
        self.crash(at);
        self.act(MachineAction::Install(kind).at(id));
    }

    /// Whether the cluster would not get to the other kind and back in its steps, if it went on no
    /// faster.
    fn is_late(&self) -> bool {
        let Mix { replace, .. } = self.profile.mix;
        let due = 2 * self.cluster.hosts.len() as u64 * self.cluster.stats.steps;
        replace > 0 && (self.replaced + 1) * self.profile.steps <= due
    }

    /// A machine crashes, and its disk has got as far as chance will have it.
    fn crash(&mut self, at: usize) {
        let pending = self.cluster.hosts[at].disk.pending.len();
        let kept = self.dice.position(pending + 1);
        let synced = self.dice.chance(500);
        self.act(MachineAction::Crash { kept, synced }.at(self.id(at)));
    }

    /// Lets a storage answer late, or not at all, and again as it should.
    fn answers(&mut self) {
        let profile = self.profile;
        for (rate, answers) in [
            (profile.fetch, Answers::Later),
            (profile.read_error, Answers::Failing),
            // However they answer, it does not last.
            (100, Answers::Sound),
        ] {
            if self.dice.chance(rate) {
                let at = self.likely_leader();
                self.act(MachineAction::Answer(answers).at(self.id(at)));
            }
        }
        let may_apply_unpersisted = profile.settings.max_apply_unpersisted_entries > 0;
        if may_apply_unpersisted && self.dice.chance(20) {
            let (at, allowed) = (self.any_host(), self.dice.chance(500));
            self.act(MachineAction::AllowUnpersisted(allowed).at(self.id(at)));
        }
    }

    /// Lets a machine, or its disk alone, do nothing for a while.
    fn rest(&mut self) {
        /// In steps; longer than an election takes.
        const LONGEST: u64 = 60;
        let now = self.cluster.now;
        if self.dice.chance(self.profile.pause) {
            let at = self.likely_leader();
            self.paces[at].paused_until = now + self.dice.below(LONGEST);
        }
        if self.dice.chance(self.profile.stall) {
            let at = self.likely_leader();
            self.paces[at].stalled_until = now + self.dice.below(LONGEST);
        }
    }

    /// Cuts links, in this direction only.
    fn cut(&mut self, links: impl IntoIterator<Item = (u64, u64)>) {
        for (from, to) in links {
            self.act(Action::Cut { from, to });
        }
    }

    /// Cuts one node off from all others, in one direction or both.
    fn cut_off(&mut self, one: u64) {
        let nodes = self.cluster.hosts.len() as u64;
        match self.dice.below(5) {
            // One of the others alone does not hear it, and may not be heard.
            0 => {
                let other = 1 + self.dice.below(nodes);
                self.cut([(one, other)]);
                if self.dice.chance(700) {
                    self.cut([(other, one)]);
                }
            }
            // It sends and does not hear.
            1 => self.cut((1..=nodes).map(|other| (other, one))),
            // It hears, and nobody hears it. What it hears may be old.
            2 => {
                self.cut((1..=nodes).map(|other| (one, other)));
                if self.dice.chance(700) {
                    self.act(MachineAction::SlowMail.at(one));
                }
            }
            _ => self.cut((1..=nodes).flat_map(|other| [(one, other), (other, one)])),
        }
    }

    fn partition(&mut self) {
        let nodes = self.cluster.hosts.len() as u64;
        let one = 1 + self.likely_leader() as u64;
        match self.dice.below(8) {
            0..5 => self.cut_off(one),
            // A star: everybody hears one node, and nobody else.
            5 => {
                let centre = 1 + self.dice.below(nodes);
                self.keep_only(|from, to| from == centre || to == centre);
            }
            // A chain: everybody hears its neighbours.
            6 => self.keep_only(|from, to| from.abs_diff(to) <= 1),
            _ => {
                let side: Vec<bool> = (0..=nodes).map(|_| self.dice.chance(500)).collect();
                let on = |id: u64| usize::try_from(id).ok().and_then(|id| side.get(id));
                self.keep_only(|from, to| on(from) == on(to));
            }
        }
    }

    /// Cuts all links but these.
    fn keep_only(&mut self, keeps: impl Fn(u64, u64) -> bool) {
        let nodes = self.cluster.hosts.len() as u64;
        let links = (1..=nodes).flat_map(|from| (1..=nodes).map(move |to| (from, to)));
        let cut: Vec<_> = links
            .filter(|&(from, to)| from != to && !keeps(from, to))
            .collect();
        self.cut(cut);
    }
}
