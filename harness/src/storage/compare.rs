//! What a store answers, held against the reference.
//!
//! Owns every question that can be put to a `Storage`, and the answer that the contract asks for.
//! Must not know how the store came to hold what it holds.

use almadia::{
    Entries, EntriesRequest, Entry, LogIndex, NodeId, Purpose, Snapshot, Storage, StorageError,
    Term,
};

use super::Subject;
use super::clause::Clause;
use super::failure::Mismatch;
use super::model::{Model, Shown};
use crate::dice::Dice;

/// How often the suite asks again for what is temporarily unavailable.
pub(super) const PATIENCE: u32 = 1000;

/// A store, and what it should hold.
pub(super) struct Inquiry<'a, S: Subject> {
    pub(super) subject: &'a S,
    pub(super) store: &'a S::Store,
    pub(super) model: &'a Model,
    /// The least first index that is right: entries may be there that compaction was to forget.
    pub(super) least_first: LogIndex,
}

/// The peer for which entries and snapshots are asked for.
pub(super) fn peer() -> NodeId {
    NodeId::from(core::num::NonZeroU64::MIN.saturating_add(1))
}

type Checked<T = ()> = Result<T, Mismatch>;

impl<S: Subject> Inquiry<'_, S> {
    /// Everything that can be asked of a running store. Returns its first index.
    pub(super) fn check_all(&self, dice: &mut Dice) -> Checked<LogIndex> {
        let first = self.check_contents()?;
        self.check_terms_outside(first)?;
        self.check_each_entry(first)?;
        self.check_limits(first, dice)?;
        self.check_entries_outside(first)?;
        self.check_later_snapshots()?;
        Ok(first)
    }

    /// What the store holds: bounds, terms, entries, snapshot. Returns its first index.
    pub(super) fn check_contents(&self) -> Checked<LogIndex> {
        let first = self.check_bounds()?;
        let last = self.model.last().index;
        for index in first.previous().0..=last.0 {
            self.check_term(LogIndex(index))?;
        }
        self.check_whole_log(first)?;
        self.check_snapshot()?;
        Ok(first)
    }

    /// What a node finds that starts.
    pub(super) fn check_initial_state(&self) -> Checked {
        let wanted = self.model.initial_state();
        let found = self.store.initial_state();
        let found = found.map_err(|error| failed(Clause::Starts, "initial_state()", &error))?;
        if found.hard_state != wanted.hard_state {
            return Err(Mismatch::new(
                Clause::HardState,
                Shown(&wanted.hard_state).to_string(),
                Shown(&found.hard_state).to_string(),
            ));
        }
        if found.conf_state != wanted.conf_state {
            return Err(Mismatch::new(
                Clause::ConfState,
                format!("{:?}", wanted.conf_state),
                format!("{:?}", found.conf_state),
            ));
        }
        Ok(())
    }

    fn check_bounds(&self) -> Checked<LogIndex> {
        let first = self.store.first_index();
        let first = first.map_err(|error| failed(Clause::FirstIndex, "first_index()", &error))?;
        let wanted = self.model.first_index();
        let least = self.least_first.max(self.model.earliest_first_index());
        if first < least || first > wanted {
            // Too much is gone, or nothing is where something was compacted.
            let clause = if first > wanted && self.model.last().index >= wanted {
                Clause::Compaction
            } else {
                Clause::FirstIndex
            };
            let expected = if least == wanted {
                format!("first_index() is {wanted}")
            } else {
                format!("first_index() is between {least} and {wanted}")
            };
            return Err(Mismatch::new(clause, expected, format!("{first}")));
        }
        let last = self.store.last_index();
        let last = last.map_err(|error| failed(Clause::LastIndex, "last_index()", &error))?;
        let wanted = self.model.last().index;
        if last != wanted {
            let clause = if wanted == self.model.earliest_first_index().previous() && last > wanted
            {
                Clause::Installs
            } else if wanted < first {
                Clause::EmptyLog
            } else if last > wanted {
                Clause::Replaces
            } else {
                Clause::LastIndex
            };
            let expected = format!("last_index() is {wanted} where first_index() is {first}");
            return Err(Mismatch::new(clause, expected, format!("{last}")));
        }
        Ok(first)
    }

    fn check_term(&self, index: LogIndex) -> Checked {
        let wanted = self.model.term(index).unwrap_or(Term::ZERO);
        let found = self.store.term(index);
        if found == Ok(wanted) {
            return Ok(());
        }
        let expected = format!("term({index}) is {wanted}");
        Err(Mismatch::new(Clause::Term, expected, answered(&found)))
    }

    fn check_terms_outside(&self, first: LogIndex) -> Checked {
        let before = first.previous();
        for index in [before.previous(), LogIndex(before.0 / 2), LogIndex::ZERO] {
            let found = self.store.term(index);
            if index < before && found != Err(StorageError::Compacted) {
                let expected =
                    format!("term({index}) is Compacted, because first_index() is {first}");
                let clause = Clause::TermCompacted;
                return Err(Mismatch::new(clause, expected, answered(&found)));
            }
        }
        let last = self.model.last().index;
        for index in [last.next(), last + 1000, LogIndex::MAX, LogIndex(u64::MAX)] {
            let found = self.store.term(index);
            if index > last && found != Err(StorageError::Unavailable) {
                let expected =
                    format!("term({index}) is Unavailable, because last_index() is {last}");
                let clause = Clause::TermUnavailable;
                return Err(Mismatch::new(clause, expected, answered(&found)));
            }
        }
        Ok(())
    }

    /// The whole log, from answer to answer.
    fn check_whole_log(&self, first: LogIndex) -> Checked {
        let last = self.model.last().index;
        let mut next = first;
        while next <= last {
            let request = EntriesRequest::new(next, last, u64::MAX, Purpose::Apply);
            let found = self.check_entries(&request)?;
            next = next + found.len() as u64;
        }
        Ok(())
    }

    fn check_each_entry(&self, first: LogIndex) -> Checked {
        for index in first.0..=self.model.last().index.0 {
            let index = LogIndex(index);
            for max_bytes in [0, u64::MAX] {
                self.check_entries(&EntriesRequest::new(index, index, max_bytes, Purpose::Scan))?;
            }
        }
        Ok(())
    }

    /// Ranges and limits, those first where one entry more or less makes the difference.
    fn check_limits(&self, first: LogIndex, dice: &mut Dice) -> Checked {
        let last = self.model.last().index;
        let length = (last + 1).since(first);
        if length == 0 {
            return Ok(());
        }
        for draw in 0..12 {
            let (from, to) = if draw == 0 {
                (first, last)
            } else {
                let one = first + dice.below(length);
                let other = first + dice.below(length);
                (one.min(other), one.max(other))
            };
            let wanted = self.model.entries(from, to);
            let sizes = wanted.iter().map(Entry::size_bytes);
            let within = dice.position(wanted.len()) + 1;
            let exact: u64 = sizes.take(within).sum();
            for max_bytes in [0, 1, exact - 1, exact, exact + 1, u64::MAX] {
                let purpose = Purpose::Send(peer());
                self.check_entries(&EntriesRequest::new(from, to, max_bytes, purpose))?;
            }
        }
        Ok(())
    }

    /// Asks for entries that are there.
    fn check_entries(&self, request: &EntriesRequest) -> Checked<Entries> {
        let wanted = self.model.entries(request.first, request.last);
        let mismatch = |clause, found| {
            let expected = format!("{} is a prefix of {}", shown(request), Shown(wanted));
            Mismatch::new(clause, expected, found)
        };
        let found = self.patiently(|store| store.entries(request));
        let found = found.map_err(|error| {
            let error = answered::<()>(&Err(error));
            mismatch(Clause::Entries, error)
        })?;
        if found.is_empty() || found.len() > wanted.len() {
            return Err(mismatch(Clause::Entries, Shown(&*found).to_string()));
        }
        if let Some((found, wanted)) = found.iter().zip(wanted).find(|(it, wanted)| it != wanted) {
            let clause = if found.id.index == wanted.id.index {
                Clause::ReflectsWrites
            } else {
                Clause::NoHole
            };
            let expected = format!("{} has {}", shown(request), Shown(wanted));
            return Err(Mismatch::new(clause, expected, Shown(found).to_string()));
        }
        if found.len() > 1 && found.size_bytes() > request.max_bytes {
            let expected = format!("{} is at most {} bytes", shown(request), request.max_bytes);
            let found = format!("{} entries of {} bytes", found.len(), found.size_bytes());
            return Err(Mismatch::new(Clause::MaxBytes, expected, found));
        }
        Ok(found)
    }

    /// Asks for entries that are not there.
    fn check_entries_outside(&self, first: LogIndex) -> Checked {
        let last = self.model.last().index;
        for (from, to) in [
            (first.previous(), last.max(first)),
            (first.previous(), first.previous()),
            (LogIndex::ZERO, last),
        ] {
            let request = EntriesRequest::new(from, to, u64::MAX, Purpose::Apply);
            let found = self.store.entries(&request);
            if found != Err(StorageError::Compacted) {
                let expected = format!(
                    "{} is Compacted, because first_index() is {first}",
                    shown(&request)
                );
                let clause = Clause::EntriesCompacted;
                return Err(Mismatch::new(clause, expected, answered(&found)));
            }
        }
        // No node asks for this, and the contract has no answer to it but that there is one.
        for (from, to) in [
            (last.next(), last.next()),
            (last.next(), last + 5),
            (first, last + 5),
            (last + 5, last.next()),
            (LogIndex(u64::MAX), LogIndex(u64::MAX)),
        ] {
            let request = EntriesRequest::new(from, to, u64::MAX, Purpose::Apply);
            let Ok(found) = self.store.entries(&request) else {
                continue;
            };
            let wanted = self.model.entries(from, to.min(last));
            if !wanted.starts_with(&found) {
                let expected = format!("{} invents no entries", shown(&request));
                let found = Shown(&*found).to_string();
                return Err(Mismatch::new(Clause::OnlyTheEmbedder, expected, found));
            }
        }
        Ok(())
    }

    /// The snapshot that there is.
    fn check_snapshot(&self) -> Checked {
        let Some(wanted) = &self.model.snapshot else {
            return match self.store.snapshot(LogIndex::ZERO, peer()) {
                Ok(found) => Err(Mismatch::new(
                    Clause::Snapshot,
                    "no snapshot, because none was saved and nothing was applied",
                    Shown(&found).to_string(),
                )),
                Err(_) => Ok(()),
            };
        };
        let reach = wanted.last_included.index;
        for request_index in [LogIndex::ZERO, reach] {
            let found = self.patiently(|store| store.snapshot(request_index, peer()));
            let call = format!("snapshot({request_index}) is {}", Shown(wanted));
            match found {
                Ok(found) => compare_snapshots(&found, wanted, &call)?,
                Err(error) => {
                    let found = answered::<()>(&Err(error));
                    return Err(Mismatch::new(Clause::Snapshot, call, found));
                }
            }
        }
        Ok(())
    }

    /// Snapshots that nobody has made yet. Without any, the store may know that there is none.
    fn check_later_snapshots(&self) -> Checked {
        let reach = self.model.snapshot_index();
        for request_index in [reach.next(), reach + 1000] {
            let found = self.store.snapshot(request_index, peer());
            let expected = format!(
                "snapshot({request_index}) is TemporarilyUnavailable, because none reaches there"
            );
            match found {
                Ok(found) if found.last_included.index < request_index => {
                    let found = Shown(&found).to_string();
                    return Err(Mismatch::new(Clause::Snapshot, expected, found));
                }
                Err(StorageError::TemporarilyUnavailable) => {}
                Err(_) if self.model.snapshot.is_none() => {}
                found @ (Ok(_) | Err(_)) => {
                    let clause = Clause::SnapshotUnavailable;
                    return Err(Mismatch::new(clause, expected, answered(&found)));
                }
            }
        }
        Ok(())
    }

    fn patiently<T>(
        &self,
        ask: impl Fn(&S::Store) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        for _ in 0..PATIENCE {
            match ask(self.store) {
                Err(StorageError::TemporarilyUnavailable) => self.subject.wait(self.store),
                answer @ (Ok(_) | Err(_)) => return answer,
            }
        }
        ask(self.store)
    }
}

fn compare_snapshots(found: &Snapshot, wanted: &Snapshot, expected: &str) -> Checked {
    if found.conf_state != wanted.conf_state && found.last_included == wanted.last_included {
        return Err(Mismatch::new(
            Clause::SnapshotMembership,
            format!("{:?}", wanted.conf_state),
            format!("{:?}", found.conf_state),
        ));
    }
    if found != wanted {
        let other = if found.last_included == wanted.last_included {
            " of other data"
        } else {
            ""
        };
        let found = format!("{}{other}", Shown(found));
        return Err(Mismatch::new(Clause::Snapshot, expected, found));
    }
    Ok(())
}

fn shown(request: &EntriesRequest) -> String {
    let EntriesRequest {
        first,
        last,
        max_bytes,
        ..
    } = request;
    if *max_bytes == u64::MAX {
        format!("entries({first} to {last})")
    } else {
        format!("entries({first} to {last}, {max_bytes} bytes)")
    }
}

/// An answer in words.
fn answered<T: Answer>(answer: &Result<T, StorageError>) -> String {
    match answer {
        Ok(value) => value.show(),
        Err(error) => format!("the error \"{error}\""),
    }
}

fn failed(clause: Clause, call: &str, error: &StorageError) -> Mismatch {
    Mismatch::new(
        clause,
        format!("{call} answers"),
        answered::<()>(&Err(error.clone())),
    )
}

trait Answer {
    fn show(&self) -> String;
}

impl Answer for () {
    fn show(&self) -> String {
        "an answer".into()
    }
}

impl Answer for Term {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Answer for Entries {
    fn show(&self) -> String {
        format!("entries {}", Shown(&**self))
    }
}

impl Answer for Snapshot {
    fn show(&self) -> String {
        Shown(self).to_string()
    }
}
