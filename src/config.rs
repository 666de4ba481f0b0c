//! What an embedder decides about a node, once.
//!
//! Owns [`Config`], its defaults and the check of their sense. A `Config` that exists is valid, so
//! nothing that reads one has to check again. Knows nothing of the protocol.

use getset::CopyGetters;
use thiserror::Error;

use crate::types::{LogId, NodeId};

/// The settings of a node. Built by [`Config::builder`], which checks them.
///
/// The defaults are the safe ones: pre-vote and check-quorum are on, and everything that can
/// grow is bounded.
#[derive(Clone, CopyGetters, Debug, PartialEq, Eq, Hash)]
#[getset(get_copy = "pub")]
#[non_exhaustive]
pub struct Config {
    /// The node's own id.
    pub(crate) id: NodeId,
    /// The leader sends heartbeats each time this many ticks have passed. Default 1.
    pub(crate) heartbeat_interval_ticks: u32,
    /// A follower that hears from no leader for at least this many ticks campaigns (Raft 5.2).
    /// Also how long a follower stands by a leader it has heard from, and how long a leader may go
    /// without a quorum. Default 10.
    pub(crate) election_timeout_ticks: u32,
    /// Election timeouts are drawn at random from `election_timeout_ticks` to below this, to make
    /// split votes rare (Raft 5.2). One tick more than that leaves nothing to draw from: nodes that
    /// lose their leader at once then split their votes again and again. Default 20.
    pub(crate) max_election_timeout_ticks: u32,
    /// Whether to ask for pre-votes before campaigning (Thesis 9.6). Default true.
    pub(crate) pre_vote: bool,
    /// Whether a leader steps down that has not heard from a quorum for an election timeout
    /// (Thesis 6.2). Default true.
    pub(crate) check_quorum: bool,
    /// Whether [`RawNode::lease_read`](crate::RawNode::lease_read) may answer without asking the
    /// peers (Thesis 6.4.1). It must be the same on all nodes of a cluster: a node with leases
    /// grants no vote for an election timeout after it has heard from a leader, also if it was
    /// restarted in between, and so each restart costs one. So must `election_timeout_ticks` and
    /// the length of a tick: a leader trusts that its followers wait for as long as it would. To
    /// lengthen the timeout, or to introduce leases, node by node, switch this on at all nodes
    /// first, and only then call [`RawNode::lease_read`](crate::RawNode::lease_read) anywhere; let
    /// nobody lead with a longer timeout than any voter has. All nodes must be told all ticks that
    /// have passed before anything else is called on them, also after a pause of the process: by
    /// ticks that come late a lease would be acknowledged that nobody keeps. Needs `check_quorum`.
    /// Default false.
    pub(crate) lease_reads: bool,
    /// A leader's lease ends this many ticks before the election timeout of the quorum that
    /// acknowledged it could pass. One tick makes up for the moment within a tick at which things
    /// happen; the rest is how much slower the leader's clock may be than a follower's: by
    /// `(lease_margin_ticks - 1) / election_timeout_ticks`. Default 2.
    pub(crate) lease_margin_ticks: u32,
    /// The most reads that wait at this node for their index, its own and those that peers have
    /// forwarded to it, each counted apart. Default 4096.
    pub(crate) max_pending_reads: usize,
    /// A different number at each start of this node, for example how often it was started before.
    /// By it, answers to reads that were forwarded in an earlier life are told from those of this
    /// one. Without it, which is the default, only a leader takes reads.
    pub(crate) incarnation: Option<u32>,
    /// Whether a leader refuses to propose a membership change that is impossible, or that comes
    /// while another one is under way (Raft 6). Off only for tools that repair a cluster and know
    /// better; an impossible change is then refused when it is applied. Default true.
    pub(crate) validate_conf_changes: bool,
    /// How much this node is preferred as a leader. For a few election timeouts a voter refuses a
    /// candidate of lower priority than its own whose log is no more up-to-date than its own.
    /// Default zero.
    pub(crate) priority: i64,
    /// The most bytes of entries in one message, counted as
    /// [`Entry::size_bytes`](crate::Entry::size_bytes). One entry always fits. Default 1 MiB.
    pub(crate) max_message_bytes: u64,
    /// The most append messages on their way to one peer. Default 256.
    pub(crate) max_inflight_messages: usize,
    /// A peer is sent no more entries while this many bytes of them are on their way. The last
    /// message may go beyond it by part of one entry. Default 16 MiB.
    pub(crate) max_inflight_bytes: u64,
    /// A leader takes no proposal that would bring the uncommitted entries of its log, those of
    /// earlier terms included, over this many bytes. One proposal always fits, where nothing is
    /// uncommitted. Default 64 MiB.
    pub(crate) max_uncommitted_bytes: u64,
    /// The most bytes of committed entries in one `Ready`, and in all that were handed out and not
    /// reported as applied. The last entry may go beyond it. Default 16 MiB.
    pub(crate) max_committed_bytes_per_ready: u64,
    /// How many entries beyond those persisted here may be handed out to be applied, once they are
    /// committed: on the disks of a quorum, though not on this one. Then the state machine may be
    /// ahead of the log after a crash, and the node starts only with this setting above zero: it
    /// may be switched off after a life that ended in order. Default zero.
    pub(crate) max_apply_unpersisted_entries: u64,
    /// Whether a leader tells a new commit index only with entries and heartbeats, and not in
    /// messages of its own. Followers apply later, and fewer messages travel. Default false.
    pub(crate) skip_commit_broadcast: bool,
    /// How many bytes of entries the node keeps in memory for peers and for the apply, beyond
    /// those that are not persisted yet. What does not fit is read back from the `Storage`.
    /// Default 16 MiB.
    pub(crate) max_tail_bytes: u64,
    /// The last entry that the state machine has applied when the node starts. What is applied is
    /// committed, so where the log holds this very entry, it is known to be committed up to there.
    /// Default [`LogId::ZERO`].
    pub(crate) applied: LogId,
    /// From this and the node's id follows every random choice of the node, so a run can be
    /// repeated exactly. Nodes of one cluster may share it. Default zero.
    pub(crate) seed: u64,
}

impl Config {
    /// Starts from the defaults.
    pub const fn builder(id: NodeId) -> ConfigBuilder {
        ConfigBuilder {
            config: Self {
                id,
                heartbeat_interval_ticks: 1,
                election_timeout_ticks: 10,
                max_election_timeout_ticks: 20,
                pre_vote: true,
                check_quorum: true,
                lease_reads: false,
                lease_margin_ticks: 2,
                max_pending_reads: 4096,
                incarnation: None,
                validate_conf_changes: true,
                priority: 0,
                max_message_bytes: 1 << 20,
                max_inflight_messages: 256,
                max_inflight_bytes: 16 << 20,
                max_uncommitted_bytes: 64 << 20,
                max_committed_bytes_per_ready: 16 << 20,
                max_apply_unpersisted_entries: 0,
                skip_commit_broadcast: false,
                max_tail_bytes: 16 << 20,
                applied: LogId::ZERO,
                seed: 0,
            },
        }
    }

    /// The defaults.
    #[must_use]
    pub const fn new(id: NodeId) -> Self {
        Self::builder(id).config
    }
}

/// Why a [`Config`] cannot be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigError {
    /// The heartbeat interval is zero.
    #[error("heartbeat_interval_ticks must be at least 1")]
    NoHeartbeat,
    /// A follower would campaign between two heartbeats.
    #[error("election_timeout_ticks must be greater than heartbeat_interval_ticks")]
    ElectionTimeoutTooShort,
    /// There is nothing to draw a timeout from.
    #[error("max_election_timeout_ticks must be greater than election_timeout_ticks")]
    NoElectionTimeoutRange,
    /// Nothing could ever be sent.
    #[error("max_inflight_messages must be at least 1")]
    NoInflightMessages,
    /// Without a quorum check a leader keeps no lease.
    #[error("lease_reads needs check_quorum")]
    LeaseWithoutCheckQuorum,
    /// The lease would be over before it begins, or would last too long.
    #[error("lease_margin_ticks must be at least 1 and less than election_timeout_ticks")]
    LeaseMarginOutOfRange,
    /// The start position is out of range.
    #[error("applied must be LogId::ZERO, or the term and index of an entry")]
    AppliedOutOfRange,
}

/// Collects settings; each method sets the field of [`Config`] that has its name.
#[derive(Clone, Debug)]
#[must_use = "the settings take effect in `build`"]
pub struct ConfigBuilder {
    config: Config,
}

macro_rules! setters {
    ($($field:ident: $type:ty),* $(,)?) => {$(
        #[doc = concat!("Sets [`Config::", stringify!($field), "`].")]
        pub const fn $field(mut self, value: $type) -> Self {
            self.config.$field = value;
            self
        }
    )*};
}

impl ConfigBuilder {
    setters! {
        heartbeat_interval_ticks: u32,
        election_timeout_ticks: u32,
        max_election_timeout_ticks: u32,
        pre_vote: bool,
        check_quorum: bool,
        lease_reads: bool,
        lease_margin_ticks: u32,
        max_pending_reads: usize,
        validate_conf_changes: bool,
        priority: i64,
        max_message_bytes: u64,
        max_inflight_messages: usize,
        max_inflight_bytes: u64,
        max_uncommitted_bytes: u64,
        max_committed_bytes_per_ready: u64,
        max_apply_unpersisted_entries: u64,
        skip_commit_broadcast: bool,
        max_tail_bytes: u64,
        applied: LogId,
        seed: u64,
    }

    /// Sets [`Config::incarnation`].
    pub const fn incarnation(mut self, incarnation: u32) -> Self {
        self.config.incarnation = Some(incarnation);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// The first setting that makes no sense.
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.config;
        if config.heartbeat_interval_ticks == 0 {
            return Err(ConfigError::NoHeartbeat);
        }
        if config.election_timeout_ticks <= config.heartbeat_interval_ticks {
            return Err(ConfigError::ElectionTimeoutTooShort);
        }
        if config.max_election_timeout_ticks <= config.election_timeout_ticks {
            return Err(ConfigError::NoElectionTimeoutRange);
        }
        if config.max_inflight_messages == 0 {
            return Err(ConfigError::NoInflightMessages);
        }
        if config.lease_reads && !config.check_quorum {
            return Err(ConfigError::LeaseWithoutCheckQuorum);
        }
        if config.lease_reads
            && !(1..config.election_timeout_ticks).contains(&config.lease_margin_ticks)
        {
            return Err(ConfigError::LeaseMarginOutOfRange);
        }
        if !config.applied.is_position() {
            return Err(ConfigError::AppliedOutOfRange);
        }
        Ok(config)
    }
}
