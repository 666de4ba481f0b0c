//! What a steady load costs, and what is left of it, counted and not timed: allocations, bytes, and reads of
//! the `Storage`.
//!
//! Owns the counts. They are exact: whoever adds one says here what for.

use std::cell::Cell;

use allocation_counter::measure;
use almadia::{
    Bytes, ConfState, Config, ConfigBuilder, Entries, EntriesRequest, Entry, InitialState,
    LogIndex, Message, NodeId, RawNode, Snapshot, Storage, StorageError, Term,
};

/// A disk that is written to and never read: each reading is counted, and finds nothing.
#[derive(Clone)]
struct WriteOnly {
    voters: Vec<NodeId>,
    reads: Cell<u64>,
}

impl WriteOnly {
    fn read<T>(&self) -> Result<T, StorageError> {
        self.reads.set(self.reads.get() + 1);
        Err(StorageError::Contract("nothing is read"))
    }
}

impl Storage for WriteOnly {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        Ok(InitialState {
            conf_state: ConfState::of_voters(self.voters.iter().copied()),
            ..InitialState::default()
        })
    }

    fn entries(&self, _: &EntriesRequest) -> Result<Entries, StorageError> {
        self.read()
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        // Asked for once, when the node starts.
        if index == LogIndex::ZERO {
            Ok(Term::ZERO)
        } else {
            self.read()
        }
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        Ok(LogIndex(1))
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        Ok(LogIndex::ZERO)
    }

    fn snapshot(&self, _: LogIndex, _: NodeId) -> Result<Snapshot, StorageError> {
        self.read()
    }
}

type Node = RawNode<WriteOnly>;

/// Three nodes, and how many allocations each has made.
struct Cluster {
    nodes: Vec<Node>,
    mail: Vec<Message>,
    allocations: [u64; 3],
}

/// Which node leads.
const LEADER: usize = 0;
/// Until all buffers have their size.
const WARM_UP: usize = 50;
const ROUNDS: u64 = 20;
const COMMAND: &[u8] = b"a command of the caller's";

impl Cluster {
    fn elected() -> Self {
        Self::elected_with(|settings| settings)
    }

    fn elected_with(settings: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Self {
        let voters: Vec<NodeId> = (1..=3).filter_map(NodeId::new).collect();
        let node = |&id| {
            let storage = WriteOnly {
                voters: voters.clone(),
                reads: Cell::new(0),
            };
            let config = settings(Config::builder(id)).build();
            let config = config.expect("the settings are sound");
            RawNode::new(config, storage).expect("an empty log is a good start")
        };
        let mut cluster = Self {
            nodes: voters.iter().map(node).collect(),
            mail: Vec::with_capacity(1000),
            allocations: [0; 3],
        };
        // A lease that may be in force is waited for.
        for node in &mut cluster.nodes {
            if node.config().lease_reads() {
                let ticks = node.config().election_timeout_ticks();
                node.tick_many(ticks).expect("memory does not fail");
            }
        }
        cluster.on(LEADER, |leader, _| {
            leader.campaign().expect("a voter may campaign")
        });
        cluster.settle();
        cluster
    }

    /// Something that a node does.
    fn on(&mut self, node: usize, act: impl FnOnce(&mut Node, &mut Vec<Message>)) {
        let Self {
            nodes,
            mail,
            allocations,
        } = self;
        allocations[node] += measure(|| act(&mut nodes[node], mail)).count_total;
    }

    /// Lets messages pass until nobody has anything left to do.
    fn settle(&mut self) {
        loop {
            for node in 0..self.nodes.len() {
                self.on(node, work);
            }
            if self.mail.is_empty() {
                return;
            }
            self.deliver();
        }
    }

    /// All messages that are on their way arrive.
    fn deliver(&mut self) {
        for message in std::mem::replace(&mut self.mail, Vec::with_capacity(1000)) {
            let to = message.to.get() as usize - 1;
            self.on(to, |node, _| node.step(message).expect("peers are correct"));
        }
    }

    /// The allocations of the leader and of the followers in so many rounds, once all is warm; and
    /// that nobody has read from a disk.
    fn count(&mut self, round: impl Fn(&mut Node)) -> [u64; 3] {
        for _ in 0..WARM_UP {
            self.on(LEADER, |leader, _| round(leader));
            self.settle();
        }
        self.allocations = [0; 3];
        for _ in 0..ROUNDS {
            self.on(LEADER, |leader, _| round(leader));
            self.settle();
        }
        for node in &self.nodes {
            assert_eq!(node.storage().reads.get(), 0, "node {}", node.id());
        }
        self.allocations
    }
}

fn work(node: &mut Node, mail: &mut Vec<Message>) {
    while let Some(mut ready) = node.ready().expect("memory does not fail") {
        mail.append(&mut ready.messages);
        mail.append(&mut ready.messages_after_persist);
        node.advance(ready).expect("the ready is this node's");
    }
}

fn propose(leader: &mut Node, batch: u64) {
    for _ in 0..batch {
        let data = Bytes::from_static(COMMAND);
        leader.propose(Bytes::new(), data).expect("it leads");
    }
}

/// The entries of a batch lie in one piece of memory, which the log, the messages, the `Ready`s and
/// the followers share. That is all, however many they are.
#[test]
fn a_batch_takes_one_allocation_at_its_leader_and_none_elsewhere() {
    for batch in [1, 2, 16, 64] {
        let allocations = Cluster::elected().count(|leader| propose(leader, batch));
        assert_eq!(allocations, [ROUNDS, 0, 0], "batches of {batch}");
    }
}

/// Who takes a part of a batch shares its memory too, also while other batches wait behind it.
#[test]
fn a_part_of_a_batch_takes_none() {
    let of_two = 2 * (Entry::OVERHEAD_BYTES + COMMAND.len() as u64);
    let mut cluster = Cluster::elected_with(|settings| {
        settings.max_message_bytes(of_two).max_inflight_messages(1)
    });
    for round in 0..=WARM_UP {
        // Of the first of these two batches one part leaves now, and the next when that is answered.
        for batch in [6, 1] {
            cluster.on(LEADER, |leader, mail| {
                propose(leader, batch);
                work(leader, mail);
            });
        }
        cluster.deliver();
        (1..3).for_each(|follower| cluster.on(follower, work));
        cluster.allocations = [0; 3];
        cluster.deliver();
        cluster.on(LEADER, work);
        assert_eq!(cluster.mail.len(), 2, "the next part, to each follower");
        let allocations = cluster.allocations[LEADER];
        assert!(allocations == 0 || round < WARM_UP, "{allocations}");
        cluster.settle();
    }
}

#[test]
fn reads_and_heartbeats_take_none() {
    let read = |leader: &mut Node| {
        leader
            .read_index(Bytes::from_static(b"a read"))
            .expect("it leads");
    };
    assert_eq!(Cluster::elected().count(read), [0; 3], "reads");
    assert_eq!(Cluster::elected().count(Node::ping), [0; 3], "heartbeats");
}

fn tick(node: &mut Node) {
    node.tick().expect("memory does not fail");
}

/// With a heartbeat for each tick no node ever rests.
#[test]
fn ticks_take_none() {
    let mut cluster = Cluster::elected();
    for round in 0..WARM_UP as u64 + ROUNDS {
        if round == WARM_UP as u64 {
            cluster.allocations = [0; 3];
        }
        for node in 0..cluster.nodes.len() {
            cluster.on(node, |node, _| tick(node));
        }
        cluster.settle();
    }
    assert_eq!(cluster.allocations, [0; 3]);
}

/// A follower that hears nothing for a tick keeps no buffers, and takes new ones when it is told
/// something again.
#[test]
fn who_rests_gives_its_buffers_back() {
    const FOLLOWER: usize = 1;
    let propose = |leader: &mut Node| propose(leader, 1);
    let mut cluster = Cluster::elected();
    cluster.count(propose);
    let follower = &mut cluster.nodes[FOLLOWER];
    assert_eq!(
        measure(|| tick(follower)).bytes_current,
        0,
        "it has just worked"
    );
    let given_back = -measure(|| tick(follower)).bytes_current;
    assert!(given_back > 500, "{given_back} bytes");
    assert_eq!(
        measure(|| tick(follower)).bytes_current,
        0,
        "nothing is left"
    );
    cluster.allocations = [0; 3];
    cluster.on(LEADER, |leader, _| propose(leader));
    cluster.settle();
    assert!(cluster.allocations[FOLLOWER] > 0);
    assert_eq!(cluster.count(propose), [ROUNDS, 0, 0]);
}

/// So does a leader whom nobody hears, though heartbeats would be due with each tick.
#[test]
fn a_leader_that_is_alone_gives_its_buffers_back() {
    let id = NodeId::new(1).expect("not 0");
    let config = Config::builder(id)
        .build()
        .expect("the defaults go together");
    let storage = WriteOnly {
        voters: vec![id],
        reads: Cell::new(0),
    };
    let mut node = Node::new(config, storage).expect("an empty log is a good start");
    node.campaign().expect("a voter may campaign");
    work(&mut node, &mut Vec::new());
    propose(&mut node, 40);
    work(&mut node, &mut Vec::new());
    tick(&mut node);
    let given_back = -measure(|| tick(&mut node)).bytes_current;
    assert!(given_back > 500, "{given_back} bytes");
}

/// Three nodes that have done what fills their buffers, and have rested since. Whether there is something
/// to do is asked after every tick.
fn rested() -> Vec<Node> {
    let mut cluster = Cluster::elected_with(|settings| {
        settings
            .heartbeat_interval_ticks(5)
            .election_timeout_ticks(10)
            .max_election_timeout_ticks(1000)
            .incarnation(0)
            .lease_reads(true)
    });
    for _ in 0..3 {
        propose(&mut cluster.nodes[LEADER], 3);
        cluster.settle();
        for node in &mut cluster.nodes {
            let read = node.read_index(Bytes::from_static(b"a read"));
            read.expect("the leader is known");
        }
        cluster.nodes[LEADER].ping();
        cluster.settle();
    }
    for _ in 0..2 {
        cluster.nodes.iter_mut().for_each(tick);
        cluster.settle();
    }
    cluster.nodes
}

/// A copy has what is needed, and no room for more. Neither has a node that rests.
#[test]
fn who_rests_holds_no_more_than_a_copy_of_it() {
    let (mut nodes, mut copies) = (Vec::new(), Vec::new());
    let held = measure(|| nodes = rested()).bytes_current;
    let needed = measure(|| copies = nodes.clone()).bytes_current;
    assert_eq!(held, needed, "bytes of {} nodes", copies.len());
}

/// To rest is worth it only where nothing is due with the next tick.
#[test]
fn who_acts_with_the_next_tick_keeps_its_buffers() {
    let mut cluster = Cluster::elected_with(|settings| settings.heartbeat_interval_ticks(3));
    let leader = &mut cluster.nodes[LEADER];
    let ticks = measure(|| (0..2).for_each(|_| tick(leader)));
    assert_eq!(ticks.bytes_current, 0);
}
