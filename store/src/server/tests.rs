//! What a cluster does while disks stand still: nothing that would need them; and what it has made sure of
//! before it begins.

use std::ffi::OsStr;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle as Task;
use tokio::time::sleep;

use super::*;
use crate::client::Client;
use crate::data_dir::synced;
use crate::log::fault_fs::{FaultFs, OnSync};
use crate::processes::free_address;

/// Longer than an election takes to begin.
const LONG: Duration = Duration::from_secs(4);
const SOON: Duration = Duration::from_secs(60);

/// One of three nodes in this process.
struct Node {
    client: String,
    log: FaultFs,
    stop: oneshot::Sender<()>,
    serving: Task<Result<(), ServerError>>,
}

impl Node {
    /// With this patience.
    fn client(&self, patience: Duration) -> Client {
        Client::new(self.client.clone(), patience)
    }

    /// Whether it leads, by its own word.
    async fn leads(&self) -> bool {
        let status = self.client(SOON).call("cluster.status", Value::Null).await;
        status.is_ok_and(|status| status["regions"][0]["role"] == "Leader")
    }

    async fn end(self) {
        self.stop.send(()).expect("it runs");
        self.serving.await.unwrap().unwrap();
    }
}

fn three_nodes(dir: &TempDir) -> Vec<Node> {
    let addresses = [(); 3].map(|()| Address {
        peer: free_address().unwrap(),
        client: free_address().unwrap(),
    });
    let peers: BTreeMap<u64, Address> = (1..).zip(addresses).collect();
    let start = |(id, address): (&u64, &Address)| {
        let data = dir.path().join(id.to_string());
        let options = Options {
            id: NodeId::new(*id).unwrap(),
            cluster: "test".into(),
            data: data.clone(),
            listen: address.client.clone(),
            listen_peers: address.peer.clone(),
            peers: peers.clone(),
            join: false,
            lease_reads: false,
            keep_entries: 1_000,
            tls: None,
            insecure: false,
            reserve_bytes: 0,
        };
        let (stop, stopped) = oneshot::channel();
        let stopped = async move { drop(stopped.await) };
        Node {
            client: address.client.clone(),
            log: FaultFs::of(&data.join("log")),
            stop,
            serving: tokio::spawn(serve(options, stopped)),
        }
    };
    peers.iter().map(start).collect()
}

/// Lets all disks work again when the test is over, also if it has failed.
struct Release(Vec<FaultFs>);

impl Release {
    fn when_dropped(nodes: &[Node]) -> Self {
        Self(nodes.iter().map(|node| node.log.clone()).collect())
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        for log in &self.0 {
            log.on_sync(OnSync::Work);
        }
    }
}

/// Which of these nodes leads, if one does within this time.
async fn leader(nodes: &[Node], patience: Duration) -> Option<usize> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        for (at, node) in nodes.iter().enumerate() {
            if node.leads().await {
                return Some(at);
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
    None
}

async fn put(node: &Node, value: &str, patience: Duration) -> bool {
    let params = json!({ "key": "key", "value": value });
    node.client(patience).call("put", params).await.is_ok()
}

/// What is on one disk of three is not committed, whichever that is.
#[tokio::test(flavor = "multi_thread")]
async fn no_write_is_answered_while_the_disks_of_a_majority_stand_still() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three_nodes(&dir);
    let _release = Release::when_dropped(&nodes);
    let leader = leader(&nodes, SOON).await.expect("somebody leads");
    assert!(put(&nodes[leader], "first", SOON).await);
    for id in ["1", "2", "3"] {
        let names = synced::names(&dir.path().join(id)).unwrap_or_default();
        for name in ["identity.json", "log", "snapshots", "state.redb"] {
            assert!(
                names.contains(OsStr::new(name)),
                "the power could take {name}"
            );
        }
    }
    for works in 0..3 {
        let held = || nodes.iter().enumerate().filter(move |(at, _)| *at != works);
        for (_, node) in held() {
            node.log.on_sync(OnSync::Hold);
        }
        assert!(!put(&nodes[leader], "second", LONG / 4).await, "{works}");
        // A read asks whether this node still leads, and nobody's disk.
        let mut client = nodes[leader].client(SOON);
        let read = client.call("get", json!({ "key": "key" }));
        assert!(read.await.is_ok(), "{works}");
        for (_, node) in held() {
            node.log.wait_until_held();
            node.log.on_sync(OnSync::Work);
        }
        assert!(put(&nodes[leader], "third", SOON).await, "{works}");
    }
    for node in nodes {
        node.end().await;
    }
}

/// A vote that the power could take is none.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_elected_while_the_disks_of_a_majority_stand_still() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = three_nodes(&dir);
    let _release = Release::when_dropped(&nodes);
    let old = leader(&nodes, SOON).await.expect("somebody leads");
    assert!(put(&nodes[old], "first", SOON).await);
    let old = nodes.remove(old);
    for node in [&old, &nodes[0]] {
        node.log.on_sync(OnSync::Hold);
    }
    // It hands leadership over before it ends.
    old.end().await;
    nodes[0].log.wait_until_held();
    assert_eq!(leader(&nodes, LONG).await, None);

    nodes[0].log.on_sync(OnSync::Work);
    assert!(leader(&nodes, SOON).await.is_some(), "nobody is elected");
    for node in nodes {
        node.end().await;
    }
}
