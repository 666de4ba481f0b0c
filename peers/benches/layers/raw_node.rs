//! One node of three: what is proposed, steps, ticks and reads cost it, and its `Ready`.
//!
//! Owns the inputs, which are the same on both sides. Only the calls are measured; before and after them
//! the node is brought into its place.

use std::hint::black_box;

use almadia::{AppendEntriesResponse, Body, Heartbeat, LogIndex, Message, Term, Token};
use almadia_peers::almadia_side::{Almadia, ids};
use almadia_peers::cluster::Cluster;
use almadia_peers::library::{Library, Settings};
use almadia_peers::raft_rs_side::RaftRs;
use almadia_peers::{command, workloads};
use criterion::Criterion;

use crate::rounds::measure;

/// So many calls come before the node does what they ask for.
const AT_ONCE: u64 = 64;
/// So many ticks pass before the leader is heard of.
const TICKS: u64 = 1 << 14;
/// Nodes that make a `Ready` one after the other.
const NODES: u64 = 16;

pub(crate) fn bench(criterion: &mut Criterion) {
    bench_of::<Almadia>(criterion);
    bench_of::<RaftRs>(criterion);
}

fn bench_of<L: Library>(criterion: &mut Criterion) {
    propose::<L>(criterion);
    step::<L>(criterion);
    ready::<L>(criterion);
    tick::<L>(criterion);
    read_index::<L>(criterion);
    new::<L>(criterion);
}

/// Three nodes, of which the first one leads. What they say to each other is lost, except in `settle`.
fn three<L: Library>() -> Cluster<L> {
    Cluster::of(&Settings::of(3))
}

/// Takes each `Ready`, stores what it says, and gives it back.
fn work<L: Library>(node: &mut L::Node) {
    L::work(node, &mut Vec::new());
}

fn name<L: Library>(what: &str) -> String {
    format!("raw_node/{what}/{}", L::NAME)
}

fn propose<L: Library>(criterion: &mut Criterion) {
    let mut cluster = three::<L>();
    criterion.bench_function(&name::<L>("propose"), |bencher| {
        let commands = |_: &mut Cluster<L>, count| (0..count).map(|_| command(16)).collect();
        let tidy = |cluster: &mut Cluster<L>| {
            work::<L>(&mut cluster.nodes[0]);
            acknowledge(cluster);
        };
        let propose =
            |cluster: &mut Cluster<L>, command| L::propose(&mut cluster.nodes[0], command);
        measure(bencher, AT_ONCE, &mut cluster, commands, propose, tidy);
    });
}

/// That this follower's log is the leader's up to there.
fn accepted<L: Library>(cluster: &Cluster<L>, follower: usize, index: u64) -> L::Message {
    L::message(&Message {
        to: ids(1)[0],
        from: ids(3)[follower],
        term: Term(L::term(&cluster.nodes[0])),
        body: Body::AppendEntriesResponse(AppendEntriesResponse::Accepted {
            match_index: LogIndex(index),
            commit_index: LogIndex(index - 1),
        }),
    })
}

/// The followers have all that the leader has, which has sent it.
fn acknowledge<L: Library>(cluster: &mut Cluster<L>) {
    let last = L::last_index(&cluster.nodes[0]);
    for follower in [1, 2] {
        let answer = accepted(cluster, follower, last);
        L::step(&mut cluster.nodes[0], answer);
    }
    work::<L>(&mut cluster.nodes[0]);
    cluster.compact();
}

fn heartbeat<L: Library>(cluster: &Cluster<L>) -> Message {
    Message {
        to: ids(2)[1],
        from: ids(1)[0],
        term: Term(L::term(&cluster.nodes[0])),
        body: Body::Heartbeat(Heartbeat {
            leader_commit: LogIndex(1),
            token: Token::None,
        }),
    }
}

fn tidy_follower<L: Library>(cluster: &mut Cluster<L>) {
    work::<L>(&mut cluster.nodes[1]);
    cluster.compact();
}

fn step<L: Library>(criterion: &mut Criterion) {
    let mut cluster = three::<L>();
    criterion.bench_function(&name::<L>("step_append"), |bencher| {
        let appends = |cluster: &mut Cluster<L>, count| {
            let (term, last) = (
                Term(L::term(&cluster.nodes[0])),
                L::last_index(&cluster.nodes[1]),
            );
            let indexes = last + 1..=last + count;
            indexes
                .map(|index| L::message(&workloads::append(term, index)))
                .collect()
        };
        let step = |cluster: &mut Cluster<L>, message| L::step(&mut cluster.nodes[1], message);
        measure(bencher, AT_ONCE, &mut cluster, appends, step, tidy_follower);
    });
    let mut cluster = three::<L>();
    criterion.bench_function(&name::<L>("step_accepted"), |bencher| {
        let answers = |cluster: &mut Cluster<L>, count| {
            let next = |_| {
                L::propose(&mut cluster.nodes[0], command(16));
                work::<L>(&mut cluster.nodes[0]);
                accepted(cluster, 1, L::last_index(&cluster.nodes[0]))
            };
            (0..count).map(next).collect()
        };
        let step = |cluster: &mut Cluster<L>, message| L::step(&mut cluster.nodes[0], message);
        let tidy = |cluster: &mut Cluster<L>| {
            work::<L>(&mut cluster.nodes[0]);
            acknowledge(cluster);
        };
        measure(bencher, AT_ONCE, &mut cluster, answers, step, tidy);
    });
    let mut cluster = three::<L>();
    criterion.bench_function(&name::<L>("step_heartbeat"), |bencher| {
        let heartbeats = |cluster: &mut Cluster<L>, count| {
            let heartbeat = heartbeat(cluster);
            (0..count).map(|_| L::message(&heartbeat)).collect()
        };
        let step = |cluster: &mut Cluster<L>, message| L::step(&mut cluster.nodes[1], message);
        measure(
            bencher,
            AT_ONCE,
            &mut cluster,
            heartbeats,
            step,
            tidy_follower,
        );
    });
}

/// A leader's `Ready` with so many proposals is made, stored, and given back.
fn ready<L: Library>(criterion: &mut Criterion) {
    for batch in [1, 64] {
        let leaders = (0..NODES).map(|_| three::<L>());
        let mut leaders: Vec<Cluster<L>> = leaders.collect();
        criterion.bench_function(&name::<L>(&format!("ready_{batch}")), |bencher| {
            let proposed = |leaders: &mut Vec<Cluster<L>>, count| {
                let indexes = 0..usize::try_from(count).expect("few");
                for leader in &mut leaders[indexes.clone()] {
                    (0..batch).for_each(|_| L::propose(&mut leader.nodes[0], command(16)));
                }
                indexes.collect()
            };
            let work =
                |leaders: &mut Vec<Cluster<L>>, at: usize| work::<L>(&mut leaders[at].nodes[0]);
            let tidy = |leaders: &mut Vec<Cluster<L>>| leaders.iter_mut().for_each(acknowledge);
            measure(bencher, NODES, &mut leaders, proposed, work, tidy);
        });
    }
}

/// A tick in which nothing happens, and the question whether anything did.
fn tick<L: Library>(criterion: &mut Criterion) {
    for (what, node) in [("tick_leader", 0), ("tick_follower", 1)] {
        let mut cluster = three::<L>();
        criterion.bench_function(&name::<L>(what), |bencher| {
            let nothing =
                |_: &mut Cluster<L>, count: u64| vec![(); usize::try_from(count).expect("few")];
            let tick = |cluster: &mut Cluster<L>, ()| {
                // Nearly always none.
                L::tick(&mut cluster.nodes[node]);
                black_box(L::has_ready(&cluster.nodes[node]));
            };
            let tidy = |cluster: &mut Cluster<L>| {
                // So that nobody campaigns, however many ticks pass.
                let heartbeat = L::message(&heartbeat(cluster));
                L::step(&mut cluster.nodes[1], heartbeat);
                cluster.settle();
            };
            measure(bencher, TICKS, &mut cluster, nothing, tick, tidy);
        });
    }
}

fn read_index<L: Library>(criterion: &mut Criterion) {
    let mut cluster = three::<L>();
    criterion.bench_function(&name::<L>("read_index"), |bencher| {
        // Raft-rs wants each context to be another one.
        let contexts = |_: &mut Cluster<L>, count: u64| {
            let contexts = (0..count).map(|number| number.to_be_bytes().to_vec());
            contexts.collect()
        };
        let read =
            |cluster: &mut Cluster<L>, context| L::read_index(&mut cluster.nodes[0], context);
        measure(
            bencher,
            AT_ONCE,
            &mut cluster,
            contexts,
            read,
            Cluster::settle,
        );
    });
}

/// A node is made of its log, and dropped.
fn new<L: Library>(criterion: &mut Criterion) {
    criterion.bench_function(&name::<L>("new"), |bencher| {
        let stores = |(): &mut (), count| (0..count).map(|_| L::store(3)).collect();
        let open = |(): &mut (), store| drop(black_box(L::node(1, &Settings::of(3), store)));
        measure(bencher, AT_ONCE, &mut (), stores, open, |()| {});
    });
}
