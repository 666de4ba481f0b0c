//! Calls that are wrong, or merely natural at an unlucky moment: an error that says why, or no
//! harm.
//!
//! Owns the list R3, as far as its rows can be posed through the API. These cannot:
//!
//! * `set_max_apply_unpersisted_log_limit`, `assign_commit_groups`, `on_entries_fetched`: this
//!   version has no such call. An entry is applied once it is persisted here; entries that
//!   were fetched are found when the node asks again.
//! * `Raft::send_append(unknown)`, `become_*` in the wrong role, `set_randomized_election_timeout`,
//!   `vote_resp_msg_type`, `Inflights::add` when full, `set_cap`, misuse of `Unstable`, of
//!   `maybe_persist_snap`, of `RaftLog::append` and `slice`: private to the crate, so no call of an
//!   embedder reaches them.
//! * A message about local events (`MsgHup`, `MsgUnreachable` and others): a method, not a message.

#[path = "common/faults.rs"]
mod faults;

use almadia::{
    AckError, AppendEntriesResponse, Body, CampaignError, ChangeError, ConfState, Config,
    ConfigError, HardState, LogId, LogIndex, MemStorage, MemStorageError, MemberChange, Membership,
    MembershipChange, MembershipError, NodeId, Payload, ProposeError, RawNode, RequestVote,
    RoleKind, SnapshotStatus, StepError, Storage, StorageError, Term, Transition, VoteResponse,
};
use faults::{
    Network, Node, append, compact, entries, entry, every_role, follower, fulfil, heartbeat, id,
    install, leader, message, open, settle, snapshot, storage, voters, write,
};

fn accepted(from: u64, term: u64, index: u64) -> almadia::Message {
    let body = Body::AppendEntriesResponse(AppendEntriesResponse::Accepted {
        match_index: LogIndex(index),
        commit_index: LogIndex(0),
    });
    message(from, 1, term, body)
}

/// A leader whose term has begun in earnest: its first entry is committed and applied.
fn settled_leader() -> Node {
    let mut node = leader();
    node.step(accepted(2, 3, 4)).expect("an acknowledgement");
    settle(&mut node);
    assert_eq!(node.last_applied(), LogIndex(4));
    node
}

fn remove(number: u64) -> MembershipChange {
    MembershipChange::of([MemberChange::Remove(id(number))])
}

// --- campaign() ---

/// The call is refused with this error, and changes nothing.
#[track_caller]
fn assert_no_campaign(mut node: Node, error: &CampaignError) {
    let before = node.clone();
    assert_eq!(node.campaign().as_ref(), Err(error));
    assert_eq!(before, node);
    for _ in 0..100 {
        node.tick().expect("the storage is sound");
    }
    assert_eq!(node.current_term(), before.current_term());
    assert_eq!(node.role(), before.role());
}

#[test]
fn campaign_on_an_uninitialised_node() {
    let node = open(1, MemStorage::new(), true);
    assert_no_campaign(node, &CampaignError::NotAVoter);
    let node = open(1, MemStorage::new(), false);
    assert_no_campaign(node, &CampaignError::NotAVoter);
}

#[test]
fn campaign_on_a_learner_or_a_node_that_is_no_member() {
    let conf_state = ConfState {
        learners: vec![id(1)],
        ..ConfState::of_voters([id(2), id(3)])
    };
    let learner = open(
        1,
        MemStorage::with_snapshot(snapshot(1, 1, conf_state)),
        true,
    );
    assert_no_campaign(learner, &CampaignError::NotAVoter);
    let stranger = open(1, MemStorage::with_voters([id(2), id(3)]), true);
    assert_no_campaign(stranger, &CampaignError::NotAVoter);
}

#[test]
fn campaign_on_a_leader() {
    let mut node = leader();
    let before = node.clone();
    assert_eq!(node.campaign(), Err(CampaignError::AlreadyLeader));
    assert_eq!(before, node);
}

#[test]
fn campaign_in_the_last_term() {
    let node = open(1, storage(&[1], Term::MAX.0, 0), true);
    assert_no_campaign(node, &CampaignError::NoTermLeft);
}

#[test]
fn campaign_while_a_snapshot_is_installed() {
    let mut node = follower();
    let sent = snapshot(3, 10, ConfState::of_voters(voters()));
    node.step(message(2, 1, 3, install(sent)))
        .expect("a sound snapshot");
    assert_no_campaign(node.clone(), &CampaignError::InstallingSnapshot);
    let mut ready = node.ready().expect("sound").expect("a snapshot");
    assert_no_campaign(node.clone(), &CampaignError::InstallingSnapshot);
    fulfil(&mut node, &mut ready);
    node.advance(ready).expect("its own");
    assert_eq!(node.campaign(), Ok(()));
}

#[test]
fn campaign_with_a_committed_change_that_is_not_applied() {
    let mut node = follower();
    let mut change = entry(3, 4);
    change.payload = Payload::Change(remove(3).into());
    let body = Body::AppendEntries(almadia::AppendEntries {
        prev_log: LogId::new(2, 3),
        leader_commit: LogIndex(4),
        entries: [change].into_iter().collect(),
    });
    node.step(message(2, 1, 3, body)).expect("a sound append");
    assert_no_campaign(node.clone(), &CampaignError::UnappliedChange);
    settle(&mut node);
    assert_eq!(node.campaign(), Ok(()));
}

/// Also when the change is in the part of the log that this node proposed itself when it led.
#[test]
fn campaign_of_a_former_leader_with_a_change_that_is_not_applied() {
    let mut node = settled_leader();
    node.propose_conf_change("", remove(3))
        .expect("no change is pending");
    settle(&mut node);
    node.step(accepted(2, 3, 5)).expect("an acknowledgement");
    node.propose("", "unwritten").expect("it leads");
    node.step(message(2, 1, 4, heartbeat(0)))
        .expect("a new leader");
    assert_eq!(node.commit_index(), LogIndex(5));
    assert_no_campaign(node, &CampaignError::UnappliedChange);
}

// --- Between ready() and advance() ---

#[test]
fn step_between_ready_and_advance_on_a_follower() {
    for interruption in [
        message(2, 1, 3, heartbeat(4)),
        message(3, 1, 4, heartbeat(0)),
        message(3, 1, 4, append((2, 3), 0, &[(4, 4)])),
        message(2, 1, 3, append((3, 4), 4, &[(3, 5)])),
        message(
            2,
            1,
            3,
            install(snapshot(3, 9, ConfState::of_voters(voters()))),
        ),
    ] {
        let mut node = follower();
        node.step(message(2, 1, 3, append((2, 3), 3, &[(3, 4)])))
            .expect("a sound append");
        let mut ready = node.ready().expect("sound").expect("entries");
        node.step(interruption).expect("sound");
        fulfil(&mut node, &mut ready);
        node.advance(ready).expect("its own");
        settle(&mut node);
        assert!(node.last_applied() >= LogIndex(3));
        assert!(!node.has_ready());
    }
}

#[test]
fn step_between_ready_and_advance_on_a_leader() {
    for interruption in [
        message(2, 1, 4, heartbeat(0)),
        message(2, 1, 4, append((2, 3), 2, &[(4, 4)])),
        accepted(2, 3, 4),
    ] {
        let mut node = leader();
        node.propose("", "x").expect("it leads");
        let mut ready = node.ready().expect("sound").expect("an entry");
        node.step(interruption).expect("sound");
        fulfil(&mut node, &mut ready);
        node.advance(ready).expect("its own");
        settle(&mut node);
        assert!(!node.has_ready());
    }
}

// --- Acknowledgements ---

#[test]
fn persisted_with_a_number_that_was_not_handed_out() {
    for mut node in every_role() {
        let before = node.clone();
        for number in [1000, u64::MAX] {
            let error = AckError::NoSuchReady(number);
            assert_eq!(node.persisted(number), Err(error));
            assert_eq!(before, node);
        }
        // What was acknowledged before says nothing new.
        assert_eq!(node.persisted(0), Ok(()));
        assert_eq!(node.persisted(1), Ok(()));
        assert_eq!(before, node);
    }
}

#[test]
fn applied_too_far_or_backwards() {
    for mut node in every_role() {
        let before = node.clone();
        for index in [3, 1000, u64::MAX] {
            let error = AckError::NotHandedOut {
                index: LogIndex(index),
                handed_out: LogIndex(2),
            };
            assert_eq!(node.applied(LogIndex(index)), Err(error));
            assert_eq!(before, node);
        }
        for index in [1, 0, 2] {
            assert_eq!(node.applied(LogIndex(index)), Ok(()));
            assert_eq!(before, node);
        }
    }
}

#[test]
fn applied_of_what_is_committed_and_not_handed_out() {
    let mut node = follower();
    node.step(message(2, 1, 3, append((2, 3), 3, &[])))
        .expect("sound");
    assert_eq!(node.commit_index(), LogIndex(3));
    let before = node.clone();
    let error = AckError::NotHandedOut {
        index: LogIndex(3),
        handed_out: LogIndex(2),
    };
    assert_eq!(node.applied(LogIndex(3)), Err(error));
    assert_eq!(before, node);
}

/// A `Ready` of another node, whose number this one has not reached.
#[test]
fn advance_with_a_ready_of_another_node_and_an_unknown_number() {
    let mut other = leader();
    for _ in 0..20 {
        other.propose("", "x").expect("it leads");
        settle(&mut other);
    }
    other.propose("", "x").expect("it leads");
    let foreign = other.ready().expect("sound").expect("an entry");
    let mut node = follower();
    let before = node.clone();
    let number = foreign.number;
    assert_eq!(node.advance(foreign), Err(AckError::NoSuchReady(number)));
    assert_eq!(before, node);
}

/// A `Ready` of another node, whose number this one knows. Nothing of it may count, not even the
/// write.
#[test]
fn advance_with_a_ready_of_another_node_and_a_known_number() {
    let mut other = open(2, storage(&[1, 1, 1, 1], 1, 4), true);
    let foreign = other.ready().expect("sound").expect("entries to apply");
    assert_eq!(foreign.applies_to(), Some(LogIndex(4)));

    let mut node = open(1, MemStorage::with_voters(voters()), true);
    node.step(message(3, 1, 1, append((0, 0), 0, &[(1, 1)])))
        .expect("sound");
    let own = node.ready().expect("sound").expect("an entry");
    assert_eq!(own.number, foreign.number);
    let before = node.clone();
    let number = foreign.number;
    assert_eq!(node.advance(foreign), Err(AckError::NoSuchReady(number)));
    assert_eq!(before, node);
    assert_eq!(node.status().persisted_index, LogIndex(0));
}

#[test]
fn advance_twice_is_impossible_and_persisted_twice_is_harmless() {
    // `advance` takes the `Ready` by value, and a `Ready` is not `Clone`.
    let mut node = leader();
    node.propose("", "x").expect("it leads");
    let mut ready = node.ready().expect("sound").expect("an entry");
    write(&mut node, &mut ready);
    node.persisted(ready.number).expect("its own");
    let before = node.clone();
    node.persisted(ready.number).expect("its own");
    node.advance(ready).expect("its own");
    assert_eq!(before, node);
}

// --- A leader that removes itself ---

/// Node 1 leads and its own removal is committed; an entry behind it is on its way.
fn leader_with_its_removal_committed() -> Node {
    let mut node = settled_leader();
    node.propose_conf_change("", remove(1))
        .expect("no change is pending");
    settle(&mut node);
    node.propose("", "behind").expect("it leads");
    node.step(accepted(2, 3, 5)).expect("an acknowledgement");
    assert_eq!(node.commit_index(), LogIndex(5));
    node
}

#[track_caller]
fn assert_removed(mut node: Node) {
    assert_eq!(node.role(), RoleKind::Follower);
    node.step(accepted(2, 3, 6)).expect("a late answer");
    node.step(accepted(3, 3, 6)).expect("a late answer");
    for _ in 0..100 {
        node.tick().expect("the storage is sound");
        assert_eq!(settle(&mut node), []);
    }
    assert_eq!(node.role(), RoleKind::Follower);
    assert_eq!(node.campaign(), Err(CampaignError::NotAVoter));
}

#[test]
fn a_leader_that_removed_itself_steps_down_and_is_silent() {
    let mut node = leader_with_its_removal_committed();
    settle(&mut node);
    assert_removed(node);
}

#[test]
fn a_leader_that_removed_itself_with_an_acknowledgement_before_the_advance() {
    let mut node = leader_with_its_removal_committed();
    let mut ready = node.ready().expect("sound").expect("the removal");
    fulfil(&mut node, &mut ready);
    node.step(accepted(2, 3, 6)).expect("a late answer");
    node.advance(ready).expect("its own");
    settle(&mut node);
    assert_removed(node);
}

#[test]
fn a_leader_that_removed_itself_while_the_disk_works() {
    let mut node = leader_with_its_removal_committed();
    let mut first = node.ready().expect("sound").expect("the removal");
    node.step(accepted(2, 3, 6)).expect("an acknowledgement");
    let second = node.ready().expect("sound");
    fulfil(&mut node, &mut first);
    node.persisted(first.number).expect("its own");
    if let Some(second) = second {
        node.persisted(second.number).expect("its own");
    }
    node.applied(LogIndex(5)).expect("handed out");
    settle(&mut node);
    assert_removed(node);
}

/// The whole cluster goes on without it.
#[test]
fn a_removed_leader_leaves_a_cluster_that_works() {
    let mut network = Network::of_three(true);
    network.elect(1);
    network
        .node(1)
        .propose_conf_change("", remove(1))
        .expect("no change is pending");
    network.run(100);
    assert_eq!(network.node(1).role(), RoleKind::Follower);
    for _ in 0..100 {
        network.tick(2);
        network.tick(3);
    }
    let roles = [network.node(2).role(), network.node(3).role()];
    assert!(roles.contains(&RoleKind::Leader));
}

// --- Re-election with an unpersisted tail ---

/// A single voter proposes, the disk is slow, a message of a later term makes it a follower, it is
/// elected again, and only then the disk answers.
#[test]
fn a_single_voter_is_elected_again_over_its_unpersisted_tail() {
    for pre_vote in [true, false] {
        let mut node = open(1, MemStorage::with_voters([id(1)]), pre_vote);
        node.campaign().expect("a voter may campaign");
        settle(&mut node);
        assert_eq!(node.role(), RoleKind::Leader);
        node.propose("", "slow").expect("it leads");
        let mut slow = node.ready().expect("sound").expect("an entry");
        node.propose("", "not handed out").expect("it leads");
        node.step(message(9, 1, 7, heartbeat(0)))
            .expect("a later term");
        assert_eq!(node.role(), RoleKind::Follower);
        node.campaign().expect("a voter may campaign");
        let mut next = node.ready().expect("sound").expect("a vote");
        assert_eq!(node.role(), RoleKind::Candidate);
        write(&mut node, &mut slow);
        node.persisted(slow.number).expect("its own");
        assert_eq!(node.role(), RoleKind::Candidate);
        fulfil(&mut node, &mut next);
        node.advance(next).expect("its own");
        settle(&mut node);
        assert_eq!(node.role(), RoleKind::Leader);
        assert_eq!(node.current_term(), Term(8));
        assert_eq!(node.last_applied(), node.last_log().index);
        assert_eq!(node.last_log(), LogId::new(8, 4));
    }
}

// --- Restart with more applied than committed ---

fn restart(storage: MemStorage, applied: u64) -> Node {
    let config = Config::builder(id(1)).applied(LogIndex(applied)).build();
    RawNode::new(config.expect("the settings are sound"), storage).expect("the storage is sound")
}

#[test]
fn restart_with_more_applied_than_committed() {
    let mut node = restart(storage(&[1, 1, 1, 1, 1], 1, 3), 5);
    assert!(settle(&mut node).is_empty());
    node.step(message(2, 1, 1, append((1, 5), 6, &[(1, 6)])))
        .expect("a sound append");
    let ready = node.ready().expect("sound").expect("an entry");
    assert!(ready.committed_entries.is_empty());
}

/// The leader has compacted, and its snapshot is older than what is applied here.
#[test]
fn restart_with_more_applied_than_committed_then_a_snapshot_between() {
    for (terms, place) in [
        (&[1, 1, 1][..], (1, 4)),
        (&[1, 1, 1, 1], (1, 5)),
        (&[1, 1, 1], (2, 5)),
        (&[1, 1, 1], (2, 6)),
    ] {
        let mut node = restart(storage(terms, 2, 3), 5);
        let sent = snapshot(place.0, place.1, ConfState::of_voters(voters()));
        node.step(message(2, 1, 2, install(sent)))
            .expect("a sound snapshot");
        settle(&mut node);
        let at = (place.0, place.1);
        node.step(message(2, 1, 2, append(at, 7, &[(2, place.1 + 1)])))
            .expect("a sound append");
        settle(&mut node);
        assert_eq!(node.commit_index(), LogIndex(place.1 + 1));
        for _ in 0..50 {
            node.tick().expect("the storage is sound");
        }
    }
}

/// What is applied is committed, even if the hard state has not heard of it.
#[test]
fn restart_with_more_applied_than_committed_then_a_contradiction() {
    let mut node = restart(storage(&[1, 1, 1, 1, 1], 2, 3), 5);
    assert_eq!(node.commit_index(), LogIndex(5));
    let before = node.clone();
    let sent = snapshot(2, 4, ConfState::of_voters(voters()));
    let refused = node.step(message(2, 1, 2, install(sent)));
    assert!(
        matches!(refused, Err(StepError::ConflictsWithCommitted { .. })),
        "{refused:?}"
    );
    assert_eq!(before, node);
}

/// The log is compacted through what is applied, which is beyond the commit index that this node
/// remembers. The leader's next append must not be taken for a contradiction.
#[test]
fn restart_with_more_applied_than_committed_then_a_compaction() {
    for prev in 0..=5 {
        let mut node = restart(storage(&[1, 1, 1, 1, 1], 1, 3), 5);
        settle(&mut node);
        compact(&mut node);
        assert_eq!(node.storage().first_index(), Ok(LogIndex(6)));
        let ids: Vec<(u64, u64)> = (prev + 1..=6).map(|index| (1, index)).collect();
        let before = (u64::from(prev > 0), prev);
        node.step(message(2, 1, 1, append(before, 6, &ids)))
            .expect("a sound append");
        settle(&mut node);
        assert_eq!(node.last_log(), LogId::new(1, 6), "prev {prev}");
        assert_eq!(node.last_applied(), LogIndex(6), "prev {prev}");
        assert_eq!(node.storage().first_index(), Ok(LogIndex(6)));
    }
}

// --- Proposals and membership changes ---

#[test]
fn propose_on_a_node_that_does_not_lead() {
    for mut node in every_role() {
        if node.role() == RoleKind::Leader {
            continue;
        }
        let before = node.clone();
        let leader = node.leader();
        let error = ProposeError::NotLeader { leader };
        assert_eq!(node.propose("", "x"), Err(error.clone()));
        assert_eq!(node.propose_conf_change("", remove(3)), Err(error));
        assert_eq!(before, node);
    }
}

#[test]
fn propose_a_change_that_is_impossible() {
    let mut node = settled_leader();
    let joint = |changes: &[MemberChange]| MembershipChange {
        changes: changes.to_vec(),
        transition: Transition::Implicit,
        ..MembershipChange::default()
    };
    let nobody = [1, 2, 3].map(|number| MemberChange::Remove(id(number)));
    for (change, error) in [
        (MembershipChange::leave_joint(), MembershipError::NotJoint),
        (MembershipChange::of(nobody), MembershipError::NoVoters),
        (joint(&nobody), MembershipError::NoVoters),
    ] {
        let before = node.clone();
        let refused = node.propose_conf_change("", change.clone());
        assert_eq!(refused, Err(ProposeError::Membership(error)));
        let refused = node.apply_conf_change(&change);
        assert_eq!(refused, Err(ChangeError::Membership(error)));
        assert_eq!(before, node);
    }
}

#[test]
fn propose_a_second_change() {
    let mut node = settled_leader();
    node.propose_conf_change("", remove(3))
        .expect("no change is pending");
    let before = node.clone();
    let refused = node.propose_conf_change("", remove(2));
    assert_eq!(refused, Err(ProposeError::ChangePending));
    assert_eq!(before, node);
}

/// Nobody checks that a change was committed; but none makes the node panic, in whatever role.
#[test]
fn apply_conf_change_out_of_nowhere() {
    let changes = (1..=4).flat_map(|number| {
        let id = id(number);
        [
            MemberChange::AddVoter(id),
            MemberChange::AddLearner(id),
            MemberChange::Remove(id),
        ]
    });
    for change in changes {
        for transition in [Transition::Auto, Transition::Implicit, Transition::Explicit] {
            for mut node in every_role() {
                let change = MembershipChange {
                    changes: vec![change],
                    transition,
                    ..MembershipChange::default()
                };
                node.apply_conf_change(&change).expect("possible");
                settle(&mut node);
                for _ in 0..60 {
                    node.tick().expect("the storage is sound");
                    settle(&mut node);
                }
            }
        }
    }
}

#[test]
fn reports_about_nobody() {
    for mut node in every_role() {
        let before = node.clone();
        for peer in [1, 9] {
            node.report_unreachable(id(peer));
            node.report_snapshot(id(peer), SnapshotStatus::Delivered);
            node.report_snapshot(id(peer), SnapshotStatus::Failed);
            assert_eq!(node.progress(id(peer)), None);
        }
        // And about a peer to whom no snapshot was sent.
        node.report_snapshot(id(2), SnapshotStatus::Delivered);
        assert_eq!(before, node);
    }
}

/// A campaign of a node that has no peers to ask, and votes that were not asked for.
#[test]
fn votes_that_nobody_asked_for() {
    for mut node in every_role() {
        let role = node.role();
        if matches!(role, RoleKind::PreCandidate | RoleKind::Candidate) {
            continue;
        }
        let before = node.clone();
        for from in [2, 3] {
            for body in [
                Body::RequestVoteResponse(VoteResponse::Granted),
                Body::PreVoteResponse(VoteResponse::Granted),
            ] {
                node.step(message(from, 1, 3, body)).expect("merely late");
            }
        }
        assert_eq!(before, node);
    }
}

// --- Limits at their ends ---

fn builder() -> almadia::ConfigBuilder {
    Config::builder(id(1))
}

#[test]
fn settings_that_make_no_sense() {
    for (builder, error) in [
        (
            builder().heartbeat_interval_ticks(0),
            ConfigError::NoHeartbeat,
        ),
        (
            builder().heartbeat_interval_ticks(10),
            ConfigError::ElectionTimeoutTooShort,
        ),
        (
            builder().election_timeout_ticks(0),
            ConfigError::ElectionTimeoutTooShort,
        ),
        (
            builder().max_election_timeout_ticks(10),
            ConfigError::NoElectionTimeoutRange,
        ),
        (
            builder().election_timeout_ticks(u32::MAX),
            ConfigError::NoElectionTimeoutRange,
        ),
        (
            builder().max_inflight_messages(0),
            ConfigError::NoInflightMessages,
        ),
        (
            builder().applied(LogIndex(u64::MAX)),
            ConfigError::AppliedOutOfRange,
        ),
    ] {
        assert_eq!(builder.build(), Err(error));
    }
    // An id of zero is impossible by type.
    assert_eq!(NodeId::new(0), None);
}

/// With every byte limit at zero one entry at a time still gets through.
#[test]
fn byte_limits_of_zero_let_one_entry_pass() {
    let mut network = Network::of_three(true);
    for number in 1..=3 {
        let config = Config::builder(id(number))
            .max_message_bytes(0)
            .max_inflight_bytes(0)
            .max_inflight_messages(1)
            .max_uncommitted_bytes(0)
            .max_committed_bytes_per_ready(0)
            .max_tail_bytes(0)
            .build();
        let storage = MemStorage::with_voters(voters());
        let node = RawNode::new(config.expect("sound"), storage).expect("sound");
        network.nodes.insert(number, node);
    }
    network.elect(1);
    for _ in 0..5 {
        network.node(1).propose("", "x").expect("one always fits");
        for _ in 0..3 {
            network.tick(1);
        }
    }
    for number in 1..=3 {
        assert_eq!(network.node(number).last_applied(), LogIndex(6));
    }
}

#[test]
fn the_longest_timeouts() {
    let config = builder()
        .heartbeat_interval_ticks(u32::MAX - 2)
        .election_timeout_ticks(u32::MAX - 1)
        .max_election_timeout_ticks(u32::MAX)
        .seed(u64::MAX)
        .build();
    let storage = MemStorage::with_voters(voters());
    let mut node = RawNode::new(config.expect("sound"), storage).expect("sound");
    for _ in 0..10 {
        node.tick().expect("the storage is sound");
    }
    assert_eq!(node.role(), RoleKind::Follower);
}

// --- MemStorage ---

/// 1/1 1/2 2/3 with a snapshot at 1/2.
fn memory() -> MemStorage {
    let mut storage = storage(&[1, 1, 2], 2, 2);
    let conf_state = ConfState::of_voters(voters());
    storage
        .save_snapshot(snapshot(1, 2, conf_state))
        .expect("in the log");
    storage
}

fn compacted_memory() -> MemStorage {
    let mut storage = memory();
    storage.compact(LogIndex(2)).expect("covered");
    storage
}

#[test]
fn mem_storage_append_that_leaves_a_hole_or_reaches_too_far_back() {
    for (mut storage, ids) in [
        (memory(), &[(2, 5)][..]),
        (memory(), &[(2, 0)]),
        (memory(), &[(2, u64::MAX)]),
        (memory(), &[(2, 4), (2, 6)]),
        (memory(), &[(2, 4), (2, 4)]),
        (compacted_memory(), &[(1, 2), (2, 3)]),
        (compacted_memory(), &[(1, 1)]),
        (MemStorage::new(), &[(1, 2)]),
        (MemStorage::new(), &[(1, 0)]),
    ] {
        let before = storage.clone();
        let error = MemStorageError::NotContiguous {
            first: LogIndex(ids[0].1),
            last: before.last_index().expect("memory does not fail"),
        };
        assert_eq!(storage.append(&entries(ids)), Err(error));
        assert_eq!(before, storage);
    }
}

#[test]
fn mem_storage_compact_beyond_what_a_snapshot_covers() {
    for (mut storage, index) in [
        (memory(), 3),
        (memory(), 4),
        (memory(), u64::MAX),
        (compacted_memory(), 1),
        (compacted_memory(), 0),
        (MemStorage::new(), 0),
        (MemStorage::new(), 1),
    ] {
        let before = storage.clone();
        let error = MemStorageError::NoSuchIndex(LogIndex(index));
        assert_eq!(storage.compact(LogIndex(index)), Err(error));
        assert_eq!(before, storage);
    }
    let mut storage = compacted_memory();
    let before = storage.clone();
    assert_eq!(storage.compact(LogIndex(2)), Ok(()));
    assert_eq!(before, storage);
}

#[test]
fn mem_storage_snapshot_out_of_date_or_of_nowhere() {
    let conf_state = || ConfState::of_voters(voters());
    for (term, index) in [(1, 1), (0, 0), (0, 5), (5, 0), (1, u64::MAX), (u64::MAX, 5)] {
        let mut storage = compacted_memory();
        let before = storage.clone();
        let place = LogId::new(term, index);
        let error = MemStorageError::SnapshotOutOfDate(place);
        let installed = storage.install_snapshot(snapshot(term, index, conf_state()));
        assert_eq!(installed, Err(error));
        assert_eq!(before, storage);
    }
    for (term, index) in [(1, 1), (2, 2), (2, 4), (0, 0), (2, u64::MAX)] {
        let mut storage = compacted_memory();
        let before = storage.clone();
        let error = MemStorageError::NoSuchIndex(LogIndex(index));
        let saved = storage.save_snapshot(snapshot(term, index, conf_state()));
        assert_eq!(saved, Err(error));
        assert_eq!(before, storage);
    }
}

#[test]
fn mem_storage_snapshot_before_the_first_entry() {
    let nothing = || snapshot(0, 0, ConfState::of_voters(voters()));
    let mut storage = MemStorage::with_voters(voters());
    let before = storage.clone();
    let error = MemStorageError::SnapshotOutOfDate(LogId::ZERO);
    assert_eq!(storage.install_snapshot(nothing()), Err(error));
    let error = MemStorageError::NoSuchIndex(LogIndex(0));
    assert_eq!(storage.save_snapshot(nothing()), Err(error));
    assert_eq!(before, storage);
}

#[test]
fn mem_storage_questions_out_of_range() {
    for storage in [memory(), compacted_memory(), MemStorage::new()] {
        let last = storage.last_index().expect("memory does not fail");
        assert_eq!(storage.term(last.next()), Err(StorageError::Unavailable));
        assert_eq!(
            storage.term(LogIndex(u64::MAX)),
            Err(StorageError::Unavailable)
        );
        let asked = storage.snapshot(LogIndex(u64::MAX), id(2));
        assert_eq!(asked, Err(StorageError::TemporarilyUnavailable));
    }
    let below = compacted_memory().term(LogIndex(1));
    assert_eq!(below, Err(StorageError::Compacted));
    // `entries` with odd bounds cannot be asked by an embedder: only the crate makes a request.
}

/// What was never written is never invented.
#[test]
fn mem_storage_has_no_snapshot_unless_given_one() {
    let storage = storage(&[1, 1], 1, 2);
    let asked = storage.snapshot(LogIndex(0), id(2));
    assert_eq!(asked, Err(StorageError::TemporarilyUnavailable));
}

/// Neither does it panic when it is opened on the edge of what can be counted.
#[test]
fn mem_storage_of_a_snapshot_at_the_end_of_all_indexes() {
    for index in [LogIndex::MAX.0, LogIndex::MAX.0 + 1, u64::MAX] {
        let storage = MemStorage::with_snapshot(snapshot(1, index, ConfState::of_voters(voters())));
        let started = RawNode::new(Config::new(id(1)), storage);
        assert_eq!(started.is_ok(), index == LogIndex::MAX.0);
    }
}

// --- Values that a caller may hand in ---

#[test]
fn a_vote_request_with_the_oddest_priority_is_a_vote_request() {
    for priority in [i64::MIN, -1, i64::MAX] {
        let mut node = open(1, MemStorage::with_voters(voters()), true);
        let request = RequestVote {
            last_log: LogId::ZERO,
            commit: LogId::ZERO,
            priority,
            leadership_transfer: true,
        };
        let vote = message(2, 1, 1, Body::RequestVote(request));
        assert_eq!(node.step(vote), Ok(()));
        let expected = HardState {
            current_term: Term(1),
            voted_for: Some(id(2)),
            commit_index: LogIndex(0),
        };
        assert_eq!(node.hard_state(), expected);
    }
}

#[test]
fn a_membership_is_consistent_or_not_made() {
    let twice = ConfState {
        voters: vec![id(1), id(1)],
        ..ConfState::default()
    };
    let error = MembershipError::Conflict(id(1));
    assert_eq!(Membership::try_from(&twice), Err(error));
    let empty = Membership::try_from(&ConfState::default());
    assert!(empty.is_ok_and(|membership| membership.is_empty()));
}
