//! Types for `prost` 0.14, under the names of the schema.
//!
//! `prost-build` and `tonic-build` use them in place of their own with
//! `extern_path(".eraftpb", "::almadia_proto::prost_0_14")`.
//!
//! ```
//! use almadia::{Body, NodeId, Term};
//! use almadia_proto::prost_0_14;
//! use prost::Message;
//!
//! /// What goes between two stores: a message, and the region that it is for.
//! #[derive(Clone, PartialEq, prost::Message)]
//! struct RegionMessage {
//!     #[prost(uint64, tag = "1")]
//!     region: u64,
//!     #[prost(message, optional, tag = "2")]
//!     message: Option<prost_0_14::Message>,
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (to, from) = (NodeId::new(2).unwrap(), NodeId::new(1).unwrap());
//! let message = almadia::Message { to, from, term: Term(3), body: Body::TimeoutNow };
//! let sent = RegionMessage { region: 7, message: Some((&message).into()) }.encode_to_vec();
//!
//! let received = RegionMessage::decode(&*sent)?.message.ok_or("no message")?;
//! assert_eq!(almadia::Message::try_from(received)?, message);
//! # Ok(())
//! # }
//! ```

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{self, DecodeContext, WireType};

use super::{conversions, for_each_type};

macro_rules! define {
    ($name:ident, $value:ty, $decode:expr) => {
        #[doc = concat!("An encoded `", stringify!($name), "`; see [`", stringify!($value), "`].")]
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name {
            bytes: Vec<u8>,
        }

        impl $name {
            fn holding(bytes: Bytes) -> Self {
                Self {
                    bytes: bytes.into(),
                }
            }
        }

        conversions!($name, $value, $decode);

        impl prost::Message for $name {
            fn encode_raw(&self, buf: &mut impl BufMut) {
                buf.put_slice(&self.bytes);
            }

            fn merge_field(
                &mut self,
                tag: u32,
                wire_type: WireType,
                buf: &mut impl Buf,
                context: DecodeContext,
            ) -> Result<(), prost::DecodeError> {
                keep_field(&mut self.bytes, tag, wire_type, buf, context)
            }

            fn encoded_len(&self) -> usize {
                self.bytes.len()
            }

            fn clear(&mut self) {
                self.bytes.clear();
            }
        }
    };
}

for_each_type!(define);

/// Appends a field as it was read. Groups, which no schema of ours has, are passed over.
fn keep_field(
    kept: &mut Vec<u8>,
    tag: u32,
    wire_type: WireType,
    buf: &mut impl Buf,
    context: DecodeContext,
) -> Result<(), prost::DecodeError> {
    match wire_type {
        WireType::Varint => {
            let mut value = 0;
            encoding::uint64::merge(wire_type, &mut value, buf, context)?;
            encoding::uint64::encode(tag, &value, kept);
        }
        WireType::SixtyFourBit => {
            let mut value = 0;
            encoding::fixed64::merge(wire_type, &mut value, buf, context)?;
            encoding::fixed64::encode(tag, &value, kept);
        }
        WireType::ThirtyTwoBit => {
            let mut value = 0;
            encoding::fixed32::merge(wire_type, &mut value, buf, context)?;
            encoding::fixed32::encode(tag, &value, kept);
        }
        WireType::LengthDelimited => {
            let mut value = Bytes::new();
            encoding::bytes::merge(wire_type, &mut value, buf, context)?;
            encoding::bytes::encode(tag, &value, kept);
        }
        WireType::StartGroup | WireType::EndGroup => {
            encoding::skip_field(wire_type, tag, buf, context)?;
        }
    }
    Ok(())
}
