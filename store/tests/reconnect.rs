//! A node that stood still comes back: it hears its peers, and they hear it.

mod local;

use std::time::{Duration, Instant};

use almadia_store::client::Client;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::sleep;

use self::local::three_nodes;

async fn status(client: &mut Client) -> Value {
    let status = client.call("cluster.status", json!({})).await;
    status.expect("a status")
}

/// While it stands still its peers give it up and connect again and again, and the system lets them.
/// It finds all these connections at once, and must not take a dead one for the one that lives.
#[tokio::test]
async fn a_node_that_stood_still_is_reached_both_ways() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut cluster = three_nodes(dir.path()).await;
    let mut clients: Vec<_> = cluster
        .nodes
        .iter()
        .map(|node| node.client.clone())
        .collect();
    let mut last = Client::new(clients.remove(2), Duration::from_secs(10));
    let mut first = Client::new(clients.remove(0), Duration::from_secs(10));

    cluster.signal(2, Signal::SIGSTOP).expect("it runs");
    // Time for more than one attempt to speak with it.
    sleep(Duration::from_secs(18)).await;
    let put = json!({ "key": "key", "value": "value" });
    first
        .call("put", put)
        .await
        .expect("two of three are enough");
    cluster.signal(2, Signal::SIGCONT).expect("it runs");

    // What is wrong here stays wrong, so it is looked for some time after.
    sleep(Duration::from_secs(3)).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut wrong = Vec::new();
        for client in [&mut first, &mut last] {
            let seen = status(client).await;
            for (id, node) in seen["nodes"].as_object().expect("nodes") {
                if node["reachable"] != true {
                    wrong.push(format!("{} does not reach {id}", seen["node"]));
                }
            }
        }
        let read = last.call("get", json!({ "key": "key" })).await;
        match read {
            Ok(read) if read["value"] == "value" => {}
            other => wrong.push(format!("node 3 reads {other:?}")),
        }
        if wrong.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{wrong:?}");
        sleep(Duration::from_millis(200)).await;
    }
    cluster.stop_all().await;
}
