//! `HardState`, `ConfState`, `SnapshotMetadata` and `Snapshot`: what a node stores beside its log.
//!
//! Owns their fields. Knows nothing of the messages that carry a snapshot.

use almadia::{ConfState, HardState, LogId, NodeId, Snapshot};
use bytes::Bytes;

use crate::error::DecodeError;
use crate::wire::{Fields, Reader, Schema, Sink, delimited, number};

impl Fields for HardState {
    fn put(&self, sink: &mut impl Sink) {
        sink.uint(1, self.current_term.0);
        sink.uint(2, self.voted_for.map_or(0, NodeId::get));
        sink.uint(3, self.commit_index.0);
    }
}

pub(crate) static HARD_STATE: Schema = Schema {
    message: "HardState",
    fields: &["HardState.term", "HardState.vote", "HardState.commit"],
};

pub(crate) fn read_hard_state(mut reader: Reader<'_>) -> Result<HardState, DecodeError> {
    const TERM: u32 = number(1);
    const VOTE: u32 = number(2);
    const COMMIT: u32 = number(3);
    let mut state = HardState::default();
    while let Some(head) = reader.next()? {
        match head {
            TERM => state.current_term = reader.term()?,
            VOTE => state.voted_for = NodeId::new(reader.uint()?),
            COMMIT => state.commit_index = reader.index()?,
            _ => reader.skip()?,
        }
    }
    Ok(state)
}

impl Fields for ConfState {
    fn put(&self, sink: &mut impl Sink) {
        sink.packed(1, &self.voters);
        sink.packed(2, &self.learners);
        sink.packed(3, &self.voters_outgoing);
        sink.packed(4, &self.learners_next);
        sink.uint(5, u64::from(self.auto_leave));
    }
}

pub(crate) static CONF_STATE: Schema = Schema {
    message: "ConfState",
    fields: &[
        "ConfState.voters",
        "ConfState.learners",
        "ConfState.voters_outgoing",
        "ConfState.learners_next",
        "ConfState.auto_leave",
    ],
};

/// Adds what is read to `state`: lists may come one by one or packed, or both.
pub(crate) fn read_conf_state(
    mut reader: Reader<'_>,
    state: &mut ConfState,
) -> Result<(), DecodeError> {
    const VOTERS: [u32; 2] = [number(1), delimited(1)];
    const LEARNERS: [u32; 2] = [number(2), delimited(2)];
    const VOTERS_OUTGOING: [u32; 2] = [number(3), delimited(3)];
    const LEARNERS_NEXT: [u32; 2] = [number(4), delimited(4)];
    const AUTO_LEAVE: u32 = number(5);
    while let Some(head) = reader.next()? {
        let ids = match head {
            head if VOTERS.contains(&head) => &mut state.voters,
            head if LEARNERS.contains(&head) => &mut state.learners,
            head if VOTERS_OUTGOING.contains(&head) => &mut state.voters_outgoing,
            head if LEARNERS_NEXT.contains(&head) => &mut state.learners_next,
            AUTO_LEAVE => {
                state.auto_leave = reader.bool()?;
                continue;
            }
            _ => {
                reader.skip()?;
                continue;
            }
        };
        reader.node_ids(ids)?;
    }
    Ok(())
}

struct Metadata<'a>(&'a Snapshot);

impl Fields for Metadata<'_> {
    fn put(&self, sink: &mut impl Sink) {
        sink.message(1, &self.0.conf_state);
        sink.uint(2, self.0.last_included.index.0);
        sink.uint(3, self.0.last_included.term.0);
    }
}

/// The data comes last, so that it can be sent from where it lies.
impl Fields for Snapshot {
    fn put(&self, sink: &mut impl Sink) {
        sink.message(2, &Metadata(self));
        sink.payload(1, &self.data);
    }
}

/// A snapshot of which nothing is set.
pub(crate) fn empty_snapshot() -> Snapshot {
    Snapshot {
        last_included: LogId::ZERO,
        conf_state: ConfState::default(),
        data: Bytes::new(),
    }
}

pub(crate) static SNAPSHOT: Schema = Schema {
    message: "Snapshot",
    fields: &["Snapshot.data", "Snapshot.metadata"],
};

/// Adds what is read to `snapshot`.
pub(crate) fn read_snapshot(
    mut reader: Reader<'_>,
    snapshot: &mut Snapshot,
) -> Result<(), DecodeError> {
    const DATA: u32 = delimited(1);
    const METADATA: u32 = delimited(2);
    while let Some(head) = reader.next()? {
        match head {
            DATA => snapshot.data = reader.bytes()?,
            METADATA => {
                read_metadata(reader.message(&SNAPSHOT_METADATA)?, snapshot)?;
            }
            _ => reader.skip()?,
        }
    }
    Ok(())
}

static SNAPSHOT_METADATA: Schema = Schema {
    message: "SnapshotMetadata",
    fields: &[
        "SnapshotMetadata.conf_state",
        "SnapshotMetadata.index",
        "SnapshotMetadata.term",
    ],
};

fn read_metadata(mut reader: Reader<'_>, snapshot: &mut Snapshot) -> Result<(), DecodeError> {
    const CONF_STATE_OF: u32 = delimited(1);
    const INDEX: u32 = number(2);
    const TERM: u32 = number(3);
    while let Some(head) = reader.next()? {
        match head {
            CONF_STATE_OF => {
                read_conf_state(reader.message(&CONF_STATE)?, &mut snapshot.conf_state)?
            }
            INDEX => snapshot.last_included.index = reader.index()?,
            TERM => snapshot.last_included.term = reader.term()?,
            _ => reader.skip()?,
        }
    }
    Ok(())
}
