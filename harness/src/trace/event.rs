//! What an event of a trace can be.
//!
//! Owns the vocabulary, and the translation of what a node tells its observer. Must not know how
//! events are gathered or kept.

use almadia::{
    Entries, Event, HardState, LogId, LogIndex, NodeId, ReadState, RoleKind, Snapshot, Term,
};
use serde::{Deserialize, Serialize};

use super::{describe, number};

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEvent {
    /// The step of the run, if it has steps: where to stop when the run is repeated. Else zero.
    pub step: u64,
    /// When, in the unit of the trace.
    pub time: u64,
    /// On which node; `None` for what concerns all of them.
    #[serde(with = "number::optional")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. In a file its name in lower case is the field `kind`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// The node was started from its disk.
    Started {
        /// Its term.
        #[serde(with = "number")]
        term: Term,
        /// Its vote in that term.
        #[serde(with = "number::optional")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vote: Option<NodeId>,
        /// The end of its log.
        #[serde(with = "number::log_id")]
        last_log: LogId,
        /// Its commit index.
        #[serde(with = "number")]
        commit: LogIndex,
        /// Up to where its state machine has come.
        #[serde(with = "number")]
        applied: LogIndex,
        /// Who belongs to its membership.
        members: String,
    },
    /// The node has stopped, and what was only in its memory is gone.
    Crashed {
        /// How it came, and what was lost.
        text: String,
    },
    /// The node, or its disk, stands still.
    Paused {
        /// Why.
        text: String,
    },
    /// It goes on.
    Resumed,
    /// The node has a new role, or the same one in a new term.
    Role {
        /// The role.
        #[serde(with = "role")]
        role: RoleKind,
        /// The current term.
        #[serde(with = "number")]
        term: Term,
    },
    /// The node has learned who leads.
    Leader {
        /// The leader.
        #[serde(with = "number")]
        leader: NodeId,
        /// The term it leads.
        #[serde(with = "number")]
        term: Term,
    },
    /// The node has sent a message.
    Sent {
        /// A number that no other message of the trace has.
        #[serde(with = "number")]
        message: u64,
        /// To whom.
        #[serde(with = "number")]
        to: NodeId,
        /// The kind of message.
        name: String,
        /// The term that it carries.
        #[serde(with = "number")]
        term: Term,
        /// What it says.
        text: String,
    },
    /// A message has arrived at the node.
    Delivered {
        /// Its number.
        #[serde(with = "number")]
        message: u64,
        /// From whom.
        #[serde(with = "number")]
        from: NodeId,
        /// The kind of message.
        name: String,
    },
    /// A message has arrived that had arrived before.
    Duplicated {
        /// Its number.
        #[serde(with = "number")]
        message: u64,
        /// From whom.
        #[serde(with = "number")]
        from: NodeId,
        /// The kind of message.
        name: String,
    },
    /// A message to the node will not arrive.
    Lost {
        /// Its number.
        #[serde(with = "number")]
        message: u64,
        /// From whom.
        #[serde(with = "number")]
        from: NodeId,
        /// The kind of message.
        name: String,
        /// Why.
        text: String,
    },
    /// The node has refused a message that had arrived.
    Refused {
        /// Its number, if it is known.
        #[serde(with = "number::optional")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<u64>,
        /// From whom.
        #[serde(with = "number")]
        from: NodeId,
        /// The kind of message.
        name: String,
        /// Why.
        text: String,
    },
    /// A write is durable.
    Persisted {
        /// The number of the [`Ready`](almadia::Ready) that asked for it.
        #[serde(with = "number")]
        write: u64,
        /// The term, if a hard state was written.
        #[serde(with = "number::optional")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        term: Option<Term>,
        /// The vote in it, if there is one.
        #[serde(with = "number::optional")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vote: Option<NodeId>,
        /// The last entry that was written, or that the written snapshot covers.
        #[serde(with = "number::optional_log_id")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_log: Option<LogId>,
        /// What was written.
        text: String,
    },
    /// The node has a new commit index.
    Committed {
        /// The commit index.
        #[serde(with = "number")]
        index: LogIndex,
    },
    /// The node's state machine has come further.
    Applied {
        /// Up to here.
        #[serde(with = "number")]
        index: LogIndex,
    },
    /// A leader has appended entries to its own log.
    Proposed {
        /// The first of them.
        #[serde(with = "number::log_id")]
        first: LogId,
        /// The last of them.
        #[serde(with = "number::log_id")]
        last: LogId,
    },
    /// A snapshot has come a stage further.
    Snapshot {
        /// Which.
        stage: SnapshotStage,
        /// The last entry that the snapshot covers.
        #[serde(with = "number::log_id")]
        last_included: LogId,
        /// The receiver, if it is on its way to one.
        #[serde(with = "number::optional")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<NodeId>,
    },
    /// The node has forgotten the beginning of its log, which a snapshot covers.
    Compacted {
        /// Up to here.
        #[serde(with = "number")]
        through: LogIndex,
    },
    /// A membership is in force on the node.
    Membership {
        /// Who belongs to it.
        text: String,
    },
    /// From now on nothing arrives that this node sends to another.
    Cut {
        /// The other.
        #[serde(with = "number")]
        to: NodeId,
    },
    /// That is over; for all links of all nodes if no node is named.
    Healed {
        /// The other.
        #[serde(with = "number::optional")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<NodeId>,
    },
    /// A read was asked for, answered or dropped.
    Read {
        /// Which of these.
        text: String,
    },
    /// Anything else that is worth a line.
    Note {
        /// The line.
        text: String,
    },
    /// A promise of Raft was broken.
    Violated {
        /// Which.
        text: String,
    },
    /// Some events before this one were left out, because there were too many. What they led to
    /// is still there.
    Omitted {
        /// How many.
        events: u64,
        /// Of which kind.
        text: String,
    },
}

/// How far a snapshot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SnapshotStage {
    /// The leader has sent it.
    Sent,
    /// The receiver is to put it in the place of its log.
    Accepted,
    /// The state machine was restored from it.
    Restored,
}

impl What {
    /// What a node has told its observer.
    #[must_use]
    pub fn told(event: &Event<'_>) -> Self {
        let note = |text: String| Self::Note { text };
        match *event {
            Event::RoleChanged { role, term } => Self::Role { role, term },
            Event::LeaderFound { leader, term } => Self::Leader { leader, term },
            Event::CampaignRefused(reason) => note(format!("does not campaign: {reason}")),
            Event::QuorumLost { term } => note(format!(
                "has not heard from a quorum in term {term}, which it leads"
            )),
            Event::LogTruncated { kept } => note(format!("the log is cut off behind entry {kept}")),
            Event::SnapshotSent {
                peer,
                last_included,
            } => Self::Snapshot {
                stage: SnapshotStage::Sent,
                last_included,
                peer: Some(peer),
            },
            Event::SnapshotAccepted { last_included } => Self::Snapshot {
                stage: SnapshotStage::Accepted,
                last_included,
                peer: None,
            },
            Event::MembershipChanged(membership) => Self::Membership {
                text: membership.to_string(),
            },
            Event::TransferEnded(outcome) => note(match &outcome.result {
                Ok(()) => format!("leadership is with node {}", outcome.transferee),
                Err(failure) => format!("node {} does not lead: {failure}", outcome.transferee),
            }),
            Event::HandedOver { successor } => note(format!("hands over to node {successor}")),
            Event::MessageRefused { from, kind, error } => Self::Refused {
                message: None,
                from,
                name: kind.to_string(),
                text: error.to_string(),
            },
            Event::Halted(halted) => note(halted.to_string()),
            _ => note(format!("{event:?}")),
        }
    }

    /// A durable write of these parts; `None` if there are none.
    pub(crate) fn persisted(
        write: u64,
        snapshot: Option<&Snapshot>,
        entries: &[Entries],
        hard_state: Option<HardState>,
    ) -> Option<Self> {
        let covered = snapshot.map(|snapshot| snapshot.last_included);
        let parts = [
            hard_state.map(|hard_state| {
                let vote = hard_state.voted_for;
                let vote = vote.map_or_else(String::new, |vote| format!(", vote for {vote}"));
                let (term, commit) = (hard_state.current_term, hard_state.commit_index);
                format!("term {term}{vote}, commit {commit}")
            }),
            snapshot.map(describe::snapshot),
            describe::runs(entries),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| Self::Persisted {
            write,
            term: hard_state.map(|hard_state| hard_state.current_term),
            vote: hard_state.and_then(|hard_state| hard_state.voted_for),
            last_log: entries
                .iter()
                .filter_map(Entries::last_id)
                .next_back()
                .or(covered),
            text: parts.join("; "),
        })
    }

    /// A read is asked for.
    pub(crate) fn read_asked(context: &[u8], by_lease: bool) -> Self {
        let context = describe::data(context);
        let how = if by_lease { ", by lease" } else { "" };
        Self::Read {
            text: format!("read {context} is asked for{how}"),
        }
    }

    /// The end of a read.
    pub(crate) fn read_ended(read: &ReadState) -> Self {
        let context = describe::data(&read.context);
        let text = match &read.outcome {
            Ok(index) => format!("read {context} is answered: at {index}"),
            Err(reason) => format!("read {context} is dropped: {reason}"),
        };
        Self::Read { text }
    }

    /// The node that the event names beside its own.
    pub(super) fn other_node(&self) -> Option<NodeId> {
        match self {
            Self::Leader { leader, .. } => Some(*leader),
            Self::Sent { to, .. } | Self::Cut { to } => Some(*to),
            Self::Delivered { from, .. }
            | Self::Duplicated { from, .. }
            | Self::Lost { from, .. }
            | Self::Refused { from, .. } => Some(*from),
            Self::Snapshot { peer, .. } => *peer,
            Self::Healed { to } => *to,
            Self::Started { .. }
            | Self::Crashed { .. }
            | Self::Paused { .. }
            | Self::Resumed
            | Self::Role { .. }
            | Self::Persisted { .. }
            | Self::Committed { .. }
            | Self::Applied { .. }
            | Self::Proposed { .. }
            | Self::Compacted { .. }
            | Self::Membership { .. }
            | Self::Read { .. }
            | Self::Note { .. }
            | Self::Violated { .. }
            | Self::Omitted { .. } => None,
        }
    }
}

/// A role, by the name that it has in texts.
mod role {
    use almadia::RoleKind;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    const ALL: [RoleKind; 4] = [
        RoleKind::Follower,
        RoleKind::PreCandidate,
        RoleKind::Candidate,
        RoleKind::Leader,
    ];

    pub(super) fn serialize<S: Serializer>(role: &RoleKind, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(role)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<RoleKind, D::Error> {
        let name = String::deserialize(from)?;
        let role = ALL.into_iter().find(|role| role.to_string() == name);
        role.ok_or_else(|| D::Error::custom(format!("there is no role `{name}`")))
    }
}
