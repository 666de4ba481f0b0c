//! What any of the libraries does, for work that asks no more of it.
//!
//! Owns the calls that the sides have in common. Knows no workload.

use almadia::{Config, MemStorage, RoleKind, Storage as _};
use raft::{StateRole, Storage as _};

use crate::{MAX_MESSAGE_BYTES, almadia_cluster as ours, raft_rs_cluster as raft_rs};

/// What the nodes of a cluster run with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The voters have the ids from 1 to this.
    pub voters: u64,
    /// Ticks between two heartbeats.
    pub heartbeat: u32,
    /// Ticks of the shortest election timeout; the longest is twice as long.
    pub election: u32,
    /// How many messages may be on their way to a peer.
    pub max_inflight: usize,
    /// Which of its two ways to batch raft-rs takes.
    pub batch_append: bool,
}

/// How the nodes of a library are made, fed and asked. Whoever calls it knows that they are well: all
/// methods panic if a node refuses.
pub trait Library {
    /// One node on a log in memory.
    type Node;
    /// What a node sends to another one.
    type Message;

    /// A node with an empty log.
    fn node(id: u64, settings: &Settings) -> Self::Node;
    /// Has the node campaign.
    fn campaign(node: &mut Self::Node);
    /// Whether the node leads.
    fn leads(node: &Self::Node) -> bool;
    /// Has the leader take a command.
    fn propose(node: &mut Self::Node, command: Vec<u8>);
    /// Gives the node a message.
    fn step(node: &mut Self::Node, message: Self::Message);
    /// The id of the node that the message is for.
    fn to(message: &Self::Message) -> u64;
    /// Lets one tick pass.
    fn tick(node: &mut Self::Node);
    /// Whether the node has anything to do.
    fn has_ready(node: &Self::Node) -> bool;
    /// Does what the node asks for.
    fn work(node: &mut Self::Node, mail: &mut Vec<Self::Message>);
    /// Up to where the node knows its log to be committed.
    fn committed(node: &Self::Node) -> u64;
    /// Cuts the log so that it keeps so many entries, if it has more than `most`.
    fn cut(node: &mut Self::Node, most: u64, kept: u64);
}

/// almadia.
pub struct Almadia;

/// raft-rs.
pub struct RaftRs;

impl Library for Almadia {
    type Node = ours::Node;
    type Message = almadia::Message;

    fn node(id: u64, settings: &Settings) -> ours::Node {
        let ids = ours::ids(settings.voters);
        let config = Config::builder(ids[id as usize - 1])
            .max_message_bytes(MAX_MESSAGE_BYTES)
            .max_inflight_messages(settings.max_inflight)
            .heartbeat_interval_ticks(settings.heartbeat)
            .election_timeout_ticks(settings.election)
            .max_election_timeout_ticks(2 * settings.election)
            .build();
        let config = config.expect("the values go together");
        ours::Node::new(config, MemStorage::with_voters(ids)).expect("an empty log is a good start")
    }

    fn campaign(node: &mut ours::Node) {
        node.campaign().expect("a voter may campaign");
    }

    fn leads(node: &ours::Node) -> bool {
        node.role() == RoleKind::Leader
    }

    fn propose(node: &mut ours::Node, command: Vec<u8>) {
        node.propose("", command).expect("it leads");
    }

    fn step(node: &mut ours::Node, message: almadia::Message) {
        node.step(message).expect("peers are correct");
    }

    fn to(message: &almadia::Message) -> u64 {
        message.to.get()
    }

    fn tick(node: &mut ours::Node) {
        node.tick().expect("memory does not fail");
    }

    fn has_ready(node: &ours::Node) -> bool {
        node.has_ready()
    }

    fn work(node: &mut ours::Node, mail: &mut Vec<almadia::Message>) {
        ours::work(node, mail);
    }

    fn committed(node: &ours::Node) -> u64 {
        node.commit_index().0
    }

    fn cut(node: &mut ours::Node, most: u64, kept: u64) {
        let applied = node.last_applied();
        let first = node.storage().first_index().expect("memory does not fail");
        if applied.since(first) >= most {
            ours::cut(node, almadia::LogIndex(applied.0 - kept));
        }
    }
}

impl Library for RaftRs {
    type Node = raft_rs::Node;
    type Message = raft::eraftpb::Message;

    fn node(id: u64, settings: &Settings) -> raft_rs::Node {
        let config = raft::Config {
            election_tick: settings.election as usize,
            heartbeat_tick: settings.heartbeat as usize,
            max_inflight_msgs: settings.max_inflight,
            ..raft_rs::config(id, settings.batch_append)
        };
        let node = raft_rs::Node::new(&config, raft_rs::store(settings.voters), crate::silent());
        node.expect("an empty log is a good start")
    }

    fn campaign(node: &mut raft_rs::Node) {
        node.campaign().expect("a voter may campaign");
    }

    fn leads(node: &raft_rs::Node) -> bool {
        node.raft.state == StateRole::Leader
    }

    fn propose(node: &mut raft_rs::Node, command: Vec<u8>) {
        node.propose(vec![], command).expect("it leads");
    }

    fn step(node: &mut raft_rs::Node, message: raft::eraftpb::Message) {
        node.step(message).expect("peers are correct");
    }

    fn to(message: &raft::eraftpb::Message) -> u64 {
        message.to
    }

    fn tick(node: &mut raft_rs::Node) {
        node.tick();
    }

    fn has_ready(node: &raft_rs::Node) -> bool {
        node.has_ready()
    }

    fn work(node: &mut raft_rs::Node, mail: &mut Vec<raft::eraftpb::Message>) {
        raft_rs::work(node, mail);
    }

    fn committed(node: &raft_rs::Node) -> u64 {
        node.raft.raft_log.committed
    }

    fn cut(node: &mut raft_rs::Node, most: u64, kept: u64) {
        let applied = node.raft.raft_log.applied;
        let store = node.raft.raft_log.store.clone();
        let first = store.first_index().expect("memory does not fail");
        if applied.saturating_sub(first) >= most {
            let cut = store.wl().compact(applied - kept);
            cut.expect("applied is in the log");
        }
    }
}
