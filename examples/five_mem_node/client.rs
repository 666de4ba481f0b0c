//! The client: sends numbered commands to the leader, many at a time, until every one is answered.
//!
//! Owns the order of the commands and what has been answered. Knows nothing of the log; it has
//! only the promise of the state machine that no number counts twice and none is left out.
//!
//! A `get` goes through the log like the rest: it is to see the commands before it and no later
//! one, though all of them are in flight together. `show/members.rs` has a read without an entry.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use almadia::{NodeId, Term};

use crate::cluster::Cluster;
use crate::command::Command;
use crate::machine::{Outcome, StateMachine, WINDOW};
use crate::mail::{Answer, AnyError, Input, Request};

/// The client takes about this long for all its commands, so that the cluster has work meanwhile.
const SPAN: Duration = Duration::from_millis(1500);

/// It sends so many commands in that time at least, if it has as many.
const MIN_PACE: u64 = 10_000;

/// The most commands in one input of a node.
const BATCH: u64 = 64;

/// After this long without an answer, the client begins again with the first unanswered command.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the client waits after a node has refused its commands.
const PAUSE: Duration = Duration::from_millis(10);

/// The one client of the cluster.
pub(crate) struct Client {
    commands: Vec<Command>,
    prints_answers: bool,
    /// What one machine alone makes of the same commands: the answers must be its answers.
    model: StateMachine,
    begin: Instant,
    /// Commands up to this number may be sent when their time has come.
    limit: u64,
    /// Commands up to this number may be sent at once.
    hurried: u64,
    /// Commands up to this number have been sent to the present leader.
    sent: u64,
    /// Commands up to this number have been answered.
    answered: u64,
    leader: Option<NodeId>,
    latest_term: Term,
    /// Nothing is sent before.
    resume_at: Instant,
    /// When the last answer came, or the client last began again.
    last_news: Instant,
}

impl Client {
    pub(crate) fn new(commands: Vec<Command>, prints_answers: bool) -> Self {
        Self {
            commands,
            prints_answers,
            model: StateMachine::default(),
            begin: Instant::now(),
            limit: 0,
            hurried: 0,
            sent: 0,
            answered: 0,
            leader: None,
            latest_term: Term::ZERO,
            resume_at: Instant::now(),
            last_news: Instant::now(),
        }
    }

    /// How many commands there are.
    pub(crate) fn count(&self) -> u64 {
        self.commands.len() as u64
    }

    /// How many commands are answered.
    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    /// How many commands are sent and not answered.
    pub(crate) fn in_flight(&self) -> u64 {
        self.sent - self.answered
    }

    /// Whom the client takes for the leader.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// The state in which the commands answered so far leave one machine alone.
    pub(crate) fn model(&self) -> &StateMachine {
        &self.model
    }

    /// Lets commands up to this number be sent when their time has come.
    pub(crate) fn allow(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Sends as many commands at once as may be in flight, allowed or not.
    pub(crate) fn hurry(&mut self, cluster: &Cluster) {
        self.hurried = self.answered + WINDOW;
        self.send(cluster);
    }

    /// The leader is gone; a new one will announce itself.
    pub(crate) fn on_leader_lost(&mut self) {
        self.leader = None;
    }

    /// A node leads. Whatever the previous leader has not answered is sent to it again, in order:
    /// some of it may be in the log already, and the state machine will know it.
    pub(crate) fn on_leading(&mut self, node: NodeId, term: Term) {
        if term > self.latest_term {
            self.latest_term = term;
            self.leader = Some(node);
            self.begin_again();
        }
    }

    /// A node has not taken some commands. If it knows a later leader, they go there; if not, they
    /// are for this one again in a while. All that are unanswered follow once more, in order.
    pub(crate) fn on_refused(&mut self, node: NodeId, leader: Option<(NodeId, Term)>) {
        if let Some((leader, term)) = leader {
            self.on_leading(leader, term);
        }
        if self.leader == Some(node) {
            self.begin_again();
            self.resume_at = Instant::now() + PAUSE;
        }
    }

    /// Answers have come. What is not next in order is a repetition, or will be repeated.
    pub(crate) fn on_answers(&mut self, answers: Vec<Answer>) -> Result<(), AnyError> {
        for Answer { sequence, text } in answers {
            if sequence != self.answered + 1 {
                continue;
            }
            let Some(command) = self.command(sequence) else {
                return Err(format!(
                    "there is an answer to command {sequence}, which was never sent"
                )
                .into());
            };
            let expected = self.model.apply(sequence, command.clone());
            let actual = Outcome::Done {
                answer: text.clone(),
            };
            if actual != expected {
                return Err(format!("command {sequence} gave {actual:?}, not {expected:?}").into());
            }
            self.answered = sequence;
            self.sent = self.sent.max(sequence);
            self.last_news = Instant::now();
            if let (true, Some(text)) = (self.prints_answers, text) {
                writeln!(io::stdout(), "{text}")?;
            }
        }
        Ok(())
    }

    /// Sends as many commands to the leader as are due, and may be in flight.
    pub(crate) fn send(&mut self, cluster: &Cluster) {
        let now = Instant::now();
        if self.in_flight() > 0 && now.duration_since(self.last_news) > PATIENCE {
            self.begin_again();
        }
        let Some(leader) = self.leader else {
            return;
        };
        if now < self.resume_at {
            return;
        }
        let last = self.due(now).min(self.answered + WINDOW);
        while self.sent < last {
            let batch_end = last.min(self.sent + BATCH);
            let request = |sequence| {
                let command = self.command(sequence)?.to_string().into();
                Some(Request { sequence, command })
            };
            let requests = (self.sent + 1..=batch_end).filter_map(request).collect();
            if !cluster.send(leader, Input::Propose(requests)) {
                self.on_leader_lost();
                return;
            }
            self.sent = batch_end;
        }
    }

    /// How many commands may have been sent by now.
    fn due(&self, now: Instant) -> u64 {
        let in_span = u128::from(self.count().max(MIN_PACE));
        let elapsed = now.duration_since(self.begin);
        let paced = in_span * elapsed.as_micros() / SPAN.as_micros();
        let paced = u64::try_from(paced).unwrap_or(u64::MAX);
        let paced = paced.min(self.limit);
        paced.max(self.hurried).min(self.count())
    }

    fn begin_again(&mut self) {
        self.sent = self.answered;
        self.last_news = Instant::now();
    }

    fn command(&self, sequence: u64) -> Option<&Command> {
        let position = usize::try_from(sequence.checked_sub(1)?).ok()?;
        self.commands.get(position)
    }
}
