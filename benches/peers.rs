//! almadia beside its peers: `cargo bench --bench peers`.
//!
//! Owns nothing but the call of the programs, which live in a workspace member of their own, so that
//! nobody builds the peers who does not want to see them. Arguments are names of workloads, or beginnings
//! of them.

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    // As a test it has nothing to say.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let run = |program| {
        let status = Command::new(&cargo)
            .args([
                "run",
                "--quiet",
                "--profile",
                "bench",
                "--package",
                "almadia-peers",
            ])
            .args(["--bin", program, "--"])
            .args(&wanted)
            .status();
        match status {
            Ok(status) => status.success(),
            Err(error) => {
                eprintln!("cargo could not be run: {error}");
                false
            }
        }
    };
    let programs = ["peers", "peers-memory", "peers-groups", "peers-others"];
    if programs.into_iter().all(run) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
