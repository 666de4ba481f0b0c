//! The floor does the work that it is measured with.

use almadia_peers::cluster::Cluster;
use almadia_peers::library::{Library, Settings};
use almadia_peers::steady_state::SteadyState;
use almadia_peers::{KEPT, command};

#[test]
fn all_nodes_commit_and_reads_are_answered() {
    for voters in [1, 3, 5] {
        let mut cluster = Cluster::<SteadyState>::of(&Settings::of(voters));
        for batch in [1, 64, KEPT] {
            let before = cluster.committed();
            cluster.commit(batch, 16);
            assert_eq!(cluster.committed(), before + batch);
            cluster.compact();
        }
        if voters > 1 {
            SteadyState::read_index(&mut cluster.nodes[0], command(8));
            cluster.settle();
            assert_eq!(cluster.take_reads(), 1);
        }
    }
}
