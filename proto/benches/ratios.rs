//! The codec beside raft-rs's, in alternating rounds of one run: `cargo bench -p almadia-proto --bench
//! ratios`.
//!
//! Owns the ratios that documents name. Each side goes from what its node works with to what a transport
//! sends, and from what a transport has received back, and is handed bytes of its own. What it has made
//! is dropped within the time that is taken. A ratio is raft-rs's cost divided by ours; the median of the
//! rounds, and the middle half of them. The rounds take place at several depths of the stack, because
//! where that begins may be worth a fifth of the time.

#[path = "common/append.rs"]
mod append;

use std::hint::black_box;
use std::time::{Duration, Instant};

use almadia::{Bytes, Message};
use almadia_proto::{Decode, Encode, Encoder, Pieces};
use protobuf_of_raft_rs::Message as _;
use raft_proto::eraftpb as raft_rs;

/// Rounds, each of which takes both sides in turn.
const ROUNDS: usize = 25;
/// Depths of the stack, apart from each other by this many bytes.
const DEPTHS: usize = 11;
const DEPTH_BYTES: usize = 368;
/// How long a round of one side takes, about.
const ROUND: Duration = Duration::from_micros(300);

/// What its transports mostly do: payloads are copied.
fn of_raft_rs(bytes: &[u8]) -> raft_rs::Message {
    let mut message = raft_rs::Message::default();
    message.merge_from_bytes(bytes).expect("raft-rs reads it");
    message
}

/// The other way that its codec has: payloads are shared, as here.
fn of_raft_rs_shared(bytes: &Bytes) -> raft_rs::Message {
    raft_rs::Message::parse_from_carllerche_bytes(bytes).expect("raft-rs reads it")
}

/// Calls it that many frames further down the stack.
#[inline(never)]
fn at_depth<T>(depth: usize, call: &mut dyn FnMut() -> T) -> T {
    let frame = black_box([0_u8; DEPTH_BYTES]);
    let result = if depth == 0 {
        call()
    } else {
        at_depth(depth - 1, call)
    };
    black_box(frame);
    result
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
    let mut rounds: Vec<(f64, f64)> = Vec::new();
    for depth in 0..DEPTHS {
        for _ in 0..ROUNDS {
            rounds.push(at_depth(depth, &mut || {
                let ours = time(vec![ours_in.clone(); count], &mut ours);
                (ours, time(vec![theirs_in.clone(); count], &mut theirs))
            }));
        }
    }
    rounds.sort_by(|one, other| (one.1 / one.0).total_cmp(&(other.1 / other.0)));
    let ratio = |at: usize| rounds[at].1 / rounds[at].0;
    let mut costs: Vec<f64> = rounds.iter().map(|round| round.0).collect();
    costs.sort_by(f64::total_cmp);
    let mut peers: Vec<f64> = rounds.iter().map(|round| round.1).collect();
    peers.sort_by(f64::total_cmp);
    let all = rounds.len();
    let (low, middle, high) = (all / 4, all / 2, all * 3 / 4);
    println!(
        "RATIO {name:24} {:5.2}  ({:.2} to {:.2}; {:.0} ns against {:.0} ns)",
        ratio(middle),
        ratio(low),
        ratio(high),
        costs[middle],
        peers[middle],
    );
}

/// Both ways in which raft-rs reads.
fn decode(size: &str, bytes: &Bytes) {
    let ours = |bytes| drop(black_box(Message::decode(black_box(bytes)).unwrap()));
    compare(
        &format!("decode_{size}"),
        (bytes.clone(), ours),
        (bytes.clone(), |bytes: Bytes| {
            drop(black_box(of_raft_rs(black_box(&bytes))));
        }),
    );
    compare(
        &format!("decode_shared_{size}"),
        (bytes.clone(), ours),
        (bytes.clone(), |bytes: Bytes| {
            drop(black_box(of_raft_rs_shared(black_box(&bytes))));
        }),
    );
}

fn main() {
    // As a test it has nothing to say.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    for count in [1, 64] {
        for payload in [16, 128, 4096] {
            let message = append::append(count, payload);
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
            // Into a buffer that a transport keeps: what a socket would take straight from the pieces.
            let (mut our_buffer, mut their_buffer) = (Vec::new(), Vec::new());
            compare(
                &format!("encode_to_buffer_{size}"),
                ((), |()| {
                    our_buffer.clear();
                    black_box(&message).encode_to(black_box(&mut our_buffer));
                }),
                ((), |()| {
                    their_buffer.clear();
                    let message = black_box(&theirs);
                    message.write_to_vec(black_box(&mut their_buffer)).unwrap();
                }),
            );
            // What is left of that ratio if nothing is done but to copy the bytes.
            let (mut our_buffer, mut their_buffer) = (Vec::new(), Vec::new());
            compare(
                &format!("BOUND_copy_to_buffer_{size}"),
                ((), |()| {
                    our_buffer.clear();
                    black_box(&mut our_buffer).extend_from_slice(black_box(&bytes));
                }),
                ((), |()| {
                    their_buffer.clear();
                    let message = black_box(&theirs);
                    message.write_to_vec(black_box(&mut their_buffer)).unwrap();
                }),
            );
            decode(&size, &bytes);
        }
    }
    // One run of entries to several followers.
    for followers in [2, 6] {
        for payload in [128, 4096] {
            let message = append::append(64, payload);
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
