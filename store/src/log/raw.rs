//! An entry as raft-engine asks for it: a protobuf message of whose content it need not know more
//! than the index.
//!
//! Owns that form. The bytes are those of [`almadia_proto`], so the log can be read with its types.

use std::any::Any;
use std::io::Read as _;

use almadia::{Entry, StorageError};
use almadia_proto::{Decode, Encode};
use bytes::{BufMut, Bytes, BytesMut};
use protobuf::error::WireError;
use protobuf::reflect::MessageDescriptor;
use protobuf::well_known_types::Empty;
use protobuf::{
    Clear, CodedInputStream, CodedOutputStream, Message, ProtobufError, ProtobufResult,
    UnknownFields,
};
use raft_engine::MessageExt;

const INDEX_LEN: usize = size_of::<u64>();

/// The entries of this log, for raft-engine.
#[derive(Clone, Debug)]
pub(super) struct Raw;

impl MessageExt for Raw {
    type Entry = RawEntry;

    fn index(entry: &RawEntry) -> u64 {
        entry.index
    }
}

/// An entry: its index in eight bytes, and its bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RawEntry {
    index: u64,
    bytes: Bytes,
    unknown: UnknownFields,
}

impl RawEntry {
    pub(super) fn of(entry: &Entry) -> Self {
        let index = entry.id.index.0;
        let mut bytes = BytesMut::with_capacity(INDEX_LEN + entry.encoded_len());
        bytes.put_u64_le(index);
        entry.encode_to(&mut bytes);
        Self {
            index,
            bytes: bytes.freeze(),
            unknown: UnknownFields::default(),
        }
    }

    pub(super) fn decode(self) -> Result<Entry, StorageError> {
        Entry::decode(self.bytes.slice(INDEX_LEN..)).map_err(StorageError::other)
    }
}

impl Clear for RawEntry {
    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Message for RawEntry {
    fn descriptor(&self) -> &'static MessageDescriptor {
        // Nobody looks into an entry by its fields, of which it shows none.
        Empty::descriptor_static()
    }

    fn is_initialized(&self) -> bool {
        true
    }

    fn merge_from(&mut self, is: &mut CodedInputStream<'_>) -> ProtobufResult<()> {
        let mut bytes = Vec::new();
        is.read_to_end(&mut bytes)?;
        let index = bytes
            .first_chunk()
            .ok_or(ProtobufError::WireError(WireError::UnexpectedEof))?;
        self.index = u64::from_le_bytes(*index);
        self.bytes = bytes.into();
        Ok(())
    }

    fn write_to_with_cached_sizes(&self, os: &mut CodedOutputStream<'_>) -> ProtobufResult<()> {
        os.write_raw_bytes(&self.bytes)
    }

    fn compute_size(&self) -> u32 {
        self.get_cached_size()
    }

    fn get_cached_size(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    fn get_unknown_fields(&self) -> &UnknownFields {
        &self.unknown
    }

    fn mut_unknown_fields(&mut self) -> &mut UnknownFields {
        &mut self.unknown
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn new() -> Self {
        Self::default()
    }

    fn default_instance() -> &'static Self {
        static EMPTY: std::sync::LazyLock<RawEntry> = std::sync::LazyLock::new(RawEntry::default);
        &EMPTY
    }
}
