//! The network between the nodes: messages on their way, and which links carry them.
//!
//! Owns order, loss and partitions. Must not know what messages mean.

use std::collections::BTreeSet;

use almadia::{Body, Message, NodeId};

use crate::action::OnLink;

/// Messages on their way, and the links that are cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    in_flight: Vec<Message>,
    /// Messages that take long, each with the time at which it is among the others again.
    delayed: Vec<(u64, Message)>,
    /// Links that carry nothing, each as (from, to).
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Nodes whose mail takes long.
    slow: BTreeSet<NodeId>,
}

impl Network {
    /// Puts a message on its way. The cut is felt on arrival.
    pub(crate) fn send(&mut self, message: Message) {
        self.in_flight.push(message);
    }

    /// Keeps a message back until `due`.
    pub(crate) fn delay(&mut self, message: Message, due: u64) {
        self.delayed.push((due, message));
    }

    /// Lets the messages arrive that were kept back until `now`.
    pub(crate) fn release(&mut self, now: u64) {
        for (due, message) in std::mem::take(&mut self.delayed) {
            if due <= now {
                self.send(message);
            } else {
                self.delay(message, due);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.in_flight.len()
    }

    pub(crate) fn messages(&self) -> &[Message] {
        &self.in_flight
    }

    /// Takes the message at this position off the network.
    pub(crate) fn take(&mut self, position: usize) -> Option<Message> {
        (position < self.in_flight.len()).then(|| self.in_flight.remove(position))
    }

    /// The name of the message at this position.
    pub(crate) fn place(&self, position: usize) -> Option<OnLink> {
        let message = self.in_flight.get(position)?;
        let is_older = |older: &&Message| older.from == message.from && older.to == message.to;
        Some(OnLink {
            from: message.from.get(),
            to: message.to.get(),
            older: self.in_flight[..position].iter().filter(is_older).count(),
        })
    }

    fn position(&self, place: OnLink) -> Option<usize> {
        let is_on_link =
            |message: &Message| message.from.get() == place.from && message.to.get() == place.to;
        let on_link = self.in_flight.iter().enumerate();
        let mut on_link = on_link.filter(|(_, message)| is_on_link(message));
        on_link.nth(place.older).map(|(position, _)| position)
    }

    /// Takes the message of this name off the network.
    pub(crate) fn take_from(&mut self, place: OnLink) -> Option<Message> {
        self.take(self.position(place)?)
    }

    /// Sends a copy of the message of this name. Raft tells no copy of a proposal from another
    /// proposal, so whoever forwards some must see to it that there is none.
    pub(crate) fn duplicate(&mut self, place: OnLink) {
        let original = self.position(place).map(|at| &self.in_flight[at]);
        let original = original.filter(|it| !matches!(it.body, Body::Propose(_)));
        if let Some(copy) = original.cloned() {
            self.send(copy);
        }
    }

    /// Takes the first message for which `wanted` holds.
    pub(crate) fn take_first(&mut self, wanted: impl Fn(&Message) -> bool) -> Option<Message> {
        let position = self.in_flight.iter().position(wanted)?;
        self.take(position)
    }

    pub(crate) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cut.contains(&(from, to))
    }

    /// Whether no link is cut.
    pub(crate) fn is_whole(&self) -> bool {
        self.cut.is_empty()
    }

    pub(crate) fn cut(&mut self, from: NodeId, to: NodeId) {
        if from != to {
            self.cut.insert((from, to));
        }
    }

    /// From now on, mail to this node takes long.
    pub(crate) fn slow_down(&mut self, to: NodeId) {
        self.slow.insert(to);
    }

    pub(crate) fn is_slow(&self, to: u64) -> bool {
        NodeId::new(to).is_some_and(|to| self.slow.contains(&to))
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.slow.clear();
    }
}
