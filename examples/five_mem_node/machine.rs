//! The state machine: a key-value map, and the session that makes every command count once.
//!
//! Owns the application of commands, the snapshot of the result and its hash. Knows nothing of
//! nodes or leaders: equal commands in an equal order give equal machines everywhere.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;

use crate::command::{Command, split_word};

/// How many commands a client may have unanswered. The session remembers that many answers, so
/// whatever the client asks again, the first answer is still there.
pub(crate) const WINDOW: u64 = 1024;

/// The content of the store and the session of its one client.
///
/// The client numbers its commands from 1 without gaps, and repeats those that it has no answer to
/// when the leader changes. So one command can be in the log more than once, and the rule
/// (Thesis 6.3) is: only the next number in order is applied, lower ones are answered from
/// memory, higher ones are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StateMachine {
    map: BTreeMap<String, String>,
    /// The number of the last command applied.
    last_sequence: u64,
    /// The answers to the `get`s among the last [`WINDOW`] commands.
    answers: BTreeMap<u64, String>,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has taken effect, now or earlier; a `get` has an answer.
    Done { answer: Option<String> },
    /// A command before it is missing. It has no effect; the client will repeat both.
    Gap,
}

impl StateMachine {
    /// Applies the command with this number, unless it is not its turn.
    pub(crate) fn apply(&mut self, sequence: u64, command: Command) -> Outcome {
        if sequence > self.last_sequence + 1 {
            return Outcome::Gap;
        }
        if sequence == self.last_sequence + 1 {
            self.last_sequence = sequence;
            self.execute(sequence, command);
            self.answers = self
                .answers
                .split_off(&(sequence.saturating_sub(WINDOW) + 1));
        }
        let answer = self.answers.get(&sequence).cloned();
        Outcome::Done { answer }
    }

    /// How many commands have taken effect.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    fn execute(&mut self, sequence: u64, command: Command) {
        match command {
            Command::Put { key, value } => {
                self.map.insert(key, value);
            }
            Command::Delete { key } => {
                self.map.remove(&key);
            }
            Command::Get { key } => {
                let answer = match self.map.get(&key) {
                    Some(value) => format!("{key} = {value}"),
                    None => format!("{key} is not set"),
                };
                self.answers.insert(sequence, answer);
            }
        }
    }

    /// The whole machine as text, one item a line, in an order that is the same on every node.
    pub(crate) fn to_snapshot(&self) -> String {
        let mut text = format!("last {}\n", self.last_sequence);
        for (key, value) in &self.map {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "set {key} {value}");
        }
        for (sequence, answer) in &self.answers {
            let _ = writeln!(text, "answer {sequence} {answer}");
        }
        text
    }

    /// The machine that [`to_snapshot`](Self::to_snapshot) wrote.
    pub(crate) fn from_snapshot(data: &[u8]) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let mut machine = Self::default();
        for line in std::str::from_utf8(data)?.split_terminator('\n') {
            let (kind, rest) = split_word(line);
            let (first, second) = split_word(rest);
            match kind {
                "last" => machine.last_sequence = first.parse()?,
                "set" => {
                    machine.map.insert(first.to_owned(), second.to_owned());
                }
                "answer" => {
                    machine.answers.insert(first.parse()?, second.to_owned());
                }
                _ => return Err(format!("a snapshot has the unknown line `{line}`").into()),
            }
        }
        Ok(machine)
    }

    /// A hash of the content (FNV-1a, 64 bits): equal machines have equal hashes on all platforms.
    pub(crate) fn hash(&self) -> u64 {
        self.to_snapshot()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
    }

    /// The first line in which the snapshots of two machines differ, or `None` if they are equal.
    pub(crate) fn first_difference(&self, other: &Self) -> Option<(String, String)> {
        let (ours, theirs) = (self.to_snapshot(), other.to_snapshot());
        let (mut ours, mut theirs) = (ours.lines(), theirs.lines());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return None,
                (left, right) if left == right => {}
                (left, right) => {
                    let text = |line: Option<&str>| line.unwrap_or("nothing more").to_owned();
                    return Some((text(left), text(right)));
                }
            }
        }
    }
}
