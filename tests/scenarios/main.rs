//! What has gone wrong in other implementations, and must not here: one test for each scenario of
//! `docs/scenarios.md` that no other test shows, named after its id there.
//!
//! Owns the table's own check as well. Holds no rule of the protocol.

mod elections;
mod insight;
mod leases;
mod limits;
mod log;
mod many_groups;
mod membership;
#[path = "../common/nodes.rs"]
mod nodes;
mod reads;
mod snapshots;
mod table;
mod transfer;
