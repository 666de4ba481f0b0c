//! What a node remembers of its quiet makes no difference: a twin that remembers nothing does the same.
//!
//! Owns random lives of a cluster, in which time passes most of the time.

use almadia::{Config, MemStorage, Message, NodeId, RawNode};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

type Node = RawNode<MemStorage>;

const LIVES: u64 = 60;
const STEPS: usize = 1500;

struct Cluster {
    nodes: Vec<Node>,
    mail: Vec<Message>,
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
                .incarnation(1)
                .build();
            let storage = MemStorage::with_voters(voters.iter().copied());
            RawNode::new(config.unwrap(), storage).unwrap()
        };
        Self {
            nodes: voters.iter().map(node).collect(),
            mail: Vec::new(),
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

    fn work(&mut self, at: usize) {
        let outline = |node: &mut Node| {
            let ready = node.ready().unwrap();
            let outline = ready.as_ref().map(|ready| format!("{ready:?}"));
            // Whoever hands it back in two parts loses its memory, and nothing else.
            let (entries, messages) = ready.map_or_else(Default::default, |mut ready| {
                for run in &ready.entries {
                    node.storage_mut().append(run).unwrap();
                }
                if let Some(hard_state) = ready.hard_state {
                    node.storage_mut().set_hard_state(hard_state);
                }
                let mut messages = std::mem::take(&mut ready.messages);
                messages.append(&mut ready.messages_after_persist);
                let entries = ready.entries.len();
                node.advance(ready).unwrap();
                (entries, messages)
            });
            (outline, entries, messages)
        };
        let (_, _, messages) = self.on(at, outline);
        self.mail.extend(messages);
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
            match self.below(20) {
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
