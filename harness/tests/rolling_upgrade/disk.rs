//! What a machine keeps: bytes, as the codec of whoever has written them made them.
//!
//! Owns which bytes there are, and what a crash takes back. Must not know what is in them: each
//! implementation reads and writes them in a file of its own.

use std::cell::{Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;

/// The files of a machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    pub(crate) hard_state: Vec<u8>,
    /// The membership as of what is applied.
    pub(crate) conf_state: Vec<u8>,
    /// Each entry by its index.
    pub(crate) log: BTreeMap<u64, Vec<u8>>,
    /// Stands before the log, if that does not begin at 1.
    pub(crate) snapshot: Option<Vec<u8>>,
    /// The last index applied, which is all that raft-rs knows of it.
    pub(crate) applied: u64,
    /// What the state machine holds: all commands, in order.
    pub(crate) commands: Vec<String>,
}

impl Files {
    /// Writes this entry, and nothing behind it is left.
    pub(crate) fn append(&mut self, index: u64, entry: Vec<u8>) {
        self.log.split_off(&index);
        self.log.insert(index, entry);
    }

    /// A snapshot that ends with what is applied takes the place of the log up to there.
    pub(crate) fn compact(&mut self, snapshot: Vec<u8>) {
        self.log = self.log.split_off(&(self.applied + 1));
        self.snapshot = Some(snapshot);
    }

    /// A snapshot of somebody else's takes the place of all.
    pub(crate) fn install(&mut self, snapshot: Vec<u8>, index: u64, data: &[u8]) {
        self.log.clear();
        self.snapshot = Some(snapshot);
        self.applied = index;
        let text = String::from_utf8_lossy(data);
        self.commands = text.lines().map(String::from).collect();
    }

    /// The state machine is told a command; a leader's own entry is empty.
    pub(crate) fn apply(&mut self, index: u64, data: &[u8]) {
        assert_eq!(index, self.applied + 1, "applied out of order");
        self.applied = index;
        if !data.is_empty() {
            self.commands
                .push(String::from_utf8_lossy(data).into_owned());
        }
    }

    /// The state machine in one piece.
    pub(crate) fn state(&self) -> Vec<u8> {
        self.commands.join("\n").into_bytes()
    }
}

/// The files as they are written, and as they are synced. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    written: Rc<RefCell<Files>>,
    synced: Rc<RefCell<Files>>,
}

impl Disk {
    pub(crate) fn read(&self) -> Ref<'_, Files> {
        self.written.borrow()
    }

    pub(crate) fn write(&self) -> RefMut<'_, Files> {
        self.written.borrow_mut()
    }

    pub(crate) fn sync(&self) {
        self.synced.borrow_mut().clone_from(&self.written.borrow());
    }

    /// What is not synced is lost.
    pub(crate) fn crash(&self) {
        self.written.borrow_mut().clone_from(&self.synced.borrow());
    }
}
