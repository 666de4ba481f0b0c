//! What each action does to a cluster.
//!
//! Owns the meaning of every [`Action`]. Must not decide when one happens.

use almadia::{HardState, NodeId, Term};

use super::Cluster;
use crate::action::{Action, MachineAction, Request};
use crate::embedder::{Embedder, Store};
use crate::host::Host;
use crate::node::{Kind, Node};
use crate::trace::What;
use crate::unreliable::Answers;

impl<E: Embedder> Cluster<E> {
    /// Lets this happen.
    pub fn perform(&mut self, action: &Action) {
        match action {
            Action::Step => {
                self.stats.steps += 1;
                self.now += 1;
                self.network.release(self.now);
                self.send_due_reports();
            }
            Action::At(node, action) => {
                if let Some(at) = self.find(*node) {
                    self.perform_at(at, *action);
                }
            }
            Action::Ask(node, request) => {
                if let Some(at) = self.find(*node) {
                    self.ask(at, request.clone());
                }
            }
            Action::Deliver(place) => {
                if let Some(message) = self.network.take_from(*place) {
                    self.deliver(message);
                }
            }
            Action::Lose(place) => {
                if let Some(message) = self.network.take_from(*place) {
                    self.lose(&message);
                }
            }
            Action::Delay(place, steps) => {
                if let Some(message) = self.network.take_from(*place) {
                    self.tell_note(message.from, || {
                        let kind = message.body.kind();
                        format!("its {kind} to {} takes {steps} steps more", message.to)
                    });
                    self.network.delay(message, self.now + steps);
                }
            }
            Action::Duplicate(place) => self.network.duplicate(*place),
            Action::Cut { from, to } => {
                let ends = (self.find(*from), self.find(*to));
                if let (Some(_), Some(_)) = ends {
                    self.cut(*from, *to);
                }
            }
            Action::Heal => self.heal(),
            Action::Recover => self.recover(),
        }
    }

    /// The position of this node, if there is one.
    fn find(&self, id: u64) -> Option<usize> {
        let position = usize::try_from(id).ok()?.checked_sub(1)?;
        (position < self.hosts.len()).then_some(position)
    }

    fn perform_at(&mut self, at: usize, action: MachineAction) {
        match action {
            MachineAction::Tick => self.tick_at(at),
            MachineAction::Ticks(ticks) => self.tick_many_at(at, ticks),
            MachineAction::OweTick => self.owe_tick_at(at),
            MachineAction::SettleClock => self.settle_clock(at),
            MachineAction::Run => self.pump(at),
            MachineAction::Write => drop(self.complete_write(at)),
            MachineAction::Apply => drop(self.apply_job(at)),
            MachineAction::Save => {
                let host = &mut self.hosts[at];
                host.disk.keep_machine(&host.machine);
            }
            MachineAction::Compact => drop(self.compact_at(at)),
            MachineAction::Crash { kept, synced } => self.crash_at(at, kept, synced),
            MachineAction::Start => {
                if self.hosts[at].node.is_none() {
                    self.start(at);
                }
            }
            MachineAction::Answer(answers) => self.answer_at(at, answers),
            MachineAction::AllowUnpersisted(allowed) => {
                self.hosts[at].settings.max_apply_unpersisted_entries = u64::from(allowed) * 1000;
            }
            MachineAction::Replace(kind) => self.replace_at(at, kind),
            MachineAction::Install(kind) => self.install_at(at, kind),
            MachineAction::SlowMail => {
                self.network.slow_down(self.hosts[at].id);
                let text = "its mail takes long from now on".into();
                self.tell(at, || What::Note { text });
            }
        }
    }

    /// Puts a node of this kind in the place of the one that is up.
    fn replace_at(&mut self, at: usize, kind: Kind) {
        if self.hosts[at].node.is_none() {
            return;
        }
        self.crash_at(at, usize::MAX, true);
        self.install_at(at, kind);
        self.start(at);
    }

    /// Lets a machine that is down start with a node of this kind, unless it is to go back to raft-rs
    /// and nobody would hear of the term that it has to be given for that.
    fn install_at(&mut self, at: usize, kind: Kind) {
        let before = self.hosts[at].kind;
        if self.hosts[at].node.is_some() || before == kind {
            return;
        }
        if before == Kind::Almadia {
            if !self.is_heard_at(at) {
                return;
            }
            self.raise_term_at(at);
        }
        self.hosts[at].kind = kind;
        self.stats.mixed.installed.count(kind);
        #[cfg(feature = "raft-rs")]
        {
            self.talks_in_bytes = true;
        }
        self.tell(at, || What::Note {
            text: format!("is replaced by {kind:?}"),
        });
    }

    /// Whether the others hear of a new term of this node: it answers a leader of an earlier one, or
    /// stands for election. Whoever does neither would be left behind with it for ever.
    fn is_heard_at(&self, at: usize) -> bool {
        let Host {
            id, settings, disk, ..
        } = &self.hosts[at];
        let state = disk.machine.conf_state();
        let has_vote = state.voters.contains(id) || state.voters_outgoing.contains(id);
        has_vote || settings.pre_vote || settings.check_quorum
    }

    /// A node of almadia asks for votes while its new term is on the way to the disk. A crash may
    /// take the term back; a successor of raft-rs could win the votes for it, and would lead before
    /// its own vote is durable. So its term is raised above all that it can have asked for.
    fn raise_term_at(&mut self, at: usize) {
        /// More than anybody asks for in terms that are lost in crashes.
        const MORE: u64 = 1_000_000;
        let terms = self.hosts.iter().map(|host| {
            let running = host.node.as_ref().map(Node::current_term);
            let durable = host.disk.durable.hard_state().current_term;
            running.map_or(durable, |term| term.max(durable))
        });
        let highest = terms.max().unwrap_or_default();
        let durable = &mut self.hosts[at].disk.durable;
        durable.set_hard_state(HardState {
            current_term: Term(highest.0 + MORE),
            voted_for: None,
            ..durable.hard_state()
        });
    }

    /// Lets the node's storage answer like this.
    pub(super) fn answer_at(&mut self, at: usize, answers: Answers) {
        if let Some(node) = &self.hosts[at].node {
            let before = node.storage().set_answers(answers);
            self.tell_answers(at, before, answers);
        }
    }

    /// What users and operators ask for. Nothing happens if the node is down or busy.
    fn ask(&mut self, at: usize, request: Request) {
        match request {
            Request::Campaign => drop(self.call(at, Node::campaign)),
            Request::Propose { number, padding } => {
                self.write_at(at, number, padding);
            }
            Request::Forward {
                number,
                count,
                padding,
            } => self.forward_at(at, number, count, padding),
            Request::Change(change) => self.change_at(at, change),
            Request::GroupCommit(in_force) => self.set_group_commit_at(at, in_force),
            Request::AssignGroup { member, group } => {
                if let Some(member) = NodeId::new(member) {
                    self.assign_group_at(at, member, group);
                }
            }
            Request::Transfer(transferee) => {
                if let Some(transferee) = NodeId::new(transferee) {
                    self.transfer_at(at, transferee);
                }
            }
            Request::Read { context, by_lease } => self.read_at(at, context, by_lease),
            Request::ForgetLeader => drop(self.call(at, Node::forget_leader)),
            Request::RequestSnapshot => self.request_snapshot_at(at),
            Request::Ping => drop(self.call(at, Node::ping)),
            Request::SetPriority(priority) => {
                self.call(at, |node| node.set_priority(priority));
            }
            Request::SetWindow(peer, window) => {
                if let Some(peer) = NodeId::new(peer) {
                    self.call(at, |node| node.set_window(peer, window));
                }
            }
            Request::SetSkipCommitBroadcast(skip) => {
                self.call(at, |node| node.set_skip_commit_broadcast(skip));
            }
            Request::EntriesFetched(purpose) => {
                self.call(at, |node| node.on_entries_fetched(purpose));
            }
            Request::ReportUnreachable(peer) => {
                if let Some(peer) = NodeId::new(peer) {
                    self.call(at, |node| node.report_unreachable(peer));
                }
            }
        }
    }
}
