//! The window of messages on their way to a peer, against a list of them.
//!
//! Owns a leader and a real follower with an unreliable network between them.

use std::collections::VecDeque;

use almadia::{AppendEntriesResponse, Body, LogIndex, Message, ProgressState};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::cases;
use crate::nodes::*;

#[derive(Clone, Copy, Debug)]
enum Event {
    Propose {
        bytes: usize,
    },
    TakeReady,
    Tick,
    /// The oldest message to the peer, or from it, arrives, stays for once more, or is lost.
    Deliver {
        to_peer: bool,
    },
    Duplicate {
        to_peer: bool,
    },
    Lose {
        to_peer: bool,
    },
    /// The newest one overtakes all others.
    Overtake {
        to_peer: bool,
    },
    Unreachable,
}

fn event() -> impl Strategy<Value = Event> {
    let to_peer = any::<bool>;
    prop_oneof![
        6 => (0_usize..60).prop_map(|bytes| Event::Propose { bytes }),
        8 => Just(Event::TakeReady),
        2 => Just(Event::Tick),
        8 => to_peer().prop_map(|to_peer| Event::Deliver { to_peer }),
        1 => to_peer().prop_map(|to_peer| Event::Duplicate { to_peer }),
        1 => to_peer().prop_map(|to_peer| Event::Lose { to_peer }),
        1 => to_peer().prop_map(|to_peer| Event::Overtake { to_peer }),
        1 => Just(Event::Unreachable),
    ]
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    message_bytes: u64,
    messages: usize,
    bytes: u64,
    tail_bytes: u64,
}

fn limits() -> impl Strategy<Value = Limits> {
    (
        prop_oneof![Just(0), Just(100), Just(1 << 20)],
        1_usize..5,
        prop_oneof![Just(0), Just(90), Just(300), Just(1 << 20)],
        prop_oneof![Just(0), Just(1 << 20)],
    )
        .prop_map(|(message_bytes, messages, bytes, tail_bytes)| Limits {
            message_bytes,
            messages,
            bytes,
            tail_bytes,
        })
}

struct Model {
    limits: Limits,
    leader: Node,
    peer: Node,
    to_peer: VecDeque<Message>,
    from_peer: VecDeque<Message>,
    /// Last index and bytes of every message with entries since the peer began to replicate.
    window: Vec<(LogIndex, u64, usize)>,
    sent_through: LogIndex,
}

impl Model {
    fn new(limits: Limits) -> Self {
        let settings = settings(1)
            .max_message_bytes(limits.message_bytes)
            .max_inflight_messages(limits.messages)
            .max_inflight_bytes(limits.bytes)
            .max_tail_bytes(limits.tail_bytes);
        let mut leader = open(settings, disk(3, &[1, 1]));
        let to_peer = elect(&mut leader).messages.into();
        Self {
            limits,
            leader,
            peer: follower(2, 3, &[1]),
            to_peer,
            from_peer: VecDeque::new(),
            window: Vec::new(),
            sent_through: LogIndex::ZERO,
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Propose { bytes } => {
                self.leader.propose("", vec![1; bytes]).unwrap();
            }
            Event::TakeReady => self.take_ready(),
            Event::Tick => self.leader.tick().unwrap(),
            Event::Deliver { to_peer } => {
                if let Some(message) = self.queue(to_peer).pop_front() {
                    self.deliver(message);
                }
            }
            Event::Duplicate { to_peer } => {
                if let Some(message) = self.queue(to_peer).front().cloned() {
                    self.deliver(message);
                }
            }
            Event::Lose { to_peer } => drop(self.queue(to_peer).pop_front()),
            Event::Overtake { to_peer } => {
                if let Some(message) = self.queue(to_peer).pop_back() {
                    self.deliver(message);
                }
            }
            Event::Unreachable => {
                self.leader.report_unreachable(id(2));
                self.note_state(None);
            }
        }
    }

    fn queue(&mut self, to_peer: bool) -> &mut VecDeque<Message> {
        if to_peer {
            &mut self.to_peer
        } else {
            &mut self.from_peer
        }
    }

    fn is_replicating(&self) -> bool {
        let progress = self.leader.progress(id(2)).unwrap();
        matches!(progress.state(), ProgressState::Replicate { .. })
    }

    fn deliver(&mut self, message: Message) {
        if message.to == id(2) {
            self.peer.step(message).unwrap();
            self.from_peer.extend(settle(&mut self.peer).messages);
        } else if message.to == id(1) {
            let was_replicating = self.is_replicating();
            let response = message.body.as_response();
            self.leader.step(message).unwrap();
            let accepted = match response {
                Some(AppendEntriesResponse::Accepted { match_index, .. }) => Some(match_index),
                Some(
                    AppendEntriesResponse::Rejected { .. }
                    | AppendEntriesResponse::SnapshotRequested { .. }
                    | AppendEntriesResponse::TermOutdated,
                )
                | None => None,
            };
            self.note_state(accepted.filter(|_| was_replicating));
        }
    }

    /// Frees what was accepted, or begins anew if the peer stopped or began to replicate.
    fn note_state(&mut self, accepted: Option<LogIndex>) {
        let progress = self.leader.progress(id(2)).unwrap();
        if !self.is_replicating() {
            self.window.clear();
            self.sent_through = LogIndex::ZERO;
        } else if let Some(accepted) = accepted {
            self.window.retain(|(last, _, _)| *last > accepted);
            self.sent_through = self.sent_through.max(progress.match_index());
        } else if self.sent_through == LogIndex::ZERO {
            self.sent_through = progress.match_index();
        }
    }

    fn take_ready(&mut self) {
        let Some(ready) = self.leader.ready().unwrap() else {
            return;
        };
        let to_peer: Vec<Message> = ready
            .messages
            .iter()
            .filter(|message| message.to == id(2))
            .cloned()
            .collect();
        write(&mut self.leader, &ready);
        let replicating = self.is_replicating();
        for message in &to_peer {
            if let Body::AppendEntries(append) = &message.body {
                let bytes = append.entries.size_bytes();
                assert!(append.entries.follow(append.prev_log));
                assert!(bytes <= self.limits.message_bytes || append.entries.len() == 1);
                if let Some(last) = append.entries.last_id().filter(|_| replicating) {
                    assert_eq!(
                        append.prev_log.index, self.sent_through,
                        "neither again nor too far"
                    );
                    self.sent_through = last.index;
                    self.window.push((last.index, bytes, append.entries.len()));
                    self.check_window();
                }
            }
        }
        self.to_peer.extend(to_peer);
        self.leader.advance(ready).unwrap();
    }

    fn check_window(&self) {
        assert!(self.window.len() <= self.limits.messages);
        let total: u64 = self.window.iter().map(|(_, bytes, _)| bytes).sum();
        let (_, last_bytes, last_count) = self.window.last().unwrap();
        if self.window.len() > 1 {
            assert!(
                total - last_bytes < self.limits.bytes,
                "there was room to begin with"
            );
        }
        assert!(
            total <= self.limits.bytes || *last_count == 1,
            "only part of one entry is beyond"
        );
    }

    fn check(&self) {
        let progress = self.leader.progress(id(2)).unwrap();
        assert!(progress.match_index() < progress.next_index());
        assert!(progress.match_index() <= self.peer.last_log().index);
        if let ProgressState::Replicate { inflight, .. } = progress.state() {
            assert_eq!(inflight.messages(), self.window.len());
            assert_eq!(
                inflight.bytes(),
                self.window.iter().map(|(_, bytes, _)| bytes).sum::<u64>()
            );
        }
    }

    /// With a network that works again, everything arrives.
    fn finish(&mut self) {
        for _ in 0..60 {
            self.happens(Event::Tick);
            self.happens(Event::TakeReady);
            for to_peer in [true, false] {
                while !self.queue(to_peer).is_empty() {
                    self.happens(Event::Deliver { to_peer });
                    self.check();
                }
            }
        }
        // What is left is one round trip for each message.
        for _ in 0..500 {
            self.happens(Event::TakeReady);
            self.happens(Event::Deliver { to_peer: true });
            self.happens(Event::Deliver { to_peer: false });
            self.check();
        }
        assert_eq!(self.peer.last_log(), self.leader.last_log());
        assert_eq!(stored_terms(&self.peer), stored_terms(&self.leader));
        assert_eq!(self.leader.commit_index(), self.leader.last_log().index);
        assert_eq!(self.peer.commit_index(), self.leader.commit_index());
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn the_window_is_never_exceeded_and_everything_arrives(
        limits in limits(), events in vec(event(), 0..120),
    ) {
        let mut model = Model::new(limits);
        for event in events {
            model.happens(event);
            model.check();
        }
        model.finish();
    }
}
