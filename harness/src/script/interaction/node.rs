//! One node of an interaction script.
//!
//! Owns its start, the taking of its output and what of it is to be seen. What is done to it stands
//! in `node/input.rs`, what becomes of its writes in `node/disk.rs`. Must not know the other nodes;
//! mail is given to it and taken from it.

mod disk;
mod input;

use std::collections::VecDeque;

use almadia::{
    Bytes, ConfState, Config, LogId, LogIndex, MemStorage, NodeId, RawNode, RoleKind, Snapshot,
    Term,
};

use super::clock::{Clock, ELECTION_TICKS};
use super::command::{Bootstrap, Settings};
use super::describe;
use super::mail::{AppendWork, ApplyWork, Mail, OwnAnswer};
use super::output::{Output, Seen};

/// The term of the snapshot that a node begins with.
const FIRST_TERM: Term = Term(1);

#[derive(Debug)]
pub(super) struct Node {
    raft: RawNode<MemStorage>,
    is_async: bool,
    clock: Clock,
    output: Output,
    seen: Seen,
    /// The state machine, as a snapshot behind the last entry applied. It appends whatever it is
    /// told to what it was told before.
    state: Snapshot,
    append_work: VecDeque<AppendWork>,
    apply_work: VecDeque<ApplyWork>,
    /// The last entry of the log, until the append thread has reported that it is durable.
    unreported: Option<LogId>,
}

impl Node {
    pub(super) fn new(
        id: NodeId,
        settings: &Settings,
        bootstrap: Option<&Bootstrap>,
    ) -> Result<Self, String> {
        let state = Snapshot {
            last_included: bootstrap.map_or(LogId::ZERO, |bootstrap| LogId {
                term: FIRST_TERM,
                index: bootstrap.index,
            }),
            conf_state: bootstrap.map_or_else(ConfState::default, |it| it.conf_state.clone()),
            data: bootstrap.map_or_else(Bytes::new, |it| it.content.clone().into()),
        };
        let storage = match bootstrap {
            None => MemStorage::new(),
            Some(bootstrap) if bootstrap.index <= LogIndex(1) => {
                return Err("index must be specified as > 1 due to bootstrap".to_owned());
            }
            Some(_) => MemStorage::with_snapshot(state.clone()),
        };
        let config = config(id, settings, state.last_included)?;
        let raft = RawNode::new(config, storage).map_err(|error| error.to_string())?;
        let mut node = Self {
            is_async: settings.async_storage_writes,
            clock: Clock::new(&raft),
            output: Output::default(),
            seen: now(&raft),
            state,
            append_work: VecDeque::new(),
            apply_work: VecDeque::new(),
            unreported: None,
            raft,
        };
        if settings.lease_based {
            // Whatever it might have promised before its start is over.
            node.call(|raft| raft.tick_many(ELECTION_TICKS))
                .map_err(|error| error.to_string())?;
            node.clock = Clock::new(&node.raft);
        }
        Ok(node)
    }

    pub(super) fn id(&self) -> NodeId {
        self.raft.id()
    }

    /// Does something with the node, and takes what it wants done at once: a proposal is sent in a
    /// message of its own then, and every advance of the commit index is told.
    fn call<T>(&mut self, call: impl FnOnce(&mut RawNode<MemStorage>) -> T) -> T {
        self.call_in(0, call)
    }

    /// As [`call`](Self::call), where so many ticks pass in it.
    fn call_in<T>(&mut self, ticks: u32, call: impl FnOnce(&mut RawNode<MemStorage>) -> T) -> T {
        let before = (self.raft.role(), self.raft.current_term());
        let result = call(&mut self.raft);
        let (role, term) = (self.raft.role(), self.raft.current_term());
        let id = self.id();
        let leads_in = (role == RoleKind::Leader).then_some(term);
        // A storage in memory does not fail, so no node stops here.
        while let Ok(Some(ready)) = self.raft.ready() {
            self.note_writes(&ready);
            let durable = self.raft.storage();
            self.output.add(ready, id, leads_in, durable);
        }
        if before != (role, term) {
            self.vote_for_itself();
        }
        self.clock.observe(&self.raft, ticks);
        result
    }

    /// A candidate's vote for itself, which in etcd/raft is a message.
    fn vote_for_itself(&mut self) {
        let term = self.raft.current_term();
        let (kind, term) = match self.raft.role() {
            RoleKind::PreCandidate => ("MsgPreVoteResp", term.next()),
            RoleKind::Candidate => ("MsgVoteResp", term),
            RoleKind::Follower | RoleKind::Leader => return,
        };
        let number = self.output.numbers.last().copied().unwrap_or_default();
        self.output.after_persist.push(Mail::Own(OwnAnswer {
            node: self.id(),
            kind,
            term,
            index: LogIndex::ZERO,
            number,
        }));
    }

    // --- Output ---

    pub(super) fn has_ready(&self) -> bool {
        !self.output.is_empty() || self.seen != now(&self.raft)
    }

    /// Does what the node wants done, and puts its mail into `sent`. Returns what is shown.
    pub(super) fn process_ready(&mut self, sent: &mut Vec<Mail>) -> (String, Result<(), String>) {
        let output = std::mem::take(&mut self.output);
        let before = std::mem::replace(&mut self.seen, now(&self.raft));
        if self.is_async {
            return (self.order_work(output, &before, sent), Ok(()));
        }
        let mail = output.messages();
        let shown: Vec<String> = mail.iter().map(Mail::describe).collect();
        let text = output.describe(&before, &self.seen, &shown);
        let result = self.write_and_apply(&output);
        sent.extend(mail);
        (text, result.and_then(|()| self.advance(&output)))
    }

    // --- What is to be seen ---

    /// The role of the node, and how it sees the cluster.
    pub(super) fn describe(&self) -> String {
        let raft = &self.raft;
        let role = describe::role(raft.role());
        let voter = if raft.membership().is_voter(self.id()) {
            "(Voter)"
        } else {
            "(Non-Voter)"
        };
        let term = describe::current_term(raft.current_term());
        let leader = raft.leader().map_or(0, NodeId::get);
        format!("{}: {role} {voter} Term:{term} Lead:{leader}\n", self.id())
    }

    pub(super) fn describe_progress(&self) -> String {
        describe::progress(&self.raft)
    }
}

/// What there is to be seen of a node.
fn now(raft: &RawNode<MemStorage>) -> Seen {
    Seen {
        leader: raft.leader(),
        role: raft.role(),
    }
}

fn config(id: NodeId, settings: &Settings, applied: LogId) -> Result<Config, String> {
    if settings.lease_based && !settings.check_quorum {
        let words = "CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased";
        return Err(words.to_owned());
    }
    // With one thread for all, etcd/raft applies what is committed although it is not written.
    let unpersisted = if settings.async_storage_writes {
        0
    } else {
        u64::MAX
    };
    let config = Config::builder(id)
        .election_timeout_ticks(ELECTION_TICKS)
        .max_election_timeout_ticks(u32::MAX)
        .pre_vote(settings.pre_vote)
        .check_quorum(settings.check_quorum)
        .lease_reads(settings.lease_based)
        .validate_conf_changes(!settings.disable_conf_change_validation)
        .max_message_bytes(u64::MAX)
        .max_inflight_messages(settings.inflight.unwrap_or(usize::MAX))
        .max_inflight_bytes(u64::MAX)
        .max_uncommitted_bytes(u64::MAX)
        .max_committed_bytes_per_ready(settings.max_committed_size_per_ready.unwrap_or(u64::MAX))
        .max_apply_unpersisted_entries(unpersisted)
        .applied(applied)
        .build();
    config.map_err(|error| error.to_string())
}
