//! Bytes that raft-rs 0.7 has written, with either of its codecs, and what they mean.

use crate::common::{hex, message, node};
use almadia::{
    AppendEntries, AppendEntriesResponse, Body, Bytes, ChangeForm, ConfState, Entry, HardState,
    Heartbeat, LogId, LogIndex, MemberChange, MembershipChange, Message, Payload,
    ReadIndexResponse, RequestVote, Snapshot, Term, Token, Transition, VoteResponse,
};
use almadia_proto::{Decode, Encode, decode_conf_change, decode_conf_change_v2};

/// Both forms mean `value`, and what is written for it means the same to both codecs.
fn check<T: Encode + Decode + PartialEq + std::fmt::Debug>(
    value: &T,
    by_raft_rs: &[&str],
    is_the_same: impl Fn(&[u8], &[u8]) -> bool,
) {
    for text in by_raft_rs {
        let bytes = hex(text);
        assert_eq!(T::decode(bytes.clone()).as_ref(), Ok(value), "{text}");
        let written = value.encode();
        assert_eq!(written.len(), value.encoded_len());
        assert!(is_the_same(&bytes, &written), "{text}: {written:02x?}");
    }
}

/// Whether both codecs take two texts for the same value of their type of this name.
macro_rules! same_to_peers {
    ($type:ident) => {
        |one: &[u8], other: &[u8]| {
            use protobuf::Message as _;
            use protobuf_of_raft_rs::Message as _;
            let raft_rs = |bytes: &[u8]| {
                let mut value = raft_proto::eraftpb::$type::default();
                value.merge_from_bytes(bytes).expect("raft-rs reads it");
                // Their order in memory is kept; that they were unpacked is not.
                value
            };
            let generated = |bytes: &[u8]| {
                almadia_proto_oracle::eraftpb::$type::parse_from_bytes(bytes)
                    .expect("the generated code reads it")
            };
            raft_rs(one) == raft_rs(other) && generated(one) == generated(other)
        }
    };
}

#[test]
fn hard_states_and_conf_states() {
    let hard_state = HardState {
        current_term: Term(2),
        voted_for: Some(node(1)),
        commit_index: LogIndex(128),
    };
    check(&hard_state, &["08021001188001"], same_to_peers!(HardState));
    let conf_state = ConfState {
        voters: vec![node(1), node(2), node(300)],
        learners: vec![node(4)],
        voters_outgoing: vec![node(5)],
        learners_next: vec![node(6)],
        auto_leave: true,
    };
    let forms = [
        "0801080208ac021004180520062801",
        "0a040102ac021201041a01052201062801",
    ];
    check(&conf_state, &forms, same_to_peers!(ConfState));
    check(&HardState::default(), &[""], same_to_peers!(HardState));
    check(&ConfState::default(), &[""], same_to_peers!(ConfState));
}

#[test]
fn membership_changes() {
    let first = MembershipChange {
        changes: vec![MemberChange::AddLearner(node(9))],
        context: Bytes::from_static(b"x"),
        form: ChangeForm::V1 { id: 3 },
        ..MembershipChange::default()
    };
    for text in ["100218092201780803", "080310021809220178"] {
        assert_eq!(decode_conf_change(&hex(text)).as_ref(), Ok(&first));
        assert!(same_to_peers!(ConfChange)(&hex(text), &first.encode()));
    }
    let second = MembershipChange {
        changes: vec![MemberChange::Remove(node(2))],
        transition: Transition::Explicit,
        context: Bytes::from_static(b"y"),
        form: ChangeForm::V2,
    };
    let text = "08021204080110021a0179";
    assert_eq!(decode_conf_change_v2(&hex(text)).as_ref(), Ok(&second));
    assert_eq!(second.encode(), hex(text));
    assert_eq!(
        decode_conf_change_v2(&Bytes::new()),
        Ok(MembershipChange::leave_joint())
    );
    assert!(MembershipChange::leave_joint().encode().is_empty());
}

/// raft-rs passes over a change of node 0, but counts it: two changes make a joint configuration.
#[test]
fn a_change_of_nobody_is_still_a_change() {
    let lone = decode_conf_change(&Bytes::new()).expect("a change of node 0");
    assert_eq!(lone.changes, [MemberChange::Nothing]);
    assert!(!lone.is_leave_joint());
    let pair = decode_conf_change_v2(&hex("12041001080012020800")).expect("two changes");
    assert_eq!(
        pair.changes,
        [MemberChange::AddVoter(node(1)), MemberChange::Nothing]
    );
}

/// A change that the first form has no room for is written in the second, and its entry says so.
#[test]
fn a_change_that_does_not_fit_the_first_form_is_written_in_the_second() {
    let change = MembershipChange {
        changes: vec![MemberChange::Remove(node(2))],
        transition: Transition::Explicit,
        context: Bytes::new(),
        form: ChangeForm::V1 { id: 7 },
    };
    let entry = Entry {
        id: LogId::new(1, 1),
        payload: Payload::Change(change.clone().into()),
        context: Bytes::new(),
    };
    let read = Entry::decode(entry.encode()).expect("it is an entry");
    let second = MembershipChange {
        form: ChangeForm::V2,
        ..change
    };
    assert_eq!(read.payload, Payload::Change(second.into()));
}

#[test]
fn entries() {
    // Its data "ab" is no ConfChangeV2: the golden bytes are about the entry, so the data is mended.
    let change = MembershipChange {
        context: Bytes::from_static(b"!"),
        ..MembershipChange::leave_joint()
    };
    let entry = Entry {
        id: LogId::new(300, 7),
        payload: Payload::Change(change.into()),
        context: Bytes::from_static(b"c"),
    };
    // The first as rust-protobuf orders it, the second as prost does; sync_log is not written.
    for text in [
        "080210ac02180722031a0121320163",
        "080210ac02180722031a01212801320163",
        "080210ac02180722031a01213201632801",
    ] {
        assert_eq!(Entry::decode(hex(text)).as_ref(), Ok(&entry));
    }
    assert_eq!(entry.encode(), hex("080210ac02180722031a0121320163"));
    let text = "080210ac021807220261623201632801";
    let error = Entry::decode(hex(text)).expect_err("ab is no change");
    assert_eq!(error.field(), "ConfChangeV2");
    assert_eq!(error.offset(), 9);

    let leave = Entry {
        payload: Payload::Change(MembershipChange::leave_joint().into()),
        context: Bytes::new(),
        ..entry
    };
    check(&leave, &["080210ac021807"], same_to_peers!(Entry));
    let empty = Entry {
        payload: Payload::Data(Bytes::new()),
        ..leave
    };
    check(&empty, &["10ac021807"], same_to_peers!(Entry));
}

#[test]
fn votes() {
    let request = RequestVote {
        last_log: LogId::new(4, 10),
        commit: LogId::new(3, 9),
        priority: 7,
        leadership_transfer: true,
    };
    let forms = [
        "08051002180120052804300a40097803621043616d706169676e5472616e736665727007800107",
        "08051002180120052804300a4009621043616d706169676e5472616e736665727007780380 0107",
    ];
    let asked = message(2, 1, 5, Body::RequestVote(request));
    check(&asked, &forms, same_to_peers!(Message));

    let request = RequestVote {
        last_log: LogId::ZERO,
        commit: LogId::ZERO,
        priority: -1,
        leadership_transfer: false,
    };
    let asked = message(2, 1, 5, Body::RequestVote(request));
    let text = "08051002180120058001ffffffffffffffffff01";
    check(&asked, &[text], same_to_peers!(Message));
    assert_eq!(asked.encode(), hex(text));

    let granted = Body::PreVoteResponse(VoteResponse::Granted);
    check(
        &message(2, 1, 5, granted),
        &["0812100218012005"],
        same_to_peers!(Message),
    );
    let refused = Body::RequestVoteResponse(VoteResponse::Refused {
        commit: LogId::new(3, 9),
    });
    let text = "08061002180120054009500178 03";
    check(&message(2, 1, 5, refused), &[text], same_to_peers!(Message));
}

/// What raft-rs before 0.7 wrote for a priority, which a newer node still reads.
#[test]
fn a_deprecated_priority_counts_where_there_is_no_other() {
    let priority = |text: &str| {
        let Body::RequestVote(request) = Message::decode(hex(text)).expect("it is read").body
        else {
            panic!("a vote is asked for");
        };
        request.priority
    };
    assert_eq!(priority("080510021801200570 07"), 7);
    assert_eq!(priority("080510021801200570 07800105"), 5);
    let huge = "080510021801200570ffffffffffffffffff01";
    assert_eq!(priority(huge), i64::MAX);
}

/// The six meanings of MsgAppendResponse, (a) to (f).
#[test]
fn answers_to_appends() {
    let answer = |response| message(1, 2, 5, Body::AppendEntriesResponse(response));
    let accepted = answer(AppendEntriesResponse::Accepted {
        match_index: LogIndex(10),
        commit_index: LogIndex(9),
    });
    check(
        &accepted,
        &["0804100118022005300a4009"],
        same_to_peers!(Message),
    );
    let after_snapshot = answer(AppendEntriesResponse::Accepted {
        match_index: LogIndex(10),
        commit_index: LogIndex::ZERO,
    });
    check(
        &after_snapshot,
        &["0804100118022005300a"],
        same_to_peers!(Message),
    );
    let rejected = answer(AppendEntriesResponse::Rejected {
        prev_index: LogIndex(10),
        hint: LogId::new(4, 8),
        commit_index: LogIndex(9),
    });
    let text = "08041001180220052804300a400950015808";
    check(&rejected, &[text], same_to_peers!(Message));
    // The golden bytes of raft-rs have a commit index too, which this kind does not use.
    let requested = answer(AppendEntriesResponse::SnapshotRequested {
        last_log: LogId::new(4, 8),
        commit_index: LogIndex(10),
        request_index: LogIndex(8),
    });
    for text in [
        "08041001180220052804300a4009680850015808",
        "08041001180220052804300a4009500158086808",
    ] {
        assert_eq!(Message::decode(hex(text)).as_ref(), Ok(&requested));
    }
    let text = "08041001180220052804300a500158086808";
    check(&requested, &[text], same_to_peers!(Message));
    // Of a later term, or of an empty log: the bytes are the same, and so is what follows from it.
    let nothing = answer(AppendEntriesResponse::Accepted {
        match_index: LogIndex::ZERO,
        commit_index: LogIndex::ZERO,
    });
    check(&nothing, &["0804100118022005"], same_to_peers!(Message));
    assert_eq!(
        answer(AppendEntriesResponse::TermOutdated).encode(),
        nothing.encode()
    );
}

#[test]
fn appends_and_snapshots() {
    let entry = Entry {
        id: LogId::new(5, 11),
        payload: Payload::Data(Bytes::from_static(b"ab")),
        context: Bytes::new(),
    };
    let append = AppendEntries {
        prev_log: LogId::new(4, 10),
        leader_commit: LogIndex(90),
        entries: vec![entry].into(),
    };
    let text = "08031002180120052804300a3a08 1005180b22026162 405a";
    let append = message(2, 1, 5, Body::AppendEntries(append));
    check(&append, &[text], same_to_peers!(Message));

    let snapshot = Snapshot {
        last_included: LogId::new(5, 6),
        conf_state: ConfState::of_voters([node(1), node(2)]),
        data: Bytes::from_static(b"d"),
    };
    let forms = [
        "08071002180120054a0f0a0164120a0a040801080210061805",
        "08071002180120054a0f0a0164120a0a040a02010210061805",
    ];
    let install = message(2, 1, 5, Body::InstallSnapshot(Box::new(snapshot)));
    check(&install, &forms, same_to_peers!(Message));
    // One that is set and empty, and one that is not set.
    let empty = Snapshot {
        last_included: LogId::ZERO,
        conf_state: ConfState::default(),
        data: Bytes::new(),
    };
    let install = message(2, 1, 5, Body::InstallSnapshot(Box::new(empty)));
    for text in ["08071002180120054a00", "0807100218012005"] {
        assert_eq!(Message::decode(hex(text)).as_ref(), Ok(&install));
    }
}

/// A leader of raft-rs tells reads apart by their tokens alone, whoever asks: so the number that a
/// node counts is written behind the node's own id, and that of nobody else is read as a number.
#[test]
fn reads_of_two_nodes_have_different_tokens() {
    let number = Token::Number(7);
    check(
        &message(1, 2, 0, Body::ReadIndex(number.clone())),
        &["080f100118023a122210 0000000000000002 0000000000000007"],
        same_to_peers!(Message),
    );
    let token_of = |from| {
        let read = message(1, from, 0, Body::ReadIndex(number.clone()));
        read.encode().slice(8..)
    };
    assert_ne!(token_of(2), token_of(3));
    // What raft-rs calls a read is given back to it, whatever it is.
    for context in ["", "a", "12345678", "0123456789abcdef"] {
        let mut bytes = hex("080f10011802").to_vec();
        let length = u8::try_from(context.len()).expect("it is short");
        match length {
            0 => bytes.extend([0x3a, 0]),
            _ => bytes.extend([0x3a, length + 2, 0x22, length]),
        }
        bytes.extend(context.as_bytes());
        let read = Message::decode(bytes.clone().into()).expect("it is one");
        assert_eq!(*read.encode(), *bytes);
        let Body::ReadIndex(token) = read.body else {
            panic!("{:?} is no ReadIndex", read.body);
        };
        let response = ReadIndexResponse {
            read_index: LogIndex(0),
            token,
        };
        let answer = message(2, 1, 5, Body::ReadIndexResponse(response));
        assert!(answer.encode().ends_with(context.as_bytes()));
        assert_eq!(answer.encode().len(), bytes.len() + 2);
    }
}

#[test]
fn heartbeats_and_reads() {
    let heartbeat = Heartbeat {
        leader_commit: LogIndex(9),
        token: Token::Number(1),
    };
    check(
        &message(2, 1, 5, Body::Heartbeat(heartbeat)),
        &["0808100218012005400962080000000000000001"],
        same_to_peers!(Message),
    );
    let uuid = Token::Bytes(Bytes::from_static(b"0123456789abcdef"));
    check(
        &message(2, 1, 0, Body::ReadIndex(uuid.clone())),
        &["080f100218013a122210 30313233343536373839616263646566"],
        same_to_peers!(Message),
    );
    let answer = ReadIndexResponse {
        read_index: LogIndex(9),
        token: uuid,
    };
    check(
        &message(2, 1, 5, Body::ReadIndexResponse(answer)),
        &["081010021801200530093a122210 30313233343536373839616263646566"],
        same_to_peers!(Message),
    );
}

#[test]
fn leadership_on_the_move() {
    check(
        &message(2, 1, 5, Body::TimeoutNow),
        &["080e100218012005"],
        same_to_peers!(Message),
    );
    // Whoever forwards the wish is not told: the sender is the node that is to lead.
    let forwarded = message(
        2,
        1,
        5,
        Body::TransferLeader {
            transferee: node(3),
        },
    );
    let read = message(
        2,
        3,
        5,
        Body::TransferLeader {
            transferee: node(3),
        },
    );
    assert_eq!(forwarded.encode(), hex("080d100218032005"));
    check(&read, &["080d100218032005"], same_to_peers!(Message));
}
