//! A cluster of any peer, in one thread.
//!
//! Owns how messages pass between its nodes. What a node is, and the loop of an embedder around it, stand
//! in the module of each peer.

/// A node of one of the libraries, as the workloads use it. All of this panics if the node refuses.
pub trait Peer {
    /// What its nodes say to each other.
    type Message;

    /// To whom a message goes: an id, from 1.
    fn receiver(message: &Self::Message) -> u64;

    /// Stands for election.
    fn campaign(&mut self);

    /// Whether it leads.
    fn leads(&self) -> bool;

    /// Proposes a command.
    fn propose(&mut self, command: Vec<u8>);

    /// Takes a message.
    fn step(&mut self, message: Self::Message);

    /// Does what the node asks for, and tells how many reads were answered.
    fn work(&mut self, mail: &mut Vec<Self::Message>) -> usize;

    /// Cuts its log if that has grown long.
    fn compact(&mut self);

    /// What it knows to be committed.
    fn committed(&self) -> u64;
}

/// Some nodes, of which the first one leads.
pub struct Cluster<P: Peer> {
    /// The nodes, the one with id 1 first.
    pub nodes: Vec<P>,
    mail: Vec<P::Message>,
    reads: usize,
}

impl<P: Peer> Cluster<P> {
    /// A cluster of these nodes, which has elected nobody.
    #[must_use]
    pub fn of_nodes(nodes: Vec<P>) -> Self {
        Self {
            nodes,
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
        self.nodes[0].campaign();
        self.settle();
        assert!(self.nodes[0].leads());
    }

    /// Lets messages pass until nobody has anything left to do.
    ///
    /// # Panics
    ///
    /// If a node refuses a message.
    pub fn settle(&mut self) {
        loop {
            for node in &mut self.nodes {
                self.reads += node.work(&mut self.mail);
            }
            if self.mail.is_empty() {
                return;
            }
            for message in self.mail.drain(..) {
                let to = P::receiver(&message) as usize - 1;
                self.nodes[to].step(message);
            }
        }
    }

    /// Has the leader propose so many commands, and lets all nodes commit them. Cuts the logs, now and
    /// then.
    ///
    /// # Panics
    ///
    /// If they are not all committed everywhere.
    pub fn commit(&mut self, count: u32, bytes: usize) {
        let before = self.committed();
        for _ in 0..count {
            self.nodes[0].propose(crate::command(bytes));
        }
        self.settle();
        assert_eq!(self.committed(), before + u64::from(count));
        self.nodes.iter_mut().for_each(P::compact);
    }

    /// How many reads were answered since this was asked last.
    pub fn take_reads(&mut self) -> usize {
        std::mem::take(&mut self.reads)
    }

    /// What all nodes know to be committed.
    #[must_use]
    pub fn committed(&self) -> u64 {
        let commits = self.nodes.iter().map(P::committed);
        commits.min().unwrap_or_default()
    }
}
