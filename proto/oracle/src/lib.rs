//! The schema's types as the code generator of `protobuf` makes them of `eraftpb.proto`.
//!
//! Owns nothing by hand. Tests and benches hold `almadia-proto` against it.
#![allow(missing_docs, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/eraftpb/mod.rs"));
