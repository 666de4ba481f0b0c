//! etcd/raft's scripts on changes of membership, in one step and through joint configurations.
//!
//! Owns the commands `simple`, `enter-joint` and `leave-joint`, what they print, and the wording of
//! refusals. Must not know which configurations may follow which: that is the core's part.
//!
//! The changes are the input, words apart by one space: `v1` makes node 1 a voter, `l1` a learner,
//! `r1` removes it. `u1` would update what the application knows of it, which is nothing to Raft.

use std::collections::BTreeMap;
use std::fmt;

use almadia::{LogIndex, MemberChange, Membership, MembershipError, NodeId};

use super::Commands;
use super::parse::{BadDirective, Directive, number};

/// The commands `simple`, `enter-joint` and `leave-joint`, and the configuration that they change.
/// The first one finds it empty.
///
/// Each command counts as one entry of a log, also if it is refused. A node that becomes a member
/// starts with a next index that tells how long that log was.
#[derive(Clone, Debug, Default)]
pub struct ConfChangeCommands {
    membership: Membership,
    /// The next index of every member.
    next_indexes: BTreeMap<NodeId, LogIndex>,
    last_index: LogIndex,
}

impl ConfChangeCommands {
    /// The configuration as it stands.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Executes a command, the counting of it apart. What is refused changes nothing.
    fn change(&mut self, directive: &Directive) -> Result<String, BadDirective> {
        let words = match read_changes(&directive.input) {
            Ok(words) => words,
            Err(complaint) => return Ok(complaint),
        };
        let changes: Vec<MemberChange> = words.iter().copied().flatten().collect();
        let before = &self.membership;
        let changed = match directive.command.as_str() {
            "simple" => before.changed_in_one_step(&changes),
            "enter-joint" => before.entered_joint(&changes, read_auto_leave(directive)?),
            "leave-joint" if !words.is_empty() => {
                return Ok("this command takes no input".to_owned());
            }
            "leave-joint" => before.left_joint(),
            _ => return Ok("unknown command".to_owned()),
        };
        match changed {
            Ok(membership) => {
                self.adopt(membership, &changes);
                Ok(self.to_string())
            }
            Err(error) => Ok(self.refusal(error, &directive.command)),
        }
    }

    /// The words in which etcd/raft says what the core says.
    fn refusal(&self, error: MembershipError, command: &str) -> String {
        match error {
            MembershipError::AlreadyJoint if command == "simple" => {
                "can't apply simple config change in joint config".to_owned()
            }
            MembershipError::AlreadyJoint => "config is already joint".to_owned(),
            MembershipError::NoVoters if command == "enter-joint" && self.membership.is_empty() => {
                "can't make a zero-voter config joint".to_owned()
            }
            MembershipError::NoVoters => "removed all voters".to_owned(),
            MembershipError::NotJoint => "can't leave a non-joint config".to_owned(),
            MembershipError::NeedsJoint => {
                "more than one voter changed without entering joint config".to_owned()
            }
            // No change leads to these; etcd/raft has no words for them.
            MembershipError::Conflict(_)
            | MembershipError::NotOutgoing(_)
            | MembershipError::NothingToLeave
            | _ => error.to_string(),
        }
    }

    /// Makes `membership` the configuration. `changes` led there, in this order.
    fn adopt(&mut self, membership: Membership, changes: &[MemberChange]) {
        let next_index = self.last_index.max(LogIndex(1));
        for &change in changes {
            match change {
                MemberChange::AddVoter(id) | MemberChange::AddLearner(id) => {
                    self.next_indexes.entry(id).or_insert(next_index);
                }
                MemberChange::Nothing => {}
                // An outgoing voter stays a member until the joint configuration is left.
                MemberChange::Remove(id) if membership.outgoing().contains(&id) => {}
                // A later change may add the node again, which then starts anew.
                MemberChange::Remove(id) => {
                    self.next_indexes.remove(&id);
                }
            }
        }
        self.next_indexes.retain(|&id, _| membership.contains(id));
        self.membership = membership;
    }
}

impl Commands for ConfChangeCommands {
    fn execute(&mut self, directive: &Directive) -> Result<String, BadDirective> {
        let output = self.change(directive);
        self.last_index = self.last_index.next();
        output
    }
}

/// The configuration, and one line for each member. Nothing was ever sent to any of them.
impl fmt::Display for ConfChangeCommands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", describe(&self.membership))?;
        for (&id, next_index) in &self.next_indexes {
            let is_learner = self.membership.learners().contains(&id);
            let learner = if is_learner { " learner" } else { "" };
            writeln!(f, "{id}: StateProbe match=0 next={next_index}{learner}")?;
        }
        Ok(())
    }
}

fn describe(membership: &Membership) -> String {
    let mut text = format!("voters={}", listed(membership.incoming()));
    if membership.is_joint() {
        text += &format!("&&{}", listed(membership.outgoing()));
    }
    if !membership.learners().is_empty() {
        text += &format!(" learners={}", listed(membership.learners()));
    }
    if !membership.learners_next().is_empty() {
        text += &format!(" learners_next={}", listed(membership.learners_next()));
    }
    if membership.auto_leave() {
        text += " autoleave";
    }
    text
}

fn listed(ids: &[NodeId]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| format!("{:x}", id.get())).collect();
    format!("({})", ids.join(" "))
}

fn read_auto_leave(directive: &Directive) -> Result<bool, BadDirective> {
    match directive.argument("autoleave") {
        Some(argument) => argument.boolean(),
        None if directive.arguments.is_empty() => Ok(false),
        None => Err(BadDirective::MissingArgument("autoleave")),
    }
}

/// The changes that the input asks for, `None` for one that changes nothing: an update, or anything
/// about node 0, which is nobody. The error is what the command prints instead of doing anything.
pub(super) fn read_changes(input: &str) -> Result<Vec<Option<MemberChange>>, String> {
    if input.is_empty() {
        return Ok(Vec::new());
    }
    input.split(' ').map(read_change).collect()
}

fn read_change(word: &str) -> Result<Option<MemberChange>, String> {
    if word.len() < 2 {
        return Err(format!("unknown token {word}"));
    }
    let make = match word.as_bytes()[0] {
        b'v' => Some(MemberChange::AddVoter as fn(NodeId) -> MemberChange),
        b'l' => Some(MemberChange::AddLearner as fn(NodeId) -> MemberChange),
        b'r' => Some(MemberChange::Remove as fn(NodeId) -> MemberChange),
        b'u' => None,
        _ => return Err(format!("unknown input: {word}")),
    };
    let digits = &word[1..];
    let id = number(digits)
        .map_err(|error| format!("strconv.ParseUint: parsing {digits:?}: {error}"))?;
    Ok(make.zip(NodeId::new(id)).map(|(make, id)| make(id)))
}
