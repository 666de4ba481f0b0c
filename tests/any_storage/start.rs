//! Where a run begins: the settings of the node, and a sound disk.
//!
//! Owns their variety. Small limits are among it, so that the node reads often and little.

use almadia::{
    Bytes, ConfState, Config, Entry, HardState, LogId, LogIndex, MemStorage, Payload, Snapshot,
    Term,
};
use arbitrary::{Arbitrary, Result, Unstructured};

use super::draw::{at_most, once_in, one_of};
use super::faults::{id, voters};
use super::messages::payload;

#[derive(Clone, Debug)]
pub(crate) struct Start {
    conf_state: ConfState,
    /// Whether each entry begins a term, and what it carries.
    log: Vec<(bool, Payload)>,
    /// How much of the log is behind a snapshot.
    compacted: usize,
    /// How many entries behind that are known to be committed.
    committed: usize,
    /// Whether a later term was seen.
    later_term: bool,
    settings: Settings,
    /// For how many rounds the peers have answered to a candidacy when the run begins, if there is
    /// one. With pre-vote the node leads after two, and the peers know it after three.
    pub(crate) candidacy: Option<usize>,
}

#[derive(Clone, Debug)]
struct Settings {
    pre_vote: bool,
    lease_reads: bool,
    trusts_changes: bool,
    skips_commit_broadcast: bool,
    max_bytes: u64,
    max_tail_bytes: u64,
    unpersisted: u64,
}

fn conf_state(bytes: &mut Unstructured<'_>) -> Result<ConfState> {
    one_of(
        bytes,
        &[
            (6, |_| Ok(ConfState::of_voters(voters()))),
            (2, |_| Ok(ConfState::of_voters([id(1)]))),
            (1, |_| {
                Ok(ConfState {
                    learners: vec![id(3), id(4)],
                    ..ConfState::of_voters([id(1), id(2)])
                })
            }),
            (1, |_| {
                Ok(ConfState {
                    learners: vec![id(1)],
                    ..ConfState::of_voters([id(2), id(3)])
                })
            }),
            (1, |bytes| {
                Ok(ConfState {
                    voters_outgoing: vec![id(1), id(4)],
                    auto_leave: bytes.arbitrary()?,
                    ..ConfState::of_voters(voters())
                })
            }),
            (1, |_| Ok(ConfState::default())),
        ],
    )
}

impl<'a> Arbitrary<'a> for Start {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let settings = Settings {
            pre_vote: bytes.arbitrary()?,
            lease_reads: once_in(bytes, 4)?,
            trusts_changes: once_in(bytes, 4)?,
            skips_commit_broadcast: once_in(bytes, 4)?,
            max_bytes: *bytes.choose(&[1 << 20, 0, 30, 60, 100])?,
            max_tail_bytes: *bytes.choose(&[0, 1 << 20, 60])?,
            unpersisted: *bytes.choose(&[0, 0, 0, 2])?,
        };
        Ok(Self {
            settings,
            candidacy: *bytes.choose(&[None, Some(2), Some(1), Some(0), Some(3)])?,
            conf_state: conf_state(bytes)?,
            compacted: bytes.int_in_range(0..=4)?,
            committed: bytes.int_in_range(0..=6)?,
            later_term: bytes.arbitrary()?,
            log: at_most(bytes, 7, |bytes| Ok((once_in(bytes, 3)?, payload(bytes)?)))?,
        })
    }
}

impl Start {
    /// The node's settings, when it starts with a state machine that has applied so much.
    pub(crate) fn config(&self, applied: LogId) -> Config {
        let settings = &self.settings;
        Config::builder(id(1))
            .pre_vote(settings.pre_vote)
            .lease_reads(settings.lease_reads)
            .validate_conf_changes(!settings.trusts_changes)
            .skip_commit_broadcast(settings.skips_commit_broadcast)
            .max_message_bytes(settings.max_bytes)
            .max_inflight_bytes(settings.max_bytes.saturating_mul(2))
            .max_uncommitted_bytes(settings.max_bytes.saturating_mul(4))
            .max_committed_bytes_per_ready(settings.max_bytes)
            .max_tail_bytes(settings.max_tail_bytes)
            .max_apply_unpersisted_entries(settings.unpersisted)
            .incarnation(7)
            .applied(applied)
            .build()
            .expect("the settings are sound")
    }

    pub(crate) fn disk(&self) -> MemStorage {
        let mut last = LogId::new(1, 0);
        let entries = self.log.iter().map(|(begins_term, payload)| {
            last.index = last.index.next();
            last.term = Term(last.term.0 + u64::from(*begins_term));
            Entry {
                id: last,
                payload: payload.clone(),
                context: Bytes::new(),
            }
        });
        let entries: Vec<Entry> = entries.collect();
        let compacted = self.compacted.min(entries.len());
        let (gone, there) = entries.split_at(compacted);
        let mut disk = MemStorage::new();
        if let Some(last) = gone.last() {
            disk = MemStorage::with_snapshot(Snapshot {
                last_included: last.id,
                conf_state: self.conf_state.clone(),
                data: Bytes::new(),
            });
        }
        disk.append(there).expect("the entries are consecutive");
        disk.set_conf_state(self.conf_state.clone());
        let committed = (compacted + self.committed).min(entries.len());
        disk.set_hard_state(HardState {
            current_term: Term(last.term.0 + u64::from(self.later_term)),
            voted_for: None,
            commit_index: LogIndex(committed as u64),
        });
        disk
    }
}
