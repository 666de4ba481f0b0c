//! Any value that the core can send or store.

use almadia::{
    AppendEntries, AppendEntriesResponse, Body, Bytes, ChangeForm, ConfState, Entries, Entry,
    HardState, Heartbeat, HeartbeatResponse, LogId, LogIndex, MemberChange, MembershipChange,
    Message, NodeId, Payload, Proposal, ReadIndexResponse, RequestVote, Snapshot, Term, Token,
    Transition, VoteResponse,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::common::node;

/// Numbers of every length on the wire.
fn number(max: u64) -> impl Strategy<Value = u64> {
    (0_u32..64, any::<u64>()).prop_map(move |(shift, number)| (number >> shift).min(max))
}

fn node_id() -> impl Strategy<Value = NodeId> {
    number(u64::MAX).prop_map(|id| node(id.max(1)))
}

fn term() -> impl Strategy<Value = Term> {
    number(Term::MAX.0).prop_map(Term)
}

fn index() -> impl Strategy<Value = LogIndex> {
    number(LogIndex::MAX.0).prop_map(LogIndex)
}

/// A term and an index, which need not be a place in a log.
fn log_id() -> impl Strategy<Value = LogId> {
    (term(), index()).prop_map(|(term, index)| LogId { term, index })
}

pub(crate) fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..40),
        1 => vec(any::<u8>(), 120..140),
        1 => vec(any::<u8>(), 1020..1030),
    ]
    .prop_map(Bytes::from)
}

/// As it is read again: eight bytes are a number, and none are no token.
fn token() -> impl Strategy<Value = Token> {
    prop_oneof![
        Just(Token::None),
        any::<u64>().prop_map(Token::Number),
        bytes()
            .prop_filter("another length", |bytes| !matches!(bytes.len(), 0 | 8))
            .prop_map(Token::Bytes),
    ]
}

fn member_change() -> impl Strategy<Value = MemberChange> {
    prop_oneof![
        node_id().prop_map(MemberChange::AddVoter),
        node_id().prop_map(MemberChange::AddLearner),
        node_id().prop_map(MemberChange::Remove),
        Just(MemberChange::Nothing),
    ]
}

pub(crate) fn change() -> impl Strategy<Value = MembershipChange> {
    let transition = prop_oneof![
        Just(Transition::Auto),
        Just(Transition::Implicit),
        Just(Transition::Explicit),
    ];
    let second = (vec(member_change(), 0..4), transition, bytes()).prop_map(
        |(changes, transition, context)| MembershipChange {
            changes,
            transition,
            context,
            form: ChangeForm::V2,
        },
    );
    let first = (member_change(), number(u64::MAX), bytes()).prop_map(|(change, id, context)| {
        MembershipChange {
            changes: vec![change],
            transition: Transition::Auto,
            context,
            form: ChangeForm::V1 { id },
        }
    });
    prop_oneof![second, first]
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        3 => bytes().prop_map(Payload::Data),
        1 => change().prop_map(|change| Payload::Change(change.into())),
    ]
}

fn context() -> impl Strategy<Value = Bytes> {
    prop_oneof![3 => Just(Bytes::new()), 1 => bytes()]
}

pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    let id = (1..=Term::MAX.0, 1..=LogIndex::MAX.0);
    (id, payload(), context()).prop_map(|((term, index), payload, context)| Entry {
        id: LogId::new(term, index),
        payload,
        context,
    })
}

/// A position, and entries that follow it.
fn run() -> impl Strategy<Value = (LogId, Entries)> {
    let step = (0_u64..2, payload(), context());
    (number(1 << 60), number(1 << 60), vec(step, 0..6)).prop_map(|(term, index, steps)| {
        let prev_log = LogId::new(term, index);
        let mut last = prev_log;
        let entries = steps.into_iter().map(|(terms, payload, context)| {
            last = LogId::new((last.term.0 + terms).max(1), last.index.0 + 1);
            Entry {
                id: last,
                payload,
                context,
            }
        });
        (prev_log, entries.collect())
    })
}

pub(crate) fn conf_state() -> impl Strategy<Value = ConfState> {
    let ids = || vec(node_id(), 0..4);
    (ids(), ids(), ids(), ids(), any::<bool>()).prop_map(
        |(voters, learners, voters_outgoing, learners_next, auto_leave)| ConfState {
            voters,
            learners,
            voters_outgoing,
            learners_next,
            auto_leave,
        },
    )
}

pub(crate) fn snapshot() -> impl Strategy<Value = Snapshot> {
    (log_id(), conf_state(), bytes()).prop_map(|(last_included, conf_state, data)| Snapshot {
        last_included,
        conf_state,
        data,
    })
}

pub(crate) fn hard_state() -> impl Strategy<Value = HardState> {
    (term(), proptest::option::of(node_id()), index()).prop_map(
        |(current_term, voted_for, commit_index)| HardState {
            current_term,
            voted_for,
            commit_index,
        },
    )
}

fn request() -> impl Strategy<Value = RequestVote> {
    (log_id(), log_id(), any::<i64>(), any::<bool>()).prop_map(
        |(last_log, commit, priority, leadership_transfer)| RequestVote {
            last_log,
            commit,
            priority,
            leadership_transfer,
        },
    )
}

fn vote() -> impl Strategy<Value = VoteResponse> {
    prop_oneof![
        Just(VoteResponse::Granted),
        log_id().prop_map(|commit| VoteResponse::Refused { commit }),
    ]
}

fn append_response() -> impl Strategy<Value = AppendEntriesResponse> {
    prop_oneof![
        (index(), index()).prop_map(|(match_index, commit_index)| {
            AppendEntriesResponse::Accepted {
                match_index,
                commit_index,
            }
        }),
        (index(), log_id(), index()).prop_map(|(prev_index, hint, commit_index)| {
            AppendEntriesResponse::Rejected {
                prev_index,
                hint,
                commit_index,
            }
        }),
        (log_id(), index(), 1..=LogIndex::MAX.0).prop_map(|(last_log, commit_index, request)| {
            AppendEntriesResponse::SnapshotRequested {
                last_log,
                commit_index,
                request_index: LogIndex(request),
            }
        }),
    ]
}

fn proposal() -> impl Strategy<Value = Proposal> {
    (payload(), context()).prop_map(|(payload, context)| Proposal { payload, context })
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        request().prop_map(Body::RequestVote),
        request().prop_map(Body::PreVote),
        vote().prop_map(Body::RequestVoteResponse),
        vote().prop_map(Body::PreVoteResponse),
        (run(), index()).prop_map(|((prev_log, entries), leader_commit)| {
            Body::AppendEntries(AppendEntries {
                prev_log,
                leader_commit,
                entries,
            })
        }),
        append_response().prop_map(Body::AppendEntriesResponse),
        (index(), token()).prop_map(|(leader_commit, token)| Body::Heartbeat(Heartbeat {
            leader_commit,
            token
        })),
        (index(), token()).prop_map(|(commit_index, token)| {
            Body::HeartbeatResponse(HeartbeatResponse {
                commit_index,
                token,
            })
        }),
        snapshot().prop_map(|snapshot| Body::InstallSnapshot(Box::new(snapshot))),
        Just(Body::TimeoutNow),
        vec(proposal(), 1..4).prop_map(Body::Propose),
        token().prop_map(Body::ReadIndex),
        (index(), token()).prop_map(|(read_index, token)| {
            Body::ReadIndexResponse(ReadIndexResponse { read_index, token })
        }),
        node_id().prop_map(|transferee| Body::TransferLeader { transferee }),
    ]
}

/// A message that is read again as it was written: a wish for a transfer is from the node that is to
/// lead.
pub(crate) fn message() -> impl Strategy<Value = Message> {
    (node_id(), node_id(), term(), body()).prop_map(|(to, from, term, body)| {
        let from = if let Body::TransferLeader { transferee } = body {
            transferee
        } else {
            from
        };
        Message {
            to,
            from,
            term,
            body,
        }
    })
}
