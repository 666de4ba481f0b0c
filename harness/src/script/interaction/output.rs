//! What a node wants done, collected from several `Ready`s until the script asks for it.
//!
//! Owns the merging of `Ready`s into the one that etcd/raft's node would have made, and how that is
//! shown. Must not know how any of it is carried out.

use almadia::{
    Entry, HardState, LogIndex, MemStorage, Message, NodeId, ReadState, Ready, RoleKind, Snapshot,
    Term,
};

use super::describe;
use super::mail::{Mail, OwnAnswer, waits_for_disk};
use crate::checker::is_covered;

/// Several `Ready`s in one.
#[derive(Clone, Debug, Default)]
pub(super) struct Output {
    /// Messages that may leave at once.
    pub(super) at_once: Vec<Message>,
    /// What leaves, or is told to the node itself, when all of this is durable.
    pub(super) after_persist: Vec<Mail>,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) entries: Vec<Entry>,
    /// The last hard state that is to be written, if any is.
    pub(super) hard_state: Option<HardState>,
    /// Whether the writes must be synced, as etcd/raft's node would ask for that.
    must_sync: bool,
    /// Messages that may leave at once, but speak for what is not durable. There must be none.
    too_early: Vec<String>,
    pub(super) committed: Vec<Entry>,
    /// Up to here everything is applied when all of this is.
    pub(super) applies_to: Option<LogIndex>,
    pub(super) read_states: Vec<ReadState>,
    /// The numbers of the `Ready`s.
    pub(super) numbers: Vec<u64>,
}

/// What the script has seen of a node's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) leader: Option<NodeId>,
    pub(super) role: RoleKind,
}

impl Output {
    /// Adds a `Ready`. `leads_in` is the term in which the node leads, if it does; `durable` is
    /// what it has on its disk.
    pub(super) fn add(
        &mut self,
        ready: Box<Ready>,
        node: NodeId,
        leads_in: Option<Term>,
        durable: &MemStorage,
    ) {
        let number = ready.number;
        self.must_sync |= asks_for_sync(&ready, self.hard_state.unwrap_or(durable.hard_state()));
        self.hard_state = ready.hard_state.or(self.hard_state);
        let messages = ready.messages.iter();
        let too_early = messages.filter(|it| !is_covered(durable, durable.hard_state(), it));
        self.too_early
            .extend(too_early.map(|it| Mail::Message(it.clone()).describe()));
        self.numbers.push(number);
        self.applies_to = ready.applies_to().or(self.applies_to);
        self.read_states.extend(ready.read_states);
        if let Some(snapshot) = ready.snapshot.map(|snapshot| *snapshot) {
            // It takes the place of all that was to be written and applied before.
            self.entries.clear();
            self.committed.clear();
            self.snapshot = Some(snapshot);
        }
        let entries = || ready.entries.iter().flatten();
        if let Some(first) = entries().next() {
            self.entries.retain(|entry| entry.index() < first.index());
        }
        self.entries.extend(entries().cloned());
        let committed = ready.committed_entries.iter().flatten();
        self.committed.extend(committed.cloned());
        if let (Some(term), Some(last)) = (leads_in, entries().last()) {
            self.after_persist.push(Mail::Own(OwnAnswer {
                node,
                kind: "MsgAppResp",
                term,
                index: last.index(),
                number,
            }));
        }
        for message in ready.messages {
            if waits_for_disk(&message.body) {
                self.after_persist.push(Mail::Message(message));
            } else {
                self.at_once.push(message);
            }
        }
        let after_persist = ready.messages_after_persist.into_iter();
        self.after_persist.extend(after_persist.map(Mail::Message));
    }

    /// All messages to other nodes. Those that etcd/raft's nodes hold back come last.
    pub(super) fn messages(&self) -> Vec<Mail> {
        let after_persist = self.after_persist.iter().filter_map(|mail| match mail {
            Mail::Message(message) => Some(message),
            Mail::Own(_) | Mail::Appended(_) | Mail::Applied { .. } => None,
        });
        let mut messages: Vec<Message> =
            self.at_once.iter().chain(after_persist).cloned().collect();
        messages.sort_by_key(|message| waits_for_disk(&message.body));
        messages.into_iter().map(Mail::Message).collect()
    }

    /// Whether etcd/raft's node would have something to do.
    pub(super) fn is_empty(&self) -> bool {
        self.at_once.is_empty()
            && self.after_persist.is_empty()
            && self.snapshot.is_none()
            && self.entries.is_empty()
            && self.hard_state.is_none()
            && self.committed.is_empty()
            && self.read_states.is_empty()
    }

    /// Shows it, with these messages. `before` is what was seen of the node before, `now` what is to
    /// be seen.
    pub(super) fn describe(&self, before: &Seen, now: &Seen, messages: &[String]) -> String {
        let mut lines = Vec::new();
        if (before.leader, before.role) != (now.leader, now.role) {
            lines.push(describe::soft_state(now.leader, now.role));
        }
        if let Some(hard_state) = &self.hard_state {
            lines.push(format!("HardState {}", describe::hard_state(hard_state)));
        }
        if !self.read_states.is_empty() {
            let states = describe::read_states(&self.read_states);
            lines.push(format!("ReadStates {states}"));
        }
        section(&mut lines, "Entries:", &describe::entries(&self.entries));
        if let Some(snapshot) = &self.snapshot {
            lines.push(format!("Snapshot {}", describe::snapshot(snapshot)));
        }
        let committed = describe::entries(&self.committed);
        section(&mut lines, "CommittedEntries:", &committed);
        section(&mut lines, "Messages:", messages);
        let too_early = self.too_early.iter();
        lines.extend(too_early.map(|message| format!("before it is durable: {message}")));
        if lines.is_empty() {
            return "<empty Ready>".to_owned();
        }
        format!("Ready MustSync={}:\n{}\n", self.must_sync, lines.join("\n"))
    }
}

/// Whether etcd/raft's node would ask for an fsync where this one has made this `Ready` after that
/// hard state. Only etcd/raft's need not for a snapshot alone; one that does not ask here either
/// asks for the contrary of what it should, and so is seen to differ.
fn asks_for_sync(ready: &Ready, before: HardState) -> bool {
    let vote = |hard_state: &HardState| (hard_state.current_term, hard_state.voted_for);
    let has_voted = ready
        .hard_state
        .is_some_and(|after| vote(&after) != vote(&before));
    let is_snapshot_alone = ready.snapshot.is_some() && ready.entries.is_empty() && !has_voted;
    ready.must_sync != is_snapshot_alone
}

fn section(lines: &mut Vec<String>, title: &str, content: &[String]) {
    if !content.is_empty() {
        lines.push(title.to_owned());
        lines.extend_from_slice(content);
    }
}
