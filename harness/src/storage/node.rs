//! A node on a store under test.
//!
//! Owns the run loop that the suite has for one node, and the life that it leads: every kind of read
//! that a node makes comes in it. Must not know how reads are made to fail.

use almadia::{
    AppendEntries, AppendEntriesResponse, Body, Bytes, CampaignError, ConfState, Config, Entries,
    Entry, HeartbeatResponse, LogId, LogIndex, Message, NodeId, Payload, Purpose, RawNode, Ready,
    Snapshot, StartError, StepError, Storage, StorageError, Term, Token, VoteResponse,
};

use super::checked::CheckedStorage;
use super::clause::Clause;
use super::compare::PATIENCE;
use super::failing::FailingReads;
use super::failure::Mismatch;
use super::model::{Action, Model, Shown};
use super::plan;
use super::session::{Session, carry_out};
use super::{Subject, Write};

/// Why a life has ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// Something is wrong.
    Wrong(Mismatch),
    /// The node has stopped, or did not start, because of its storage.
    Storage(StorageError),
}

impl From<Mismatch> for Stop {
    fn from(mismatch: Mismatch) -> Self {
        Self::Wrong(mismatch)
    }
}

fn wrong(expected: &str, found: impl ToString) -> Stop {
    Stop::Wrong(Mismatch::new(
        Clause::ReflectsWrites,
        expected,
        found.to_string(),
    ))
}

fn config(model: &Model) -> Result<Config, Stop> {
    let builder = Config::builder(plan::node(1)).pre_vote(false);
    let config = builder.applied(model.applied()).build();
    config.map_err(|error| wrong("settings that are sound", error))
}

/// A node starts on the store as it is, lives for a while, and asks for nothing that is not there.
pub(super) fn starts(store: &impl Storage, model: &Model) -> Result<(), Mismatch> {
    let run = || {
        let checked = CheckedStorage::new(store);
        let mut node = RawNode::new(config(model)?, checked).map_err(not_started)?;
        node.tick_many(100)
            .map_err(|halted| Stop::Storage(halted.error))?;
        node.ready().map_err(|halted| Stop::Storage(halted.error))?;
        Ok(())
    };
    match run() {
        Ok(()) => Ok(()),
        Err(Stop::Wrong(mismatch)) => Err(mismatch),
        Err(Stop::Storage(error)) => Err(Mismatch::new(
            Clause::Starts,
            "a node that starts and runs",
            error.to_string(),
        )),
    }
}

fn not_started(error: StartError) -> Stop {
    if let StartError::Storage(error) = error {
        return Stop::Storage(error);
    }
    let found = error.to_string();
    Stop::Wrong(Mismatch::new(Clause::Starts, "a node that starts", found))
}

/// A node, its store, and the reference for that.
pub(super) struct Machine<'a, 'b, S: Subject> {
    session: &'b mut Session<'a, S>,
    node: RawNode<FailingReads<CheckedStorage<S::Store>>>,
    sent: Vec<Message>,
}

impl<'a, 'b, S: Subject> Machine<'a, 'b, S> {
    /// Starts a node on the open store of the session, which comes back with
    /// [`end`](Self::end). After so many reads every one fails.
    pub(super) fn start(session: &'b mut Session<'a, S>, fails_after: u64) -> Result<Self, Stop> {
        let config = config(&session.model)?;
        let store = session.store.take();
        let store = store.ok_or_else(|| wrong("an open store", "none"))?;
        let storage = FailingReads::after(fails_after, CheckedStorage::new(store));
        let node = RawNode::new(config, storage).map_err(not_started)?;
        session.report.nodes += 1;
        Ok(Self {
            session,
            node,
            sent: Vec::new(),
        })
    }

    /// Ends the process. Returns how many reads there were.
    pub(super) fn end(self) -> Result<u64, Stop> {
        let storage = self.node.into_storage();
        let reads = storage.reads();
        let checked = storage.into_inner();
        if let Some(breach) = checked.breach() {
            let found = breach.found;
            return Err(Mismatch::new(breach.clause, "an answer by the contract", found).into());
        }
        self.session.store = Some(checked.into_inner());
        Ok(reads)
    }

    /// Does all that the node asks for, also what has to be fetched first.
    fn settle(&mut self) -> Result<(), Stop> {
        for _ in 0..PATIENCE {
            let ready = self.node.ready();
            match ready.map_err(|halted| Stop::Storage(halted.error))? {
                Some(ready) => self.fulfil(ready)?,
                None if self.fetch() => {}
                None => return Ok(()),
            }
        }
        Err(wrong(
            "a node that comes to rest",
            "one that is ready again and again",
        ))
    }

    fn fulfil(&mut self, mut ready: Box<Ready>) -> Result<(), Stop> {
        self.sent.append(&mut ready.messages);
        self.persist(Action::Write(vec![Write::of(&ready)]))?;
        self.sent.append(&mut ready.messages_after_persist);
        self.apply(&ready)?;
        let advanced = self.node.advance(ready);
        advanced.map_err(|error| wrong("a Ready that can be acknowledged", error))
    }

    /// Waits for what is temporarily unavailable. Returns whether the node waited for it too.
    fn fetch(&mut self) -> bool {
        let store = self.node.storage().inner().inner();
        self.session.subject.wait(store);
        let peers = [2, 3].map(|peer| Purpose::Send(plan::node(peer)));
        for purpose in peers.into_iter().chain([Purpose::Apply]) {
            self.node.on_entries_fetched(purpose);
        }
        self.node.has_ready()
    }

    fn persist(&mut self, action: Action) -> Result<(), Stop> {
        let checked = self.node.storage_mut().inner_mut();
        let done = carry_out(self.session.subject, checked.inner_mut(), &action);
        done.map_err(|error| wrong(&format!("the store can {action}"), error))?;
        if let Action::Write(writes) = &action {
            writes.iter().for_each(|write| checked.wrote(write));
        }
        self.session.steps.push(action.to_string());
        self.session.note(&action);
        Ok(())
    }

    /// What is handed out to be applied is what was written.
    fn apply(&mut self, ready: &Ready) -> Result<(), Stop> {
        for entry in ready.committed_entries.iter().flatten() {
            if self.session.model.entry(entry.index()) != Some(entry) {
                return Err(wrong(
                    "the entries that were written, to be applied",
                    Shown(entry),
                ));
            }
            if let Payload::Change(change) = &entry.payload {
                let applied = self.node.apply_conf_change(change);
                applied.map_err(|error| wrong("a membership change that is applied", error))?;
            }
        }
        Ok(())
    }

    fn step(&mut self, from: u64, term: u64, body: Body) -> Result<(), Stop> {
        let message = Message {
            from: plan::node(from),
            to: plan::node(1),
            term: Term(term),
            body,
        };
        match self.node.step(message) {
            Ok(()) => self.settle(),
            Err(StepError::Halted(halted)) => Err(Stop::Storage(halted.error)),
            Err(error) => Err(wrong("a message that makes sense to the node", error)),
        }
    }

    fn receive(
        &mut self,
        from: u64,
        term: u64,
        prev_log: LogId,
        ids: &[LogId],
    ) -> Result<(), Stop> {
        let body = Body::AppendEntries(AppendEntries {
            prev_log,
            leader_commit: prev_log.index,
            entries: ids.iter().map(|&id| entry(id)).collect(),
        });
        self.step(from, term, body)
    }

    fn campaign(&mut self, term: u64) -> Result<(), Stop> {
        for _ in 0..PATIENCE {
            match self.node.campaign() {
                Ok(()) => {
                    self.settle()?;
                    let granted = Body::RequestVoteResponse(VoteResponse::Granted);
                    return self.step(2, term, granted);
                }
                // It cannot be told yet what the entries are that were not applied.
                Err(CampaignError::UnappliedChange) => self.settle()?,
                Err(CampaignError::Halted(halted)) => return Err(Stop::Storage(halted.error)),
                Err(error) => return Err(wrong("a node that campaigns", error)),
            }
        }
        Err(wrong(
            "a node that campaigns",
            "one that does not know its log",
        ))
    }

    /// The peer says that it has nothing.
    fn is_behind(&mut self, peer: u64, term: u64, prev_index: LogIndex) -> Result<(), Stop> {
        let rejected = AppendEntriesResponse::Rejected {
            prev_index,
            hint: LogId::ZERO,
            commit_index: LogIndex::ZERO,
        };
        self.sent.clear();
        self.step(peer, term, Body::AppendEntriesResponse(rejected))
    }

    /// The peer was sent entries from the first on, and they are those that were written.
    fn has_sent_entries(&self, peer: NodeId) -> Result<(), Stop> {
        let to_peer = self.sent.iter().filter(|message| message.to == peer);
        let entries = to_peer.filter_map(|message| {
            if let Body::AppendEntries(append) = &message.body {
                Some(&append.entries)
            } else {
                None
            }
        });
        let sent: Vec<&Entry> = entries.flatten().collect();
        let first = sent.first().map(|entry| entry.index());
        let is_right = |entry: &&Entry| self.session.model.entry(entry.index()) == Some(entry);
        if first == Some(LogIndex(1)) && sent.iter().all(is_right) {
            return Ok(());
        }
        Err(wrong(
            "entries from 1 on, as they were written, for a peer",
            format!("{sent:?}"),
        ))
    }

    /// The peer was sent the snapshot that was saved.
    fn has_sent_snapshot(&self, peer: NodeId) -> bool {
        let to_peer = self.sent.iter().filter(|message| message.to == peer);
        let saved = self.session.model.snapshot.as_ref();
        let mut bodies = to_peer.map(|message| &message.body);
        bodies.any(|body| matches!(body, Body::InstallSnapshot(sent) if Some(&**sent) == saved))
    }

    /// The peer needs a snapshot, and says so until it is there.
    fn needs_snapshot(&mut self, peer: u64, term: u64) -> Result<(), Stop> {
        self.is_behind(peer, term, LogIndex(9))?;
        for _ in 0..PATIENCE {
            if self.has_sent_snapshot(plan::node(peer)) {
                return Ok(());
            }
            self.fetch();
            let alive = HeartbeatResponse {
                commit_index: LogIndex::ZERO,
                token: Token::None,
            };
            self.step(peer, term, Body::HeartbeatResponse(alive))?;
        }
        let found = format!("{:?}", self.sent);
        Err(wrong("the saved snapshot for a peer", found))
    }
}

fn entry(id: LogId) -> Entry {
    Entry {
        id,
        payload: Payload::Data(Bytes::from(format!("command {id}"))),
        context: Bytes::new(),
    }
}

/// The entries with which every life begins.
pub(super) fn first_write() -> Write {
    let ids = [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (2, 6)];
    let entries: Entries = ids
        .iter()
        .map(|&(term, index)| entry(LogId::new(term, index)))
        .collect();
    Write {
        entries: vec![entries],
        hard_state: Some(almadia::HardState {
            current_term: Term(2),
            voted_for: Some(plan::node(2)),
            commit_index: LogIndex(4),
        }),
        must_sync: true,
        snapshot: None,
    }
}

/// The life of node 1 of three on a store that holds [`first_write`]: it follows, has its log
/// replaced, leads, sends entries and a snapshot that it reads, compacts, and is sent a snapshot.
/// Returns how many reads that took.
pub(super) fn live<S: Subject>(
    session: &mut Session<'_, S>,
    fails_after: u64,
) -> Result<u64, Stop> {
    let mut machine = Machine::start(session, fails_after)?;
    machine.settle()?;
    let id = LogId::new;
    machine.receive(2, 3, id(2, 6), &[id(3, 7), id(3, 8)])?;
    machine.receive(3, 4, id(2, 6), &[id(4, 7), id(4, 8), id(4, 9)])?;
    machine.receive(3, 4, id(4, 8), &[])?;

    machine.campaign(5)?;
    machine.is_behind(2, 5, LogIndex(9))?;
    machine.has_sent_entries(plan::node(2))?;
    let accepted = AppendEntriesResponse::Accepted {
        match_index: LogIndex(10),
        commit_index: LogIndex::ZERO,
    };
    machine.step(2, 5, Body::AppendEntriesResponse(accepted))?;

    let saved = Snapshot {
        last_included: id(4, 8),
        conf_state: plan::members(),
        data: Bytes::from_static(b"applied through 8"),
    };
    machine.persist(Action::SaveSnapshot(saved))?;
    let through = machine.session.durable_commit().min(LogIndex(8));
    machine.persist(Action::Compact(through))?;
    machine.needs_snapshot(3, 5)?;

    let sent = Snapshot {
        last_included: id(6, 50),
        conf_state: ConfState {
            learners: vec![plan::node(4)],
            ..plan::members()
        },
        data: Bytes::from_static(b"applied through 50"),
    };
    machine.step(2, 6, Body::InstallSnapshot(Box::new(sent)))?;
    machine.receive(2, 6, id(6, 50), &[id(6, 51), id(6, 52)])?;
    machine.receive(2, 6, id(6, 52), &[])?;
    machine.end()
}
