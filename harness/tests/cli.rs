//! The command line: what it says of arguments that make no sense, and how it ends.
//!
//! Owns the commands `sim` and `scripts`; `replay` and `timeline` are tested beside what they show.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_almadia-harness"));
    command.args(arguments);
    command
}

/// The exit code, and what was said on both ways.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = program(arguments).output().expect("the program runs");
    said(output)
}

fn said(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("a text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// An empty folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // It is there if this has run before.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the target directory can be written");
    folder
}

#[test]
fn the_profiles_are_listed_without_seeds() {
    let (code, listed, _) = run(&["sim", "--list"]);
    assert_eq!(code, Some(0));
    assert!(listed.lines().any(|line| line == "five-leases"), "{listed}");
    let (code, _, error) = run(&["sim", "--seeds", "1", "--profile", "nope"]);
    assert_eq!(code, Some(2));
    assert!(
        error.contains("nope") && error.contains("--list"),
        "{error}"
    );
}

#[test]
fn runs_are_counted_and_not_seeds() {
    let last = u64::MAX.to_string();
    let (code, said, _) = run(&["sim", "--seeds", "1", "--from", &last]);
    assert_eq!(code, Some(0));
    assert!(said.ends_with("1 passed, 0 failed\n"), "{said}");
    let (code, _, error) = run(&["sim", "--seeds", "2", "--from", &last]);
    assert_eq!(code, Some(2));
    assert!(error.contains(&last), "{error}");
}

/// A failing run is told with the command that makes it again, and what is left of it is kept.
#[test]
fn a_failing_run_is_kept_and_can_be_repeated() {
    let folder = folder("cli-failing");
    let mut command = program(&["sim", "--seeds", "4", "--profile", "acknowledges-early"]);
    let output = command.current_dir(&folder).output();
    let (code, text, _) = said(output.expect("the program runs"));
    assert_eq!(code, Some(1), "{text}");
    let again = text
        .lines()
        .find_map(|line| line.split_once("again: almadia-harness "));
    let (_, again) = again.expect("a command");
    let arguments: Vec<&str> = again.split(' ').collect();
    let seed = arguments[arguments.len() - 3];
    let (code, same, _) = run(&[arguments.as_slice(), &["--quick"]].concat());
    assert_eq!(code, Some(1), "{same}");
    assert_eq!(same.lines().next(), text.lines().next());
    for ending in ["txt", "trace"] {
        let file = folder.join(format!("almadia-sim-acknowledges-early-{seed}.{ending}"));
        assert!(file.is_file(), "{}", file.display());
    }
}

/// Whoever reads only the first lines gets no panic after them.
#[test]
fn nobody_needs_to_read_on() {
    let mut command = program(&["sim", "--list"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    let (code, _, error) = said(output);
    // It may have ended before the pipe was closed.
    assert!(matches!(code, Some(0 | 141)), "{code:?}");
    assert_eq!(error, "");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let (code, _, error) = run(&["scripts", "no-such-folder"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("no-such-folder"), "{error}");
    let (code, _, error) = run(&["replay", "no-such-file"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("no-such-file"), "{error}");
}

#[test]
fn a_script_of_nothing_fails() {
    let folder = folder("cli-scripts");
    fs::write(folder.join("empty.txt"), "# cluster 3\n").expect("it can be written");
    let (code, text, _) = run(&["scripts", folder.to_str().expect("a text")]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("there is no directive in it"), "{text}");
}
