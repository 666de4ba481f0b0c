//! The side-by-side program: `cargo bench --bench peers`, at the root of the workspace.
//!
//! Prints a table, and a line `RATIO name value` for each workload: the peer's cost divided by ours. Names
//! of workloads, or beginnings of them, may be given.

use almadia_peers::rounds::Table;
use almadia_peers::workloads;

fn main() {
    let mut table = Table::begun();
    workloads::run_all(&mut table, &almadia_peers::wanted());
    table.finish();
}
