//! etcd/raft's interaction scripts: whole conversations of a group of nodes.
//!
//! Owns the nodes of a script, what is on its way between them, and the carrying out of commands.
//! What a command is stands in [`command`], what becomes of a node in `node.rs`, how everything is
//! shown in `describe.rs`, and what of it is compared in [`compare`]. Must not know any script.
//!
//! # What is made equal
//!
//! This crate does not say the same things as etcd/raft at the same moments. What follows is done so
//! that a conversation can be compared at all. All of it is something that an embedder could do, or
//! lies in how things are shown; nothing reaches into a node.
//!
//! * **When a node speaks.** It sends when it is asked for a [`Ready`](almadia::Ready); etcd/raft's
//!   does at once, and is asked later. So every call here is followed by `ready()`, and the
//!   `Ready`s are merged until the script wants to process one. Each of them is acknowledged by
//!   itself, in order, as etcd/raft's leader acknowledges each of its appends. A peer reported as
//!   unreachable is the exception: etcd/raft sends nothing then.
//! * **In which order.** In one `Ready`, answers that wait for the disk in etcd/raft come last,
//!   whether or not they have to here.
//! * **What waits for the disk.** There is one kind of `Ready` for all disks. For nodes with
//!   storage threads the messages to and from these threads, and those of a node to itself, are
//!   made up: they are the writes that are to be done, and the calls of `persisted` and `applied`
//!   that are due when such a message arrives. Nodes without them may apply entries before they are
//!   written ([`Config::max_apply_unpersisted_entries`](almadia::Config)).
//! * **Who proposes.** Followers pass proposals on to the leader, and where a membership change is
//!   refused, an empty entry is proposed in its place. etcd/raft's nodes do both themselves.
//! * **Time.** Nodes draw their election timeouts from a range so wide that none passes. The script's
//!   timeouts are counted beside them, from whenever a node's own clock begins anew, and end in
//!   `campaign()`. Nodes with leases have waited for the one that they might have promised.
//! * **Terms** are shown one lower. etcd/raft's nodes begin in term 0 with a log of term 1, which is
//!   refused here as a lost hard state, so they begin in term 1.
//! * **What is shown.** Messages show what etcd/raft's carry: no commit index in votes and answers.
//!   `MustSync` is what it would be there. A leader shows progress of its own. Errors have etcd/raft's
//!   words where it has the same ones.
//! * **What is logged** counts for nothing: such lines are left out of the expected output, and if
//!   nothing is left, `ok` is expected.
mod clock;
pub mod command;
pub mod compare;
mod describe;
mod mail;
mod node;
mod output;

use almadia::NodeId;

use self::command::{AddNodes, Command, LogLevel, Recipient};
use self::mail::Mail;
use self::node::Node;
use super::Commands;
use super::parse::{BadDirective, Directive};

/// The nodes of a script, and what is on its way between them. Each file starts without any.
#[derive(Debug, Default)]
pub struct InteractionCommands {
    nodes: Vec<Node>,
    mail: Vec<Mail>,
    is_quiet: bool,
}

/// How often `stabilize` goes round before it gives up.
const MOST_ROUNDS: usize = 10_000;

/// Why a command came to an early end.
enum Stop {
    /// It makes no sense.
    Bad(BadDirective),
    /// It failed, in words that a script can expect.
    Failed(String),
}

impl From<BadDirective> for Stop {
    fn from(error: BadDirective) -> Self {
        Self::Bad(error)
    }
}

impl From<String> for Stop {
    fn from(words: String) -> Self {
        Self::Failed(words)
    }
}

/// What is done on one node at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Ready,
    Append,
    Apply,
}

impl Work {
    const fn heading(self) -> &'static str {
        match self {
            Self::Ready => "handling Ready",
            Self::Append => "processing append thread",
            Self::Apply => "processing apply thread",
        }
    }

    fn is_due(self, node: &Node) -> bool {
        match self {
            Self::Ready => node.has_ready(),
            Self::Append => node.has_append_work(),
            Self::Apply => node.has_apply_work(),
        }
    }
}

impl Commands for InteractionCommands {
    fn execute(&mut self, directive: &Directive) -> Result<String, BadDirective> {
        let command = Command::read(directive)?;
        let mut text = String::new();
        let result = self.carry_out(command, &mut text);
        if self.is_quiet {
            text.clear();
        }
        match result {
            Err(Stop::Bad(error)) => return Err(error),
            Err(Stop::Failed(words)) => text.push_str(&words),
            Ok(()) => {}
        }
        if text.is_empty() {
            text.push_str("ok");
        }
        Ok(text)
    }
}

impl InteractionCommands {
    fn node(&mut self, id: NodeId) -> Result<&mut Node, BadDirective> {
        let node = self.nodes.iter_mut().find(|node| node.id() == id);
        node.ok_or_else(|| BadDirective::BadValue {
            key: "id".to_owned(),
            value: id.to_string(),
            wanted: "a node that was added",
        })
    }

    fn carry_out(&mut self, command: Command, text: &mut String) -> Result<(), Stop> {
        match command {
            Command::AddNodes(added) => self.add_nodes(&added)?,
            Command::Breakpoint => {}
            Command::Campaign(id) => self.node(id)?.campaign(),
            Command::Compact { node, index } => {
                let node = self.node(node)?;
                node.compact(index)?;
                text.push_str(&node.log()?);
            }
            Command::Deliver { recipients, only } => {
                let handled = self.deliver(&recipients, only.as_deref(), text)?;
                if handled == 0 {
                    text.push_str("no messages\n");
                }
            }
            Command::ForgetLeader(id) => self.node(id)?.forget_leader(),
            Command::LogLevel(level) => self.is_quiet = level == LogLevel::Quiet,
            Command::ProcessReady(ids) => self.work_on_each(&ids, Work::Ready, text)?,
            Command::ProcessAppend(ids) => self.work_on_each(&ids, Work::Append, text)?,
            Command::ProcessApply(ids) => self.work_on_each(&ids, Work::Apply, text)?,
            Command::Propose { node, data } => self.node(node)?.propose_data(data)?,
            Command::ProposeChange { node, change } => self.node(node)?.propose_change(&change)?,
            Command::RaftLog(id) => text.push_str(&self.node(id)?.log()?),
            Command::RaftState => text.extend(self.nodes.iter().map(Node::describe)),
            Command::ReportUnreachable { node, peer } => {
                self.node(node)?.report_unreachable(peer);
            }
            Command::SendSnapshot { from, to } => self.send_snapshot(from, to, text)?,
            Command::SetElectionTimeout { node, ticks } => {
                self.node(node)?.set_election_timeout(ticks);
            }
            Command::Stabilize { nodes, level } => {
                let was_quiet = self.is_quiet;
                self.is_quiet = level.map_or(was_quiet, |level| level == LogLevel::Quiet);
                let result = self.stabilize(&nodes, text);
                if self.is_quiet {
                    text.clear();
                }
                self.is_quiet = was_quiet;
                result?;
            }
            Command::Status(id) => text.push_str(&self.node(id)?.describe_progress()),
            Command::Tick { node, span } => self.node(node)?.tick(span)?,
            Command::TransferLeadership { from, to } => self.node(from)?.transfer_leadership(to),
        }
        Ok(())
    }

    fn add_nodes(&mut self, added: &AddNodes) -> Result<(), String> {
        for _ in 0..added.count {
            let id = NodeId::new(self.nodes.len() as u64 + 1).ok_or("there are no ids left")?;
            let node = Node::new(id, &added.settings, added.bootstrap.as_ref())?;
            self.nodes.push(node);
        }
        Ok(())
    }

    fn send_snapshot(
        &mut self,
        from: NodeId,
        to: NodeId,
        text: &mut String,
    ) -> Result<(), BadDirective> {
        let mail = self.node(from)?.snapshot_for(to);
        text.push_str(&mail.describe());
        self.mail.push(mail);
        Ok(())
    }

    /// Does one piece of work on each of these nodes, under headings if there are several.
    fn work_on_each(&mut self, ids: &[NodeId], work: Work, text: &mut String) -> Result<(), Stop> {
        for &id in ids {
            if ids.len() == 1 {
                self.work(id, work, text)?;
                continue;
            }
            let mut shown = String::new();
            let result = self.work(id, work, &mut shown);
            *text += &format!("> {id} {}\n{}", work.heading(), indented(&shown));
            result?;
        }
        Ok(())
    }

    fn work(&mut self, id: NodeId, work: Work, text: &mut String) -> Result<(), Stop> {
        let mut sent = Vec::new();
        let node = self.node(id)?;
        let (shown, result) = match work {
            Work::Ready => node.process_ready(&mut sent),
            Work::Append => node.process_append(&mut sent),
            Work::Apply => node.process_apply(&mut sent),
        };
        text.push_str(&shown);
        self.mail.extend(sent);
        Ok(result?)
    }

    // --- Mail ---

    /// Delivers or loses mail, and returns how much it was.
    fn deliver(
        &mut self,
        recipients: &[Recipient],
        only: Option<&str>,
        text: &mut String,
    ) -> Result<usize, BadDirective> {
        let mut count = 0;
        for &Recipient { node, is_drop } in recipients {
            let mail = std::mem::take(&mut self.mail);
            let is_wanted = |mail: &Mail| {
                mail.to() == node
                    && !(is_drop && mail.is_local())
                    && only.is_none_or(|kind| mail.kind() == kind)
            };
            let (wanted, rest) = mail.into_iter().partition(is_wanted);
            self.mail = rest;
            let wanted: Vec<Mail> = wanted;
            count += wanted.len();
            for mail in wanted {
                let dropped = if is_drop { "dropped: " } else { "" };
                *text += &format!("{dropped}{}\n", mail.describe());
                if is_drop {
                    continue;
                }
                if let Err(words) = self.node(node)?.receive(mail) {
                    *text += &format!("{words}\n");
                }
            }
        }
        Ok(count)
    }

    // --- Until there is nothing left to do ---

    fn stabilize(&mut self, ids: &[NodeId], text: &mut String) -> Result<(), Stop> {
        let all: Vec<NodeId> = self.nodes.iter().map(Node::id).collect();
        let ids = if ids.is_empty() { &all } else { ids };
        for _ in 0..MOST_ROUNDS {
            let mut is_busy = false;
            for &id in ids {
                is_busy |= self.work_under_heading(id, Work::Ready, text)?;
            }
            for &id in ids {
                is_busy |= self.receive_all(id, text)?;
            }
            for work in [Work::Append, Work::Apply] {
                for &id in ids {
                    is_busy |= self.work_under_heading(id, work, text)?;
                }
            }
            if !is_busy {
                return Ok(());
            }
        }
        Err(Stop::Failed("the nodes do not come to rest".to_owned()))
    }

    /// Does work of this sort on the node, if there is any: one `Ready`, or all that waits for a
    /// storage thread. Returns whether there was.
    fn work_under_heading(
        &mut self,
        id: NodeId,
        work: Work,
        text: &mut String,
    ) -> Result<bool, Stop> {
        if !work.is_due(self.node(id)?) {
            return Ok(false);
        }
        *text += &format!("> {id} {}\n", work.heading());
        loop {
            let mut shown = String::new();
            let result = self.work(id, work, &mut shown);
            text.push_str(&indented(&shown));
            result?;
            if work == Work::Ready || !work.is_due(self.node(id)?) {
                return Ok(true);
            }
        }
    }

    /// Delivers all mail for the node. Returns whether there was any.
    fn receive_all(&mut self, id: NodeId, text: &mut String) -> Result<bool, BadDirective> {
        let recipient = Recipient {
            node: id,
            is_drop: false,
        };
        let mut shown = String::new();
        let is_any = self.deliver(&[recipient], None, &mut shown)? > 0;
        if is_any {
            *text += &format!("> {id} receiving messages\n{}", indented(&shown));
        }
        Ok(is_any)
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
