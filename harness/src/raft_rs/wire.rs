//! The way between almadia's values and raft-rs's: through bytes, as between two processes.
//!
//! Owns the conversions. Must not know what is converted when. A value that does not make the way
//! is a fault of one of the two codecs, and panics, so that the run tells of it.

use std::fmt::Debug;

use almadia::{ConfState, Entries, Entry, MembershipChange, Payload};
use almadia_proto::{Decode, Encode};
use raft::eraftpb;

/// A value of almadia's as raft-rs reads it.
pub(super) fn to_raft_rs<T: protobuf_of_raft_rs::Message>(value: &impl Encode) -> T {
    read(&value.encode())
}

/// What raft-rs reads in these bytes.
pub(super) fn read<T: protobuf_of_raft_rs::Message>(bytes: &[u8]) -> T {
    let read = T::parse_from_bytes(bytes);
    read.unwrap_or_else(|error| panic!("raft-rs cannot read {bytes:02x?}: {error}"))
}

/// A value of raft-rs's as almadia reads it.
pub(super) fn from_raft_rs<T: Decode>(value: &impl protobuf_of_raft_rs::Message) -> T {
    let bytes = value.write_to_bytes();
    let bytes = bytes.unwrap_or_else(|error| panic!("raft-rs cannot write {value:?}: {error}"));
    let read = T::decode(bytes.into());
    read.unwrap_or_else(|error| panic!("almadia cannot read {value:?}: {error}"))
}

/// A value of almadia's after its way through bytes.
pub(super) fn carried<T: Encode + Decode + Debug>(value: &T) -> T {
    let read = T::decode(value.encode());
    read.unwrap_or_else(|error| panic!("almadia cannot read its own {value:?}: {error}"))
}

pub(super) fn entries_from_raft_rs(entries: &[eraftpb::Entry]) -> Entries {
    entries.iter().map(from_raft_rs::<Entry>).collect()
}

/// raft-rs does not sort its members.
pub(super) fn conf_state_from_raft_rs(state: &eraftpb::ConfState) -> ConfState {
    let mut state: ConfState = from_raft_rs(state);
    let ConfState {
        voters,
        learners,
        voters_outgoing,
        learners_next,
        auto_leave: _,
    } = &mut state;
    for members in [voters, learners, voters_outgoing, learners_next] {
        members.sort_unstable();
    }
    state
}

/// An entry that carries this change, of which raft-rs takes the form and the data.
pub(super) fn change_to_raft_rs(change: &MembershipChange) -> eraftpb::Entry {
    let entry = Entry {
        id: almadia::LogId::new(1, 1),
        payload: Payload::Change(change.clone().into()),
        context: almadia::Bytes::new(),
    };
    to_raft_rs(&entry)
}
