//! Commands and acknowledgements at the wrong moment, or with wrong numbers.

use super::*;

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
    assert_no_campaign(node, &CampaignError::NothingLeft);
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
            let error = AcknowledgeError::NoSuchReady(number);
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
            let error = AcknowledgeError::NotHandedOut {
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
    let error = AcknowledgeError::NotHandedOut {
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
    assert_eq!(
        node.advance(foreign),
        Err(AcknowledgeError::NoSuchReady(number))
    );
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
    assert_eq!(
        node.advance(foreign),
        Err(AcknowledgeError::NoSuchReady(number))
    );
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
