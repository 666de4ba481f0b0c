//! What a recorded run says, and what its file does when it is long, damaged or strange.
//!
//! Owns the tests of [`Trace`] and [`TraceRecorder`]. The picture has its own, in `timeline.rs`.

use std::panic::{self, AssertUnwindSafe};

use almadia::{Body, Heartbeat, LogIndex, Message, NodeId, RoleKind, Term, Token};
use almadia_harness::{
    Action, Answers, Checks, Cluster, EmbedderFault, MachineAction, OnLink, Settings, Stats, Trace,
    TraceError, TraceEvent, TraceRecorder, What,
};

const ALL: usize = 100_000;

fn id(id: u64) -> NodeId {
    NodeId::new(id).expect("ids in tests are not zero")
}

/// A run with an election, a partition, a crash, a snapshot and a stalled disk.
fn eventful(cluster: &mut Cluster) {
    cluster.campaign(1);
    cluster.deliver_all();
    cluster.propose(1, "one").expect("node 1 leads");
    cluster.settle();
    cluster.isolate(3);
    for command in 0..20 {
        cluster.propose(1, format!("command {command}"));
        cluster.deliver_all();
    }
    cluster.compact(1);
    cluster.compact(2);
    cluster.stall_disk(2);
    cluster.propose(1, "slow");
    cluster.deliver_all();
    cluster.complete_writes(2);
    cluster.crash(1);
    for _ in 0..60 {
        cluster.tick_all();
        cluster.deliver_all();
    }
    cluster.heal();
    cluster.restart(1);
    cluster.settle();
}

fn recorded(max_events: usize) -> Trace {
    let mut cluster = Cluster::new(3, 7);
    cluster.record("an eventful run", max_events);
    eventful(&mut cluster);
    cluster.take_trace().expect("the run is recorded")
}

/// A node whose disk forgets its vote crashes, and votes again in the same term.
fn votes_twice(cluster: &mut Cluster) {
    cluster.set_checks(Checks {
        durability: false,
        refusals: false,
    });
    cluster.set_fault(3, EmbedderFault::ForgetsVote);
    cluster.cut(1, 2);
    cluster.campaign(1);
    cluster.deliver_one(|message| message.to == id(3));
    cluster.crash(3);
    cluster.restart(3);
    cluster.isolate(1);
    cluster.campaign(2);
    cluster.deliver_all();
}

fn without_pre_vote() -> Settings {
    Settings {
        pre_vote: false,
        check_quorum: false,
        ..Settings::default()
    }
}

fn written(trace: &Trace) -> String {
    let mut bytes = Vec::new();
    trace.write(&mut bytes).expect("memory takes everything");
    String::from_utf8(bytes).expect("JSON is text")
}

fn read(text: &str) -> Result<Trace, TraceError> {
    Trace::read(text.as_bytes())
}

fn count(trace: &Trace, wanted: impl Fn(&What) -> bool) -> usize {
    trace
        .events()
        .iter()
        .filter(|event| wanted(&event.what))
        .count()
}

#[test]
fn a_recorded_run_is_the_same_run() {
    let run = |records: bool| -> (Stats, Option<Trace>) {
        let mut cluster = Cluster::new(3, 7);
        if records {
            cluster.record("an eventful run", ALL);
        }
        eventful(&mut cluster);
        (cluster.stats(), cluster.take_trace())
    };
    let (stats, nothing) = run(false);
    assert_eq!(nothing, None);
    let (recorded_stats, trace) = run(true);
    assert_eq!(recorded_stats, stats);
    let (_, again) = run(true);
    assert_eq!(again, trace);
}

#[test]
fn what_happens_is_recorded_in_order() {
    let trace = recorded(ALL);
    assert_eq!(trace.name(), "an eventful run");
    assert_eq!(trace.seed(), Some(7));
    assert_eq!(trace.nodes(), [id(1), id(2), id(3)]);
    assert_eq!(trace.omitted(), 0);
    assert_eq!(trace.violation(), None);
    let mut events = trace.events().iter();
    let mut then = |what: &str, wanted: &dyn Fn(&TraceEvent) -> bool| {
        assert!(
            events.any(wanted),
            "{what} is missing in\n{}",
            written(&trace)
        );
    };
    let on = |event: &TraceEvent, node: u64| event.node == Some(id(node));
    let is_role = |wanted: RoleKind| move |what: &What| matches!(what, What::Role { role, .. } if *role == wanted);
    then("a start", &|event| {
        on(event, 3) && matches!(event.what, What::Started { .. })
    });
    then("a pre-candidate", &|event| {
        on(event, 1) && is_role(RoleKind::PreCandidate)(&event.what)
    });
    then("a leader", &|event| {
        on(event, 1) && is_role(RoleKind::Leader)(&event.what)
    });
    then("its first entry", &|event| {
        on(event, 1) && matches!(event.what, What::Proposed { first, last } if first == last)
    });
    then("a durable write", &|event| {
        on(event, 2) && matches!(&event.what, What::Persisted { text, .. } if text.contains("one"))
    });
    then("a commit index", &|event| {
        on(event, 2) && matches!(event.what, What::Committed { index } if index == LogIndex(2))
    });
    then("what was applied", &|event| {
        on(event, 2) && matches!(event.what, What::Applied { index } if index == LogIndex(2))
    });
    then("a cut", &|event| {
        on(event, 3) && matches!(event.what, What::Cut { to } if to == id(1))
    });
    then("a loss", &|event| {
        on(event, 3) && matches!(&event.what, What::Lost { text, .. } if text == "the link is cut")
    });
    then("a compaction", &|event| {
        on(event, 1) && matches!(event.what, What::Compacted { .. })
    });
    then("a stalled disk", &|event| {
        on(event, 2) && matches!(event.what, What::Paused { .. })
    });
    then("its end", &|event| {
        on(event, 2) && matches!(event.what, What::Resumed)
    });
    then("a crash", &|event| {
        on(event, 1) && matches!(event.what, What::Crashed { .. })
    });
    then("the end of the partition", &|event| {
        event.node.is_none() && matches!(event.what, What::Healed { to: None })
    });
    then("a restart", &|event| {
        on(event, 1) && matches!(event.what, What::Started { term, .. } if term == Term(1))
    });
    then("a snapshot", &|event| {
        on(event, 3) && matches!(event.what, What::Snapshot { .. })
    });
}

#[test]
fn each_change_is_told_once() {
    let trace = recorded(ALL);
    let mut last = [None; 3];
    for event in trace.events() {
        let Some(node) = event.node else { continue };
        let at = usize::try_from(node.get() - 1).expect("a small id");
        if let What::Role { role, term } = event.what {
            assert_ne!(last[at], Some((role, term)), "node {node} is told twice");
            last[at] = Some((role, term));
        }
        if let What::Crashed { .. } = event.what {
            last[at] = None;
        }
    }
}

#[test]
fn every_message_has_one_end() {
    let trace = recorded(ALL);
    let mut open = std::collections::BTreeSet::new();
    for event in trace.events() {
        if let What::Sent { message, .. } = &event.what {
            assert!(open.insert(*message));
        }
        if let What::Delivered { message, .. } | What::Lost { message, .. } = &event.what {
            assert!(open.remove(message), "message {message} was not sent");
        }
    }
    assert_eq!(open.len(), 0, "the run was settled");
}

fn heartbeat(to: u64) -> Message {
    Message {
        from: id(1),
        to: id(to),
        term: Term(3),
        body: Body::Heartbeat(Heartbeat {
            leader_commit: LogIndex(2),
            token: Token::None,
        }),
    }
}

#[test]
fn equal_messages_arrive_in_the_order_in_which_they_were_sent() {
    let recorder = TraceRecorder::new("messages", "ms", ALL);
    recorder.sent(&heartbeat(2));
    recorder.sent(&heartbeat(3));
    recorder.sent(&heartbeat(2));
    recorder.delivered(&heartbeat(2));
    recorder.lost(&heartbeat(2), "no reason");
    recorder.delivered(&heartbeat(2));
    recorder.delivered(&heartbeat(4));
    let trace = recorder.finish();
    let ends: Vec<(&str, u64)> = trace
        .events()
        .iter()
        .filter_map(|event| {
            if let What::Delivered { message, .. } = event.what {
                Some(("delivered", message))
            } else if let What::Lost { message, .. } = event.what {
                Some(("lost", message))
            } else if let What::Duplicated { message, .. } = event.what {
                Some(("duplicated", message))
            } else {
                None
            }
        })
        .collect();
    assert_eq!(
        ends,
        [
            ("delivered", 1),
            ("lost", 3),
            ("duplicated", 3),
            ("delivered", 4)
        ]
    );
}

#[test]
fn a_refusal_names_its_message() {
    let mut cluster = Cluster::new(3, 7);
    cluster.set_checks(Checks {
        refusals: false,
        ..Checks::default()
    });
    cluster.record("a stranger", ALL);
    cluster.inject(Message {
        from: id(9),
        ..heartbeat(2)
    });
    cluster.deliver_all();
    let trace = cluster.take_trace().expect("the run is recorded");
    let refused = trace.events().iter().find_map(|event| {
        let What::Refused { message, text, .. } = &event.what else {
            return None;
        };
        Some((event.node, *message, text.clone()))
    });
    let (node, message, text) = refused.expect("the message is refused");
    assert_eq!((node, message), (Some(id(2)), Some(1)));
    assert!(text.contains("its end was lost"), "{text}");
    assert!(
        trace.nodes().contains(&id(9)),
        "who only sends is there too"
    );
}

#[test]
fn a_broken_promise_is_in_the_trace_of_a_run_that_panics() {
    let mut cluster = Cluster::with_settings(3, 0, 7, without_pre_vote());
    cluster.record("a vote that is forgotten", ALL);
    let run = panic::catch_unwind(AssertUnwindSafe(|| votes_twice(&mut cluster)));
    assert!(run.is_err(), "the checkers look on");
    let trace = cluster.take_trace().expect("the run is recorded");
    let text = "node 3 voted for 1 and for 2 in term 1";
    assert_eq!(trace.violation(), Some(text));
    let violated = |event: &&TraceEvent| matches!(event.what, What::Violated { .. });
    let event = trace.events().iter().find(violated).expect("its place");
    assert_eq!(event.node, Some(id(3)));
}

#[test]
fn a_promise_that_is_broken_after_the_end_is_added() {
    let mut trace = recorded(ALL);
    let events = trace.events().len();
    trace.add_violation(None, "the core panicked");
    trace.add_violation(Some(id(2)), "and more");
    assert_eq!(trace.violation(), Some("the core panicked"));
    assert_eq!(trace.events().len(), events + 2);
    assert_eq!(read(&written(&trace)).expect("a trace"), trace);
}

// --- Long runs ---

#[test]
fn of_a_long_run_the_end_is_whole_and_the_beginning_is_thin() {
    let whole = recorded(ALL);
    let most = 120;
    let part = recorded(most);
    assert!(whole.events().len() > 3 * most, "the run is long");
    assert!(part.events().len() < most + 40, "{}", part.events().len());
    let marks = count(&part, |what| matches!(what, What::Omitted { .. }));
    let kept = part.events().len() - marks;
    assert_eq!(part.omitted() as usize, whole.events().len() - kept);
    // The last events are all there.
    let tail = |trace: &Trace| {
        let events = trace.events();
        events[events.len() - most / 4..].to_vec()
    };
    assert_eq!(tail(&part), tail(&whole));
    // What is there is in order.
    let mut rest = whole.events().iter();
    for event in part.events() {
        let is_mark = matches!(event.what, What::Omitted { .. });
        assert!(is_mark || rest.any(|other| other == event), "{event:?}");
    }
    assert_eq!(read(&written(&part)).expect("a trace"), part);
}

#[test]
fn the_last_word_on_every_matter_is_kept() {
    let recorder = TraceRecorder::new("a long silence", "ms", 40);
    let role = |role, term| What::Role {
        role,
        term: Term(term),
    };
    recorder.record(Some(id(1)), role(RoleKind::Leader, 1));
    recorder.record(Some(id(2)), role(RoleKind::Candidate, 1));
    recorder.record(Some(id(2)), role(RoleKind::Follower, 1));
    for to in [2, 3] {
        recorder.record(Some(id(1)), What::Cut { to: id(to) });
    }
    let healed = What::Healed { to: Some(id(2)) };
    recorder.record(Some(id(1)), healed.clone());
    let index = LogIndex(5);
    recorder.record(Some(id(1)), What::Committed { index });
    for _ in 0..100 {
        let text = "nothing".to_owned();
        recorder.record(None, What::Note { text });
        recorder.sent(&heartbeat(2));
    }
    let trace = recorder.finish();
    let has = |wanted: &What| count(&trace, |what| what == wanted) == 1;
    assert!(has(&role(RoleKind::Leader, 1)));
    assert!(!has(&role(RoleKind::Candidate, 1)));
    assert!(has(&role(RoleKind::Follower, 1)));
    assert!(has(&What::Cut { to: id(3) }));
    assert!(!has(&What::Cut { to: id(2) }), "that link is whole");
    assert!(has(&What::Committed { index }));
}

// --- Files ---

#[test]
fn what_is_written_is_read() {
    let trace = recorded(ALL);
    assert_eq!(read(&written(&trace)).expect("a trace"), trace);
}

#[test]
fn numbers_that_a_browser_would_round_are_strings() {
    let recorder = TraceRecorder::new("great numbers", "ms", ALL);
    recorder.set_seed(u64::MAX);
    recorder.sent(&Message {
        from: id(u64::MAX),
        term: Term::MAX,
        ..heartbeat(2)
    });
    recorder.sent(&Message {
        from: id((1 << 53) - 1),
        ..heartbeat(2)
    });
    let trace = recorder.finish();
    let text = written(&trace);
    assert!(text.contains(r#""seed":"18446744073709551615""#), "{text}");
    assert!(text.contains(r#""node":"18446744073709551615""#), "{text}");
    assert!(text.contains(r#""term":"9223372036854775807""#), "{text}");
    assert!(text.contains(r#""node":9007199254740991"#), "{text}");
    assert_eq!(read(&text).expect("a trace"), trace);
}

#[test]
fn a_file_of_another_kind_is_no_trace() {
    for text in [
        "",
        "\n",
        "hello\n",
        "{}\n",
        "[1]\n",
        "{\"almadia_trace\":0}\n",
        "{\"almadia_trace\":\"x\"}\n",
        "\u{0}\u{1}binary",
    ] {
        let error = read(text).expect_err("no trace");
        assert!(matches!(error, TraceError::NotATrace), "{text:?}: {error}");
        assert!(error.to_string().contains("--trace FILE"), "{error}");
    }
    assert!(matches!(
        Trace::read(&[0xff, 0xfe, b'\n'][..]),
        Err(TraceError::NotATrace)
    ));
}

#[test]
fn a_newer_trace_asks_for_a_newer_program() {
    let newer = written(&recorded(ALL)).replacen("\"almadia_trace\":1", "\"almadia_trace\":2", 1);
    let error = read(&newer).expect_err("a newer trace");
    assert!(matches!(error, TraceError::Newer { found: 2 }), "{error}");
    assert!(error.to_string().contains("or a later one"), "{error}");
}

#[test]
fn a_damaged_line_is_named() {
    let text = written(&recorded(ALL));
    let lines: Vec<&str> = text.lines().collect();
    let line_of = |text: &str| match read(text) {
        Err(TraceError::Damaged { line, .. }) => line,
        other => panic!("{other:?}"),
    };
    // The end of the file is missing.
    let cut = &text[..text.len() - 10];
    assert_eq!(line_of(cut), lines.len() as u64);
    for damage in [
        "{",
        "{\"step\":1,\"time\":1,\"kind\":\"dances\"}",
        "{\"step\":1,\"time\":1,\"kind\":\"cut\",\"to\":0}",
        "{\"step\":1,\"time\":1,\"kind\":\"role\",\"role\":\"king\",\"term\":1}",
        "{\"step\":-1,\"time\":1,\"kind\":\"resumed\"}",
    ] {
        let mut damaged = lines.clone();
        damaged[4] = damage;
        assert_eq!(line_of(&damaged.join("\n")), 5, "{damage}");
    }
    assert_eq!(line_of("{\"almadia_trace\":1}\n"), 1);
    // Blank lines, and fields that nobody knows, do no harm.
    let known = text.replace("\"time\":", "\"colour\":\"red\",\"time\":");
    assert_eq!(
        read(&known.replace('\n', "\n\n")).expect("a trace"),
        read(&text).expect("a trace")
    );
}

/// The picture of a failing random run has to show what went wrong on purpose.
#[test]
fn the_faults_of_a_scenario_are_recorded() {
    let place = OnLink {
        from: 1,
        to: 2,
        older: 0,
    };
    let mut cluster = Cluster::new(3, 7);
    cluster.record("faults", ALL);
    cluster.campaign(1);
    for action in [
        Action::Cut { from: 1, to: 3 },
        Action::Delay(place, 5),
        MachineAction::SlowMail.at(2),
        MachineAction::Answer(Answers::Failing).at(2),
        Action::Heal,
    ] {
        cluster.perform(&action);
    }
    let trace = cluster.take_trace().expect("it is recorded");
    assert_eq!(count(&trace, |what| *what == What::Cut { to: id(3) }), 1);
    assert_eq!(count(&trace, |what| *what == What::Healed { to: None }), 1);
    for said in [
        "its PreVote to 2 takes 5 steps more",
        "its mail takes long from now on",
        "its storage cannot be read",
    ] {
        let says = |what: &What| matches!(what, What::Note { text } if text == said);
        assert_eq!(count(&trace, says), 1, "{said}:\n{}", written(&trace));
    }
}
