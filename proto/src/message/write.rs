//! Messages on their way out: which kind sets which field.
//!
//! Owns the table for writing. Its twin for reading is `read.rs`, and the two are held to each other, and
//! to other codecs, by `proto/tests/wire/`.

use almadia::{
    AppendEntriesResponse, Body, Entries, Message, NodeId, ReadIndexResponse, RequestVote, Term,
    Token, VoteResponse,
};

use super::{CAMPAIGN_TRANSFER, fields, kinds};
use crate::entry;
use crate::wire::{Fields, Sink};

/// Entries and the data of a snapshot come last, so that they can be sent from where they lie.
impl Fields for Message {
    fn put(&self, sink: &mut impl Sink) {
        put_head(self, sink);
        put_entries(self, sink);
    }
}

/// Everything but the entries.
pub(crate) fn put_head(message: &Message, sink: &mut impl Sink) {
    let Message {
        to,
        from,
        term,
        ref body,
    } = *message;
    let envelope = |kind: u64, from: NodeId, sink: &mut _| {
        put_envelope(sink, kind, to, from, term);
    };
    match body {
        Body::RequestVote(request) => {
            envelope(kinds::REQUEST_VOTE, from, sink);
            put_request(request, sink);
        }
        Body::PreVote(request) => {
            envelope(kinds::REQUEST_PRE_VOTE, from, sink);
            put_request(request, sink);
        }
        Body::RequestVoteResponse(vote) => {
            envelope(kinds::REQUEST_VOTE_RESPONSE, from, sink);
            put_vote(*vote, sink);
        }
        Body::PreVoteResponse(vote) => {
            envelope(kinds::REQUEST_PRE_VOTE_RESPONSE, from, sink);
            put_vote(*vote, sink);
        }
        Body::AppendEntries(append) => {
            envelope(kinds::APPEND, from, sink);
            sink.uint(fields::LOG_TERM, append.prev_log.term.0);
            sink.uint(fields::INDEX, append.prev_log.index.0);
            sink.uint(fields::COMMIT, append.leader_commit.0);
        }
        Body::AppendEntriesResponse(response) => {
            envelope(kinds::APPEND_RESPONSE, from, sink);
            put_append_response(*response, sink);
        }
        Body::Heartbeat(heartbeat) => {
            envelope(kinds::HEARTBEAT, from, sink);
            sink.uint(fields::COMMIT, heartbeat.leader_commit.0);
            put_token(fields::CONTEXT, &heartbeat.token, sink);
        }
        Body::HeartbeatResponse(response) => {
            envelope(kinds::HEARTBEAT_RESPONSE, from, sink);
            sink.uint(fields::COMMIT, response.commit_index.0);
            put_token(fields::CONTEXT, &response.token, sink);
        }
        Body::InstallSnapshot(snapshot) => {
            envelope(kinds::SNAPSHOT, from, sink);
            sink.message(fields::SNAPSHOT, &**snapshot);
        }
        Body::TimeoutNow => envelope(kinds::TIMEOUT_NOW, from, sink),
        Body::Propose(_) => envelope(kinds::PROPOSE, from, sink),
        Body::ReadIndex(_) => envelope(kinds::READ_INDEX, from, sink),
        Body::ReadIndexResponse(response) => {
            envelope(kinds::READ_INDEX_RESPONSE, from, sink);
            sink.uint(fields::INDEX, response.read_index.0);
        }
        Body::TransferLeader { transferee } => envelope(kinds::TRANSFER_LEADER, *transferee, sink),
    }
}

/// The entries of an AppendEntries.
pub(crate) fn put_log_entries(entries: &Entries, sink: &mut impl Sink) {
    for entry in entries {
        sink.message(fields::ENTRIES, entry);
    }
}

/// The entries, and what is dressed up as one.
fn put_entries(message: &Message, sink: &mut impl Sink) {
    match &message.body {
        Body::AppendEntries(append) => put_log_entries(&append.entries, sink),
        Body::Propose(proposals) => {
            for proposal in proposals {
                sink.message(fields::ENTRIES, proposal);
            }
        }
        Body::ReadIndex(token) => {
            let asks = message.from;
            sink.message(fields::ENTRIES, &EntryOfToken { asks, token });
        }
        Body::ReadIndexResponse(ReadIndexResponse { token, .. }) => {
            let asks = message.to;
            sink.message(fields::ENTRIES, &EntryOfToken { asks, token });
        }
        Body::RequestVote(_)
        | Body::RequestVoteResponse(_)
        | Body::PreVote(_)
        | Body::PreVoteResponse(_)
        | Body::AppendEntriesResponse(_)
        | Body::Heartbeat(_)
        | Body::HeartbeatResponse(_)
        | Body::InstallSnapshot(_)
        | Body::TimeoutNow
        | Body::TransferLeader { .. } => {}
    }
}

#[inline(always)]
fn put_envelope(sink: &mut impl Sink, kind: u64, to: NodeId, from: NodeId, term: Term) {
    sink.uint(fields::MSG_TYPE, kind);
    sink.uint(fields::TO, to.get());
    sink.uint(fields::FROM, from.get());
    sink.uint(fields::TERM, term.0);
}

fn put_request(request: &RequestVote, sink: &mut impl Sink) {
    sink.uint(fields::LOG_TERM, request.last_log.term.0);
    sink.uint(fields::INDEX, request.last_log.index.0);
    sink.uint(fields::COMMIT, request.commit.index.0);
    if request.leadership_transfer {
        sink.bytes(fields::CONTEXT, CAMPAIGN_TRANSFER);
    }
    // For nodes that do not know the newer field yet. It cannot be negative.
    let not_negative = u64::try_from(request.priority).unwrap_or_default();
    sink.uint(fields::DEPRECATED_PRIORITY, not_negative);
    sink.uint(fields::COMMIT_TERM, request.commit.term.0);
    sink.uint(fields::PRIORITY, request.priority as u64);
}

fn put_vote(vote: VoteResponse, sink: &mut impl Sink) {
    match vote {
        VoteResponse::Granted => {}
        VoteResponse::Refused { commit } => {
            sink.uint(fields::COMMIT, commit.index.0);
            sink.uint(fields::REJECT, 1);
            sink.uint(fields::COMMIT_TERM, commit.term.0);
        }
    }
}

fn put_append_response(response: AppendEntriesResponse, sink: &mut impl Sink) {
    match response {
        AppendEntriesResponse::Accepted {
            match_index,
            commit_index,
        } => {
            sink.uint(fields::INDEX, match_index.0);
            sink.uint(fields::COMMIT, commit_index.0);
        }
        AppendEntriesResponse::Rejected {
            prev_index,
            hint,
            commit_index,
        } => {
            sink.uint(fields::LOG_TERM, hint.term.0);
            sink.uint(fields::INDEX, prev_index.0);
            sink.uint(fields::COMMIT, commit_index.0);
            sink.uint(fields::REJECT, 1);
            sink.uint(fields::REJECT_HINT, hint.index.0);
        }
        AppendEntriesResponse::SnapshotRequested {
            last_log,
            commit_index,
            request_index,
        } => {
            sink.uint(fields::LOG_TERM, last_log.term.0);
            sink.uint(fields::INDEX, commit_index.0);
            sink.uint(fields::REJECT, 1);
            sink.uint(fields::REJECT_HINT, last_log.index.0);
            sink.uint(fields::REQUEST_SNAPSHOT, request_index.0);
        }
        AppendEntriesResponse::TermOutdated => {}
    }
}

fn put_token(number: u32, token: &Token, sink: &mut impl Sink) {
    match token {
        Token::None => {}
        Token::Number(mark) => sink.bytes(number, &mark.to_be_bytes()),
        Token::Bytes(mark) => sink.bytes(number, mark),
    }
}

/// An entry that carries a token as its data, and nothing else.
///
/// A number stands behind the id of the node that asks. A leader of raft-rs tells reads apart by
/// these bytes alone, whoever asks: it would drop a read that has the number of another node's, and
/// take an answer to the heartbeat for one read for that to the other.
struct EntryOfToken<'a> {
    asks: NodeId,
    token: &'a Token,
}

impl Fields for EntryOfToken<'_> {
    fn put(&self, sink: &mut impl Sink) {
        match self.token {
            Token::Number(mark) => {
                sink.bytes(entry::DATA, &own_token(self.asks, *mark).to_be_bytes());
            }
            Token::None | Token::Bytes(_) => put_token(entry::DATA, self.token, sink),
        }
    }
}

fn own_token(asks: NodeId, mark: u64) -> u128 {
    u128::from(asks.get()) << u64::BITS | u128::from(mark)
}
