//! The recording of a run, if somebody wants it.
//!
//! Owns what of a cluster is worth an event. Must not change anything: a run that is recorded is
//! the same run. Without a recorder each call here is one comparison.

use std::sync::{Mutex, MutexGuard, PoisonError};

use almadia::{Bytes, Event, Message, NodeId, Observer};

use super::Cluster;
use crate::disk::Write;
use crate::embedder::Embedder;
use crate::trace::{Trace, TraceRecorder, What};
use crate::unreliable::Answers;
use crate::violation::ViolationKind;

/// Holds what a node has told, until the call that made it tell has ended.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    /// `None` while nobody records.
    told: Mutex<Option<Vec<What>>>,
}

impl Tap {
    fn open(&self) {
        self.lock().get_or_insert_default();
    }

    fn close(&self) {
        *self.lock() = None;
    }

    fn take(&self) -> Vec<What> {
        self.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Forgets what was told. To be called after a clone was tried out: it tells as its original
    /// would.
    pub(crate) fn forget(&self) {
        drop(self.take());
    }

    /// A node that panics has told whole events until then.
    fn lock(&self) -> MutexGuard<'_, Option<Vec<What>>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Tap {
    fn on_event(&self, _: NodeId, event: &Event<'_>) {
        if let Some(told) = &mut *self.lock() {
            told.push(What::told(event));
        }
    }
}

impl<E: Embedder> Cluster<E> {
    /// From now on what happens is recorded under this name. About `max_events` events are kept;
    /// [`Trace::DEFAULT_MAX_EVENTS`] is a good number. The run itself is not changed by this.
    ///
    /// ```
    /// use almadia_harness::{Cluster, Trace};
    ///
    /// let mut cluster = Cluster::new(3, 42);
    /// cluster.record("an election", Trace::DEFAULT_MAX_EVENTS);
    /// cluster.campaign(1);
    /// cluster.deliver_all();
    /// let trace = cluster.take_trace().expect("the run is recorded");
    /// let page = almadia_harness::timeline(&trace);
    /// assert!(page.starts_with("<!doctype html>"));
    /// ```
    pub fn record(&mut self, name: impl Into<String>, max_events: usize) {
        let recorder = TraceRecorder::new(name, "ticks", max_events);
        recorder.set_seed(self.seed);
        self.recorder = Some(recorder);
        for at in 0..self.hosts.len() {
            self.hosts[at].tap.open();
            self.tell_start(at);
        }
    }

    /// What was recorded since [`record`](Self::record) was called; recording ends. `None` if it
    /// was not called. Also to be called after a panic, for the trace up to there.
    pub fn take_trace(&mut self) -> Option<Trace> {
        // A call that did not end normally has left something here.
        for at in 0..self.hosts.len() {
            self.tell_changes(at);
            self.hosts[at].tap.close();
        }
        self.recorder.take().map(|recorder| recorder.finish())
    }

    /// Whoever records, told the present moment.
    fn recorder(&self) -> Option<&TraceRecorder> {
        let recorder = self.recorder.as_ref()?;
        recorder.set_step(self.stats.steps);
        recorder.set_time(self.now);
        Some(recorder)
    }

    /// Something has happened on a node.
    pub(super) fn tell(&self, at: usize, what: impl FnOnce() -> What) {
        if let Some(recorder) = self.recorder() {
            recorder.record(Some(self.hosts[at].id), what());
        }
    }

    /// Something was called on a node: what it has told meanwhile, and what can be seen.
    pub(super) fn tell_changes(&self, at: usize) {
        let Some(recorder) = self.recorder() else {
            return;
        };
        let host = &self.hosts[at];
        for what in host.tap.take() {
            recorder.record(Some(host.id), what);
        }
        if let Some(node) = &host.node {
            recorder.looked(&node.look());
        }
    }

    pub(super) fn tell_start(&self, at: usize) {
        let host = &self.hosts[at];
        if let (Some(recorder), Some(node)) = (self.recorder(), &host.node) {
            host.tap.forget();
            recorder.started_at(&node.look(), node.membership());
        }
    }

    /// A node is about to crash.
    pub(super) fn tell_crash(&self, at: usize, kept: usize) {
        self.tell(at, || {
            let pending = self.hosts[at].disk.pending.len();
            let kept = kept.min(pending);
            let text = match (pending, kept) {
                (0, _) => "no write was pending".into(),
                (pending, 0) => format!("{pending} pending writes are lost"),
                (pending, kept) => format!("{kept} of {pending} pending writes became durable"),
            };
            What::Crashed { text }
        });
    }

    pub(super) fn tell_sent(&self, message: &Message) {
        if let Some(recorder) = self.recorder() {
            recorder.sent(message);
        }
    }

    pub(super) fn tell_delivered(&self, message: &Message) {
        if let Some(recorder) = self.recorder() {
            recorder.delivered(message);
        }
    }

    pub(super) fn tell_lost(&self, message: &Message) {
        let Some(recorder) = self.recorder() else {
            return;
        };
        let receiver = self.hosts.iter().find(|host| host.id == message.to);
        let why = if receiver.is_none_or(|host| host.node.is_none()) {
            "the receiver is down"
        } else if self.network.is_cut(message.from, message.to) {
            "the link is cut"
        } else {
            "lost on the way"
        };
        recorder.lost(message, why);
    }

    pub(super) fn tell_persisted(&self, at: usize, write: &Write) {
        let Some(recorder) = self.recorder() else {
            return;
        };
        let snapshot = write.snapshot.as_ref();
        let what = What::persisted(write.number, snapshot, &write.entries, write.hard_state);
        if let Some(what) = what {
            recorder.record(Some(self.hosts[at].id), what);
        }
    }

    /// Something has happened to what this node has sent.
    pub(super) fn tell_note(&self, node: NodeId, text: impl FnOnce() -> String) {
        if let Some(at) = self.hosts.iter().position(|host| host.id == node) {
            self.tell(at, || What::Note { text: text() });
        }
    }

    /// A storage answers otherwise from now on.
    pub(super) fn tell_answers(&self, at: usize, before: Answers, now: Answers) {
        let text = match now {
            Answers::Sound => "its storage answers as it should",
            Answers::Later => "its storage has to fetch what it is asked for",
            Answers::Failing => "its storage cannot be read",
        };
        if before != now {
            self.tell(at, || What::Note { text: text.into() });
        }
    }

    pub(super) fn tell_read(&self, at: usize, context: &Bytes, by_lease: bool) {
        self.tell(at, || What::read_asked(context, by_lease));
    }

    /// All links are about to be whole again.
    pub(super) fn tell_healed(&self) {
        if let Some(recorder) = self.recorder().filter(|_| !self.network.is_whole()) {
            recorder.record(None, What::Healed { to: None });
        }
    }

    pub(super) fn tell_violation(&self, kind: &ViolationKind) {
        if let Some(recorder) = self.recorder() {
            recorder.violated(kind.node(), kind.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cluster;
    use crate::host::Settings;
    use crate::trace::{Trace, What};

    /// How many notes a run leaves.
    fn notes(voters: u64, others: u64, run: impl Fn(&mut Cluster)) -> usize {
        let mut cluster = Cluster::with_settings(voters, others, 3, Settings::default());
        cluster.record("notes", Trace::DEFAULT_MAX_EVENTS);
        run(&mut cluster);
        let trace = cluster.take_trace().unwrap_or_else(|| unreachable!());
        let events = trace.events().iter();
        let notes = events.filter(|event| matches!(event.what, What::Note { .. }));
        notes.count()
    }

    /// Ticks at once are tried out on a clone. What that tells did not happen.
    #[test]
    fn what_a_clone_tells_of_ticks_is_not_recorded() {
        // The second node has no vote, and says so whenever an election is due.
        let one_by_one = notes(1, 1, |cluster| (0..100).for_each(|_| cluster.tick_at(1)));
        let at_once = notes(1, 1, |cluster| cluster.tick_many_at(1, 100));
        assert!(one_by_one > 0);
        assert_eq!(at_once, one_by_one);
    }

    /// So are transfers.
    #[test]
    fn what_a_clone_tells_of_transfers_is_not_recorded() {
        let told = notes(3, 0, |cluster| {
            cluster.campaign(1);
            cluster.deliver_all();
            cluster.propose(1, "what nobody has yet");
            cluster.is_instant = false;
            let [_, second, third] = [0, 1, 2].map(|at| cluster.hosts[at].id);
            // Each takes the place of the one before, whose end waits to be told.
            for transferee in [second, third, second] {
                cluster.transfer_at(0, transferee);
            }
            cluster.pump(0);
        });
        assert_eq!(told, 3 + 2, "three are asked for, two have ended");
    }
}
