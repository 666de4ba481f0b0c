//! An embeddable Raft consensus module: pure, deterministic, free of I/O, safe against its peers.
//!
//! A [`RawNode`] is one node of one Raft group. Messages and ticks go in; [`Ready`] batches come
//! out: entries to persist, messages to send, committed entries to apply. The embedder brings the
//! log (read by the node through [`Storage`]), the state machine and the transport.
//!
//! # The run loop
//!
//! ```
//! use almadia::{Config, MemStorage, Message, NodeId, RawNode};
//!
//! # fn send(_: Message) {}
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let id = NodeId::new(1).ok_or("node ids start at 1")?;
//! let mut node = RawNode::new(Config::new(id), MemStorage::with_voters([id]))?;
//! # let mut proposed = false;
//! # let mut done = false;
//! # while !done {
//! // Inputs: node.tick()?, node.step(message)?, node.propose(context, data)?
//! node.tick()?;
//! # if node.role() == almadia::RoleKind::Leader && !proposed {
//! #     node.propose("", "hello")?;
//! #     proposed = true;
//! # }
//! while let Some(mut ready) = node.ready()? {
//!     // Send before, or while, the disk works.
//!     ready.messages.drain(..).for_each(send);
//!     // Persist: one write, one fsync if `ready.must_sync`.
//!     if let Some(snapshot) = ready.snapshot.take() {
//!         node.storage_mut().install_snapshot(*snapshot)?;
//!     }
//!     for run in &ready.entries {
//!         node.storage_mut().append(run)?;
//!     }
//!     if let Some(hard_state) = ready.hard_state {
//!         node.storage_mut().set_hard_state(hard_state);
//!     }
//!     // Send what speaks for what is durable now.
//!     ready.messages_after_persist.drain(..).for_each(send);
//!     // Apply. With a snapshot, replace the state machine's content first.
//!     for entry in ready.committed_entries.iter().flatten() {
//!         // state_machine.apply(entry), node.apply_conf_change(change)
//! #       done |= entry.payload == almadia::Payload::Data("hello".into());
//!     }
//!     node.advance(ready)?;
//! }
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! The example `single_mem_node` is this loop with nothing left out; `five_mem_node` is a cluster.
//!
//! # Durability
//!
//! | before this | this is durable on the node's own disk |
//! |---|---|
//! | a vote or pre-vote answer, an append or snapshot acknowledgement leaves | the term, vote, entries or snapshot it speaks for |
//! | a RequestVote leaves | the log that it names |
//! | a candidate acts as leader | its own term and its own vote |
//! | the leader counts itself for an entry | that entry |
//! | an entry is applied, or a snapshot restored | that entry, that snapshot |
//! | the log is compacted | the snapshot that covers it, and a hard state that has committed it |
//!
//! The node keeps these rules, provided that the embedder fulfils [`Ready`] in order and
//! acknowledges only what is true. Compaction and the restoring of a snapshot are the embedder's
//! own duty.
//!
//! The same output serves synchronous and asynchronous disks. With an asynchronous one, do not call
//! [`RawNode::advance`]: keep calling [`RawNode::ready`], and report [`RawNode::persisted`] and
//! [`RawNode::applied`] when it is so.
//!
//! # Errors
//!
//! By who is to blame. A peer or the network: [`StepError`]; the node is exactly as it was. The
//! embedder: [`ProposeError`], [`CampaignError`], [`AcknowledgeError`], [`ChangeError`],
//! [`ConfigError`]. The embedder's storage: [`StartError`], [`Halted`]. A bug of this crate: an
//! assertion, in release builds too.
//!
//! # Time and chance
//!
//! Time is ticks, as long as the embedder likes (100 ms is usual with the defaults). Chance is
//! [`Config::seed`]: equal nodes given equal calls stay equal, so every run can be repeated.
#![no_std]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc
)]

extern crate alloc;

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod buffer;
mod config;
mod entry;
mod error;
mod event;
mod explain;
#[cfg(feature = "layers")]
#[doc(hidden)]
pub mod layers;
mod log;
pub mod membership;
mod message;
mod outstanding;
mod progress;
mod quiet;
pub mod quorum;
mod raft;
mod raw_node;
mod ready;
mod runs;
mod status;
mod storage;
mod types;

pub use bytes::Bytes;

pub use crate::config::{Config, ConfigBuilder, ConfigError};
pub use crate::entry::{Entries, Entry, Payload, Snapshot};
pub use crate::error::{
    AcknowledgeError, CampaignError, ChangeError, Halted, ProposeError, ReadDropped, ReadError,
    RequestSnapshotError, StartError, StepError, TransferError, TransferFailure, TransferOutcome,
};
#[cfg(feature = "slog")]
pub use crate::event::SlogObserver;
pub use crate::event::{Event, Observer};
pub use crate::explain::{Behind, NoLeader, NotCommitting, Paused, Votes};
pub use crate::membership::{
    ChangeForm, ConfState, MemberChange, Membership, MembershipChange, MembershipError, Transition,
};
pub use crate::message::{
    AppendEntries, AppendEntriesResponse, Body, Heartbeat, HeartbeatResponse, Message, MessageKind,
    Proposal, ReadIndexResponse, RequestVote, Token, VoteResponse,
};
pub use crate::progress::{Inflight, Progress, ProgressState, Window};
pub use crate::raw_node::{RawNode, SnapshotStatus};
pub use crate::ready::{ReadState, Ready};
pub use crate::status::{BasicStatus, RoleKind, Status};
pub use crate::storage::{
    EntriesRequest, InitialState, MemStorage, MemStorageError, Purpose, Storage, StorageError,
};
pub use crate::types::{HardState, LogId, LogIndex, NodeId, Term};
