//! The clocks of a host of many groups: which of them makes a difference, and which does not.

use almadia::RoleKind;
use almadia_peers::almadia_side::Almadia;
use almadia_peers::groups::{EachTick, Host, NODES, ONE_IN, Wheel};
use almadia_peers::raft_rs_side::RaftRs;

const GROUPS: usize = 2 * ONE_IN;

/// Long enough for every node's timeout.
const ROUNDS: usize = 300;

fn started() -> Host<Almadia> {
    let mut host = Host::of(GROUPS);
    host.elect();
    host.spread();
    host
}

/// A node that is told the time late, and all of it at once, is the same as one that is told every tick.
#[test]
fn a_wheel_makes_no_difference_to_the_nodes() {
    let mut told_each = started();
    let each = told_each.rounds(ROUNDS, &mut EachTick);
    let mut on_wheel = started();
    let mut wheel = Wheel::of(on_wheel.nodes_mut(), false);
    let wheeled = on_wheel.rounds(ROUNDS, &mut wheel);
    wheel.catch_up(on_wheel.nodes_mut());

    assert!(told_each.nodes_mut() == on_wheel.nodes_mut());
    assert_eq!(each.messages, wheeled.messages);
    assert!(
        each.looked_at > 10 * wheeled.looked_at,
        "{each:?} {wheeled:?}"
    );
}

/// The wheel finds the followers whose timeout is over, too.
#[test]
fn groups_without_a_leader_elect_one_when_it_is_time() {
    let mut host = Host::<Almadia>::of(GROUPS);
    let mut wheel = Wheel::of(host.nodes_mut(), false);
    for _ in 0..ROUNDS {
        host.pass(&mut wheel);
    }
    assert_eq!(host.led(), GROUPS);
}

#[test]
fn groups_fall_asleep_and_wake_up() {
    let mut host = started();
    let mut wheel = Wheel::of(host.nodes_mut(), true);
    host.rounds(ROUNDS, &mut wheel);
    assert_eq!(wheel.asleep(), GROUPS - GROUPS / ONE_IN);
    assert_eq!(host.led(), GROUPS);

    let sleeper = GROUPS - 1;
    let before = host.committed(sleeper);
    host.commit(sleeper, &mut wheel);
    assert_eq!(host.committed(sleeper), before + 1);
    let nodes = &host.nodes_mut()[sleeper * NODES..];
    let leaders = nodes.iter().filter(|node| node.role() == RoleKind::Leader);
    assert_eq!(leaders.count(), 1);
    assert_eq!(wheel.asleep(), GROUPS - GROUPS / ONE_IN - 1);
}

#[test]
fn both_sides_pass_as_many_messages() {
    let ours = started().rounds(ROUNDS, &mut EachTick);
    let mut host = Host::<RaftRs>::of(GROUPS);
    host.elect();
    host.spread();
    assert_eq!(host.rounds(ROUNDS, &mut EachTick).messages, ours.messages);
}
