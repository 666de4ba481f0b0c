//! What regions do: sleep and wake, and get to a new node over a link that breaks.

mod local;

use std::path::Path;
use std::time::{Duration, Instant};

use almadia_store::check::proxy::{Link, Weather};
use almadia_store::client::Client;
use almadia_store::processes::{Node, Processes, free_address};
use serde_json::{Value, json};
use tokio::time::sleep;

use self::local::three_nodes;

const PROGRAM: &str = env!("CARGO_BIN_EXE_almadia-store");

async fn status(address: &str) -> Option<Value> {
    let mut client = Client::new(address.to_owned(), Duration::from_secs(10));
    client.call("cluster.status", json!({})).await.ok()
}

/// Waits until what a node knows of its first region is as it should be.
async fn wait_until(address: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let region = status(address).await;
        let region = region.and_then(|status| status["regions"].get(0).cloned());
        match region {
            Some(region) if is_so(&region) => return region,
            region => assert!(Instant::now() < deadline, "{what}: {region:?}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// A region at rest costs nothing, and is there when somebody wants something: also if its leader has
/// died meanwhile, which nobody has noticed.
#[tokio::test]
async fn a_region_sleeps_and_wakes() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut cluster = three_nodes(dir.path()).await;
    let address = |cluster: &Processes, at: usize| cluster.nodes[at].client.clone();
    let mut leader = 0;
    for at in 0..3 {
        let is_asleep = |region: &Value| region["asleep"] == true;
        let region = wait_until(&address(&cluster, at), "it sleeps", is_asleep).await;
        leader = region["leader"].as_u64().expect("it had a leader") as usize - 1;
    }
    let term = |region: &Value| region["term"].as_u64();
    let before = wait_until(&address(&cluster, leader), "a term", |_| true).await;
    // Whoever sleeps holds no elections.
    sleep(Duration::from_secs(4)).await;
    let after = wait_until(&address(&cluster, leader), "a term", |_| true).await;
    assert_eq!(
        (term(&before), &after["asleep"]),
        (term(&after), &json!(true))
    );

    let other = (leader + 1) % 3;
    let mut client = Client::new(address(&cluster, other), Duration::from_secs(10));
    let put = client
        .call("put", json!({ "key": "k", "value": "1" }))
        .await;
    put.expect("it wakes");
    for at in 0..3 {
        let is_asleep = |region: &Value| region["asleep"] == true;
        wait_until(&address(&cluster, at), "it sleeps again", is_asleep).await;
    }
    cluster.kill(leader);
    let begun = Instant::now();
    // It may be on its way to the dead one, so it has a number.
    let put = json!({ "key": "k", "value": "2", "client": "c", "sequence": 1 });
    let put = client.call("put", put).await;
    put.expect("another one leads");
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
    cluster.stop_all().await;
}

/// So large a value is put under so many keys.
const VALUE: usize = 500_000;
const KEYS: usize = 60;

async fn fill(client: &mut Client) {
    for number in 0..KEYS {
        let value = "v".repeat(VALUE);
        let put = json!({ "key": format!("k{number:03}"), "value": value });
        client.call("put", put).await.expect("it is put");
    }
}

/// Each time the link breaks the snapshot goes on where it was: all in all it passes about once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_goes_on_where_it_broke_off() {
    let dir = tempfile::tempdir().expect("a directory");
    let peer = |_| free_address().expect("a free port");
    let peers: Vec<String> = (0..2).map(peer).collect();
    let link = Link::to(peers[1].clone()).await.expect("a free port");
    let node = |id: u64, join: bool| Node {
        id,
        client: free_address().expect("a free port"),
        peer: peers[id as usize - 1].clone(),
        peers: vec![(id, peers[id as usize - 1].clone())],
        join,
    };
    let nodes = vec![node(1, false), node(2, true)];
    let more = vec!["--keep-entries".to_owned(), "10".to_owned()];
    let cluster = Processes::new(dir.path(), nodes, more).expect("it is found");
    let mut cluster = cluster.with_program(Path::new(PROGRAM));
    cluster.start(0).expect("it starts");
    cluster.wait_for(0..1).await.expect("it answers");
    cluster.start(1).expect("it starts");
    let address = cluster.nodes[0].client.clone();
    let mut client = Client::new(address.clone(), Duration::from_secs(20));
    fill(&mut client).await;
    // A region without anything in it gets there, too.
    let split = client.call("cluster.split", json!({ "key": "z" })).await;
    split.expect("it is divided");

    link.set(Weather::Slow(Duration::from_millis(4)));
    let before = link.passed();
    let adding = tokio::spawn({
        let add = json!({ "node": 2, "peer": link.address });
        let mut client = Client::new(address, Duration::from_secs(120));
        async move { client.call("cluster.add_node", add).await }
    });
    // It breaks whenever a fifth more has passed.
    let all = (VALUE * KEYS) as u64;
    let mut breaks = 0;
    for fifth in 1..5 {
        let deadline = Instant::now() + Duration::from_secs(30);
        while link.passed() - before < all * fifth / 5 && !adding.is_finished() {
            assert!(Instant::now() < deadline, "nothing passes");
            sleep(Duration::from_millis(5)).await;
        }
        breaks += u64::from(!adding.is_finished());
        link.set(Weather::Cut);
        sleep(Duration::from_millis(300)).await;
        link.set(Weather::Slow(Duration::from_millis(4)));
    }
    link.set(Weather::Fair);
    let added = adding.await.expect("no panic");
    added.expect("it is added");
    assert!(
        breaks >= 3,
        "it broke {breaks} times while something was under way, {}",
        link.passed() - before
    );
    let passed = link.passed() - before;
    assert!(passed < all * 3 / 2, "{passed} bytes have passed, of {all}");

    // What has arrived may have yet to be taken in.
    let address = cluster.nodes[1].client.clone();
    wait_until(&address, "it is there", |region| {
        region["applied"].as_u64() > Some(1)
    })
    .await;
    let mut second = Client::new(cluster.nodes[1].client.clone(), Duration::from_secs(10));
    let scan = json!({ "limit": 100, "start": "k05" });
    let found = second.call("scan", scan).await.expect("it answers");
    let pairs = found["pairs"].as_array().expect("pairs");
    assert!(!pairs.is_empty());
    assert_eq!(pairs[0]["value"].as_str().map(str::len), Some(VALUE));
    let none = second.call("get", json!({ "key": "zz" })).await;
    assert_eq!(none.expect("it answers"), json!({ "value": null }));
    cluster.stop_all().await;
}
