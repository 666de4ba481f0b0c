//! Runs the example programs from end to end, as a reader of the examples would.
//!
//! Owns what they print and how they exit, and the verdict of `five_mem_node` on nodes that do not
//! agree. `cargo test` builds the examples before it runs this.

#![allow(
    dead_code,
    reason = "the verdict is tested with the parts of the example that it needs"
)]

#[path = "../examples/five_mem_node/cluster.rs"]
mod cluster;
#[path = "../examples/five_mem_node/command.rs"]
mod command;
#[path = "../examples/five_mem_node/machine.rs"]
mod machine;
#[path = "../examples/five_mem_node/mail.rs"]
mod mail;
#[path = "../examples/five_mem_node/node.rs"]
mod node;
#[path = "../examples/five_mem_node/tracer.rs"]
mod tracer;
#[path = "../examples/five_mem_node/verdict.rs"]
mod verdict;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use almadia::{LogIndex, NodeId, RoleKind, Term};
use almadia_harness::{Trace, What};

use crate::cluster::NODES;
use crate::machine::StateMachine;
use crate::mail::Report;
use crate::verdict::differences;

/// The built example of this name, in the profile of this test.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test knows where it is");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("tests run in PROFILE/deps below the target directory");
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let path = profile.join("examples").join(file);
    assert!(
        path.is_file(),
        "{} is missing; `cargo build --examples` makes it, and `cargo test` without `--test` too",
        path.display()
    );
    path
}

/// Runs an example with these arguments and this standard input.
fn run(name: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(example(name))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example starts");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    // A program that does not want its input may have ended before it has it all.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("the example ends")
}

/// Replicates these commands on five nodes. Returns the answers to the `get`s and the text on
/// standard error, after checking that the nodes agree.
fn replicate(input: &[u8]) -> (Vec<String>, String) {
    let output = run("five_mem_node", &["--input", "-"], input);
    let (stdout, stderr) = texts(&output);
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    assert!(
        lines
            .last()
            .is_some_and(|line| line.starts_with("ok: 5 nodes agree on ")),
        "{stdout}{stderr}"
    );
    assert_all_acts(&stderr);
    let table = lines
        .iter()
        .position(|line| line.starts_with("node "))
        .expect("there is a table");
    assert_eq!(lines.len() - table, 7, "a head, five nodes, the verdict");
    assert_final_members(&lines[table + 1..table + 6], &stderr);
    let answers = lines.iter().take(table).map(|line| (*line).to_owned());
    (answers.collect(), stderr)
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// The acts are told of, each after the one before.
fn assert_all_acts(stderr: &str) {
    let mut rest = stderr;
    for act in [
        "leads term 1",
        "all nodes have compacted their logs",
        "the leader, is killed",
        "restarts from its disk",
        "has caught up",
        "a follower, is stopped",
        "the four others have compacted their logs",
        "has installed a snapshot",
        "node 6 starts with an empty disk",
        "the voters are [1 2 3 4 5], the learners [6]",
        "learner 6 has caught up: a linearizable read there sees ",
        "the voters are [1 2 3 4 5 6], the learners []",
        "node 6 is promoted to a voter",
        "is to be removed through a joint configuration",
        "a joint configuration is entered: majorities of [",
        "] and [1 2 3 4 5 6] agree",
        "the joint configuration is left: the voters are [",
        "is removed, and stopped",
        "is to hand leadership over to node ",
        "the transfer has succeeded: node ",
    ] {
        let position = rest.find(act);
        let position = position.unwrap_or_else(|| panic!("`{act}` is missing in:\n{stderr}"));
        rest = &rest[position + act.len()..];
    }
}

/// The first number that follows this text.
fn number_after(text: &str, before: &str) -> u64 {
    let rest = text.split_once(before).map(|(_, rest)| rest.trim_start());
    let digits = rest.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    let number = digits.and_then(|digits| digits.parse().ok());
    number.unwrap_or_else(|| panic!("no number follows `{before}` in:\n{text}"))
}

/// What was told of the end is what the table shows: five nodes without the one that was removed,
/// and with the one that came.
fn assert_final_members(table: &[&str], stderr: &str) {
    let listed = |row: &&str| row.split_whitespace().next().map(str::to_owned);
    let rows = table.iter().filter_map(listed).collect::<Vec<_>>();
    let told = stderr.split_once("the joint configuration is left: the voters are [");
    let told = told.and_then(|(_, rest)| rest.split_once(']'));
    let (voters, rest) = told.expect("the last voters are told");
    assert_eq!(rows.join(" "), voters, "{stderr}");
    assert!(rows.contains(&"6".to_owned()), "{stderr}");
    let (before, _) = rest.split_once(" is removed, and stopped").expect("an act");
    let removed = before.rsplit(' ').next().expect("a node").to_owned();
    assert!(!rows.contains(&removed), "{stderr}");
}

/// Runs the example with arguments that it must refuse. Returns what it says.
fn refused(arguments: &[&str]) -> String {
    let output = run("five_mem_node", arguments, b"");
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{stdout}{stderr}");
    assert_eq!(stdout, "");
    stderr
}

#[test]
fn a_malformed_line_is_named_and_the_rest_counts() {
    let (answers, stderr) = replicate(b"put a 1\nput b 2\nbogus\nget a\n");
    assert_eq!(answers, ["a = 1"]);
    assert!(stderr.contains("line 3: "), "{stderr}");
}

#[test]
fn every_kind_of_malformed_line_is_named() {
    let (answers, stderr) =
        replicate(b"put\nput a\nget\nget a b\ndel a b\n\xff\xfe\nPUT a 1\nget a");
    assert_eq!(answers, ["a is not set"]);
    for number in 1..=7 {
        assert!(stderr.contains(&format!("line {number}: ")), "{stderr}");
    }
    assert!(!stderr.contains("line 8: "), "{stderr}");
}

#[test]
fn each_get_sees_the_commands_before_it_and_no_later_one() {
    let input = b"get a\nput a 1\nget a\nput a 2\nget a\ndel a\nget a\ndel a\nput a 3\nget a\n";
    let (answers, _) = replicate(input);
    let expected = ["a is not set", "a = 1", "a = 2", "a is not set", "a = 3"];
    assert_eq!(answers, expected);
}

#[test]
fn values_may_have_spaces_and_comments_do_not_count() {
    let input =
        "# a comment\n\n  # another\nput greeting  good  morning = ñandú \r\nget greeting\r\n";
    let (answers, stderr) = replicate(input.as_bytes());
    assert_eq!(answers, ["greeting = good  morning = ñandú"]);
    assert!(!stderr.contains("line "), "{stderr}");
}

#[test]
fn an_empty_input_still_shows_every_act() {
    let (answers, _) = replicate(b"");
    assert!(answers.is_empty());
}

#[test]
fn many_commands_count_exactly_once_and_in_order() {
    let mut input = String::new();
    let mut expected = Vec::new();
    for number in 0..3000 {
        let key = number % 7;
        input += &format!("put k{key} {number}\nget k{key}\n");
        expected.push(format!("k{key} = {number}"));
    }
    let (answers, _) = replicate(input.as_bytes());
    assert_eq!(answers, expected);
}

#[test]
fn the_built_in_workload_ends_in_agreement() {
    let output = run("five_mem_node", &[], b"");
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    assert!(
        stderr.contains("10000 of 10000 commands are answered"),
        "{stderr}"
    );
    assert_all_acts(&stderr);
    // The client is still at work when the last act begins, and a read misses nothing.
    let before_last_act = stderr.split("is to hand leadership over").next();
    let progress = before_last_act.and_then(|text| text.rsplit(" of 10000 ").nth(1));
    let answered = progress.and_then(|text| text.rsplit(' ').next());
    let answered = answered.and_then(|number| number.parse::<u64>().ok());
    assert!(
        answered.is_some_and(|answered| answered < 10_000),
        "{stderr}"
    );
    let seen = number_after(&stderr, "a linearizable read there sees");
    let answered = number_after(&stderr, "of which");
    assert!(seen >= answered && answered > 0, "{stderr}");
}

#[test]
fn help_is_no_error() {
    let output = run("five_mem_node", &["--help"], b"");
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout.contains("Usage: "), "{stdout}");
    assert_eq!(stderr, "");
}

#[test]
fn an_unknown_option_gets_the_usage_text() {
    for arguments in [
        &["--bogus"][..],
        &["commands.txt"],
        &["--input"],
        &["--trace"],
    ] {
        let stderr = refused(arguments);
        assert!(stderr.contains("Usage: "), "{stderr}");
    }
}

#[test]
fn a_missing_file_is_an_error_that_says_what_to_do() {
    let stderr = refused(&["--input", "no/such/file"]);
    assert!(stderr.contains("no/such/file"), "{stderr}");
    assert!(stderr.contains("--input -"), "{stderr}");
    let stderr = refused(&["--trace", "no/such/folder/file"]);
    assert!(stderr.contains("no/such/folder/file"), "{stderr}");
    assert!(stderr.contains("Give `--trace`"), "{stderr}");
}

#[test]
fn a_trace_holds_the_whole_show() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("five_mem_node.jsonl");
    let name = path.to_str().expect("a path of text");
    let arguments = ["--input", "-", "--trace", name];
    let output = run("five_mem_node", &arguments, b"put a 1\nget a\n");
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    assert!(stdout.starts_with("a = 1\n"), "{stdout}");
    assert_all_acts(&stderr);

    let trace = File::open(&path).expect("the trace");
    let trace = Trace::read(BufReader::new(trace)).expect("a trace");
    assert_eq!(trace.nodes().len(), 6, "five nodes, and the one that joins");
    assert_eq!(trace.violation(), None);
    let mut sent = BTreeSet::new();
    for event in trace.events() {
        if let What::Sent { message, .. } = &event.what {
            sent.insert(*message);
        }
        if let What::Delivered { message, .. } = &event.what {
            assert!(sent.contains(message), "{event:?}");
        }
    }
    assert!(sent.len() > 100, "messages are recorded");
    let shows = |wanted: &dyn Fn(&What) -> bool| trace.events().iter().any(|it| wanted(&it.what));
    let leads = |what: &What| matches!(what, What::Role { role, .. } if *role == RoleKind::Leader);
    assert!(shows(&leads));
    assert!(shows(&|what| matches!(what, What::Crashed { .. })));
    assert!(shows(&|what| matches!(what, What::Persisted { .. })));
    assert!(shows(&|what| matches!(what, What::Committed { .. })));
    assert!(shows(&|what| matches!(what, What::Applied { .. })));
    assert!(shows(&|what| matches!(what, What::Snapshot { .. })));
    assert!(shows(&|what| matches!(what, What::Compacted { .. })));
    assert!(shows(&|what| matches!(what, What::Membership { .. })));
    let is_act = |what: &What| matches!(what, What::Note { text } if text.contains("is killed"));
    assert!(shows(&is_act));
}

#[test]
fn single_mem_node_prints_its_sum() {
    let output = run("single_mem_node", &[], b"");
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("sum 5050"), "{stdout}");
}

// --- The verdict ---

fn machine(value: &str) -> StateMachine {
    let mut machine = StateMachine::default();
    let command = command::Command::parse(&format!("put key {value}")).expect("a sound command");
    machine.apply(1, command);
    machine
}

fn reports(last_state: Option<StateMachine>, last_applied: u64) -> Vec<Report> {
    let report = |node, state, applied| Report {
        node: NodeId::new(node).expect("not zero"),
        role: RoleKind::Follower,
        term: Term(1),
        commit_index: LogIndex(applied),
        applied: LogIndex(applied),
        state,
    };
    let mut reports: Vec<Report> = (1..NODES)
        .map(|node| report(node, Some(machine("a")), 7))
        .collect();
    reports.push(report(NODES, last_state, last_applied));
    reports
}

#[test]
fn equal_nodes_have_no_difference() {
    assert!(differences(&reports(Some(machine("a")), 7), &machine("a")).is_empty());
}

#[test]
fn every_way_to_disagree_is_named() {
    let found = differences(&reports(Some(machine("b")), 7), &machine("a"));
    assert_eq!(
        found,
        ["node 5 differs first at `set key b`, which should be `set key a`"]
    );
    let found = differences(&reports(Some(machine("a")), 6), &machine("a"));
    assert_eq!(found, ["node 5 has applied entries up to 6 only"]);
    let found = differences(&reports(None, 7), &machine("a"));
    assert_eq!(found, ["node 5 has not told its state"]);
    let found = differences(&reports(Some(machine("a")), 7)[..4], &machine("a"));
    assert_eq!(found, ["only 4 of 5 nodes have reported"]);
}
