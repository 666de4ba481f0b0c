//! Messages in pieces: what is small is written together, what is large stays where it lies.
//!
//! Owns [`Pieces`], which a transport writes one after the other (`writev`), and [`Encoder`], which
//! serialises the entries for several followers once. Knows nothing of fields.

use std::collections::VecDeque;
use std::sync::Arc;

use almadia::{Body, Entries, Message};
use bytes::{BufMut, Bytes};
use smallvec::SmallVec;

use crate::message;
use crate::wire::{Fields, Length, Sink, Writer};

/// Payloads of fewer bytes are copied, which costs less than one piece more.
const MIN_SHARED_BYTES: usize = 1024;

/// A message as it is to be sent: the pieces one after the other are its bytes.
///
/// Payloads of a kilobyte and more are not copied; they stay in the memory of the entry or the
/// snapshot.
#[derive(Clone, Debug)]
pub struct Pieces {
    /// All of the message, or all but its entries.
    head: Rope,
    /// The entries, which other messages may share.
    entries: Option<Arc<Rope>>,
}

impl Pieces {
    /// The pieces of one message. Where several carry the same entries, an [`Encoder`] makes them.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        Self {
            head: Rope::of(message),
            entries: None,
        }
    }

    /// How many bytes it is altogether.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.len() + self.entries.as_ref().map_or(0, |entries| entries.len())
    }

    /// Whether there are no bytes, which no message comes to.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces in their order, none of them empty. At most two more than twice the number of
    /// payloads of a kilobyte and more.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let entries = self.entries.as_deref().map(Rope::iter);
        let pieces = self.head.iter().chain(entries.into_iter().flatten());
        pieces.filter(|piece| !piece.is_empty())
    }

    /// All of it in bytes of its own: a copy.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.len());
        self.iter().for_each(|piece| bytes.put_slice(piece));
        bytes.into()
    }
}

/// Serialises messages, and entries that go to several followers once.
///
/// A leader sends one run of entries to all followers that keep up; what others catch up with is read
/// for each of them apart, and serialised apart. Keep one of these for a node, or for all groups of a
/// process. It remembers the last few runs, and what they hold stays in memory:
/// [`clear`](Self::clear) it when the messages of a `Ready` are sent.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    /// Runs and their bytes, latest last.
    runs: VecDeque<(Entries, Arc<Rope>)>,
}

impl Encoder {
    /// More runs than this are not remembered.
    const MAX_RUNS: usize = 8;

    /// One that remembers nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes of a message.
    #[must_use]
    pub fn encode(&mut self, message: &Message) -> Pieces {
        if let Body::AppendEntries(append) = &message.body {
            if !append.entries.is_empty() {
                return Pieces {
                    head: Rope::of(&Head(message)),
                    entries: Some(self.run(&append.entries)),
                };
            }
        }
        Pieces::of(message)
    }

    /// Forgets all entries, for instance when no messages are left to be sent.
    pub fn clear(&mut self) {
        self.runs.clear();
    }

    fn run(&mut self, entries: &Entries) -> Arc<Rope> {
        let known = self
            .runs
            .iter()
            .rev()
            .find(|(run, _)| run.is_shared_with(entries));
        if let Some((_, rope)) = known {
            return Arc::clone(rope);
        }
        if self.runs.len() == Self::MAX_RUNS {
            self.runs.pop_front();
        }
        let rope = Arc::new(Rope::of(&Run(entries)));
        self.runs.push_back((entries.clone(), Arc::clone(&rope)));
        rope
    }
}

/// A message without its entries.
struct Head<'a>(&'a Message);

impl Fields for Head<'_> {
    fn put(&self, sink: &mut impl Sink) {
        message::put_head(self.0, sink);
    }
}

/// The entries of a message.
struct Run<'a>(&'a Entries);

impl Fields for Run<'_> {
    fn put(&self, sink: &mut impl Sink) {
        message::put_log_entries(self.0, sink);
    }
}

/// Bytes into which others are woven.
#[derive(Clone, Debug, Default)]
struct Rope {
    written: Vec<u8>,
    shared: Payloads,
}

/// Payloads, and how much is written before each. Most messages that have any have one.
type Payloads = SmallVec<[(usize, Bytes); 1]>;

impl Rope {
    fn of(fields: &impl Fields) -> Self {
        let mut count = 0;
        let mut weighed = Apart {
            sink: Length::default(),
            apart: |_: &mut Length, _: &Bytes| count += 1,
        };
        fields.put(&mut weighed);
        let mut written = Vec::with_capacity(weighed.sink.0);
        let mut shared = Payloads::with_capacity(count);
        let mut woven = Apart {
            sink: Writer::new(&mut written),
            apart: |writer: &mut Writer<'_, Vec<u8>>, payload: &Bytes| {
                shared.push((writer.flushed().len(), payload.clone()));
            },
        };
        fields.put(&mut woven);
        woven.sink.flush();
        Self { written, shared }
    }

    fn len(&self) -> usize {
        let shared: usize = self.shared.iter().map(|(_, payload)| payload.len()).sum();
        self.written.len() + shared
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.shared.iter().map(|&(end, _)| end);
        let begins = [0].into_iter().chain(ends);
        let woven = begins.zip(&self.shared);
        let woven =
            woven.flat_map(|(begin, (end, payload))| [&self.written[begin..*end], &**payload]);
        let last = self.shared.last().map_or(0, |&(end, _)| end);
        woven.chain([&self.written[last..]])
    }
}

/// Puts everything into a sink, but for large payloads: those are left to somebody else.
struct Apart<S, A> {
    sink: S,
    apart: A,
}

impl<S: Sink, A: FnMut(&mut S, &Bytes)> Sink for Apart<S, A> {
    #[inline(always)]
    fn head(&mut self, head: u32, number: u64) {
        self.sink.head(head, number);
    }

    #[inline(always)]
    fn varint(&mut self, number: u64) {
        self.sink.varint(number);
    }

    #[inline(always)]
    fn raw(&mut self, bytes: &[u8]) {
        self.sink.raw(bytes);
    }

    #[inline(always)]
    fn payload(&mut self, number: u32, payload: &Bytes) {
        if payload.len() < MIN_SHARED_BYTES {
            self.bytes(number, payload);
        } else {
            self.begin(number, payload.len());
            (self.apart)(&mut self.sink, payload);
        }
    }
}
