//! Who belongs to the cluster, and how that changes (Raft 6, Thesis 4).
//!
//! Owns [`Membership`], a configuration that is always consistent, its plain form [`ConfState`],
//! and the arithmetic of changes, joint ones included. Pure: knows nothing of logs, terms or roles.
//! When a change may be proposed and when it takes effect is decided in `raft/reconfigure.rs`.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU64;

use bytes::Bytes;
use thiserror::Error;

use crate::quorum::{self, GroupedIndex, Tally, VoteResult};
use crate::types::{LogIndex, NodeId};

/// A membership as it is stored and sent: plain lists that nobody has checked yet.
///
/// [`Membership::try_from`] checks it. The core itself always emits the lists in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConfState {
    /// The voters; in a joint configuration those of the incoming half.
    pub voters: Vec<NodeId>,
    /// The members that receive the log and do not vote.
    pub learners: Vec<NodeId>,
    /// The voters of the outgoing half; empty unless the configuration is joint.
    pub voters_outgoing: Vec<NodeId>,
    /// Outgoing voters that become learners when the joint configuration is left.
    pub learners_next: Vec<NodeId>,
    /// Whether the leader leaves the joint configuration by itself.
    pub auto_leave: bool,
}

impl ConfState {
    /// The configuration of these voters and no learners.
    #[must_use]
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self {
            voters: sorted(voters),
            ..Self::default()
        }
    }
}

/// One member's part in a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberChange {
    /// The node becomes a voter; a learner is promoted.
    AddVoter(NodeId),
    /// The node becomes a learner; a voter is demoted.
    AddLearner(NodeId),
    /// The node leaves. Nobody sends to it any more once the change is applied, so it may never
    /// learn that it was removed: it is for the operator to stop it, once another node has applied
    /// the removal.
    Remove(NodeId),
    /// Nobody's part changes. raft-rs reads a change of node 0 like this, and counts it where the
    /// number of changes decides between one step and a joint configuration.
    Nothing,
}

impl MemberChange {
    /// Whose part changes.
    #[must_use]
    pub const fn node(self) -> Option<NodeId> {
        match self {
            Self::AddVoter(id) | Self::AddLearner(id) | Self::Remove(id) => Some(id),
            Self::Nothing => None,
        }
    }
}

/// Whether a change goes through a joint configuration, and who leaves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transition {
    /// One step if that is safe, else as [`Transition::Implicit`].
    #[default]
    Auto,
    /// Joint; the leader leaves it as soon as it is in force.
    Implicit,
    /// Joint, until somebody proposes [`MembershipChange::leave_joint`].
    Explicit,
}

/// Which of raft-rs's two encodings a change was read from or goes into. Without influence on the
/// protocol; kept so that a log can be written back as it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChangeForm {
    /// `ConfChange`: one member at a time, with an id chosen by the application.
    V1 {
        /// The application's id.
        id: u64,
    },
    /// `ConfChangeV2`.
    #[default]
    V2,
}

/// A change of membership as a log entry carries it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MembershipChange {
    /// What happens to whom. None: leave the joint configuration.
    pub changes: Vec<MemberChange>,
    /// By which way.
    pub transition: Transition,
    /// Whatever the proposer wants to see again; the core never reads it.
    pub context: Bytes,
    /// The encoding it belongs to.
    pub form: ChangeForm,
}

impl MembershipChange {
    /// These changes, in one step if there is only one, else through a joint configuration that
    /// the leader leaves by itself. Without any change it is [`leave_joint`](Self::leave_joint).
    #[must_use]
    pub fn of(changes: impl IntoIterator<Item = MemberChange>) -> Self {
        Self {
            changes: changes.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The change that leaves a joint configuration.
    #[must_use]
    pub fn leave_joint() -> Self {
        Self::default()
    }

    /// Whether this is [`MembershipChange::leave_joint`].
    #[must_use]
    pub fn is_leave_joint(&self) -> bool {
        self.changes.is_empty() && self.transition == Transition::Auto
    }

    /// What the change counts for in limits, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.changes.len() as u64 * 16 + self.context.len() as u64
    }

    /// For a joint change whether the leader is to leave by itself; `None` for a change in one
    /// step.
    fn joint_auto_leave(&self) -> Option<bool> {
        match self.transition {
            Transition::Auto => (self.changes.len() > 1).then_some(true),
            Transition::Implicit => Some(true),
            Transition::Explicit => Some(false),
        }
    }
}

/// Why a configuration or a change of it is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MembershipError {
    /// A configuration needs a voter.
    #[error("the configuration has members but no voter")]
    NoVoters,
    /// A node stands twice in one list, or in two that exclude each other.
    #[error("node {0} has two parts in the configuration that exclude each other")]
    Conflict(NodeId),
    /// A node is to become a learner on leaving a joint configuration, but is no outgoing voter.
    #[error("node {0} is in learners_next without being an outgoing voter")]
    NotOutgoing(NodeId),
    /// `auto_leave` is set, but there is nothing to leave.
    #[error("auto_leave is set on a configuration that is not joint")]
    NothingToLeave,
    /// A change was asked for while the configuration is joint.
    #[error("the configuration is joint; leave it before the next change")]
    AlreadyJoint,
    /// Leaving was asked for, but the configuration is not joint.
    #[error("the configuration is not joint, so it cannot be left")]
    NotJoint,
    /// A change in one step may change one voter at most (Thesis 4.1).
    #[error("more than one voter would change in one step; use a joint change")]
    NeedsJoint,
}

/// A consistent configuration: every voter list sorted and free of repetition, learners apart
/// from voters. Empty only on a node that has not been told yet whom it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Membership {
    incoming: Vec<NodeId>,
    learners: Vec<NodeId>,
    /// Boxed, because a configuration is mostly not joint.
    leaving: Option<Box<Leaving>>,
}

/// What a joint configuration has beside what follows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Leaving {
    outgoing: Vec<NodeId>,
    learners_next: Vec<NodeId>,
    auto_leave: bool,
}

impl Membership {
    /// The voters; in a joint configuration those of the incoming half. Ascending.
    #[must_use]
    pub fn incoming(&self) -> &[NodeId] {
        &self.incoming
    }

    /// The voters of the outgoing half, ascending; empty unless joint.
    #[must_use]
    pub fn outgoing(&self) -> &[NodeId] {
        self.leaving
            .as_ref()
            .map_or(&[], |leaving| &leaving.outgoing)
    }

    /// The learners, ascending.
    #[must_use]
    pub fn learners(&self) -> &[NodeId] {
        &self.learners
    }

    /// The outgoing voters that become learners when the joint configuration is left. Ascending.
    #[must_use]
    pub fn learners_next(&self) -> &[NodeId] {
        self.leaving
            .as_ref()
            .map_or(&[], |leaving| &leaving.learners_next)
    }

    /// Whether two majorities have to agree.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        self.leaving.is_some()
    }

    /// Whether the leader leaves the joint configuration by itself.
    #[must_use]
    pub fn auto_leave(&self) -> bool {
        self.leaving
            .as_ref()
            .is_some_and(|leaving| leaving.auto_leave)
    }

    /// Whether nobody has told this node yet whom it belongs to.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.incoming.is_empty()
    }

    /// Whether the node votes, in either half.
    #[must_use]
    #[inline]
    pub fn is_voter(&self, id: NodeId) -> bool {
        has(&self.incoming, id) || has(self.outgoing(), id)
    }

    /// Whether the node is a voter or a learner.
    #[must_use]
    #[inline]
    pub fn contains(&self, id: NodeId) -> bool {
        self.is_voter(id) || has(&self.learners, id)
    }

    /// All members, ascending, each once.
    #[must_use]
    pub fn members(&self) -> Vec<NodeId> {
        sorted(
            [self.incoming(), self.outgoing(), self.learners()]
                .into_iter()
                .flatten()
                .copied(),
        )
    }

    /// The voters of both halves, ascending, each once.
    #[must_use]
    pub fn voters(&self) -> Vec<NodeId> {
        sorted(self.incoming.iter().chain(self.outgoing()).copied())
    }

    /// The highest index that a quorum has acknowledged; zero if there are no voters, because a
    /// node without a configuration commits nothing.
    #[must_use]
    #[inline]
    pub fn quorum_index(&self, acknowledged: impl Fn(NodeId) -> LogIndex) -> LogIndex {
        quorum::joint_index(&self.incoming, self.outgoing(), acknowledged).unwrap_or_default()
    }

    /// The highest index that a quorum has acknowledged, and members of two groups in each half;
    /// see [`quorum::grouped_index`].
    #[must_use]
    pub fn grouped_index(
        &self,
        acknowledged: impl Fn(NodeId) -> LogIndex,
        group: impl Fn(NodeId) -> Option<NonZeroU64>,
    ) -> GroupedIndex {
        let halves = [self.incoming(), self.outgoing()].into_iter();
        halves
            .filter_map(|half| quorum::grouped_index(half, &acknowledged, &group))
            .reduce(|first, second| GroupedIndex {
                index: first.index.min(second.index),
                spans_groups: first.spans_groups && second.spans_groups,
            })
            .unwrap_or_default()
    }

    /// How a vote stands.
    #[must_use]
    pub fn vote_result(&self, tally: &Tally) -> VoteResult {
        quorum::joint_vote(&self.incoming, self.outgoing(), |voter| tally.vote(voter))
    }

    /// Whether a single node may be a quorum. If not, nothing is decided before somebody answers.
    #[must_use]
    #[inline]
    pub(crate) fn one_may_decide(&self) -> bool {
        self.incoming.len() <= 1 && self.outgoing().len() <= 1
    }

    /// Whether the voters for which `active` holds are a quorum.
    #[must_use]
    pub fn has_quorum(&self, active: impl Fn(NodeId) -> bool) -> bool {
        quorum::majority_agrees(&self.incoming, &active)
            && quorum::majority_agrees(self.outgoing(), &active)
    }

    /// The configuration after `change`: one of [`changed_in_one_step`](Self::changed_in_one_step),
    /// [`entered_joint`](Self::entered_joint) and [`left_joint`](Self::left_joint), whichever it
    /// asks for.
    ///
    /// # Errors
    ///
    /// Why the change is impossible from here.
    pub fn changed(&self, change: &MembershipChange) -> Result<Self, MembershipError> {
        if change.is_leave_joint() {
            return self.left_joint();
        }
        match change.joint_auto_leave() {
            Some(auto_leave) => self.entered_joint(&change.changes, auto_leave),
            None => self.changed_in_one_step(&change.changes),
        }
    }

    /// The configuration after all of these changes at once, without a joint one in between. They
    /// may come to one voter more or less (Thesis 4.1), and to any number of learners.
    ///
    /// # Errors
    ///
    /// Why the changes are impossible from here.
    pub fn changed_in_one_step(&self, changes: &[MemberChange]) -> Result<Self, MembershipError> {
        if self.is_joint() {
            return Err(MembershipError::AlreadyJoint);
        }
        let mut next = self.to_conf_state();
        change_members(&mut next, changes)?;
        let next = Self::try_from(&next)?;
        if next.voters_changed_from(self) > 1 {
            return Err(MembershipError::NeedsJoint);
        }
        Ok(next)
    }

    /// The joint configuration of this one and the one after these changes (Thesis 4.3).
    /// `auto_leave` tells whether the leader is to leave it by itself.
    ///
    /// # Errors
    ///
    /// Why the changes are impossible from here.
    pub fn entered_joint(
        &self,
        changes: &[MemberChange],
        auto_leave: bool,
    ) -> Result<Self, MembershipError> {
        if self.is_joint() {
            return Err(MembershipError::AlreadyJoint);
        }
        if self.is_empty() {
            return Err(MembershipError::NoVoters);
        }
        let mut next = self.to_conf_state();
        next.voters_outgoing.clone_from(&self.incoming);
        next.auto_leave = auto_leave;
        change_members(&mut next, changes)?;
        Self::try_from(&next)
    }

    /// The incoming half of a joint configuration, alone.
    ///
    /// # Errors
    ///
    /// [`MembershipError::NotJoint`].
    pub fn left_joint(&self) -> Result<Self, MembershipError> {
        let mut next = self.clone();
        let leaving = next.leaving.take().ok_or(MembershipError::NotJoint)?;
        for learner in leaving.learners_next {
            insert(&mut next.learners, learner);
        }
        Ok(next)
    }

    fn voters_changed_from(&self, before: &Self) -> usize {
        let gone = before
            .incoming
            .iter()
            .filter(|&&id| !has(&self.incoming, id))
            .count();
        let come = self
            .incoming
            .iter()
            .filter(|&&id| !has(&before.incoming, id))
            .count();
        gone + come
    }

    /// The plain form, lists ascending.
    #[must_use]
    pub fn to_conf_state(&self) -> ConfState {
        ConfState {
            voters: self.incoming.clone(),
            learners: self.learners.clone(),
            voters_outgoing: self.outgoing().to_vec(),
            learners_next: self.learners_next().to_vec(),
            auto_leave: self.auto_leave(),
        }
    }
}

/// Written `voters [1, 2, 3]`, then what else there is.
impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "voters {:?}", self.incoming)?;
        let others = [
            (" and (outgoing) ", self.outgoing()),
            (", learners ", self.learners()),
            (", learners next ", self.learners_next()),
        ];
        for (what, ids) in others {
            if !ids.is_empty() {
                write!(f, "{what}{ids:?}")?;
            }
        }
        if self.auto_leave() {
            f.write_str(", left by itself")?;
        }
        Ok(())
    }
}

impl TryFrom<&ConfState> for Membership {
    type Error = MembershipError;

    fn try_from(state: &ConfState) -> Result<Self, MembershipError> {
        let leaving = Leaving {
            outgoing: distinct(&state.voters_outgoing)?,
            learners_next: distinct(&state.learners_next)?,
            auto_leave: state.auto_leave,
        };
        let incoming = distinct(&state.voters)?;
        let learners = distinct(&state.learners)?;
        let has_others = !learners.is_empty() || !leaving.outgoing.is_empty();
        if incoming.is_empty() && has_others {
            return Err(MembershipError::NoVoters);
        }
        for &id in &leaving.learners_next {
            if has(&incoming, id) {
                return Err(MembershipError::Conflict(id));
            }
            if !has(&leaving.outgoing, id) {
                return Err(MembershipError::NotOutgoing(id));
            }
        }
        let is_joint = !leaving.outgoing.is_empty();
        if leaving.auto_leave && !is_joint {
            return Err(MembershipError::NothingToLeave);
        }
        let membership = Self {
            incoming,
            learners,
            leaving: is_joint.then(|| Box::new(leaving)),
        };
        let mut learners = membership.learners.iter();
        match learners.find(|&&id| membership.is_voter(id)) {
            Some(&both) => Err(MembershipError::Conflict(both)),
            None => Ok(membership),
        }
    }
}

fn change_members(state: &mut ConfState, changes: &[MemberChange]) -> Result<(), MembershipError> {
    for &change in changes {
        change_member(state, change);
    }
    if state.voters.is_empty() {
        return Err(MembershipError::NoVoters);
    }
    Ok(())
}

/// The lists are in order, and stay so.
fn change_member(state: &mut ConfState, change: MemberChange) {
    let Some(id) = change.node() else {
        return;
    };
    remove(&mut state.learners, id);
    remove(&mut state.learners_next, id);
    remove(&mut state.voters, id);
    match change {
        MemberChange::AddVoter(_) => insert(&mut state.voters, id),
        // An outgoing voter keeps its vote until the joint configuration is left.
        MemberChange::AddLearner(_) if has(&state.voters_outgoing, id) => {
            insert(&mut state.learners_next, id);
        }
        MemberChange::AddLearner(_) => insert(&mut state.learners, id),
        MemberChange::Remove(_) | MemberChange::Nothing => {}
    }
}

fn sorted(ids: impl IntoIterator<Item = NodeId>) -> Vec<NodeId> {
    let mut ids: Vec<NodeId> = ids.into_iter().collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn distinct(ids: &[NodeId]) -> Result<Vec<NodeId>, MembershipError> {
    let mut distinct = Vec::with_capacity(ids.len());
    for &id in ids {
        if has(&distinct, id) {
            return Err(MembershipError::Conflict(id));
        }
        insert(&mut distinct, id);
    }
    Ok(distinct)
}

/// Up to so many ids are read through sooner than searched.
const FEW: usize = 8;

#[inline]
fn has(ids: &[NodeId], id: NodeId) -> bool {
    if ids.len() <= FEW {
        ids.contains(&id)
    } else {
        ids.binary_search(&id).is_ok()
    }
}

fn insert(ids: &mut Vec<NodeId>, id: NodeId) {
    if let Err(position) = ids.binary_search(&id) {
        ids.insert(position, id);
    }
}

fn remove(ids: &mut Vec<NodeId>, id: NodeId) {
    if let Ok(position) = ids.binary_search(&id) {
        ids.remove(position);
    }
}
