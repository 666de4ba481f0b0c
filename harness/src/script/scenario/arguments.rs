//! The arguments of the commands of scenarios.
//!
//! Owns how nodes, changes and messages are named. Must not know what is done with them.

use std::num::NonZeroU64;

use almadia::{MemberChange, MembershipChange, Message, NodeId, Transition};

use crate::cluster::Cluster;
use crate::script::parse::{Argument, BadDirective, Directive};

/// The arguments of a directive, and the nodes that they may name.
#[derive(Clone, Debug)]
pub(super) struct Arguments<'a> {
    directive: &'a Directive,
    nodes: Vec<NodeId>,
}

/// Which messages are meant.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    from: Option<NodeId>,
    to: Option<NodeId>,
    kind: Option<String>,
}

impl Filter {
    pub(super) fn matches(&self, message: &Message) -> bool {
        let is_kind = |kind: &String| message.body.kind().to_string() == *kind;
        self.from.is_none_or(|from| from == message.from)
            && self.to.is_none_or(|to| to == message.to)
            && self.kind.as_ref().is_none_or(is_kind)
    }
}

/// Refuses what a command has no use for: a slip of the pen would otherwise change what a script
/// tests without anybody noticing.
pub(super) fn check(directive: &Directive) -> Result<(), BadDirective> {
    let Some((places, keys)) = takes(&directive.command) else {
        return Err(BadDirective::UnknownCommand(directive.command.clone()));
    };
    let mut place = 0;
    for argument in &directive.arguments {
        let is_known = if argument.values.is_empty() {
            place += 1;
            place <= places
        } else {
            keys.contains(&argument.key.as_str())
        };
        if !is_known {
            return Err(BadDirective::UnknownArgument(argument.key.clone()));
        }
    }
    Ok(())
}

/// How many arguments without a value a command takes at most, and which with one; `None` if there
/// is no such command.
fn takes(command: &str) -> Option<(usize, &'static [&'static str])> {
    let takes: (usize, &[&str]) = match command {
        "campaign" | "compact" | "crash" | "elect" | "forget-leader" | "isolate" | "restart"
        | "stall" => (1, &[]),
        "change" => (1, &["add", "learn", "remove", "transition"]),
        "cluster" => (1, &["others", "seed", "pre-vote", "check-quorum", "leases"]),
        "cut" => (0, &["from", "to"]),
        "deliver" | "drop" => (0, &["from", "to", "kind"]),
        "group-commit" | "lease-read" | "propose" | "read" | "tick" | "write" => (2, &[]),
        "groups" | "status" => (usize::MAX, &[]),
        "heal" | "messages" => (0, &[]),
        "transfer" => (1, &["to"]),
        _ => return None,
    };
    Some(takes)
}

impl<'a> Arguments<'a> {
    pub(super) fn new(directive: &'a Directive, cluster: &Cluster) -> Self {
        Self {
            directive,
            nodes: cluster.hosts.iter().map(|host| host.id).collect(),
        }
    }

    fn node_in(&self, argument: &Argument, text: &str) -> Result<NodeId, BadDirective> {
        let id = NodeId::new(argument.number_in(text)?);
        id.filter(|id| self.nodes.contains(id))
            .ok_or_else(|| argument.bad_value(text, "a node of the cluster"))
    }

    /// The id and the place of the node at this position.
    pub(super) fn node_at(&self, position: usize) -> Result<(u64, usize), BadDirective> {
        let argument = self.directive.argument_at(position, "id")?;
        let node = self.node_in(argument, &argument.key)?;
        let at = self.nodes.iter().position(|&id| id == node);
        Ok((node.get(), at.unwrap_or_default()))
    }

    /// The places of the nodes that are named; of all if none are.
    pub(super) fn nodes_or_all(&self) -> Result<Vec<usize>, BadDirective> {
        match self.directive.arguments.len() {
            0 => Ok((0..self.nodes.len()).collect()),
            count => (0..count).map(|at| Ok(self.node_at(at)?.1)).collect(),
        }
    }

    pub(super) fn node(&self, key: &'static str) -> Result<NodeId, BadDirective> {
        let node = self.node_or_none(key)?;
        node.ok_or(BadDirective::MissingArgument(key))
    }

    fn node_or_none(&self, key: &str) -> Result<Option<NodeId>, BadDirective> {
        let argument = self.directive.argument(key);
        argument
            .map(|argument| self.node_in(argument, argument.value()?))
            .transpose()
    }

    /// The number at this position, if there is one.
    pub(super) fn count(&self, position: usize) -> Result<Option<usize>, BadDirective> {
        let argument = self.directive.arguments.get(position);
        let number = argument.map(|argument| argument.number_in(&argument.key));
        let number = number.transpose()?;
        Ok(number.map(|number| usize::try_from(number).unwrap_or(usize::MAX)))
    }

    pub(super) fn text(&self, position: usize) -> Result<String, BadDirective> {
        let argument = self.directive.argument_at(position, "text")?;
        Ok(argument.key.clone())
    }

    pub(super) fn filter(&self) -> Result<Filter, BadDirective> {
        let kind = self.directive.argument("kind");
        Ok(Filter {
            from: self.node_or_none("from")?,
            to: self.node_or_none("to")?,
            kind: kind
                .map(|kind| kind.value().map(str::to_owned))
                .transpose()?,
        })
    }

    /// `add`, `learn` and `remove`, each with one node or several, and `transition`.
    pub(super) fn change(&self) -> Result<MembershipChange, BadDirective> {
        let mut change = MembershipChange::default();
        for argument in self.directive.arguments.iter().skip(1) {
            let make = match argument.key.as_str() {
                "add" => MemberChange::AddVoter,
                "learn" => MemberChange::AddLearner,
                "remove" => MemberChange::Remove,
                "transition" => {
                    change.transition = transition(argument)?;
                    continue;
                }
                other => return Err(BadDirective::UnknownArgument(other.to_owned())),
            };
            for value in &argument.values {
                change.changes.push(make(self.node_in(argument, value)?));
            }
        }
        Ok(change)
    }

    /// The group of each node, in the order of their ids; zero for none.
    pub(super) fn groups(&self) -> Result<Vec<(NodeId, Option<NonZeroU64>)>, BadDirective> {
        let groups = self.directive.arguments.iter().skip(1);
        if let Some(beyond) = groups.clone().nth(self.nodes.len()) {
            return Err(BadDirective::UnknownArgument(beyond.key.clone()));
        }
        let groups = groups.map(|argument| argument.number_in(&argument.key));
        let nodes = self.nodes.iter().copied();
        nodes
            .zip(groups)
            .map(|(node, group)| Ok((node, NonZeroU64::new(group?))))
            .collect()
    }
}

fn transition(argument: &Argument) -> Result<Transition, BadDirective> {
    match argument.value()? {
        "implicit" => Ok(Transition::Implicit),
        "explicit" => Ok(Transition::Explicit),
        other => Err(argument.bad_value(other, "implicit or explicit")),
    }
}
