//! The bytes of the core's own types.
//!
//! Owns the order of their fields and the numbers of their variants, which are part of the
//! recording's format: whoever changes one raises `format::VERSION`. Every field is named, so a new
//! one does not compile before it is recorded; for [`Config`], whose fields cannot be listed from
//! outside, a test looks into its source.

use std::sync::Arc;

use almadia::{
    AppendEntries, AppendEntriesResponse, Body, ChangeForm, ConfState, Config, Entries,
    EntriesRequest, Entry, HardState, Heartbeat, HeartbeatResponse, InitialState, LogId, LogIndex,
    MemberChange, MembershipChange, Message, NodeId, Payload, Proposal, Purpose, ReadIndexResponse,
    RequestVote, Snapshot, SnapshotStatus, StorageError, Term, Token, Transition, VoteResponse,
    Window,
};
use thiserror::Error;

use super::{Coded, Malformed, Reader, Writer, coded_enum, coded_struct, encode_list};

impl Coded for NodeId {
    fn encode(&self, out: &mut Writer) {
        self.get().encode(out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::new(u64::decode(from)?).ok_or(Malformed("a node id is zero"))
    }
}

impl Coded for Term {
    fn encode(&self, out: &mut Writer) {
        self.0.encode(out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        u64::decode(from).map(Self)
    }
}

impl Coded for LogIndex {
    fn encode(&self, out: &mut Writer) {
        self.0.encode(out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        u64::decode(from).map(Self)
    }
}

coded_struct!(LogId { term, index });
coded_struct!(HardState {
    current_term,
    voted_for,
    commit_index
});
coded_struct!(ConfState {
    voters,
    learners,
    voters_outgoing,
    learners_next,
    auto_leave
});
coded_struct!(InitialState {
    hard_state,
    conf_state
});
coded_struct!(Entry {
    id,
    payload,
    context
});
coded_struct!(Snapshot {
    last_included,
    conf_state,
    data
});
coded_struct!(MembershipChange {
    changes,
    transition,
    context,
    form
});
coded_struct!(Message {
    to,
    from,
    term,
    body
});
coded_struct!(RequestVote {
    last_log,
    commit,
    priority,
    leadership_transfer
});
coded_struct!(AppendEntries {
    prev_log,
    leader_commit,
    entries
});
coded_struct!(Heartbeat {
    leader_commit,
    token
});
coded_struct!(HeartbeatResponse {
    commit_index,
    token
});
coded_struct!(ReadIndexResponse { read_index, token });
coded_struct!(Proposal { payload, context });
coded_struct!(Window { messages, bytes });

coded_enum!(Payload { 0 Data(data), 1 Change(change) });
coded_enum!(MemberChange { 0 AddVoter(id), 1 AddLearner(id), 2 Remove(id), 3 Nothing });
coded_enum!(Transition { 0 Auto, 1 Implicit, 2 Explicit });
coded_enum!(ChangeForm { 1 V1 { id }, 2 V2 });
coded_enum!(VoteResponse { 0 Granted, 1 Refused { commit } });
coded_enum!(Token { 0 None, 1 Number(number), 2 Bytes(bytes) });
coded_enum!(SnapshotStatus { 0 Delivered, 1 Failed });
coded_enum!(AppendEntriesResponse {
    0 Accepted { match_index, commit_index },
    1 Rejected { prev_index, hint, commit_index },
    2 SnapshotRequested { last_log, commit_index, request_index },
    3 TermOutdated,
});
coded_enum!(Body {
    0 RequestVote(it),
    1 RequestVoteResponse(it),
    2 PreVote(it),
    3 PreVoteResponse(it),
    4 AppendEntries(it),
    5 AppendEntriesResponse(it),
    6 Heartbeat(it),
    7 HeartbeatResponse(it),
    8 InstallSnapshot(it),
    9 TimeoutNow,
    10 Propose(it),
    11 ReadIndex(it),
    12 ReadIndexResponse(it),
    13 TransferLeader { transferee },
});

impl Coded for Entries {
    fn encode(&self, out: &mut Writer) {
        encode_list(self, out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Vec::decode(from).map(Self::from)
    }
}

impl Coded for Purpose {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Send(peer) => {
                out.byte(0);
                peer.encode(out);
            }
            Self::Apply => out.byte(1),
            Self::Scan => out.byte(2),
            // A purpose of a later core, whose recorder is a later one too.
            _ => out.byte(u8::MAX),
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.byte()? {
            0 => NodeId::decode(from).map(Self::Send),
            1 => Ok(Self::Apply),
            2 => Ok(Self::Scan),
            _ => Err(Malformed("there is no such Purpose")),
        }
    }
}

impl Coded for EntriesRequest {
    fn encode(&self, out: &mut Writer) {
        self.first.encode(out);
        self.last.encode(out);
        self.max_bytes.encode(out);
        self.purpose.encode(out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let first = Coded::decode(from)?;
        let last = Coded::decode(from)?;
        let max_bytes = Coded::decode(from)?;
        let purpose = Coded::decode(from)?;
        Ok(Self::new(first, last, max_bytes, purpose))
    }
}

/// An error of the embedder's own, of which the text is left. Errors are equal when they read the
/// same.
#[derive(Clone, Debug, Error)]
#[error("{0}")]
struct Foreign(String);

impl Coded for StorageError {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Compacted => out.byte(0),
            Self::Unavailable => out.byte(1),
            Self::TemporarilyUnavailable => out.byte(2),
            Self::Contract(text) => {
                out.byte(3);
                String::from(*text).encode(out);
            }
            Self::Other(error) => {
                out.byte(4);
                error.to_string().encode(out);
            }
            other => {
                out.byte(4);
                other.to_string().encode(out);
            }
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.byte()? {
            0 => Ok(Self::Compacted),
            1 => Ok(Self::Unavailable),
            2 => Ok(Self::TemporarilyUnavailable),
            // The text lives as long as the process. A node stops at the first such error, so there
            // is one to a recording.
            3 => Ok(Self::Contract(String::decode(from)?.leak())),
            4 => Ok(Self::Other(Arc::new(Foreign(String::decode(from)?)))),
            _ => Err(Malformed("there is no such StorageError")),
        }
    }
}

/// All settings besides the node's id and its incarnation.
macro_rules! coded_config {
    ($($field:ident),* $(,)?) => {
        impl Coded for Config {
            fn encode(&self, out: &mut Writer) {
                self.id().encode(out);
                self.incarnation().encode(out);
                $(self.$field().encode(out);)*
            }

            fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
                let mut builder = Self::builder(Coded::decode(from)?);
                if let Some(incarnation) = Coded::decode(from)? {
                    builder = builder.incarnation(incarnation);
                }
                $(builder = builder.$field(Coded::decode(from)?);)*
                builder.build().map_err(|_| Malformed("the settings contradict each other"))
            }
        }
    };
}

coded_config!(
    heartbeat_interval_ticks,
    election_timeout_ticks,
    max_election_timeout_ticks,
    pre_vote,
    check_quorum,
    lease_reads,
    lease_margin_ticks,
    max_pending_reads,
    validate_conf_changes,
    priority,
    max_message_bytes,
    max_inflight_messages,
    max_inflight_bytes,
    max_uncommitted_bytes,
    max_committed_bytes_per_ready,
    max_apply_unpersisted_entries,
    skip_commit_broadcast,
    max_tail_bytes,
    applied,
    seed,
);
