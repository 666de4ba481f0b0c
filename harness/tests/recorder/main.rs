//! The recorder, and the replay of what it has recorded.
//!
//! Owns what the tests of it share: a recording in memory, and the life of a node in which every
//! call is made. That whole clusters can be replayed is shown in `seeds.rs`.

mod cli;
mod differences;
mod files;
mod lives;
mod rings;
mod sources;

use std::io::{self, Cursor, Write};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};

use almadia::{
    AppendEntries, AppendEntriesResponse, Body, Config, Entry, Heartbeat, LogId, LogIndex,
    MemStorage, MemberChange, MembershipChange, Message, NodeId, Payload, Purpose, RawNode, Ready,
    RoleKind, SnapshotStatus, Storage, Term, Token, VoteResponse, Window,
};
use almadia_harness::recorder::{
    Divergence, DivergenceKind, End, Options, Recorded, Recording, RecordingError, Replay,
    ReplayError, Replayed, Tape, Witness,
};

fn id(number: u64) -> NodeId {
    NodeId::new(number).expect("not zero")
}

fn storage() -> MemStorage {
    MemStorage::with_voters([1, 2, 3].map(id))
}

/// Hashes the node after every call.
fn exact() -> Options {
    Options {
        hash_every: 1,
        ..Options::default()
    }
}

/// Never hashes the node, so that only what comes out of it tells.
fn outputs_only() -> Options {
    Options {
        hash_every: 0,
        ..Options::default()
    }
}

/// A file in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn bytes(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn tape<S>(&self, options: Options) -> Tape<S> {
        Tape::writer(self.clone(), options).expect("memory does not fail")
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A recording that was replayed as far as it goes.
#[derive(Debug)]
struct Outcome {
    steps: Vec<Replayed>,
    node: Option<RawNode<Witness<MemStorage>>>,
    end: Option<End>,
    divergence: Option<Divergence>,
}

impl Outcome {
    fn methods(&self) -> Vec<&'static str> {
        self.steps.iter().map(|step| step.method).collect()
    }
}

fn replay(recording: Vec<u8>) -> Result<Outcome, RecordingError> {
    play(Replay::new(Recording::open(Cursor::new(recording))?).told())
}

fn play(mut replay: Replay) -> Result<Outcome, RecordingError> {
    let mut steps = Vec::new();
    let divergence = loop {
        match replay.next_step() {
            Ok(Some(step)) => steps.push(step),
            Ok(None) => break None,
            Err(ReplayError::Diverged(divergence)) => break Some(*divergence),
            Err(ReplayError::Recording(error)) => return Err(error),
        }
    };
    Ok(Outcome {
        steps,
        node: replay.node().cloned(),
        end: replay.end(),
        divergence,
    })
}

/// Replays a recording that must not diverge, and compares the node.
fn replay_to(recording: Vec<u8>, node: &RawNode<Witness<MemStorage>>) -> Outcome {
    let outcome = replay(recording).expect("a recording");
    assert_eq!(outcome.divergence, None);
    assert_eq!(outcome.node.as_ref(), Some(node));
    outcome
}

/// Writes what a `Ready` asks for.
fn persist(disk: &mut MemStorage, ready: &Ready) {
    if let Some(snapshot) = ready.snapshot.clone() {
        disk.install_snapshot(*snapshot).expect("a newer snapshot");
    }
    for run in &ready.entries {
        disk.append(run).expect("entries continue the log");
    }
    if let Some(hard_state) = ready.hard_state {
        disk.set_hard_state(hard_state);
    }
}

/// Does what a synchronous embedder does.
fn work(node: &mut Recorded<MemStorage>) {
    while let Some(ready) = node.ready().expect("memory does not fail") {
        persist(node.storage_mut(), &ready);
        for entry in ready.committed_entries.iter().flatten() {
            if let Payload::Change(change) = &entry.payload {
                node.apply_conf_change(change).expect("a possible change");
            }
        }
        node.advance(ready).expect("the node's own");
    }
}

/// Hands the node a message of the current term, from this peer.
fn hear(node: &mut Recorded<MemStorage>, from: u64, body: Body) {
    let term = node.current_term();
    step(node, from, term, body);
}

fn step(node: &mut Recorded<MemStorage>, from: u64, term: Term, body: Body) {
    // Some are refused, on purpose.
    let _ = node.step(Message {
        to: id(1),
        from: id(from),
        term,
        body,
    });
    work(node);
}

fn accepted(match_index: LogIndex) -> Body {
    Body::AppendEntriesResponse(AppendEntriesResponse::Accepted {
        match_index,
        commit_index: match_index,
    })
}

/// Makes the node a leader.
fn elect(node: &mut Recorded<MemStorage>) {
    node.campaign().expect("a voter");
    work(node);
    if node.role() == RoleKind::PreCandidate {
        let term = node.current_term().next();
        let granted = Body::PreVoteResponse(VoteResponse::Granted);
        step(node, 2, term, granted);
    }
    hear(node, 2, Body::RequestVoteResponse(VoteResponse::Granted));
    assert_eq!(node.role(), RoleKind::Leader);
}

/// The peers have everything.
fn catch_up(node: &mut Recorded<MemStorage>) {
    for peer in [2, 3] {
        let last = node.last_log().index;
        hear(node, peer, accepted(last));
    }
}

/// A node of which every call is made, most of them to some effect.
fn make_every_call(node: &mut Recorded<MemStorage>) {
    for _ in 0..15 {
        node.tick().expect("memory does not fail");
        work(node);
    }
    elect(node);
    catch_up(node);
    node.propose("context", "data").expect("it leads");
    node.set_window(
        id(2),
        Some(Window {
            messages: 1,
            bytes: 10,
        }),
    );
    node.set_group_commit(true);
    node.assign_commit_group(id(1), NonZeroU64::new(1));
    node.assign_commit_group(id(2), None);
    work(node);
    catch_up(node);
    node.set_group_commit(false);
    node.read_index("read").expect("it leads");
    node.lease_read("lease").expect("it leads");
    node.ping();
    work(node);
    node.set_priority(-3);
    node.set_skip_commit_broadcast(true);
    let change = MembershipChange::of([MemberChange::AddLearner(id(4))]);
    node.propose_conf_change("", change).expect("it leads");
    work(node);
    catch_up(node);
    node.report_unreachable(id(3));
    node.report_snapshot(id(3), SnapshotStatus::Failed);
    node.on_entries_fetched(Purpose::Send(id(3)));
    node.transfer_leader(id(2)).expect("a voter");
    node.tick_many(3).expect("memory does not fail");
    work(node);
    follow(node);
}

/// Another one leads, and the embedder does more than one thing at a time.
fn follow(node: &mut Recorded<MemStorage>) {
    let leader = Term(node.current_term().0 + 1);
    let token = Token::Bytes("mark".into());
    let leader_commit = node.commit_index();
    let heartbeat = Body::Heartbeat(Heartbeat {
        leader_commit,
        token,
    });
    step(node, 2, leader, heartbeat);
    node.request_snapshot().expect("there is a leader");
    node.forget_leader();
    let entry = Entry {
        id: LogId {
            term: leader,
            index: node.last_log().index.next(),
        },
        payload: Payload::Data("from the leader".into()),
        context: "its context".into(),
    };
    let append = AppendEntries {
        prev_log: node.last_log(),
        leader_commit: entry.index(),
        entries: vec![entry].into(),
    };
    let message = Message {
        to: id(1),
        from: id(2),
        term: leader,
        body: Body::AppendEntries(append),
    };
    node.step(message).expect("a correct leader");
    let ready = node
        .ready()
        .expect("memory does not fail")
        .expect("an entry");
    persist(node.storage_mut(), &ready);
    node.persisted(ready.number).expect("it is");
    let ready = node
        .ready()
        .expect("memory does not fail")
        .expect("it is committed");
    node.persisted(ready.number).expect("it is");
    node.applied(ready.applies_to().expect("an entry"))
        .expect("it is");
    // What is refused is recorded too.
    assert!(node.propose("", "nobody leads").is_err());
    assert!(node.persisted(u64::MAX).is_err());
}

/// The recording of a node of which every call was made, and the node.
fn full_life(options: Options) -> (Vec<u8>, RawNode<Witness<MemStorage>>) {
    let memory = Memory::default();
    let config = Config::builder(id(1)).seed(SEED).incarnation(1).build();
    let config = config.expect("a valid config");
    let mut node = Recorded::new(config, storage(), memory.tape(options)).expect("an empty log");
    make_every_call(&mut node);
    let node = node.into_node();
    (memory.bytes(), node)
}

/// A number that is easy to find among the bytes.
const SEED: u64 = 0x1234_5678_9abc;

/// Where the frames of a recording's blocks begin.
fn blocks(recording: &[u8]) -> Vec<usize> {
    let mut frames = Vec::new();
    let mut at = HEADER;
    while let Some(length) = recording.get(at..at + 4) {
        frames.push(at);
        let length: [u8; 4] = length.try_into().expect("four bytes");
        at += FRAME + u32::from_le_bytes(length) as usize;
    }
    frames
}

const HEADER: usize = 12;
const FRAME: usize = 8;

/// Puts one run of bytes in the place of another of the same length, and makes the checksums right.
/// Returns how many places there were.
fn tamper(recording: &mut [u8], from: &[u8], to: &[u8]) -> usize {
    assert_eq!(from.len(), to.len());
    let places = recording.windows(from.len()).enumerate();
    let places: Vec<usize> = places
        .filter_map(|(at, bytes)| (bytes == from).then_some(at))
        .collect();
    for &at in &places {
        recording[at..at + to.len()].copy_from_slice(to);
    }
    seal(recording);
    places.len()
}

/// Makes the checksums right.
fn seal(recording: &mut [u8]) {
    let frames = blocks(recording);
    let ends = frames.iter().skip(1).copied().chain([recording.len()]);
    for (frame, end) in frames.clone().into_iter().zip(ends) {
        let checksum = crc32fast::hash(&recording[frame + FRAME..end]);
        recording[frame + 4..frame + FRAME].copy_from_slice(&checksum.to_le_bytes());
    }
}
