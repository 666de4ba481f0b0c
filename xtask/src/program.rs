//! Programs that cargo builds.
//!
//! Owns how one is asked for, and where it is found. Knows nothing of what it is for.

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, Stdio};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Has cargo build what it is asked for, and tells where the program of this name is: others may come of it
/// too.
pub(crate) fn build(name: &str, cargo: &mut Command) -> Outcome<PathBuf> {
    let built = cargo
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()?;
    if !built.status.success() {
        return Err("the program does not build".into());
    }
    let said = String::from_utf8(built.stdout)?;
    let name = format!("\"name\":\"{name}\"");
    let program = said
        .lines()
        .filter(|line| line.contains(&name))
        .filter_map(|line| line.split_once("\"executable\":\""))
        .find_map(|(_, rest)| rest.split('"').next());
    Ok(program.ok_or("cargo built no such program")?.into())
}
