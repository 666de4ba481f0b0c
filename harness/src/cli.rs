//! The commands of `almadia-harness`, a file for each.
//!
//! Owns what they have in common: how one ends that cannot write its report. A command succeeds, or
//! fails because it has found something; what keeps it from its work ends it with
//! [`NOTHING_DONE`].

pub(crate) mod model;
pub(crate) mod replay;
pub(crate) mod scripts;
pub(crate) mod sim;
pub(crate) mod storage;
pub(crate) mod timeline;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// The exit code where a command could not do what it was asked for.
pub(crate) const NOTHING_DONE: u8 = 2;

/// Runs a command that writes its report to the standard output.
pub(crate) fn reporting(run: impl FnOnce(&mut dyn Write) -> io::Result<ExitCode>) -> ExitCode {
    let mut out = io::stdout().lock();
    let result = run(&mut out);
    match result.and_then(|code| out.flush().map(|()| code)) {
        Ok(code) => code,
        Err(error) => unwritten(&error),
    }
}

/// The end of a command whose report cannot be written.
pub(crate) fn unwritten(error: &io::Error) -> ExitCode {
    /// What a shell says of a program that is ended because nobody reads on, as `head` does not.
    const NOBODY_READS: u8 = 141;
    if error.kind() == ErrorKind::BrokenPipe {
        return ExitCode::from(NOBODY_READS);
    }
    eprintln!("error: the report cannot be written: {error}");
    ExitCode::from(NOTHING_DONE)
}
