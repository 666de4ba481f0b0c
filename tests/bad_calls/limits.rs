//! Limits, settings and values at their ends.

use super::*;

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
            builder().applied(LogId::new(1, u64::MAX)),
            ConfigError::AppliedOutOfRange,
        ),
        (
            builder().applied(LogId::new(0, 1)),
            ConfigError::AppliedOutOfRange,
        ),
    ] {
        assert_eq!(builder.build(), Err(error));
    }
    // An id of zero is impossible by type.
    assert_eq!(NodeId::new(0), None);
    assert!("0".parse::<NodeId>().is_err() && "-1".parse::<NodeId>().is_err());
    assert_eq!("7".parse(), Ok(NodeId::new(7).expect("it is not zero")));
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

/// `Storage` is object-safe, and a node takes one behind a pointer.
#[test]
fn a_storage_may_be_of_a_kind_that_is_known_at_run_time_only() {
    let memory = MemStorage::with_voters([id(1)]);
    let boxed: Box<dyn Storage> = Box::new(memory.clone());
    let shared: std::sync::Arc<dyn Storage> = std::sync::Arc::new(memory.clone());
    let mut one = RawNode::new(Config::new(id(1)), boxed).expect("a good start");
    let mut other = RawNode::new(Config::new(id(1)), shared).expect("a good start");
    let mut third = RawNode::new(Config::new(id(1)), &memory).expect("a good start");
    assert_eq!(one.campaign(), Ok(()));
    assert_eq!(other.campaign(), Ok(()));
    assert_eq!(third.campaign(), Ok(()));
    assert_eq!(one.status(), other.status());
    assert_eq!(one.status(), third.status());
}

/// Behind the last index there is nothing, neither for a proposal nor for the entry that opens a
/// term.
#[test]
fn a_log_that_is_as_long_as_can_be_takes_no_entry() {
    let last = LogIndex::MAX.0;
    let at_the_end = MemStorage::with_snapshot(snapshot(1, last, ConfState::of_voters([id(1)])));
    let mut node = open(1, at_the_end, false);
    assert_eq!(node.campaign(), Err(CampaignError::NothingLeft));

    let nearly = MemStorage::with_snapshot(snapshot(1, last - 2, ConfState::of_voters([id(1)])));
    let mut node = open(1, nearly, false);
    node.campaign().expect("two indexes are left");
    settle(&mut node);
    node.propose("", "x").expect("one index is left");
    settle(&mut node);
    assert_eq!(node.last_log().index, LogIndex::MAX);
    let before = node.clone();
    assert_eq!(node.propose("", "x"), Err(ProposeError::NoIndexLeft));
    assert_eq!(before, node);
}

/// A joint configuration whose leader has the last index cannot be left any more.
#[test]
fn a_log_that_is_as_long_as_can_be_takes_no_change_of_the_nodes_own() {
    let joint = ConfState {
        voters_outgoing: vec![id(1)],
        auto_leave: true,
        ..ConfState::of_voters([id(1)])
    };
    for (left, leaves) in [(1, false), (2, true)] {
        let last = LogIndex::MAX.0 - left;
        let storage = MemStorage::with_snapshot(snapshot(1, last, joint.clone()));
        let mut node = open(1, storage, false);
        node.campaign().expect("an index is left");
        settle(&mut node);
        assert_eq!(node.last_log().index, LogIndex::MAX);
        assert_eq!(node.membership().is_joint(), !leaves);
    }
}
