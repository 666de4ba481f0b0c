//! The cluster around the two nodes: who sends them what.
//!
//! Owns the driver. The peers are almadia nodes of their own, so everything that the two get is
//! what correct nodes send, in any order, late, twice or not at all. What the two send leaves once,
//! as almadia has sent it. Must not know the rules.

use std::collections::BTreeMap;

use almadia::{
    Body, Bytes, ChangeForm, ConfState, Config, ConfigBuilder, HardState, LogIndex, MemStorage,
    MemberChange, MembershipChange, Message, NodeId, Payload, Proposal, RoleKind, SnapshotStatus,
    Term, Transition,
};
use almadia_harness::Dice;

use crate::messages::through_bytes;
use crate::ours::Ours;
use crate::pair::{Input, Pair, Settings, Stop};
use crate::rules::Counts;

/// How one case went.
pub(crate) struct Case {
    pub(crate) steps: u64,
    pub(crate) steps_as_leader: u64,
    pub(crate) stop: Option<Stop>,
    pub(crate) rules: Counts,
    pub(crate) trace: Vec<Input>,
    pub(crate) settings: String,
}

struct Peer {
    ours: Ours,
    settings: Settings,
    restarts: u32,
}

struct Cluster {
    dice: Dice,
    pair: Pair,
    peers: BTreeMap<NodeId, Peer>,
    network: Vec<Message>,
    /// Whoever is cut off: nothing reaches it, nothing leaves it.
    cut: Vec<NodeId>,
    /// Snapshots whose fate the transport has to report.
    snapshots: Vec<(NodeId, bool)>,
    /// Of a thousand steps that are neither a message nor a wish, how many are the pair's ticks.
    pair_ticks: u64,
    /// Whether leadership and membership change all the time.
    is_restless: bool,
    reads: u64,
    trace: Vec<Input>,
    steps_as_leader: u64,
}

fn node(id: u64) -> NodeId {
    NodeId::new(id).expect("ids begin at 1")
}

/// The node that is compared.
const PAIR: u64 = 1;
/// All nodes there are, members or not.
const NODES: u64 = 6;

/// Runs one case.
pub(crate) fn run(seed: u64, steps: u64) -> Case {
    let mut cluster = Cluster::of(seed);
    let mut taken = 0;
    let mut stop = None;
    while cluster.trace.len() < usize::try_from(steps).expect("not too many") {
        taken += 1;
        // A pair that nobody talks to any more is left alone.
        if taken > 20 * steps {
            break;
        }
        if let Err(stopped) = cluster.step() {
            stop = Some(stopped);
            break;
        }
    }
    if stop.is_none() {
        stop = cluster.pair.compare_disks().err();
    }
    let settings = format!(
        "{}\n{:?}",
        cluster.pair.settings,
        cluster.pair.ours.node.status()
    );
    Case {
        steps: cluster.trace.len() as u64,
        steps_as_leader: cluster.steps_as_leader,
        stop,
        rules: cluster.pair.rules,
        trace: cluster.trace,
        settings,
    }
}

impl Cluster {
    fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let voters: Vec<NodeId> = (1..=[1, 2, 3, 3, 3, 4, 5][dice.position(7)])
            .map(node)
            .collect();
        let mut conf_state = ConfState::of_voters(voters.clone());
        if dice.chance(250) {
            conf_state.learners = vec![node(NODES)];
        }
        if dice.chance(200) && voters.len() > 2 {
            conf_state.voters.remove(0);
            conf_state.learners.insert(0, node(PAIR));
        }
        let mut storage = MemStorage::new();
        storage.set_conf_state(conf_state.clone());
        storage.set_hard_state(HardState {
            current_term: Term(1),
            ..HardState::default()
        });
        let mut members = conf_state.voters.clone();
        members.extend(&conf_state.learners);
        let settings = settings(&mut dice);
        let peers = (1..=NODES)
            .filter(|&id| id != PAIR)
            .map(|id| {
                let config = settings.of(id, dice.below(u64::MAX), &mut dice);
                let contents = if members.contains(&node(id)) {
                    storage.clone()
                } else {
                    MemStorage::new()
                };
                let peer = Peer {
                    ours: Ours::start(config.config(0), contents),
                    settings: config,
                    restarts: 0,
                };
                (node(id), peer)
            })
            .collect();
        Self {
            pair: Pair::start(settings.of_pair(&mut dice), &storage),
            peers,
            network: Vec::new(),
            cut: Vec::new(),
            snapshots: Vec::new(),
            pair_ticks: [200, 400, 700][dice.position(3)],
            is_restless: dice.chance(250),
            reads: 0,
            trace: Vec::new(),
            steps_as_leader: 0,
            dice,
        }
    }

    /// An input of the pair, to be compared.
    fn give(&mut self, input: Input) -> Result<(), Stop> {
        self.trace.push(input.clone());
        let sent = self.pair.input(&input)?;
        if self.trace.len() % 64 == 0 {
            self.pair.compare_disks()?;
        }
        self.steps_as_leader += u64::from(self.pair.is_leader());
        self.network.extend(sent.iter().map(through_bytes));
        Ok(())
    }

    /// Lets a peer do something.
    fn with_peer<T>(&mut self, id: NodeId, act: impl FnOnce(&mut Ours) -> T) {
        if let Some(peer) = self.peers.get_mut(&id) {
            act(&mut peer.ours);
            let sent = peer.ours.drain().messages;
            self.network.extend(sent.iter().map(through_bytes));
        }
    }

    fn step(&mut self) -> Result<(), Stop> {
        if !self.network.is_empty() && self.dice.chance(700) {
            return self.deliver();
        }
        if self.is_restless && self.dice.chance(250) {
            return if self.dice.chance(700) {
                self.transfer()
            } else {
                self.change()
            };
        }
        if self.dice.chance(700) {
            return self.tick();
        }
        match self.dice.below(1000) {
            0..=499 => self.propose(),
            500..=589 => self.change(),
            590..=719 => self.read(),
            720..=759 => self.transfer(),
            760..=789 => self.campaign(),
            790..=849 => self.report(),
            850..=929 => self.compact(),
            930..=949 => self.restart(),
            950..=959 => self.give(Input::Ping),
            960..=984 => {
                let id = node(1 + self.dice.below(NODES));
                self.cut.push(id);
                Ok(())
            }
            _ => {
                self.cut.clear();
                Ok(())
            }
        }
    }

    fn deliver(&mut self) -> Result<(), Stop> {
        let near = self.network.len().min(4);
        let in_order = if self.is_restless { 500 } else { 850 };
        let reach = if self.dice.chance(in_order) {
            near
        } else {
            self.network.len()
        };
        let position = self.dice.position(reach);
        let message = if self.dice.chance(30) {
            self.network[position].clone()
        } else {
            self.network.remove(position)
        };
        let is_cut = self.cut.contains(&message.to) || self.cut.contains(&message.from);
        let is_lost = is_cut || self.dice.chance(30) || self.network.len() > 300;
        if message.from == node(PAIR) && matches!(message.body, Body::InstallSnapshot(_)) {
            self.snapshots.push((message.to, !is_lost));
        }
        if is_lost {
            return Ok(());
        }
        if message.to == node(PAIR) {
            return self.give(Input::Message(message));
        }
        self.with_peer(message.to, |peer| peer.node.step(message));
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Stop> {
        if self.dice.chance(self.pair_ticks) {
            return self.give(Input::Tick);
        }
        let id = node(2 + self.dice.below(NODES - 1));
        self.with_peer(id, |peer| peer.node.tick());
        Ok(())
    }

    /// Whoever of the peers leads the latest term, unless the pair does.
    fn leading_peer(&self) -> Option<NodeId> {
        self.peers
            .iter()
            .filter(|(_, peer)| peer.ours.node.role() == RoleKind::Leader)
            .max_by_key(|(_, peer)| peer.ours.node.current_term())
            .map(|(&id, _)| id)
    }

    fn propose(&mut self) -> Result<(), Stop> {
        let length = [0, 1, 8, 40][self.dice.position(4)];
        let data = Bytes::from(vec![b'd'; length]);
        if self.pair.is_leader() && self.dice.chance(200) {
            self.forward(&data);
            return Ok(());
        }
        if self.pair.is_leader() || self.dice.chance(50) {
            return self.give(Input::Propose(data));
        }
        if let Some(id) = self.leading_peer() {
            self.with_peer(id, |peer| peer.node.propose("", data));
        }
        Ok(())
    }

    /// What a node of raft-rs does with proposals: almadia's refuse them.
    fn forward(&mut self, data: &Bytes) {
        let context = Bytes::new();
        let payloads = if self.dice.chance(200) {
            vec![Payload::Change(any_change(&mut self.dice).into())]
        } else {
            let count = 1 + self.dice.position(3);
            vec![Payload::Data(data.clone()); count]
        };
        let propose = |payload| Proposal {
            payload,
            context: context.clone(),
        };
        self.network.push(through_bytes(&Message {
            to: node(PAIR),
            from: node(2 + self.dice.below(NODES - 1)),
            term: Term::ZERO,
            body: Body::Propose(payloads.into_iter().map(propose).collect()),
        }));
    }

    fn change(&mut self) -> Result<(), Stop> {
        let change = any_change(&mut self.dice);
        if self.pair.is_leader() {
            return self.give(Input::Change(change));
        }
        if let Some(id) = self.leading_peer() {
            self.with_peer(id, |peer| peer.node.propose_conf_change("", change));
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), Stop> {
        self.reads += 1;
        let context = Bytes::from(format!("own read {}", self.reads));
        if self.dice.chance(600) {
            return self.give(Input::Read(context));
        }
        let id = node(2 + self.dice.below(NODES - 1));
        self.with_peer(id, |peer| peer.node.read_index(context));
        Ok(())
    }

    fn transfer(&mut self) -> Result<(), Stop> {
        let to = if self.dice.chance(500) {
            node(PAIR)
        } else {
            node(1 + self.dice.below(NODES))
        };
        if self.pair.is_leader() || self.dice.chance(200) {
            return self.give(Input::Transfer(to));
        }
        let id = self.leading_peer();
        let is_leader_asked = if self.is_restless { 500 } else { 800 };
        let asked = id.filter(|_| self.dice.chance(is_leader_asked));
        let asked = asked.unwrap_or_else(|| node(2 + self.dice.below(NODES - 1)));
        self.with_peer(asked, |peer| peer.node.transfer_leader(to));
        Ok(())
    }

    fn campaign(&mut self) -> Result<(), Stop> {
        if self.dice.chance(500) {
            return self.give(Input::Campaign);
        }
        let id = node(2 + self.dice.below(NODES - 1));
        self.with_peer(id, |peer| peer.node.campaign());
        Ok(())
    }

    /// What the transport reports.
    fn report(&mut self) -> Result<(), Stop> {
        if let Some((peer, delivered)) = self.snapshots.pop() {
            return self.give(Input::SnapshotReported { peer, delivered });
        }
        let id = node(2 + self.dice.below(NODES - 1));
        let other = node(2 + self.dice.below(NODES - 1));
        self.with_peer(other, |peer| {
            peer.node.report_snapshot(id, SnapshotStatus::Failed);
            peer.node.report_unreachable(id);
        });
        if self.dice.chance(300) {
            return self.give(Input::Unreachable(id));
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<(), Stop> {
        let back = self.dice.below(6);
        let up_to = |ours: &Ours| LogIndex(ours.applied().index.0.saturating_sub(back));
        if self.dice.chance(500) {
            return self.give(Input::Compact(up_to(&self.pair.ours)));
        }
        let id = node(2 + self.dice.below(NODES - 1));
        self.with_peer(id, |peer| peer.compact(up_to(peer)));
        Ok(())
    }

    fn restart(&mut self) -> Result<(), Stop> {
        if self.dice.chance(300) {
            return self.give(Input::Restart);
        }
        let id = node(2 + self.dice.below(NODES - 1));
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.restarts += 1;
            let applied = peer.ours.applied();
            peer.settings.config = peer.settings.config.clone().applied(applied);
            let storage = peer.ours.node.storage().clone();
            peer.ours = Ours::start(peer.settings.config(peer.restarts), storage);
        }
        Ok(())
    }
}

/// What all nodes of a case share.
struct Shared {
    heartbeat: u32,
    election: u32,
    pre_vote: bool,
    check_quorum: bool,
    window: usize,
    message_bytes: u64,
    skips_commit: bool,
}

fn settings(dice: &mut Dice) -> Shared {
    let heartbeat = 1 + u32::try_from(dice.below(2)).expect("small");
    Shared {
        heartbeat,
        election: 5 + u32::try_from(dice.below(6)).expect("small"),
        pre_vote: dice.chance(600),
        check_quorum: dice.chance(600),
        window: [1, 2, 3, 256][dice.position(4)],
        message_bytes: [0, u64::MAX][dice.position(2)],
        skips_commit: dice.chance(250),
    }
}

impl Shared {
    fn of(&self, id: u64, seed: u64, dice: &mut Dice) -> Settings {
        let priority = if dice.chance(200) { 1 } else { 0 };
        let config = Config::builder(node(id))
            .heartbeat_interval_ticks(self.heartbeat)
            .election_timeout_ticks(self.election)
            .max_election_timeout_ticks(2 * self.election)
            .pre_vote(self.pre_vote)
            .check_quorum(self.check_quorum)
            .max_inflight_messages(self.window)
            .max_message_bytes(self.message_bytes)
            .skip_commit_broadcast(self.skips_commit)
            .priority(priority)
            .seed(seed);
        Settings {
            config,
            batch_append: false,
        }
    }

    fn of_pair(&self, dice: &mut Dice) -> Settings {
        let Settings { config, .. } = self.of(PAIR, 0, dice);
        Settings {
            config: pinned(config, self.election),
            batch_append: dice.chance(300),
        }
    }
}

/// The same, without anything that raft-rs has not: its timeouts are pinned, the window is bounded
/// by messages alone, and nothing is kept in memory beside the storage.
pub(crate) fn pinned(config: ConfigBuilder, election_timeout_ticks: u32) -> ConfigBuilder {
    config
        .max_election_timeout_ticks(election_timeout_ticks + 1)
        .max_inflight_bytes(u64::MAX)
        .max_uncommitted_bytes(u64::MAX)
        .max_committed_bytes_per_ready(u64::MAX)
        .max_tail_bytes(0)
}

/// A change of any kind, possible or not; the pair stays a member in most.
fn any_change(dice: &mut Dice) -> MembershipChange {
    let count = [0, 1, 1, 1, 2, 3][dice.position(6)];
    let changes = (0..count)
        .map(|_| {
            let id = if dice.chance(250) {
                node(PAIR)
            } else {
                node(2 + dice.below(NODES - 1))
            };
            match dice.below(5) {
                0..=2 => MemberChange::AddVoter(id),
                3 => MemberChange::AddLearner(id),
                _ => MemberChange::Remove(id),
            }
        })
        .collect::<Vec<_>>();
    let transition =
        [Transition::Auto, Transition::Implicit, Transition::Explicit][dice.position(3)];
    if count == 1 && dice.chance(500) {
        let form = ChangeForm::V1 { id: dice.below(3) };
        return MembershipChange {
            changes,
            form,
            ..MembershipChange::default()
        };
    }
    let transition = if count == 0 {
        Transition::Auto
    } else {
        transition
    };
    MembershipChange {
        changes,
        transition,
        ..MembershipChange::default()
    }
}
