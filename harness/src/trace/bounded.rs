//! What is kept of a long run.
//!
//! Owns the choice. The traffic of every day is left out first, from the beginning on; what turns
//! the run (elections, crashes, partitions, snapshots, notes) stays much longer. The last word on
//! each matter of each node is never left out, so that what follows can be understood.

use std::collections::{BTreeMap, VecDeque};

use almadia::NodeId;

use super::{TraceEvent, What};

/// Events, at most so many.
#[derive(Debug)]
pub(super) struct Bounded {
    turns: Part,
    routine: Part,
    next: u64,
}

/// Events of one kind, each with its place in the order of all.
#[derive(Debug)]
struct Part {
    events: VecDeque<(u64, TraceEvent)>,
    most: usize,
    /// How many have left `events`.
    left: u64,
    /// The last word on each matter among those.
    kept: BTreeMap<(Option<NodeId>, Matter), (u64, TraceEvent)>,
}

/// What a later event of the same node says anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Matter {
    Life,
    Pause,
    Role,
    Leader,
    Membership,
    Written,
    Committed,
    Applied,
    Link(NodeId),
}

impl Bounded {
    pub(super) fn new(most: usize) -> Self {
        let turns = most / 4;
        Self {
            turns: Part::new(turns),
            routine: Part::new(most - turns),
            next: 0,
        }
    }

    pub(super) fn push(&mut self, event: TraceEvent) {
        let part = if is_routine(&event.what) {
            &mut self.routine
        } else {
            &mut self.turns
        };
        part.push(self.next, event);
        self.next += 1;
    }

    /// How many events were left out, and those that are left.
    pub(super) fn into_events(self) -> (u64, Vec<TraceEvent>) {
        let omitted = self.turns.omitted() + self.routine.omitted();
        let mut events = self.turns.into_numbered("all kinds");
        events.extend(
            self.routine
                .into_numbered("messages in between, writes and commits"),
        );
        events.sort_by_key(|&(number, _)| number);
        (
            omitted,
            events.into_iter().map(|(_, event)| event).collect(),
        )
    }
}

impl Part {
    const fn new(most: usize) -> Self {
        Self {
            events: VecDeque::new(),
            most,
            left: 0,
            kept: BTreeMap::new(),
        }
    }

    fn push(&mut self, number: u64, event: TraceEvent) {
        self.events.push_back((number, event));
        if self.events.len() > self.most {
            if let Some((number, oldest)) = self.events.pop_front() {
                self.left += 1;
                self.keep_last_word(number, oldest);
            }
        }
    }

    fn keep_last_word(&mut self, number: u64, event: TraceEvent) {
        let node = event.node;
        if let What::Healed { to } = event.what {
            self.kept.retain(|&(from, matter), _| {
                let is_link = matches!(matter, Matter::Link(_));
                let is_healed = to.is_none_or(|to| from == node && matter == Matter::Link(to));
                !(is_link && is_healed)
            });
        }
        if let Some(matter) = matter(&event.what) {
            // Whoever starts or stops begins anew.
            if matter == Matter::Life {
                self.kept.retain(|&(of, matter), _| {
                    of != node || matches!(matter, Matter::Link(_) | Matter::Membership)
                });
            }
            self.kept.insert((node, matter), (number, event));
        }
    }

    fn omitted(&self) -> u64 {
        self.left - self.kept.len() as u64
    }

    /// What is left, and a word about what is not, just before the first that is.
    fn into_numbered(self, kinds: &str) -> Vec<(u64, TraceEvent)> {
        let omitted = self.omitted();
        let mark = self.events.front().filter(|_| omitted > 0);
        let mark = mark.map(|(number, first)| {
            let event = TraceEvent {
                node: None,
                what: What::Omitted {
                    events: omitted,
                    text: kinds.into(),
                },
                ..*first
            };
            (*number, event)
        });
        let kept = self.kept.into_values();
        kept.chain(mark).chain(self.events).collect()
    }
}

/// The kinds of messages that a cluster exchanges while nothing happens.
const ROUTINE_MESSAGES: [&str; 7] = [
    "AppendEntries",
    "AppendEntriesResponse",
    "Heartbeat",
    "HeartbeatResponse",
    "Propose",
    "ReadIndex",
    "ReadIndexResponse",
];

/// What there is so much of that the beginning can be spared.
fn is_routine(what: &What) -> bool {
    match what {
        What::Sent { name, .. }
        | What::Delivered { name, .. }
        | What::Duplicated { name, .. }
        | What::Lost { name, .. } => ROUTINE_MESSAGES.contains(&name.as_str()),
        What::Persisted { .. }
        | What::Committed { .. }
        | What::Applied { .. }
        | What::Proposed { .. }
        | What::Compacted { .. }
        | What::Read { .. } => true,
        What::Started { .. }
        | What::Crashed { .. }
        | What::Paused { .. }
        | What::Resumed
        | What::Role { .. }
        | What::Leader { .. }
        | What::Refused { .. }
        | What::Snapshot { .. }
        | What::Membership { .. }
        | What::Cut { .. }
        | What::Healed { .. }
        | What::Note { .. }
        | What::Violated { .. }
        | What::Omitted { .. } => false,
    }
}

fn matter(what: &What) -> Option<Matter> {
    match what {
        What::Started { .. } | What::Crashed { .. } => Some(Matter::Life),
        What::Paused { .. } | What::Resumed => Some(Matter::Pause),
        What::Role { .. } => Some(Matter::Role),
        What::Leader { .. } => Some(Matter::Leader),
        What::Membership { .. } => Some(Matter::Membership),
        What::Persisted { .. } => Some(Matter::Written),
        What::Committed { .. } => Some(Matter::Committed),
        What::Applied { .. } => Some(Matter::Applied),
        What::Cut { to } => Some(Matter::Link(*to)),
        What::Sent { .. }
        | What::Delivered { .. }
        | What::Duplicated { .. }
        | What::Lost { .. }
        | What::Refused { .. }
        | What::Proposed { .. }
        | What::Compacted { .. }
        | What::Snapshot { .. }
        | What::Healed { .. }
        | What::Read { .. }
        | What::Note { .. }
        | What::Violated { .. }
        | What::Omitted { .. } => None,
    }
}
