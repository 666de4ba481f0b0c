//! Some nodes in one thread, and the messages between them.
//!
//! Owns the loop around all nodes; what is done for one of them is the library's side.

use crate::library::{Library, Settings};
use crate::{KEPT, command};

/// Some nodes, of which the first one leads.
pub struct Cluster<L: Library> {
    /// The nodes, the one with id 1 first.
    pub nodes: Vec<L::Node>,
    mail: Vec<L::Message>,
    reads: usize,
}

impl<L: Library> Cluster<L> {
    /// A cluster that has elected node 1.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let stores = (0..settings.voters).map(|_| L::store(settings.voters));
        let mut cluster = Self::on(settings, stores.collect());
        cluster.elect();
        cluster
    }

    /// A cluster on these logs, which has elected nobody.
    #[must_use]
    pub fn on(settings: &Settings, stores: Vec<L::Store>) -> Self {
        let nodes = (1..).zip(stores);
        let nodes = nodes.map(|(id, store)| L::node(id, settings, store));
        Self {
            nodes: nodes.collect(),
            mail: Vec::new(),
            reads: 0,
        }
    }

    /// Makes node 1 the leader.
    ///
    /// # Panics
    ///
    /// If it is not elected.
    pub fn elect(&mut self) {
        L::campaign(&mut self.nodes[0]);
        self.settle();
        assert!(L::leads(&self.nodes[0]));
    }

    /// Lets messages pass until nobody has anything left to do.
    pub fn settle(&mut self) {
        loop {
            for node in &mut self.nodes {
                self.reads += L::work(node, &mut self.mail);
            }
            if self.mail.is_empty() {
                return;
            }
            for message in self.mail.drain(..) {
                let to = L::to(&message) as usize - 1;
                L::step(&mut self.nodes[to], message);
            }
        }
    }

    /// Has the leader propose so many commands, and lets all nodes commit them.
    pub fn commit(&mut self, count: u64, bytes: usize) {
        for _ in 0..count {
            L::propose(&mut self.nodes[0], command(bytes));
        }
        self.settle();
    }

    /// Cuts the logs, now and then.
    pub fn compact(&mut self) {
        self.cut(KEPT, 0);
    }

    /// Cuts the logs so that they keep so many entries that are applied, if they have more than `most`.
    pub fn cut(&mut self, most: u64, kept: u64) {
        for node in &mut self.nodes {
            L::cut(node, most, kept);
        }
    }

    /// How many reads were answered since this was asked last.
    pub fn take_reads(&mut self) -> usize {
        std::mem::take(&mut self.reads)
    }

    /// What all nodes know to be committed.
    #[must_use]
    pub fn committed(&self) -> u64 {
        let committed = self.nodes.iter().map(L::committed);
        committed.min().unwrap_or_default()
    }
}
