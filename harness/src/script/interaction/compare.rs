//! What of an output of an interaction script counts when it is compared.
//!
//! Owns which lines are logged, which show state and which are errors. Must not know how an output
//! came about.

/// The words that the lines begin with that etcd/raft's nodes have logged.
const LEVELS: [&str; 5] = ["DEBUG ", "INFO ", "WARN ", "ERROR ", "FATAL "];

/// The commands that show nothing but state.
const STATE: [&str; 4] = ["compact", "raft-log", "raft-state", "status"];

/// The lines, or their beginnings, in which work is shown. Entries and messages apart.
const WORK: [&str; 18] = [
    "<empty Ready>",
    "> ",
    "CommittedEntries:",
    "Entries:",
    "HardState ",
    "Lead:",
    "Messages:",
    "Processing:",
    "ReadStates ",
    "Ready MustSync=",
    "Responses:",
    "Snapshot ",
    "Snapshot: ",
    "]",
    "no append work to perform",
    "no apply work to perform",
    "no messages",
    "ok",
];

/// A text without what nodes have logged; `ok` if there is nothing else in it.
#[must_use]
pub fn without_log(text: &str) -> String {
    let is_logged = |line: &str| {
        let line = line.trim_start();
        LEVELS.iter().any(|level| line.starts_with(level))
    };
    let lines = text.split_inclusive('\n');
    let rest: String = lines.filter(|line| !is_logged(line)).collect();
    if rest.is_empty() {
        "ok\n".to_owned()
    } else {
        rest
    }
}

/// What a text says of state: all of it if that is what the command shows, else the errors in it.
#[must_use]
pub fn state_in(command: &str, text: &str) -> String {
    let text = without_log(text);
    if STATE.contains(&command) {
        return text;
    }
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| is_error(line))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Whether the line shows no work: then it can only be an error.
fn is_error(line: &str) -> bool {
    let line = line.strip_prefix("dropped: ").unwrap_or(line);
    let first_word = line.split(' ').next().unwrap_or(line);
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let is_entry = first_word
        .split_once('/')
        .is_some_and(|(term, index)| is_number(term) && is_number(index));
    let is_message = first_word.contains("->");
    let is_work = WORK.iter().any(|beginning| line.starts_with(beginning));
    !(line.is_empty() || is_entry || is_message || is_work)
}
