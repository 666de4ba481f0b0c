//! The wire format, held against raft-rs's own codec and against a generated one.

mod common;
#[cfg(any(feature = "prost-0_14", feature = "protobuf"))]
mod embedded;
mod golden;
mod properties;
mod strangers;
mod values;
