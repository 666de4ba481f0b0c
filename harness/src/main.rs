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
    Replay(cli::replay::Arguments),
    Scripts(cli::scripts::Arguments),
    Model(cli::model::Arguments),
    Sim(cli::sim::Arguments),
    Timeline(cli::timeline::Arguments),
    Storage(cli::storage::Arguments),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Replay(arguments) => cli::replay::run(&arguments),
        Command::Scripts(arguments) => cli::scripts::run(&arguments),
        Command::Model(arguments) => cli::model::run(&arguments),
        Command::Sim(arguments) => cli::sim::run(&arguments),
        Command::Timeline(arguments) => cli::timeline::run(&arguments),
        Command::Storage(arguments) => cli::storage::run(&arguments),
    }
}
