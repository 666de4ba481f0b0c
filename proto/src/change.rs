//! `ConfChange`, `ConfChangeSingle` and `ConfChangeV2`: changes of membership.
//!
//! Owns both forms that raft-rs has for them. Knows nothing of the entries that carry them.

use almadia::{ChangeForm, MemberChange, MembershipChange, NodeId, Transition};
use bytes::Bytes;

use crate::error::{DecodeError, Reason};
use crate::wire::{Fields, Reader, Schema, Sink, delimited, number};

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

pub(crate) static CONF_CHANGE: Schema = Schema {
    message: "ConfChange",
    fields: &[
        "ConfChange.id",
        "ConfChange.change_type",
        "ConfChange.node_id",
        "ConfChange.context",
    ],
};

pub(crate) fn read_v1(mut reader: Reader<'_>) -> Result<MembershipChange, DecodeError> {
    const ID: u32 = number(1);
    const CHANGE_TYPE: u32 = number(2);
    const NODE_ID: u32 = number(3);
    const CONTEXT: u32 = delimited(4);
    let (mut id, mut context) = (0, Bytes::new());
    let mut single = ReadSingle::default();
    while let Some(head) = reader.next()? {
        match head {
            ID => id = reader.uint()?,
            CHANGE_TYPE => single.change_type = change_type(&mut reader)?,
            NODE_ID => single.node_id = reader.uint()?,
            CONTEXT => context = reader.bytes()?,
            _ => reader.skip()?,
        }
    }
    Ok(MembershipChange {
        changes: vec![single.change()],
        transition: Transition::Auto,
        context,
        form: ChangeForm::V1 { id },
    })
}

pub(crate) static CONF_CHANGE_V2: Schema = Schema {
    message: "ConfChangeV2",
    fields: &[
        "ConfChangeV2.transition",
        "ConfChangeV2.changes",
        "ConfChangeV2.context",
    ],
};

pub(crate) fn read_v2(mut reader: Reader<'_>) -> Result<MembershipChange, DecodeError> {
    const TRANSITION: u32 = number(1);
    const CHANGES: u32 = delimited(2);
    const CONTEXT: u32 = delimited(3);
    let mut change = MembershipChange::default();
    while let Some(head) = reader.next()? {
        match head {
            TRANSITION => {
                change.transition = match reader.uint()? {
                    0 => Transition::Auto,
                    1 => Transition::Implicit,
                    2 => Transition::Explicit,
                    other => return Err(reader.error(Reason::UnknownVariant(other))),
                }
            }
            CHANGES => {
                let single = ReadSingle::read(reader.message(&CONF_CHANGE_SINGLE)?)?;
                change.changes.push(single.change());
            }
            CONTEXT => change.context = reader.bytes()?,
            _ => reader.skip()?,
        }
    }
    Ok(change)
}

static CONF_CHANGE_SINGLE: Schema = Schema {
    message: "ConfChangeSingle",
    fields: &["ConfChangeSingle.change_type", "ConfChangeSingle.node_id"],
};

#[derive(Default)]
struct ReadSingle {
    change_type: ChangeType,
    node_id: u64,
}

#[derive(Clone, Copy, Default)]
enum ChangeType {
    #[default]
    Add,
    Remove,
    AddLearner,
}

fn change_type(reader: &mut Reader<'_>) -> Result<ChangeType, DecodeError> {
    match reader.uint()? {
        0 => Ok(ChangeType::Add),
        1 => Ok(ChangeType::Remove),
        2 => Ok(ChangeType::AddLearner),
        other => Err(reader.error(Reason::UnknownVariant(other))),
    }
}

impl ReadSingle {
    fn read(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        const CHANGE_TYPE: u32 = number(1);
        const NODE_ID: u32 = number(2);
        let mut single = Self::default();
        while let Some(head) = reader.next()? {
            match head {
                CHANGE_TYPE => single.change_type = change_type(&mut reader)?,
                NODE_ID => single.node_id = reader.uint()?,
                _ => reader.skip()?,
            }
        }
        Ok(single)
    }

    /// raft-rs lets a change of node 0 pass without effect, and counts it all the same.
    fn change(self) -> MemberChange {
        let Some(id) = NodeId::new(self.node_id) else {
            return MemberChange::Nothing;
        };
        match self.change_type {
            ChangeType::Add => MemberChange::AddVoter(id),
            ChangeType::Remove => MemberChange::Remove(id),
            ChangeType::AddLearner => MemberChange::AddLearner(id),
        }
    }
}
