//! Majorities and joint majorities: pure arithmetic.
//!
//! Owns two questions: up to which index has a quorum acknowledged, and is a vote won, lost or
//! open. Knows nothing of nodes, roles, logs or membership changes; voters are given as slices of
//! ids.
//!
//! In a joint configuration (Thesis 4.3) both halves must agree. An empty half agrees to anything,
//! which makes a simple configuration the joint one whose outgoing half is empty.

use alloc::vec::Vec;
use core::num::NonZeroU64;

use crate::types::{LogIndex, NodeId};

/// How many of `voters` make a majority.
#[must_use]
pub const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// How a vote stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VoteResult {
    /// A quorum said yes.
    Won,
    /// A quorum can no longer say yes.
    Lost,
    /// Neither.
    Pending,
}

/// Up to this many voters, acknowledged indexes are sorted on the stack.
const ON_STACK: usize = 16;

/// Up to this many voters, it costs less to compare each index with each than to sort them.
const FEW: usize = 7;

/// The largest of the indexes that a majority of them reaches.
#[inline]
fn largest_of_majority(indexes: &[LogIndex]) -> Option<LogIndex> {
    let needed = majority(indexes.len());
    let is_reached = |index: &&LogIndex| {
        let reaching = indexes.iter().filter(|other| other >= index);
        reaching.count() >= needed
    };
    indexes.iter().filter(is_reached).max().copied()
}

/// The highest index that a majority of `voters` has acknowledged, each given by `acknowledged`;
/// `None` if there are no voters, who would agree to any index.
#[must_use]
pub fn majority_index(
    voters: &[NodeId],
    acknowledged: impl Fn(NodeId) -> LogIndex,
) -> Option<LogIndex> {
    match *voters {
        [only] => return Some(acknowledged(only)),
        // Most clusters are of three: the middle one.
        [first, second, third] => {
            let [first, second, third] = [first, second, third].map(acknowledged);
            let (low, high) = (first.min(second), first.max(second));
            return Some(low.max(high.min(third)));
        }
        _ => {}
    }
    let mut on_stack = [LogIndex::ZERO; ON_STACK];
    let mut on_heap;
    let indexes = match on_stack.get_mut(..voters.len()) {
        Some(indexes) => indexes,
        None => {
            on_heap = alloc::vec![LogIndex::ZERO; voters.len()];
            on_heap.as_mut_slice()
        }
    };
    for (index, &voter) in indexes.iter_mut().zip(voters) {
        *index = acknowledged(voter);
    }
    if indexes.len() <= FEW {
        return largest_of_majority(indexes);
    }
    // The k-th largest of n values is acknowledged by k voters at least; k is the majority.
    let position = voters.len().checked_sub(majority(voters.len()))?;
    let (_, &mut index, _) = indexes.select_nth_unstable(position);
    Some(index)
}

/// The highest index acknowledged by a majority of `incoming` and by a majority of `outgoing`.
/// `None` if both are empty.
#[must_use]
pub fn joint_index(
    incoming: &[NodeId],
    outgoing: &[NodeId],
    acknowledged: impl Fn(NodeId) -> LogIndex,
) -> Option<LogIndex> {
    let first = majority_index(incoming, &acknowledged);
    if outgoing.is_empty() {
        return first;
    }
    let second = majority_index(outgoing, acknowledged);
    first.into_iter().chain(second).min()
}

/// What [`grouped_index`] finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GroupedIndex {
    /// Up to here entries may commit.
    pub index: LogIndex,
    /// Whether they are in two groups then.
    pub spans_groups: bool,
}

/// The highest index that a majority of `voters` has acknowledged *and* voters of at least two
/// groups (zones that fail together, say); `None` if there are no voters.
///
/// Where all voters are of one group, there is nothing to wait for, and the majority decides. Where
/// some are of no group, so that nobody knows, and there are no two groups among the others, every
/// voter must have acknowledged.
#[must_use]
pub fn grouped_index(
    voters: &[NodeId],
    acknowledged: impl Fn(NodeId) -> LogIndex,
    group: impl Fn(NodeId) -> Option<NonZeroU64>,
) -> Option<GroupedIndex> {
    let majority = majority_index(voters, &acknowledged)?;
    let assigned = || {
        voters
            .iter()
            .filter_map(|&voter| Some((voter, group(voter)?)))
    };
    let front = assigned().max_by_key(|&(voter, _)| acknowledged(voter));
    let in_another = assigned()
        .filter(|&(_, group)| front.is_some_and(|(_, front_group)| group != front_group))
        .map(|(voter, _)| acknowledged(voter))
        .max();
    let index = match in_another {
        Some(index) => majority.min(index),
        None if assigned().count() == voters.len() => majority,
        None => voters.iter().map(|&voter| acknowledged(voter)).min()?,
    };
    Some(GroupedIndex {
        index,
        spans_groups: in_another.is_some(),
    })
}

/// Which voters fail together, and whether that matters for commitment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CommitGroups {
    pub(crate) are_in_force: bool,
    groups: Vec<(NodeId, NonZeroU64)>,
}

impl CommitGroups {
    pub(crate) fn of(&self, member: NodeId) -> Option<NonZeroU64> {
        let position = self.groups.binary_search_by_key(&member, |&(id, _)| id);
        let (_, group) = self.groups.get(position.ok()?)?;
        Some(*group)
    }

    /// Puts a member into a group, or into none.
    pub(crate) fn assign(&mut self, member: NodeId, group: Option<NonZeroU64>) {
        let position = self.groups.binary_search_by_key(&member, |&(id, _)| id);
        match (position, group) {
            (Ok(at), Some(group)) => self
                .groups
                .splice(at..=at, [(member, group)])
                .for_each(drop),
            (Ok(at), None) => self.groups.splice(at..=at, []).for_each(drop),
            (Err(at), Some(group)) => self.groups.insert(at, (member, group)),
            (Err(_), None) => {}
        }
    }
}

/// Whether a majority of `voters` agrees. Where there are none, nobody objects.
#[must_use]
pub fn majority_agrees(voters: &[NodeId], agrees: impl Fn(NodeId) -> bool) -> bool {
    if voters.is_empty() {
        return true;
    }
    let needed = majority(voters.len());
    let agreeing = voters.iter().filter(|&&voter| agrees(voter));
    // Once they are enough, nobody else is asked.
    agreeing.take(needed).count() == needed
}

/// How the vote among `voters` stands, where `vote` tells what a voter said, if anything.
/// With no voters the vote is won.
#[must_use]
pub fn majority_vote(voters: &[NodeId], vote: impl Fn(NodeId) -> Option<bool>) -> VoteResult {
    if voters.is_empty() {
        return VoteResult::Won;
    }
    let needed = majority(voters.len());
    let votes: (usize, usize) = voters
        .iter()
        .fold((0, 0), |(yes, no), &voter| match vote(voter) {
            Some(true) => (yes + 1, no),
            Some(false) => (yes, no + 1),
            None => (yes, no),
        });
    let (yes, no) = votes;
    if yes >= needed {
        VoteResult::Won
    } else if voters.len() - no < needed {
        VoteResult::Lost
    } else {
        VoteResult::Pending
    }
}

/// How a vote stands that both halves have to win.
#[must_use]
pub fn joint_vote(
    incoming: &[NodeId],
    outgoing: &[NodeId],
    vote: impl Fn(NodeId) -> Option<bool>,
) -> VoteResult {
    match (
        majority_vote(incoming, &vote),
        majority_vote(outgoing, &vote),
    ) {
        (VoteResult::Lost, _) | (_, VoteResult::Lost) => VoteResult::Lost,
        (VoteResult::Won, VoteResult::Won) => VoteResult::Won,
        (VoteResult::Pending, _) | (_, VoteResult::Pending) => VoteResult::Pending,
    }
}

/// Who voted how in one election: a small list sorted by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tally {
    votes: Vec<(NodeId, bool)>,
}

impl Tally {
    /// Notes a vote. Only a voter's first word counts, so a duplicate changes nothing.
    pub fn record(&mut self, voter: NodeId, granted: bool) {
        if let Err(position) = self.votes.binary_search_by_key(&voter, |&(id, _)| id) {
            self.votes.insert(position, (voter, granted));
        }
    }

    /// What this voter said, if anything.
    #[must_use]
    pub fn vote(&self, voter: NodeId) -> Option<bool> {
        let position = self
            .votes
            .binary_search_by_key(&voter, |&(id, _)| id)
            .ok()?;
        self.votes.get(position).map(|&(_, granted)| granted)
    }
}
