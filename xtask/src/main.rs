//! What developers run now and then: `cargo xtask mutants`, `bugs`, `lockstep`, `figure`,
//! `instructions`.
//!
//! Owns the command line. What a mutant is stands in `mutate.rs`, how they are run in `mutants.rs`; the
//! bugs are in `bugs.rs`, and how they are hunted in `hunt.rs`; those beside the rules of the comparison
//! with raft-rs are in `lockstep.rs`. What is drawn for the papers is in `figure.rs`, and instructions are
//! counted in `instructions.rs`.

mod bugs;
mod figure;
mod hunt;
mod instructions;
mod lockstep;
mod mutants;
mod mutate;
mod program;
mod tests;
mod tree;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask mutants [--jobs N] [--only TEXT]
       cargo xtask bugs [--only TEXT] [--by TOOL]
       cargo xtask lockstep [--only TEXT]
       cargo xtask figure
       cargo xtask instructions [--only TEXT] [--record]

mutants

Breaks the core's rules one at a time, and looks whether a test notices. All mutants are compiled
into one copy of the workspace, below target/mutants, and switched on one by one at run time. The
last line is `N mutants, C caught, T stopped, S survived`; the survivors are listed before it. Those
that were stopped ran ten times as long as without the mutant, or out of memory. Which test caught
which mutant stands in target/mutants/fates.txt.

  --jobs N      so many at once (default 2)
  --only TEXT   only mutants whose description contains TEXT

bugs
Puts bugs that other implementations have had into a copy of the core, below target/bugs, and prints
which tool of the test-kit finds each, after how many seeds or states. The last line is
`F of N bugs found`.

  --only TEXT   only bugs whose id contains TEXT
  --by TOOL     only by runs, model or tests

lockstep
Puts bugs into a copy of the core, below target/lockstep-bugs, that lie close to what the comparison
with raft-rs allows, and prints in which case it finds each. The last line is `F of N bugs found`.

  --only TEXT   only bugs whose id contains TEXT

figure
Measures how the cost of an entry grows, beside raft-rs, prints it, and draws docs/growth.svg. Takes
a minute, on a machine that does nothing else.

instructions
Counts under valgrind how many instructions each workload takes, and compares with the baseline in
peers/instructions.txt. Fails if a count has grown by more than 3 %, unless the baseline is another
compiler's.

  --only TEXT   only workloads whose name contains TEXT
  --record      make what is counted the baseline
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let commands = ["mutants", "bugs", "lockstep", "figure", "instructions"];
    if !commands.contains(&command.as_str()) {
        eprint!("{USAGE}");
        return ExitCode::FAILURE;
    }
    let (mut jobs, mut only, mut by) = (2, String::new(), String::new());
    let mut record = false;
    while let Some(argument) = arguments.next() {
        if argument == "--record" && command == "instructions" {
            record = true;
            continue;
        }
        let value = arguments.next();
        match (argument.as_str(), value) {
            ("--jobs", Some(value)) if value.parse().is_ok_and(|jobs: usize| jobs > 0) => {
                jobs = value.parse().unwrap_or(jobs);
            }
            ("--only", Some(value)) => only = value,
            ("--by", Some(value)) if hunt::TOOLS.contains(&value.as_str()) => by = value,
            (_, _) => {
                eprint!("{USAGE}");
                return ExitCode::FAILURE;
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let result = match command.as_str() {
        "bugs" => hunt::run(&root, &only, &by),
        "lockstep" => lockstep::run(&root, &only),
        "figure" => figure::run(&root),
        "instructions" => instructions::run(&root, &only, record),
        _ => mutants::run(&root, jobs, &only),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
