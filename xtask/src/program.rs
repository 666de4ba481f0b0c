//! Programs that cargo builds.
//!
//! Owns how one is asked for, and where it is found. Knows nothing of what it is for.

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, Stdio};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Has cargo build the one program that it is asked for, and tells where that is.
pub(crate) fn build(cargo: &mut Command) -> Outcome<PathBuf> {
    let built = cargo
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()?;
    if !built.status.success() {
        return Err("the program does not build".into());
    }
    let said = String::from_utf8(built.stdout)?;
    let program = said.rsplit_once("\"executable\":\"");
    let program = program.and_then(|(_, rest)| rest.split('"').next());
    Ok(program.ok_or("cargo built no program")?.into())
}
