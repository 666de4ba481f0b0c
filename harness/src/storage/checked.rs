//! A wrapper that watches what a `Storage` answers.
//!
//! Owns the checks that can be made while a node runs: of each answer by itself, of answers against
//! each other, and against what was written. Must not know the reference of the suite.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;

use almadia::{
    Entries, EntriesRequest, Entry, InitialState, LogId, LogIndex, Membership, NodeId, Snapshot,
    Storage, StorageError, Term,
};

use super::Write;
use super::clause::Clause;
use super::place::locked;

/// How many log ids are remembered, to hold later answers to them.
const REMEMBERED: usize = 32;

/// A [`Storage`] that checks the contract at every call.
///
/// Use it around the storage of a node, in tests and in debug builds of what runs in production:
/// a call costs a few more calls of the storage, and the memory is bounded. An answer that breaks
/// the contract becomes [`StorageError::Contract`], upon which the node stops; with
/// [`recording`](Self::recording) it is passed on. Either way [`breach`](Self::breach) tells what
/// it was.
///
/// It remembers some of what it was answered, so it has to be told of writes that replace entries:
/// write through [`inner_mut`](Self::inner_mut), or report them with [`wrote`](Self::wrote).
#[derive(Debug)]
pub struct CheckedStorage<S> {
    storage: S,
    passes_on: bool,
    seen: Mutex<Seen>,
}

/// A breach of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Breach {
    /// The line of the contract.
    pub clause: Clause,
    /// What was asked, and answered.
    pub found: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, against {}", self.found, self.clause)
    }
}

#[derive(Clone, Debug, Default)]
struct Seen {
    /// The highest first index.
    first_index: LogIndex,
    ids: VecDeque<LogId>,
    breach: Option<Breach>,
}

type Verdict = Result<(), Breach>;

fn breach(clause: Clause, found: impl Into<String>) -> Breach {
    Breach {
        clause,
        found: found.into(),
    }
}

fn require(holds: bool, clause: Clause, found: impl FnOnce() -> String) -> Verdict {
    if holds {
        Ok(())
    } else {
        Err(breach(clause, found()))
    }
}

impl<S> CheckedStorage<S> {
    /// With this storage; an answer that breaks the contract becomes an error.
    #[must_use]
    pub fn new(storage: S) -> Self {
        Self {
            storage,
            passes_on: false,
            seen: Mutex::default(),
        }
    }

    /// With this storage; its answers are passed on, whatever they are.
    #[must_use]
    pub fn recording(storage: S) -> Self {
        Self {
            passes_on: true,
            ..Self::new(storage)
        }
    }

    /// The first breach of the contract, if there was one.
    #[must_use]
    pub fn breach(&self) -> Option<Breach> {
        locked(&self.seen).breach.clone()
    }

    /// The storage itself.
    #[must_use]
    pub const fn inner(&self) -> &S {
        &self.storage
    }

    /// The storage itself, to write to it. Entries may be others afterwards.
    pub fn inner_mut(&mut self) -> &mut S {
        locked(&self.seen).ids.clear();
        &mut self.storage
    }

    /// The storage itself.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.storage
    }

    /// This write is done, and about to be acknowledged: from now on answers must reflect it.
    pub fn wrote(&self, write: &Write) {
        let mut seen = locked(&self.seen);
        if let Some(snapshot) = &write.snapshot {
            seen.ids.clear();
            seen.ids.push_back(snapshot.last_included);
            let first_index = snapshot.last_included.index.next();
            seen.first_index = seen.first_index.max(first_index);
        }
        for run in &write.entries {
            if let (Some(first), Some(last)) = (run.first_id(), run.last_id()) {
                seen.ids.retain(|id| id.index < first.index);
                seen.remember(first);
                seen.remember(last);
            }
        }
    }

    /// The answer, or what it is worth.
    fn conclude<T>(
        &self,
        answer: Result<T, StorageError>,
        verdict: Verdict,
    ) -> Result<T, StorageError> {
        let Err(breach) = verdict else {
            return answer;
        };
        let clause = breach.clause;
        locked(&self.seen).breach.get_or_insert(breach);
        if self.passes_on {
            answer
        } else {
            Err(StorageError::Contract(clause.words()))
        }
    }

    /// Holds a log id to those that were seen, and remembers it.
    fn check_id(&self, id: LogId) -> Verdict {
        let mut seen = locked(&self.seen);
        for &other in &seen.ids {
            let is_same = other.index != id.index || other.term == id.term;
            require(is_same, Clause::OnlyTheEmbedder, || {
                format!("the entry at {} was {other} and is {id}", id.index)
            })?;
            let (earlier, later) = if other.index < id.index {
                (other, id)
            } else {
                (id, other)
            };
            require(earlier.term <= later.term, Clause::Term, || {
                format!("{earlier} stands before {later}")
            })?;
        }
        seen.remember(id);
        Ok(())
    }
}

impl Seen {
    fn remember(&mut self, id: LogId) {
        if !self.ids.contains(&id) {
            self.ids.push_back(id);
        }
        if self.ids.len() > REMEMBERED {
            self.ids.pop_front();
        }
    }
}

impl<S: Storage> CheckedStorage<S> {
    fn check_initial_state(&self, state: &InitialState) -> Verdict {
        let hard_state = state.hard_state;
        let in_range = hard_state.current_term <= Term::MAX;
        let can_vote = hard_state.voted_for.is_none() || hard_state.current_term > Term::ZERO;
        require(in_range && can_vote, Clause::HardState, || {
            format!("{hard_state:?}")
        })?;
        if let Err(error) = Membership::try_from(&state.conf_state) {
            return Err(breach(Clause::ConfState, error.to_string()));
        }
        let (Ok(first), Ok(last)) = (self.storage.first_index(), self.storage.last_index()) else {
            return Ok(());
        };
        let commit_index = hard_state.commit_index;
        let is_committed = commit_index.next() >= first && commit_index <= last;
        require(is_committed, Clause::HardState, || {
            format!("the commit index is {commit_index}, in a log from {first} to {last}")
        })?;
        let Ok(term) = self.storage.term(last) else {
            return Ok(());
        };
        require(term <= hard_state.current_term, Clause::HardState, || {
            let current_term = hard_state.current_term;
            format!("the term is {current_term}, and the last entry is of term {term}")
        })
    }

    fn check_entries(
        &self,
        request: &EntriesRequest,
        first_before: Option<LogIndex>,
        answer: &Result<Entries, StorageError>,
    ) -> Verdict {
        let asked = || format!("entries({} to {})", request.first, request.last);
        let is_range = request.first <= request.last;
        match answer {
            Ok(entries) => {
                let is_there = first_before.is_none_or(|first| request.first >= first);
                require(is_there, Clause::EntriesCompacted, || {
                    format!("{} answers what is compacted", asked())
                })?;
                self.check_run(request, entries)
            }
            Err(StorageError::Compacted) if is_range => {
                let first = self.storage.first_index();
                let is_gone = first.is_ok_and(|first| request.first < first);
                require(is_gone, Clause::EntriesCompacted, || {
                    format!("{} is Compacted, and first_index() is no later", asked())
                })
            }
            Err(StorageError::Unavailable) if is_range => {
                let last = self.storage.last_index();
                let is_beyond = last.is_ok_and(|last| request.last > last);
                require(is_beyond, Clause::Entries, || {
                    format!(
                        "{} is Unavailable, and last_index() is not before it",
                        asked()
                    )
                })
            }
            Err(_) => Ok(()),
        }
    }

    /// Entries as an answer by themselves, and beside what `term` says.
    fn check_run(&self, request: &EntriesRequest, entries: &Entries) -> Verdict {
        let found = |why: &str| {
            let (first, last) = (request.first, request.last);
            format!(
                "entries({first} to {last}, {} bytes) {why}",
                request.max_bytes
            )
        };
        let (Some(first), Some(last)) = (entries.first_id(), entries.last_id()) else {
            return Err(breach(Clause::Entries, found("is empty")));
        };
        let is_asked_for = first.index == request.first && last.index <= request.last;
        require(is_asked_for, Clause::Entries, || {
            found(&format!("is {first} to {last}"))
        })?;
        let before = LogId {
            term: first.term,
            index: first.index.previous(),
        };
        require(entries.follow(before), Clause::NoHole, || {
            let ids: Vec<LogId> = entries.iter().map(|entry| entry.id).collect();
            found(&format!("is {ids:?}"))
        })?;
        let bytes: u64 = entries.iter().map(Entry::size_bytes).sum();
        let is_within = entries.len() == 1 || bytes <= request.max_bytes;
        require(is_within, Clause::MaxBytes, || {
            found(&format!("is {} entries of {bytes} bytes", entries.len()))
        })?;
        for id in [first, last] {
            let term = self.storage.term(id.index);
            let agrees = match &term {
                Ok(term) => *term == id.term,
                Err(error) => *error != StorageError::Unavailable,
            };
            require(agrees, Clause::Term, || {
                found(&format!("has {id}, and term({}) is {term:?}", id.index))
            })?;
            self.check_id(id)?;
        }
        Ok(())
    }

    fn check_term(
        &self,
        index: LogIndex,
        first_before: Option<LogIndex>,
        answer: &Result<Term, StorageError>,
    ) -> Verdict {
        match answer {
            Ok(term) => {
                let is_there = first_before.is_none_or(|first| index.next() >= first);
                require(is_there, Clause::TermCompacted, || {
                    format!("term({index}) is {term}, and compacted")
                })?;
                let is_in_log = self.storage.last_index().is_ok_and(|last| index <= last);
                require(is_in_log, Clause::TermUnavailable, || {
                    format!("term({index}) is {term}, and beyond the log")
                })?;
                let id = LogId { term: *term, index };
                require(id.is_position(), Clause::Term, || {
                    format!("term({index}) is {term}")
                })?;
                self.check_id(id)
            }
            Err(StorageError::Compacted) => {
                let first = self.storage.first_index();
                let is_gone = first.is_ok_and(|first| index.next() < first);
                require(is_gone, Clause::TermCompacted, || {
                    format!("term({index}) is Compacted, and first_index() - 1 is no later")
                })
            }
            Err(StorageError::Unavailable) => {
                let last = self.storage.last_index();
                let is_beyond = last.is_ok_and(|last| index > last);
                require(is_beyond, Clause::TermUnavailable, || {
                    format!("term({index}) is Unavailable, and last_index() is not before it")
                })
            }
            Err(error) => no_excuse("term", error),
        }
    }

    fn check_first_index(&self, answer: &Result<LogIndex, StorageError>) -> Verdict {
        let first = match answer {
            Ok(first) => *first,
            Err(error) => return no_excuse("first_index", error),
        };
        let is_index = first > LogIndex::ZERO && first.previous() <= LogIndex::MAX;
        require(is_index, Clause::FirstIndex, || {
            format!("first_index() is {first}")
        })?;
        let mut seen = locked(&self.seen);
        require(first >= seen.first_index, Clause::FirstIndex, || {
            format!(
                "first_index() is {first}, and cannot be before {}",
                seen.first_index
            )
        })?;
        seen.first_index = first;
        Ok(())
    }

    fn check_last_index(&self, answer: &Result<LogIndex, StorageError>) -> Verdict {
        let last = match answer {
            Ok(last) => *last,
            Err(error) => return no_excuse("last_index", error),
        };
        require(last <= LogIndex::MAX, Clause::LastIndex, || {
            format!("last_index() is {last}")
        })?;
        let first = self.storage.first_index();
        let is_bound = first.as_ref().map_or(true, |first| last.next() >= *first);
        require(is_bound, Clause::LastIndex, || {
            format!("last_index() is {last}, and first_index() is {first:?}")
        })?;
        let ends = [last, last.next()].map(|index| self.storage.term(index));
        // The log may have grown or become shorter meanwhile.
        if self.storage.last_index() != Ok(last) {
            return Ok(());
        }
        let [inside, outside] = &ends;
        let is_end = *inside != Err(StorageError::Unavailable) && outside.is_err();
        require(is_end, Clause::LastIndex, || {
            format!("last_index() is {last}, and the terms there and behind it are {ends:?}")
        })
    }

    fn check_snapshot(&self, request_index: LogIndex, snapshot: &Snapshot) -> Verdict {
        let id = snapshot.last_included;
        let is_later = id.is_position() && id != LogId::ZERO && id.index >= request_index;
        require(is_later, Clause::Snapshot, || {
            format!("snapshot({request_index}) ends at {id}")
        })?;
        let membership = Membership::try_from(&snapshot.conf_state);
        let is_told = membership.is_ok_and(|membership| !membership.is_empty());
        // Its term is not held to the log, which may have something else there: a state machine may
        // be ahead of it (`Config::max_apply_unpersisted_entries`).
        require(is_told, Clause::SnapshotMembership, || {
            let members = &snapshot.conf_state;
            format!("snapshot({request_index}) has the members {members:?}")
        })
    }
}

/// Of the errors only some say that something has failed.
fn no_excuse(method: &str, error: &StorageError) -> Verdict {
    let is_failure = !matches!(
        error,
        StorageError::Compacted | StorageError::Unavailable | StorageError::TemporarilyUnavailable
    );
    require(is_failure, Clause::Fails, || {
        format!("{method}() is the error \"{error}\"")
    })
}

impl<S: Storage> Storage for CheckedStorage<S> {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        let answer = self.storage.initial_state();
        let verdict = match &answer {
            Ok(state) => self.check_initial_state(state),
            Err(error) => no_excuse("initial_state", error),
        };
        self.conclude(answer, verdict)
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        let first_before = self.storage.first_index().ok();
        let answer = self.storage.entries(request);
        let verdict = self.check_entries(request, first_before, &answer);
        self.conclude(answer, verdict)
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        let first_before = self.storage.first_index().ok();
        let answer = self.storage.term(index);
        let verdict = self.check_term(index, first_before, &answer);
        self.conclude(answer, verdict)
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        let answer = self.storage.first_index();
        let verdict = self.check_first_index(&answer);
        self.conclude(answer, verdict)
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        let answer = self.storage.last_index();
        let verdict = self.check_last_index(&answer);
        self.conclude(answer, verdict)
    }

    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
        let answer = self.storage.snapshot(request_index, to);
        let verdict = match &answer {
            Ok(snapshot) => self.check_snapshot(request_index, snapshot),
            Err(_) => Ok(()),
        };
        self.conclude(answer, verdict)
    }
}
