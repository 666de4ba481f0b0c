//! Arbitrary messages, most of them nearly plausible, because nonsense stops at the door.
//!
//! Owns what may be said, and how what is relative to the receiver becomes numbers. Knows nothing of
//! what must come of it.

use almadia::{
    AppendEntries, AppendEntriesResponse, Body, Bytes, ConfState, Entries, Entry, Heartbeat,
    HeartbeatResponse, LogId, LogIndex, MemberChange, MembershipChange, Message, NodeId, Payload,
    Proposal, RawNode, ReadIndexResponse, RequestVote, Snapshot, Storage, Term, Token, Transition,
    VoteResponse,
};
use arbitrary::{Result, Unstructured};

use super::draw::{at_most, once_in, one_of};
use super::faults::{Disk, id, install, voters};

/// A number that is near to something the receiver knows, or anywhere.
#[derive(Clone, Copy, Debug)]
enum Number {
    Small(u64),
    Current(i8),
    Commit(i8),
    Huge(u64),
}

fn near(bytes: &mut Unstructured<'_>) -> Result<i8> {
    Ok([0, -1, 1, -2, 2][bytes.int_in_range(0..=4_usize)?])
}

/// At the end of the numbers that are allowed, or of all.
pub(crate) fn huge(bytes: &mut Unstructured<'_>) -> Result<u64> {
    let top = u64::MAX >> 1;
    Ok(*bytes.choose(&[top - 1, top, top + 1, u64::MAX])?)
}

fn term(bytes: &mut Unstructured<'_>) -> Result<Number> {
    one_of(
        bytes,
        &[
            (12, |bytes| near(bytes).map(Number::Current)),
            (4, |bytes| bytes.int_in_range(0..=7).map(Number::Small)),
            (1, |bytes| huge(bytes).map(Number::Huge)),
        ],
    )
}

fn index(bytes: &mut Unstructured<'_>) -> Result<Number> {
    one_of(
        bytes,
        &[
            (8, |bytes| near(bytes).map(Number::Current)),
            (6, |bytes| near(bytes).map(Number::Commit)),
            (6, |bytes| bytes.int_in_range(0..=11).map(Number::Small)),
            (1, |bytes| huge(bytes).map(Number::Huge)),
        ],
    )
}

/// A place in a log: with the term that the receiver has there, or with another.
#[derive(Clone, Copy, Debug)]
struct Place {
    index: Number,
    term: Option<Number>,
}

fn place(bytes: &mut Unstructured<'_>) -> Result<Place> {
    let index = index(bytes)?;
    let term = one_of(
        bytes,
        &[(3, |_| Ok(None)), (2, |bytes| term(bytes).map(Some))],
    )?;
    Ok(Place { index, term })
}

pub(crate) fn member(bytes: &mut Unstructured<'_>) -> Result<NodeId> {
    bytes.int_in_range(1..=6).map(id)
}

pub(crate) fn change(bytes: &mut Unstructured<'_>) -> Result<MembershipChange> {
    let changes = at_most(bytes, 2, |bytes| {
        one_of(
            bytes,
            &[
                (2, |bytes| member(bytes).map(MemberChange::AddVoter)),
                (2, |bytes| member(bytes).map(MemberChange::AddLearner)),
                (1, |bytes| member(bytes).map(MemberChange::Remove)),
                (1, |_| Ok(MemberChange::Nothing)),
            ],
        )
    })?;
    let transitions = [Transition::Auto, Transition::Implicit, Transition::Explicit];
    Ok(MembershipChange {
        changes,
        transition: *bytes.choose(&transitions)?,
        ..MembershipChange::default()
    })
}

pub(crate) fn payload(bytes: &mut Unstructured<'_>) -> Result<Payload> {
    one_of(
        bytes,
        &[
            (4, |_| Ok(Payload::Data(Bytes::from_static(b"lie")))),
            (1, |_| Ok(Payload::Data(Bytes::new()))),
            (1, |bytes| {
                change(bytes).map(|change| Payload::Change(change.into()))
            }),
        ],
    )
}

pub(crate) fn conf_state(bytes: &mut Unstructured<'_>) -> Result<ConfState> {
    one_of(
        bytes,
        &[
            (3, |_| Ok(ConfState::of_voters(voters()))),
            (1, |bytes| {
                Ok(ConfState {
                    voters: at_most(bytes, 3, member)?,
                    learners: at_most(bytes, 2, member)?,
                    voters_outgoing: at_most(bytes, 2, member)?,
                    learners_next: at_most(bytes, 2, member)?,
                    auto_leave: bytes.arbitrary()?,
                })
            }),
            (1, |bytes| {
                Ok(ConfState {
                    voters_outgoing: at_most(bytes, 2, member)?,
                    auto_leave: bytes.arbitrary()?,
                    ..ConfState::of_voters(voters())
                })
            }),
        ],
    )
}

/// Entries behind `prev_log`: how the terms grow, whether and where one is malformed.
#[derive(Clone, Debug)]
struct Run {
    growth: Vec<(u64, Payload)>,
    /// The receiver's own terms, as far as it has them.
    copied: bool,
    malformed: Option<(u8, Place)>,
}

fn run(bytes: &mut Unstructured<'_>) -> Result<Run> {
    let growth = at_most(bytes, 4, |bytes| {
        let growth = u64::from(once_in(bytes, 5)?);
        Ok((growth, payload(bytes)?))
    })?;
    let copied = bytes.arbitrary()?;
    let malformed = if once_in(bytes, 10)? {
        Some((bytes.int_in_range(0..=3)?, place(bytes)?))
    } else {
        None
    };
    Ok(Run {
        growth,
        copied,
        malformed,
    })
}

/// What a follower may answer to an append.
#[derive(Clone, Debug)]
enum Answer {
    Accepted(Number, Number),
    Rejected(Number, Place, Number),
    SnapshotRequested(Place, Number, Number),
    TermOutdated,
}

fn answer(bytes: &mut Unstructured<'_>) -> Result<Answer> {
    one_of(
        bytes,
        &[
            (4, |bytes| {
                Ok(Answer::Accepted(index(bytes)?, index(bytes)?))
            }),
            (4, |bytes| {
                let (prev, hint) = (index(bytes)?, place(bytes)?);
                Ok(Answer::Rejected(prev, hint, index(bytes)?))
            }),
            (1, |bytes| {
                let (last, commit) = (place(bytes)?, index(bytes)?);
                Ok(Answer::SnapshotRequested(last, commit, index(bytes)?))
            }),
            (1, |_| Ok(Answer::TermOutdated)),
        ],
    )
}

fn token(bytes: &mut Unstructured<'_>) -> Result<Token> {
    one_of(
        bytes,
        &[
            (1, |_| Ok(Token::None)),
            (4, |bytes| bytes.int_in_range(0..=5).map(Token::Number)),
            (1, |bytes| bytes.arbitrary().map(Token::Number)),
            (1, |bytes| {
                let bytes = at_most(bytes, 19, |bytes| bytes.arbitrary())?;
                Ok(Token::Bytes(bytes.into()))
            }),
        ],
    )
}

#[derive(Clone, Debug)]
enum Say {
    Vote(Place, Place, i64, bool),
    PreVote(Place, Place),
    VoteAnswer(Option<Place>),
    PreVoteAnswer(Option<Place>),
    Append(Place, Number, Run),
    Answer(Answer),
    Heartbeat(Number, Token),
    HeartbeatAnswer(Number, Token),
    Snapshot(Place, ConfState),
    Propose(Vec<Payload>),
    TimeoutNow,
    ReadIndex(Token),
    ReadIndexResponse(Number, Token),
    TransferLeader(NodeId),
}

fn refusal(bytes: &mut Unstructured<'_>) -> Result<Option<Place>> {
    one_of(
        bytes,
        &[(1, |_| Ok(None)), (1, |bytes| place(bytes).map(Some))],
    )
}

fn say(bytes: &mut Unstructured<'_>) -> Result<Say> {
    one_of(
        bytes,
        &[
            (2, |bytes| {
                let (last, commit) = (place(bytes)?, place(bytes)?);
                let priority = i64::from(near(bytes)?);
                Ok(Say::Vote(last, commit, priority, bytes.arbitrary()?))
            }),
            (1, |bytes| Ok(Say::PreVote(place(bytes)?, place(bytes)?))),
            (2, |bytes| refusal(bytes).map(Say::VoteAnswer)),
            (2, |bytes| refusal(bytes).map(Say::PreVoteAnswer)),
            (8, |bytes| {
                let (prev, commit) = (place(bytes)?, index(bytes)?);
                Ok(Say::Append(prev, commit, run(bytes)?))
            }),
            (10, |bytes| answer(bytes).map(Say::Answer)),
            (3, |bytes| Ok(Say::Heartbeat(index(bytes)?, token(bytes)?))),
            (3, |bytes| {
                Ok(Say::HeartbeatAnswer(index(bytes)?, token(bytes)?))
            }),
            (5, |bytes| {
                Ok(Say::Snapshot(place(bytes)?, conf_state(bytes)?))
            }),
            (2, |bytes| at_most(bytes, 3, payload).map(Say::Propose)),
            (1, |_| Ok(Say::TimeoutNow)),
            (1, |bytes| token(bytes).map(Say::ReadIndex)),
            (1, |bytes| {
                Ok(Say::ReadIndexResponse(index(bytes)?, token(bytes)?))
            }),
            (1, |bytes| member(bytes).map(Say::TransferLeader)),
        ],
    )
}

/// A message, as far as it can be said without knowing the receiver.
#[derive(Clone, Debug)]
pub(crate) struct Lie {
    from: u64,
    misrouted: bool,
    term: Number,
    /// Without a term where the kind has none.
    fitting_term: bool,
    say: Say,
}

pub(crate) fn lie(bytes: &mut Unstructured<'_>) -> Result<Lie> {
    let say = say(bytes)?;
    let from = one_of(
        bytes,
        &[
            (6, |bytes| bytes.int_in_range(1..=3)),
            (1, |bytes| bytes.int_in_range(4..=6)),
        ],
    )?;
    Ok(Lie {
        from,
        term: term(bytes)?,
        misrouted: once_in(bytes, 20)?,
        fitting_term: !once_in(bytes, 20)?,
        say,
    })
}

/// The message that this lie is to this node.
pub(crate) fn message<S: Disk>(lie: &Lie, node: &RawNode<S>) -> Message {
    let told = Told { node };
    let body = told.body(&lie.say);
    let without_term = matches!(body, Body::Propose(_) | Body::ReadIndex(_));
    let term = if without_term == lie.fitting_term {
        Term::ZERO
    } else {
        Term(told.term(lie.term))
    };
    let other = id(node.id().get() % 3 + 1);
    Message {
        to: if lie.misrouted { other } else { node.id() },
        from: id(lie.from),
        term,
        body,
    }
}

/// Turns what is relative to the receiver into numbers.
struct Told<'a, S> {
    node: &'a RawNode<S>,
}

impl<S: Disk> Told<'_, S> {
    fn number(&self, number: Number, current: u64) -> u64 {
        let shift = |base: u64, by: i8| base.saturating_add_signed(i64::from(by));
        match number {
            Number::Small(number) | Number::Huge(number) => number,
            Number::Current(by) => shift(current, by),
            Number::Commit(by) => shift(self.node.commit_index().0, by),
        }
    }

    fn term(&self, term: Number) -> u64 {
        self.number(term, self.node.current_term().0)
    }

    fn index(&self, index: Number) -> LogIndex {
        LogIndex(self.number(index, self.node.last_log().index.0))
    }

    fn term_at(&self, index: LogIndex) -> Term {
        let last = self.node.last_log();
        if index >= last.index {
            return last.term;
        }
        self.node.storage().truth().term(index).unwrap_or(last.term)
    }

    fn place(&self, place: Place) -> LogId {
        let index = self.index(place.index);
        let own = || self.term_at(index);
        let term = place.term.map_or_else(own, |term| Term(self.term(term)));
        LogId { term, index }
    }

    fn entries(&self, prev: LogId, run: &Run) -> Entries {
        let mut id = prev;
        let mut entries = Vec::new();
        for (growth, payload) in &run.growth {
            id.index = LogIndex(id.index.0.saturating_add(1));
            id.term = Term(id.term.0.saturating_add(*growth));
            if run.copied && id.index <= self.node.last_log().index {
                id.term = self.term_at(id.index);
            }
            entries.push(Entry {
                id,
                payload: payload.clone(),
                context: Bytes::new(),
            });
        }
        if let Some((position, place)) = run.malformed {
            if !entries.is_empty() {
                let position = usize::from(position) % entries.len();
                entries[position].id = self.place(place);
            }
        }
        entries.into()
    }

    fn vote(&self, last: Place, commit: Place) -> RequestVote {
        RequestVote {
            last_log: self.place(last),
            commit: self.place(commit),
            priority: 0,
            leadership_transfer: false,
        }
    }

    fn vote_answer(&self, refused: Option<Place>) -> VoteResponse {
        refused.map_or(VoteResponse::Granted, |place| VoteResponse::Refused {
            commit: self.place(place),
        })
    }

    fn append_answer(&self, answer: &Answer) -> AppendEntriesResponse {
        match *answer {
            Answer::Accepted(index, commit) => AppendEntriesResponse::Accepted {
                match_index: self.index(index),
                commit_index: self.index(commit),
            },
            Answer::Rejected(prev, hint, commit) => AppendEntriesResponse::Rejected {
                prev_index: self.index(prev),
                hint: self.place(hint),
                commit_index: self.index(commit),
            },
            Answer::SnapshotRequested(last, commit, request) => {
                AppendEntriesResponse::SnapshotRequested {
                    last_log: self.place(last),
                    commit_index: self.index(commit),
                    request_index: self.index(request),
                }
            }
            Answer::TermOutdated => AppendEntriesResponse::TermOutdated,
        }
    }

    fn body(&self, say: &Say) -> Body {
        match say.clone() {
            Say::Vote(last, commit, priority, leadership_transfer) => {
                Body::RequestVote(RequestVote {
                    priority,
                    leadership_transfer,
                    ..self.vote(last, commit)
                })
            }
            Say::PreVote(last, commit) => Body::PreVote(self.vote(last, commit)),
            Say::VoteAnswer(refused) => Body::RequestVoteResponse(self.vote_answer(refused)),
            Say::PreVoteAnswer(refused) => Body::PreVoteResponse(self.vote_answer(refused)),
            Say::Append(prev, commit, run) => {
                let prev_log = self.place(prev);
                Body::AppendEntries(AppendEntries {
                    prev_log,
                    leader_commit: self.index(commit),
                    entries: self.entries(prev_log, &run),
                })
            }
            Say::Answer(answer) => Body::AppendEntriesResponse(self.append_answer(&answer)),
            Say::Heartbeat(commit, token) => Body::Heartbeat(Heartbeat {
                leader_commit: self.index(commit),
                token,
            }),
            Say::HeartbeatAnswer(commit, token) => Body::HeartbeatResponse(HeartbeatResponse {
                commit_index: self.index(commit),
                token,
            }),
            Say::Snapshot(place, conf_state) => install(Snapshot {
                last_included: self.place(place),
                conf_state,
                data: Bytes::new(),
            }),
            Say::Propose(payloads) => {
                let proposal = |payload| Proposal {
                    payload,
                    context: Bytes::new(),
                };
                Body::Propose(payloads.into_iter().map(proposal).collect())
            }
            Say::TimeoutNow => Body::TimeoutNow,
            Say::ReadIndex(token) => Body::ReadIndex(token),
            Say::TransferLeader(transferee) => Body::TransferLeader { transferee },
            Say::ReadIndexResponse(index, token) => Body::ReadIndexResponse(ReadIndexResponse {
                read_index: self.index(index),
                token,
            }),
        }
    }
}
