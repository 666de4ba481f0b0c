//! `Message`: one flat record on the wire for all kinds, one variant for each in the core.
//!
//! Owns the numbers of kinds and fields. Which kind uses which field stands twice: in `message/write.rs`,
//! and in `message/read.rs`. Knows nothing of how a field is written.

mod read;
mod write;

pub(crate) use self::read::decode;
pub(crate) use self::write::{put_head, put_log_entries};

/// The `context` of a vote that the leader itself has asked for.
const CAMPAIGN_TRANSFER: &[u8] = b"CampaignTransfer";

/// `MessageType`, but for what nodes say to themselves: MsgHup, MsgBeat, MsgUnreachable,
/// MsgSnapStatus, MsgCheckQuorum.
mod kinds {
    pub(super) const PROPOSE: u64 = 2;
    pub(super) const APPEND: u64 = 3;
    pub(super) const APPEND_RESPONSE: u64 = 4;
    pub(super) const REQUEST_VOTE: u64 = 5;
    pub(super) const REQUEST_VOTE_RESPONSE: u64 = 6;
    pub(super) const SNAPSHOT: u64 = 7;
    pub(super) const HEARTBEAT: u64 = 8;
    pub(super) const HEARTBEAT_RESPONSE: u64 = 9;
    pub(super) const TRANSFER_LEADER: u64 = 13;
    pub(super) const TIMEOUT_NOW: u64 = 14;
    pub(super) const READ_INDEX: u64 = 15;
    pub(super) const READ_INDEX_RESPONSE: u64 = 16;
    pub(super) const REQUEST_PRE_VOTE: u64 = 17;
    pub(super) const REQUEST_PRE_VOTE_RESPONSE: u64 = 18;
    pub(super) const LAST: u64 = REQUEST_PRE_VOTE_RESPONSE;
}

/// The numbers of the fields.
mod fields {
    pub(super) const MSG_TYPE: u32 = 1;
    pub(super) const TO: u32 = 2;
    pub(super) const FROM: u32 = 3;
    pub(super) const TERM: u32 = 4;
    pub(super) const LOG_TERM: u32 = 5;
    pub(super) const INDEX: u32 = 6;
    pub(super) const ENTRIES: u32 = 7;
    pub(super) const COMMIT: u32 = 8;
    pub(super) const SNAPSHOT: u32 = 9;
    pub(super) const REJECT: u32 = 10;
    pub(super) const REJECT_HINT: u32 = 11;
    pub(super) const CONTEXT: u32 = 12;
    pub(super) const REQUEST_SNAPSHOT: u32 = 13;
    pub(super) const DEPRECATED_PRIORITY: u32 = 14;
    pub(super) const COMMIT_TERM: u32 = 15;
    pub(super) const PRIORITY: u32 = 16;
}
