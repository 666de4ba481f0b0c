//! What a decision asks of raft-rs after an input: to go on where it would wait, to step down.
//!
//! Owns the rules that bring raft-rs to where almadia is by calls of its own API. What it sends by
//! that is compared as everything else.

use almadia::{Body, MembershipChange, Message, NodeId, Payload, ProgressState, RoleKind, Storage};
use raft::StateRole;
use raft::eraftpb::{Entry, EntryType, MessageType};

use crate::ours::Output;
use crate::pair::{Before, Input, Pair, Stop, different, same};
use crate::reads::Asked;
use crate::rules::Rule;

impl Pair {
    pub(crate) fn follow_up(
        &mut self,
        before: &Before,
        input: &Input,
        ours: &Output,
        theirs: &mut Output,
    ) -> Result<(), Stop> {
        if let Input::Message(message) = input {
            if message.term.0 == before.term {
                self.note_answer(message);
            }
        }
        self.note_ends(&ours.messages);
        self.forget_commits(before);
        self.mend_state(before, input);
        self.end_transfer(input)?;
        loop {
            self.leave_joint()?;
            self.give_queued_reads()?;
            self.send_at_once(before, input, ours, theirs);
            let mut more = self.drain_theirs(before, ours);
            if more.messages.is_empty() && more.written.is_empty() && more.applied.is_empty() {
                theirs.reads.append(&mut more.reads);
                break;
            }
            theirs.messages.append(&mut more.messages);
            theirs.written.append(&mut more.written);
            theirs.applied.append(&mut more.applied);
            theirs.reads.append(&mut more.reads);
            theirs.refused_changes += more.refused_changes;
        }
        let raft = &self.theirs.node.raft;
        if raft.term != before.term || self.ours.node.role() != before.role {
            self.reads.forget_theirs();
        }
        Ok(())
    }

    /// What peers told an earlier leader of the same name is not known to this one.
    fn forget_commits(&mut self, before: &Before) {
        let id = self.id().get();
        let raft = &mut self.theirs.node.raft;
        if raft.state != StateRole::Leader || before.role == RoleKind::Leader {
            return;
        }
        let mut is_kept = false;
        for (&peer, progress) in raft.mut_prs().iter_mut() {
            if peer != id && progress.committed_index > 0 {
                is_kept = true;
                progress.committed_index = 0;
            }
        }
        if is_kept {
            self.rules.apply(Rule::CommitsForgotten);
        }
    }

    /// A transfer fails after an election timeout of its own, to the tick.
    fn end_transfer(&mut self, input: &Input) -> Result<(), Stop> {
        let ours = self.ours.node.basic_status().transferee;
        let timeout = self.ours.node.config().election_timeout_ticks();
        let raft = &mut self.theirs.node.raft;
        let leads = raft.state == StateRole::Leader;
        if let (Input::Tick, true, Some((transferee, ticks))) = (input, leads, &mut self.transfer) {
            *ticks += 1;
            let expected = Some(*transferee).filter(|_| *ticks < timeout);
            same("transfer", &ours, &expected)?;
            let theirs = raft.lead_transferee.and_then(NodeId::new);
            if ours != theirs {
                self.rules.apply(Rule::TransferClock);
                raft.lead_transferee = ours.map(NodeId::get);
            }
        }
        let earlier = self.transfer.filter(|earlier| Some(earlier.0) == ours);
        self.transfer = earlier.or_else(|| Some((ours?, 0)));
        Ok(())
    }

    /// The leader that has sent TimeoutNow follows.
    pub(crate) fn hand_over(&mut self, ours: &Output) -> Result<(), Stop> {
        let leaves = |message: &Message| message.body == Body::TimeoutNow;
        let raft = &mut self.theirs.node.raft;
        let also_leaves = raft
            .msgs
            .iter()
            .any(|message| message.get_msg_type() == MessageType::MsgTimeoutNow);
        if ours.messages.iter().any(leaves) && also_leaves && raft.state == StateRole::Leader {
            self.give_queued_reads()?;
            self.rules.apply(Rule::StepsDownForTransfer);
            let raft = &mut self.theirs.node.raft;
            raft.become_follower(raft.term, raft::INVALID_ID);
        }
        Ok(())
    }

    /// almadia leaves a joint configuration after an apply, and not during a transfer, as nothing
    /// is proposed then. raft-rs does so with any `Ready`; until almadia does, it is kept from it.
    pub(crate) fn drain_theirs(&mut self, before: &Before, ours: &Output) -> Output {
        let pending = self.hold_leave(before, ours);
        let output = self.theirs.drain();
        self.release_leave(pending);
        output
    }

    fn hold_leave(&mut self, before: &Before, ours: &Output) -> Option<u64> {
        let raft = &mut self.theirs.node.raft;
        let may_leave = before.membership.auto_leave() || raft.lead_transferee.is_some();
        let is_transferring = self.ours.node.basic_status().transferee.is_some();
        if !may_leave || (ours.written.iter().any(leaves_joint) && !is_transferring) {
            return None;
        }
        Some(std::mem::replace(&mut raft.pending_conf_index, u64::MAX))
    }

    fn release_leave(&mut self, pending: Option<u64>) {
        let raft = &mut self.theirs.node.raft;
        // A new role has begun with an index of its own.
        if let Some(pending) = pending.filter(|_| raft.pending_conf_index == u64::MAX) {
            raft.pending_conf_index = pending;
        }
    }

    /// Whether this leader has to leave its joint configuration: one that asks for it, no change of
    /// it is on its way, and no transfer.
    fn is_to_leave(&self) -> bool {
        let raft = &self.theirs.node.raft;
        raft.state == StateRole::Leader
            && self.theirs.conf_state().auto_leave
            && !raft.has_pending_conf()
            && raft.lead_transferee.is_none()
    }

    /// A joint configuration that is to be left is left with the next apply, or when the transfer
    /// has failed that stood in the way.
    pub(crate) fn judge_joint(
        &self,
        before: &Before,
        input: &Input,
        ours: &Output,
    ) -> Result<(), Stop> {
        let has_failed = before.is_transferring && matches!(input, Input::Tick);
        let is_occasion = before.role == RoleKind::Leader && !ours.applied.is_empty() || has_failed;
        if is_occasion && self.ours.node.membership().is_joint() && self.is_to_leave() {
            return different("the joint configuration is not left".into());
        }
        Ok(())
    }

    /// The entry that leaves a joint configuration, which raft-rs proposes in fewer cases.
    fn leave_joint(&mut self) -> Result<(), Stop> {
        let node = &self.ours.node;
        let next = self.theirs.node.raft.raft_log.last_index() + 1;
        if node.role() != RoleKind::Leader || node.last_log().index.0 < next {
            return Ok(());
        }
        let index = almadia::LogIndex(next);
        let request = almadia::EntriesRequest::new(index, index, u64::MAX, almadia::Purpose::Scan);
        let entries = node.storage().entries(&request).expect("it is persisted");
        let leads = self.theirs.node.raft.state == StateRole::Leader;
        if !entries.iter().all(leaves_joint) || !leads {
            return Ok(());
        }
        if !self.is_to_leave() {
            return different("a joint configuration is left that is to stay".into());
        }
        self.rules.apply(Rule::JointLeft);
        let raft = &mut self.theirs.node.raft;
        let mut entry = Entry::default();
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        assert!(raft.append_entry(&mut [entry]), "there is no limit");
        raft.pending_conf_index = next;
        Ok(())
    }

    fn give_queued_reads(&mut self) -> Result<(), Stop> {
        let raft = &self.theirs.node.raft;
        if raft.state != StateRole::Leader || !raft.commit_to_current_term() {
            return Ok(());
        }
        for asked in self.reads.take_queued() {
            self.has_asked_late = true;
            match asked {
                Asked::Here(context) => self.theirs.node.read_index(context.to_vec()),
                Asked::ByPeer(message) => self.step_theirs(&message)?,
            }
        }
        Ok(())
    }

    /// What almadia has sent of its log, and raft-rs would send with the next occasion.
    fn send_at_once(&mut self, before: &Before, input: &Input, ours: &Output, theirs: &Output) {
        if self.theirs.node.raft.state != StateRole::Leader {
            return;
        }
        let is_of_log = |message: &&Message| {
            matches!(
                message.body,
                Body::AppendEntries(_) | Body::InstallSnapshot(_)
            )
        };
        let id = self.id();
        let members = self.ours.node.membership().members();
        for peer in members.into_iter().filter(|&member| member != id) {
            let to_peer = |message: &&Message| message.to == peer;
            let is_sent = ours
                .messages
                .iter()
                .filter(is_of_log)
                .any(|it| to_peer(&it));
            let was_sent = theirs
                .messages
                .iter()
                .filter(is_of_log)
                .any(|it| to_peer(&it));
            if !is_sent
                || self.is_first_probe(before, peer)
                || self.window_was_full(before, input, peer)
            {
                continue;
            }
            let raft = &mut self.theirs.node.raft;
            let last = raft.raft_log.last_index();
            let Some(progress) = raft.prs().get(peer.get()) else {
                continue;
            };
            let streams = progress.state == raft::ProgressState::Replicate;
            let has_more = streams && progress.next_idx <= last;
            if progress.is_paused() || (was_sent && !has_more) {
                continue;
            }
            let repeats = streams && !has_more;
            let ours_state = self.ours.node.progress(peer).map(almadia::Progress::state);
            let is_nudge = matches!(ours_state, Some(ProgressState::Replicate { .. })) && repeats;
            if is_nudge && !self.may_repeat(input, peer, ours) {
                continue;
            }
            let raft = &mut self.theirs.node.raft;
            raft.send_append(peer.get());
            self.rules.apply(if is_nudge {
                Rule::CommitRepeated
            } else {
                Rule::AtOnce
            });
        }
    }
}

impl Pair {
    /// Whether an append without entries has a reason: the peer has answered a heartbeat, or is
    /// told a commit index that it is not known to know.
    fn may_repeat(&self, input: &Input, peer: NodeId, ours: &Output) -> bool {
        let (known, _) = self.known_commit(peer);
        is_answer_of(input, peer)
            || ours.messages.iter().any(|message| {
                matches!(&message.body, Body::AppendEntries(append)
                    if message.to == peer && append.leader_commit > known)
            })
    }
}

/// Whether this peer has answered a heartbeat.
pub(crate) fn is_answer_of(input: &Input, peer: NodeId) -> bool {
    matches!(input, Input::Message(Message { from, body, .. })
        if *from == peer && matches!(body, Body::HeartbeatResponse(_)))
}

pub(crate) fn leaves_joint(entry: &almadia::Entry) -> bool {
    matches!(&entry.payload, Payload::Change(change)
        if **change == MembershipChange::leave_joint())
}
