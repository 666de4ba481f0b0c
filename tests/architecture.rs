//! Holds the source to what `ARCHITECTURE.md` promises of it. Owns the promises that no lint knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file of the core: its path below `src/`, and its text.
fn sources() -> Vec<(String, String)> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                collect(&path, files);
            } else {
                files.push(path);
            }
        }
    }
    let source = root().join("src");
    let mut files = Vec::new();
    collect(&source, &mut files);
    files.sort();
    assert!(files.len() > 15, "the core's sources are found");
    files
        .into_iter()
        .map(|file| {
            let name = file
                .strip_prefix(&source)
                .expect("below src")
                .display()
                .to_string();
            (
                name,
                fs::read_to_string(&file).expect("the file can be read"),
            )
        })
        .collect()
}

/// The lines of code: no comments, no documentation.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or(line))
}

#[test]
fn every_file_says_what_it_owns_and_is_short() {
    for (name, text) in sources() {
        assert!(
            text.starts_with("//! "),
            "{name} does not begin with what it owns"
        );
        assert!(text.lines().count() <= 600, "{name} is over 600 lines");
    }
}

#[test]
fn only_raft_rs_assigns_the_role() {
    for (name, text) in sources() {
        let assigns = code(&text).any(|line| line.contains(".role = "));
        assert_eq!(assigns, name == "raft.rs", "{name}");
    }
}

#[test]
fn the_core_has_no_hash_map_no_clock_and_no_thread() {
    for (name, text) in sources() {
        for word in [
            "HashMap",
            "HashSet",
            "Instant",
            "SystemTime",
            "thread_rng",
            "Mutex",
        ] {
            assert!(
                !code(&text).any(|line| line.contains(word)),
                "{name} names {word}"
            );
        }
    }
}

#[test]
fn quorum_and_membership_know_nothing_else() {
    for (name, text) in sources() {
        let allowed: &[&str] = match name.as_str() {
            "quorum.rs" => &["types"],
            "membership.rs" => &["types", "quorum"],
            _ => continue,
        };
        for line in code(&text).filter(|line| line.contains("crate::")) {
            let known = allowed
                .iter()
                .any(|module| line.contains(&format!("crate::{module}")));
            assert!(known, "{name}: {line}");
        }
    }
}

/// Events are told in passing: they must not drown the protocol.
#[test]
fn lines_that_tell_events_are_at_most_a_twentieth_of_the_protocol() {
    let (mut all, mut telling) = (0, 0);
    for (name, text) in sources() {
        if name != "raft.rs" && !name.starts_with("raft/") {
            continue;
        }
        let mut is_telling = false;
        for line in code(&text).filter(|line| !line.trim().is_empty()) {
            all += 1;
            is_telling |= line.contains("tell(");
            if is_telling {
                telling += 1;
                is_telling = ![";", "),"].iter().any(|end| line.trim_end().ends_with(end));
            }
            assert!(!line.contains("slog"), "{name} logs: {line}");
        }
    }
    assert!(telling > 10, "the events are found");
    assert!(telling * 20 <= all, "{telling} of {all} lines");
}

#[test]
fn every_deviation_is_explained_once_and_tagged_somewhere() {
    let numbers = |text: &str, mark: &str| -> BTreeSet<u32> {
        text.match_indices(mark)
            .filter_map(|(at, _)| {
                let rest = &text[at + mark.len()..];
                rest.split(|c: char| !c.is_ascii_digit())
                    .next()?
                    .parse()
                    .ok()
            })
            .collect()
    };
    let document = fs::read_to_string(root().join("docs/deviations.md")).expect("the document");
    let explained = numbers(&document, "\n## D");
    let tagged: BTreeSet<u32> = sources()
        .iter()
        .flat_map(|(_, text)| numbers(text, "Deviation D"))
        .collect();
    assert_eq!(explained, tagged);
    assert!(!tagged.is_empty());
}

#[test]
fn the_papers_stay_readable() {
    for (name, most) in [("README.md", 150), ("ARCHITECTURE.md", 300)] {
        let lines = fs::read_to_string(root().join(name))
            .expect("the paper")
            .lines()
            .count();
        assert!(lines <= most, "{name} has {lines} lines");
    }
}

/// A path in back quotes that ends in `/` or in a file's ending, from the root or from `src/`.
#[test]
fn the_papers_name_only_files_that_exist() {
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/deviations.md",
    ] {
        let text = fs::read_to_string(root().join(name)).expect("the paper");
        for path in text.split('`').skip(1).step_by(2) {
            let is_path = path.ends_with('/') || path.ends_with(".rs") || path.ends_with(".md");
            if !is_path || path.contains(['*', '{', ' ']) {
                continue;
            }
            let places = ["", "src", "src/raft"].map(|folder| root().join(folder).join(path));
            assert!(
                places.iter().any(|place| place.exists()),
                "{name} names {path}"
            );
        }
    }
}
