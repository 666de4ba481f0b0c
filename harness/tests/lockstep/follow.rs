//! What a decision asks of raft-rs after an input: to go on where it would wait, to step down.
//!
//! Owns the rules that bring raft-rs to where almadia is by calls of its own API. What it sends by
//! that is compared as everything else.

use almadia::{Body, MembershipChange, Message, NodeId, Payload, ProgressState, RoleKind, Storage};
use raft::StateRole;
use raft::eraftpb::{Entry, EntryType, MessageType};

use crate::ours::Output;
use crate::pair::{Before, Input, Pair, Stop};
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
            self.note_answer(message);
        }
        self.note_ends(&ours.messages);
        self.forget_commits(before);
        self.mend_state(before, input);
        self.end_transfer(input);
        loop {
            self.leave_joint();
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

    /// A transfer fails after an election timeout of its own.
    fn end_transfer(&mut self, input: &Input) {
        let ours = self.ours.node.basic_status().transferee;
        let raft = &mut self.theirs.node.raft;
        let theirs = raft.lead_transferee.and_then(NodeId::new);
        if matches!(input, Input::Tick) && raft.state == StateRole::Leader && ours != theirs {
            self.rules.apply(Rule::TransferClock);
            raft.lead_transferee = ours.map(NodeId::get);
        }
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
        let may_leave = before.auto_leave || raft.lead_transferee.is_some();
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

    /// The entry that leaves a joint configuration, which raft-rs proposes in fewer cases.
    fn leave_joint(&mut self) {
        let node = &self.ours.node;
        let next = self.theirs.node.raft.raft_log.last_index() + 1;
        if node.role() != RoleKind::Leader || node.last_log().index.0 < next {
            return;
        }
        let index = almadia::LogIndex(next);
        let request = almadia::EntriesRequest::new(index, index, u64::MAX, almadia::Purpose::Scan);
        let entries = node.storage().entries(&request).expect("it is persisted");
        let raft = &mut self.theirs.node.raft;
        if !entries.iter().all(leaves_joint) || raft.state != StateRole::Leader {
            return;
        }
        self.rules.apply(Rule::JointLeft);
        let mut entry = Entry::default();
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        assert!(raft.append_entry(&mut [entry]), "there is no limit");
        raft.pending_conf_index = next;
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
            raft.send_append(peer.get());
            let ours_state = self.ours.node.progress(peer).map(almadia::Progress::state);
            let is_nudge = matches!(ours_state, Some(ProgressState::Replicate { .. })) && repeats;
            self.rules.apply(if is_nudge {
                Rule::CommitRepeated
            } else {
                Rule::AtOnce
            });
        }
    }
}

pub(crate) fn leaves_joint(entry: &almadia::Entry) -> bool {
    matches!(&entry.payload, Payload::Change(change)
        if **change == MembershipChange::leave_joint())
}
