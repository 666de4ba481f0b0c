//! etcd/raft's scripts on majorities: up to where is committed, and how does a vote stand.
//!
//! Owns the commands `committed` and `vote`, what they print, and the cross-checks that belong to
//! them. Must not know how quorums are computed: that is the core's part, and comes in by
//! [`Arithmetic`].
//!
//! The voters are the arguments `cfg` and `cfgj`, the two halves of a joint configuration;
//! `cfgj=zero` makes it joint with an empty half. What the voters say are the arguments `idx` and
//! `votes`, one value for each voter in the order in which `cfg` and then `cfgj` name them first,
//! `_` for one that says nothing.

use std::collections::{BTreeMap, BTreeSet};

use almadia::quorum::{VoteResult, joint_index, joint_vote, majority_index, majority_vote};
use almadia::{LogIndex, NodeId};

use super::Commands;
use super::parse::{Argument, BadDirective, Directive, number};

/// The index that each voter has acknowledged, as far as it is known.
pub type Acknowledged = BTreeMap<NodeId, LogIndex>;

/// What each voter said, if anything.
pub type Votes = BTreeMap<NodeId, bool>;

/// The index up to which voters commit who are nobody.
const INFINITY: LogIndex = LogIndex(u64::MAX);

/// How quorums are computed. The default is the core; another one can be put in its place to see
/// that the cross-checks find what is wrong with it.
///
/// Voters are given in ascending order, each once. No voters agree to anything.
#[derive(Clone, Copy, Debug)]
pub struct Arithmetic {
    /// The highest index that a majority has acknowledged; `None` if there are no voters.
    pub majority_index: fn(&[NodeId], &Acknowledged) -> Option<LogIndex>,
    /// The same for the two halves of a joint configuration.
    pub joint_index: fn(&[NodeId], &[NodeId], &Acknowledged) -> Option<LogIndex>,
    /// How a vote stands.
    pub majority_vote: fn(&[NodeId], &Votes) -> VoteResult,
    /// The same for the two halves of a joint configuration.
    pub joint_vote: fn(&[NodeId], &[NodeId], &Votes) -> VoteResult,
}

impl Default for Arithmetic {
    fn default() -> Self {
        Self {
            majority_index: |voters, acknowledged| {
                majority_index(voters, |voter| index_of(acknowledged, voter))
            },
            joint_index: |incoming, outgoing, acknowledged| {
                joint_index(incoming, outgoing, |voter| index_of(acknowledged, voter))
            },
            majority_vote: |voters, votes| {
                majority_vote(voters, |voter| votes.get(&voter).copied())
            },
            joint_vote: |incoming, outgoing, votes| {
                joint_vote(incoming, outgoing, |voter| votes.get(&voter).copied())
            },
        }
    }
}

/// The commands `committed` and `vote`.
///
/// Every directive stands for itself. Beside the answer they print what contradicts it: each line
/// with an arrow names a way to compute the same that came to something else.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuorumCommands {
    arithmetic: Arithmetic,
}

impl QuorumCommands {
    /// The commands on top of another arithmetic than the core's.
    #[must_use]
    pub const fn with_arithmetic(arithmetic: Arithmetic) -> Self {
        Self { arithmetic }
    }

    fn committed(&self, question: &Question) -> String {
        let indexes = &question.indexes;
        let Some(acknowledged) = question.by_voter(indexes) else {
            return question.mismatch(indexes, |index| shown(index.unwrap_or_default()));
        };
        let incoming = ascending(&question.incoming);
        let described = describe(&question.voters(), &acknowledged);
        let (index, doubts) = match &question.outgoing {
            None => {
                let index = self.majority_index(&incoming, &acknowledged);
                (index, self.majority_doubts(&incoming, &acknowledged, index))
            }
            Some(outgoing) => {
                let outgoing = ascending(outgoing);
                let index = self.joint_index(&incoming, &outgoing, &acknowledged);
                let mirrored = self.joint_index(&outgoing, &incoming, &acknowledged);
                (index, doubt(index, mirrored, "via symmetry\n"))
            }
        };
        format!("{described}{doubts}{}\n", shown(index))
    }

    /// What other ways to compute the same index come to, as far as it is something else.
    fn majority_doubts(
        &self,
        voters: &[NodeId],
        acknowledged: &Acknowledged,
        index: LogIndex,
    ) -> String {
        let others = [
            (
                counted_index(voters, acknowledged),
                "via alternative computation\n",
            ),
            (
                self.joint_index(voters, &[], acknowledged),
                "via zero-joint quorum\n",
            ),
            (
                self.joint_index(voters, voters, acknowledged),
                "via self-joint quorum\n",
            ),
        ];
        let mut doubts = String::new();
        for (other, way) in others {
            doubts += &doubt(index, other, way);
        }
        // Who lies below the index already has no part in it, and may lie still lower.
        for &voter in voters {
            let own = index_of(acknowledged, voter);
            if own == LogIndex::ZERO || own >= index {
                continue;
            }
            for (lowered, to) in [(own.previous(), own), (LogIndex::ZERO, LogIndex::ZERO)] {
                let mut overlaid = acknowledged.clone();
                overlaid.insert(voter, lowered);
                let other = self.majority_index(voters, &overlaid);
                doubts += &doubt(index, other, &format!("overlaying {voter}->{to}"));
            }
        }
        doubts
    }

    fn majority_index(&self, voters: &[NodeId], acknowledged: &Acknowledged) -> LogIndex {
        (self.arithmetic.majority_index)(voters, acknowledged).unwrap_or(INFINITY)
    }

    fn joint_index(
        &self,
        incoming: &[NodeId],
        outgoing: &[NodeId],
        acknowledged: &Acknowledged,
    ) -> LogIndex {
        (self.arithmetic.joint_index)(incoming, outgoing, acknowledged).unwrap_or(INFINITY)
    }

    fn vote(&self, question: &Question) -> String {
        let Some(votes) = question.by_voter(&question.votes) else {
            return question.mismatch(&question.votes, |vote| vote_number(vote).to_string());
        };
        let incoming = ascending(&question.incoming);
        let Some(outgoing) = &question.outgoing else {
            let result = (self.arithmetic.majority_vote)(&incoming, &votes);
            return format!("{}\n", result_name(result));
        };
        let outgoing = ascending(outgoing);
        let result = (self.arithmetic.joint_vote)(&incoming, &outgoing, &votes);
        let mirrored = (self.arithmetic.joint_vote)(&outgoing, &incoming, &votes);
        let mut text = String::new();
        if mirrored != result {
            text += &format!("{} <-- via symmetry\n", result_name(mirrored));
        }
        text + result_name(result) + "\n"
    }
}

impl Commands for QuorumCommands {
    fn execute(&mut self, directive: &Directive) -> Result<String, BadDirective> {
        let question = Question::read(directive)?;
        match directive.command.as_str() {
            "committed" => Ok(self.committed(&question)),
            "vote" => Ok(self.vote(&question)),
            other => Err(BadDirective::UnknownCommand(other.to_owned())),
        }
    }
}

/// The arguments of a directive.
#[derive(Debug, Default)]
struct Question {
    /// As the script names them, in its order.
    incoming: Vec<NodeId>,
    /// `None` if the configuration is not joint at all.
    outgoing: Option<Vec<NodeId>>,
    indexes: Vec<Option<LogIndex>>,
    votes: Vec<Option<bool>>,
}

impl Question {
    fn read(directive: &Directive) -> Result<Self, BadDirective> {
        let mut question = Self::default();
        for argument in &directive.arguments {
            for value in &argument.values {
                question.read_value(argument, value)?;
            }
        }
        Ok(question)
    }

    fn read_value(&mut self, argument: &Argument, value: &str) -> Result<(), BadDirective> {
        match argument.key.as_str() {
            "cfg" => self.incoming.push(read_voter(argument, value)?),
            "cfgj" => {
                let outgoing = self.outgoing.get_or_insert_default();
                if value != "zero" {
                    outgoing.push(read_voter(argument, value)?);
                } else if argument.values.len() != 1 {
                    return Err(argument.bad_value(value, "a node among other nodes"));
                }
            }
            "idx" => self.indexes.push(read_index(argument, value)?),
            "votes" => self.votes.push(match value {
                "y" => Some(true),
                "n" => Some(false),
                "_" => None,
                _ => return Err(argument.bad_value(value, "y, n or _")),
            }),
            other => return Err(BadDirective::UnknownArgument(other.to_owned())),
        }
        Ok(())
    }

    /// All voters, ascending.
    fn voters(&self) -> Vec<NodeId> {
        ascending(self.incoming.iter().chain(self.outgoing.iter().flatten()))
    }

    /// What each voter says, given what is said in the order in which the voters are named first.
    /// `None` if there is not one word, or `_`, for each.
    fn by_voter<T: Copy>(&self, said: &[Option<T>]) -> Option<BTreeMap<NodeId, T>> {
        let mut named = BTreeSet::new();
        let mut words = said.iter();
        let mut by_voter = BTreeMap::new();
        for &voter in self.incoming.iter().chain(self.outgoing.iter().flatten()) {
            if named.insert(voter) {
                let word = words.next()?;
                by_voter.extend(word.map(|word| (voter, word)));
            }
        }
        words.next().is_none().then_some(by_voter)
    }

    /// The output for a directive that does not say one word for each voter.
    fn mismatch<T: Copy>(&self, said: &[Option<T>], show: impl Fn(Option<T>) -> String) -> String {
        let voters = self
            .voters()
            .into_iter()
            .map(|voter| format!("{voter}:{{}}"));
        let voters: Vec<String> = voters.collect();
        let said: Vec<String> = said.iter().map(|&word| show(word)).collect();
        format!(
            "error: mismatched input (explicit or _) for voters map[{}]: [{}]",
            voters.join(" "),
            said.join(" ")
        )
    }
}

fn read_voter(argument: &Argument, value: &str) -> Result<NodeId, BadDirective> {
    let id = number(value).ok().and_then(NodeId::new);
    id.ok_or_else(|| argument.bad_value(value, "a node"))
}

fn read_index(argument: &Argument, value: &str) -> Result<Option<LogIndex>, BadDirective> {
    if value == "_" {
        return Ok(None);
    }
    match number(value) {
        Ok(index @ 1..) => Ok(Some(LogIndex(index))),
        Ok(0) | Err(_) => Err(argument.bad_value(value, "an index above zero, or _")),
    }
}

fn ascending<'a>(voters: impl IntoIterator<Item = &'a NodeId>) -> Vec<NodeId> {
    let distinct: BTreeSet<NodeId> = voters.into_iter().copied().collect();
    distinct.into_iter().collect()
}

fn index_of(acknowledged: &Acknowledged, voter: NodeId) -> LogIndex {
    acknowledged.get(&voter).copied().unwrap_or_default()
}

/// The majority's index by counting, for each index that was acknowledged, who reaches it.
fn counted_index(voters: &[NodeId], acknowledged: &Acknowledged) -> LogIndex {
    if voters.is_empty() {
        return INFINITY;
    }
    let indexes = || voters.iter().filter_map(|voter| acknowledged.get(voter));
    let reached = |index: LogIndex| indexes().filter(|&&other| other >= index).count();
    let agreed = indexes().filter(|&&index| 2 * reached(index) > voters.len());
    agreed.max().copied().unwrap_or_default()
}

/// The line of a cross-check; nothing if it agrees.
fn doubt(index: LogIndex, other: LogIndex, way: &str) -> String {
    if other == index {
        String::new()
    } else {
        format!("{} <-- {way}", shown(other))
    }
}

/// Draws how far each voter is: the bar is as long as there are voters behind it.
fn describe(voters: &[NodeId], acknowledged: &Acknowledged) -> String {
    if voters.is_empty() {
        return "<empty majority quorum>".to_owned();
    }
    let width = voters.len();
    let mut text = format!("{:width$}    idx\n", "");
    for &voter in voters {
        let own = index_of(acknowledged, voter);
        let behind = voters
            .iter()
            .filter(|&&other| index_of(acknowledged, other) < own);
        let bar = match acknowledged.get(&voter) {
            Some(_) => "x".repeat(behind.count()) + ">",
            None => "?".to_owned(),
        };
        let width = width + 1;
        text += &format!("{bar:width$} {:>5}    (id={:x})\n", own.0, voter.get());
    }
    text
}

fn shown(index: LogIndex) -> String {
    if index == INFINITY {
        "∞".to_owned()
    } else {
        index.to_string()
    }
}

/// The number that stands for a vote where votes are listed.
fn vote_number(vote: Option<bool>) -> u8 {
    match vote {
        None => 0,
        Some(false) => 1,
        Some(true) => 2,
    }
}

fn result_name(result: VoteResult) -> &'static str {
    match result {
        VoteResult::Won => "VoteWon",
        VoteResult::Lost => "VoteLost",
        VoteResult::Pending => "VotePending",
    }
}
