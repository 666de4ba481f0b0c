//! What is explored: a cluster, how it begins, and the bounds within which everything happens.
//!
//! Owns the description. Must not know how it is explored.

use std::fmt;

use almadia::{ConfState, ConfigBuilder, MembershipChange, MessageKind, NodeId};

/// How a machine's disk works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DiskKind {
    /// A write is durable as soon as it is asked for. What leaves before it has left.
    #[default]
    Immediate,
    /// Writes wait. Each becomes durable at any time later, in order, and the node is told in the
    /// same moment; or several at once. A crash keeps any prefix of those that wait.
    Delayed,
    /// Besides, the node may be told any time after a write has become durable, and the disk may
    /// have carried out later writes by then.
    LateWord,
}

/// How much may happen in one run. Zero is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The highest term. What would lead beyond is not explored.
    pub max_term: u64,
    /// Elections that begin because a timeout passes; where time is counted, those do that it
    /// brings about.
    pub campaigns: u8,
    /// Commands proposed to leaders.
    pub proposals: u8,
    /// Membership changes proposed to leaders, out of [`Preset::changes`], in their order.
    pub changes: u8,
    /// Crashes. Every machine that is down may start again at any time.
    pub crashes: u8,
    /// Reads asked for, on any node.
    pub reads: u8,
    /// Leader transfers asked for, on leaders.
    pub transfers: u8,
    /// Messages that arrive twice.
    pub duplicates: u8,
    /// Heartbeats that leaders send because a timeout passes; where time is counted, those are
    /// sent that it brings about.
    pub pings: u8,
    /// How many ticks pass on each node. No clock is ever more than one tick ahead of another.
    pub ticks: u8,
    /// The most messages on their way. When there are more, some get lost, whichever. Zero is no
    /// bound.
    pub in_flight: u8,
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "terms to {}", self.max_term)?;
        let bounds = [
            (self.campaigns, "campaigns"),
            (self.proposals, "proposals"),
            (self.changes, "membership changes"),
            (self.crashes, "crashes"),
            (self.reads, "reads"),
            (self.transfers, "transfers"),
            (self.duplicates, "duplicates"),
            (self.pings, "pings"),
            (self.ticks, "ticks a node"),
            (self.in_flight, "messages in flight"),
        ];
        for (count, what) in bounds {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// One step of how a cluster begins. What happens here counts for no bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// This node campaigns.
    Campaign(NodeId),
    /// So many ticks pass on this node.
    Tick(NodeId, u8),
    /// This node campaigns, and all the others vote as they like. Nothing else arrives.
    Elect(NodeId),
    /// A command is proposed to this node, which leads. Its content is the given number.
    Propose(NodeId, u8),
    /// Everything happens between these machines until nothing is left to be done: writes become
    /// durable, messages arrive. Messages to and from others stay on their way.
    Settle(Vec<NodeId>),
    /// The messages from one machine to another arrive; nothing becomes durable meanwhile.
    Deliver {
        /// Who has sent them.
        from: NodeId,
        /// Who gets them.
        to: NodeId,
    },
    /// All messages on their way are lost.
    LoseMessages,
}

/// A cluster, how it begins, and what may happen then.
#[derive(Clone, Debug)]
pub struct Preset {
    /// The name, for command lines and reports.
    pub name: &'static str,
    /// What is explored, in a sentence.
    pub about: &'static str,
    /// The machines, each with its disk, ascending by id. At most eight.
    pub machines: Vec<(NodeId, DiskKind)>,
    /// The membership that they begin with.
    pub conf_state: ConfState,
    /// The settings of every node, from the defaults.
    pub configure: fn(ConfigBuilder) -> ConfigBuilder,
    /// Whose state machine may apply entries later than these are handed out for it; the others do
    /// it in the same moment.
    pub applies_later: Vec<NodeId>,
    /// Membership changes that may be proposed, in this order.
    pub changes: Vec<MembershipChange>,
    /// How it begins, before anything is explored.
    pub opening: Vec<Opening>,
    /// What may happen then.
    pub bounds: Bounds,
    /// Kinds of messages that are lost always.
    pub loses: Vec<MessageKind>,
    /// Who may campaign; nobody means everybody.
    pub campaigning: Vec<NodeId>,
    /// Who may be asked for reads; nobody means everybody.
    pub reading: Vec<NodeId>,
    /// Who may crash; nobody means everybody.
    pub crashing: Vec<NodeId>,
    /// Machines that could change places, because nothing tells them apart at the beginning. Of all
    /// runs that differ in nothing but their names, only those are explored in which something
    /// happens first to the first of them, and so on.
    pub alike: Vec<NodeId>,
}

impl Preset {
    /// A cluster of voters with these disks, in which nothing happens yet.
    #[must_use]
    pub fn new(name: &'static str, about: &'static str, disks: &[DiskKind]) -> Self {
        let machines: Vec<(NodeId, DiskKind)> = (1..)
            .filter_map(NodeId::new)
            .zip(disks.iter().copied())
            .collect();
        let conf_state = ConfState::of_voters(machines.iter().map(|&(id, _)| id));
        Self {
            name,
            about,
            machines,
            conf_state,
            configure: |builder| builder,
            applies_later: Vec::new(),
            changes: Vec::new(),
            opening: Vec::new(),
            bounds: Bounds::default(),
            loses: Vec::new(),
            campaigning: Vec::new(),
            reading: Vec::new(),
            crashing: Vec::new(),
            alike: Vec::new(),
        }
    }

    /// The disk of this machine.
    pub(super) fn disk(&self, id: NodeId) -> DiskKind {
        let mut machines = self.machines.iter();
        let found = machines.find(|&&(machine, _)| machine == id);
        found.map_or(DiskKind::Immediate, |&(_, disk)| disk)
    }
}
