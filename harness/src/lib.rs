//! The test-kit of almadia: whole clusters in one process, broken on purpose, and watched.
//!
//! * [`Cluster`] runs nodes by hand, for scenario tests.
//!   Its nodes run on a clonable [`Store`], because a clone is what a crash leaves: a store on files
//!   of its own is no case for it, but for [`storage`].
//! * [`run`] makes a random run from a seed and a [`Profile`], and tells the first broken promise.
//! * [`Trace`] is the record of a run, and [`timeline`](timeline()) makes a page of it that shows
//!   it in a browser. [`Cluster::record`] records a cluster of this crate, a [`TraceRecorder`] any
//!   other.
//! * [`storage`] tests a log store, an embedder's own too, and watches one at run time.
//! * [`recorder`] writes down all that a node is told, and tells it again.
//! * [`script`] runs files of directives and compares what they print with what they should.
//!
//! Everything follows from the seed: no threads, no clocks, no unordered maps. The checkers watch
//! the five properties of Raft's Figure 3 and the durability rules after every call.

mod action;
mod checker;
mod cluster;
mod dice;
mod digest;
mod disk;
mod embedder;
mod host;
pub mod model;
mod network;
mod node;
mod profile;
#[cfg(feature = "raft-rs")]
mod raft_rs;
pub mod recorder;
mod scenario;
pub mod script;
mod shrink;
mod simulation;
mod state_machine;
mod stats;
pub mod storage;
mod timeline;
mod trace;
mod unreliable;
mod violation;

pub use crate::action::{Action, MachineAction, OnLink, Request};
pub use crate::checker::{Checks, Impossible};
pub use crate::cluster::{Cluster, Outcomes, RECOVERY_TICKS};
pub use crate::dice::Dice;
pub use crate::digest::Digest;
pub use crate::disk::EmbedderFault;
pub use crate::embedder::{Embedder, Machine, Registers, Simulated, Store};
pub use crate::host::{DiskMode, Life, Settings};
pub use crate::node::{Embedding, Kind};
pub use crate::profile::{Calls, Membership, Mix, Profile, Ticking};
pub use crate::scenario::{MachineSetup, Scenario};
pub use crate::simulation::{record, run, run_with};
pub use crate::state_machine::StateMachine;
pub use crate::stats::{Across, ByKind, MixedStats, Stats};
pub use crate::timeline::timeline;
pub use crate::trace::{SnapshotStage, Trace, TraceError, TraceEvent, TraceRecorder, What};
pub use crate::unreliable::{Answers, Unreliable};
pub use crate::violation::{Violation, ViolationKind};
