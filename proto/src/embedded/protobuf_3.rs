//! Types for `protobuf` 3, under the names of the schema.
//!
//! They implement [`protobuf::Message`] and not reflection, so they suit code that is generated for
//! the lite runtime.
//!
//! ```
//! use almadia::{Body, NodeId, Term};
//! use almadia_proto::protobuf_3;
//! use protobuf::Message;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (to, from) = (NodeId::new(2).unwrap(), NodeId::new(1).unwrap());
//! let message = almadia::Message { to, from, term: Term(3), body: Body::TimeoutNow };
//! let sent = protobuf_3::Message::from(&message).write_to_bytes()?;
//!
//! let received = protobuf_3::Message::parse_from_bytes(&sent)?;
//! assert_eq!(almadia::Message::try_from(received)?, message);
//! # Ok(())
//! # }
//! ```

use bytes::Bytes;
use protobuf::{CodedInputStream, CodedOutputStream, SpecialFields};

use super::{conversions, for_each_type};

macro_rules! define {
    ($name:ident, $value:ty, $decode:expr) => {
        #[doc = concat!("An encoded `", stringify!($name), "`; see [`", stringify!($value), "`].")]
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            bytes: Bytes,
            special_fields: SpecialFields,
        }

        impl $name {
            fn holding(bytes: Bytes) -> Self {
                Self {
                    bytes,
                    special_fields: SpecialFields::new(),
                }
            }
        }

        conversions!($name, $value, $decode);

        impl protobuf::Message for $name {
            const NAME: &'static str = stringify!($name);

            fn is_initialized(&self) -> bool {
                true
            }

            fn merge_from(&mut self, input: &mut CodedInputStream<'_>) -> protobuf::Result<()> {
                let mut bytes = self.bytes.to_vec();
                read_all(input, &mut bytes)?;
                self.bytes = bytes.into();
                Ok(())
            }

            fn write_to_with_cached_sizes(
                &self,
                output: &mut CodedOutputStream<'_>,
            ) -> protobuf::Result<()> {
                output.write_raw_bytes(&self.bytes)
            }

            fn compute_size(&self) -> u64 {
                let size = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
                self.special_fields.cached_size().set(size);
                self.bytes.len() as u64
            }

            fn special_fields(&self) -> &SpecialFields {
                &self.special_fields
            }

            fn mut_special_fields(&mut self) -> &mut SpecialFields {
                &mut self.special_fields
            }

            fn new() -> Self {
                Self::default()
            }

            fn default_instance() -> &'static Self {
                static INSTANCE: $name = $name {
                    bytes: Bytes::new(),
                    special_fields: SpecialFields::new(),
                };
                &INSTANCE
            }
        }
    };
}

for_each_type!(define);

/// Reads what is left of a message.
fn read_all(input: &mut CodedInputStream<'_>, bytes: &mut Vec<u8>) -> protobuf::Result<()> {
    // Inside another message it is known how much that is. (Nothing is reserved for it before it is
    // there: the stream sees to that.)
    if let Ok(left) = u32::try_from(input.bytes_until_limit()) {
        bytes.append(&mut input.read_raw_bytes(left)?);
    }
    while !input.eof()? {
        bytes.push(input.read_raw_byte()?);
    }
    Ok(())
}
