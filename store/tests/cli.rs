//! The command line for a person, as a person uses it: by the program.

mod local;

use std::io::Read as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use almadia_store::processes::free_address;

use self::local::three_nodes;

const PROGRAM: &str = env!("CARGO_BIN_EXE_almadia-store");

fn cli(nodes: &str, args: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["cli", "--node", nodes]).args(args);
    command.output().expect("the program runs")
}

/// What it prints, if it succeeds.
fn said(nodes: &str, args: &[&str]) -> String {
    let output = cli(nodes, args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Why it fails.
fn fails(nodes: &str, args: &[&str]) -> String {
    let output = cli(nodes, args);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[tokio::test]
async fn a_person_is_served() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut cluster = three_nodes(dir.path()).await;
    let one = cluster.nodes[0].client.clone();
    // Nobody listens at the first address: the next one is asked.
    let nodes = format!("{},{one}", free_address().expect("an address"));

    said(&nodes, &["put", "fruit", "apple"]);
    assert_eq!(said(&nodes, &["get", "fruit"]), "apple\n");
    for consistency in ["linearizable", "stale"] {
        let args = ["get", "fruit", "--consistency", consistency];
        assert_eq!(said(&one, &args), "apple\n");
    }
    said(&one, &["put", "herb", "two\nlines\u{1b}[2J ä"]);
    assert_eq!(said(&one, &["get", "herb"]), "two\nlines\u{1b}[2J ä\n");
    let all = said(&one, &["scan"]);
    assert_eq!(all, "fruit\tapple\nherb\ttwo\\nlines\\u{1b}[2J ä\n");
    assert_eq!(said(&one, &["scan", "a", "g"]), "fruit\tapple\n");
    let output = cli(&one, &["scan", "--limit", "1"]);
    assert_eq!(output.stdout, b"fruit\tapple\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is more, from fruit"));
    said(&nodes, &["delete", "fruit"]);
    assert!(fails(&nodes, &["get", "fruit"]).contains("error: there is no key \"fruit\""));
    assert!(fails(&one, &["put", "", "x"]).contains("a key has at least one byte"));
    let nobody = free_address().expect("an address");
    assert!(fails(&nobody, &["get", "a"]).contains(&format!("{nobody} does not answer")));

    let status = said(&nodes, &["status"]);
    assert!(
        status.starts_with(&format!("node 1 at {one}, up ")),
        "{status}"
    );
    for word in ["this one", "reachable", "KEYS", "LEADER", ":leads"] {
        assert!(status.contains(word), "no {word} in\n{status}");
    }

    watch_ends_on_ctrl_c(&nodes);
    cluster.stop_all().await;
}

fn watch_ends_on_ctrl_c(nodes: &str) {
    let mut command = Command::new(PROGRAM);
    command.args(["cli", "watch", "--node", nodes]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it runs");
    std::thread::sleep(Duration::from_millis(3_500));
    let pid = i32::try_from(child.id()).expect("a process id");
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("a signal");
    let deadline = Instant::now() + Duration::from_secs(10);
    let status = loop {
        if let Some(status) = child.try_wait().expect("a status") {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().expect("it ends");
            panic!("it does not end on ctrl-c");
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let mut shown = String::new();
    let mut stdout = child.stdout.take().expect("what it printed");
    stdout.read_to_string(&mut shown).expect("text");
    assert!(status.success(), "{status}: {shown}");
    let pictures = shown.matches("node 1 at ").count();
    assert!((2..=5).contains(&pictures), "{pictures} pictures: {shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
}
