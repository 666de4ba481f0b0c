//! Natural calls at unlucky moments: a leader that removes itself, a slow disk at a re-election, a
//! restart that has applied more than it knows to be committed.

use super::*;

// --- A Ready at the wrong time, or in the wrong hands ---

/// Proposes one command, and hands out the `Ready` that writes it.
fn writing(node: &mut Node) -> Box<Ready> {
    node.propose("", "x").expect("it leads");
    node.ready().expect("it runs").expect("an entry")
}

/// A `Ready` of another instance of the same node stands for what this one has not handed out.
/// Nothing of it counts.
#[test]
fn a_ready_of_another_life_is_refused_as_a_whole() {
    let mut node = settled_leader();
    let mut other = node.clone();
    let ready = writing(&mut other);
    other.persisted(ready.number).expect("its own");
    other.step(accepted(2, 3, 5)).expect("an acknowledgement");
    let applying = other.ready().expect("it runs").expect("a commit");

    drop(writing(&mut node));
    assert_eq!(writing(&mut node).number, applying.number);
    let before = node.clone();
    let refused = node.advance(applying);
    assert!(
        matches!(refused, Err(AcknowledgeError::NotHandedOut { .. })),
        "{refused:?}"
    );
    assert_eq!(before, node);
}

/// Two batches may be applied at once, and come back one after the other.
#[test]
fn the_first_of_two_readies_can_be_advanced() {
    let mut node = settled_leader();
    let mut readies = vec![writing(&mut node), writing(&mut node)];
    node.persisted(readies[1].number).expect("its own");
    for last in [5, 6] {
        node.step(accepted(2, 3, last)).expect("an acknowledgement");
        readies.extend(node.ready().expect("it runs"));
    }
    let applied: Vec<_> = readies
        .iter()
        .filter_map(|ready| ready.applies_to())
        .collect();
    assert_eq!(applied, [LogIndex(5), LogIndex(6)]);
    for ready in readies {
        node.advance(ready).expect("its own");
    }
    assert_eq!(node.last_applied(), LogIndex(6));
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

/// The entry that is on its way commits by the others alone; the first of them that has it is told
/// to take over, and the node does nothing any more.
#[track_caller]
fn assert_removed(mut node: Node) {
    let refused = node.propose("", "too late");
    assert!(refused.is_err(), "{refused:?}");
    node.step(accepted(2, 3, 6)).expect("an answer");
    let mut sent = settle(&mut node);
    assert_eq!(node.role(), RoleKind::Follower);
    node.step(accepted(3, 3, 6)).expect("a late answer");
    sent.extend(settle(&mut node));
    sent.retain(|message| message.body == Body::TimeoutNow);
    assert_eq!(sent, [message(1, 2, 3, Body::TimeoutNow)]);
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
    assert_eq!(node.role(), RoleKind::Leader, "an entry is on its way");
    assert_eq!(node.propose("", "too late"), Err(ProposeError::Removed));
    node.advance(ready).expect("its own");
    assert_removed(node);
}

#[test]
fn a_leader_that_removed_itself_while_the_disk_works() {
    let mut node = leader_with_its_removal_committed();
    let mut first = node.ready().expect("sound").expect("the removal");
    node.propose("", "behind it").expect("not removed yet");
    let second = node.ready().expect("sound").expect("an entry");
    fulfil(&mut node, &mut first);
    node.persisted(first.number).expect("its own");
    assert_eq!(node.propose("", "too late"), Err(ProposeError::Removed));
    // The disk is still at work on its own copy, which counts for nothing.
    node.step(accepted(2, 3, 6)).expect("an acknowledgement");
    node.step(accepted(3, 3, 6)).expect("an acknowledgement");
    assert_eq!(node.commit_index(), LogIndex(6));
    node.step(accepted(3, 3, 7)).expect("an acknowledgement");
    assert_eq!(node.role(), RoleKind::Follower);
    assert_eq!(
        node.commit_index(),
        LogIndex(6),
        "one of two voters has entry 7"
    );
    node.persisted(second.number).expect("its own");
    node.applied(LogIndex(5)).expect("handed out");
    let sent = settle(&mut node);
    assert!(
        sent.contains(&message(1, 3, 3, Body::TimeoutNow)),
        "{sent:?}"
    );
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
    let applied = LogId::new(1, applied);
    let config = Config::builder(id(1)).applied(applied).build();
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

/// What is applied was persisted before. A log that does not reach there has lost its end.
#[test]
fn restart_with_more_applied_than_the_log_holds() {
    for (terms, applied, last_index) in [(&[1, 1, 1][..], 4, 3), (&[], 1, 0), (&[1], 9, 1)] {
        let (applied, last_index) = (LogId::new(1, applied), LogIndex(last_index));
        let config = Config::builder(id(1)).applied(applied).build();
        let refused = RawNode::new(config.expect("sound"), storage(terms, 2, 0)).err();
        assert_eq!(
            refused,
            Some(StartError::AppliedBeyondLog {
                applied,
                last_index
            })
        );
    }
}

/// A state machine that has applied something else than the log holds was ahead of it, or is not
/// this log's. Without leave to be ahead it does not start; with it, the log is not taken for
/// committed, for it may be an old leader's.
#[test]
fn restart_with_something_else_applied_than_the_log_holds() {
    let (applied, found) = (LogId::new(3, 3), LogId::new(2, 3));
    let start = |commit: u64, ahead: u64| {
        let settings = Config::builder(id(1)).applied(applied);
        let settings = settings.max_apply_unpersisted_entries(ahead).build();
        RawNode::new(settings.expect("sound"), storage(&[1, 1, 2], 3, commit))
    };
    let refusal = StartError::AppliedDiffers { applied, found };
    assert_eq!(start(2, 0).err(), Some(refusal.clone()));
    assert_eq!(
        start(3, 9).err(),
        Some(refusal),
        "the log says it is committed"
    );
    // What was compacted is committed, so there is nothing to be ahead of.
    let conf_state = ConfState::of_voters([id(1), id(2), id(3)]);
    let compacted = MemStorage::with_snapshot(snapshot(2, 3, conf_state));
    let settings = Config::builder(id(1)).applied(applied);
    let settings = settings.max_apply_unpersisted_entries(9).build();
    let refusal = StartError::AppliedDiffers { applied, found };
    let refused = RawNode::new(settings.expect("sound"), compacted).err();
    assert_eq!(refused, Some(refusal));
    let mut node = start(2, 9).expect("it may be ahead");
    assert_eq!(node.commit_index(), LogIndex(2));
    assert_eq!(node.last_applied(), LogIndex(3));
    node.step(message(2, 1, 3, append((1, 2), 4, &[(3, 3), (3, 4)])))
        .expect("a sound append");
    settle(&mut node);
    assert_eq!(node.last_applied(), LogIndex(4));
}

/// The leader has compacted, and its snapshot is older than what is applied here: it is of no use.
#[test]
fn restart_with_more_applied_than_committed_then_a_snapshot_between() {
    let mut node = restart(storage(&[1, 1, 1, 1, 1], 1, 3), 5);
    let sent = snapshot(1, 4, ConfState::of_voters(voters()));
    node.step(message(2, 1, 1, install(sent)))
        .expect("a sound snapshot");
    settle(&mut node);
    assert_eq!(
        (node.last_applied(), node.last_log()),
        (LogIndex(5), LogId::new(1, 5))
    );
    node.step(message(2, 1, 1, append((1, 4), 6, &[(1, 5), (1, 6)])))
        .expect("a sound append");
    settle(&mut node);
    assert_eq!(node.last_applied(), LogIndex(6));
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
