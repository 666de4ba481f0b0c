//! A follower's log, its unpersisted tail and its disk, against a list and a list.
//!
//! Owns the leaders that a follower can meet: their logs come from one tree, and whatever one of
//! them commits is in the logs of all that follow.

use std::collections::VecDeque;

use almadia::{AppendEntriesResponse, Body, LogId, LogIndex, Message, Ready, Snapshot, Term};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::cases;
use crate::nodes::*;

/// A leader, all of its log, and how much of it is committed in the end.
#[derive(Clone, Debug)]
struct LeaderLog {
    term: u64,
    log: Vec<LogId>,
    commit: usize,
    events: Vec<Event>,
}

#[derive(Clone, Debug)]
enum Event {
    Append {
        prev: Index,
        count: usize,
        commit: Index,
    },
    Heartbeat {
        commit: Index,
    },
    InstallSnapshot {
        last: Index,
    },
    /// A message of the leader before this one.
    Outdated {
        prev: Index,
    },
    TakeReady,
    /// The disk finishes the writes up to one of those under way.
    Persisted {
        through: Index,
    },
    /// The state machine has caught up.
    Applied,
    Crash,
}

fn event() -> impl Strategy<Value = Event> {
    let any = any::<Index>;
    prop_oneof![
        8 => (any(), 0_usize..4, any())
            .prop_map(|(prev, count, commit)| Event::Append { prev, count, commit }),
        2 => any().prop_map(|commit| Event::Heartbeat { commit }),
        1 => any().prop_map(|last| Event::InstallSnapshot { last }),
        1 => any().prop_map(|prev| Event::Outdated { prev }),
        6 => Just(Event::TakeReady),
        4 => any().prop_map(|through| Event::Persisted { through }),
        2 => Just(Event::Applied),
        1 => Just(Event::Crash),
    ]
}

fn leaders() -> impl Strategy<Value = Vec<LeaderLog>> {
    let any = any::<Index>;
    let leader = (any(), any(), 0_usize..5, any(), vec(event(), 0..14));
    vec(leader, 1..7).prop_map(|seeds| {
        let mut leaders: Vec<LeaderLog> = Vec::new();
        for ((parent, cut, added, commit, events), term) in seeds.into_iter().zip(1..) {
            let (committed, base) = match leaders.last() {
                None => (0, Vec::new()),
                Some(last) => {
                    let parent = &leaders[parent.index(leaders.len())];
                    let can = parent.log.starts_with(&last.log[..last.commit]);
                    (
                        last.commit,
                        if can {
                            parent.log.clone()
                        } else {
                            last.log.clone()
                        },
                    )
                }
            };
            let mut log = base[..committed + cut.index(base.len() - committed + 1)].to_vec();
            for _ in 0..added {
                log.push(LogId::new(term, log.len() as u64 + 1));
            }
            let commit = committed + commit.index(log.len() - committed + 1) / 2;
            leaders.push(LeaderLog {
                term,
                log,
                commit,
                events,
            });
        }
        leaders
    })
}

fn common(one: &[LogId], other: &[LogId]) -> usize {
    one.iter()
        .zip(other)
        .take_while(|(one, other)| one == other)
        .count()
}

fn id_at(log: &[LogId], length: usize) -> LogId {
    length.checked_sub(1).map_or(LogId::ZERO, |last| log[last])
}

/// A follower, and what it should be.
struct Model {
    node: Node,
    tail_bytes: u64,
    ready_bytes: u64,
    /// The log as it should be, from index 1 on, also where a snapshot stands for it.
    log: Vec<LogId>,
    commit: usize,
    /// What the disk holds.
    disk: Vec<LogId>,
    disk_term: Term,
    /// What has been handed out to be applied, and what of it has been reported.
    applying: usize,
    applied: usize,
    writing: VecDeque<Box<Ready>>,
    /// Everything acknowledged to the current leader.
    matched: usize,
    leader: LeaderLog,
}

impl Model {
    fn open(tail_bytes: u64, ready_bytes: u64, leader: LeaderLog) -> Self {
        Self {
            node: start(tail_bytes, ready_bytes, 0, disk(3, &[])),
            tail_bytes,
            ready_bytes,
            log: Vec::new(),
            commit: 0,
            disk: Vec::new(),
            disk_term: Term::ZERO,
            applying: 0,
            applied: 0,
            writing: VecDeque::new(),
            matched: 0,
            leader,
        }
    }

    fn step(&mut self, body: Body) {
        let message = message(2 + self.leader.term, 1, self.leader.term, body);
        self.node.step(message).unwrap();
    }

    fn happens(&mut self, event: &Event, previous: Option<&LeaderLog>) {
        let leader_log = self.leader.log.clone();
        match event {
            Event::Append {
                prev,
                count,
                commit,
            } => {
                let prev = prev.index(leader_log.len() + 1);
                let end = (prev + count).min(leader_log.len());
                let commit = commit.index(self.leader.commit + 1);
                self.step(append_of(&leader_log, prev, end, commit));
                self.should_append(&leader_log, prev, end, commit);
            }
            Event::Heartbeat { commit } => {
                let commit = commit.index(self.leader.commit.min(self.matched) + 1);
                self.step(heartbeat(commit as u64));
                self.commit = self.commit.max(commit);
            }
            Event::InstallSnapshot { last } if self.leader.commit > 0 => {
                let last = 1 + last.index(self.leader.commit);
                let last_id = leader_log[last - 1];
                let sent = snapshot((last_id.term.0, last_id.index.0), 3);
                self.step(Body::InstallSnapshot(sent.into()));
                if self.log.get(last - 1) != Some(&last_id) && last > self.commit {
                    self.log = leader_log[..last].to_vec();
                }
                self.commit = self.commit.max(last);
            }
            Event::InstallSnapshot { .. } => {}
            Event::Outdated { prev } => {
                if let Some(old) =
                    previous.filter(|_| self.node.current_term().0 == self.leader.term)
                {
                    let prev = prev.index(old.log.len() + 1);
                    let body = append_of(&old.log, prev, old.log.len(), old.commit);
                    self.node
                        .step(message(2 + old.term, 1, old.term, body))
                        .unwrap();
                }
            }
            Event::TakeReady => self.take_ready(),
            Event::Persisted { through } if !self.writing.is_empty() => {
                self.persisted(through.index(self.writing.len()) + 1);
            }
            Event::Persisted { .. } => {}
            // A snapshot is restored once it is durable.
            Event::Applied if self.writing.iter().any(|ready| ready.snapshot.is_some()) => {}
            Event::Applied => {
                self.node.applied(LogIndex(self.applying as u64)).unwrap();
                self.applied = self.applying;
            }
            Event::Crash => self.crash(),
        }
    }

    fn should_append(&mut self, from: &[LogId], prev: usize, end: usize, commit: usize) {
        if prev > self.log.len() || id_at(&self.log, prev) != id_at(from, prev) {
            return;
        }
        for (at, id) in from.iter().enumerate().take(end).skip(prev) {
            if self.log.get(at) != Some(id) {
                self.log.truncate(at);
                self.log.push(*id);
            }
        }
        self.commit = self.commit.max(commit.min(end));
    }

    fn take_ready(&mut self) {
        let Some(mut ready) = self.node.ready().unwrap() else {
            assert!(!self.node.has_ready());
            return;
        };
        for message in std::mem::take(&mut ready.messages) {
            self.leaves(&message);
        }
        let durable = common(&self.disk, &self.log);
        for entry in ready.committed_entries.iter().flatten() {
            assert!(ready.snapshot.is_none());
            assert_eq!(entry.id, self.log[self.applying], "the next one to apply");
            self.applying += 1;
            assert!(
                self.applying <= self.commit.min(durable),
                "committed and persisted"
            );
        }
        if let Some(Snapshot { last_included, .. }) = ready.snapshot.as_deref() {
            self.applying = last_included.index.0 as usize;
            assert!(self.applying <= self.commit);
            self.applied = self.applied.min(self.applying);
        }
        self.writing.push_back(ready);
    }

    /// The disk finishes the first `count` writes; each one's messages leave when it is done.
    fn persisted(&mut self, count: usize) {
        let mut number = 0;
        for _ in 0..count {
            let ready = self.writing.pop_front().unwrap();
            number = ready.number;
            write(&mut self.node, &ready);
            if let Some(snapshot) = &ready.snapshot {
                let last = snapshot.last_included.index.0 as usize;
                self.disk = self.leader.log[..last].to_vec();
            }
            for entry in ready.entries.iter().flatten() {
                self.disk.truncate(entry.id.index.0 as usize - 1);
                self.disk.push(entry.id);
            }
            if let Some(hard_state) = ready.hard_state {
                self.disk_term = hard_state.current_term;
            }
            for message in &ready.messages_after_persist {
                self.leaves(message);
            }
        }
        self.node.persisted(number).unwrap();
    }

    /// An acknowledgement leaves: what it says must be so.
    fn leaves(&mut self, message: &Message) {
        let Some(AppendEntriesResponse::Accepted { match_index, .. }) = message.body.as_response()
        else {
            return;
        };
        assert!(self.disk_term >= message.term, "the term is durable");
        if self.disk_term == message.term && message.term.0 == self.leader.term {
            let match_index = match_index.0 as usize;
            assert!(
                match_index <= common(&self.disk, &self.leader.log),
                "{message:?}"
            );
            self.matched = self.matched.max(match_index);
        }
    }

    fn crash(&mut self) {
        self.writing.clear();
        let storage = self.node.storage().clone();
        self.commit = storage.hard_state().commit_index.0 as usize;
        self.applied = self.applied.max(first_index(&storage) - 1);
        self.node = start(self.tail_bytes, self.ready_bytes, self.applied, storage);
        self.log = self.disk.clone();
        self.applying = self.applied;
        // What is applied is committed, also if the disk has not heard of it.
        self.commit = self.commit.max(self.applied.min(self.log.len()));
    }

    fn check(&self) {
        let status = self.node.status();
        assert_eq!(status.last_log, id_at(&self.log, self.log.len()));
        assert_eq!(status.commit_index.0 as usize, self.commit);
        assert_eq!(status.last_applied.0 as usize, self.applied);
        let persisted = status.persisted_index.0 as usize;
        assert!(
            persisted <= common(&self.disk, &self.log),
            "{persisted} is not durable"
        );
    }

    /// With everything acknowledged, everything is durable and applied.
    fn finish(&mut self) {
        for _ in 0..200 {
            self.happens(&Event::Applied, None);
            self.take_ready();
            if self.writing.is_empty() {
                break;
            }
            self.persisted(self.writing.len());
            self.check();
        }
        assert!(self.node.ready().unwrap().is_none(), "it comes to an end");
        assert_eq!(self.disk, self.log);
        assert_eq!(
            self.node.status().persisted_index.0 as usize,
            self.log.len()
        );
        assert_eq!(self.applying, self.commit.max(self.applied));
    }
}

fn first_index(storage: &almadia::MemStorage) -> usize {
    almadia::Storage::first_index(storage).unwrap().0 as usize
}

fn start(tail_bytes: u64, ready_bytes: u64, applied: usize, storage: almadia::MemStorage) -> Node {
    let index = LogIndex(applied as u64);
    let term = almadia::Storage::term(&storage, index).unwrap_or_default();
    let applied = LogId { term, index };
    let settings = settings(1)
        .max_tail_bytes(tail_bytes)
        .max_committed_bytes_per_ready(ready_bytes)
        .applied(applied);
    open(settings, storage)
}

fn append_of(log: &[LogId], prev: usize, end: usize, commit: usize) -> Body {
    let prev_id = id_at(log, prev);
    let terms: Vec<u64> = log[prev..end].iter().map(|id| id.term.0).collect();
    append((prev_id.term.0, prev_id.index.0), &terms, commit as u64)
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn a_followers_log_is_what_its_leaders_make_of_it(
        leaders in leaders(),
        tail_bytes in prop_oneof![Just(0), Just(60), Just(u64::MAX)],
        ready_bytes in prop_oneof![Just(0), Just(60), Just(u64::MAX)],
    ) {
        let mut model = Model::open(tail_bytes, ready_bytes, leaders[0].clone());
        let mut previous = None;
        for leader in &leaders {
            model.leader = leader.clone();
            model.matched = 0;
            for event in &leader.events {
                model.happens(event, previous);
                model.check();
            }
            previous = Some(leader);
        }
        model.finish();
    }
}
