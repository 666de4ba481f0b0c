//! almadia beside other consensus libraries, each doing the same work.
//!
//! Owns the workloads and how they are timed. Each peer stands in a module of its own; all run as
//! clusters in one thread, and pass their messages by value.

pub mod almadia_cluster;
pub mod raft_rs_cluster;
pub mod rounds;
pub mod workloads;

/// Logs are cut when they hold this many entries, on every side.
pub const KEPT: u64 = 1024;

/// What every side may send in a message.
pub const MAX_MESSAGE_BYTES: u64 = 1 << 20;

/// How many messages every side may have on their way.
pub const MAX_INFLIGHT: usize = 256;

/// The command that is proposed. Each proposal is in bytes of its own, as a client's would be.
#[must_use]
pub fn command(bytes: usize) -> Vec<u8> {
    vec![7; bytes]
}
