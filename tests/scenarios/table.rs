//! The tables of `docs/` held to the tests and the code that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// The names of all test functions of the workspace.
fn tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    rust_files(&root().join("tests"), &mut files);
    rust_files(&root().join("harness/tests"), &mut files);
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).expect("the file can be read");
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            is_test |= line == "#[test]";
            let name = line
                .strip_prefix("fn ")
                .and_then(|rest| rest.split('(').next());
            if let (true, Some(name)) = (is_test, name) {
                names.insert(name.to_owned());
                is_test = false;
            }
        }
    }
    assert!(names.len() > 300);
    names
}

/// The rows of a document's tables, as cells.
fn rows(document: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join(document)).expect("the document");
    text.lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("|---"))
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// What stands in back quotes in a cell.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_scenario_has_a_test_that_exists_or_a_reason() {
    let tests = tests();
    let mut ids = BTreeSet::new();
    for row in rows("docs/scenarios.md") {
        let [id, _, shown_by] = &row[..] else {
            panic!("{row:?} has no three cells");
        };
        if id == "id" {
            continue;
        }
        assert!(ids.insert(id.clone()), "{id} stands there twice");
        let has_reason = shown_by.contains("cannot arise")
            || shown_by.contains("out of scope")
            || shown_by.contains("a matter of measurement");
        let named: Vec<&str> = quoted(shown_by)
            .filter(|name| name.len() > 12 && !name.contains([':', '/']))
            .collect();
        assert!(has_reason || !named.is_empty(), "{id} is shown by nothing");
        for name in named {
            assert!(tests.contains(name), "{id} names {name}, which is no test");
        }
    }
    let mut expected: Vec<String> = (1..=77).map(|number| format!("B{number:02}")).collect();
    expected.extend((1..=79).map(|number| format!("E{number}")));
    expected.extend((1..=15).map(|number| format!("N{number}")));
    expected.extend(["E72b", "N8b", "N13b", "P1"].map(str::to_owned));
    for id in expected {
        assert!(ids.contains(&id), "{id} is missing");
    }
}

/// Where the list itself is at hand, no id of it is forgotten.
#[test]
fn no_scenario_of_the_list_is_forgotten() {
    let Ok(list) = fs::read_to_string(root().join("../shared/scenarios.md")) else {
        println!("skipped: ../shared is not there");
        return;
    };
    let known: BTreeSet<String> = rows("docs/scenarios.md")
        .into_iter()
        .map(|row| row[0].clone())
        .collect();
    for line in list.lines() {
        let Some(rest) = line.strip_prefix("- ") else {
            continue;
        };
        let id: String = rest
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        let is_id = id.len() > 1
            && id.starts_with(['B', 'E'])
            && id[1..].starts_with(|c: char| c.is_ascii_digit());
        assert!(
            !is_id || known.contains(&id),
            "{id} is not in docs/scenarios.md"
        );
    }
}
