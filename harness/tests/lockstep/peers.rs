//! The leaders' views of their peers: their comparison, and how raft-rs's is brought back.
//!
//! Owns what is known of a peer beyond what both nodes show: what it was told of the commit index,
//! and what is on its way to it. Where a decision lets the two views differ, raft-rs's becomes
//! almadia's, so that the case can go on.

use almadia::{
    AppendEntriesResponse, Body, HeartbeatResponse, LogIndex, Membership, Message, NodeId,
    Progress, ProgressState, RoleKind, Storage as _,
};
use raft::StateRole;

use crate::follow::is_answer_of;
use crate::messages::Run;
use crate::pair::{Before, Input, Pair, Stop};
use crate::rules::Rule;

/// What the leader has told a peer.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// The commit index that it was told or has told.
    told: LogIndex,
    /// Where the messages with entries ended that were sent to it.
    ends: Vec<LogIndex>,
}

impl Pair {
    /// What the peer's answer says about the commit index that it knows.
    pub(crate) fn note_answer(&mut self, message: &Message) {
        let view = self.views.entry(message.from).or_default();
        match message.body {
            Body::AppendEntriesResponse(
                AppendEntriesResponse::Accepted { commit_index, .. }
                | AppendEntriesResponse::Rejected { commit_index, .. }
                | AppendEntriesResponse::SnapshotRequested { commit_index, .. },
            ) => view.told = view.told.max(commit_index),
            Body::HeartbeatResponse(HeartbeatResponse { commit_index, .. }) => {
                view.told = commit_index;
            }
            Body::RequestVote(_)
            | Body::RequestVoteResponse(_)
            | Body::PreVote(_)
            | Body::PreVoteResponse(_)
            | Body::AppendEntries(_)
            | Body::AppendEntriesResponse(AppendEntriesResponse::TermOutdated)
            | Body::Heartbeat(_)
            | Body::InstallSnapshot(_)
            | Body::TimeoutNow
            | Body::Propose(_)
            | Body::ReadIndex(_)
            | Body::ReadIndexResponse(_)
            | Body::TransferLeader { .. } => {}
        }
    }

    pub(crate) fn note_sent(&mut self, peer: NodeId, runs: &[Run]) {
        let view = self.views.entry(peer).or_default();
        for run in runs {
            view.told = view.told.max(run.told);
        }
    }

    /// Each message, before they are merged.
    pub(crate) fn note_ends(&mut self, messages: &[Message]) {
        for message in messages {
            if let Body::AppendEntries(append) = &message.body {
                if let Some(last) = append.entries.last_id() {
                    let view = self.views.entry(message.to).or_default();
                    view.ends.push(last.index);
                }
            }
        }
    }

    /// The commit index that the peer knows, and whether raft-rs would tell it one all the same.
    pub(crate) fn known_commit(&self, peer: NodeId) -> (LogIndex, bool) {
        let told = self.views.get(&peer).map_or(LogIndex::ZERO, |it| it.told);
        let skips = self.ours.node.config().skip_commit_broadcast();
        (told, skips)
    }

    /// Whether the peer is a member since this very input.
    pub(crate) fn is_first_probe(&self, before: &Before, peer: NodeId) -> bool {
        before.role == RoleKind::Leader && !before.peers.contains_key(&peer)
    }

    /// Whether raft-rs takes a peer for a new one that one change has removed and added again.
    pub(crate) fn is_added_again(&self, before: &Before, peer: NodeId) -> bool {
        before.peers.contains_key(&peer) && before.added_again.contains(&peer)
    }

    /// Whether almadia may wait with what it has not to send: because there is no snapshot, or
    /// nobody to send it to; and for the next occasion, once it has found that out.
    pub(crate) fn may_wait(&self, before: &Before, input: &Input, peer: NodeId) -> bool {
        let Some(progress) = self.ours.node.progress(peer) else {
            return false;
        };
        let waits_on = before.fetching.contains(&peer) && !is_answer_of(input, peer);
        progress.is_fetching() && (waits_on || !self.can_be_sent_snapshot(peer, progress))
    }

    fn can_be_sent_snapshot(&self, peer: NodeId, progress: &Progress) -> bool {
        let saved = self.ours.node.storage().saved_snapshot();
        let is_member = |snapshot: &almadia::Snapshot| {
            Membership::try_from(&snapshot.conf_state).is_ok_and(|it| it.contains(peer))
        };
        progress.recently_active() && saved.is_some_and(is_member)
    }

    /// Whether a heartbeat was answered while the window was full.
    pub(crate) fn window_was_full(&self, before: &Before, input: &Input, peer: NodeId) -> bool {
        let Input::Message(message) = input else {
            return false;
        };
        message.from == peer
            && matches!(message.body, Body::HeartbeatResponse(_))
            && before.peers.get(&peer).is_some_and(|progress| {
                progress.state == raft::ProgressState::Replicate && progress.ins.full()
            })
    }

    /// An acknowledgement after a snapshot ends the waiting, if the log goes on from there.
    pub(crate) fn end_snapshot(&mut self, before: &Before, from: NodeId) {
        let ours = self.ours.node.progress(from).map(Progress::state);
        let streams = matches!(ours, Some(ProgressState::Replicate { .. }));
        let was = before.peers.get(&from).map(|progress| progress.state);
        let raft = &mut self.theirs.node.raft;
        if let (true, Some(raft::ProgressState::Snapshot), Some(theirs)) =
            (streams, was, raft.mut_prs().get_mut(from.get()))
        {
            theirs.pending_snapshot = theirs.matched;
            theirs.become_probe();
            self.rules.apply(Rule::SnapshotAnswered);
        }
    }

    /// The changes of state that an answer makes on one side alone, before anything is sent.
    pub(crate) fn mend_state(&mut self, before: &Before, input: &Input) {
        let Input::Message(message) = input else {
            return;
        };
        let (Some(was), Some(ours)) = (
            before.peers.get(&message.from),
            self.ours.node.progress(message.from),
        ) else {
            return;
        };
        let raft = &mut self.theirs.node.raft;
        let Some(theirs) = raft.mut_prs().get_mut(message.from.get()) else {
            return;
        };
        let is_pending = matches!(ours.state(),
            ProgressState::Snapshot { pending, .. } if pending.0 == was.pending_snapshot);
        let state = (was.state, theirs.state, ours.state());
        let rule = match (&message.body, state) {
            (
                Body::AppendEntriesResponse(AppendEntriesResponse::Accepted { .. }),
                (
                    raft::ProgressState::Probe,
                    raft::ProgressState::Probe,
                    // If the log does not go on from there, a snapshot has left at once.
                    ProgressState::Replicate { .. } | ProgressState::Snapshot { .. },
                ),
            ) => {
                theirs.become_replicate();
                Rule::ProbeAnswered
            }
            (
                Body::HeartbeatResponse(_),
                (
                    raft::ProgressState::Snapshot,
                    raft::ProgressState::Snapshot,
                    ProgressState::Probe { .. } | ProgressState::Snapshot { .. },
                ),
            ) if !is_pending => {
                theirs.become_probe();
                Rule::SnapshotAnswered
            }
            (
                Body::AppendEntriesResponse(AppendEntriesResponse::Rejected { prev_index, .. }),
                (
                    raft::ProgressState::Probe | raft::ProgressState::Replicate,
                    raft::ProgressState::Probe | raft::ProgressState::Replicate,
                    ProgressState::Probe { .. } | ProgressState::Snapshot { .. },
                ),
            ) if prev_index.0 == was.matched
                && (theirs.state == raft::ProgressState::Replicate
                    || theirs.next_idx != ours.next_index().0
                    || theirs.matched != ours.match_index().0) =>
            {
                let is_asked = theirs.next_idx == ours.next_index().0 && theirs.paused;
                theirs.matched = ours.match_index().0;
                theirs.become_probe();
                if let ProgressState::Probe { .. } = ours.state() {
                    theirs.next_idx = ours.next_index().0;
                }
                theirs.paused = is_asked;
                Rule::MatchDenied
            }
            _ => return,
        };
        self.rules.apply(rule);
    }

    /// Both views, peer by peer; differences that are decided end here.
    pub(crate) fn compare_peers(&mut self, before: &Before, input: &Input) -> Result<(), Stop> {
        if self.theirs.node.raft.state != StateRole::Leader {
            self.views.clear();
            return Ok(());
        }
        let id = self.id();
        let members = self.ours.node.membership().members();
        for peer in members.into_iter().filter(|&member| member != id) {
            let Some(ours) = self.ours.node.progress(peer).cloned() else {
                return Err(Stop::Difference(format!("almadia has no view of {peer}")));
            };
            let Some(theirs) = self.theirs.node.raft.prs().get(peer.get()).cloned() else {
                return Err(Stop::Difference(format!("raft-rs has no view of {peer}")));
            };
            let differing = differences(&ours, &theirs);
            if differing.is_empty() {
                continue;
            }
            let Some(rule) = self.explain(before, input, peer, &ours, &differing) else {
                return Err(Stop::Difference(format!(
                    "the views of {peer} differ in {differing:?}:\n  almadia {ours:?}\n  \
                     raft-rs {theirs:?}"
                )));
            };
            self.rules.apply(rule);
            self.take_view(peer, &ours);
        }
        Ok(())
    }

    fn explain(
        &self,
        before: &Before,
        input: &Input,
        peer: NodeId,
        ours: &Progress,
        differing: &[&str],
    ) -> Option<Rule> {
        let config = self.ours.node.config();
        let was = before.peers.get(&peer).map(|was| was.matched);
        let denies_match = matches!(input, Input::Message(Message {
            from,
            body: Body::AppendEntriesResponse(AppendEntriesResponse::Rejected { prev_index, .. }),
            ..
        }) if *from == peer && was == Some(prev_index.0));
        if self.is_added_again(before, peer) {
            self.is_same_member(before, peer, ours)
                .then_some(Rule::AddedAgain)
        } else if self.is_first_probe(before, peer) {
            is_newly_probed(ours).then_some(Rule::FirstProbe)
        } else if denies_match && differing == ["match index"] {
            Some(Rule::MatchDenied)
        } else if differing == ["next index"] && self.is_before_log(peer, ours) {
            Some(Rule::HintBeforeLog)
        } else if self.may_wait(before, input, peer)
            && !differing.contains(&"match index")
            && !differing.contains(&"commit index")
        {
            Some(Rule::TriedAgain)
        } else if self.window_was_full(before, input, peer) && keeps_window(before, peer, ours) {
            Some(Rule::WindowKept)
        } else if differing == ["activity"]
            && matches!(input, Input::Tick)
            && self.theirs.node.raft.election_elapsed == 0
            && !config.check_quorum()
        {
            Some(Rule::ActivityForgotten)
        } else if differing == ["waits"]
            && *ours.state() == (ProgressState::Probe { awaiting: true })
            && ours.next_index() > self.ours.node.last_log().index
        {
            Some(Rule::EmptyProbeWaits)
        } else {
            None
        }
    }

    /// Whether nothing was forgotten of a peer that is still the same member.
    fn is_same_member(&self, before: &Before, peer: NodeId, ours: &Progress) -> bool {
        before.peers.get(&peer).is_some_and(|was| {
            let streamed = was.state == raft::ProgressState::Replicate;
            let streams = matches!(ours.state(), ProgressState::Replicate { .. });
            ours.match_index().0 >= was.matched
                && ours.commit_index().0 >= was.committed_index
                && (!streamed || (streams && ours.next_index().0 >= was.next_idx))
        })
    }

    /// Whether both would go on where the log does not reach any more.
    fn is_before_log(&self, peer: NodeId, ours: &Progress) -> bool {
        let first = self.ours.node.storage().first_index();
        let first = first.expect("a storage in memory").0;
        let theirs = self.theirs.node.raft.prs().get(peer.get());
        ours.next_index().0 < first && theirs.is_some_and(|theirs| theirs.next_idx <= first)
    }

    /// Makes raft-rs's view of a peer almadia's.
    fn take_view(&mut self, peer: NodeId, ours: &Progress) {
        let ends = self.views.get(&peer).map(|view| view.ends.clone());
        let raft = &mut self.theirs.node.raft;
        let theirs = raft.mut_prs().get_mut(peer.get()).expect("a member");
        theirs.matched = ours.match_index().0;
        theirs.committed_index = ours.commit_index().0;
        theirs.recent_active = ours.recently_active();
        match ours.state() {
            ProgressState::Probe { awaiting } => {
                theirs.become_probe();
                theirs.paused = *awaiting;
                theirs.next_idx = ours.next_index().0;
            }
            ProgressState::Replicate { inflight, .. } => {
                theirs.become_replicate();
                let ends = ends.unwrap_or_default();
                for end in &ends[ends.len() - inflight.messages()..] {
                    theirs.ins.add(end.0);
                }
                theirs.next_idx = ours.next_index().0;
            }
            ProgressState::Snapshot { pending, .. } => theirs.become_snapshot(pending.0),
        }
    }
}

/// Whether nothing is known of the peer, and it was probed.
fn is_newly_probed(ours: &Progress) -> bool {
    ours.match_index() == LogIndex::ZERO
        && ours.commit_index() == LogIndex::ZERO
        && ours.recently_active()
        && *ours.state() == (ProgressState::Probe { awaiting: true })
}

/// Whether what was on its way to the peer still is, and nothing else.
fn keeps_window(before: &Before, peer: NodeId, ours: &Progress) -> bool {
    before.peers.get(&peer).is_some_and(|was| {
        matches!(ours.state(), ProgressState::Replicate { inflight, .. }
            if inflight.messages() == was.ins.count())
            && ours.match_index().0 == was.matched
            && ours.next_index().0 == was.next_idx
    })
}

/// In which respects the views differ.
fn differences(ours: &Progress, theirs: &raft::Progress) -> Vec<&'static str> {
    let mut differing = Vec::new();
    let mut compare = |name, is_same: bool| {
        if !is_same {
            differing.push(name);
        }
    };
    compare("match index", ours.match_index().0 == theirs.matched);
    compare(
        "commit index",
        ours.commit_index().0 == theirs.committed_index,
    );
    compare("activity", ours.recently_active() == theirs.recent_active);
    let next_is_same = ours.next_index().0 == theirs.next_idx;
    match ours.state() {
        ProgressState::Probe { awaiting } => {
            compare("state", theirs.state == raft::ProgressState::Probe);
            compare("next index", next_is_same);
            compare("waits", *awaiting == theirs.paused);
        }
        ProgressState::Replicate { inflight, .. } => {
            compare("state", theirs.state == raft::ProgressState::Replicate);
            compare("next index", next_is_same);
            compare("window", inflight.messages() == theirs.ins.count());
        }
        ProgressState::Snapshot { pending, .. } => {
            compare("state", theirs.state == raft::ProgressState::Snapshot);
            compare("snapshot", pending.0 == theirs.pending_snapshot);
        }
    }
    differing
}
