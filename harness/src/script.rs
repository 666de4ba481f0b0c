//! Scripts: text files of directives, each followed by the output that it must have.
//!
//! Owns the running of a whole file and the comparison of outputs. Must not know what any directive
//! means; a family of scripts brings that along as [`Commands`]:
//!
//! * [`QuorumCommands`] for etcd/raft's scripts on majorities and votes,
//! * [`ConfChangeCommands`] for those on changes of membership,
//! * [`InteractionCommands`] for those in which nodes talk to each other,
//! * [`ScenarioCommands`] for transcripts of this project's own.
//!
//! [`folder`] runs all that there are in a folder.
//!
//! ```
//! use almadia_harness::script::{QuorumCommands, run};
//!
//! let text = "vote cfg=(1, 2, 3) votes=(y, _, y)\n----\nVoteWon\n";
//! let outcomes = run(text, &mut QuorumCommands::default())?;
//! assert!(outcomes.iter().all(|outcome| outcome.passed()));
//! # Ok::<(), almadia_harness::script::ParseError>(())
//! ```

mod confchange;
mod family;
pub mod folder;
pub mod interaction;
mod parse;
mod quorum;
mod scenario;

use std::fmt;

pub use self::confchange::ConfChangeCommands;
pub use self::family::{Family, Strength};
pub use self::interaction::InteractionCommands;
pub use self::parse::{Argument, BadDirective, Directive, NumberError, ParseError, number, parse};
pub use self::quorum::{Acknowledged, Arithmetic, QuorumCommands, Votes};
pub use self::scenario::ScenarioCommands;

/// What gives the directives of one family of scripts their meaning.
///
/// The value carries whatever one directive leaves behind for the next, so each file starts with a
/// fresh one.
pub trait Commands {
    /// Does what the directive says, and returns its output. What fails in a way that a script can
    /// expect is output too.
    ///
    /// # Errors
    ///
    /// If the directive makes no sense, which no script can expect.
    fn execute(&mut self, directive: &Directive) -> Result<String, BadDirective>;
}

/// What came of one directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The line of the file on which the directive begins, counted from one.
    pub line: usize,
    /// The directive's command.
    pub command: String,
    /// The output that the script expects.
    pub expected: String,
    /// The output that there was, ending in a line break.
    pub actual: Result<String, BadDirective>,
}

impl Outcome {
    /// Whether there was the output that the script expects, to the letter.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.actual.as_ref() == Ok(&self.expected)
    }
}

/// Shows the command and both outputs.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.command)?;
        write!(f, "expected:\n{}", self.expected)?;
        match &self.actual {
            Ok(actual) => write!(f, "actual:\n{actual}"),
            Err(error) => writeln!(f, "actual:\nthe directive is wrong: {error}"),
        }
    }
}

/// Runs the text of a whole file, and returns what came of each directive, in order. A directive
/// that does not pass does not keep the following ones from being run.
///
/// # Errors
///
/// If the text is no script; then nothing of it is run.
pub fn run(text: &str, commands: &mut impl Commands) -> Result<Vec<Outcome>, ParseError> {
    let directives = parse(text)?;
    let outcomes = directives.into_iter().map(|directive| {
        let actual = commands.execute(&directive).map(end_line);
        Outcome {
            line: directive.line,
            command: directive.command,
            expected: directive.expected,
            actual,
        }
    });
    Ok(outcomes.collect())
}

/// The text of a file with the outputs that there were in place of those that it expects. What comes
/// of a directive without sense stays as it is. The outcomes are those of this text.
///
/// # Errors
///
/// If the text is no script.
pub fn with_actual_outputs(text: &str, outcomes: &[Outcome]) -> Result<String, ParseError> {
    let mut lines: Vec<&str> = text.lines().collect();
    for (directive, outcome) in parse(text)?.iter().zip(outcomes).rev() {
        if let Ok(actual) = &outcome.actual {
            lines.splice(directive.expected_lines.clone(), actual.lines());
        }
    }
    Ok(lines.join("\n") + "\n")
}

fn end_line(mut output: String) -> String {
    if !output.ends_with('\n') {
        output.push('\n');
    }
    output
}
