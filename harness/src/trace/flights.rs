//! Which message it was that arrived: numbers for messages that carry none.
//!
//! Owns the matching of what arrives with what was sent. Must not know what messages mean.

use std::collections::{BTreeMap, VecDeque};

use almadia::Message;

use crate::digest::Digest;

/// Messages that were sent, and which of them have arrived.
///
/// A message is known by all that it says. Two that are equal in everything cannot be told apart,
/// not by a node either, so the one that was sent first is taken to arrive first.
#[derive(Debug)]
pub(super) struct Flights {
    by_content: BTreeMap<u64, Flight>,
    /// The content of each message that is remembered, by number.
    contents: BTreeMap<u64, u64>,
    next: u64,
    /// How many messages are remembered.
    most: usize,
}

/// Equal messages.
#[derive(Debug, Default)]
struct Flight {
    /// The numbers of those that have not arrived.
    waiting: VecDeque<u64>,
    /// The number of the one that arrived last.
    arrived: Option<u64>,
}

/// A message at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) number: u64,
    /// Whether it has arrived before.
    pub(super) is_repeated: bool,
}

impl Flights {
    pub(super) fn new(most: usize) -> Self {
        Self {
            by_content: BTreeMap::new(),
            contents: BTreeMap::new(),
            next: 1,
            most,
        }
    }

    /// Numbers a message that is sent.
    pub(super) fn sent(&mut self, message: &Message) -> u64 {
        let number = self.next;
        self.next += 1;
        let content = Digest::of(message);
        let flight = self.by_content.entry(content).or_default();
        flight.waiting.push_back(number);
        self.contents.insert(number, content);
        while self.contents.len() > self.most {
            self.forget_oldest();
        }
        number
    }

    /// Tells which message it is that arrives, or is lost. One that nobody was seen to send gets a
    /// number of its own.
    pub(super) fn arrived(&mut self, message: &Message) -> Arrival {
        let flight = self.by_content.get_mut(&Digest::of(message));
        let known = flight.and_then(|flight| {
            if let Some(number) = flight.waiting.pop_front() {
                flight.arrived = Some(number);
                return Some((number, false));
            }
            flight.arrived.map(|number| (number, true))
        });
        let (number, is_repeated) = known.unwrap_or_else(|| {
            self.next += 1;
            (self.next - 1, false)
        });
        Arrival {
            number,
            is_repeated,
        }
    }

    fn forget_oldest(&mut self) {
        let Some((number, content)) = self.contents.pop_first() else {
            return;
        };
        let Some(flight) = self.by_content.get_mut(&content) else {
            return;
        };
        flight.waiting.retain(|&waiting| waiting != number);
        if flight.waiting.is_empty() && flight.arrived <= Some(number) {
            self.by_content.remove(&content);
        }
    }
}
