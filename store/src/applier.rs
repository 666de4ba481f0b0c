//! The thread that applies: at once whatever is committed, in all regions.
//!
//! Owns the order in which the state machine is changed, and when it is made durable. Knows no Raft
//! node.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use almadia::{ConfState, Entries, LogId, LogIndex, Snapshot};

use crate::command::Outcome;
use crate::metrics::Metrics;
use crate::raft::{Input, Refusal, Reply};
use crate::region::{Region, RegionId};
use crate::snapshot::{SnapshotError, Snapshots};
use crate::state::{Effect, State, StateError};

#[cfg(test)]
mod tests;

/// How long what is applied may be in memory alone.
const CHECKPOINT: Duration = Duration::from_millis(1_000);
/// How much of it.
const MAX_UNDURABLE_BYTES: usize = 64 << 20;
/// How many tasks go are applied at once at most.
const MAX_TASKS: usize = 256;

/// Something to apply.
pub enum Task {
    /// Committed entries of a region.
    Entries {
        /// The region.
        region: RegionId,
        /// The entries.
        runs: Vec<Entries>,
        /// The membership after each change among them that took place.
        memberships: BTreeMap<LogIndex, ConfState>,
        /// Who waits for which of them.
        replies: Vec<(LogId, Reply)>,
    },
    /// A snapshot takes the place of a region.
    Restore(RegionId, Snapshot),
    /// This node has no part in the region any more.
    Forget(RegionId),
}

/// What was applied.
#[derive(Debug)]
pub enum Applied {
    /// A region contains the entries up to this index, and these parts have come off it.
    Entries {
        /// The region.
        region: RegionId,
        /// The index.
        index: LogIndex,
        /// The parts.
        parts: Vec<Region>,
        /// The region, if its range or its members have changed.
        changed: Option<Region>,
    },
    /// A region is what a snapshot says.
    Restored(Region),
    /// Nothing is left of a region.
    Forgotten(RegionId),
    /// These regions are durable up to there.
    Durable(Vec<(RegionId, LogId)>),
}

/// What is applied and not known to be durable.
#[derive(Default)]
struct Undurable {
    regions: HashMap<RegionId, LogId>,
    bytes: usize,
}

/// Applies until nobody has anything to apply any more.
///
/// # Errors
///
/// If the database fails.
pub fn run(
    state: &Arc<State>,
    snapshots: &Arc<Snapshots>,
    tasks: &Receiver<Task>,
    inputs: &Sender<Input>,
    metrics: &Arc<Metrics>,
) -> Result<(), SnapshotError> {
    let mut undurable = Undurable::default();
    let mut due = Instant::now();
    let mut checkpoint: Option<JoinHandle<Result<(), StateError>>> = None;
    loop {
        let wait = if !undurable.regions.is_empty() {
            due.saturating_duration_since(Instant::now())
        } else if checkpoint.is_some() {
            // It may fail.
            CHECKPOINT
        } else {
            Duration::from_secs(3600)
        };
        let mut batch = Vec::new();
        match tasks.recv_timeout(wait) {
            Ok(task) => batch.push(task),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(state.checkpoint()?),
        }
        batch.extend(tasks.try_iter().take(MAX_TASKS));
        if undurable.regions.is_empty() {
            due = Instant::now() + CHECKPOINT;
        }
        for part in apart(batch) {
            let applied = apply(state, snapshots, part, inputs, &mut undurable)?;
            metrics.applied(applied);
        }
        if checkpoint.as_ref().is_some_and(JoinHandle::is_finished) {
            finish(checkpoint.take())?;
        }
        let is_due = Instant::now() >= due || undurable.bytes > MAX_UNDURABLE_BYTES;
        // While one is written the next may wait, but not so long that memory runs out.
        if is_due && (checkpoint.is_none() || undurable.bytes > 2 * MAX_UNDURABLE_BYTES) {
            finish(checkpoint.take())?;
            let durable: Vec<_> = undurable.regions.drain().collect();
            undurable.bytes = 0;
            let (state, inputs) = (Arc::clone(state), inputs.clone());
            checkpoint = Some(std::thread::spawn(move || {
                state.checkpoint()?;
                drop(inputs.send(Input::Applied(vec![Applied::Durable(durable)])));
                Ok(())
            }));
            due = Instant::now() + CHECKPOINT;
        } else if is_due {
            due = Instant::now() + CHECKPOINT / 10;
        }
    }
}

fn finish(checkpoint: Option<JoinHandle<Result<(), StateError>>>) -> Result<(), SnapshotError> {
    let result = checkpoint.map(JoinHandle::join);
    // Its panic is this thread's.
    let result = result.transpose().expect("a checkpoint does not panic");
    Ok(result.unwrap_or(Ok(()))?)
}

/// Entries that follow each other are applied at once, anything else by itself.
fn apart(batch: Vec<Task>) -> Vec<Vec<Task>> {
    let mut parts: Vec<Vec<Task>> = Vec::new();
    let mut joins = false;
    for task in batch {
        let is_entries = matches!(task, Task::Entries { .. });
        match parts.last_mut() {
            Some(part) if joins && is_entries => part.push(task),
            Some(_) | None => parts.push(vec![task]),
        }
        joins = is_entries;
    }
    parts
}

/// Returns how many entries it was.
fn apply(
    state: &Arc<State>,
    snapshots: &Arc<Snapshots>,
    mut part: Vec<Task>,
    inputs: &Sender<Input>,
    undurable: &mut Undurable,
) -> Result<u64, SnapshotError> {
    if let [Task::Restore(..) | Task::Forget(_)] = part.as_slice() {
        match part.remove(0) {
            Task::Restore(_, snapshot) => {
                let region = snapshots.restore(&snapshot)?;
                snapshots.remove(&snapshot);
                drop(inputs.send(Input::Applied(vec![Applied::Restored(region)])));
            }
            Task::Forget(id) => {
                state.replace(id, None, || Ok(None))?;
                undurable.regions.remove(&id);
                drop(inputs.send(Input::Applied(vec![Applied::Forgotten(id)])));
            }
            Task::Entries { .. } => {}
        }
        return Ok(0);
    }
    let mut applied = 0;
    let mut done = Vec::new();
    let mut answers = Vec::new();
    let mut states = state.change();
    for task in &mut part {
        let Task::Entries {
            region: id,
            runs,
            memberships,
            replies,
        } = task
        else {
            continue;
        };
        let Some(mut region) = states.region(*id)? else {
            continue;
        };
        let version = region.version;
        let before = region.applied().index.0;
        let mut effects = Vec::new();
        let entries = runs.iter().flatten();
        states.apply(&mut region, entries, memberships, &mut effects)?;
        undurable.regions.insert(*id, region.applied());
        applied += region.applied().index.0.saturating_sub(before);
        let parts = sort_out(effects, std::mem::take(replies), &mut answers);
        done.push(Applied::Entries {
            region: *id,
            index: region.applied().index,
            parts,
            changed: (version != region.version || !memberships.is_empty()).then_some(region),
        });
    }
    undurable.bytes = states.undurable_bytes();
    drop(states);
    let is_part = |applied: &Applied| match applied {
        Applied::Entries { parts, .. } => !parts.is_empty(),
        Applied::Restored(_) | Applied::Forgotten(_) | Applied::Durable(_) => false,
    };
    if done.iter().any(is_part) {
        // Before a part has a log: if the division were forgotten then, the part and the whole would
        // both have the keys.
        state.checkpoint()?;
    }
    for (reply, outcome) in answers {
        reply.send(outcome);
    }
    drop(inputs.send(Input::Applied(done)));
    Ok(applied)
}

/// Finds out who waits for which outcome. Returns the parts that have come off the region.
fn sort_out(
    effects: Vec<Effect>,
    replies: Vec<(LogId, Reply)>,
    answers: &mut Vec<(Reply, Result<Outcome, Refusal>)>,
) -> Vec<Region> {
    let mut parts = Vec::new();
    let mut replies = replies.into_iter().peekable();
    for effect in effects {
        match effect {
            Effect::Outcome(id, outcome) => {
                if let Some((_, reply)) = replies.next_if(|(waiting, _)| *waiting == id) {
                    answers.push((reply, Ok(outcome)));
                }
            }
            Effect::Split(part) => parts.push(part),
        }
    }
    parts
}
