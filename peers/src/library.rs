//! What a Raft core does, whichever it is, for work that asks no more of it.
//!
//! Owns the calls that the sides have in common, and what their nodes run with. Knows no workload.

use crate::MAX_INFLIGHT;

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

impl Settings {
    /// For so many voters. Elections and heartbeats come when they are asked for.
    #[must_use]
    pub const fn of(voters: u64) -> Self {
        Self {
            voters,
            heartbeat: 1 << 28,
            election: 1 << 29,
            max_inflight: MAX_INFLIGHT,
            batch_append: false,
        }
    }
}

/// How the nodes of a library are made, fed and asked. Whoever calls it knows that they are well: all
/// methods panic if a node refuses.
pub trait Library {
    /// Its name in tables.
    const NAME: &'static str;
    /// One node on a log in memory.
    type Node;
    /// A log in memory.
    type Store;
    /// What a log is made of.
    type Entry;
    /// What a node sends to another one.
    type Message;

    /// An empty log of a cluster of so many voters.
    fn store(voters: u64) -> Self::Store;
    /// A log of these entries, written so many at a time, and all committed.
    fn filled(voters: u64, log: &[Self::Entry], at_once: usize) -> Self::Store;
    /// A node on this log, which has applied what is committed.
    fn node(id: u64, settings: &Settings, store: Self::Store) -> Self::Node;
    /// The same entry as one of almadia.
    fn entry(entry: &almadia::Entry) -> Self::Entry;
    /// The same message as one of almadia.
    fn message(message: &almadia::Message) -> Self::Message;
    /// Has the node campaign.
    fn campaign(node: &mut Self::Node);
    /// Whether the node leads.
    fn leads(node: &Self::Node) -> bool;
    /// Has the leader take a command.
    fn propose(node: &mut Self::Node, command: Vec<u8>);
    /// Asks the leader for a linearizable read.
    fn read_index(node: &mut Self::Node, context: Vec<u8>);
    /// Gives the node a message.
    fn step(node: &mut Self::Node, message: Self::Message);
    /// The id of the node that the message is for.
    fn to(message: &Self::Message) -> u64;
    /// Lets one tick pass.
    fn tick(node: &mut Self::Node);
    /// Whether the node has anything to do.
    fn has_ready(node: &Self::Node) -> bool;
    /// Does what the node asks for, and tells how many reads were answered.
    fn work(node: &mut Self::Node, mail: &mut Vec<Self::Message>) -> usize;
    /// The node's term.
    fn term(node: &Self::Node) -> u64;
    /// Where the node's log ends.
    fn last_index(node: &Self::Node) -> u64;
    /// Up to where the node knows its log to be committed.
    fn committed(node: &Self::Node) -> u64;
    /// Cuts the log so that it keeps so many entries that are applied, if it has more than `most`.
    fn cut(node: &mut Self::Node, most: u64, kept: u64);
}
