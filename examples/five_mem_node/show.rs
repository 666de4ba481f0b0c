//! The show: what happens to the cluster while the client works, act by act.
//!
//! Owns the order of the acts and the comparison at the end. Every wait goes through
//! [`Show::wait_until`], which keeps the client going and can be interrupted by the watchdog.

mod failures;
mod members;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::{Duration, Instant};

use almadia::{ConfState, LogIndex, NodeId, RoleKind};

use crate::client::Client;
use crate::cluster::{Cluster, NODES};
use crate::mail::{AnyError, Event, Input, Report};
use crate::tracer::Tracer;
use crate::watchdog::Watchdog;

/// How long to wait for one event.
const EVENT_PATIENCE: Duration = Duration::from_millis(5);

/// After how long a wish that may have been refused or lost is repeated.
const REPEAT_INTERVAL: Duration = Duration::from_millis(100);

/// How often nodes are asked for reports while something is waited for.
const REPORT_INTERVAL: Duration = Duration::from_millis(20);

/// How often the number of answered commands is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// How long nothing may move before the nodes are judged by what they have come to.
const AGREEMENT_PATIENCE: Duration = Duration::from_secs(15);

/// The acts divide the workload into so many parts.
const SHARES: u64 = 12;

/// Everything on stage.
pub(crate) struct Show {
    cluster: Cluster,
    client: Client,
    watchdog: Watchdog,
    tracer: Tracer,
    begin: Instant,
    /// The last report of each running node.
    reports: BTreeMap<NodeId, Report>,
    /// How far each running node has compacted its log in this act.
    compacted: BTreeMap<NodeId, LogIndex>,
    /// The nodes that have installed a snapshot in this act.
    installed: BTreeSet<NodeId>,
    /// The last membership that each node has told of, and the index of its entry or snapshot.
    members: BTreeMap<NodeId, (LogIndex, ConfState)>,
    /// The last answer to a read.
    read: Option<u64>,
    /// How the last transfer has ended.
    transfer: Option<Result<(), String>>,
    /// Whether reports are to contain the state.
    wants_state: bool,
    next_report: Instant,
    next_progress: Instant,
    /// When something moved last.
    last_progress: Instant,
}

impl Show {
    pub(crate) fn new(client: Client, watchdog: Watchdog, tracer: Tracer) -> Self {
        let now = Instant::now();
        Self {
            cluster: Cluster::new(tracer.clone()),
            client,
            watchdog,
            tracer,
            begin: now,
            reports: BTreeMap::new(),
            compacted: BTreeMap::new(),
            installed: BTreeSet::new(),
            members: BTreeMap::new(),
            read: None,
            transfer: None,
            wants_state: false,
            next_report: now,
            next_progress: now + PROGRESS_INTERVAL,
            last_progress: now,
        }
    }

    /// Plays all acts. Returns the last report of every node, which includes its state.
    pub(crate) fn play(&mut self) -> Result<Vec<Report>, AnyError> {
        self.tell(format!(
            "five nodes start; {} commands are to be replicated",
            self.client.count()
        ));
        for id in self.cluster.stopped() {
            self.cluster.start(id)?;
        }
        self.answer_share(1)?;
        self.compact("all nodes")?;

        self.answer_share(2)?;
        let old_leader = self.kill_leader()?;
        self.answer_share(4)?;
        self.restart_and_catch_up(old_leader)?;

        self.answer_share(5)?;
        let (absent, last) = self.stop_a_follower()?;
        self.answer_share(6)?;
        self.bring_back_by_snapshot(absent, last)?;

        self.answer_share(7)?;
        let newcomer = self.add_learner()?;
        self.answer_share(8)?;
        self.promote(newcomer)?;
        self.answer_share(9)?;
        self.remove_an_old_voter(newcomer)?;
        self.answer_share(10)?;
        self.transfer_leadership(newcomer)?;

        self.answer_share(SHARES)?;
        self.wait_for_agreement()
    }

    /// The client, which knows what the commands should have led to.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Goes on until so many twelfths of the commands are answered. In a tiny input that may be
    /// none. One more is allowed, to be worked on during the next act; the rest waits for what
    /// follows, so that the work outlasts the acts however long they take.
    fn answer_share(&mut self, share: u64) -> Result<(), AnyError> {
        let count = self.client.count();
        self.client.allow(count * (share + 1) / SHARES);
        let target = count * share / SHARES;
        self.wait_until("a leader and its answers", |show| {
            show.client.leader().is_some() && show.client.answered() >= target
        })?;
        self.tell_progress();
        Ok(())
    }

    /// Waits until all nodes have applied the same entries, or nothing moves any more. Then asks
    /// each for its state, once: with many keys that is much to tell.
    fn wait_for_agreement(&mut self) -> Result<Vec<Report>, AnyError> {
        self.reports.clear();
        self.wait_until("all nodes to apply the same entries", |show| {
            let reports = || show.reports.values();
            let ends = reports().flat_map(|report| [report.commit_index, report.applied]);
            let is_agreed = show.reports.len() as u64 == NODES
                && ends.clone().min() == ends.max()
                && reports().any(|report| report.role == RoleKind::Leader);
            is_agreed || show.last_progress.elapsed() > AGREEMENT_PATIENCE
        })?;
        self.reports.clear();
        self.wants_state = true;
        self.next_report = Instant::now();
        self.wait_until("the nodes to tell their states", |show| {
            let states = show
                .reports
                .values()
                .filter(|report| report.state.is_some());
            states.count() as u64 == NODES || show.last_progress.elapsed() > AGREEMENT_PATIENCE
        })?;
        let reports = std::mem::take(&mut self.reports).into_values().collect();
        for id in self.cluster.running() {
            self.cluster.kill(id)?;
        }
        Ok(reports)
    }

    // --- What the acts are made of ---

    /// Lets cluster and client go on until the condition holds.
    fn wait_until(
        &mut self,
        purpose: &'static str,
        condition: impl Fn(&Self) -> bool,
    ) -> Result<(), AnyError> {
        self.last_progress = Instant::now();
        self.watchdog.all_is_well(purpose);
        loop {
            self.client.send(&self.cluster);
            if condition(self) {
                return Ok(());
            }
            let before = self.distance();
            self.take_events(EVENT_PATIENCE)?;
            self.ask_for_reports()?;
            if self.distance() > before {
                self.last_progress = Instant::now();
                self.watchdog.all_is_well(purpose);
            }
        }
    }

    /// Expresses a wish, again and again, until the condition holds. To be used for what does no
    /// harm if it is done twice.
    fn insist(
        &mut self,
        purpose: &'static str,
        wish: impl Fn(&Self),
        condition: impl Fn(&Self) -> bool,
    ) -> Result<(), AnyError> {
        let next = Cell::new(Instant::now());
        self.wait_until(purpose, |show| {
            let is_fulfilled = condition(show);
            if !is_fulfilled && Instant::now() >= next.get() {
                next.set(Instant::now() + REPEAT_INTERVAL);
                wish(show);
            }
            is_fulfilled
        })
    }

    /// Lets cluster and client go on for this long.
    fn pause(&mut self, duration: Duration) -> Result<(), AnyError> {
        let end = Instant::now() + duration;
        self.wait_until("a pause to end", |_| Instant::now() >= end)
    }

    /// How far everything has come, as one number that grows while anything moves.
    fn distance(&self) -> u64 {
        let applied = self.reports.values().map(|report| report.applied.0);
        applied.sum::<u64>() + self.client.answered()
    }

    fn ask_for_reports(&mut self) -> Result<(), AnyError> {
        let now = Instant::now();
        if now >= self.next_report {
            // A state is asked for once.
            let once = self.wants_state.then_some(AGREEMENT_PATIENCE);
            self.next_report = now + once.unwrap_or(REPORT_INTERVAL);
            self.cluster.check_threads()?;
            let with_state = self.wants_state;
            for id in self.cluster.running() {
                self.cluster.send(id, Input::Report { with_state });
            }
        }
        if now >= self.next_progress {
            self.tell_progress();
        }
        Ok(())
    }

    /// Takes the events that are there, and waits for one if there is none.
    fn take_events(&mut self, patience: Duration) -> Result<(), AnyError> {
        let mut next = self.cluster.next_event(patience);
        while let Some(event) = next {
            self.take_event(event)?;
            next = self.cluster.next_event(Duration::ZERO);
        }
        Ok(())
    }

    fn take_event(&mut self, event: Event) -> Result<(), AnyError> {
        match event {
            Event::Leading { node, term } => {
                self.tell(format!("node {node} leads term {term}"));
                self.client.on_leading(node, term);
            }
            // Answers that a killed node had not delivered are lost with it.
            Event::Answers { node, .. } if !self.cluster.is_running(node) => {}
            Event::Answers { answers, .. } => self.client.on_answers(answers)?,
            Event::Refused { node, leader } => self.client.on_refused(node, leader),
            Event::MembershipChanged {
                node,
                index,
                members,
            } => {
                self.tell_change(index, &members);
                self.members.insert(node, (index, members));
            }
            Event::TransferEnded(outcome) => {
                let result = outcome.result.map_err(|failure| failure.to_string());
                self.transfer = Some(result);
            }
            Event::TransferRefused { reason } => self.transfer = Some(Err(reason)),
            Event::ReadAnswered { commands } => self.read = Some(commands),
            Event::SnapshotInstalled {
                node,
                index,
                members,
            } => {
                self.tell(format!(
                    "node {node} has installed a snapshot up to entry {index}"
                ));
                self.installed.insert(node);
                self.members.insert(node, (index, members));
            }
            Event::Compacted { node, through } => {
                self.compacted.insert(node, through);
            }
            Event::Report(report) => {
                self.reports.insert(report.node, report);
            }
        }
        Ok(())
    }

    /// Stops a node at once. Returns where its log on disk ends.
    fn kill(&mut self, id: NodeId) -> Result<LogIndex, AnyError> {
        let last = self.cluster.kill(id)?;
        // What it said before must not be taken for what it says after a restart.
        self.take_events(Duration::ZERO)?;
        self.reports.remove(&id);
        if self.client.leader() == Some(id) {
            self.client.on_leader_lost();
        }
        Ok(last)
    }

    fn leader(&mut self) -> Result<NodeId, AnyError> {
        self.wait_until("a leader", |show| show.client.leader().is_some())?;
        let leader = self.client.leader();
        leader.ok_or_else(|| "there is no leader".into())
    }

    /// How far a node had applied the log when it last reported.
    fn applied(&self, id: NodeId) -> LogIndex {
        let report = self.reports.get(&id);
        report.map_or(LogIndex::ZERO, |report| report.applied)
    }

    fn tell_progress(&mut self) {
        self.next_progress = Instant::now() + PROGRESS_INTERVAL;
        let (answered, count) = (self.client.answered(), self.client.count());
        self.tell(format!("{answered} of {count} commands are answered"));
    }

    /// Progress goes to standard error, so that standard output has answers and results alone.
    fn tell(&self, line: impl Display) {
        self.tracer.note(&line);
        eprintln!("[{:7.3} s] {line}", self.begin.elapsed().as_secs_f64());
    }
}
