//! What it costs to record a node: nanoseconds and bytes for each call.
//!
//! Owns the workloads, each of which is done by a plain node and by recorded ones in turn. Run it
//! with `cargo run --release --package almadia-harness --example recorder_cost`.

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use almadia::{
    AcknowledgeError, AppendEntries, AppendEntriesResponse, Body, Bytes, Config, Entry, Halted,
    LogId, LogIndex, MemStorage, Message, NodeId, Payload, ProposeError, RawNode, Ready, Snapshot,
    StepError, Term,
};
use almadia_harness::recorder::{Flush, Options, Recorded, Tape};

type Failure = Box<dyn Error>;

/// What a workload needs of a node.
trait Node {
    fn tick(&mut self) -> Result<(), Halted>;
    fn step(&mut self, message: Message) -> Result<(), StepError>;
    fn propose(&mut self, data: Bytes) -> Result<LogId, ProposeError>;
    fn ready(&mut self) -> Result<Option<Ready>, Halted>;
    fn advance(&mut self, ready: Ready) -> Result<(), AcknowledgeError>;
    fn campaign(&mut self) -> Result<(), almadia::CampaignError>;
    fn disk(&mut self) -> &mut MemStorage;
}

macro_rules! nodes {
    ($($node:ty),*) => {$(
        impl Node for $node {
            fn tick(&mut self) -> Result<(), Halted> {
                <$node>::tick(self)
            }
            fn step(&mut self, message: Message) -> Result<(), StepError> {
                <$node>::step(self, message)
            }
            fn propose(&mut self, data: Bytes) -> Result<LogId, ProposeError> {
                <$node>::propose(self, "", data)
            }
            fn ready(&mut self) -> Result<Option<Ready>, Halted> {
                <$node>::ready(self)
            }
            fn advance(&mut self, ready: Ready) -> Result<(), AcknowledgeError> {
                <$node>::advance(self, ready)
            }
            fn campaign(&mut self) -> Result<(), almadia::CampaignError> {
                <$node>::campaign(self)
            }
            fn disk(&mut self) -> &mut MemStorage {
                <$node>::storage_mut(self)
            }
        }
    )*};
}

nodes!(RawNode<MemStorage>, Recorded<MemStorage>);

fn id(number: u64) -> Result<NodeId, Failure> {
    NodeId::new(number).ok_or_else(|| "a node id is zero".into())
}

fn storage() -> Result<MemStorage, Failure> {
    Ok(MemStorage::with_voters([id(1)?, id(2)?, id(3)?]))
}

/// Does what a synchronous embedder does. Returns how many calls it took.
fn work(node: &mut impl Node) -> Result<u64, Failure> {
    let mut calls = 1;
    while let Some(ready) = node.ready()? {
        for run in &ready.entries {
            node.disk().append(run)?;
        }
        if let Some(hard_state) = ready.hard_state {
            node.disk().set_hard_state(hard_state);
        }
        node.advance(ready)?;
        calls += 2;
    }
    Ok(calls)
}

fn answer(node: &mut impl Node, body: &Body, voters: &[u64]) -> Result<(), Failure> {
    for &voter in voters {
        node.step(Message {
            to: id(1)?,
            from: id(voter)?,
            term: Term(1),
            body: body.clone(),
        })?;
    }
    Ok(())
}

/// Forgets what is committed, so that the log does not grow for ever.
fn compact(node: &mut impl Node, last: LogId) -> Result<(), Failure> {
    let conf_state = almadia::ConfState::of_voters([id(1)?, id(2)?, id(3)?]);
    node.disk().save_snapshot(Snapshot {
        last_included: last,
        conf_state,
        data: Bytes::new(),
    })?;
    Ok(node.disk().compact(last.index)?)
}

/// A workload. Returns how many calls it took, and how long they took.
type Workload<N> = fn(&mut N) -> Result<(u64, Duration), Failure>;

fn ticks(node: &mut impl Node) -> Result<(u64, Duration), Failure> {
    const ROUNDS: u64 = 40_000;
    let leader = Body::Heartbeat(almadia::Heartbeat {
        leader_commit: LogIndex::ZERO,
        token: almadia::Token::None,
    });
    let begin = Instant::now();
    let mut calls = 0;
    for _ in 0..ROUNDS / 9 {
        answer(node, &leader, &[2])?;
        calls += 1 + work(node)? + 9;
        for _ in 0..9 {
            node.tick()?;
        }
    }
    Ok((calls, begin.elapsed()))
}

/// A follower takes one entry of these many bytes at a time.
fn follow<const BYTES: usize>(node: &mut impl Node) -> Result<(u64, Duration), Failure> {
    const ROUNDS: u64 = 4000;
    let payload = Bytes::from(vec![7; BYTES]);
    let mut previous = LogId::ZERO;
    let mut calls = 0;
    let begin = Instant::now();
    for index in 1..=ROUNDS {
        let entry = Entry {
            id: LogId::new(1, index),
            payload: Payload::Data(payload.clone()),
            context: Bytes::new(),
        };
        let append = AppendEntries {
            prev_log: previous,
            leader_commit: previous.index,
            entries: vec![entry].into(),
        };
        answer(node, &Body::AppendEntries(append), &[2])?;
        calls += 1 + work(node)?;
        if index % 1024 == 0 {
            compact(node, previous)?;
        }
        previous = LogId::new(1, index);
    }
    Ok((calls, begin.elapsed()))
}

/// A leader takes so many proposals of these many bytes, sends them to two peers, and hears from
/// one of them.
fn lead<const BATCH: u64, const BYTES: usize>(
    node: &mut impl Node,
) -> Result<(u64, Duration), Failure> {
    let rounds = 8192 / BATCH;
    let payload = Bytes::from(vec![7; BYTES]);
    node.campaign()?;
    work(node)?;
    answer(
        node,
        &Body::RequestVoteResponse(almadia::VoteResponse::Granted),
        &[2],
    )?;
    work(node)?;
    let accepted = |match_index| {
        Body::AppendEntriesResponse(AppendEntriesResponse::Accepted {
            match_index,
            commit_index: LogIndex::ZERO,
        })
    };
    answer(node, &accepted(LogIndex(1)), &[2, 3])?;
    work(node)?;
    let mut last = LogId::ZERO;
    let mut calls = 0;
    let begin = Instant::now();
    for round in 1..=rounds {
        for _ in 0..BATCH {
            last = node.propose(payload.clone())?;
        }
        calls += BATCH + work(node)?;
        answer(node, &accepted(last.index), &[2, 3])?;
        calls += 2 + work(node)?;
        if round % (1 + 1024 / BATCH) == 0 {
            compact(node, last)?;
        }
    }
    Ok((calls, begin.elapsed()))
}

/// A file that counts what is written to it, and forgets it.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicU64>);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The shortest time of a call in some runs, in nanoseconds: many short ones, so that one of them
/// at least is not disturbed.
fn shortest<N>(
    start: impl Fn() -> Result<N, Failure>,
    workload: Workload<N>,
) -> Result<f64, Failure> {
    const RUNS: u32 = 80;
    let mut shortest = f64::MAX;
    for _ in 0..RUNS {
        let (calls, time) = workload(&mut start()?)?;
        shortest = shortest.min(time.as_secs_f64() * 1e9 / calls as f64);
    }
    Ok(shortest)
}

fn measure(
    name: &str,
    config: &Config,
    plain: Workload<RawNode<MemStorage>>,
    recorded: Workload<Recorded<MemStorage>>,
) -> Result<(), Failure> {
    let folder = std::env::temp_dir().join(format!("recorder_cost_{}", std::process::id()));
    let start = |tape| Ok(Recorded::new(config.clone(), storage()?, tape)?);
    let to_file = |options| {
        let keep = std::num::NonZeroUsize::MIN;
        let folder = folder.clone();
        move || Ok::<_, Failure>(Tape::in_folder(&folder, keep, options)?)
    };
    let each_call = Options {
        flush: Flush::EachCall,
        ..Options::default()
    };
    let without = shortest(|| Ok(RawNode::new(config.clone(), storage()?)?), plain)?;
    let when_full = to_file(Options::default());
    let when_full = shortest(|| start(when_full()?), recorded)?;
    let each_call = to_file(each_call);
    let each_call = shortest(|| start(each_call()?), recorded)?;
    let ring = shortest(|| start(Tape::ring(1 << 20)), recorded)?;

    let counted = Counted::default();
    let tape = Tape::writer(counted.clone(), Options::default())?;
    let (calls, _) = recorded(&mut start(tape)?)?;
    let bytes = counted.0.load(Ordering::Relaxed) as f64 / calls as f64;
    println!("{name:<44} {without:7.0} {when_full:7.0} {each_call:7.0} {ring:7.0} {bytes:7.1}");
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

macro_rules! measure {
    ($name:literal, $config:expr, $workload:expr) => {
        measure($name, $config, $workload, $workload)?;
    };
}

fn main() -> Result<(), Failure> {
    let config = Config::new(id(1)?);
    let leader = Config::builder(id(1)?)
        .pre_vote(false)
        .check_quorum(false)
        .build()?;
    println!("{:<44} {:>31} {:>7}", "", "ns per call", "bytes");
    println!(
        "{:<44} {:>7} {:>7} {:>7} {:>7} {:>7}",
        "", "plain", "file", "flushed", "ring", "a call"
    );
    measure!("a follower's ticks, a heartbeat for nine", &config, ticks);
    measure!("a follower, entries of 16 bytes", &config, follow::<16>);
    measure!("a follower, entries of 1024 bytes", &config, follow::<1024>);
    measure!("a leader, one proposal of 16 bytes", &leader, lead::<1, 16>);
    measure!(
        "a leader, one proposal of 1024 bytes",
        &leader,
        lead::<1, 1024>
    );
    measure!(
        "a leader, 64 proposals of 16 bytes",
        &leader,
        lead::<64, 16>
    );
    measure!(
        "a leader, 64 proposals of 1024 bytes",
        &leader,
        lead::<64, 1024>
    );
    Ok(())
}
