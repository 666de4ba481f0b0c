//! Tells a recorder what happens, if `--trace` asks for it.
//!
//! Owns the clock of the trace and what is worth telling. Everything here does nothing without
//! `--trace`, and nothing else depends on it.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Instant;

use almadia::{MemStorage, Message, NodeId, Observer, RawNode, Ready};
use almadia_harness::{Trace, TraceRecorder, What};

/// One for the whole program; every node has a clone.
#[derive(Clone, Default)]
pub(crate) struct Tracer(Option<Recording>);

#[derive(Clone)]
struct Recording {
    recorder: TraceRecorder,
    begin: Instant,
}

impl Tracer {
    /// A tracer that records.
    pub(crate) fn recording() -> Self {
        let most = Trace::DEFAULT_MAX_EVENTS;
        Self(Some(Recording {
            recorder: TraceRecorder::new("five_mem_node", "ms", most),
            begin: Instant::now(),
        }))
    }

    /// The recorder, told what time it is.
    fn now(&self) -> Option<&TraceRecorder> {
        let recording = self.0.as_ref()?;
        let elapsed = recording.begin.elapsed().as_millis();
        let recorder = &recording.recorder;
        recorder.set_time(u64::try_from(elapsed).unwrap_or(u64::MAX));
        Some(recorder)
    }

    /// For the node itself, which tells more than can be seen from outside.
    pub(crate) fn observer(&self) -> Option<Arc<dyn Observer>> {
        let recording = self.0.as_ref()?;
        Some(Arc::new(recording.recorder.clone()))
    }

    pub(crate) fn started(&self, node: &RawNode<MemStorage>) {
        if let Some(recorder) = self.now() {
            recorder.started(node);
        }
    }

    pub(crate) fn stopped(&self, node: NodeId) {
        if let Some(recorder) = self.now() {
            recorder.stopped(node, "it was stopped");
        }
    }

    pub(crate) fn sent(&self, message: &Message) {
        if let Some(recorder) = self.now() {
            recorder.sent(message);
        }
    }

    pub(crate) fn delivered(&self, message: &Message) {
        if let Some(recorder) = self.now() {
            recorder.delivered(message);
        }
    }

    pub(crate) fn lost(&self, message: &Message) {
        if let Some(recorder) = self.now() {
            recorder.lost(message, "the receiver does not run");
        }
    }

    pub(crate) fn persisted(&self, node: NodeId, ready: &Ready) {
        if let Some(recorder) = self.now() {
            recorder.persisted(node, ready);
        }
    }

    /// To be called after every round of the run loop.
    pub(crate) fn observe(&self, node: &RawNode<MemStorage>) {
        if let Some(recorder) = self.now() {
            recorder.observe(node);
        }
    }

    pub(crate) fn record(&self, node: NodeId, what: What) {
        if let Some(recorder) = self.now() {
            recorder.record(Some(node), what);
        }
    }

    /// A line for all nodes.
    pub(crate) fn note(&self, line: &impl Display) {
        if let Some(recorder) = self.now() {
            let text = line.to_string();
            recorder.record(None, What::Note { text });
        }
    }

    /// What was promised and is not so.
    pub(crate) fn violated(&self, text: impl Display) {
        if let Some(recorder) = self.now() {
            recorder.violated(None, text.to_string());
        }
    }

    /// The trace of everything so far.
    pub(crate) fn finish(&self) -> Option<Trace> {
        self.0.as_ref().map(|recording| recording.recorder.finish())
    }
}
