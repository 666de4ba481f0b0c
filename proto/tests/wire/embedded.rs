//! Messages inside the messages of other schemas.

use almadia::{Bytes, ChangeForm};
use almadia_proto::{DecodeError, Encode};
use proptest::prelude::*;

use crate::values;

/// Any value, as the type of this name of one of the libraries, inside another message and out of it.
macro_rules! embeds {
    ($library:ident, $pass:ident) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(300))]

            #[test]
            fn any_value_passes(
                message in values::message(),
                entry in values::entry(),
                snapshot in values::snapshot(),
                hard_state in values::hard_state(),
                conf_state in values::conf_state(),
                change in values::change(),
            ) {
                use almadia_proto::$library as library;
                macro_rules! passes {
                    ($name:ident, $value:expr) => {
                        let embedded = library::$name::from(&$value);
                        let received: library::$name = $pass(&embedded, &$value.encode());
                        prop_assert_eq!(&received, &embedded);
                        prop_assert_eq!(received.try_into(), Ok($value.clone()));
                    };
                }
                passes!(Message, message);
                passes!(Entry, entry);
                passes!(Snapshot, snapshot);
                passes!(HardState, hard_state);
                passes!(ConfState, conf_state);
                match change.form {
                    ChangeForm::V1 { .. } => { passes!(ConfChange, change); }
                    ChangeForm::V2 => { passes!(ConfChangeV2, change); }
                }
            }
        }
    };
}

/// A message of which field 2 is one of ours, and field 1 a number.
fn envelope(inner: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x08, 7];
    bytes.push(0x12);
    let mut len = inner.len();
    while len >= 0x80 {
        bytes.push(len as u8 | 0x80);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes.extend(inner);
    bytes
}

#[cfg(feature = "prost-0_14")]
mod for_prost {
    use almadia_proto::prost_0_14;
    use prost::Message as _;

    use super::*;

    #[derive(Clone, PartialEq, prost::Message)]
    struct Envelope<T: prost::Message + Default + std::fmt::Debug> {
        #[prost(uint64, tag = "1")]
        region: u64,
        #[prost(message, optional, tag = "2")]
        inner: Option<T>,
    }

    fn pass<T: prost::Message + Default + Clone + PartialEq + std::fmt::Debug>(
        embedded: &T,
        encoded: &Bytes,
    ) -> T {
        let sent = Envelope {
            region: 7,
            inner: Some(embedded.clone()),
        };
        let bytes = sent.encode_to_vec();
        assert_eq!(bytes, envelope(encoded));
        let received = Envelope::<T>::decode(&*bytes).expect("it is an envelope");
        received.inner.expect("it has a message")
    }

    embeds!(prost_0_14, pass);

    /// What the schema does not know is kept, and what is wrong is told when it is looked at.
    #[test]
    fn unknown_fields_are_kept_and_errors_come_late() {
        let bytes =
            crate::common::hex("080e100218012005 a00601 a10601020304 05060708 a50601020304");
        let read = prost_0_14::Message::decode(bytes.clone()).expect("fields of any kind");
        assert_eq!(read.encode_to_vec(), bytes);
        let wrong =
            prost_0_14::Message::decode(&[0x08, 99, 0x10, 2, 0x18, 1][..]).expect("numbers");
        let error: Result<almadia::Message, DecodeError> = wrong.try_into();
        assert_eq!(error.expect_err("no kind 99").field(), "Message.msg_type");
        prost_0_14::Message::decode(&[0x12, 9][..]).expect_err("it is cut off");
    }
}

#[cfg(feature = "protobuf")]
mod for_protobuf {
    use almadia_proto::protobuf_3;
    use protobuf::rt::{WireType, write_message_field_with_cached_size};
    use protobuf::{CodedInputStream, CodedOutputStream, Message};

    use super::*;

    /// What generated code does with a field that is a message.
    fn pass<T: Message>(embedded: &T, encoded: &Bytes) -> T {
        let mut bytes = vec![0x08, 7];
        let mut output = CodedOutputStream::vec(&mut bytes);
        embedded.compute_size();
        write_message_field_with_cached_size(2, embedded, &mut output).expect("it is written");
        output.flush().expect("to memory");
        drop(output);
        assert_eq!(bytes, envelope(encoded));

        let mut input = CodedInputStream::from_bytes(&bytes);
        assert_eq!(input.read_raw_tag_or_eof().expect("a head"), Some(0x08));
        input.skip_field(WireType::Varint).expect("a number");
        assert_eq!(input.read_raw_tag_or_eof().expect("a head"), Some(0x12));
        let received = input.read_message().expect("a message");
        assert!(input.eof().expect("memory"));
        received
    }

    embeds!(protobuf_3, pass);

    #[test]
    fn unknown_fields_are_kept_and_errors_come_late() {
        let bytes = crate::common::hex("080e100218012005 a00601 a306 a406");
        let read = protobuf_3::Message::parse_from_bytes(&bytes).expect("any bytes");
        assert_eq!(read.write_to_bytes().expect("to memory"), bytes);
        let wrong = protobuf_3::Message::parse_from_bytes(&[0x08, 99, 0x10, 2, 0x18, 1])
            .expect("any bytes");
        let error: Result<almadia::Message, DecodeError> = wrong.try_into();
        assert_eq!(error.expect_err("no kind 99").field(), "Message.msg_type");
    }
}
