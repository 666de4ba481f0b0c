//! The search: breadth first, so that the first violation has the shortest way to it.
//!
//! Owns which situations were visited, and the way to each. Must not know what a situation means.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Everything that was visited, as fingerprints of 64 bits, and how it was reached.
///
/// Two situations with one fingerprint are taken for one. Among n of them the probability that any
/// two are is below n² / 2⁶⁵: one in ten thousand for sixty million.
#[derive(Debug, Default)]
pub(super) struct Visited {
    fingerprints: HashSet<u64, BuildHasherDefault<Itself>>,
    /// From which situation each was reached first, in the order of their discovery.
    parents: Vec<u32>,
    /// By which of that one's actions.
    actions: Vec<u16>,
}

/// A fingerprint is a hash already.
#[derive(Debug, Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
}

impl Visited {
    /// What a situation is known by.
    pub(super) fn fingerprint(situation: &[u8]) -> u64 {
        let mut hasher = rustc_hash::FxHasher::default();
        situation.hash(&mut hasher);
        hasher.finish()
    }

    /// Notes a situation, and how it was reached. Returns whether it is new.
    pub(super) fn visit(&mut self, fingerprint: u64, parent: usize, action: usize) -> bool {
        let is_new = self.fingerprints.insert(fingerprint);
        if is_new {
            self.parents.push(u32::try_from(parent).unwrap_or(u32::MAX));
            self.actions.push(u16::try_from(action).unwrap_or(u16::MAX));
        }
        is_new
    }

    /// How many situations there are.
    pub(super) fn len(&self) -> usize {
        self.parents.len()
    }

    /// The actions that lead to the situation of this number, by their positions in the list of
    /// actions of each. The first situation is its own parent.
    pub(super) fn way_to(&self, number: usize) -> Vec<usize> {
        let mut way = Vec::new();
        let mut at = number;
        while at > 0 {
            way.push(usize::from(self.actions[at]));
            at = self.parents[at] as usize;
        }
        way.reverse();
        way
    }
}

/// Situations that were reached and not looked up yet. Looked up one right after the other, they
/// wait for memory together and not each by itself.
#[derive(Debug, Default)]
pub(super) struct Reached {
    situations: Row,
    /// The fingerprint of each, the number of the situation from which it was reached, and the
    /// position of the action.
    ways: Vec<(u64, usize, usize)>,
}

impl Reached {
    pub(super) fn push(&mut self, situation: &[u8], (parent, action): (usize, usize)) {
        self.situations.push(situation);
        self.ways
            .push((Visited::fingerprint(situation), parent, action));
    }

    /// Whether it is time to look them up.
    pub(super) fn is_many(&self) -> bool {
        self.ways.len() > 1000
    }

    /// Notes them all, and appends those that are new.
    pub(super) fn visit(&mut self, visited: &mut Visited, new: &mut Row) {
        for (&(fingerprint, parent, action), situation) in
            self.ways.iter().zip(self.situations.iter())
        {
            if visited.visit(fingerprint, parent, action) {
                new.push(situation);
            }
        }
        self.situations.clear();
        self.ways.clear();
    }
}

/// Situations one after the other, as bytes, each behind its length.
#[derive(Debug, Default)]
pub(super) struct Row {
    bytes: Vec<u8>,
    len: usize,
}

impl Row {
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, situation: &[u8]) {
        let length = u16::try_from(situation.len());
        let length = length.expect("a situation takes some dozen bytes");
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend_from_slice(situation);
        self.len += 1;
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.len = 0;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (&length, behind) = rest.split_first_chunk()?;
            let (situation, behind) = behind.split_at(usize::from(u16::from_le_bytes(length)));
            rest = behind;
            Some(situation)
        })
    }
}
