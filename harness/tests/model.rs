//! The model checker: small explorations run to their ends, and a promise that is broken is found by
//! the shortest way.
//!
//! Owns bounds that are small enough for a debug build. The presets as they are take minutes:
//! `almadia-harness model`.

use almadia::MembershipChange;
use almadia_harness::ViolationKind;
use almadia_harness::model::{Bounds, Preset, explore, presets};

fn preset(name: &str) -> Preset {
    let mut presets = presets().into_iter();
    presets
        .find(|preset| preset.name == name)
        .expect("it exists")
}

/// Equal explorations count equal states: a number that changes tells of a change in what a node
/// does, or in what is explored.
#[test]
fn small_explorations_run_to_their_ends() {
    let (mut counted, mut expected) = (Vec::new(), Vec::new());
    for (name, bounds, states) in [
        (
            "elections",
            Bounds {
                max_term: 2,
                campaigns: 1,
                crashes: 1,
                ..Bounds::default()
            },
            1027,
        ),
        (
            "replication",
            Bounds {
                max_term: 1,
                proposals: 2,
                ..Bounds::default()
            },
            11_336,
        ),
        (
            "figure-8",
            Bounds {
                max_term: 3,
                campaigns: 1,
                ..Bounds::default()
            },
            549,
        ),
        (
            "overwrites",
            Bounds {
                max_term: 2,
                campaigns: 1,
                ..Bounds::default()
            },
            759,
        ),
        (
            "membership",
            Bounds {
                max_term: 1,
                changes: 1,
                ..Bounds::default()
            },
            514,
        ),
        (
            "reads",
            Bounds {
                max_term: 2,
                campaigns: 1,
                reads: 1,
                ..Bounds::default()
            },
            61_173,
        ),
        (
            "leases",
            Bounds {
                max_term: 2,
                ticks: 3,
                in_flight: 2,
                ..Bounds::default()
            },
            336,
        ),
    ] {
        let preset = Preset {
            bounds,
            ..preset(name)
        };
        let found = explore(&preset);
        assert_eq!(found.finding, None, "{name}");
        counted.push((name, found.states));
        expected.push((name, states));
    }
    assert_eq!(counted, expected);
}

/// A leader that is told not to look proposes what cannot be applied. That is found, and the way to
/// it told, the shortest that there is.
#[test]
fn a_broken_promise_is_found_by_the_shortest_way() {
    let careless = Preset {
        configure: |builder| {
            builder
                .pre_vote(false)
                .check_quorum(false)
                .validate_conf_changes(false)
        },
        changes: vec![MembershipChange::leave_joint()],
        bounds: Bounds {
            max_term: 1,
            changes: 1,
            ..Bounds::default()
        },
        ..preset("membership")
    };
    let finding = explore(&careless)
        .finding
        .expect("nobody can leave what nobody entered");
    assert!(
        matches!(
            finding.kind,
            ViolationKind::CallFailed {
                call: "apply_conf_change",
                ..
            }
        ),
        "{finding}"
    );
    assert!(finding.steps.len() < 40, "{finding}");
}
