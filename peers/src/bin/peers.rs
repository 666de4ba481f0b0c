//! The side-by-side program: `cargo bench --bench peers`, at the root of the workspace.
//!
//! Prints a table, and a line `RATIO name value` for each workload: the peer's cost divided by ours. Names
//! of workloads, or beginnings of them, may be given.

use almadia_peers::rounds::Table;
use almadia_peers::workloads;

fn main() {
    let names: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let wanted =
        |name: &str| names.is_empty() || names.iter().any(|wanted| name.starts_with(wanted));
    let mut table = Table::begun("raft-rs");
    workloads::run_all(&mut table, &wanted);
    table.finish();
}
