//! The reference: what a log store holds after what was done with it, as simply as can be.
//!
//! Owns the meaning of writes, snapshots and compactions. Must not know a store.

use std::fmt;

use almadia::{
    ConfState, Entries, Entry, HardState, InitialState, LogId, LogIndex, Snapshot, Term,
};

use super::Write;

/// Something done with a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// These writes, in order; with one of them it is an ordinary write.
    Write(Vec<Write>),
    /// Keep a snapshot of the state machine.
    SaveSnapshot(Snapshot),
    /// Forget entries up to here.
    Compact(LogIndex),
    /// End the process in order, and open the store again.
    Reopen,
}

impl Action {
    /// Whether what was compacted before does not matter any more.
    pub(super) fn moves_first_index(&self, before: &Model) -> bool {
        match self {
            Self::Write(writes) => writes.iter().any(|it| it.snapshot.is_some()),
            Self::Compact(through) => *through > before.compacted,
            Self::SaveSnapshot(_) | Self::Reopen => false,
        }
    }
}

/// The contents of a log store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Model {
    /// Whom the cluster began with.
    members: ConfState,
    pub(super) hard_state: HardState,
    /// The end of the snapshot that was installed last.
    installed: LogId,
    /// Everything behind it, also what is compacted.
    entries: Vec<Entry>,
    /// Entries up to here need not be there any more.
    compacted: LogIndex,
    pub(super) snapshot: Option<Snapshot>,
}

impl Model {
    pub(super) fn new(members: ConfState) -> Self {
        Self {
            members,
            hard_state: HardState::default(),
            installed: LogId::ZERO,
            entries: Vec::new(),
            compacted: LogIndex::ZERO,
            snapshot: None,
        }
    }

    /// The first index that there may be.
    pub(super) const fn earliest_first_index(&self) -> LogIndex {
        self.installed.index.next()
    }

    /// The first index, if compaction forgets all that it may.
    pub(super) const fn first_index(&self) -> LogIndex {
        self.compacted.next()
    }

    pub(super) fn last(&self) -> LogId {
        self.entries.last().map_or(self.installed, |entry| entry.id)
    }

    /// The state machine that starts from the snapshot has applied so much.
    pub(super) fn applied(&self) -> LogId {
        let snapshot = self.snapshot.as_ref();
        snapshot.map_or(LogId::ZERO, |it| it.last_included)
    }

    pub(super) fn snapshot_index(&self) -> LogIndex {
        self.applied().index
    }

    /// Also of what is compacted, as far as it is known.
    pub(super) fn term(&self, index: LogIndex) -> Option<Term> {
        if index == self.installed.index {
            return Some(self.installed.term);
        }
        self.entry(index).map(|entry| entry.id.term)
    }

    pub(super) fn entry(&self, index: LogIndex) -> Option<&Entry> {
        let behind = index.since(self.installed.index).checked_sub(1)?;
        self.entries.get(usize::try_from(behind).ok()?)
    }

    /// The entries from one to the other, as far as they are there.
    pub(super) fn entries(&self, first: LogIndex, last: LogIndex) -> &[Entry] {
        let position = |index: LogIndex| {
            let behind = index.since(self.installed.index);
            usize::try_from(behind).map_or(self.entries.len(), |it| it.min(self.entries.len()))
        };
        let start = position(first.previous());
        &self.entries[start..position(last).max(start)]
    }

    pub(super) fn initial_state(&self) -> InitialState {
        let snapshot = self.snapshot.as_ref();
        InitialState {
            hard_state: self.hard_state,
            conf_state: snapshot.map_or_else(|| self.members.clone(), |it| it.conf_state.clone()),
        }
    }

    pub(super) fn write(&mut self, write: &Write) {
        if let Some(snapshot) = &write.snapshot {
            self.installed = snapshot.last_included;
            self.compacted = snapshot.last_included.index;
            self.entries.clear();
            self.snapshot = Some(snapshot.clone());
        }
        for run in &write.entries {
            self.append(run);
        }
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
    }

    fn append(&mut self, run: &Entries) {
        let Some(first) = run.first_id() else {
            return;
        };
        let kept = first.index.since(self.earliest_first_index());
        self.entries
            .truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        self.entries.extend(run.iter().cloned());
    }

    pub(super) fn save_snapshot(&mut self, snapshot: &Snapshot) {
        self.snapshot = Some(snapshot.clone());
    }

    pub(super) fn compact(&mut self, through: LogIndex) {
        self.compacted = self.compacted.max(through);
    }

    /// Whether the two differ in nothing but the commit index and what is compacted.
    pub(super) fn is_same_but_for_commit(&self, other: &Self) -> bool {
        let mut other = other.clone();
        other.hard_state.commit_index = self.hard_state.commit_index;
        other.compacted = self.compacted;
        *self == other
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(writes) => {
                for (number, write) in writes.iter().enumerate() {
                    let and = if number == 0 { "" } else { "; and at once: " };
                    write!(f, "{and}{write}")?;
                }
                Ok(())
            }
            Self::SaveSnapshot(snapshot) => write!(f, "save {}", Shown(snapshot)),
            Self::Compact(through) => write!(f, "compact through {through}"),
            Self::Reopen => f.write_str("open again"),
        }
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write")?;
        if let Some(snapshot) = &self.snapshot {
            write!(f, " {},", Shown(snapshot))?;
        }
        for run in &self.entries {
            write!(f, " entries {},", Shown(&**run))?;
        }
        if let Some(hard_state) = self.hard_state {
            write!(f, " {},", Shown(&hard_state))?;
        }
        f.write_str(if self.must_sync {
            " with fsync"
        } else {
            " without fsync"
        })
    }
}

/// A value as reports show it.
pub(super) struct Shown<'a, T: ?Sized>(pub(super) &'a T);

impl fmt::Display for Shown<'_, Snapshot> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Snapshot {
            last_included,
            conf_state,
            data,
        } = self.0;
        write!(
            f,
            "a snapshot at {last_included} ({} bytes, members ",
            data.len()
        )?;
        write!(f, "{:?}", conf_state.voters)?;
        for (name, nodes) in [
            ("learners", &conf_state.learners),
            ("outgoing", &conf_state.voters_outgoing),
            ("learners next", &conf_state.learners_next),
        ] {
            if !nodes.is_empty() {
                write!(f, " {name} {nodes:?}")?;
            }
        }
        f.write_str(")")
    }
}

impl fmt::Display for Shown<'_, HardState> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HardState {
            current_term,
            voted_for,
            commit_index,
        } = self.0;
        let vote = voted_for.map_or_else(|| "nobody".into(), |node| format!("node {node}"));
        write!(
            f,
            "hard state (term {current_term}, vote for {vote}, commit {commit_index})"
        )
    }
}

impl fmt::Display for Shown<'_, Entry> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for Shown<'_, [Entry]> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("none"),
            [one] => write!(f, "{} ({} bytes)", one.id, one.size_bytes()),
            [first, .., last] => {
                let bytes: u64 = self.0.iter().map(Entry::size_bytes).sum();
                write!(f, "{} to {} ({bytes} bytes)", first.id, last.id)
            }
        }
    }
}
