//! The disk and the state machine of a node of an interaction script, and the threads that etcd/raft
//! has for them.
//!
//! Owns what is written and applied in which order, and when the node is told. Must not know what
//! else the node wants done.

use almadia::{
    Entries, EntriesRequest, Entry, HardState, LogId, LogIndex, Payload, Purpose, Ready, Snapshot,
    Storage,
};

use super::Node;
use crate::script::interaction::describe;
use crate::script::interaction::mail::{AppendWork, Appended, ApplyWork, Mail};
use crate::script::interaction::output::{Output, Seen};

impl Node {
    /// With one thread for all: writes and applies what the node wants.
    pub(super) fn write_and_apply(&mut self, output: &Output) -> Result<(), String> {
        self.write(output.hard_state, &output.entries, output.snapshot.as_ref())?;
        self.apply(&output.committed)
    }

    /// Says that everything is done. Each `Ready` is acknowledged by itself, as each append of a
    /// leader is in etcd/raft.
    pub(super) fn advance(&mut self, output: &Output) -> Result<(), String> {
        for &number in &output.numbers {
            self.persisted(number)?;
        }
        output
            .applies_to
            .map_or(Ok(()), |index| self.applied(index))
    }

    pub(super) fn persisted(&mut self, number: u64) -> Result<(), String> {
        self.call(|raft| raft.persisted(number))
            .map_err(|error| error.to_string())
    }

    pub(super) fn applied(&mut self, index: LogIndex) -> Result<(), String> {
        self.call(|raft| raft.applied(index))
            .map_err(|error| error.to_string())
    }

    fn write(
        &mut self,
        hard_state: Option<HardState>,
        entries: &[Entry],
        snapshot: Option<&Snapshot>,
    ) -> Result<(), String> {
        let storage = self.raft.storage_mut();
        let result = match snapshot {
            Some(_) if !entries.is_empty() => {
                return Err("can't apply snapshot and entries at the same time".to_owned());
            }
            Some(snapshot) => {
                self.state = snapshot.clone();
                storage.install_snapshot(snapshot.clone())
            }
            None => storage.append(entries),
        };
        if let Some(hard_state) = hard_state {
            storage.set_hard_state(hard_state);
        }
        result.map_err(|error| error.to_string())
    }

    fn apply(&mut self, entries: &[Entry]) -> Result<(), String> {
        for entry in entries {
            if entry.index() <= self.state.last_included.index {
                // A snapshot has overtaken it.
                continue;
            }
            let conf_state = match &entry.payload {
                Payload::Data(_) => Ok(self.state.conf_state.clone()),
                Payload::Change(change) => self.call(|raft| raft.apply_conf_change(change)),
            };
            let data = match &entry.payload {
                Payload::Data(data) => data,
                Payload::Change(change) => &change.context,
            };
            self.state = Snapshot {
                last_included: entry.id,
                conf_state: conf_state.map_err(|error| error.to_string())?,
                data: [self.state.data.as_ref(), data].concat().into(),
            };
            // Whoever asks for a snapshot gets the state as it is.
            let saved = self.raft.storage_mut().save_snapshot(self.state.clone());
            saved.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    pub(in crate::script::interaction) fn compact(
        &mut self,
        index: LogIndex,
    ) -> Result<(), String> {
        let storage = self.raft.storage_mut();
        if storage.first_index().is_ok_and(|first| index < first) {
            return Err("requested index is unavailable due to compaction".to_owned());
        }
        storage.compact(index).map_err(|error| error.to_string())
    }

    /// The log as it is on the disk.
    pub(in crate::script::interaction) fn log(&self) -> Result<String, String> {
        let storage = self.raft.storage();
        let bounds = storage
            .first_index()
            .and_then(|first| Ok((first, storage.last_index()?)));
        let (first, last) = bounds.map_err(|error| error.to_string())?;
        if last < first {
            return Ok(format!(
                "log is empty: first index={first}, last index={last}"
            ));
        }
        let request = EntriesRequest::new(first, last, u64::MAX, Purpose::Scan);
        let entries = storage
            .entries(&request)
            .map_err(|error| error.to_string())?;
        Ok(describe::entries(&entries).join("\n") + "\n")
    }

    // --- The threads ---

    /// Notes what is to be written, for as long as the append thread has not reported it.
    pub(super) fn note_writes(&mut self, ready: &Ready) {
        if ready.snapshot.is_some() {
            self.unreported = None;
        }
        let last = ready.entries.last().and_then(Entries::last_id);
        self.unreported = last.or(self.unreported);
    }

    /// Orders from the storage threads what the node wants written and applied.
    pub(super) fn order_work(
        &mut self,
        output: Output,
        before: &Seen,
        sent: &mut Vec<Mail>,
    ) -> String {
        let id = self.id();
        let mut shown: Vec<String> = Vec::new();
        for message in &output.at_once {
            shown.push(Mail::Message(message.clone()).describe());
        }
        let append = self.append_work_of(&output);
        let apply = output.applies_to.filter(|_| !output.committed.is_empty());
        let apply = apply.map(|through| ApplyWork {
            entries: output.committed.clone(),
            through,
        });
        shown.extend(append.as_ref().map(|work| work.describe(id, true)));
        shown.extend(apply.as_ref().map(|work| work.describe(id, true)));
        let text = output.describe(before, &self.seen, &shown);
        sent.extend(output.at_once.into_iter().map(Mail::Message));
        self.append_work.extend(append);
        self.apply_work.extend(apply);
        text
    }

    fn append_work_of(&self, output: &Output) -> Option<AppendWork> {
        let number = output.numbers.last().copied()?;
        let hard_state = output.hard_state;
        let mut responses = output.after_persist.clone();
        if hard_state.is_none()
            && output.entries.is_empty()
            && output.snapshot.is_none()
            && responses.is_empty()
        {
            return None;
        }
        let last = self.unreported;
        if last.is_some() || output.snapshot.is_some() {
            responses.push(Mail::Appended(Appended {
                node: self.id(),
                term: self.raft.current_term(),
                last: last.unwrap_or_default(),
                snapshot: output.snapshot.clone(),
                number,
            }));
        }
        Some(AppendWork {
            hard_state,
            entries: output.entries.clone(),
            snapshot: output.snapshot.clone(),
            responses,
        })
    }

    pub(in crate::script::interaction) fn has_append_work(&self) -> bool {
        !self.append_work.is_empty()
    }

    pub(in crate::script::interaction) fn has_apply_work(&self) -> bool {
        !self.apply_work.is_empty()
    }

    /// Does the oldest write.
    pub(in crate::script::interaction) fn process_append(
        &mut self,
        sent: &mut Vec<Mail>,
    ) -> (String, Result<(), String>) {
        let Some(work) = self.append_work.pop_front() else {
            return ("no append work to perform".to_owned(), Ok(()));
        };
        let mut text = format!("Processing:\n{}\n", work.describe(self.id(), false));
        let written = self.write(work.hard_state, &work.entries, work.snapshot.as_ref());
        if written.is_err() {
            return (text, written);
        }
        text.push_str("Responses:\n");
        for response in &work.responses {
            text += &format!("{}\n", response.describe());
        }
        // A write that none of them reports, as etcd/raft's node need not know of it, is
        // acknowledged with the next one that is reported.
        sent.extend(work.responses);
        (text, Ok(()))
    }

    /// Applies what is to be applied first.
    pub(in crate::script::interaction) fn process_apply(
        &mut self,
        sent: &mut Vec<Mail>,
    ) -> (String, Result<(), String>) {
        let Some(work) = self.apply_work.pop_front() else {
            return ("no apply work to perform".to_owned(), Ok(()));
        };
        let id = self.id();
        let mut text = format!("Processing:\n{}\n", work.describe(id, false));
        let applied = self.apply(&work.entries);
        if applied.is_ok() {
            let response = work.response(id);
            text += &format!("Responses:\n{}\n", response.describe());
            sent.push(response);
        }
        (text, applied)
    }

    /// The append thread has reported that the log is durable up to this entry.
    pub(super) fn reported(&mut self, last: LogId) {
        self.unreported = self.unreported.filter(|&id| id != last);
    }
}
