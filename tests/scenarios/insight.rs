//! What a node tells of itself: why nothing happens, and what does.

use std::sync::{Arc, Mutex};

use almadia::{
    Behind, Body, CampaignError, Config, Event, MemStorage, NoLeader, NodeId, NotCommitting,
    Observer, Paused, RawNode, RoleKind, VoteResponse, Votes, Window,
};

use crate::nodes::*;

fn ids(numbers: &[u64]) -> Vec<NodeId> {
    numbers.iter().copied().map(id).collect()
}

#[test]
fn why_there_is_no_leader() {
    let mut node = open(Config::builder(id(1)), disk(3, &[1]));
    let Some(NoLeader::WaitsForTimeout { ticks }) = node.why_no_leader() else {
        panic!("it waits");
    };
    assert_eq!(ticks, node.ticks_until_action());
    self::ticks(&mut node, ticks);
    let silent = ids(&[2, 3]);
    let mut votes = Votes {
        granted: ids(&[1]),
        refused: vec![],
        silent,
    };
    let why = node.why_no_leader();
    assert_eq!(why, Some(NoLeader::AsksForPreVotes(votes.clone())));
    let granted_in_advance = Body::PreVoteResponse(VoteResponse::Granted);
    tell(&mut node, 2, 2, granted_in_advance);
    assert_eq!(
        node.why_no_leader(),
        Some(NoLeader::AsksForVotes(votes.clone()))
    );
    tell(&mut node, 3, 2, refused());
    votes.refused = ids(&[3]);
    votes.silent = ids(&[2]);
    assert_eq!(node.why_no_leader(), Some(NoLeader::AsksForVotes(votes)));
    tell(&mut node, 2, 2, granted());
    assert_eq!(node.why_no_leader(), None);
}

#[test]
fn why_a_node_does_not_even_stand_for_election() {
    let nowhere = open(settings(1), MemStorage::new());
    let refusal = NoLeader::MayNotCampaign(CampaignError::NotAVoter);
    assert_eq!(nowhere.why_no_leader(), Some(refusal));
    let mut installing = follower(2, 3, &[1]);
    let install = Body::InstallSnapshot(snapshot((1, 5), 3).into());
    installing.step(message(1, 2, 1, install)).unwrap();
    assert_eq!(installing.why_no_leader(), None, "it knows one");
    installing.forget_leader();
    let refusal = NoLeader::MayNotCampaign(CampaignError::InstallingSnapshot);
    assert_eq!(installing.why_no_leader(), Some(refusal));
    let mut slow = follower(1, 3, &[1]);
    slow.campaign().unwrap();
    slow.step(message(2, 1, 2, granted())).unwrap();
    assert_eq!(slow.why_no_leader(), Some(NoLeader::OwnVoteUnpersisted));
}

#[test]
fn why_an_entry_does_not_commit() {
    let mut node = leader(1, 3, &[1]);
    let behind = |voter, acknowledged, paused| Behind {
        voter: id(voter),
        acknowledged: index(acknowledged),
        recently_active: false,
        paused,
    };
    let probing = Some(Paused::Probing);
    let both = vec![behind(2, 0, probing), behind(3, 0, probing)];
    let earlier = NotCommitting::EarlierTerm {
        term_start: index(2),
        behind: both.clone(),
    };
    assert_eq!(node.why_not_committing(index(1)), Some(earlier));
    assert_eq!(
        node.why_not_committing(index(2)),
        Some(NotCommitting::QuorumLacks(both))
    );
    let last_index = index(2);
    let beyond = NotCommitting::BeyondLog { last_index };
    assert_eq!(node.why_not_committing(index(3)), Some(beyond));
    tell(&mut node, 2, 2, accepted(2));
    assert_eq!(node.why_not_committing(index(2)), None);
    // This node's own disk counts like any other.
    propose(&mut node, "slow");
    let Some(NotCommitting::QuorumLacks(lacking)) = node.why_not_committing(index(3)) else {
        panic!("a quorum lacks it");
    };
    let voters: Vec<NodeId> = lacking.iter().map(|it| it.voter).collect();
    assert_eq!(voters, ids(&[1, 2, 3]));
    assert!(lacking[0].recently_active && lacking[1].recently_active);
    tell(&mut node, 3, 9, heartbeat(0));
    let elsewhere = NotCommitting::NotLeader {
        leader: Some(id(3)),
    };
    assert_eq!(node.why_not_committing(index(3)), Some(elsewhere));
}

#[test]
fn why_a_peer_is_paused() {
    let mut node = leader(1, 3, &[1]);
    assert_eq!(node.why_paused(id(2)), Some(Paused::Probing));
    assert_eq!(node.why_paused(id(1)), None);
    assert_eq!(node.why_paused(id(9)), None);
    tell(&mut node, 2, 2, accepted(2));
    assert_eq!(node.why_paused(id(2)), None);
    let window = Window {
        messages: 1,
        bytes: 1 << 20,
    };
    node.set_window(id(2), Some(window));
    propose(&mut node, "x");
    let bytes = 1 + almadia::Entry::OVERHEAD_BYTES;
    settle(&mut node);
    let full = Paused::WindowFull { messages: 1, bytes };
    assert_eq!(node.why_paused(id(2)), Some(full));
    tell(&mut node, 2, 2, accepted(3));
    let storage = node.storage_mut();
    storage.save_snapshot(snapshot((2, 3), 3)).unwrap();
    storage.compact(index(3)).unwrap();
    tell(&mut node, 3, 2, rejected(1, (0, 0)));
    let pending = index(3);
    assert_eq!(node.why_paused(id(3)), Some(Paused::Snapshot { pending }));
    assert_eq!(follower(1, 3, &[1]).why_paused(id(2)), None);
}

/// The answers can be read by people too.
#[test]
fn explanations_read_well() {
    let node = leader(1, 3, &[1]);
    let why = node.why_not_committing(index(2)).unwrap();
    assert_eq!(
        why.to_string(),
        "too few voters have it on disk; node 2 has 0, does not answer, a probe is on its way; \
         node 3 has 0, does not answer, a probe is on its way"
    );
    let mut candidate = follower(1, 3, &[1]);
    candidate.campaign().unwrap();
    let why = candidate.why_no_leader().unwrap();
    assert_eq!(
        why.to_string(),
        "asks for votes: yes [1], no [], silent [2, 3]"
    );
}

#[test]
fn the_basic_status_is_the_status_without_its_lists() {
    let mut node = leader(1, 3, &[1]);
    node.transfer_leader(id(2)).unwrap();
    let status = node.status();
    assert_eq!(status.basic, node.basic_status());
    assert_eq!(status.role, RoleKind::Leader);
    assert_eq!(status.transferee, Some(id(2)));
    assert_eq!(status.progress.len(), 2);
}

// --- Events ---

#[derive(Default)]
struct Listener {
    heard: Mutex<Vec<String>>,
}

impl Observer for Listener {
    fn on_event(&self, node: NodeId, event: &Event<'_>) {
        assert_eq!(node, id(1));
        self.heard.lock().unwrap().push(format!("{event:?}"));
    }
}

impl Listener {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

fn observed() -> (Node, Arc<Listener>) {
    let listener = Arc::new(Listener::default());
    let config = settings(1).build().unwrap();
    let node = RawNode::with_observer(config, disk(3, &[1]), listener.clone()).unwrap();
    (node, listener)
}

#[test]
fn one_observer_hears_every_change_of_state() {
    let (mut node, listener) = observed();
    elect(&mut node);
    assert_eq!(
        listener.take(),
        [
            "RoleChanged { role: Candidate, term: 2 }",
            "RoleChanged { role: Leader, term: 2 }",
        ]
    );
    propose(&mut node, "lost");
    settle(&mut node);
    assert_eq!(listener.take(), Vec::<String>::new(), "entries are no news");
    tell(&mut node, 3, 3, append((1, 1), &[3], 0));
    assert_eq!(
        listener.take(),
        [
            "RoleChanged { role: Follower, term: 3 }",
            "LeaderFound { leader: 3, term: 3 }",
            "LogTruncated { kept: 1 }",
        ]
    );
    node.step(message(2, 3, 3, heartbeat(0))).unwrap_err();
    let refused = listener.take();
    assert!(
        refused[0].starts_with("MessageRefused { from: 2, kind: Heartbeat"),
        "{refused:?}"
    );
    tell(
        &mut node,
        3,
        3,
        Body::InstallSnapshot(snapshot((3, 9), 3).into()),
    );
    let accepted = listener.take();
    assert_eq!(accepted[0], "SnapshotAccepted { last_included: 3/9 }");
    assert!(accepted[1].starts_with("MembershipChanged("));
}

/// An observed node is the node that nobody observes.
#[test]
fn an_observer_changes_nothing() {
    let (mut node, _) = observed();
    let mut alone = follower(1, 3, &[1]);
    assert_eq!(node, alone);
    elect(&mut node);
    elect(&mut alone);
    assert_eq!(node, alone);
    assert_eq!(node.clone(), alone);
}

/// The slog sink writes a line for each event, with the node's id.
#[cfg(feature = "slog")]
#[test]
fn events_are_lines_of_a_logger() {
    use slog::Drain;

    struct Lines(Arc<Mutex<Vec<String>>>);

    impl slog::Drain for Lines {
        type Ok = ();
        type Err = slog::Never;

        fn log(&self, record: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), slog::Never> {
            if record.level().is_at_least(slog::Level::Info) {
                let line = format!("{} {}", record.level(), record.msg());
                self.0.lock().unwrap().push(line);
            }
            Ok(())
        }
    }

    let lines = Arc::new(Mutex::new(Vec::new()));
    let logger = slog::Logger::root(Lines(lines.clone()).fuse(), slog::o!());
    let config = settings(1).build().unwrap();
    let mut node = RawNode::with_logger(config, disk(3, &[1]), &logger).unwrap();
    elect(&mut node);
    node.step(message(2, 3, 3, heartbeat(0))).unwrap_err();
    assert_eq!(
        *lines.lock().unwrap(),
        [
            "INFO became candidate",
            "INFO became leader",
            "WARN refused Heartbeat of node 2: the message is for node 3",
        ]
    );
}
