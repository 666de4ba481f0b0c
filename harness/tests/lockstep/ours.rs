//! One almadia node, driven through everything that a `Ready` asks for before the next input.
//!
//! Owns the run loop with a disk that is never late. The peers of the compared node are nodes of
//! this kind too. Knows nothing of what they are compared with.

use almadia::{
    Bytes, Config, Entry, LogId, LogIndex, MemStorage, Message, Payload, RawNode, ReadState,
    Snapshot, Storage,
};

/// What a node has done since it was last asked, in order.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) messages: Vec<Message>,
    pub(crate) written: Vec<Entry>,
    pub(crate) applied: Vec<Entry>,
    pub(crate) reads: Vec<ReadState>,
    /// How many of the applied changes were impossible.
    pub(crate) refused_changes: usize,
}

pub(crate) struct Ours {
    pub(crate) node: RawNode<MemStorage>,
}

impl Ours {
    pub(crate) fn start(config: Config, storage: MemStorage) -> Self {
        let node = RawNode::new(config, storage).expect("the storage is in order");
        Self { node }
    }

    /// Does everything that is to be done now.
    pub(crate) fn drain(&mut self) -> Output {
        let mut output = Output::default();
        while let Some(mut ready) = self.node.ready().expect("a storage in memory never fails") {
            output.messages.append(&mut ready.messages);
            let storage = self.node.storage_mut();
            if let Some(snapshot) = ready.snapshot.take() {
                storage
                    .install_snapshot(*snapshot)
                    .expect("it is a newer one");
            }
            for run in &ready.entries {
                storage.append(run).expect("they continue the log");
                output.written.extend(run.iter().cloned());
            }
            if let Some(hard_state) = ready.hard_state {
                storage.set_hard_state(hard_state);
            }
            output.messages.append(&mut ready.messages_after_persist);
            for entry in ready.committed_entries.iter().flatten() {
                if let Payload::Change(change) = &entry.payload {
                    match self.node.apply_conf_change(change) {
                        Ok(conf_state) => self.node.storage_mut().set_conf_state(conf_state),
                        Err(_) => output.refused_changes += 1,
                    }
                }
                output.applied.push(entry.clone());
            }
            output.reads.append(&mut ready.read_states);
            self.node.advance(ready).expect("it is this node's Ready");
        }
        output
    }

    /// The entry that was applied last.
    pub(crate) fn applied(&self) -> LogId {
        let index = self.node.last_applied();
        let term = self.node.storage().term(index).expect("it is in the log");
        LogId { term, index }
    }

    /// A snapshot of what is applied; nothing before the first entry.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        let last_included = self.applied();
        (last_included != LogId::ZERO).then(|| Snapshot {
            last_included,
            conf_state: self.node.membership().to_conf_state(),
            data: Bytes::copy_from_slice(&last_included.index.0.to_be_bytes()),
        })
    }

    /// Saves a snapshot, and drops the log up to here as far as it covers it.
    pub(crate) fn compact(&mut self, index: LogIndex) {
        let Some(snapshot) = self.snapshot() else {
            return;
        };
        let through = index.min(snapshot.last_included.index);
        let storage = self.node.storage_mut();
        storage.save_snapshot(snapshot).expect("it is of this log");
        if storage.first_index().is_ok_and(|first| first <= through) {
            storage.compact(through).expect("the snapshot covers it");
        }
    }
}
