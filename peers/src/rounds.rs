//! Several sides do the same work in turn.
//!
//! Owns the rounds, and what is printed of them. Knows nothing of the work.

use std::time::{Duration, Instant};

/// Rounds, each of which takes every side in turn.
const ROUNDS: usize = 31;
/// How long a side takes in a round, about.
const ROUND: Duration = Duration::from_millis(2);

/// What one side does.
pub struct Side<'a> {
    /// Whose it is.
    pub name: &'static str,
    /// Does the work so often, and tells how long that took.
    pub work: Box<dyn FnMut(u32) -> Duration + 'a>,
}

impl<'a> Side<'a> {
    /// A side of which each call of `work` counts.
    pub fn new(name: &'static str, mut work: impl FnMut() + 'a) -> Self {
        Self::timed(name, move |times| {
            let start = Instant::now();
            for _ in 0..times {
                work();
            }
            start.elapsed()
        })
    }

    /// A side that takes the time itself.
    pub fn timed(name: &'static str, work: impl FnMut(u32) -> Duration + 'a) -> Self {
        Self {
            name,
            work: Box::new(work),
        }
    }
}

/// The costs of one side, a round each, in nanoseconds.
struct Costs {
    name: &'static str,
    rounds: Vec<f64>,
}

/// The median, and the middle half.
struct Spread {
    low: f64,
    middle: f64,
    high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let all = values.len();
        Self {
            low: values[all / 4],
            middle: values[all / 2],
            high: values[all * 3 / 4],
        }
    }
}

/// Lets the sides work in turn, in so many rounds.
fn by_turns(rounds: usize, units: u32, sides: &mut [Side<'_>]) -> Vec<Costs> {
    // The slowest side decides how often, so that all do the same.
    let slowest = sides.iter_mut().map(|side| {
        (side.work)(2);
        (side.work)(2) / 2
    });
    let once = slowest
        .max()
        .expect("there is a side")
        .max(Duration::from_nanos(1));
    let times = (ROUND.as_nanos() / once.as_nanos()).clamp(1, 20_000);
    let times = u32::try_from(times).expect("not many");
    let mut costs: Vec<Costs> = sides
        .iter()
        .map(|side| Costs {
            name: side.name,
            rounds: Vec::new(),
        })
        .collect();
    for round in 0..rounds {
        // Each side begins in its turn.
        for at in 0..sides.len() {
            let at = (round + at) % sides.len();
            let (side, costs) = (&mut sides[at], &mut costs[at]);
            let taken = (side.work)(times).as_nanos() as f64;
            costs.rounds.push(taken / f64::from(times * units));
        }
    }
    costs
}

/// What a unit costs each side, in nanoseconds: the median of so many rounds, in which they take turns. A
/// call of `work` stands for so many `units`.
///
/// # Panics
///
/// If there is no side.
#[must_use]
pub fn medians(rounds: usize, units: u32, mut sides: Vec<Side<'_>>) -> Vec<f64> {
    let costs = by_turns(rounds, units, &mut sides);
    costs
        .into_iter()
        .map(|side| Spread::of(side.rounds).middle)
        .collect()
}

/// All lines of one run.
pub struct Table {
    peer: &'static str,
    ratios: Vec<(String, f64)>,
}

impl Table {
    /// A table of which the head is printed, beside this peer.
    #[must_use]
    pub fn begun(peer: &'static str) -> Self {
        println!(
            "{:22} {:>14} {:>14} {:>22}",
            "workload", "almadia", peer, "ratio (middle half)"
        );
        Self {
            peer,
            ratios: Vec::new(),
        }
    }

    /// Lets the sides work in turn, ours first; the others are the peer in its several modes, of which
    /// the best one counts. A call of `work` stands for so many `units`.
    ///
    /// # Panics
    ///
    /// If there is no peer.
    pub fn compare(&mut self, name: &str, units: u32, mut sides: Vec<Side<'_>>) {
        let costs = by_turns(ROUNDS, units, &mut sides);
        self.tell(name, &costs, "ns");
    }

    /// Notes figures that do not vary.
    pub fn count(&mut self, name: &str, ours: usize, theirs: usize) {
        let costs = [("almadia", ours), (self.peer, theirs)].map(|(name, count)| Costs {
            name,
            rounds: vec![count as f64],
        });
        self.tell(name, &costs, "B");
    }

    /// Prints the line of each workload.
    pub fn finish(self) {
        println!();
        for (name, ratio) in self.ratios {
            println!("RATIO {name} {ratio:.2}");
        }
    }

    fn tell(&mut self, name: &str, costs: &[Costs], unit: &str) {
        let (ours, peers) = costs.split_first().expect("there is a side");
        let best = peers
            .iter()
            .min_by(|one, other| {
                let [one, other] = [one, other].map(|side| Spread::of(side.rounds.clone()).middle);
                one.total_cmp(&other)
            })
            .expect("there is a peer");
        let ratios = ours.rounds.iter().zip(&best.rounds);
        let ratio = Spread::of(ratios.map(|(ours, theirs)| theirs / ours).collect());
        let [ours_cost, peer_cost] =
            [ours, best].map(|side| Spread::of(side.rounds.clone()).middle);
        println!(
            "{name:22} {ours_cost:11.0} {unit:2} {peer_cost:11.0} {unit:2} {:8.2} ({:.2} to {:.2})  {}",
            ratio.middle, ratio.low, ratio.high, best.name
        );
        self.ratios.push((name.to_owned(), ratio.middle));
    }
}
