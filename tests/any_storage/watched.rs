//! A node that is held to its promises at every call.
//!
//! Owns the promises that must hold whatever the storage answers. Drives nothing.

use almadia::{
    AcknowledgeError, CampaignError, ChangeError, Config, Entries, Halted, HardState, LogId,
    LogIndex, MemStorage, Message, ProposeError, RawNode, ReadError, Ready, RequestSnapshotError,
    RoleKind, StepError, Term, TransferError,
};

use super::lying::Lying;

pub(crate) type Node = RawNode<Lying>;

/// Why a node did not do what it was asked for.
pub(crate) trait Refusal: std::error::Error {
    fn halted(&self) -> Option<&Halted>;
}

impl Refusal for Halted {
    fn halted(&self) -> Option<&Halted> {
        Some(self)
    }
}

macro_rules! refusals {
    ($($error:ident),*) => {$(
        impl Refusal for $error {
            fn halted(&self) -> Option<&Halted> {
                if let Self::Halted(halted) = self { Some(halted) } else { None }
            }
        }
    )*};
}

refusals!(
    AcknowledgeError,
    CampaignError,
    ChangeError,
    ProposeError,
    ReadError,
    RequestSnapshotError,
    StepError,
    TransferError
);

/// Where a node has stopped, and why.
#[derive(Debug, PartialEq, Eq)]
struct Stop {
    halted: Halted,
    role: RoleKind,
    hard_state: HardState,
    last_log: LogId,
}

impl Stop {
    fn of(node: &Node) -> Option<Self> {
        Some(Self {
            halted: node.halted()?.clone(),
            role: node.role(),
            hard_state: node.hard_state(),
            last_log: node.last_log(),
        })
    }
}

pub(crate) struct Watched {
    node: Node,
    stop: Option<Stop>,
    term: Term,
    commit_index: LogIndex,
    /// The last index that was handed out to be applied.
    applying: LogIndex,
    /// The last index that was handed out to be persisted.
    persisting: LogIndex,
}

impl Watched {
    pub(crate) fn new(node: Node) -> Self {
        Self {
            stop: None,
            term: node.current_term(),
            commit_index: node.commit_index(),
            applying: node.last_applied(),
            persisting: node.last_log().index,
            node,
        }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn storage_mut(&mut self) -> &mut Lying {
        self.node.storage_mut()
    }

    /// A call that can be refused. A refusal changes nothing, and who has stopped refuses.
    pub(crate) fn call<T, E: Refusal>(
        &mut self,
        call: impl FnOnce(&mut Node) -> Result<T, E>,
    ) -> Option<T> {
        let before = self.node.clone();
        let result = call(&mut self.node);
        let error = match result {
            Ok(value) => {
                assert_eq!(self.node.halted(), None, "who has stopped does nothing");
                self.check();
                return Some(value);
            }
            Err(error) => error,
        };
        assert_eq!(
            self.node.halted(),
            error.halted(),
            "it says that it stopped"
        );
        let stopped_now = self.stop.is_none() && self.node.halted().is_some();
        if !stopped_now {
            assert_eq!(before, self.node, "a refusal changes nothing: {error}");
        }
        self.check();
        None
    }

    /// The same, of whose result nothing more is wanted.
    pub(crate) fn attempt<T, E: Refusal>(&mut self, call: impl FnOnce(&mut Node) -> Result<T, E>) {
        drop(self.call(call));
    }

    /// A call that cannot be refused.
    pub(crate) fn tell<T>(&mut self, call: impl FnOnce(&mut Node) -> T) {
        call(&mut self.node);
        self.check();
    }

    /// A question changes nothing.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Node) -> T) {
        let before = self.node.clone();
        question(&self.node);
        assert_eq!(before, self.node, "a question changes nothing");
    }

    fn check(&mut self) {
        let node = &self.node;
        let stop = Stop::of(node);
        if self.stop.is_some() {
            assert_eq!(stop, self.stop, "who has stopped stays so, where it is");
            assert!(!node.has_ready(), "who has stopped has nothing to say");
        }
        self.stop = stop;
        assert!(node.current_term() >= self.term, "terms never go back");
        self.term = node.current_term();
        assert!(node.commit_index() >= self.commit_index);
        self.commit_index = node.commit_index();
        assert!(node.commit_index() <= node.last_log().index);
        assert!(node.last_log().term <= node.current_term());
    }

    /// The next `Ready`, which must make sense.
    pub(crate) fn ready(&mut self) -> Option<Box<Ready>> {
        let ready = self.call(Node::ready)??;
        if let Some(snapshot) = &ready.snapshot {
            assert!(ready.committed_entries.is_empty());
            self.applying = snapshot.last_included.index;
            self.persisting = snapshot.last_included.index;
        }
        self.applying = self.check_runs(&ready.committed_entries, self.applying);
        // A state machine may be ahead of what is known to be committed when a node starts.
        assert!(
            ready.applies_to().is_none() || self.applying <= self.commit_index,
            "only what is committed"
        );
        assert_eq!(
            ready.applies_to().unwrap_or(self.applying),
            self.applying,
            "what there is to apply"
        );
        if let Some(first) = ready.entries.first().and_then(Entries::first_id) {
            let before = first.index.previous();
            assert!(before <= self.persisting, "no hole on the disk");
            self.persisting = self.check_runs(&ready.entries, before);
            assert_eq!(self.persisting, self.node.last_log().index);
        }
        for message in ready.messages.iter().chain(&ready.messages_after_persist) {
            self.check_message(message);
        }
        Some(ready)
    }

    /// Entries follow each other from behind `last` on. Returns where they end.
    fn check_runs(&self, runs: &[Entries], mut last: LogIndex) -> LogIndex {
        for run in runs {
            let (Some(first), Some(end)) = (run.first_id(), run.last_id()) else {
                panic!("an empty run");
            };
            assert_eq!(first.index, last.next(), "the runs follow each other");
            let before = LogId {
                index: last,
                ..first
            };
            assert!(run.follow(before), "{run:?}");
            assert!(end.term <= self.term, "{run:?} in term {}", self.term);
            last = end.index;
        }
        last
    }

    /// Nobody refuses what this node says as something that makes no sense.
    fn check_message(&self, message: &Message) {
        assert_eq!(message.from, self.node.id());
        let storage = MemStorage::with_voters([message.from, message.to]);
        let receiver = RawNode::new(Config::new(message.to), storage);
        let mut receiver = receiver.expect("a node that knows nothing yet");
        let result = receiver.step(message.clone());
        let makes_no_sense = matches!(
            result,
            Err(StepError::NotForThisNode { .. }
                | StepError::FromThisNode
                | StepError::NotAMember { .. }
                | StepError::TermMissing(_)
                | StepError::TermForbidden(_)
                | StepError::OutOfRange { .. }
                | StepError::MalformedEntries { .. }
                | StepError::SnapshotMembership(_)
                | StepError::SnapshotWithoutThisNode
                | StepError::NoProposals)
        );
        assert!(!makes_no_sense, "{result:?}: {message:?}");
    }
}
