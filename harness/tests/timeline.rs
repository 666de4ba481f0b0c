//! The page that shows a run: that it stands alone, holds the whole trace, and that its parts fit.
//!
//! Owns what can be said of a page without a browser, and the command that makes it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use almadia::NodeId;
use almadia_harness::{Cluster, Trace, TraceRecorder, What, timeline};

const NASTY: &str = "</script><script>alert(1)</script><!-- {{script}} {{trace}} &amp; \"'\u{2028}";

fn recorded() -> Trace {
    let mut cluster = Cluster::new(3, 7);
    cluster.record("an election & more", Trace::DEFAULT_MAX_EVENTS);
    cluster.campaign(1);
    cluster.deliver_all();
    cluster.propose(1, "<b>bold</b>").expect("node 1 leads");
    cluster.settle();
    cluster.take_trace().expect("the run is recorded")
}

/// A trace in which everything that a user can write is nasty.
fn nasty() -> Trace {
    let recorder = TraceRecorder::new(NASTY, NASTY, 100);
    let text = || NASTY.to_owned();
    recorder.record(NodeId::new(1), What::Note { text: text() });
    recorder.violated(None, text());
    recorder.finish()
}

/// What stands between two marks, which must be there once.
fn between<'a>(page: &'a str, before: &str, after: &str) -> &'a str {
    assert_eq!(page.matches(before).count(), 1, "{before}");
    let (_, rest) = page.split_once(before).expect("counted");
    let (part, _) = rest.split_once(after).expect("the end of the part");
    part
}

fn embedded(page: &str) -> &str {
    between(
        page,
        "<script type=\"application/json\" id=\"trace\">",
        "</script>",
    )
}

/// The trace in the page as its file would be.
fn read_back(page: &str) -> Trace {
    let value: serde_json::Value = serde_json::from_str(embedded(page)).expect("JSON");
    let mut lines = value["header"].to_string();
    for event in value["events"].as_array().expect("a list") {
        lines += &format!("\n{event}");
    }
    Trace::read(lines.as_bytes()).expect("a trace")
}

#[test]
fn the_page_holds_the_whole_trace() {
    for trace in [recorded(), nasty()] {
        assert_eq!(read_back(&timeline(&trace)), trace);
    }
}

#[test]
fn the_page_needs_nothing_else() {
    let page = timeline(&recorded());
    for word in [
        "http:",
        "https:",
        "//cdn",
        "src=",
        "href=",
        "@import",
        "url(",
        "import ",
        "fetch(",
        "XMLHttpRequest",
        "WebSocket",
        "innerHTML",
        "eval(",
    ] {
        assert!(!page.contains(word), "the page has {word}");
    }
    // And the browser is told to load nothing, whatever the page says.
    assert!(page.contains("default-src 'none'"));
    assert!(!page.contains("{{"), "every part is in its place");
}

#[test]
fn nothing_in_a_trace_breaks_out_of_its_place() {
    let plain = timeline(&recorded());
    let page = timeline(&nasty());
    for tag in ["<script", "</script>", "<!--", "alert(1)</script"] {
        let expected = plain.matches(tag).count();
        assert_eq!(page.matches(tag).count(), expected, "{tag}");
    }
    assert!(!embedded(&page).contains('<'));
    let title = between(&page, "<title>", "</title>");
    assert!(title.starts_with("&lt;/script&gt;"), "{title}");
    // The marks of the page's own template are text like any other.
    assert!(
        title.contains("{{script}} {{trace}} &amp;amp; &quot;"),
        "{title}"
    );
}

fn parts() -> [(&'static str, String); 2] {
    let page = timeline(&recorded());
    let script = between(&page, "\"use strict\";\n", "</script>").to_owned();
    let body = between(&page, "<body>", "<script type").to_owned();
    [("script", script), ("body", body)]
}

/// The names that stand between a mark and the next quote.
fn names<'a>(text: &'a str, before: &str) -> BTreeSet<&'a str> {
    let found = text.split(before).skip(1);
    found.filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn every_element_that_the_script_asks_for_is_there() {
    let [(_, script), (_, body)] = parts();
    let mut there = names(&body, "id=\"");
    there.insert("trace");
    let asked = names(&script, "element(\"");
    assert!(asked.len() > 15, "the script's elements are found");
    let missing: Vec<_> = asked.difference(&there).collect();
    assert_eq!(missing, [] as [&&str; 0]);
}

/// A kind of event that is new must get words of its own, unless its text says all.
#[test]
fn every_kind_of_event_has_its_words() {
    let [(_, script), _] = parts();
    let describe = between(&script, "  describe(event) {", "\n  }\n");
    let source = fs::read_to_string(crate_file("src/trace/event.rs")).expect("the source");
    let kinds = between(&source, "pub enum What {", "\n}\n");
    let variants = kinds
        .lines()
        .filter(|line| {
            line.starts_with("    ") && line.trim_start().starts_with(char::is_uppercase)
        })
        .map(|line| line.trim().trim_end_matches([',', ' ', '{']).to_lowercase())
        .collect::<Vec<_>>();
    assert!(variants.len() > 18, "{variants:?}");
    for variant in variants {
        let is_described = describe.contains(&format!("case \"{variant}\""));
        let is_text = ["note", "read"].contains(&variant.as_str());
        assert_ne!(is_described, is_text, "{variant}");
    }
}

#[test]
fn every_kind_of_message_has_its_group() {
    let [(_, script), _] = parts();
    let groups = between(&script, "const MESSAGES = {", "\n};");
    let source = fs::read_to_string(crate_file("../src/message.rs")).expect("the source");
    let kinds = between(&source, "pub enum MessageKind {", "}");
    let kinds: Vec<&str> = kinds
        .split([',', '\n', ' '])
        .filter(|kind| !kind.is_empty())
        .collect();
    assert!(kinds.len() > 12, "{kinds:?}");
    for kind in kinds {
        assert!(groups.contains(&format!("\n  {kind}: {{")), "{kind}");
    }
}

fn crate_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

// --- The command ---

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("the target directory can be written");
    folder
}

fn command(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_almadia-harness"))
        .arg("timeline")
        .args(arguments)
        .output()
        .expect("the command starts")
}

fn refused(arguments: &[&Path]) -> String {
    let output = command(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(output.stdout.is_empty());
    stderr
}

fn save(trace: &Trace, path: &Path) {
    let file = fs::File::create(path).expect("the target directory can be written");
    trace.write(file).expect("a disk with some room");
}

#[test]
fn the_command_writes_the_page() {
    let folder = folder("timeline-page");
    let (source, page) = (folder.join("run.jsonl"), folder.join("picture.html"));
    let trace = recorded();
    save(&trace, &source);
    let output = command(&[&source, Path::new("-o"), &page]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        fs::read_to_string(&page).expect("the page"),
        timeline(&trace)
    );
    // Without a name it is beside the trace.
    assert_eq!(command(&[&source]).status.code(), Some(0));
    assert!(folder.join("run.html").is_file());
}

#[test]
fn a_file_that_is_no_good_is_an_error_that_says_what_to_do() {
    let folder = folder("timeline-errors");
    let stderr = refused(&[&folder.join("missing.jsonl")]);
    assert!(stderr.contains("missing.jsonl"), "{stderr}");
    assert!(stderr.contains("five_mem_node --trace FILE"), "{stderr}");

    let source = folder.join("other.jsonl");
    fs::write(&source, "{\"name\":\"x\"}\n").expect("the target directory can be written");
    let stderr = refused(&[&source]);
    assert!(stderr.contains("this is no trace"), "{stderr}");

    fs::write(&source, "{\"almadia_trace\":99}\n").expect("the target directory can be written");
    let stderr = refused(&[&source]);
    assert!(stderr.contains("format 99"), "{stderr}");
    assert!(stderr.contains("use the almadia-harness of"), "{stderr}");

    save(&recorded(), &source);
    let stderr = refused(&[
        &source,
        Path::new("-o"),
        &folder.join("no/such/folder.html"),
    ]);
    assert!(stderr.contains("--output"), "{stderr}");
    let stderr = refused(&[&source, Path::new("-o"), &source]);
    assert!(stderr.contains("take the place"), "{stderr}");
    assert!(Trace::read(&fs::read(&source).expect("still there")[..]).is_ok());
}
