//! Bytes of protobuf: how a field is written, and how it is read.
//!
//! Owns the four forms in which the schema's fields appear, and their limits. Knows no message: what
//! has which field stands in the modules that carry the names of the schema.

use almadia::{LogIndex, NodeId, Term};
use bytes::{BufMut, Bytes};
use protobuf::CodedInputStream;

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
    fn varint(&mut self, value: u64);

    fn raw(&mut self, bytes: &[u8]);

    /// Begins a field of so many bytes, which follow.
    fn begin(&mut self, number: u32, len: usize) {
        self.varint(u64::from(number << 3 | LENGTH_DELIMITED));
        self.varint(len as u64);
    }

    /// A number; zero is left out.
    fn uint(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.varint(u64::from(number << 3 | VARINT));
            self.varint(value);
        }
    }

    /// Bytes; none are left out.
    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.begin(number, bytes.len());
            self.raw(bytes);
        }
    }

    /// A message, even if nothing in it is set.
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
struct Length(usize);

impl Sink for Length {
    fn varint(&mut self, value: u64) {
        self.0 += varint_len(value);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// Writes.
pub(crate) struct Writer<'a, B>(pub(crate) &'a mut B);

impl<B: BufMut> Sink for Writer<'_, B> {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.put_u8(value as u8);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0.put_slice(bytes);
    }
}

/// Seven bits a byte, and one byte for zero.
pub(crate) const fn varint_len(value: u64) -> usize {
    // (bits + 6) / 7, for at least one bit, without a division by seven.
    let bits = 64 - (value | 1).leading_zeros();
    (bits as usize * 9 + 64) / 64
}

/// A field as it begins: which it is, in which form, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tag {
    pub(crate) number: u32,
    form: u32,
    /// Where the field begins, counted from the first of the bytes that are decoded.
    pub(crate) offset: usize,
}

/// Reads the fields of one message after the other.
pub(crate) struct Reader<'a> {
    stream: CodedInputStream<'a>,
    /// Where the stream begins, counted from the first of the bytes that are decoded.
    base: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a Bytes, base: usize) -> Result<Self, DecodeError> {
        let mut stream = CodedInputStream::from_tokio_bytes(bytes);
        // With a limit of its own the stream refuses a length that reaches behind the end.
        let limited = stream.push_limit(bytes.len() as u64);
        let reader = Self { stream, base };
        match limited {
            Ok(_) => Ok(reader),
            Err(_) => Err(reader.malformed("message")),
        }
    }

    /// Where the next byte stands, counted from the first of the bytes that are decoded.
    pub(crate) fn offset(&self) -> usize {
        self.base + self.stream.pos() as usize
    }

    /// The next field of `message`, or `None` at its end.
    pub(crate) fn next(&mut self, message: &'static str) -> Result<Option<Tag>, DecodeError> {
        let offset = self.offset();
        match self.stream.read_raw_tag_or_eof() {
            Ok(None) => Ok(None),
            Ok(Some(tag)) if tag >> 3 != 0 => Ok(Some(Tag {
                number: tag >> 3,
                form: tag & 7,
                offset,
            })),
            Ok(Some(_)) | Err(_) => Err(DecodeError::new(message, offset, Reason::Malformed)),
        }
    }

    /// Passes over a field that the schema does not know.
    pub(crate) fn skip(&mut self, tag: Tag, message: &'static str) -> Result<(), DecodeError> {
        let form = match tag.form {
            VARINT => protobuf::rt::WireType::Varint,
            FIXED_64 => protobuf::rt::WireType::Fixed64,
            LENGTH_DELIMITED => protobuf::rt::WireType::LengthDelimited,
            START_GROUP => protobuf::rt::WireType::StartGroup,
            END_GROUP => protobuf::rt::WireType::EndGroup,
            FIXED_32 => protobuf::rt::WireType::Fixed32,
            _ => return Err(DecodeError::new(message, tag.offset, Reason::Malformed)),
        };
        self.stream
            .skip_field(form)
            .map_err(|_| DecodeError::new(message, tag.offset, Reason::Malformed))
    }

    pub(crate) fn uint(&mut self, tag: Tag, field: &'static str) -> Result<u64, DecodeError> {
        tag.expect(VARINT, field)?;
        self.stream
            .read_raw_varint64()
            .map_err(|_| self.malformed(field))
    }

    pub(crate) fn bool(&mut self, tag: Tag, field: &'static str) -> Result<bool, DecodeError> {
        Ok(self.uint(tag, field)? != 0)
    }

    pub(crate) fn term(&mut self, tag: Tag, field: &'static str) -> Result<Term, DecodeError> {
        let term = Term(self.uint(tag, field)?);
        if term > Term::MAX {
            return Err(DecodeError::new(field, tag.offset, Reason::TooLarge));
        }
        Ok(term)
    }

    pub(crate) fn index(&mut self, tag: Tag, field: &'static str) -> Result<LogIndex, DecodeError> {
        let index = LogIndex(self.uint(tag, field)?);
        if index > LogIndex::MAX {
            return Err(DecodeError::new(field, tag.offset, Reason::TooLarge));
        }
        Ok(index)
    }

    /// Bytes, which share the memory of what is decoded.
    pub(crate) fn bytes(&mut self, tag: Tag, field: &'static str) -> Result<Bytes, DecodeError> {
        tag.expect(LENGTH_DELIMITED, field)?;
        self.stream
            .read_tokio_bytes()
            .map_err(|_| self.malformed(field))
    }

    /// A message: `read` is to read its fields until there are no more.
    pub(crate) fn message<T>(
        &mut self,
        tag: Tag,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        tag.expect(LENGTH_DELIMITED, field)?;
        let limited = self
            .stream
            .read_raw_varint32()
            .and_then(|len| self.stream.push_limit(u64::from(len)));
        let Ok(outer) = limited else {
            return Err(self.malformed(field));
        };
        let message = read(self)?;
        self.stream.pop_limit(outer);
        Ok(message)
    }

    /// Node ids, either one by one or all under one head.
    pub(crate) fn node_ids(
        &mut self,
        tag: Tag,
        field: &'static str,
        ids: &mut Vec<NodeId>,
    ) -> Result<(), DecodeError> {
        if tag.form == VARINT {
            let id = self.uint(tag, field)?;
            ids.push(node_id(id, field, tag.offset)?);
            return Ok(());
        }
        self.message(tag, field, |reader| {
            while reader.stream.bytes_until_limit() > 0 {
                let offset = reader.offset();
                let id = reader.stream.read_raw_varint64();
                let id = id.map_err(|_| reader.malformed(field))?;
                ids.push(node_id(id, field, offset)?);
            }
            Ok(())
        })
    }

    fn malformed(&self, field: &'static str) -> DecodeError {
        DecodeError::new(field, self.offset(), Reason::Malformed)
    }
}

impl Tag {
    fn expect(self, form: u32, field: &'static str) -> Result<(), DecodeError> {
        if self.form == form {
            Ok(())
        } else {
            Err(DecodeError::new(field, self.offset, Reason::WrongForm))
        }
    }
}

/// The node of this number, which stands at `offset`.
pub(crate) fn node_id(id: u64, field: &'static str, offset: usize) -> Result<NodeId, DecodeError> {
    NodeId::new(id).ok_or(DecodeError::new(field, offset, Reason::NoNode))
}
