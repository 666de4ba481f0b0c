//! The test-kit of almadia: whole clusters in one process, broken on purpose, and watched.
//!
//! * [`Cluster`] runs nodes by hand, for scenario tests.
//! * [`run`] makes a random run from a seed and a [`Profile`], and tells the first broken promise.
//! * [`script`] runs files of directives and compares what they print with what they should.
//!
//! Everything follows from the seed: no threads, no clocks, no unordered maps. The checkers watch
//! the five properties of Raft's Figure 3 and the durability rules after every call.

mod checker;
mod cluster;
mod dice;
mod digest;
mod disk;
mod host;
pub mod model;
mod network;
mod profile;
pub mod script;
mod simulation;
mod state_machine;
mod violation;

pub use crate::checker::Checks;
pub use crate::cluster::{Cluster, Stats};
pub use crate::dice::Dice;
pub use crate::digest::Digest;
pub use crate::disk::EmbedderFault;
pub use crate::host::{DiskMode, Settings};
pub use crate::profile::{Calls, Membership, Profile, Ticking};
pub use crate::simulation::{RECOVERY_TICKS, run};
pub use crate::state_machine::StateMachine;
pub use crate::violation::{Violation, ViolationKind};
