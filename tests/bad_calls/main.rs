//! Calls that are wrong, or merely natural at an unlucky moment: an error that says why, or no
//! harm.
//!
//! Owns the list R3, as far as its rows can be posed through the API. These cannot:
//!
//! * `set_max_apply_unpersisted_log_limit` after the start: a setting here, made once. What
//!   `assign_commit_groups` and `on_entries_fetched` do when nobody waits for it stands in
//!   `tests/scenarios/`.
//! * `Raft::send_append(unknown)`, `become_*` in the wrong role, `set_randomized_election_timeout`,
//!   `vote_resp_msg_type`, `Inflights::add` when full, `set_cap`, misuse of `Unstable`, of
//!   `maybe_persist_snap`, of `RaftLog::append` and `slice`: private to the crate, so no call of an
//!   embedder reaches them.
//! * A message about local events (`MsgHup`, `MsgUnreachable` and others): a method, not a message.

mod calls;
#[path = "../common/faults.rs"]
mod faults;
mod limits;
mod mem_storage;
mod unlucky;

use almadia::{
    AcknowledgeError, AppendEntriesResponse, Body, CampaignError, ChangeError, ConfState, Config,
    ConfigError, HardState, LogId, LogIndex, MemStorage, MemStorageError, MemberChange, Membership,
    MembershipChange, MembershipError, NodeId, Payload, ProposeError, RawNode, Ready, RequestVote,
    RoleKind, SnapshotStatus, StartError, StepError, Storage, StorageError, Term, Transition,
    VoteResponse,
};
use faults::{
    Network, Node, append, compact, entries, entry, every_role, follower, fulfil, heartbeat, id,
    install, leader, message, open, settle, snapshot, storage, voters, write,
};

fn accepted(from: u64, term: u64, index: u64) -> almadia::Message {
    let body = Body::AppendEntriesResponse(AppendEntriesResponse::Accepted {
        match_index: LogIndex(index),
        commit_index: LogIndex(0),
    });
    message(from, 1, term, body)
}

/// A leader whose term has begun in earnest: its first entry is committed and applied.
fn settled_leader() -> Node {
    let mut node = leader();
    node.step(accepted(2, 3, 4)).expect("an acknowledgement");
    settle(&mut node);
    assert_eq!(node.last_applied(), LogIndex(4));
    node
}

fn remove(number: u64) -> MembershipChange {
    MembershipChange::of([MemberChange::Remove(id(number))])
}
