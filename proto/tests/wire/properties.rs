//! Any value, through this codec, raft-rs's and the generated one.

use almadia::{Body, Bytes, Message};
use almadia_proto::{Decode, Encode, Encoder, Pieces, decode_conf_change, decode_conf_change_v2};
use almadia_proto_oracle::eraftpb as generated;
use proptest::prelude::*;
use protobuf::Message as _;
use protobuf_of_raft_rs::Message as _;
use raft_proto::eraftpb as raft_rs;

use crate::values;

/// Bytes go out as ours, pass through another codec as the type of this name, and come back as the
/// other wrote them. Nothing in them is unknown to the other.
macro_rules! through {
    ($other:ident :: $type:ident, $ours:expr) => {{
        let ours: Bytes = $ours;
        let mut other = $other::$type::default();
        other.merge_from_bytes(&ours).expect("the other reads it");
        assert!(other.is_known(), "unknown to the other: {ours:02x?}");
        Bytes::from(other.write_to_bytes().expect("the other writes it"))
    }};
}

/// Whether nothing was kept that the schema does not know.
trait Known {
    fn is_known(&self) -> bool;
}

macro_rules! known {
    ($($type:ident)*) => {
        $(
            impl Known for raft_rs::$type {
                fn is_known(&self) -> bool {
                    protobuf_of_raft_rs::Message::get_unknown_fields(self).fields.is_none()
                }
            }

            impl Known for generated::$type {
                fn is_known(&self) -> bool {
                    self.special_fields.unknown_fields().iter().next().is_none()
                }
            }
        )*
    };
}

known!(Message Entry HardState ConfState Snapshot ConfChange ConfChangeV2);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn messages(message in values::message()) {
        let bytes = message.encode();
        prop_assert_eq!(bytes.len(), message.encoded_len());
        prop_assert_eq!(&Message::decode(bytes.clone()).expect("it is ours"), &message);
        let raft_rs = through!(raft_rs::Message, bytes.clone());
        prop_assert_eq!(&Message::decode(raft_rs).expect("raft-rs wrote it"), &message);
        let generated = through!(generated::Message, bytes);
        prop_assert_eq!(&Message::decode(generated).expect("generated code wrote it"), &message);
    }

    #[test]
    fn messages_in_pieces(message in values::message()) {
        let bytes = message.encode();
        let pieces = Pieces::of(&message);
        prop_assert_eq!(pieces.len(), bytes.len());
        prop_assert_eq!(pieces.to_bytes(), &bytes);
        let mut encoder = Encoder::new();
        for _ in 0..2 {
            prop_assert_eq!(encoder.encode(&message).to_bytes(), &bytes);
        }
    }

    #[test]
    fn what_is_stored(
        entry in values::entry(),
        hard_state in values::hard_state(),
        conf_state in values::conf_state(),
        snapshot in values::snapshot(),
    ) {
        macro_rules! stored {
            ($type:ident, $value:expr) => {
                let bytes = $value.encode();
                prop_assert_eq!(bytes.len(), $value.encoded_len());
                for bytes in [
                    bytes.clone(),
                    through!(raft_rs::$type, bytes.clone()),
                    through!(generated::$type, bytes),
                ] {
                    prop_assert_eq!(&Decode::decode(bytes), &Ok($value.clone()));
                }
            };
        }
        stored!(Entry, entry);
        stored!(HardState, hard_state);
        stored!(ConfState, conf_state);
        stored!(Snapshot, snapshot);
    }

    #[test]
    fn membership_changes(change in values::change()) {
        let bytes = change.encode();
        let (raft_rs, generated) = match change.form {
            almadia::ChangeForm::V1 { .. } => (
                decode_conf_change(&through!(raft_rs::ConfChange, bytes.clone())),
                decode_conf_change(&through!(generated::ConfChange, bytes)),
            ),
            almadia::ChangeForm::V2 => (
                decode_conf_change_v2(&through!(raft_rs::ConfChangeV2, bytes.clone())),
                decode_conf_change_v2(&through!(generated::ConfChangeV2, bytes)),
            ),
        };
        prop_assert_eq!(raft_rs.as_ref(), Ok(&change));
        prop_assert_eq!(generated.as_ref(), Ok(&change));
    }
}

/// One run of entries, to several followers: their pieces are the same memory.
#[test]
fn entries_are_serialised_once() {
    let large = Bytes::from(vec![7; 5000]);
    let entries: almadia::Entries = (1..=3)
        .map(|index| almadia::Entry {
            id: almadia::LogId::new(1, index),
            payload: almadia::Payload::Data(large.clone()),
            context: Bytes::new(),
        })
        .collect();
    let append = |to| {
        crate::common::message(
            to,
            1,
            1,
            Body::AppendEntries(almadia::AppendEntries {
                prev_log: almadia::LogId::ZERO,
                leader_commit: almadia::LogIndex::ZERO,
                entries: entries.clone(),
            }),
        )
    };
    let mut encoder = Encoder::new();
    let [two, three] = [2, 3].map(|to| encoder.encode(&append(to)));
    let pieces = |pieces: &Pieces| -> Vec<(*const u8, usize)> {
        pieces
            .iter()
            .map(|piece| (piece.as_ptr(), piece.len()))
            .collect()
    };
    let [two, three] = [pieces(&two), pieces(&three)];
    assert_eq!(
        two.len(),
        7,
        "one head, and a head and a payload for each entry"
    );
    assert_ne!(two[0], three[0]);
    assert_eq!(two[1..], three[1..]);
    assert_eq!(
        two[2],
        (large.as_ptr(), large.len()),
        "the payload stays where it is"
    );
}
