//! The modelled disk of one node: what survives a crash, and what is on its way there.
//!
//! Owns the durable copy of log, hard state and state machine, and the queue of pending writes.
//! Must not know the node that writes; `host.rs` tells it what was written and learns when that is
//! durable.

use std::collections::VecDeque;

use almadia::{ConfState, Entries, HardState, LogId, LogIndex, Message, Snapshot, Storage};

use crate::embedder::{Embedder, Store};
use crate::node::Batch;
use crate::state_machine::StateMachine;

/// A fault of the embedder, injected on purpose: each one must be found by the checkers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EmbedderFault {
    /// A correct embedder.
    #[default]
    None,
    /// Acknowledges writes and releases `messages_after_persist` when a write begins, not when it
    /// is durable.
    AcknowledgesEarly,
    /// Persists the term and the commit index, but not the vote.
    ForgetsVote,
    /// The disk says that entries are durable and loses the last of them in a crash.
    LosesEntries,
}

/// One write: what one [`Batch`] asks to be persisted, and what waits for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Write {
    pub(crate) number: u64,
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) entries: Vec<Entries>,
    pub(crate) hard_state: Option<HardState>,
    pub(crate) must_sync: bool,
    pub(crate) messages_after_persist: Vec<Message>,
    /// Whether the node has been told already (only by a faulty embedder).
    pub(crate) is_acknowledged: bool,
}

impl Write {
    /// Takes out of a batch what is to be persisted.
    pub(crate) fn take_from(batch: &mut Batch) -> Self {
        Self {
            number: batch.number,
            snapshot: batch.snapshot.take(),
            entries: std::mem::take(&mut batch.entries),
            hard_state: batch.hard_state,
            must_sync: batch.must_sync,
            messages_after_persist: std::mem::take(&mut batch.messages_after_persist),
            is_acknowledged: false,
        }
    }

    /// Writes it, hard state apart.
    pub(crate) fn write_log<S: Store>(&self, storage: &mut S) -> Result<(), S::Error> {
        if let Some(snapshot) = &self.snapshot {
            storage.install_snapshot(snapshot.clone())?;
        }
        for run in &self.entries {
            storage.append(run)?;
        }
        Ok(())
    }
}

/// The disk of one node.
#[derive(Clone, Debug)]
pub(crate) struct Disk<E: Embedder> {
    /// Log, snapshot and hard state as a crash leaves them.
    pub(crate) durable: E::Store,
    /// The state machine as a crash leaves it. It is written apart from the log, so it may be ahead
    /// of it where entries are applied before they are persisted.
    pub(crate) machine: StateMachine<E::Machine>,
    pub(crate) pending: VecDeque<Write>,
    /// What was written without fsync, oldest first; the next fsync, or luck, makes it durable.
    unsynced: Vec<Write>,
    pub(crate) is_stalled: bool,
    pub(crate) fault: EmbedderFault,
    /// What the disk held before it last wrote entries, for [`EmbedderFault::LosesEntries`].
    before_last_entries: Option<(E::Store, StateMachine<E::Machine>)>,
}

impl<E: Embedder> Disk<E> {
    /// The disk of a node in a cluster that began with these members.
    pub(crate) fn new(conf_state: &ConfState) -> Self {
        Self {
            durable: E::Store::of_members(conf_state.clone()),
            machine: StateMachine::new(conf_state.clone()),
            pending: VecDeque::new(),
            unsynced: Vec::new(),
            is_stalled: false,
            fault: EmbedderFault::None,
            before_last_entries: None,
        }
    }

    /// Does one write, and makes it durable with all before it if the node asks for that. A node
    /// that does not ask, though its promises rest on the write, must be found out.
    pub(crate) fn complete(&mut self, write: &Write) -> Result<(), <E::Store as Store>::Error> {
        if !write.must_sync {
            self.unsynced.push(write.clone());
            return Ok(());
        }
        self.sync()?;
        self.make_durable(write)
    }

    fn make_durable(&mut self, write: &Write) -> Result<(), <E::Store as Store>::Error> {
        if self.fault == EmbedderFault::LosesEntries && !write.entries.is_empty() {
            self.before_last_entries = Some((self.durable.clone(), self.machine.clone()));
        }
        write.write_log(&mut self.durable)?;
        if let Some(restored) = write.snapshot.as_ref().and_then(StateMachine::restored) {
            self.machine = restored;
        }
        let hard_state = write.hard_state.map(|hard_state| match self.fault {
            EmbedderFault::ForgetsVote => HardState {
                voted_for: None,
                ..hard_state
            },
            EmbedderFault::None
            | EmbedderFault::AcknowledgesEarly
            | EmbedderFault::LosesEntries => hard_state,
        });
        if let Some(hard_state) = hard_state {
            self.durable.set_hard_state(hard_state);
        }
        Ok(())
    }

    /// An fsync of everything that was written without one.
    pub(crate) fn sync(&mut self) -> Result<(), <E::Store as Store>::Error> {
        let writes = std::mem::take(&mut self.unsynced);
        writes.iter().try_for_each(|write| self.make_durable(write))
    }

    /// Makes the state machine durable, unless a later one is.
    pub(crate) fn keep_machine(&mut self, machine: &StateMachine<E::Machine>) {
        if machine.applied_index() > self.machine.applied_index() {
            self.machine = machine.clone();
        }
    }

    /// The process stops. Of the pending writes the first `kept` have become durable all the same,
    /// and perhaps what was written without fsync.
    pub(crate) fn crash(
        &mut self,
        kept: usize,
        synced: bool,
    ) -> Result<(), <E::Store as Store>::Error> {
        let mut pending = std::mem::take(&mut self.pending);
        for write in pending.drain(..).take(kept) {
            self.complete(&write)?;
        }
        if synced {
            self.sync()?;
        }
        self.unsynced.clear();
        if self.fault == EmbedderFault::LosesEntries {
            self.lose_entries();
        }
        Ok(())
    }

    /// Goes back to the log before the last write that carried entries; term and vote stay.
    fn lose_entries(&mut self) {
        let Some((mut log, machine)) = self.before_last_entries.take() else {
            return;
        };
        let hard_state = self.durable.hard_state();
        let last = log.last_index().unwrap_or_default();
        log.set_hard_state(HardState {
            commit_index: hard_state.commit_index.min(last),
            ..hard_state
        });
        self.durable = log;
        self.machine = machine;
    }

    /// Saves a snapshot of the state machine. Returns up to where the log may be compacted for it:
    /// no further than this disk knows to be committed, because a node does not start from less.
    pub(crate) fn save_snapshot(&mut self, machine: &StateMachine<E::Machine>) -> Option<LogIndex> {
        self.sync().ok()?;
        self.keep_machine(machine);
        self.durable.save_snapshot(machine.snapshot()).ok()?;
        let committed = self.durable.hard_state().commit_index;
        Some(machine.applied_index().min(committed))
    }

    /// Compacts the log. Returns whether there was something to compact.
    pub(crate) fn compact(&mut self, through: LogIndex) -> bool {
        let is_new = self
            .durable
            .first_index()
            .is_ok_and(|first| through >= first);
        is_new && self.durable.compact(through).is_ok()
    }

    /// Whether this entry is on the disk, in the log or in a snapshot.
    pub(crate) fn holds(&self, id: LogId) -> bool {
        let is_compacted = self
            .durable
            .first_index()
            .is_ok_and(|first| id.index < first);
        is_compacted || self.durable.term(id.index) == Ok(id.term)
    }
}

#[cfg(test)]
mod tests {
    use almadia::{Entries, Entry, LogId, LogIndex, Payload, Storage, Term};

    use super::{ConfState, Disk, Write};
    use crate::embedder::Simulated;

    /// A write of one entry, which the node wants synced or not.
    fn write(index: u64, must_sync: bool) -> Write {
        let entry = Entry {
            id: LogId {
                term: Term(1),
                index: LogIndex(index),
            },
            payload: Payload::Data(Default::default()),
            context: Default::default(),
        };
        Write {
            entries: vec![Entries::from_iter([entry])],
            must_sync,
            ..Write::default()
        }
    }

    /// How far the log reaches after these writes and a crash, in which luck may help.
    fn left(writes: &[Write], synced: bool) -> u64 {
        let mut disk = Disk::<Simulated>::new(&ConfState::default());
        for write in writes {
            disk.complete(write).expect("it suits");
        }
        disk.crash(0, synced).expect("it suits");
        disk.durable.last_index().expect("it can be read").0
    }

    #[test]
    fn what_is_not_synced_is_lost_in_a_crash() {
        assert_eq!(left(&[write(1, true), write(2, false)], false), 1);
        assert_eq!(left(&[write(1, true), write(2, false)], true), 2);
    }

    #[test]
    fn an_fsync_makes_durable_what_was_written_before() {
        assert_eq!(left(&[write(1, false), write(2, true)], false), 2);
    }
}
