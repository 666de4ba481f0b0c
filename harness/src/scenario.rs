//! A run as data: a cluster, and everything that happens to it.
//!
//! Owns how a cluster is set up and how a list of actions is played on it. Random scenarios are made
//! by `simulation.rs`, and made shorter by `shrink.rs`.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

use crate::action::Action;
use crate::checker::Checks;
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::disk::EmbedderFault;
use crate::embedder::{Embedder, Simulated};
use crate::host::{DiskMode, Life, Settings};
use crate::node::Kind;
use crate::profile::{Mix, Profile};
use crate::recorder::Options;
use crate::stats::Stats;
use crate::trace::Trace;
use crate::violation::{Violation, ViolationKind};

/// What one node runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineSetup {
    /// What runs on it.
    pub kind: Kind,
    /// The node's limits and switches.
    pub settings: Settings,
    /// How its embedder does its writes.
    pub mode: DiskMode,
    /// What its embedder does wrong.
    pub fault: EmbedderFault,
}

impl MachineSetup {
    /// A machine as this profile has them.
    pub(crate) fn random(settings: Settings, profile: &Profile, dice: &mut Dice) -> Self {
        let mut settings = settings;
        if dice.chance(profile.priority) {
            settings.priority = i64::try_from(dice.below(3)).unwrap_or(0);
        }
        let mode = if dice.chance(profile.asynchronous) {
            DiskMode::Asynchronous
        } else {
            DiskMode::Synchronous
        };
        let Mix {
            raft_rs, embedding, ..
        } = profile.mix;
        let kind = if dice.chance(raft_rs) {
            Kind::RaftRs(embedding)
        } else {
            Kind::Almadia
        };
        Self {
            kind,
            settings,
            mode,
            fault: profile.fault,
        }
    }
}

/// A cluster, and everything that happens to it. Equal scenarios make equal runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The seed from which it was made; whatever is left open follows from it.
    pub seed: u64,
    /// The nodes from 1 to here are voters at the start.
    pub voters: u64,
    /// So many of the nodes that follow are learners at the start.
    pub learners: u64,
    /// The machine of each node, of node 1 first. Those beyond voters and learners are no members at
    /// the start.
    pub machines: Vec<MachineSetup>,
    /// Which watchers are on.
    pub checks: Checks,
    /// What happens, in this order.
    pub actions: Vec<Action>,
}

impl Scenario {
    /// Whether any machine runs raft-rs at any time.
    #[cfg(feature = "raft-rs")]
    pub(crate) fn is_mixed(&self) -> bool {
        let mut machines = self.machines.iter();
        machines.any(|machine| machine.kind != Kind::Almadia)
    }

    /// The cluster before anything has happened, not even a start.
    pub(crate) fn cluster<E: Embedder>(&self, recording: Option<Options>) -> Cluster<E> {
        let mut cluster = Cluster::of_machines(self, recording);
        cluster.panics = false;
        cluster.is_instant = false;
        cluster.set_checks(self.checks);
        cluster
    }

    /// Lets everything happen, until a promise of Raft is broken.
    ///
    /// # Errors
    ///
    /// The first promise that was broken.
    pub fn play(&self) -> Result<Stats, Violation> {
        self.play_with::<Simulated>()
    }

    /// The same with an embedder's own store and state machine.
    ///
    /// # Errors
    ///
    /// The first promise that was broken.
    pub fn play_with<E: Embedder>(&self) -> Result<Stats, Violation> {
        self.play_on(|| self.cluster::<E>(None)).1
    }

    /// The same, and records what happens, for a picture.
    pub fn trace<E: Embedder>(
        &self,
        name: impl Into<String>,
    ) -> (Option<Trace>, Result<Stats, Violation>) {
        let (cluster, result) = self.play_on(|| {
            let mut cluster = self.cluster::<E>(None);
            cluster.record(name, Trace::DEFAULT_MAX_EVENTS);
            cluster
        });
        (cluster.and_then(|mut it| it.take_trace()), result)
    }

    /// The same, with a recording of each node from each of its starts on.
    pub fn play_recorded<E: Embedder>(
        &self,
        options: Options,
    ) -> (Result<Stats, Violation>, Vec<Life<E>>) {
        let (cluster, result) = self.play_on(|| self.cluster(Some(options)));
        let hosts = cluster.into_iter().flat_map(|cluster| cluster.hosts);
        let lives = hosts.flat_map(|mut host| {
            host.stop();
            host.lives
        });
        (result, lives.collect())
    }

    /// Plays it on a cluster that is made like this; `None` if it cannot be made.
    fn play_on<E: Embedder>(
        &self,
        make: impl FnOnce() -> Cluster<E>,
    ) -> (Option<Cluster<E>>, Result<Stats, Violation>) {
        let mut cluster = match caught(self.seed, make) {
            Ok(cluster) => cluster,
            Err(violation) => return (None, Err(violation)),
        };
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            cluster.start_all();
            for action in &self.actions {
                if cluster.violation.is_some() {
                    return;
                }
                cluster.perform(action);
            }
        }));
        let result = cluster.end(outcome);
        (Some(cluster), result)
    }
}

/// Makes something before the first step of a run, for which an embedder's code is called: what
/// panics in it is the run's violation.
pub(crate) fn caught<T>(seed: u64, make: impl FnOnce() -> T) -> Result<T, Violation> {
    let result = panic::catch_unwind(AssertUnwindSafe(make));
    result.map_err(|payload| Violation {
        seed,
        step: 0,
        kind: ViolationKind::Panicked(panic_text(payload.as_ref())),
    })
}

impl<E: Embedder> Cluster<E> {
    /// What a run has come to that ended in this way.
    pub(crate) fn end(
        &mut self,
        outcome: Result<(), Box<dyn Any + Send>>,
    ) -> Result<Stats, Violation> {
        if let Err(payload) = outcome {
            let kind = ViolationKind::Panicked(panic_text(payload.as_ref()));
            self.violation = None;
            self.check(Err(kind));
        }
        self.check(self.checker.check_history());
        self.violation.take().map_or_else(|| Ok(self.stats()), Err)
    }
}

/// What a panic said.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a text").into()
}
