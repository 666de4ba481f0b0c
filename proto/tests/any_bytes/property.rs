//! Any bytes into any node that a run can lead to.
//!
//! Owns the property and the runs, drawn from bytes. Three nodes talk through bytes alone; some of
//! these are damaged, and some nobody has sent. Whatever is decoded is stepped: no panic; what is
//! refused changes nothing; no node stops; what was decoded is the same when it is encoded and decoded
//! again.

#[allow(dead_code, reason = "other properties use the rest")]
#[path = "../../../tests/common/draw.rs"]
mod draw;

use std::collections::VecDeque;

use almadia::{Bytes, Config, Entry, MemStorage, Message, NodeId, RawNode, StepError, Storage};
use almadia_proto::{Decode, Encode, Encoder};
use arbitrary::{Arbitrary, Result, Unstructured};
use draw::{at_most, one_of, until_the_end};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Time passes on a node.
    Tick(u8),
    Campaign(u8),
    Propose(u8, u8),
    /// The oldest message arrives as it was sent.
    Deliver,
    /// It arrives damaged: at each place a byte is another one.
    Damage(Vec<(u8, u8)>),
    /// It arrives cut off, and something else behind it.
    Cut(u8, Vec<u8>),
    /// It arrives, and will arrive once more.
    Duplicate,
    Lose,
    /// All messages arrive, and their answers, for so many rounds.
    Run(u8),
    /// Bytes that nobody has sent arrive at a node.
    Invent(u8, Vec<u8>),
    /// The node starts anew, from a log that was written as bytes.
    Restart(u8),
    Compact(u8),
}

/// Raw bytes, but at the beginning mostly those of an envelope that the receiver takes for its own.
fn invented(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let kind = bytes.int_in_range(2..=18_u8)?;
    let (to, from, term) = (node(bytes)?, node(bytes)?, bytes.int_in_range(0..=9_u8)?);
    let mut message = vec![0x08, kind, 0x10, to + 1, 0x18, from + 1, 0x20, term];
    message.extend(at_most::<u8>(bytes, 40, |bytes| bytes.arbitrary())?);
    Ok(message)
}

fn node(bytes: &mut Unstructured<'_>) -> Result<u8> {
    bytes.int_in_range(0..=2)
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        one_of(
            bytes,
            &[
                (20, |_| Ok(Self::Deliver)),
                (10, |bytes| Ok(Self::Run(bytes.int_in_range(1..=4)?))),
                (8, |bytes| {
                    Ok(Self::Propose(node(bytes)?, u8::arbitrary(bytes)?))
                }),
                (6, |bytes| Ok(Self::Tick(node(bytes)?))),
                (4, |bytes| Ok(Self::Campaign(node(bytes)?))),
                (20, |bytes| {
                    Ok(Self::Damage(at_most(bytes, 3, |bytes| bytes.arbitrary())?))
                }),
                (6, |bytes| {
                    let kept = u8::arbitrary(bytes)?;
                    Ok(Self::Cut(
                        kept,
                        at_most(bytes, 12, |bytes| bytes.arbitrary())?,
                    ))
                }),
                (6, |bytes| Ok(Self::Invent(node(bytes)?, invented(bytes)?))),
                (3, |bytes| {
                    let whom = node(bytes)?;
                    Ok(Self::Invent(
                        whom,
                        at_most(bytes, 60, |bytes| bytes.arbitrary())?,
                    ))
                }),
                (4, |_| Ok(Self::Duplicate)),
                (4, |_| Ok(Self::Lose)),
                (3, |bytes| Ok(Self::Restart(node(bytes)?))),
                (3, |bytes| Ok(Self::Compact(node(bytes)?))),
            ],
        )
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) pre_vote: bool,
    pub(crate) steps: Vec<Step>,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            pre_vote: bytes.arbitrary()?,
            steps: until_the_end(bytes, 80, |bytes| bytes.arbitrary())?,
        })
    }
}

type Node = RawNode<MemStorage>;

struct Network {
    pre_vote: bool,
    nodes: [Node; 3],
    /// What is on its way, and to whom.
    mail: VecDeque<(usize, Bytes)>,
    encoder: Encoder,
}

impl Case {
    pub(crate) fn check(self) {
        let mut network = Network::new(self.pre_vote);
        for step in self.steps {
            network.perform(step);
        }
        // Nobody panics or stops, whatever was believed.
        for at in 0..3 {
            for _ in 0..25 {
                network.tick(at);
            }
            network.run(3);
        }
    }
}

fn id(at: usize) -> NodeId {
    NodeId::new(at as u64 + 1).expect("above zero")
}

fn open(at: usize, storage: MemStorage, pre_vote: bool) -> Node {
    let config = Config::builder(id(at)).pre_vote(pre_vote).build();
    RawNode::new(config.expect("the settings are sound"), storage).expect("the storage is sound")
}

impl Network {
    fn new(pre_vote: bool) -> Self {
        let storage = || MemStorage::with_voters([0, 1, 2].map(id));
        Self {
            pre_vote,
            nodes: [0, 1, 2].map(|at| open(at, storage(), pre_vote)),
            mail: VecDeque::new(),
            encoder: Encoder::new(),
        }
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Tick(at) => self.tick(at.into()),
            Step::Campaign(at) => {
                let _ = self.nodes[usize::from(at)].campaign();
                self.settle(at.into());
            }
            Step::Propose(at, byte) => {
                // Some of them large enough to be sent from where they are.
                let len = usize::from(byte) * 8;
                let _ = self.nodes[usize::from(at)].propose(vec![byte; 3], vec![byte; len]);
                self.settle(at.into());
            }
            Step::Deliver => self.deliver(|bytes| bytes),
            Step::Damage(places) => self.deliver(|bytes| {
                let mut damaged = bytes.to_vec();
                for (at, byte) in places {
                    let at = usize::from(at) % damaged.len();
                    damaged[at] = byte;
                }
                damaged.into()
            }),
            Step::Cut(kept, behind) => self.deliver(|bytes| {
                let kept = usize::from(kept) % bytes.len();
                [&bytes[..kept], &behind].concat().into()
            }),
            Step::Duplicate => self.mail.extend(self.mail.front().cloned()),
            Step::Lose => drop(self.mail.pop_front()),
            Step::Run(rounds) => self.run(rounds),
            Step::Invent(at, bytes) => self.receive(at.into(), bytes.into()),
            Step::Restart(at) => self.restart(at.into()),
            Step::Compact(at) => self.compact(at.into()),
        }
    }

    fn tick(&mut self, at: usize) {
        self.nodes[at].tick().expect("the storage is sound");
        self.settle(at);
    }

    fn run(&mut self, rounds: u8) {
        for _ in 0..rounds {
            for _ in 0..self.mail.len() {
                self.deliver(|bytes| bytes);
            }
        }
    }

    fn deliver(&mut self, through: impl FnOnce(Bytes) -> Bytes) {
        if let Some((at, bytes)) = self.mail.pop_front() {
            self.receive(at, through(bytes));
        }
    }

    /// What a node does with what its transport has received.
    fn receive(&mut self, at: usize, bytes: Bytes) {
        let Ok(message) = Message::decode(bytes) else {
            return;
        };
        assert_eq!(Message::decode(message.encode()).as_ref(), Ok(&message));
        let before = self.nodes[at].clone();
        let result = self.nodes[at].step(message);
        assert_eq!(self.nodes[at].halted(), None, "no peer stops a node");
        if let Err(error) = result {
            assert!(!matches!(error, StepError::Halted(_)));
            assert_eq!(
                before, self.nodes[at],
                "what is refused changes nothing: {error}"
            );
        }
        self.settle(at);
    }

    /// Does everything that the node asks for, at once.
    fn settle(&mut self, at: usize) {
        loop {
            let node = &mut self.nodes[at];
            let Some(mut ready) = node.ready().expect("the storage is sound") else {
                return;
            };
            let mut sent = std::mem::take(&mut ready.messages);
            let disk = node.storage_mut();
            if let Some(snapshot) = ready.snapshot.take() {
                disk.install_snapshot(*snapshot)
                    .expect("it is newer than the log");
            }
            for run in &ready.entries {
                disk.append(run).expect("the entries continue the log");
            }
            if let Some(hard_state) = ready.hard_state {
                disk.set_hard_state(hard_state);
            }
            sent.append(&mut ready.messages_after_persist);
            for entry in ready.committed_entries.iter().flatten() {
                if let almadia::Payload::Change(change) = &entry.payload {
                    let _ = node.apply_conf_change(change);
                }
            }
            node.advance(ready).expect("the Ready is this node's");
            self.send(&sent);
        }
    }

    fn send(&mut self, messages: &[Message]) {
        for message in messages {
            let to = message.to.get() - 1;
            let pieces = self.encoder.encode(message);
            self.mail.push_back((to as usize % 3, pieces.to_bytes()));
        }
    }

    fn restart(&mut self, at: usize) {
        let storage = self.nodes[at].storage().clone();
        // Everything that is stored passes through bytes.
        let state = storage.initial_state().expect("it can be read");
        let same = Decode::decode(state.hard_state.encode());
        assert_eq!(same, Ok(state.hard_state));
        assert_eq!(
            Decode::decode(state.conf_state.encode()),
            Ok(state.conf_state)
        );
        for entry in stored(&storage) {
            assert_eq!(Entry::decode(entry.encode()), Ok(entry));
        }
        self.nodes[at] = open(at, storage, self.pre_vote);
        self.settle(at);
    }

    fn compact(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let through = node.last_applied();
        let membership = node.membership().to_conf_state();
        let storage = node.storage_mut();
        let Ok(term) = storage.term(through) else {
            return;
        };
        let snapshot = almadia::Snapshot {
            last_included: almadia::LogId {
                term,
                index: through,
            },
            conf_state: membership,
            data: Bytes::from_static(b"state"),
        };
        if storage.save_snapshot(snapshot).is_ok() {
            let _ = storage.compact(through);
        }
    }
}

fn stored(storage: &MemStorage) -> Vec<Entry> {
    let (Ok(first), Ok(last)) = (storage.first_index(), storage.last_index()) else {
        return Vec::new();
    };
    let purpose = almadia::Purpose::Scan;
    let request = almadia::EntriesRequest::new(first, last, u64::MAX, purpose);
    storage
        .entries(&request)
        .map(|run| run.to_vec())
        .unwrap_or_default()
}
