//! almadia: an embeddable Raft consensus module. TODO guide
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

mod config;
mod error;
mod log;
pub mod membership;
mod message;
mod progress;
pub mod quorum;
mod raft;
mod raw_node;
mod ready;
mod status;
mod storage;
mod types;

pub use bytes::Bytes;

pub use crate::config::{Config, ConfigBuilder, ConfigError};
pub use crate::error::{
    AckError, CampaignError, ChangeError, Halted, ProposeError, StartError, StepError,
};
pub use crate::membership::{
    ChangeForm, ConfState, MemberChange, Membership, MembershipChange, MembershipError, Transition,
};
pub use crate::message::{
    AppendEntries, AppendEntriesResponse, Body, Heartbeat, HeartbeatResponse, Message, MessageKind,
    Proposal, ReadIndexResponse, RequestVote, VoteResponse,
};
pub use crate::progress::{Inflight, Progress, ProgressState};
pub use crate::raw_node::{RawNode, SnapshotStatus};
pub use crate::ready::Ready;
pub use crate::status::{RoleKind, Status};
pub use crate::storage::{
    EntriesRequest, InitialState, MemStorage, MemStorageError, Purpose, Storage, StorageError,
};
pub use crate::types::{
    Entries, Entry, HardState, LogId, LogIndex, NodeId, Payload, Snapshot, Term,
};
