//! What a node says to what it cannot do anything with, and that it serves on.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use almadia_store::processes::{Processes, free_address};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PROGRAM: &str = env!("CARGO_BIN_EXE_almadia-store");
const PATIENCE: Duration = Duration::from_secs(10);

/// A cluster of one.
struct Node {
    processes: Processes,
    dir: TempDir,
}

impl Node {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let processes = Processes::local(dir.path(), 1, None, Vec::new()).unwrap();
        let mut processes = processes.with_program(Path::new(PROGRAM));
        processes.start_all().await.unwrap();
        Self { processes, dir }
    }

    /// Sends a request; returns status and body.
    async fn send(&self, start: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.processes.nodes[0].client)
            .await
            .unwrap();
        let len = body.len();
        let head = format!(
            "{start} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut said = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut said)).await;
        read.unwrap().unwrap();
        let end = said.windows(4).position(|four| four == b"\r\n\r\n");
        let body = said.split_off(end.unwrap() + 4);
        let status = String::from_utf8(said).unwrap();
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body)
    }

    /// Posts this; nothing at all may come back.
    async fn post(&self, body: impl AsRef<[u8]>) -> Option<Value> {
        let body = body.as_ref();
        let (status, answer) = self.send("POST /rpc", body).await;
        if status == 204 {
            assert!(answer.is_empty());
            return None;
        }
        assert_eq!(status, 200);
        Some(serde_json::from_slice(&answer).unwrap())
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        let call = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let answer = self.post(call.to_string()).await.unwrap();
        assert_eq!(
            (&answer["jsonrpc"], &answer["id"]),
            (&json!("2.0"), &json!(7))
        );
        answer
    }

    async fn refuses(&self, method: &str, params: Value, code: i64, why: &str) {
        let answer = self.call(method, params).await;
        assert_refused(&answer, code, why);
    }

    async fn serves_on(mut self) {
        let put = self.call("put", json!({ "key": "on", "value": "1" })).await;
        assert_eq!(put["result"], json!({ "done": true }));
        let got = self.call("get", json!({ "key": "on" })).await;
        assert_eq!(got["result"], json!({ "value": "1" }));
        assert!(matches!(self.processes.ended(0), Ok(None)));
    }
}

#[track_caller]
fn assert_refused(answer: &Value, code: i64, why: &str) {
    assert_eq!(answer["error"]["code"], code, "{answer}");
    assert!(answer.get("result").is_none(), "{answer}");
    let said = answer["error"]["message"].as_str().unwrap();
    assert!(said.contains(why), "{said}");
}

// --- Calls ---

#[tokio::test]
async fn oversized_keys() {
    let node = Node::start().await;
    let key = "k".repeat(4_097);
    for (method, params) in [
        ("get", json!({ "key": key })),
        ("put", json!({ "key": key, "value": "1" })),
        ("delete", json!({ "key": key })),
        ("cas", json!({ "key": key, "value": "1" })),
        ("batch", json!({ "writes": [{ "delete": { "key": key } }] })),
        ("cluster.split", json!({ "key": key })),
    ] {
        node.refuses(method, params, -32602, "4096 is the most")
            .await;
    }
    let longest = json!({ "key": "k".repeat(4_096), "value": "1" });
    assert_eq!(node.call("put", longest).await["result"]["done"], true);
    node.serves_on().await;
}

#[tokio::test]
async fn oversized_values() {
    let node = Node::start().await;
    let put = |len| json!({ "key": "a", "value": "v".repeat(len) });
    node.refuses("put", put((1 << 20) + 1), -32602, "too large")
        .await;
    let half = put((1 << 19) + 1);
    let batch = json!({ "writes": [{ "put": half }, { "put": half }] });
    node.refuses("batch", batch, -32602, "too large").await;
    let longest = node.call("put", put(1 << 20)).await;
    assert_eq!(longest["result"]["done"], true);
    node.serves_on().await;
}

#[tokio::test]
async fn oversized_requests() {
    let node = Node::start().await;
    let body = vec![b' '; (8 << 20) + 1];
    let (status, answer) = node.send("POST /rpc", &body).await;
    assert_eq!(status, 413);
    let answer = serde_json::from_slice(&answer).unwrap();
    assert_refused(&answer, -32600, "at most 8388608 bytes");
    node.serves_on().await;
}

#[tokio::test]
async fn empty_keys() {
    let node = Node::start().await;
    for (method, params) in [
        ("get", json!({ "key": "" })),
        ("put", json!({ "key": "", "value": "1" })),
        ("delete", json!({ "key": "" })),
        ("cas", json!({ "key": "", "value": "1" })),
        ("batch", json!({ "writes": [{ "delete": { "key": "" } }] })),
        ("cluster.split", json!({ "key": "" })),
    ] {
        node.refuses(method, params, -32602, "at least one byte")
            .await;
    }
    let nothing = json!({ "writes": [] });
    node.refuses("batch", nothing, -32602, "at least one write")
        .await;
    node.serves_on().await;
}

#[tokio::test]
async fn malformed_json() {
    let node = Node::start().await;
    let nested = format!(r#"{{"id":{}"#, "[".repeat(100_000));
    let bodies: [&[u8]; 6] = [
        b"",
        b"that is no JSON",
        br#"{"jsonrpc": "2.0", "#,
        br#"[{"jsonrpc": "2.0"}"#,
        b"{\"jsonrpc\": \"2.0\", \"method\": \"\xff\"}",
        nested.as_bytes(),
    ];
    for body in bodies {
        let answer = node.post(body).await.unwrap();
        assert_refused(&answer, -32700, "no JSON");
        assert!(answer["id"].is_null());
    }
    node.serves_on().await;
}

#[tokio::test]
async fn json_that_is_no_call() {
    let node = Node::start().await;
    for body in [
        "42",
        "null",
        r#""get""#,
        "{}",
        r#"{"jsonrpc": "2.0", "id": 1}"#,
        r#"{"jsonrpc": "2.0", "id": 1, "method": 1}"#,
        r#"{"id": 1, "method": "get", "params": {"key": "a"}}"#,
        r#"{"jsonrpc": "1.0", "id": 1, "method": "get", "params": {"key": "a"}}"#,
        r#"{"jsonrpc": 2, "id": 1, "method": "get"}"#,
    ] {
        let answer = node.post(body).await.unwrap();
        assert_refused(&answer, -32600, "call");
    }
    for (start, status) in [("GET /rpc", 405), ("POST /nonesuch", 404)] {
        assert_eq!(node.send(start, b"").await.0, status);
    }
    node.serves_on().await;
}

#[tokio::test]
async fn unknown_methods() {
    let node = Node::start().await;
    for method in ["nonesuch", "", "GET", "get "] {
        node.refuses(method, json!({}), -32601, "there are get, scan")
            .await;
    }
    node.serves_on().await;
}

#[tokio::test]
async fn unknown_parameters() {
    let node = Node::start().await;
    for (method, params) in [
        ("get", json!({ "key": "a", "kee": "a" })),
        ("put", json!({ "key": "a", "value": "1", "ttl": 1 })),
        (
            "batch",
            json!({ "writes": [{ "put": { "key": "a", "value": "1", "ttl": 1 } }] }),
        ),
        (
            "batch",
            json!({ "writes": [{ "increment": { "key": "a" } }] }),
        ),
    ] {
        node.refuses(method, params, -32602, "unknown").await;
    }
    node.serves_on().await;
}

#[tokio::test]
async fn wrong_types() {
    let node = Node::start().await;
    for (method, params) in [
        ("get", json!({ "key": 1 })),
        ("get", json!({ "key": null })),
        ("get", json!("a")),
        ("put", json!({ "key": "a", "value": ["1"] })),
        (
            "put",
            json!({ "key": "a", "value": "1", "client": "c", "sequence": "1" }),
        ),
        ("scan", json!({ "limit": "many" })),
        ("cluster.transfer_leader", json!({ "to": "1" })),
    ] {
        node.refuses(method, params, -32602, "invalid type").await;
    }
    for (method, params, why) in [
        ("get", json!({}), "missing field `key`"),
        ("get", json!({ "key": "a", "consistency": 1 }), "expected"),
        (
            "get",
            json!({ "key": "a", "consistency": "some" }),
            "unknown variant",
        ),
        ("scan", json!({ "limit": 0 }), "from 1 to"),
        ("scan", json!({ "limit": 10_001 }), "from 1 to"),
        (
            "put",
            json!({ "key": "a", "value": "1", "client": "c" }),
            "belong together",
        ),
        ("cluster.transfer_leader", json!({ "to": 0 }), "from 1"),
    ] {
        node.refuses(method, params, -32602, why).await;
    }
    node.serves_on().await;
}

#[tokio::test]
async fn batches_of_calls() {
    let node = Node::start().await;
    let put = |id, key| {
        let params = json!({ "key": key, "value": "1" });
        json!({ "jsonrpc": "2.0", "id": id, "method": "put", "params": params })
    };
    let notification = json!({ "jsonrpc": "2.0", "method": "put",
        "params": { "key": "told", "value": "1" } });
    let calls = json!([put(1, "a"), 42, notification, put(2, ""), { "id": 3 }]);
    let answers = node.post(calls.to_string()).await.unwrap();
    assert_eq!(answers.as_array().unwrap().len(), 4);
    assert_eq!(
        (&answers[0]["id"], &answers[0]["result"]["done"]),
        (&json!(1), &json!(true))
    );
    assert_refused(&answers[1], -32600, "no JSON-RPC call");
    assert_refused(&answers[2], -32602, "at least one byte");
    assert_eq!(answers[2]["id"], 2);
    assert_refused(&answers[3], -32600, "no JSON-RPC call");

    let told = json!([notification, notification]);
    assert_eq!(node.post(told.to_string()).await, None);
    let answer = node.post("[]").await.unwrap();
    assert_refused(&answer, -32600, "at least one call");
    let many = format!("[1{}]", ",1".repeat(1_000));
    assert_refused(
        &node.post(many).await.unwrap(),
        -32600,
        "at most 1000 calls",
    );
    node.serves_on().await;
}

#[tokio::test]
async fn notifications() {
    let node = Node::start().await;
    let told = r#"{"jsonrpc": "2.0", "method": "put", "params": {"key": "a", "value": "1"}}"#;
    assert_eq!(node.post(told).await, None);
    let got = node.call("get", json!({ "key": "a" })).await;
    assert_eq!(got["result"]["value"], "1");
    // Who wants no answer gets none, whatever has happened.
    let wrong = r#"{"jsonrpc": "2.0", "method": "nonesuch"}"#;
    assert_eq!(node.post(wrong).await, None);
    // To have `null` for an id is to have one.
    let call = r#"{"jsonrpc": "2.0", "id": null, "method": "get", "params": {"key": "a"}}"#;
    let answer = node.post(call).await.unwrap();
    assert_eq!(answer["result"]["value"], "1");
    node.serves_on().await;
}

#[tokio::test]
async fn invalid_base64() {
    let node = Node::start().await;
    for params in [
        json!({ "key": "?", "value": "MQ==", "encoding": "base64" }),
        json!({ "key": "YQ==", "value": "MQ", "encoding": "base64" }),
        json!({ "key": "YQ==", "value": "MQ==\n", "encoding": "base64" }),
    ] {
        node.refuses("put", params, -32602, "no base64").await;
    }
    let other = json!({ "key": "a", "value": "1", "encoding": "hex" });
    node.refuses("put", other, -32602, "unknown variant").await;
    node.serves_on().await;
}

#[tokio::test]
async fn values_that_are_no_text() {
    let node = Node::start().await;
    let put = json!({ "key": "YQ==", "value": "/w==", "encoding": "base64" });
    assert_eq!(node.call("put", put).await["result"]["done"], true);
    let why = "ask with `\"encoding\": \"base64\"`";
    node.refuses("get", json!({ "key": "a" }), -32002, why)
        .await;
    node.refuses("scan", json!({}), -32002, why).await;
    let got = node.call("get", json!({ "key": "YQ==", "encoding": "base64" }));
    assert_eq!(got.await["result"]["value"], "/w==");
    node.serves_on().await;
}

// --- Starting ---

/// Starts a node that should not start: its exit code, and what it says.
fn try_to_serve(dir: &Path, id: u64, cluster: &str, listen: &str) -> (Option<i32>, String) {
    let peers = format!("{id}={}", free_address().unwrap());
    let ended = Command::new(PROGRAM)
        .args(["serve", "--id", &id.to_string(), "--cluster", cluster])
        .args(["--listen", listen, "--peers", &peers, "--data"])
        .arg(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    (ended.status.code(), said)
}

#[track_caller]
fn assert_does_not_start(dir: &Path, id: u64, cluster: &str, why: &str) {
    let (code, said) = try_to_serve(dir, id, cluster, &free_address().unwrap());
    assert_eq!(code, Some(1), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("error: ") && last.contains(why), "{said}");
    assert!(last.contains(dir.to_str().unwrap()), "{said}");
}

#[tokio::test]
async fn a_port_in_use() {
    let node = Node::start().await;
    let dir = node.dir.path().join("other");
    let address = node.processes.nodes[0].client.clone();
    let (code, said) = try_to_serve(&dir, 1, "almadia", &address);
    assert_eq!(code, Some(1));
    assert!(
        said.contains(&address) && said.contains("is it in use"),
        "{said}"
    );
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let (code, said) = try_to_serve(&dir, 1, "almadia", &address);
    assert_eq!(code, Some(1));
    assert!(said.contains(&address), "{said}");
    for nonsense in ["nonsense", "127.0.0.1", "127.0.0.1:99999"] {
        let (code, said) = try_to_serve(&dir, 1, "almadia", nonsense);
        assert_eq!(code, Some(1));
        assert!(said.contains(nonsense), "{said}");
    }
    node.serves_on().await;
}

#[tokio::test]
async fn a_directory_in_use() {
    let node = Node::start().await;
    let dir = node.processes.dir(0);
    assert_does_not_start(&dir, 1, "almadia", "in use by another process");
    node.serves_on().await;
}

#[tokio::test]
async fn the_directory_of_another_cluster() {
    let mut node = Node::start().await;
    node.processes.kill(0);
    let dir = node.processes.dir(0);
    assert_does_not_start(&dir, 1, "other", "belongs to node 1 of cluster \"almadia\"");
    node.processes.start_all().await.unwrap();
    node.serves_on().await;
}

#[tokio::test]
async fn the_directory_of_another_node() {
    let mut node = Node::start().await;
    node.processes.kill(0);
    let dir = node.processes.dir(0);
    assert_does_not_start(&dir, 2, "almadia", "this is node 2");
    node.processes.start_all().await.unwrap();
    node.serves_on().await;
}

/// A node's directory with another identity file is not started from, and is left as it was.
async fn with_identities(identities: &[&[u8]], why: &str) {
    let mut node = Node::start().await;
    node.processes.kill(0);
    let dir = node.processes.dir(0);
    let file = dir.join("identity.json");
    let own = std::fs::read(&file).unwrap();
    for identity in identities {
        std::fs::write(&file, identity).unwrap();
        assert_does_not_start(&dir, 1, "almadia", why);
        assert_eq!(std::fs::read(&file).unwrap(), *identity);
    }
    std::fs::write(&file, own).unwrap();
    node.processes.start_all().await.unwrap();
    node.serves_on().await;
}

#[tokio::test]
async fn the_directory_of_a_newer_version() {
    let newer: &[&[u8]] = &[
        br#"{"version": 2, "cluster": {"name": "almadia"}, "starts": 1}"#,
        br#"{"version": 99999999999}"#,
    ];
    with_identities(newer, "newer version").await;
}

#[tokio::test]
async fn an_identity_that_is_garbage() {
    let garbage: &[&[u8]] = &[
        b"garbage",
        b"",
        b"{}",
        b"[]",
        b"\xff",
        br#"{"version": "1"}"#,
    ];
    with_identities(garbage, "is this a node's directory?").await;
}
