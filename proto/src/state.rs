//! `HardState`, `ConfState`, `SnapshotMetadata` and `Snapshot`: what a node stores beside its log.
//!
//! Owns their fields. Knows nothing of the messages that carry a snapshot.

use almadia::{ConfState, HardState, LogId, NodeId, Snapshot};
use bytes::Bytes;

use crate::error::DecodeError;
use crate::wire::{Fields, Reader, Sink};

impl Fields for HardState {
    fn put(&self, sink: &mut impl Sink) {
        sink.uint(1, self.current_term.0);
        sink.uint(2, self.voted_for.map_or(0, NodeId::get));
        sink.uint(3, self.commit_index.0);
    }
}

pub(crate) fn read_hard_state(reader: &mut Reader<'_>) -> Result<HardState, DecodeError> {
    let mut state = HardState::default();
    while let Some(tag) = reader.next("HardState")? {
        match tag.number {
            1 => state.current_term = reader.term(tag, "HardState.term")?,
            2 => state.voted_for = NodeId::new(reader.uint(tag, "HardState.vote")?),
            3 => state.commit_index = reader.index(tag, "HardState.commit")?,
            _ => reader.skip(tag, "HardState")?,
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

pub(crate) fn read_conf_state(
    reader: &mut Reader<'_>,
    state: &mut ConfState,
) -> Result<(), DecodeError> {
    while let Some(tag) = reader.next("ConfState")? {
        match tag.number {
            1 => reader.node_ids(tag, "ConfState.voters", &mut state.voters)?,
            2 => reader.node_ids(tag, "ConfState.learners", &mut state.learners)?,
            3 => reader.node_ids(tag, "ConfState.voters_outgoing", &mut state.voters_outgoing)?,
            4 => reader.node_ids(tag, "ConfState.learners_next", &mut state.learners_next)?,
            5 => state.auto_leave = reader.bool(tag, "ConfState.auto_leave")?,
            _ => reader.skip(tag, "ConfState")?,
        }
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
        sink.bytes(1, &self.data);
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

pub(crate) fn read_snapshot(
    reader: &mut Reader<'_>,
    snapshot: &mut Snapshot,
) -> Result<(), DecodeError> {
    while let Some(tag) = reader.next("Snapshot")? {
        match tag.number {
            1 => snapshot.data = reader.bytes(tag, "Snapshot.data")?,
            2 => reader.message(tag, "Snapshot.metadata", |reader| {
                read_metadata(reader, snapshot)
            })?,
            _ => reader.skip(tag, "Snapshot")?,
        }
    }
    Ok(())
}

fn read_metadata(reader: &mut Reader<'_>, snapshot: &mut Snapshot) -> Result<(), DecodeError> {
    let Snapshot {
        last_included,
        conf_state,
        data: _,
    } = snapshot;
    while let Some(tag) = reader.next("SnapshotMetadata")? {
        match tag.number {
            1 => reader.message(tag, "SnapshotMetadata.conf_state", |reader| {
                read_conf_state(reader, conf_state)
            })?,
            2 => last_included.index = reader.index(tag, "SnapshotMetadata.index")?,
            3 => last_included.term = reader.term(tag, "SnapshotMetadata.term")?,
            _ => reader.skip(tag, "SnapshotMetadata")?,
        }
    }
    Ok(())
}
