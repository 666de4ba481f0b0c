//! What clients saw, and whether one copy of the data could have shown it to them: linearizability,
//! exactly.
//!
//! Owns the history of reads and writes of a few registers. Must not know nodes, logs or indexes.
//!
//! No value is written twice, so each read tells which write it saw. Then a history can be judged
//! without search (Gibbons and Korach, "Testing Shared Memories", 1997). A value's operations must
//! be next to each other in the order of the one copy. If one of them ended before another began,
//! the value was certainly in force in between: such zones of two values must not overlap. If all of
//! them overlap at some moment, one moment in that time is enough, and it must not lie inside
//! another value's certain zone.

use std::collections::BTreeMap;

use thiserror::Error;

/// How many registers there are.
pub(crate) const REGISTERS: usize = 4;

/// The register that a number belongs to.
pub(crate) fn register_of(number: u64) -> usize {
    usize::try_from(number % REGISTERS as u64).unwrap_or(0)
}

/// A moment; no two things happen in the same one.
pub(crate) type Moment = u64;

/// All operations on one value: its write, and the reads that saw it.
#[derive(Clone, Copy, Debug)]
struct Value {
    write_began: Moment,
    /// Whether the write is known to have ended, or was seen.
    is_certain: bool,
    /// When the first of its operations had ended.
    first_end: Moment,
    /// When the last of its operations began.
    last_begin: Moment,
}

/// The reads and writes of one run.
#[derive(Clone, Debug)]
pub(crate) struct History {
    now: Moment,
    registers: [BTreeMap<u64, Value>; REGISTERS],
}

/// Why no single copy of the data can have shown what clients saw.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
pub enum Impossible {
    /// A read saw a value that nobody had begun to write.
    #[error("a client read {value}, which nobody had begun to write")]
    FromNowhere {
        /// The value.
        value: u64,
    },
    /// Both values were in the same register at the same time.
    #[error("{one} and {other} were in the same register at the same time")]
    AtOnce {
        /// One value.
        one: u64,
        /// The other.
        other: u64,
    },
}

impl Default for History {
    /// All registers hold zero.
    fn default() -> Self {
        let zero = Value {
            write_began: 0,
            is_certain: true,
            first_end: 0,
            last_begin: 0,
        };
        Self {
            now: 1,
            registers: std::array::from_fn(|_| BTreeMap::from([(0, zero)])),
        }
    }
}

impl History {
    /// Something happens now; returns when that is.
    pub(crate) fn moment(&mut self) -> Moment {
        self.now += 1;
        self.now
    }

    /// A write of this value begins. It may never end, and take effect all the same.
    pub(crate) fn write_begins(&mut self, value: u64) {
        let now = self.moment();
        let begun = Value {
            write_began: now,
            is_certain: false,
            first_end: Moment::MAX,
            last_begin: now,
        };
        self.registers[register_of(value)].insert(value, begun);
    }

    /// The client learns that its write was refused: nobody may ever read it.
    pub(crate) fn write_refused(&mut self, value: u64) {
        self.registers[register_of(value)].remove(&value);
    }

    /// The client learns that its write has taken effect.
    pub(crate) fn write_ends(&mut self, value: u64) {
        let now = self.moment();
        if let Some(value) = self.registers[register_of(value)].get_mut(&value) {
            value.first_end = value.first_end.min(now);
            value.is_certain = true;
        }
    }

    /// A read that began then ends now, with this value.
    pub(crate) fn read(
        &mut self,
        register: usize,
        began: Moment,
        value: u64,
    ) -> Result<(), Impossible> {
        let now = self.moment();
        let seen = self.registers[register].get_mut(&value);
        let Some(seen) = seen.filter(|seen| seen.write_began < now) else {
            return Err(Impossible::FromNowhere { value });
        };
        seen.is_certain = true;
        seen.first_end = seen.first_end.min(now);
        seen.last_begin = seen.last_begin.max(began);
        Ok(())
    }

    /// Whether one copy of each register could have shown all of this.
    pub(crate) fn check(&self) -> Result<(), Impossible> {
        self.registers.iter().try_for_each(check_register)
    }
}

fn check_register(values: &BTreeMap<u64, Value>) -> Result<(), Impossible> {
    let certain = values.iter().filter(|(_, value)| value.is_certain);
    let (mut forward, backward): (Vec<_>, Vec<_>) =
        certain.partition(|(_, value)| value.first_end < value.last_begin);
    forward.sort_by_key(|(_, value)| value.first_end);
    for pair in forward.windows(2) {
        if let [(one, before), (other, after)] = pair {
            if after.first_end < before.last_begin {
                return Err(Impossible::AtOnce {
                    one: **one,
                    other: **other,
                });
            }
        }
    }
    for (one, value) in backward {
        let later = forward.partition_point(|(_, zone)| zone.first_end < value.last_begin);
        let around = later.checked_sub(1).and_then(|at| forward.get(at));
        if let Some((other, _)) = around.filter(|(_, zone)| value.first_end < zone.last_begin) {
            return Err(Impossible::AtOnce {
                one: *one,
                other: **other,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    /// An operation of a small history: begins and ends, and a value written or read.
    #[derive(Clone, Copy, Debug)]
    struct Operation {
        begins: usize,
        ends: usize,
        value: u64,
        is_read: bool,
    }

    /// A random history of one register, as operations at distinct moments.
    fn random(dice: &mut Dice) -> Vec<Operation> {
        let writes = 1 + dice.position(3);
        let reads = dice.position(4);
        let count = writes + reads;
        let mut moments: Vec<usize> = (0..count * 2).collect();
        for at in (1..moments.len()).rev() {
            moments.swap(at, dice.position(at + 1));
        }
        let pairs = moments.chunks(2).enumerate();
        pairs
            .map(|(at, pair)| Operation {
                begins: pair[0].min(pair[1]),
                ends: pair[0].max(pair[1]),
                value: if at < writes {
                    (at as u64 + 1) * REGISTERS as u64
                } else {
                    dice.below(writes as u64 + 1) * REGISTERS as u64
                },
                is_read: at >= writes,
            })
            .collect()
    }

    /// Tries every order.
    fn has_an_order(left: &[Operation], value: u64) -> bool {
        if left.is_empty() {
            return true;
        }
        left.iter().enumerate().any(|(at, next)| {
            let is_first = left.iter().all(|other| next.begins < other.ends);
            let fits = !next.is_read || next.value == value;
            let mut rest = left.to_vec();
            rest.remove(at);
            is_first && fits && has_an_order(&rest, next.value)
        })
    }

    /// What was refused cannot have been written.
    #[test]
    fn nobody_reads_what_was_refused() {
        let value = REGISTERS as u64;
        let mut history = History::default();
        history.write_begins(value);
        history.write_refused(value);
        let began = history.moment();
        let read = history.read(0, began, value);
        assert_eq!(read, Err(Impossible::FromNowhere { value }));
    }

    fn judged(operations: &[Operation]) -> bool {
        let mut history = History::default();
        let mut began = vec![0; operations.len()];
        for moment in 0..operations.len() * 2 {
            for (at, operation) in operations.iter().enumerate() {
                if operation.begins == moment {
                    if operation.is_read {
                        began[at] = history.moment();
                    } else {
                        history.write_begins(operation.value);
                    }
                }
                if operation.ends == moment {
                    if !operation.is_read {
                        history.write_ends(operation.value);
                    } else if history.read(0, began[at], operation.value).is_err() {
                        return false;
                    }
                }
            }
        }
        history.check().is_ok()
    }

    #[test]
    fn the_judgement_is_that_of_trying_every_order() {
        let mut dice = Dice::new(1);
        let mut possible = 0;
        for _ in 0..20_000 {
            let operations = random(&mut dice);
            let expected = has_an_order(&operations, 0);
            assert_eq!(judged(&operations), expected, "{operations:?}");
            possible += u32::from(expected);
        }
        assert!((2_000..18_000).contains(&possible), "{possible}");
    }

    #[test]
    fn a_write_that_never_ended_may_have_taken_effect() {
        let mut history = History::default();
        history.write_begins(4);
        assert_eq!(history.check(), Ok(()));
        for value in [4, 0] {
            let began = history.moment();
            history.read(0, began, value).expect("somebody wrote it");
        }
        let both = Impossible::AtOnce { one: 4, other: 0 };
        assert_eq!(history.check(), Err(both));
    }
}
