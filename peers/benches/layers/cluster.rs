//! A whole cluster: what a committed entry costs all nodes.
//!
//! Owns the sizes.

use almadia_peers::almadia_side::Almadia;
use almadia_peers::cluster::Cluster;
use almadia_peers::library::{Library, Settings};
use almadia_peers::raft_rs_side::RaftRs;
use criterion::{Criterion, Throughput};

/// So many proposals at once, until all nodes have committed them.
pub(crate) fn bench(criterion: &mut Criterion) {
    for (size, batch) in [(1, 1), (3, 1), (3, 64), (5, 1), (5, 64)] {
        commit::<Almadia>(criterion, size, batch);
        commit::<RaftRs>(criterion, size, batch);
    }
}

fn commit<L: Library>(criterion: &mut Criterion, size: u64, batch: u64) {
    let mut group = criterion.benchmark_group("commit");
    group.throughput(Throughput::Elements(batch));
    let name = format!("nodes_{size}_batch_{batch}/{}", L::NAME);
    // Raft-rs's other way to batch pays off where there is something to batch.
    let mut cluster = Cluster::<L>::of(&Settings {
        batch_append: batch > 1,
        ..Settings::of(size)
    });
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            cluster.commit(batch, 16);
            cluster.compact();
        });
    });
    group.finish();
}
