//! One raft-rs node, driven through everything that a `Ready` asks for before the next input.
//!
//! Owns the run loop of raft-rs's documentation with a disk that is never late, and the translation
//! of its output. Knows nothing of what it is compared with.

use almadia::{
    Bytes, ConfState, Config, LogIndex, Membership, MembershipChange, Message, NodeId, Payload,
    ReadState,
};
use almadia_proto::{Decode as _, Encode as _};
use protobuf_of_raft_rs::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeV2, EntryType};
use raft::{RawNode, eraftpb};

use crate::disk::{Disk, read, write};
use crate::ours::Output;

pub(crate) struct Theirs {
    pub(crate) node: RawNode<Disk>,
}

/// The settings that both have, in raft-rs's words. The timeouts are pinned: both ranges hold one
/// number.
pub(crate) fn config(ours: &Config, batch_append: bool, applied: LogIndex) -> raft::Config {
    let ticks = |ticks: u32| usize::try_from(ticks).expect("a small number");
    raft::Config {
        id: ours.id().get(),
        election_tick: ticks(ours.election_timeout_ticks()),
        min_election_tick: ticks(ours.election_timeout_ticks()),
        max_election_tick: ticks(ours.max_election_timeout_ticks()),
        heartbeat_tick: ticks(ours.heartbeat_interval_ticks()),
        applied: applied.0,
        max_size_per_msg: ours.max_message_bytes(),
        max_inflight_msgs: ours.max_inflight_messages(),
        check_quorum: ours.check_quorum(),
        pre_vote: ours.pre_vote(),
        skip_bcast_commit: ours.skip_commit_broadcast(),
        batch_append,
        priority: ours.priority(),
        ..raft::Config::default()
    }
}

impl Theirs {
    pub(crate) fn start(config: &raft::Config, disk: Disk) -> Self {
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(config, disk, &logger).expect("the storage is in order");
        Self { node }
    }

    pub(crate) fn step(&mut self, message: &Message) -> raft::Result<()> {
        self.node.step(write(message))
    }

    /// The form in which a change is written decides in which it is proposed.
    pub(crate) fn propose_change(
        &mut self,
        context: &Bytes,
        change: &MembershipChange,
    ) -> raft::Result<()> {
        let context = context.to_vec();
        match change.form {
            almadia::ChangeForm::V1 { .. } => {
                let change: ConfChange = write(change);
                self.node.propose_conf_change(context, change)
            }
            almadia::ChangeForm::V2 => {
                let change: ConfChangeV2 = write(change);
                self.node.propose_conf_change(context, change)
            }
        }
    }

    /// Does everything that is to be done now.
    pub(crate) fn drain(&mut self) -> Output {
        let mut output = Output::default();
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            take_messages(&mut output, ready.take_messages());
            if !ready.snapshot().is_empty() {
                let snapshot = ready.snapshot().clone();
                self.node.mut_store().install_snapshot(&snapshot);
            }
            let written = self.node.mut_store().append(ready.entries());
            output.written.extend(written);
            if let Some(hard_state) = ready.hs() {
                let hard_state = hard_state.clone();
                self.node.mut_store().set_hard_state(&hard_state);
            }
            take_messages(&mut output, ready.take_persisted_messages());
            output
                .reads
                .extend(ready.take_read_states().into_iter().map(|read| ReadState {
                    context: read.request_ctx.into(),
                    outcome: Ok(LogIndex(read.index)),
                }));
            self.apply(&mut output, ready.take_committed_entries());
            let mut light = self.node.advance(ready);
            if let Some(commit_index) = light.commit_index() {
                self.node.mut_store().commit(LogIndex(commit_index));
            }
            take_messages(&mut output, light.take_messages());
            self.apply(&mut output, light.take_committed_entries());
            self.node.advance_apply();
        }
        output
    }

    fn apply(&mut self, output: &mut Output, entries: Vec<eraftpb::Entry>) {
        for entry in entries {
            let applied: almadia::Entry = read(&entry);
            if matches!(applied.payload, Payload::Change(_)) {
                let result = if entry.get_entry_type() == EntryType::EntryConfChange {
                    let change = ConfChange::parse_from_bytes(&entry.data).expect("its own bytes");
                    self.node.apply_conf_change(&change)
                } else {
                    let change = ConfChangeV2::parse_from_bytes(&entry.data);
                    self.node.apply_conf_change(&change.expect("its own bytes"))
                };
                match result {
                    Ok(conf_state) => {
                        let conf_state = in_order(&read(&conf_state));
                        self.node.mut_store().set_conf_state(conf_state);
                    }
                    Err(_) => output.refused_changes += 1,
                }
            }
            output.applied.push(applied);
        }
    }

    /// The membership that is in force.
    pub(crate) fn conf_state(&self) -> ConfState {
        in_order(&read(&self.node.raft.prs().conf().to_conf_state()))
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        NodeId::new(self.node.raft.leader_id)
    }
}

/// raft-rs lists members in the order of its hash maps.
fn in_order(conf_state: &ConfState) -> ConfState {
    Membership::try_from(conf_state)
        .expect("a membership in force")
        .to_conf_state()
}

/// Each message as almadia-proto reads it. It writes the same bytes again, or the same fields in
/// another order, as raft-rs can tell: so nothing is lost on the way to the comparison.
fn take_messages(output: &mut Output, messages: Vec<eraftpb::Message>) {
    for message in messages {
        let bytes = Bytes::from(message.write_to_bytes().expect("it can be encoded"));
        let taken = Message::decode(bytes.clone())
            .unwrap_or_else(|error| panic!("raft-rs's own bytes: {error}: {message:?}"));
        let again = taken.encode();
        if again != bytes {
            let again = eraftpb::Message::parse_from_bytes(&again).expect("almadia-proto's bytes");
            let (again, message) = (with_changes_in_order(again), with_changes_in_order(message));
            assert_eq!(again, message, "there and back");
        }
        output.messages.push(taken);
    }
}

/// raft-rs writes the id of a change behind its other fields; both orders mean the same.
fn with_changes_in_order(mut message: eraftpb::Message) -> eraftpb::Message {
    for entry in message.mut_entries() {
        if entry.get_entry_type() == EntryType::EntryConfChange {
            let change = ConfChange::parse_from_bytes(&entry.data).expect("a change");
            entry.data = change.write_to_bytes().expect("it can be encoded").into();
        }
    }
    message
}
