//! The layers one by one, beside those of raft-rs: `cargo bench --bench layers`.
//!
//! Owns nothing but the call of the bench of the same name, which lives in a workspace member of its own,
//! so that nobody builds raft-rs who does not want to see it. Arguments are criterion's.

#[path = "common/cargo.rs"]
mod cargo;

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(arguments) = cargo::arguments() else {
        return ExitCode::SUCCESS;
    };
    if cargo::call(&["bench", "--bench", "layers"], &arguments) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
