//! What of an output counts, and how whole folders are counted.

use almadia_harness::script::folder::{Totals, check_folder, known_to_differ};
use almadia_harness::script::interaction::compare::{state_in, without_log};

#[test]
fn what_is_logged_does_not_count() {
    let text = "> 1 handling Ready\n  INFO 1 did it\n  Ready MustSync=true:\nWARN\nDEBUG x\n";
    let without = "> 1 handling Ready\n  Ready MustSync=true:\nWARN\n";
    assert_eq!(without_log(text), without);
    assert_eq!(without_log("ERROR it fails\n"), "ok\n");
    assert_eq!(without_log("ok\n"), "ok\n");
}

#[test]
fn state_is_what_is_shown_of_it_and_every_error() {
    let text = "> 2 receiving messages\n  2->1 MsgAppResp Term:1 Log:0/4\n  it failed\n\
                  1->2 MsgApp Term:1 Log:1/4 Entries:[\n    1/5 EntryNormal \"it failed\"\n  ]\n\
                  dropped: 1->3 MsgSnap Term:1 Log:0/0\n    Snapshot: Index:4\n\
                  2->AppendThread MsgStorageAppend Term:0 Log:0/0 Responses:[\n  ] Responses:[\n\
                Ready MustSync=false:\nLead:1 State:StateLeader\nHardState Term:1\n\
                it failed again\nno messages\nno append work to perform";
    assert_eq!(state_in("stabilize", text), "it failed\nit failed again\n");
    for command in ["raft-log", "raft-state", "status", "compact"] {
        assert_eq!(state_in(command, "1: x\nINFO y\n"), "1: x\n");
    }
    // A script can have the right state without the right transcript.
    assert_eq!(
        state_in("propose", "ok\n"),
        state_in("propose", "> 1 handling Ready\n")
    );
    assert_ne!(
        state_in("propose", "ok\n"),
        state_in("propose", "dropped\n")
    );
}

#[test]
fn a_folder_is_searched_through_and_counted() {
    let folder = std::env::temp_dir().join(format!("almadia-scripts-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("inner")).expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("a file");
    write("a.txt", "vote cfg=(1) votes=(y)\n----\nVoteWon\n");
    write(
        "b.txt",
        "raft-state\n----\nINFO x\n\nstabilize\n----\n> 1 handling Ready\n",
    );
    write("inner/c.txt", "simple\nv1\n----\nINFO x\n");
    write("d.txt", "raft-state\n");
    write("e.md", "vote\n----\n");
    let checked = check_folder(&folder);
    std::fs::remove_dir_all(&folder).expect("it can be removed");
    let checked = checked.expect("it can be read");
    let shown: Vec<String> = checked
        .iter()
        .map(|script| {
            let text = script.to_string();
            text.trim_start_matches(&folder.display().to_string())
                .to_owned()
        })
        .collect();
    assert_eq!(
        shown,
        [
            "/a.txt: state passed; transcript 1 of 1",
            "/b.txt: state passed; transcript 1 of 2",
            "/d.txt: state failed: line 1: no line ---- follows the directive",
            "/inner/c.txt: state failed from line 1 on (simple); transcript 0 of 1",
        ]
    );
    let totals = Totals::of(&checked);
    assert_eq!(
        totals.to_string(),
        "state: 2 passed, 2 failed; transcript: 2 of 4 directives equal"
    );
}

#[test]
fn the_list_of_known_differences_is_one_section_of_a_document() {
    let document = "* `no.txt`\n## Where etcd's scripts differ\nText, `no.txt`.\n\n* `a.txt`, why\n\
                    * In `no.txt`\n* `b.txt`: why\n## Next\n* `no.txt`\n";
    let known = known_to_differ(document);
    assert_eq!(known.into_iter().collect::<Vec<_>>(), ["a.txt", "b.txt"]);
}
