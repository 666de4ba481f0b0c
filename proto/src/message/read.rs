//! Messages on their way in: which kind has use for which field.
//!
//! Owns the table for reading, and what is refused. Its twin for writing is `write.rs`.

use almadia::{
    AppendEntries, AppendEntriesResponse, Body, Entries, Entry, Heartbeat, HeartbeatResponse,
    LogId, LogIndex, Message, NodeId, Proposal, ReadIndexResponse, RequestVote, Snapshot, Term,
    Token, VoteResponse,
};
use bytes::Bytes;
use smallvec::SmallVec;

use super::{CAMPAIGN_TRANSFER, kinds};
use crate::entry;
use crate::error::{DecodeError, Reason};
use crate::state;
use crate::wire::{Part, Reader, Schema};

/// How they begin when they are read.
mod heads {
    use super::super::fields;
    use crate::wire::{delimited, number};

    pub(super) const MSG_TYPE: u32 = number(fields::MSG_TYPE);
    pub(super) const TO: u32 = number(fields::TO);
    pub(super) const FROM: u32 = number(fields::FROM);
    pub(super) const TERM: u32 = number(fields::TERM);
    pub(super) const LOG_TERM: u32 = number(fields::LOG_TERM);
    pub(super) const INDEX: u32 = number(fields::INDEX);
    pub(super) const ENTRIES: u32 = delimited(fields::ENTRIES);
    pub(super) const COMMIT: u32 = number(fields::COMMIT);
    pub(super) const SNAPSHOT: u32 = delimited(fields::SNAPSHOT);
    pub(super) const REJECT: u32 = number(fields::REJECT);
    pub(super) const REJECT_HINT: u32 = number(fields::REJECT_HINT);
    pub(super) const CONTEXT: u32 = delimited(fields::CONTEXT);
    pub(super) const REQUEST_SNAPSHOT: u32 = number(fields::REQUEST_SNAPSHOT);
    pub(super) const DEPRECATED_PRIORITY: u32 = number(fields::DEPRECATED_PRIORITY);
    pub(super) const COMMIT_TERM: u32 = number(fields::COMMIT_TERM);
    pub(super) const PRIORITY: u32 = number(fields::PRIORITY);
}

/// A message as it was read: what its kind does with the fields comes later, because the kind may
/// come last. (Aligned, because fewer of its parts lie across two cache lines then: to read such a part
/// soon after it was written is to wait. Measured: a tenth of the time for one entry.)
#[derive(Default)]
#[repr(align(16))]
struct Raw {
    kind: u64,
    kind_at: usize,
    to: Option<NodeId>,
    from: Option<NodeId>,
    term: Term,
    log_term: Term,
    index: LogIndex,
    commit: LogIndex,
    commit_term: Term,
    reject: bool,
    reject_hint: LogIndex,
    request_snapshot: LogIndex,
    deprecated_priority: u64,
    priority: i64,
    context: Part,
    entries: Run,
    snapshot: Option<Box<Snapshot>>,
}

/// Entries as they come. They become the domain's when all are read: one alone then takes the bytes
/// over, and many are made in one go.
#[derive(Default)]
struct Run {
    /// Where the first one begins.
    at: usize,
    entries: SmallVec<[entry::Raw; 1]>,
}

impl Run {
    #[inline(always)]
    fn read_next(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        if self.entries.is_empty() {
            self.at = reader.offset();
        }
        let reader = reader.message(&entry::ENTRY)?;
        self.entries.push(entry::Raw::default());
        self.entries
            .last_mut()
            .map_or(Ok(()), |entry| entry.read(reader))
    }

    fn refused(&self, reason: Reason) -> DecodeError {
        DecodeError::new("Message.entries", self.at, reason)
    }
}

pub(crate) static MESSAGE: Schema = Schema {
    message: "Message",
    fields: &[
        "Message.msg_type",
        "Message.to",
        "Message.from",
        "Message.term",
        "Message.log_term",
        "Message.index",
        "Message.entries",
        "Message.commit",
        "Message.snapshot",
        "Message.reject",
        "Message.reject_hint",
        "Message.context",
        "Message.request_snapshot",
        "Message.deprecated_priority",
        "Message.commit_term",
        "Message.priority",
    ],
};

/// A message, from all of `bytes`.
pub(crate) fn decode(mut bytes: Bytes) -> Result<Message, DecodeError> {
    let mut raw = Raw::default();
    raw.read(Reader::new(&bytes, &MESSAGE))?;
    let len = bytes.len();
    let missing = |field| DecodeError::new(field, len, Reason::NoNode);
    let to = raw.to.ok_or_else(|| missing("Message.to"))?;
    let from = raw.from.ok_or_else(|| missing("Message.from"))?;
    Ok(Message {
        to,
        from,
        term: raw.term,
        body: raw.body(&mut bytes, to, from)?,
    })
}

impl Raw {
    #[inline(always)]
    fn read(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        // What both of raft-rs's codecs begin with, in this order.
        if reader.begins_with(heads::MSG_TYPE) {
            self.kind_at = reader.offset();
            self.kind = reader.uint()?;
        }
        if reader.begins_with(heads::TO) {
            self.to = Some(reader.node_id()?);
        }
        if reader.begins_with(heads::FROM) {
            self.from = Some(reader.node_id()?);
        }
        if reader.begins_with(heads::TERM) {
            self.term = reader.term()?;
        }
        while let Some(head) = reader.next()? {
            match head {
                heads::MSG_TYPE => {
                    self.kind = reader.uint()?;
                    self.kind_at = reader.offset();
                }
                heads::TO => self.to = Some(reader.node_id()?),
                heads::FROM => self.from = Some(reader.node_id()?),
                heads::TERM => self.term = reader.term()?,
                heads::LOG_TERM => self.log_term = reader.term()?,
                heads::INDEX => self.index = reader.index()?,
                heads::ENTRIES => self.entries.read_next(&mut reader)?,
                heads::COMMIT => self.commit = reader.index()?,
                heads::SNAPSHOT => {
                    let snapshot = self.snapshot.get_or_insert_with(empty_snapshot);
                    state::read_snapshot(reader.message(&state::SNAPSHOT)?, snapshot)?;
                }
                heads::REJECT => self.reject = reader.bool()?,
                heads::REJECT_HINT => self.reject_hint = reader.index()?,
                heads::CONTEXT => self.context = reader.part()?,
                heads::REQUEST_SNAPSHOT => self.request_snapshot = reader.index()?,
                heads::DEPRECATED_PRIORITY => self.deprecated_priority = reader.uint()?,
                heads::COMMIT_TERM => self.commit_term = reader.term()?,
                heads::PRIORITY => self.priority = reader.uint()? as i64,
                _ => reader.skip()?,
            }
        }
        Ok(())
    }

    /// What the message says.
    #[inline(always)]
    fn body(&mut self, bytes: &mut Bytes, to: NodeId, from: NodeId) -> Result<Body, DecodeError> {
        Ok(match self.kind {
            kinds::REQUEST_VOTE => Body::RequestVote(self.request_vote(bytes)),
            kinds::REQUEST_PRE_VOTE => Body::PreVote(self.request_vote(bytes)),
            kinds::REQUEST_VOTE_RESPONSE => Body::RequestVoteResponse(self.vote()),
            kinds::REQUEST_PRE_VOTE_RESPONSE => Body::PreVoteResponse(self.vote()),
            kinds::APPEND => Body::AppendEntries(self.append(bytes)?),
            kinds::APPEND_RESPONSE => Body::AppendEntriesResponse(self.append_response()),
            kinds::HEARTBEAT => Body::Heartbeat(Heartbeat {
                leader_commit: self.commit,
                token: token(self.context, bytes),
            }),
            kinds::HEARTBEAT_RESPONSE => Body::HeartbeatResponse(HeartbeatResponse {
                commit_index: self.commit,
                token: token(self.context, bytes),
            }),
            kinds::SNAPSHOT => {
                Body::InstallSnapshot(self.snapshot.take().unwrap_or_else(empty_snapshot))
            }
            kinds::TIMEOUT_NOW => Body::TimeoutNow,
            kinds::PROPOSE => Body::Propose(self.proposals(bytes)?),
            kinds::READ_INDEX => Body::ReadIndex(self.token_of_entry(from, bytes)?),
            kinds::READ_INDEX_RESPONSE => Body::ReadIndexResponse(ReadIndexResponse {
                read_index: self.index,
                token: self.token_of_entry(to, bytes)?,
            }),
            kinds::TRANSFER_LEADER => Body::TransferLeader { transferee: from },
            other => {
                let reason = if other > kinds::LAST {
                    Reason::UnknownVariant(other)
                } else {
                    Reason::LocalKind(other)
                };
                return Err(DecodeError::new("Message.msg_type", self.kind_at, reason));
            }
        })
    }

    fn request_vote(&self, bytes: &Bytes) -> RequestVote {
        RequestVote {
            last_log: LogId {
                term: self.log_term,
                index: self.index,
            },
            commit: self.commit(),
            priority: if self.priority == 0 {
                i64::try_from(self.deprecated_priority).unwrap_or(i64::MAX)
            } else {
                self.priority
            },
            leadership_transfer: self.context.of(bytes) == CAMPAIGN_TRANSFER,
        }
    }

    fn vote(&self) -> VoteResponse {
        if self.reject {
            VoteResponse::Refused {
                commit: self.commit(),
            }
        } else {
            VoteResponse::Granted
        }
    }

    fn commit(&self) -> LogId {
        LogId {
            term: self.commit_term,
            index: self.commit,
        }
    }

    #[inline(always)]
    fn append(&mut self, bytes: &mut Bytes) -> Result<AppendEntries, DecodeError> {
        let prev_log = LogId {
            term: self.log_term,
            index: self.index,
        };
        let entries = match self.entries.entries.as_slice() {
            [] => Entries::empty(),
            [only] => Entries::from([only.take(bytes)]),
            all => all.iter().map(|entry| entry.share(bytes)).collect(),
        };
        if !entries.follow(prev_log) {
            return Err(self.entries.refused(Reason::OutOfOrder));
        }
        Ok(AppendEntries {
            prev_log,
            leader_commit: self.commit,
            entries,
        })
    }

    fn append_response(&self) -> AppendEntriesResponse {
        let hint = LogId {
            term: self.log_term,
            index: self.reject_hint,
        };
        if !self.reject {
            AppendEntriesResponse::Accepted {
                match_index: self.index,
                commit_index: self.commit,
            }
        } else if self.request_snapshot == LogIndex::ZERO {
            AppendEntriesResponse::Rejected {
                prev_index: self.index,
                hint,
                commit_index: self.commit,
            }
        } else {
            AppendEntriesResponse::SnapshotRequested {
                last_log: hint,
                commit_index: self.index,
                request_index: self.request_snapshot,
            }
        }
    }

    fn proposals(&mut self, bytes: &mut Bytes) -> Result<Vec<Proposal>, DecodeError> {
        let entries = &self.entries.entries;
        if entries.is_empty() {
            return Err(self.entries.refused(Reason::WrongEntryCount));
        }
        let proposals = entries.iter().map(|entry| {
            let Entry {
                payload, context, ..
            } = entry.share(bytes);
            Proposal { payload, context }
        });
        Ok(proposals.collect())
    }

    /// A read carries its token as the data of its only entry.
    fn token_of_entry(&self, asks: NodeId, bytes: &mut Bytes) -> Result<Token, DecodeError> {
        let data = match self.entries.entries.as_slice() {
            [only] => only.plain_data(),
            _ => None,
        };
        match data {
            Some(data) => Ok(token_of_read(asks, data, bytes)),
            None => Err(self.entries.refused(Reason::WrongEntryCount)),
        }
    }
}

fn empty_snapshot() -> Box<Snapshot> {
    Box::new(state::empty_snapshot())
}

/// The token of a read that this node asks for: see [`EntryOfToken`].
fn token_of_read(asks: NodeId, mark: Part, bytes: &mut Bytes) -> Token {
    let data = mark.of(bytes);
    if data.is_empty() {
        return Token::None;
    }
    let own = data.strip_prefix(&asks.get().to_be_bytes());
    match own.map(<[u8; 8]>::try_from) {
        Some(Ok(number)) => Token::Number(u64::from_be_bytes(number)),
        Some(Err(_)) | None => Token::Bytes(mark.take(bytes)),
    }
}

/// Eight bytes are a number, as this crate writes them; whose they are does not matter, because
/// they are only ever written back.
fn token(mark: Part, bytes: &mut Bytes) -> Token {
    match *mark.of(bytes) {
        [] => Token::None,
        [a, b, c, d, e, f, g, h] => Token::Number(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
        _ => Token::Bytes(mark.take(bytes)),
    }
}
