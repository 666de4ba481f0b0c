//! What a cluster of processes shows: the figures for Prometheus, and the dashboard as a browser
//! renders it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use almadia_store::client::Client;
use almadia_store::processes::Processes;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_almadia-store");

/// A cluster that has started.
async fn cluster(data: &Path, nodes: u64) -> Processes {
    let cluster = Processes::local(data, nodes, None, Vec::new());
    let mut cluster = cluster
        .expect("free ports")
        .with_program(Path::new(PROGRAM));
    cluster.start_all().await.expect("the nodes start");
    cluster
}

fn client(cluster: &Processes, at: usize) -> Client {
    Client::new(cluster.nodes[at].client.clone(), Duration::from_secs(10))
}

/// What the node answers to a GET: its head and its body.
fn load(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("the node listens");
    let timeout = Some(Duration::from_secs(10));
    stream.set_read_timeout(timeout).expect("a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

/// The value of the line that begins so.
fn figure(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("there is no {name} in\n{text}"));
    line.trim().parse().expect("a number")
}

/// A browser, if one is installed.
fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let dirs = std::env::split_paths(&std::env::var_os("PATH")?).collect::<Vec<_>>();
    let all = names
        .iter()
        .flat_map(|name| dirs.iter().map(move |dir| dir.join(name)));
    all.into_iter().find(|program| program.is_file())
}

/// The page as it is once its script has run for some (virtual) seconds.
fn render(browser: &Path, profile: &Path, address: &str) -> String {
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg("--virtual-time-budget=5000")
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("http://{address}/"))
        .output()
        .expect("the browser starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asks until the status is as wanted.
async fn wait_for(client: &mut Client, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = client.call("cluster.status", json!({})).await;
        match status {
            Ok(status) if is(&status) => return status,
            other => assert!(Instant::now() < deadline, "{what}: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn metrics_tell_what_was_done() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut cluster = cluster(dir.path(), 1).await;
    let mut client = client(&cluster, 0);
    for number in 0..10 {
        let put = json!({ "key": format!("key-{number}"), "value": "value" });
        client.call("put", put).await.expect("a write");
    }
    client
        .call("get", json!({ "key": "" }))
        .await
        .expect_err("no key");
    client
        .call("no.such.method", json!({}))
        .await
        .expect_err("no method");
    let split = client
        .call("cluster.split", json!({ "key": "key-5" }))
        .await;
    let part = split.expect("a split")["region"].as_u64().expect("an id");
    wait_for(&mut client, "both parts are led", |status| {
        let regions = status["regions"].as_array().expect("regions");
        let is_led = |region: &Value| region["leader"] == 1 && region["applied"].as_u64() > Some(1);
        regions.len() == 2 && regions.iter().all(is_led)
    })
    .await;

    let (head, text) = load(client.address(), "/metrics");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("application/openmetrics-text"), "{head}");
    let figure = |name: &str| figure(&text, &format!("almadia_store_{name}"));
    assert!(figure("log_write_seconds_count") >= 10.0, "{text}");
    assert!(figure("log_written_bytes_total") >= 100.0, "{text}");
    assert!(figure("applied_entries_total") >= 11.0, "{text}");
    let put = "request_seconds_count{method=\"put\",outcome=\"answered\"}";
    assert!((figure(put) - 10.0).abs() < 0.1, "{text}");
    let invalid = "request_seconds_count{method=\"get\",outcome=\"invalid\"}";
    assert!((figure(invalid) - 1.0).abs() < 0.1, "{text}");
    let unknown = "request_seconds_count{method=\"none\",outcome=\"invalid\"}";
    assert!((figure(unknown) - 1.0).abs() < 0.1, "{text}");
    assert!((figure("regions_led") - 2.0).abs() < 0.1, "{text}");
    assert!(figure("regions_asleep") >= 0.0, "{text}");
    for region in [1, part] {
        let of = |name: &str| figure(&format!("{name}{{region=\"{region}\"}}"));
        assert!(of("region_commit_index") >= 2.0, "{text}");
        assert!(of("region_applied_index") >= 2.0, "{text}");
        assert!((of("region_is_leader") - 1.0).abs() < 0.1, "{text}");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");
    cluster.stop_all().await;
}

#[tokio::test]
async fn the_dashboard_loads_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut cluster = cluster(dir.path(), 1).await;
    let (head, page) = load(&cluster.nodes[0].client, "/");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("text/html"), "{head}");
    assert!(head.contains("default-src 'none'"), "{head}");
    assert!(page.contains("<title>almadia-store</title>"), "{page}");
    cluster.stop_all().await;
    let namespace = "http://www.w3.org/2000/svg";
    let page = page.replace(namespace, "");
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "{page}"
    );
    assert!(!page.contains(" src="), "{page}");
}

#[tokio::test]
async fn the_dashboard_shows_regions_and_their_leaders() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no Chromium is installed, so nothing renders the dashboard");
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let mut cluster = cluster(dir.path(), 3).await;
    let mut client = client(&cluster, 0);
    let put = json!({ "key": "a", "value": "1" });
    client.call("put", put).await.expect("a write");
    // What a client calls its keys is text to the page, and nothing else.
    for key in ["middle", "tail <b>bold</b>"] {
        let split = client.call("cluster.split", json!({ "key": key })).await;
        split.expect("a split");
    }
    let status = wait_for(
        &mut client,
        "all is led, and everybody is there",
        |status| {
            let regions = status["regions"].as_array().expect("regions");
            let nodes = status["nodes"].as_object().expect("nodes");
            regions.len() == 3
                && regions.iter().all(|region| region["leader"].is_u64())
                && nodes.len() == 3
                && nodes.values().all(|node| node["reachable"] == true)
        },
    )
    .await;

    let profile = dir.path().join("browser");
    let page = render(&browser, &profile, client.address());
    assert!(page.contains("seen by <b id=\"me\">node 1</b>"), "{page}");
    assert!(page.contains("−∞<i>…</i>middle<"), "{page}");
    assert!(
        page.contains("middle<i>…</i>tail &lt;b&gt;bold&lt;/b&gt;<"),
        "{page}"
    );
    for region in status["regions"].as_array().expect("regions") {
        let (id, leader) = (&region["region"], &region["leader"]);
        let row = format!("<tr data-region=\"{id}\" data-leader=\"{leader}\">");
        let row = page
            .split(&row)
            .nth(1)
            .unwrap_or_else(|| panic!("no {row} in {page}"));
        let row = row.split("</tr>").next().expect("a row");
        assert!(row.contains(&format!(">node {leader}</span>")), "{row}");
        assert_eq!(row.matches("class=\"chip").count(), 3, "{row}");
    }

    // A node that stands still is out of reach, although the system connects to it.
    cluster
        .signal(2, nix::sys::signal::Signal::SIGSTOP)
        .expect("it runs");
    wait_for(&mut client, "one is out of reach", |status| {
        status["nodes"]["3"]["reachable"] == false
    })
    .await;
    let page = render(&browser, &profile, client.address());
    assert!(page.contains("1 out of reach"), "{page}");
    cluster.kill(2);
    cluster.stop_all().await;
}
