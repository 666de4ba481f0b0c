//! The grammar of script files.
//!
//! Owns directives, their arguments and the way they are written. Must not know what they mean, nor
//! anything of Raft.
//!
//! A file is a sequence of directives. Blank lines between them, and lines that begin with `#`, do
//! not count.
//!
//! ```text
//! command key key=value key=(value, value) \
//!     key=
//! any input
//! ----
//! the expected output, up to a blank line
//! ```
//!
//! An output with blank lines stands between two pairs of lines `----`.

use std::iter::Peekable;
use std::ops::Range;
use std::str::Lines;

use thiserror::Error;

const SEPARATOR: &str = "----";

/// A directive as the file has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directive {
    /// The line on which it begins, counted from one.
    pub line: usize,
    /// Its first word.
    pub command: String,
    /// What follows on the same line.
    pub arguments: Vec<Argument>,
    /// The lines down to the separator, without white space around them.
    pub input: String,
    /// The lines behind the separator. Each ends in a line break.
    pub expected: String,
    /// Where these lines are in the file, counted from zero.
    pub expected_lines: Range<usize>,
}

impl Directive {
    /// The first argument with this key.
    #[must_use]
    pub fn argument(&self, key: &str) -> Option<&Argument> {
        self.arguments.iter().find(|argument| argument.key == key)
    }

    /// The argument at this position, counted from zero; `name` is what it is missed as.
    ///
    /// # Errors
    ///
    /// If there are fewer.
    pub fn argument_at(
        &self,
        position: usize,
        name: &'static str,
    ) -> Result<&Argument, BadDirective> {
        let argument = self.arguments.get(position);
        argument.ok_or(BadDirective::MissingArgument(name))
    }
}

/// An argument: a key that has no value (`key`), one value (`key=value`, which may be empty), or a
/// list of them (`key=(value, value)`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Argument {
    /// What stands before the `=`.
    pub key: String,
    /// What stands after it.
    pub values: Vec<String>,
}

impl Argument {
    /// The only value.
    ///
    /// # Errors
    ///
    /// If there is none or more than one.
    pub fn value(&self) -> Result<&str, BadDirective> {
        match self.values.as_slice() {
            [value] => Ok(value),
            _ => Err(BadDirective::NotOneValue(self.key.clone())),
        }
    }

    /// The only value, as a truth value in any of the spellings `true`, `True`, `TRUE`, `t`, `T`
    /// and `1`, or the same of `false`.
    ///
    /// # Errors
    ///
    /// If there is not exactly one value, or it is spelt otherwise.
    pub fn boolean(&self) -> Result<bool, BadDirective> {
        self.boolean_in(self.value()?)
    }

    /// A truth value that stands in this argument: the key, or a value.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn boolean_in(&self, text: &str) -> Result<bool, BadDirective> {
        match text {
            "true" | "True" | "TRUE" | "t" | "T" | "1" => Ok(true),
            "false" | "False" | "FALSE" | "f" | "F" | "0" => Ok(false),
            other => Err(self.bad_value(other, "true or false")),
        }
    }

    /// The only value, as a number.
    ///
    /// # Errors
    ///
    /// If there is not exactly one value, or it is no number.
    pub fn number(&self) -> Result<u64, BadDirective> {
        self.number_in(self.value()?)
    }

    /// A number that stands in this argument: the key, or a value.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn number_in(&self, text: &str) -> Result<u64, BadDirective> {
        number(text).map_err(|_| self.bad_value(text, "a number"))
    }

    /// The error that `value`, one of the values here, is not what is `wanted`.
    #[must_use]
    pub fn bad_value(&self, value: &str, wanted: &'static str) -> BadDirective {
        BadDirective::BadValue {
            key: self.key.clone(),
            value: value.to_owned(),
            wanted,
        }
    }
}

/// Why a directive makes no sense to the one who is to execute it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BadDirective {
    /// There is no such command.
    #[error("unknown command {0}")]
    UnknownCommand(String),
    /// The command has no such argument.
    #[error("unknown argument {0}")]
    UnknownArgument(String),
    /// The command needs an argument that is not there.
    #[error("the argument {0} is missing")]
    MissingArgument(&'static str),
    /// There is no value, or several, where one is needed.
    #[error("the argument {0} needs exactly one value")]
    NotOneValue(String),
    /// A value is not what it must be.
    #[error("the argument {key} has the value {value:?}, which is not {wanted}")]
    BadValue {
        /// The argument's key.
        key: String,
        /// The value.
        value: String,
        /// What it must be.
        wanted: &'static str,
    },
}

/// Why a text is no number.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NumberError {
    /// There is something else than digits, or nothing.
    #[error("invalid syntax")]
    Syntax,
    /// It is too large.
    #[error("value out of range")]
    Range,
}

/// Reads a number: decimal digits and nothing else, not even a sign.
///
/// # Errors
///
/// If the text is no such number.
pub fn number(text: &str) -> Result<u64, NumberError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NumberError::Syntax);
    }
    text.parse().map_err(|_| NumberError::Range)
}

/// Why a text is no script.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseError {
    /// A directive's own line does not keep to the grammar.
    #[error("line {line}: the directive is malformed from column {column} on: {text}")]
    Malformed {
        /// The line on which the directive begins, counted from one.
        line: usize,
        /// Where the grammar is left, in bytes, counted from one.
        column: usize,
        /// The directive, continuation lines joined.
        text: String,
    },
    /// No separator follows the directive, so nothing tells the output that it must have.
    #[error("line {line}: no line ---- follows the directive")]
    NoSeparator {
        /// The line on which the directive begins.
        line: usize,
    },
    /// The expected output begins with a second separator, and two more do not follow.
    #[error("line {line}: the expected output is not closed by two lines ----")]
    Unclosed {
        /// The line on which the directive begins.
        line: usize,
    },
}

/// Reads the text of a whole file.
///
/// # Errors
///
/// If the text is no script.
pub fn parse(text: &str) -> Result<Vec<Directive>, ParseError> {
    let mut reader = Reader {
        lines: text.lines().peekable(),
        line: 0,
    };
    let mut directives = Vec::new();
    while let Some(first) = reader.next() {
        let line = reader.line;
        if first.trim_start().starts_with('#') {
            continue;
        }
        let whole = reader.joined(first.trim());
        if whole.trim().is_empty() {
            continue;
        }
        let (command, arguments) =
            DirectiveLine::new(&whole)
                .read()
                .map_err(|column| ParseError::Malformed {
                    line,
                    column,
                    text: whole.clone(),
                })?;
        let input = reader.input().ok_or(ParseError::NoSeparator { line })?;
        let begin = reader.line;
        let (expected, end) = reader.expected().ok_or(ParseError::Unclosed { line })?;
        directives.push(Directive {
            line,
            command,
            arguments,
            input,
            expected,
            expected_lines: begin..end,
        });
    }
    Ok(directives)
}

/// The lines of a file, one after the other.
struct Reader<'a> {
    lines: Peekable<Lines<'a>>,
    /// The number of the line that was read last.
    line: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let line = self.lines.next()?;
        self.line += 1;
        Some(line)
    }

    /// The directive that begins with `first`, with the lines that continue it.
    fn joined(&mut self, first: &str) -> String {
        let mut whole = first.to_owned();
        while whole.ends_with('\\') {
            let Some(more) = self.next() else { break };
            whole.pop();
            whole.push(' ');
            whole.push_str(more.trim());
        }
        whole
    }

    /// The lines down to the separator; `None` if there is none.
    fn input(&mut self) -> Option<String> {
        let mut input = String::new();
        loop {
            match self.next()? {
                SEPARATOR => return Some(input.trim().to_owned()),
                line => push_line(&mut input, line),
            }
        }
    }

    /// The lines behind the separator, and how many lines there are in the file up to their end;
    /// `None` if they should be closed and are not.
    fn expected(&mut self) -> Option<(String, usize)> {
        let mut expected = String::new();
        if self.lines.peek() == Some(&SEPARATOR) {
            self.next();
            loop {
                let line = self.next()?;
                if line == SEPARATOR && self.lines.peek() == Some(&SEPARATOR) {
                    self.next();
                    return Some((expected, self.line));
                }
                push_line(&mut expected, line);
            }
        }
        let mut end = self.line;
        while let Some(line) = self.next().filter(|line| !line.trim().is_empty()) {
            push_line(&mut expected, line);
            end = self.line;
        }
        Some((expected, end))
    }
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// A directive's own line, and how far it has been read.
struct DirectiveLine<'a> {
    whole: &'a str,
    rest: &'a str,
}

impl<'a> DirectiveLine<'a> {
    fn new(line: &'a str) -> Self {
        let whole = line.trim();
        Self { whole, rest: whole }
    }

    /// The command and the arguments, or the column at which the grammar is left.
    fn read(mut self) -> Result<(String, Vec<Argument>), usize> {
        let command = self.until(&[' ']).to_owned();
        let mut arguments = Vec::new();
        self.skip_space();
        while !self.rest.is_empty() {
            let argument = self.argument();
            arguments.push(argument.ok_or(self.whole.len() - self.rest.len() + 1)?);
            self.skip_space();
        }
        Ok((command, arguments))
    }

    fn argument(&mut self) -> Option<Argument> {
        let key = self.until(&[' ', '=']);
        if key.is_empty() {
            return None;
        }
        let values = if !self.skip('=') {
            Vec::new()
        } else if self.skip('(') {
            self.list()?
        } else {
            vec![self.until(&[' ']).to_owned()]
        };
        Some(Argument {
            key: key.to_owned(),
            values,
        })
    }

    /// The values up to the closing parenthesis. Those that are opened within a value belong to it.
    fn list(&mut self) -> Option<Vec<String>> {
        let mut values = Vec::new();
        loop {
            let end = end_of_value(self.rest)?;
            let (value, rest) = self.rest.split_at(end);
            values.push(value.to_owned());
            self.rest = rest;
            let is_last = self.skip(')');
            if is_last {
                return Some(values);
            }
            self.skip(',');
            self.skip_space();
        }
    }

    /// Reads up to the first of these characters, or to the end.
    fn until(&mut self, stops: &[char]) -> &'a str {
        let end = self.rest.find(stops).unwrap_or(self.rest.len());
        let (read, rest) = self.rest.split_at(end);
        self.rest = rest;
        read
    }

    /// Reads this character, if it is the next one.
    fn skip(&mut self, expected: char) -> bool {
        let rest = self.rest.strip_prefix(expected);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

/// Where a value of a list ends: at a comma or a closing parenthesis that no opening one in the
/// value goes with.
fn end_of_value(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    text.char_indices().find_map(|(at, character)| {
        match character {
            ',' | ')' if depth == 0 => return Some(at),
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        None
    })
}
