//! Why bytes are refused.
//!
//! Owns [`DecodeError`], in which the field and its place stand. Knows nothing of how they are read.

use thiserror::Error;

/// Bytes that are no message of the schema, or one that makes no sense.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[error("{field} at byte {offset}: {reason}")]
pub struct DecodeError {
    field: &'static str,
    offset: usize,
    reason: Reason,
}

impl DecodeError {
    #[cold]
    pub(crate) const fn new(field: &'static str, offset: usize, reason: Reason) -> Self {
        Self {
            field,
            offset,
            reason,
        }
    }

    /// The field by its name in the schema, such as `Message.log_term`; the message alone where no
    /// field could be made out.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// Where it stands, in bytes from the first one that was decoded; for what is missing the place
    /// where its message ends.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// What is wrong there.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The bytes end within the field, a length reaches behind the end, a number has too many
    /// bytes, or groups are nested too deeply.
    #[error("the bytes are cut off or malformed")]
    Malformed,
    /// The field has another type on the wire than in the schema.
    #[error("the field has another type on the wire than in the schema")]
    WrongForm,
    /// A term or an index above [`Term::MAX`](almadia::Term::MAX).
    #[error("the number is beyond what a term or an index may be")]
    TooLarge,
    /// An enum has no variant of this number.
    #[error("there is no variant number {0}")]
    UnknownVariant(u64),
    /// A kind of message that a raft-rs node has for itself, and that no peer may send.
    #[error("message kind {0} does not cross the wire")]
    LocalKind(u64),
    /// A node id that is zero, or missing.
    #[error("node ids start at 1")]
    NoNode,
    /// The term or the index of an entry is zero, or missing.
    #[error("an entry of a log has a term and an index, both above zero")]
    NoPosition,
    /// The entries are not consecutive, or their terms fall.
    #[error("the entries do not follow each other")]
    OutOfOrder,
    /// A kind of message that needs entries, or exactly one, has another number of them.
    #[error("this kind of message carries another number of entries")]
    WrongEntryCount,
}
