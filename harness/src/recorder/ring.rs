//! A bounded recording in memory: the last calls, and a copy of the node from before them.
//!
//! Owns the two halves of the ring and its report. Must not know files.

use std::collections::VecDeque;
use std::fmt;

use almadia::{RawNode, Storage};
use thiserror::Error;

use super::format::Recording;
use super::replay::{Replay, ReplayError};
use super::tape::{Sink, Tape};
use super::witness::{Witness, without_disk};

/// How a node is copied.
pub(super) type Copy<S> = fn(&mut RawNode<Witness<S>>) -> RawNode<Witness<S>>;

/// What a ring remembers besides the items on their way.
pub(super) struct Ring<S> {
    bytes: usize,
    copy: Copy<S>,
    older: Option<Half<S>>,
    newer: Base<S>,
}

/// Where a half begins.
struct Base<S> {
    /// `None` before the first start.
    node: Option<RawNode<Witness<S>>>,
    /// The number of the first step behind it.
    first_step: u64,
}

struct Half<S> {
    base: Base<S>,
    items: Vec<u8>,
}

impl<S: Storage + Clone> Ring<S> {
    pub(super) fn new(bytes: usize) -> Self {
        let newer = Base {
            node: None,
            first_step: 0,
        };
        Self {
            bytes,
            copy: without_disk,
            older: None,
            newer,
        }
    }
}

impl<S> Ring<S> {
    /// How to copy the node, if it is time to.
    pub(super) fn wants_copy(&self, newer: &super::coding::Writer) -> Option<Copy<S>> {
        (newer.0.len() > self.bytes / 2).then_some(self.copy)
    }

    /// The newer half becomes the older one, and a new one begins with this copy.
    pub(super) fn roll(&mut self, copy: RawNode<Witness<S>>, next_step: u64, items: Vec<u8>) {
        let newer = Base {
            node: Some(copy),
            first_step: next_step,
        };
        let base = std::mem::replace(&mut self.newer, newer);
        self.older = Some(Half { base, items });
    }
}

/// Why a tape has no report to give.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// It goes into a file.
    #[error("the recording goes into a file; `almadia-harness replay` reads it")]
    NotARing,
    /// Somebody is writing to the tape.
    #[error("the tape is in use; ask again")]
    InUse,
    /// The report could not be written.
    #[error("the report cannot be written")]
    Format(#[from] fmt::Error),
}

impl<S: Storage + Clone> Tape<S> {
    /// Tells what a ring remembers: the node before the calls in it, each call with what came of
    /// it, and the node behind them. The calls are made again for that, on a copy. A call that has
    /// not returned is not made again, so this may be called while it panics, in a panic hook.
    ///
    /// # Errors
    ///
    /// If there is nothing to tell, or it cannot be written.
    pub fn report(&self, out: &mut dyn fmt::Write) -> Result<(), ReportError> {
        let mut replay = self.replay_ring()?;
        match replay.node() {
            Some(node) => writeln!(out, "before: {node:?}")?,
            None => writeln!(out, "before: no node")?,
        }
        loop {
            match replay.next_step() {
                Ok(Some(replayed)) => writeln!(out, "{replayed}")?,
                Ok(None) => break,
                Err(ReplayError::Diverged(divergence)) => {
                    writeln!(out, "divergence at {divergence}")?;
                    break;
                }
                Err(ReplayError::Recording(error)) => {
                    writeln!(out, "{error}")?;
                    break;
                }
            }
        }
        if let Some(node) = replay.node() {
            writeln!(out, "after: {node:?}")?;
        }
        Ok(())
    }

    /// The calls that a ring remembers, to be made again on a copy of the node from before them.
    ///
    /// # Errors
    ///
    /// If the tape is no ring, or in use.
    pub fn replay_ring(&self) -> Result<Replay<S>, ReportError> {
        let reel = self.try_reel().ok_or(ReportError::InUse)?;
        let Sink::Ring(ring) = &reel.sink else {
            return Err(ReportError::NotARing);
        };
        let oldest = ring.older.as_ref().map_or(&ring.newer, |older| &older.base);
        let older = ring.older.as_ref().map(|older| older.items.clone());
        let halves: VecDeque<_> = older.into_iter().chain([reel.block.0.clone()]).collect();
        let recording = Recording::of_memory(halves, oldest.first_step);
        Ok(Replay::from_base(oldest.node.clone(), recording).told())
    }
}
