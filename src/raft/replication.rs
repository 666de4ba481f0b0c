//! What a leader sends: appends, snapshots, heartbeats.
//!
//! Owns the decision what is due to which peer, and the making of it. Called when a `Ready` is
//! made, so everything proposed since the last one leaves in as few messages as the limits allow.
//! Peers are visited in the order of their ids.

use alloc::boxed::Box;

use super::core::Core;
use super::leader::Leader;
use crate::config::Config;
use crate::entry::{Entries, Snapshot};
use crate::event::Event;
use crate::log::Fetched;
use crate::membership::Membership;
use crate::message::{AppendEntries, Body, Heartbeat, Token};
use crate::progress::{Progress, ProgressState};
use crate::storage::{Purpose, Storage, StorageError};
use crate::types::{LogId, LogIndex, NodeId};

/// What a peer is to be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    /// An append with as many entries as fit into this many bytes, or with none.
    Append {
        max_bytes: u64,
    },
    /// An append without entries, which tells the commit index or finds out about losses.
    EmptyAppend,
    /// A snapshot that the peer has asked for.
    Snapshot,
}

impl Leader {
    /// Whether any peer is to be sent something.
    pub(super) fn has_something_due<S: Storage>(&self, core: &Core<S>) -> bool {
        self.peers
            .iter()
            .any(|(_, progress)| due(progress, core) != Due::Nothing)
            || self.heartbeat_due
            || self.reads_are_due(core)
    }

    /// Makes all messages that are due.
    pub(super) fn replicate<S: Storage>(&mut self, core: &mut Core<S>) -> Result<(), StorageError> {
        self.send_heartbeats(core);
        let term_start = self.term_start;
        let mut last_read = None;
        for (peer, progress) in &mut self.peers {
            loop {
                let due = due(progress, core);
                let prev_log = match due {
                    Due::Nothing => break,
                    // The log may not reach back to where the peer is (Raft 7).
                    Due::Append { .. } | Due::EmptyAppend => prev_log(core, progress, term_start)?,
                    Due::Snapshot => None,
                };
                match (prev_log, due) {
                    (Some(prev_log), Due::Append { max_bytes }) => {
                        send_append(core, *peer, progress, (prev_log, max_bytes), &mut last_read)?;
                    }
                    (Some(prev_log), Due::EmptyAppend | Due::Nothing | Due::Snapshot) => {
                        send_entries(core, *peer, progress, prev_log, &Entries::empty());
                    }
                    (None, _) => send_snapshot(core, *peer, progress)?,
                }
                // Mostly that was all.
                if progress.next_index > core.log.last_index() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Heartbeats to all peers if they are due (Raft 5.2); to the voters alone if only reads ask for
    /// them (Thesis 6.4).
    fn send_heartbeats<S: Storage>(&mut self, core: &mut Core<S>) {
        let round = self.start_round(core).map(Token::Number);
        let is_due = ::core::mem::take(&mut self.heartbeat_due);
        if !is_due && round.is_none() {
            return;
        }
        let token = round.unwrap_or_else(|| self.heartbeat_token(core));
        // Where nobody learns, all are voters.
        let to_all = is_due || core.membership.learners().is_empty();
        for (peer, progress) in &self.peers {
            if to_all || core.membership.is_voter(*peer) {
                send_heartbeat(core, *peer, progress, &token);
            }
        }
        if core.membership.one_may_decide() {
            self.confirm_rounds(core);
        }
    }

    /// The first entry that some peer in the steady state has not been sent.
    pub(super) fn needed_from<S: Storage>(&self, core: &Core<S>) -> LogIndex {
        self.peers
            .iter()
            .filter(|(_, progress)| matches!(progress.state, ProgressState::Replicate { .. }))
            .map(|(_, progress)| progress.next_index)
            .fold(core.log.last_index().next(), LogIndex::min)
    }
}

/// A heartbeat to this peer, at once.
pub(super) fn send_heartbeat<S: Storage>(
    core: &mut Core<S>,
    peer: NodeId,
    progress: &Progress,
    token: &Token,
) {
    // No further than what the peer is known to hold: its log may differ behind that.
    let leader_commit = core.log.commit_index().min(progress.match_index);
    core.send(peer, || {
        Body::Heartbeat(Heartbeat {
            leader_commit,
            token: token.clone(),
        })
    });
}

#[inline(always)]
fn due<S: Storage>(progress: &Progress, core: &Core<S>) -> Due {
    let Config {
        max_message_bytes,
        skip_commit_broadcast,
        ..
    } = core.config;
    match &progress.state {
        ProgressState::Snapshot { .. } | ProgressState::Probe { awaiting: true } => Due::Nothing,
        ProgressState::Probe { .. } | ProgressState::Replicate { .. } if progress.fetching => {
            Due::Nothing
        }
        ProgressState::Probe { .. } | ProgressState::Replicate { .. }
            if progress.requested_snapshot().is_some() =>
        {
            Due::Snapshot
        }
        ProgressState::Probe { .. } => Due::Append {
            max_bytes: max_message_bytes,
        },
        ProgressState::Replicate { inflight, nudge } => {
            let lacks_entries = progress.next_index <= core.log.last_index();
            let commit_is_news =
                progress.commit_sent < core.log.commit_index() && !skip_commit_broadcast;
            if !lacks_entries && !commit_is_news && !*nudge {
                return Due::Nothing;
            }
            let window = progress.window(&core.config);
            let is_full = inflight.is_full(window.messages, window.bytes);
            if !is_full && lacks_entries {
                let room = window.bytes.saturating_sub(inflight.bytes());
                Due::Append {
                    max_bytes: max_message_bytes.min(room),
                }
            } else if *nudge || (!is_full && commit_is_news) {
                Due::EmptyAppend
            } else {
                Due::Nothing
            }
        }
    }
}

/// The entry before the next one for this peer; `None` if it has been compacted away.
fn prev_log<S: Storage>(
    core: &Core<S>,
    progress: &Progress,
    term_start: LogIndex,
) -> Result<Option<LogId>, StorageError> {
    let index = progress.next_index.previous();
    // From the entry on that opened the term all are of this term. If what follows is in memory, nobody
    // need be asked.
    let term = if index >= term_start && core.log.goes_on_in_memory_from(index) {
        Some(core.current_term)
    } else {
        core.log.term(index)?
    };
    Ok(term.map(|term| LogId { term, index }))
}

/// Behind which entry was read, how many bytes at most, and what was found.
type LastRead = Option<((LogId, u64), Entries)>;

/// What was read for one peer serves the next one too: mostly all stand in the same place.
fn send_append<S: Storage>(
    core: &mut Core<S>,
    peer: NodeId,
    progress: &mut Progress,
    wanted: (LogId, u64),
    last_read: &mut LastRead,
) -> Result<(), StorageError> {
    let (prev_log, max_bytes) = wanted;
    if prev_log.index == core.log.last_index() {
        send_entries(core, peer, progress, prev_log, &Entries::empty());
        return Ok(());
    }
    let entries = match last_read {
        Some((read, entries)) if *read == wanted => entries,
        slot => match core.log.fetch(prev_log, max_bytes, Purpose::Send(peer))? {
            Fetched::Entries(entries) => &mut slot.insert((wanted, entries)).1,
            Fetched::Compacted => return send_snapshot(core, peer, progress),
            Fetched::NotYet => {
                progress.fetching = true;
                return Ok(());
            }
        },
    };
    send_entries(core, peer, progress, prev_log, entries);
    Ok(())
}

fn send_entries<S: Storage>(
    core: &mut Core<S>,
    peer: NodeId,
    progress: &mut Progress,
    prev_log: LogId,
    entries: &Entries,
) {
    let last = entries.last_id().unwrap_or(prev_log).index;
    let leader_commit = core.log.commit_index();
    progress.sent(last, entries.size_bytes());
    // The peer goes no further than the last entry of the message; with nothing left to send
    // behind it, that is all there is to tell.
    progress.commit_sent = progress.commit_sent.max(leader_commit.min(last));
    core.send(peer, || {
        Body::AppendEntries(AppendEntries {
            prev_log,
            leader_commit,
            entries: entries.clone(),
        })
    });
}

/// A snapshot in place of the log (Raft 7).
#[cold]
fn send_snapshot<S: Storage>(
    core: &mut Core<S>,
    peer: NodeId,
    progress: &mut Progress,
) -> Result<(), StorageError> {
    // A peer that is not there would only waste it.
    if !progress.recently_active {
        progress.fetching = true;
        return Ok(());
    }
    let request_index = core
        .log
        .compacted_through()?
        .max(progress.requested_snapshot().unwrap_or_default());
    let Some((snapshot, membership)) = take_snapshot(core, peer, request_index)? else {
        progress.snapshot_unavailable();
        return Ok(());
    };
    // One that was made before the peer was added is of no use to it: ask for a later one.
    let snapshot = if membership.contains(peer) {
        Some(snapshot)
    } else {
        let later = snapshot.last_included.index.next();
        let taken = take_snapshot(core, peer, later)?;
        taken
            .filter(|(_, membership)| membership.contains(peer))
            .map(|(snapshot, _)| snapshot)
    };
    let Some(snapshot) = snapshot else {
        progress.snapshot_unavailable();
        return Ok(());
    };
    let last_included = snapshot.last_included;
    progress.become_snapshot(last_included.index);
    core.tell(&Event::SnapshotSent {
        peer,
        last_included,
    });
    core.send(peer, || Body::InstallSnapshot(Box::new(snapshot)));
    Ok(())
}

/// A snapshot that reaches at least to `request_index`, and its membership; `None` if there is none
/// yet.
fn take_snapshot<S: Storage>(
    core: &Core<S>,
    peer: NodeId,
    request_index: LogIndex,
) -> Result<Option<(Snapshot, Membership)>, StorageError> {
    let snapshot = match core.log.storage().snapshot(request_index, peer) {
        Ok(snapshot) => snapshot,
        Err(StorageError::TemporarilyUnavailable) => return Ok(None),
        Err(error) => return Err(error),
    };
    let last = snapshot.last_included;
    if last.index < request_index || last == LogId::ZERO || !core.log.holds(last)? {
        return Err(StorageError::Contract(
            "the snapshot is not of this log, or too old",
        ));
    }
    match Membership::try_from(&snapshot.conf_state) {
        Ok(membership) => Ok(Some((snapshot, membership))),
        Err(_) => Err(StorageError::Contract(
            "the snapshot's membership is inconsistent",
        )),
    }
}
