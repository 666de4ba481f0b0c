//! Whether the recorder knows all there is: it is compared with the core's sources.
//!
//! Owns the search for what no compiler tells: methods that change a node, and private fields.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{exact, full_life, replay_to};

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of the public methods that take `&mut self`.
fn changing_methods(source: &str) -> BTreeSet<String> {
    let mut methods = BTreeSet::new();
    for part in source
        .split("pub fn ")
        .chain(source.split("pub const fn "))
        .skip(1)
    {
        let signature = part.split(['{', ';']).next().unwrap_or_default();
        if signature.contains("&mut self") {
            let end = signature.find(['(', '<']).expect("a method has arguments");
            methods.insert(signature[..end].to_owned());
        }
    }
    methods
}

#[test]
fn every_method_that_changes_a_node_is_recorded_and_was_called_here() {
    let mut methods = changing_methods(&read("../src/raw_node.rs"));
    assert!(methods.len() > 20, "the methods are found: {methods:?}");
    assert!(
        methods.contains("set_priority"),
        "also those that are const"
    );
    // Another way to do what `tick` does, for tests.
    assert!(methods.remove("tick_in_full"));
    assert_eq!(changing_methods(&read("src/recorder.rs")), methods);
    // What is written to the storage is no input; what it answers is recorded.
    assert!(methods.remove("storage_mut"));
    let (recording, node) = full_life(exact());
    let outcome = replay_to(recording, &node);
    let mut called: BTreeSet<String> = outcome
        .methods()
        .iter()
        .map(|&method| method.to_owned())
        .collect();
    assert!(called.remove("new"));
    assert_eq!(called, methods);
}

/// The names behind `before` in the block of code that begins with `head`.
fn names(source: &str, head: &str, tail: &str, before: &str) -> BTreeSet<String> {
    let block = source.split(head).nth(1).expect("the block is found");
    let block = block.split(tail).next().unwrap_or_default();
    let lines = block.lines().filter_map(|line| {
        let name = line.trim().strip_prefix(before)?;
        let is_comment = name.starts_with("//");
        let end = name.find([':', ','])?;
        (!is_comment).then(|| name[..end].to_owned())
    });
    lines.collect()
}

#[test]
fn every_setting_is_recorded() {
    let config = read("../src/config.rs");
    let mut settings = names(&config, "pub struct Config {", "\n}", "pub(crate) ");
    assert!(settings.len() > 15, "the settings are found: {settings:?}");
    // Recorded before the others, because they are set in ways of their own.
    assert!(settings.remove("id") && settings.remove("incarnation"));
    let coding = read("src/recorder/coding/core.rs");
    assert_eq!(names(&coding, "\ncoded_config!(", ");", ""), settings);
}

#[test]
fn every_obligation_is_hashed() {
    let ready = read("../src/ready.rs");
    let obligations = names(&ready, "pub struct Ready {", "\n}", "pub ");
    assert!(
        obligations.len() > 9,
        "the obligations are found: {obligations:?}"
    );
    let outcome = read("src/recorder/outcome.rs");
    let hashed = outcome
        .split("impl Hash for Said")
        .nth(1)
        .expect("it is there");
    let hashed = hashed.split("\n}").next().unwrap_or_default();
    let hashed: String = hashed.split_whitespace().collect();
    for obligation in obligations {
        assert!(
            hashed.contains(&format!("ready.{obligation}")),
            "{obligation}"
        );
    }
}
