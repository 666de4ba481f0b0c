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
#[test]
fn small_explorations_run_to_their_ends() {
    let until = |max_term, campaigns| Bounds {
        max_term,
        campaigns,
        ..Bounds::default()
    };
    let with = |change: fn(&mut Bounds), mut bounds: Bounds| {
        change(&mut bounds);
        bounds
    };
    let crashing = with(|it| it.crashes = 1, until(2, 1));
    let changing = with(|it| it.changes = 1, until(1, 0));
    let ticking = with(|it| (it.ticks, it.in_flight) = (3, 2), until(2, 0));
    let writing = with(|it| (it.proposals, it.crashes) = (1, 1), until(1, 0));
    let losing = with(|it| (it.crashes, it.in_flight) = (1, 2), until(3, 1));
    let explorations = [
        ("elections", crashing, 1075),
        ("pre-votes", until(1, 1), 53),
        (
            "replication",
            with(|it| it.proposals = 2, until(1, 0)),
            11414,
        ),
        ("slow-followers", writing, 215),
        ("heartbeats", with(|it| it.pings = 1, until(3, 1)), 26773),
        ("unpersisted", writing, 91),
        ("figure-8", until(3, 1), 549),
        ("overwrites", until(2, 1), 759),
        ("lost-overwrites", losing, 12535),
        ("membership", changing, 514),
        ("membership-later", changing, 515),
        ("reads", with(|it| it.reads = 1, until(2, 1)), 60757),
        ("two-reads", with(|it| it.reads = 2, until(1, 0)), 823),
        (
            "reads-restarts",
            with(|it| (it.reads, it.crashes) = (1, 1), until(1, 0)),
            82,
        ),
        ("leases", ticking, 336),
        ("leases-restarts", with(|it| it.crashes = 1, ticking), 3876),
    ];
    let explored = explorations.map(|(name, bounds, _)| {
        let preset = preset(name);
        let found = explore(&Preset { bounds, ..preset });
        assert_eq!(found.finding, None, "{name}");
        (name, found.states)
    });
    assert_eq!(
        explored,
        explorations.map(|(name, _, states)| (name, states))
    );
    let all = presets().into_iter().map(|preset| preset.name);
    assert!(all.eq(explored.map(|(name, _)| name)), "none is left out");
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
