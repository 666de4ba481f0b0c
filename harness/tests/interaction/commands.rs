//! What the commands are, and what makes no sense.

use almadia::{ConfState, LogIndex, MemberChange, Transition};
use almadia_harness::script::interaction::command::{
    AddNodes, Bootstrap, Change, Command, LogLevel, Recipient, Settings, Span,
};
use almadia_harness::script::{BadDirective, parse};

use crate::id;

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
