//! Types of other protobuf libraries, so that messages of other schemas can have ours inside.
//!
//! Owns the list of these types. Each holds the encoded form of a value and nothing else, so it costs
//! one copy and loses nothing; what it means is asked with `try_from`.

#[cfg(feature = "prost-0_14")]
pub mod prost_0_14;
#[cfg(feature = "protobuf")]
pub mod protobuf_3;

/// Calls `$define` with each type of the schema that other schemas have use for: its name there, what
/// it is here, and how it is decoded.
macro_rules! for_each_type {
    ($define:ident) => {
        $define!(Message, almadia::Message, crate::Decode::decode);
        $define!(Entry, almadia::Entry, crate::Decode::decode);
        $define!(Snapshot, almadia::Snapshot, crate::Decode::decode);
        $define!(HardState, almadia::HardState, crate::Decode::decode);
        $define!(ConfState, almadia::ConfState, crate::Decode::decode);
        $define!(ConfChange, almadia::MembershipChange, |bytes| {
            crate::decode_conf_change(&bytes)
        });
        $define!(ConfChangeV2, almadia::MembershipChange, |bytes| {
            crate::decode_conf_change_v2(&bytes)
        });
    };
}

use for_each_type;

/// The conversions that are the same for both libraries, of a type with `bytes` that is made by
/// `holding`.
macro_rules! conversions {
    ($name:ident, $value:ty, $decode:expr) => {
        impl From<&$value> for $name {
            fn from(value: &$value) -> Self {
                Self::holding(crate::Encode::encode(value))
            }
        }

        impl TryFrom<$name> for $value {
            type Error = crate::DecodeError;

            fn try_from(embedded: $name) -> Result<Self, Self::Error> {
                $decode(embedded.bytes.into())
            }
        }
    };
}

use conversions;
