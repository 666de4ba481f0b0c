//! almadia beside other consensus libraries, each doing the same work.
//!
//! Owns the workloads and how they are timed: entries, reads and ticks of one cluster, how their cost grows,
//! and many groups at once. Each peer stands in a module of its own; all run as clusters in one thread, on
//! the in-memory store that comes with each, and pass their messages by value. Only openraft has its store
//! from here, because the one that comes with it is for tests. So neither a codec nor a disk is in the
//! figures of a cluster, and what several nodes can share of a message they share: with almadia the entries,
//! which raft-rs copies for each message and each store.
//!
//! raft-rs is a core as almadia is. openraft and omnipaxos do other work, and say in their modules which. The
//! floor under all of it is `steady_state`.

pub mod almadia_side;
pub mod cluster;
pub mod groups;
pub mod growth;
pub mod library;
pub mod omnipaxos_cluster;
pub mod openraft_cluster;
pub mod openraft_store;
pub mod raft_rs_side;
pub mod rounds;
pub mod steady_state;
pub mod workloads;

use std::sync::OnceLock;

/// Logs are cut when they hold this many entries, on every side.
pub const KEPT: u64 = 1024;

/// What every side may send in a message.
pub const MAX_MESSAGE_BYTES: u64 = 1 << 20;

/// How many messages every side may have on their way.
pub const MAX_INFLIGHT: usize = 256;

/// A logger that says nothing, which all nodes share that want one.
pub fn silent() -> &'static slog::Logger {
    static SILENT: OnceLock<slog::Logger> = OnceLock::new();
    SILENT.get_or_init(|| slog::Logger::root(slog::Discard, slog::o!()))
}

/// The command that is proposed. Each proposal is in bytes of its own, as a client's would be.
#[must_use]
pub fn command(bytes: usize) -> Vec<u8> {
    vec![7; bytes]
}

/// Puts the messages behind those that wait to be delivered. Mostly there are none.
fn pass_on<M>(messages: &mut Vec<M>, mail: &mut Vec<M>) {
    if !messages.is_empty() {
        mail.append(messages);
    }
}
