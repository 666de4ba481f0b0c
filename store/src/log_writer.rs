//! The thread that writes the logs: one write, and one fsync, for everything that has come up while
//! the one before was under way.
//!
//! Owns the order: first durable, then said. Knows no Raft node.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use almadia::{HardState, LogId, Message};

use crate::log::{Log, LogError, RegionWrite};
use crate::metrics::Metrics;
use crate::raft::Input;
use crate::region::RegionId;

#[cfg(test)]
mod tests;

/// The writes of a node up to one of its `Ready`s.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Which one of the nodes of the region.
    pub generation: u64,
    /// The number of the `Ready`.
    pub number: u64,
}

/// Something for the log.
pub enum Task {
    /// What a `Ready` wants written.
    Write {
        /// The region.
        region: RegionId,
        /// Of which `Ready`.
        written: Written,
        /// What is to be written.
        write: RegionWrite,
        /// Whether it must be durable before anything is said of it.
        must_sync: bool,
        /// What is said then.
        messages: Vec<Message>,
    },
    /// Everything up to this entry is in the state machine, durably.
    Cut(RegionId, LogId),
    /// A region begins here, and has this hard state. It is told when that is durable.
    Begin(RegionId, LogId, HardState, Sender<()>),
    /// This node has no part in the region any more. It is told when that is durable.
    Leave(RegionId, Sender<()>),
    /// The state machine has forgotten the region; this is the hard state.
    Forget(RegionId, HardState),
    /// This node is a member of the region after all. It is told when that is durable.
    Stay(RegionId, Sender<()>),
    /// The snapshot that ends here is in the state machine.
    SnapshotRestored(RegionId, LogId),
}

/// Waits until what is asked for is durable, and all that was asked for before.
pub fn wait_for(log: &Sender<Task>, task: impl FnOnce(Sender<()>) -> Task) {
    let (done, wait) = std::sync::mpsc::channel();
    drop(log.send(task(done)));
    // If nobody answers, the node is being stopped.
    wait.recv().ok();
}

/// Writes until nobody has anything to write any more. What speaks for a write is sent by `send`.
///
/// # Errors
///
/// If the disk fails. Nobody has been told then that the write was durable.
pub fn run(
    log: &Log,
    tasks: &Receiver<Task>,
    send: impl Fn(RegionId, Vec<Message>),
    inputs: &Sender<Input>,
    metrics: &Arc<Metrics>,
) -> Result<(), LogError> {
    let mut batch = Vec::new();
    let mut held = Held::new();
    while let Ok(first) = tasks.recv() {
        batch.push(first);
        batch.extend(tasks.try_iter());
        if batch.iter().any(must_last) {
            write(log, &mut held, &batch, metrics)?;
        } else {
            hold(&mut held, &batch);
        }
        let mut persisted = Vec::new();
        for task in batch.drain(..) {
            match task {
                Task::Write {
                    region,
                    written,
                    messages,
                    ..
                } => {
                    send(region, messages);
                    persisted.push((region, written));
                }
                Task::Begin(.., done) | Task::Leave(_, done) | Task::Stay(_, done) => {
                    done.send(()).ok();
                }
                Task::Forget(region, _) => drop(inputs.send(Input::Forgotten(region))),
                Task::Cut(..) | Task::SnapshotRestored(..) => {}
            }
        }
        // If nobody listens, the node is being stopped.
        drop(inputs.send(Input::Persisted(persisted)));
    }
    write(log, &mut held, &[], metrics)
}

/// New commit indexes, which need not last: they are no reason to write. They go with the next write that
/// must last, for then they must, too.
///
/// They are not written without a sync meanwhile: raft-engine gives files back as soon as something younger
/// says what they say, and the vote is in the same record.
type Held = HashMap<RegionId, HardState>;

/// Whether this must be written now.
const fn must_last(task: &Task) -> bool {
    !matches!(
        task,
        Task::Write {
            must_sync: false,
            ..
        }
    )
}

fn hold(held: &mut Held, batch: &[Task]) {
    for task in batch {
        if let Task::Write { region, write, .. } = task {
            held.extend(write.hard_state.map(|hard_state| (*region, hard_state)));
        }
    }
}

fn write(log: &Log, held: &mut Held, batch: &[Task], metrics: &Metrics) -> Result<(), LogError> {
    let mut writing = log.write();
    for (region, hard_state) in held.drain() {
        writing.put(region, &RegionWrite::of(hard_state))?;
    }
    for task in batch {
        match task {
            Task::Write { region, write, .. } => {
                // It looks at what is written, to clear it away.
                if write.snapshot.is_some() {
                    std::mem::replace(&mut writing, log.write()).commit()?;
                }
                writing.put(*region, write)?;
            }
            Task::Cut(region, cut) => writing.cut(*region, *cut)?,
            Task::Begin(region, begin, hard_state, _) => {
                // It takes the place of whatever is written.
                std::mem::replace(&mut writing, log.write()).commit()?;
                writing.begin_at(*region, *begin)?;
                writing.put(*region, &RegionWrite::of(*hard_state))?;
            }
            Task::Leave(region, _) => writing.leave(*region)?,
            Task::Forget(region, hard_state) => {
                // It looks at what is written, to clear it away.
                std::mem::replace(&mut writing, log.write()).commit()?;
                writing.forget(*region, *hard_state)?;
            }
            Task::Stay(region, _) => writing.stay(*region),
            Task::SnapshotRestored(region, at) => {
                // A later one may have taken its place, which is not in the state machine yet.
                std::mem::replace(&mut writing, log.write()).commit()?;
                let noted = log.snapshot(*region)?;
                if noted.is_some_and(|noted| noted.last_included == *at) {
                    writing.forget_snapshot(*region);
                }
            }
        }
    }
    let begun = std::time::Instant::now();
    let bytes = writing.commit()?;
    metrics.log_written(bytes, begun.elapsed());
    Ok(())
}
