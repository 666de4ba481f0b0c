//! The two nodes that are compared, and what a comparison of one input consists of.
//!
//! Owns the order: the input is given to almadia, then, as the rules have it, to raft-rs; both do
//! all that follows; what they did and what they are now is compared. What a rule does *before*
//! raft-rs gets the input stands in `give.rs` and `votes.rs`, *after* it in `follow.rs`; the
//! comparison of messages is in `messages.rs`, of reads in `reads.rs`, of the leaders' views of
//! their peers in `peers.rs`.

use std::collections::BTreeMap;
use std::fmt;

use almadia::{
    Body, Bytes, Config, Entry, LogIndex, MemStorage, MemberChange, Membership, MembershipChange,
    Message, NodeId, Payload, RoleKind, Storage as _,
};
use raft::StateRole;

use crate::disk::Disk;
use crate::ours::{Ours, Output};
use crate::peers::View;
use crate::reads::Reads;
use crate::rules::{Counts, Rule};
use crate::theirs::{self, Theirs};

/// What happens to a node.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Tick,
    Message(Message),
    Propose(Bytes),
    Change(MembershipChange),
    Read(Bytes),
    Transfer(NodeId),
    Campaign,
    Ping,
    Unreachable(NodeId),
    SnapshotReported { peer: NodeId, delivered: bool },
    Compact(LogIndex),
    Restart,
}

/// Why a case goes no further.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Nobody has decided this.
    Difference(String),
    /// From here on the two are nodes in different states, as decided.
    Parted(Rule),
}

impl Stop {
    /// Adds what raft-rs knew of the peer whose message it was.
    fn after(self, before: &Before, input: &Input) -> Self {
        let (Self::Difference(difference), Input::Message(message)) = (&self, input) else {
            return self;
        };
        let Some(view) = before.peers.get(&message.from) else {
            return self;
        };
        let from = message.from;
        Self::Difference(format!("{difference}\n  before, {from} was {view:?}"))
    }
}

/// What was there before an input; the same on both sides.
pub(crate) struct Before {
    pub(crate) role: RoleKind,
    pub(crate) term: u64,
    pub(crate) leader: Option<NodeId>,
    pub(crate) commit_index: LogIndex,
    pub(crate) election_elapsed: usize,
    pub(crate) peers: BTreeMap<NodeId, raft::Progress>,
    pub(crate) membership: Membership,
    /// Whether this leader hands over.
    pub(crate) is_transferring: bool,
    /// Who has been removed and added again by one change, in this very step.
    pub(crate) added_again: Vec<NodeId>,
    /// To whom almadia could not send what the storage had not.
    pub(crate) fetching: Vec<NodeId>,
}

pub(crate) struct Pair {
    pub(crate) ours: Ours,
    pub(crate) theirs: Theirs,
    pub(crate) rules: Counts,
    pub(crate) settings: Settings,
    /// What the leader knows about what it has told, and the driver has to know too.
    pub(crate) views: BTreeMap<NodeId, View>,
    pub(crate) reads: Reads,
    /// Whether a quorum had answered this leader at the last check, whether or not it is in force.
    pub(crate) has_quorum: bool,
    /// Ticks since a leader was heard.
    pub(crate) quiet_ticks: u32,
    /// Whether raft-rs was given reads in this step that had to wait.
    pub(crate) has_asked_late: bool,
    /// For how many ticks almadia waits for the outcome of a transfer.
    transfer_ticks: u32,
    /// To whom this leader hands over, and for how many ticks it has tried.
    pub(crate) transfer: Option<(NodeId, u32)>,
    restarts: u32,
}

/// How both nodes are configured.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) config: almadia::ConfigBuilder,
    pub(crate) batch_append: bool,
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.config(0);
        write!(
            f,
            "{} ticks, pre-vote {}, quorum checks {}, priority {}, window {}, {} bytes, \
             skips commits {}, batches {}",
            config.election_timeout_ticks(),
            config.pre_vote(),
            config.check_quorum(),
            config.priority(),
            config.max_inflight_messages(),
            config.max_message_bytes(),
            config.skip_commit_broadcast(),
            self.batch_append
        )
    }
}

impl Settings {
    pub(crate) fn config(&self, restarts: u32) -> Config {
        self.config
            .clone()
            .incarnation(restarts)
            .build()
            .expect("sensible settings")
    }
}

impl Pair {
    pub(crate) fn start(settings: Settings, storage: &MemStorage) -> Self {
        let config = settings.config(0);
        let theirs = theirs::config(&config, settings.batch_append, LogIndex::ZERO);
        Self {
            ours: Ours::start(config, storage.clone()),
            theirs: Theirs::start(&theirs, Disk::of(storage.clone())),
            rules: Counts::default(),
            settings,
            views: BTreeMap::new(),
            reads: Reads::default(),
            has_quorum: true,
            quiet_ticks: 0,
            transfer_ticks: 0,
            transfer: None,
            has_asked_late: false,
            restarts: 0,
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.ours.node.id()
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.ours.node.role() == RoleKind::Leader
    }

    /// Gives both nodes an input and compares what comes of it. Returns what the node sends.
    pub(crate) fn input(&mut self, input: &Input) -> Result<Vec<Message>, Stop> {
        if let Input::Restart = input {
            return self.restart();
        }
        let mut before = self.before();
        let is_tick = matches!(input, Input::Tick);
        self.reads
            .begin_step(self.ours.node.commit_index(), is_tick);
        let result = self.give_ours(input);
        if matches!(input, Input::Transfer(_)) {
            self.transfer_ticks = 3 * self.ours.node.config().max_election_timeout_ticks();
        }
        let ours = self.ours.drain();
        self.has_asked_late = false;
        before.added_again = added_again(&ours.applied);
        self.count_quiet_ticks(&before, input);
        if before.role == RoleKind::Leader && !self.ours.node.membership().is_voter(self.id()) {
            return Err(Stop::Parted(Rule::RemovedLeader));
        }
        self.give_theirs(&before, input, result, &ours)?;
        self.judge_answers(&before, input, &ours)?;
        self.hand_over(&ours)?;
        let mut theirs = self.drain_theirs(&before, &ours);
        self.follow_up(&before, input, &ours, &mut theirs)?;
        if self.theirs.node.store().useless_snapshots.take() > 0 {
            self.rules.apply(Rule::UselessSnapshot);
        }
        self.compare(&before, input, &ours, theirs)
            .map_err(|stop| stop.after(&before, input))?;
        Ok(ours.messages)
    }

    fn before(&self) -> Before {
        let raft = &self.theirs.node.raft;
        let is_leader = raft.state == StateRole::Leader;
        let peers = raft.prs().iter().filter(|_| is_leader);
        let node = &self.ours.node;
        let mut fetching = node.membership().members();
        fetching.retain(|&peer| {
            node.progress(peer)
                .is_some_and(almadia::Progress::is_fetching)
        });
        Before {
            membership: node.membership().clone(),
            is_transferring: raft.lead_transferee.is_some(),
            fetching,
            added_again: Vec::new(),
            role: node.role(),
            term: raft.term,
            leader: node.leader(),
            commit_index: node.commit_index(),
            election_elapsed: raft.election_elapsed,
            peers: peers
                .filter_map(|(&id, progress)| Some((NodeId::new(id)?, progress.clone())))
                .collect(),
        }
    }

    /// What a leader finds out once in an election timeout.
    fn check_quorum(&mut self, before: &Before, input: &Input) {
        let raft = &self.theirs.node.raft;
        if raft.state != StateRole::Leader || before.role != RoleKind::Leader {
            self.has_quorum = true;
        } else if matches!(input, Input::Tick) && raft.election_elapsed == 0 {
            self.has_quorum = before.membership.has_quorum(|voter| {
                let progress = before.peers.get(&voter);
                voter == self.id() || progress.is_some_and(|it| it.recent_active)
            });
        }
    }

    /// A leader is heard in what it alone sends, and by becoming one.
    fn count_quiet_ticks(&mut self, before: &Before, input: &Input) {
        let node = &self.ours.node;
        let is_heard = match input {
            Input::Message(message) => {
                let is_leaders = matches!(
                    message.body,
                    Body::AppendEntries(_)
                        | Body::Heartbeat(_)
                        | Body::InstallSnapshot(_)
                        | Body::TimeoutNow
                );
                let is_current = node.current_term() == message.term;
                is_leaders && is_current && node.leader() == Some(message.from)
            }
            Input::Tick => {
                self.quiet_ticks += 1;
                self.transfer_ticks = self.transfer_ticks.saturating_sub(1);
                false
            }
            Input::Propose(_)
            | Input::Change(_)
            | Input::Read(_)
            | Input::Transfer(_)
            | Input::Campaign
            | Input::Ping
            | Input::Unreachable(_)
            | Input::SnapshotReported { .. }
            | Input::Compact(_)
            | Input::Restart => false,
        };
        let is_elected = self.is_leader() && before.role != RoleKind::Leader;
        if is_heard || is_elected {
            self.quiet_ticks = 0;
        }
    }

    fn restart(&mut self) -> Result<Vec<Message>, Stop> {
        self.restarts += 1;
        let applied = self.ours.applied();
        self.settings.config = self.settings.config.clone().applied(applied);
        let config = self.settings.config(self.restarts);
        let theirs = theirs::config(&config, self.settings.batch_append, applied.index);
        let storage = self.ours.node.storage().clone();
        self.ours = Ours::start(config, storage);
        let disk = self.theirs.node.store().contents.clone();
        self.theirs = Theirs::start(&theirs, Disk::of(disk));
        self.views.clear();
        self.reads = Reads::default();
        self.quiet_ticks = 0;
        self.transfer_ticks = 0;
        self.transfer = None;
        self.compare_state()?;
        Ok(Vec::new())
    }

    fn compare(
        &mut self,
        before: &Before,
        input: &Input,
        ours: &Output,
        theirs: Output,
    ) -> Result<(), Stop> {
        same("written entries", &ours.written, &theirs.written)?;
        same("applied entries", &ours.applied, &theirs.applied)?;
        same(
            "refused changes",
            &ours.refused_changes,
            &theirs.refused_changes,
        )?;
        self.compare_messages(before, input, ours, theirs.messages)?;
        self.compare_reads(&theirs.reads)?;
        self.compare_state()?;
        self.judge_joint(before, input, ours)?;
        self.compare_peers(before, input)?;
        self.check_quorum(before, input);
        Ok(())
    }

    /// Everything that both nodes can be asked for.
    fn compare_state(&mut self) -> Result<(), Stop> {
        let (node, raft) = (&self.ours.node, &self.theirs.node.raft);
        let role = match raft.state {
            StateRole::Follower => RoleKind::Follower,
            StateRole::PreCandidate => RoleKind::PreCandidate,
            StateRole::Candidate => RoleKind::Candidate,
            StateRole::Leader => RoleKind::Leader,
        };
        same("role", &node.role(), &role)?;
        same("term", &node.current_term().0, &raft.term)?;
        same(
            "vote",
            &node.hard_state().voted_for,
            &NodeId::new(raft.vote),
        )?;
        same("leader", &node.leader(), &self.theirs.leader())?;
        same(
            "commit index",
            &node.commit_index().0,
            &raft.raft_log.committed,
        )?;
        same("applied", &node.last_applied().0, &raft.raft_log.applied)?;
        same(
            "last index",
            &node.last_log().index.0,
            &raft.raft_log.last_index(),
        )?;
        same(
            "last term",
            &node.last_log().term.0,
            &raft.raft_log.last_term(),
        )?;
        same(
            "membership",
            &node.membership().to_conf_state(),
            &self.theirs.conf_state(),
        )?;
        let transferee = raft.lead_transferee.and_then(NodeId::new);
        same("transferee", &node.basic_status().transferee, &transferee)?;
        same(
            "disk",
            &node.storage().hard_state(),
            &self.theirs.node.store().contents.hard_state(),
        )?;
        let is_waiting = self.transfer_ticks > 0 || !self.reads.none_waits();
        if node.role() != RoleKind::Leader && !is_waiting {
            same(
                "ticks to the next election",
                &self.ticks_left(),
                &theirs_ticks_left(raft),
            )?;
        }
        Ok(())
    }

    /// After how many ticks this node would campaign, as almadia tells it.
    pub(crate) fn ticks_left(&self) -> u64 {
        u64::from(self.ours.node.ticks_until_action())
    }

    /// What is on both disks, entry by entry.
    pub(crate) fn compare_disks(&self) -> Result<(), Stop> {
        let (ours, theirs) = (self.ours.node.storage(), &self.theirs.node.store().contents);
        same("first index", &ours.first_index(), &theirs.first_index())?;
        same("disk", ours, theirs)
    }
}

fn added_again(applied: &[Entry]) -> Vec<NodeId> {
    let mut found = Vec::new();
    for entry in applied {
        let Payload::Change(change) = &entry.payload else {
            continue;
        };
        let mut removed = Vec::new();
        for &step in &change.changes {
            match step {
                MemberChange::Remove(id) => removed.push(id),
                MemberChange::AddVoter(id) | MemberChange::AddLearner(id) => {
                    found.extend(removed.iter().copied().filter(|&gone| gone == id));
                }
                MemberChange::Nothing => {}
            }
        }
    }
    found
}

pub(crate) fn theirs_ticks_left(raft: &raft::Raft<Disk>) -> u64 {
    let left = raft
        .randomized_election_timeout()
        .saturating_sub(raft.election_elapsed);
    u64::try_from(left.max(1)).expect("a small number")
}

pub(crate) fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    ours: &T,
    theirs: &T,
) -> Result<(), Stop> {
    if ours == theirs {
        return Ok(());
    }
    different(format!("{what}:\n  almadia {ours:?}\n  raft-rs {theirs:?}"))
}

/// Nobody has decided this.
pub(crate) fn different<T>(what: String) -> Result<T, Stop> {
    Err(Stop::Difference(what))
}
