//! What two nodes say to each other, and its bytes.
//!
//! Owns the frames: a length, a kind and a body. Knows no socket.

use almadia::{Body, Message};
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
    /// About how much memory it holds.
    pub(super) fn weight(&self) -> usize {
        let body = match self {
            Self::Raft(_, Message { body, .. }) => {
                if let Body::AppendEntries(append) = body {
                    usize::try_from(append.entries.size_bytes()).unwrap_or(usize::MAX)
                } else {
                    0
                }
            }
            Self::Other(Other::Request(_, request)) => match request {
                PeerRequest::Propose(_, bytes)
                | PeerRequest::Change(_, bytes)
                | PeerRequest::Chunk(_, _, bytes)
                | PeerRequest::Deliver(_, bytes) => bytes.len(),
                PeerRequest::Transfer(..) | PeerRequest::Offer(_) => 0,
            },
            Self::Other(_) => 0,
        };
        size_of::<Self>() + body
    }

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

#[cfg(test)]
mod tests {
    use almadia::{AppendEntries, Body, Entries, Entry, LogId, LogIndex, NodeId, Payload, Term};
    use proptest::prelude::*;

    use super::*;

    fn append(region: u64, first: u64, data: Vec<Vec<u8>>) -> Frame {
        let entries = (first..).zip(data).map(|(index, data)| Entry {
            id: LogId::new(3, index),
            payload: Payload::Data(data.into()),
            context: Bytes::new(),
        });
        let body = Body::AppendEntries(AppendEntries {
            prev_log: LogId::new(2, first - 1),
            leader_commit: LogIndex(first),
            entries: Entries::from(entries.collect::<Vec<_>>()),
        });
        let message = Message {
            to: NodeId::new(1).unwrap(),
            from: NodeId::new(2).unwrap(),
            term: Term(3),
            body,
        };
        Frame::Raft(RegionId(region), message)
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..300);
        let text = || prop::collection::vec(any::<char>(), 0..20).prop_map(String::from_iter);
        let number = any::<u64>;
        let requests = prop_oneof![
            (number(), bytes()).prop_map(|(at, b)| PeerRequest::Propose(RegionId(at), b)),
            (number(), bytes()).prop_map(|(at, b)| PeerRequest::Change(RegionId(at), b)),
            (number(), number()).prop_map(|(at, to)| PeerRequest::Transfer(RegionId(at), to)),
            text().prop_map(PeerRequest::Offer),
            (text(), number(), bytes()).prop_map(|(name, at, b)| PeerRequest::Chunk(name, at, b)),
            (number(), bytes()).prop_map(|(at, b)| PeerRequest::Deliver(RegionId(at), b)),
        ];
        let responses = prop_oneof![
            Just(PeerResponse::Ended(Ok(Outcome::Done))),
            text().prop_map(|why| PeerResponse::Ended(Err(Refusal::Full(why)))),
            number().prop_map(PeerResponse::Have),
            text().prop_map(PeerResponse::Refused),
        ];
        let others = prop_oneof![
            Just(()).prop_map(|()| Other::Ping),
            number().prop_map(|at| Other::Wake(RegionId(at))),
            (any::<u32>(), text(), number(), number()).prop_map(|(version, cluster, from, to)| {
                let (peer, client) = (cluster.clone(), String::new());
                Other::Hello {
                    version,
                    cluster,
                    from,
                    to,
                    address: Address { peer, client },
                }
            }),
            (number(), number()).prop_map(|(region, at)| Other::Gone(RegionId(region), at)),
            (number(), requests).prop_map(|(number, request)| Other::Request(number, request)),
            (number(), responses).prop_map(|(number, response)| Other::Response(number, response)),
        ];
        let appends = (number(), 1..1_000_u64, prop::collection::vec(bytes(), 0..5));
        prop_oneof![
            others.prop_map(Frame::Other),
            appends.prop_map(|(region, first, data)| append(region, first, data)),
        ]
    }

    fn bytes_of(frame: &Frame) -> BytesMut {
        let mut buffer = BytesMut::new();
        frame.encode(&mut buffer);
        buffer
    }

    /// A frame of this body.
    fn framed(body: &[u8]) -> BytesMut {
        let mut buffer = BytesMut::new();
        buffer.put_u32_le(u32::try_from(body.len()).unwrap());
        buffer.put_slice(body);
        buffer
    }

    proptest! {
        #[test]
        fn frames_are_read_as_they_were_written(
            frames in prop::collection::vec(any_frame(), 1..5),
            step in 1..100_usize,
        ) {
            let mut all = BytesMut::new();
            for frame in &frames {
                frame.encode(&mut all);
            }
            // They come in pieces, which do not keep to where frames end.
            let mut buffer = BytesMut::new();
            let mut read = Vec::new();
            for piece in all.chunks(step) {
                buffer.put_slice(piece);
                while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
                    read.push(frame);
                }
            }
            prop_assert!(buffer.is_empty());
            prop_assert_eq!(format!("{frames:?}"), format!("{read:?}"));
        }

        #[test]
        fn a_frame_that_is_cut_is_waited_for_and_one_that_is_too_short_is_an_error(
            frame in any_frame(),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = bytes_of(&frame);
            let mut cut_off = BytesMut::from(&whole[..cut.index(whole.len())]);
            prop_assert!(Frame::decode(&mut cut_off).unwrap().is_none());
            // As if it ended there: an error, or, as Raft's messages have no end of their own, another
            // frame; never the same one.
            let body = &whole[4..];
            let read = Frame::decode(&mut framed(&body[..cut.index(body.len())]));
            if let Ok(read) = read {
                prop_assert_ne!(format!("{:?}", Some(frame)), format!("{read:?}"));
            }
        }

        #[test]
        fn garbage_is_never_more_than_an_error(
            body in prop::collection::vec(any::<u8>(), 0..200),
            kind in 0..3_u8,
        ) {
            drop(Frame::decode(&mut BytesMut::from(body.as_slice())));
            drop(Frame::decode(&mut framed(&body)));
            drop(Frame::decode(&mut framed(&[&[kind], body.as_slice()].concat())));
        }

        #[test]
        fn a_frame_with_a_damaged_byte_is_never_more_than_an_error(
            frame in any_frame(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = bytes_of(&frame);
            let at = at.index(bytes.len() - 4) + 4;
            bytes[at] = byte;
            drop(Frame::decode(&mut bytes));
        }
    }

    #[test]
    fn what_is_wrong_with_a_frame_is_told() {
        let read = |mut bytes: BytesMut| Frame::decode(&mut bytes);
        let too_long = BytesMut::from(&0x0800_0001_u32.to_le_bytes()[..]);
        assert!(matches!(read(too_long), Err(FrameError::TooLong(len)) if len == MAX_LEN + 1));
        assert!(matches!(read(framed(&[])), Err(FrameError::Short)));
        assert!(matches!(read(framed(&[RAFT; 8])), Err(FrameError::Short)));
        assert!(matches!(read(framed(&[7])), Err(FrameError::Kind(7))));
        assert!(matches!(read(framed(&[OTHER])), Err(FrameError::Other(_))));
        let no_message = [&[RAFT], &[1; 8][..], &[0xff; 8]].concat();
        assert!(matches!(
            read(framed(&no_message)),
            Err(FrameError::Raft(_))
        ));
    }
}
