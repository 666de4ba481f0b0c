//! almadia beside its peers: `cargo bench --bench peers`.
//!
//! Owns nothing but the call of the programs, which live in a workspace member of their own, so that
//! nobody builds the peers who does not want to see them. Arguments are names of workloads, or beginnings
//! of them.

#[path = "common/cargo.rs"]
mod cargo;

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(mut arguments) = cargo::arguments() else {
        return ExitCode::SUCCESS;
    };
    arguments.retain(|argument| !argument.starts_with('-'));
    let run = |program| cargo::call(&["run", "--profile", "bench", "--bin", program], &arguments);
    let programs = ["peers", "peers-memory", "peers-groups", "peers-others"];
    if programs.into_iter().all(run) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
