//! The commands of the key-value store and their one form: a line of text.
//!
//! Owns the grammar. The same text is read from the input and carried by the log, so there is one
//! parser. Knows nothing of Raft.

use std::fmt;
use std::io::{self, BufRead};

/// A command, without its place in the order of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Put { key: String, value: String },
    Delete { key: String },
    Get { key: String },
}

impl Command {
    /// Reads one line that is neither blank nor a comment. The error says what is wrong with it.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let (verb, rest) = split_word(line.trim());
        let (key, value) = split_word(rest);
        if !matches!(verb, "put" | "del" | "get") {
            return Err(format!(
                "unknown command `{verb}`; use `put KEY VALUE`, `del KEY` or `get KEY`"
            ));
        }
        if key.is_empty() {
            return Err(format!("`{verb}` needs a key"));
        }
        let key = key.to_owned();
        match (verb, value) {
            ("put", "") => Err("`put` needs a value after the key".to_owned()),
            ("put", value) => Ok(Self::Put {
                key,
                value: value.to_owned(),
            }),
            ("del", "") => Ok(Self::Delete { key }),
            ("get", "") => Ok(Self::Get { key }),
            (_, extra) => Err(format!("`{verb}` takes one key, and `{extra}` follows it")),
        }
    }
}

/// The form that [`Command::parse`] reads.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value } => write!(f, "put {key} {value}"),
            Self::Delete { key } => write!(f, "del {key}"),
            Self::Get { key } => write!(f, "get {key}"),
        }
    }
}

/// The first word of a text, and the rest without the space between.
pub(crate) fn split_word(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (text, ""),
    }
}

/// Reads all commands of an input. A line that is none is reported on standard error with its
/// number, and skipped.
pub(crate) fn read_commands(input: impl BufRead) -> io::Result<Vec<Command>> {
    let mut commands = Vec::new();
    for (position, line) in input.split(b'\n').enumerate() {
        let line = line?;
        let parsed = match std::str::from_utf8(&line) {
            Ok(text) if text.trim().is_empty() || text.trim_start().starts_with('#') => continue,
            Ok(text) => Command::parse(text),
            Err(_) => Err("not UTF-8 text".to_owned()),
        };
        match parsed {
            Ok(command) => commands.push(command),
            Err(problem) => eprintln!("line {}: {problem}; skipped", position + 1),
        }
    }
    Ok(commands)
}

/// The built-in workload: `count` commands over a few hundred keys, the same ones in every run.
pub(crate) fn built_in_workload(count: u64) -> Vec<Command> {
    let mut state = 0x5eed_u64;
    // A linear congruential generator (Knuth's constants); its high bits are random enough here.
    let mut random_below = move |bound: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let command = |number: u64| {
        let key = format!("key{}", random_below(300));
        match random_below(10) {
            0 => Command::Delete { key },
            1 | 2 => Command::Get { key },
            _ => Command::Put {
                key,
                value: format!("value {number}"),
            },
        }
    };
    (1..=count).map(command).collect()
}
