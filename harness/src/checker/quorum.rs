//! What it takes to commit an entry, counted anew.
//!
//! Owns the majority, and the rule of group commit. Must not ask the core's own arithmetic, nor
//! look like it: that may be what is wrong.

use std::collections::BTreeSet;

use almadia::NodeId;

use crate::host::Groups;

/// Whether the voters that hold an entry are enough of this half to commit it. With group commit in
/// force they are of two groups, where there are two; where that is not known, they are all.
pub(super) fn is_quorum(half: &[NodeId], groups: &Groups, holds: impl Fn(NodeId) -> bool) -> bool {
    let holders: Vec<NodeId> = half.iter().copied().filter(|&voter| holds(voter)).collect();
    let is_majority = half.is_empty() || holders.len() * 2 > half.len();
    if !groups.in_force {
        return is_majority;
    }
    let groups_of = |voters: &[NodeId]| -> BTreeSet<u64> {
        voters.iter().filter_map(|&it| groups.of(it)).collect()
    };
    let all_are_known = half.iter().all(|&voter| groups.of(voter).is_some());
    let is_spread = match groups_of(half).len() {
        2.. => groups_of(&holders).len() >= 2,
        0 | 1 => all_are_known || holders.len() == half.len(),
    };
    is_majority && is_spread
}

#[cfg(test)]
mod tests {
    use super::{Groups, NodeId, is_quorum};

    fn ids(ids: &[u64]) -> Vec<NodeId> {
        ids.iter().filter_map(|&id| NodeId::new(id)).collect()
    }

    /// Whether these are enough of five voters, each of which is of the group at its place.
    fn are_enough(holders: &[u64], groups: Option<[u64; 5]>) -> bool {
        let voters = ids(&[1, 2, 3, 4, 5]);
        let mut known = Groups::default();
        for (&voter, group) in voters.iter().zip(groups.into_iter().flatten()) {
            known.assign(voter, group);
        }
        known.in_force = groups.is_some();
        let holders = ids(holders);
        is_quorum(&voters, &known, |voter| holders.contains(&voter))
    }

    #[test]
    fn a_majority_is_more_than_half() {
        assert!(!are_enough(&[1, 2], None));
        assert!(are_enough(&[1, 2, 3], None));
        assert!(is_quorum(&[], &Groups::default(), |_| false));
    }

    #[test]
    fn group_commit_takes_two_groups_where_there_are_two() {
        assert!(!are_enough(&[1, 2, 3], Some([1, 1, 1, 2, 2])));
        assert!(are_enough(&[1, 2, 4], Some([1, 1, 1, 2, 2])));
        assert!(!are_enough(&[1, 4], Some([1, 1, 1, 2, 2])));
        // There is nothing to wait for.
        assert!(are_enough(&[1, 2, 3], Some([1, 1, 1, 1, 1])));
        // Nobody knows what there is to wait for.
        assert!(!are_enough(&[1, 2, 3, 4], Some([1, 1, 1, 1, 0])));
        assert!(are_enough(&[1, 2, 3, 4, 5], Some([1, 1, 1, 1, 0])));
    }
}
