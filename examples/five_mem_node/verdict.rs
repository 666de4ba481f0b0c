//! The verdict: whether the nodes have come to what the commands should have led to.
//!
//! Owns the comparison. Knows nothing of how the reports were gathered.

use crate::cluster::NODES;
use crate::machine::StateMachine;
use crate::mail::Report;

/// In what the nodes differ from each other, and from what the commands alone lead to.
pub(crate) fn differences(reports: &[Report], expected: &StateMachine) -> Vec<String> {
    let mut found = Vec::new();
    let present = reports.len() as u64;
    if present < NODES {
        found.push(format!("only {present} of {} nodes have reported", NODES));
    }
    let furthest = reports.iter().map(|report| report.applied).max();
    for report in reports {
        let node = report.node;
        if Some(report.applied) < furthest {
            found.push(format!(
                "node {node} has applied entries up to {} only",
                report.applied
            ));
        }
        let difference = report
            .state
            .as_ref()
            .map(|state| state.first_difference(expected));
        match difference {
            None => found.push(format!("node {node} has not told its state")),
            Some(None) => {}
            Some(Some((actual, expected))) => found.push(format!(
                "node {node} differs first at `{actual}`, which should be `{expected}`"
            )),
        }
    }
    found
}
