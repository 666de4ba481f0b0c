//! The codec beside raft-rs's, in alternating rounds of one run: `cargo bench -p almadia-proto --bench
//! ratios`.
//!
//! Owns the ratios that documents name. Each side goes from what its node works with to what a transport
//! sends, and from what a transport has received back, and is handed bytes of its own. What it has made
//! is dropped within the time that is taken. A ratio is raft-rs's cost divided by ours; the median of the
//! rounds, and the middle half of them.

use std::hint::black_box;
use std::time::{Duration, Instant};

use almadia::{AppendEntries, Body, Bytes, Entry, LogId, LogIndex, Message, NodeId, Payload, Term};
use almadia_proto::{Decode, Encode, Encoder, Pieces};
use protobuf_of_raft_rs::Message as _;
use raft_proto::eraftpb as raft_rs;

/// Rounds, each of which takes both sides in turn.
const ROUNDS: usize = 201;
/// How long a round of one side takes, about.
const ROUND: Duration = Duration::from_micros(300);

fn node(id: u64) -> NodeId {
    NodeId::new(id).expect("above zero")
}

fn append(count: u64, payload: usize) -> Message {
    let entries = (1..=count).map(|offset| Entry {
        id: LogId::new(7, 1_000_000 + offset),
        payload: Payload::Data(vec![b'x'; payload].into()),
        context: Bytes::new(),
    });
    Message {
        to: node(2),
        from: node(1),
        term: Term(7),
        body: Body::AppendEntries(AppendEntries {
            prev_log: LogId::new(7, 1_000_000),
            leader_commit: LogIndex(1_000_000),
            entries: entries.collect(),
        }),
    }
}

fn of_raft_rs(bytes: &[u8]) -> raft_rs::Message {
    let mut message = raft_rs::Message::default();
    message.merge_from_bytes(bytes).expect("raft-rs reads it");
    message
}

/// The time of one call, in nanoseconds, where it is called so often.
fn time<I>(inputs: Vec<I>, mut call: impl FnMut(I)) -> f64 {
    let count = inputs.len() as f64;
    let start = Instant::now();
    for input in inputs {
        call(input);
    }
    start.elapsed().as_nanos() as f64 / count
}

/// Runs both in turn, and prints the line.
fn compare<I: Clone, J: Clone>(
    name: &str,
    (ours_in, mut ours): (I, impl FnMut(I)),
    (theirs_in, mut theirs): (J, impl FnMut(J)),
) {
    let once = time(vec![ours_in.clone(); 50], &mut ours);
    let count = (ROUND.as_nanos() as f64 / once).clamp(4.0, 2000.0) as usize;
    let mut rounds: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|_| {
            let ours = time(vec![ours_in.clone(); count], &mut ours);
            (ours, time(vec![theirs_in.clone(); count], &mut theirs))
        })
        .collect();
    rounds.sort_by(|one, other| (one.1 / one.0).total_cmp(&(other.1 / other.0)));
    let ratio = |at: usize| rounds[at].1 / rounds[at].0;
    let mut costs: Vec<f64> = rounds.iter().map(|round| round.0).collect();
    costs.sort_by(f64::total_cmp);
    let mut peers: Vec<f64> = rounds.iter().map(|round| round.1).collect();
    peers.sort_by(f64::total_cmp);
    let (low, middle, high) = (ROUNDS / 4, ROUNDS / 2, ROUNDS * 3 / 4);
    println!(
        "RATIO {name:24} {:5.2}  ({:.2} to {:.2}; {:.0} ns against {:.0} ns)",
        ratio(middle),
        ratio(low),
        ratio(high),
        costs[middle],
        peers[middle],
    );
}

fn main() {
    for count in [1, 64] {
        for payload in [16, 128, 4096] {
            let message = append(count, payload);
            let bytes = message.encode();
            let theirs = of_raft_rs(&bytes);
            let write = |(): ()| drop(black_box(black_box(&theirs).write_to_bytes().unwrap()));
            let size = format!("{count}x{payload}");
            compare(
                &format!("encode_{size}"),
                ((), |()| drop(black_box(black_box(&message).encode()))),
                ((), write),
            );
            compare(
                &format!("encode_pieces_{size}"),
                ((), |()| drop(black_box(Pieces::of(black_box(&message))))),
                ((), write),
            );
            compare(
                &format!("decode_{size}"),
                (bytes.clone(), |bytes| {
                    drop(black_box(Message::decode(black_box(bytes)).unwrap()));
                }),
                (bytes.clone(), |bytes: Bytes| {
                    drop(black_box(of_raft_rs(black_box(&bytes))));
                }),
            );
        }
    }
    // One run of entries to several followers.
    for followers in [2, 6] {
        for payload in [128, 4096] {
            let message = append(64, payload);
            let theirs = of_raft_rs(&message.encode());
            compare(
                &format!("followers_{followers}_64x{payload}"),
                ((), |()| {
                    let mut encoder = Encoder::new();
                    for _ in 0..followers {
                        drop(black_box(encoder.encode(black_box(&message))));
                    }
                }),
                ((), |()| {
                    for _ in 0..followers {
                        drop(black_box(black_box(&theirs).write_to_bytes().unwrap()));
                    }
                }),
            );
        }
    }
}
