//! Scenarios: this project's own transcripts of what a cluster does, in the words of the Raft paper.
//!
//! Owns the commands, and the showing of whatever they change. Must not know what should change; the
//! cluster's checkers look on besides, and a broken promise panics. The words are in
//! `scenario/words.rs`.
//!
//! A scenario begins with `cluster`. After each command, whatever it has changed on any node is
//! shown, a line for each thing; `ok` if there is nothing to show. Nodes carry out at once what they
//! want done, and their messages wait on the network until they are delivered.
//!
//! | command | what it does |
//! |---|---|
//! | `cluster N [others=N] [seed=N] [pre-vote=B] [check-quorum=B] [leases=B]` | starts N voters, and others that are no members yet |
//! | `campaign ID`, `forget-leader ID` | calls the function of the same name |
//! | `elect ID` | campaigns, and delivers all messages; shows only what has become of it |
//! | `propose ID DATA` | proposes, and shows the place in the log |
//! | `change ID [add=IDS] [learn=IDS] [remove=IDS] [transition=T]` | proposes a membership change; without any, to leave a joint configuration |
//! | `read ID CONTEXT`, `lease-read ID CONTEXT` | asks for a read |
//! | `transfer ID to=ID` | asks for another leader |
//! | `groups ID GROUP...`, `group-commit ID B` | tells a node which voter is in which group, and whether it matters |
//! | `tick ID [N]`, `tick all [N]` | lets time pass |
//! | `messages` | shows the messages on their way |
//! | `deliver [from=ID] [to=ID] [kind=K]` | delivers messages, and those that they give rise to, until there are none left of these |
//! | `drop [from=ID] [to=ID] [kind=K]` | loses messages |
//! | `isolate ID`, `cut from=ID to=ID`, `heal` | cuts links, and mends them all |
//! | `stall ID`, `write ID [N]` | keeps writes from becoming durable; lets N or all become so |
//! | `crash ID`, `restart ID` | stops a node, and starts it from its disk |
//! | `compact ID` | saves a snapshot and forgets the log before it |
//! | `status [ID...]` | shows nodes |

mod arguments;
mod words;

use almadia::Message;

use self::arguments::{Arguments, Filter};
use self::words::View;
use super::Commands;
use super::parse::{BadDirective, Directive};
use crate::cluster::{Cluster, Outcomes};
use crate::host::{DiskMode, Settings};

/// The commands of scenarios, and the cluster that they are for.
#[derive(Debug, Default)]
pub struct ScenarioCommands {
    cluster: Option<Cluster>,
    /// What was last shown of each node.
    seen: Vec<View>,
}

/// How many messages one `deliver` may deliver.
const MOST_DELIVERIES: usize = 10_000;

impl Commands for ScenarioCommands {
    fn execute(&mut self, directive: &Directive) -> Result<String, BadDirective> {
        arguments::check(directive)?;
        let Some(cluster) = &mut self.cluster else {
            if directive.command == "cluster" {
                self.start(directive)?;
                return Ok("ok".to_owned());
            }
            return Err(BadDirective::UnknownCommand(directive.command.clone()));
        };
        let arguments = Arguments::new(directive, cluster);
        let mut text = match directive.command.as_str() {
            "deliver" => {
                let wanted = arguments.filter()?;
                self.deliver(wanted)
            }
            "status" => {
                let nodes = arguments.nodes_or_all()?;
                nodes
                    .iter()
                    .map(|&at| View::of(cluster, at).status())
                    .collect()
            }
            _ => carry_out(cluster, directive)?,
        };
        text += &self.changes();
        if text.is_empty() {
            text.push_str("ok");
        }
        Ok(text)
    }
}

impl ScenarioCommands {
    fn start(&mut self, directive: &Directive) -> Result<(), BadDirective> {
        let switch = |key, default| match directive.argument(key) {
            Some(argument) => argument.boolean(),
            None => Ok(default),
        };
        let number = |key| match directive.argument(key) {
            Some(argument) => argument.number(),
            None => Ok(0),
        };
        let defaults = Settings::default();
        let settings = Settings {
            pre_vote: switch("pre-vote", defaults.pre_vote)?,
            check_quorum: switch("check-quorum", defaults.check_quorum)?,
            lease_reads: switch("leases", defaults.lease_reads)?,
            ..defaults
        };
        let voters = directive.argument_at(0, "voters")?;
        let voters = voters.number_in(&voters.key)?;
        let others = number("others")?;
        let mut cluster = Cluster::with_settings(voters, others, number("seed")?, settings);
        for id in 1..=voters + others {
            cluster.set_disk_mode(id, DiskMode::Asynchronous);
        }
        let nodes = 0..cluster.hosts.len();
        self.seen = nodes.map(|at| View::of(&cluster, at)).collect();
        self.cluster = Some(cluster);
        Ok(())
    }

    /// Delivers what is wanted, message by message, and shows what comes of each.
    fn deliver(&mut self, wanted: Filter) -> String {
        let mut text = String::new();
        for _ in 0..MOST_DELIVERIES {
            let Some(cluster) = &mut self.cluster else {
                return text;
            };
            let next = cluster.messages().iter().find(|it| wanted.matches(it));
            let Some(message) = next.cloned() else {
                return text;
            };
            let is_cut = cluster.network.is_cut(message.from, message.to);
            let is_lost = is_cut || !cluster.is_up(message.to.get());
            cluster.deliver_one(|message| wanted.matches(message));
            let lost = if is_lost { " (lost)" } else { "" };
            text += &format!("{}{lost}\n", words::message(&message));
            text.extend(self.changes().lines().map(|line| format!("  {line}\n")));
        }
        text + "the nodes do not stop talking\n"
    }

    /// What has changed since this was last asked.
    fn changes(&mut self) -> String {
        let Some(cluster) = &mut self.cluster else {
            return String::new();
        };
        let mut text = String::new();
        for (at, seen) in self.seen.iter_mut().enumerate() {
            let now = View::of(cluster, at);
            text += &now.changes_since(seen);
            *seen = now;
        }
        for outcomes in cluster.take_outcomes() {
            let Outcomes {
                node,
                reads,
                transfers,
            } = outcomes;
            text.extend(reads.iter().map(|read| words::read(node, read)));
            text.extend(transfers.iter().map(words::transfer));
        }
        text
    }
}

/// Does what a command says that is not for one node alone.
fn carry_out(cluster: &mut Cluster, directive: &Directive) -> Result<String, BadDirective> {
    let arguments = Arguments::new(directive, cluster);
    match directive.command.as_str() {
        "cut" => {
            let (from, to) = (arguments.node("from")?, arguments.node("to")?);
            cluster.cut(from.get(), to.get());
        }
        "drop" => {
            let unwanted = arguments.filter()?;
            let count = cluster.drop_messages(|message| unwanted.matches(message));
            return Ok(format!("{count} lost\n"));
        }
        "heal" => cluster.heal(),
        "messages" => {
            let line = |message: &Message| format!("{}\n", words::message(message));
            return Ok(cluster.messages().iter().map(line).collect());
        }
        "tick" if directive.argument_at(0, "id")?.key == "all" => {
            for _ in 0..arguments.count(1)?.unwrap_or(1) {
                cluster.tick_all();
            }
        }
        _ => return call(cluster, directive),
    }
    Ok(String::new())
}

/// Does what a command says that is for one node.
fn call(cluster: &mut Cluster, directive: &Directive) -> Result<String, BadDirective> {
    let arguments = Arguments::new(directive, cluster);
    let (id, at) = arguments.node_at(0)?;
    match directive.command.as_str() {
        "campaign" | "elect" if !cluster.campaign(id) => {
            return Ok(format!("{id} may not campaign\n"));
        }
        "campaign" => {}
        "change" => {
            let change = arguments.change()?;
            return Ok(words::place(cluster.propose_conf_change(id, change)));
        }
        "compact" => drop(cluster.compact(id)),
        "crash" => cluster.crash(id),
        "elect" => cluster.deliver_all(),
        "forget-leader" => drop(cluster.call(at, |node| node.forget_leader())),
        "group-commit" => {
            let in_force = directive.argument_at(1, "true or false")?;
            let in_force = in_force.boolean_in(&in_force.key)?;
            cluster.call(at, |node| node.set_group_commit(in_force));
        }
        "groups" => {
            for (member, group) in arguments.groups()? {
                cluster.call(at, |node| node.assign_commit_group(member, group));
            }
        }
        "isolate" => cluster.isolate(id),
        "lease-read" => cluster.read_at(at, arguments.text(1)?.into(), true),
        "propose" => {
            let data = arguments.text(1)?;
            return Ok(words::place(cluster.propose(id, data)));
        }
        "read" => cluster.read_at(at, arguments.text(1)?.into(), false),
        "restart" => cluster.restart(id),
        "stall" => cluster.stall_disk(id),
        "tick" => {
            for _ in 0..arguments.count(1)?.unwrap_or(1) {
                cluster.tick(id);
            }
        }
        "transfer" => {
            let to = arguments.node("to")?;
            cluster.transfer_at(at, to);
        }
        "write" => match arguments.count(1)? {
            Some(count) => cluster.complete_some_writes(id, count),
            None => cluster.complete_writes(id),
        },
        other => return Err(BadDirective::UnknownCommand(other.to_owned())),
    }
    Ok(String::new())
}
