//! A small distributed key-value database on almadia: regions, each a Raft group; one log and one
//! state machine on each node's disk; one connection between two nodes; JSON-RPC for clients.
//!
//! What an embedder may copy is how [`raft`] drives the nodes, how [`log`] and [`state`] keep what
//! they ask for, and in which order [`log_writer`] and [`applier`] say what is done.
//!
//! ```text
//! clients ─ api ─ service ─┬─> raft ──┬─> log_writer ─> log       (raft-engine)
//!                          │    ^     ├─> applier ────> state     (redb)
//!                          │    │     └─> transport <─> other nodes
//!                          └────┴── routes, state (reads)
//! ```

pub mod api;
pub mod applier;
pub mod bench;
pub mod check;
pub mod cli;
pub mod client;
pub mod command;
pub mod data_dir;
pub mod disk;
pub mod kv;
pub mod log;
pub mod log_writer;
pub mod metrics;
pub mod processes;
pub mod raft;
pub mod region;
pub mod routes;
pub mod server;
pub mod service;
pub mod snapshot;
pub mod state;
pub mod tls;
pub mod transport;
