//! A cluster of openraft 0.9.
//!
//! Owns the nodes, the runtime that they share, and the network between them. What they store is in
//! `openraft_store`.
//!
//! openraft is not a core that an embedder drives, but a node that runs. Its figure has in it what the
//! embedder of a core adds, and must not be read as core against core:
//!
//! * A node is three tasks, and one more for each follower: its core, its timer, a worker for its state
//!   machine, and a sender. What is proposed passes from one to the other by channels, which wake tasks.
//!   Each request has a future, a channel for its answer, and a timeout of its own.
//! * It calls the store and the network itself, and waits for them. It answers the client when the command
//!   is applied; here all answers are waited for, and all followers.
//! * It keeps metrics, and opens spans for tracing. Nobody listens to either here.
//! * It makes its snapshots and purges its log itself, by a policy. The other sides are told to cut theirs.
//!
//! Some of it is less: it stores no commit index, it knows no pre-vote, and a follower is sent one request
//! at a time. The leader writes each proposal to its log by itself, and the senders take together what has
//! come up. The runtime is tokio's of one thread. Elections and heartbeats are off.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::error::{Infallible, InstallSnapshotError, NetworkError, RPCError, RaftError};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{Config, Raft, SnapshotPolicy};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use crate::KEPT;
use crate::openraft_store::{LogStore, StateMachine, Types};

/// One node.
pub type Node = Raft<Types>;

/// In milliseconds, so long that no timer strikes.
const NEVER: u64 = 24 * 60 * 60 * 1000;

/// How long an election may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Some nodes, of which the first one leads.
pub struct Cluster {
    /// The nodes, the one with id 1 first.
    pub nodes: Vec<Node>,
    logs: Vec<LogStore>,
    machines: Vec<StateMachine>,
    /// A permit for each command that a node has applied.
    applied: Arc<Semaphore>,
    runtime: Runtime,
}

/// What all nodes run with.
///
/// # Panics
///
/// If the values do not go together.
#[must_use]
pub fn config() -> Config {
    let config = Config {
        heartbeat_interval: NEVER,
        election_timeout_min: 2 * NEVER,
        election_timeout_max: 3 * NEVER,
        enable_tick: false,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(KEPT),
        // Nobody who is a round behind is to need a snapshot.
        max_in_snapshot_log_to_keep: KEPT / 4,
        ..Config::default()
    };
    config.validate().expect("the values go together")
}

impl Cluster {
    /// A cluster that has elected node 1.
    ///
    /// # Panics
    ///
    /// If a node does not start, or node 1 is not elected.
    #[must_use]
    pub fn of(size: u64) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a thread has a runtime");
        let applied = Arc::new(Semaphore::new(0));
        let logs: Vec<_> = (0..size).map(|_| LogStore::default()).collect();
        let machines = (0..size).map(|_| StateMachine::new(applied.clone()));
        let machines: Vec<_> = machines.collect();
        let config = Arc::new(config());
        let network = Network {
            nodes: Arc::default(),
            applied: applied.clone(),
        };
        let nodes = runtime.block_on(async {
            let mut nodes = Vec::new();
            for ((id, log), machine) in (1..).zip(&logs).zip(&machines) {
                let (config, network) = (config.clone(), network.clone());
                let node = Node::new(id, config, network, log.clone(), machine.clone());
                nodes.push(node.await.expect("an empty log is a good start"));
            }
            nodes
        });
        let linked = network.nodes.set(nodes.clone());
        assert!(linked.is_ok(), "the nodes are linked once");
        let cluster = Self {
            nodes,
            logs,
            machines,
            applied,
            runtime,
        };
        cluster.elect();
        cluster
    }

    /// Founds the cluster, which makes node 1 the leader.
    fn elect(&self) {
        self.runtime.block_on(async {
            let ids: BTreeSet<u64> = (1..).take(self.nodes.len()).collect();
            let founded = self.nodes[0].initialize(ids).await;
            founded.expect("the cluster is new");
            for node in &self.nodes {
                // The membership, and the entry that opens the term.
                let applied = node.wait(Some(PATIENCE)).applied_index(Some(1), "").await;
                let metrics = applied.expect("node 1 is elected");
                assert_eq!(metrics.current_leader, Some(1));
            }
        });
    }

    /// Does so many rounds, in each of which the leader is given so many commands. A round ends when all
    /// are answered, and all nodes have applied them.
    ///
    /// # Panics
    ///
    /// If a command is not taken, or not applied by all.
    pub fn commit(&mut self, rounds: u32, count: u32, bytes: usize) {
        self.runtime.block_on(async {
            for _ in 0..rounds {
                let before = self.committed();
                self.round(count, bytes).await;
                assert_eq!(self.committed(), before + u64::from(count));
                self.check_logs();
            }
        });
    }

    async fn round(&self, count: u32, bytes: usize) {
        let mut answers = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let proposed = self.nodes[0].client_write_ff(crate::command(bytes).into());
            answers.push(proposed.await.expect("node 1 runs"));
        }
        for answer in answers {
            let answer = answer.await.expect("node 1 runs");
            answer.expect("node 1 leads");
        }
        let nodes = u32::try_from(self.nodes.len()).expect("not many");
        let applied = self.applied.acquire_many(count * nodes).await;
        applied.expect("no request is refused").forget();
    }

    /// Makes sure that the nodes cut their logs.
    fn check_logs(&self) {
        for log in &self.logs {
            assert!(log.held() <= 2 * KEPT, "the log is not cut");
        }
    }

    /// What all nodes have applied.
    #[must_use]
    pub fn committed(&self) -> u64 {
        let applied = self.machines.iter().map(StateMachine::applied);
        applied.min().unwrap_or_default()
    }
}

/// Leads to the nodes, once they are all there.
#[derive(Clone)]
struct Network {
    nodes: Arc<OnceLock<Vec<Node>>>,
    applied: Arc<Semaphore>,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, (): &()) -> Link {
        let nodes = self.nodes.get().expect("nobody sends before all are there");
        Link {
            node: nodes[target as usize - 1].clone(),
            applied: self.applied.clone(),
        }
    }
}

/// Leads to one node.
struct Link {
    node: Node,
    applied: Arc<Semaphore>,
}

type Refusal<E> = RPCError<u64, (), RaftError<u64, E>>;

impl Link {
    /// Peers are correct. A node that refuses has failed, and nobody is to wait for it without end.
    fn refused<E: Error + 'static>(&self, error: RaftError<u64, E>) -> Refusal<E> {
        self.applied.close();
        NetworkError::new(&error).into()
    }
}

impl RaftNetwork<Types> for Link {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Refusal<Infallible>> {
        let answer = self.node.append_entries(request).await;
        answer.map_err(|error| self.refused(error))
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Types>,
        _: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Refusal<InstallSnapshotError>> {
        let answer = self.node.install_snapshot(request).await;
        answer.map_err(|error| self.refused(error))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        _: RPCOption,
    ) -> Result<VoteResponse<u64>, Refusal<Infallible>> {
        let answer = self.node.vote(request).await;
        answer.map_err(|error| self.refused(error))
    }
}
