//! The command line: `almadia-harness replay`.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use super::files::Folder;
use super::*;

fn run(name: &str, recording: &[u8], arguments: &[&str]) -> (bool, String) {
    let folder = Folder::new(name);
    fs::create_dir_all(&folder.0).expect("a folder");
    let file = folder.0.join("a.recording");
    fs::write(&file, recording).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_almadia-harness"));
    let command = command.arg("replay").arg(&file).args(arguments);
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the program runs");
    let text = [stdout, stderr].concat();
    (status.success(), String::from_utf8(text).expect("a text"))
}

#[test]
fn a_recording_is_summed_up() {
    let (recording, node) = full_life(exact());
    let outcome = replay_to(recording.clone(), &node);
    let steps = outcome.steps.len();
    let mut counts = BTreeMap::<_, u64>::new();
    for method in outcome.methods() {
        *counts.entry(method).or_default() += 1;
    }
    let calls: Vec<String> = counts
        .iter()
        .map(|(method, count)| format!("{count} {method}"))
        .collect();
    let (is_fine, text) = run("summary", &recording, &[]);
    assert!(is_fine, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("node 1, recorded by release "),
        "{text}"
    );
    assert_eq!(
        lines[1],
        format!(
            "{:?}",
            Config::builder(id(1))
                .seed(SEED)
                .incarnation(1)
                .build()
                .expect("valid")
        )
    );
    assert_eq!(lines[2], format!("calls: {}", calls.join(", ")));
    assert_eq!(lines[3], "terms: 0 to 2");
    assert!(lines[4].contains("leader (1)"), "{text}");
    assert_eq!(lines[5], "end: the node has ended");
    assert_eq!(
        lines[6..],
        [format!("{steps} steps replayed, no divergence")]
    );
}

#[test]
fn a_dump_has_a_line_for_each_step() {
    let (recording, node) = full_life(exact());
    let steps = replay_to(recording.clone(), &node).steps;
    let (is_fine, text) = run("dump", &recording, &["--dump"]);
    assert!(is_fine, "{text}");
    for step in steps {
        assert!(text.contains(&format!("\n{step}\n")), "{step}");
    }
}

#[test]
fn a_replay_stops_where_it_is_told_to() {
    let (recording, _) = full_life(exact());
    let (is_fine, text) = run("until", &recording, &["--until", "15"]);
    assert!(is_fine, "{text}");
    assert!(text.contains("\nStatus {\n"), "{text}");
    assert!(
        text.ends_with("\n16 steps replayed, no divergence\n"),
        "{text}"
    );
}

#[test]
fn a_divergence_is_the_last_line() {
    let (mut recording, _) = full_life(exact());
    tamper(&mut recording, b"from the leader", b"from the healer");
    let (is_fine, text) = run("divergence", &recording, &[]);
    assert!(!is_fine);
    let found = replay(recording)
        .expect("a recording")
        .divergence
        .expect("it differs");
    assert_eq!(
        text.lines().last(),
        Some(format!("divergence at {found}").as_str())
    );
}

#[test]
fn a_torn_end_is_told_and_no_failure() {
    let (recording, _) = full_life(Options {
        flush: almadia_harness::recorder::Flush::EachCall,
        ..exact()
    });
    let (is_fine, text) = run("torn", &recording[..recording.len() - 1], &[]);
    assert!(is_fine, "{text}");
    let last = blocks(&recording).pop().expect("a block");
    assert!(
        text.contains(&format!(
            "end: the recording is cut off in the block at byte {last}; "
        )),
        "{text}"
    );
}

/// Nothing that was replayed is nothing that was shown to be right.
#[test]
fn a_replay_of_nothing_is_a_failure() {
    let (recording, _) = full_life(Options {
        flush: almadia_harness::recorder::Flush::EachCall,
        ..exact()
    });
    let first = blocks(&recording)[0];
    let (is_fine, text) = run("nothing", &recording[..first + FRAME], &[]);
    assert!(!is_fine, "{text}");
    assert!(text.contains("there is no whole step"), "{text}");
}

#[test]
fn a_step_that_is_not_reached_is_a_failure() {
    let (recording, _) = full_life(exact());
    let (is_fine, text) = run("beyond", &recording, &["--until", "99999999"]);
    assert!(!is_fine, "{text}");
    assert!(text.contains("step 99999999 is not reached"), "{text}");
}

#[test]
fn damage_is_a_failure() {
    let (mut recording, _) = full_life(Options {
        flush: almadia_harness::recorder::Flush::EachCall,
        ..exact()
    });
    let fifth = blocks(&recording)[5];
    recording[fifth + FRAME] ^= 1;
    let (is_fine, text) = run("damaged", &recording, &[]);
    assert!(!is_fine, "{text}");
    assert!(text.contains("is not what was written"), "{text}");
}

#[test]
fn what_is_no_recording_is_told() {
    let (is_fine, text) = run("foreign", b"a letter", &[]);
    assert!(!is_fine);
    assert!(text.contains("this is no recording"), "{text}");
}
