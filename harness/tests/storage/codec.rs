//! Records of the store of these tests as bytes.
//!
//! Owns the format: a record is a size, a checksum and items. Must not know files.

use std::sync::Arc;

use almadia::{
    Bytes, ChangeForm, ConfState, Entry, HardState, LogId, LogIndex, MemberChange,
    MembershipChange, NodeId, Payload, Snapshot, Term, Transition,
};
use almadia_harness::Digest;

/// What a record may hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    Members(ConfState),
    HardState(HardState),
    /// In the place of the log.
    Installed(Snapshot),
    Saved(Snapshot),
    Entry(Entry),
    /// The entry before the first.
    Base(LogId),
}

/// The bytes before the items of a record: their size and their checksum.
pub(crate) const HEADER_BYTES: usize = 4 + 8;

/// A record, and where in it the entries stand.
pub(crate) fn encode(items: &[Item]) -> (Vec<u8>, Vec<(usize, usize)>) {
    let mut bytes = vec![0; HEADER_BYTES];
    let mut entries = Vec::new();
    for item in items {
        let start = bytes.len();
        put_item(&mut bytes, item);
        if let Item::Entry(_) = item {
            entries.push((start, bytes.len() - start));
        }
    }
    let body = &bytes[HEADER_BYTES..];
    let size = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let sum = checksum(body);
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    bytes[4..HEADER_BYTES].copy_from_slice(&sum.to_be_bytes());
    (bytes, entries)
}

pub(crate) fn checksum(body: &[u8]) -> u64 {
    Digest::of(&body)
}

/// The size and the checksum that a header tells.
pub(crate) fn header(bytes: &[u8]) -> Option<(usize, u64)> {
    let (size, rest) = bytes.split_first_chunk()?;
    let (sum, _) = rest.split_first_chunk()?;
    let size = usize::try_from(u32::from_be_bytes(*size)).ok()?;
    Some((size, u64::from_be_bytes(*sum)))
}

/// The items of a record's body, each with where it stands there.
pub(crate) fn decode(body: &[u8]) -> Option<Vec<(Item, usize, usize)>> {
    let mut reader = Reader { rest: body };
    let mut items = Vec::new();
    while !reader.rest.is_empty() {
        let start = body.len() - reader.rest.len();
        let item = reader.item()?;
        items.push((item, start, body.len() - reader.rest.len() - start));
    }
    Some(items)
}

fn put_item(bytes: &mut Vec<u8>, item: &Item) {
    match item {
        Item::Members(members) => {
            bytes.push(0);
            put_conf_state(bytes, members);
        }
        Item::HardState(hard_state) => {
            bytes.push(1);
            let vote = hard_state.voted_for.map_or(0, NodeId::get);
            put_numbers(
                bytes,
                &[hard_state.current_term.0, vote, hard_state.commit_index.0],
            );
        }
        Item::Installed(snapshot) => put_snapshot(bytes, 2, snapshot),
        Item::Saved(snapshot) => put_snapshot(bytes, 3, snapshot),
        Item::Entry(entry) => {
            bytes.push(4);
            put_numbers(bytes, &[entry.id.term.0, entry.id.index.0]);
            match &entry.payload {
                Payload::Data(data) => {
                    bytes.push(0);
                    put_bytes(bytes, data);
                }
                Payload::Change(change) => {
                    bytes.push(1);
                    put_change(bytes, change);
                }
            }
            put_bytes(bytes, &entry.context);
        }
        Item::Base(id) => {
            bytes.push(5);
            put_numbers(bytes, &[id.term.0, id.index.0]);
        }
    }
}

fn put_numbers(bytes: &mut Vec<u8>, numbers: &[u64]) {
    bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
}

fn put_bytes(bytes: &mut Vec<u8>, content: &[u8]) {
    put_numbers(bytes, &[content.len() as u64]);
    bytes.extend_from_slice(content);
}

fn put_nodes(bytes: &mut Vec<u8>, nodes: &[NodeId]) {
    put_numbers(bytes, &[nodes.len() as u64]);
    nodes
        .iter()
        .for_each(|node| put_numbers(bytes, &[node.get()]));
}

fn put_conf_state(bytes: &mut Vec<u8>, conf_state: &ConfState) {
    for nodes in [
        &conf_state.voters,
        &conf_state.learners,
        &conf_state.voters_outgoing,
        &conf_state.learners_next,
    ] {
        put_nodes(bytes, nodes);
    }
    bytes.push(u8::from(conf_state.auto_leave));
}

fn put_snapshot(bytes: &mut Vec<u8>, tag: u8, snapshot: &Snapshot) {
    bytes.push(tag);
    let id = snapshot.last_included;
    put_numbers(bytes, &[id.term.0, id.index.0]);
    put_conf_state(bytes, &snapshot.conf_state);
    put_bytes(bytes, &snapshot.data);
}

fn put_change(bytes: &mut Vec<u8>, change: &MembershipChange) {
    put_numbers(bytes, &[change.changes.len() as u64]);
    for change in &change.changes {
        bytes.push(match change {
            MemberChange::AddVoter(_) => 0,
            MemberChange::AddLearner(_) => 1,
            MemberChange::Remove(_) => 2,
            MemberChange::Nothing => 3,
        });
        put_numbers(bytes, &[change.node().map_or(0, NodeId::get)]);
    }
    bytes.push(match change.transition {
        Transition::Auto => 0,
        Transition::Implicit => 1,
        Transition::Explicit => 2,
    });
    match change.form {
        ChangeForm::V1 { id } => {
            bytes.push(1);
            put_numbers(bytes, &[id]);
        }
        ChangeForm::V2 => bytes.push(2),
    }
    put_bytes(bytes, &change.context);
}

/// What is left of a body.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn item(&mut self) -> Option<Item> {
        Some(match self.byte()? {
            0 => Item::Members(self.conf_state()?),
            1 => Item::HardState(HardState {
                current_term: Term(self.number()?),
                voted_for: NodeId::new(self.number()?),
                commit_index: LogIndex(self.number()?),
            }),
            2 => Item::Installed(self.snapshot()?),
            3 => Item::Saved(self.snapshot()?),
            4 => Item::Entry(self.entry()?),
            5 => Item::Base(self.id()?),
            _ => return None,
        })
    }

    fn entry(&mut self) -> Option<Entry> {
        let id = self.id()?;
        let payload = match self.byte()? {
            0 => Payload::Data(self.bytes()?),
            1 => Payload::Change(Arc::new(self.change()?)),
            _ => return None,
        };
        let context = self.bytes()?;
        Some(Entry {
            id,
            payload,
            context,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn number(&mut self) -> Option<u64> {
        let (first, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u64::from_be_bytes(*first))
    }

    fn id(&mut self) -> Option<LogId> {
        Some(LogId::new(self.number()?, self.number()?))
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let size = usize::try_from(self.number()?).ok()?;
        let (first, rest) = self.rest.split_at_checked(size)?;
        self.rest = rest;
        Some(Bytes::copy_from_slice(first))
    }

    fn nodes(&mut self) -> Option<Vec<NodeId>> {
        let count = self.number()?;
        (0..count).map(|_| NodeId::new(self.number()?)).collect()
    }

    fn conf_state(&mut self) -> Option<ConfState> {
        Some(ConfState {
            voters: self.nodes()?,
            learners: self.nodes()?,
            voters_outgoing: self.nodes()?,
            learners_next: self.nodes()?,
            auto_leave: self.byte()? == 1,
        })
    }

    fn snapshot(&mut self) -> Option<Snapshot> {
        Some(Snapshot {
            last_included: self.id()?,
            conf_state: self.conf_state()?,
            data: self.bytes()?,
        })
    }

    fn change(&mut self) -> Option<MembershipChange> {
        let count = self.number()?;
        let changes = (0..count).map(|_| {
            let kind = self.byte()?;
            let node = NodeId::new(self.number()?);
            match kind {
                0 => Some(MemberChange::AddVoter(node?)),
                1 => Some(MemberChange::AddLearner(node?)),
                2 => Some(MemberChange::Remove(node?)),
                3 => Some(MemberChange::Nothing),
                _ => None,
            }
        });
        let changes = changes.collect::<Option<Vec<_>>>()?;
        let transition = match self.byte()? {
            0 => Transition::Auto,
            1 => Transition::Implicit,
            2 => Transition::Explicit,
            _ => return None,
        };
        let form = match self.byte()? {
            1 => ChangeForm::V1 { id: self.number()? },
            2 => ChangeForm::V2,
            _ => return None,
        };
        let context = self.bytes()?;
        Some(MembershipChange {
            changes,
            transition,
            context,
            form,
        })
    }
}
