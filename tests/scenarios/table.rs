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

/// The tags by which rules are marked in the code.
fn tags(text: &str) -> BTreeSet<String> {
    let mut tags = BTreeSet::new();
    for mark in ["Raft ", "Thesis "] {
        for (at, _) in text.match_indices(mark) {
            let rest = &text[at + mark.len()..];
            let section: String = rest
                .chars()
                .take_while(|it| it.is_ascii_digit() || *it == '.')
                .collect();
            let section = section.trim_end_matches('.');
            if !section.is_empty() {
                tags.insert(format!("{mark}{section}"));
            }
        }
    }
    let named = [
        "Figure 2",
        "Election Safety",
        "Leader Append-Only",
        "Leader Completeness",
    ];
    tags.extend(
        named
            .iter()
            .filter(|tag| text.contains(**tag))
            .map(|tag| (*tag).to_owned()),
    );
    tags
}

#[test]
fn every_rule_stands_where_its_row_says_and_has_tests() {
    let tests = tests();
    let mut rules = 0;
    let mut known = BTreeSet::new();
    for row in rows("docs/protocol.md") {
        let [rule, source, code, shown_by] = &row[..] else {
            panic!("{row:?} has no four cells");
        };
        if rule == "rule" {
            continue;
        }
        rules += 1;
        let file = code.trim_matches('`');
        let text = fs::read_to_string(root().join("src").join(file)).expect("the code");
        assert!(
            tags(&text).contains(source),
            "{file} has no tag {source}: {rule}"
        );
        known.insert(source.clone());
        let named: Vec<&str> = quoted(shown_by).collect();
        assert!(!named.is_empty(), "{rule} has no test");
        for name in named {
            assert!(
                tests.contains(name),
                "{rule} names {name}, which is no test"
            );
        }
    }
    assert!(rules > 50);
    // And the other way round.
    let mut files = Vec::new();
    rust_files(&root().join("src/raft"), &mut files);
    files.extend(["raft.rs", "log.rs", "quorum.rs"].map(|file| root().join("src").join(file)));
    for file in files {
        let text = fs::read_to_string(&file).expect("the code");
        for tag in tags(&text) {
            let section = |tag: &str| {
                known
                    .iter()
                    .any(|it| it == tag || tag.starts_with(&format!("{it}.")))
            };
            let is_of_a_chapter = known.iter().any(|it| it.starts_with(&format!("{tag}.")));
            assert!(
                section(&tag) || is_of_a_chapter,
                "{} marks {tag}, which has no row",
                file.display()
            );
        }
    }
}
