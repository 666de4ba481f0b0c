//! What a run must not forget: who has led, what was committed, which reads wait.
//!
//! Owns the promises that machines keep together, those of Raft's Figure 3 above all. Kept as small
//! as the promises allow, for two situations that differ in it are two.

use almadia::{LogId, LogIndex, Membership, NodeId, Term};

use super::machine::{Effect, Machine, Place};
use crate::violation::ViolationKind;

type Checked = Result<(), ViolationKind>;

/// Everything about the past on which a promise rests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct History {
    /// Who has led, by term.
    leaders: Vec<(Term, NodeId)>,
    /// What leaders have committed, from the first index on, and in which term the first of them
    /// did.
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
                Effect::Commits(term, ref membership) => {
                    self.commits(machine, term, membership, machines)?;
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
        // A leader of an earlier term, whose votes took long to arrive, need not have it.
        let earlier = self.committed.iter().filter(|&&(_, by)| by < term);
        for (committed, _) in earlier {
            if machine.log_at(committed.id.index) != Some(*committed) {
                return Err(ViolationKind::LeaderLacksCommitted {
                    leader: machine.id,
                    term,
                    entry: committed.id,
                });
            }
        }
        Ok(())
    }

    /// A leader has committed, which nobody may undo: a quorum has it on its disks.
    fn commits(
        &mut self,
        machine: &Machine,
        term: Term,
        membership: &Membership,
        machines: &[&Machine],
    ) -> Checked {
        let Some(node) = machine.node() else {
            return Ok(());
        };
        let mut last = None;
        while self.last_committed() < node.commit_index() {
            let index = self.last_committed().next();
            let Some(place) = machine.log_at(index) else {
                let node = machine.id;
                return Err(ViolationKind::CommittedByNobody { node, index });
            };
            self.committed.push((place, term));
            last = Some(place.id);
        }
        match last {
            Some(entry) if !is_durable(entry, membership, machines) => {
                Err(ViolationKind::CommittedNotDurable {
                    leader: machine.id,
                    entry,
                })
            }
            Some(_) | None => Ok(()),
        }
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
    membership.has_quorum(|voter| {
        let mut holders = machines.iter();
        holders.any(|machine| machine.id == voter && machine.has_durable(entry))
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
