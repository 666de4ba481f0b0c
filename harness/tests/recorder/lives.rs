//! Lives that a cluster of correct nodes does not show: failing disks, faulty embedders, settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use almadia::{
    AcknowledgeError, Entries, EntriesRequest, InitialState, Snapshot, StartError, StorageError,
};

use almadia_harness::recorder::StoredEntries;

use super::*;

/// A disk that fails from some moment on.
#[derive(Clone)]
struct Failing {
    disk: MemStorage,
    fails: Arc<AtomicBool>,
    error: StorageError,
}

impl Failing {
    fn check(&self) -> Result<(), StorageError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(self.error.clone());
        }
        Ok(())
    }
}

impl Storage for Failing {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.check()?;
        self.disk.initial_state()
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        self.check()?;
        self.disk.entries(request)
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        self.check()?;
        self.disk.term(index)
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        self.disk.first_index()
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        self.disk.last_index()
    }

    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
        self.check()?;
        self.disk.snapshot(request_index, to)
    }
}

fn errors() -> [StorageError; 5] {
    [
        StorageError::Compacted,
        StorageError::Unavailable,
        StorageError::TemporarilyUnavailable,
        StorageError::Contract("a text"),
        StorageError::other(io::Error::other("the disk is on fire")),
    ]
}

/// A log of three entries, all of them committed and none applied.
fn written() -> MemStorage {
    let mut disk = storage();
    let entries = (1..=3).map(|index| Entry {
        id: LogId::new(1, index),
        payload: Payload::Data("x".into()),
        context: "".into(),
    });
    disk.append(entries.collect::<Vec<_>>()).expect("a log");
    disk.set_hard_state(almadia::HardState {
        current_term: Term(1),
        voted_for: None,
        commit_index: LogIndex(3),
    });
    disk
}

#[test]
fn a_disk_that_fails_is_replayed_without_one() {
    for error in errors() {
        let memory = Memory::default();
        let fails = Arc::new(AtomicBool::new(false));
        let disk = Failing {
            disk: written(),
            fails: Arc::clone(&fails),
            error: error.clone(),
        };
        let mut node = Recorded::new(Config::new(id(1)), disk, memory.tape(exact()))
            .expect("the disk does not fail yet");
        fails.store(true, Ordering::Relaxed);
        let first = node.ready().map(drop);
        let second = node.tick();
        let halted = node.halted().cloned();
        // To wait is not to fail.
        assert_eq!(
            halted.is_none(),
            error == StorageError::TemporarilyUnavailable
        );
        assert_eq!(first.is_err(), second.is_err());
        drop(node);
        let outcome = replay(memory.bytes()).expect("a recording");
        assert_eq!(outcome.divergence, None, "{error}");
        assert_eq!(outcome.methods(), ["new", "ready", "tick"]);
        let replayed = outcome.node.expect("it has started");
        assert_eq!(replayed.halted(), halted.as_ref());
    }
}

#[test]
fn a_start_that_is_refused_is_recorded() {
    let memory = Memory::default();
    let mut disk = storage();
    disk.set_hard_state(almadia::HardState {
        commit_index: LogIndex(7),
        ..Default::default()
    });
    let result = Recorded::new(Config::new(id(1)), disk, memory.tape(exact()));
    let error = result.map(drop).expect_err("the log is lost");
    assert!(matches!(error, StartError::CommitOutOfRange { .. }));
    let outcome = replay(memory.bytes()).expect("a recording");
    assert_eq!(outcome.divergence, None);
    assert_eq!(outcome.node, None);
    assert_eq!(outcome.end, Some(End::Closed));
    let text = outcome.steps[0].to_string();
    assert!(text.contains(&format!("{error:?}")), "{text}");
}

#[test]
fn all_settings_come_back() {
    let config = Config::builder(id(9))
        .heartbeat_interval_ticks(2)
        .election_timeout_ticks(33)
        .max_election_timeout_ticks(34)
        .pre_vote(false)
        .check_quorum(true)
        .lease_reads(true)
        .lease_margin_ticks(5)
        .max_pending_reads(6)
        .validate_conf_changes(false)
        .priority(i64::MIN)
        .max_message_bytes(8)
        .max_inflight_messages(9)
        .max_inflight_bytes(10)
        .max_uncommitted_bytes(11)
        .max_committed_bytes_per_ready(12)
        .max_apply_unpersisted_entries(13)
        .skip_commit_broadcast(true)
        .max_tail_bytes(u64::MAX)
        .applied(LogId::new(1, 14))
        .seed(u64::MAX - 1)
        .incarnation(u32::MAX)
        .build()
        .expect("a valid config");
    let memory = Memory::default();
    let node = Recorded::new(config.clone(), storage(), memory.tape(exact()));
    let node = node.expect("it may be ahead").into_node();
    let outcome = replay_to(memory.bytes(), &node);
    assert_eq!(outcome.node.expect("it has started").config(), &config);
}

#[test]
fn a_tape_serves_one_life_after_the_other() {
    let memory = Memory::default();
    let tape = memory.tape(exact());
    let config = Config::new(id(1));
    let mut node = Recorded::new(config.clone(), storage(), tape.clone()).expect("a start");
    elect(&mut node);
    let disk = node.into_storage();
    let mut node = Recorded::new(config, disk, tape).expect("a start");
    assert_eq!(node.current_term(), Term(1));
    node.tick().expect("memory does not fail");
    let node = node.into_node();
    let outcome = replay_to(memory.bytes(), &node);
    let starts = outcome
        .methods()
        .into_iter()
        .filter(|&method| method == "new");
    assert_eq!(starts.count(), 2);
}

/// Hands a node a `Ready` that another one has made.
fn hand_over(giver: u64) -> (Result<(), AcknowledgeError>, Outcome) {
    let voters = || MemStorage::with_voters([id(giver)]);
    let mut other = RawNode::new(Config::new(id(giver)), voters()).expect("a start");
    other.campaign().expect("a voter");
    let ready = other
        .ready()
        .expect("memory")
        .expect("a vote to be persisted");

    let memory = Memory::default();
    let mut node =
        Recorded::new(Config::new(id(1)), storage(), memory.tape(exact())).expect("a start");
    elect(&mut node);
    node.propose("", "x").expect("it leads");
    let own = node
        .ready()
        .expect("memory")
        .expect("an entry to be persisted");
    let result = node.advance(ready);
    persist(node.storage_mut(), &own);
    node.advance(own).expect("its own");
    let node = node.into_node();
    (result, replay_to(memory.bytes(), &node))
}

#[test]
fn a_ready_of_another_node_is_replayed_as_such() {
    let (result, _) = hand_over(2);
    assert_eq!(result, Err(AcknowledgeError::NoSuchReady(1)));
}

#[test]
fn a_ready_of_a_namesake_is_replayed_as_such() {
    let (result, outcome) = hand_over(1);
    assert_eq!(result, Ok(()), "the node cannot tell it from its own");
    let twice = outcome
        .methods()
        .into_iter()
        .filter(|&method| method == "advance");
    assert!(twice.count() > 2);
}

/// A namesake's `Ready` that claims more than was handed out here. Nothing of it counts, not even
/// its number, under which something is on its way to the disk here.
#[test]
fn a_ready_that_claims_too_much_is_replayed_as_such() {
    let other = RawNode::new(Config::new(id(1)), written());
    let ready = other.expect("a start").ready().expect("memory");
    let mut ready = ready.expect("entries to apply");
    let memory = Memory::default();
    let node = Recorded::new(Config::new(id(1)), storage(), memory.tape(exact()));
    let mut node = node.expect("a start");
    elect(&mut node);
    node.propose("", "x").expect("it leads");
    let own = node
        .ready()
        .expect("memory")
        .expect("an entry to be persisted");
    let before = node.basic_status().persisted_index;
    ready.number = own.number;
    let result = node.advance(ready);
    assert!(
        matches!(result, Err(AcknowledgeError::NotHandedOut { .. })),
        "{result:?}"
    );
    assert_eq!(node.basic_status().persisted_index, before);
    persist(node.storage_mut(), &own);
    node.advance(own).expect("its own");
    let node = node.into_node();
    replay_to(memory.bytes(), &node);
}

/// Entries from before the start are no one's to name.
#[test]
fn what_was_written_in_an_earlier_life_is_recorded_in_full() {
    let memory = Memory::default();
    let options = Options {
        stored_entries: StoredEntries::Named,
        ..exact()
    };
    let node = Recorded::new(Config::new(id(1)), written(), memory.tape(options));
    let mut node = node.expect("a start");
    work(&mut node);
    assert_eq!(node.last_applied(), LogIndex(3));
    let node = node.into_node();
    replay_to(memory.bytes(), &node);
}

/// To look at a node may take a look at its disk.
#[test]
fn questions_are_not_recorded() {
    let memory = Memory::default();
    let node = Recorded::new(Config::new(id(1)), written(), memory.tape(exact()));
    let mut node = node.expect("a start");
    node.tick().expect("memory does not fail");
    // Whether a committed change is not applied yet is looked up.
    assert!(node.why_no_leader().is_some());
    // The node's own storage, which is overheard.
    assert_eq!((*node).storage().last_index(), Ok(LogIndex(3)));
    let node = node.into_node();
    replay_to(memory.bytes(), &node);
}

/// Somebody to whom events mean nothing.
struct Deaf;

impl almadia::Observer for Deaf {
    fn on_event(&self, _: NodeId, _: &almadia::Event<'_>) {}
}

#[test]
fn recording_changes_nothing_and_not_recording_neither() {
    let (_, recorded) = full_life(exact());
    let start = Config::builder(id(1)).seed(SEED).incarnation(1).build();
    let start = start.expect("a valid config");
    let plain = Recorded::with_observer(start, storage(), Arc::new(Deaf), None);
    let mut plain = plain.expect("a start");
    make_every_call(&mut plain);
    assert_eq!(plain.into_node(), recorded);
}

/// A host of many groups moves its nodes between threads.
#[test]
fn a_recorded_node_and_its_tape_go_where_the_node_goes() {
    const fn moves<T: Send + Sync>() {}
    moves::<Recorded<MemStorage>>();
    moves::<Tape<MemStorage>>();
}
