//! What a conversation is made equal in to one of etcd/raft's nodes.

use almadia_harness::script::{InteractionCommands, run};

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
    let again = [set, tick, tick, "process-ready 2", tick, tick];
    assert_eq!(state_after(&again), candidate, "a candidacy ends it");
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

/// Asking for pre-votes is no change of state: the timeout that was set goes on.
#[test]
fn a_round_of_pre_votes_does_not_end_a_timeout() {
    let output = play(&[
        "add-nodes 3 voters=(1,2,3) index=10 prevote=true",
        "set-randomized-election-timeout 2 timeout=2",
        "tick-heartbeat 2",
        "tick-heartbeat 2",
        "tick-heartbeat 2",
        "tick-heartbeat 2",
        "process-ready 2",
    ]);
    let rounds = output[6].matches("2->1 MsgPreVote Term:1 Log:1/10\n");
    assert_eq!(rounds.count(), 2);
}

/// In one `Ready` what waits for the disk comes last, also if it was caused first.
#[test]
fn answers_come_behind_requests() {
    let output = last_of_three(&[
        "propose 1 a",
        "process-ready 1",
        "deliver-msgs 2",
        "campaign 2",
        "process-ready 2",
    ]);
    let (_, messages) = output.split_once("Messages:\n").expect("there are some");
    assert_eq!(
        messages,
        "2->1 MsgVote Term:2 Log:1/12\n2->3 MsgVote Term:2 Log:1/12\n\
         2->1 MsgAppResp Term:1 Log:0/12\n"
    );
}

/// What a new leader has overwritten meanwhile is neither shown nor written.
#[test]
fn overwritten_entries_are_not_written() {
    let outputs = play(&[
        "add-nodes 5 voters=(1,2,3,4,5) index=10",
        "campaign 1",
        "stabilize",
        "propose 1 a",
        "process-ready 1",
        "deliver-msgs 3 drop=(2,4,5)",
        "campaign 2",
        "stabilize 2 4 5",
        "deliver-msgs 3",
        "process-ready 3",
        "raft-log 3",
    ]);
    assert!(outputs[9].contains("Entries:\n2/12 EntryNormal \"\"\nMessages:\n"));
    assert_eq!(
        outputs[10],
        "1/11 EntryNormal \"\"\n2/12 EntryNormal \"\"\n"
    );
}

/// A report from before a term began says nothing of the log of that term.
#[test]
fn a_report_of_an_earlier_term_counts_for_nothing() {
    let begin = [
        "add-nodes 3 voters=(1,2,3) index=10 async-storage-writes=true",
        "campaign 1",
        "stabilize",
        "propose 1 a",
        "process-ready 1",
        "deliver-msgs 3",
        "process-ready 3",
        "campaign 3",
        "process-ready 3",
        "process-append-thread 3",
        "deliver-msgs 3",
    ];
    let again = ["campaign 3", "process-ready 3"];
    let report = "AppendThread->3 MsgStorageAppendResp Term:3 Log:1/12";
    let output = play(&[&begin[..], &again].concat()).pop().expect("one");
    assert!(output.contains(report), "{output}");
    let later = ["process-append-thread 3", "deliver-msgs 3"];
    let output = play(&[&begin[..], &later, &again].concat());
    let output = output.last().expect("one");
    assert!(!output.contains(report), "{output}");
}

/// A snapshot that has overtaken entries on their way to the state machine is not taken back.
#[test]
fn entries_behind_a_snapshot_are_not_applied() {
    let outputs = play(&[
        "add-nodes 3 voters=(1,2,3) index=10 async-storage-writes=true",
        "campaign 1",
        "stabilize",
        "propose 1 a",
        "stabilize 1 2",
        "deliver-msgs 3",
        "process-ready 3",
        "process-append-thread 3",
        "deliver-msgs 3",
        "process-ready 3",
        "propose 1 b",
        "stabilize 1 2",
        "deliver-msgs drop=3",
        "send-snapshot 1 3",
        "deliver-msgs 3",
        "process-ready 3",
        "process-append-thread 3",
        "process-append-thread 3",
        "process-apply-thread 3",
        "stabilize",
        "send-snapshot 3 2",
        "raft-log 3",
    ]);
    assert!(
        outputs[9].contains("3->ApplyThread MsgStorageApply"),
        "{}",
        outputs[9]
    );
    assert!(
        outputs[15].contains("AppendThread->3 MsgStorageAppendResp Term:1 Log:0/0\n    Snapshot: "),
        "{}",
        outputs[15]
    );
    assert!(
        outputs[18].contains("1/12 EntryNormal \"a\""),
        "{}",
        outputs[18]
    );
    assert!(
        outputs[20].contains("Snapshot: Index:13 Term:1"),
        "{}",
        outputs[20]
    );
    assert_eq!(outputs[21], "log is empty: first index=14, last index=13\n");
}

/// A snapshot takes the place of entries that were to be written.
#[test]
fn entries_that_a_snapshot_replaces_are_not_written() {
    let output = last_of_three(&[
        "propose 1 a",
        "process-ready 1",
        "deliver-msgs 3",
        "propose 1 b",
        "stabilize 1 2",
        "deliver-msgs drop=3",
        "send-snapshot 1 3",
        "deliver-msgs 3",
        "process-ready 3",
    ]);
    assert!(output.contains("Snapshot Index:13 Term:1"), "{output}");
    assert!(!output.contains("Entries:"), "{output}");
}

/// That a peer cannot be reached makes nobody send anything; the next heartbeat's answer does.
#[test]
fn an_unreachable_peer_is_probed_with_the_next_occasion() {
    let status = |directives: &[&str]| last_of_three(&[directives, &["status 1"]].concat());
    let steady = status(&[]);
    let reported = status(&["report-unreachable 1 2"]);
    assert!(
        reported.contains("2: StateProbe match=11 next=12\n"),
        "{reported}"
    );
    let output = last_of_three(&["report-unreachable 1 2", "stabilize"]);
    assert_eq!(output, "ok\n");
    let ticked = ["report-unreachable 1 2", "tick-heartbeat 1", "stabilize"];
    assert_eq!(status(&ticked), steady);
}
