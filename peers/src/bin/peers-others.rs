//! almadia beside openraft and omnipaxos, and above its floor. They do other work than a Raft core does;
//! which, their modules say. A program of its own, so that all that `peers` prints is beside raft-rs.
//!
//! Prints a table, and a line `RATIO name value` for each workload, as `peers` does.

use std::time::Instant;

use almadia_peers::almadia_side::Almadia;
use almadia_peers::library::{Library, Settings};
use almadia_peers::rounds::{Side, Table};
use almadia_peers::steady_state::SteadyState;
use almadia_peers::workloads::read_index;
use almadia_peers::{omnipaxos_cluster, openraft_cluster, workloads};

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
                vec![commits::<Almadia>(nodes, batch), openraft(nodes, batch)],
            );
        }
    }
    for (name, batch) in [("omnipaxos_commit_1", 1), ("omnipaxos_commit_64", 64)] {
        if wanted(name) {
            let mut sides = vec![commits::<Almadia>(3, batch)];
            // A batch that one round does not fill is not sent in it.
            let modes = GATHERED.iter().filter(|(_, gathered)| *gathered <= batch);
            sides.extend(modes.map(|(mode, gathered)| omnipaxos(mode, batch, *gathered)));
            table.compare(name, batch, sides);
        }
    }
    for (name, nodes, batch) in [
        ("floor_commit_1", 3, 1),
        ("floor_commit_64", 3, 64),
        ("floor_single_voter", 1, 1),
    ] {
        if wanted(name) {
            let ours = commits::<Almadia>(nodes, batch);
            table.compare(
                name,
                batch,
                vec![ours, commits::<SteadyState>(nodes, batch)],
            );
        }
    }
    if wanted("floor_read_index") {
        let sides = vec![read_index::<Almadia>(), read_index::<SteadyState>()];
        table.compare("floor_read_index", 1, sides);
    }
    table.finish();
}

fn commits<L: Library + 'static>(nodes: u64, batch: u32) -> Side<'static> {
    workloads::commits::<L>(L::NAME, &Settings::of(nodes), batch, BYTES)
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
