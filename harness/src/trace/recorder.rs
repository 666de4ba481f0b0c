//! Gathers the events of a run while it happens.
//!
//! Owns what is known of the nodes in between, so that only changes are recorded. Must not call the
//! nodes for anything but a look. Knows no clock: the time is told to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use almadia::{
    BasicStatus, Event, LogId, LogIndex, Membership, Message, NodeId, Observer, RawNode, Ready,
    RoleKind, Storage, Term,
};

use super::bounded::Bounded;
use super::flights::Flights;
use super::{Trace, TraceEvent, TraceHeader, What, describe};

/// Gathers the events of a run, and makes a [`Trace`] of them.
///
/// One recorder serves a whole cluster in one process. Clones share what they gather, and may be
/// used on several threads. An embedder of its own cluster tells it:
///
/// * that nodes [start](Self::started) and [stop](Self::stopped);
/// * what becomes of messages: [`sent`](Self::sent), [`delivered`](Self::delivered) before `step`
///   is called with it, [`lost`](Self::lost). Messages need no number for that;
/// * that a write is [durable](Self::persisted);
/// * now and then, best after every round of the run loop, the node itself, to
///   [look](Self::observe) for what has changed;
/// * the [time](Self::set_time), and [whatever else](Self::record) is worth knowing.
///
/// It is also an [`Observer`] for [`RawNode::with_observer`], which tells more, and at once.
///
/// When too much has happened, old events are left out, and the trace says so.
///
/// ```
/// use std::sync::Arc;
///
/// use almadia::{Config, MemStorage, NodeId, RawNode};
/// use almadia_harness::{Trace, TraceRecorder};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let recorder = TraceRecorder::new("a node alone", "ticks", Trace::DEFAULT_MAX_EVENTS);
/// let id = NodeId::new(1).ok_or("node ids start at 1")?;
/// let storage = MemStorage::with_voters([id]);
/// let mut node = RawNode::with_observer(Config::new(id), storage, Arc::new(recorder.clone()))?;
/// recorder.started(&node);
/// for tick in 1..100 {
///     recorder.set_time(tick);
///     node.tick()?;
///     while let Some(mut ready) = node.ready()? {
///         ready.messages.drain(..).for_each(|message| recorder.sent(&message));
///         // Send, persist as always ...
/// #       for run in &ready.entries {
/// #           node.storage_mut().append(run)?;
/// #       }
/// #       if let Some(hard_state) = ready.hard_state {
/// #           node.storage_mut().set_hard_state(hard_state);
/// #       }
///         recorder.persisted(id, &ready);
///         // ... and so on.
///         node.advance(ready)?;
///         recorder.observe(&node);
///     }
/// }
/// let mut file = Vec::new();
/// recorder.finish().write(&mut file)?;
/// assert!(String::from_utf8(file)?.contains(r#""kind":"role","role":"leader","term":1"#));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TraceRecorder {
    recording: Arc<Mutex<Recording>>,
}

/// What is gathered.
#[derive(Debug)]
struct Recording {
    name: String,
    seed: Option<u64>,
    unit: String,
    violation: Option<String>,
    step: u64,
    time: u64,
    events: Bounded,
    flights: Flights,
    known: BTreeMap<NodeId, Known>,
}

/// What was last known of a node.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    role: Option<(RoleKind, Term)>,
    leader: Option<(NodeId, Term)>,
    commit: LogIndex,
    applied: LogIndex,
    last_log: LogId,
    /// The number of the message that arrived last.
    arrived: Option<u64>,
}

/// A node as it looks at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) id: NodeId,
    pub(crate) role: RoleKind,
    pub(crate) leader: Option<NodeId>,
    pub(crate) current_term: Term,
    pub(crate) voted_for: Option<NodeId>,
    pub(crate) commit_index: LogIndex,
    pub(crate) last_applied: LogIndex,
    pub(crate) last_log: LogId,
}

impl From<&BasicStatus> for Look {
    fn from(status: &BasicStatus) -> Self {
        Self {
            id: status.id,
            role: status.role,
            leader: status.leader,
            current_term: status.current_term,
            voted_for: status.voted_for,
            commit_index: status.commit_index,
            last_applied: status.last_applied,
            last_log: status.last_log,
        }
    }
}

impl TraceRecorder {
    /// A recorder for a run of this name, whose [time](Self::set_time) counts `unit`, and which
    /// keeps about `max_events` events.
    #[must_use]
    pub fn new(name: impl Into<String>, unit: impl Into<String>, max_events: usize) -> Self {
        let recording = Recording {
            name: name.into(),
            seed: None,
            unit: unit.into(),
            violation: None,
            step: 0,
            time: 0,
            events: Bounded::new(max_events),
            flights: Flights::new(max_events),
            known: BTreeMap::new(),
        };
        Self {
            recording: Arc::new(Mutex::new(recording)),
        }
    }

    /// The seed of the run.
    pub fn set_seed(&self, seed: u64) {
        self.lock().seed = Some(seed);
    }

    /// What happens from now on happens at this time, or later: it never goes back.
    pub fn set_time(&self, time: u64) {
        let mut recording = self.lock();
        recording.time = recording.time.max(time);
    }

    /// What happens from now on happens in this step, if the run has steps.
    pub fn set_step(&self, step: u64) {
        self.lock().step = step;
    }

    /// Records anything.
    pub fn record(&self, node: Option<NodeId>, what: What) {
        self.lock().record(node, what);
    }

    /// The node was started from its disk.
    pub fn started<S: Storage>(&self, node: &RawNode<S>) {
        self.started_at(&Look::from(&node.basic_status()), node.membership());
    }

    /// The same of a node of any kind.
    pub(crate) fn started_at(&self, look: &Look, membership: &Membership) {
        self.lock().started(look, membership.to_string());
    }

    /// The node has stopped, and what was only in its memory is gone. `text` says how.
    pub fn stopped(&self, node: NodeId, text: impl Into<String>) {
        let text = text.into();
        self.record(Some(node), What::Crashed { text });
    }

    /// A message leaves its sender.
    pub fn sent(&self, message: &Message) {
        self.lock().sent(message);
    }

    /// A message arrives. To be told before `step` is called with it.
    pub fn delivered(&self, message: &Message) {
        self.lock().delivered(message);
    }

    /// A message will not arrive. `text` says why.
    pub fn lost(&self, message: &Message, text: impl Into<String>) {
        self.lock().lost(message, text.into());
    }

    /// What this `Ready` wants persisted is durable. To be told before its parts are taken out.
    pub fn persisted(&self, node: NodeId, ready: &Ready) {
        let (snapshot, entries) = (ready.snapshot.as_deref(), &ready.entries);
        if let Some(what) = What::persisted(ready.number, snapshot, entries, ready.hard_state) {
            self.record(Some(node), what);
        }
    }

    /// Looks at the node, and records what has changed since the last look: role, leader, the end
    /// of a leader's log, commit index, applied index.
    pub fn observe<S: Storage>(&self, node: &RawNode<S>) {
        self.looked(&Look::from(&node.basic_status()));
    }

    /// The same of a node of any kind.
    pub(crate) fn looked(&self, look: &Look) {
        self.lock().observe(look);
    }

    /// A promise of Raft was broken; on this node, if it is known.
    pub fn violated(&self, node: Option<NodeId>, text: impl Into<String>) {
        let text = text.into();
        let mut recording = self.lock();
        recording.violation.get_or_insert_with(|| text.clone());
        recording.record(node, What::Violated { text });
    }

    /// The trace of what was gathered. The recorder takes nothing more.
    #[must_use]
    pub fn finish(&self) -> Trace {
        let mut recording = self.lock();
        let nothing = Bounded::new(0);
        let (omitted, events) = std::mem::replace(&mut recording.events, nothing).into_events();
        let header = TraceHeader {
            almadia_trace: Trace::FORMAT,
            name: recording.name.clone(),
            seed: recording.seed,
            unit: recording.unit.clone(),
            nodes: recording.known.keys().copied().collect(),
            omitted,
            violation: recording.violation.take(),
        };
        Trace::new(header, events)
    }

    /// A node that panics while it is recorded leaves a recording behind that is still good: each
    /// event is added whole.
    fn lock(&self) -> MutexGuard<'_, Recording> {
        let locked = self.recording.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for TraceRecorder {
    fn on_event(&self, node: NodeId, event: &Event<'_>) {
        self.lock().record(Some(node), What::told(event));
    }
}

impl Recording {
    fn record(&mut self, node: Option<NodeId>, mut what: What) {
        if let Some(node) = node {
            let known = self.known.entry(node).or_default();
            match &mut what {
                // An observer may tell what a look has shown already.
                What::Role { role, term } => {
                    if known.role.replace((*role, *term)) == Some((*role, *term)) {
                        return;
                    }
                }
                What::Leader { leader, term } => {
                    if known.leader.replace((*leader, *term)) == Some((*leader, *term)) {
                        return;
                    }
                }
                What::Refused { message, .. } => *message = message.or(known.arrived),
                What::Started { .. }
                | What::Crashed { .. }
                | What::Paused { .. }
                | What::Resumed
                | What::Sent { .. }
                | What::Delivered { .. }
                | What::Duplicated { .. }
                | What::Lost { .. }
                | What::Persisted { .. }
                | What::Committed { .. }
                | What::Applied { .. }
                | What::Proposed { .. }
                | What::Compacted { .. }
                | What::Snapshot { .. }
                | What::Membership { .. }
                | What::Cut { .. }
                | What::Healed { .. }
                | What::Read { .. }
                | What::Note { .. }
                | What::Violated { .. }
                | What::Omitted { .. } => {}
            }
        }
        self.events.push(TraceEvent {
            step: self.step,
            time: self.time,
            node,
            what,
        });
    }

    fn started(&mut self, status: &Look, members: String) {
        let known = Known {
            role: Some((status.role, status.current_term)),
            leader: None,
            commit: status.commit_index,
            applied: status.last_applied,
            last_log: status.last_log,
            arrived: None,
        };
        self.known.insert(status.id, known);
        let started = What::Started {
            term: status.current_term,
            vote: status.voted_for,
            last_log: status.last_log,
            commit: status.commit_index,
            applied: status.last_applied,
            members,
        };
        self.record(Some(status.id), started);
    }

    fn sent(&mut self, message: &Message) {
        let number = self.flights.sent(message);
        let sent = What::Sent {
            message: number,
            to: message.to,
            name: message.body.kind().to_string(),
            term: message.term,
            text: describe::message(message),
        };
        self.record(Some(message.from), sent);
    }

    fn delivered(&mut self, message: &Message) {
        let arrival = self.flights.arrived(message);
        let (number, from) = (arrival.number, message.from);
        let name = message.body.kind().to_string();
        let what = if arrival.is_repeated {
            What::Duplicated {
                message: number,
                from,
                name,
            }
        } else {
            What::Delivered {
                message: number,
                from,
                name,
            }
        };
        self.known.entry(message.to).or_default().arrived = Some(number);
        self.record(Some(message.to), what);
    }

    fn lost(&mut self, message: &Message, text: String) {
        let lost = What::Lost {
            message: self.flights.arrived(message).number,
            from: message.from,
            name: message.body.kind().to_string(),
            text,
        };
        self.record(Some(message.to), lost);
    }

    fn observe(&mut self, status: &Look) {
        let node = Some(status.id);
        let term = status.current_term;
        let role = status.role;
        self.record(node, What::Role { role, term });
        if let Some(leader) = status.leader.filter(|&leader| leader != status.id) {
            self.record(node, What::Leader { leader, term });
        }
        let known = self.known.entry(status.id).or_default();
        let before = *known;
        known.commit = status.commit_index;
        known.applied = status.last_applied;
        known.last_log = status.last_log;
        let last = status.last_log;
        // A leader only appends, so what is new is its own, and all of it in its term.
        if role == RoleKind::Leader && last.index > before.last_log.index && last.term == term {
            let index = before.last_log.index.next();
            let first = LogId { term, index };
            self.record(node, What::Proposed { first, last });
        }
        if status.commit_index > before.commit {
            let index = status.commit_index;
            self.record(node, What::Committed { index });
        }
        if status.last_applied > before.applied {
            let index = status.last_applied;
            self.record(node, What::Applied { index });
        }
    }
}
