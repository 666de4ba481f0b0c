//! `Entry`: what the log is made of.
//!
//! Owns the three types of entries, and what their data is. Knows nothing of the messages that carry
//! them.

use std::sync::Arc;

use almadia::{Entry, LogId, MembershipChange, Payload, Proposal};
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
    sink.payload(6, context);
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

/// An entry as it was read, which does not own its bytes yet.
#[derive(Default)]
pub(crate) struct Raw {
    id: LogId,
    /// What the data is, unless it is a command.
    change: Option<Arc<MembershipChange>>,
    data: Part,
    context: Part,
}

impl Raw {
    /// Does not look at the term and the index: a proposal has neither. (It is read into its place,
    /// because to move what was just written is to wait until it is.)
    #[inline(always)]
    pub(crate) fn read(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        const ENTRY_TYPE: u32 = number(1);
        const TERM: u32 = number(2);
        const INDEX: u32 = number(3);
        const DATA: u32 = delimited(4);
        const SYNC_LOG: u32 = number(5);
        const CONTEXT: u32 = delimited(6);
        let mut entry_type = NORMAL;
        // All that most entries have, in the order of both of raft-rs's codecs.
        if reader.begins_with(TERM) {
            self.id.term = reader.term()?;
        }
        if reader.begins_with(INDEX) {
            self.id.index = reader.index()?;
        }
        if reader.begins_with(DATA) {
            self.data = reader.part()?;
        }
        while let Some(head) = reader.next()? {
            match head {
                ENTRY_TYPE => {
                    entry_type = reader.uint()?;
                    if entry_type > CONF_CHANGE_V2 {
                        return Err(reader.error(Reason::UnknownVariant(entry_type)));
                    }
                }
                TERM => self.id.term = reader.term()?,
                INDEX => self.id.index = reader.index()?,
                DATA => self.data = reader.part()?,
                // raft-rs has given it up.
                SYNC_LOG => drop(reader.uint()?),
                CONTEXT => self.context = reader.part()?,
                _ => reader.skip()?,
            }
        }
        if entry_type != NORMAL {
            let change = if entry_type == CONF_CHANGE {
                change::read_v1(reader.within(self.data, &change::CONF_CHANGE))
            } else {
                change::read_v2(reader.within(self.data, &change::CONF_CHANGE_V2))
            };
            self.change = Some(Arc::new(change?));
        }
        Ok(())
    }

    /// The data, if it is a command.
    pub(crate) fn plain_data(&self) -> Option<Part> {
        self.change.is_none().then_some(self.data)
    }

    /// The entry, which shares the memory of the bytes that it was read from.
    #[inline(always)]
    pub(crate) fn share(&self, bytes: &Bytes) -> Entry {
        Entry {
            id: self.id,
            payload: match &self.change {
                None => Payload::Data(self.data.share(bytes)),
                Some(change) => Payload::Change(Arc::clone(change)),
            },
            context: self.context.share(bytes),
        }
    }

    /// The entry, which takes over the bytes that it was read from.
    #[inline(always)]
    pub(crate) fn take(&self, bytes: &mut Bytes) -> Entry {
        if self.change.is_none() && self.context.is_empty() {
            return Entry {
                id: self.id,
                payload: Payload::Data(self.data.take(bytes)),
                context: Bytes::new(),
            };
        }
        self.share(bytes)
    }
}

/// An entry of a log, from all of `bytes`.
pub(crate) fn decode(mut bytes: Bytes) -> Result<Entry, DecodeError> {
    let len = bytes.len();
    let mut raw = Raw::default();
    raw.read(Reader::new(&bytes, &ENTRY))?;
    let entry = raw.take(&mut bytes);
    if entry.id.is_position() && entry.id != LogId::ZERO {
        Ok(entry)
    } else {
        Err(DecodeError::new("Entry.index", len, Reason::NoPosition))
    }
}
