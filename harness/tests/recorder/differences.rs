//! Whether a replay finds where things begin to differ: recordings that were changed on purpose.
//!
//! What is changed here stands for a core that does something else with the same input.

use almadia::{AcknowledgeError, Entries, EntriesRequest, InitialState, Snapshot, StorageError};
use almadia_harness::Dice;
use almadia_harness::recorder::StoredEntries;

use super::*;

/// The first step at which this text was told.
fn step_of(outcome: &Outcome, text: &str) -> u64 {
    let mut steps = outcome.steps.iter();
    let step = steps.find(|step| step.to_string().contains(text));
    step.unwrap_or_else(|| panic!("nothing tells {text}")).step
}

fn divergence(recording: Vec<u8>) -> Divergence {
    let outcome = replay(recording).expect("a recording");
    outcome.divergence.expect("it differs")
}

#[test]
fn another_command_is_found_where_it_comes_out() {
    let (mut recording, node) = full_life(outputs_only());
    let original = replay_to(recording.clone(), &node);
    assert_eq!(
        tamper(&mut recording, b"from the leader", b"from the healer"),
        1
    );
    let found = divergence(recording);
    let proposed = step_of(&original, "from the leader");
    let handed_out = original
        .steps
        .iter()
        .find(|step| step.step > proposed && step.to_string().contains("Ready { number"));
    assert_eq!(Some(found.step), handed_out.map(|step| step.step));
    let DivergenceKind::Outcome {
        expected,
        got,
        output,
    } = &found.kind
    else {
        panic!("{found}");
    };
    assert_ne!(expected, got);
    assert!(output.contains("from the healer"), "{output}");
    let text = found.to_string();
    assert!(
        text.starts_with(&format!("step {}: TakeReady: expected ready", found.step)),
        "{text}"
    );
}

#[test]
fn another_command_is_found_at_once_if_the_node_is_hashed() {
    let (mut recording, node) = full_life(exact());
    let original = replay_to(recording.clone(), &node);
    assert_eq!(
        tamper(&mut recording, b"from the leader", b"from the healer"),
        1
    );
    let found = divergence(recording);
    let proposed = step_of(&original, "from the leader");
    assert_eq!(found.step, proposed);
    let DivergenceKind::Node { agreed, .. } = found.kind else {
        panic!("{found}");
    };
    assert_eq!(agreed, Some(proposed - 1));
}

/// The recording of a node that ticks until it campaigns.
fn waiting(options: Options, seed: u64) -> Vec<u8> {
    let memory = Memory::default();
    let config = Config::builder(id(1))
        .seed(seed)
        .build()
        .expect("a valid config");
    let mut node = Recorded::new(config, storage(), memory.tape(options)).expect("a start");
    for _ in 0..40 {
        node.tick().expect("memory does not fail");
        work(&mut node);
    }
    drop(node);
    memory.bytes()
}

fn var_int(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 127 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[test]
fn another_seed_is_found_when_the_node_campaigns_at_another_time() {
    let other = SEED + 1;
    let [ours, theirs] = [SEED, other].map(|seed| replay(waiting(outputs_only(), seed)));
    let steps = |outcome: Result<Outcome, _>| outcome.expect("a recording").steps;
    let [ours, theirs] = [ours, theirs].map(steps);
    let differs = |(one, two): &(&Replayed, &Replayed)| one.step > 0 && one.text != two.text;
    let (first, _) = ours.iter().zip(&theirs).find(differs).expect("they differ");

    let mut recording = waiting(outputs_only(), SEED);
    assert_eq!(tamper(&mut recording, &var_int(SEED), &var_int(other)), 1);
    assert_eq!(divergence(recording).step, first.step);

    let mut recording = waiting(exact(), SEED);
    assert_eq!(tamper(&mut recording, &var_int(SEED), &var_int(other)), 1);
    assert_eq!(
        divergence(recording).step,
        0,
        "the settings are part of the node"
    );
}

/// A peer that has acknowledged the first entry, and the same that has acknowledged nothing.
#[test]
fn another_acknowledgement_is_found_where_nothing_is_committed() {
    let memory = Memory::default();
    let config = Config::builder(id(1))
        .pre_vote(false)
        .build()
        .expect("valid");
    let tape = memory.tape(outputs_only());
    let mut node = Recorded::new(config, storage(), tape).expect("a start");
    elect(&mut node);
    hear(&mut node, 2, accepted(LogIndex(1)));
    let node = node.into_node();
    assert_eq!(node.commit_index(), LogIndex(1));
    let mut recording = memory.bytes();
    let original = replay_to(recording.clone(), &node);
    // An input, which is a step: to node 1, from node 2, in term 1, accepted up to 1.
    let something = [1, 2, 1, 2, 1, 5, 0, 1, 1];
    let nothing = [1, 2, 1, 2, 1, 5, 0, 0, 1];
    assert_eq!(tamper(&mut recording, &something, &nothing), 1);
    let found = divergence(recording);
    let heard = step_of(&original, "Accepted { match_index: 1");
    assert_eq!((found.step, found.call.as_str()), (heard + 1, "TakeReady"));
    let DivergenceKind::Outcome { expected, got, .. } = found.kind else {
        panic!("{}", found.kind);
    };
    println!("expected {expected}, got {got}");
}

/// Another call in the place of one.
#[test]
fn another_call_is_found() {
    let recording = waiting(exact(), SEED);
    let mut campaigns = recording.clone();
    // The first tick after the start: its tags, its outcome, the tag of the hash.
    let tick = [1, 0, 4, 0];
    let campaign = [1, 6, 4, 0];
    let at = recording
        .windows(4)
        .position(|bytes| bytes == tick)
        .expect("it ticks");
    campaigns[at..at + 4].copy_from_slice(&campaign);
    seal(&mut campaigns);
    let found = divergence(campaigns);
    assert_eq!((found.step, found.call.as_str()), (1, "Campaign"));
}

#[test]
fn another_question_to_the_storage_is_found() {
    let mut recording = waiting(exact(), SEED);
    // At the start, an answer to what the term at index 0 is: it is 0.
    let (term_at_0, term_at_1) = ([2, 2, 0, 1, 3, 0], [2, 2, 1, 1, 3, 0]);
    assert!(tamper(&mut recording, &term_at_0, &term_at_1) > 0);
    let found = divergence(recording);
    assert_eq!(found.step, 0);
    let DivergenceKind::Asked { expected, got } = found.kind else {
        panic!("{}", found.kind);
    };
    assert_eq!((expected.as_str(), got.as_str()), ("Term(1)", "Term(0)"));
}

#[test]
fn a_question_that_is_not_asked_any_more_is_found() {
    let mut recording = waiting(exact(), SEED);
    // Before the outcome of the first tick, an answer about the first index.
    let tick = [1, 0, 4, 0];
    let with_answer = [1, 0, 2, 3, 1, 4, 1, 4, 0];
    let at = recording
        .windows(4)
        .position(|bytes| bytes == tick)
        .expect("it ticks");
    recording.splice(at..at + 4, with_answer);
    let length = u32::try_from(recording.len() - HEADER - FRAME).expect("a small file");
    recording[HEADER..HEADER + 4].copy_from_slice(&length.to_le_bytes());
    seal(&mut recording);
    let found = divergence(recording);
    assert_eq!(found.step, 1);
    let DivergenceKind::Asked { expected, got } = found.kind else {
        panic!("{}", found.kind);
    };
    assert_eq!(
        (expected.as_str(), got.as_str()),
        ("FirstIndex", "nothing more")
    );
}

/// A disk that loses the content of what was written to it.
#[derive(Clone)]
struct Rotten {
    disk: MemStorage,
    content: &'static str,
}

impl Storage for Rotten {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.disk.initial_state()
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        let entries = self.disk.entries(request)?;
        let rotten = entries.iter().map(|entry| match &entry.payload {
            Payload::Data(data) if !data.is_empty() => Entry {
                payload: Payload::Data(self.content.into()),
                ..entry.clone()
            },
            Payload::Data(_) | Payload::Change(_) => entry.clone(),
        });
        Ok(rotten.collect())
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        self.disk.term(index)
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        self.disk.first_index()
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        self.disk.last_index()
    }

    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
        self.disk.snapshot(request_index, to)
    }
}

/// A leader that keeps nothing in memory, and a peer that lacks everything. Its own disk gives back
/// `content` in the place of what it was given.
fn read_back(stored_entries: StoredEntries, content: &'static str) -> (Vec<u8>, Outcome) {
    let memory = Memory::default();
    let options = Options {
        stored_entries,
        ..exact()
    };
    let config = Config::builder(id(1))
        .max_tail_bytes(0)
        .pre_vote(false)
        .build();
    let disk = Rotten {
        disk: MemStorage::with_voters([1, 2].map(id)),
        content,
    };
    let tape = memory.tape(options);
    let mut node = Recorded::new(config.expect("valid"), disk, tape).expect("a start");
    let work = |node: &mut Recorded<Rotten>| -> Result<(), AcknowledgeError> {
        while let Some(ready) = node.ready().expect("memory does not fail") {
            persist(&mut node.storage_mut().disk, &ready);
            node.advance(ready)?;
        }
        Ok(())
    };
    let hear = |node: &mut Recorded<Rotten>, body| {
        let (to, from, term) = (id(1), id(2), Term(1));
        node.step(Message {
            to,
            from,
            term,
            body,
        })
        .expect("a correct peer");
        work(node).expect("its own");
    };
    node.campaign().expect("a voter");
    work(&mut node).expect("its own");
    hear(&mut node, Body::RequestVoteResponse(VoteResponse::Granted));
    for _ in 0..20 {
        node.propose("", CONTENT).expect("it leads");
    }
    work(&mut node).expect("its own");
    // The peer has lost its log, and is sent everything from the disk.
    let rejected = AppendEntriesResponse::Rejected {
        prev_index: LogIndex::ZERO,
        hint: LogId::ZERO,
        commit_index: LogIndex::ZERO,
    };
    hear(&mut node, Body::AppendEntriesResponse(rejected));
    hear(&mut node, accepted(LogIndex(1)));
    drop(node);
    let outcome = replay(memory.bytes()).expect("a recording");
    (memory.bytes(), outcome)
}

const CONTENT: &str = "what the node was given to persist";

#[test]
fn entries_that_are_named_take_less_room() {
    let (whole, outcome) = read_back(StoredEntries::Whole, CONTENT);
    assert_eq!(outcome.divergence, None);
    let (named, outcome) = read_back(StoredEntries::Named, CONTENT);
    assert_eq!(outcome.divergence, None);
    println!("{} bytes whole, {} bytes named", whole.len(), named.len());
    let copies = |recording: &[u8]| {
        let windows = recording.windows(CONTENT.len());
        windows.filter(|bytes| *bytes == CONTENT.as_bytes()).count()
    };
    assert!(copies(&whole) > 20, "the entries were read");
    assert_eq!(copies(&named), 20, "the proposals alone");
}

#[test]
fn a_disk_that_gives_back_something_else_is_found() {
    let (_, outcome) = read_back(StoredEntries::Whole, "rot");
    assert_eq!(outcome.divergence, None, "all that is needed is recorded");
    let (_, outcome) = read_back(StoredEntries::Named, "rot");
    let found = outcome.divergence.expect("it is not what was recorded");
    assert!(
        matches!(found.kind, DivergenceKind::OtherEntries { .. }),
        "{found}"
    );
}

/// Whatever is changed, if only the checksum is right, is a difference, or no sense, or no
/// difference; it never takes the replay down.
#[test]
fn no_change_of_a_recording_takes_the_replay_down() {
    let (recording, _) = full_life(Options {
        hash_every: 7,
        ..Options::default()
    });
    let mut dice = Dice::new(1);
    let [mut differences, mut nonsense, mut nothing] = [0; 3];
    for _ in 0..3000 {
        let mut changed = recording.clone();
        for _ in 0..1 + dice.below(2) {
            let at = HEADER + FRAME + dice.position(changed.len() - HEADER - FRAME);
            changed[at] = u8::try_from(dice.below(256)).expect("a byte");
        }
        seal(&mut changed);
        match replay(changed) {
            Ok(outcome) if outcome.divergence.is_some() => differences += 1,
            Ok(_) => nothing += 1,
            Err(_) => nonsense += 1,
        }
    }
    println!("{differences} differences, {nonsense} without sense, {nothing} without a difference");
    assert!(differences > 500 && nonsense > 500);
}
