//! A local cluster of three, as tests want it: of this package's program, and started.

use std::path::Path;

use almadia_store::processes::Processes;

/// Starts it in this directory, and waits until it answers.
pub(crate) async fn three_nodes(dir: &Path) -> Processes {
    let cluster = Processes::local(dir, 3, None, Vec::new());
    let program = Path::new(env!("CARGO_BIN_EXE_almadia-store"));
    let mut cluster = cluster.expect("free ports").with_program(program);
    cluster.start_all().await.expect("the nodes start");
    cluster
}
