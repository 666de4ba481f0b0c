//! The runner of interaction scripts, by scripts of its own: what its commands are, what it makes
//! equal to etcd/raft, and how it compares.
//!
//! Owns nothing beyond these. etcd/raft's own scripts are run in `scripts.rs`.

use almadia::{ConfState, LogIndex, MemberChange, NodeId, Transition};
use almadia_harness::script::folder::{check_folder, known_to_differ};
use almadia_harness::script::interaction::command::{
    AddNodes, Bootstrap, Change, Command, LogLevel, Recipient, Settings, Span,
};
use almadia_harness::script::interaction::compare::{state_in, without_log};
use almadia_harness::script::{BadDirective, InteractionCommands, parse, run};

fn id(number: u64) -> NodeId {
    NodeId::new(number).expect("ids in tests are not zero")
}

// --- Commands ---

fn read(directive: &str) -> Result<Command, BadDirective> {
    let directives = parse(&format!("{directive}\n----\n")).expect("a script");
    Command::read(&directives[0])
}

#[test]
fn commands_that_name_nodes() {
    let nodes = || vec![id(3), id(1)];
    let cases = [
        ("campaign 2", Command::Campaign(id(2))),
        ("forget-leader 2", Command::ForgetLeader(id(2))),
        ("raft-log 2", Command::RaftLog(id(2))),
        ("status 2", Command::Status(id(2))),
        ("raft-state", Command::RaftState),
        ("_breakpoint", Command::Breakpoint),
        ("process-ready 3 1", Command::ProcessReady(nodes())),
        ("process-append-thread 3 1", Command::ProcessAppend(nodes())),
        ("process-apply-thread 3 1", Command::ProcessApply(nodes())),
        (
            "compact 2 15",
            Command::Compact {
                node: id(2),
                index: LogIndex(15),
            },
        ),
        (
            "report-unreachable 2 3",
            Command::ReportUnreachable {
                node: id(2),
                peer: id(3),
            },
        ),
        (
            "send-snapshot 2 3",
            Command::SendSnapshot {
                from: id(2),
                to: id(3),
            },
        ),
        (
            "transfer-leadership to=3 from=2",
            Command::TransferLeadership {
                from: id(2),
                to: id(3),
            },
        ),
        (
            "propose 2 \"a",
            Command::Propose {
                node: id(2),
                data: "\"a".into(),
            },
        ),
    ];
    for (directive, command) in cases {
        assert_eq!(read(directive), Ok(command), "{directive}");
    }
}

#[test]
fn commands_of_time_and_levels() {
    let tick = |span| Command::Tick { node: id(2), span };
    let cases = [
        ("tick-election 2", tick(Span::ElectionTimeout)),
        ("tick-heartbeat 2", tick(Span::HeartbeatInterval)),
        (
            "set-randomized-election-timeout 2 timeout=5",
            Command::SetElectionTimeout {
                node: id(2),
                ticks: 5,
            },
        ),
        ("log-level none", Command::LogLevel(LogLevel::Quiet)),
        ("log-level Debug", Command::LogLevel(LogLevel::Shown)),
        (
            "stabilize 2 log-level=none 1",
            Command::Stabilize {
                nodes: vec![id(2), id(1)],
                level: Some(LogLevel::Quiet),
            },
        ),
        (
            "stabilize",
            Command::Stabilize {
                nodes: vec![],
                level: None,
            },
        ),
    ];
    for (directive, command) in cases {
        assert_eq!(read(directive), Ok(command), "{directive}");
    }
}

#[test]
fn messages_are_delivered_or_lost_in_the_order_of_the_arguments() {
    let recipient = |number, is_drop| Recipient {
        node: id(number),
        is_drop,
    };
    assert_eq!(
        read("deliver-msgs 3 drop=(1, 2) 4 type=MsgApp"),
        Ok(Command::Deliver {
            recipients: vec![
                recipient(3, false),
                recipient(1, true),
                recipient(2, true),
                recipient(4, false)
            ],
            only: Some("MsgApp".into()),
        })
    );
    assert_eq!(
        read("deliver-msgs drop=1"),
        Ok(Command::Deliver {
            recipients: vec![recipient(1, true)],
            only: None,
        })
    );
    assert!(read("deliver-msgs 1 drop=1").is_err());
}

#[test]
fn nodes_are_added_empty_unless_they_are_told_something() {
    let added = |count, bootstrap, settings| {
        Ok(Command::AddNodes(Box::new(AddNodes {
            count,
            bootstrap,
            settings,
        })))
    };
    assert_eq!(read("add-nodes 2"), added(2, None, Settings::default()));
    assert_eq!(
        read("add-nodes 1 checkquorum=true prevote=false inflight=3"),
        added(
            1,
            None,
            Settings {
                check_quorum: true,
                inflight: Some(3),
                ..Settings::default()
            }
        )
    );
    let bootstrap = Bootstrap {
        index: LogIndex(10),
        conf_state: ConfState {
            voters: vec![id(1), id(2)],
            learners: vec![id(3)],
            ..ConfState::default()
        },
        content: "so".into(),
    };
    assert_eq!(
        read(
            "add-nodes 3 voters=(1, 2) learners=(3) index=10 content=so \\\n\
             async-storage-writes=true prevote=true max-committed-size-per-ready=1 \\\n\
             disable-conf-change-validation=true read-only=lease-based step-down-on-removal=true"
        ),
        added(
            3,
            Some(bootstrap),
            Settings {
                async_storage_writes: true,
                pre_vote: true,
                max_committed_size_per_ready: Some(1),
                disable_conf_change_validation: true,
                lease_based: true,
                ..Settings::default()
            }
        )
    );
}

#[test]
fn a_change_is_its_input() {
    let change = |line: &str| match read(line) {
        Ok(Command::ProposeChange { change, .. }) => change,
        other => panic!("{other:?}"),
    };
    assert_eq!(change("propose-conf-change 1"), Change::default());
    assert_eq!(
        change("propose-conf-change 1 transition=explicit\nv2 l3 r1 u4"),
        Change {
            steps: vec![
                Some(MemberChange::AddVoter(id(2))),
                Some(MemberChange::AddLearner(id(3))),
                Some(MemberChange::Remove(id(1))),
                None
            ],
            words: "v2 l3 r1 u4".into(),
            transition: Transition::Explicit,
            is_v1: false,
        }
    );
    let v1 = change("propose-conf-change 1 v1=true transition=implicit\nv2");
    assert!(v1.is_v1);
    assert_eq!(v1.transition, Transition::Implicit);
}

#[test]
fn what_makes_no_sense_is_no_command() {
    for directive in [
        "add-nodes",
        "add-nodes 1 votes=(1)",
        "add-nodes 1 voters=(0)",
        "add-nodes 1 prevote=maybe",
        "add-nodes 1 read-only=never",
        "campaign",
        "campaign 0",
        "campaign one",
        "compact 1",
        "deliver-msgs all",
        "elect 1",
        "log-level loud",
        "process-ready 1 0",
        "propose 1",
        "propose-conf-change 1\nx2",
        "propose-conf-change 1 v2=true\nv2",
        "propose-conf-change 1 transition=fast\nv2",
        "set-randomized-election-timeout 1",
        "set-randomized-election-timeout 1 timeout=99999999999",
        "stabilize log-level=loud",
        "transfer-leadership from=1",
    ] {
        assert!(read(directive).is_err(), "{directive}");
    }
}

// --- Conversations ---

/// Runs directives that are given by their lines, and returns the outputs.
fn play(directives: &[&str]) -> Vec<String> {
    let text: String = directives
        .iter()
        .map(|line| format!("{line}\n----\n\n"))
        .collect();
    let outcomes = run(&text, &mut InteractionCommands::default()).expect("a script");
    outcomes
        .into_iter()
        .map(|outcome| match outcome.actual {
            Ok(output) => output,
            Err(error) => format!("no directive: {error}\n"),
        })
        .collect()
}

/// The output of the last of these directives, three nodes with a leader being there before.
fn last_of_three(directives: &[&str]) -> String {
    let begin = [
        "add-nodes 3 voters=(1,2,3) index=10 inflight=2",
        "campaign 1",
        "stabilize",
    ];
    let mut outputs = play(&[&begin, directives].concat());
    outputs.pop().expect("a directive")
}

#[test]
fn every_proposal_travels_by_itself_until_the_window_is_full() {
    let proposals = ["propose 1 a", "propose 1 b", "propose 1 c"];
    let output = last_of_three(&[&proposals[..], &["process-ready 1"]].concat());
    let appends: Vec<&str> = output
        .lines()
        .filter(|line| line.contains("1->2 MsgApp"))
        .collect();
    assert_eq!(
        appends,
        [
            "1->2 MsgApp Term:1 Log:1/11 Commit:11 Entries:[1/12 EntryNormal \"a\"]",
            "1->2 MsgApp Term:1 Log:1/12 Commit:11 Entries:[1/13 EntryNormal \"b\"]",
        ]
    );
    let output = last_of_three(&[&proposals[..], &["process-ready 1", "status 1"]].concat());
    assert_eq!(
        output,
        "1: StateReplicate match=14 next=15\n\
         2: StateReplicate match=11 next=14 paused inflight=2[full]\n\
         3: StateReplicate match=11 next=14 paused inflight=2[full]\n"
    );
}

#[test]
fn messages_can_be_lost_and_sorted_out() {
    let output = last_of_three(&[
        "propose 1 a",
        "tick-heartbeat 1",
        "process-ready 1",
        "deliver-msgs drop=(2, 3) type=MsgApp",
    ]);
    assert_eq!(
        output,
        "dropped: 1->2 MsgApp Term:1 Log:1/11 Commit:11 Entries:[1/12 EntryNormal \"a\"]\n\
         dropped: 1->3 MsgApp Term:1 Log:1/11 Commit:11 Entries:[1/12 EntryNormal \"a\"]\n"
    );
    let output = last_of_three(&[
        "tick-heartbeat 1",
        "process-ready 1",
        "deliver-msgs 3",
        "deliver-msgs 3",
    ]);
    assert_eq!(output, "no messages\n");
}

#[test]
fn a_follower_passes_a_proposal_on_and_a_lone_node_drops_it() {
    let output = last_of_three(&["propose 2 a", "process-ready 2"]);
    assert_eq!(
        output,
        "Ready MustSync=false:\nMessages:\n\
         2->1 MsgProp Term:0 Log:0/0 Entries:[0/0 EntryNormal \"a\"]\n"
    );
    let output = last_of_three(&["propose 2 a", "stabilize", "raft-log 3"]);
    assert_eq!(output, "1/11 EntryNormal \"\"\n1/12 EntryNormal \"a\"\n");
    let output = last_of_three(&["forget-leader 2", "propose 2 a"]);
    assert_eq!(output, "raft proposal dropped\n");
}

#[test]
fn an_empty_entry_takes_the_place_of_a_refused_change() {
    let output = last_of_three(&[
        "propose-conf-change 1\nl3",
        "propose-conf-change 1\nr2",
        "propose-conf-change 2 v1=true\nu3",
        "stabilize",
        "raft-log 2",
    ]);
    assert_eq!(
        output,
        "1/11 EntryNormal \"\"\n1/12 EntryConfChangeV2 l3\n1/13 EntryNormal \"\"\n\
         1/14 EntryConfChange u3\n"
    );
    let output = last_of_three(&["propose-conf-change 1 v1=true\nl3 r2"]);
    assert_eq!(
        output,
        "v1 conf change can only have one operation and no transition\n"
    );
}

#[test]
fn an_election_timeout_counts_until_the_state_changes() {
    let state_after = |directives: &[&str]| {
        let directives = [directives, &["raft-state"]].concat();
        let output = last_of_three(&directives);
        output.lines().nth(1).map(ToOwned::to_owned)
    };
    let follower = Some("2: StateFollower (Voter) Term:1 Lead:1".to_owned());
    let candidate = Some("2: StateCandidate (Voter) Term:2 Lead:0".to_owned());
    let set = "set-randomized-election-timeout 2 timeout=2";
    let tick = "tick-heartbeat 2";
    let heard = ["tick-heartbeat 1", "stabilize"];
    assert_eq!(state_after(&[set, tick]), follower);
    assert_eq!(state_after(&[set, tick, tick]), candidate);
    assert_eq!(
        state_after(&[set, tick, "forget-leader 2", tick]),
        candidate
    );
    assert_eq!(
        state_after(&[&[set, tick][..], &heard, &[tick]].concat()),
        follower,
        "a heartbeat begins a new count"
    );
    assert_eq!(
        state_after(&[&[set, tick][..], &heard, &[tick, tick]].concat()),
        candidate,
        "and not another timeout"
    );
    let again = state_after(&[set, tick, tick, tick, tick]);
    assert_eq!(again, candidate, "a candidacy ends it");
    let long = "set-randomized-election-timeout 2 timeout=4";
    assert_eq!(state_after(&[long, "tick-election 2"]), follower);
    assert_eq!(state_after(&[long, "tick-election 2", tick]), candidate);
}

#[test]
fn output_is_quiet_but_for_errors() {
    assert_eq!(last_of_three(&["log-level none", "status 1"]), "ok\n");
    let output = last_of_three(&["log-level none", "forget-leader 2", "propose 2 a"]);
    assert_eq!(output, "raft proposal dropped\n");
    let quiet = ["propose 1 a", "stabilize log-level=none", "raft-log 3"];
    assert_eq!(
        last_of_three(&quiet),
        "1/11 EntryNormal \"\"\n1/12 EntryNormal \"a\"\n"
    );
    assert_eq!(last_of_three(&quiet[..2]), "ok\n");
    assert_eq!(
        last_of_three(&["campaign 4"]),
        "no directive: the argument id has the value \"4\", which is not a node that was added\n"
    );
}

#[test]
fn a_new_node_is_brought_up_by_a_snapshot() {
    let outputs = play(&[
        "add-nodes 1 voters=(1) index=1",
        "add-nodes 1 voters=(1) index=5",
        "add-nodes 1",
        "campaign 1",
        "stabilize",
        "raft-log 2",
        "propose-conf-change 1 v1=true\nv2",
        "stabilize",
        "propose 1 \"a\\b",
        "stabilize",
        "raft-log 2",
        "compact 1 7",
        "compact 1 7",
        "send-snapshot 1 2",
        "process-apply-thread 2",
        "status 2",
    ]);
    assert_eq!(
        outputs[0],
        "index must be specified as > 1 due to bootstrap\n"
    );
    assert_eq!(outputs[5], "log is empty: first index=1, last index=0\n");
    assert_eq!(outputs[10], "1/8 EntryNormal \"\\\"a\\\\b\"\n");
    assert_eq!(outputs[11], "1/8 EntryNormal \"\\\"a\\\\b\"\n");
    assert_eq!(
        outputs[12],
        "requested index is unavailable due to compaction\n"
    );
    assert_eq!(
        outputs[13],
        "1->2 MsgSnap Term:1 Log:0/0\n  Snapshot: Index:8 Term:1 ConfState:Voters:[1 2] \
         VotersOutgoing:[] Learners:[] LearnersNext:[] AutoLeave:false\n"
    );
    assert_eq!(outputs[14], "no apply work to perform\n");
    assert_eq!(outputs[15], "ok\n");
}

/// A write counts when the message that reports it has arrived, and no earlier.
#[test]
fn a_storage_thread_makes_durable_what_it_reports() {
    let begin = [
        "add-nodes 3 voters=(1,2,3) index=10 async-storage-writes=true",
        "campaign 1",
        "stabilize",
        "propose 1 a",
        "process-ready 1",
        "process-append-thread 1",
        "deliver-msgs 2",
        "process-ready 2",
    ];
    let commit = |more: &[&str]| {
        let directives = [&begin[..], more, &["stabilize 1"]].concat();
        let output = play(&directives).pop().expect("a directive");
        output.contains("HardState Term:1 Vote:1 Commit:12")
    };
    assert!(!commit(&[]), "nobody else has written");
    assert!(commit(&["process-append-thread 2"]));
    let lost = ["process-append-thread 2", "deliver-msgs drop=1"];
    assert!(!commit(&lost), "the acknowledgement is lost");
    // Here it is the leader's own write that is missing.
    let mut without_own = begin.to_vec();
    without_own.retain(|line| *line != "process-append-thread 1");
    let more = [
        "process-append-thread 2",
        "deliver-msgs 1",
        "process-ready 1",
    ];
    let output = play(&[&without_own[..], &more].concat())
        .pop()
        .expect("one");
    assert_eq!(output, "<empty Ready>\n");
    let more = [
        "process-append-thread 2",
        "process-append-thread 1",
        "deliver-msgs drop=1",
        "deliver-msgs 1",
    ];
    let output = play(&[&without_own[..], &more].concat())
        .pop()
        .expect("one");
    assert_eq!(
        output,
        "1->1 MsgAppResp Term:1 Log:0/12\n\
                 AppendThread->1 MsgStorageAppendResp Term:1 Log:1/12\n",
        "what a node tells itself is never lost"
    );
}

// --- Comparison ---

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
    let totals = almadia_harness::script::folder::Totals::of(&checked);
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
