//! What the clients' side knows of the regions here.
//!
//! Owns the table that the Raft thread writes and everybody else reads. It may be a little old; a
//! region refuses what is not its.

use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use almadia::{ConfState, NodeId, RoleKind};
use tokio::sync::Notify;

use crate::region::{KeyRange, RegionId};

/// A region, as this node sees it.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its id.
    pub region: RegionId,
    /// Its keys.
    pub range: KeyRange,
    /// Counts how often its range has changed.
    pub version: u64,
    /// This node's role.
    pub role: RoleKind,
    /// Who leads, if that is known.
    pub leader: Option<NodeId>,
    /// The term.
    pub term: u64,
    /// The last entry of the log.
    pub last: u64,
    /// Up to where the log is known to be committed.
    pub committed: u64,
    /// Up to where it is applied.
    pub applied: u64,
    /// How many entries the log holds.
    pub log_len: u64,
    /// Whether its clock stands.
    pub is_asleep: bool,
    /// Its members.
    pub membership: ConfState,
    /// Up to where each member has the log, as far as this node knows.
    pub matched: Vec<(NodeId, Option<u64>)>,
}

/// The table.
#[derive(Default)]
pub struct Routes {
    by_start: RwLock<Arc<BTreeMap<Vec<u8>, Route>>>,
    changed: Notify,
}

impl Routes {
    /// These are the regions now.
    pub fn publish(&self, routes: Vec<Route>) {
        let table = routes
            .into_iter()
            .map(|route| (route.range.start.clone(), route));
        let table = Arc::new(table.collect());
        *self.by_start.write() = table;
        self.changed.notify_waiters();
    }

    /// All regions, by their first key.
    #[must_use]
    pub fn all(&self) -> Arc<BTreeMap<Vec<u8>, Route>> {
        Arc::clone(&self.by_start.read())
    }

    /// The region of a key.
    #[must_use]
    pub fn of(&self, key: &[u8]) -> Option<Route> {
        let all = self.all();
        let (_, route) = all
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(key)))
            .next_back()?;
        route.range.contains(key).then(|| route.clone())
    }

    /// A region by its id.
    #[must_use]
    pub fn region(&self, id: RegionId) -> Option<Route> {
        self.all()
            .values()
            .find(|route| route.region == id)
            .cloned()
    }

    /// Waits until the table is written again.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}
