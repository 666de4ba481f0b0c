//! The place where bytes meet the domain types of [`almadia`]: the wire format of raft-rs 0.7.
//!
//! Messages, entries, hard states, membership states, snapshots and membership changes are encoded
//! as raft-rs 0.7 reads them, and decoded as either of its codecs writes them, so a cluster of
//! raft-rs nodes can be upgraded node by node, each on the log that it has. The schema, field by
//! field, is `proto/eraftpb.proto`.
//!
//! ```
//! use almadia::{Body, Message, NodeId, Term};
//! use almadia_proto::{Decode, Encode};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let [from, to] = [1, 2].map(NodeId::new).map(Option::unwrap);
//! let message = Message { to, from, term: Term(3), body: Body::TimeoutNow };
//! let bytes = message.encode();
//! assert_eq!(*bytes, [0x08, 14, 0x10, 2, 0x18, 1, 0x20, 3]);
//! assert_eq!(Message::decode(bytes)?, message);
//! # Ok(())
//! # }
//! ```
//!
//! # What a peer may send
//!
//! Decoding yields domain types or a [`DecodeError`] that names the field and its offset. It never
//! panics; it copies no payload: data, contexts and snapshots share the memory of the received
//! [`Bytes`]; and it reserves no memory on the strength of a length that the bytes
//! only claim. Unknown fields are skipped, fields may come in any order, repeated numbers packed or
//! one by one.
//!
//! Shared memory is freed when its last owner is dropped: one small entry that is kept keeps all of the
//! buffer that it came in. Receive each message into bytes of its own, as transports do that frame them,
//! and copy what you cache of it for long.
//!
//! What is decoded is well-formed, and not yet believed: whether it makes sense to this node is for
//! [`RawNode::step`](almadia::RawNode::step) to say.
//!
//! # What is the same on the wire
//!
//! What is encoded is decoded as it was, with these exceptions, none of which changes what a receiver
//! does. (What raft-rs has written and is written again loses unknown fields, `sync_log`, and what was to
//! happen to a node 0.)
//!
//! * [`AppendEntriesResponse::TermOutdated`](almadia::AppendEntriesResponse::TermOutdated) speaks
//!   through the term in the envelope alone, and is decoded as an acknowledgement of nothing.
//! * A [`Body::TransferLeader`](almadia::Body::TransferLeader) names only the node that is to lead, which
//!   is decoded as the sender.
//! * A [`Token::Bytes`](almadia::Token::Bytes) that looks like a number is decoded as one, and one of no
//!   bytes as [`Token::None`](almadia::Token::None). Receivers only echo it. (A number is eight bytes; of a
//!   read it stands behind the id of the node that asks, because a leader of raft-rs tells reads apart by
//!   these bytes alone.)

mod change;
#[cfg(any(feature = "prost-0_14", feature = "protobuf"))]
mod embedded;
mod entry;
mod error;
mod message;
mod pieces;
mod state;
mod wire;

use almadia::{ConfState, Entry, HardState, MembershipChange, Message, Snapshot};
use bytes::{BufMut, Bytes};

#[cfg(feature = "prost-0_14")]
pub use crate::embedded::prost_0_14;
#[cfg(feature = "protobuf")]
pub use crate::embedded::protobuf_3;
pub use crate::error::{DecodeError, Reason};
pub use crate::pieces::{Encoder, Pieces};
use crate::wire::{Fields, Reader, Writer};

/// What can be written. Always the same bytes for the same value.
pub trait Encode {
    /// How many bytes it takes.
    fn encoded_len(&self) -> usize;

    /// Writes it, without its length: that is for the transport to frame.
    ///
    /// # Panics
    ///
    /// If `buf` has no room for [`encoded_len`](Self::encoded_len) bytes and cannot grow.
    fn encode_to(&self, buf: &mut impl BufMut);

    /// It in bytes of its own.
    #[must_use]
    fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        self.encode_to(&mut bytes);
        bytes.into()
    }
}

/// What can be read.
pub trait Decode: Sized {
    /// Reads one value, of which these are all bytes.
    ///
    /// # Errors
    ///
    /// What is wrong, in which field, and where.
    fn decode(bytes: Bytes) -> Result<Self, DecodeError>;
}

impl Decode for Message {
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        message::decode(bytes)
    }
}

/// Writes what lists its own fields.
macro_rules! encode_fields {
    ($($type:ty),*) => {
        $(
            impl Encode for $type {
                fn encoded_len(&self) -> usize {
                    self.len()
                }

                fn encode_to(&self, buf: &mut impl BufMut) {
                    Writer::write(self, buf);
                }
            }
        )*
    };
}

// A membership change in the form that it names, if that form has room for it.
encode_fields!(
    Message,
    Entry,
    HardState,
    ConfState,
    Snapshot,
    MembershipChange
);

/// An entry of a log: its term and index are above zero.
impl Decode for Entry {
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        entry::decode(bytes)
    }
}

impl Decode for HardState {
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        state::read_hard_state(Reader::new(&bytes, &state::HARD_STATE))
    }
}

impl Decode for ConfState {
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut state = Self::default();
        state::read_conf_state(Reader::new(&bytes, &state::CONF_STATE), &mut state)?;
        Ok(state)
    }
}

impl Decode for Snapshot {
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut snapshot = state::empty_snapshot();
        state::read_snapshot(Reader::new(&bytes, &state::SNAPSHOT), &mut snapshot)?;
        Ok(snapshot)
    }
}

/// Reads a `ConfChange`, raft-rs's first form of a membership change. Inside an entry it is read
/// with the entry.
///
/// # Errors
///
/// What is wrong, in which field, and where.
pub fn decode_conf_change(bytes: &Bytes) -> Result<MembershipChange, DecodeError> {
    change::read_v1(Reader::new(bytes, &change::CONF_CHANGE))
}

/// Reads a `ConfChangeV2`, raft-rs's second form of a membership change; from no bytes at all the one
/// that leaves a joint configuration. Inside an entry it is read with the entry.
///
/// # Errors
///
/// What is wrong, in which field, and where.
pub fn decode_conf_change_v2(bytes: &Bytes) -> Result<MembershipChange, DecodeError> {
    change::read_v2(Reader::new(bytes, &change::CONF_CHANGE_V2))
}
