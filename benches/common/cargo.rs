//! How a bench at the root has a workspace member do its work.
//!
//! Owns the call of cargo, and what of the command line is passed on. Knows nothing of what is measured.

use std::process::Command;

/// The arguments that are meant for the bench; `None` if this runs as a test, which has nothing to say.
pub(crate) fn arguments() -> Option<Vec<String>> {
    let (ours, meant): (Vec<String>, _) = std::env::args()
        .skip(1)
        .partition(|argument| argument == "--bench");
    (!ours.is_empty()).then_some(meant)
}

/// Runs cargo, and tells whether it went well.
pub(crate) fn call(command: &[&str], arguments: &[String]) -> bool {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(command)
        .args(["--quiet", "--package", "almadia-peers"])
        .arg("--")
        .args(arguments)
        .status();
    match status {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("cargo could not be run: {error}");
            false
        }
    }
}
