//! What the log of a region carries: commands, and what comes of them.
//!
//! Owns their types and their bytes. Knows neither Raft nor the disk; `state` applies them.

use serde::{Deserialize, Serialize};

use crate::region::RegionId;

/// A write of one client, numbered by it, so that it may be sent again without being done again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The client, by a name that no other client has.
    pub client: String,
    /// The number of the write: one more than that of the client's write before.
    pub sequence: u64,
}

/// A change of the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// The key holds this value.
    Put {
        /// The key.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// The key holds nothing.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
    /// If the key holds what is expected (or, with `None`, nothing), it holds the value (or nothing).
    Cas {
        /// The key.
        key: Vec<u8>,
        /// What it has to hold.
        expected: Option<Vec<u8>>,
        /// What it holds then.
        value: Option<Vec<u8>>,
    },
}

impl Write {
    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key } | Self::Cas { key, .. } => key,
        }
    }
}

/// What an entry of a region's log asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// To change the data.
    Write {
        /// Whose write it is, if it may be sent again.
        session: Option<Session>,
        /// The changes: all of them or, if a `Cas` among them finds something else, none.
        writes: Vec<Write>,
    },
    /// To divide the region: what lies at this key and behind it becomes a region of its own.
    Split {
        /// The first key of the new region.
        at: Vec<u8>,
        /// The new region.
        new: RegionId,
    },
}

impl Command {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// The command of these bytes; `None` if they are none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

/// What has come of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is done.
    Done,
    /// Nothing has changed: a compare-and-swap has found this instead of what it expected.
    Unequal {
        /// The key.
        key: Vec<u8>,
        /// What it holds.
        current: Option<Vec<u8>>,
    },
    /// Nothing has changed: the region does not hold the key (any more).
    OutsideOfRegion,
    /// Nothing has changed: the client has sent a later write since.
    OldSequence {
        /// The number of the client's last write.
        last: u64,
    },
    /// Nothing has changed: a client that is not known (any more) has to begin with number one.
    UnknownClient,
    /// Nothing has changed: the members cannot be changed like this.
    ImpossibleChange,
    /// Nothing has changed: the entry is none of this version.
    Unintelligible,
}
