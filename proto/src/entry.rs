//! `Entry`: what the log is made of.
//!
//! Owns the three types of entries, and what their data is. Knows nothing of the messages that carry
//! them.

use std::sync::Arc;

use almadia::{Entry, LogId, Payload, Proposal};
use bytes::Bytes;

use crate::change::{self, WireForm};
use crate::error::{DecodeError, Reason};
use crate::wire::{Fields, Reader, Sink};

const NORMAL: u64 = 0;
const CONF_CHANGE: u64 = 1;
const CONF_CHANGE_V2: u64 = 2;

impl Fields for Entry {
    fn put(&self, sink: &mut impl Sink) {
        put(self.id, &self.payload, &self.context, sink);
    }
}

impl Fields for Proposal {
    fn put(&self, sink: &mut impl Sink) {
        put(LogId::ZERO, &self.payload, &self.context, sink);
    }
}

fn put(id: LogId, payload: &Payload, context: &Bytes, sink: &mut impl Sink) {
    match payload {
        Payload::Data(data) => {
            sink.uint(2, id.term.0);
            sink.uint(3, id.index.0);
            sink.bytes(4, data);
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
                sink.message(4, &**change);
            }
        }
    }
    sink.bytes(6, context);
}

/// An entry whose term and index nobody has looked at: a proposal has neither.
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Entry, DecodeError> {
    let (mut entry_type, mut id) = (NORMAL, LogId::ZERO);
    let (mut data, mut data_ends) = (Bytes::new(), 0);
    let mut context = Bytes::new();
    while let Some(tag) = reader.next("Entry")? {
        match tag.number {
            1 => {
                entry_type = reader.uint(tag, "Entry.entry_type")?;
                if entry_type > CONF_CHANGE_V2 {
                    let reason = Reason::UnknownVariant(entry_type);
                    return Err(DecodeError::new("Entry.entry_type", tag.offset, reason));
                }
            }
            2 => id.term = reader.term(tag, "Entry.term")?,
            3 => id.index = reader.index(tag, "Entry.index")?,
            4 => {
                data = reader.bytes(tag, "Entry.data")?;
                data_ends = reader.offset();
            }
            6 => context = reader.bytes(tag, "Entry.context")?,
            // 5 is sync_log, which raft-rs has given up.
            _ => reader.skip(tag, "Entry")?,
        }
    }
    let data_begins = data_ends - data.len();
    let payload = match entry_type {
        CONF_CHANGE => Payload::Change(Arc::new(change::read_v1(&data, data_begins)?)),
        CONF_CHANGE_V2 => Payload::Change(Arc::new(change::read_v2(&data, data_begins)?)),
        _ => Payload::Data(data),
    };
    Ok(Entry {
        id,
        payload,
        context,
    })
}

/// An entry of a log, which begins at `offset`.
pub(crate) fn check(entry: &Entry, offset: usize) -> Result<(), DecodeError> {
    if entry.id.is_position() && entry.id != LogId::ZERO {
        Ok(())
    } else {
        Err(DecodeError::new("Entry.index", offset, Reason::NoPosition))
    }
}
