//! Whether what clients saw of one key could have been shown to them by a single copy.
//!
//! Owns the search of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with Lowe's memory
//! of what was tried ("Testing for Linearizability", 2017). Knows no client and no key.

use std::collections::HashSet;
use std::time::{Duration, Instant};

/// What the key holds; every write has a number of its own.
pub(super) type Value = Option<u64>;

/// An operation on the key, with what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// The key held this.
    Read(Value),
    /// The key holds this.
    Write(Value),
    /// The key held the first one, and holds the second one.
    Swap(Value, Value),
    /// The key held the second one, and not the first one, which was expected.
    NoSwap(Value, Value),
}

/// When an operation was under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    /// The operation.
    pub(super) operation: Operation,
    /// When it was asked for.
    pub(super) began: Duration,
    /// When it was answered; `None` if it never was: it may have taken effect at any time since, or not
    /// at all.
    pub(super) ended: Option<Duration>,
}

impl Operation {
    /// What the key holds afterwards; `None` if the operation could not have ended like this.
    fn apply(self, value: Value) -> Option<Value> {
        match self {
            Self::Read(seen) => (seen == value).then_some(value),
            Self::Write(new) => Some(new),
            Self::Swap(expected, new) => (expected == value).then_some(new),
            Self::NoSwap(expected, seen) => (expected != value && seen == value).then_some(value),
        }
    }
}

/// What has come of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none.
    Impossible,
    /// The search took too long.
    Undecided,
}

/// Looks for an order of the operations in which each of them ends as it did.
#[must_use]
pub(super) fn check(mut events: Vec<Event>, patience: Duration) -> Verdict {
    events.sort_by_key(|event| event.began);
    let deadline = Instant::now() + patience;
    let mut search = Search {
        taken: vec![0; events.len().div_ceil(64)],
        events,
        first_left: 0,
        value: None,
        tried: HashSet::new(),
    };
    let mut steps = 0_u64;
    // What was taken, and what was there before: the value, and where the search goes on.
    let mut path: Vec<(usize, Value, usize)> = Vec::new();
    let mut next = 0;
    loop {
        if search.is_done() {
            return Verdict::Linearizable;
        }
        steps += 1;
        if steps.is_multiple_of(1024) && Instant::now() > deadline {
            return Verdict::Undecided;
        }
        if let Some((at, value)) = search.candidate(next) {
            path.push((at, search.value, search.first_left));
            search.take(at, value);
            next = search.first_left;
        } else {
            let Some((at, value, first_left)) = path.pop() else {
                return Verdict::Impossible;
            };
            search.give_back(at, value, first_left);
            next = at + 1;
        }
    }
}

struct Search {
    events: Vec<Event>,
    /// One bit for each event that is in the order.
    taken: Vec<u64>,
    /// The first event that is not.
    first_left: usize,
    value: Value,
    /// What was in the order, and what the key held then: it leads nowhere twice.
    tried: HashSet<(Vec<u64>, Value)>,
}

impl Search {
    fn is_taken(&self, at: usize) -> bool {
        self.taken[at / 64] >> (at % 64) & 1 == 1
    }

    /// Whether only operations are left that were never answered.
    fn is_done(&self) -> bool {
        (self.first_left..self.events.len())
            .all(|at| self.is_taken(at) || self.events[at].ended.is_none())
    }

    /// The first event from there on that may be next: no other one had ended before it began.
    fn candidate(&mut self, from: usize) -> Option<(usize, Value)> {
        let left = (self.first_left..self.events.len()).filter(|at| !self.is_taken(*at));
        let mut first_end = Duration::MAX;
        let mut open = Vec::new();
        for at in left {
            let event = &self.events[at];
            // Later ones have begun later still.
            if event.began > first_end {
                break;
            }
            first_end = event.ended.map_or(first_end, |end| first_end.min(end));
            open.push(at);
        }
        for at in open.into_iter().filter(|at| *at >= from) {
            if self.events[at].began > first_end {
                continue;
            }
            let Some(value) = self.events[at].operation.apply(self.value) else {
                continue;
            };
            let mut taken = self.taken.clone();
            taken[at / 64] |= 1 << (at % 64);
            if self.tried.insert((taken, value)) {
                return Some((at, value));
            }
        }
        None
    }

    fn take(&mut self, at: usize, value: Value) {
        self.taken[at / 64] |= 1 << (at % 64);
        self.value = value;
        while self.first_left < self.events.len() && self.is_taken(self.first_left) {
            self.first_left += 1;
        }
    }

    fn give_back(&mut self, at: usize, value: Value, first_left: usize) {
        self.taken[at / 64] &= !(1 << (at % 64));
        self.value = value;
        self.first_left = first_left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Operation::{NoSwap, Read, Swap, Write};

    fn judge(events: &[(Operation, u64, Option<u64>)]) -> Verdict {
        let at = Duration::from_millis;
        let events = events.iter().map(|(operation, began, ended)| Event {
            operation: *operation,
            began: at(*began),
            ended: ended.map(at),
        });
        check(events.collect(), Duration::from_secs(10))
    }

    #[test]
    fn what_one_copy_shows_is_linearizable() {
        let events = [
            (Write(Some(1)), 0, Some(10)),
            (Read(None), 1, Some(9)),
            (Read(Some(1)), 2, Some(8)),
            (Swap(Some(1), Some(2)), 11, Some(20)),
            (NoSwap(Some(1), Some(2)), 12, Some(30)),
            (Write(None), 31, Some(40)),
            (Read(None), 41, Some(50)),
        ];
        assert_eq!(judge(&events), Verdict::Linearizable);
    }

    #[test]
    fn a_lost_write_is_found() {
        let events = [
            (Write(Some(1)), 0, Some(10)),
            (Write(Some(2)), 11, Some(20)),
            (Read(Some(1)), 21, Some(30)),
        ];
        assert_eq!(judge(&events), Verdict::Impossible);
    }

    #[test]
    fn a_read_that_goes_back_is_found() {
        let events = [
            (Write(Some(1)), 0, None),
            (Read(Some(1)), 5, Some(10)),
            (Read(None), 11, Some(20)),
        ];
        assert_eq!(judge(&events), Verdict::Impossible);
    }

    #[test]
    fn a_write_without_an_answer_may_have_taken_effect_or_not() {
        let seen = [
            (Write(Some(1)), 0, None),
            (Read(None), 5, Some(10)),
            (Read(Some(1)), 11, Some(20)),
        ];
        assert_eq!(judge(&seen), Verdict::Linearizable);
        let unseen = [(Write(Some(1)), 0, None), (Read(None), 5, Some(10))];
        assert_eq!(judge(&unseen), Verdict::Linearizable);
    }

    #[test]
    fn two_swaps_of_one_value_are_found() {
        let events = [
            (Write(Some(1)), 0, Some(10)),
            (Swap(Some(1), Some(2)), 11, Some(20)),
            (Swap(Some(1), Some(3)), 12, Some(21)),
        ];
        assert_eq!(judge(&events), Verdict::Impossible);
    }

    /// Many clients at once, and a history of one copy: it is decided at once.
    #[test]
    fn a_long_history_is_decided() {
        let mut events = Vec::new();
        let mut value = None;
        for step in 0..4_000_u64 {
            // All take effect in their order; each is under way for as long as eight others.
            let operation = match step % 3 {
                0 => Read(value),
                1 => Write(Some(step)),
                _ => Swap(value, Some(step)),
            };
            value = operation.apply(value).expect("it is in order");
            events.push((operation, step, Some(step + 8)));
        }
        assert_eq!(judge(&events), Verdict::Linearizable);
        let last = events.len() - 1;
        events[last].0 = Read(Some(1));
        assert_eq!(judge(&events), Verdict::Impossible);
    }
}
