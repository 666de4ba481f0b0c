//! What two nodes say to each other, and its bytes.
//!
//! Owns the frames: a length, a kind and a body. Knows no socket.

use almadia::Message;
use almadia_proto::{Decode, Encode};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::command::Outcome;
use crate::raft::Refusal;
use crate::region::{Address, RegionId};

/// The version of what is said.
pub(super) const VERSION: u32 = 1;
/// The longest frame.
const MAX_LEN: usize = 128 << 20;
const RAFT: u8 = 0;
const OTHER: u8 = 1;

/// Something that one node says to another.
#[derive(Debug)]
pub(super) enum Frame {
    /// A Raft message of a region.
    Raft(RegionId, Message),
    /// Anything else.
    Other(Other),
}

/// What is no Raft message.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Other {
    /// Who speaks, and with whom.
    Hello {
        /// The version that is spoken.
        version: u32,
        /// The cluster's name.
        cluster: String,
        /// The node that speaks.
        from: u64,
        /// The node that is meant.
        to: u64,
        /// Where the node that speaks is reached.
        address: Address,
    },
    /// I am there.
    Ping,
    /// This region is awake.
    Wake(RegionId),
    /// The one who hears this is no member of the region any more, as of this index.
    Gone(RegionId, u64),
    /// Something is wanted.
    Request(u64, PeerRequest),
    /// What has come of it.
    Response(u64, PeerResponse),
}

/// What a node may want of another one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum PeerRequest {
    /// To put a command into the log of a region that it leads.
    Propose(RegionId, Vec<u8>),
    /// To change the members of a region that it leads: the change, as a log has it.
    Change(RegionId, Vec<u8>),
    /// To have another node lead.
    Transfer(RegionId, u64),
    /// To take a snapshot's file: this is what it is called.
    Offer(String),
    /// To take a piece of it, which begins here.
    Chunk(String, u64, Vec<u8>),
    /// To take in the message that the file belongs to.
    Deliver(RegionId, Vec<u8>),
}

/// What comes of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum PeerResponse {
    /// How it ended.
    Ended(Result<Outcome, Refusal>),
    /// So many bytes of the file are there.
    Have(u64),
    /// The file was not taken, and why.
    Refused(String),
}

/// Why bytes are no frame.
#[derive(Debug, Error)]
pub(super) enum FrameError {
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
    #[error("a frame ends early")]
    Short,
    #[error("a Raft message cannot be read: {0}")]
    Raft(#[from] almadia_proto::DecodeError),
    #[error("a frame cannot be read: {0}")]
    Other(#[from] postcard::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the peer is silent")]
    Silence,
}

impl Frame {
    /// Writes it behind what is in the buffer.
    pub(super) fn encode(&self, buffer: &mut BytesMut) {
        let begin = buffer.len();
        buffer.put_u32_le(0);
        match self {
            Self::Raft(region, message) => {
                buffer.put_u8(RAFT);
                buffer.put_u64_le(region.0);
                buffer.reserve(message.encoded_len());
                message.encode_to(buffer);
            }
            Self::Other(other) => {
                buffer.put_u8(OTHER);
                buffer.put_slice(&postcard::to_stdvec(other).unwrap_or_default());
            }
        }
        let len = u32::try_from(buffer.len() - begin - 4).unwrap_or(u32::MAX);
        buffer[begin..begin + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// Takes the first frame out of the buffer; `None` as long as it is not there whole.
    pub(super) fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let Some(len) = buffer.first_chunk() else {
            return Ok(None);
        };
        let len = u32::from_le_bytes(*len) as usize;
        if len > MAX_LEN {
            return Err(FrameError::TooLong(len));
        }
        if buffer.len() < 4 + len {
            buffer.reserve(4 + len - buffer.len());
            return Ok(None);
        }
        buffer.advance(4);
        Self::read(buffer.split_to(len).freeze()).map(Some)
    }

    fn read(mut body: Bytes) -> Result<Self, FrameError> {
        if body.is_empty() {
            return Err(FrameError::Short);
        }
        match body.get_u8() {
            RAFT if body.len() < 8 => Err(FrameError::Short),
            RAFT => {
                let region = RegionId(body.get_u64_le());
                Ok(Self::Raft(region, Message::decode(body)?))
            }
            OTHER => Ok(Self::Other(postcard::from_bytes(&body)?)),
            kind => Err(FrameError::Kind(kind)),
        }
    }
}
