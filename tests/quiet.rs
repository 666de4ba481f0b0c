//! What a node remembers of its quiet makes no difference: a twin that remembers nothing does the same.
//!
//! Owns random lives of a cluster, in which time passes most of the time, or Readies are acknowledged late and
//! out of order.

use almadia::{
    Config, LogId, LogIndex, MemStorage, MemberChange, MembershipChange, Message, NodeId, Payload,
    RawNode, Snapshot, Storage,
};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

type Node = RawNode<MemStorage>;

const LIVES: u64 = 150;
const STEPS: usize = 1500;

struct Cluster {
    nodes: Vec<Node>,
    mail: Vec<Message>,
    /// What each node has done of its Readies, and not reported: their numbers, and how far they apply.
    unreported: [Vec<(u64, Option<LogIndex>)>; 3],
    random: Xoshiro256PlusPlus,
    /// How often a node had nothing to do, and how often something.
    idle_and_busy: [usize; 2],
}

/// Forgets what is known of the quiet, and changes nothing else.
fn forget(node: &mut Node) {
    node.set_priority(0);
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let voters: Vec<NodeId> = (1..=3).filter_map(NodeId::new).collect();
        let node = |&id| {
            let config = Config::builder(id)
                .seed(seed)
                .heartbeat_interval_ticks(1 + seed as u32 % 4)
                .election_timeout_ticks(8)
                .max_election_timeout_ticks(16)
                .lease_reads(seed % 3 == 0)
                .max_inflight_messages(1 + seed as usize % 3 * 100)
                .max_committed_bytes_per_ready(1 << (seed % 5 * 5))
                .incarnation(1)
                .build();
            let storage = MemStorage::with_voters(voters.iter().copied());
            RawNode::new(config.unwrap(), storage).unwrap()
        };
        Self {
            nodes: voters.iter().map(node).collect(),
            mail: Vec::new(),
            unreported: Default::default(),
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            idle_and_busy: [0; 2],
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.next_u64() as usize % end
    }

    /// Does the same to a node and to its twin that has forgotten, and compares them.
    fn on<T: PartialEq + std::fmt::Debug>(&mut self, at: usize, act: impl Fn(&mut Node) -> T) -> T {
        let node = &mut self.nodes[at];
        let mut twin = node.clone();
        forget(&mut twin);
        let (done, expected) = (act(node), act(&mut twin));
        assert_eq!(done, expected);
        forget(&mut twin);
        assert_eq!(node.has_ready(), twin.has_ready());
        assert_eq!(node.ticks_until_action(), twin.ticks_until_action());
        assert!(*node == twin, "they have become different nodes");
        self.idle_and_busy[usize::from(node.has_ready())] += 1;
        done
    }

    /// Does what a node asks for, and hands it back, or reports it at some later time.
    fn work(&mut self, at: usize) {
        let hands_back = self.unreported[at].is_empty() && self.below(4) > 0;
        let id = self.nodes[at].id();
        let waits = self.mail.iter().position(|message| message.to == id);
        let comes_meanwhile = waits.filter(|_| self.below(2) == 0);
        let comes_meanwhile = comes_meanwhile.map(|which| self.mail.swap_remove(which));
        let outline = |node: &mut Node| {
            let mut ready = node.ready().unwrap()?;
            let outline = format!("{ready:?}");
            if let Some(snapshot) = &ready.snapshot {
                let snapshot = Snapshot::clone(snapshot);
                node.storage_mut().install_snapshot(snapshot).unwrap();
            }
            for run in &ready.entries {
                node.storage_mut().append(run).unwrap();
            }
            if let Some(hard_state) = ready.hard_state {
                node.storage_mut().set_hard_state(hard_state);
            }
            for entry in ready.committed_entries.iter().flatten() {
                if let Payload::Change(change) = &entry.payload {
                    drop(node.apply_conf_change(change));
                }
            }
            let mut messages = std::mem::take(&mut ready.messages);
            messages.append(&mut ready.messages_after_persist);
            let done = (ready.number, ready.applies_to());
            if let Some(message) = &comes_meanwhile {
                drop(node.step(message.clone()));
            }
            if hands_back {
                node.advance(ready).unwrap();
            }
            Some((outline, messages, done))
        };
        let Some((_, messages, done)) = self.on(at, outline) else {
            return;
        };
        self.mail.extend(messages);
        if !hands_back {
            self.unreported[at].push(done);
        }
    }

    /// Reports some of what was done; what is persisted and what is applied, each by itself.
    fn report(&mut self, at: usize) {
        if self.unreported[at].is_empty() {
            return;
        }
        let which = self.below(self.unreported[at].len());
        let (number, applies_to) = self.unreported[at].remove(which);
        drop(self.on(at, |node| node.persisted(number)));
        if let Some(index) = applies_to {
            drop(self.on(at, |node| node.applied(index)));
        }
    }

    /// Adds or removes the last node.
    fn change(&mut self, at: usize) {
        let id = self.nodes[2].id();
        let changes = [
            MemberChange::AddVoter(id),
            MemberChange::AddLearner(id),
            MemberChange::Remove(id),
        ];
        let change = MembershipChange::of([changes[self.below(3)]]);
        drop(self.on(at, |node| node.propose_conf_change("", change.clone())));
    }

    /// Cuts a log off where it is applied, if all is reported.
    fn compact(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let index = node.last_applied();
        if !self.unreported[at].is_empty() || node.storage().first_index().unwrap() > index {
            return;
        }
        let term = node.storage().term(index).unwrap();
        let snapshot = Snapshot {
            last_included: LogId { term, index },
            conf_state: node.membership().to_conf_state(),
            data: almadia::Bytes::new(),
        };
        node.storage_mut().save_snapshot(snapshot).unwrap();
        node.storage_mut().compact(index).unwrap();
    }

    /// Delivers about half of what is on its way, in any order, and loses some.
    fn deliver(&mut self) {
        for _ in 0..self.mail.len().div_ceil(2) {
            let which = self.below(self.mail.len());
            let message = self.mail.swap_remove(which);
            let to = message.to.get() as usize - 1;
            if self.below(20) > 0 {
                drop(self.on(to, |node| node.step(message.clone())));
            }
        }
    }

    fn live(&mut self) {
        for _ in 0..STEPS {
            let at = self.below(self.nodes.len());
            match self.below(24) {
                0..4 => drop(self.on(at, Node::tick)),
                4 => {
                    let ticks = self.below(7) as u32;
                    drop(self.on(at, |node| node.tick_many(ticks)));
                }
                5..7 => drop(self.on(at, |node| node.propose("", &b"a command"[..]))),
                7 => drop(self.on(at, |node| node.read_index("a read"))),
                8 => {
                    let to = self.nodes[self.random.next_u64() as usize % 3].id();
                    if self.below(4) == 0 {
                        drop(self.on(at, |node| node.transfer_leader(to)));
                    }
                }
                9..14 => self.work(at),
                14..16 => self.report(at),
                16 if self.below(8) == 0 => self.change(at),
                17 if self.below(8) == 0 => self.compact(at),
                _ => self.deliver(),
            }
        }
    }
}

#[test]
fn who_remembers_its_quiet_does_what_its_twin_does() {
    let mut committed = 0;
    let mut idle_and_busy = [0; 2];
    for seed in 0..LIVES {
        let mut cluster = Cluster::new(seed);
        cluster.live();
        committed += cluster.nodes[0].commit_index().0;
        idle_and_busy = [0, 1].map(|at| idle_and_busy[at] + cluster.idle_and_busy[at]);
    }
    assert!(committed > LIVES * 10, "{committed} entries");
    assert!(
        idle_and_busy.iter().all(|&count| count > 10_000),
        "{idle_and_busy:?}"
    );
}
