//! What a process of either kind is to its operator, its clients and its network.
//!
//! Owns the calls that both have. Must not know how they are carried out.

/// A message on its way: to whom, and its bytes.
pub(crate) type Frame = (u64, Vec<u8>);

/// Which implementation a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    RaftRs,
    Almadia,
}

/// What is the same on all nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) pre_vote: bool,
    pub(crate) check_quorum: bool,
}

/// Each node waits for an election by so many ticks more than the one before: who stands first
/// follows from the ids, and no run is another than the one before.
pub(crate) const fn election_timeout(id: u64) -> u64 {
    ELECTION_TIMEOUT + 3 * id
}

/// The least election timeout, in ticks, which is the same on all nodes.
pub(crate) const ELECTION_TIMEOUT: u64 = 10;

pub(crate) trait Process {
    fn kind(&self) -> Kind;
    fn tick(&mut self);
    fn receive(&mut self, bytes: &[u8]);
    fn propose(&mut self, command: &str) -> bool;
    fn campaign(&mut self);
    /// A learner comes, by the old form of a change, or goes, by the new one.
    fn change(&mut self, learner: u64, comes: bool) -> bool;
    fn hand_over(&mut self, to: u64);
    fn leads(&self) -> bool;
    fn leader(&self) -> u64;
    fn term(&self) -> u64;
    fn commit_index(&self) -> u64;
    fn last_index(&self) -> u64;
    fn compact(&mut self);
    /// Does all that the node wants done, and returns what it sends.
    fn work(&mut self) -> Vec<Frame>;
    /// What it sends before it writes anything more.
    fn send_before_writing(&mut self) -> Vec<Frame>;
}
