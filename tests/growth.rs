//! How memory and reading grow with what a node is given, counted and not timed: allocations, their bytes, what
//! is asked of the `Storage`.
//!
//! Owns the corners in which a cost could grow with the square. Each is taken at two sizes: ten times as much
//! may cost hardly more than ten times as much. Whoever copies a log for each message of it, a window for each
//! answer, or reads a log anew for each probe, fails here.

#[path = "common/nodes.rs"]
mod nodes;

use std::cell::Cell;

use allocation_counter::{AllocationInfo, measure};
use almadia::{
    AppendEntries, Body, Bytes, ConfigBuilder, Entries, EntriesRequest, InitialState, LogId,
    LogIndex, MemStorage, Message, NodeId, RawNode, RoleKind, Snapshot, Storage, StorageError,
    Term,
};
use nodes::{accepted, entry, granted, id, message, settings};

/// Both sizes.
const FEW: u64 = 1000;
const MANY: u64 = 10 * FEW;

/// What does not depend on the size.
const FIXED: u64 = 2000;

/// A cost at both sizes, of which the second is linear in the first.
fn assert_linear(what: &str, few: u64, many: u64) {
    // A list that doubles may have done so once more at one of the sizes than at the other.
    let bound = 2 * (MANY / FEW) * few + FIXED;
    assert!(many <= bound, "{what}: {few} for {FEW}, {many} for {MANY}");
}

fn assert_allocates_linearly(what: &str, few: &AllocationInfo, many: &AllocationInfo) {
    assert_linear(what, few.count_total, many.count_total);
    assert_linear(what, few.bytes_total, many.bytes_total);
}

/// A log in memory that counts what it is asked.
struct Counted {
    log: MemStorage,
    calls: Cell<u64>,
    entries: Cell<u64>,
}

impl Counted {
    fn called(&self) -> &MemStorage {
        self.calls.set(self.calls.get() + 1);
        &self.log
    }
}

impl Storage for Counted {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.called().initial_state()
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        let entries = self.called().entries(request)?;
        self.entries.set(self.entries.get() + entries.len() as u64);
        Ok(entries)
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        self.called().term(index)
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        self.called().first_index()
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        self.called().last_index()
    }

    fn snapshot(&self, index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
        self.called().snapshot(index, to)
    }
}

type Node = RawNode<Counted>;

/// A follower with entries of these terms, all written at once, and windows that hold everything.
fn follower(settings: ConfigBuilder, voters: u64, terms: &[u64]) -> Node {
    let config = settings
        .max_inflight_messages(1 << 20)
        .max_inflight_bytes(1 << 40)
        .max_uncommitted_bytes(1 << 40)
        .build();
    let storage = Counted {
        log: nodes::disk(voters, terms),
        calls: Cell::new(0),
        entries: Cell::new(0),
    };
    RawNode::new(config.unwrap(), storage).unwrap()
}

/// Does what the node asks for, and returns its messages.
fn work(node: &mut Node) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(mut ready) = node.ready().unwrap() {
        messages.append(&mut ready.messages);
        messages.append(&mut ready.messages_after_persist);
        for run in &ready.entries {
            node.storage_mut().log.append(run).unwrap();
        }
        if let Some(hard_state) = ready.hard_state {
            node.storage_mut().log.set_hard_state(hard_state);
        }
        node.advance(ready).unwrap();
    }
    messages
}

fn tell(node: &mut Node, from: u64, body: Body) -> Vec<Message> {
    let term = node.current_term().0;
    node.step(message(from, node.id().get(), term, body))
        .unwrap();
    work(node)
}

/// Node 1 leads, and its last entry is the one that opened its term. Returns what it has sent since.
fn elect(node: &mut Node) -> Vec<Message> {
    node.campaign().unwrap();
    work(node);
    let mut messages = Vec::new();
    for voter in node.membership().voters() {
        if voter != node.id() && node.role() == RoleKind::Candidate {
            messages = tell(node, voter.get(), granted());
        }
    }
    assert_eq!(node.role(), RoleKind::Leader);
    messages
}

/// The leader of three, who have the same log.
fn leader(settings: ConfigBuilder) -> Node {
    let mut node = follower(settings, 3, &[]);
    elect(&mut node);
    for peer in [2, 3] {
        tell(&mut node, peer, accepted(1));
    }
    node
}

fn propose(node: &mut Node, count: u64) {
    for _ in 0..count {
        let data = Bytes::from_static(b"a command of the caller's");
        node.propose(Bytes::new(), data).unwrap();
    }
}

#[test]
fn a_batch_of_proposals() {
    let of = |count| {
        let mut node = leader(settings(1));
        measure(|| {
            propose(&mut node, count);
            work(&mut node);
        })
    };
    let (few, many) = (of(FEW), of(MANY));
    assert_allocates_linearly("a batch", &few, &many);
    // The batch, and the lists that grow to its length.
    assert!(many.count_total < 60, "{many:?}");
}

/// Each proposal leaves in a message of its own, all of them before the first is answered.
#[test]
fn messages_on_their_way() {
    let of = |count| {
        let mut node = leader(settings(1));
        let sent = measure(|| {
            for _ in 0..count {
                propose(&mut node, 1);
                assert_eq!(work(&mut node).len(), 2);
            }
        });
        let last = node.last_log().index.0;
        let answered = measure(|| {
            for index in last - count + 1..=last {
                for peer in [2, 3] {
                    tell(&mut node, peer, accepted(index));
                }
            }
        });
        assert_eq!(node.commit_index().0, last);
        assert_eq!(node.storage().entries.get(), 0, "nothing is read back");
        (sent, answered)
    };
    let ((few_sent, few_answered), (many_sent, many_answered)) = (of(FEW), of(MANY));
    assert_allocates_linearly("sent", &few_sent, &many_sent);
    assert_allocates_linearly("answered", &few_answered, &many_answered);
}

/// One run of a leader's log leaves in many messages, which share it: none of them copies it.
#[test]
fn a_run_in_many_messages() {
    const OF_A_MESSAGE: u64 = 10;
    let of = |count: u64| {
        let bytes = OF_A_MESSAGE * entry(1, 1).size_bytes();
        let mut node = leader(settings(1).max_message_bytes(bytes));
        propose(&mut node, count);
        let mut messages = 0;
        let info = measure(|| messages = work(&mut node).len() as u64);
        assert!(messages >= 2 * count / OF_A_MESSAGE, "{messages}");
        info
    };
    assert_allocates_linearly("messages of a run", &of(10 * FEW), &of(10 * MANY));
}

/// A follower that has nothing is brought up to a log that lies on the disk. Each entry is read once for it.
#[test]
fn a_log_read_back_in_many_messages() {
    const OF_A_MESSAGE: u64 = 10;
    let of = |count: usize| {
        let bytes = OF_A_MESSAGE * entry(1, 1).size_bytes();
        let settings = settings(1).max_message_bytes(bytes);
        let mut node = follower(settings, 3, &vec![1; count]);
        elect(&mut node);
        // What is not committed is counted once, by whoever is elected.
        let before = node.storage().entries.get();
        let mut messages = 0;
        let info = measure(|| {
            messages = tell(&mut node, 2, nodes::rejected(count as u64, (0, 0))).len();
            messages += tell(&mut node, 2, accepted(OF_A_MESSAGE)).len();
        });
        assert!(messages as u64 >= count as u64 / OF_A_MESSAGE, "{messages}");
        (
            info,
            node.storage().entries.get() - before,
            node.storage().calls.get(),
        )
    };
    let (few, few_read, few_calls) = of(FEW as usize);
    let (many, many_read, many_calls) = of(MANY as usize);
    assert_allocates_linearly("catching up", &few, &many);
    assert_linear("calls", few_calls, many_calls);
    assert!(
        few_read <= FEW + FEW / 5 && many_read <= MANY + MANY / 5,
        "{few_read}, {many_read}"
    );
}

/// Two followers that have nothing are sent the same, which is read once.
#[test]
fn peers_that_stand_in_the_same_place() {
    const ENTRIES: u64 = 100;
    let mut node = follower(settings(1), 3, &[1; ENTRIES as usize]);
    elect(&mut node);
    let before = node.storage().entries.get();
    let term = node.current_term().0;
    for peer in [2, 3] {
        let rejected = nodes::rejected(ENTRIES, (0, 0));
        node.step(message(peer, 1, term, rejected)).unwrap();
    }
    assert_eq!(work(&mut node).len(), 2);
    let read = node.storage().entries.get() - before;
    assert!((ENTRIES..2 * ENTRIES).contains(&read), "{read} are read");
}

/// A follower is sent what it has, with a little more each time: it keeps no more than what is new.
#[test]
fn messages_that_overlap() {
    const MESSAGES: usize = 50;
    let of = |count: u64| {
        let all: Entries = (1..=count).map(|index| entry(1, index)).collect();
        let mut node = follower(settings(2), 3, &[]);
        node.step(message(1, 2, 1, nodes::heartbeat(0))).unwrap();
        measure(|| {
            for part in 1..=MESSAGES {
                let entries = all.slice(0, all.len() * part / MESSAGES);
                tell(&mut node, 1, append(LogId::ZERO, entries));
            }
            assert_eq!(node.last_log().index.0, count);
        })
    };
    let (few, many) = (of(FEW), of(MANY));
    assert_allocates_linearly("overlaps", &few, &many);
    let copied_once = MANY * size_of::<almadia::Entry>() as u64;
    assert!(many.bytes_total < 2 * copied_once, "{many:?}");
}

/// The end of a follower's log is replaced again and again, by one new leader after another.
#[test]
fn ends_that_are_replaced() {
    const LEADERS: u64 = 50;
    let of = |count: u64| {
        let all: Entries = (1..=count).map(|index| entry(1, index)).collect();
        let mut node = follower(settings(2), 3, &[]);
        node.step(message(1, 2, 1, append(LogId::ZERO, all)))
            .unwrap();
        measure(|| {
            for term in 2..2 + LEADERS {
                let kept = count - count * (term - 1) / (LEADERS + 1);
                let entries = Entries::from([entry(term, kept + 1)]);
                let body = append(LogId::new(1, kept), entries);
                node.step(message(1, 2, term, body)).unwrap();
            }
            work(&mut node);
        })
    };
    let (few, many) = (of(FEW), of(MANY));
    assert_allocates_linearly("replaced", &few, &many);
    let copied_once = MANY * size_of::<almadia::Entry>() as u64;
    assert!(many.bytes_total < 2 * copied_once, "{many:?}");
}

fn append(prev_log: LogId, entries: Entries) -> Body {
    Body::AppendEntries(AppendEntries {
        prev_log,
        leader_commit: LogIndex::ZERO,
        entries,
    })
}

/// How much a node has in its log does not matter when it starts, and when it is elected.
#[test]
fn starting_on_a_long_log() {
    let of = |count: u64| {
        let terms = vec![1; count as usize];
        let mut log = nodes::disk(3, &terms);
        log.set_hard_state(nodes::hard_state(1, None, count));
        let config = settings(1).applied(LogId::new(1, count)).build().unwrap();
        let storage = Counted {
            log,
            calls: Cell::new(0),
            entries: Cell::new(0),
        };
        let mut calls = 0;
        let info = measure(|| {
            let mut node = RawNode::new(config, storage).unwrap();
            elect(&mut node);
            calls = node.storage().calls.get();
            std::mem::forget(node);
        });
        (calls, info)
    };
    let ((few_calls, few), (many_calls, many)) = (of(FEW), of(MANY));
    assert_eq!(few_calls, many_calls);
    assert_eq!(few, many);
}

/// Two logs that share their first entry alone, in many terms of both: each probe takes both sides back by
/// a term, and no entry is looked at twice.
#[test]
fn logs_that_differ_in_many_terms() {
    const OF_A_TERM: usize = 10;
    let of = |count: u64| {
        // Odd terms here, even ones there.
        let terms = |first: u64| -> Vec<u64> {
            let later = (1..count).map(|at| first + 2 * (at / OF_A_TERM as u64));
            [1].into_iter().chain(later).collect()
        };
        let mut node = follower(settings(1), 3, &terms(3));
        let mut peer = follower(settings(2), 3, &terms(2));
        let mut mail = elect(&mut node);
        let mut messages = 0_u64;
        let term = node.current_term();
        while let Some(message) = mail.pop() {
            messages += 1;
            if message.to == id(2) {
                peer.step(message).unwrap();
                mail.extend(work(&mut peer));
            } else if message.to == id(1) {
                node.step(message).unwrap();
                mail.extend(work(&mut node));
            }
        }
        assert_eq!(peer.last_log().term, term);
        let calls = [&node, &peer].map(|node| node.storage().calls.get());
        (messages, calls)
    };
    let (few_messages, few) = of(FEW);
    let (many_messages, many) = of(MANY);
    assert_linear("messages", few_messages, many_messages);
    for (few, many) in few.into_iter().zip(many) {
        assert_linear("calls", few, many);
        assert!(many < 3 * MANY, "{many} for {MANY} entries");
    }
}

/// An entry costs a leader at most one allocation for each voter, however many there are: acknowledgements of
/// more than sixteen voters are put into a list, to find the middle one.
#[test]
fn many_voters() {
    let of = |voters: u64| {
        let mut node = follower(settings(1), voters, &[]);
        elect(&mut node);
        let mut commit = |index| {
            measure(|| {
                for peer in 2..=voters {
                    tell(&mut node, peer, accepted(index));
                }
                assert_eq!(node.commit_index().0, index);
                propose(&mut node, 1);
                work(&mut node);
            })
        };
        (1..=10).map(&mut commit).last().unwrap()
    };
    for voters in [3, 11, 21, 101] {
        let info = of(voters);
        assert!(info.count_total <= voters, "{voters}: {info:?}");
        // The messages, and a list for each answer until there are enough of them.
        let lists = 4 * voters * (size_of::<Message>() as u64 + 2 * voters);
        assert!(info.bytes_total <= lists, "{voters}: {info:?}");
    }
}
