//! A `Storage` that fails or lies: the node does not start, or stops with the reason. It never
//! panics, and it never goes on as if nothing had happened.
//!
//! Owns the list R2, method by method. Every answer of the storage can be replaced on demand; what
//! is not replaced comes from a [`MemStorage`].

mod at_start;
#[path = "../common/faults.rs"]
mod faults;
mod for_peers;

use almadia::{
    AcknowledgeError, AppendEntriesResponse, Body, CampaignError, ChangeError, ConfState, Config,
    Entries, EntriesRequest, Halted, HardState, InitialState, LogId, LogIndex, MemStorage,
    MemberChange, MembershipChange, MembershipError, Message, NodeId, ProposeError, Purpose,
    RawNode, RoleKind, Snapshot, SnapshotStatus, StartError, StepError, Storage, StorageError,
    Term, VoteResponse,
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
    /// The answer to a request that goes beyond `snapshot`.
    later: Option<Result<Snapshot, StorageError>>,
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

    fn truth(&self) -> &MemStorage {
        &self.inner
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
        if let (Some(Ok(snapshot)), Some(later)) = (&self.snapshot, &self.later) {
            if snapshot.last_included.index < request_index {
                return later.clone();
            }
        }
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
    let refused = || Err(AcknowledgeError::Halted(halted.clone()));
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

/// Who stands for election has looked for membership changes. A refusal that tells of nothing else is no
/// reason to look again, and to give up if that cannot be done now.
#[test]
fn a_refusal_that_tells_nothing_new_asks_nothing_of_the_storage() {
    let mut node = started();
    node.campaign().expect("a voter may campaign");
    node.storage_mut().entries = Some(Err(StorageError::TemporarilyUnavailable));
    let commit = LogId::new(2, 4);
    assert_eq!(node.commit_index(), commit.index);
    let refused = Body::PreVoteResponse(VoteResponse::Refused { commit });
    node.step(message(2, 1, 2, refused)).expect("a refusal");
    assert_eq!(node.role(), RoleKind::PreCandidate);
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
        &[(3, 1)],
        &[(1, 1), (3, 2)],
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
    assert!(!node.has_ready(), "it asks again when time has passed");
    node.tick().expect("no failure");
    assert!(node.has_ready());
    settle(&mut node);
    assert_eq!(node.last_applied(), LogIndex(4));
}
