//! The acts in which nodes fail and come back: killed, stopped, behind a log that is compacted.
//!
//! Owns what is done to the nodes and how its success is seen. How to wait is in `show.rs`.

use almadia::{LogIndex, NodeId};

use super::Show;
use crate::mail::{AnyError, Input};

impl Show {
    /// The nodes that run save a snapshot of their state, and forget the log before it.
    pub(super) fn compact(&mut self, who: &str) -> Result<LogIndex, AnyError> {
        self.wait_until("something to compact", |show| {
            let running = show.cluster.running();
            running.iter().all(|id| show.applied(*id) > LogIndex::ZERO)
        })?;
        self.compacted.clear();
        for id in self.cluster.running() {
            self.cluster.send(id, Input::Compact);
        }
        self.wait_until("compaction", |show| {
            let running = show.cluster.running();
            running.iter().all(|id| show.compacted.contains_key(id))
        })?;
        let through = self.compacted.values().copied().min().unwrap_or_default();
        self.tell(format!(
            "{who} have compacted their logs, at least up to entry {through}"
        ));
        Ok(through)
    }

    /// Power goes off at the leader. Some of the commands in flight are lost with it, some not.
    pub(super) fn kill_leader(&mut self) -> Result<NodeId, AnyError> {
        let leader = self.leader()?;
        self.client.hurry(&self.cluster);
        let in_flight = self.client.in_flight();
        let last = self.kill(leader)?;
        self.tell(format!(
            "node {leader}, the leader, is killed with {in_flight} commands in flight; \
             its disk ends at entry {last}"
        ));
        self.wait_until("a new leader", |show| show.client.leader().is_some())?;
        Ok(leader)
    }

    /// A killed node starts from its disk, and learns what it has missed.
    pub(super) fn restart_and_catch_up(&mut self, id: NodeId) -> Result<(), AnyError> {
        self.reports.clear();
        self.wait_until("reports", |show| {
            show.reports.len() == show.cluster.running().len()
        })?;
        self.cluster.start(id)?;
        self.tell(format!("node {id} restarts from its disk"));
        let target = self.reports.values().map(|report| report.commit_index);
        let target = target.max().unwrap_or_default();
        self.wait_until("the restarted node to catch up", |show| {
            show.applied(id) >= target
        })?;
        let applied = self.applied(id);
        self.tell(format!(
            "node {id} has caught up: applied up to entry {applied}"
        ));
        Ok(())
    }

    pub(super) fn stop_a_follower(&mut self) -> Result<(NodeId, LogIndex), AnyError> {
        let leader = self.leader()?;
        let running = self.cluster.running();
        let follower = running.into_iter().find(|id| *id != leader);
        let follower = follower.ok_or("there is no follower to stop")?;
        let last = self.kill(follower)?;
        self.tell(format!(
            "node {follower}, a follower, is stopped; its disk ends at entry {last}"
        ));
        Ok((follower, last))
    }

    /// The others forget what the stopped node needs. So it gets a snapshot when it is back.
    pub(super) fn bring_back_by_snapshot(
        &mut self,
        id: NodeId,
        last: LogIndex,
    ) -> Result<(), AnyError> {
        // The commands may all be done, so that nothing takes the log further by itself. If there
        // is no leader now, the entry with which the next one opens its term does.
        if let Some(leader) = self.client.leader() {
            self.cluster.send(leader, Input::ProposeNothing);
        }
        self.wait_until("the others to go further than the stopped node", |show| {
            let running = show.cluster.running();
            running.iter().all(|id| show.applied(*id) > last)
        })?;
        let through = self.compact("the four others")?;
        if through <= last {
            return Err(format!("the logs still reach back to entry {last}").into());
        }
        self.installed.clear();
        self.cluster.start(id)?;
        self.tell(format!(
            "node {id} restarts; the others have forgotten what follows entry {last}"
        ));
        self.wait_until("a snapshot to be installed", |show| {
            show.installed.contains(&id)
        })
    }
}
