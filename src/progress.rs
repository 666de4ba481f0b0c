//! What the leader knows of one peer's log, and what it may send there next.
//!
//! Owns *nextIndex* and *matchIndex* (Figure 2) and the three states of flow control. Knows nothing
//! of the leader's log or of messages: it is told what was sent and answered. Always `match_index <
//! next_index`.

mod inflight;

use alloc::boxed::Box;

pub use self::inflight::Inflight;
use crate::config::Config;
use crate::types::LogIndex;

/// How entries flow to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProgressState {
    /// Where the logs part is not known: one message at a time.
    Probe {
        /// A probe has left, and neither its answer nor a heartbeat's has come.
        awaiting: bool,
    },
    /// The logs are known to agree: many messages at a time, within the window.
    Replicate {
        /// The messages on their way.
        inflight: Inflight,
        /// A heartbeat was answered and something is not acknowledged: one append is due, an
        /// empty one if need be, which finds out whether messages were lost.
        nudge: bool,
    },
    /// The peer needs a snapshot, which is on its way; no entries until it has arrived or failed.
    Snapshot {
        /// The last index that the snapshot covers.
        pending: LogIndex,
        /// The peer has asked for it. It may have had all that the snapshot covers before, so
        /// nothing but the transport's report or a new acknowledgement tells that it has arrived.
        requested: bool,
    },
}

/// How much may be on its way to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// The most append messages; at least one may always be on its way.
    pub messages: usize,
    /// No further entries are sent while so many bytes of them are on their way.
    pub bytes: u64,
}

/// The leader's view of one peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Progress {
    pub(crate) match_index: LogIndex,
    pub(crate) next_index: LogIndex,
    pub(crate) state: ProgressState,
    /// Whether the peer has answered since the last quorum check.
    pub(crate) recently_active: bool,
    /// The highest commit index that the peer was sent, and that is not known to be lost, or has told.
    pub(crate) commit_sent: LogIndex,
    /// The highest commit index that the peer has told.
    pub(crate) commit_index: LogIndex,
    /// The last round of heartbeats that the peer has answered (Thesis 6.4).
    pub(crate) round_answered: u64,
    /// `Storage` could not give now what is to be sent, or the peer was too long silent for a
    /// snapshot: wait for news from either.
    pub(crate) fetching: bool,
    /// The peer has asked for a snapshot that reaches at least here.
    /// (Boxed, as the next field is, because few peers have one.)
    requested_snapshot: Option<Box<LogIndex>>,
    /// In place of that of the `Config`.
    own_window: Option<Box<Window>>,
}

impl Progress {
    /// A peer of whose log nothing is known; the first probe starts at `next_index`.
    pub(crate) const fn new(next_index: LogIndex) -> Self {
        Self {
            match_index: LogIndex::ZERO,
            next_index,
            state: ProgressState::Probe { awaiting: false },
            recently_active: false,
            commit_sent: LogIndex::ZERO,
            commit_index: LogIndex::ZERO,
            round_answered: 0,
            fetching: false,
            requested_snapshot: None,
            own_window: None,
        }
    }

    /// *matchIndex*: up to here the peer's log is known to be the leader's, durably.
    #[must_use]
    pub const fn match_index(&self) -> LogIndex {
        self.match_index
    }

    /// *nextIndex*: the next entry to be sent.
    #[must_use]
    pub const fn next_index(&self) -> LogIndex {
        self.next_index
    }

    /// The state of flow control.
    #[must_use]
    pub const fn state(&self) -> &ProgressState {
        &self.state
    }

    /// Whether the peer has answered since the last quorum check.
    #[must_use]
    pub const fn recently_active(&self) -> bool {
        self.recently_active
    }

    /// The highest commit index that the peer has told.
    #[must_use]
    pub const fn commit_index(&self) -> LogIndex {
        self.commit_index
    }

    /// Whether nothing is sent because the `Storage` could not give what is to be sent, or because
    /// the peer was too long silent to be sent a snapshot.
    #[must_use]
    pub const fn is_fetching(&self) -> bool {
        self.fetching
    }

    /// The window that is in force.
    #[must_use]
    #[inline]
    pub fn window(&self, config: &Config) -> Window {
        match &self.own_window {
            Some(window) => **window,
            None => Window {
                messages: config.max_inflight_messages,
                bytes: config.max_inflight_bytes,
            },
        }
    }

    pub(crate) fn set_window(&mut self, window: Option<Window>) {
        self.own_window = window.map(Box::new);
    }

    /// Up to where at least the snapshot must reach for which the peer has asked.
    pub(crate) fn requested_snapshot(&self) -> Option<LogIndex> {
        self.requested_snapshot.as_deref().copied()
    }

    /// Gives the memory back in which nothing is.
    pub(crate) fn give_back_buffers(&mut self) {
        if let ProgressState::Replicate { inflight, .. } = &mut self.state {
            inflight.give_back_buffers();
        }
    }

    /// The peer has answered, and tells its commit index. It need not be told that.
    #[inline]
    pub(crate) fn heard_of_commit(&mut self, commit_index: LogIndex) {
        self.recently_active = true;
        self.commit_index = self.commit_index.max(commit_index);
        self.commit_sent = self.commit_sent.max(commit_index);
    }

    /// The peer has asked for a snapshot. One that is on its way may do. Whatever is paused may try
    /// again: a peer of raft-rs that waits for a snapshot answers heartbeats with nothing else.
    pub(crate) fn snapshot_requested(&mut self, request_index: LogIndex) {
        self.fetching = false;
        if let ProgressState::Probe { awaiting } = &mut self.state {
            *awaiting = false;
        }
        let is_coming = matches!(self.state, ProgressState::Snapshot { pending, .. } if pending >= request_index);
        if !is_coming {
            self.requested_snapshot = Some(Box::new(request_index));
            if matches!(self.state, ProgressState::Snapshot { .. }) {
                self.become_probe(self.match_index.next());
            }
        }
    }

    /// There is no snapshot that would do now. A peer that asked for one repeats that; if it has
    /// forgotten it in a restart, entries must flow again.
    pub(crate) fn snapshot_unavailable(&mut self) {
        self.requested_snapshot = None;
        self.fetching = true;
    }

    pub(crate) fn become_probe(&mut self, next_index: LogIndex) {
        self.next_index = next_index.max(self.match_index.next());
        self.state = ProgressState::Probe { awaiting: false };
    }

    fn become_replicate(&mut self) {
        self.next_index = self.match_index.next();
        self.state = ProgressState::Replicate {
            inflight: Inflight::default(),
            nudge: false,
        };
    }

    pub(crate) fn become_snapshot(&mut self, pending: LogIndex) {
        self.next_index = pending.max(self.match_index).next();
        let requested = self.requested_snapshot.take().is_some();
        self.state = ProgressState::Snapshot { pending, requested };
    }

    /// Notes an append that ends at `last` and carries `bytes` of entries (zero: none).
    #[inline]
    pub(crate) fn sent(&mut self, last: LogIndex, bytes: u64) {
        match &mut self.state {
            ProgressState::Probe { awaiting } => *awaiting = true,
            ProgressState::Replicate { inflight, nudge } => {
                *nudge = false;
                if last >= self.next_index {
                    inflight.add(last, bytes);
                    self.next_index = last.next();
                }
            }
            ProgressState::Snapshot { .. } => {}
        }
    }

    /// The peer's log is the leader's up to `index`. `log_reaches` tells whether the leader's log
    /// can go on from there.
    #[inline]
    pub(crate) fn accepted(&mut self, index: LogIndex, log_reaches: bool) {
        let news = index > self.match_index;
        self.match_index = self.match_index.max(index);
        self.next_index = self.next_index.max(self.match_index.next());
        match &mut self.state {
            // Any answer that reaches what is known shows that the logs agree there; it may be
            // the answer to a probe that was sent too low and raises nothing.
            ProgressState::Probe { .. } if index >= self.match_index => self.become_replicate(),
            ProgressState::Replicate { inflight, .. } => inflight.free_through(index),
            ProgressState::Snapshot { .. } if news && log_reaches => self.become_replicate(),
            // It has arrived, and the log was compacted beyond it meanwhile: another one is due.
            ProgressState::Snapshot { pending, .. } if news && index >= *pending => {
                self.become_probe(index.next());
            }
            ProgressState::Probe { .. } | ProgressState::Snapshot { .. } => {}
        }
    }

    /// The peer has no entry like the leader's at `prev_index`; the logs agree at most up to
    /// `agree_at_most`, in the leader's log.
    ///
    /// What was said before the peer's last acknowledgement is not to set it back. But a peer that
    /// denies the very entry it acknowledged has lost it, and is believed while a probe that asks
    /// for this entry is on its way: then `match_index` falls too (Deviation D4).
    pub(crate) fn rejected(&mut self, prev_index: LogIndex, agree_at_most: LogIndex) {
        match self.state {
            ProgressState::Probe { awaiting } if prev_index.next() == self.next_index => {
                let agree = agree_at_most.min(prev_index.previous());
                if prev_index == self.match_index && awaiting {
                    self.match_index = agree;
                }
                self.become_probe(agree.next());
            }
            ProgressState::Replicate { .. } if prev_index >= self.match_index => {
                self.become_probe(self.match_index.next());
            }
            ProgressState::Probe { .. }
            | ProgressState::Replicate { .. }
            | ProgressState::Snapshot { .. } => {}
        }
    }

    /// A heartbeat was answered by a peer that has committed up to `commit_index`: it is there, so
    /// whatever is paused may try again, as long as it lacks anything up to `last_index`.
    #[inline]
    pub(crate) fn heartbeat_answered(&mut self, commit_index: LogIndex, last_index: LogIndex) {
        // What was said of the commit index since has been lost, or is on its way: say it again.
        self.commit_sent = self.commit_sent.min(commit_index);
        self.fetching = false;
        match &mut self.state {
            ProgressState::Probe { awaiting } => *awaiting = false,
            ProgressState::Replicate { nudge, .. } => *nudge = self.match_index < last_index,
            // The snapshot has arrived, and its acknowledgement was lost: a probe gets another.
            ProgressState::Snapshot {
                pending,
                requested: false,
            } if commit_index >= *pending => {
                let next_index = pending.next();
                self.become_probe(next_index);
            }
            ProgressState::Snapshot { .. } => {}
        }
    }

    /// The transport could not reach the peer: what is on its way is probably lost.
    pub(crate) fn unreachable(&mut self) {
        if matches!(self.state, ProgressState::Replicate { .. }) {
            self.become_probe(self.match_index.next());
        }
    }

    /// The transport has delivered the snapshot, or given it up. The next probe waits for the
    /// peer's answer, or a heartbeat's.
    pub(crate) fn snapshot_reported(&mut self, delivered: bool) {
        if let ProgressState::Snapshot { pending, .. } = self.state {
            let from = if delivered { pending } else { self.match_index };
            self.become_probe(from.next());
            self.state = ProgressState::Probe { awaiting: true };
        }
    }
}
