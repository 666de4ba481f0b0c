//! Messages that somebody else made: any fields with any values, and bytes that are no message.

use almadia::{Bytes, Entry, HardState, LogIndex, Message, Snapshot, Term};
use almadia_proto::{
    Decode, DecodeError, Encode, Reason, decode_conf_change, decode_conf_change_v2,
};
use almadia_proto_oracle::eraftpb::{self as generated, MessageType};
use proptest::prelude::*;
use protobuf::Message as _;
use protobuf::{EnumOrUnknown, MessageField};

use crate::common::hex;
use crate::values;

fn small() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0_u64..4, 1 => any::<u64>(), 1 => Just(u64::MAX >> 1)]
}

fn entry() -> impl Strategy<Value = generated::Entry> {
    let fields = (0_i32..4, small(), small(), values::bytes(), values::bytes());
    fields.prop_map(
        |(entry_type, term, index, data, context)| generated::Entry {
            entry_type: EnumOrUnknown::from_i32(if data.is_empty() { entry_type } else { 0 }),
            term,
            index,
            data,
            context,
            sync_log: term == 1,
            ..generated::Entry::default()
        },
    )
}

/// Every field of every kind, mostly with values that could be meant.
fn message() -> impl Strategy<Value = generated::Message> {
    let numbers = proptest::array::uniform12(small());
    let entries = prop_oneof![
        proptest::collection::vec(entry(), 0..3),
        // Entries that follow what small numbers often name.
        Just(vec![generated::Entry {
            term: 1,
            index: 2,
            ..generated::Entry::default()
        }]),
    ];
    let context = prop_oneof![
        values::bytes(),
        Just(Bytes::new()),
        Just(Bytes::from_static(b"CampaignTransfer")),
    ];
    let snapshot = proptest::option::of(values::snapshot());
    let rest = (
        0_i32..20,
        any::<bool>(),
        any::<i64>(),
        entries,
        context,
        snapshot,
    );
    (numbers, rest).prop_map(
        |(numbers, (kind, reject, priority, entries, context, snapshot))| {
            let [
                to,
                from,
                term,
                log_term,
                index,
                commit,
                commit_term,
                request,
                hint,
                old,
                _,
                _,
            ] = numbers;
            generated::Message {
                msg_type: EnumOrUnknown::from_i32(kind),
                to,
                from,
                term,
                log_term,
                index,
                commit,
                commit_term,
                entries,
                snapshot: snapshot.map_or_else(MessageField::none, |snapshot| {
                    let bytes = snapshot.encode();
                    MessageField::some(generated::Snapshot::parse_from_bytes(&bytes).expect("ours"))
                }),
                request_snapshot: request,
                reject,
                reject_hint: hint,
                context,
                deprecated_priority: old,
                priority: if old == 1 { 0 } else { priority },
                ..generated::Message::default()
            }
        },
    )
}

/// What a kind makes of the fields: the others are not its business.
#[allow(clippy::too_many_lines, reason = "one table")]
fn meant(message: &generated::Message) -> generated::Message {
    let mut meant = generated::Message {
        msg_type: message.msg_type,
        to: message.to,
        from: message.from,
        term: message.term,
        ..generated::Message::default()
    };
    let token = || {
        vec![generated::Entry {
            data: message.entries[0].data.clone(),
            ..generated::Entry::default()
        }]
    };
    match message.msg_type.enum_value().expect("it was read") {
        MessageType::MsgPropose => {
            meant.entries.clone_from(&message.entries);
            for entry in &mut meant.entries {
                (entry.term, entry.index, entry.sync_log) = (0, 0, false);
            }
        }
        MessageType::MsgAppend => {
            meant.entries.clone_from(&message.entries);
            meant
                .entries
                .iter_mut()
                .for_each(|entry| entry.sync_log = false);
            meant.log_term = message.log_term;
            meant.index = message.index;
            meant.commit = message.commit;
        }
        MessageType::MsgAppendResponse => {
            meant.index = message.index;
            meant.reject = message.reject;
            if message.reject {
                meant.log_term = message.log_term;
                meant.reject_hint = message.reject_hint;
                meant.request_snapshot = message.request_snapshot;
            }
            if !message.reject || message.request_snapshot == 0 {
                meant.commit = message.commit;
            }
        }
        MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => {
            meant.log_term = message.log_term;
            meant.index = message.index;
            meant.commit = message.commit;
            meant.commit_term = message.commit_term;
            if &*message.context == b"CampaignTransfer" {
                meant.context = message.context.clone();
            }
            let saturated = i64::try_from(message.deprecated_priority).unwrap_or(i64::MAX);
            meant.priority = if message.priority == 0 {
                saturated
            } else {
                message.priority
            };
            meant.deprecated_priority = u64::try_from(meant.priority).unwrap_or(0);
        }
        MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse => {
            meant.reject = message.reject;
            if message.reject {
                meant.commit = message.commit;
                meant.commit_term = message.commit_term;
            }
        }
        MessageType::MsgSnapshot => {
            meant.snapshot = message.snapshot.clone();
            let snapshot = meant.snapshot.mut_or_insert_default();
            snapshot
                .metadata
                .mut_or_insert_default()
                .conf_state
                .mut_or_insert_default();
        }
        MessageType::MsgHeartbeat | MessageType::MsgHeartbeatResponse => {
            meant.commit = message.commit;
            meant.context = message.context.clone();
        }
        MessageType::MsgReadIndex => meant.entries = token(),
        MessageType::MsgReadIndexResp => {
            meant.entries = token();
            meant.index = message.index;
        }
        MessageType::MsgTransferLeader | MessageType::MsgTimeoutNow => {}
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum => panic!("a local kind was read"),
    }
    meant
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    /// What is read of a stranger's message is what its kind means, and nothing is lost of that. What
    /// is refused is refused for a reason that can be seen.
    #[test]
    fn a_message_is_read_as_it_is_meant_or_refused(message in message()) {
        let bytes = Bytes::from(message.write_to_bytes().expect("it is written"));
        match Message::decode(bytes) {
            Ok(read) => {
                let written = generated::Message::parse_from_bytes(&read.encode()).expect("ours");
                prop_assert_eq!(written, meant(&message));
            }
            Err(error) => {
                let kind = message.msg_type.value();
                let numbers = [message.term, message.log_term, message.commit_term, message.index,
                    message.commit, message.reject_hint, message.request_snapshot];
                let entries = &message.entries;
                let has_reason = match error.reason() {
                    Reason::NoNode => message.to == 0 || message.from == 0,
                    Reason::TooLarge => numbers.iter().chain(entries.iter()
                        .flat_map(|entry| [&entry.term, &entry.index]))
                        .any(|&number| number > Term::MAX.0 || number > LogIndex::MAX.0),
                    Reason::UnknownVariant(number) => {
                        number == kind as u64 && kind == 19
                            || entries.iter().any(|entry| entry.entry_type.value() == 3)
                    }
                    Reason::LocalKind(number) => {
                        number == kind as u64 && [0, 1, 10, 11, 12].contains(&kind)
                    }
                    Reason::OutOfOrder => kind == 3 && !entries.is_empty(),
                    Reason::WrongEntryCount => match kind {
                        2 => entries.is_empty(),
                        15 | 16 => entries.len() != 1 || entries[0].entry_type.value() != 0,
                        _ => false,
                    },
                    Reason::Malformed | Reason::WrongForm | Reason::NoPosition | _ => false,
                };
                prop_assert!(has_reason, "{error} of {message:?}");
            }
        }
    }

    /// Nothing panics on any bytes, whatever they are taken for.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let bytes = Bytes::from(bytes);
        let _ = Message::decode(bytes.clone());
        let _ = Entry::decode(bytes.clone());
        let _ = HardState::decode(bytes.clone());
        let _ = almadia::ConfState::decode(bytes.clone());
        let _ = Snapshot::decode(bytes.clone());
        let _ = decode_conf_change(&bytes);
        let _ = decode_conf_change_v2(&bytes);
    }

    /// A message that is cut off or in which one byte is changed is refused, or it is another message.
    #[test]
    fn damaged_messages_are_read_or_refused(
        message in values::message(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let bytes = message.encode();
        let at = at.index(bytes.len());
        let cut = Message::decode(bytes.slice(..at));
        if let Err(error) = cut {
            prop_assert!(error.offset() <= at);
        }
        let mut changed = bytes.to_vec();
        changed[at] = byte;
        if let Ok(read) = Message::decode(changed.into()) {
            prop_assert_eq!(Message::decode(read.encode()), Ok(read));
        }
    }
}

fn refused(text: &str) -> DecodeError {
    Message::decode(hex(text)).expect_err(text)
}

fn expect(text: &str, field: &str, offset: usize, reason: Reason) {
    let error = refused(text);
    assert_eq!(
        (error.field(), error.offset(), error.reason()),
        (field, offset, reason),
        "{text}"
    );
}

/// Every refusal names the field and where it stands.
#[test]
fn refusals_name_the_field_and_its_place() {
    // TimeoutNow from 1 to 2 in term 5, with one thing wrong.
    expect(
        "0813100218012005",
        "Message.msg_type",
        0,
        Reason::UnknownVariant(19),
    );
    expect(
        "080b100218012005",
        "Message.msg_type",
        0,
        Reason::LocalKind(11),
    );
    expect("100218012005", "Message.msg_type", 0, Reason::LocalKind(0));
    expect("080e100018012005", "Message.to", 2, Reason::NoNode);
    expect("080e18012005", "Message.to", 6, Reason::NoNode);
    expect("080e10022005", "Message.from", 6, Reason::NoNode);
    // A term of 64 bits, an index of one bit too many, and a number of eleven bytes.
    expect(
        "080e1002180120ffffffffffffffffff01",
        "Message.term",
        6,
        Reason::TooLarge,
    );
    expect(
        "080e10021801308080808080808080 8001",
        "Message.index",
        6,
        Reason::TooLarge,
    );
    expect(
        "080e1002180120ffffffffffffffffffff01",
        "Message.term",
        6,
        Reason::Malformed,
    );
    expect(
        "080e1002180120ffffffffffffffffff02",
        "Message.term",
        6,
        Reason::Malformed,
    );
    // Cut off: in a head, in a number, in bytes.
    expect("080e1002180180", "Message", 6, Reason::Malformed);
    expect("080e10021801 20", "Message.term", 6, Reason::Malformed);
    expect(
        "0808100218016205 61",
        "Message.context",
        6,
        Reason::Malformed,
    );
    // Another form: the term as bytes, the entries as a number.
    expect("080e100218012200", "Message.term", 6, Reason::WrongForm);
    expect("080e100218013801", "Message.entries", 6, Reason::WrongForm);
    // Field 0, form 6, a group that ends and has not begun.
    expect("080e100218010001", "Message", 6, Reason::Malformed);
    expect("080e10021801a606", "Message", 6, Reason::Malformed);
    expect("080e10021801a406", "Message", 6, Reason::Malformed);
}

#[test]
fn refusals_reach_into_entries() {
    // An append in term 5 behind 4/10 of one entry.
    expect(
        "08031002180120052804300a3a021863",
        "Message.entries",
        12,
        Reason::OutOfOrder,
    );
    expect(
        "08031002180120052804300a3a06100518 0b 0803",
        "Entry.entry_type",
        18,
        Reason::UnknownVariant(3),
    );
    // Its data is a ConfChange of type 9, or a ConfChangeV2 of transition 3 or with a wrong member.
    expect(
        "08031002180120052804300a3a0a0801100518 0b22021009",
        "ConfChange.change_type",
        22,
        Reason::UnknownVariant(9),
    );
    expect(
        "08031002180120052804300a3a0a0802100518 0b22020803",
        "ConfChangeV2.transition",
        22,
        Reason::UnknownVariant(3),
    );
    expect(
        "08031002180120052804300a3a0c0802100518 0b220412020804",
        "ConfChangeSingle.change_type",
        24,
        Reason::UnknownVariant(4),
    );
    // A length that reaches behind the entry, though not behind the message.
    expect(
        "08031002180120052804300a3a061005180b220562 03",
        "Entry.data",
        18,
        Reason::Malformed,
    );
    // A read without an entry, with two, and with a change.
    expect(
        "080f10021801",
        "Message.entries",
        0,
        Reason::WrongEntryCount,
    );
    expect(
        "080f100218013a003a00",
        "Message.entries",
        6,
        Reason::WrongEntryCount,
    );
    expect(
        "080f100218013a020802",
        "Message.entries",
        6,
        Reason::WrongEntryCount,
    );
    expect(
        "080210021801",
        "Message.entries",
        0,
        Reason::WrongEntryCount,
    );
}

#[test]
fn refusals_of_what_is_stored() {
    let error = Entry::decode(hex("1005")).expect_err("no index");
    assert_eq!(
        (error.field(), error.reason()),
        ("Entry.index", Reason::NoPosition)
    );
    let error = almadia::ConfState::decode(hex("0a0301 0002")).expect_err("node 0");
    assert_eq!((error.field(), error.offset()), ("ConfState.voters", 3));
    let error = almadia::ConfState::decode(hex("08010800")).expect_err("node 0");
    assert_eq!((error.field(), error.offset()), ("ConfState.voters", 2));
    let error = Snapshot::decode(hex("12040a02 0a05")).expect_err("cut off");
    assert_eq!((error.field(), error.offset()), ("ConfState.voters", 4));
}

/// Fields that a later schema may have, in every form, in every order, more than once.
#[test]
fn unknown_fields_are_passed_over() {
    let plain = Message::decode(hex("080e100218012005")).expect("plain");
    for unknown in [
        "a00601",
        "a10601020304 05060708",
        "a206 0161",
        "a50601020304",
        // A group with a group and a number in it.
        "a306 ab06 0801 ac06 0802 a406",
    ] {
        for text in [
            format!("080e100218012005{unknown}"),
            format!("{unknown}080e100218012005"),
            format!("2005180110 02{unknown}080e"),
            format!("0803080e100110 02{unknown}18012005"),
        ] {
            assert_eq!(Message::decode(hex(&text)).as_ref(), Ok(&plain), "{text}");
        }
    }
    // A group that does not end, that ends as another, and more groups than anybody needs.
    expect("080e10021801a306", "Message", 6, Reason::Malformed);
    expect("080e10021801a306ac06", "Message", 6, Reason::Malformed);
    let deep = format!(
        "080e10021801{}{}",
        "a306".repeat(100_000),
        "a406".repeat(100_000)
    );
    assert_eq!(refused(&deep).reason(), Reason::Malformed);
}

/// Entries are read whatever the kind of the message: a heartbeat has none, and a read one that carries
/// its token.
#[test]
fn a_change_that_is_none_is_refused_in_any_message() {
    for kind in ["08", "0f", "03"] {
        let text = format!("08{kind}1002180120013a050801220108");
        expect(&text, "ConfChange.id", 14, Reason::Malformed);
    }
}

/// The memory that is asked for depends on the bytes that are there, not on what they claim.
#[test]
fn a_claimed_length_reserves_nothing() {
    for claimed in ["ffffffff07", "ffffffffffffffff7f", "ffffffffffffffffff01"] {
        // In the message, and in the entry and the snapshot that are in it.
        for field in ["3a", "4a", "62", "3a0722", "3a0732", "4a070a"] {
            let text = format!("080310021801{field}{claimed}");
            let bytes = hex(&text);
            let mut read = None;
            let asked_for = allocation_counter::measure(|| read = Some(Message::decode(bytes)));
            let error = read
                .expect("it was decoded")
                .expect_err("it claims too much");
            assert_eq!(error.reason(), Reason::Malformed, "{text}");
            assert!(asked_for.bytes_total < 512, "{text}: {asked_for:?}");
        }
    }
}

/// What was received is not copied: payloads lie where they were received.
#[test]
fn payloads_are_not_copied() {
    let data = vec![b'x'; 100];
    let text = format!(
        "08031002180120052804300a3a6a1005180b2264{}",
        "78".repeat(100)
    );
    let bytes = hex(&text);
    let range = bytes.as_ptr_range();
    let Ok(Message {
        body: almadia::Body::AppendEntries(append),
        ..
    }) = Message::decode(bytes)
    else {
        panic!("an append");
    };
    let almadia::Payload::Data(read) = &append.entries[0].payload else {
        panic!("data");
    };
    assert_eq!(read, &data);
    assert!(range.contains(&read.as_ptr()));
}
