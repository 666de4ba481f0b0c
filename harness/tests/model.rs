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
    let found = presets.find(|preset| preset.name == name);
    found.expect("it exists")
}

/// Within narrower bounds there are just so many situations, none of which breaks a promise. A
/// number that changes tells of a change in what a node does, or in what is explored.
#[track_caller]
fn assert_states(name: &str, bounds: Bounds, states: u64) {
    let found = explore(&Preset {
        bounds,
        ..preset(name)
    });
    assert_eq!(found.finding, None, "{name}");
    assert_eq!(found.states, states, "{name}");
}

#[test]
fn small_explorations_run_to_their_ends() {
    let until = |max_term, campaigns| Bounds {
        max_term,
        campaigns,
        ..Bounds::default()
    };
    let crashing = Bounds {
        crashes: 1,
        ..until(2, 1)
    };
    assert_states("elections", crashing, 1027);
    let proposing = Bounds {
        proposals: 2,
        ..until(1, 0)
    };
    assert_states("replication", proposing, 11336);
    assert_states("figure-8", until(3, 1), 549);
    assert_states("overwrites", until(2, 1), 759);
    let changing = Bounds {
        changes: 1,
        ..until(1, 0)
    };
    assert_states("membership", changing, 514);
    let reading = Bounds {
        reads: 1,
        ..until(2, 1)
    };
    assert_states("reads", reading, 61173);
    let waiting = Bounds {
        ticks: 3,
        in_flight: 2,
        ..until(2, 0)
    };
    assert_states("leases", waiting, 336);
}

/// A leader that is told not to look proposes what cannot be applied. That is found, and the way to
/// it told, the shortest that there is.
#[test]
fn a_broken_promise_is_found_by_the_shortest_way() {
    let careless = Preset {
        configure: |builder| {
            let bare = builder.pre_vote(false).check_quorum(false);
            bare.validate_conf_changes(false)
        },
        changes: vec![MembershipChange::leave_joint()],
        bounds: Bounds {
            max_term: 1,
            changes: 1,
            ..Bounds::default()
        },
        ..preset("membership")
    };
    let finding = explore(&careless).finding;
    let finding = finding.expect("nobody can leave what nobody entered");
    let is_it = matches!(
        finding.kind,
        ViolationKind::CallFailed {
            call: "apply_conf_change",
            ..
        }
    );
    assert!(is_it && finding.steps.len() < 40, "{finding}");
}
