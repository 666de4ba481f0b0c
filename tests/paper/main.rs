//! The Raft paper and thesis as tests: one for each rule, named after its place.
//!
//! Owns the question whether a node does what Figure 2 and the sections say. What goes beyond them
//! (asynchronous disks, flow control) is in `tests/durability/` and `tests/replication/`.

#[path = "../common/nodes.rs"]
mod nodes;

mod receivers;
mod section_5;
mod section_7;
mod servers;
mod thesis;
