//! `Message`: one flat record on the wire for all kinds, one variant for each in the core.
//!
//! Owns the table of which kind uses which field, once for writing and once for reading. Knows
//! nothing of how a field is written.
//!
//! Two meanings share their bytes, so one of them is read as the other; neither changes what the
//! receiver does. [`AppendEntriesResponse::TermOutdated`] speaks through the term in the envelope
//! alone and is read as an acknowledgement of nothing. Whoever forwards a wish for a transfer is not
//! named: the sender is the node that is to lead.

use almadia::{
    AppendEntries, AppendEntriesResponse, Body, Entries, Entry, Heartbeat, HeartbeatResponse,
    LogId, LogIndex, Message, NodeId, Proposal, ReadIndexResponse, RequestVote, Snapshot, Term,
    Token, VoteResponse,
};
use bytes::Bytes;

use crate::entry;
use crate::error::{DecodeError, Reason};
use crate::state;
use crate::wire::{Fields, Reader, Sink, node_id};

/// The `context` of a vote that the leader itself has asked for.
const CAMPAIGN_TRANSFER: &[u8] = b"CampaignTransfer";

/// `MessageType`.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Propose = 2,
    Append = 3,
    AppendResponse = 4,
    RequestVote = 5,
    RequestVoteResponse = 6,
    Snapshot = 7,
    Heartbeat = 8,
    HeartbeatResponse = 9,
    TransferLeader = 13,
    TimeoutNow = 14,
    ReadIndex = 15,
    ReadIndexResponse = 16,
    RequestPreVote = 17,
    RequestPreVoteResponse = 18,
}

impl Kind {
    /// The kind of this number, which stands at `offset`.
    fn numbered(number: u64, offset: usize) -> Result<Self, DecodeError> {
        let reason = match number {
            2 => return Ok(Self::Propose),
            3 => return Ok(Self::Append),
            4 => return Ok(Self::AppendResponse),
            5 => return Ok(Self::RequestVote),
            6 => return Ok(Self::RequestVoteResponse),
            7 => return Ok(Self::Snapshot),
            8 => return Ok(Self::Heartbeat),
            9 => return Ok(Self::HeartbeatResponse),
            13 => return Ok(Self::TransferLeader),
            14 => return Ok(Self::TimeoutNow),
            15 => return Ok(Self::ReadIndex),
            16 => return Ok(Self::ReadIndexResponse),
            17 => return Ok(Self::RequestPreVote),
            18 => return Ok(Self::RequestPreVoteResponse),
            // MsgHup, MsgBeat, MsgUnreachable, MsgSnapStatus, MsgCheckQuorum.
            0 | 1 | 10..=12 => Reason::LocalKind(number),
            19.. => Reason::UnknownVariant(number),
        };
        Err(DecodeError::new("Message.msg_type", offset, reason))
    }
}

/// The numbers of a message, all but its kind and to whom it is addressed.
#[derive(Clone, Copy, Default)]
struct Numbers {
    log_term: Term,
    index: LogIndex,
    commit: LogIndex,
    commit_term: Term,
    reject: bool,
    reject_hint: LogIndex,
    request_snapshot: LogIndex,
    priority: i64,
}

// --- Writing ---

/// A message as it is written.
pub(crate) struct Flat<'a> {
    kind: Kind,
    to: NodeId,
    from: NodeId,
    term: Term,
    numbers: Numbers,
    context: Mark<'a>,
    entries: Run<'a>,
    snapshot: Option<&'a Snapshot>,
}

/// A short text that is echoed.
enum Mark<'a> {
    Number([u8; 8]),
    Bytes(&'a [u8]),
}

impl Mark<'_> {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Number(bytes) => bytes,
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl<'a> From<&'a Token> for Mark<'a> {
    fn from(token: &'a Token) -> Self {
        match token {
            Token::None => Self::Bytes(&[]),
            Token::Number(number) => Self::Number(number.to_be_bytes()),
            Token::Bytes(bytes) => Self::Bytes(bytes),
        }
    }
}

/// What stands in the field `entries`.
enum Run<'a> {
    Log(&'a Entries),
    Proposals(&'a [Proposal]),
    /// An entry that carries a token as its data.
    Token(Mark<'a>),
}

impl Fields for Run<'_> {
    fn put(&self, sink: &mut impl Sink) {
        match self {
            Self::Log(entries) => {
                for entry in *entries {
                    sink.message(7, entry);
                }
            }
            Self::Proposals(proposals) => {
                for proposal in *proposals {
                    sink.message(7, proposal);
                }
            }
            Self::Token(token) => sink.message(7, token),
        }
    }
}

/// An entry of which only the data is set.
impl Fields for Mark<'_> {
    fn put(&self, sink: &mut impl Sink) {
        sink.bytes(4, self.as_bytes());
    }
}

impl Flat<'_> {
    /// Everything but the entries.
    pub(crate) fn put_head(&self, sink: &mut impl Sink) {
        let Numbers {
            log_term,
            index,
            commit,
            commit_term,
            reject,
            reject_hint,
            request_snapshot,
            priority,
        } = self.numbers;
        sink.uint(1, self.kind as u64);
        sink.uint(2, self.to.get());
        sink.uint(3, self.from.get());
        sink.uint(4, self.term.0);
        sink.uint(5, log_term.0);
        sink.uint(6, index.0);
        sink.uint(8, commit.0);
        sink.uint(10, u64::from(reject));
        sink.uint(11, reject_hint.0);
        sink.bytes(12, self.context.as_bytes());
        sink.uint(13, request_snapshot.0);
        // Read by nodes that do not know field 16 yet, and cannot be negative.
        sink.uint(14, u64::try_from(priority).unwrap_or_default());
        sink.uint(15, commit_term.0);
        sink.uint(16, priority as u64);
        if let Some(snapshot) = self.snapshot {
            sink.message(9, snapshot);
        }
    }
}

/// Entries and the data of a snapshot come last, so that they can be sent from where they lie.
impl Fields for Flat<'_> {
    fn put(&self, sink: &mut impl Sink) {
        self.put_head(sink);
        self.entries.put(sink);
    }
}

impl<'a> From<&'a Message> for Flat<'a> {
    fn from(message: &'a Message) -> Self {
        let mut flat = Self {
            kind: Kind::TimeoutNow,
            to: message.to,
            from: message.from,
            term: message.term,
            numbers: Numbers::default(),
            context: Mark::Bytes(&[]),
            entries: Run::Proposals(&[]),
            snapshot: None,
        };
        flat.fill(&message.body);
        flat
    }
}

impl<'a> Flat<'a> {
    fn fill(&mut self, body: &'a Body) {
        match body {
            Body::RequestVote(request) => self.fill_request(Kind::RequestVote, request),
            Body::PreVote(request) => self.fill_request(Kind::RequestPreVote, request),
            Body::RequestVoteResponse(vote) => self.fill_vote(Kind::RequestVoteResponse, vote),
            Body::PreVoteResponse(vote) => self.fill_vote(Kind::RequestPreVoteResponse, vote),
            Body::AppendEntries(append) => {
                self.kind = Kind::Append;
                self.numbers.log_term = append.prev_log.term;
                self.numbers.index = append.prev_log.index;
                self.numbers.commit = append.leader_commit;
                self.entries = Run::Log(&append.entries);
            }
            Body::AppendEntriesResponse(response) => {
                self.kind = Kind::AppendResponse;
                self.numbers = append_response(*response);
            }
            Body::Heartbeat(heartbeat) => {
                self.kind = Kind::Heartbeat;
                self.numbers.commit = heartbeat.leader_commit;
                self.context = Mark::from(&heartbeat.token);
            }
            Body::HeartbeatResponse(response) => {
                self.kind = Kind::HeartbeatResponse;
                self.numbers.commit = response.commit_index;
                self.context = Mark::from(&response.token);
            }
            Body::InstallSnapshot(snapshot) => {
                self.kind = Kind::Snapshot;
                self.snapshot = Some(snapshot);
            }
            Body::TimeoutNow => self.kind = Kind::TimeoutNow,
            Body::Propose(proposals) => {
                self.kind = Kind::Propose;
                self.entries = Run::Proposals(proposals);
            }
            Body::ReadIndex(token) => {
                self.kind = Kind::ReadIndex;
                self.entries = Run::Token(Mark::from(token));
            }
            Body::ReadIndexResponse(response) => {
                self.kind = Kind::ReadIndexResponse;
                self.numbers.index = response.read_index;
                self.entries = Run::Token(Mark::from(&response.token));
            }
            Body::TransferLeader { transferee } => {
                self.kind = Kind::TransferLeader;
                self.from = *transferee;
            }
        }
    }

    fn fill_request(&mut self, kind: Kind, request: &RequestVote) {
        self.kind = kind;
        self.numbers.log_term = request.last_log.term;
        self.numbers.index = request.last_log.index;
        self.numbers.commit = request.commit.index;
        self.numbers.commit_term = request.commit.term;
        self.numbers.priority = request.priority;
        if request.leadership_transfer {
            self.context = Mark::Bytes(CAMPAIGN_TRANSFER);
        }
    }

    fn fill_vote(&mut self, kind: Kind, vote: &VoteResponse) {
        self.kind = kind;
        if let VoteResponse::Refused { commit } = vote {
            self.numbers.reject = true;
            self.numbers.commit = commit.index;
            self.numbers.commit_term = commit.term;
        }
    }
}

fn append_response(response: AppendEntriesResponse) -> Numbers {
    match response {
        AppendEntriesResponse::Accepted {
            match_index,
            commit_index,
        } => Numbers {
            index: match_index,
            commit: commit_index,
            ..Numbers::default()
        },
        AppendEntriesResponse::Rejected {
            prev_index,
            hint,
            commit_index,
        } => Numbers {
            reject: true,
            index: prev_index,
            reject_hint: hint.index,
            log_term: hint.term,
            commit: commit_index,
            ..Numbers::default()
        },
        AppendEntriesResponse::SnapshotRequested {
            last_log,
            commit_index,
            request_index,
        } => Numbers {
            reject: true,
            index: commit_index,
            reject_hint: last_log.index,
            log_term: last_log.term,
            request_snapshot: request_index,
            ..Numbers::default()
        },
        AppendEntriesResponse::TermOutdated => Numbers::default(),
    }
}

// --- Reading ---

/// A message as it was read: what its kind does with the fields comes later, because the kind may
/// come last.
#[derive(Default)]
struct Read {
    kind: u64,
    kind_at: usize,
    to: Option<NodeId>,
    from: Option<NodeId>,
    term: Term,
    numbers: Numbers,
    deprecated_priority: u64,
    context: Bytes,
    entries: Vec<Entry>,
    entries_at: usize,
    snapshot: Option<Box<Snapshot>>,
}

pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let mut read = Read::default();
    read.fields(reader)?;
    let end = reader.offset();
    let missing = |field| DecodeError::new(field, end, Reason::NoNode);
    Ok(Message {
        to: read.to.ok_or(missing("Message.to"))?,
        from: read.from.ok_or(missing("Message.from"))?,
        term: read.term,
        body: read.body(missing("Message.from"))?,
    })
}

impl Read {
    fn fields(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        while let Some(tag) = reader.next("Message")? {
            let numbers = &mut self.numbers;
            match tag.number {
                1 => {
                    self.kind = reader.uint(tag, "Message.msg_type")?;
                    self.kind_at = tag.offset;
                }
                2 => {
                    let to = reader.uint(tag, "Message.to")?;
                    self.to = Some(node_id(to, "Message.to", tag.offset)?);
                }
                3 => {
                    let from = reader.uint(tag, "Message.from")?;
                    self.from = Some(node_id(from, "Message.from", tag.offset)?);
                }
                4 => self.term = reader.term(tag, "Message.term")?,
                5 => numbers.log_term = reader.term(tag, "Message.log_term")?,
                6 => numbers.index = reader.index(tag, "Message.index")?,
                7 => {
                    if self.entries.is_empty() {
                        self.entries_at = tag.offset;
                    }
                    let entry = reader.message(tag, "Message.entries", entry::read)?;
                    self.entries.push(entry);
                }
                8 => numbers.commit = reader.index(tag, "Message.commit")?,
                9 => {
                    let snapshot = self.snapshot.get_or_insert_with(empty_snapshot);
                    reader.message(tag, "Message.snapshot", |reader| {
                        state::read_snapshot(reader, snapshot)
                    })?;
                }
                10 => numbers.reject = reader.bool(tag, "Message.reject")?,
                11 => numbers.reject_hint = reader.index(tag, "Message.reject_hint")?,
                12 => self.context = reader.bytes(tag, "Message.context")?,
                13 => numbers.request_snapshot = reader.index(tag, "Message.request_snapshot")?,
                14 => self.deprecated_priority = reader.uint(tag, "Message.deprecated_priority")?,
                15 => numbers.commit_term = reader.term(tag, "Message.commit_term")?,
                16 => numbers.priority = reader.uint(tag, "Message.priority")? as i64,
                _ => reader.skip(tag, "Message")?,
            }
        }
        Ok(())
    }

    /// What the message says. `no_sender` is what to answer if a sender is needed and missing.
    fn body(self, no_sender: DecodeError) -> Result<Body, DecodeError> {
        Ok(match Kind::numbered(self.kind, self.kind_at)? {
            Kind::RequestVote => Body::RequestVote(self.request_vote()),
            Kind::RequestPreVote => Body::PreVote(self.request_vote()),
            Kind::RequestVoteResponse => Body::RequestVoteResponse(self.vote()),
            Kind::RequestPreVoteResponse => Body::PreVoteResponse(self.vote()),
            Kind::Append => Body::AppendEntries(self.append()?),
            Kind::AppendResponse => Body::AppendEntriesResponse(self.append_response()),
            Kind::Heartbeat => Body::Heartbeat(Heartbeat {
                leader_commit: self.numbers.commit,
                token: token(self.context),
            }),
            Kind::HeartbeatResponse => Body::HeartbeatResponse(HeartbeatResponse {
                commit_index: self.numbers.commit,
                token: token(self.context),
            }),
            Kind::Snapshot => Body::InstallSnapshot(self.snapshot.unwrap_or_else(empty_snapshot)),
            Kind::TimeoutNow => Body::TimeoutNow,
            Kind::Propose => Body::Propose(self.proposals()?),
            Kind::ReadIndex => Body::ReadIndex(self.token_of_entry()?),
            Kind::ReadIndexResponse => Body::ReadIndexResponse(ReadIndexResponse {
                read_index: self.numbers.index,
                token: self.token_of_entry()?,
            }),
            Kind::TransferLeader => Body::TransferLeader {
                transferee: self.from.ok_or(no_sender)?,
            },
        })
    }

    fn request_vote(&self) -> RequestVote {
        let Numbers { priority, .. } = self.numbers;
        RequestVote {
            last_log: LogId {
                term: self.numbers.log_term,
                index: self.numbers.index,
            },
            commit: self.commit(),
            priority: if priority == 0 {
                i64::try_from(self.deprecated_priority).unwrap_or(i64::MAX)
            } else {
                priority
            },
            leadership_transfer: self.context == CAMPAIGN_TRANSFER,
        }
    }

    fn vote(&self) -> VoteResponse {
        if self.numbers.reject {
            VoteResponse::Refused {
                commit: self.commit(),
            }
        } else {
            VoteResponse::Granted
        }
    }

    fn commit(&self) -> LogId {
        LogId {
            term: self.numbers.commit_term,
            index: self.numbers.commit,
        }
    }

    fn append(self) -> Result<AppendEntries, DecodeError> {
        let prev_log = LogId {
            term: self.numbers.log_term,
            index: self.numbers.index,
        };
        let entries = Entries::from(self.entries);
        if !entries.follow(prev_log) {
            return Err(DecodeError::new(
                "Message.entries",
                self.entries_at,
                Reason::OutOfOrder,
            ));
        }
        Ok(AppendEntries {
            prev_log,
            leader_commit: self.numbers.commit,
            entries,
        })
    }

    fn append_response(&self) -> AppendEntriesResponse {
        let Numbers {
            log_term,
            index,
            commit,
            reject,
            reject_hint,
            request_snapshot,
            ..
        } = self.numbers;
        let hint = LogId {
            term: log_term,
            index: reject_hint,
        };
        if !reject {
            AppendEntriesResponse::Accepted {
                match_index: index,
                commit_index: commit,
            }
        } else if request_snapshot == LogIndex::ZERO {
            AppendEntriesResponse::Rejected {
                prev_index: index,
                hint,
                commit_index: commit,
            }
        } else {
            AppendEntriesResponse::SnapshotRequested {
                last_log: hint,
                commit_index: index,
                request_index: request_snapshot,
            }
        }
    }

    fn proposals(self) -> Result<Vec<Proposal>, DecodeError> {
        if self.entries.is_empty() {
            return Err(self.wrong_entry_count());
        }
        Ok(self
            .entries
            .into_iter()
            .map(|entry| Proposal {
                payload: entry.payload,
                context: entry.context,
            })
            .collect())
    }

    /// A read carries its token as the data of its only entry.
    fn token_of_entry(&self) -> Result<Token, DecodeError> {
        match &*self.entries {
            [
                Entry {
                    payload: almadia::Payload::Data(data),
                    ..
                },
            ] => Ok(token(data.clone())),
            _ => Err(self.wrong_entry_count()),
        }
    }

    fn wrong_entry_count(&self) -> DecodeError {
        DecodeError::new("Message.entries", self.entries_at, Reason::WrongEntryCount)
    }
}

fn empty_snapshot() -> Box<Snapshot> {
    Box::new(state::empty_snapshot())
}

/// Eight bytes are a number, as this crate writes them; whose they are does not matter, because
/// they are only ever written back.
fn token(bytes: Bytes) -> Token {
    match <[u8; 8]>::try_from(&*bytes) {
        Ok(number) => Token::Number(u64::from_be_bytes(number)),
        Err(_) if bytes.is_empty() => Token::None,
        Err(_) => Token::Bytes(bytes),
    }
}
