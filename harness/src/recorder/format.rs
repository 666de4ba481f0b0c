//! The form of a recording: a header, and blocks of items.
//!
//! Owns the header, the frame of a block, and what an item is. Must not know nodes. A recording is
//!
//! ```text
//! "almadiaR"  version: u32                        the header
//! length: u32  crc32 of the items: u32  items     a block, as often as need be
//! ```
//!
//! with all numbers little-endian. A block that is cut off, or whose checksum is wrong, ends what
//! can be used.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};

use almadia::Config;
use thiserror::Error;

use super::call::Input;
use super::coding::{Coded, Malformed, Reader, Writer, coded_enum, coded_struct};
use super::outcome::Outcome;
use super::witness::Answer;

const MAGIC: [u8; 8] = *b"almadiaR";
/// To be raised with every change of what items are made of.
pub(super) const VERSION: u32 = 1;

/// What every recording begins with.
pub(super) fn header() -> [u8; 12] {
    let [a, b, c, d, e, f, g, h] = MAGIC;
    let [i, j, k, l] = VERSION.to_le_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

/// The frame around these items. `None` if there are too many of them.
pub(super) fn frame(items: &[u8]) -> Option<[u8; 8]> {
    let [a, b, c, d] = u32::try_from(items.len()).ok()?.to_le_bytes();
    let [e, f, g, h] = crc32fast::hash(items).to_le_bytes();
    Some([a, b, c, d, e, f, g, h])
}

/// The start of a node, which is the first step of every life.
#[derive(Clone, Debug)]
pub(super) struct Start {
    /// The version of the crate that has recorded it.
    pub(super) release: String,
    pub(super) config: Config,
    /// Whether answers may name entries that were handed out before.
    pub(super) names_entries: bool,
}

coded_struct!(Start {
    release,
    config,
    names_entries
});

/// Why a recording has no more steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The node was dropped, or ended.
    Closed,
    /// [`Options::max_bytes`](super::Options::max_bytes) were written.
    Full,
    /// Nothing is said: the process stopped, or goes on and has not written more yet.
    Open,
    /// The last block is not whole, as a crash leaves it.
    Torn {
        /// Where that block begins, in bytes.
        at: u64,
        /// How many bytes there are from there on, which are of no use.
        unused: u64,
    },
    /// A block is not what was written, and there is more behind it.
    Damaged {
        /// Where that block begins, in bytes.
        at: u64,
    },
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the node has ended"),
            Self::Full => f.write_str("the recording has ended at its max_bytes"),
            Self::Open => f.write_str("the process has stopped, or goes on"),
            Self::Torn { at, unused } => write!(
                f,
                "the recording is cut off in the block at byte {at}; {unused} bytes are of no use"
            ),
            Self::Damaged { at } => write!(
                f,
                "the block at byte {at} is not what was written; nothing behind it is of use"
            ),
        }
    }
}

/// An end that a recording tells of itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum LastWord {
    Closed,
    Full,
}

coded_enum!(LastWord { 0 Closed, 1 Full });

/// The tags of items.
mod tag {
    pub(super) const START: u8 = 0;
    pub(super) const INPUT: u8 = 1;
    pub(super) const ANSWER: u8 = 2;
    pub(super) const OUTCOME: u8 = 3;
    /// An outcome, and the hash of the node.
    pub(super) const OUTCOME_AND_NODE: u8 = 4;
    pub(super) const END: u8 = 5;
}

pub(super) fn put_start(out: &mut Writer, start: &Start) {
    out.byte(tag::START);
    start.encode(out);
}

pub(super) fn put_input(out: &mut Writer, encode: impl FnOnce(&mut Writer)) {
    out.byte(tag::INPUT);
    encode(out);
}

pub(super) fn put_answer(out: &mut Writer, answer: &Answer) {
    out.byte(tag::ANSWER);
    answer.encode(out);
}

pub(super) fn put_outcome(out: &mut Writer, outcome: &Outcome, node: Option<u64>) {
    out.byte(node.map_or(tag::OUTCOME, |_| tag::OUTCOME_AND_NODE));
    outcome.encode(out);
    if let Some(node) = node {
        node.encode(out);
    }
}

pub(super) fn put_end(out: &mut Writer, word: LastWord) {
    out.byte(tag::END);
    word.encode(out);
}

#[derive(Debug)]
enum Item {
    Start(Start),
    Input(Input),
    Answer(Answer),
    Outcome(Outcome, Option<u64>),
    End(LastWord),
}

impl Item {
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.byte()? {
            tag::START => Start::decode(from).map(Self::Start),
            tag::INPUT => Input::decode(from).map(Self::Input),
            tag::ANSWER => Answer::decode(from).map(Self::Answer),
            tag::OUTCOME => Ok(Self::Outcome(Coded::decode(from)?, None)),
            tag::OUTCOME_AND_NODE => Ok(Self::Outcome(
                Coded::decode(from)?,
                Some(Coded::decode(from)?),
            )),
            tag::END => LastWord::decode(from).map(Self::End),
            _ => Err(Malformed("there is no such item")),
        }
    }
}

/// Why a file is no recording that can be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// It cannot be read at all.
    #[error("the recording cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("this is no recording of an almadia node; look for the file that the Tape was given")]
    NotARecording,
    /// It has another format.
    #[error(
        "the recording has format {found}, and this program reads format {VERSION}; \
         use the almadia-harness of the release that has recorded it"
    )]
    OtherVersion {
        /// The format it has.
        found: u32,
    },
    /// It has the right checksum, and makes no sense.
    #[error(
        "step {step} of the recording makes no sense: {reason}; it was changed, or written by \
         another release: use the almadia-harness of that one"
    )]
    Malformed {
        /// The step.
        step: u64,
        /// What is wrong.
        reason: Malformed,
    },
}

/// What a step of a recording does.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Start(Start),
    Input(Input),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(Start {
                release, config, ..
            }) => write!(f, "New by almadia {release} with {config:?}"),
            Self::Input(input) => write!(f, "{input:?}"),
        }
    }
}

/// One step: a start or a call, what the storage answered meanwhile, and what came of it.
#[derive(Debug)]
pub(super) struct Step {
    /// Counted from 0, which is the first start.
    pub(super) number: u64,
    pub(super) action: Action,
    pub(super) answers: VecDeque<Answer>,
    /// `None` if the call did not return, or the recording ends before.
    pub(super) outcome: Option<Outcome>,
    /// The hash of the node, if it was taken after this step.
    pub(super) node: Option<u64>,
    /// Whether the recording ends within this step.
    pub(super) is_cut: bool,
}

/// A recording, read step by step.
pub struct Recording {
    blocks: Blocks,
    block: Vec<u8>,
    /// How much of the block is used.
    used: usize,
    next: Option<Item>,
    next_step: u64,
    end: Option<End>,
    is_over: bool,
}

enum Blocks {
    File { file: Box<dyn Read>, at: u64 },
    Memory(VecDeque<Vec<u8>>),
}

impl Recording {
    /// Begins to read a recording.
    ///
    /// # Errors
    ///
    /// If it is none, or has a format that is not known here.
    pub fn open(mut file: impl Read + 'static) -> Result<Self, RecordingError> {
        let mut found = Vec::new();
        let expected = header();
        file.by_ref()
            .take(expected.len() as u64)
            .read_to_end(&mut found)?;
        let version = found
            .strip_prefix(&MAGIC)
            .and_then(|rest| rest.try_into().ok());
        match version.map(u32::from_le_bytes) {
            Some(VERSION) => {}
            Some(found) => return Err(RecordingError::OtherVersion { found }),
            None => return Err(RecordingError::NotARecording),
        }
        let file: Box<dyn Read> = Box::new(file);
        let at = expected.len() as u64;
        Ok(Self::read(Blocks::File { file, at }, 0))
    }

    /// Reads items that are in memory, beginning with this step.
    pub(super) fn of_memory(blocks: VecDeque<Vec<u8>>, first_step: u64) -> Self {
        Self::read(Blocks::Memory(blocks), first_step)
    }

    const fn read(blocks: Blocks, first_step: u64) -> Self {
        Self {
            blocks,
            block: Vec::new(),
            used: 0,
            next: None,
            next_step: first_step,
            end: None,
            is_over: false,
        }
    }

    /// Why there are no more steps, once there are none.
    #[must_use]
    pub const fn end(&self) -> Option<End> {
        self.end
    }

    /// The next step, if there is one.
    pub(super) fn next_step(&mut self) -> Result<Option<Step>, RecordingError> {
        let action = loop {
            match self.next_item()? {
                None => return Ok(None),
                Some(Item::Start(start)) => break Action::Start(start),
                Some(Item::Input(input)) => break Action::Input(input),
                Some(Item::Answer(_) | Item::Outcome(..)) => {
                    return Err(self.malformed(Malformed("something came of no call")));
                }
                // A tape may be used for another life.
                Some(Item::End(_)) => {}
            }
        };
        let mut step = Step {
            number: self.next_step,
            action,
            answers: VecDeque::new(),
            outcome: None,
            node: None,
            is_cut: false,
        };
        loop {
            match self.next_item()? {
                Some(Item::Answer(answer)) => step.answers.push_back(answer),
                Some(Item::Outcome(outcome, node)) => {
                    step.outcome = Some(outcome);
                    step.node = node;
                    break;
                }
                next @ Some(Item::Start(_) | Item::Input(_) | Item::End(LastWord::Closed)) => {
                    self.next = next;
                    break;
                }
                None | Some(Item::End(LastWord::Full)) => {
                    step.is_cut = true;
                    break;
                }
            }
        }
        self.next_step += 1;
        Ok(Some(step))
    }

    fn malformed(&self, reason: Malformed) -> RecordingError {
        let step = self.next_step;
        RecordingError::Malformed { step, reason }
    }

    fn next_item(&mut self) -> Result<Option<Item>, RecordingError> {
        if let Some(item) = self.next.take() {
            return Ok(Some(item));
        }
        while self.used == self.block.len() {
            if !self.next_block()? {
                return Ok(None);
            }
        }
        let mut reader = Reader(&self.block[self.used..]);
        let item = Item::decode(&mut reader).map_err(|reason| self.malformed(reason))?;
        self.used = self.block.len() - reader.0.len();
        if let Item::End(word) = item {
            self.end = Some(match word {
                LastWord::Closed => End::Closed,
                LastWord::Full => End::Full,
            });
        }
        Ok(Some(item))
    }

    /// Reads one more block. Returns whether there is one.
    fn next_block(&mut self) -> Result<bool, RecordingError> {
        if self.is_over {
            return Ok(false);
        }
        self.block.clear();
        self.used = 0;
        let end = match &mut self.blocks {
            Blocks::Memory(blocks) => match blocks.pop_front() {
                Some(block) => {
                    self.block = block;
                    None
                }
                None => Some(End::Open),
            },
            Blocks::File { file, at } => {
                let end = read_block(file, *at, &mut self.block)?;
                *at += FRAME + self.block.len() as u64;
                end
            }
        };
        let Some(end) = end else {
            self.end = None;
            return Ok(true);
        };
        self.block.clear();
        self.is_over = true;
        // What the recording says of its own end stands, if nothing follows.
        if end == End::Open {
            self.end.get_or_insert(end);
        } else {
            self.end = Some(end);
        }
        Ok(false)
    }
}

/// The bytes before the items of a block.
const FRAME: u64 = 8;

/// Reads the block that begins at this place. Returns why there is none that can be used, if so.
fn read_block(file: &mut impl Read, at: u64, block: &mut Vec<u8>) -> io::Result<Option<End>> {
    let mut frame = Vec::new();
    file.by_ref().take(FRAME).read_to_end(&mut frame)?;
    if frame.is_empty() {
        return Ok(Some(End::Open));
    }
    if let Some((length, checksum)) = frame.split_first_chunk().filter(|it| it.1.len() == 4) {
        let length = u64::from(u32::from_le_bytes(*length));
        // The length is not believed before as many bytes are there.
        file.by_ref().take(length).read_to_end(block)?;
        if block.len() as u64 == length {
            if crc32fast::hash(block).to_le_bytes() == checksum {
                return Ok(None);
            }
            if file.read(&mut [0])? > 0 {
                return Ok(Some(End::Damaged { at }));
            }
        }
    }
    let unused = (frame.len() + block.len()) as u64;
    Ok(Some(End::Torn { at, unused }))
}
