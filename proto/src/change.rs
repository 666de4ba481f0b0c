//! `ConfChange`, `ConfChangeSingle` and `ConfChangeV2`: changes of membership.
//!
//! Owns both forms that raft-rs has for them. Knows nothing of the entries that carry them.

use almadia::{ChangeForm, MemberChange, MembershipChange, NodeId, Transition};
use bytes::Bytes;

use crate::error::{DecodeError, Reason};
use crate::wire::{Fields, Reader, Sink, Tag};

/// The form in which a change is written: its own, unless `ConfChange` has no room for it.
pub(crate) enum WireForm<'a> {
    V1 {
        id: u64,
        change: MemberChange,
        context: &'a Bytes,
    },
    V2(&'a MembershipChange),
}

impl<'a> From<&'a MembershipChange> for WireForm<'a> {
    fn from(change: &'a MembershipChange) -> Self {
        match (change.form, &*change.changes, change.transition) {
            (ChangeForm::V1 { id }, &[only], Transition::Auto) => Self::V1 {
                id,
                change: only,
                context: &change.context,
            },
            (ChangeForm::V1 { .. } | ChangeForm::V2, _, _) => Self::V2(change),
        }
    }
}

impl Fields for MembershipChange {
    fn put(&self, sink: &mut impl Sink) {
        match WireForm::from(self) {
            WireForm::V1 {
                id,
                change,
                context,
            } => {
                let (change_type, node_id) = numbers(change);
                sink.uint(1, id);
                sink.uint(2, change_type);
                sink.uint(3, node_id);
                sink.bytes(4, context);
            }
            WireForm::V2(change) => {
                sink.uint(1, transition_number(change.transition));
                for &single in &change.changes {
                    sink.message(2, &Single(single));
                }
                sink.bytes(3, &change.context);
            }
        }
    }
}

struct Single(MemberChange);

impl Fields for Single {
    fn put(&self, sink: &mut impl Sink) {
        let (change_type, node_id) = numbers(self.0);
        sink.uint(1, change_type);
        sink.uint(2, node_id);
    }
}

/// `ConfChangeType`, and the node.
const fn numbers(change: MemberChange) -> (u64, u64) {
    match change {
        MemberChange::AddVoter(id) => (0, id.get()),
        MemberChange::Remove(id) => (1, id.get()),
        MemberChange::AddLearner(id) => (2, id.get()),
        MemberChange::Nothing => (0, 0),
    }
}

/// `ConfChangeTransition`.
const fn transition_number(transition: Transition) -> u64 {
    match transition {
        Transition::Auto => 0,
        Transition::Implicit => 1,
        Transition::Explicit => 2,
    }
}

/// `ConfChange`, of which `base` tells where it begins.
pub(crate) fn read_v1(bytes: &Bytes, base: usize) -> Result<MembershipChange, DecodeError> {
    let mut reader = Reader::new(bytes, base)?;
    let (mut id, mut context) = (0, Bytes::new());
    let mut single = ReadSingle::default();
    while let Some(tag) = reader.next("ConfChange")? {
        match tag.number {
            1 => id = reader.uint(tag, "ConfChange.id")?,
            2 => single.change_type(&mut reader, tag, "ConfChange.change_type")?,
            3 => single.node_id = reader.uint(tag, "ConfChange.node_id")?,
            4 => context = reader.bytes(tag, "ConfChange.context")?,
            _ => reader.skip(tag, "ConfChange")?,
        }
    }
    Ok(MembershipChange {
        changes: vec![single.change()],
        transition: Transition::Auto,
        context,
        form: ChangeForm::V1 { id },
    })
}

/// `ConfChangeV2`, of which `base` tells where it begins.
pub(crate) fn read_v2(bytes: &Bytes, base: usize) -> Result<MembershipChange, DecodeError> {
    let mut reader = Reader::new(bytes, base)?;
    let mut change = MembershipChange::default();
    while let Some(tag) = reader.next("ConfChangeV2")? {
        match tag.number {
            1 => {
                change.transition = match reader.uint(tag, "ConfChangeV2.transition")? {
                    0 => Transition::Auto,
                    1 => Transition::Implicit,
                    2 => Transition::Explicit,
                    other => {
                        let reason = Reason::UnknownVariant(other);
                        return Err(DecodeError::new(
                            "ConfChangeV2.transition",
                            tag.offset,
                            reason,
                        ));
                    }
                }
            }
            2 => {
                let single = reader.message(tag, "ConfChangeV2.changes", ReadSingle::read)?;
                change.changes.push(single.change());
            }
            3 => change.context = reader.bytes(tag, "ConfChangeV2.context")?,
            _ => reader.skip(tag, "ConfChangeV2")?,
        }
    }
    Ok(change)
}

#[derive(Default)]
struct ReadSingle {
    kind: ChangeType,
    node_id: u64,
}

#[derive(Clone, Copy, Default)]
enum ChangeType {
    #[default]
    AddNode,
    RemoveNode,
    AddLearnerNode,
}

impl ReadSingle {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut single = Self::default();
        while let Some(tag) = reader.next("ConfChangeSingle")? {
            match tag.number {
                1 => single.change_type(reader, tag, "ConfChangeSingle.change_type")?,
                2 => single.node_id = reader.uint(tag, "ConfChangeSingle.node_id")?,
                _ => reader.skip(tag, "ConfChangeSingle")?,
            }
        }
        Ok(single)
    }

    fn change_type(
        &mut self,
        reader: &mut Reader<'_>,
        tag: Tag,
        field: &'static str,
    ) -> Result<(), DecodeError> {
        self.kind = match reader.uint(tag, field)? {
            0 => ChangeType::AddNode,
            1 => ChangeType::RemoveNode,
            2 => ChangeType::AddLearnerNode,
            other => {
                let reason = Reason::UnknownVariant(other);
                return Err(DecodeError::new(field, tag.offset, reason));
            }
        };
        Ok(())
    }

    /// raft-rs lets a change of node 0 pass without effect, and counts it all the same.
    fn change(self) -> MemberChange {
        let Some(id) = NodeId::new(self.node_id) else {
            return MemberChange::Nothing;
        };
        match self.kind {
            ChangeType::AddNode => MemberChange::AddVoter(id),
            ChangeType::RemoveNode => MemberChange::Remove(id),
            ChangeType::AddLearnerNode => MemberChange::AddLearner(id),
        }
    }
}
