//! What has come of a call, short enough to be recorded each time.
//!
//! Owns [`Outcome`], and what of a [`Ready`] goes into its digest. Must not know where it is
//! recorded.

use std::error::Error;
use std::fmt;
use std::hash::{Hash, Hasher};

use almadia::{
    AppendEntries, Body, ConfState, Entries, Halted, LogId, Message, Payload, Ready, Snapshot,
};

use super::coding::{coded_enum, coded_struct};
use crate::digest::Digest;

/// What has come of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, and there is nothing to say.
    Done,
    /// Yes or no.
    Answered(bool),
    /// A proposal has this place in the log.
    Placed(LogId),
    /// This membership is in force.
    InForce(ConfState),
    /// There is no [`Ready`].
    Idle,
    /// There is one.
    Ready(ReadyOutline),
    /// The call was refused, or the node has stopped.
    Refused {
        /// The error in words.
        error: String,
        /// A hash of the error, which tells apart what reads the same.
        digest: u64,
    },
}

/// A [`Ready`] in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyOutline {
    /// Its number.
    pub number: u64,
    /// How many messages are to be sent at once.
    pub messages: usize,
    /// How many are to be sent when everything is durable.
    pub messages_after_persist: usize,
    /// How many entries are to be persisted.
    pub entries: usize,
    /// How many are to be applied.
    pub committed_entries: usize,
    /// A hash of all that it says.
    pub digest: u64,
}

coded_struct!(ReadyOutline {
    number,
    messages,
    messages_after_persist,
    entries,
    committed_entries,
    digest,
});

coded_enum!(Outcome {
    0 Done,
    1 Answered(answer),
    2 Placed(id),
    3 InForce(conf_state),
    4 Idle,
    5 Ready(outline),
    6 Refused { error, digest },
});

impl Outcome {
    pub(super) fn refused(error: &(impl Error + Hash)) -> Self {
        Self::Refused {
            error: error.to_string(),
            digest: Digest::of(error),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Answered(answer) => write!(f, "{answer}"),
            Self::Placed(id) => write!(f, "placed at {id}"),
            Self::InForce(conf_state) => write!(f, "in force: {conf_state:?}"),
            Self::Idle => f.write_str("no ready"),
            Self::Ready(outline) => write!(f, "{outline}"),
            Self::Refused { error, digest } => write!(f, "refused: {error} (digest {digest:016x})"),
        }
    }
}

impl fmt::Display for ReadyOutline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            messages,
            messages_after_persist: after,
            entries,
            committed_entries: committed,
            digest,
        } = self;
        write!(
            f,
            "ready {number} with {messages} messages, {after} more when it is durable, {entries} \
             entries to persist, {committed} to apply (digest {digest:016x})"
        )
    }
}

/// What a call of a node returns.
pub(super) trait Output: fmt::Debug + Sized {
    fn outcome(&self) -> Outcome;

    /// The obligations in it, which must be kept to be handed back.
    fn into_ready(self) -> Option<Box<Ready>> {
        None
    }
}

impl Output for () {
    fn outcome(&self) -> Outcome {
        Outcome::Done
    }
}

impl Output for bool {
    fn outcome(&self) -> Outcome {
        Outcome::Answered(*self)
    }
}

impl<E: Error + Hash> Output for Result<(), E> {
    fn outcome(&self) -> Outcome {
        match self {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::refused(error),
        }
    }
}

impl<E: Error + Hash> Output for Result<LogId, E> {
    fn outcome(&self) -> Outcome {
        match self {
            Ok(id) => Outcome::Placed(*id),
            Err(error) => Outcome::refused(error),
        }
    }
}

impl<E: Error + Hash> Output for Result<ConfState, E> {
    fn outcome(&self) -> Outcome {
        match self {
            Ok(conf_state) => Outcome::InForce(conf_state.clone()),
            Err(error) => Outcome::refused(error),
        }
    }
}

impl Output for Result<Option<Box<Ready>>, Halted> {
    fn outcome(&self) -> Outcome {
        match self {
            Ok(None) => Outcome::Idle,
            Ok(Some(ready)) => Outcome::Ready(outline(ready)),
            Err(halted) => Outcome::refused(halted),
        }
    }

    fn into_ready(self) -> Option<Box<Ready>> {
        self.ok().flatten()
    }
}

fn outline(ready: &Ready) -> ReadyOutline {
    let length = |runs: &[almadia::Entries]| runs.iter().map(|run| run.len()).sum();
    ReadyOutline {
        number: ready.number,
        messages: ready.messages.len(),
        messages_after_persist: ready.messages_after_persist.len(),
        entries: length(&ready.entries),
        committed_entries: length(&ready.committed_entries),
        digest: Digest::of(&Said(ready)),
    }
}

/// All that a `Ready` says, to be hashed. The content of an entry goes in once, on its way to the
/// disk; elsewhere the entry's id stands for it.
struct Said<'a>(&'a Ready);

impl Hash for Said<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ready = self.0;
        ready.number.hash(state);
        hash_messages(&ready.messages, state);
        if let Some(snapshot) = &ready.snapshot {
            hash_snapshot(snapshot, state);
        }
        for entry in ready.entries.iter().flatten() {
            entry.id.hash(state);
            match &entry.payload {
                Payload::Data(data) => hash_bytes(data, state),
                Payload::Change(change) => change.hash(state),
            }
            hash_bytes(&entry.context, state);
        }
        ready.hard_state.hash(state);
        ready.must_sync.hash(state);
        hash_messages(&ready.messages_after_persist, state);
        ready
            .committed_entries
            .iter()
            .for_each(|run| hash_ids(run, state));
        ready.read_states.hash(state);
        ready.transfer_outcomes.hash(state);
        ready.applies_to().hash(state);
    }
}

fn hash_messages(messages: &[Message], state: &mut impl Hasher) {
    messages.len().hash(state);
    for message in messages {
        let Message {
            to,
            from,
            term,
            body,
        } = message;
        (to, from, term, body.kind()).hash(state);
        match body {
            Body::AppendEntries(append) => {
                let AppendEntries {
                    prev_log,
                    leader_commit,
                    entries,
                } = append;
                (prev_log, leader_commit).hash(state);
                hash_ids(entries, state);
            }
            Body::InstallSnapshot(snapshot) => hash_snapshot(snapshot, state),
            Body::RequestVote(_)
            | Body::RequestVoteResponse(_)
            | Body::PreVote(_)
            | Body::PreVoteResponse(_)
            | Body::AppendEntriesResponse(_)
            | Body::Heartbeat(_)
            | Body::HeartbeatResponse(_)
            | Body::TimeoutNow
            | Body::Propose(_)
            | Body::ReadIndex(_)
            | Body::ReadIndexResponse(_)
            | Body::TransferLeader { .. } => body.hash(state),
        }
    }
}

fn hash_ids(entries: &Entries, state: &mut impl Hasher) {
    entries.len().hash(state);
    entries.iter().for_each(|entry| entry.id.hash(state));
}

fn hash_snapshot(snapshot: &Snapshot, state: &mut impl Hasher) {
    let Snapshot {
        last_included,
        conf_state,
        data,
    } = snapshot;
    (last_included, conf_state).hash(state);
    hash_bytes(data, state);
}

/// Many bytes, by a function that is fast for them.
fn hash_bytes(bytes: &[u8], state: &mut impl Hasher) {
    (bytes.len(), crc32fast::hash(bytes)).hash(state);
}
