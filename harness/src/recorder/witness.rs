//! The storage of a recorded node, and of a replayed one: a disk whose answers are overheard, or a
//! script of them.
//!
//! Owns the questions that a node asks its [`Storage`], and their answers as values. Must not know
//! how they are written down.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use almadia::{
    Entries, EntriesRequest, InitialState, LogId, LogIndex, NodeId, RawNode, Snapshot, Storage,
    StorageError, Term,
};

use super::coding::{coded_enum, coded_struct};
use super::tape::Tape;
use crate::digest::Digest;

/// What a node asks its storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    InitialState,
    Entries(EntriesRequest),
    Term(LogIndex),
    FirstIndex,
    LastIndex,
    Snapshot { request_index: LogIndex, to: NodeId },
}

/// What a storage answers.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    InitialState(InitialState),
    Entries(Entries),
    /// Entries that the recording holds already: the node has handed them out before.
    Known(KnownEntries),
    Term(Term),
    Index(LogIndex),
    Snapshot(Snapshot),
}

/// Entries by name.
#[derive(Clone, Debug)]
pub(super) struct KnownEntries {
    pub(super) ids: Vec<LogId>,
    /// A hash of all that is in them.
    pub(super) digest: u64,
}

impl KnownEntries {
    pub(super) fn of(entries: &Entries) -> Self {
        Self {
            ids: entries.iter().map(|entry| entry.id).collect(),
            digest: Digest::of(entries),
        }
    }
}

/// A question and its answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) question: Question,
    pub(super) reply: Result<Reply, StorageError>,
}

coded_enum!(Question {
    0 InitialState,
    1 Entries(request),
    2 Term(index),
    3 FirstIndex,
    4 LastIndex,
    5 Snapshot { request_index, to },
});
coded_enum!(Reply {
    0 InitialState(it),
    1 Entries(it),
    2 Known(it),
    3 Term(it),
    4 Index(it),
    5 Snapshot(it),
});
coded_struct!(KnownEntries { ids, digest });
coded_struct!(Answer { question, reply });

/// The storage inside a recorded or replayed node. No part of the node's identity: nodes are equal
/// whether they read a disk or a recording. A clone of one reads a clone of the disk, and nobody
/// overhears it.
pub struct Witness<S> {
    source: Source<S>,
}

enum Source<S> {
    Disk { disk: S, tape: Option<Tape<S>> },
    Script(Script),
}

impl<S> Witness<S> {
    pub(super) const fn of_disk(disk: S, tape: Option<Tape<S>>) -> Self {
        let source = Source::Disk { disk, tape };
        Self { source }
    }

    pub(super) const fn of_script(script: Script) -> Self {
        let source = Source::Script(script);
        Self { source }
    }

    /// The disk; `None` on a replayed node, which has none.
    #[must_use]
    pub const fn disk(&self) -> Option<&S> {
        match &self.source {
            Source::Disk { disk, .. } => Some(disk),
            Source::Script(_) => None,
        }
    }

    /// The disk, to be written to.
    pub const fn disk_mut(&mut self) -> Option<&mut S> {
        match &mut self.source {
            Source::Disk { disk, .. } => Some(disk),
            Source::Script(_) => None,
        }
    }

    pub(super) fn into_disk(self) -> Option<S> {
        match self.source {
            Source::Disk { disk, .. } => Some(disk),
            Source::Script(_) => None,
        }
    }
}

/// A copy of the node that has no disk.
pub(super) fn without_disk<S: Storage + Clone>(
    node: &mut RawNode<Witness<S>>,
) -> RawNode<Witness<S>> {
    let stand_in = Witness::of_script(Script::default());
    let witness = std::mem::replace(node.storage_mut(), stand_in);
    let copy = node.clone();
    *node.storage_mut() = witness;
    copy
}

impl<S: Storage> Witness<S> {
    fn ask<T: Clone>(
        &self,
        question: Question,
        ask: impl FnOnce(&S) -> Result<T, StorageError>,
        into_reply: impl FnOnce(T) -> Reply,
        from_reply: impl FnOnce(Reply) -> Option<T>,
    ) -> Result<T, StorageError> {
        match &self.source {
            Source::Disk { disk, tape } => {
                let answer = ask(disk);
                if let Some(tape) = tape {
                    tape.overhear(|| Answer {
                        question,
                        reply: answer.clone().map(into_reply),
                    });
                }
                answer
            }
            Source::Script(script) => script.answer(question, from_reply),
        }
    }
}

/// Takes this kind out of a reply.
macro_rules! kind {
    ($kind:ident) => {
        |reply| {
            if let Reply::$kind(it) = reply {
                Some(it)
            } else {
                None
            }
        }
    };
}

impl<S: Storage> Storage for Witness<S> {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        let question = Question::InitialState;
        self.ask(
            question,
            S::initial_state,
            Reply::InitialState,
            kind!(InitialState),
        )
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        let question = Question::Entries(*request);
        self.ask(
            question,
            |disk| disk.entries(request),
            Reply::Entries,
            kind!(Entries),
        )
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        let question = Question::Term(index);
        self.ask(question, |disk| disk.term(index), Reply::Term, kind!(Term))
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        self.ask(
            Question::FirstIndex,
            S::first_index,
            Reply::Index,
            kind!(Index),
        )
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        self.ask(
            Question::LastIndex,
            S::last_index,
            Reply::Index,
            kind!(Index),
        )
    }

    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
        let question = Question::Snapshot { request_index, to };
        let ask = |disk: &S| disk.snapshot(request_index, to);
        self.ask(question, ask, Reply::Snapshot, kind!(Snapshot))
    }
}

impl<S: Clone> Clone for Witness<S> {
    fn clone(&self) -> Self {
        match &self.source {
            Source::Disk { disk, .. } => Self::of_disk(disk.clone(), None),
            Source::Script(script) => Self::of_script(script.clone()),
        }
    }
}

impl<S> fmt::Debug for Witness<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}

impl<S> PartialEq for Witness<S> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<S> Eq for Witness<S> {}

impl<S> Hash for Witness<S> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// The answers that a replayed node will be given. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Script(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    answers: VecDeque<Answer>,
    /// Whether a recorded call is under way. What is asked else was not recorded, and changes
    /// nothing.
    is_open: bool,
    /// The first question that was not the one recorded.
    trouble: Option<Asked>,
}

/// A storage was asked for something else than when it was recorded; `None` for nothing more.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) now: Option<Question>,
    pub(super) then: Option<Question>,
}

impl Script {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins in which these answers were given.
    pub(super) fn open(&self, answers: VecDeque<Answer>) {
        *self.pages() = Pages {
            answers,
            is_open: true,
            trouble: None,
        };
    }

    /// The call has ended. Returns the first difference between what was asked and what is
    /// recorded.
    pub(super) fn close(&self) -> Option<Asked> {
        let pages = std::mem::take(&mut *self.pages());
        let unasked = pages.answers.into_iter().next().map(|answer| Asked {
            now: None,
            then: Some(answer.question),
        });
        pages.trouble.or(unasked)
    }

    fn answer<T>(
        &self,
        question: Question,
        from_reply: impl FnOnce(Reply) -> Option<T>,
    ) -> Result<T, StorageError> {
        let mut pages = self.pages();
        if !pages.is_open || pages.trouble.is_some() {
            return Err(StorageError::TemporarilyUnavailable);
        }
        match pages.answers.pop_front() {
            Some(answer) if answer.question == question => {
                let reply = answer.reply.map(from_reply).transpose();
                reply.unwrap_or(Err(StorageError::Contract("an answer of another kind")))
            }
            other => {
                pages.trouble = Some(Asked {
                    now: Some(question),
                    then: other.map(|answer| answer.question),
                });
                Err(StorageError::Contract("the recording has no such answer"))
            }
        }
    }
}
