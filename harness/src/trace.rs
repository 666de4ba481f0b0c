//! The record of a run: what happened on which node, in order, as a file to be kept and shown.
//!
//! Owns the format on disk. What an event can be is in `trace/event.rs`, how events are gathered in
//! `trace/recorder.rs`. Must not know the simulator: any cluster can be recorded. The picture of a
//! trace is made in `timeline.rs`.

mod bounded;
mod describe;
mod event;
mod flights;
mod number;
mod recorder;

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read, Write};

use almadia::NodeId;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::event::{SnapshotStage, TraceEvent, What};
pub(crate) use self::recorder::Look;
pub use self::recorder::TraceRecorder;

/// The record of a run.
///
/// It comes from a [`TraceRecorder`], from [`Cluster::take_trace`](crate::Cluster::take_trace), or
/// from a file. [`timeline`](crate::timeline) makes a picture of it.
///
/// # Format
///
/// Lines of JSON. The first is the header:
///
/// ```json
/// {"almadia_trace":1,"name":"3 nodes","seed":7,"unit":"ticks","nodes":[1,2,3],"omitted":0,"violation":"..."}
/// ```
///
/// `seed` and `violation` are left out where there is none; `omitted` counts the events that were
/// left out because there were too many. Every other line is one [`TraceEvent`], in the order in
/// which they happened:
///
/// ```json
/// {"step":12,"time":40,"node":2,"kind":"role","role":"candidate","term":3}
/// {"step":12,"time":40,"node":2,"kind":"sent","message":17,"to":3,"name":"RequestVote","term":3,"text":"last log 2/9"}
/// ```
///
/// Numbers that a browser would round (from 2^53 on) are strings. A log position is
/// `[term, index]`. Fields that a reader does not know are skipped; kinds that it does not know
/// come with a new number in `almadia_trace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    header: TraceHeader,
    events: Vec<TraceEvent>,
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TraceHeader {
    /// The version of the format.
    almadia_trace: u64,
    name: String,
    #[serde(with = "number::optional")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    unit: String,
    #[serde(with = "number::list")]
    nodes: Vec<NodeId>,
    omitted: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    violation: Option<String>,
}

/// As much of a header as every version has.
#[derive(Deserialize)]
struct Version {
    almadia_trace: u64,
}

/// Why a trace cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file cannot be read.
    #[error("the trace cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The file does not begin as a trace does.
    #[error(
        "this is no trace: a trace begins with a line like {{\"almadia_trace\":{}, ...}}. \
         `Cluster::take_trace`, a `TraceRecorder` or `five_mem_node --trace FILE` makes one",
        Trace::FORMAT
    )]
    NotATrace,
    /// The file comes from a later version.
    #[error(
        "the trace has format {found}, and this program reads format {} only: \
         use the almadia-harness of the version that wrote the trace, or a later one",
        Trace::FORMAT
    )]
    Newer {
        /// The format of the file.
        found: u64,
    },
    /// A line is not what it should be.
    #[error(
        "line {line} of the trace is damaged ({error}): record the run again. If it is the last \
         line, whoever wrote it was interrupted, and without it the trace can be read"
    )]
    Damaged {
        /// The line, counted from one.
        line: u64,
        /// What is wrong with it.
        error: String,
    },
}

impl Trace {
    /// The version of the format that is written, and the only one that is read.
    pub const FORMAT: u64 = 1;

    /// How many events are kept where nobody says otherwise. A picture of so many is still quick.
    pub const DEFAULT_MAX_EVENTS: usize = 10_000;

    pub(crate) const fn header(&self) -> &TraceHeader {
        &self.header
    }

    /// What was run.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.header.name
    }

    /// The seed of the run, if it had one.
    #[must_use]
    pub const fn seed(&self) -> Option<u64> {
        self.header.seed
    }

    /// What [`TraceEvent::time`] counts: `ticks`, `ms`.
    #[must_use]
    pub fn unit(&self) -> &str {
        &self.header.unit
    }

    /// All nodes that the run has had, ascending.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.header.nodes
    }

    /// How many events were left out because there were too many.
    #[must_use]
    pub const fn omitted(&self) -> u64 {
        self.header.omitted
    }

    /// The promise that was broken, if one was.
    #[must_use]
    pub fn violation(&self) -> Option<&str> {
        self.header.violation.as_deref()
    }

    /// What happened, in order.
    #[must_use]
    pub fn events(&self) -> &[TraceEvent] {
        &self.events
    }

    /// Adds, behind everything else, that a promise was broken; on this node, if it is known. The
    /// first that is broken stays the one of the run.
    pub fn add_violation(&mut self, node: Option<NodeId>, text: impl Into<String>) {
        let text = text.into();
        let (step, time) = self
            .events
            .last()
            .map_or((0, 0), |event| (event.step, event.time));
        self.header.violation.get_or_insert_with(|| text.clone());
        self.events.push(TraceEvent {
            step,
            time,
            node,
            what: What::Violated { text },
        });
    }

    /// Writes the trace: the header, and a line for each event.
    ///
    /// # Errors
    ///
    /// If the output cannot be written.
    pub fn write(&self, mut output: impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut output, &self.header)?;
        output.write_all(b"\n")?;
        for event in &self.events {
            serde_json::to_writer(&mut output, event)?;
            output.write_all(b"\n")?;
        }
        output.flush()
    }

    /// Reads what [`write`](Self::write) has written. Blank lines are skipped.
    ///
    /// # Errors
    ///
    /// If the input cannot be read or is not such a trace; the error says what to do.
    pub fn read(mut input: impl BufRead) -> Result<Self, TraceError> {
        /// Longer than any header, so that a large file of another kind is soon found out.
        const MAX_HEADER_BYTES: u64 = 1 << 20;
        let mut line = Vec::new();
        let first = input.by_ref().take(MAX_HEADER_BYTES);
        { first }.read_until(b'\n', &mut line)?;
        let is_object = line.trim_ascii_start().starts_with(b"{");
        let version = serde_json::from_slice(&line).ok().filter(|_| is_object);
        let version: Version = version.ok_or(TraceError::NotATrace)?;
        if version.almadia_trace > Self::FORMAT {
            let found = version.almadia_trace;
            return Err(TraceError::Newer { found });
        }
        if version.almadia_trace < Self::FORMAT {
            return Err(TraceError::NotATrace);
        }
        let damaged = |line: u64, error: serde_json::Error| TraceError::Damaged {
            line,
            error: error.to_string(),
        };
        let header = serde_json::from_slice(&line).map_err(|error| damaged(1, error))?;
        let mut events = Vec::new();
        for number in 2.. {
            line.clear();
            if input.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            events.push(serde_json::from_slice(&line).map_err(|error| damaged(number, error))?);
        }
        Ok(Self::new(header, events))
    }

    /// Puts the parts together. Every node that an event names is one of the run's.
    fn new(mut header: TraceHeader, events: Vec<TraceEvent>) -> Self {
        let mut nodes: BTreeSet<NodeId> = header.nodes.iter().copied().collect();
        for event in &events {
            nodes.extend(event.node);
            nodes.extend(event.what.other_node());
        }
        header.nodes = nodes.into_iter().collect();
        Self { header, events }
    }
}
