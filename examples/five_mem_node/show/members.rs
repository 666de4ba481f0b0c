//! The acts in which the cluster changes while it works: a node joins, another one leaves, and
//! leadership is handed over.
//!
//! Owns the order of the changes and how their success is seen. How to wait is in `show.rs`.

use almadia::{ConfState, LogIndex, MemberChange, MembershipChange, NodeId, Transition};

use super::{REPEAT_INTERVAL, Show};
use crate::cluster::NODES;
use crate::mail::{AnyError, Input};

/// How often a transfer is tried.
const TRANSFER_ATTEMPTS: u32 = 20;

impl Show {
    /// A node with an empty disk joins without a vote. The others have compacted their logs, so it
    /// begins with a snapshot.
    pub(super) fn add_learner(&mut self) -> Result<NodeId, AnyError> {
        let id = NodeId::new(NODES + 1).ok_or("node ids start at 1")?;
        self.cluster.add(id);
        self.installed.clear();
        self.cluster.start(id)?;
        self.tell(format!(
            "node {id} starts with an empty disk, and is to be added as a learner"
        ));
        let change = MembershipChange::of([MemberChange::AddLearner(id)]);
        self.change_members(change, |members| members.learners.contains(&id))?;
        self.wait_until("the learner to install a snapshot", |show| {
            show.installed.contains(&id)
        })?;

        // It has caught up if a read there sees all that was answered before the read began.
        let answered = self.client.answered();
        self.read = None;
        self.insist(
            "a read at the learner",
            |show| {
                show.cluster.send(id, Input::Read);
            },
            |show| show.read.is_some(),
        )?;
        let seen = self.read.unwrap_or_default();
        if seen < answered {
            return Err(format!(
                "a read at node {id} saw {seen} commands, but {answered} were answered before"
            )
            .into());
        }
        self.tell(format!(
            "learner {id} has caught up: a linearizable read there sees {seen} commands, \
             of which {answered} were answered before"
        ));
        Ok(id)
    }

    /// The learner gets a vote. It has caught up, so commands do not wait for it (Thesis 4.2.1).
    pub(super) fn promote(&mut self, id: NodeId) -> Result<(), AnyError> {
        let change = MembershipChange::of([MemberChange::AddVoter(id)]);
        self.change_members(change, |members| members.voters.contains(&id))?;
        self.wait_until("all nodes to know the new voter", |show| {
            show.all_know(None, |members| members.voters.contains(&id))
        })?;
        self.tell(format!("node {id} is promoted to a voter"));
        Ok(())
    }

    /// One of the first five leaves, through a joint configuration (Thesis 4.3). One voter less
    /// could be had in one step too; a change of several voters could not.
    pub(super) fn remove_an_old_voter(&mut self, newcomer: NodeId) -> Result<(), AnyError> {
        let leader = self.leader()?;
        let running = self.cluster.running();
        let leaver = running
            .into_iter()
            .find(|id| *id != leader && *id != newcomer)
            .ok_or("there is no follower to remove")?;
        self.tell(format!(
            "node {leaver} is to be removed through a joint configuration"
        ));
        let change = MembershipChange {
            changes: vec![MemberChange::Remove(leaver)],
            transition: Transition::Implicit,
            ..MembershipChange::default()
        };
        self.change_members(change, |members| !members.voters.contains(&leaver))?;
        // The one who leaves need not hear of it: nobody sends it anything any more.
        self.wait_until("the joint configuration to be left", |show| {
            show.all_know(Some(leaver), |members| {
                !is_joint(members) && !members.voters.contains(&leaver)
            })
        })?;
        self.kill(leaver)?;
        self.tell(format!("node {leaver} is removed, and stopped"));
        Ok(())
    }

    /// The newcomer is to lead; if it does so already, another node.
    pub(super) fn transfer_leadership(&mut self, newcomer: NodeId) -> Result<(), AnyError> {
        for _ in 0..TRANSFER_ATTEMPTS {
            let leader = self.leader()?;
            let mut others = self.cluster.running();
            others.retain(|id| *id != leader);
            let transferee = if leader == newcomer {
                *others.first().ok_or("there is nobody else to lead")?
            } else {
                newcomer
            };
            self.transfer = None;
            self.client.hurry(&self.cluster);
            let in_flight = self.client.in_flight();
            self.tell(format!(
                "node {leader} is to hand leadership over to node {transferee}, \
                 with {in_flight} commands in flight"
            ));
            self.cluster
                .send(leader, Input::TransferLeader { transferee });
            self.wait_until("a transfer to end", |show| show.transfer.is_some())?;
            match self.transfer.take() {
                Some(Err(reason)) => self.tell(format!("the transfer has failed: {reason}")),
                Some(Ok(())) | None => {
                    self.tell(format!(
                        "the transfer has succeeded: node {transferee} leads in place of {leader}"
                    ));
                    return Ok(());
                }
            }
            self.pause(REPEAT_INTERVAL)?;
        }
        Err("leadership could not be transferred".into())
    }

    /// Proposes a change to whoever leads, until somebody has applied it. A leader refuses it while
    /// another change is in progress, and one that falls may take it along.
    fn change_members(
        &mut self,
        change: MembershipChange,
        is_applied: impl Fn(&ConfState) -> bool,
    ) -> Result<(), AnyError> {
        let propose = |show: &Self| {
            if let Some(leader) = show.client.leader() {
                let change = change.clone();
                show.cluster.send(leader, Input::ChangeMembership(change));
            }
        };
        self.insist("a membership change", propose, |show| {
            let latest = show.latest_members();
            latest.is_some_and(|(_, members)| is_applied(members))
        })
    }

    /// The latest membership that any node has told of.
    fn latest_members(&self) -> Option<&(LogIndex, ConfState)> {
        self.members.values().max_by_key(|(index, _)| *index)
    }

    /// Whether this holds for the membership on every running node, but for one.
    fn all_know(&self, but: Option<NodeId>, condition: impl Fn(&ConfState) -> bool) -> bool {
        let mut running = self.cluster.running().into_iter();
        running.all(|id| {
            let members = self.members.get(&id);
            Some(id) == but || members.is_some_and(|(_, members)| condition(members))
        })
    }

    /// Every node tells of a change when it applies it; the first one is news.
    pub(super) fn tell_change(&self, index: LogIndex, members: &ConfState) {
        let latest = self.latest_members();
        if latest.is_some_and(|(latest, _)| *latest >= index) {
            return;
        }
        let voters = list(&members.voters);
        let line = if is_joint(members) {
            let outgoing = list(&members.voters_outgoing);
            format!(
                "a joint configuration is entered: majorities of [{voters}] and [{outgoing}] agree"
            )
        } else if latest.is_some_and(|(_, latest)| is_joint(latest)) {
            format!("the joint configuration is left: the voters are [{voters}]")
        } else {
            let learners = list(&members.learners);
            format!("the voters are [{voters}], the learners [{learners}]")
        };
        self.tell(format!("with entry {index} {line}"));
    }
}

fn is_joint(members: &ConfState) -> bool {
    !members.voters_outgoing.is_empty()
}

fn list(ids: &[NodeId]) -> String {
    let ids: Vec<String> = ids.iter().map(NodeId::to_string).collect();
    ids.join(" ")
}
