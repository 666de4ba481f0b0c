//! The wire format, held against raft-rs's own codec and against a generated one.

mod common;
mod golden;
mod properties;
mod strangers;
mod values;
