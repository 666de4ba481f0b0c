//! How the cost of an entry grows: with the batch, the payload, the cluster, the log, and what is on its way.
//!
//! Owns the five quantities, the values they take, and the work that is done for each value. A cluster's
//! state does not grow from one round to the next: logs are cut, outside of what is timed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::almadia_side::Almadia;
use crate::cluster::Cluster;
use crate::library::{Library, Settings};
use crate::raft_rs_side::RaftRs;
use crate::rounds::{Side, medians};
use crate::{KEPT, command};

/// Rounds, each of which takes every side in turn.
const ROUNDS: usize = 11;

/// So often all values are measured, each time with other clusters.
const PASSES: usize = 5;

/// What a command is, in bytes, where the payload is not what grows.
const PAYLOAD: usize = 16;

/// How large the batches are in which a log is filled.
const FILLED_AT_ONCE: u64 = 1000;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Proposals between two `Ready`s.
    Batch,
    /// Bytes of a command.
    Payload,
    /// Voters of the cluster.
    Voters,
    /// Entries that the logs hold.
    Log,
    /// Appends to each follower that have not been answered.
    InFlight,
}

/// What the median of the rounds was for one value of a quantity, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// The value.
    pub value: u64,
    /// What almadia takes.
    pub almadia: f64,
    /// What raft-rs takes in the better of its two ways to batch.
    pub raft_rs: f64,
}

impl Quantity {
    /// All of them, in the order in which they are printed.
    pub const ALL: [Self; 5] = [
        Self::Batch,
        Self::Payload,
        Self::Voters,
        Self::Log,
        Self::InFlight,
    ];

    /// One word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Payload => "payload",
            Self::Voters => "voters",
            Self::Log => "log",
            Self::InFlight => "in_flight",
        }
    }

    /// What the values count.
    #[must_use]
    pub const fn counts(self) -> &'static str {
        match self {
            Self::Batch => "proposals in one batch",
            Self::Payload => "bytes of a command",
            Self::Voters => "voters",
            Self::Log => "entries in the log",
            Self::InFlight => "appends on their way to each follower",
        }
    }

    /// What the time is that of. More voters have more to do, so theirs is told for each.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Voters => "ns per entry and voter",
            Self::Batch | Self::Payload | Self::Log | Self::InFlight => "ns per entry",
        }
    }

    /// The values that are measured.
    #[must_use]
    pub const fn values(self) -> &'static [u64] {
        match self {
            Self::Batch => &[1, 4, 16, 64, 256, 1024],
            Self::Payload => &[0, 16, 64, 256, 1024, 4096, 16_384, 65_536],
            Self::Voters => &[1, 3, 5, 7, 15, 31, 51, 101],
            Self::Log => &[100, 1000, 10_000, 100_000, 1_000_000],
            Self::InFlight => &[1, 10, 100, 1000, 10_000],
        }
    }

    /// The cost at each of the values. All of them are measured, and then all of them again, so that what
    /// slows the machine down for a while falls on more than one.
    ///
    /// # Panics
    ///
    /// If a node refuses what it is told.
    #[must_use]
    pub fn measured(self) -> Vec<Point> {
        let mut passes: Vec<Vec<Vec<f64>>> = self.values().iter().map(|_| Vec::new()).collect();
        for _ in 0..PASSES {
            for (&value, of_value) in self.values().iter().zip(&mut passes) {
                of_value.push(self.measured_at(value));
            }
        }
        let values = self.values().iter().zip(&passes);
        values
            .map(|(&value, of_value)| {
                let side = |at: usize| median(of_value.iter().map(|sides| sides[at]).collect());
                Point {
                    value,
                    almadia: side(0),
                    raft_rs: side(1).min(side(2)),
                }
            })
            .collect()
    }

    fn measured_at(self, value: u64) -> Vec<f64> {
        let units = match self {
            Self::Batch | Self::InFlight | Self::Voters => value,
            Self::Payload | Self::Log => 1,
        };
        let sides = vec![
            self.side::<Almadia>(value, false),
            self.side::<RaftRs>(value, false),
            self.side::<RaftRs>(value, true),
        ];
        let units = u32::try_from(units).expect("not many");
        medians(ROUNDS, units, sides)
    }

    fn side<L: Library + 'static>(self, value: u64, batch_append: bool) -> Side<'static> {
        let mut settings = Settings {
            batch_append,
            ..Settings::of(3)
        };
        let (mut count, mut bytes) = (1, PAYLOAD);
        let (mut most, mut kept) = (KEPT, 0);
        match self {
            Self::Batch => count = value,
            Self::Payload => bytes = usize::try_from(value).expect("it fits"),
            Self::Voters => settings.voters = value,
            Self::Log => (most, kept) = (value + value / 10, value),
            Self::InFlight => {
                count = value;
                settings.max_inflight = usize::try_from(value).expect("it fits");
            }
        }
        let mut cluster = Cluster::<L>::of(&settings);
        fill(&mut cluster, kept);
        let each_alone = self == Self::InFlight;
        Side::timed("", move |times| {
            let taken = (0..times).map(|_| {
                let commands = (0..count).map(|_| command(bytes)).collect();
                let before = cluster.committed();
                let taken = if each_alone {
                    commit_one_by_one(&mut cluster, commands)
                } else {
                    commit(&mut cluster, commands)
                };
                assert_eq!(cluster.committed(), before + count);
                cluster.cut(most, kept);
                taken
            });
            taken.sum()
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Commits some entries.
fn fill<L: Library>(cluster: &mut Cluster<L>, entries: u64) {
    let mut left = entries;
    while left > 0 {
        let batch = left.min(FILLED_AT_ONCE);
        cluster.commit(batch, PAYLOAD);
        left -= batch;
    }
}

/// Has the leader propose these commands at once, and lets all nodes commit them.
fn commit<L: Library>(cluster: &mut Cluster<L>, commands: Vec<Vec<u8>>) -> Duration {
    let start = Instant::now();
    for command in commands {
        L::propose(&mut cluster.nodes[0], command);
    }
    cluster.settle();
    start.elapsed()
}

/// Has the leader send each of these commands before any is answered. Then each message is taken in, and
/// what it asks for is done, by itself.
fn commit_one_by_one<L: Library>(cluster: &mut Cluster<L>, commands: Vec<Vec<u8>>) -> Duration {
    let mut mail = Vec::new();
    let start = Instant::now();
    for command in commands {
        L::propose(&mut cluster.nodes[0], command);
        L::work(&mut cluster.nodes[0], &mut mail);
    }
    let mut on_their_way: VecDeque<L::Message> = mail.drain(..).collect();
    while let Some(message) = on_their_way.pop_front() {
        let node = &mut cluster.nodes[L::to(&message) as usize - 1];
        L::step(node, message);
        L::work(node, &mut mail);
        on_their_way.extend(mail.drain(..));
    }
    start.elapsed()
}
