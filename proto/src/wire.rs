//! Bytes of protobuf: how a field is written, and how it is read.
//!
//! Owns the four forms in which the schema's fields appear, and their limits. Knows no message: what
//! has which field stands in the modules that carry the names of the schema.

use almadia::{LogIndex, NodeId, Term};
use bytes::{Buf, BufMut, Bytes};

use crate::error::{DecodeError, Reason};

/// A message of the schema: the one place where its fields are listed for writing.
pub(crate) trait Fields {
    /// Puts every field that is set, in the order in which it is to be written.
    fn put(&self, sink: &mut impl Sink);

    /// How many bytes [`put`](Self::put) writes.
    fn len(&self) -> usize {
        let mut length = Length(0);
        self.put(&mut length);
        length.0
    }
}

/// What fields are put into: either counted, or written.
pub(crate) trait Sink {
    /// The head of a field and a number: its value, or how many bytes follow.
    fn head(&mut self, head: u32, number: u64);

    /// A number alone.
    fn varint(&mut self, number: u64);

    fn raw(&mut self, bytes: &[u8]);

    /// A number; zero is left out.
    #[inline(always)]
    fn uint(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.head(number << 3 | VARINT, value);
        }
    }

    /// Begins a field of so many bytes, which follow.
    #[inline(always)]
    fn begin(&mut self, number: u32, len: usize) {
        self.head(number << 3 | LENGTH_DELIMITED, len as u64);
    }

    /// Bytes; none are left out.
    #[inline(always)]
    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.begin(number, bytes.len());
            self.raw(bytes);
        }
    }

    /// Bytes that somebody else may hold on to; none are left out.
    #[inline(always)]
    fn payload(&mut self, number: u32, payload: &Bytes) {
        self.bytes(number, payload);
    }

    /// A message, even if nothing in it is set.
    #[inline(always)]
    fn message(&mut self, number: u32, message: &impl Fields)
    where
        Self: Sized,
    {
        self.begin(number, message.len());
        message.put(self);
    }

    /// Numbers, one after the other under one head; none are left out.
    fn packed(&mut self, number: u32, ids: &[NodeId]) {
        if !ids.is_empty() {
            self.begin(number, ids.iter().map(|id| varint_len(id.get())).sum());
            for id in ids {
                self.varint(id.get());
            }
        }
    }
}

const VARINT: u32 = 0;
const FIXED_64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;
const START_GROUP: u32 = 3;
const END_GROUP: u32 = 4;
const FIXED_32: u32 = 5;

/// Counts.
#[derive(Default)]
pub(crate) struct Length(pub(crate) usize);

impl Sink for Length {
    #[inline(always)]
    fn head(&mut self, head: u32, number: u64) {
        self.0 += varint_len(u64::from(head)) + varint_len(number);
    }

    #[inline(always)]
    fn varint(&mut self, number: u64) {
        self.0 += varint_len(number);
    }

    #[inline(always)]
    fn raw(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    /// Counts what is in it once, where a sink that writes has to count before it puts.
    #[inline(always)]
    fn message(&mut self, number: u32, message: &impl Fields) {
        let len = message.len();
        self.begin(number, len);
        self.0 += len;
    }
}

/// Writes. Small pieces are gathered first, because most buffers ask for room at every call.
pub(crate) struct Writer<'a, B> {
    buf: &'a mut B,
    gathered: [u8; GATHERED_BYTES],
    len: usize,
}

/// A number takes ten bytes at most, the head of a field two of this schema.
const MAX_VARINT_LEN: usize = 10;
const MAX_HEAD_LEN: usize = 2 + MAX_VARINT_LEN;
const GATHERED_BYTES: usize = 256;

impl<'a, B: BufMut> Writer<'a, B> {
    /// Writes all fields of a message.
    pub(crate) fn write(fields: &impl Fields, buf: &'a mut B) {
        let mut writer = Self::new(buf);
        fields.put(&mut writer);
        writer.flush();
    }

    /// Whoever makes it has to flush it.
    pub(crate) const fn new(buf: &'a mut B) -> Self {
        Self {
            buf,
            gathered: [0; GATHERED_BYTES],
            len: 0,
        }
    }

    pub(crate) fn flush(&mut self) {
        self.buf.put_slice(&self.gathered[..self.len]);
        self.len = 0;
    }

    /// Everything that was written.
    pub(crate) fn flushed(&mut self) -> &B {
        self.flush();
        self.buf
    }

    /// Room for so many bytes of the gathered ones.
    #[inline(always)]
    fn room<const LEN: usize>(&mut self) -> &mut [u8; LEN] {
        if self.len > GATHERED_BYTES - LEN {
            self.flush();
        }
        let room = self.gathered[self.len..].first_chunk_mut();
        room.expect("there is room after a flush")
    }
}

impl<B: BufMut> Sink for Writer<'_, B> {
    #[inline(always)]
    fn head(&mut self, head: u32, number: u64) {
        let room = self.room::<MAX_HEAD_LEN>();
        let begin = put_varint(room, 0, u64::from(head));
        let end = put_varint(room, begin, number);
        self.len += end;
    }

    #[inline(always)]
    fn varint(&mut self, number: u64) {
        let len = put_varint(self.room::<MAX_VARINT_LEN>(), 0, number);
        self.len += len;
    }

    #[inline(always)]
    fn raw(&mut self, bytes: &[u8]) {
        match self.gathered.get_mut(self.len..self.len + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => {
                self.flush();
                self.buf.put_slice(bytes);
            }
        }
    }
}

/// Puts seven bits into each byte from `at`, and tells where they end.
#[inline(always)]
fn put_varint<const LEN: usize>(room: &mut [u8; LEN], mut at: usize, mut number: u64) -> usize {
    while number >= 0x80 {
        room[at] = number as u8 | 0x80;
        number >>= 7;
        at += 1;
    }
    room[at] = number as u8;
    at + 1
}

/// Seven bits a byte, and one byte for zero.
#[inline(always)]
pub(crate) const fn varint_len(value: u64) -> usize {
    // (bits + 6) / 7, for at least one bit, without a division by seven.
    let bits = 64 - (value | 1).leading_zeros();
    (bits as usize * 9 + 64) / 64
}

/// What a message of the schema and its fields are called, for errors.
pub(crate) struct Schema {
    pub(crate) message: &'static str,
    /// The fields by their numbers, from 1.
    pub(crate) fields: &'static [&'static str],
}

/// The head of a field that is a number.
pub(crate) const fn number(field: u32) -> u32 {
    field << 3 | VARINT
}

/// The head of a field that is bytes, a message, or many numbers.
pub(crate) const fn delimited(field: u32) -> u32 {
    field << 3 | LENGTH_DELIMITED
}

/// Groups may be nested this deeply. No schema uses them; whoever sends them wants to see us fail.
const MAX_DEPTH: usize = 16;

/// A part of what is decoded, which costs nothing to remember.
#[derive(Clone, Copy, Default)]
pub(crate) struct Part {
    start: usize,
    end: usize,
}

impl Part {
    #[inline(always)]
    pub(crate) fn of(self, bytes: &Bytes) -> &[u8] {
        &bytes[self.start..self.end]
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Shares the memory, and counts one owner more.
    #[inline(always)]
    pub(crate) fn share(self, bytes: &Bytes) -> Bytes {
        bytes.slice(self.start..self.end)
    }

    /// Takes the bytes over, so that nobody has to count.
    #[inline(always)]
    pub(crate) fn take(self, bytes: &mut Bytes) -> Bytes {
        if self.is_empty() {
            return Bytes::new();
        }
        bytes.truncate(self.end);
        bytes.advance(self.start);
        core::mem::take(bytes)
    }
}

/// Reads the fields of one message after the other.
///
/// Whatever is called for the rare cases gets values and no reference to the reader, so that its
/// place stays in registers.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a Bytes,
    /// What is left of the message that is being read.
    rest: &'a [u8],
    /// Where this message ends in `bytes`.
    end: usize,
    /// What was left when the field began that is being read.
    begun: usize,
    head: u32,
    schema: &'static Schema,
}

impl<'a> Reader<'a> {
    /// Reads all of `bytes`.
    pub(crate) fn new(bytes: &'a Bytes, schema: &'static Schema) -> Self {
        let all = Part {
            start: 0,
            end: bytes.len(),
        };
        Self::of_part(bytes, all, schema)
    }

    /// Reads a part of `bytes`.
    pub(crate) fn of_part(bytes: &'a Bytes, part: Part, schema: &'static Schema) -> Self {
        let rest = part.of(bytes);
        Self {
            bytes,
            rest,
            end: part.end,
            begun: rest.len(),
            head: 0,
            schema,
        }
    }

    /// Whether the next field has this head, of one byte, which is read then. For fields that are
    /// expected here; wherever else they come they are found all the same.
    #[inline(always)]
    pub(crate) fn begins_with(&mut self, head: u32) -> bool {
        match *self.rest {
            [first, ref rest @ ..] if u32::from(first) == head => {
                self.begun = self.rest.len();
                self.head = head;
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// The head of the next field, or `None` at the end of the message.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Result<Option<u32>, DecodeError> {
        self.begun = self.rest.len();
        self.head = match *self.rest {
            [] => return Ok(None),
            // All heads of the schema but one: one byte, for a field number of one to fifteen.
            [head @ 0x08..0x80, ref rest @ ..] => {
                self.rest = rest;
                u32::from(head)
            }
            _ => {
                let (head, rest) = self.long_head()?;
                self.rest = rest;
                head
            }
        };
        Ok(Some(self.head))
    }

    #[cold]
    fn long_head(mut self) -> Result<(u32, &'a [u8]), DecodeError> {
        let head = self.varint().and_then(|head| u32::try_from(head).ok());
        match head {
            Some(head) if head >> 3 != 0 => Ok((head, self.rest)),
            Some(_) | None => Err(Self { head: 0, ..self }.error(Reason::Malformed)),
        }
    }

    /// Passes over a field that the schema does not know.
    #[inline(always)]
    pub(crate) fn skip(&mut self) -> Result<(), DecodeError> {
        *self = self.skipped()?;
        Ok(())
    }

    #[cold]
    fn skipped(self) -> Result<Self, DecodeError> {
        if self.head >> 3 <= self.schema.fields.len() as u32 {
            return Err(self.error(Reason::WrongForm));
        }
        let mut after = self;
        let skipped = after.skip_within(self.head, MAX_DEPTH);
        skipped.ok_or_else(|| self.error(Reason::Malformed))?;
        Ok(after)
    }

    fn skip_within(&mut self, head: u32, depth: usize) -> Option<()> {
        match head & 7 {
            VARINT => self.varint().map(|_| ()),
            FIXED_64 => self.take(8).map(|_| ()),
            FIXED_32 => self.take(4).map(|_| ()),
            LENGTH_DELIMITED => self.delimited().map(|_| ()),
            START_GROUP if depth > 0 => loop {
                let inner = self.next().ok().flatten()?;
                if inner & 7 == END_GROUP {
                    break (inner >> 3 == head >> 3).then_some(());
                }
                self.skip_within(inner, depth - 1)?;
            },
            // The end of a group that has not begun, one too deep, or a form that does not exist.
            _ => None,
        }
    }

    #[inline(always)]
    pub(crate) fn uint(&mut self) -> Result<u64, DecodeError> {
        self.varint().ok_or_else(|| self.error(Reason::Malformed))
    }

    #[inline(always)]
    pub(crate) fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.uint()? != 0)
    }

    #[inline(always)]
    pub(crate) fn term(&mut self) -> Result<Term, DecodeError> {
        let term = Term(self.uint()?);
        if term > Term::MAX {
            return Err(self.error(Reason::TooLarge));
        }
        Ok(term)
    }

    #[inline(always)]
    pub(crate) fn index(&mut self) -> Result<LogIndex, DecodeError> {
        let index = LogIndex(self.uint()?);
        if index > LogIndex::MAX {
            return Err(self.error(Reason::TooLarge));
        }
        Ok(index)
    }

    #[inline(always)]
    pub(crate) fn node_id(&mut self) -> Result<NodeId, DecodeError> {
        let id = self.uint()?;
        NodeId::new(id).ok_or_else(|| self.error(Reason::NoNode))
    }

    /// Bytes, which share the memory of what is decoded.
    pub(crate) fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        Ok(self.part()?.share(self.bytes))
    }

    /// A reader of another part of what is decoded.
    pub(crate) fn within(&self, part: Part, schema: &'static Schema) -> Self {
        Self::of_part(self.bytes, part, schema)
    }

    /// Where bytes stand.
    #[inline(always)]
    pub(crate) fn part(&mut self) -> Result<Part, DecodeError> {
        let Some(slice) = self.delimited() else {
            return Err(self.error(Reason::Malformed));
        };
        let end = self.end - self.rest.len();
        Ok(Part {
            start: end - slice.len(),
            end,
        })
    }

    /// A reader of the message that stands here.
    #[inline(always)]
    pub(crate) fn message(&mut self, schema: &'static Schema) -> Result<Self, DecodeError> {
        let Some(rest) = self.delimited() else {
            return Err(self.error(Reason::Malformed));
        };
        Ok(Self {
            bytes: self.bytes,
            rest,
            end: self.end - self.rest.len(),
            begun: rest.len(),
            head: self.head,
            schema,
        })
    }

    /// Node ids, either one or all under one head.
    pub(crate) fn node_ids(&mut self, ids: &mut Vec<NodeId>) -> Result<(), DecodeError> {
        if self.head & 7 == VARINT {
            ids.push(self.node_id()?);
            return Ok(());
        }
        let mut packed = self.message(self.schema)?;
        while !packed.rest.is_empty() {
            packed.begun = packed.rest.len();
            ids.push(packed.node_id()?);
        }
        Ok(())
    }

    /// Where the current field begins.
    #[inline(always)]
    pub(crate) fn offset(&self) -> usize {
        self.end - self.begun
    }

    /// Something is wrong with the current field.
    #[cold]
    pub(crate) fn error(self, reason: Reason) -> DecodeError {
        let index = (self.head >> 3).wrapping_sub(1) as usize;
        let field = self.schema.fields.get(index);
        let field = field.copied().unwrap_or(self.schema.message);
        DecodeError::new(field, self.offset(), reason)
    }

    /// A number of seven bits a byte; `None` if it has no end, or more than 64 bits.
    #[inline(always)]
    fn varint(&mut self) -> Option<u64> {
        match *self.rest {
            [first, ref rest @ ..] if first < 0x80 => {
                self.rest = rest;
                Some(u64::from(first))
            }
            _ => self.long_varint(),
        }
    }

    #[inline(always)]
    fn long_varint(&mut self) -> Option<u64> {
        if let Some(next) = self.rest.first_chunk() {
            let next = u64::from_le_bytes(*next);
            // The last byte of a number is the first one whose highest bit is not set.
            let ends = !next & 0x8080_8080_8080_8080;
            if ends != 0 {
                let up_to_end = ends ^ (ends - 1);
                self.rest = &self.rest[ends.trailing_zeros() as usize / 8 + 1..];
                return Some(joined(next & up_to_end));
            }
        }
        let (number, len) = varint_by_bytes(self.rest);
        self.rest = self.rest.get(len..)?;
        Some(number)
    }

    /// As many bytes as the number before them says.
    #[inline(always)]
    fn delimited(&mut self) -> Option<&'a [u8]> {
        let len = self.varint()?;
        self.take(usize::try_from(len).ok()?)
    }

    #[inline(always)]
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }
}

/// A number, and how many bytes it takes: more than there are if it has no end, or more than 64 bits.
/// (Two words, which are returned in registers.)
#[inline(never)]
fn varint_by_bytes(bytes: &[u8]) -> (u64, usize) {
    let mut number = 0;
    for (at, &byte) in bytes.iter().take(MAX_VARINT_LEN).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            // The tenth byte has room for one bit.
            let fits = at < MAX_VARINT_LEN - 1 || byte <= 1;
            return (number, if fits { at + 1 } else { usize::MAX });
        }
    }
    (0, usize::MAX)
}

/// The lower seven bits of all bytes, the first one lowest: bytes, pairs and fours are joined in turn.
#[inline(always)]
const fn joined(bytes: u64) -> u64 {
    let bytes = bytes & 0x7f7f_7f7f_7f7f_7f7f;
    let pairs = (bytes & 0x007f_007f_007f_007f) | (bytes & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = (pairs & 0x0000_3fff_0000_3fff) | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    (fours & 0x0fff_ffff) | (fours >> 32) << 28
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of any length, whatever follows them: read eight bytes at once, or byte by byte.
    #[test]
    fn numbers_are_read_as_they_were_written() {
        let powers = (0..64).map(|bits| 1_u64 << bits);
        let numbers = powers.flat_map(|power| [power - 1, power, power + 1, power ^ u64::MAX]);
        let schema = &Schema {
            message: "Number",
            fields: &[],
        };
        for number in numbers {
            for (following, byte) in [(0, 0), (1, 0xff), (5, 0), (12, 0xff), (12, 0)] {
                let mut room = [byte; MAX_VARINT_LEN + 12];
                let len = put_varint(&mut room, 0, number);
                assert_eq!(len, varint_len(number));
                let bytes = Bytes::copy_from_slice(&room[..len + following]);
                let mut reader = Reader::new(&bytes, schema);
                assert_eq!(reader.varint(), Some(number));
                assert_eq!(reader.rest.len(), following);
            }
        }
    }
}
