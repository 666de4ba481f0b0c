//! Whole folders of scripts.
//!
//! Owns the finding of files, the counting of what came of them, and the list of those that are
//! known to differ. Must not know what any of them says.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use super::{Family, Outcome, Strength};

/// What came of one file.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The file.
    pub path: PathBuf,
    /// Its directives, or why it could not be run to its end.
    pub result: Result<Vec<Judged>, String>,
}

/// What came of one directive, and what that is worth.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What came of it.
    pub outcome: Outcome,
    /// Whether the state is the expected one.
    pub agrees_in_state: bool,
    /// Whether the whole output is the expected one.
    pub agrees: bool,
}

/// Runs all scripts of a folder and of those in it, in the order of their paths. Scripts are the
/// files that end in `.txt`.
///
/// # Errors
///
/// If the folder or a file cannot be read.
pub fn check_folder(folder: &Path) -> io::Result<Vec<Checked>> {
    let mut files = Vec::new();
    find_scripts(folder, &mut files)?;
    files.sort();
    let checked = files.into_iter().map(|path| {
        let text = fs::read_to_string(&path)?;
        let result = check(&text);
        Ok(Checked { path, result })
    });
    checked.collect()
}

fn find_scripts(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_scripts(&path, files)?;
        } else if path.extension().is_some_and(|ending| ending == "txt") {
            files.push(path);
        }
    }
    Ok(())
}

fn check(text: &str) -> Result<Vec<Judged>, String> {
    // A broken assertion of the core is the end of one script, not of all.
    let result = catch_unwind(|| Family::run(text));
    let result = result.map_err(|_| "an assertion is broken".to_owned())?;
    let (family, outcomes) = result.map_err(|error| error.to_string())?;
    if outcomes.is_empty() {
        return Err("there is no directive in it".to_owned());
    }
    let judged = outcomes.into_iter().map(|outcome| Judged {
        agrees_in_state: family.agrees(&outcome, Strength::State),
        agrees: family.agrees(&outcome, Strength::Transcript),
        outcome,
    });
    Ok(judged.collect())
}

impl Checked {
    /// The name of the file.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Whether the state is everywhere the expected one.
    #[must_use]
    pub fn passed(&self) -> bool {
        let judged = self.result.as_deref();
        judged.is_ok_and(|judged| judged.iter().all(|it| it.agrees_in_state))
    }

    /// The directives whose output is not the expected one.
    pub fn differences(&self) -> impl Iterator<Item = &Judged> {
        let judged = self.result.iter().flatten();
        judged.filter(|judged| !judged.agrees)
    }
}

/// One line: whether the state is right, and how many outputs are.
impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.path.display();
        let judged = match &self.result {
            Ok(judged) => judged,
            Err(error) => return write!(f, "{name}: state failed: {error}"),
        };
        let wrong = judged.iter().find(|it| !it.agrees_in_state);
        let state = match wrong {
            None => "passed".to_owned(),
            Some(wrong) => {
                format!(
                    "failed from line {} on ({})",
                    wrong.outcome.line, wrong.outcome.command
                )
            }
        };
        let equal = judged.iter().filter(|it| it.agrees).count();
        let all = judged.len();
        write!(f, "{name}: state {state}; transcript {equal} of {all}")
    }
}

/// The sum over many files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files in which the state is right.
    pub passed: usize,
    /// Files in which it is not.
    pub failed: usize,
    /// Directives whose whole output is the expected one.
    pub equal: usize,
    /// All directives that were run.
    pub directives: usize,
}

impl Totals {
    /// Counts.
    #[must_use]
    pub fn of(checked: &[Checked]) -> Self {
        let judged = || checked.iter().flat_map(|it| it.result.iter().flatten());
        let passed = checked.iter().filter(|it| it.passed()).count();
        Self {
            passed,
            failed: checked.len() - passed,
            equal: judged().filter(|it| it.agrees).count(),
            directives: judged().count(),
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            equal,
            directives,
        } = self;
        write!(
            f,
            "state: {passed} passed, {failed} failed; \
             transcript: {equal} of {directives} directives equal"
        )
    }
}

/// The scripts that a document explains to differ in state: in its section with the heading
/// `Where etcd's scripts differ`, each item of the list begins with the name of one in back quotes.
#[must_use]
pub fn known_to_differ(document: &str) -> BTreeSet<String> {
    let lines = document
        .lines()
        .skip_while(|line| *line != "## Where etcd's scripts differ")
        .skip(1)
        .take_while(|line| !line.starts_with("## "));
    let items = lines.filter_map(|line| line.strip_prefix("* `")?.split_once('`'));
    items.map(|(name, _)| name.to_owned()).collect()
}
