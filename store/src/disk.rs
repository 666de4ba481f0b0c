//! How much room is left where a node keeps everything.
//!
//! Owns when it is too little: first for what clients want written, then for what a leader wants
//! written. What is left is for what has to go on: elections, checkpoints, and giving room back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use almadia::NodeId;
use nix::sys::statvfs::statvfs;

/// So often it is looked, as long as there is much room.
const SELDOM: Duration = Duration::from_secs(1);
/// So often it is looked when there is little.
const OFTEN: Duration = Duration::from_millis(100);
/// Below so many times the reserve, there is little.
const LITTLE: u64 = 8;

/// The room of a node.
#[derive(Debug)]
pub struct Disk {
    node: NodeId,
    dir: PathBuf,
    reserve: u64,
    free: AtomicU64,
}

impl Disk {
    /// The room of a node in this directory, of which so many bytes are not for clients.
    #[must_use]
    pub fn new(node: NodeId, dir: &Path, reserve: u64) -> Arc<Self> {
        let disk = Self {
            node,
            dir: dir.to_owned(),
            reserve,
            free: AtomicU64::new(u64::MAX),
        };
        disk.look();
        Arc::new(disk)
    }

    /// Looks again and again.
    pub async fn watch(self: Arc<Self>) {
        loop {
            let free = self.free.load(Ordering::Relaxed);
            let is_little = free < self.reserve.saturating_mul(LITTLE);
            tokio::time::sleep(if is_little { OFTEN } else { SELDOM }).await;
            let disk = Arc::clone(&self);
            // A disk that does not answer keeps a thread, and no other task.
            drop(tokio::task::spawn_blocking(move || disk.look()).await);
        }
    }

    fn look(&self) {
        // What cannot be asked is not called full.
        let free = statvfs(&self.dir).map_or(u64::MAX, |found| {
            found
                .blocks_available()
                .saturating_mul(found.fragment_size())
        });
        let was_full = self.free.swap(free, Ordering::Relaxed) < self.reserve;
        match (was_full, self.full()) {
            (false, Some(why)) => tracing::error!("{why}"),
            (true, None) => tracing::info!(free, "there is room again; writes are taken"),
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Why nothing is to be written for clients, if that is so.
    #[must_use]
    pub fn full(&self) -> Option<String> {
        let free = self.free.load(Ordering::Relaxed);
        (free < self.reserve).then(|| {
            format!(
                "the disk of node {} is full: {} KiB are free for {}, and below {} KiB \
                 (`--reserve-bytes`) no writes are taken, while reads go on; make room there, or \
                 have another node lead",
                self.node,
                free >> 10,
                self.dir.display(),
                self.reserve >> 10,
            )
        })
    }

    /// Whether not even what a leader wants written is to be written, so that this node does not fail.
    #[must_use]
    pub fn is_nearly_gone(&self) -> bool {
        self.free.load(Ordering::Relaxed) < self.reserve / 2
    }
}
