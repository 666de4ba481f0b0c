//! A snapshot that took the log's place and is not on the disk yet.
//!
//! Owns when it is handed out, and what must not be applied before it is persisted. Knows nothing of
//! the log that it replaces.

use alloc::boxed::Box;

use crate::entry::Snapshot;
use crate::types::LogIndex;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Incoming {
    snapshot: Snapshot,
    handed_out: bool,
    /// The first snapshot that was handed out and is not persisted: this one, or one that it
    /// follows.
    guard: Guard,
}

/// Until a snapshot is persisted, nothing is applied that takes it. Something that was handed out
/// before it came may be, also if it ends in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Guard {
    index: LogIndex,
    /// The last index that was handed out to be applied before the snapshot came.
    applying_before: LogIndex,
}

impl Incoming {
    /// A snapshot that comes after `earlier`, which may be on its way to the disk. Up to `applying`
    /// everything was handed out to be applied.
    pub(crate) fn new(snapshot: Snapshot, earlier: Option<&Self>, applying: LogIndex) -> Self {
        let guard = Guard {
            index: snapshot.last_included.index,
            applying_before: applying,
        };
        let earlier = earlier.filter(|earlier| earlier.handed_out);
        Self {
            snapshot,
            handed_out: false,
            guard: earlier.map_or(guard, |earlier| earlier.guard),
        }
    }

    pub(crate) const fn is_handed_out(&self) -> bool {
        self.handed_out
    }

    /// The snapshot, to be persisted; once.
    pub(crate) fn hand_out(&mut self) -> Option<Box<Snapshot>> {
        if self.handed_out {
            return None;
        }
        self.handed_out = true;
        Some(Box::new(self.snapshot.clone()))
    }

    /// Whether applying up to `index` takes a snapshot that is not persisted.
    pub(crate) fn forbids(&self, index: LogIndex) -> bool {
        index >= self.guard.index && index > self.guard.applying_before
    }

    /// The snapshot that ends here is persisted. Returns whether it was this one.
    pub(crate) fn persisted(&mut self, index: LogIndex) -> bool {
        let own = self.snapshot.last_included.index;
        if index >= self.guard.index {
            self.guard = Guard {
                index: own,
                applying_before: index,
            };
        }
        index >= own
    }
}
