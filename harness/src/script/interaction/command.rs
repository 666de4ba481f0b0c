//! The commands of the interaction scripts, read from directives.
//!
//! Owns their names, arguments and defaults. Must not know what becomes of them, nor which nodes
//! there are.

use almadia::{ConfState, LogIndex, MemberChange, NodeId, Transition};

use crate::script::confchange::read_changes;
use crate::script::parse::{Argument, BadDirective, Directive, number};

/// One directive, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `add-nodes`: creates nodes.
    AddNodes(Box<AddNodes>),
    /// `campaign`: begins an election.
    Campaign(NodeId),
    /// `compact`: forgets the log up to an index, and shows what is left.
    Compact {
        /// Whose log.
        node: NodeId,
        /// The last index to be forgotten.
        index: LogIndex,
    },
    /// `deliver-msgs`: delivers messages, or loses them.
    Deliver {
        /// To whom, in this order.
        recipients: Vec<Recipient>,
        /// Only messages of this type.
        only: Option<String>,
    },
    /// `process-ready`: lets nodes do what they want done.
    ProcessReady(Vec<NodeId>),
    /// `process-append-thread`: lets nodes do their oldest write.
    ProcessAppend(Vec<NodeId>),
    /// `process-apply-thread`: lets nodes apply what they were to apply first.
    ProcessApply(Vec<NodeId>),
    /// `log-level`.
    LogLevel(LogLevel),
    /// `raft-log`: shows the log on the disk.
    RaftLog(NodeId),
    /// `raft-state`: shows the role of every node.
    RaftState,
    /// `set-randomized-election-timeout`: when the node campaigns next.
    SetElectionTimeout {
        /// Which node.
        node: NodeId,
        /// After how many ticks.
        ticks: u32,
    },
    /// `stabilize`: does all that is to do, until there is nothing left.
    Stabilize {
        /// On these nodes; on all if there are none.
        nodes: Vec<NodeId>,
        /// The log level for the time being.
        level: Option<LogLevel>,
    },
    /// `status`: shows what the leader knows of its peers.
    Status(NodeId),
    /// `tick-election` and `tick-heartbeat`: lets time pass.
    Tick {
        /// On this node.
        node: NodeId,
        /// How much.
        span: Span,
    },
    /// `transfer-leadership`.
    TransferLeadership {
        /// The node that is asked.
        from: NodeId,
        /// The node that is to lead.
        to: NodeId,
    },
    /// `forget-leader`.
    ForgetLeader(NodeId),
    /// `report-unreachable`.
    ReportUnreachable {
        /// Who is told.
        node: NodeId,
        /// Who cannot be reached.
        peer: NodeId,
    },
    /// `propose`.
    Propose {
        /// On which node.
        node: NodeId,
        /// What.
        data: String,
    },
    /// `send-snapshot`: sends the state of one node to another.
    SendSnapshot {
        /// Whose state.
        from: NodeId,
        /// To whom.
        to: NodeId,
    },
    /// `propose-conf-change`.
    ProposeChange {
        /// On which node.
        node: NodeId,
        /// What.
        change: Change,
    },
    /// `_breakpoint`: nothing.
    Breakpoint,
}

/// The nodes to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddNodes {
    /// How many.
    pub count: u64,
    /// With what they begin; `None` for nodes that know nothing.
    pub bootstrap: Option<Bootstrap>,
    /// Their settings.
    pub settings: Settings,
}

/// The state that a node begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bootstrap {
    /// The index of its snapshot.
    pub index: LogIndex,
    /// The membership.
    pub conf_state: ConfState,
    /// The content of the state machine.
    pub content: String,
}

/// The settings of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The most append messages on their way to one peer; `None` for no limit.
    pub inflight: Option<usize>,
    /// Whether writes and applies are done by threads of their own.
    pub async_storage_writes: bool,
    /// Whether pre-votes are on.
    pub pre_vote: bool,
    /// Whether leaders check their quorum.
    pub check_quorum: bool,
    /// The most bytes of committed entries to be applied in one go; `None` for no limit.
    pub max_committed_size_per_ready: Option<u64>,
    /// Whether any membership change may be proposed at any time.
    pub disable_conf_change_validation: bool,
    /// Whether reads are served by leases.
    pub lease_based: bool,
}

/// Whose messages are to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The addressee.
    pub node: NodeId,
    /// Whether the messages are lost instead.
    pub is_drop: bool,
}

/// How much is told of what nodes log. They log nothing here, so only the last level matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Output is shown.
    Shown,
    /// Level `NONE`: no output but errors.
    Quiet,
}

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The shortest election timeout.
    ElectionTimeout,
    /// The heartbeat interval.
    HeartbeatInterval,
}

/// A membership change as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What happens to whom, `None` for what is nothing to Raft. No steps at all: leave the joint
    /// configuration.
    pub steps: Vec<Option<MemberChange>>,
    /// The steps as they are written.
    pub words: String,
    /// By which way.
    pub transition: Transition,
    /// Whether it is to be encoded in the first of the two forms.
    pub is_v1: bool,
}

impl Command {
    /// Reads a directive.
    ///
    /// # Errors
    ///
    /// If there is no such command, or its arguments make no sense.
    pub fn read(directive: &Directive) -> Result<Self, BadDirective> {
        let words = Words { directive };
        Ok(match directive.command.as_str() {
            "_breakpoint" => Self::Breakpoint,
            "add-nodes" => Self::AddNodes(Box::new(words.add_nodes()?)),
            "campaign" => Self::Campaign(words.only_node()?),
            "compact" => Self::Compact {
                node: words.node(0, "id")?,
                index: LogIndex(words.number(1, "index")?),
            },
            "deliver-msgs" => words.deliver()?,
            "forget-leader" => Self::ForgetLeader(words.only_node()?),
            "log-level" => Self::LogLevel(words.level_at(0)?),
            "process-append-thread" => Self::ProcessAppend(words.nodes()?),
            "process-apply-thread" => Self::ProcessApply(words.nodes()?),
            "process-ready" => Self::ProcessReady(words.nodes()?),
            "propose" => Self::Propose {
                node: words.node(0, "id")?,
                data: words.at(1, "data")?.key.clone(),
            },
            "propose-conf-change" => words.propose_change()?,
            "raft-log" => Self::RaftLog(words.only_node()?),
            "raft-state" => Self::RaftState,
            "report-unreachable" => Self::ReportUnreachable {
                node: words.node(0, "id")?,
                peer: words.node(1, "peer")?,
            },
            "send-snapshot" => Self::SendSnapshot {
                from: words.node(0, "from")?,
                to: words.node(1, "to")?,
            },
            "set-randomized-election-timeout" => words.set_election_timeout()?,
            "stabilize" => words.stabilize()?,
            "status" => Self::Status(words.only_node()?),
            "tick-election" => words.tick(Span::ElectionTimeout)?,
            "tick-heartbeat" => words.tick(Span::HeartbeatInterval)?,
            "transfer-leadership" => Self::TransferLeadership {
                from: words.node_named("from")?,
                to: words.node_named("to")?,
            },
            other => return Err(BadDirective::UnknownCommand(other.to_owned())),
        })
    }
}

/// The arguments of a directive.
struct Words<'a> {
    directive: &'a Directive,
}

impl Words<'_> {
    fn arguments(&self) -> &[Argument] {
        &self.directive.arguments
    }

    fn at(&self, position: usize, name: &'static str) -> Result<&Argument, BadDirective> {
        self.directive.argument_at(position, name)
    }

    fn number(&self, position: usize, name: &'static str) -> Result<u64, BadDirective> {
        let argument = self.at(position, name)?;
        argument.number_in(&argument.key)
    }

    fn node(&self, position: usize, name: &'static str) -> Result<NodeId, BadDirective> {
        let argument = self.at(position, name)?;
        node(argument, &argument.key)
    }

    fn only_node(&self) -> Result<NodeId, BadDirective> {
        self.node(0, "id")
    }

    fn nodes(&self) -> Result<Vec<NodeId>, BadDirective> {
        let without_value = self.arguments().iter().filter(|it| it.values.is_empty());
        without_value
            .map(|argument| node(argument, &argument.key))
            .collect()
    }

    fn node_named(&self, key: &'static str) -> Result<NodeId, BadDirective> {
        let argument = self.directive.argument(key);
        let argument = argument.ok_or(BadDirective::MissingArgument(key))?;
        node(argument, argument.value()?)
    }

    fn tick(&self, span: Span) -> Result<Command, BadDirective> {
        let node = self.only_node()?;
        Ok(Command::Tick { node, span })
    }

    fn level_at(&self, position: usize) -> Result<LogLevel, BadDirective> {
        let argument = self.at(position, "level")?;
        level(argument, &argument.key)
    }

    fn deliver(&self) -> Result<Command, BadDirective> {
        let mut recipients: Vec<Recipient> = Vec::new();
        let mut only = None;
        for argument in self.arguments() {
            match argument.key.as_str() {
                "drop" => {
                    for value in &argument.values {
                        let node = node(argument, value)?;
                        if recipients.iter().any(|it| it.node == node) {
                            return Err(argument.bad_value(value, "somebody else"));
                        }
                        let is_drop = true;
                        recipients.push(Recipient { node, is_drop });
                    }
                }
                "type" => only = Some(argument.value()?.to_owned()),
                key => {
                    let node = node(argument, key)?;
                    let is_drop = false;
                    recipients.push(Recipient { node, is_drop });
                }
            }
        }
        Ok(Command::Deliver { recipients, only })
    }

    fn stabilize(&self) -> Result<Command, BadDirective> {
        let nodes = self.nodes()?;
        let level = match self.directive.argument("log-level") {
            Some(argument) => Some(level(argument, argument.value()?)?),
            None => None,
        };
        Ok(Command::Stabilize { nodes, level })
    }

    fn set_election_timeout(&self) -> Result<Command, BadDirective> {
        let argument = self.directive.argument("timeout");
        let argument = argument.ok_or(BadDirective::MissingArgument("timeout"))?;
        let ticks = u32::try_from(argument.number()?);
        let ticks = ticks.map_err(|_| argument.bad_value("timeout", "a number of ticks"))?;
        let node = self.only_node()?;
        Ok(Command::SetElectionTimeout { node, ticks })
    }

    fn add_nodes(&self) -> Result<AddNodes, BadDirective> {
        let mut added = AddNodes {
            count: self.number(0, "count")?,
            ..AddNodes::default()
        };
        for argument in &self.arguments()[1..] {
            let settings = &mut added.settings;
            match argument.key.as_str() {
                "voters" => begin(&mut added.bootstrap).conf_state.voters = nodes(argument)?,
                "learners" => begin(&mut added.bootstrap).conf_state.learners = nodes(argument)?,
                "index" => begin(&mut added.bootstrap).index = LogIndex(argument.number()?),
                "content" => argument
                    .value()?
                    .clone_into(&mut begin(&mut added.bootstrap).content),
                "inflight" => settings.inflight = usize::try_from(argument.number()?).ok(),
                "async-storage-writes" => settings.async_storage_writes = argument.boolean()?,
                "prevote" => settings.pre_vote = argument.boolean()?,
                "checkquorum" => settings.check_quorum = argument.boolean()?,
                "max-committed-size-per-ready" => {
                    settings.max_committed_size_per_ready = Some(argument.number()?);
                }
                "disable-conf-change-validation" => {
                    settings.disable_conf_change_validation = argument.boolean()?;
                }
                "read-only" => settings.lease_based = is_lease_based(argument)?,
                // A removed leader always does.
                "step-down-on-removal" => drop(argument.boolean()?),
                key => return Err(BadDirective::UnknownArgument(key.to_owned())),
            }
        }
        Ok(added)
    }

    fn propose_change(&self) -> Result<Command, BadDirective> {
        let node = self.only_node()?;
        let mut change = Change::default();
        for argument in &self.arguments()[1..] {
            match argument.key.as_str() {
                "v1" => change.is_v1 = argument.boolean()?,
                "transition" => change.transition = transition(argument)?,
                key => return Err(BadDirective::UnknownArgument(key.to_owned())),
            }
        }
        let words = &self.directive.input;
        change.steps = read_changes(words).map_err(|_| BadDirective::BadValue {
            key: "input".to_owned(),
            value: words.clone(),
            wanted: "steps of a membership change",
        })?;
        change.words.clone_from(words);
        Ok(Command::ProposeChange { node, change })
    }
}

fn node(argument: &Argument, value: &str) -> Result<NodeId, BadDirective> {
    let id = number(value).ok().and_then(NodeId::new);
    id.ok_or_else(|| argument.bad_value(value, "the id of a node"))
}

fn nodes(argument: &Argument) -> Result<Vec<NodeId>, BadDirective> {
    let values = argument.values.iter();
    values.map(|value| node(argument, value)).collect()
}

fn begin(bootstrap: &mut Option<Bootstrap>) -> &mut Bootstrap {
    bootstrap.get_or_insert_with(Bootstrap::default)
}

fn level(argument: &Argument, value: &str) -> Result<LogLevel, BadDirective> {
    match value.to_ascii_uppercase().as_str() {
        "DEBUG" | "INFO" | "WARN" | "ERROR" | "FATAL" => Ok(LogLevel::Shown),
        "NONE" => Ok(LogLevel::Quiet),
        _ => Err(argument.bad_value(value, "a log level")),
    }
}

fn is_lease_based(argument: &Argument) -> Result<bool, BadDirective> {
    match argument.value()? {
        "safe" => Ok(false),
        "lease-based" => Ok(true),
        other => Err(argument.bad_value(other, "safe or lease-based")),
    }
}

fn transition(argument: &Argument) -> Result<Transition, BadDirective> {
    match argument.value()? {
        "auto" => Ok(Transition::Auto),
        "implicit" => Ok(Transition::Implicit),
        "explicit" => Ok(Transition::Explicit),
        other => Err(argument.bad_value(other, "auto, implicit or explicit")),
    }
}
