//! What a node does, and does not do, when there is no room left.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use almadia_store::client::{CallError, Client};
use almadia_store::processes::Processes;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::sleep;

const PROGRAM: &str = env!("CARGO_BIN_EXE_almadia-store");
const PATIENCE: Duration = Duration::from_secs(6);

fn cluster(dir: &Path, nodes: u64, reserve: u64) -> Processes {
    let more = vec!["--reserve-bytes".to_owned(), reserve.to_string()];
    Processes::local(dir, nodes, None, more)
        .unwrap()
        .with_program(Path::new(PROGRAM))
}

async fn put(client: &mut Client, key: &str, value: &str) -> Result<(), CallError> {
    let put = json!({ "key": key, "value": value });
    client.call("put", put).await.map(drop)
}

#[track_caller]
fn assert_full(refused: Result<(), CallError>) {
    let Err(CallError::Refused { code, message }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(code, -32004, "{message}");
    for part in ["disk of node", "KiB are free", "make room"] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn writes_are_refused_below_the_reserve_and_reads_are_not() {
    let dir = TempDir::new().unwrap();
    // No disk has so much room.
    let mut cluster = cluster(dir.path(), 3, u64::MAX);
    cluster.start_all().await.unwrap();
    for at in 0..3 {
        // Whoever leads, the others tell what it says.
        let mut client = cluster.client(at, PATIENCE);
        assert_full(put(&mut client, "a", "1").await);
        let got = client.call("get", json!({ "key": "a" })).await.unwrap();
        assert!(got["value"].is_null());
        client.call("cluster.status", json!({})).await.unwrap();
    }
    // They elect and are told who leads all the same.
    cluster.kill(0);
    let mut client = cluster.client(1, PATIENCE);
    client.call("get", json!({ "key": "a" })).await.unwrap();
}

/// A small disk of its own, as long as it is mounted.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` if this machine lets nobody mount it.
    fn mount(dir: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(dir).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir)
            .output();
        let is_mounted = mounted.ok()?.status.success();
        is_mounted.then(|| Self(dir.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// What is mounted here is mounted for this test alone: it is run once more in a namespace of its own.
fn is_in_own_namespace(test: &str) -> bool {
    const MARK: &str = "ALMADIA_STORE_OWN_MOUNTS";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let again = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(MARK, "1")
        .output();
    match again {
        Ok(again) if !again.status.success() => {
            let said = String::from_utf8_lossy(&again.stderr);
            assert!(said.contains("unshare:"), "{said}");
            eprintln!("not tested: {said}");
        }
        Ok(_) => {}
        Err(error) => eprintln!("not tested: there is no `unshare`: {error}"),
    }
    false
}

#[tokio::test]
async fn writes_go_on_when_there_is_room_again() {
    if !is_in_own_namespace("writes_go_on_when_there_is_room_again") {
        return;
    }
    let dir = TempDir::new().unwrap();
    let mut cluster = cluster(dir.path(), 1, 24 << 20);
    let Some(disk) = SmallDisk::mount(&cluster.dir(0), "48m") else {
        eprintln!("not tested: nothing can be mounted here");
        return;
    };
    cluster.start_all().await.unwrap();
    let mut client = cluster.client(0, PATIENCE);
    put(&mut client, "before", "1").await.unwrap();

    let filler = disk.0.join("filler");
    std::fs::write(&filler, vec![1; 28 << 20]).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let refused = loop {
        let result = put(&mut client, "during", "1").await;
        if result.is_err() || Instant::now() > deadline {
            break result;
        }
        sleep(Duration::from_millis(20)).await;
    };
    assert_full(refused);
    let got = client.call("get", json!({ "key": "before" })).await;
    assert_eq!(got.unwrap()["value"], "1");
    assert!(matches!(cluster.ended(0), Ok(None)));

    std::fs::remove_file(&filler).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = put(&mut client, "after", "1").await {
        assert!(Instant::now() < deadline, "{error}");
        sleep(Duration::from_millis(50)).await;
    }

    // Whoever writes on and on comes to the reserve, and the node is there afterwards.
    let value = "v".repeat(500_000);
    let mut count = 0;
    let refused = loop {
        match put(&mut client, &format!("many {count}"), &value).await {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(count < 100);
    assert_full(Err(refused));
    sleep(Duration::from_millis(1_500)).await;
    let key = format!("many {}", count - 1);
    let got = client.call("get", json!({ "key": key })).await.unwrap();
    assert_eq!(got["value"].as_str().map(str::len), Some(value.len()));
    cluster.kill(0);
    cluster.start_all().await.unwrap();
    let got = client.call("get", json!({ "key": key })).await;
    let got = match got {
        // The connection was the killed process's.
        Err(_) => client.call("get", json!({ "key": key })).await,
        got => got,
    };
    assert_eq!(
        got.unwrap()["value"].as_str().map(str::len),
        Some(value.len())
    );
}

async fn applied(client: &mut Client) -> u64 {
    let status = client.call("cluster.status", json!({})).await.unwrap();
    status["regions"][0]["applied"].as_u64().unwrap()
}

#[tokio::test]
async fn one_full_disk_among_three_stops_nobody_and_its_node_catches_up() {
    if !is_in_own_namespace("one_full_disk_among_three_stops_nobody_and_its_node_catches_up") {
        return;
    }
    let dir = TempDir::new().unwrap();
    let mut cluster = cluster(dir.path(), 3, 24 << 20);
    let Some(disk) = SmallDisk::mount(&cluster.dir(2), "48m") else {
        eprintln!("not tested: nothing can be mounted here");
        return;
    };
    cluster.start_all().await.unwrap();
    let mut leader = cluster.client(0, PATIENCE);
    let lead = json!({ "to": 1 });
    leader.call("cluster.transfer_leader", lead).await.unwrap();

    let filler = disk.0.join("filler");
    std::fs::write(&filler, vec![1; 40 << 20]).unwrap();
    sleep(Duration::from_millis(1_200)).await;
    let value = "v".repeat(50_000);
    for count in 0..60 {
        let key = format!("many {count}");
        put(&mut leader, &key, &value).await.unwrap();
    }
    assert!(matches!(cluster.ended(2), Ok(None)));
    let mut full = cluster.client(2, PATIENCE);
    let (here, there) = (applied(&mut leader).await, applied(&mut full).await);
    assert!(there + 50 < here, "{there} of {here}");

    std::fs::remove_file(&filler).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while applied(&mut full).await < here {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(50)).await;
    }
}
