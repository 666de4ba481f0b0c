//! How a leader brings its peers up to date, and what a peer answers: finding where logs part, flow
//! control, snapshots, and the repair of whatever the network loses.
//!
//! Owns the scenarios of replication that were bugs somewhere; the rules themselves are in
//! `paper/`.

#[path = "../common/nodes.rs"]
mod nodes;

mod flow;
mod probing;
mod snapshots;
mod stored;
mod tail;
