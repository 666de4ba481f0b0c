//! A `Storage` that fails or lies: the node does not start, or stops with the reason. It never
//! panics, and it never goes on as if nothing had happened.
//!
//! Owns the list R2, method by method. Every answer of the storage can be replaced on demand; what
//! is not replaced comes from a [`MemStorage`].

#[path = "common/faults.rs"]
mod faults;

use almadia::{
    AckError, AppendEntriesResponse, Body, CampaignError, ChangeError, ConfState, Config, Entries,
    EntriesRequest, Halted, HardState, InitialState, LogId, LogIndex, MemStorage, MemberChange,
    MembershipChange, MembershipError, Message, NodeId, ProgressState, ProposeError, RawNode,
    RoleKind, Snapshot, SnapshotStatus, StartError, StepError, Storage, StorageError, Term,
    VoteResponse,
};
use faults::{
    Disk, append, entries, entry, heartbeat, id, install, message, settle, snapshot, storage,
    voters,
};

/// A storage each of whose answers can be replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Faulty {
    inner: MemStorage,
    initial_state: Option<Result<InitialState, StorageError>>,
    entries: Option<Result<Entries, StorageError>>,
    term: Option<Result<Term, StorageError>>,
    first_index: Option<Result<LogIndex, StorageError>>,
    last_index: Option<Result<LogIndex, StorageError>>,
    snapshot: Option<Result<Snapshot, StorageError>>,
}

type Node = RawNode<Faulty>;

impl Faulty {
    fn over(inner: MemStorage) -> Self {
        Self {
            inner,
            ..Self::default()
        }
    }
}

impl Disk for Faulty {
    fn disk(&mut self) -> &mut MemStorage {
        &mut self.inner
    }
}

impl Storage for Faulty {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        let honest = || self.inner.initial_state();
        self.initial_state.clone().unwrap_or_else(honest)
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        let honest = || self.inner.entries(request);
        self.entries.clone().unwrap_or_else(honest)
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        self.term.clone().unwrap_or_else(|| self.inner.term(index))
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        let honest = || self.inner.first_index();
        self.first_index.clone().unwrap_or_else(honest)
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        let honest = || self.inner.last_index();
        self.last_index.clone().unwrap_or_else(honest)
    }

    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
        let honest = || self.inner.snapshot(request_index, to);
        self.snapshot.clone().unwrap_or_else(honest)
    }
}

fn broken() -> StorageError {
    StorageError::other(std::io::Error::other("the disk is gone"))
}

/// Every error that a method may give.
fn every_error() -> [StorageError; 5] {
    [
        StorageError::Compacted,
        StorageError::Unavailable,
        StorageError::TemporarilyUnavailable,
        StorageError::Contract("a wrapper found something"),
        broken(),
    ]
}

/// Errors for which no method has an allowance.
fn fatal_errors() -> [StorageError; 3] {
    [
        StorageError::Unavailable,
        StorageError::Contract("a wrapper found something"),
        broken(),
    ]
}

fn start(storage: Faulty) -> Result<Node, StartError> {
    RawNode::new(Config::new(id(1)), storage)
}

fn start_error(storage: Faulty) -> StartError {
    start(storage).expect_err("nobody starts from this")
}

/// The log 1/1 1/2 1/3 2/4 2/5 in term 2, commit index 4, nothing applied.
fn sound() -> Faulty {
    Faulty::over(storage(&[1, 1, 1, 2, 2], 2, 4))
}

fn started() -> Node {
    start(sound()).expect("the storage is sound")
}

/// The same node, leading term 3; its peers have answered nothing but the vote.
fn leader() -> Node {
    let mut node = started();
    settle(&mut node);
    node.campaign().expect("a voter may campaign");
    for body in [
        Body::PreVoteResponse(VoteResponse::Granted),
        Body::RequestVoteResponse(VoteResponse::Granted),
    ] {
        settle(&mut node);
        let vote = message(2, 1, 3, body);
        node.step(vote).expect("an answer that was asked for");
    }
    settle(&mut node);
    assert_eq!(node.role(), RoleKind::Leader);
    node
}

/// A leader whose log is compacted through 4, and whose peer 2 needs what was there.
fn leader_that_has_to_send_a_snapshot() -> Node {
    let mut node = leader();
    let conf_state = ConfState::of_voters(voters());
    let disk = node.storage_mut().disk();
    disk.save_snapshot(snapshot(2, 4, conf_state))
        .expect("in the log");
    disk.compact(LogIndex(4)).expect("covered");
    reject_everything(&mut node);
    node
}

/// Peer 2 has an empty log.
fn reject_everything(node: &mut Node) {
    let rejected = AppendEntriesResponse::Rejected {
        prev_index: LogIndex(5),
        hint: LogId::ZERO,
        commit_index: LogIndex::ZERO,
    };
    let body = Body::AppendEntriesResponse(rejected);
    node.step(message(2, 1, 3, body)).expect("a rejection");
}

/// Every call says why, nothing changes any more, and nothing panics.
#[track_caller]
fn assert_stopped(node: &mut Node, error: &StorageError) {
    let halted = Halted {
        error: error.clone(),
    };
    assert_eq!(node.halted(), Some(&halted));
    let before = node.clone();
    assert_eq!(node.tick(), Err(halted.clone()));
    for body in [heartbeat(0), append((1, 1), 9, &[(1, 2)]), Body::TimeoutNow] {
        let refused = Err(StepError::Halted(halted.clone()));
        assert_eq!(node.step(message(2, 1, 9, body)), refused);
    }
    let refused = || Err(ProposeError::Halted(halted.clone()));
    let change = MembershipChange::of([MemberChange::AddVoter(id(4))]);
    assert_eq!(node.propose("", "x"), refused());
    assert_eq!(node.propose_conf_change("", change.clone()), refused());
    let refused = Err(ChangeError::Halted(halted.clone()));
    assert_eq!(node.apply_conf_change(&change), refused);
    assert_eq!(node.campaign(), Err(CampaignError::Halted(halted.clone())));
    assert!(!node.has_ready());
    assert!(node.ready().is_err_and(|error| error == halted));
    let refused = || Err(AckError::Halted(halted.clone()));
    assert_eq!(node.persisted(1), refused());
    assert_eq!(node.applied(LogIndex(1)), refused());
    node.report_unreachable(id(2));
    node.report_snapshot(id(2), SnapshotStatus::Failed);
    let status = node.status();
    assert_eq!(status.role, before.role());
    assert_eq!(node.hard_state(), before.hard_state());
    assert_eq!(node.last_log(), before.last_log());
}

fn contract(text: &'static str) -> StorageError {
    StorageError::Contract(text)
}

// --- At the start ---

#[test]
fn start_any_error_of_any_method_asked() {
    for error in every_error() {
        let mut faulty = [sound(), sound(), sound(), sound()];
        let [initial_state, term, first_index, last_index] = &mut faulty;
        initial_state.initial_state = Some(Err(error.clone()));
        term.term = Some(Err(error.clone()));
        first_index.first_index = Some(Err(error.clone()));
        last_index.last_index = Some(Err(error.clone()));
        for storage in faulty {
            assert_eq!(start_error(storage), StartError::Storage(error.clone()));
        }
    }
}

#[test]
fn start_with_bounds_that_are_none() {
    let text = "first_index and last_index are no bounds";
    for (first, last) in [
        (0, 5),
        (0, 0),
        (7, 5),
        (u64::MAX, 5),
        (1, LogIndex::MAX.0 + 1),
        (1, u64::MAX),
        (u64::MAX, u64::MAX),
        (0, u64::MAX),
    ] {
        let mut storage = sound();
        storage.first_index = Some(Ok(LogIndex(first)));
        storage.last_index = Some(Ok(LogIndex(last)));
        let error = StartError::Storage(contract(text));
        assert_eq!(start_error(storage), error, "{first} to {last}");
    }
}

#[test]
fn start_with_impossible_terms() {
    let text = "the terms at the log's ends make no sense";
    for term in [0, 1, Term::MAX.0 + 1, u64::MAX] {
        let mut storage = sound();
        storage.term = Some(Ok(Term(term)));
        let error = StartError::Storage(contract(text));
        assert_eq!(start_error(storage), error, "term {term}");
    }
    let falling = snapshot(5, 4, ConfState::of_voters(voters()));
    let mut inner = MemStorage::with_snapshot(falling);
    inner.append(&[entry(3, 5)]).expect("consecutive");
    let error = StartError::Storage(contract(text));
    assert_eq!(start_error(Faulty::over(inner)), error);
}

#[test]
fn start_with_a_hard_state_that_is_not_this_logs() {
    let with = |term, commit| {
        let mut storage = sound();
        storage.inner.set_hard_state(HardState {
            current_term: Term(term),
            voted_for: None,
            commit_index: LogIndex(commit),
        });
        start_error(storage)
    };
    for commit in [6, LogIndex::MAX.0, u64::MAX] {
        let error = StartError::CommitOutOfRange {
            commit_index: LogIndex(commit),
            snapshot_index: LogIndex(0),
            last_index: LogIndex(5),
        };
        assert_eq!(with(2, commit), error);
    }
    for term in [0, 1] {
        let error = StartError::TermBehindLog {
            current_term: Term(term),
            last_log: LogId::new(2, 5),
        };
        assert_eq!(with(term, 4), error);
    }
    for term in [Term::MAX.0 + 1, u64::MAX] {
        let error = contract("the hard state's term is out of range");
        assert_eq!(with(term, 4), StartError::Storage(error));
    }
}

#[test]
fn start_with_a_commit_index_below_the_snapshot() {
    let mut inner = MemStorage::with_snapshot(snapshot(2, 4, ConfState::of_voters(voters())));
    inner.set_hard_state(HardState {
        commit_index: LogIndex(3),
        ..inner.hard_state()
    });
    let error = StartError::CommitOutOfRange {
        commit_index: LogIndex(3),
        snapshot_index: LogIndex(4),
        last_index: LogIndex(4),
    };
    assert_eq!(start_error(Faulty::over(inner)), error);
}

#[test]
fn start_with_an_inconsistent_membership() {
    let all = || ConfState::of_voters(voters());
    let learners = vec![id(2)];
    let cases = [
        (
            ConfState {
                learners: learners.clone(),
                ..all()
            },
            MembershipError::Conflict(id(2)),
        ),
        (
            ConfState {
                learners,
                ..ConfState::default()
            },
            MembershipError::NoVoters,
        ),
        (
            ConfState {
                voters_outgoing: vec![id(1)],
                ..ConfState::default()
            },
            MembershipError::NoVoters,
        ),
        (
            ConfState {
                learners_next: vec![id(3)],
                ..all()
            },
            MembershipError::Conflict(id(3)),
        ),
        (
            ConfState {
                auto_leave: true,
                ..all()
            },
            MembershipError::NothingToLeave,
        ),
    ];
    for (conf_state, error) in cases {
        let mut storage = sound();
        storage.inner.set_conf_state(conf_state);
        assert_eq!(start_error(storage), StartError::Membership(error));
    }
}

// --- While running: the call that meets the fault stops the node ---

/// Nothing is applied, so a campaign looks for membership changes, in the storage.
#[test]
fn campaign_and_tick_when_entries_cannot_be_read() {
    for error in fatal_errors() {
        let seen = if error == StorageError::Unavailable {
            contract("entries inside the log are not there")
        } else {
            error.clone()
        };
        let mut node = started();
        node.storage_mut().entries = Some(Err(error.clone()));
        let halted = Halted {
            error: seen.clone(),
        };
        let mut other = node.clone();
        assert_eq!(node.campaign(), Err(CampaignError::Halted(halted.clone())));
        assert_stopped(&mut node, &seen);
        let stopped = (0..20).find_map(|_| other.tick().err());
        assert_eq!(stopped, Some(halted));
        assert_stopped(&mut other, &seen);
    }
}

/// The other two errors mean that nobody can tell now whether a change waits: no campaign yet.
#[test]
fn campaign_when_entries_are_not_there_yet() {
    for error in [
        StorageError::TemporarilyUnavailable,
        StorageError::Compacted,
    ] {
        let mut node = started();
        node.storage_mut().entries = Some(Err(error));
        assert_eq!(node.campaign(), Err(CampaignError::UnappliedChange));
        for _ in 0..50 {
            assert_eq!(node.tick(), Ok(()));
        }
        assert_eq!(node.role(), RoleKind::Follower);
        node.storage_mut().entries = None;
        assert_eq!(node.campaign(), Ok(()));
        assert_eq!(node.role(), RoleKind::PreCandidate);
    }
}

/// The commit index goes into the vote request with its term.
#[test]
fn campaign_when_a_term_cannot_be_read() {
    let no_term = contract("the term of an entry inside the log is not there");
    let impossible = contract("an entry has an impossible term");
    for (answer, seen) in [
        (Err(broken()), broken()),
        (Err(contract("found")), contract("found")),
        (Err(StorageError::Unavailable), no_term.clone()),
        (Err(StorageError::TemporarilyUnavailable), no_term),
        (Ok(Term(0)), impossible.clone()),
        (Ok(Term(3)), impossible.clone()),
        (Ok(Term(u64::MAX)), impossible),
    ] {
        for pre_vote in [true, false] {
            let config = Config::builder(id(1)).pre_vote(pre_vote).build();
            let mut node =
                RawNode::new(config.expect("the settings are sound"), sound()).expect("sound");
            settle(&mut node);
            node.storage_mut().term = Some(answer.clone());
            let halted = Halted {
                error: seen.clone(),
            };
            assert_eq!(node.campaign(), Err(CampaignError::Halted(halted)));
            assert_stopped(&mut node, &seen);
        }
    }
}

#[test]
fn step_when_a_term_cannot_be_read() {
    let no_term = contract("the term of an entry inside the log is not there");
    for (answer, seen) in [
        (Err(broken()), broken()),
        (Err(StorageError::Unavailable), no_term),
        (Ok(Term(0)), contract("an entry has an impossible term")),
    ] {
        for body in [
            append((1, 3), 4, &[]),
            append((1, 2), 4, &[(1, 3), (2, 4)]),
            install(snapshot(1, 3, ConfState::of_voters(voters()))),
        ] {
            let mut node = started();
            settle(&mut node);
            node.storage_mut().term = Some(answer.clone());
            let halted = Halted {
                error: seen.clone(),
            };
            let result = node.step(message(2, 1, 2, body));
            assert_eq!(result, Err(StepError::Halted(halted)));
            assert_stopped(&mut node, &seen);
        }
    }
}

#[test]
fn ready_when_committed_entries_cannot_be_read() {
    let missing = contract("entries inside the log are not there");
    let compacted = contract("entries were compacted before they were applied");
    for (answer, seen) in [
        (broken(), broken()),
        (contract("found"), contract("found")),
        (StorageError::Unavailable, missing),
        (StorageError::Compacted, compacted),
    ] {
        let mut node = started();
        node.storage_mut().entries = Some(Err(answer));
        let halted = Halted {
            error: seen.clone(),
        };
        assert!(node.ready().is_err_and(|error| error == halted));
        assert_stopped(&mut node, &seen);
    }
}

/// Asked for the committed 1 to 4; more than that is no prefix of it.
#[test]
fn ready_when_committed_entries_are_others_than_asked_for() {
    let seen = contract("entries() did not return the entries asked for");
    for wrong in [
        &[][..],
        &[(1, 2)],
        &[(1, 0)],
        &[(0, 1)],
        &[(1, 1), (1, 3)],
        &[(1, 1), (1, 1)],
        &[(2, 1), (1, 2)],
        &[(1, 1), (1, 2), (1, 3), (2, 4), (2, 5)],
        &[(1, u64::MAX)],
        &[(u64::MAX, 1)],
        &[(1, 1), (u64::MAX, 2)],
    ] {
        let mut node = started();
        node.storage_mut().entries = Some(Ok(entries(wrong)));
        let halted = Halted {
            error: seen.clone(),
        };
        assert!(
            node.ready().is_err_and(|error| error == halted),
            "{wrong:?}"
        );
        assert_stopped(&mut node, &seen);
    }
}

/// Fewer than asked for are an honest answer, as long as it is one at least.
#[test]
fn ready_goes_on_where_a_short_answer_ended() {
    let mut node = started();
    node.storage_mut().entries = Some(Ok(entries(&[(1, 1)])));
    let ready = node.ready().expect("honest").expect("something to apply");
    assert_eq!(ready.applies_to(), Some(LogIndex(1)));
    node.advance(ready).expect("its own");
    node.storage_mut().entries = None;
    settle(&mut node);
    assert_eq!(node.last_applied(), LogIndex(4));
}

#[test]
fn ready_waits_for_committed_entries_that_are_fetched() {
    let mut node = started();
    node.storage_mut().entries = Some(Err(StorageError::TemporarilyUnavailable));
    for _ in 0..3 {
        if let Some(ready) = node.ready().expect("no failure") {
            assert!(ready.committed_entries.is_empty());
            node.advance(ready).expect("its own");
        }
    }
    assert_eq!(node.halted(), None);
    assert_eq!(node.last_applied(), LogIndex(0));
    node.storage_mut().entries = None;
    assert!(node.has_ready());
    settle(&mut node);
    assert_eq!(node.last_applied(), LogIndex(4));
}

// --- A leader that reads for its peers ---

#[test]
fn ready_when_a_peers_entries_cannot_be_read() {
    for error in fatal_errors() {
        let seen = if error == StorageError::Unavailable {
            contract("entries inside the log are not there")
        } else {
            error.clone()
        };
        let mut node = leader();
        reject_everything(&mut node);
        node.storage_mut().entries = Some(Err(error));
        let halted = Halted {
            error: seen.clone(),
        };
        assert!(node.ready().is_err_and(|error| error == halted));
        assert_stopped(&mut node, &seen);
    }
}

#[test]
fn ready_when_a_peers_entries_are_others_than_asked_for() {
    let seen = contract("entries() did not return the entries asked for");
    for wrong in [
        &[][..],
        &[(1, 2)],
        &[(1, 1), (1, 3)],
        &[(0, 1)],
        &[(1, u64::MAX)],
    ] {
        let mut node = leader();
        reject_everything(&mut node);
        node.storage_mut().entries = Some(Ok(entries(wrong)));
        assert!(node.ready().is_err(), "{wrong:?}");
        assert_stopped(&mut node, &seen);
    }
}

fn sent_to_two(messages: &[Message]) -> Vec<&Body> {
    let to_two = messages.iter().filter(|message| message.to == id(2));
    to_two.map(|message| &message.body).collect()
}

fn heartbeat_answer() -> Message {
    let body = Body::HeartbeatResponse(almadia::HeartbeatResponse {
        commit_index: LogIndex(0),
        context: almadia::Bytes::new(),
    });
    message(2, 1, 3, body)
}

#[test]
fn a_peer_waits_for_entries_that_are_fetched() {
    let mut node = leader();
    reject_everything(&mut node);
    node.storage_mut().entries = Some(Err(StorageError::TemporarilyUnavailable));
    assert!(sent_to_two(&settle(&mut node)).is_empty());
    node.step(heartbeat_answer()).expect("an answer");
    assert!(sent_to_two(&settle(&mut node)).is_empty());
    let state = node.progress(id(2)).map(almadia::Progress::state);
    assert_eq!(state, Some(&ProgressState::Probe { awaiting: true }));
    node.storage_mut().entries = None;
    node.step(heartbeat_answer()).expect("an answer");
    let sent = settle(&mut node);
    let [Body::AppendEntries(append)] = sent_to_two(&sent)[..] else {
        panic!("one append, not {sent:?}");
    };
    assert_eq!(append.entries.first_id(), Some(LogId::new(1, 1)));
    assert_eq!(node.halted(), None);
}

#[test]
fn a_peer_waits_for_a_snapshot_that_is_made() {
    let mut node = leader_that_has_to_send_a_snapshot();
    node.storage_mut().snapshot = Some(Err(StorageError::TemporarilyUnavailable));
    for _ in 0..3 {
        assert!(sent_to_two(&settle(&mut node)).is_empty());
        node.step(heartbeat_answer()).expect("an answer");
    }
    assert_eq!(node.halted(), None);
    node.storage_mut().snapshot = None;
    let sent = settle(&mut node);
    assert!(matches!(sent_to_two(&sent)[..], [Body::InstallSnapshot(_)]));
}

#[test]
fn ready_when_a_snapshot_cannot_be_had() {
    for error in [
        StorageError::Compacted,
        StorageError::Unavailable,
        contract("found"),
        broken(),
    ] {
        let mut node = leader_that_has_to_send_a_snapshot();
        node.storage_mut().snapshot = Some(Err(error.clone()));
        assert!(node.ready().is_err());
        assert_stopped(&mut node, &error);
    }
}

#[test]
fn ready_when_a_snapshot_is_not_of_this_log() {
    let seen = contract("the snapshot is not of this log, or too old");
    for (term, index) in [
        (0, 0),
        (1, 3),
        (1, 4),
        (0, 4),
        (9, 9),
        (2, LogIndex::MAX.0),
        (2, u64::MAX),
    ] {
        let mut node = leader_that_has_to_send_a_snapshot();
        let wrong = snapshot(term, index, ConfState::of_voters(voters()));
        node.storage_mut().snapshot = Some(Ok(wrong));
        assert!(node.ready().is_err(), "{term}/{index}");
        assert_stopped(&mut node, &seen);
    }
}

#[test]
fn ready_when_a_snapshot_has_a_broken_membership() {
    let seen = contract("the snapshot's membership is inconsistent");
    let conf_state = ConfState {
        learners: vec![id(2)],
        ..ConfState::of_voters(voters())
    };
    let mut node = leader_that_has_to_send_a_snapshot();
    node.storage_mut().snapshot = Some(Ok(snapshot(2, 4, conf_state)));
    assert!(node.ready().is_err());
    assert_stopped(&mut node, &seen);
}

/// A snapshot that was made before the peer was added is sound, only of no use to it.
#[test]
fn a_peer_waits_for_a_snapshot_that_knows_it() {
    for conf_state in [ConfState::of_voters([id(1), id(3)]), ConfState::default()] {
        let mut node = leader_that_has_to_send_a_snapshot();
        node.storage_mut().snapshot = Some(Ok(snapshot(2, 4, conf_state)));
        assert!(sent_to_two(&settle(&mut node)).is_empty());
        assert_eq!(node.halted(), None);
    }
}

#[test]
fn ready_when_first_index_cannot_be_read() {
    for error in every_error() {
        let mut node = leader_that_has_to_send_a_snapshot();
        node.storage_mut().first_index = Some(Err(error.clone()));
        assert!(node.ready().is_err());
        assert_stopped(&mut node, &error);
    }
}

#[test]
fn ready_when_first_index_lies() {
    let seen = contract("the snapshot is not of this log, or too old");
    for index in [9, u64::MAX] {
        let mut node = leader_that_has_to_send_a_snapshot();
        let beyond = snapshot(2, 4, ConfState::of_voters(voters()));
        node.storage_mut().first_index = Some(Ok(LogIndex(index)));
        node.storage_mut().snapshot = Some(Ok(beyond));
        assert!(node.ready().is_err());
        assert_stopped(&mut node, &seen);
    }
    // Zero says less than the node knows itself.
    let mut node = leader_that_has_to_send_a_snapshot();
    node.storage_mut().first_index = Some(Ok(LogIndex(0)));
    let sent = settle(&mut node);
    assert!(matches!(sent_to_two(&sent)[..], [Body::InstallSnapshot(_)]));
}

/// Why a `Ready` cannot be acknowledged: the node stopped after handing it out.
#[test]
fn advance_after_the_storage_failed() {
    let mut node = started();
    let ready = node.ready().expect("sound").expect("entries to apply");
    node.storage_mut().term = Some(Err(broken()));
    node.step(message(2, 1, 2, append((1, 3), 4, &[])))
        .expect_err("the storage fails");
    let halted = Halted { error: broken() };
    assert_eq!(node.advance(ready), Err(AckError::Halted(halted)));
    assert_stopped(&mut node, &broken());
}
