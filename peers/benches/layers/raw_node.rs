//! One node of three: what is proposed, steps, ticks and reads cost it, and its `Ready`.
//!
//! Owns the inputs, which are the same on both sides. Only the calls are measured; before and after them
//! the node is brought into its place.

use std::hint::black_box;

use almadia::{AppendEntriesResponse, Body, Heartbeat, LogIndex, Message, Term, Token};
use almadia_peers::almadia_cluster::ids;
use almadia_peers::{almadia_cluster as ours, command, raft_rs_cluster as raft_rs, workloads};
use criterion::Criterion;

use crate::cluster::Cluster;
use crate::rounds::measure;

/// So many calls come before the node does what they ask for.
const AT_ONCE: u64 = 64;
/// So many ticks pass before the leader is heard of.
const TICKS: u64 = 1 << 14;
/// Nodes that make a `Ready` one after the other.
const NODES: u64 = 16;

pub(crate) fn bench(criterion: &mut Criterion) {
    bench_of::<ours::Cluster>(criterion);
    bench_of::<raft_rs::Cluster>(criterion);
}

fn bench_of<C: Cluster>(criterion: &mut Criterion) {
    propose::<C>(criterion);
    step::<C>(criterion);
    ready::<C>(criterion);
    tick::<C>(criterion);
    read_index::<C>(criterion);
    new::<C>(criterion);
}

fn name<C: Cluster>(what: &str) -> String {
    format!("raw_node/{what}/{}", C::NAME)
}

fn propose<C: Cluster>(criterion: &mut Criterion) {
    let mut cluster = C::of(3, false);
    criterion.bench_function(&name::<C>("propose"), |bencher| {
        let commands = |_: &mut C, count| (0..count).map(|_| command(16)).collect();
        let tidy = |cluster: &mut C| {
            cluster.work(0);
            acknowledge(cluster);
        };
        measure(bencher, AT_ONCE, &mut cluster, commands, C::propose, tidy);
    });
}

/// That this follower's log is the leader's up to there.
fn accepted<C: Cluster>(cluster: &C, follower: usize, index: u64) -> C::Message {
    C::message(&Message {
        to: ids(1)[0],
        from: ids(3)[follower],
        term: Term(cluster.term()),
        body: Body::AppendEntriesResponse(AppendEntriesResponse::Accepted {
            match_index: LogIndex(index),
            commit_index: LogIndex(index - 1),
        }),
    })
}

/// The followers have all that the leader has, which has sent it.
fn acknowledge<C: Cluster>(cluster: &mut C) {
    let last = cluster.last_index(0);
    for follower in [1, 2] {
        let answer = accepted(cluster, follower, last);
        cluster.step(0, answer);
    }
    cluster.work(0);
    cluster.compact();
}

fn heartbeat<C: Cluster>(cluster: &C) -> Message {
    Message {
        to: ids(2)[1],
        from: ids(1)[0],
        term: Term(cluster.term()),
        body: Body::Heartbeat(Heartbeat {
            leader_commit: LogIndex(1),
            token: Token::None,
        }),
    }
}

fn tidy_follower<C: Cluster>(cluster: &mut C) {
    cluster.work(1);
    cluster.compact();
}

fn step<C: Cluster>(criterion: &mut Criterion) {
    let mut cluster = C::of(3, false);
    criterion.bench_function(&name::<C>("step_append"), |bencher| {
        let appends = |cluster: &mut C, count| {
            let (term, last) = (Term(cluster.term()), cluster.last_index(1));
            let indexes = last + 1..=last + count;
            indexes
                .map(|index| C::message(&workloads::append(term, index)))
                .collect()
        };
        let step = |cluster: &mut C, message| cluster.step(1, message);
        measure(bencher, AT_ONCE, &mut cluster, appends, step, tidy_follower);
    });
    let mut cluster = C::of(3, false);
    criterion.bench_function(&name::<C>("step_accepted"), |bencher| {
        let answers = |cluster: &mut C, count| {
            let next = |_| {
                cluster.propose(command(16));
                cluster.work(0);
                accepted(cluster, 1, cluster.last_index(0))
            };
            (0..count).map(next).collect()
        };
        let step = |cluster: &mut C, message| cluster.step(0, message);
        let tidy = |cluster: &mut C| {
            cluster.work(0);
            acknowledge(cluster);
        };
        measure(bencher, AT_ONCE, &mut cluster, answers, step, tidy);
    });
    let mut cluster = C::of(3, false);
    criterion.bench_function(&name::<C>("step_heartbeat"), |bencher| {
        let heartbeats = |cluster: &mut C, count| {
            let heartbeat = heartbeat(cluster);
            (0..count).map(|_| C::message(&heartbeat)).collect()
        };
        let step = |cluster: &mut C, message| cluster.step(1, message);
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
fn ready<C: Cluster>(criterion: &mut Criterion) {
    for batch in [1, 64] {
        let leaders = (0..NODES).map(|_| C::of(3, false));
        let mut leaders: Vec<C> = leaders.collect();
        criterion.bench_function(&name::<C>(&format!("ready_{batch}")), |bencher| {
            let proposed = |leaders: &mut Vec<C>, count| {
                let indexes = 0..usize::try_from(count).expect("few");
                for leader in &mut leaders[indexes.clone()] {
                    (0..batch).for_each(|_| leader.propose(command(16)));
                }
                indexes.collect()
            };
            let work = |leaders: &mut Vec<C>, at: usize| leaders[at].work(0);
            let tidy = |leaders: &mut Vec<C>| leaders.iter_mut().for_each(acknowledge);
            measure(bencher, NODES, &mut leaders, proposed, work, tidy);
        });
    }
}

/// A tick in which nothing happens, and the question whether anything did.
fn tick<C: Cluster>(criterion: &mut Criterion) {
    for (what, node) in [("tick_leader", 0), ("tick_follower", 1)] {
        let mut cluster = C::of(3, false);
        criterion.bench_function(&name::<C>(what), |bencher| {
            let nothing = |_: &mut C, count: u64| vec![(); usize::try_from(count).expect("few")];
            let tick = |cluster: &mut C, ()| {
                // Nearly always none.
                black_box(cluster.tick(node));
            };
            let tidy = |cluster: &mut C| {
                // So that nobody campaigns, however many ticks pass.
                let heartbeat = C::message(&heartbeat(cluster));
                cluster.step(1, heartbeat);
                cluster.settle();
            };
            measure(bencher, TICKS, &mut cluster, nothing, tick, tidy);
        });
    }
}

fn read_index<C: Cluster>(criterion: &mut Criterion) {
    let mut cluster = C::of(3, false);
    criterion.bench_function(&name::<C>("read_index"), |bencher| {
        // Raft-rs wants each context to be another one.
        let contexts = |_: &mut C, count: u64| {
            let contexts = (0..count).map(|number| number.to_be_bytes().to_vec());
            contexts.collect()
        };
        measure(
            bencher,
            AT_ONCE,
            &mut cluster,
            contexts,
            C::read_index,
            C::settle,
        );
    });
}

/// A node is made of its log, and dropped.
fn new<C: Cluster>(criterion: &mut Criterion) {
    criterion.bench_function(&name::<C>("new"), |bencher| {
        let stores = |(): &mut (), count| (0..count).map(|_| C::store()).collect();
        let open = |(): &mut (), store| C::open(store);
        measure(bencher, AT_ONCE, &mut (), stores, open, |()| {});
    });
}
