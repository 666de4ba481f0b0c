//! Where a recording goes: a file, or a ring in memory.
//!
//! Owns the items on their way there, the blocks of a file, and what happens when there is no more
//! room. Must not know what the items say; that is the business of `format.rs`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, mem};

use almadia::{Config, LogIndex, RawNode, Storage};
use thiserror::Error;

use super::coding::Writer;
use super::format::{self, LastWord, Start};
use super::outcome::Outcome;
use super::ring::{Copy, Ring};
use super::witness::{Answer, KnownEntries, Question, Reply, Witness};

/// Items are written when there are so many bytes of them.
const BLOCK_BYTES: usize = 64 << 10;

/// How a node is recorded into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// When the file is written to.
    pub flush: Flush,
    /// What is recorded of entries that the storage answers.
    pub stored_entries: StoredEntries,
    /// After so many calls the whole node is hashed; zero for never. It takes the longer, the more
    /// entries the node keeps in memory. Whatever else a node does is compared after every call;
    /// this finds what does not show yet.
    pub hash_every: u32,
    /// The recording ends before the file would be longer than this.
    pub max_bytes: u64,
}

/// When a file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// When there are 64 KiB to write, when the node is dropped, also by a panic that unwinds, and
    /// at [`Tape::flush`]. If the process is killed, or aborts, the last calls are missing.
    WhenFull,
    /// Before each call, so that the file tells of the very call during which the process died.
    /// It costs a system call each time; the file is not synced, so a power failure may still take
    /// the end away.
    EachCall,
}

/// What is recorded of entries that the storage answers: those for a peer that is far behind, and
/// those to be applied after a restart. In the steady state a node asks for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredEntries {
    /// Everything.
    Whole,
    /// Of those that the node itself has handed out before in this life, their ids and a hash. The
    /// recording holds them already, so the replay knows them. But if the disk did not give back
    /// what was written to it, the replay ends there, and says so.
    Named,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            flush: Flush::WhenFull,
            stored_entries: StoredEntries::Whole,
            hash_every: 4096,
            max_bytes: u64::MAX,
        }
    }
}

/// Why nothing is recorded any more. The node goes on all the same.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum TapeStopped {
    /// The file could not be written to.
    #[error("the recording has stopped, because its file cannot be written to: {0}")]
    Failed(Arc<io::Error>),
    /// [`Options::max_bytes`] are written.
    #[error("the recording has stopped, because it has reached its max_bytes")]
    Full,
}

/// Where a node is recorded. Clones share it, so that one can be kept to look at.
///
/// It serves one node at a time. A second node that is started on it, after the first was dropped,
/// is recorded behind it.
pub struct Tape<S>(Arc<Mutex<Reel<S>>>);

pub(super) struct Reel<S> {
    pub(super) sink: Sink<S>,
    /// What was not written yet; with a ring, the newer part of it.
    pub(super) block: Writer,
    options: Options,
    /// Whether a call is under way, so that answers belong to it.
    is_open: bool,
    /// How many steps were begun.
    pub(super) steps: u64,
    calls_unhashed: u32,
    /// Where the log ended at the start: what is behind was handed out in this life.
    log_end_at_start: LogIndex,
    stopped: Option<TapeStopped>,
}

pub(super) enum Sink<S> {
    File {
        file: Box<dyn Write + Send>,
        written: u64,
    },
    Ring(Box<Ring<S>>),
}

impl<S> Tape<S> {
    /// A new file.
    ///
    /// # Errors
    ///
    /// If it cannot be made, also if it is there already: it may be what is left of the last life.
    pub fn file(path: impl AsRef<Path>, options: Options) -> io::Result<Self> {
        Self::writer(File::create_new(path)?, options)
    }

    /// A new file in a folder, which is made if need be: one for each life of a node. The oldest
    /// are removed, so that `keep` are left with this one.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read or changed.
    pub fn in_folder(folder: &Path, keep: NonZeroUsize, options: Options) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut lives = recordings_in(folder)?;
        let next = lives.last().map_or(0, |(number, _)| number + 1);
        lives.truncate((lives.len() + 1).saturating_sub(keep.get()));
        for (_, path) in lives {
            fs::remove_file(path)?;
        }
        Self::file(folder.join(format!("{next:010}.{EXTENSION}")), options)
    }

    /// Anything that can be written to. What is to be buffered need not be; that is done here.
    ///
    /// # Errors
    ///
    /// If it cannot be written to.
    pub fn writer(mut file: impl Write + Send + 'static, options: Options) -> io::Result<Self> {
        let header = format::header();
        file.write_all(&header)?;
        let file: Box<dyn Write + Send> = Box::new(file);
        let written = header.len() as u64;
        Ok(Self::of(Sink::File { file, written }, options))
    }

    fn of(sink: Sink<S>, options: Options) -> Self {
        Self(Arc::new(Mutex::new(Reel {
            sink,
            block: Writer::default(),
            options,
            is_open: false,
            steps: 0,
            calls_unhashed: 0,
            log_end_at_start: LogIndex(u64::MAX),
            stopped: None,
        })))
    }

    /// Writes out what was not written yet.
    ///
    /// # Errors
    ///
    /// If the recording has stopped, now or before.
    pub fn flush(&self) -> Result<(), TapeStopped> {
        let mut reel = self.reel();
        reel.flush();
        reel.stopped.clone().map_or(Ok(()), Err)
    }

    pub(super) fn reel(&self) -> MutexGuard<'_, Reel<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`reel`](Self::reel), unless somebody else, or this very thread, holds it.
    pub(super) fn try_reel(&self) -> Option<MutexGuard<'_, Reel<S>>> {
        match self.0.try_lock() {
            Ok(reel) => Some(reel),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }

    /// A node is about to start.
    pub(super) fn start(&self, config: &Config) {
        let mut reel = self.reel();
        reel.log_end_at_start = LogIndex(u64::MAX);
        let start = Start {
            release: env!("CARGO_PKG_VERSION").into(),
            config: config.clone(),
            names_entries: reel.options.stored_entries == StoredEntries::Named,
        };
        reel.begin(|block| format::put_start(block, &start));
    }

    /// A call is about to be made.
    pub(super) fn input(&self, encode: impl FnOnce(&mut Writer)) {
        self.reel().begin(|block| format::put_input(block, encode));
    }

    /// The storage has answered.
    pub(super) fn overhear(&self, answer: impl FnOnce() -> Answer) {
        let mut reel = self.reel();
        if reel.is_open {
            reel.answered(answer());
        }
    }

    /// The call has returned. The node is to be hashed if it is its turn, and to be copied if that
    /// is wanted.
    pub(super) fn outcome(
        &self,
        outcome: impl FnOnce() -> Outcome,
        hash: impl FnOnce() -> u64,
    ) -> Option<Copy<S>> {
        let mut reel = self.reel();
        if !mem::take(&mut reel.is_open) {
            return None;
        }
        let every = reel.options.hash_every;
        reel.calls_unhashed = reel.calls_unhashed.saturating_add(1);
        let is_turn = every > 0 && reel.calls_unhashed >= every;
        let hash = is_turn.then(|| {
            reel.calls_unhashed = 0;
            hash()
        });
        format::put_outcome(&mut reel.block, &outcome(), hash);
        reel.make_room();
        let Reel { sink, block, .. } = &*reel;
        match sink {
            Sink::File { .. } => None,
            Sink::Ring(ring) => ring.wants_copy(block),
        }
    }

    /// A ring goes on from this copy of the node.
    pub(super) fn roll(&self, copy: RawNode<Witness<S>>) {
        let Reel {
            sink, block, steps, ..
        } = &mut *self.reel();
        match sink {
            Sink::File { .. } => {}
            Sink::Ring(ring) => ring.roll(copy, *steps, mem::take(&mut block.0)),
        }
    }

    /// The node has ended, or panics.
    pub(super) fn close(&self, panics: bool) {
        let mut reel = self.reel();
        if !panics && reel.stopped.is_none() {
            format::put_end(&mut reel.block, LastWord::Closed);
        }
        reel.flush();
    }
}

impl<S: Storage + Clone> Tape<S> {
    /// A ring in memory that keeps the last calls, `bytes / 2` to `bytes` of them and one call more,
    /// and a copy of the node from before. The storage is neither copied nor read for that.
    #[must_use]
    pub fn ring(bytes: usize) -> Self {
        let options = Options {
            hash_every: 0,
            ..Options::default()
        };
        Self::of(Sink::Ring(Box::new(Ring::new(bytes))), options)
    }
}

impl<S> Reel<S> {
    fn begin(&mut self, put: impl FnOnce(&mut Writer)) {
        if self.stopped.is_some() {
            return;
        }
        self.steps += 1;
        self.is_open = true;
        put(&mut self.block);
        if self.options.flush == Flush::EachCall {
            self.flush();
        }
    }

    fn answered(&mut self, mut answer: Answer) {
        if let (Question::LastIndex, Ok(Reply::Index(index))) = (&answer.question, &answer.reply) {
            // Asked at the start alone.
            self.log_end_at_start = *index;
        }
        if let (StoredEntries::Named, Ok(Reply::Entries(entries))) =
            (self.options.stored_entries, &answer.reply)
        {
            let first = entries.first_id().map(|id| id.index);
            if first > Some(self.log_end_at_start) {
                answer.reply = Ok(Reply::Known(KnownEntries::of(entries)));
            }
        }
        format::put_answer(&mut self.block, &answer);
        if self.options.flush == Flush::EachCall {
            self.flush();
        }
    }

    fn make_room(&mut self) {
        if self.block.0.len() >= BLOCK_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let Sink::File { file, written } = &mut self.sink else {
            return;
        };
        if self.block.0.is_empty() || self.stopped.is_some() {
            return;
        }
        let limit = self.options.max_bytes;
        let mut frame = frame_within(&self.block.0, *written, limit);
        let is_full = frame.is_none();
        if is_full {
            self.block.0.clear();
            format::put_end(&mut self.block, LastWord::Full);
            frame = frame_within(&self.block.0, *written, limit);
        }
        if let Some(frame) = frame {
            // In one piece, because each write is a system call.
            self.block.0.splice(..0, frame);
            *written += self.block.0.len() as u64;
            let result = file.write_all(&self.block.0).and_then(|()| file.flush());
            if let Err(error) = result {
                self.stopped = Some(TapeStopped::Failed(Arc::new(error)));
            }
        }
        if is_full {
            self.stopped = Some(TapeStopped::Full);
        }
        if self.stopped.is_some() {
            self.is_open = false;
        }
        self.block.0.clear();
    }
}

/// The frame around these items, if both fit in.
fn frame_within(items: &[u8], written: u64, limit: u64) -> Option<[u8; 8]> {
    let frame = format::frame(items)?;
    let length = (frame.len() + items.len()) as u64;
    (written.saturating_add(length) <= limit).then_some(frame)
}

const EXTENSION: &str = "recording";

/// The recordings of earlier lives, oldest first, each with its number.
fn recordings_in(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut lives = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse().ok());
        let is_one = path
            .extension()
            .is_some_and(|extension| extension == EXTENSION);
        lives.extend(number.filter(|_| is_one).map(|number| (number, path)));
    }
    lives.sort_unstable();
    Ok(lives)
}

impl<S> Clone for Tape<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for Tape<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tape")
    }
}
