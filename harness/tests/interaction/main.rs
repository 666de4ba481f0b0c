//! The runner of interaction scripts, by scripts of its own: what its commands are, what it makes
//! equal to etcd/raft, and how it compares.
//!
//! Owns nothing beyond these. etcd/raft's own scripts are run in `scripts.rs`.

mod commands;
mod comparison;
mod conversations;

fn id(number: u64) -> almadia::NodeId {
    almadia::NodeId::new(number).expect("ids in tests are not zero")
}
