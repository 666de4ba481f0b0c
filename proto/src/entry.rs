//! `Entry`: what the log is made of.
//!
//! Owns the three types of entries, and what their data is. Knows nothing of the messages that carry
//! them.

use std::sync::Arc;

use almadia::{Entry, LogId, Payload, Proposal};
use bytes::Bytes;

use crate::change::{self, WireForm};
use crate::error::{DecodeError, Reason};
use crate::wire::{Fields, Part, Reader, Schema, Sink, delimited, number};

const NORMAL: u64 = 0;
const CONF_CHANGE: u64 = 1;
const CONF_CHANGE_V2: u64 = 2;

/// The field of the data, in which reads carry their tokens.
pub(crate) const DATA: u32 = 4;

impl Fields for Entry {
    #[inline(always)]
    fn put(&self, sink: &mut impl Sink) {
        put(self.id, &self.payload, &self.context, sink);
    }
}

impl Fields for Proposal {
    #[inline(always)]
    fn put(&self, sink: &mut impl Sink) {
        put(LogId::ZERO, &self.payload, &self.context, sink);
    }
}

#[inline(always)]
fn put(id: LogId, payload: &Payload, context: &Bytes, sink: &mut impl Sink) {
    match payload {
        Payload::Data(data) => {
            sink.uint(2, id.term.0);
            sink.uint(3, id.index.0);
            sink.payload(DATA, data);
        }
        Payload::Change(change) => {
            sink.uint(
                1,
                match WireForm::from(&**change) {
                    WireForm::V1 { .. } => CONF_CHANGE,
                    WireForm::V2(_) => CONF_CHANGE_V2,
                },
            );
            sink.uint(2, id.term.0);
            sink.uint(3, id.index.0);
            if change.len() > 0 {
                sink.message(DATA, &**change);
            }
        }
    }
    sink.bytes(6, context);
}

pub(crate) static ENTRY: Schema = Schema {
    message: "Entry",
    fields: &[
        "Entry.entry_type",
        "Entry.term",
        "Entry.index",
        "Entry.data",
        "Entry.sync_log",
        "Entry.context",
    ],
};

/// An entry as it was read: what its data is comes later, because its type may come last.
#[derive(Clone, Copy, Default)]
pub(crate) struct Raw {
    entry_type: u64,
    id: LogId,
    data: Part,
    context: Part,
}

/// Does not look at the term and the index: a proposal has neither.
#[inline(always)]
pub(crate) fn read(mut reader: Reader<'_>) -> Result<Raw, DecodeError> {
    const ENTRY_TYPE: u32 = number(1);
    const TERM: u32 = number(2);
    const INDEX: u32 = number(3);
    const DATA: u32 = delimited(4);
    const SYNC_LOG: u32 = number(5);
    const CONTEXT: u32 = delimited(6);
    let mut raw = Raw::default();
    // All that most entries have, in the order of both of raft-rs's codecs.
    if reader.begins_with(TERM) {
        raw.id.term = reader.term()?;
    }
    if reader.begins_with(INDEX) {
        raw.id.index = reader.index()?;
    }
    if reader.begins_with(DATA) {
        raw.data = reader.part()?;
    }
    while let Some(head) = reader.next()? {
        match head {
            ENTRY_TYPE => {
                raw.entry_type = reader.uint()?;
                if raw.entry_type > CONF_CHANGE_V2 {
                    return Err(reader.error(Reason::UnknownVariant(raw.entry_type)));
                }
            }
            TERM => raw.id.term = reader.term()?,
            INDEX => raw.id.index = reader.index()?,
            DATA => raw.data = reader.part()?,
            // raft-rs has given it up.
            SYNC_LOG => drop(reader.uint()?),
            CONTEXT => raw.context = reader.part()?,
            _ => reader.skip()?,
        }
    }
    Ok(raw)
}

impl Raw {
    /// The data, if it is a command.
    pub(crate) fn plain_data(self) -> Option<Part> {
        (self.entry_type == NORMAL).then_some(self.data)
    }

    /// The entry, which shares the memory of the bytes that it was read from.
    #[inline(always)]
    pub(crate) fn share(self, bytes: &Bytes) -> Result<Entry, DecodeError> {
        let payload = match self.entry_type {
            NORMAL => Payload::Data(self.data.share(bytes)),
            CONF_CHANGE => {
                let reader = Reader::of_part(bytes, self.data, &change::CONF_CHANGE);
                Payload::Change(Arc::new(change::read_v1(reader)?))
            }
            _ => {
                let reader = Reader::of_part(bytes, self.data, &change::CONF_CHANGE_V2);
                Payload::Change(Arc::new(change::read_v2(reader)?))
            }
        };
        Ok(Entry {
            id: self.id,
            payload,
            context: self.context.share(bytes),
        })
    }

    /// The entry, which takes over the bytes that it was read from: the last one may.
    #[inline(always)]
    pub(crate) fn take(self, bytes: Bytes) -> Result<Entry, DecodeError> {
        if self.entry_type == NORMAL && self.context.is_empty() {
            return Ok(Entry {
                id: self.id,
                payload: Payload::Data(self.data.take(bytes)),
                context: Bytes::new(),
            });
        }
        self.share(&bytes)
    }
}

/// An entry of a log, from all of `bytes`.
pub(crate) fn decode(bytes: Bytes) -> Result<Entry, DecodeError> {
    let len = bytes.len();
    let entry = read(Reader::new(&bytes, &ENTRY))?.take(bytes)?;
    if entry.id.is_position() && entry.id != LogId::ZERO {
        Ok(entry)
    } else {
        Err(DecodeError::new("Entry.index", len, Reason::NoPosition))
    }
}
