//! The short form of `almadia-store check`, and that it notices what it looks for.

use std::process::{Command, Output};

fn check(more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_almadia-store"))
        .arg("check")
        .args(more)
        .output()
        .expect("the program starts")
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().last().unwrap_or_default().to_owned()
}

/// Processes are killed, stand still and are cut off, logs are torn, members change: nothing is lost.
#[test]
fn clients_see_one_copy() {
    let output = check(&["--seconds", "15", "--nodes", "3"]);
    let last = last_line(&output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        last.starts_with("ok: ") && last.ends_with("0 lost, linearizable"),
        "{last}\n{said}"
    );
}

/// Reads of what a node happens to have applied are not linearizable, and that is found out.
#[test]
fn stale_reads_are_noticed() {
    // Links that are slow or cut make them stale; which ones there are is left to chance.
    for seed in 1..=5 {
        let seed = seed.to_string();
        let output = check(&[
            "--seconds",
            "8",
            "--nodes",
            "3",
            "--reads",
            "stale",
            "--seed",
            &seed,
        ]);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("is not linearizable"), "{said}");
            return;
        }
    }
    panic!("nobody noticed");
}
