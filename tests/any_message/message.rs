//! Arbitrary messages, most of them nearly plausible.

use super::*;

/// A number that is near to something the receiver knows, or anywhere.
#[derive(Clone, Copy, Debug)]
enum Number {
    Small(u64),
    Current(i8),
    Commit(i8),
    Huge(u64),
}

fn near(of: fn(i8) -> Number) -> impl Strategy<Value = Number> {
    (-2..=2_i8).prop_map(of)
}

fn huge() -> impl Strategy<Value = Number> {
    let top = u64::MAX >> 1;
    prop_oneof![Just(top - 1), Just(top), Just(top + 1), Just(u64::MAX)].prop_map(Number::Huge)
}

fn term() -> impl Strategy<Value = Number> {
    prop_oneof![
        12 => near(Number::Current),
        4 => (0..8_u64).prop_map(Number::Small),
        1 => huge(),
    ]
}

fn index() -> impl Strategy<Value = Number> {
    prop_oneof![
        8 => near(Number::Current),
        6 => near(Number::Commit),
        6 => (0..12_u64).prop_map(Number::Small),
        1 => huge(),
    ]
}

/// A place in a log: with the term that the receiver has there, or with another.
#[derive(Clone, Copy, Debug)]
struct Place {
    index: Number,
    term: Option<Number>,
}

fn place() -> impl Strategy<Value = Place> {
    let term = prop_oneof![3 => Just(None), 2 => term().prop_map(Some)];
    (index(), term).prop_map(|(index, term)| Place { index, term })
}

fn member() -> impl Strategy<Value = NodeId> {
    (1..=6_u64).prop_map(id)
}

pub(crate) fn change() -> impl Strategy<Value = MembershipChange> {
    let one = prop_oneof![
        2 => member().prop_map(MemberChange::AddVoter),
        2 => member().prop_map(MemberChange::AddLearner),
        1 => member().prop_map(MemberChange::Remove),
    ];
    let transition = prop_oneof![
        Just(Transition::Auto),
        Just(Transition::Implicit),
        Just(Transition::Explicit),
    ];
    (vec(one, 0..3), transition).prop_map(|(changes, transition)| MembershipChange {
        changes,
        transition,
        ..MembershipChange::default()
    })
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        4 => Just(Payload::Data(Bytes::from_static(b"lie"))),
        1 => Just(Payload::Data(Bytes::new())),
        1 => change().prop_map(|change| Payload::Change(change.into())),
    ]
}

fn conf_state() -> impl Strategy<Value = ConfState> {
    let sound = Just(ConfState::of_voters(faults::voters()));
    let list = || vec(member(), 0..3);
    let odd = (vec(member(), 0..4), list(), list(), list(), any::<bool>());
    let odd = odd.prop_map(
        |(voters, learners, voters_outgoing, learners_next, auto_leave)| ConfState {
            voters,
            learners,
            voters_outgoing,
            learners_next,
            auto_leave,
        },
    );
    let joint = (vec(member(), 1..3), any::<bool>()).prop_map(|(outgoing, auto_leave)| ConfState {
        voters_outgoing: outgoing,
        auto_leave,
        ..ConfState::of_voters(faults::voters())
    });
    prop_oneof![3 => sound, 1 => odd, 1 => joint]
}

/// Entries behind `prev_log`: how the terms grow, whether and where one is malformed.
#[derive(Clone, Debug)]
struct Lies {
    growth: Vec<(u64, Payload)>,
    /// The receiver's own terms, as far as it has them.
    copied: bool,
    malformed: Option<(Index, Place)>,
}

fn lies() -> impl Strategy<Value = Lies> {
    let growth = vec(
        (prop_oneof![4 => Just(0_u64), 1 => Just(1)], payload()),
        0..5,
    );
    let malformed = proptest::option::weighted(0.1, (any::<Index>(), place()));
    (growth, any::<bool>(), malformed).prop_map(|(growth, copied, malformed)| Lies {
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

#[derive(Clone, Debug)]
enum Say {
    Vote(Place, Place, i64, bool),
    PreVote(Place, Place),
    VoteAnswer(Option<Place>),
    PreVoteAnswer(Option<Place>),
    Append(Place, Number, Lies),
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

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => (index(), index()).prop_map(|(index, commit)| Answer::Accepted(index, commit)),
        4 => (index(), place(), index()).prop_map(|(prev, hint, commit)| {
            Answer::Rejected(prev, hint, commit)
        }),
        1 => (place(), index(), index()).prop_map(|(last, commit, request)| {
            Answer::SnapshotRequested(last, commit, request)
        }),
        1 => Just(Answer::TermOutdated),
    ]
}

fn token() -> impl Strategy<Value = Token> {
    prop_oneof![
        1 => Just(Token::None),
        4 => (0..6_u64).prop_map(Token::Number),
        1 => any::<u64>().prop_map(Token::Number),
        1 => vec(any::<u8>(), 0..20).prop_map(|bytes| Token::Bytes(bytes.into())),
    ]
}

fn say() -> impl Strategy<Value = Say> {
    let refused = || proptest::option::of(place());
    let vote = (place(), place(), any::<i64>(), any::<bool>());
    prop_oneof![
        2 => vote.prop_map(|(last, commit, priority, transfer)| {
            Say::Vote(last, commit, priority, transfer)
        }),
        1 => (place(), place()).prop_map(|(last, commit)| Say::PreVote(last, commit)),
        2 => refused().prop_map(Say::VoteAnswer),
        2 => refused().prop_map(Say::PreVoteAnswer),
        8 => (place(), index(), lies()).prop_map(|(prev, commit, lies)| {
            Say::Append(prev, commit, lies)
        }),
        10 => answer().prop_map(Say::Answer),
        3 => (index(), token()).prop_map(|(commit, token)| Say::Heartbeat(commit, token)),
        3 => (index(), token()).prop_map(|(commit, token)| Say::HeartbeatAnswer(commit, token)),
        5 => (place(), conf_state()).prop_map(|(place, state)| Say::Snapshot(place, state)),
        2 => vec(payload(), 0..4).prop_map(Say::Propose),
        3 => prop_oneof![
            Just(Say::TimeoutNow),
            token().prop_map(Say::ReadIndex),
            (index(), token()).prop_map(|(index, token)| Say::ReadIndexResponse(index, token)),
            member().prop_map(Say::TransferLeader),
        ],
    ]
}

#[derive(Clone, Debug)]
struct Lie {
    receiver: u64,
    from: u64,
    misrouted: bool,
    term: Number,
    /// Without a term where the kind has none.
    fitting_term: bool,
    say: Say,
}

fn lie() -> impl Strategy<Value = Lie> {
    let from = prop_oneof![6 => 1..=3_u64, 1 => 4..=6_u64];
    let rarely = || prop::bool::weighted(0.05);
    (node(), from, rarely(), term(), rarely(), say()).prop_map(
        |(receiver, from, misrouted, term, odd, say)| Lie {
            receiver,
            from,
            misrouted,
            term,
            fitting_term: !odd,
            say,
        },
    )
}

/// Turns what is relative to the receiver into numbers.
struct Told<'a> {
    node: &'a Node,
}

impl Told<'_> {
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
        self.node.storage().term(index).unwrap_or(last.term)
    }

    fn place(&self, place: Place) -> LogId {
        let index = self.index(place.index);
        let own = || self.term_at(index);
        let term = place.term.map_or_else(own, |term| Term(self.term(term)));
        LogId { term, index }
    }

    fn entries(&self, prev: LogId, lies: &Lies) -> Entries {
        let mut id = prev;
        let mut entries = Vec::new();
        for (growth, payload) in &lies.growth {
            id.index = LogIndex(id.index.0.saturating_add(1));
            id.term = Term(id.term.0.saturating_add(*growth));
            if lies.copied && id.index <= self.node.last_log().index {
                id.term = self.term_at(id.index);
            }
            entries.push(Entry {
                id,
                payload: payload.clone(),
                context: Bytes::new(),
            });
        }
        if let Some((position, place)) = &lies.malformed {
            if !entries.is_empty() {
                let position = position.index(entries.len());
                entries[position].id = self.place(*place);
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
            Say::Append(prev, commit, lies) => {
                let prev_log = self.place(prev);
                Body::AppendEntries(AppendEntries {
                    prev_log,
                    leader_commit: self.index(commit),
                    entries: self.entries(prev_log, &lies),
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

fn message(lie: &Lie, node: &Node) -> Message {
    let told = Told { node };
    let body = told.body(&lie.say);
    let to = lie.receiver % 3 + u64::from(lie.misrouted);
    let without_term = matches!(body, Body::Propose(_) | Body::ReadIndex(_));
    let term = if without_term == lie.fitting_term {
        Term::ZERO
    } else {
        Term(told.term(lie.term))
    };
    Message {
        to: if lie.misrouted {
            id(to)
        } else {
            id(lie.receiver)
        },
        from: id(lie.from),
        term,
        body,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_message_into_any_node(
        pre_vote: bool,
        elect in prop::bool::weighted(0.7),
        steps in vec(step(), 0..50),
        lies in vec((lie(), vec(step(), 0..6)), 1..4),
    ) {
        let mut run = Run::new(pre_vote, elect, &steps);
        for (lie, steps) in &lies {
            let number = lie.receiver;
            let message = message(lie, run.network.node(number));
            run.lie(number, message)?;
            for step in steps {
                run.take(step);
            }
        }
        run.go_on()?;
    }
}
