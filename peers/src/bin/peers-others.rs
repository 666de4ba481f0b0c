//! almadia beside openraft and omnipaxos. They do other work than a Raft core does; which, their modules
//! say. A program of its own, so that all that `peers` prints is beside raft-rs.
//!
//! Prints a table, and a line `RATIO name value` for each workload, as `peers` does.

use std::time::Instant;

use almadia_peers::almadia_side::Almadia;
use almadia_peers::cluster::Cluster;
use almadia_peers::library::Settings;
use almadia_peers::rounds::{Side, Table};
use almadia_peers::{omnipaxos_cluster, openraft_cluster};

/// The bytes of a command.
const BYTES: usize = 16;

/// In how large batches omnipaxos gathers what is proposed.
const GATHERED: [(&str, u32); 2] = [("omnipaxos", 1), ("omnipaxos, batch_size", 64)];

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let wanted =
        |name: &str| names.is_empty() || names.iter().any(|wanted| name.starts_with(wanted));
    let mut table = Table::begun("the other");
    for (name, nodes, batch) in [
        ("openraft_commit_1", 3, 1),
        ("openraft_commit_64", 3, 64),
        ("openraft_single_voter", 1, 1),
    ] {
        if wanted(name) {
            table.compare(
                name,
                batch,
                vec![our_side(nodes, batch), openraft(nodes, batch)],
            );
        }
    }
    for (name, batch) in [("omnipaxos_commit_1", 1), ("omnipaxos_commit_64", 64)] {
        if wanted(name) {
            let mut sides = vec![our_side(3, batch)];
            // A batch that one round does not fill is not sent in it.
            let modes = GATHERED.iter().filter(|(_, gathered)| *gathered <= batch);
            sides.extend(modes.map(|(mode, gathered)| omnipaxos(mode, batch, *gathered)));
            table.compare(name, batch, sides);
        }
    }
    table.finish();
}

fn our_side(nodes: u64, batch: u32) -> Side<'static> {
    let mut cluster = Cluster::<Almadia>::of(&Settings::of(nodes));
    Side::new("almadia", move || {
        let before = cluster.committed();
        cluster.commit(batch.into(), BYTES);
        assert_eq!(cluster.committed(), before + u64::from(batch));
        cluster.compact();
    })
}

fn openraft(nodes: u64, batch: u32) -> Side<'static> {
    let mut cluster = openraft_cluster::Cluster::of(nodes);
    Side::timed("openraft", move |times| {
        let start = Instant::now();
        cluster.commit(times, batch, BYTES);
        start.elapsed()
    })
}

fn omnipaxos(mode: &'static str, batch: u32, gathered: u32) -> Side<'static> {
    let mut cluster = omnipaxos_cluster::Cluster::of(3, gathered as usize);
    Side::new(mode, move || {
        let before = cluster.committed();
        cluster.commit(batch.into(), BYTES);
        assert_eq!(cluster.committed(), before + u64::from(batch));
        cluster.compact();
    })
}
