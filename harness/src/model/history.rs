//! What a run must not forget: who has led, what was committed, which reads wait.
//!
//! Owns the promises that machines keep together, those of Raft's Figure 3 above all. Kept as small
//! as the promises allow, for two situations that differ in it are two.

use almadia::{LogId, LogIndex, Membership, NodeId, RawNode, Storage, Term};

use super::machine::{Claim, Effect, Machine, Place};
use crate::violation::ViolationKind;

type Checked = Result<(), ViolationKind>;

/// Everything about the past on which a promise rests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct History {
    /// Who has led, by term.
    leaders: Vec<(Term, NodeId)>,
    /// What leaders have committed, from the first index on, and the first term in which one of
    /// them did.
    committed: Vec<(Place, Term)>,
    /// The reads that wait, who asked, and what was committed then.
    reads: Vec<(u8, NodeId, LogIndex)>,
}

impl History {
    /// The highest index that any leader has committed.
    fn last_committed(&self) -> LogIndex {
        LogIndex(self.committed.len() as u64)
    }

    /// Takes in what an input has meant. `machines` are as they are now, the one it came to
    /// included.
    pub(super) fn take(
        &mut self,
        effects: &[Effect],
        machine: &Machine,
        machines: &[&Machine],
    ) -> Checked {
        for effect in effects {
            match *effect {
                Effect::Leads(term) => self.leads(machine, term)?,
                Effect::Commits(term, through, ref membership) => {
                    self.commits(machine, (term, through), membership, machines)?;
                }
                Effect::Asks(read) => {
                    let committed = self.last_committed();
                    self.reads.push((read, machine.id, committed));
                }
                Effect::Answers(read, index) => {
                    let waits = self.reads.iter().position(|&(number, ..)| number == read);
                    let Some((_, _, committed)) = waits.map(|at| self.reads.remove(at)) else {
                        let what = format!("the read {read}");
                        let node = machine.id;
                        return Err(ViolationKind::EndedTwice { node, what });
                    };
                    check_read(machine.id, index, committed)?;
                }
                Effect::AnswersAtOnce(index) => {
                    check_read(machine.id, index, self.last_committed())?;
                }
                Effect::Contradicts {
                    term,
                    entry,
                    ref error,
                } => self.check_contradiction(machine, term, entry, error)?,
                Effect::Drops(read) => self.reads.retain(|&(number, ..)| number != read),
                Effect::Forgets => self.reads.retain(|&(_, asker, _)| asker != machine.id),
            }
        }
        Ok(())
    }

    /// Election Safety, and Leader Completeness.
    fn leads(&mut self, machine: &Machine, term: Term) -> Checked {
        if let Some(&(_, first)) = self.leaders.iter().find(|&&(led, _)| led == term) {
            return Err(ViolationKind::TwoLeaders {
                term,
                first,
                second: machine.id,
            });
        }
        self.leaders.push((term, machine.id));
        self.leaders.sort_unstable();
        self.check_completeness(machine, term)
    }

    /// A leader has committed, which nobody may undo: a quorum has it on its disks. It may be one
    /// who was deposed meanwhile. Then whoever leads a later term must have it too, for an entry is
    /// committed in the moment in which a quorum holds it, whoever learns of that when.
    fn commits(
        &mut self,
        machine: &Machine,
        (term, through): (Term, LogIndex),
        membership: &Membership,
        machines: &[&Machine],
    ) -> Checked {
        for index in (1..=through.0).map(LogIndex) {
            let Some(place) = machine.log_at(index) else {
                let node = machine.id;
                return Err(ViolationKind::CommittedByNobody { node, index });
            };
            let position = usize::try_from(index.0 - 1).unwrap_or(usize::MAX);
            match self.committed.get_mut(position) {
                // What differs is found by whoever compares it with what the machine holds.
                Some((_, by)) => *by = term.min(*by),
                None => self.committed.push((place, term)),
            }
            if index == through && !is_durable(place.id, membership, machines) {
                return Err(ViolationKind::CommittedNotDurable {
                    leader: machine.id,
                    entry: place.id,
                });
            }
        }
        for later in machines.iter().filter(|machine| machine.leads()) {
            let led = later.node().map(RawNode::current_term).unwrap_or_default();
            if led > term {
                self.check_completeness(later, led)?;
            }
        }
        Ok(())
    }

    /// Leader Completeness. A leader of an earlier term than that in which an entry was committed,
    /// because its votes took long to arrive, need not have it.
    fn check_completeness(&self, leader: &Machine, term: Term) -> Checked {
        let earlier = self.committed.iter().filter(|&&(_, by)| by < term);
        for (committed, _) in earlier {
            if leader.log_at(committed.id.index) != Some(*committed) {
                return Err(ViolationKind::LeaderLacksCommitted {
                    leader: leader.id,
                    term,
                    entry: committed.id,
                });
            }
        }
        Ok(())
    }

    /// A node that has applied an entry, and forgets in a crash in which term it was committed, may
    /// hear from a leader who was deposed before. Nobody else has reason to contradict.
    fn check_contradiction(
        &self,
        machine: &Machine,
        term: Term,
        entry: LogId,
        error: &str,
    ) -> Checked {
        let is_deposed = self.committed.iter().any(|&(committed, by)| {
            committed.id.index == entry.index && committed.id != entry && by > term
        });
        if is_deposed {
            return Ok(());
        }
        Err(ViolationKind::MessageRefused {
            node: machine.id,
            message: format!("entry {entry} of term {term}"),
            error: error.into(),
        })
    }

    /// State Machine Safety: what a machine takes as committed is what was committed.
    pub(super) fn check_committed(&self, machine: &Machine) -> Checked {
        let commit = machine.commit_index();
        if commit > self.last_committed() {
            return Err(ViolationKind::CommittedByNobody {
                node: machine.id,
                index: commit,
            });
        }
        let known = usize::try_from(commit.0).unwrap_or(usize::MAX);
        for (committed, _) in self.committed.iter().take(known) {
            let found = machine.log_at(committed.id.index);
            if found != Some(*committed) {
                return Err(ViolationKind::CommittedDiffers {
                    node: machine.id,
                    committed: committed.id,
                    found: found.map(|place| place.id).unwrap_or_default(),
                });
            }
        }
        Ok(())
    }

    /// What was committed stays durable on a quorum of a membership that does not change.
    pub(super) fn check_durable(&self, membership: &Membership, machines: &[&Machine]) -> Checked {
        for (committed, _) in &self.committed {
            if !is_durable(committed.id, membership, machines) {
                let by = self.leaders.last();
                return Err(ViolationKind::CommittedNotDurable {
                    leader: by.map_or(machines[0].id, |&(_, leader)| leader),
                    entry: committed.id,
                });
            }
        }
        Ok(())
    }
}

fn is_durable(entry: LogId, membership: &Membership, machines: &[&Machine]) -> bool {
    has_quorum(membership, |voter| {
        let mut holders = machines.iter();
        holders.any(|machine| machine.id == voter && machine.has_durable(entry))
    })
}

/// Whether these are a majority of the voters, of both configurations if it is joint. Counted anew,
/// for the core's own arithmetic is among what is checked.
pub(super) fn has_quorum(membership: &Membership, is_among: impl Fn(NodeId) -> bool) -> bool {
    let is_majority = |voters: &[NodeId]| {
        let count = voters.iter().filter(|&&voter| is_among(voter)).count();
        voters.is_empty() || count * 2 > voters.len()
    };
    is_majority(membership.incoming()) && is_majority(membership.outgoing())
}

/// What a leader holds to be durable on its peers is there: no more was acknowledged than was true,
/// and no more believed than was acknowledged. A peer in a later term may have lost it since to
/// another leader.
pub(super) fn check_matches(leader: &Machine, machines: &[&Machine]) -> Checked {
    let Some(node) = leader.node() else {
        return Ok(());
    };
    for (peer, index) in leader.matches() {
        let Some(peer) = machines.iter().find(|machine| machine.id == peer) else {
            continue;
        };
        if peer.disk().hard_state().current_term <= node.current_term() {
            let term = peer.disk().term(index).unwrap_or_default();
            check_held(peer.id, leader, LogId { term, index })?;
        }
    }
    Ok(())
}

/// A follower's acknowledgement speaks for what is in the leader's log, if that leads the term yet.
pub(super) fn check_claim(node: NodeId, claim: &Claim, machines: &[&Machine]) -> Checked {
    let mut leaders = machines.iter().filter(|machine| {
        let term = machine.node().map(RawNode::current_term);
        machine.id == claim.to && machine.leads() && term == Some(claim.term)
    });
    leaders.try_for_each(|leader| check_held(node, leader, claim.held))
}

fn check_held(node: NodeId, leader: &Machine, held: LogId) -> Checked {
    let leaders = leader.log_at(held.index).map(|place| place.id);
    if leaders == Some(held) {
        return Ok(());
    }
    Err(ViolationKind::MatchUntrue {
        node,
        leaders: leaders.unwrap_or(LogId {
            term: Term::ZERO,
            index: held.index,
        }),
        held,
    })
}

fn check_read(node: NodeId, read_index: LogIndex, committed: LogIndex) -> Checked {
    if read_index < committed {
        return Err(ViolationKind::StaleRead {
            node,
            read_index,
            committed,
        });
    }
    Ok(())
}

/// Log Matching: two logs that hold the same entry at an index are the same up to there.
pub(super) fn check_log_matching(one: &Machine, other: &Machine) -> Checked {
    let mut agree: Option<LogId> = None;
    for (here, there) in one.log.iter().zip(&other.log).rev() {
        match agree {
            Some(id) if here.id != there.id => {
                return Err(ViolationKind::LogsDoNotMatch {
                    id,
                    previous: here.id.term,
                    node: one.id,
                });
            }
            Some(_) | None if here.id == there.id => {
                if here.digest != there.digest {
                    return Err(ViolationKind::TwoEntriesAtOnePlace {
                        id: here.id,
                        node: one.id,
                    });
                }
                agree = Some(here.id);
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}
