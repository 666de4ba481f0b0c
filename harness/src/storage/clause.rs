//! The lines of the contract, so that a failure can say which one was broken.
//!
//! Owns the list. The words are those of the documentation of `Storage`, `EntriesRequest` and
//! `Ready`; a test holds them to it. Must not know how a breach is found.

use std::fmt;

/// One line of the contract between a node and its log store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Clause {
    /// No hole between the bounds.
    NoHole,
    /// The bounds of an empty log.
    EmptyLog,
    /// What is acknowledged is seen.
    ReflectsWrites,
    /// What is seen at a start is durable.
    DurableAtStart,
    /// Nothing changes by itself.
    OnlyTheEmbedder,
    /// New entries replace what is there.
    Replaces,
    /// What may be compacted.
    Compaction,
    /// Errors, no panics.
    NoPanic,
    /// A storage that fails stops the node.
    Fails,
    /// A store can be opened.
    Starts,
    /// The hard state at a start.
    HardState,
    /// The membership at a start.
    ConfState,
    /// What `entries` answers.
    Entries,
    /// How much `entries` answers.
    MaxBytes,
    /// How `entries` says that it is too late.
    EntriesCompacted,
    /// What `term` answers.
    Term,
    /// How `term` says that it is too late.
    TermCompacted,
    /// How `term` says that it is too early.
    TermUnavailable,
    /// What `first_index` answers.
    FirstIndex,
    /// What `last_index` answers.
    LastIndex,
    /// What `snapshot` answers.
    Snapshot,
    /// The membership in a snapshot.
    SnapshotMembership,
    /// How `snapshot` says that it is too early.
    SnapshotUnavailable,
    /// All or nothing.
    Atomic,
    /// When a write is durable.
    MustSync,
    /// What a snapshot takes the place of.
    Installs,
}

impl Clause {
    /// Every line.
    pub const ALL: [Self; 26] = [
        Self::NoHole,
        Self::EmptyLog,
        Self::ReflectsWrites,
        Self::DurableAtStart,
        Self::OnlyTheEmbedder,
        Self::Replaces,
        Self::Compaction,
        Self::NoPanic,
        Self::Fails,
        Self::Starts,
        Self::HardState,
        Self::ConfState,
        Self::Entries,
        Self::MaxBytes,
        Self::EntriesCompacted,
        Self::Term,
        Self::TermCompacted,
        Self::TermUnavailable,
        Self::FirstIndex,
        Self::LastIndex,
        Self::Snapshot,
        Self::SnapshotMembership,
        Self::SnapshotUnavailable,
        Self::Atomic,
        Self::MustSync,
        Self::Installs,
    ];

    /// Where the line stands: an item of the crate `almadia`.
    #[must_use]
    pub const fn place(self) -> &'static str {
        match self {
            Self::NoHole
            | Self::EmptyLog
            | Self::ReflectsWrites
            | Self::DurableAtStart
            | Self::OnlyTheEmbedder
            | Self::Replaces
            | Self::Compaction
            | Self::NoPanic
            | Self::Fails => "Storage",
            Self::Starts => "Storage::initial_state",
            Self::HardState => "InitialState::hard_state",
            Self::ConfState => "InitialState::conf_state",
            Self::Entries | Self::EntriesCompacted => "Storage::entries",
            Self::MaxBytes => "EntriesRequest::max_bytes",
            Self::Term | Self::TermCompacted | Self::TermUnavailable => "Storage::term",
            Self::FirstIndex => "Storage::first_index",
            Self::LastIndex => "Storage::last_index",
            Self::Snapshot | Self::SnapshotMembership | Self::SnapshotUnavailable => {
                "Storage::snapshot"
            }
            Self::Atomic => "Ready",
            Self::MustSync => "Ready::must_sync",
            Self::Installs => "Ready::snapshot",
        }
    }

    /// The words of the line, as they stand there, without links.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoHole => {
                "The log is a run of entries from first_index to last_index without a hole"
            }
            Self::EmptyLog => "An empty log has last_index == first_index - 1.",
            Self::ReflectsWrites => "An answer reflects every write that was acknowledged",
            Self::DurableAtStart => {
                "What it shows when a node starts is durable, the commit index apart"
            }
            Self::OnlyTheEmbedder => "Only the embedder changes it",
            Self::Replaces => {
                "entries that are there already from the first new index on are replaced"
            }
            Self::Compaction => {
                "A position may be compacted away once it is applied, covered by a snapshot that \
                 is durable"
            }
            Self::NoPanic => "Methods return errors; they do not panic.",
            Self::Fails => {
                "The two answers that are not failures are StorageError::Compacted for what \
                 compaction removed, and StorageError::TemporarilyUnavailable where a method \
                 allows it."
            }
            Self::Starts => "Whatever keeps the state from being read; the node does not start.",
            Self::HardState => {
                "The last hard state that was persisted; the default if there never was one."
            }
            Self::ConfState => {
                "The membership as of Config::applied, or as of the snapshot where that is later"
            }
            Self::Entries => "The entries asked for, or a prefix of them that is not empty.",
            Self::MaxBytes => {
                "The answer stops before its Entry::size_bytes go beyond this, but holds at least \
                 one entry."
            }
            Self::EntriesCompacted => "StorageError::Compacted if first is below first_index",
            Self::Term => {
                "The term of the entry at index, which is between first_index - 1 and last_index."
            }
            Self::TermCompacted => "StorageError::Compacted for an index below first_index - 1",
            Self::TermUnavailable => "StorageError::Unavailable for one beyond last_index",
            Self::FirstIndex => {
                "The index of the first entry that is still there, or would be there if the log \
                 were not empty."
            }
            Self::LastIndex => "The index of the last entry; first_index - 1 if the log is empty.",
            Self::Snapshot => {
                "A snapshot of an applied state that reaches at least to request_index"
            }
            Self::SnapshotMembership => "It carries the membership as of its last entry",
            Self::SnapshotUnavailable => {
                "StorageError::TemporarilyUnavailable while it is being made"
            }
            Self::Atomic => "as one atomic write, of which a crash leaves all or nothing",
            Self::MustSync => "Whether the write must be durable before it counts.",
            Self::Installs => "To take the place of the stored log and of the state machine.",
        }
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: \"{}\"", self.place(), self.words())
    }
}
