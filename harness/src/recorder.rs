//! A flight recorder: writes down all that a node is told, so that it can be told again.
//!
//! Owns [`Recorded`], a node with the calls of [`RawNode`]. Where the recording goes is `tape.rs`'s
//! and `ring.rs`'s business, what is in it `call.rs`'s and `witness.rs`'s, its bytes `format.rs`'s
//! and `coding.rs`'s, and who makes the calls again `replay.rs`'s. Must not know clusters.
//!
//! ```
//! use almadia::{Config, MemStorage, NodeId};
//! use almadia_harness::recorder::{Options, Recorded, Recording, Replay, Tape};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = std::env::temp_dir().join(format!("almadia-doc-{}", std::process::id()));
//! let id = NodeId::new(1).ok_or("node ids start at 1")?;
//! let tape = Tape::file(&path, Options::default())?;
//! let mut node = Recorded::new(Config::new(id), MemStorage::with_voters([id]), tape)?;
//! node.tick()?;
//! node.campaign()?;
//! let node = node.into_node();
//!
//! let mut replay = Replay::new(Recording::open(std::fs::File::open(&path)?)?);
//! while replay.next_step()?.is_some() {}
//! assert_eq!(replay.node(), Some(&node));
//! # Ok(std::fs::remove_file(&path)?)
//! # }
//! ```
//!
//! The same from the command line, with a line for each call:
//! `almadia-harness replay FILE --dump`.
//!
//! # What is recorded
//!
//! The settings; every call that takes `&mut self`, before it is made; every answer of the storage
//! to the node during a call; and what came of the call: a short value, of a [`Ready`] its numbers
//! and a hash. So a replay needs no disk, and finds the first call of which something else comes;
//! every [`Options::hash_every`] calls it finds what does not show yet. All commands and snapshots
//! are in the recording in full: guard it like the log.
//!
//! A tape that fails stops ([`Tape::flush`] tells), and the node goes on without it. The form is
//! described in `format.rs`; a recording whose end was lost in a crash is used up to there.
//!
//! # What a bounded recording can do
//!
//! The public API does not show all of a node's state, and the core knows no bytes. So a recording
//! in a file can begin at a start alone, where the state is what the storage answers. It is bounded
//! by [`Options::max_bytes`], at which it ends, and by [`Tape::in_folder`], which keeps the last
//! lives. Who wants to begin a new file in the midst of a long life starts the node anew, from
//! [`Recorded::into_storage`].
//!
//! A [`Tape::ring`] is bounded for ever, because it begins with a copy of the node. A copy is no
//! bytes, so the ring can be replayed in this process only: [`Tape::report`] makes the calls of the
//! ring again, and writes down the node before them, each call with all that came of it, and the
//! node behind them, for people to read. It may be called from a panic hook, which runs also where
//! a panic aborts. A file that is written [when full](Flush::WhenFull) loses its last 64 KiB to an
//! abort.
//!
//! # What it costs
//!
//! `cargo run --release --package almadia-harness --example recorder_cost` tells, in nanoseconds
//! and bytes for each call. In one run that was (a leader sends to two peers; nothing but memory is
//! behind the nodes, and the file is not synced):
//!
//! | | plain | file | file, [each call](Flush::EachCall) | ring | bytes |
//! |---|---|---|---|---|---|
//! | a follower's ticks, a heartbeat for nine | 22 | 58 | 1516 | 57 | 5.9 |
//! | a follower, entries of 16 bytes | 90 | 162 | 2131 | 172 | 17 |
//! | a follower, entries of 1024 bytes | 95 | 266 | 1149 | 221 | 269 |
//! | a leader, 64 proposals of 16 bytes | 68 | 141 | 1757 | 140 | 24 |
//! | a leader, 64 proposals of 1024 bytes | 72 | 514 | 3385 | 188 | 921 |
//!
//! That is some 40 to 80 ns for a call, and the copying of what is in it. To hash the whole node
//! takes longer, the more entries it keeps in memory: see [`Options::hash_every`].

mod call;
mod coding;
mod format;
mod outcome;
mod replay;
mod ring;
mod tape;
mod witness;

use std::fmt;
use std::num::NonZeroU64;
use std::ops::Deref;
use std::sync::Arc;

use almadia::{
    AcknowledgeError, Bytes, CampaignError, ChangeError, ConfState, Config, Halted, LogId,
    LogIndex, MembershipChange, Message, NodeId, Observer, ProposeError, Purpose, RawNode,
    ReadError, Ready, RequestSnapshotError, SnapshotStatus, StartError, StepError, Storage,
    TransferError, Window,
};

use self::call::Call;
pub use self::coding::Malformed;
pub use self::format::{End, Recording, RecordingError};
use self::outcome::Output;
pub use self::outcome::{Outcome, ReadyOutline};
pub use self::replay::{Divergence, DivergenceKind, Replay, ReplayError, Replayed};
pub use self::ring::ReportError;
pub use self::tape::{Flush, Options, StoredEntries, Tape, TapeStopped};
pub use self::witness::Witness;
use crate::digest::Digest;

/// A node all of whose inputs are recorded.
///
/// It has the calls of [`RawNode`], and does what that does; questions go to the node by `Deref`.
pub struct Recorded<S> {
    node: RawNode<Witness<S>>,
    tape: Option<Closing<S>>,
}

/// The tape of a node, which is closed when the node is dropped.
struct Closing<S>(Tape<S>);

impl<S> Drop for Closing<S> {
    fn drop(&mut self) {
        self.0.close(std::thread::panicking());
    }
}

impl<S: Storage> Recorded<S> {
    /// As [`RawNode::new`].
    ///
    /// # Errors
    ///
    /// As [`RawNode::new`].
    pub fn new(config: Config, storage: S, tape: Tape<S>) -> Result<Self, StartError> {
        Self::open(config, storage, Some(tape), RawNode::new)
    }

    /// As [`RawNode::with_observer`], which also serves a logger (`almadia::SlogObserver`). What is
    /// observed is not recorded. Without a tape the node is not recorded either, and costs what a
    /// [`RawNode`] does.
    ///
    /// # Errors
    ///
    /// As [`RawNode::with_observer`].
    pub fn with_observer(
        config: Config,
        storage: S,
        observer: Arc<dyn Observer>,
        tape: Option<Tape<S>>,
    ) -> Result<Self, StartError> {
        Self::open(config, storage, tape, |config, storage| {
            RawNode::with_observer(config, storage, observer)
        })
    }

    fn open(
        config: Config,
        storage: S,
        tape: Option<Tape<S>>,
        start: impl FnOnce(Config, Witness<S>) -> Result<RawNode<Witness<S>>, StartError>,
    ) -> Result<Self, StartError> {
        let tape = tape.map(Closing);
        if let Some(Closing(tape)) = &tape {
            tape.start(&config);
        }
        let overheard = tape.as_ref().map(|Closing(tape)| tape.clone());
        let result = start(config, Witness::of_disk(storage, overheard));
        if let Some(Closing(tape)) = &tape {
            let outcome = || match &result {
                Ok(_) => Outcome::Done,
                Err(error) => Outcome::refused(error),
            };
            tape.outcome(outcome, || result.as_ref().map_or(0, Digest::of));
        }
        let node = result?;
        Ok(Self { node, tape })
    }

    fn run<C: Call>(&mut self, call: C) -> C::Output {
        if let Some(Closing(tape)) = &self.tape {
            tape.input(|out| call.encode(out));
        }
        let output = call.call(&mut self.node);
        self.returned(&output);
        output
    }

    fn returned(&mut self, output: &impl Output) {
        let Some(Closing(tape)) = &self.tape else {
            return;
        };
        let node = &self.node;
        let copy = tape.outcome(|| output.outcome(), || Digest::of(node));
        if let Some(copy) = copy {
            tape.roll(copy(&mut self.node));
        }
    }

    /// As [`RawNode::tick`].
    ///
    /// # Errors
    ///
    /// As [`RawNode::tick`].
    pub fn tick(&mut self) -> Result<(), Halted> {
        self.run(call::Tick {})
    }

    /// As [`RawNode::tick_many`].
    ///
    /// # Errors
    ///
    /// As [`RawNode::tick_many`].
    pub fn tick_many(&mut self, ticks: u32) -> Result<(), Halted> {
        self.run(call::TickMany { ticks })
    }

    /// As [`RawNode::step`].
    ///
    /// # Errors
    ///
    /// As [`RawNode::step`].
    pub fn step(&mut self, message: Message) -> Result<(), StepError> {
        self.run(call::Step { message })
    }

    /// As [`RawNode::propose`].
    ///
    /// # Errors
    ///
    /// As [`RawNode::propose`].
    pub fn propose(
        &mut self,
        context: impl Into<Bytes>,
        data: impl Into<Bytes>,
    ) -> Result<LogId, ProposeError> {
        let context = context.into();
        let data = data.into();
        self.run(call::Propose { context, data })
    }

    /// As [`RawNode::propose_conf_change`].
    ///
    /// # Errors
    ///
    /// As [`RawNode::propose_conf_change`].
    pub fn propose_conf_change(
        &mut self,
        context: impl Into<Bytes>,
        change: MembershipChange,
    ) -> Result<LogId, ProposeError> {
        let context = context.into();
        self.run(call::ProposeConfChange { context, change })
    }

    /// As [`RawNode::apply_conf_change`].
    ///
    /// # Errors
    ///
    /// As [`RawNode::apply_conf_change`].
    pub fn apply_conf_change(
        &mut self,
        change: &MembershipChange,
    ) -> Result<ConfState, ChangeError> {
        let change = change.clone();
        self.run(call::ApplyConfChange { change })
    }

    /// As [`RawNode::campaign`].
    ///
    /// # Errors
    ///
    /// As [`RawNode::campaign`].
    pub fn campaign(&mut self) -> Result<(), CampaignError> {
        self.run(call::Campaign {})
    }

    /// As [`RawNode::read_index`].
    ///
    /// # Errors
    ///
    /// As [`RawNode::read_index`].
    pub fn read_index(&mut self, context: impl Into<Bytes>) -> Result<(), ReadError> {
        let context = context.into();
        self.run(call::ReadIndex { context })
    }

    /// As [`RawNode::lease_read`].
    ///
    /// # Errors
    ///
    /// As [`RawNode::lease_read`].
    pub fn lease_read(&mut self, context: impl Into<Bytes>) -> Result<(), ReadError> {
        let context = context.into();
        self.run(call::LeaseRead { context })
    }

    /// As [`RawNode::transfer_leader`].
    ///
    /// # Errors
    ///
    /// As [`RawNode::transfer_leader`].
    pub fn transfer_leader(&mut self, transferee: NodeId) -> Result<(), TransferError> {
        self.run(call::TransferLeader { transferee })
    }

    /// As [`RawNode::forget_leader`].
    pub fn forget_leader(&mut self) -> bool {
        self.run(call::ForgetLeader {})
    }

    /// As [`RawNode::ping`].
    pub fn ping(&mut self) {
        self.run(call::Ping {});
    }

    /// As [`RawNode::request_snapshot`].
    ///
    /// # Errors
    ///
    /// As [`RawNode::request_snapshot`].
    pub fn request_snapshot(&mut self) -> Result<(), RequestSnapshotError> {
        self.run(call::RequestSnapshot {})
    }

    /// As [`RawNode::on_entries_fetched`].
    pub fn on_entries_fetched(&mut self, purpose: Purpose) {
        self.run(call::OnEntriesFetched { purpose });
    }

    /// As [`RawNode::set_window`].
    pub fn set_window(&mut self, peer: NodeId, window: Option<Window>) -> bool {
        self.run(call::SetWindow { peer, window })
    }

    /// As [`RawNode::set_group_commit`].
    pub fn set_group_commit(&mut self, in_force: bool) {
        self.run(call::SetGroupCommit { in_force });
    }

    /// As [`RawNode::assign_commit_group`].
    pub fn assign_commit_group(&mut self, member: NodeId, group: Option<NonZeroU64>) {
        self.run(call::AssignCommitGroup { member, group });
    }

    /// As [`RawNode::set_priority`].
    pub fn set_priority(&mut self, priority: i64) {
        self.run(call::SetPriority { priority });
    }

    /// As [`RawNode::set_skip_commit_broadcast`].
    pub fn set_skip_commit_broadcast(&mut self, skip: bool) {
        self.run(call::SetSkipCommitBroadcast { skip });
    }

    /// As [`RawNode::report_unreachable`].
    pub fn report_unreachable(&mut self, peer: NodeId) {
        self.run(call::ReportUnreachable { peer });
    }

    /// As [`RawNode::report_snapshot`].
    pub fn report_snapshot(&mut self, peer: NodeId, status: SnapshotStatus) {
        self.run(call::ReportSnapshot { peer, status });
    }

    /// As [`RawNode::ready`].
    ///
    /// # Errors
    ///
    /// As [`RawNode::ready`].
    pub fn ready(&mut self) -> Result<Option<Box<Ready>>, Halted> {
        self.run(call::TakeReady {})
    }

    /// As [`RawNode::advance`].
    ///
    /// # Errors
    ///
    /// As [`RawNode::advance`].
    pub fn advance(&mut self, ready: Box<Ready>) -> Result<(), AcknowledgeError> {
        if let Some(Closing(tape)) = &self.tape {
            tape.input(|out| call::Advance::of(&ready).encode(out));
        }
        let output = self.node.advance(ready);
        self.returned(&output);
        output
    }

    /// As [`RawNode::persisted`].
    ///
    /// # Errors
    ///
    /// As [`RawNode::persisted`].
    pub fn persisted(&mut self, number: u64) -> Result<(), AcknowledgeError> {
        self.run(call::Persisted { number })
    }

    /// As [`RawNode::applied`].
    ///
    /// # Errors
    ///
    /// As [`RawNode::applied`].
    pub fn applied(&mut self, index: LogIndex) -> Result<(), AcknowledgeError> {
        self.run(call::Applied { index })
    }

    /// As [`RawNode::storage`].
    #[must_use]
    pub fn storage(&self) -> &S {
        let disk = self.node.storage().disk();
        disk.unwrap_or_else(|| unreachable!("a recorded node has a disk"))
    }

    /// As [`RawNode::storage_mut`]. What is done to the storage is not recorded; what it answers
    /// is.
    pub fn storage_mut(&mut self) -> &mut S {
        let disk = self.node.storage_mut().disk_mut();
        disk.unwrap_or_else(|| unreachable!("a recorded node has a disk"))
    }

    /// As [`RawNode::into_storage`].
    #[must_use]
    pub fn into_storage(self) -> S {
        let disk = self.into_node().into_storage().into_disk();
        disk.unwrap_or_else(|| unreachable!("a recorded node has a disk"))
    }
}

impl<S> Recorded<S> {
    /// Ends the recording, and gives back the node, to look at.
    #[must_use]
    pub fn into_node(self) -> RawNode<Witness<S>> {
        let Self { node, tape } = self;
        drop(tape);
        node
    }
}

impl<S> Deref for Recorded<S> {
    type Target = RawNode<Witness<S>>;

    fn deref(&self) -> &Self::Target {
        &self.node
    }
}

impl<S> fmt::Debug for Recorded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.fmt(f)
    }
}
