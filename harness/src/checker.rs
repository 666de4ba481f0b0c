//! The watchers of Raft's promises (Figure 3) and of the durability rules.
//!
//! Owns the ghost state: what was ever led, logged, committed, applied and voted in a run. Must not
//! know how runs are made; it is shown every output and every change of a node and answers with the
//! promise that broke, if one did.
//!
//! Log Matching is held by induction: each (term, index) has one content and one predecessor for
//! all time, whoever holds it. So every check costs as much as what is new.

mod clients;
mod history;
mod log_view;
mod promises;
mod quorum;
mod reads;
mod transfers;
mod windows;

use std::collections::BTreeMap;

use almadia::{Bytes, ConfState, Entry, LogId, LogIndex, NodeId, RoleKind, Storage, Term};

use self::clients::Clients;
pub use self::history::Impossible;
pub(crate) use self::history::{REGISTERS, register_of};
use self::log_view::LogView;
pub(crate) use self::promises::is_covered;
use self::quorum::is_quorum;
use self::reads::{ReadCounts, Reads};
use self::transfers::{TransferCounts, Transfers};
use self::windows::Windows;
use crate::digest::Digest;
use crate::embedder::Embedder;
use crate::host::Host;
use crate::node::{Batch, Node};
use crate::stats::Stats;
use crate::violation::ViolationKind;

/// Which watchers are on. All of them, unless a test wants to see that the others find a fault too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Watch that messages and commits wait for the disk.
    pub durability: bool,
    /// Watch that no node of the cluster has reason to refuse another one's message.
    pub refusals: bool,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            durability: true,
            refusals: true,
        }
    }
}

/// What was last seen of a running node.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    term: Term,
    commit: LogIndex,
    applied: LogIndex,
    /// Up to here its committed entries were compared.
    checked_commit: LogIndex,
}

/// What is known of one (term, index).
#[derive(Clone, Copy, Debug)]
struct Known {
    term: Term,
    digest: u64,
    previous: Term,
}

/// What is known of one committed index.
#[derive(Clone, Debug)]
struct Applied {
    hash: u64,
    conf_state: ConfState,
}

#[derive(Clone, Debug)]
pub(crate) struct Checker {
    pub(crate) checks: Checks,
    leaders: BTreeMap<Term, (NodeId, u64)>,
    /// Every entry ever seen, by index.
    entries: Vec<Vec<Known>>,
    /// The committed entry at each index; the first is at zero, the position before the log.
    committed: Vec<LogId>,
    /// The term in which a leader committed each of them. Leaders of later terms must have it; one
    /// of an earlier term, whose votes took long to arrive, need not.
    committed_in: Vec<Term>,
    /// The state after each applied index.
    applied: BTreeMap<LogIndex, Applied>,
    votes: BTreeMap<(Term, NodeId), NodeId>,
    seen: Vec<Seen>,
    logs: Vec<LogView>,
    reads: Vec<Reads>,
    transfers: Vec<Transfers>,
    windows: Vec<Windows>,
    read_counts: ReadCounts,
    transfer_counts: TransferCounts,
    /// How often something was committed while entries had to wait for a second group.
    group_commits: u64,
    clients: Clients,
}

type Checked = Result<(), ViolationKind>;

impl Checker {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            checks: Checks::default(),
            leaders: BTreeMap::new(),
            entries: vec![Vec::new()],
            committed: vec![LogId::ZERO],
            committed_in: vec![Term::ZERO],
            applied: BTreeMap::new(),
            votes: BTreeMap::new(),
            seen: vec![Seen::default(); nodes],
            logs: vec![LogView::default(); nodes],
            reads: vec![Reads::default(); nodes],
            transfers: vec![Transfers::default(); nodes],
            windows: vec![Windows::default(); nodes],
            read_counts: ReadCounts::default(),
            transfer_counts: TransferCounts::default(),
            group_commits: 0,
            clients: Clients::new(nodes),
        }
    }

    /// Adds what only the checkers can count.
    pub(crate) fn count(&self, stats: Stats) -> Stats {
        Stats {
            elections: self.leaders.len() as u64,
            commits: self.last_committed().0,
            reads: self.read_counts.answered,
            lease_reads: self.read_counts.by_lease,
            reads_dropped: self.read_counts.dropped,
            transfers: self.transfer_counts.succeeded,
            transfers_failed: self.transfer_counts.failed,
            group_commits: self.group_commits,
            ..stats
        }
    }

    /// The highest term that any leader has led.
    pub(crate) fn last_led(&self) -> Option<Term> {
        self.leaders.last_key_value().map(|(&term, _)| term)
    }

    /// The highest index that any leader has committed.
    fn last_committed(&self) -> LogIndex {
        self.committed.last().copied().unwrap_or_default().index
    }

    // --- What was asked for ---

    /// A read is about to be asked for.
    pub(crate) fn before_read(&mut self, at: usize, context: Bytes, may_use_lease: bool) {
        let committed = self.last_committed();
        self.clients.read_begins(at, context.clone());
        self.reads[at].asked(context, committed, may_use_lease);
    }

    /// The read that was just asked for was not taken.
    pub(crate) fn read_refused(&mut self, at: usize) {
        self.clients.read_refused(at);
        self.reads[at].refused();
    }

    /// A write of this value is about to be asked for.
    pub(crate) fn before_write(&mut self, value: u64) {
        self.clients.write_begins(value);
    }

    /// The write of this value was refused, so that it must never take effect.
    pub(crate) fn write_refused(&mut self, value: u64) {
        self.clients.write_refused(value);
    }

    /// The write of this value was taken.
    pub(crate) fn on_write(&mut self, at: usize, id: LogId, value: u64) {
        self.clients.write_taken(at, id, value);
    }

    /// A node has taken a proposal of so many bytes when it had committed up to there.
    pub(crate) fn on_proposal<E: Embedder>(
        &mut self,
        host: &Host<E>,
        at: usize,
        (id, bytes): (LogId, u64),
        committed: LogIndex,
    ) -> Checked {
        let node = host.node.as_ref().and_then(Node::as_almadia);
        node.map_or(Ok(()), |node| {
            self.windows[at].on_proposal(node, id, bytes, committed)
        })
    }

    /// Whether all that clients have seen can have come of one copy of the data.
    pub(crate) fn check_history(&self) -> Checked {
        Ok(self.clients.check()?)
    }

    /// A transfer was asked for in this term, and taken, while so many ends of earlier ones were
    /// not told.
    pub(crate) fn on_transfer(&mut self, at: usize, transferee: NodeId, term: Term, untold: usize) {
        self.transfers[at].asked(transferee, term, untold);
    }

    /// What was asked of this node and has not ended.
    pub(crate) fn without_end(&self, at: usize) -> Option<String> {
        let transfer = self.transfers[at].without_end();
        transfer.or_else(|| self.reads[at].without_end())
    }

    // --- Nodes ---

    /// A node was started from its disk.
    pub(crate) fn on_start<E: Embedder>(&mut self, host: &Host<E>, at: usize) -> Checked {
        let Some(node) = &host.node else {
            return Ok(());
        };
        let is_silent = node.as_almadia().is_none();
        self.clients.forget(at, is_silent);
        self.reads[at] = Reads::new(is_silent);
        self.transfers[at] = Transfers::default();
        self.windows[at] = Windows::default();
        self.logs[at] = LogView::read(node.storage());
        for &[before, entry] in self.logs[at].pairs().collect::<Vec<_>>().iter() {
            let known = self.known(entry);
            match known {
                Some(known) if known.previous == before.term => {}
                Some(_) | None => {
                    return Err(ViolationKind::LogsDoNotMatch {
                        id: entry,
                        previous: before.term,
                        node: host.id,
                    });
                }
            }
        }
        self.seen[at] = Seen {
            term: node.current_term(),
            commit: node.commit_index(),
            applied: node.last_applied(),
            checked_commit: LogIndex::ZERO,
        };
        self.check_committed(host, at)
    }

    /// Something was called on a node. To be shown before anything else is called anywhere.
    pub(crate) fn observe<E: Embedder>(&mut self, hosts: &[Host<E>], at: usize) -> Checked {
        let host = &hosts[at];
        let Some(node) = &host.node else {
            return Ok(());
        };
        let seen = &mut self.seen[at];
        let numbers = [
            ("current term", &mut seen.term.0, node.current_term().0),
            ("commit index", &mut seen.commit.0, node.commit_index().0),
            ("last applied", &mut seen.applied.0, node.last_applied().0),
        ];
        for (what, before, after) in numbers {
            if after < *before {
                return Err(ViolationKind::WentBack {
                    node: host.id,
                    what,
                    before: *before,
                    after,
                });
            }
            *before = after;
        }
        let term = node.current_term();
        let leads = node.role() == RoleKind::Leader;
        // A leader may commit something and step down within one call.
        if leads || self.logs[at].led == Some(term) {
            self.observe_leader(hosts, at, term)?;
        }
        if !leads {
            self.logs[at].led = None;
        }
        Ok(())
    }

    fn observe_leader<E: Embedder>(&mut self, hosts: &[Host<E>], at: usize, term: Term) -> Checked {
        let host = &hosts[at];
        let leader = (host.id, host.incarnation);
        let first = *self.leaders.entry(term).or_insert_with(|| leader);
        if first != leader {
            return Err(ViolationKind::TwoLeaders {
                term,
                first: first.0,
                second: host.id,
            });
        }
        if self.logs[at].led != Some(term) {
            self.logs[at].led = Some(term);
            self.check_leader_completeness(host.id, at, term)?;
        }
        let commit = self.seen[at].commit;
        if commit.0 >= self.committed.len() as u64 {
            self.commit(hosts, at, commit)?;
        }
        self.check_committed(host, at)
    }

    fn check_leader_completeness(&self, leader: NodeId, at: usize, term: Term) -> Checked {
        let log = &self.logs[at];
        let earlier = self
            .committed_in
            .partition_point(|&committed| committed < term);
        for &entry in &self.committed[..earlier] {
            if entry.index >= log.before_first().index && log.at(entry.index) != Some(entry) {
                return Err(ViolationKind::LeaderLacksCommitted {
                    leader,
                    term,
                    entry,
                });
            }
        }
        Ok(())
    }

    /// A leader has committed further than anybody before.
    fn commit<E: Embedder>(&mut self, hosts: &[Host<E>], at: usize, through: LogIndex) -> Checked {
        let host = &hosts[at];
        let log = &self.logs[at];
        let mut last = LogId::ZERO;
        while (self.committed.len() as u64) <= through.0 {
            let index = LogIndex(self.committed.len() as u64);
            let Some(entry) = log.at(index) else {
                return Err(ViolationKind::CommittedByNobody {
                    node: host.id,
                    index,
                });
            };
            self.committed.push(entry);
            self.committed_in.push(self.seen[at].term);
            last = entry;
        }
        let Some(node) = host.node.as_ref().filter(|_| self.checks.durability) else {
            return Ok(());
        };
        self.group_commits += u64::from(host.groups.in_force);
        // Counted here, and not by the core: its own arithmetic may be what is wrong.
        let holds = |voter: NodeId| {
            let mut hosts = hosts.iter();
            hosts.any(|host| host.id == voter && host.disk.holds(last))
        };
        let halves = [node.membership().incoming(), node.membership().outgoing()];
        let is_durable = halves
            .iter()
            .all(|half| is_quorum(half, &host.groups, holds));
        if is_durable {
            Ok(())
        } else {
            Err(ViolationKind::CommittedNotDurable {
                leader: host.id,
                entry: last,
            })
        }
    }

    /// Compares what this node takes as committed with what is.
    pub(crate) fn check_committed<E: Embedder>(&mut self, host: &Host<E>, at: usize) -> Checked {
        let seen = &mut self.seen[at];
        let log = &self.logs[at];
        while seen.checked_commit < seen.commit {
            let index = seen.checked_commit.next().max(log.before_first().index);
            let Some(&committed) = self.committed.get(usize::try_from(index.0).unwrap_or(0)) else {
                return Err(ViolationKind::CommittedByNobody {
                    node: host.id,
                    index,
                });
            };
            if log.at(index) != Some(committed) {
                return Err(ViolationKind::CommittedDiffers {
                    node: host.id,
                    committed,
                    found: log.at(index).unwrap_or_default(),
                });
            }
            seen.checked_commit = index;
        }
        Ok(())
    }

    /// A node handed out a `Ready`.
    pub(crate) fn on_ready<E: Embedder>(
        &mut self,
        host: &Host<E>,
        at: usize,
        batch: &Batch,
    ) -> Checked {
        if let Some(snapshot) = &batch.snapshot {
            self.check_append_only(host, at, snapshot.last_included.index)?;
            self.logs[at].restart_at(snapshot.last_included);
        }
        for entry in batch.entries.iter().flatten() {
            self.on_entry(host, at, entry)?;
        }
        self.reads[at].on_ready(host.id, batch, &mut self.read_counts)?;
        self.clients.on_ready(at, batch);
        self.clients.serve(at, &host.machine)?;
        let leaders = &self.leaders;
        let led_after = |node, term: Term| {
            let mut later = leaders.range(term.next()..);
            later.any(|(_, &(leader, _))| leader == node)
        };
        self.transfers[at].on_ready(host.id, batch, led_after, &mut self.transfer_counts)?;
        self.check_committed(host, at)
    }

    /// A node is about to be observed that has just handed out this `Ready`. A state machine that
    /// was ahead of its log is taken back to a snapshot, which is still to be restored; and that
    /// alone takes it back.
    pub(crate) fn before_ready(&mut self, at: usize, batch: &Batch) {
        if let Some(snapshot) = &batch.snapshot {
            let seen = &mut self.seen[at];
            let restored = snapshot.last_included.index;
            seen.applied = seen.applied.min(restored.previous());
        }
    }

    fn check_append_only<E: Embedder>(&self, host: &Host<E>, at: usize, from: LogIndex) -> Checked {
        let Some(node) = &host.node else {
            return Ok(());
        };
        if node.role() == RoleKind::Leader && from <= self.logs[at].last().index {
            return Err(ViolationKind::LeaderOverwrites {
                leader: host.id,
                term: node.current_term(),
                from,
            });
        }
        Ok(())
    }

    fn on_entry<E: Embedder>(&mut self, host: &Host<E>, at: usize, entry: &Entry) -> Checked {
        self.check_append_only(host, at, entry.index())?;
        let Some(previous) = self.logs[at].append(entry.id) else {
            return Err(ViolationKind::HoleInLog {
                node: host.id,
                entry: entry.id,
                last: self.logs[at].last(),
            });
        };
        let digest = Digest::of(entry);
        if let Some(known) = self.known(entry.id) {
            if known.digest != digest {
                return Err(ViolationKind::TwoEntriesAtOnePlace {
                    id: entry.id,
                    node: host.id,
                });
            }
            if known.previous != previous.term {
                return Err(ViolationKind::LogsDoNotMatch {
                    id: entry.id,
                    previous: previous.term,
                    node: host.id,
                });
            }
            return Ok(());
        }
        let position = usize::try_from(entry.index().0).unwrap_or(usize::MAX);
        while self.entries.len() <= position {
            self.entries.push(Vec::new());
        }
        self.entries[position].push(Known {
            term: entry.id.term,
            digest,
            previous: previous.term,
        });
        Ok(())
    }

    fn known(&self, id: LogId) -> Option<Known> {
        let position = usize::try_from(id.index.0).ok()?;
        let mut known = self.entries.get(position)?.iter();
        known.find(|known| known.term == id.term).copied()
    }

    /// A state machine is about to apply an entry.
    pub(crate) fn before_apply<E: Embedder>(&self, host: &Host<E>, entry: LogId) -> Checked {
        let applied = host.machine.applied_index();
        if entry.index != applied.next() {
            return Err(ViolationKind::AppliedOutOfOrder {
                node: host.id,
                entry,
                applied,
            });
        }
        let committed = usize::try_from(entry.index.0)
            .ok()
            .and_then(|position| self.committed.get(position));
        match committed {
            Some(&committed) if committed == entry => Ok(()),
            Some(&committed) => Err(ViolationKind::CommittedDiffers {
                node: host.id,
                committed,
                found: entry,
            }),
            None => Err(ViolationKind::CommittedByNobody {
                node: host.id,
                index: entry.index,
            }),
        }
    }

    /// A state machine has applied an entry, or restored a snapshot.
    pub(crate) fn after_apply<E: Embedder>(&mut self, host: &Host<E>, at: usize) -> Checked {
        let (node, machine) = (host.id, &host.machine);
        let index = machine.applied_index();
        self.clients.applied(at, machine.applied());
        self.clients.serve(at, machine)?;
        let known = self.applied.entry(index).or_insert_with(|| Applied {
            hash: machine.hash(),
            conf_state: machine.conf_state().clone(),
        });
        if known.hash != machine.hash() {
            return Err(ViolationKind::StatesDiffer { node, index });
        }
        if known.conf_state != *machine.conf_state() {
            let problem = format!(
                "it came to {:?}, others to {:?}",
                machine.conf_state(),
                known.conf_state
            );
            return Err(ViolationKind::MembershipDiffers {
                node,
                index,
                problem,
            });
        }
        Ok(())
    }

    /// Whether some leader has committed this very entry.
    pub(crate) fn is_committed(&self, id: LogId) -> bool {
        self.committed.contains(&id)
    }
}

/// The last entry of a storage, as far as it can be read.
pub(crate) fn last_of(storage: &impl Storage) -> LogId {
    let index = storage.last_index().unwrap_or_default();
    let term = storage.term(index).unwrap_or_default();
    LogId { term, index }
}
