//! The upgrade of `docs/migration.md`, step by step as the page has it, and the way back.
//!
//! Owns the procedure, and the model of what clients were promised. Nothing of the simulator is
//! used: each machine runs raft-rs or almadia in a loop of its own, and the two share the bytes on
//! the disk and on the wire, and nothing else.
#![cfg(feature = "raft-rs")]

mod almadia_node;
mod disk;
mod process;
mod raft_rs;

use std::collections::{BTreeSet, VecDeque};

use self::disk::Disk;
use self::process::{Frame, Kind, Process, Settings};

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    InGoodOrder,
    /// In the middle of its work: some messages have left, and nothing is synced any more.
    Abruptly,
}

struct Machine {
    disk: Disk,
    process: Option<Box<dyn Process>>,
    starts: u32,
}

struct Cluster {
    settings: Settings,
    machines: Vec<Machine>,
    mail: VecDeque<Frame>,
    /// The commands that clients were told to be done, in order.
    acknowledged: Vec<String>,
    /// Those of which clients were told nothing: each may be done once, or not.
    attempted: BTreeSet<String>,
}

// --- The machines and the network ---

impl Cluster {
    fn new(nodes: u64, kind: Kind, settings: Settings) -> Self {
        Self::of_voters(nodes, nodes, kind, settings)
    }

    /// A cluster of the first `voters` machines.
    fn of_voters(voters: u64, nodes: u64, kind: Kind, settings: Settings) -> Self {
        let machines = (0..nodes).map(|_| {
            let disk = Disk::default();
            raft_rs::format(&disk, voters);
            Machine {
                disk,
                process: None,
                starts: 0,
            }
        });
        let mut cluster = Self {
            settings,
            machines: machines.collect(),
            mail: VecDeque::new(),
            acknowledged: Vec::new(),
            attempted: BTreeSet::new(),
        };
        (1..=nodes).for_each(|id| cluster.start(id, kind));
        cluster
    }

    fn ids(&self) -> std::ops::RangeInclusive<u64> {
        1..=self.machines.len() as u64
    }

    fn machine(&mut self, id: u64) -> &mut Machine {
        let at = usize::try_from(id - 1).expect("few");
        &mut self.machines[at]
    }

    fn process(&mut self, id: u64) -> &mut dyn Process {
        self.machine(id).process.as_deref_mut().expect("it is up")
    }

    fn running(&self) -> impl Iterator<Item = (u64, &dyn Process, &Disk)> {
        let machines = (1..).zip(&self.machines);
        machines.filter_map(|(id, it)| Some((id, it.process.as_deref()?, &it.disk)))
    }

    fn start(&mut self, id: u64, kind: Kind) {
        let settings = self.settings;
        let machine = self.machine(id);
        machine.starts += 1;
        machine.process = Some(match kind {
            Kind::RaftRs => raft_rs::start(id, &machine.disk, settings),
            Kind::Almadia => almadia_node::start(id, &machine.disk, settings, machine.starts),
        });
    }

    fn stop(&mut self, id: u64, stop: Stop) {
        if stop == Stop::Abruptly {
            self.attempt();
            self.process(id).tick();
            let sent = self.process(id).send_before_writing();
            self.mail.extend(sent);
            self.machine(id).disk.crash();
        } else {
            let sent = self.process(id).work();
            self.mail.extend(sent);
            self.machine(id).disk.sync();
        }
        self.machine(id).process = None;
        self.deliver();
    }

    /// Lets everybody work, and all mail arrive. What is for nobody is lost.
    fn deliver(&mut self) {
        loop {
            for machine in &mut self.machines {
                let process = machine.process.as_deref_mut();
                self.mail.extend(process.map_or(vec![], Process::work));
            }
            let Some((to, bytes)) = self.mail.pop_front() else {
                return;
            };
            let machine = usize::try_from(to - 1).map(|at| self.machines.get_mut(at));
            let process = machine.ok().flatten().and_then(|it| it.process.as_mut());
            if let Some(process) = process {
                process.receive(&bytes);
            }
        }
    }

    fn tick(&mut self) {
        let processes = self
            .machines
            .iter_mut()
            .filter_map(|it| it.process.as_mut());
        processes.for_each(|process| process.tick());
        self.deliver();
    }

    fn wait_for(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        const LONGEST: u32 = 300;
        for _ in 0..LONGEST {
            if is_so(self) {
                return;
            }
            self.tick();
        }
        panic!("{what}: not within {LONGEST} ticks");
    }
}

// --- What operators and clients see ---

impl Cluster {
    fn leader(&self) -> Option<u64> {
        let leaders = self.running().filter(|(_, process, _)| process.leads());
        let latest = leaders.max_by_key(|(_, process, _)| process.term());
        latest.map(|(id, ..)| id)
    }

    fn kinds(&self) -> BTreeSet<&'static str> {
        let kinds = self.running().map(|(_, process, _)| match process.kind() {
            Kind::RaftRs => "raft-rs",
            Kind::Almadia => "almadia",
        });
        kinds.collect()
    }

    fn highest_term(&self) -> u64 {
        let terms = self.running().map(|(_, process, _)| process.term());
        terms.max().unwrap_or(0)
    }

    /// All that are up follow one leader, and have applied all of its log.
    fn is_caught_up(&self) -> bool {
        let Some(leader) = self.leader() else {
            return false;
        };
        let mut last = self.running().filter(|(id, ..)| *id == leader);
        let last = last.next().map(|(_, process, _)| process.last_index());
        let mut running = self.running();
        running.all(|(_, process, disk)| {
            process.leader() == leader
                && Some(process.commit_index()) == last
                && Some(disk.read().applied) == last
        })
    }

    fn wait_until_healthy(&mut self) {
        assert_eq!(self.running().count(), self.machines.len(), "one is down");
        self.wait_for("a healthy cluster", Self::is_caught_up);
    }

    fn new_command(&self) -> String {
        let number = self.acknowledged.len() + self.attempted.len();
        format!("command {number}")
    }

    /// A client writes, and waits until that is done.
    fn write(&mut self) {
        self.wait_for("a leader", |it| it.leader().is_some());
        let leader = self.leader().expect("there is one");
        let command = self.new_command();
        assert!(self.process(leader).propose(&command));
        let disk = self.machine(leader).disk.clone();
        self.wait_for("an answer", |_| disk.read().commands.contains(&command));
        self.acknowledged.push(command);
    }

    /// A client writes, and does not hear of the end.
    fn attempt(&mut self) {
        let command = self.new_command();
        let leader = self.leader();
        if leader.is_some_and(|leader| self.process(leader).propose(&command)) {
            self.attempted.insert(command);
        }
    }

    fn change(&mut self, comes: bool) {
        let (leader, learner) = (self.leader().expect("one leads"), *self.ids().end() + 1);
        assert!(self.process(leader).change(learner, comes));
        self.wait_for("the change", Self::is_caught_up);
    }

    /// Every node holds each acknowledged command once, in the order of the answers, and beside
    /// them the same of what nobody was told of.
    fn check(&self) {
        let mut before: Option<Vec<String>> = None;
        for (id, _, disk) in self.running() {
            let commands = disk.read().commands.clone();
            let acknowledged = commands.iter().filter(|it| !self.attempted.contains(*it));
            assert!(
                acknowledged.eq(&self.acknowledged),
                "node {id} has lost or invented something: {commands:?}"
            );
            let unique: BTreeSet<_> = commands.iter().collect();
            assert_eq!(unique.len(), commands.len(), "done twice on node {id}");
            let first = before.get_or_insert_with(|| commands.clone());
            assert_eq!(*first, commands, "node {id} has another state");
        }
    }
}

// --- The procedure ---

impl Cluster {
    /// The page's steps for one node.
    fn replace(&mut self, id: u64, kind: Kind, stop: Stop) {
        self.wait_until_healthy();
        // 1. It hands over, if it leads.
        if self.leader() == Some(id) {
            let to = id % self.machines.len() as u64 + 1;
            self.process(id).hand_over(to);
            self.wait_for("another leader", |it| it.leader() == Some(to));
        }
        // 2. It stops. The others go on, and now and then compact what it has not seen.
        let committed = self.process(id).commit_index();
        self.stop(id, stop);
        self.write();
        let leader = self.leader().expect("one leads");
        let needs_snapshot = id % 2 == 0;
        if needs_snapshot {
            self.process(leader).compact();
        }
        self.write();
        // On the way back: the term is raised above all that it can have asked for.
        if kind == Kind::RaftRs {
            let highest = self.highest_term();
            raft_rs::raise_term(&self.machine(id).disk, highest);
        }
        // 3. The other starts on the same disk.
        self.start(id, kind);
        // 5. It has caught up before the next.
        let disk = self.machine(id).disk.clone();
        self.wait_for("it to catch up", |_| disk.read().applied >= committed);
        self.wait_until_healthy();
        assert!(disk.read().snapshot.is_some() || !needs_snapshot);
        self.write();
        self.wait_until_healthy();
        self.check();
    }

    /// All nodes, followers first and the leader last. Returns who was last, and who led before.
    fn roll(&mut self, kind: Kind, stop: Stop) -> [u64; 2] {
        self.wait_until_healthy();
        let led = self.leader().expect("it is healthy");
        let mut remaining: Vec<u64> = self.ids().collect();
        let mut last = 0;
        while !remaining.is_empty() {
            let leader = self.leader();
            let follower = remaining.iter().position(|&id| Some(id) != leader);
            last = remaining.remove(follower.unwrap_or(0));
            self.replace(last, kind, stop);
        }
        assert_eq!(self.kinds().len(), 1);
        [last, led]
    }
}

const BARE: Settings = Settings {
    pre_vote: false,
    check_quorum: false,
};
const CHECKED: Settings = Settings {
    pre_vote: true,
    check_quorum: true,
};

/// A cluster of raft-rs that has worked for a while, with both forms of changes in its log.
fn cluster_of_raft_rs(nodes: u64, settings: Settings) -> Cluster {
    let mut cluster = Cluster::new(nodes, Kind::RaftRs, settings);
    for comes in [true, false] {
        cluster.write();
        cluster.change(comes);
    }
    cluster.wait_until_healthy();
    cluster.check();
    cluster
}

fn there_and_back(nodes: u64, settings: Settings, up: Stop, down: Stop) {
    let mut cluster = cluster_of_raft_rs(nodes, settings);
    let [last, led] = cluster.roll(Kind::Almadia, up);
    assert_eq!(last, led, "the leader was to be last");
    for comes in [true, false] {
        cluster.change(comes);
    }
    cluster.roll(Kind::RaftRs, down);
    cluster.roll(Kind::Almadia, up);
    assert!(cluster.acknowledged.len() as u64 > 9 * nodes);
}

#[test]
fn a_cluster_is_upgraded_and_downgraded_as_the_page_has_it() {
    for nodes in [3, 5] {
        for settings in [BARE, CHECKED] {
            there_and_back(nodes, settings, Stop::InGoodOrder, Stop::InGoodOrder);
        }
    }
}

/// What a crash leaves of either kind is enough for the other.
#[test]
fn nodes_that_crash_are_replaced_all_the_same() {
    for nodes in [3, 5] {
        for settings in [BARE, CHECKED] {
            there_and_back(nodes, settings, Stop::Abruptly, Stop::Abruptly);
        }
    }
}

#[test]
#[should_panic(expected = "has lost or invented something")]
fn the_model_notices_a_write_that_is_lost_in_an_upgrade() {
    let mut cluster = cluster_of_raft_rs(3, BARE);
    cluster.roll(Kind::Almadia, Stop::InGoodOrder);
    cluster.machine(2).disk.write().commands.remove(1);
    cluster.check();
}

#[test]
#[should_panic(expected = "has lost or invented something")]
fn the_model_notices_disks_that_have_lost_their_ends() {
    let mut cluster = cluster_of_raft_rs(3, BARE);
    for id in [1, 2, 3] {
        cluster.stop(id, Stop::InGoodOrder);
        let disk = cluster.machine(id).disk.clone();
        *disk.write() = Disk::default().read().clone();
        raft_rs::format(&disk, 3);
        cluster.start(id, Kind::Almadia);
    }
    cluster.write();
    cluster.wait_until_healthy();
    cluster.check();
}

/// A node of almadia crashes while its new term is on the way to the disk, and a vote for that is on
/// the way to it. Whether its successor of raft-rs leads by that vote, its own not being durable.
fn leads_by_an_old_vote(raises_term: bool) -> bool {
    let mut cluster = Cluster::new(3, Kind::Almadia, BARE);
    cluster.write();
    cluster.wait_until_healthy();
    let leader = cluster.leader().expect("it is healthy");
    let id = leader % 3 + 1;
    cluster.process(id).campaign();
    let asked = cluster.process(id).send_before_writing();
    cluster.machine(id).disk.crash();
    cluster.machine(id).process = None;
    for (to, bytes) in asked {
        cluster.process(to).receive(&bytes);
    }
    let voters: Vec<u64> = cluster.ids().filter(|&it| it != id).collect();
    let votes = voters.iter().flat_map(|&it| cluster.process(it).work());
    let mut votes: Vec<Vec<u8>> = Vec::from_iter(votes)
        .into_iter()
        .filter_map(|(to, bytes)| (to == id).then_some(bytes))
        .collect();
    // Once more it is almadia, and stops in good order: the vote is on the way still.
    cluster.start(id, Kind::Almadia);
    let _ = cluster.process(id).work();
    cluster.machine(id).disk.sync();
    if raises_term {
        let highest = cluster.highest_term();
        raft_rs::raise_term(&cluster.machine(id).disk, highest);
    }
    cluster.start(id, Kind::RaftRs);
    cluster.process(id).campaign();
    for vote in votes.drain(..) {
        cluster.process(id).receive(&vote);
    }
    let stored = raft_rs::stored_term(&cluster.machine(id).disk);
    let process = cluster.process(id);
    process.leads() && stored < process.term()
}

#[test]
fn a_raised_term_keeps_old_votes_from_electing_the_successor() {
    assert!(leads_by_an_old_vote(false), "there is nothing to keep off");
    assert!(!leads_by_an_old_vote(true));
}

/// A learner goes back to raft-rs in a cluster without pre-votes and quorum checks. Whether it hears
/// from the leader again, if its own `check_quorum` is this.
fn a_learner_comes_back(check_quorum: bool) -> bool {
    const LEARNER: u64 = 4;
    let mut cluster = Cluster::of_voters(3, LEARNER, Kind::Almadia, BARE);
    cluster.write();
    let leader = cluster.leader().expect("one leads");
    assert!(cluster.process(leader).change(LEARNER, true));
    cluster.wait_until_healthy();
    cluster.stop(LEARNER, Stop::InGoodOrder);
    let highest = cluster.highest_term();
    raft_rs::raise_term(&cluster.machine(LEARNER).disk, highest);
    cluster.settings.check_quorum = check_quorum;
    cluster.start(LEARNER, Kind::RaftRs);
    cluster.write();
    (0..100).for_each(|_| cluster.tick());
    cluster.is_caught_up()
}

#[test]
fn a_learner_needs_its_quorum_check_to_tell_of_its_term() {
    assert!(a_learner_comes_back(true));
    assert!(!a_learner_comes_back(false));
}
