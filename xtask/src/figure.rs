//! The figure of how costs grow.
//!
//! Owns where it lies. What is measured, and how it is drawn, is the business of the program `peers-growth`.

use std::error::Error;
use std::path::Path;
use std::process::Command;

/// Measures, prints the table, and draws.
pub(crate) fn run(root: &Path) -> Result<(), Box<dyn Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["run", "--quiet", "--profile", "bench"])
        .args(["--package", "almadia-peers", "--bin", "peers-growth", "--"])
        .args(["--svg", "docs/growth.svg"])
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err("nothing was drawn".into())
    }
}
