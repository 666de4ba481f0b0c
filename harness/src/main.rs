//! The command line of the test-kit: `almadia-harness`.
//!
//! Owns the list of commands. What each of them does stands in its own file in `cli/`; all of it
//! uses the library's public API, so an embedder can do the same with a store of its own.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Finds out whether almadia keeps its promises.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Model(cli::model::Arguments),
    Sim(cli::sim::Arguments),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Model(arguments) => cli::model::run(&arguments),
        Command::Sim(arguments) => cli::sim::run(&arguments),
    }
}
